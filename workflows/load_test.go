package workflows

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"durable-dataload/activities"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
)

func loadInput() LoadInput {
	return LoadInput{Run: activities.Run{Folder: "/state/migrations/key", ID: "run"}, Limits: migration.Limits{RateLimit: 4, Workers: 4}, Window: 4}
}

// loadRound runs a LoadWorkflow to its end, over all batches of the input.
func (e *environment) loadRound(in LoadInput) (LoadResult, error) {
	e.t.Helper()
	in.To = e.fake.batches
	return runToEnd[LoadResult](e, LoadWorkflow, in)
}

func TestALoadKeepsToItsWindow(t *testing.T) {
	for _, window := range []int{3, 6} {
		f := newFake(t, 250)
		in := loadInput()
		in.Window = window
		result, err := newEnvironment(t, f).loadRound(in)
		if err != nil || result.Counts != (counts{Created: 2500, Calls: 250}) || result.Stopped || result.Halted != "" {
			t.Errorf("%+v, %v; want 2500 created", result, err)
		}
		if f.mostAtOnce() > window {
			t.Errorf("%d batches in flight, want at most %d", f.mostAtOnce(), window)
		}
		if n := f.count("PlanBatches"); n != 3 {
			t.Errorf("%d plans, want one for each 100 batches", n)
		}
	}
}

func TestALoadCountsWhatWasSettledBefore(t *testing.T) {
	f := newFake(t, 5)
	f.settled[0] = map[int]counts{1: {Unknown: 10, Calls: 1}, 4: {Failed: 10}}
	result, err := newEnvironment(t, f).loadRound(loadInput())
	if want := (counts{Created: 30, Unknown: 10, Failed: 10, Calls: 4}); err != nil || result.Counts != want {
		t.Errorf("%+v, %v; want %+v", result, err, want)
	}
	if f.count("LoadBatch 0/1") != 0 || f.count("LoadBatch 0/4") != 0 || f.count("LoadBatch") != 3 {
		t.Errorf("%s\nwant batches 2, 3 and 5", f.story())
	}
	if result, err := newEnvironment(t, newFake(t, 0)).loadRound(loadInput()); err != nil || !reflect.DeepEqual(result, LoadResult{}) {
		t.Errorf("of no batches: %+v, %v; want nothing", result, err)
	}
}

func TestABatchOfADeadWorkerIsSettled(t *testing.T) {
	unsent := activities.BatchResult{Unsent: true}
	cases := map[string]struct {
		died    func(attempt int) bool // the n-th load of batch 2
		settled func(n int) activities.BatchResult
		want    LoadResult
		loads   int // of batch 2
	}{
		"it had sent":      {func(n int) bool { return n == 1 }, func(int) activities.BatchResult { return allUnknown }, LoadResult{Counts: counts{Created: 20, Unknown: 10, Calls: 3}}, 1},
		"it had an answer": {func(n int) bool { return n == 1 }, func(int) activities.BatchResult { return allCreated }, LoadResult{Counts: counts{Created: 30, Calls: 3}}, 1},
		"it had not sent":  {func(n int) bool { return n == 1 }, func(int) activities.BatchResult { return unsent }, LoadResult{Counts: counts{Created: 30, Calls: 3}}, 2},
		"one after the other died": {func(int) bool { return true }, func(int) activities.BatchResult { return unsent },
			LoadResult{Counts: counts{Created: 20, Calls: 2}, Stopped: true, Halted: "*"}, lostWorkers},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, 3)
			f.load = func(in batchInput, attempt int) (activities.BatchResult, error) {
				if in.Position == 2 && tc.died(attempt) {
					return activities.BatchResult{}, temporal.NewHeartbeatTimeoutError()
				}
				return allCreated, nil
			}
			settles := 0
			f.settle = func(in batchInput) (activities.BatchResult, error) {
				if in.Position != 2 {
					t.Errorf("batch %d is settled, want batch 2", in.Position)
				}
				settles++
				return tc.settled(settles), nil
			}
			e := newEnvironment(t, f)
			result, err := e.loadRound(loadInput())
			if tc.want.Halted == "*" && result.Halted != "" {
				tc.want.Halted = result.Halted
			}
			if err != nil || !reflect.DeepEqual(result, tc.want) {
				t.Errorf("%+v, %v; want %+v", result, err, tc.want)
			}
			if loads := f.count("LoadBatch 0/2"); loads != tc.loads {
				t.Errorf("batch 2 was started %d times, want %d; %s", loads, tc.loads, f.story())
			}
		})
	}
}

func TestABatchIsSettledDespiteCancellation(t *testing.T) {
	f := newFake(t, 1)
	e := newEnvironment(t, f)
	f.load = func(batchInput, int) (activities.BatchResult, error) {
		return activities.BatchResult{}, temporal.NewHeartbeatTimeoutError()
	}
	f.settle = func(batchInput) (activities.BatchResult, error) {
		e.CancelWorkflow()
		return allUnknown, nil
	}
	result, err := e.loadRound(loadInput())
	if want := (LoadResult{Counts: counts{Unknown: 10, Calls: 1}, Stopped: true}); err != nil || !reflect.DeepEqual(result, want) {
		t.Errorf("%+v, %v; want %+v", result, err, want)
	}
}

func TestABatchThatCannotBeSettledHaltsTheLoad(t *testing.T) {
	f := newFake(t, 40)
	f.load = func(batchInput, int) (activities.BatchResult, error) {
		return activities.BatchResult{}, temporal.NewHeartbeatTimeoutError()
	}
	f.settle = func(batchInput) (activities.BatchResult, error) {
		return activities.BatchResult{}, trouble("the disk is gone")
	}
	result, err := newEnvironment(t, f).loadRound(loadInput())
	if err != nil || result.Halted != "the disk is gone" || !result.Stopped || result.Counts != (counts{}) {
		t.Errorf("%+v, %v; want it halted", result, err)
	}
}

func TestALongLoadContinuesAsNewWithNothingInFlight(t *testing.T) {
	for name, force := range map[string]func(*environment){
		"suggested":      func(e *environment) { e.SetContinueAsNewSuggested(true) },
		"a long history": func(e *environment) { e.SetCurrentHistoryLength(eventsARun) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, 350)
			f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
				if in.Position%7 == 0 {
					return allUnknown, nil
				}
				return allCreated, nil
			}
			in := loadInput()
			runs := 0
			for {
				runs++
				e := newEnvironment(t, f)
				force(e)
				result, err := e.loadRound(in)
				if err == nil {
					if want := (counts{Created: 3000, Unknown: 500, Calls: 350}); result.Counts != want || result.Stopped {
						t.Errorf("%+v, want %+v", result, want)
					}
					break
				}
				if n := f.nowInFlight(); n != 0 {
					t.Errorf("run %d ended with %d batches in flight", runs, n)
				}
				in = nextInput[LoadInput](t, err)
				if in.After != 100*runs || in.Batches != 100*runs || in.Counts.Records() != 1000*runs || in.Counts.Calls != 100*runs {
					t.Fatalf("run %d hands on %+v, want %d batches", runs, in, 100*runs)
				}
				if n := size(t, in); n > 1024 {
					t.Errorf("run %d hands on %d bytes", runs, n)
				}
			}
			if n := f.count("LoadBatch"); n != 350 || runs != 4 {
				t.Errorf("%d batches in %d runs, want 350 in 4", n, runs)
			}
		})
	}
}

func TestACancelledLoadReportsWhatItHas(t *testing.T) {
	f := newFake(t, 100)
	e := newEnvironment(t, f)
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		if in.Position == 10 {
			e.CancelWorkflow()
		}
		return allCreated, nil
	}
	result, err := e.loadRound(loadInput())
	if err != nil {
		t.Fatalf("%v; want a result with what was done", err)
	}
	if !result.Stopped || result.Halted != "" {
		t.Errorf("%+v; want it stopped without a fault", result)
	}
	if begun := f.count("LoadBatch"); result.Counts.Calls > begun || result.Counts.Calls < begun-4 || begun == 100 {
		t.Errorf("%d calls are counted, %d batches were started; want nearly as many, but not all", result.Counts.Calls, begun)
	}
}

func TestActivityOptions(t *testing.T) {
	// This environment neither waits for cancelled activities nor knows timeouts
	// that are not retried: a service does both if the options say so.
	f := newFake(t, 2)
	f.load = func(in batchInput, attempt int) (activities.BatchResult, error) {
		if attempt <= diskAttempts {
			return activities.BatchResult{}, temporal.NewHeartbeatTimeoutError()
		}
		return allCreated, nil
	}
	f.settle = unsent
	e := newEnvironment(t, f)
	e.migrated(nil)
	for _, a := range e.asked {
		o := a.options
		if !o.WaitForCancellation || o.HeartbeatTimeout != activities.HeartbeatTimeout || o.StartToCloseTimeout < time.Hour || o.ScheduleToStartTimeout != 0 || o.ScheduleToCloseTimeout != 0 {
			t.Errorf("%s: %+v; want it waited for, with a heartbeat, and without a limit in the queue", a.activity, o)
		}
		expect(t, a.activity+": errors that are not retried", o.RetryPolicy.NonRetryableErrorTypes, []string{"TemporalTimeout:StartToClose", "TemporalTimeout:Heartbeat"})
	}
}

// The task that ends a round may have brought a limit as well.
func TestARetryThatContinuesAsNewHandsOnTheLimitThatCameLast(t *testing.T) {
	f := newFake(t, 1)
	f.settled[0] = map[int]counts{1: {Unknown: 10, Calls: 1}}
	f.load = byRound(allCreated, allDuplicate)
	e := newEnvironment(t, f)
	most := 7
	f.resolve = func(activities.ResolveInput) (activities.Resolved, error) {
		e.SignalWorkflowSkippingWorkflowTask(signalMostFailed, &most)
		return activities.Resolved{Recovered: 10}, nil
	}
	e.SetOnActivityCompletedListener(func(info *activity.Info, _ converter.EncodedValue, _ error) {
		if info.ActivityType.Name == "ResolveDuplicates" {
			e.SetContinueAsNewSuggested(true)
		}
	})
	in := RetryInput{Run: loadInput().Run, Limits: migration.Limits{Workers: 1}, Rounds: 3, Backoff: time.Second, Round: 1}
	_, err := runToEnd[RetryResult](e, RetryWorkflow, in)
	if next := nextInput[RetryInput](t, err); next.Round != 2 || next.MostFailed == nil || *next.MostFailed != most {
		t.Errorf("it hands on %+v, want round 2 and the limit of %d", next, most)
	}
}

func TestALongRetryContinuesAsNewBetweenRounds(t *testing.T) {
	f := newFake(t, 1)
	f.settled[0] = map[int]counts{1: {Unknown: 10, Calls: 1}}
	f.load = byRound(allUnknown)
	e := newEnvironment(t, f)
	e.SetContinueAsNewSuggested(true)
	in := RetryInput{Run: loadInput().Run, Limits: migration.Limits{Workers: 1}, Rounds: 3, Backoff: time.Second, Round: 2, Loaded: 1, Progress: Progress{Rounds: []RoundProgress{{Round: 1}}}}
	_, err := runToEnd[RetryResult](e, RetryWorkflow, in)
	next := nextInput[RetryInput](t, err)
	if next.Round != 2 || next.Loaded != 1 || next.Rounds != 3 || len(next.Progress.Rounds) != 1 || next.Run != in.Run {
		t.Errorf("it hands on %+v, want %+v", next, in)
	}
	if f.story() != "" {
		t.Errorf("%s\nwant nothing started", f.story())
	}
}

// A gate may be closed for days, in which workers start and stop.
func TestWorkersLostAtAClosedGateConsumeNoAttempt(t *testing.T) {
	const times = 3 * lostWorkers
	for name, gone := range map[string]func() error{
		"stopped": unbegun,
		"died":    func() error { return temporal.NewHeartbeatTimeoutError(limiter.Gate{Closed: "paused"}) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, 3)
			f.load = func(in batchInput, attempt int) (activities.BatchResult, error) {
				if in.Position == 2 && attempt <= times {
					return activities.BatchResult{}, gone()
				}
				return allCreated, nil
			}
			f.settle = unsent
			result, err := newEnvironment(t, f).loadRound(loadInput())
			if want := (LoadResult{Counts: counts{Created: 30, Calls: 3}}); err != nil || !reflect.DeepEqual(result, want) {
				t.Errorf("%+v, %v; want %+v", result, err, want)
			}

			f = newFake(t, 1)
			f.update = func(_ activities.UpdateInput, attempt int) (ledger.Updates, error) {
				if attempt <= times {
					return ledger.Updates{}, gone()
				}
				return allUpdated, nil
			}
			f.settled[0] = map[int]counts{1: {Duplicate: recordsABatch, Calls: 1}}
			e := newEnvironment(t, f)
			updates, err := runToEnd[UpdateResult](e, UpdateWorkflow, UpdateInput{Run: loadInput().Run, Limits: migration.Limits{RateLimit: 4, Workers: 1}, Records: recordsABatch})
			if err != nil || updates != (UpdateResult{Counts: allUpdated}) {
				t.Errorf("%+v, %v; want all updated", updates, err)
			}

			x := newExporter(t)
			x.reading = func(_ string, call int) error {
				if call <= times {
					return gone()
				}
				return nil
			}
			if _, err := x.run(x.environment(), toExport()); err != nil || x.count("PublishExport") != 1 {
				t.Errorf("%v: %s; want it exported", err, x.story())
			}
		})
	}
}

// Workers that died in a pause do not count with those that died at work, however often
// the two take turns.
func TestWorkersThatDieAtWorkCountAlone(t *testing.T) {
	for _, c := range []struct {
		atWork int // of the workers that die
		ends   bool
	}{{callAttempts - 1, true}, {callAttempts, false}} {
		x := newExporter(t)
		x.reading = func(_ string, call int) error {
			switch {
			case call > 2*c.atWork:
				return nil
			case call%2 == 0:
				return temporal.NewHeartbeatTimeoutError()
			}
			return temporal.NewHeartbeatTimeoutError(limiter.Gate{Closed: "paused"})
		}
		if _, err := x.run(x.environment(), toExport()); (err == nil) != c.ends {
			t.Errorf("%d workers died at work: %v: %s", c.atWork, err, x.story())
		}
	}
}

func TestWorkersThatDieOnABatchCountAfterOthersThatConsumedNoAttempt(t *testing.T) {
	f := newFake(t, 1)
	const waited = 3
	f.load = func(_ batchInput, attempt int) (activities.BatchResult, error) {
		if attempt <= waited {
			return activities.BatchResult{}, unbegun()
		}
		return activities.BatchResult{}, temporal.NewHeartbeatTimeoutError()
	}
	f.settle = unsent
	result, err := newEnvironment(t, f).loadRound(loadInput())
	if err != nil || result.Halted == "" || !result.Stopped {
		t.Errorf("%+v, %v; want it halted", result, err)
	}
	if begun := f.count("LoadBatch "); begun != waited+lostWorkers {
		t.Errorf("the batch was started %d times, want %d", begun, waited+lostWorkers)
	}
}

// unbegun is the error of activities whose worker shuts down.
func unbegun() error {
	return temporal.NewNonRetryableApplicationError("this worker is stopping; nothing was sent", activities.Unbegun, nil)
}

func TestACancelledLoadDoesNotWaitForAWorker(t *testing.T) {
	f := newFake(t, 1)
	e := newEnvironment(t, f)
	f.load = func(_ batchInput, attempt int) (activities.BatchResult, error) {
		if attempt == 3 {
			e.CancelWorkflow()
		}
		return activities.BatchResult{}, unbegun()
	}
	f.settle = unsent
	result, err := e.loadRound(loadInput())
	if err != nil || !reflect.DeepEqual(result, LoadResult{Stopped: true}) {
		t.Errorf("%+v, %v; want it stopped without a fault", result, err)
	}
}

func TestWaitingBatchesAreReleasedWhenTooManyRecordsHaveFailed(t *testing.T) {
	f := newFake(t, 250)
	e := newEnvironment(t, f)
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		if in.Limit == nil || in.Limit.Left != 15 || in.Limit.Load == "" || !in.Limit.Duplicates {
			t.Errorf("batch %d got %+v; want the number that may fail", in.Position, in.Limit)
		}
		if in.Position <= 2 {
			return allFailed, nil
		}
		<-f.held
		return activities.BatchResult{Unsent: true}, nil
	}
	in := loadInput()
	in.MostFailed, in.DuplicatesFail = new(15), true
	result, err := e.loadRound(in)
	if want := (LoadResult{Counts: counts{Failed: 20, Calls: 2}, TooManyFailed: true}); err != nil || !reflect.DeepEqual(result, want) {
		t.Errorf("%+v, %v; want %+v", result, err, want)
	}
	if n, most := f.count("LoadBatch"), 2+in.Window; n > most || f.count("HoldLoad") != 1 {
		t.Errorf("%d batches were started, want %d at most; %s", n, most, f.story())
	}
}

// A worker knows before the workflow that too many records have failed.
func TestAnUnsentBatchHoldsTheLoad(t *testing.T) {
	f := newFake(t, 250)
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		if in.Position == 3 {
			return activities.BatchResult{Unsent: true}, nil
		}
		return allCreated, nil
	}
	in := loadInput()
	in.Window, in.MostFailed = 1, new(15)
	result, err := newEnvironment(t, f).loadRound(in)
	if err != nil || !result.TooManyFailed || result.Stopped || f.count("LoadBatch") != 3 {
		t.Errorf("%+v, %v; %s; want it held after batch 3", result, err, f.story())
	}
}

// Records that had failed before count once, over continue-as-new too.
func TestABatchGetsTheNumberOfRecordsThatMayStillFail(t *testing.T) {
	f := newFake(t, 150)
	f.settled[0] = map[int]counts{1: {Failed: 7, Duplicate: 3}, 2: {Created: 10}, 120: {Failed: 4}}
	var least int
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		least = in.Limit.Left
		return activities.BatchResult{Counts: counts{Failed: 1, Created: 9, Calls: 1}}, nil
	}
	in := loadInput()
	in.Window, in.MostFailed, in.FailedBefore = 1, new(1000), 2
	if _, err := newEnvironment(t, f).loadRound(in); err != nil || least != 1000-2-7-4 {
		t.Errorf("the last batch may fail %d records (%v), want %d: what this load's own calls fail, its workers count", least, err, 1000-2-7-4)
	}
}

// runs are the runs of batches that were asked for, in order.
func (e *environment) runs() (all []activities.BatchesInput) {
	for _, a := range e.asked {
		if in, ok := a.input.(activities.BatchesInput); ok && a.activity == "LoadBatches" {
			all = append(all, in)
		}
	}
	return all
}

// inRuns is a load of which the first run has this many batches already.
func inRuns(batches int) LoadInput {
	in := loadInput()
	in.Together = batches
	return in
}

// eachOnce checks that every batch of the input was begun once.
func (f *fake) eachOnce() {
	f.t.Helper()
	for position := 1; position <= f.batches; position++ {
		if n := exactly(f, fmt.Sprintf("LoadBatch 0/%d", position)); n != 1 {
			f.t.Errorf("batch %d was begun %d times, want once", position, n)
		}
	}
}

func TestARunOfBatchesTakesSomeSeconds(t *testing.T) {
	for _, tc := range []struct {
		took    time.Duration // a batch
		longest int
		limited bool
	}{
		{3 * time.Second, 1, false}, {2700 * time.Millisecond, 1, false}, {1800 * time.Millisecond, 2, false}, {300 * time.Millisecond, 13, false}, {75 * time.Millisecond, 53, false},
		{time.Millisecond, mostInARun, false}, {0, mostInARun, false}, {time.Millisecond, 1, true},
	} {
		f := newFake(t, 2500)
		f.took = tc.took
		in := loadInput()
		if tc.limited {
			in.MostFailed = new(100_000)
		}
		e := newEnvironment(t, f)
		result, err := e.loadRound(in)
		if want := (LoadResult{Counts: counts{Created: 25000, Calls: 2500}}); err != nil || !reflect.DeepEqual(result, want) {
			t.Fatalf("%v a batch: %+v, %v; want %+v", tc.took, result, err, want)
		}
		f.eachOnce()
		longest, runs := 0, e.runs()
		for _, r := range runs {
			longest = max(longest, r.Last-r.First+1)
		}
		if longest != tc.longest {
			t.Errorf("%v a batch: the longest run has %d batches, want %d", tc.took, longest, tc.longest)
		}
		for i, r := range runs {
			n, most := r.Last-r.First+1, longest
			switch {
			case i == 0:
				most = 1
			case i >= len(runs)-in.Window: // all runs are to end together
				most = max(1, longest/4)
			}
			if n > most {
				t.Errorf("%v a batch: run %d of %d has %d batches, want %d at most", tc.took, i+1, len(runs), n, most)
			}
		}
	}
}

// A target does so many batches a second, however many are in flight; a run ends when those
// that were in flight as it began have ended.
func TestTheLengthOfRunsSettles(t *testing.T) {
	for _, rate := range []float64{0.5, 4, 10, 18, 30, 100, 190} {
		for _, workers := range []int{1, 10, 100} {
			l := &loadRun{in: round{limits: migration.Limits{Workers: workers}, batches: 10_000, id: "id"}.inputs()[0]}
			var lengths []int
			var took time.Duration
			inFlight := l.window()
			for range 20 {
				n := max(1, l.together())
				lengths = append(lengths, n)
				took = time.Duration(float64(n*inFlight) / rate * float64(time.Second))
				inFlight = l.window()
				l.measure(activities.BatchesResult{Done: n, Took: took})
			}
			last := lengths[5]
			for _, n := range lengths[5:] {
				if n != last {
					t.Fatalf("%g batches a second, %d workers: runs of %v batches; want a length that stays", rate, workers, lengths)
				}
			}
			if last > 1 && last < mostInARun && (took < aRun/2 || took > 3*aRun/2) {
				t.Errorf("%g batches a second, %d workers: runs of %d batches take %v, want about %v", rate, workers, last, took, aRun)
			}
		}
	}
}

func TestARunHasConsecutiveBatchesAndSaysWhich(t *testing.T) {
	f := newFake(t, 400)
	f.took = aRun / 10
	f.settled[0] = map[int]counts{4: {Created: 10, Calls: 1}}
	e := newEnvironment(t, f)
	if _, err := e.loadRound(inRuns(10)); err != nil {
		t.Fatal(err)
	}
	expect(t, "the first summaries", e.summaries("LoadBatches")[:3],
		[]string{"batches 1 to 3 of 400, lines 2 to 31", "batches 5 to 14 of 400, lines 42 to 141", "batches 15 to 24 of 400, lines 142 to 241"})
}

// A worker takes most of the first runs and dies: the others go on before its heartbeats are missed.
func TestTheFirstRunsOfADeadWorkerLeaveRoomForOthers(t *testing.T) {
	f := newFake(t, 200)
	f.took = aRun / 10
	far := make(chan struct{})
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		switch {
		case in.Position < 8:
			select {
			case <-far:
			case <-time.After(generous / 4):
				t.Errorf("batch 100 is not loaded while batch %d is in flight", in.Position)
			}
		case in.Position == 100:
			close(far)
		}
		return allCreated, nil
	}
	in := loadInput()
	in.AtFirst = 8
	e := newEnvironment(t, f)
	if result, err := e.loadRound(in); err != nil || result.Counts.Created != 2000 {
		t.Errorf("%+v, %v", result, err)
	}
	if most := f.mostAtOnce(); most > in.AtFirst {
		t.Errorf("%d runs at once, want at most %d", most, in.AtFirst)
	}
}

// What each run may exceed the limit by is one batch, also if the limit is set later.
func TestRunsAreOfOneBatchOnceOnlySoManyRecordsMayFail(t *testing.T) {
	f := newFake(t, 400)
	f.took = aRun / 10
	e := newEnvironment(t, f)
	var set sync.Once // before any run ends
	f.load = func(batchInput, int) (activities.BatchResult, error) {
		set.Do(func() { e.SignalWorkflow(signalMostFailed, new(100_000)) })
		return allCreated, nil
	}
	result, err := e.loadRound(inRuns(10))
	if err != nil || result.Counts.Created != 4000 {
		t.Fatalf("%+v, %v", result, err)
	}
	runs, long := e.runs(), 0
	for _, in := range runs {
		if in.Last > in.First {
			long++
		}
	}
	if first := runs[0]; first.Last-first.First+1 != 10 || long > loadInput().Window {
		t.Errorf("the first run is %+v, and %d of %d are of more than a batch; want those that were begun before the limit was set", first, long, len(runs))
	}
}

func TestALoadOfRunsContinuesAsNewWithTheirLength(t *testing.T) {
	f := newFake(t, 4000)
	f.took = aRun / 20
	e := newEnvironment(t, f)
	e.SetContinueAsNewSuggested(true)
	_, err := e.loadRound(inRuns(8))
	if in := nextInput[LoadInput](t, err); in.Together != 20 || in.Batches != in.After || f.nowInFlight() != 0 {
		t.Errorf("it hands on %+v, want runs of 20 batches and nothing in flight", in)
	}
}

// A worker dies in the run of batches 11 to 20.
func TestAWorkerThatDiesInARunCostsTheBatchThatWasInFlight(t *testing.T) {
	for name, tc := range map[string]struct {
		settled activities.BatchResult
		want    counts
		begun   int // batch 15
	}{
		"sent":     {allUnknown, counts{Created: 3990, Unknown: 10, Calls: 400}, 1},
		"answered": {allCreated, counts{Created: 4000, Calls: 400}, 1},
		"not sent": {activities.BatchResult{Unsent: true}, counts{Created: 4000, Calls: 400}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, 400)
			f.took = aRun / 10
			dead := false
			f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
				if in.Position == 15 && !dead {
					return activities.BatchResult{}, temporal.NewHeartbeatTimeoutError()
				}
				return allCreated, nil
			}
			f.settle = func(in batchInput) (activities.BatchResult, error) {
				dead = true
				if in.Position == 15 {
					return tc.settled, nil
				}
				return activities.BatchResult{Unsent: true}, nil
			}
			result, err := newEnvironment(t, f).loadRound(inRuns(10))
			if err != nil || !reflect.DeepEqual(result, LoadResult{Counts: tc.want}) {
				t.Errorf("%+v, %v; want %+v", result, err, tc.want)
			}
			for position := 11; position <= 20; position++ {
				want := 1
				if position == 15 {
					want = tc.begun
				}
				if n := exactly(f, fmt.Sprintf("LoadBatch 0/%d", position)); n != want {
					t.Errorf("batch %d was begun %d times, want %d", position, n, want)
				}
			}
		})
	}
}

// The load halts when workers die on the same batch one after the other, wherever in a run it is.
func TestABatchThatKillsItsWorkersHaltsTheLoad(t *testing.T) {
	f := newFake(t, 400)
	f.took = aRun / 10
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		if in.Position == 15 {
			return activities.BatchResult{}, temporal.NewHeartbeatTimeoutError()
		}
		return allCreated, nil
	}
	f.settle = unsent
	result, err := newEnvironment(t, f).loadRound(inRuns(10))
	if n := exactly(f, "LoadBatch 0/15"); err != nil || result.Halted == "" || !result.Stopped || n != 1+lostWorkers {
		t.Errorf("%+v, %v after %d deaths; want it halted after %d: the first one has made progress", result, err, n, 1+lostWorkers)
	}
}

func TestARunEndsAtTheClaimOfAnotherAttempt(t *testing.T) {
	f := newFake(t, 400)
	f.took = aRun / 10
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		if in.Position == 15 || in.Position == 21 {
			return activities.BatchResult{}, errClaimed
		}
		return allCreated, nil
	}
	f.settle = func(in batchInput) (activities.BatchResult, error) {
		if in.Position == 15 || in.Position == 21 {
			return allUnknown, nil
		}
		return activities.BatchResult{Unsent: true}, nil
	}
	e := newEnvironment(t, f)
	result, err := e.loadRound(inRuns(10))
	if want := (LoadResult{Counts: counts{Created: 3980, Unknown: 20, Calls: 400}}); err != nil || !reflect.DeepEqual(result, want) {
		t.Errorf("%+v, %v; want %+v", result, err, want)
	}
	f.eachOnce()
	expect(t, "what was settled", slices.Sorted(slices.Values(e.summaries("SettleBatches"))), []string{"settle batches 15 to 20 of 400, lines 142 to 201", "settle batches 21 to 30 of 400, lines 202 to 301"})
}

func TestARunThatItsWorkerGivesBackIsFinishedByTheNext(t *testing.T) {
	f := newFake(t, 400)
	f.took = aRun / 10
	f.load = func(in batchInput, attempt int) (activities.BatchResult, error) {
		if in.Position%15 == 0 && attempt == 1 {
			return activities.BatchResult{}, unbegun()
		}
		return allCreated, nil
	}
	f.settle = unsent
	result, err := newEnvironment(t, f).loadRound(inRuns(10))
	if want := (LoadResult{Counts: counts{Created: 4000, Calls: 400}}); err != nil || !reflect.DeepEqual(result, want) {
		t.Errorf("%+v, %v; want %+v", result, err, want)
	}
}

// What was done of a run counts, also where the rest of it is not loaded any more.
func TestALoadThatEndsInTheMiddleOfARun(t *testing.T) {
	for name, tc := range map[string]struct {
		load func(e *environment) (activities.BatchResult, error) // batch 5
		want LoadResult
	}{
		"held": {func(*environment) (activities.BatchResult, error) { return activities.BatchResult{Unsent: true}, nil },
			LoadResult{Counts: counts{Created: 40, Calls: 4}, TooManyFailed: true}},
		"halted by another": {func(e *environment) (activities.BatchResult, error) {
			<-e.endsNow()
			return activities.BatchResult{}, unbegun()
		}, LoadResult{Counts: counts{Created: 940, Calls: 94}, Stopped: true, Halted: "users.csv has changed"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, 400)
			f.took = aRun / 10
			e := newEnvironment(t, f)
			f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
				if in.Position == 5 {
					return tc.load(e)
				}
				return allCreated, nil
			}
			plans := 0
			f.plan = func() error {
				if plans++; plans > 1 {
					return temporal.NewNonRetryableApplicationError("users.csv has changed", activities.InputChanged, nil)
				}
				return nil
			}
			f.settle = unsent
			in := inRuns(10)
			if in.Window = 1; tc.want.Halted != "" {
				in.Window = 2
			}
			result, err := e.loadRound(in)
			if err != nil || !reflect.DeepEqual(result, tc.want) {
				t.Errorf("%+v, %v; want %+v", result, err, tc.want)
			}
			if n := f.count("LoadBatch 0/"); n != tc.want.Counts.Calls+1 {
				t.Errorf("%s; want no batch of the first run begun after the fifth", f.story())
			}
		})
	}
}
