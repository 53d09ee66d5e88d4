package workflows

import (
	"testing"
	"time"

	"durable-dataload/activities"
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
	if _, err := e.migrate(func(*migration.Spec) {}); err != nil {
		t.Fatal(err)
	}
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
	if _, err := e.migrate(func(*migration.Spec) {}); err != nil {
		t.Fatal(err)
	}
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
	if _, err := e.migrate(func(s *migration.Spec) { s.Workers = 1; s.MaxFailed = "5" }); err != nil {
		t.Fatal(err)
	}
	if f.count("LoadBatch") != 6 || f.artifact.FinishedAt.Sub(began) > time.Hour {
		t.Errorf("%s, after %s; want all batches without a decision", f.story(), f.artifact.FinishedAt.Sub(began))
	}
}
