package kratos_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"durable-dataload/internal/target"
)

// The server is killed while batches are in flight. What an answer calls created is there after its restart, what has no
// answer is there as a whole batch or not at all, and sending it again doubles nothing: what is refused then has our mark.
func TestAKilledServerDoublesAndLosesNothing(t *testing.T) {
	const batches, records, workers, kills = 16, 20, 3, 3
	server := start(t)
	var (
		begin = make(chan struct{}, batches)
		up    sync.RWMutex // locked while the server is down
		mu    sync.Mutex   // of lost
		lost  = map[int]bool{}
	)
	a := connect(t, server.Admin, target.Hooks{BeforeCall: func(context.Context) (func(), error) {
		up.RLock()
		defer up.RUnlock()
		select {
		case begin <- struct{}{}:
		default: // enough for all kills
		}
		return nil, nil
	}})
	batch := func(n int) (all []target.Record) {
		for i := range records {
			r, err := a.Encode([]byte(record(keyOf(n, i))), target.NewTag("run", int64(n*records+i)))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, r)
		}
		return all
	}
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		chaos := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // not for a secret
		for range kills {
			for range batches / (kills + 1) {
				<-begin
			}
			time.Sleep(time.Duration(chaos.IntN(250)) * time.Millisecond) // somewhere in a call
			up.Lock()
			server.Kill()
			err := server.Start(t.Context())
			up.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
		}
	}()
	jobs := make(chan int)
	var working sync.WaitGroup
	for range workers {
		working.Go(func() {
			for n := range jobs {
				answer := a.Create(t.Context(), batch(n))
				if answer.Err != nil {
					if answer.NothingWritten {
						t.Errorf("batch %d: %v, nothing written; want it unknown", n, answer.Err)
					}
					mu.Lock()
					lost[n] = true
					mu.Unlock()
				}
				for i, r := range answer.Results {
					if r.Err != nil {
						t.Errorf("record %d of batch %d: %v", i, n, r.Err)
					}
				}
			}
		})
	}
	for n := range batches {
		jobs <- n
	}
	close(jobs)
	working.Wait()
	<-killed
	if len(lost) == 0 {
		t.Error("no answer was lost: the kills hit nothing")
	}
	written := 0
	for n := range batches {
		there := 0
		for i := range records {
			there += len(find(t, a, n, i))
		}
		if there != records && !lost[n] || there != records && there != 0 {
			t.Errorf("%d of %d records of batch %d are there; its answer was lost: %t", there, records, n, lost[n])
		}
		if there > 0 {
			written++
		}
		if !lost[n] {
			continue
		}
		answer := a.Create(t.Context(), batch(n))
		if answer.Err != nil {
			t.Fatalf("batch %d is sent again: %v", n, answer.Err)
		}
		for i, r := range answer.Results {
			if isDuplicate := r.Err != nil && r.Err.Class == target.Duplicate; isDuplicate != (there > 0) {
				t.Errorf("record %d of batch %d is sent again: %v; it was there: %t", i, n, r.Err, there > 0)
			}
			if found := find(t, a, n, i); len(found) != 1 || found[0].Mark != target.NewTag("run", int64(n*records+i)) {
				t.Errorf("record %d of batch %d: %d are there; want one, with our mark", i, n, len(found))
			}
		}
	}
	if count, err := a.Count(t.Context()); err != nil || count != batches*records {
		t.Errorf("%d identities, %v; want %d", count, err, batches*records)
	}
	t.Logf("%d of %d answers were lost; %d batches had been written", len(lost), batches, written)
}

func keyOf(batch, record int) string { return fmt.Sprintf("user%d.%d@example.com", batch, record) }

func find(t *testing.T, a target.Adapter, batch, record int) []target.Entity {
	t.Helper()
	found, err := a.Find(t.Context(), "traits.email", []string{keyOf(batch, record)})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
