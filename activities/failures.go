package activities

import (
	"context"
	"errors"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
	"durable-dataload/internal/tally"
)

// Reasons are the numbers of records of the whole migration that failed or are unknown
// now, by class of reason: "api 200", "http 502".
type Reasons struct {
	Failed  map[string]int `json:"failed,omitempty"`
	Unknown map[string]int `json:"unknown,omitempty"`
	// File is the name of the fail file, where WriteFailures has written one.
	File string `json:"file,omitempty"`
}

// CountReasons reads them from the ledger.
func (a *Activities) CountReasons(ctx context.Context, run Run) (Reasons, error) {
	ctx, done := restartable(ctx)
	defer done()
	t, err := tally.Of(ctx, run.Folder.Migration())
	return Reasons{Failed: t.Failed, Unknown: t.Unknown}, ended(ctx, err)
}

// WriteFailures writes the fail file and its raw records as they are so far, for the
// decision whether the migration resumes, and counts their reasons. WriteArtifacts
// replaces the files at the end.
func (a *Activities) WriteFailures(ctx context.Context, run Run) (Reasons, error) {
	return onRun(ctx, a.migration, run, (*migrationRun).writeFailures, run)
}

func (m *migrationRun) writeFailures(ctx context.Context, _ Run) (Reasons, error) {
	lastRound, err := m.of.LastRound()
	if err != nil {
		return Reasons{}, err
	}
	files, err := artifacts.NewFailures(m.spec.OutputDir, m.start.Stamp, m.index.Header())
	if err != nil {
		return Reasons{}, err
	}
	defer files.Discard()
	err = store.ForEachOrdered(ctx, m.folder.Path(), m.index.Batches(), func(ctx context.Context, n int) ([]artifacts.Record, error) {
		return m.artifactRecords(ctx, n+1, lastRound)
	}, func(records []artifacts.Record) error {
		for _, r := range records {
			if r.Outcome == ledger.Failed || r.Outcome == ledger.Duplicate {
				if err := files.Add(r); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return Reasons{}, err
	}
	// An attempt that was suspended until the run was over must not replace its files.
	if err := m.notSealed(); err != nil {
		return Reasons{}, err
	}
	if err := files.Commit(ctx); err != nil {
		return Reasons{}, err
	}
	t, err := tally.Of(ctx, m.of)
	return Reasons{Failed: t.Failed, Unknown: t.Unknown, File: artifacts.FailName(m.start.Stamp)}, err
}

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
