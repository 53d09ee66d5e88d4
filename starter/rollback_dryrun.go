package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"durable-dataload/activities"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/rollback"
	"durable-dataload/internal/store"
)

// dryRun counts what a rollback would do, in this process. It keeps nothing.
func (r *rollbackOperation) dryRun(ctx context.Context) (int, error) {
	closeTarget, err := r.o.openTarget(r.o.stateDir)
	if err != nil {
		return 0, err
	}
	defer closeTarget()
	if err := r.find(ctx); err != nil {
		return 0, err
	}
	if err := r.o.credentials.Check(); err != nil {
		return 0, err
	}
	ctx, cancel := r.UntilStopped(ctx)
	defer cancel()
	r.folder = migration.RollbackIn(r.o.work(), "dry-run-"+rand.Text())
	r.rollback.Folder = r.folder
	defer r.dropDryRun()
	totals, err := rollback.Write(ctx, r.folder, r.items(ctx))
	if err != nil {
		return 0, err
	}
	r.Screen.Say(fmt.Sprintf("Reading %s in %s (%s). Nothing is changed.", figures.Count(totals.Items(), "record"), r.rollback.Target.URI, r.rollback.Target.EntityType))
	a := activities.New(r.o.places(), func(spec migration.Spec, with func(*identitycloud.Config)) (activities.Target, error) {
		return r.o.credentials.Connect(spec, with)
	}, r.Log)
	a.OpenUndo(r.identities)
	counts, err := a.DryRun(ctx, r.rollback, func(c migration.RollbackCounts) {
		r.Screen.Progress(fmt.Sprintf("%s/%s", figures.Number(c.Sum()), figures.Number(totals.Items())))
	})
	r.Screen.Clear()
	if ctx.Err() != nil {
		r.Screen.Say("Stopped. Nothing was changed.")
		return migration.ExitStopped, nil
	}
	if err != nil {
		return 0, err
	}
	if r.o.json {
		r.Screen.PrintJSON(counts)
		return migration.ExitDone, nil
	}
	fmt.Fprintln(r.Screen.Stdout, "What would be done:")
	printRollbackCounts(r.Screen, counts)
	return migration.ExitDone, nil
}

// dropDryRun removes what a dry run has kept. In a bucket the slots of its calls are
// released a moment after the last one, which writes a small object without user data
// once more; with a slow store that one may stay.
func (r *rollbackOperation) dropDryRun() {
	r.dropList()
	if store.IsURL(r.rollback.Folder.Path()) {
		time.Sleep(time.Second)
		r.dropList()
	}
}
