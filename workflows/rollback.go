package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/migration"
)

// RollbackInput is a rollback, and how far it is.
type RollbackInput struct {
	Rollback migration.Rollback `json:"rollback"`

	// What the runs before this one have found and done. Run is the first of
	// them; it is empty in the first one.
	Run    activities.Run           `json:"run,omitzero"`
	Begun  activities.RollbackBegun `json:"begun,omitzero"`
	Phase  Phase                    `json:"phase,omitempty"`
	After  int                      `json:"after,omitempty"` // batch, in the phase
	Counts migration.RollbackCounts `json:"counts,omitzero"` // in the phase
}

// RollbackResult is the result of a rollback.
type RollbackResult struct {
	Summary migration.RollbackSummary `json:"summary"`
	// Halted says why the rollback ended early, where it was trouble and not an
	// operator.
	Halted string `json:"halted,omitempty"`
}

// RollbackProgress is how far a rollback is. Numbers only.
type RollbackProgress struct {
	Phase    Phase                    `json:"phase"`
	Items    int                      `json:"items"`
	InFlight int                      `json:"in_flight,omitempty"` // batches
	Counts   migration.RollbackCounts `json:"counts"`              // in this phase
}

// RollbackWorkflow deletes what a migration created, and restores what it
// updated; then it verifies all of it. It can be cancelled at any time: calls in
// flight end, the artifacts say what was done, and a later run with the same
// folder resumes it.
func RollbackWorkflow(ctx workflow.Context, in RollbackInput) (RollbackResult, error) {
	ctx = withFolder(ctx, in.Rollback.Folder.Path())
	r := &rollbackRun{in: in}
	if err := r.serveProgress(ctx); err != nil {
		return RollbackResult{}, err
	}
	return r.run(ctx)
}

// run is the rollback.
func (r *rollbackRun) run(ctx workflow.Context) (RollbackResult, error) {
	if r.in.Phase == "" {
		if err := r.begin(ctx); err != nil {
			return RollbackResult{}, err
		}
	}
	if r.in.Phase == PhaseRollingBack {
		if err := r.rollBack(ctx); err != nil {
			return RollbackResult{}, err
		}
		r.enter(ctx, PhaseVerifying)
	}
	if err := r.pass(ctx); err != nil {
		return RollbackResult{}, err
	}
	return r.writeArtifacts(ctx)
}

type rollbackRun struct {
	flight
	in    RollbackInput
	total int // batches of the round
}

// begin checks the target first: if it cannot be used, nothing is undone.
func (r *rollbackRun) begin(ctx workflow.Context) error {
	r.in.Run = activities.Run{Folder: r.in.Rollback.Folder.RunFolder, ID: workflow.GetInfo(ctx).OriginalRunID}
	if err := execute(withAttempts(ctx, checkAttempts), "can "+r.in.Rollback.Target.Host()+" be used?", a.CheckTarget, r.in.Run, nil); err != nil {
		return err
	}
	if err := r.beginRound(ctx); err != nil {
		return err
	}
	r.enter(ctx, PhaseRollingBack)
	return nil
}

func (r *rollbackRun) beginRound(ctx workflow.Context) error {
	return execute(ctx, "what is to be undone?", a.BeginRollback, r.in.Run, &r.in.Begun)
}

// rollBack undoes a round, and starts another for what is left by workers that were
// shut down meanwhile.
func (r *rollbackRun) rollBack(ctx workflow.Context) error {
	for {
		if err := r.pass(ctx); err != nil {
			return err
		}
		if r.in.Counts.Left == 0 || r.stopping(ctx) {
			return nil
		}
		if err := r.beginRound(ctx); err != nil {
			r.halt(ctx, err)
			return nil
		}
		r.enter(ctx, PhaseRollingBack)
	}
}

// pass goes over all batches of a round, to undo or to verify them. Its error
// continues as new.
func (r *rollbackRun) pass(ctx workflow.Context) error {
	window := func() int { return windowOf(r.in.Rollback.Limits) }
	batches := pass[int]{flight: &r.flight, plan: r.plan, window: window, work: singly(r.batch)}
	if batches.run(ctx, ctx) {
		return workflow.NewContinueAsNewError(ctx, RollbackWorkflow, r.in)
	}
	return nil
}

func (r *rollbackRun) plan(ctx workflow.Context) (next []int, isLast bool, err error) {
	verify, summary := r.in.Phase == PhaseVerifying, "which records are to be undone?"
	if verify {
		summary = "which records are to be verified?"
	}
	var plan activities.RollbackPlan
	if err := execute(ctx, summary, a.PlanRollback, activities.RollbackPlanInput{
		Run: r.in.Run, Round: r.in.Begun.Round, Verify: verify, After: r.in.After, Limit: batchesAPlan,
	}, &plan); err != nil {
		return nil, false, err
	}
	r.in.Counts.Add(plan.Settled)
	r.in.After, r.total = plan.After, plan.Total
	r.show(ctx)
	return plan.Batches, plan.After == plan.Total, nil
}

// batch undoes or verifies one batch. Both may be repeated as they are, also
// after their worker died: see activities.RollBackBatch.
func (r *rollbackRun) batch(ctx workflow.Context, batch int) {
	activity, what := any(a.RollBackBatch), "undo"
	if r.in.Phase == PhaseVerifying {
		activity, what = a.VerifyRollback, "verify"
	}
	var counts migration.RollbackCounts
	if err := execute(withCallRetries(ctx), fmt.Sprintf("%s batch %d of %d", what, batch, r.total), activity, activities.RollbackInput{
		Run: r.in.Run, Round: r.in.Begun.Round, Batch: batch,
	}, &counts); err != nil {
		r.lose(ctx, err)
		return
	}
	r.in.Counts.Add(counts)
	r.show(ctx)
}

func (r *rollbackRun) writeArtifacts(ctx workflow.Context) (RollbackResult, error) {
	result := RollbackResult{Halted: r.halted}
	r.in.Phase = PhaseWriting
	r.show(ctx)
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	err := execute(ctx, "write and count the artifacts", a.WriteRollback, activities.RollbackArtifactsInput{
		Run: r.in.Run, Round: r.in.Begun.Round, FinishedAt: workflow.Now(ctx),
	}, &result.Summary)
	if err != nil {
		return result, err
	}
	r.in.Phase, r.in.Counts = PhaseDone, result.Summary.Records
	r.show(ctx)
	return result, nil
}

// enter begins a phase from its first batch.
func (r *rollbackRun) enter(ctx workflow.Context, phase Phase) {
	r.in.Phase, r.in.After, r.in.Counts = phase, 0, migration.RollbackCounts{}
	r.show(ctx)
}

// show writes the current details for the Web UI.
func (r *rollbackRun) show(ctx workflow.Context) {
	c := r.in.Counts
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("**%s**, %d of %d records\n\n| deleted | gone already | restored | as before already | failed | left |\n|--:|--:|--:|--:|--:|--:|\n| %d | %d | %d | %d | %d | %d |\n",
		r.in.Phase, c.Sum(), r.in.Begun.Items, c.Deleted, c.Gone, c.Restored, c.Kept, c.Failed, c.Left))
}

func (r *rollbackRun) serveProgress(ctx workflow.Context) error {
	return workflow.SetQueryHandler(ctx, QueryProgress, func() (RollbackProgress, error) {
		return RollbackProgress{Phase: r.in.Phase, Items: r.in.Begun.Items, InFlight: r.inFlight, Counts: r.in.Counts}, nil
	})
}
