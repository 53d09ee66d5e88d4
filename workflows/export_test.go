package workflows

import (
	"context"
	"fmt"
	"strings"
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
	steered []activities.SteerInput
	ended   []activities.ExportEndInput
	ending  func() error
}

func newExporter(t *testing.T) *exporter {
	return &exporter{
		t: t, begun: activities.ExportBegun{All: true, Lag: 5 * time.Minute, Records: 100}, calls: map[string]int{}, read: map[string]int{},
		cut: endedAt, begin: func() error { return nil }, ending: func() error { return nil }, reading: func(string, int) error { return nil },
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

func (x *exporter) Steer(_ context.Context, in activities.SteerInput) (activities.Steered, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.steered = append(x.steered, in)
	return activities.Steered{Holds: time.Second}, nil
}

func (x *exporter) EndExport(_ context.Context, in activities.ExportEndInput) error {
	x.note("EndExport")
	x.ended = append(x.ended, in)
	return x.ending()
}

func (x *exporter) environment() *environment {
	e := environmentOf(x.t, &x.journal, x.CheckTarget, x.BeginExport, x.ReadExportPages, x.CutExport, x.ReconcileExport, x.PublishExport, x.Steer, x.EndExport)
	e.SetStartTime(endedAt)
	return e
}

func toExport() ExportInput {
	return ExportInput{Folder: migration.RunFolder("/state/exports/key").Export(), Steering: Steering{Limits: migration.Limits{RateLimit: 4, Workers: 1}}}
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
	if result, err := x.run(e, toExport()); err != nil || !result.Stopped || result.Cancelled || x.count("CutExport")+x.count("PublishExport") != 0 {
		t.Errorf("%+v, %v: %s", result, err, x.story())
	}
	if len(x.ended) != 1 || !x.ended[0].Failure.Stopped || x.ended[0].Failure.Reason != "" || x.ended[0].Cancelled {
		t.Errorf("kept is %+v; want that it was stopped", x.ended)
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
	if _, err := x.run(x.environment(), toExport()); err == nil || Cause(err) != "the target refuses the filter" || x.story() != "CheckTarget, BeginExport, EndExport" {
		t.Errorf("%v: %s", err, x.story())
	}
	if len(x.ended) != 1 || x.ended[0].Failure.Reason != "the target refuses the filter" || x.ended[0].Failure.Stopped {
		t.Errorf("kept is %+v; want the reason", x.ended)
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

// waiting is an export of which the lag, an hour, is waited out.
func waiting(t *testing.T) (*exporter, *environment) {
	x := newExporter(t)
	x.begun.Lag = time.Hour
	return x, x.environment()
}

func TestAnExportIsPausedResumedAndSlowedDown(t *testing.T) {
	x, e := waiting(t)
	noResume := e.at(time.Minute, UpdateResume, anna)
	paused := e.at(2*time.Minute, UpdatePause, anna)
	twice := e.at(3*time.Minute, UpdatePause, anna)
	var p ExportProgress
	e.RegisterDelayedCallback(func() { p = progressOf[ExportProgress](e) }, 4*time.Minute)
	set := e.at(5*time.Minute, UpdateSet, Order{By: anna.By, Set: map[string]string{"rate": "0.5"}})
	wrong := e.at(6*time.Minute, UpdateSet, Order{Set: map[string]string{"rate": "1", "workers": "4"}})
	resumed := e.at(7*time.Minute, UpdateResume, anna)
	if result, err := x.run(e, toExport()); err != nil || result.Stopped || result.Summary.Records != 42 {
		t.Fatalf("%+v, %v: %s", result, err, x.story())
	}
	if !paused.wasDone() || !set.wasDone() || !resumed.wasDone() {
		t.Errorf("pause: %+v; set: %+v; resume: %+v", paused, set, resumed)
	}
	for words, refused := range map[string]*answered{
		"the export is not paused": noResume, "the export is paused already": twice, `a running export has no setting "workers"; expected one of rate, rate-plan`: wrong,
	} {
		if refused.refused == nil || !strings.Contains(refused.refused.Error(), words) {
			t.Errorf("%v; want %q", refused.refused, words)
		}
	}
	if p.Phase != PhaseWaiting || !p.Steering.Paused || !strings.Contains(p.Steering.PausedText, "by anna@desk at 2") {
		t.Errorf("the progress is %+v, %+v; want it paused", p, p.Steering)
	}
	if len(x.steered) != 3 || x.steered[0].Order.Pause == "" || x.steered[1].Order.Limits.Rate != 0.5 || x.steered[1].Order.Pause == "" || !x.steered[2].Order.Resume || x.steered[2].Order.Number != 3 {
		t.Errorf("the limiter was ordered %+v", x.steered)
	}
	if x.steered[0].Run.ID == "" || x.steered[0].Run.Folder != toExport().Folder.RunFolder || len(x.steered[0].Events) != 1 {
		t.Errorf("the first order is %+v", x.steered[0])
	}
}

func TestAnExportIsStoppedOrCancelledByAnOrder(t *testing.T) {
	for _, how := range []string{UpdateStop, UpdateCancel} {
		x, e := waiting(t)
		ended := e.at(time.Minute, how, anna)
		result, err := x.run(e, toExport())
		cancelled := how == UpdateCancel
		if err != nil || !result.Stopped || result.Cancelled != cancelled || !ended.wasDone() || x.count("PublishExport") != 0 {
			t.Errorf("%s: %+v, %v, %+v: %s", how, result, err, ended, x.story())
		}
		if len(x.ended) != 1 || x.ended[0].Cancelled != cancelled || !x.ended[0].Failure.Stopped || len(x.steered) != 1 || !x.steered[0].Order.End {
			t.Errorf("%s: kept is %+v, ordered %+v", how, x.ended, x.steered)
		}
	}
	x, e := waiting(t)
	x.ending = func() error { return temporal.NewNonRetryableApplicationError("no space", activities.Storage, nil) }
	e.at(time.Minute, UpdateCancel, anna)
	if result, err := x.run(e, toExport()); err == nil || Cause(err) != "no space" {
		t.Errorf("%+v, %v; want no cancellation that is not kept", result, err)
	}
}

func TestOrdersToAnExportThatWritesItsFileAreRefused(t *testing.T) {
	x := newExporter(t)
	e := x.environment()
	orders := map[string]*answered{UpdatePause: {}, UpdateSet: {}, UpdateStop: {}, UpdateCancel: {}}
	e.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
		if info.ActivityType.Name == "PublishExport" {
			for name, answer := range orders {
				e.order(name, Order{Set: map[string]string{"rate": "1"}}, answer)
			}
		}
	})
	if result, err := x.run(e, toExport()); err != nil || result.Stopped {
		t.Errorf("%+v, %v: %s", result, err, x.story())
	}
	for name, answer := range orders {
		if answer.refused == nil || !strings.Contains(answer.refused.Error(), "its file is being written") {
			t.Errorf("%s: %+v", name, answer)
		}
	}
}

func TestAnExportThatContinuesAsNewKeepsItsOrders(t *testing.T) {
	x := newExporter(t)
	x.calls[activities.PassAll] = 5
	e := x.environment()
	e.SetCurrentHistoryLength(eventsARun)
	paused := &answered{}
	e.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
		if info.ActivityType.Name == "ReadExportPages" {
			e.order(UpdatePause, anna, paused)
		}
	})
	_, err := x.run(e, toExport())
	further := nextInput[ExportInput](t, err)
	if !paused.wasDone() || !further.Steering.Paused || further.Steering.Orders != 1 || further.Steering.RateLimit != 4 {
		t.Errorf("the next run got %+v, the answer is %+v", further, paused)
	}
	further.Run.ID = "first-run" // a continued run has another
	e = x.environment()
	resumed := &answered{}
	e.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
		if info.ActivityType.Name == "CutExport" {
			e.order(UpdateResume, anna, resumed)
		}
	})
	if _, err := x.run(e, further); err != nil || !resumed.wasDone() || x.steered[1].Order.Number != 2 || x.steered[1].Run != further.Run {
		t.Errorf("%v, %+v: %+v", err, resumed, x.steered)
	}
}
