package activities

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/worker"

	"durable-dataload/internal/gate"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

func TestSteerOrdersAndWritesDownWhatOperatorsChange(t *testing.T) {
	r := inspected(t, people(4))
	folder := r.spec.Folder
	limits := limiter.Limits{Rate: 8, Workers: 2, Breaker: 5}
	in := SteerInput{Run: r.run, Order: &limiter.Order{Number: 1, Limits: &limits, Pause: "paused by anna", By: "anna"}, Events: []migration.Event{
		{At: now, Kind: migration.EventChanged, Who: "anna", Name: "rate", Old: "4", New: "8"},
		{At: now, Kind: migration.EventChanged, Who: "anna", Name: "paused", Old: "no", New: "yes"},
	}, Approved: true}
	for range 2 { // an activity may be run again
		must[Steered](r, r.acts.Steer, in)
	}
	done := r.loadsAll(1)
	want := limiter.Gate{Limit: 8, Allowed: 8, Slots: 2, Closed: "paused by anna", Paused: true}
	eventually(t, "the batch waits", func() bool {
		got := r.gate().State()
		got.Since = time.Time{}
		return got == want
	})
	in.Order = &limiter.Order{Number: 2, Limits: &limits, Resume: true}
	in.Events, in.Approved = nil, false
	if got := must[Steered](r, r.acts.Steer, in); got.Holds < 0 || got.Holds > limiter.Lease {
		t.Errorf("the order holds in %v, want at once or at the end of a lease", got.Holds)
	}
	<-done
	if approved, err := folder.Approved(); !approved || err != nil {
		t.Error("the approval was not kept")
	}
	events, err := folder.Events()
	if err != nil || len(events) != 3 || events[0].Kind != migration.EventBegun || events[1].Name != "rate" || events[2].Name != "paused" {
		t.Errorf("events %+v, %v; want the beginning and the two changes, once each", events, err)
	}
}

// mute is a limiter that does not answer.
type mute struct {
	gate.Local
	t *testing.T
}

func (m *mute) Order(ctx context.Context, _ string, _ limiter.Order) (time.Duration, error) {
	if _, ok := ctx.Deadline(); !ok {
		m.t.Error("an order may wait for ever")
	}
	return 0, context.DeadlineExceeded
}

func TestAStopDoesNotNeedTheLimiter(t *testing.T) {
	r := inspected(t, people(4))
	r.restart()
	r.acts.limiters = func(migration.Target) Limiter { return &mute{t: t} }
	in := SteerInput{Run: r.run, Order: &limiter.Order{Number: 1, Pause: "paused by anna"}, Events: []migration.Event{
		{At: now, Kind: migration.EventChanged, Who: "anna", Name: "stop", Old: "no", New: "yes"},
	}}
	if _, err := run[Steered](r, worker.Options{}, nil, r.acts.Steer, in); err == nil || !strings.Contains(err.Error(), "the limiter did not take the order") {
		t.Errorf("a pause: %v, want an error that says so", err)
	}
	in.Order = &limiter.Order{Number: 2, End: true}
	if got := must[Steered](r, r.acts.Steer, in); got.Holds != limiter.Lease {
		t.Errorf("a stop holds in %v, want the end of a lease", got.Holds)
	}
	if events, err := r.spec.Folder.Events(); err != nil || len(events) != 2 || events[1].Name != "stop" {
		t.Errorf("events %+v, %v; want the stop", events, err)
	}
}

// A request to a bucket may take longer than the heartbeat timeout. Without a heartbeat a
// second attempt would begin beside the first.
func TestActivitiesHeartbeatWhileABucketIsSlow(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "invented")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "invented")
	acts := New(nil, nil, nil, slog.New(slog.DiscardHandler))
	for name, c := range map[string]struct {
		activity any
		input    func(Run) any
	}{
		"Steer":         {acts.Steer, func(run Run) any { return SteerInput{Run: run, Order: &limiter.Order{Number: 1}} }},
		"SettleBatches": {acts.SettleBatches, func(run Run) any { return BatchesInput{Run: run, First: 1, Last: 1} }},
	} {
		t.Run(name, func(t *testing.T) {
			var once sync.Once
			beaten := make(chan struct{})
			slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-beaten:
				case <-time.After(2 * heartbeatInterval):
					t.Errorf("no heartbeat while %s is waited for", r.Method)
				}
				w.WriteHeader(http.StatusForbidden)
			}))
			defer slow.Close()
			env := newEnvironment()
			env.SetOnActivityHeartbeatListener(func(*activity.Info, converter.EncodedValues) { once.Do(func() { close(beaten) }) })
			env.RegisterActivity(c.activity)
			folder := migration.RunFolder("s3://bucket/" + name + "?region=us-east-1&endpoint=" + slow.URL)
			if _, err := env.ExecuteActivity(c.activity, c.input(Run{Folder: folder, ID: "run-1"})); err == nil {
				t.Error("want an error: the bucket allows nothing")
			}
		})
	}
}

func TestTheBatchesOfACanaryEndWithIt(t *testing.T) {
	for _, tc := range []struct {
		records, batchSize, canary int
		startAt                    int64
		want, batches              int
	}{
		{records: 20, batchSize: 4, canary: 4, want: 1, batches: 5},
		{records: 20, batchSize: 4, canary: 6, want: 2, batches: 6}, // 4, 2, 4, 4, 4, 2
		{records: 20, batchSize: 4, canary: 1, want: 1, batches: 6},
		{records: 20, batchSize: 4, canary: 6, startAt: 10, want: 2, batches: 4}, // 4, 2, 4, 1
		{records: 20, batchSize: 4, canary: 0, want: 0, batches: 5},
	} {
		r := newRig(t, people(tc.records), batchSize(tc.batchSize), withSpec(func(s *migration.Spec) {
			s.Canary, s.StartAt = tc.canary, max(1, tc.startAt)
		}))
		if got := r.inspect(); got.Canary != tc.want || got.Batches != tc.batches {
			t.Errorf("%+v: %d of %d batches are the canary", tc, got.Canary, got.Batches)
			continue
		}
		loaded := 0
		for batch := range tc.want {
			loaded += r.load(0, batch+1).Created
		}
		if want := min(tc.canary, tc.records); loaded != want {
			t.Errorf("%+v: the canary loads %d records, want %d", tc, loaded, want)
		}
	}
}

func TestACanaryIsApprovedOnce(t *testing.T) {
	r := newRig(t, people(20), withSpec(func(s *migration.Spec) { s.Canary = 6 }))
	first := r.inspect()
	noError(t, r.spec.Folder.Approve())
	r.run.ID = "run-2"
	if again := r.inspect(); again.Canary != 0 || again.Batches != first.Batches {
		t.Errorf("after the approval: %+v, want no canary", again)
	}
}

func TestALaterRunCutsTheInputAsTheFirstDid(t *testing.T) {
	r := newRig(t, people(20), withSpec(func(s *migration.Spec) { s.Canary = 6 }))
	first := r.inspect()
	index, err := store.Read(r.run.Folder.Index())
	noError(t, err)
	r.load(0, 1)
	if err := store.Remove(r.run.Folder.Index()); err != nil { // and it has to be made again
		t.Fatal(err)
	}
	r.restart()
	r.run.ID, r.spec.Canary = "run-2", 3
	again := must[Inspected](r, r.acts.InspectSource, InspectInput{Spec: r.spec, Run: r.run, Now: now.Add(time.Hour)})
	made, err := store.Read(r.run.Folder.Index())
	if err != nil || string(made) != string(index) || again.Batches != first.Batches {
		t.Errorf("%+v, %v; want the index of the first run, with %d batches", again, err, first.Batches)
	}
	if again.Canary != 1 {
		t.Errorf("the canary of 3 records is %d batches, want the one that holds them", again.Canary)
	}
}

// refusing is a rig whose target refuses each call as a whole: 4 records fail.
func refusing(t *testing.T, batches, workers int) (*rig, *front) {
	t.Helper()
	r, f := behind(t, people(4*batches), withSpec(func(s *migration.Spec) { s.Workers = workers }))
	f.set(func(w http.ResponseWriter, endpoint string) bool {
		return endpoint == "entity.bulkCreate" && says(http.StatusOK, `{"stat":"error","code":200,"error":"invalid_argument","error_description":"no"}`)(w, endpoint)
	})
	return r, f
}

// limited loads batches concurrently, of which so many records may fail, and returns
// those that came back unsent.
func (r *rig) limited(a *Activities, limit FailLimit, batches ...int) (unsent []int) {
	r.t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, n := range batches {
		all.Go(func() {
			in := r.batch(0, n)
			in.Limit = &limit
			result, err := run[BatchesResult](r, worker.Options{}, nil, a.LoadBatches, in)
			if err != nil {
				r.t.Errorf("batch %d: %v", n, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if result.Held {
				unsent = append(unsent, n)
			}
		})
	}
	all.Wait()
	return unsent
}

func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i+1)
	}
	return all
}

// The batches wait for the one slot when the limit is passed.
func TestBatchesThatWaitAreNotSentOnceTooManyHaveFailed(t *testing.T) {
	for left, calls := range map[int]int{-1: 0, 0: 1, 3: 1, 4: 2, 7: 2, 8: 3} {
		r, f := refusing(t, 10, 1)
		unsent := r.limited(r.acts, FailLimit{Load: "a load", Left: left}, upTo(10)...)
		if n := f.count("entity.bulkCreate"); n != calls || len(unsent) != 10-calls {
			t.Errorf("%d may fail: %d calls, %d batches given back; want %d calls of 4 records", left, n, len(unsent), calls)
		}
		for _, batch := range unsent {
			if r.isClaimed(ledger.Key{Batch: batch}) {
				t.Errorf("%d may fail: batch %d was given back and is claimed", left, batch)
			}
		}
	}
}

// Only the calls in flight come on top of the limit.
func TestTheLimitOfFailedRecordsHoldsButForTheCallsInFlight(t *testing.T) {
	const workers, left = 3, 5
	r, f := refusing(t, 20, workers)
	r.limited(r.acts, FailLimit{Load: "a load", Left: left}, upTo(20)...)
	// Two calls pass the limit; the others that have a slot then continue.
	if n := f.count("entity.bulkCreate"); n > 2+workers-1 {
		t.Errorf("%d calls, want %d at most", n, 2+workers-1)
	}
}

func TestALoadThatIsHeldIsHeldInEveryProcess(t *testing.T) {
	r, f := refusing(t, 4, 4)
	first := r.acts
	r.restart()
	if unsent := r.limited(r.acts, FailLimit{Load: "a load", Left: 100}, 1); len(unsent) != 0 {
		t.Fatalf("batch %d was given back before anything was held", unsent)
	}
	must[struct{}](r, first.HoldLoad, HoldInput{Run: r.run, Load: "a load"})
	if unsent := r.limited(r.acts, FailLimit{Load: "a load", Left: 100}, 2, 3); len(unsent) != 2 || f.count("entity.bulkCreate") != 1 {
		t.Errorf("batches %v were given back, %d calls; want 2 and 3 given back", unsent, f.count("entity.bulkCreate"))
	}
	// The load after the decision has another name.
	if unsent := r.limited(r.acts, FailLimit{Load: "the next load", Left: 0}, 2); len(unsent) != 0 || f.count("entity.bulkCreate") != 2 {
		t.Errorf("batches %v were given back, %d calls; want batch 2 sent", unsent, f.count("entity.bulkCreate"))
	}
}

func TestDuplicatesCountAgainstTheLimitWhereTheyFail(t *testing.T) {
	for _, fail := range []bool{true, false} {
		r := inspected(t, people(8))
		r.stranger(`{"email":"a1@example.com"}`)
		r.stranger(`{"email":"a5@example.com"}`)
		limit := FailLimit{Load: "a load", Left: 0, Duplicates: fail}
		first, second := r.limited(r.acts, limit, 1), r.limited(r.acts, limit, 2)
		if len(first) != 0 || (len(second) == 1) != fail {
			t.Errorf("duplicates fail %t: %v, %v given back", fail, first, second)
		}
	}
}

// What cannot be sent fails without a call, and counts.
func TestRecordsThatCannotBeSentCountAgainstTheLimit(t *testing.T) {
	r := inspected(t, "email,birthday\n"+"a@example.com,x\nb@example.com,x\nc@example.com,x\nd@example.com,x\n"+"e@example.com\nf@example.com\ng@example.com\nh@example.com\n"+"i@example.com,1990-01-01\n")
	limit := FailLimit{Load: "a load", Left: 3}
	if unsent := r.limited(r.acts, limit, 2); len(unsent) != 0 || r.sent() != 0 {
		t.Fatalf("%v given back, %d calls; want 4 records failed without one", unsent, r.sent())
	}
	if unsent := r.limited(r.acts, limit, 3); len(unsent) != 1 || r.sent() != 0 {
		t.Errorf("%v given back, %d calls; want batch 3 given back", unsent, r.sent())
	}
}
