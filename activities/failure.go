package activities

import (
	"context"
	"errors"

	"durable-dataload/internal/migration"
)

// FailureInput is why a run of a migration failed.
type FailureInput struct {
	Run     `json:"run"`
	Failure migration.Failure `json:"failure"`
}

// KeepFailure keeps in the folder of a migration why a run of it failed, for status after
// the Temporal service has dropped the run. A migration that is done, is rolled back, or
// has a later run keeps what it has.
func (a *Activities) KeepFailure(ctx context.Context, in FailureInput) error {
	ctx, done := restartable(ctx)
	defer done()
	folder := in.Run.Folder.Migration()
	if finished, err := folder.Finished(); finished || err != nil {
		return ended(ctx, err)
	}
	if _, err := folder.RolledBack(); !errors.Is(err, migration.ErrAbsent) {
		return ended(ctx, err)
	}
	if sealed, err := folder.Sealed(in.Run.ID); sealed || err != nil {
		return ended(ctx, err)
	}
	return ended(ctx, folder.SaveFailure(in.Failure))
}
