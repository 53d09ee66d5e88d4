package workflows

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/internal/limiter"
)

// limiterEnvironment runs a limiter. Its updates are sent at moments after its start.
type limiterEnvironment struct {
	*testsuite.TestWorkflowEnvironment
	t       *testing.T
	n       int
	deleted []string // runs
}

func newLimiterEnvironment(t *testing.T) *limiterEnvironment {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	e := &limiterEnvironment{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), t: t}
	e.SetStartTime(time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC))
	e.RegisterActivityWithOptions(func(run workflow.Execution) error { e.deleted = append(e.deleted, run.RunID); return nil }, activity.RegisterOptions{Name: deleteRun})
	return e
}

// send sends an update, and gives its result to got.
func (e *limiterEnvironment) send(at time.Duration, name string, arg any, got func(any)) {
	e.n++
	id := fmt.Sprint("update-", e.n)
	e.RegisterDelayedCallback(func() {
		e.UpdateWorkflow(name, id, &testsuite.TestUpdateCallback{
			OnAccept: func() {},
			OnReject: func(err error) { e.t.Errorf("%s was rejected: %v", name, err) },
			OnComplete: func(result any, err error) {
				if err != nil {
					e.t.Errorf("%s failed: %v", name, err)
				}
				got(result)
			},
		}, arg)
	}, at)
}

func ask(seq int64, reports ...limiter.Report) limiter.Request {
	return limiter.Request{
		Worker: "one/1", Seq: seq, Clock: "boot", Sent: time.Duration(seq) * time.Second, Travel: 10 * time.Millisecond, Reports: reports,
		Needs: []limiter.Need{{Run: "users/run", Limits: limiter.Limits{Rate: 4, Workers: 3, Breaker: 5}, InFlight: 1, Slots: 3, Ready: 2}},
	}
}

func nothing(any) {}

func TestALimiterEndsOnlyWhenNothingIsPending(t *testing.T) {
	for name, tc := range map[string]struct {
		last func(*limiterEnvironment)
		ends bool
	}{
		"no worker asks any more": {func(*limiterEnvironment) {}, true},
		"a pause of the target": {func(e *limiterEnvironment) {
			e.send(2*time.Second, UpdateOrder, limiter.Order{Pause: "paused by anna"}, nothing)
		}, false},
		"a pause of a run": {func(e *limiterEnvironment) {
			e.send(2*time.Second, UpdateOrder, limiter.Order{Run: "users/run", Pause: "paused by anna"}, nothing)
		}, false},
		"a pause of a run that has ended": {func(e *limiterEnvironment) {
			e.send(2*time.Second, UpdateOrder, limiter.Order{Run: "users/run", Pause: "paused by anna"}, nothing)
			e.send(3*time.Second, UpdateOrder, limiter.Order{Run: "users/run", End: true}, nothing)
		}, true},
		"a rest that the target asks for": {func(e *limiterEnvironment) {
			e.send(2*time.Second, UpdateLease, ask(2, limiter.Report{Run: "users/run", Calls: 1, Busy: true, RetryAfter: 10 * time.Hour, Reason: "http 503"}), nothing)
		}, false},
		"a breaker that is open": {func(e *limiterEnvironment) {
			e.send(2*time.Second, UpdateLease, ask(2, limiter.Report{Run: "users/run", Calls: 5, Unknown: true, Reason: "http 502"}), nothing)
		}, false},
	} {
		e := newLimiterEnvironment(t)
		e.send(time.Second, UpdateLease, ask(1), nothing)
		tc.last(e)
		ended := true
		e.RegisterDelayedCallback(func() { ended = false; e.CancelWorkflow() }, time.Hour)
		e.ExecuteWorkflow(LimiterWorkflow, LimiterInput{Target: "api.example.com"})
		if ended != tc.ends {
			t.Errorf("%s: the limiter has ended within an hour: %t, want %t", name, ended, tc.ends)
		}
	}
}

func TestALimiterContinuesAsNewWithWhatItKnows(t *testing.T) {
	e := newLimiterEnvironment(t)
	var before limiter.Answer
	for n := range leasesARun {
		e.send(time.Duration(n)*time.Millisecond, UpdateLease, ask(int64(n+1)), func(a any) { before = a.(limiter.Answer) })
	}
	e.ExecuteWorkflow(LimiterWorkflow, LimiterInput{Target: "api.example.com", Before: "the run before"})
	next := nextInput[LimiterInput](t, e.GetWorkflowError())
	if len(e.deleted) != 1 || e.deleted[0] != "the run before" {
		t.Errorf("%q was deleted, want the run before", e.deleted)
	}
	again := newLimiterEnvironment(t)
	again.SetStartTime(e.Now())
	again.send(0, UpdateLease, ask(leasesARun), func(a any) {
		if got := a.(limiter.Answer); fmt.Sprint(got) != fmt.Sprint(before) {
			t.Errorf("the last request, repeated, is answered with %+v; want %+v as before", got, before)
		}
	})
	again.RegisterDelayedCallback(again.CancelWorkflow, time.Second)
	again.ExecuteWorkflow(LimiterWorkflow, next)
}

func TestAnOrderOfALimiterSaysWhenItHolds(t *testing.T) {
	e := newLimiterEnvironment(t)
	e.send(time.Second, UpdateLease, ask(1), nothing)
	e.send(1500*time.Millisecond, UpdateOrder, limiter.Order{Run: "users/run", Pause: "paused by anna"}, func(a any) {
		if got, want := a.(LimiterOrdered).Holds, limiter.Lease-500*time.Millisecond; got != want {
			t.Errorf("the pause holds in %v, want %v: then the lease ends", got, want)
		}
	})
	e.send(1600*time.Millisecond, UpdateRevoke, "one", nothing)
	e.send(1700*time.Millisecond, UpdateOrder, limiter.Order{Run: "users/run", Resume: true}, func(a any) {
		if got := a.(LimiterOrdered).Holds; got != 0 {
			t.Errorf("an order without a worker holds in %v, want at once", got)
		}
	})
	e.RegisterDelayedCallback(e.CancelWorkflow, 3*time.Second)
	e.ExecuteWorkflow(LimiterWorkflow, LimiterInput{Target: "api.example.com"})
}

func TestThePageOfALimiter(t *testing.T) {
	l := &limiterRun{LimiterInput: LimiterInput{Target: "api.example.com"}}
	now := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	l.State.Ask(now, ask(1))
	l.State.Ask(now.Add(5*time.Second), ask(2, limiter.Report{Run: "users/run", Calls: 20}))
	l.State.Order(now.Add(6*time.Second), limiter.Order{Run: "users/run", Number: 1, Pause: "paused by anna at noon", By: "anna", Reason: "lunch"})
	l.State.Ask(now.Add(7*time.Second), ask(3, limiter.Report{Run: "users/run", Calls: 5, Unknown: true, Reason: "http 502"}))
	page := l.details(now.Add(7 * time.Second))
	for _, want := range []string{
		"api.example.com", "users/run", "4/s", "of 3", "one/1", "paused by anna at noon", "http 502, 5 calls in a row", "breaker", "lunch",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %q:\n%s", want, page)
		}
	}
}
