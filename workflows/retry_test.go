package workflows

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"durable-dataload/activities"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
)

// A call can have written a record without saying so in round 0 too.
func TestDuplicatesOfTheInputAreLookedUp(t *testing.T) {
	f := newFake(t, 2)
	f.load = firstBatches(1, allDuplicate, allCreated)
	asked := 0
	f.resolve = func(in activities.ResolveInput) (activities.Resolved, error) {
		if asked++; in.Round != 0 || in.Last || in.Again != (asked > 1) {
			t.Errorf("look-up %d got %+v", asked, in)
		}
		if asked < 4 {
			return activities.Resolved{Recovered: 6, Invisible: 4}, nil
		}
		return activities.Resolved{Recovered: 8, Failed: 2}, nil
	}
	e := newEnvironment(t, f)
	e.migrated(func(*migration.Spec) {})
	if asked != 4 || f.count("WriteRetryFile") != 0 {
		t.Errorf("%s; want four look-ups, and no retry round: nothing is unknown", f.story())
	}
}

func TestAnUndecidedDuplicateOfTheInputIsRetried(t *testing.T) {
	f := newFake(t, 1)
	f.load = byRound(allDuplicate)
	f.resolve = func(in activities.ResolveInput) (activities.Resolved, error) {
		if in.Last {
			return activities.Resolved{Unknown: recordsABatch}, nil
		}
		return activities.Resolved{Invisible: recordsABatch}, nil
	}
	e := newEnvironment(t, f)
	began := e.Now()
	e.migrated(func(*migration.Spec) {})
	if f.count("WriteRetryFile 1") != 1 {
		t.Errorf("%s; want a retry round", f.story())
	}
	if waited := f.artifact.FinishedAt.Sub(began); waited < invisibleFor || waited > 2*invisibleFor {
		t.Errorf("it waited %s, want some minutes", waited)
	}
}

func TestAForbiddenLookUpHaltsTheMigration(t *testing.T) {
	for name, canary := range map[string]int{"in round 0": 0, "in the canary, which asks nothing then": 1} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, 2)
			f.canary = canary
			f.load = firstBatches(1, allDuplicate, allUnknown)
			f.resolve = func(activities.ResolveInput) (activities.Resolved, error) {
				return activities.Resolved{}, forbidden("may not read")
			}
			e := newEnvironment(t, f)
			result, err := e.migrate(func(*migration.Spec) {})
			if err != nil || result.Halted != "may not read" || f.count("WriteRetryFile") != 0 || f.count("VerifyBatch") != 0 || f.count("WriteArtifacts") != 1 {
				t.Errorf("%s, %v, halted %q; want the artifacts and the reason", f.story(), err, result.Halted)
			}
		})
	}
}

// Duplicates count as failed until it is known that they are ours.
func TestDuplicatesThatAreOursDoNotCountAsFailed(t *testing.T) {
	f := newFake(t, 6)
	f.load = firstBatches(2, allDuplicate, allCreated)
	f.resolve = func(activities.ResolveInput) (activities.Resolved, error) {
		return activities.Resolved{Recovered: f.strangers().Failed}, nil
	}
	e := newEnvironment(t, f)
	e.at(2*time.Hour, UpdateResume, anna)
	began := e.Now()
	e.migrated(func(s *migration.Spec) { s.Workers, s.RateLimit = 1, 0.5; s.MaxFailed = "5" })
	if f.count("LoadBatch") != 6 || f.artifact.FinishedAt.Sub(began) > time.Hour {
		t.Errorf("%s, after %s; want all batches without a decision", f.story(), f.artifact.FinishedAt.Sub(began))
	}
}

func TestPartsOfARound(t *testing.T) {
	for _, tc := range []struct {
		name       string
		batches    int
		rate       float64
		partitions int
		want       []string // After-To/Window
	}{
		{"small", 10, 0, 0, []string{"0-10/15"}},
		{"none", 0, 0, 0, []string{"0-0/15"}},
		{"as many as wanted", 10, 4, 3, []string{"0-3/5", "3-6/5", "6-10/5"}},
		{"not more than batches", 2, 4, 3, []string{"0-1/7", "1-2/7"}},
		{"one although it is large", 80_000, 0, 1, []string{"0-80000/15"}},
		{"large", 80_000, 0, 0, []string{"0-20000/4", "20000-40000/4", "40000-60000/4", "60000-80000/4"}},
		{"large and slow", 80_000, 4, 0, []string{"0-80000/14"}},
		{"large and fast enough", 25_000, 100, 0, []string{"0-12500/8", "12500-25000/8"}},
	} {
		r := round{batches: tc.batches, limits: migration.Limits{RateLimit: tc.rate, Workers: 10}, partitions: tc.partitions, id: "id"}
		var got []string
		for _, in := range r.inputs() {
			got = append(got, fmt.Sprintf("%d-%d/%d", in.After, in.To, in.Window))
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
		if ids := r.ids(); len(ids) != len(got) || len(got) == 1 && ids[0] != "id" {
			t.Errorf("%s: ids %q", tc.name, ids)
		}
	}
	for _, tc := range []struct {
		name string
		round
		want, atFirst int
	}{
		{"few workers", round{limits: migration.Limits{Workers: 1}}, 2, 4},
		{"some workers", round{limits: migration.Limits{Workers: 10}}, 15, 40},
		{"many workers", round{limits: migration.Limits{Workers: 500}}, 600, 600},
		{"a bucket", round{limits: migration.Limits{Workers: 10}, run: activities.Run{Folder: "s3://bucket/migrations/key"}}, 40, 40},
		{"a bucket, slow", round{limits: migration.Limits{Workers: 10, RateLimit: 4}, run: activities.Run{Folder: "s3://bucket/migrations/key"}}, 14, 14},
	} {
		l := &loadRun{in: tc.inputs()[0]}
		first := l.window()
		l.in.Together = 1
		if n := l.window(); first != tc.atFirst || n != tc.want {
			t.Errorf("%s: %d runs are in flight and %d at first, want %d and %d", tc.name, n, first, tc.want, tc.atFirst)
		}
	}
	if n := (round{batches: 100_000_000}).parts(); n != mostParts {
		t.Errorf("%d parts, want at most %d", n, mostParts)
	}
}

func TestPartsLoadEachBatchOnce(t *testing.T) {
	f := newFake(t, 250)
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		if in.Round == 0 && in.Position%50 == 0 {
			return allUnknown, nil
		}
		return allCreated, nil
	}
	e := newEnvironment(t, f)
	result, err := e.migrate(func(s *migration.Spec) { s.Partitions = 3 })
	if err != nil || result.Halted != "" {
		t.Fatalf("%+v, %v", result, err)
	}
	for position := 1; position <= 250; position++ {
		if n := exactly(f, fmt.Sprintf("LoadBatch 0/%d", position)); n != 1 {
			t.Errorf("batch %d was loaded %d times", position, n)
		}
	}
	if n := f.count("LoadBatch 1/"); n != 5 {
		t.Errorf("%d batches in round 1, want 5", n)
	}
	var parts []string
	for _, child := range e.child {
		if strings.HasPrefix(child, "LoadWorkflow ") {
			parts = append(parts, child[strings.LastIndex(child, "/"):])
		}
	}
	if len(parts) != 6 || !strings.HasSuffix(parts[2], "-part-3") || !strings.HasSuffix(parts[5], "round-1-part-3") {
		t.Errorf("children %q, want three parts in each round", parts)
	}
	progress := e.progress()
	if len(progress.Rounds) != 2 || progress.Rounds[0].Created != 2450 || progress.Rounds[0].Unknown != 50 || progress.Rounds[1].Created != 50 {
		t.Errorf("progress %+v", progress)
	}
}

func TestAPartThatHaltsDoesNotHideTheOthers(t *testing.T) {
	f := newFake(t, 30)
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		if in.Position == 12 {
			return activities.BatchResult{}, trouble("the disk is gone")
		}
		return allCreated, nil
	}
	result, err := newEnvironment(t, f).migrate(func(s *migration.Spec) { s.Partitions = 3 })
	if err != nil || result.Halted == "" || !f.artifact.Stopped {
		t.Errorf("%+v, %v, artifacts got %+v; want it halted", result, err, f.artifact)
	}
	if exactly(f, "LoadBatch 0/1") != 1 || exactly(f, "LoadBatch 0/30") != 1 {
		t.Errorf("%s\nwant the other parts loaded to their ends", f.story())
	}
}

// The limit is set while the parts of a round run.
func TestPartsShareWhatMayFail(t *testing.T) {
	const most = 200
	f := newFake(t, 1500)
	e := newEnvironment(t, f)
	set, stopped := &answered{}, &answered{}
	var once sync.Once
	var failures atomic.Int64
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		if in.Round == 0 {
			return allUnknown, nil
		}
		once.Do(func() {
			e.order(UpdateSet, Order{By: anna.By, Set: map[string]string{"max-failed": fmt.Sprint(most)}}, set)
		})
		failures.Add(1)
		return activities.BatchResult{Counts: ledger.Counts{Created: 9, Failed: 1}}, nil
	}
	e.RegisterDelayedCallback(func() { e.order(UpdateStop, anna, stopped) }, 24*time.Hour)
	_, err := e.migrate(func(s *migration.Spec) { s.Partitions = 3 })
	if err != nil || !set.wasDone() || !stopped.wasDone() {
		t.Fatalf("%v; set %+v, stopped %+v", err, set, stopped)
	}
	if failed := failures.Load(); failed < most || failed > 2*most {
		t.Errorf("%d records failed, want %d and what was in flight", failures.Load(), most)
	}
}

func exactly(f *fake, call string) (n int) {
	for _, c := range f.calls {
		if c == call {
			n++
		}
	}
	return n
}

func TestWaitingBatchesLeaveSlotsForOrders(t *testing.T) {
	for _, rate := range []float64{0, 4} {
		r := round{limits: migration.Limits{RateLimit: rate, Workers: migration.MaxWorkers}, batches: 10_000_000}
		batches := 0
		for _, in := range r.inputs() {
			batches += (&loadRun{in: in}).window()
		}
		if batches >= mostActivities {
			t.Errorf("rate limit %g: %d batches in flight hold all %d slots while the migration is paused, so that it cannot be resumed", rate, batches, mostActivities)
		}
	}
}
