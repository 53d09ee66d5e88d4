package workflows

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"durable-dataload/activities"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
)

var (
	allFailed = activities.BatchResult{Counts: counts{Failed: recordsABatch, Calls: 1}}
	anna      = Order{By: "anna@desk", Reason: "lunch"}
)

// answered is the answer to an order.
type answered struct {
	Answer
	refused, failed error
}

// at sends an order at this time after the start of the workflow.
func (e *environment) at(after time.Duration, name string, o Order) *answered {
	t := &answered{}
	e.RegisterDelayedCallback(func() { e.order(name, o, t) }, after)
	return t
}

func (e *environment) order(name string, o Order, t *answered) {
	e.UpdateWorkflow(name, "", &testsuite.TestUpdateCallback{
		OnReject: func(err error) { t.refused = err },
		OnComplete: func(answer any, err error) {
			t.failed = err
			if a, ok := answer.(Answer); ok {
				t.Answer = a
			}
		},
	}, o)
}

func (t *answered) wasDone() bool { return t.refused == nil && t.failed == nil && t.Text != "" }

// progressAt is the progress at this time after the start.
func (e *environment) progressAt(after time.Duration) *Progress {
	p := &Progress{}
	e.RegisterDelayedCallback(func() { *p = e.progress() }, after)
	return p
}

// failing has all records fail from this batch on.
func failing(t *testing.T, batches, from int) *fake {
	f := newFake(t, batches)
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		if in.Position >= from {
			return allFailed, nil
		}
		return allCreated, nil
	}
	return f
}

func TestTooManyFailedRecordsWaitForADecision(t *testing.T) {
	for limit, loaded := range map[string]int{"0": 4, "19": 5, "20": 6, "10%": 6} {
		f := failing(t, 20, 4)
		e := newEnvironment(t, f)
		var loads int
		e.RegisterDelayedCallback(func() { loads = f.count("LoadBatch") }, time.Hour)
		waiting := e.progressAt(time.Hour)
		resumed := e.at(2*time.Hour, UpdateResume, anna)
		result := e.migrated(func(s *migration.Spec) { s.Workers, s.RateLimit, s.MaxFailed = 1, 0.5, limit })
		if loads != loaded {
			t.Errorf("--max-failed %s: %d batches were loaded before the decision, want %d", limit, loads, loaded)
		}
		if waiting.ShownPhase() != PhaseDeciding || !strings.Contains(waiting.Steering.Decision, "of 200 records have failed, more than --max-failed "+limit) || waiting.Steering.DecidedBy != UpdateResume {
			t.Errorf("--max-failed %s: it waits with %+v", limit, waiting.Steering)
		}
		if !resumed.wasDone() || len(resumed.Changes) != 1 || resumed.Changes[0].Name != migration.SettingMaxFailed || resumed.Changes[0].Old != limit || resumed.Changes[0].Who != anna.By {
			t.Errorf("--max-failed %s: the answer is %+v", limit, resumed)
		}
		// Each batch is loaded and counted once.
		if n := f.count("LoadBatch"); n != 20 || f.artifact.Stopped || result.Halted != "" {
			t.Errorf("--max-failed %s: %d batches were loaded, %+v, %q; want 20, to the end", limit, n, f.artifact, result.Halted)
		}
		p := e.progress()
		if len(p.Rounds) != 1 || p.Rounds[0].Failed != 170 || p.Rounds[0].Created != 30 {
			t.Errorf("--max-failed %s: rounds %+v, want 170 failed and 30 created", limit, p.Rounds)
		}
		if len(e.child) != 2 || !strings.Contains(e.child[1], "/load-2-") {
			t.Errorf("children %q", e.child)
		}
	}
}

func TestFailedRecordsWithinTheLimitDoNotStopIt(t *testing.T) {
	for _, f := range []*fake{failing(t, 20, 11), failing(t, 20, 20)} {
		e := newEnvironment(t, f)
		e.migrated(func(s *migration.Spec) { s.MaxFailed = "50%" })
		if f.count("Steer") != 0 || f.artifact.Stopped {
			t.Errorf("%s; want no decision", f.story())
		}
	}
}

func TestDuplicatesFailUnlessTheyAreUpdated(t *testing.T) {
	for _, delta := range []bool{false, true} {
		f := newFake(t, 4)
		f.load = byRound(allDuplicate)
		e := newEnvironment(t, f)
		waiting := e.progressAt(time.Hour)
		e.at(2*time.Hour, UpdateStop, anna)
		e.migrated(func(s *migration.Spec) { s.MaxFailed = "5"; s.Delta = delta; s.Workers, s.RateLimit = 1, 0.5 })
		if asked := waiting.Steering != nil && waiting.Steering.Decision != ""; asked == delta || f.artifact.Stopped == delta {
			t.Errorf("delta %t: a decision was wanted: %t, stopped: %t", delta, asked, f.artifact.Stopped)
		}
	}
}

func TestTooManyFailedRecordsOfRetryRoundsWaitForADecisionToo(t *testing.T) {
	f := newFake(t, 10)
	f.load = byRound(allUnknown, allFailed)
	e := newEnvironment(t, f)
	var loads int
	e.RegisterDelayedCallback(func() { loads = f.count("LoadBatch 1/") }, time.Hour)
	e.at(2*time.Hour, UpdateResume, anna)
	e.migrated(func(s *migration.Spec) { s.Workers, s.RateLimit, s.MaxFailed = 1, 0.5, "30" })
	if loads != 4 || f.count("LoadBatch 1/") != 10 {
		t.Errorf("%d batches of round 1 before the decision, %d in the end; want 4 and 10", loads, f.count("LoadBatch 1/"))
	}
	if p := e.progress(); len(p.Rounds) != 2 || p.Rounds[1].Failed != 100 {
		t.Errorf("rounds %+v, want 100 failed in round 1", p.Rounds)
	}
}

func TestALimitThatIsRaisedInTimeAvoidsTheDecision(t *testing.T) {
	f := newFake(t, 50)
	e := newEnvironment(t, f)
	f.load = firstBatches(1, allFailed, allCreated)
	f.holding = func() {
		raised := make(chan struct{})
		e.UpdateWorkflow(UpdateSet, "", &testsuite.TestUpdateCallback{
			OnComplete: func(any, error) { close(raised) },
			OnReject:   func(err error) { t.Error(err) },
		}, Order{Set: map[string]string{"max-failed": "90%"}})
		<-raised
	}
	e.migrated(func(s *migration.Spec) { s.Workers = 4; s.MaxFailed = "0" })
	p := e.progress()
	if f.artifact.Stopped || len(p.Rounds) != 1 || p.Rounds[0].Failed != 10 || p.Rounds[0].Created != 490 {
		t.Errorf("rounds %+v; want all loaded", p.Rounds)
	}
	for _, in := range f.steered {
		for _, event := range in.Events {
			if event.Kind == migration.EventDecision {
				t.Errorf("found a decision: %s", event.Text)
			}
		}
	}
}

// Also while nothing is loaded: before a retry round, or while a look-up is repeated.
func TestALimitBelowTheFailedRecordsAsksAtOnce(t *testing.T) {
	for name, during := range map[string]string{"before a retry round": "before round 1", "while duplicates do not show": "to show"} {
		f := newFake(t, 3)
		f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
			switch {
			case in.Round > 0:
				return allDuplicate, nil
			case in.Position == 1:
				return allFailed, nil
			}
			return allUnknown, nil
		}
		f.resolve = func(in activities.ResolveInput) (activities.Resolved, error) {
			if !in.Last {
				return activities.Resolved{Invisible: 1}, nil
			}
			return activities.Resolved{Recovered: 20}, nil
		}
		e := newEnvironment(t, f)
		pause, at := time.Hour, time.Minute
		if during == "to show" {
			pause, at = time.Second, 30*time.Second
		}
		set := e.at(at, UpdateSet, Order{Set: map[string]string{"max-failed": "5"}})
		asked := e.progressAt(at + time.Second)
		e.at(3*time.Hour, UpdateResume, anna)
		e.migrated(func(s *migration.Spec) { s.RetryBackoff = pause })
		if !set.wasDone() || asked.ShownPhase() != PhaseDeciding || !strings.Contains(asked.Steering.Decision, "10 of 30 records have failed, more than --max-failed 5") {
			t.Errorf("%s: %+v; it waits with %+v, want the decision", name, set, asked.Steering)
		}
		if p := e.progress(); len(p.Rounds) != 2 || p.Rounds[1].Resolved.Recovered != 20 || f.artifact.Stopped {
			t.Errorf("%s: rounds %+v; want the round to its end after the decision", name, p.Rounds)
		}
	}
}

func TestADecisionComesWithReasonsAndTheFailFile(t *testing.T) {
	f := failing(t, 20, 3)
	f.reasons = activities.Reasons{Failed: map[string]int{"api 200": 25, "duplicate": 5}, Unknown: map[string]int{"api 200": 1, "http 502": 3}, File: "fail_so_far.csv"}
	e := newEnvironment(t, f)
	waiting := e.progressAt(time.Hour)
	e.at(2*time.Hour, UpdateStop, anna)
	e.migrated(func(s *migration.Spec) { s.Workers, s.RateLimit = 1, 0.5; s.MaxFailed = "20" })
	if want := map[string]int{"api 200": 26, "duplicate": 5, "http 502": 3}; !maps.Equal(waiting.Errors, want) {
		t.Errorf("it waits with the reasons %v, want %v", waiting.Errors, want)
	}
	if f.count("WriteFailures") != 1 || !strings.HasSuffix(waiting.Steering.Decision, "What has failed so far is in fail_so_far.csv.") {
		t.Errorf("the fail file was written %d times, and the question is %q", f.count("WriteFailures"), waiting.Steering.Decision)
	}
}

func TestReasonsAreOfAllRoundsAndOfEarlierRuns(t *testing.T) {
	f := newFake(t, 3)
	f.settled[0] = map[int]counts{1: {Failed: 10, Calls: 1}} // by an earlier run
	f.planned = map[string]int{"api 200": 10}
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		if in.Round == 0 {
			r := allUnknown
			r.Errors = map[string]int{"http 502": 10}
			return r, nil
		}
		r := allFailed
		r.Errors = map[string]int{"api 363": 10}
		return r, nil
	}
	f.reasons = activities.Reasons{Failed: map[string]int{"api 200": 10}, Unknown: map[string]int{"http 502": 20}}
	e := newEnvironment(t, f)
	var before, after Progress
	e.RegisterDelayedCallback(func() {
		before = progressOf[Progress](e, e.progress().Children[0])
		f.reasons = activities.Reasons{Failed: map[string]int{"api 200": 10, "api 363": 20}}
	}, time.Minute)
	e.migrated(func(s *migration.Spec) { s.RetryBackoff = time.Hour })
	after = e.progress()
	if want := map[string]int{"api 200": 10, "http 502": 20}; !maps.Equal(before.Errors, want) {
		t.Errorf("before round 1 the reasons are %v, want %v", before.Errors, want)
	}
	if want := map[string]int{"api 200": 10, "api 363": 20}; !maps.Equal(after.Errors, want) {
		t.Errorf("after it they are %v, want %v", after.Errors, want)
	}
	result, err := newEnvironment(t, f).loadRound(loadInput())
	if want := map[string]int{"api 200": 10}; err != nil || !maps.Equal(result.Errors, want) {
		t.Errorf("round 0 by itself has the reasons %v, %v; want those of the batches that are settled: %v", result.Errors, err, want)
	}
}

// It asks before the rest of the canary is loaded, and before the approval.
func TestACanaryThatFailsTooMuchAsksFirst(t *testing.T) {
	f := failing(t, 6, 1)
	f.canary = 3
	e := newEnvironment(t, f)
	waiting, after := e.progressAt(time.Hour), e.progressAt(3*time.Hour)
	e.at(2*time.Hour, UpdateResume, anna)
	e.at(4*time.Hour, UpdateApprove, anna)
	e.migrated(func(s *migration.Spec) { s.Workers, s.RateLimit = 1, 0.5; s.Canary = 30; s.MaxFailed = "5" })
	if waiting.Steering.DecidedBy != UpdateResume || after.Steering.DecidedBy != UpdateApprove || !strings.Contains(after.Steering.Decision, "of 30 records") {
		t.Errorf("it waits with %+v, then with %+v", waiting.Steering, after.Steering)
	}
	if f.count("LoadBatch") != 6 {
		t.Errorf("%s; want each batch once", f.story())
	}
}

func TestANewLimitReachesTheRoundThatRuns(t *testing.T) {
	for name, round := range map[string]int{"round 0": 0, "a retry round": 1} {
		f := newFake(t, 30)
		e := newEnvironment(t, f)
		seen := 0
		f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
			if in.Round != round {
				return allUnknown, nil
			}
			if f.count(fmt.Sprintf("LoadBatch %d/", round)) == 5 {
				set := make(chan struct{})
				e.UpdateWorkflow(UpdateSet, "", &testsuite.TestUpdateCallback{
					OnReject: func(err error) { t.Error(err); close(set) },
					OnComplete: func(_ any, err error) {
						if err != nil {
							t.Error(err)
						}
						close(set)
					},
				}, Order{Set: map[string]string{"max-failed": "1"}})
				<-set // else all batches would be loaded before the order arrives
			}
			return allFailed, nil
		}
		f.asking = func() { seen = f.count(fmt.Sprintf("LoadBatch %d/", round)) }
		e.at(2*time.Hour, UpdateResume, anna)
		e.migrated(func(s *migration.Spec) { s.Workers, s.RateLimit = 1, 0.5 })
		if seen < 5 || seen >= 30 {
			t.Errorf("%s: %d batches until the decision; want less than all", name, seen)
		}
		if n := f.count(fmt.Sprintf("LoadBatch %d/", round)); n != 30 {
			t.Errorf("%s: %d batches in the end, want 30", name, n)
		}
	}
}

func TestACanaryWaitsForItsApproval(t *testing.T) {
	f := newFake(t, 6)
	f.canary = 2
	e := newEnvironment(t, f)
	var before string
	e.RegisterDelayedCallback(func() { before = f.story() }, 23*time.Hour)
	waiting := e.progressAt(23 * time.Hour)
	approved := e.at(24*time.Hour, UpdateApprove, anna)
	e.migrated(func(s *migration.Spec) { s.Workers, s.RateLimit = 1, 0.5; s.Canary = 20 })
	if !strings.Contains(before, "LoadBatch 0/1, LoadBatch 0/2") || !strings.HasSuffix(before, "VerifyBatch 1, VerifyBatch 2, Forecast after 2, WriteFailures, Steer") && !strings.HasSuffix(before, "VerifyBatch 2, VerifyBatch 1, Forecast after 2, WriteFailures, Steer") || strings.Contains(before, "LoadBatch 0/3") {
		t.Errorf("before the approval: %s", before)
	}
	if waiting.ShownPhase() != PhaseDeciding || waiting.Steering.Decision != "The canary: of 20 records 20 were created, 0 were there already, 0 failed, 0 are unknown. "+
		"Read back: 20 of 20 records are in the target as they should be. "+
		"The median call took 120ms, the longest 1s: the 4 batches left take about 1h0m0s at the pace that is set." {
		t.Errorf("it waits with %+v", waiting.Steering)
	}
	if !approved.wasDone() || f.count("LoadBatch") != 6 || f.artifact.Stopped {
		t.Errorf("%+v; %s", approved, f.story())
	}
	kept := false
	for _, in := range f.steered {
		kept = kept || in.Approved
	}
	if !kept {
		t.Error("the approval was not written")
	}
	if p := e.progress(); len(p.Rounds) != 1 || p.Rounds[0].Created != 60 {
		t.Errorf("rounds %+v, want each record once", p.Rounds)
	}
}

func TestACanaryIsStoppedWhenItsTimeIsUp(t *testing.T) {
	f := newFake(t, 6)
	f.canary = 2
	e := newEnvironment(t, f)
	waiting := e.progressAt(time.Hour / 2)
	result := e.migrated(func(s *migration.Spec) { s.Canary = 20; s.CanaryTimeout = time.Hour })
	if !strings.Contains(waiting.Steering.Decision, " Without an answer it stops at ") || result.Halted != "the canary was not approved within 1h0m0s" {
		t.Errorf("it waits with %q and stops with %q; want the time in both", waiting.Steering.Decision, result.Halted)
	}
	if f.count("LoadBatch") != 2 || !f.artifact.Stopped || f.artifact.Cancelled {
		t.Errorf("%s; artifacts %+v; want the canary alone, stopped", f.story(), f.artifact)
	}
	expect(t, "timers", e.slept, []string{"wait for approve"})
}

func TestACanaryOfTheWholeInputNeedsNoApproval(t *testing.T) {
	f := newFake(t, 2)
	f.canary = 2
	e := newEnvironment(t, f)
	e.migrated(func(s *migration.Spec) { s.Canary = 1000 })
	if f.count("LoadBatch") != 2 || f.artifact.Stopped {
		t.Errorf("%s", f.story())
	}
}

// unsure is a migration that waits half a minute before its retry round.
func unsure(t *testing.T) *fake {
	f := newFake(t, 2)
	f.load = byRound(allUnknown, allCreated)
	return f
}

func TestOrdersThatAreNotPossibleAreRejected(t *testing.T) {
	set := func(pairs ...string) Order {
		o := Order{By: "anna", Set: map[string]string{}}
		for i := 0; i < len(pairs); i += 2 {
			o.Set[pairs[i]] = pairs[i+1]
		}
		return o
	}
	f := unsure(t)
	e := newEnvironment(t, f)
	at := func(seconds int, name string, o Order) *answered {
		return e.at(time.Duration(seconds)*time.Second, name, o)
	}
	cases := []struct {
		got  *answered
		want string
	}{
		{at(1, UpdateResume, anna), "not paused"},
		{at(1, UpdateApprove, anna), "no canary"},
		{at(1, UpdateSet, Order{}), "found none"},
		{at(1, UpdateSet, set("speed", "9")), "rate, rate-plan, workers, breaker, max-failed"},
		{at(1, UpdateSet, set("rate", "-1")), "expected 0.001 to 100000"},
		{at(1, UpdateSet, set("rate", "8", "workers", "0")), "expected 1 to 1000"},
		{at(1, UpdateSet, set("breaker", "many")), "breaker"},
		{at(1, UpdateSet, set("max-failed", "a lot")), "2%"},
		{at(3, UpdatePause, anna), "paused already: by anna@desk"},
	}
	paused := at(2, UpdatePause, anna)
	resumed := at(4, UpdateResume, anna)
	stopped := at(5, UpdateStop, anna)
	e.migrated(nil)
	for _, tc := range cases {
		if tc.got.refused == nil || !strings.Contains(tc.got.refused.Error(), tc.want) {
			t.Errorf("refused with %v (%+v), want %q", tc.got.refused, tc.got, tc.want)
		}
	}
	for name, got := range map[string]*answered{"pause": paused, "resume": resumed, "stop": stopped} {
		if !got.wasDone() {
			t.Errorf("%s: %+v, want it done", name, got)
		}
	}
	if n := len(f.steered); n != 3 {
		t.Errorf("%d orders were written, want pause, resume and stop: %+v", n, f.steered)
	}
}

// An order is answered when no call begins any more that it forbids.
func TestAnOrderIsAnsweredWhenAllWorkersKeepToIt(t *testing.T) {
	f := unsure(t)
	f.holds = 1500 * time.Millisecond
	e := newEnvironment(t, f)
	var answeredAt, orderedAt time.Time
	e.RegisterDelayedCallback(func() {
		orderedAt = e.Now()
		e.UpdateWorkflow(UpdatePause, "", &testsuite.TestUpdateCallback{
			OnAccept:   func() {},
			OnReject:   func(err error) { t.Error(err) },
			OnComplete: func(any, error) { answeredAt = e.Now() },
		}, anna)
	}, time.Second)
	e.at(10*time.Second, UpdateStop, anna)
	e.migrated(func(*migration.Spec) {})
	if took := answeredAt.Sub(orderedAt); took < f.holds {
		t.Errorf("the pause was answered after %v , want %v or more", took, f.holds)
	}
	if o := f.steered[len(f.steered)-1].Order; !o.End {
		t.Errorf("the stop orders %+v, want the end of all calls", o)
	}
}

func TestChangesAreKeptAndWrittenForTheWorkers(t *testing.T) {
	f := unsure(t)
	e := newEnvironment(t, f)
	set := e.at(time.Second, UpdateSet, Order{By: "anna@desk", Reason: "quiet hours", Set: map[string]string{"rate": "8.5", "workers": "4", "breaker": "0"}})
	same := e.at(2*time.Second, UpdateSet, Order{By: "ben", Set: map[string]string{"rate": " 8.5"}})
	paused := e.at(3*time.Second, UpdatePause, Order{})
	while := e.progressAt(4 * time.Second)
	e.at(5*time.Second, UpdateResume, anna)
	e.migrated(func(s *migration.Spec) { s.Breaker = 5 })
	if !set.wasDone() || len(set.Changes) != 3 || set.Changes[0].New != "8.5" || set.Changes[0].Old != "4" || set.Changes[0].Reason != "quiet hours" || set.Changes[0].At.IsZero() {
		t.Errorf("set: %+v", set)
	}
	if same.refused != nil || len(same.Changes) != 0 || !strings.Contains(same.Text, "nothing has changed") {
		t.Errorf("set to what it is: %+v", same)
	}
	if !paused.wasDone() || while.ShownPhase() != PhasePaused || !strings.HasPrefix(while.Steering.PausedText, "by an unknown operator at ") || len(while.Steering.Changes) != 4 {
		t.Errorf("pause: %+v, then %+v", paused, while.Steering)
	}
	want := limiter.Limits{Rate: 8.5, Workers: 4}
	if n := len(f.steered); n != 3 || len(f.steered[0].Events) != 3 {
		t.Fatalf("%d orders were given: %+v", n, f.steered)
	}
	for i, in := range f.steered {
		if o := in.Order; *o.Limits != want || (o.Pause != "") != (i == 1) || o.Resume == (i == 1) || o.Number != int64(i+1) || o.End {
			t.Errorf("order %d: %+v", i+1, o)
		}
	}
}

func TestAChangeThatCannotBeWrittenFails(t *testing.T) {
	f := unsure(t)
	f.steer = func() error {
		return temporal.NewNonRetryableApplicationError("the disk is full", activities.Storage, nil)
	}
	e := newEnvironment(t, f)
	set := e.at(time.Second, UpdateSet, Order{Set: map[string]string{"rate": "8"}})
	after := e.progressAt(5 * time.Second)
	stopped := e.at(6*time.Second, UpdateStop, anna)
	e.migrated(nil)
	if set.failed == nil || !strings.Contains(set.failed.Error(), "the disk is full") || after.Steering.RateLimit != 4 || len(after.Steering.Changes) != 0 {
		t.Errorf("set: %+v, then %+v; want it to fail without a change", set, after.Steering)
	}
	if !stopped.wasDone() || !f.artifact.Stopped {
		t.Errorf("stop: %+v, artifacts %+v; want it to end nevertheless", stopped, f.artifact)
	}
}

// The limiter may have taken an order before its events could not be written down.
func TestAnOrderThatFailsIsTakenBack(t *testing.T) {
	f := unsure(t)
	failed := false
	f.steer = func() error {
		if failed {
			return nil
		}
		failed = true
		return temporal.NewNonRetryableApplicationError("the disk is full", activities.Storage, nil)
	}
	e := newEnvironment(t, f)
	paused := e.at(time.Second, UpdatePause, anna)
	e.migrated(nil)
	if paused.failed == nil || len(f.steered) != 1 {
		t.Fatalf("pause: %+v, orders %+v; want it to fail, and one order after it", paused, f.steered)
	}
	if o := f.steered[0].Order; o.Pause != "" || !o.Resume || o.Number != 2 || o.Limits.Rate != 4 {
		t.Errorf("the order after it is %+v; want what held before", o)
	}
}

func TestStopAndCancelEndWithTheArtifacts(t *testing.T) {
	for name, cancelled := range map[string]bool{UpdateStop: false, UpdateCancel: true} {
		for _, paused := range []bool{false, true} {
			f := unsure(t)
			e := newEnvironment(t, f)
			if paused {
				e.at(time.Second, UpdatePause, anna)
			}
			end := e.at(2*time.Second, name, anna)
			result := e.migrated(nil)
			if !end.wasDone() || !f.artifact.Stopped || f.artifact.Cancelled != cancelled || f.count("LoadBatch 1/") != 0 || result.Halted != "" {
				t.Errorf("%s (paused: %t): %+v, artifacts %+v, %s", name, paused, end, f.artifact, f.story())
			}
		}
	}
}

// A limiter that does not answer holds a pause up, and not the end.
func TestAStopEndsTheWorkWhileAnotherOrderIsCarriedOut(t *testing.T) {
	f := unsure(t)
	e := newEnvironment(t, f)
	written := make(chan struct{})
	f.finish = func(activities.ArtifactsInput) error {
		close(written)
		return nil
	}
	f.steer = func() error {
		select {
		case <-written:
		case <-time.After(generous / 2):
			t.Error("the work does not end while the limiter is waited for")
		}
		return nil
	}
	paused, stopped := &answered{}, &answered{}
	e.RegisterDelayedCallback(func() {
		e.order(UpdatePause, anna, paused)
		e.order(UpdateStop, anna, stopped)
	}, time.Second)
	e.migrated(nil)
	if !stopped.wasDone() || !f.artifact.Stopped || f.count("LoadBatch 1/") != 0 {
		t.Errorf("stop %+v, artifacts %+v, %s; want it stopped", stopped, f.artifact, f.story())
	}
}

func TestAStopBeforeAnythingWasSentEndsTheMigration(t *testing.T) {
	f := newFake(t, 2)
	f.check = func(int) error { return errNoAnswer }
	e := newEnvironment(t, f)
	e.at(time.Second, UpdateStop, anna)
	if _, err := e.migrate(nil); !temporal.IsCanceledError(err) {
		t.Errorf("it ends with %v, want it cancelled", err)
	}
	if f.count("WriteArtifacts") != 0 {
		t.Errorf("%s", f.story())
	}
}

// The folder of the first run has nothing yet that an order to the limiter could go by.
func TestOrdersWhileTheInputIsChecked(t *testing.T) {
	given := func(f *fake, e *environment, name string) *answered {
		a, after := &answered{}, make(chan struct{})
		f.inspect = func() error {
			e.UpdateWorkflow(name, "", &testsuite.TestUpdateCallback{
				// What is refused comes after the task with the order.
				OnAccept: func() {
					e.UpdateWorkflow(UpdateApprove, "", &testsuite.TestUpdateCallback{OnReject: func(error) { close(after) }}, anna)
				},
				OnReject:   func(err error) { a.refused = err; close(after) },
				OnComplete: func(answer any, err error) { a.failed = err; a.Answer, _ = answer.(Answer) },
			}, anna)
			select {
			case <-after:
			case <-e.endsNow():
			}
			e.mu.Lock()
			ordered := slices.ContainsFunc(e.asked, func(a asked) bool {
				in, ok := a.input.(activities.SteerInput)
				return ok && in.Order != nil
			})
			e.mu.Unlock()
			if ordered {
				t.Errorf("%s: the limiter is given an order before the input is checked", name)
			}
			return nil
		}
		return a
	}
	f := newFake(t, 2)
	e := newEnvironment(t, f)
	paused := given(f, e, UpdatePause)
	e.migrated(nil)
	if !paused.wasDone() || len(f.steered) != 1 || f.steered[0].Order.Pause == "" {
		t.Errorf("pause %+v, %+v; want it carried out afterwards", paused, f.steered)
	}

	f = newFake(t, 2)
	e = newEnvironment(t, f)
	stopped := given(f, e, UpdateStop)
	if _, err := e.migrate(nil); !temporal.IsCanceledError(err) {
		t.Errorf("it ends with %v, want it cancelled", err)
	}
	if !stopped.wasDone() || len(f.steered) != 1 || f.steered[0].Order != nil || len(f.steered[0].Events) != 1 {
		t.Errorf("stop %+v, %+v; want it carried out, and written down", stopped, f.steered)
	}

	f = newFake(t, 2)
	e = newEnvironment(t, f)
	cancelled := given(f, e, UpdateCancel)
	e.migrated(nil)
	if cancelled.refused == nil || !strings.Contains(cancelled.refused.Error(), "give starter stop") {
		t.Errorf("cancel %+v; want it refused", cancelled)
	}

	f = newFake(t, 2)
	e = newEnvironment(t, f)
	late := given(f, e, UpdatePause)
	order := f.inspect
	f.inspect = func() error {
		_ = order()
		return temporal.NewNonRetryableApplicationError("not UTF-8", activities.Refused, nil)
	}
	if _, err := e.migrate(nil); Cause(err) != "not UTF-8" || late.failed == nil || len(f.steered) != 0 {
		t.Errorf("it ends with %v, and the pause %+v; want the reason, and the pause refused", err, late)
	}
}

func TestPauseAndDecisionAreNotified(t *testing.T) {
	f := failing(t, 4, 1)
	e := newEnvironment(t, f)
	e.at(time.Hour, UpdatePause, anna)
	e.at(2*time.Hour, UpdateResume, anna)
	e.migrated(func(s *migration.Spec) { s.MaxFailed = "0"; s.Workers, s.RateLimit = 1, 0.5; s.Notify = true })
	var types, commands []string
	for _, n := range f.notices {
		types = append(types, strings.TrimPrefix(string(n.Type), "migration."))
		verb, _, _ := strings.Cut(strings.TrimPrefix(n.Command, "starter "), " ")
		commands = append(commands, verb)
	}
	expect(t, "notices", types, []string{"started", "needs_decision", "paused", "resumed", "ended"})
	expect(t, "commands", commands, []string{"status", "resume", "resume", "status", ""})
}

func TestAnApprovalThatIsBeingWrittenAtTheTimeoutCounts(t *testing.T) {
	f := newFake(t, 6)
	f.canary = 2
	e := newEnvironment(t, f)
	steers := 0
	f.steer = func() error {
		// The second is the approval. It is retried, and its first attempt is before
		// the timeout.
		if steers++; steers == 2 {
			return temporal.NewApplicationError("the disk is full", activities.Storage)
		}
		return nil
	}
	approved := e.at(time.Hour-time.Second/2, UpdateApprove, anna)
	e.migrated(func(s *migration.Spec) { s.Canary = 20; s.CanaryTimeout = time.Hour })
	if !approved.wasDone() || f.count("LoadBatch") != 6 || f.artifact.Stopped {
		t.Errorf("%+v, stopped: %t; %s; want the approved migration loaded", approved, f.artifact.Stopped, f.story())
	}
}

func TestAStopWhileACanaryIsReadBackAsksForNoDecision(t *testing.T) {
	f := newFake(t, 6)
	f.canary = 2
	e := newEnvironment(t, f)
	var once sync.Once
	f.verify = func() { once.Do(func() { e.order(UpdateStop, anna, &answered{}) }) }
	e.migrated(func(s *migration.Spec) { s.Canary = 20; s.Notify = true })
	for _, n := range f.notices {
		if n.Type == notify.NeedsDecision {
			t.Errorf("found a decision: %s", n.Text)
		}
	}
	if f.count("Steer") != 1 || !f.artifact.Stopped {
		t.Errorf("%s; want only the stop written", f.story())
	}
}

func TestAResumeKeepsALimitThatWasRaised(t *testing.T) {
	for limit, kept := range map[string]bool{"30": true, "10": false} {
		f := newFake(t, 20)
		f.load = firstBatches(2, allFailed, allCreated)
		e := newEnvironment(t, f)
		e.at(time.Hour, UpdateSet, Order{Set: map[string]string{"max-failed": limit}})
		e.at(2*time.Hour, UpdateResume, anna)
		e.migrated(func(s *migration.Spec) { s.Workers, s.RateLimit = 1, 0.5; s.MaxFailed = "15" })
		if got := e.progress().Steering.MaxFailed; (got == limit) != kept || f.count("LoadBatch") != 20 {
			t.Errorf("--max-failed 15 was set to %s while it waited: it resumed with %q and loaded %d batches; want the limit kept: %t, and all batches", limit, got, f.count("LoadBatch"), kept)
		}
	}
}

func TestTextsOfOrdersAreShortLines(t *testing.T) {
	f := unsure(t)
	e := newEnvironment(t, f)
	var all []*answered
	for _, o := range []Order{{Reason: "two\nlines"}, {By: "\x1b[31m"}, {Reason: strings.Repeat("ä", 201)}, {By: strings.Repeat("a", 201)}} {
		all = append(all, e.at(time.Second, UpdatePause, o))
	}
	last := e.at(2*time.Second, UpdatePause, Order{Reason: strings.Repeat("ä", 200)})
	e.at(3*time.Second, UpdateStop, anna)
	e.migrated(nil)
	for i, got := range all {
		if got.refused == nil {
			t.Errorf("order %d is accepted: %+v", i, got)
		}
	}
	if !last.wasDone() {
		t.Errorf("%+v, want it done", last)
	}
}
