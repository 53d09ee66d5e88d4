package workflows

import (
	"fmt"
	"time"

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
	Records  int                    `json:"records"` // to verify
	InFlight int                    `json:"in_flight,omitempty"`
	Found    migration.VerifyCounts `json:"found"`
}

// VerifyWorkflow reads back what a migration has written, and writes down what is
// not as it should be. Cancelled, it starts no more batches, and writes down what
// it has found so far. It changes nothing in the target, and nothing of what the
// migration knows.
func VerifyWorkflow(ctx workflow.Context, in VerifyWorkflowInput) (migration.VerifySummary, error) {
	ctx = withFolder(ctx, in.Verification.Folder.Path())
	v := &verifyRun{in: in, phase: PhaseVerifying}
	if err := v.serveProgress(ctx); err != nil {
		return migration.VerifySummary{}, err
	}
	return v.run(ctx)
}

func (v *verifyRun) run(ctx workflow.Context) (migration.VerifySummary, error) {
	if v.in.Run.ID == "" {
		if err := v.begin(ctx); err != nil {
			return migration.VerifySummary{}, err
		}
	}
	window := func() int { return windowOf(v.in.Verification.Limits) }
	batches := pass[activities.PlannedBatch]{flight: &v.flight, plan: v.plan, window: window, work: singly(v.verifyBatch)}
	if batches.run(ctx, ctx) {
		return migration.VerifySummary{}, workflow.NewContinueAsNewError(ctx, VerifyWorkflow, v.in)
	}
	return v.writeArtifacts(ctx)
}

type verifyRun struct {
	flight
	in      VerifyWorkflowInput
	phase   Phase
	records int // to verify
	total   int // batches of the input
}

func (v *verifyRun) begin(ctx workflow.Context) error {
	v.in.Run = activities.Run{Folder: v.in.Verification.Folder.RunFolder, ID: workflow.GetInfo(ctx).OriginalRunID}
	return execute(withAttempts(ctx, checkAttempts), "can the target be used?", a.CheckTarget, v.in.Run, nil)
}

func (v *verifyRun) plan(ctx workflow.Context) (next []activities.PlannedBatch, isLast bool, err error) {
	var plan activities.VerifyPlan
	if err := execute(ctx, "which records are to be verified?", a.PlanVerify, activities.VerifyPlanInput{
		Run: v.in.Run, After: v.in.After, Limit: batchesAPlan,
	}, &plan); err != nil {
		return nil, false, err
	}
	v.in.After, v.records, v.total = plan.After, plan.Records, plan.Total
	v.in.Found.VerifyCounts.Add(plan.Settled)
	v.show(ctx)
	return plan.Batches, plan.After == plan.Total, nil
}

func (v *verifyRun) verifyBatch(ctx workflow.Context, batch activities.PlannedBatch) {
	first, last := batch.Lines()
	found, err := readBack(ctx, fmt.Sprintf("verify batch %d of %d, lines %d to %d", batch.Position(), v.total, first, last), activities.VerifyInput{
		Run: v.in.Run, Batch: batch.Position(), Until: RetriesMissingUntil(v.in.Verification),
	})
	if err != nil {
		v.lose(ctx, err)
		return
	}
	v.in.Found.Add(found)
	v.show(ctx)
}

// RetriesMissingUntil is until when a verification retries to find a record that
// is not there: new ones can stay invisible for minutes.
func RetriesMissingUntil(v migration.Verification) time.Time { return v.Ended.Add(invisibleFor) }

// readBack compares one batch with what the target has of it. It may be repeated
// as it is.
func readBack(ctx workflow.Context, summary string, in activities.VerifyInput) (found migration.VerifyResult, err error) {
	err = execute(withCallRetries(ctx), summary, a.VerifyBatch, in, &found)
	return found, err
}

func (v *verifyRun) writeArtifacts(ctx workflow.Context) (summary migration.VerifySummary, err error) {
	v.phase = PhaseWriting
	v.show(ctx)
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := execute(ctx, "write what was found", a.WriteVerify, activities.VerifyArtifactsInput{
		Run: v.in.Run, FinishedAt: workflow.Now(ctx), Halted: v.halted,
	}, &summary); err != nil {
		return summary, err
	}
	v.phase, v.in.Found = PhaseDone, summary.Found
	v.show(ctx)
	return summary, nil
}

// show writes the current details for the Web UI.
func (v *verifyRun) show(ctx workflow.Context) {
	c := v.in.Found
	text := fmt.Sprintf("**%s**, %d of %d records\n\n| as it should be | different | missing | not shown | not loaded |\n|--:|--:|--:|--:|--:|\n| %d | %d | %d | %d | %d |\n",
		v.phase, c.Sum(), v.records, c.Equal, c.Different, c.Missing, c.Unseen, c.NotLoaded)
	if v.phase == PhaseDone {
		text += "\n" + c.Text() + "\n"
	}
	workflow.SetCurrentDetails(ctx, text)
}

func (v *verifyRun) serveProgress(ctx workflow.Context) error {
	return workflow.SetQueryHandlerWithOptions(ctx, QueryProgress, func() (VerifyProgress, error) {
		return VerifyProgress{Phase: v.phase, Records: v.records, InFlight: v.inFlight, Found: v.in.Found.VerifyCounts}, nil
	}, workflow.QueryHandlerOptions{Description: "How far is it, and what was found?"})
}
