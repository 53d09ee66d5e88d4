package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
)

// An UpdateBatch that does not get through to the target is run again, so often
// and with pauses of up to updatePause: a few minutes. Then the updates halt,
// and the same command goes on with them.
const (
	updateAttempts = 10
	updatePause    = 30 * time.Second
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

// UpdateResult is what the updates came to.
type UpdateResult struct {
	Counts ledger.Updates `json:"counts"`
	// Stopped says that duplicates are left.
	Stopped bool `json:"stopped,omitempty"`
	// Halted says why, where it was trouble and not a person.
	Halted string `json:"halted,omitempty"`
}

// UpdateWorkflow updates the records that the target has already, a batch an
// activity, some at a time. Cancelled, it starts no more, waits for those in
// flight, and reports what it has.
func UpdateWorkflow(ctx workflow.Context, in UpdateInput) (UpdateResult, error) {
	ctx = onStore(ctx, in.Run.Folder)
	u := &updateRun{in: in}
	if err := u.serveProgress(ctx); err != nil {
		return UpdateResult{}, err
	}
	return u.run(ctx)
}

func (u *updateRun) run(ctx workflow.Context) (UpdateResult, error) {
	for !u.stopping(ctx) {
		plan, err := u.plan(ctx)
		if err != nil {
			u.halt(ctx, err)
			break
		}
		for _, batch := range plan.Batches {
			if !u.waitForRoom(ctx, windowOf(u.in.Limits)) {
				break
			}
			u.start(ctx, func(ctx workflow.Context) { u.updateBatch(ctx, plan, batch) })
		}
		if u.stopping(ctx) {
			break
		}
		u.in.After = plan.After
		if plan.After == plan.Total {
			break
		}
		if shouldContinueAsNew(ctx) {
			u.drain(ctx)
			if !u.stopping(ctx) {
				return UpdateResult{}, workflow.NewContinueAsNewError(ctx, UpdateWorkflow, u.in)
			}
		}
	}
	u.drain(ctx)
	return UpdateResult{Counts: u.in.Counts, Stopped: u.stopped(ctx), Halted: u.halted}, nil
}

type updateRun struct {
	flight
	in     UpdateInput
	called time.Time // see Progress.LastCall
}

func (u *updateRun) plan(ctx workflow.Context) (activities.UpdatePlan, error) {
	var plan activities.UpdatePlan
	err := execute(withActivity(ctx, "which batches have records to update?"), a.PlanUpdates, activities.UpdatePlanInput{
		Run: u.in.Run, After: u.in.After, Limit: batchesAPlan,
	}, &plan)
	u.in.Counts.Add(plan.Settled)
	u.show(ctx)
	return plan, err
}

// updateBatch updates one batch. It may be repeated as it is, also after its
// worker died: see activities.UpdateBatch. What onlyWaited is no attempt.
func (u *updateRun) updateBatch(ctx workflow.Context, plan activities.UpdatePlan, batch activities.PlannedBatch) {
	first, last := batch.Lines()
	options := workflow.GetActivityOptions(withActivity(ctx, fmt.Sprintf("update batch %d of %d, lines %d to %d", batch.Position(), plan.Total, first, last)))
	options.RetryPolicy = retries(updateAttempts)
	options.RetryPolicy.MaximumInterval = updatePause
	var updated ledger.Updates
	update := func() error {
		return execute(workflow.WithActivityOptions(ctx, options), a.UpdateBatch, activities.UpdateInput{
			Run: u.in.Run, Round: plan.Round, Batch: batch.Position(),
		}, &updated)
	}
	err := update()
	for err != nil && !u.stopping(ctx) && onlyWaited(ctx, err) {
		err = update()
	}
	switch {
	case err == nil:
		u.in.Counts.Add(updated)
		u.called = workflow.Now(ctx)
		u.show(ctx)
		return
	case !temporal.IsCanceledError(err):
		u.halt(ctx, err)
	}
	u.lost++
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
