package workflows

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"durable-dataload/activities"
	"durable-dataload/internal/migration"
)

// exporter has the activities of an export.
type exporter struct {
	t *testing.T
	journal
	begun    activities.ExportBegun
	calls    map[string]int // that a pass takes; 1 where it is not named
	read     map[string]int // that were made
	unlisted []int64        // by round
	cut      time.Time

	begin   func() error
	reading func(pass string, call int) error
	publish activities.ExportPublishInput
}

func newExporter(t *testing.T) *exporter {
	return &exporter{
		t: t, begun: activities.ExportBegun{All: true, Lag: 5 * time.Minute, Records: 100}, calls: map[string]int{}, read: map[string]int{},
		cut: endedAt, begin: func() error { return nil }, reading: func(string, int) error { return nil },
	}
}

func (x *exporter) CheckTarget(_ context.Context, run activities.Run) error {
	if run.ID == "" || run.Folder == "" {
		x.t.Errorf("CheckTarget got %+v", run)
	}
	x.note("CheckTarget")
	return nil
}

func (x *exporter) BeginExport(context.Context, activities.Run) (activities.ExportBegun, error) {
	x.note("BeginExport")
	return x.begun, x.begin()
}

func (x *exporter) ReadExportPages(_ context.Context, in activities.ExportPagesInput) (activities.ExportPages, error) {
	x.note("ReadExportPages " + in.Pass)
	if err := x.reading(in.Pass, x.count("ReadExportPages "+in.Pass)); err != nil {
		return activities.ExportPages{}, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.read[in.Pass]++
	return activities.ExportPages{Records: 10 * x.read[in.Pass], Done: x.read[in.Pass] >= max(1, x.calls[in.Pass])}, nil
}

func (x *exporter) CutExport(context.Context, activities.Run) (activities.ExportCut, error) {
	x.note("CutExport")
	return activities.ExportCut{At: x.cut, AsOf: x.cut}, nil
}

func (x *exporter) ReconcileExport(_ context.Context, in activities.ExportReconcileInput) (activities.ExportReconciled, error) {
	x.note(fmt.Sprintf("ReconcileExport %d", in.Round))
	if in.Round <= len(x.unlisted) {
		return activities.ExportReconciled{Unlisted: x.unlisted[in.Round-1]}, nil
	}
	return activities.ExportReconciled{}, nil
}

func (x *exporter) PublishExport(_ context.Context, in activities.ExportPublishInput) (migration.ExportSummary, error) {
	x.note(fmt.Sprintf("PublishExport %d", in.Round))
	x.publish = in
	return migration.ExportSummary{Records: 42}, nil
}

func (x *exporter) environment() *environment {
	e := environmentOf(x.t, &x.journal, x.CheckTarget, x.BeginExport, x.ReadExportPages, x.CutExport, x.ReconcileExport, x.PublishExport)
	e.SetStartTime(endedAt)
	return e
}

func toExport() ExportInput {
	return ExportInput{Folder: migration.RunFolder("/state/exports/key").Export()}
}

func (x *exporter) run(e *environment, in ExportInput) (ExportResult, error) {
	x.t.Helper()
	return runToEnd[ExportResult](e, ExportWorkflow, in)
}

func TestAnExportWaitsOutTheLagAndReadsWhatChangedMeanwhile(t *testing.T) {
	x := newExporter(t)
	x.calls[activities.PassAll] = 3
	x.begun.NotShown = []string{"password"}
	e := x.environment()
	var p ExportProgress
	e.SetOnActivityCompletedListener(func(info *activity.Info, _ converter.EncodedValue, _ error) {
		if info.ActivityType.Name == "ReadExportPages" && x.count("ReadExportPages all") == 2 {
			p = progressOf[ExportProgress](e)
		}
	})
	result, err := x.run(e, toExport())
	const want = "CheckTarget, BeginExport, ReadExportPages all, ReadExportPages all, ReadExportPages all, CutExport, " +
		"ReadExportPages changed, ReadExportPages listed-1, ReconcileExport 1, PublishExport 1"
	if err != nil || result.Stopped || result.Summary.Records != 42 || x.story() != want {
		t.Errorf("%+v, %v: %s\nwant %s", result, err, x.story(), want)
	}
	if len(e.timers) != 1 || e.timers[0] > x.begun.Lag || e.timers[0] < x.begun.Lag-time.Minute {
		t.Errorf("it waits for %v, want the lag since the cut", e.timers)
	}
	if p.Phase != PhaseReading || p.Records != 10 && p.Records != 20 || p.Total != 100 || len(p.NotShown) != 1 {
		t.Errorf("the progress was %+v", p)
	}
	if p := progressOf[ExportProgress](e); p.Phase != PhaseDone || p.Records != 42 {
		t.Errorf("the progress is %+v at the end", p)
	}
	if names := e.summaries("ReadExportPages"); names[1] != "reading records, from record 11" {
		t.Errorf("the summaries are %q", names)
	}
}

func TestAnExportSinceAnotherReadsOnlyChanges(t *testing.T) {
	x := newExporter(t)
	x.begun = activities.ExportBegun{}
	e := x.environment()
	const want = "CheckTarget, BeginExport, CutExport, ReadExportPages changed, ReadExportPages listed-1, ReconcileExport 1, PublishExport 1"
	if _, err := x.run(e, toExport()); err != nil || x.story() != want || len(e.timers) != 0 {
		t.Errorf("%v, timers %v: %s\nwant %s", err, e.timers, x.story(), want)
	}
}

func TestAnExportListsAgainWhatIsCountedAndNotListed(t *testing.T) {
	for _, c := range []struct {
		unlisted []int64
		round    int
	}{{[]int64{0}, 1}, {[]int64{3, 0}, 2}, {[]int64{3, 3, 3}, 2}} {
		x := newExporter(t)
		x.unlisted = c.unlisted
		e := x.environment()
		if _, err := x.run(e, toExport()); err != nil || x.publish.Round != c.round || x.count("ReconcileExport") != c.round || len(e.timers) != c.round {
			t.Errorf("%v, %v: timers %v: %s", c.unlisted, err, e.timers, x.story())
		}
	}
}

func TestAStoppedExportKeepsWhatWasRead(t *testing.T) {
	x := newExporter(t)
	x.calls[activities.PassAll] = 1000
	e := x.environment()
	x.reading = func(_ string, call int) error {
		if call == 3 {
			e.CancelWorkflow()
		}
		if call > 3 {
			<-e.endsNow()
		}
		return nil
	}
	if result, err := x.run(e, toExport()); err != nil || !result.Stopped || x.count("CutExport")+x.count("PublishExport") != 0 {
		t.Errorf("%+v, %v: %s", result, err, x.story())
	}
	x.calls[activities.PassAll], x.reading = 1, func(string, int) error { return nil }
	if result, err := x.run(x.environment(), toExport()); err != nil || result.Stopped || x.count("PublishExport") != 1 {
		t.Errorf("resumed: %+v, %v: %s", result, err, x.story())
	}
}

func TestTroubleEndsAnExportWithItsCause(t *testing.T) {
	x := newExporter(t)
	x.begin = func() error {
		return temporal.NewNonRetryableApplicationError("the target refuses the filter", activities.Refused, nil)
	}
	if _, err := x.run(x.environment(), toExport()); err == nil || Cause(err) != "the target refuses the filter" || x.story() != "CheckTarget, BeginExport" {
		t.Errorf("%v: %s", err, x.story())
	}
	x = newExporter(t)
	x.reading = func(string, int) error { return errNoAnswer }
	if _, err := x.run(x.environment(), toExport()); err == nil || x.count("ReadExportPages") != callAttempts {
		t.Errorf("%v: %s", err, x.story())
	}
}

func TestAnExportContinuesAsNew(t *testing.T) {
	x := newExporter(t)
	x.calls[activities.PassAll] = 5
	e := x.environment()
	e.SetCurrentHistoryLength(eventsARun)
	_, err := x.run(e, toExport())
	further := nextInput[ExportInput](t, err)
	if further.Run.ID == "" || !further.Begun.All || x.count("ReadExportPages") != 1 {
		t.Errorf("the next run got %+v: %s", further, x.story())
	}
	if _, err := x.run(x.environment(), further); err != nil || x.count("CheckTarget") != 1 || x.count("ReadExportPages all") != 5 || x.count("PublishExport") != 1 {
		t.Errorf("%v: %s", err, x.story())
	}
}
