package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

// found is what was found of one batch, as it is kept.
type found struct {
	Result      migration.VerifyResult `json:"result"`
	Differences []migration.Difference `json:"differences,omitempty"`
}

func (o *verificationRun) foundStore() *ledger.Folder {
	return ledger.NewFolder(o.folder.Verification().Found(o.run.ID))
}

func foundName(batch int) string { return fmt.Sprintf("%05d/%08d", batch/1000, batch) }

func (o *verificationRun) found(ctx context.Context, batch int) (f found, err error) {
	data, err := o.foundStore().Get(ctx, foundName(batch))
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(data, &f)
}

// VerifyArtifactsInput asks for the artifacts of a verification.
type VerifyArtifactsInput struct {
	Run        `json:"run"`
	FinishedAt time.Time `json:"finished_at"`
	Halted     string    `json:"halted,omitempty"` // why it ended before its time
}

// WriteVerify writes what a verification has found, and first proves that every record of
// the sample is counted.
func (a *Activities) WriteVerify(ctx context.Context, in VerifyArtifactsInput) (migration.VerifySummary, error) {
	return onRun(ctx, a.verification, in.Run, (*verificationRun).summary, in)
}

func (o *verificationRun) summary(ctx context.Context, in VerifyArtifactsInput) (migration.VerifySummary, error) {
	summary, err := o.folder.Verification().Summary()
	if errors.Is(err, migration.ErrAbsent) {
		return o.writeVerify(ctx, in)
	}
	return summary, err
}

func (o *verificationRun) writeVerify(ctx context.Context, in VerifyArtifactsInput) (migration.VerifySummary, error) {
	summary := migration.VerifySummary{
		WorkflowID: o.start.ID, Migration: o.verification.Source, DataFile: o.spec.InputName(),
		EntityType: o.spec.Target.EntityType, URI: o.spec.Target.URI,
		StartedAt: o.start.StartedAt, FinishedAt: in.FinishedAt.UTC().Truncate(time.Second),
		Records: int(o.index.Records()), Sample: o.sampleSize(), Halted: in.Halted, OutputDir: o.spec.OutputDir,
	}
	list, err := artifacts.NewDifferences(o.spec.OutputDir, o.start.Stamp)
	if err != nil {
		return summary, err
	}
	defer list.Discard()
	summary.File = list.Name()
	batch := 0
	err = store.ForEachOrdered(ctx, o.folder.Path(), o.index.Batches(), func(ctx context.Context, n int) (found, error) {
		return o.foundOrLeft(ctx, n+1)
	}, func(f found) error {
		batch++
		summary.Found.Add(f.Result)
		for _, d := range f.Differences {
			if err := list.Add(batch, d); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return summary, err
	}
	if n := summary.Found.Sum(); n != summary.Sample {
		return summary, fmt.Errorf("%w: %d records were read back or left, expected %d", artifacts.ErrDoesNotAddUp, n, summary.Sample)
	}
	if err := list.Commit(ctx); err != nil {
		return summary, err
	}
	if err := artifacts.WriteVerify(o.spec.OutputDir, o.start.Stamp, summary); err != nil {
		return summary, err
	}
	if err := releaseNames(o.of.RunFolder, o.spec.OutputDir); err != nil {
		return summary, err
	}
	return summary, o.folder.Verification().SaveSummary(in.Run.ID, summary)
}

// foundOrLeft is what was found of a batch or, if it was not read back, what is left of
// it.
func (o *verificationRun) foundOrLeft(ctx context.Context, batch int) (found, error) {
	f, err := o.found(ctx, batch)
	if !isNotFound(err) {
		return f, err
	}
	b, err := o.index.Batch(batch)
	if err != nil {
		return f, err
	}
	positions, loaded, err := o.toVerify(ctx, b)
	f.Result.Left, f.Result.NotLoaded = len(loaded), len(positions)-len(loaded)
	return f, err
}
