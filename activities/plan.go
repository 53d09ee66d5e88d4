package activities

import (
	"context"
	"slices"
	"time"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
)

// PlanInput asks for the batches of a round from a position on.
type PlanInput struct {
	Run   `json:"run"`
	Round int `json:"round"`
	After int `json:"after"`        // position in the round, 0 = from its start
	To    int `json:"to,omitempty"` // the last position that is wanted, 0 = the round's last
	Limit int `json:"limit"`        // of batches to load
}

// Plan is the next batches of a round that have no outcome yet.
type Plan struct {
	Batches []PlannedBatch `json:"batches"`
	// Settled counts the batches up to After that have outcomes already, of an
	// interrupted run.
	Settled ledger.Counts `json:"settled"`
	// Errors are BatchResult.Errors of those.
	Errors map[string]int `json:"errors,omitempty"`
	// After is the position up to which this plan goes.
	After int `json:"after"`
	// Total is the number of batches of the round.
	Total int `json:"total"`
}

// PlannedBatch is one batch to load or update: its position in the round, first and last
// line. It is short, since the history keeps it.
type PlannedBatch [3]int

func plannedBatch(position int, b source.Batch) PlannedBatch {
	return PlannedBatch{position, int(b.FirstLine), int(b.LastLine)}
}

// Position is that in the round, from 1.
func (b PlannedBatch) Position() int { return b[0] }

// Lines are its first and last line in the input.
func (b PlannedBatch) Lines() (first, last int) { return b[1], b[2] }

// PlanBatches says what is to be loaded next. It reads index and ledger and changes
// nothing.
func (a *Activities) PlanBatches(ctx context.Context, in PlanInput) (Plan, error) {
	return onRun(ctx, a.migration, in.Run, (*migrationRun).planBatches, in)
}

func (m *migrationRun) planBatches(ctx context.Context, in PlanInput) (plan Plan, err error) {
	plan.After = in.After
	if plan.Total, err = m.roundLength(in.Round); err != nil {
		return plan, err
	}
	to := plan.Total
	if in.To > 0 {
		to = min(in.To, to)
	}
	type batchState struct {
		PlannedBatch
		counts ledger.Counts
		errors map[string]int
		status ledger.Status
	}
	err = store.ForEachOrdered(ctx, m.folder.Path(), to-in.After, func(ctx context.Context, n int) (l batchState, err error) {
		position := in.After + n + 1
		batch, err := m.roundBatch(in.Round, position)
		if err != nil {
			return l, err
		}
		b, err := m.index.Batch(batch)
		if err != nil {
			return l, err
		}
		l.PlannedBatch = plannedBatch(position, b)
		records, counts, status, err := m.ledger.Round(ctx, in.Round, batch, b.Records)
		l.counts, l.status, l.errors = counts, status, ledger.Reasons(records, in.Round == 0 && !m.spec.Delta)
		return l, err
	}, func(l batchState) error {
		if len(plan.Batches) == in.Limit {
			return store.ErrEnough
		}
		if l.status == ledger.Settled {
			plan.Settled.Add(l.counts)
			ledger.AddClasses(&plan.Errors, l.errors)
		} else {
			plan.Batches = append(plan.Batches, l.PlannedBatch)
		}
		plan.After = l.Position()
		return nil
	})
	return plan, err
}

// UpdatePlanInput asks for the batches from one on whose duplicates are to be
// updated.
type UpdatePlanInput struct {
	Run   `json:"run"`
	After int `json:"after"` // batch, 0 = from the start
	Limit int `json:"limit"`
}

// UpdatePlan is the next batches that have records to be updated.
type UpdatePlan struct {
	Batches []PlannedBatch `json:"batches"`
	// Round is the last one: duplicates of all rounds up to it are updated.
	Round int `json:"round"`
	// Settled counts the updates up to After that have outcomes already.
	Settled ledger.Updates `json:"settled"`
	After   int            `json:"after"` // the batch up to which this plan goes
	Total   int            `json:"total"` // batches of the input
}

// PlanUpdates says what is to be updated next. It changes nothing.
func (a *Activities) PlanUpdates(ctx context.Context, in UpdatePlanInput) (UpdatePlan, error) {
	return onRun(ctx, a.migration, in.Run, (*migrationRun).planUpdates, in)
}

func (m *migrationRun) planUpdates(ctx context.Context, in UpdatePlanInput) (plan UpdatePlan, err error) {
	plan = UpdatePlan{After: in.After, Total: m.index.Batches()}
	if plan.Round, err = m.of.LastRound(); err != nil {
		return plan, err
	}
	type batchState struct {
		PlannedBatch
		records []ledger.Record
	}
	err = store.ForEachOrdered(ctx, m.folder.Path(), plan.Total-in.After, func(ctx context.Context, n int) (l batchState, err error) {
		b, records, err := m.after(ctx, plan.Round, in.After+n+1)
		return batchState{plannedBatch(b.Number, b), records}, err
	}, func(l batchState) error {
		if len(plan.Batches) == in.Limit {
			return store.ErrEnough
		}
		settled, pending := updatesOf(l.records)
		plan.Settled.Add(settled)
		if pending > 0 {
			plan.Batches = append(plan.Batches, l.PlannedBatch)
		}
		plan.After = l.Position()
		return nil
	})
	return plan, err
}

// updatesOf counts what came of the updates of a batch, and the duplicates that
// are still to be updated.
func updatesOf(records []ledger.Record) (settled ledger.Updates, pending int) {
	for _, r := range records {
		switch {
		case r.Outcome == ledger.Duplicate:
			pending++
		case r.Outcome == ledger.Updated:
			settled.Updated++
		case r.Outcome == ledger.Unchanged:
			settled.Unchanged++
		case r.ByUpdate:
			settled.Failed++
		}
	}
	return settled, pending
}

// ForecastInput asks how long the batches of round 0 after these ones take.
type ForecastInput struct {
	Run `json:"run"`
	// Loaded is how many batches were loaded, from the first on.
	Loaded int `json:"loaded"`
	// Limits are those that hold from now on.
	Limits migration.Limits `json:"limits"`
}

// Forecast is how long the rest of a round takes, by the calls that were made.
type Forecast struct {
	Calls   int           `json:"calls"` // whose answer came
	Median  time.Duration `json:"median"`
	Longest time.Duration `json:"longest"`
	Left    int           `json:"left"` // batches
	// Takes is the time that these need at the present pace if the calls take as long as
	// before, without retry rounds. 0 if no answer came.
	Takes time.Duration `json:"takes"`
}

// Forecast reads the calls of the first batches of round 0 from the ledger and changes
// nothing: a batch whose worker died is left undecided.
func (a *Activities) Forecast(ctx context.Context, in ForecastInput) (Forecast, error) {
	return onRun(ctx, a.migration, in.Run, (*migrationRun).forecast, in)
}

func (m *migrationRun) forecast(ctx context.Context, in ForecastInput) (f Forecast, err error) {
	var took []time.Duration
	for batch := 1; batch <= in.Loaded; batch++ {
		err := m.ledger.Visit(ctx, ledger.Key{Batch: batch}, nil, func(_ ledger.Key, outcomes ledger.Outcomes) {
			if outcomes.Took > 0 {
				took = append(took, outcomes.Took)
			}
		}, func([]int, bool) {})
		if err != nil {
			return f, err
		}
	}
	f.Calls, f.Left = len(took), m.index.Batches()-in.Loaded
	if len(took) == 0 {
		return f, nil
	}
	slices.Sort(took)
	f.Median, f.Longest = took[len(took)/2], took[len(took)-1]
	in.Limits.RateLimit = LimitsOf(in.Limits).At(time.Now())
	f.Takes = in.Limits.Time(int64(f.Left), f.Median)
	return f, nil
}
