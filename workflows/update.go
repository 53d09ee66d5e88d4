package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
)

// UpdateInput is the updates of a delta migration, and how far they are.
type UpdateInput struct {
	Run activities.Run `json:"run"`
	migration.Limits
	Records int `json:"records"` // duplicates, of all rounds

	// What the runs before this one have done.
	After  int            `json:"after"` // batch
	Counts ledger.Updates `json:"counts"`
}

// UpdateResult is the result of the updates.
type UpdateResult struct {
	Counts ledger.Updates `json:"counts"`
	// Stopped says that duplicates are left.
	Stopped bool `json:"stopped,omitempty"`
	// Halted says why, where it was trouble and not an operator.
	Halted string `json:"halted,omitempty"`
}

// UpdateWorkflow updates the records that the target has already, a batch an
// activity, some at a time. Cancelled, it starts no more, waits for those in
// flight, and reports what it has.
func UpdateWorkflow(ctx workflow.Context, in UpdateInput) (UpdateResult, error) {
	ctx = withFolder(ctx, in.Run.Folder.Path())
	u := &updateRun{in: in}
	if err := u.serveProgress(ctx); err != nil {
		return UpdateResult{}, err
	}
	return u.run(ctx)
}

func (u *updateRun) run(ctx workflow.Context) (UpdateResult, error) {
	window := func() int { return windowOf(u.in.Limits) }
	batches := pass[activities.PlannedBatch]{flight: &u.flight, plan: u.plan, window: window, work: singly(u.updateBatch)}
	if batches.run(ctx, ctx) {
		return UpdateResult{}, workflow.NewContinueAsNewError(ctx, UpdateWorkflow, u.in)
	}
	return UpdateResult{Counts: u.in.Counts, Stopped: u.stopped(ctx), Halted: u.halted}, nil
}

type updateRun struct {
	flight
	in     UpdateInput
	round  int       // the last one
	total  int       // batches of the input
	called time.Time // see Progress.LastCall
}

func (u *updateRun) plan(ctx workflow.Context) (next []activities.PlannedBatch, isLast bool, err error) {
	var plan activities.UpdatePlan
	if err := execute(ctx, "which batches have records to update?", a.PlanUpdates, activities.UpdatePlanInput{
		Run: u.in.Run, After: u.in.After, Limit: batchesAPlan,
	}, &plan); err != nil {
		return nil, false, err
	}
	u.in.Counts.Add(plan.Settled)
	u.in.After, u.round, u.total = plan.After, plan.Round, plan.Total
	u.show(ctx)
	return plan.Batches, plan.After == plan.Total, nil
}

// updateBatch updates one batch. It may be repeated as it is, also after its
// worker died: see activities.UpdateBatch.
func (u *updateRun) updateBatch(ctx workflow.Context, batch activities.PlannedBatch) {
	first, last := batch.Lines()
	name := fmt.Sprintf("update batch %d of %d, lines %d to %d", batch.Position(), u.total, first, last)
	input := activities.UpdateInput{Run: u.in.Run, Round: u.round, Batch: batch.Position()}
	var updated ledger.Updates
	if err := execute(withCallRetries(ctx), name, a.UpdateBatch, input, &updated); err != nil {
		u.lose(ctx, err)
		return
	}
	u.in.Counts.Add(updated)
	u.called = workflow.Now(ctx)
	u.show(ctx)
}

// show writes the current details for the Web UI.
func (u *updateRun) show(ctx workflow.Context) {
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d of %d records\n\n%s", u.in.Counts.Records(), u.in.Records, updatesTable(u.in.Counts)))
}

func (u *updateRun) serveProgress(ctx workflow.Context) error {
	return workflow.SetQueryHandler(ctx, QueryProgress, func() (Progress, error) {
		return Progress{Phase: PhaseUpdating, InFlight: u.inFlight, ToUpdate: u.in.Records, Updates: u.in.Counts, LastCall: u.called}, nil
	})
}

func updatesTable(c ledger.Updates) string {
	return fmt.Sprintf("| updated | unchanged | failed |\n|--:|--:|--:|\n| %d | %d | %d |\n", c.Updated, c.Unchanged, c.Failed)
}
