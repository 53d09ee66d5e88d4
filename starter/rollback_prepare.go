package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"durable-dataload/activities"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/rollback"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/session"
	"durable-dataload/internal/store"
	"durable-dataload/internal/terminal"
)

// items are what there is to undo.
func (r *rollbackOperation) items(ctx context.Context) func(func(rollback.Item) error) error {
	if !r.Folder.IsZero() {
		return rollback.OfMigration(ctx, r.Folder)
	}
	return rollback.OfSuccessFile(ctx, r.o.success)
}

// Prepare lists what a new rollback is to undo, asks for a confirmation, and begins
// the rollback. What cannot begin leaves the migration as it was.
//
// The migration may be resumed before the answer is given. So it is marked after the
// answer, which rules that out, and listed once more.
func (r *rollbackOperation) Prepare(ctx context.Context) error {
	if r.begun {
		return nil
	}
	if err := r.refuseRunning(ctx); err != nil {
		return err
	}
	totals, err := rollback.Write(ctx, r.folder, r.items(ctx))
	if err != nil {
		return err
	}
	if totals.Items() == 0 {
		r.dropList()
		r.Screen.Say("There is nothing to undo: " + r.rollback.Source + " has created and updated nothing.")
		return session.ErrNothingToDo
	}
	if !r.o.yes {
		if err := r.ask(totals); err != nil {
			r.dropList()
			return err
		}
	}
	err = r.begin(ctx, totals)
	if err != nil && r.dropList() && !r.Folder.IsZero() {
		err = errors.Join(err, r.Folder.DropRolledBack())
	}
	return err
}

// begin begins a new rollback of what was confirmed.
func (r *rollbackOperation) begin(ctx context.Context, totals rollback.Totals) error {
	if !r.Folder.IsZero() {
		if err := r.Folder.MarkRolledBack(migration.RolledBack{Rollback: r.rollback.ID}); err != nil {
			return err
		}
		if err := r.listAgain(ctx, totals); err != nil {
			return err
		}
	}
	start, err := reserveStart(r.rollback.ID, r.rollback.OutputDir, "rollback", r.folder.Owner)
	if err != nil {
		return err
	}
	if err := r.folder.SaveOptions(r.rollback); err != nil {
		return err
	}
	_, err = r.folder.CreateStart(start)
	return err
}

// listAgain lists once more, of a migration that cannot be resumed any more, and
// refuses a list other than the one that was confirmed.
func (r *rollbackOperation) listAgain(ctx context.Context, asked rollback.Totals) error {
	if err := r.refuseRunning(ctx); err != nil {
		return err
	}
	totals, err := rollback.Write(ctx, r.folder, r.items(ctx))
	if err == nil && totals != asked {
		err = fmt.Errorf("the migration was resumed meanwhile: %s were confirmed, and %s would be undone; rerun the command", figures.Count(asked.Items(), "record"), figures.Number(totals.Items()))
	}
	return err
}

// refuseRunning refuses the rollback of a migration that runs.
func (r *rollbackOperation) refuseRunning(ctx context.Context) error {
	if r.Folder.IsZero() {
		return nil
	}
	return r.RefuseRunning(ctx, r.ID)
}

// dropList removes the list of a rollback that has not begun: it is user data. It reports false for one that has begun,
// perhaps by another command that has asked the same question.
func (r *rollbackOperation) dropList() bool {
	if _, err := r.folder.Start(); !errors.Is(err, migration.ErrAbsent) {
		return false
	}
	_ = store.RemoveAll(r.folder.Path())
	return true
}

// ask asks on the terminal, until the first Ctrl-C.
func (r *rollbackOperation) ask(totals rollback.Totals) error {
	answered := make(chan error, 1)
	go func() { answered <- confirm(os.Stdin, r.Screen.Stderr, totals, r.rollback) }()
	select {
	case err := <-answered:
		return err
	case <-r.Stop:
		return errors.New("stopped; nothing was changed")
	}
}

// confirm asks for the number of records to undo; nil means that it was given.
func confirm(in io.Reader, out io.Writer, totals rollback.Totals, r migration.Rollback) error {
	what := "Delete " + figures.Count(totals.Deletes, "record")
	if totals.Restores > 0 {
		what += fmt.Sprintf(" and restore %s", figures.Number(totals.Restores))
	}
	expected := totals.Deletes + totals.Restores
	fmt.Fprintf(out, "Rollback of %s:\n%s from %s (%s)? Deleted records are gone for good. Type the number of records, %s, to continue: ", safetext.Name(r.Source), what, r.Target.Host(), r.Target.EntityType, figures.Number(expected))
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	answer = strings.TrimSpace(answer)
	if answer != figures.Number(expected) && answer != strings.ReplaceAll(figures.Number(expected), ",", "") {
		return usage("nothing was changed: expected the number %d as the answer", expected)
	}
	return nil
}

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
	running := r.o.running(ctx)
	if running != nil {
		defer running.Close()
	}
	var counts migration.DryRollback
	err = running.While(ctx, func(ctx context.Context) error {
		a := activities.New(r.o.workLocations(), r.o.credentials.Connect, running.Limiters(ctx), r.Log)
		defer a.Close()
		a.OpenUndo(r.identities)
		counts, err = a.DryRun(ctx, r.rollback, func(c migration.RollbackCounts) {
			r.Screen.Progress(terminal.Line{Done: c.Sum(), Total: totals.Items(), What: figures.Number(c.Sum()) + "/" + figures.Number(totals.Items())})
		})
		return err
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
	printRollbackCounts(r.Screen, counts.RollbackCounts)
	printReasons(r.Screen, counts.Reasons)
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
