package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/migration"
)

// VerifyWorkflowInput is a verification, and how far it is.
type VerifyWorkflowInput struct {
	Verification migration.Verification `json:"verification"`

	// What the runs before this one have found. Run is the first of them; it is
	// empty in the first.
	Run   activities.Run         `json:"run,omitzero"`
	After int                    `json:"after,omitempty"` // batch
	Found migration.VerifyResult `json:"found,omitzero"`
}

// VerifyProgress is how far a verification is. Numbers only.
type VerifyProgress struct {
	Phase    Phase                  `json:"phase"`
	Records  int                    `json:"records"` // to look at
	InFlight int                    `json:"in_flight,omitempty"`
	Found    migration.VerifyCounts `json:"found"`
}

// VerifyWorkflow reads back what a migration has written, and writes down what is
// not as it should be. Cancelled, it begins no more batches, and writes down what
// it has found so far. It changes nothing in the target, and nothing of what the
// migration knows.
func VerifyWorkflow(ctx workflow.Context, in VerifyWorkflowInput) (migration.VerifySummary, error) {
	ctx = onStore(ctx, migration.Folder(in.Verification.Folder))
	v := &verifyRun{in: in, phase: PhaseVerifying, found: in.Found}
	if err := v.serveProgress(ctx); err != nil {
		return migration.VerifySummary{}, err
	}
	return v.run(ctx)
}

func (v *verifyRun) run(ctx workflow.Context) (migration.VerifySummary, error) {
	if v.in.Run.ID == "" {
		v.in.Run = activities.Run{Folder: migration.Folder(v.in.Verification.Folder), ID: workflow.GetInfo(ctx).OriginalRunID}
		if err := execute(withRetries(withActivity(ctx, "can the target be used?"), checkAttempts), a.CheckTarget, v.in.Run, nil); err != nil {
			return migration.VerifySummary{}, err
		}
	}
	if err := v.pass(ctx); err != nil {
		return migration.VerifySummary{}, err
	}
	return v.writeArtifacts(ctx)
}

// LooksAgainUntil is until when a verification looks again for a record that is
// not there: new ones can stay invisible for minutes.
func LooksAgainUntil(v migration.Verification) time.Time { return v.Ended.Add(lookAgainFor) }

type verifyRun struct {
	flight
	in      VerifyWorkflowInput
	phase   Phase
	found   migration.VerifyResult
	records int // to look at
}

// pass goes over the batches. Its error continues as new.
func (v *verifyRun) pass(ctx workflow.Context) error {
	until := LooksAgainUntil(v.in.Verification)
	for !v.stopping(ctx) {
		plan, err := v.plan(ctx)
		if err != nil {
			v.halt(ctx, err)
			break
		}
		for _, batch := range plan.Batches {
			if !v.waitForRoom(ctx, windowOf(v.in.Verification.Limits)) {
				break
			}
			first, last := batch.Lines()
			name := fmt.Sprintf("verify batch %d of %d, lines %d to %d", batch.Position(), plan.Total, first, last)
			v.start(ctx, func(ctx workflow.Context) { v.batch(ctx, v.in.Run, batch.Position(), until, name) })
		}
		if v.stopping(ctx) {
			break
		}
		v.in.After = plan.After
		if plan.After == plan.Total {
			break
		}
		if shouldContinueAsNew(ctx) {
			v.drain(ctx)
			if !v.stopping(ctx) {
				v.in.Found = v.found
				return workflow.NewContinueAsNewError(ctx, VerifyWorkflow, v.in)
			}
		}
	}
	v.drain(ctx)
	return nil
}

func (v *verifyRun) plan(ctx workflow.Context) (activities.VerifyPlan, error) {
	var plan activities.VerifyPlan
	err := execute(withActivity(ctx, "which records are to be looked at?"), a.PlanVerify, activities.VerifyPlanInput{
		Run: v.in.Run, After: v.in.After, Limit: batchesAPlan,
	}, &plan)
	if err == nil {
		v.records = plan.Records
		v.found.VerifyCounts.Add(plan.Settled)
		v.show(ctx)
	}
	return plan, err
}

// batch reads one batch back. It may be repeated as it is.
func (v *verifyRun) batch(ctx workflow.Context, run activities.Run, batch int, until time.Time, name string) {
	options := workflow.GetActivityOptions(withActivity(ctx, name))
	options.RetryPolicy = retries(updateAttempts)
	options.RetryPolicy.MaximumInterval = updatePause
	var found migration.VerifyResult
	err := execute(workflow.WithActivityOptions(ctx, options), a.VerifyBatch, activities.VerifyInput{Run: run, Batch: batch, Until: until}, &found)
	switch {
	case err == nil:
		v.found.Add(found)
		v.show(ctx)
		return
	case !temporal.IsCanceledError(err):
		v.halt(ctx, err)
	}
	v.lost++
}

func (v *verifyRun) writeArtifacts(ctx workflow.Context) (summary migration.VerifySummary, err error) {
	v.phase = PhaseWriting
	v.show(ctx)
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := execute(withActivity(ctx, "write what was found"), a.WriteVerify, activities.VerifyArtifactsInput{
		Run: v.in.Run, FinishedAt: workflow.Now(ctx), Halted: v.halted,
	}, &summary); err != nil {
		return summary, err
	}
	v.phase, v.found = PhaseDone, summary.Found
	v.show(ctx)
	return summary, nil
}

// show writes the current details for the Web UI. The canary, which has no phase
// of its own, leaves them alone.
func (v *verifyRun) show(ctx workflow.Context) {
	if v.phase == "" {
		return
	}
	c := v.found
	text := fmt.Sprintf("**%s**, %d of %d records\n\n| as it should be | different | missing | not shown | not loaded |\n|--:|--:|--:|--:|--:|\n| %d | %d | %d | %d | %d |\n",
		v.phase, c.Sum(), v.records, c.Equal, c.Different, c.Missing, c.Unseen, c.NotLoaded)
	if v.phase == PhaseDone {
		text += "\n" + c.Text() + "\n"
	}
	workflow.SetCurrentDetails(ctx, text)
}

func (v *verifyRun) serveProgress(ctx workflow.Context) error {
	return workflow.SetQueryHandlerWithOptions(ctx, QueryProgress, func() (VerifyProgress, error) {
		return VerifyProgress{Phase: v.phase, Records: v.records, InFlight: v.inFlight, Found: v.found.VerifyCounts}, nil
	}, workflow.QueryHandlerOptions{Description: "How far is it, and what was found?"})
}

// canaryWindow is how many batches of a canary are read back at once. The pace is
// the gate's.
const canaryWindow = 10

// verifyBatches reads back what a migration has written of some of its batches,
// within its own run: the canary. What is not there is looked for again, for a
// few minutes. The error says that it was cancelled, or why not all could be
// looked at; what was found until then comes with it.
func verifyBatches(ctx workflow.Context, run activities.Run, from, to int) (migration.VerifyResult, error) {
	v := &verifyRun{}
	until := workflow.Now(ctx).Add(lookAgainFor)
	var failed error
	for batch := from; batch <= to && v.waitForRoom(ctx, canaryWindow); batch++ {
		v.start(ctx, func(ctx workflow.Context) {
			v.batch(ctx, run, batch, until, fmt.Sprintf("read back batch %d of %d to %d", batch, from, to))
		})
	}
	v.drain(ctx)
	switch {
	case ctx.Err() != nil:
		failed = ctx.Err()
	case v.halted != "":
		failed = temporal.NewApplicationError(v.halted, activities.Unreachable)
	}
	return v.found, failed
}
