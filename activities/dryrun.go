package activities

import (
	"context"
	"errors"

	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
)

// DryRun reads all items of a rollback and counts what would be done: it changes nothing,
// in the target or in the rollback's folder. It is not an activity. shown is called after
// each batch.
func (a *Activities) DryRun(ctx context.Context, r migration.Rollback, shown func(migration.RollbackCounts)) (sum migration.RollbackCounts, err error) {
	if err := a.checkIdentities(r.Migration); err != nil {
		return sum, plain(err)
	}
	run := Run{Folder: r.Folder.RunFolder}
	empty := ledger.New(ledger.NewFolder(run.Folder.Ledger())) // a dry run has not begun, and keeps nothing
	o, err := a.openRollback(run, r, migration.Start{}, empty)
	if err != nil {
		return sum, err
	}
	defer o.close()
	for batch := 1; batch <= o.index.Batches(); batch++ {
		b, err := o.undoing(ctx, RollbackInput{Batch: batch})
		if err != nil {
			return sum, err
		}
		b.dry = true
		known := make([]ledger.Record, len(b.items))
		for i, item := range b.items {
			outcome, _, err := b.undo(ctx, item)
			if err != nil {
				return sum, plain(err)
			}
			known[i].Outcome = outcome
		}
		sum.Add(countRollback(known))
		shown(sum)
	}
	return sum, nil
}

// plain strips an error of what was added for Temporal.
func plain(err error) error {
	var application *temporal.ApplicationError
	if errors.As(err, &application) {
		return errors.New(application.Message())
	}
	return err
}
