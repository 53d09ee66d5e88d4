package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/migration"
)

// ExportInput names an export. What it exports is in its folder: a filter can hold user data.
type ExportInput struct {
	Folder migration.ExportFolder `json:"folder"`

	// What the runs before this one have found. Run is the first of them; it is empty in the first.
	Run   activities.Run         `json:"run,omitzero"`
	Begun activities.ExportBegun `json:"begun,omitzero"`
}

// ExportResult is the result of an export.
type ExportResult struct {
	Summary migration.ExportSummary `json:"summary,omitzero"`
	// Stopped says that it was cancelled before the file was complete; what was read is kept.
	Stopped bool `json:"stopped,omitempty"`
}

// ExportProgress is how far an export is. Numbers, and names of attributes.
type ExportProgress struct {
	Phase    Phase     `json:"phase"`
	Records  int       `json:"records"`             // read in this phase
	Total    int64     `json:"total,omitempty"`     // of the target; 0: not known
	NotShown []string  `json:"not_shown,omitempty"` // see activities.ExportBegun
	Until    time.Time `json:"until,omitzero"`      // it waits until then
}

// Phases of an export.
const (
	PhaseReading     Phase = "reading records"
	PhaseWaiting     Phase = "waiting for the index of the target"
	PhaseChanges     Phase = "reading what changed meanwhile"
	PhaseListing     Phase = "listing all records"
	PhaseReconciling Phase = "comparing"
)

// listings is how often the records are listed until no fewer are listed than counted.
const listings = 2

// ExportWorkflow reads the records of a target into a file. Each step is in the folder once it is done, so every run goes
// through all of them, and a later run resumes at the first that is not done. Cancelled, it ends at once and keeps what was
// read.
func ExportWorkflow(ctx workflow.Context, in ExportInput) (ExportResult, error) {
	ctx = withFolder(ctx, in.Folder.Path())
	x := &exportRun{in: in, phase: PhaseInspecting}
	if err := x.serveProgress(ctx); err != nil {
		return ExportResult{}, err
	}
	summary, err := x.run(ctx)
	if err != nil && ctx.Err() != nil {
		x.enter(ctx, PhaseStopped)
		return ExportResult{Stopped: true}, nil //nolint:nilerr // whatever ended with it is done by a later run
	}
	return ExportResult{Summary: summary}, err
}

type exportRun struct {
	in      ExportInput
	phase   Phase
	records int
	until   time.Time
}

func (x *exportRun) run(ctx workflow.Context) (summary migration.ExportSummary, err error) {
	if x.in.Run.ID == "" {
		if err := x.begin(ctx); err != nil {
			return summary, err
		}
	}
	if x.in.Begun.All {
		if err := x.read(ctx, PhaseReading, activities.PassAll); err != nil {
			return summary, err
		}
	}
	var cut activities.ExportCut
	if err := execute(ctx, "of when is the export?", a.CutExport, x.in.Run, &cut); err != nil {
		return summary, err
	}
	if err := x.wait(ctx, cut.At.Add(x.in.Begun.Lag)); err != nil {
		return summary, err
	}
	if err := x.read(ctx, PhaseChanges, activities.PassChanged); err != nil {
		return summary, err
	}
	round, err := x.list(ctx)
	if err != nil {
		return summary, err
	}
	x.enter(ctx, PhaseWriting)
	err = execute(ctx, "write the file", a.PublishExport, activities.ExportPublishInput{Run: x.in.Run, Round: round, FinishedAt: workflow.Now(ctx)}, &summary)
	if err == nil {
		x.enter(ctx, PhaseDone)
		x.records = summary.Records
	}
	return summary, err
}

func (x *exportRun) begin(ctx workflow.Context) error {
	run := activities.Run{Folder: x.in.Folder.RunFolder, ID: workflow.GetInfo(ctx).OriginalRunID}
	checking := withAttempts(ctx, checkAttempts)
	if err := execute(checking, "can the target be used?", a.CheckTarget, run, nil); err != nil {
		return err
	}
	if err := execute(checking, "what does the target show?", a.BeginExport, run, &x.in.Begun); err != nil {
		return err
	}
	x.in.Run = run
	return nil
}

// read makes a pass. Its error may be that the workflow continues as new.
func (x *exportRun) read(ctx workflow.Context, phase Phase, pass string) error {
	x.enter(ctx, phase)
	for {
		var pages activities.ExportPages
		if err := execute(withCallRetries(ctx), fmt.Sprintf("%s, from record %d", phase, x.records+1), a.ReadExportPages, activities.ExportPagesInput{Run: x.in.Run, Pass: pass}, &pages); err != nil {
			return err
		}
		x.records = pages.Records
		x.show(ctx)
		if pages.Done {
			return nil
		}
		if isHistoryLong(ctx) {
			return workflow.NewContinueAsNewError(ctx, ExportWorkflow, x.in)
		}
	}
}

// list lists all records and compares, once more if the target counts more than it lists. It returns the round that counts.
func (x *exportRun) list(ctx workflow.Context) (round int, err error) {
	for round = 1; ; round++ {
		if err := x.read(ctx, PhaseListing, activities.PassListed(round)); err != nil {
			return round, err
		}
		x.enter(ctx, PhaseReconciling)
		var found activities.ExportReconciled
		if err := execute(withCallRetries(ctx), "compare with what was read", a.ReconcileExport, activities.ExportReconcileInput{Run: x.in.Run, Round: round}, &found); err != nil {
			return round, err
		}
		if found.Unlisted == 0 || round == listings {
			return round, nil
		}
		if err := x.wait(ctx, workflow.Now(ctx).Add(x.in.Begun.Lag)); err != nil {
			return round, err
		}
	}
}

func (x *exportRun) wait(ctx workflow.Context, until time.Time) error {
	d := until.Sub(workflow.Now(ctx))
	if d <= 0 {
		return nil
	}
	x.until = until
	x.enter(ctx, PhaseWaiting)
	return sleep(ctx, d, "wait until the index of the target has all changes")
}

func (x *exportRun) enter(ctx workflow.Context, phase Phase) {
	x.phase, x.records = phase, 0
	x.show(ctx)
}

// show writes the current details for the Web UI.
func (x *exportRun) show(ctx workflow.Context) {
	text := fmt.Sprintf("**%s**, %d records\n", x.phase, x.records)
	if len(x.in.Begun.NotShown) > 0 {
		text += "\n" + migration.HiddenText(x.in.Begun.NotShown) + "\n"
	}
	workflow.SetCurrentDetails(ctx, text)
}

func (x *exportRun) serveProgress(ctx workflow.Context) error {
	return workflow.SetQueryHandlerWithOptions(ctx, QueryProgress, func() (ExportProgress, error) {
		p := ExportProgress{Phase: x.phase, Records: x.records, Total: x.in.Begun.Records, NotShown: x.in.Begun.NotShown}
		if x.phase == PhaseWaiting {
			p.Until = x.until
		}
		return p, nil
	}, workflow.QueryHandlerOptions{Description: "How far is it?"})
}
