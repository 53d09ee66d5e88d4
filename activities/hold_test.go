package activities

import (
	"net/http"
	"sync"
	"testing"

	"go.temporal.io/sdk/worker"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
)

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
			result, err := run[BatchResult](r, worker.Options{}, nil, a.LoadBatch, in)
			if err != nil {
				r.t.Errorf("batch %d: %v", n, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if result.Unsent {
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
