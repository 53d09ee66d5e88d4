package activities

import (
	"context"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
)

// VerifyPlanInput asks for the batches from one on that are to be read back.
type VerifyPlanInput struct {
	Run   `json:"run"`
	After int `json:"after"` // batch, 0 = from the start
	Limit int `json:"limit"`
}

// VerifyPlan is the next batches that have records to read back.
type VerifyPlan struct {
	Batches []PlannedBatch `json:"batches"`
	After   int            `json:"after"`   // the batch up to which this plan goes
	Total   int            `json:"total"`   // batches of the input
	Records int            `json:"records"` // to read back, in all batches
	// Settled counts the records of the sample, up to After, in batches of which
	// nothing was loaded.
	Settled migration.VerifyCounts `json:"settled"`
}

// PlanVerify says what is to be read back next. It changes nothing.
func (a *Activities) PlanVerify(ctx context.Context, in VerifyPlanInput) (VerifyPlan, error) {
	return onRun(ctx, a.readBack, in.Run, (*verificationRun).plan, in)
}

func (o *verificationRun) plan(ctx context.Context, in VerifyPlanInput) (VerifyPlan, error) {
	plan := VerifyPlan{After: in.After, Total: o.index.Batches(), Records: o.sampleSize()}
	type sampled struct {
		PlannedBatch
		positions, loaded int
	}
	err := store.ForEachOrdered(ctx, o.folder.Path(), plan.Total-in.After, func(ctx context.Context, n int) (l sampled, err error) {
		b, err := o.index.Batch(in.After + n + 1)
		if err != nil {
			return l, err
		}
		positions, loaded, err := o.toVerify(ctx, b)
		return sampled{plannedBatch(b.Number, b), len(positions), len(loaded)}, err
	}, func(l sampled) error {
		if len(plan.Batches) == in.Limit {
			return store.ErrEnough
		}
		if l.loaded > 0 {
			plan.Batches = append(plan.Batches, l.PlannedBatch)
		} else {
			plan.Settled.NotLoaded += l.positions
		}
		plan.After = l.Position()
		return nil
	})
	return plan, err
}

// sampleSize is how many records are to be read back.
func (o *verificationRun) sampleSize() int {
	total := int(o.index.Records())
	if o.verification.Sample > 0 {
		return min(o.verification.Sample, total)
	}
	return total
}

// toVerify returns the positions in a batch that are in the sample, and what is known of
// those that were loaded.
func (o *verificationRun) toVerify(ctx context.Context, b source.Batch) (positions []int, loaded map[int]ledger.Record, err error) {
	positions = migration.Sampled(o.verification.Source, o.sampleSize(), int(o.index.Records()), int(b.FirstRecord-o.index.StartAt()), b.Records)
	if len(positions) == 0 {
		return nil, nil, nil
	}
	last, err := o.of.LastRound()
	if err != nil {
		return nil, nil, err
	}
	known, err := o.ledger.After(ctx, last, b.Number, b.Records)
	if err != nil {
		return nil, nil, err
	}
	loaded = map[int]ledger.Record{}
	for _, i := range positions {
		switch known[i].Outcome {
		case ledger.Created, ledger.Recovered, ledger.Updated, ledger.Unchanged:
			loaded[i] = known[i]
		}
	}
	return positions, loaded, nil
}
