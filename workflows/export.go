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
	// Steering has its limits at first, and then what operators have changed.
	Steering Steering `json:"steering"`

	// What the runs before this one have found. Run is the first of them; it is empty in the first.
	Run   activities.Run         `json:"run,omitzero"`
	Begun activities.ExportBegun `json:"begun,omitzero"`
}

// ExportResult is the result of an export.
type ExportResult struct {
	Summary migration.ExportSummary `json:"summary,omitzero"`
	// Stopped says that it was ended before the file was complete; what was read is kept, unless it was Cancelled for good.
	Stopped   bool `json:"stopped,omitempty"`
	Cancelled bool `json:"cancelled,omitempty"`
}

// ExportProgress is how far an export is. Numbers, and names of attributes.
type ExportProgress struct {
	Phase    Phase     `json:"phase"`
	Pages    int       `json:"pages,omitempty"`     // read in this phase
	Records  int       `json:"records"`             // on them
	Total    int64     `json:"total,omitempty"`     // of the target; 0: not known
	NotShown []string  `json:"not_shown,omitempty"` // see activities.ExportBegun
	Until    time.Time `json:"until,omitzero"`      // it waits until then
	Steering *Steering `json:"steering"`
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
// through all of them, and a later run resumes at the first that is not done. Cancelled, or stopped by an order, it ends at once
// and keeps what was read; an order to cancel ends it for good.
func ExportWorkflow(ctx workflow.Context, in ExportInput) (ExportResult, error) {
	ctx = withFolder(ctx, in.Folder.Path())
	x := newExportRun(ctx, in)
	if err := x.serveProgress(ctx); err != nil {
		return ExportResult{}, err
	}
	working := x.listen(ctx, x.orders())
	summary, err := x.run(working)
	if err == nil || workflow.IsContinueAsNewError(err) {
		x.answerOrders(ctx)
		return ExportResult{Summary: summary}, err
	}
	result, err := x.end(ctx, working.Err() != nil, err)
	x.answerOrders(ctx)
	return result, err
}

type exportRun struct {
	steered
	in      ExportInput
	phase   Phase
	pages   int
	records int
	until   time.Time
}

func newExportRun(ctx workflow.Context, in ExportInput) *exportRun {
	x := &exportRun{
		in: in, phase: PhaseInspecting,
		steered: steered{
			ref:      activities.Run{Folder: in.Folder.RunFolder, ID: workflow.GetInfo(ctx).OriginalRunID},
			prepared: true,
			steering: in.Steering,
			settings: []string{migration.SettingRate, migration.SettingRatePlan}, // it makes one call at a time
			words: steeredWords{
				what: "export", writing: "its file is being written",
				stopping:   "stopping: what was read is kept; rerun the command to resume",
				cancelling: "cancelling: what was read is removed, and there is no file; the export cannot be resumed",
			},
		},
	}
	x.shown = x.show
	if in.Run.ID != "" { // one that continues as new has another id, and its calls have that of the first
		x.ref = in.Run
	}
	return x
}

func (x *exportRun) orders() []order {
	return []order{x.pausing(x.pause), x.resuming(x.resume), x.setting(x.maySet, x.set), x.stopping(), x.cancelling(x.mayEnd(UpdateCancel))}
}

// end keeps in the folder why there is no file.
func (x *exportRun) end(ctx workflow.Context, stopped bool, why error) (result ExportResult, err error) {
	x.writing = true
	in := activities.ExportEndInput{Run: x.ref, Failure: migration.Failure{At: workflow.Now(ctx).UTC(), Stopped: stopped}, Cancelled: x.steering.Ending == UpdateCancel}
	if !stopped {
		in.Failure.Reason = Cause(why)
	}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	err = execute(ctx, "keep why there is no file", a.EndExport, in, nil)
	switch {
	case !stopped: // whether that is kept or not
		return result, why
	case in.Cancelled && err != nil: // it can be resumed
		return result, err
	case in.Cancelled:
		x.enter(ctx, PhaseCancelled)
	default:
		x.enter(ctx, PhaseStopped)
	}
	return ExportResult{Stopped: true, Cancelled: in.Cancelled}, nil
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
	x.writing = true
	x.enter(ctx, PhaseWriting)
	err = execute(ctx, "write the file", a.PublishExport, activities.ExportPublishInput{Run: x.in.Run, Round: round, FinishedAt: workflow.Now(ctx)}, &summary)
	if err == nil {
		x.enter(ctx, PhaseDone)
		x.records = summary.Records
	}
	return summary, err
}

func (x *exportRun) begin(ctx workflow.Context) error {
	checking := withAttempts(ctx, checkAttempts)
	if err := execute(checking, "can the target be used?", a.CheckTarget, x.ref, nil); err != nil {
		return err
	}
	if err := execute(checking, "what does the target show?", a.BeginExport, x.ref, &x.in.Begun); err != nil {
		return err
	}
	x.in.Run = x.ref
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
		x.pages, x.records = pages.Pages, pages.Records
		x.show(ctx)
		if pages.Done {
			return nil
		}
		if isHistoryLong(ctx) {
			return x.continueAsNew(ctx)
		}
	}
}

// continueAsNew is the error for it, with what operators have ordered until then.
func (x *exportRun) continueAsNew(ctx workflow.Context) error {
	x.answerOrders(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	x.in.Steering = x.steering
	return workflow.NewContinueAsNewError(ctx, ExportWorkflow, x.in)
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
	x.phase, x.pages, x.records = phase, 0, 0
	x.show(ctx)
}

// show writes the current details for the Web UI.
func (x *exportRun) show(ctx workflow.Context) {
	text := fmt.Sprintf("**%s**, %d records", x.phase, x.records)
	if x.steering.Paused {
		text += fmt.Sprintf("\n\nPaused %s. `%s` resumes it. (An update of this workflow, here or as a command of starter.)", x.steering.PausedText, UpdateResume)
	}
	if len(x.in.Begun.NotShown) > 0 {
		text += "\n\n" + migration.HiddenText(x.in.Begun.NotShown)
	}
	workflow.SetCurrentDetails(ctx, text+"\n")
}

func (x *exportRun) serveProgress(ctx workflow.Context) error {
	return workflow.SetQueryHandlerWithOptions(ctx, QueryProgress, func() (ExportProgress, error) {
		p := ExportProgress{Phase: x.phase, Pages: x.pages, Records: x.records, Total: x.in.Begun.Records, NotShown: x.in.Begun.NotShown, Steering: &x.steering}
		if x.phase == PhaseWaiting {
			p.Until = x.until
		}
		return p, nil
	}, workflow.QueryHandlerOptions{Description: "How far is it?"})
}
