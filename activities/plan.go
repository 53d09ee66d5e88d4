package activities

import (
	"context"

	"durable-dataload/internal/ledger"
)

// PlanInput asks for the batches of a round from a position on.
type PlanInput struct {
	Run   Run `json:"run"`
	Round int `json:"round"`
	After int `json:"after"`        // position in the round, 0 = from its start
	To    int `json:"to,omitempty"` // the last position that is wanted, 0 = the round's last
	Limit int `json:"limit"`        // of batches to load
}

// Plan is the next batches of a round that have no outcome yet.
type Plan struct {
	Batches []PlannedBatch `json:"batches"`
	// Settled counts the batches on the way that have outcomes already: those
	// of a run that was cut off.
	Settled ledger.Counts `json:"settled"`
	// After is the position up to which this plan goes.
	After int `json:"after"`
	// Total is the number of batches of the round.
	Total int `json:"total"`
}

// PlannedBatch is one batch to load, short, since the history keeps it: its
// position in the round, first and last line.
type PlannedBatch [3]int

// Position is that in the round, from 1.
func (b PlannedBatch) Position() int { return b[0] }

// Lines are its first and last line in the input.
func (b PlannedBatch) Lines() (first, last int) { return b[1], b[2] }

// PlanBatches says what is to be loaded next. It reads the index and the
// ledger and changes nothing.
func (a *Activities) PlanBatches(ctx context.Context, in PlanInput) (Plan, error) {
	ctx, done := restartable(ctx)
	defer done()
	o, err := a.open(in.Run)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{After: in.After}
	if plan.Total, err = o.roundLength(in.Round); err != nil {
		return plan, ended(ctx, err)
	}
	to := plan.Total
	if in.To > 0 {
		to = min(in.To, to)
	}
	for plan.After < to && len(plan.Batches) < in.Limit {
		if err := ctx.Err(); err != nil {
			return plan, ended(ctx, err)
		}
		position := plan.After + 1
		batch, err := o.roundBatch(in.Round, position)
		if err != nil {
			return plan, ended(ctx, err)
		}
		b, err := o.index.Batch(batch)
		if err != nil {
			return plan, ended(ctx, err)
		}
		_, counts, standing, err := o.ledger.Round(ctx, in.Round, batch, b.Records)
		if err != nil {
			return plan, ended(ctx, err)
		}
		if standing == ledger.Settled {
			plan.Settled.Add(counts)
		} else {
			plan.Batches = append(plan.Batches, PlannedBatch{position, int(b.FirstLine), int(b.LastLine)})
		}
		plan.After = position
	}
	return plan, nil
}
