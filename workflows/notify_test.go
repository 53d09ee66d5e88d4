package workflows

import (
	"fmt"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
)

func notifying(s *migration.Spec) { s.Notify = true }

// undelivered is the error of a receiver that is down.
var undelivered = temporal.NewApplicationError("hooks.example.com did not accept the notice", activities.Undelivered)

func (f *fake) delivered() (all []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.notices {
		all = append(all, strings.TrimPrefix(string(n.Type), "migration."))
	}
	return all
}

func TestStartAndEndAreNotified(t *testing.T) {
	f := newFake(t, 2)
	if _, err := newEnvironment(t, f).migrate(notifying); err != nil {
		t.Fatal(err)
	}
	expect(t, "notices", f.delivered(), []string{"started", "ended"})
	start, end := f.notices[0], f.notices[1]
	for _, n := range f.notices {
		if spec := typicalSpec(); n.WorkflowID != spec.ID || n.DataFile != "users-complete-2026-11-22.csv" || n.Target != spec.Target.Host() || n.EntityType != "user" ||
			n.ID == "" || strings.Contains(n.ID, ".") || n.Timestamp.IsZero() || n.Text == "" {
			t.Errorf("%+v", n)
		}
	}
	if start.ID == end.ID {
		t.Errorf("both have the id %s", start.ID)
	}
	if start.Records != nil || start.ExitCode != nil || !strings.Contains(start.Text, "20 records") || !strings.HasPrefix(start.Command, "starter status ") {
		t.Errorf("start: %+v", start)
	}
	if end.Records == nil || end.Records.Created != 20 || end.ExitCode == nil || *end.ExitCode != migration.ExitDone || end.Phase != string(PhaseDone) || end.Command != "" {
		t.Errorf("end: %+v", end)
	}
}

func TestWithoutNotifyThereAreNoNotices(t *testing.T) {
	f := newFake(t, 1)
	e := newEnvironment(t, f)
	if _, err := e.migrate(nil); err != nil || len(f.notices) != 0 || len(e.child) != 1 {
		t.Errorf("%v; notices %q, children %q", err, f.delivered(), e.child)
	}
}

func TestTheLastNoticeSaysHowItEnded(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*fake, *environment)
		notices []string
		code    int
		words   string
	}{
		{"an input that is refused", func(f *fake, _ *environment) {
			f.inspect = func() error {
				return temporal.NewNonRetryableApplicationError("line 3 is no CSV", activities.Refused, nil)
			}
		}, []string{"ended"}, migration.ExitCannotRun, "could not run: line 3 is no CSV"},
		{"failed records", func(f *fake, _ *environment) {
			f.summary = migration.Counts{Total: 10, Created: 9, Failed: 1}
		}, []string{"started", "ended"}, migration.ExitFailed, "failed"},
		{"stopped by an operator", func(f *fake, e *environment) {
			ends := e.endsNow()
			f.load = func(batchInput, int) (activities.BatchResult, error) {
				e.CancelWorkflow()
				<-ends
				return allCreated, nil
			}
			f.summary = migration.Counts{Total: 10, Remaining: 10}
		}, []string{"started", "ended"}, migration.ExitStopped, "Rerun the command"},
		{"halted by trouble", func(f *fake, _ *environment) {
			f.plan = func() error { return trouble("the disk is full") }
			f.summary = migration.Counts{Total: 10, Remaining: 10}
		}, []string{"started", "ended"}, migration.ExitStopped, "the disk is full"},
	} {
		f := newFake(t, 1)
		e := newEnvironment(t, f)
		c.change(f, e)
		_, _ = e.migrate(notifying)
		expect(t, c.name, f.delivered(), c.notices)
		end := f.notices[len(f.notices)-1]
		if end.ExitCode == nil || *end.ExitCode != c.code || !strings.Contains(end.Text, c.words) || (end.Records == nil) != (c.code == migration.ExitCannotRun) {
			t.Errorf("%s: %+v; want exit code %d and %q", c.name, end, c.code, c.words)
		}
	}
}

func TestAMigrationNeitherWaitsForANoticeNorFailsWithIt(t *testing.T) {
	f := newFake(t, 1)
	f.deliver = func(activities.NotifyInput, int) error { return undelivered }
	e := newEnvironment(t, f)
	start, took := e.Now(), time.Duration(0)
	f.finish = func(activities.ArtifactsInput) error {
		took = e.Now().Sub(start)
		return nil
	}
	result, err := e.migrate(notifying)
	if err != nil || result.Summary.Records.Created != 10 || took > time.Minute {
		t.Errorf("%+v, %v, after %v; want no pause of a notice in it", result, err, took)
	}
	if f.count("Notify ") == 0 || len(f.notices) != 0 {
		t.Errorf("%s; notices %q, want attempts and no notice delivered", f.story(), f.delivered())
	}
	for _, o := range e.children {
		if !strings.Contains(o.WorkflowID, "/notify-") {
			continue
		}
		if o.ParentClosePolicy != enumspb.PARENT_CLOSE_POLICY_ABANDON || o.WorkflowIDReusePolicy != enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE {
			t.Errorf("%s ends with %v, its id may be used again: %v", o.WorkflowID, o.ParentClosePolicy, o.WorkflowIDReusePolicy)
		}
	}
}

func deliver(t *testing.T, f *fake) (e *environment, took time.Duration, err error) {
	t.Helper()
	e = newEnvironment(t, f)
	start := e.Now()
	e.ExecuteWorkflow(NotifyWorkflow, activities.NotifyInput{Notice: notify.Notice{ID: "msg_1", Type: notify.Paused}})
	if !e.IsWorkflowCompleted() {
		t.Fatal("the notice has no end")
	}
	return e, e.Now().Sub(start), e.GetWorkflowError()
}

func TestANoticeIsRetried(t *testing.T) {
	f := newFake(t, 0)
	f.deliver = func(_ activities.NotifyInput, attempt int) error {
		if attempt < 8 {
			return undelivered
		}
		return nil
	}
	e, took, err := deliver(t, f)
	// 1 + 2 + 4 … + 64 s.
	if err != nil || len(f.notices) != 1 || took.Round(time.Second) != 127*time.Second {
		t.Errorf("%v, %d delivered after %v; want one after 127s", err, len(f.notices), took)
	}
	// This environment gives up after ten attempts, the service as the options say.
	o := e.asked[0].options
	if o.ScheduleToCloseTimeout != 24*time.Hour || o.RetryPolicy.MaximumAttempts != 0 || o.RetryPolicy.MaximumInterval != 15*time.Minute || o.RetryPolicy.NonRetryableErrorTypes != nil {
		t.Errorf("a notice is tried for %v with %+v; want a day, and any number of attempts", o.ScheduleToCloseTimeout, o.RetryPolicy)
	}
}

func TestANoticeWaitsAsLongAsTheReceiverAsks(t *testing.T) {
	f := newFake(t, 0)
	f.deliver = func(_ activities.NotifyInput, attempt int) error {
		if attempt == 1 {
			return temporal.NewApplicationErrorWithOptions("busy", activities.Undelivered, temporal.ApplicationErrorOptions{NextRetryDelay: 10 * time.Minute})
		}
		return nil
	}
	if _, took, err := deliver(t, f); err != nil || took.Round(time.Second) != 10*time.Minute {
		t.Errorf("%v after %v, want it delivered after 10m", err, took)
	}
}

func TestANoticeThatIsNeverAcceptedIsGivenUp(t *testing.T) {
	f := newFake(t, 0)
	f.deliver = func(activities.NotifyInput, int) error {
		return temporal.NewNonRetryableApplicationError("hooks.example.com did not accept the notice: HTTP 404", activities.GivenUp, nil)
	}
	if _, _, err := deliver(t, f); err == nil || f.count("Notify") != 1 {
		t.Errorf("%v after %d attempts, want the failure of the first", err, f.count("Notify"))
	}
}

// notifies runs a workflow that starts notices.
func notifies(t *testing.T, f *fake, id string, body func(workflow.Context, activities.Run)) *environment {
	t.Helper()
	e := newEnvironment(t, f)
	e.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: id, TaskQueue: "migration-users.csv-0123"})
	e.ExecuteWorkflow(func(ctx workflow.Context) error {
		body(ctx, activities.Run{ID: workflow.GetInfo(ctx).OriginalRunID})
		return workflow.Sleep(ctx, time.Hour) // so that all is delivered
	})
	if err := e.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestANoticeIsDeliveredOnce(t *testing.T) {
	f := newFake(t, 0)
	e := notifies(t, f, "migration-users.csv-0123/load-01234567-part-2", func(ctx workflow.Context, run activities.Run) {
		for _, number := range []int64{1, 1, 2} {
			startNotice(ctx, run, notify.Notice{Type: notify.Paused}, number)
			_ = workflow.Sleep(ctx, time.Minute) // the first is delivered, and its workflow over
		}
	})
	expect(t, "notices", f.delivered(), []string{"paused", "paused"})
	if f.notices[0].ID == f.notices[1].ID {
		t.Errorf("two pauses have the id %s", f.notices[0].ID)
	}
	if got, want := e.child[0], "NotifyWorkflow migration-users.csv-0123/notify-paused-01234567-89ab-cdef-0123-456789abcdef-1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// The service derives run ids from the time: those of a minute begin with the same digits.
func TestRunsOfOneMinuteHaveTheirOwnNotices(t *testing.T) {
	const one, two = "019ad0e4-1111-7000-8000-000000000001", "019ad0e4-2222-7000-8000-000000000002"
	if first, second := NoticeID("migration-users.csv-0123", one, notify.Started, 1), NoticeID("migration-users.csv-0123", two, notify.Started, 1); first == second {
		t.Errorf("two runs have the notice %s; want one each", first)
	}
	var ids []string
	for _, run := range []string{one, two} {
		e := newEnvironment(t, newFake(t, 0))
		e.run = run
		e.ExecuteWorkflow(func(ctx workflow.Context) error {
			ids = append(ids, childID(ctx, "load"))
			return nil
		})
	}
	if ids[0] == ids[1] {
		t.Errorf("two runs have the child %s; want one each", ids[0])
	}
}

// The queue of one migration is polled as long as it runs.
func TestNoticesOutliveTheQueueOfTheirMigration(t *testing.T) {
	for id, want := range map[string]string{
		"migration-users.csv-0123":               NoticeQueue,
		"migration-users.csv-0123/load-01234567": NoticeQueue,
		"migration-others.csv-0123":              "migration-users.csv-0123", // which it shares
	} {
		e := notifies(t, newFake(t, 0), id, func(ctx workflow.Context, run activities.Run) {
			startNotice(ctx, run, notify.Notice{Type: notify.Paused}, 1)
		})
		if got := e.children[0].TaskQueue; got != want {
			t.Errorf("%s: the task queue is %q, want %q", id, got, want)
		}
	}
}

func TestEachChangeOfTheBreakerIsNotifiedOnce(t *testing.T) {
	const probeAfter = time.Minute
	type seen struct {
		at   time.Duration // after the beginning
		open int           // minutes after the beginning when it opened, 0 = it is closed
	}
	for _, c := range []struct {
		name string
		seen []seen
		want []string // and in which minute
	}{
		{"never open", []seen{{1, 0}, {2, 0}}, nil},
		{"open and closed", []seen{{1, 1}, {2, 1}, {3, 1}, {9, 0}, {10, 0}}, []string{"breaker_opened 1", "breaker_closed 9"}},
		{"twice", []seen{{1, 1}, {5, 0}, {6, 6}, {9, 0}}, []string{"breaker_opened 1", "breaker_closed 5", "breaker_opened 6", "breaker_closed 9"}},
		{"closed and open between two batches", []seen{{1, 1}, {6, 6}, {9, 0}}, []string{"breaker_opened 1", "breaker_opened 6", "breaker_closed 9"}},
		{"a batch from before it opened comes late", []seen{{1, 1}, {1, 0}, {2, 1}, {9, 0}}, []string{"breaker_opened 1", "breaker_closed 9"}},
	} {
		f := newFake(t, 0)
		var start time.Time
		notifies(t, f, "migration-users.csv-0123/load-01234567", func(ctx workflow.Context, run activities.Run) {
			start = workflow.Now(ctx)
			// Two parts of a round.
			var one, other breakerNotice
			for _, s := range c.seen {
				_ = workflow.Sleep(ctx, start.Add(s.at*time.Minute).Sub(workflow.Now(ctx)))
				var state *limiter.Gate
				if s.open > 0 {
					opened := start.Add(time.Duration(s.open) * time.Minute)
					state = &limiter.Gate{Breaker: true, Closed: "http 503, 5 calls in a row", Since: opened, Probe: workflow.Now(ctx).Add(probeAfter)}
				}
				one.saw(ctx, run, PhaseLoading, state)
				other.saw(ctx, run, PhaseLoading, state)
			}
		})
		got := f.delivered()
		for i, n := range f.notices {
			got[i] += fmt.Sprintf(" %d", n.Timestamp.Sub(start)/time.Minute)
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		for _, n := range f.notices {
			if n.Phase != "loading" || n.Command != "starter status migration-users.csv-0123" || n.Type == notify.BreakerOpened && !strings.Contains(n.Text, "http 503") {
				t.Errorf("%s: %+v", c.name, n)
			}
		}
	}
}
