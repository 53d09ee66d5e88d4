package workflows

import (
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"durable-dataload/activities"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
)

func isDelta(s *migration.Spec) { s.Delta, s.Workers, s.RateLimit = true, 1, 0.5 }

// newDelta is a migration of three batches; the records of the second and the third
// are there already.
func newDelta(t *testing.T) (*fake, *environment) {
	f := newFake(t, 3)
	f.delta = true
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		if in.Position > 1 {
			return allDuplicate, nil
		}
		return allCreated, nil
	}
	return f, newEnvironment(t, f)
}

func TestADeltaMigrationUpdatesDuplicatesAfterTheRounds(t *testing.T) {
	f, e := newDelta(t)
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		switch {
		case in.Round == 1:
			return allDuplicate, nil
		case in.Position == 1:
			return allUnknown, nil
		}
		return allDuplicate, nil
	}
	f.resolve = func(in activities.ResolveInput) (activities.Resolved, error) {
		if in.Round == 0 {
			return f.strangers(), nil
		}
		return activities.Resolved{Recovered: 8, Duplicate: 2}, nil
	}
	f.update = func(in activities.UpdateInput, _ int) (ledger.Updates, error) {
		if in.Round != 1 || in.Run.ID == "" {
			t.Errorf("UpdateBatch got %+v, want the last round", in)
		}
		return ledger.Updates{Updated: 7, Unchanged: 2, Failed: 1}, nil
	}
	f.duplicateKeys = 3
	e.migrated(isDelta)
	if got, want := f.story(), "InspectSource, CheckTarget, PlanBatches 0, LoadBatch 0/1, LoadBatch 0/2, LoadBatch 0/3, "+
		"ResolveDuplicates 0, WriteRetryFile 1, PlanBatches 1, PlanBatches 1, LoadBatch 1/1, ResolveDuplicates 1, WriteRetryFile 2, "+
		"PlanUpdates, UpdateBatch 1/2, UpdateBatch 1/3, CountEntities, WriteArtifacts"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if last := e.child[len(e.child)-1]; !strings.HasPrefix(last, "UpdateWorkflow ") || !strings.Contains(last, "/update-") {
		t.Errorf("children %q, want the update as the last", e.child)
	}
	p := e.progress()
	if !p.Delta || p.DuplicateKeys != 3 || p.ToUpdate != 22 || p.Updates != (ledger.Updates{Updated: 14, Unchanged: 4, Failed: 2}) || p.Phase != PhaseDone {
		t.Errorf("progress %+v; want 22 to update: 20 of round 0, 2 of round 1", p)
	}
	if f.artifact.Stopped {
		t.Error("the migration counts as stopped")
	}
}

func TestOnlyADeltaMigrationWithDuplicatesUpdates(t *testing.T) {
	f, e := newDelta(t)
	if _, err := e.migrate(nil); err != nil || f.count("PlanUpdates") != 0 {
		t.Errorf("without --delta-migration: %s, %v", f.story(), err)
	}
	f = newFake(t, 3)
	e = newEnvironment(t, f)
	if _, err := e.migrate(isDelta); err != nil || f.count("PlanUpdates") != 0 {
		t.Errorf("without duplicates: %s, %v", f.story(), err)
	}
}

func TestAfterAStopNothingIsUpdated(t *testing.T) {
	f, e := newDelta(t)
	load := f.load
	f.load = func(in batchInput, n int) (activities.BatchResult, error) {
		if in.Position == 2 {
			e.CancelWorkflow()
		}
		return load(in, n)
	}
	if _, err := e.migrate(isDelta); err != nil || f.count("PlanUpdates") != 0 || !f.artifact.Stopped {
		t.Errorf("%s, %v, artifacts got %+v", f.story(), err, f.artifact)
	}
	// Trouble in the retry rounds: it is not known which duplicates are our own.
	f, e = newDelta(t)
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		if in.Round == 0 && in.Position == 1 {
			return allUnknown, nil
		}
		return allDuplicate, nil
	}
	f.resolve = func(in activities.ResolveInput) (activities.Resolved, error) {
		if in.Round == 0 {
			return f.strangers(), nil
		}
		return activities.Resolved{}, forbidden("may not read")
	}
	result, err := e.migrate(isDelta)
	if err != nil || f.count("PlanUpdates") != 0 || result.Halted != "may not read" {
		t.Errorf("%s, %v, halted %q", f.story(), err, result.Halted)
	}
}

func TestATargetThatDoesNotUpdateHaltsTheUpdates(t *testing.T) {
	f, e := newDelta(t)
	f.update = func(in activities.UpdateInput, _ int) (ledger.Updates, error) {
		return ledger.Updates{}, temporal.NewApplicationError("does not answer", activities.Unreachable)
	}
	began := e.Now()
	result, err := e.migrate(isDelta)
	if err != nil || result.Halted != "does not answer" || !f.artifact.Stopped {
		t.Errorf("%+v, %v, artifacts got %+v; want them and the reason", result, err, f.artifact)
	}
	if n := f.count("UpdateBatch"); n != callAttempts {
		t.Errorf("%d attempts, want %d of the first batch and none of the second", n, callAttempts)
	}
	if waited := f.artifact.FinishedAt.Sub(began); waited < time.Minute || waited > 10*time.Minute {
		t.Errorf("it halted after %v, want some minutes", waited)
	}
}

func TestAnUpdateOfADeadWorkerIsRepeated(t *testing.T) {
	f, e := newDelta(t)
	f.update = func(in activities.UpdateInput, attempt int) (ledger.Updates, error) {
		if in.Batch == 2 && attempt == 1 {
			return ledger.Updates{}, temporal.NewHeartbeatTimeoutError()
		}
		return allUpdated, nil
	}
	result, err := e.migrate(isDelta)
	if err != nil || result.Halted != "" || f.artifact.Stopped || f.count("UpdateBatch 0/2") != 2 || f.count("SettleBatch") != 0 {
		t.Errorf("%s, %+v, %v", f.story(), result, err)
	}
}

func TestACancelDuringTheUpdatesStillWritesTheArtifacts(t *testing.T) {
	f := newFake(t, 500)
	f.delta = true
	e := newEnvironment(t, f)
	f.load = byRound(allDuplicate)
	f.update = func(in activities.UpdateInput, _ int) (ledger.Updates, error) {
		if in.Batch == 7 {
			e.CancelWorkflow()
		}
		if in.Batch > 6 {
			<-e.endsNow()
		}
		return allUpdated, nil
	}
	result, err := e.migrate(func(s *migration.Spec) { s.Delta, s.Workers = true, 3 })
	if err != nil || !f.artifact.Stopped || result.Halted != "" || f.count("WriteArtifacts") != 1 {
		t.Errorf("%+v, %v, artifacts got %+v; want them stopped without a fault", result, err, f.artifact)
	}
	if n := f.count("UpdateBatch"); n < 4 || n == 500 {
		t.Errorf("%d batches were updated, want some, and not all 500", n)
	}
	if f.mostAtOnce() > 3 {
		t.Errorf("%d batches at once, want at most 3", f.mostAtOnce())
	}
}

func TestUpdatesContinueAsNew(t *testing.T) {
	f := newFake(t, 250)
	f.settled[0] = map[int]counts{}
	for batch := 1; batch <= 250; batch++ {
		f.settled[0][batch] = counts{Duplicate: 10}
	}
	f.updated[1] = ledger.Updates{Failed: 10}
	e := newEnvironment(t, f)
	e.SetCurrentHistoryLength(eventsARun)
	in := UpdateInput{Run: activities.Run{Folder: "/state/migrations/key", ID: "run"}, Limits: migration.Limits{Workers: 4}, Records: 2500}
	_, err := runToEnd[UpdateResult](e, UpdateWorkflow, in)
	further := nextInput[UpdateInput](t, err)
	in.After, in.Counts = 101, ledger.Updates{Updated: 1000, Failed: 10}
	expect(t, "the next run gets", further, in)

	result, err := runToEnd[UpdateResult](newEnvironment(t, f), UpdateWorkflow, further)
	if err != nil || result != (UpdateResult{Counts: ledger.Updates{Updated: 2490, Failed: 10}}) {
		t.Errorf("%+v, %v; want 2490 updated", result, err)
	}
}
