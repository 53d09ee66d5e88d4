package activities

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

func TestTheFailFileSoFarHasWhatHasFailed(t *testing.T) {
	r := inspected(t, people(12)) // 3 batches
	first := ledger.NewOutcomes(4)
	first.Created(0, "uuid-0")
	first.Failed(1, "name is too long")
	first.Classify(1, "api 200")
	first.Unknown(2, "timeout")
	first.Created(3, "uuid-3")
	r.decide(ledger.Key{Batch: 1}, first.Outcomes(true, ""))
	r.claim(ledger.Key{Batch: 2})
	for range 2 { // again after a restart
		got := must[Reasons](r, r.acts.WriteFailures, r.run)
		if !maps.Equal(got.Failed, map[string]int{"api 200": 1}) || !maps.Equal(got.Unknown, map[string]int{"timeout": 1, ledger.Abandoned: 4}) || !strings.HasPrefix(got.File, "fail_") {
			t.Errorf("%+v; want one failed record, and 5 unknown", got)
		}
		fail, err := store.Read(store.Join(r.spec.OutputDir, got.File))
		if err != nil || strings.Count(string(fail), "\n") != 2 || !strings.Contains(string(fail), "name is too long") {
			t.Errorf("the fail file is %q, %v; want a row", fail, err)
		}
		raw, err := store.Read(store.Join(r.spec.OutputDir, strings.Replace(got.File, "fail_", "fail_records_", 1)))
		if err != nil || strings.Count(string(raw), "@") != 1 {
			t.Errorf("the raw records are %q, %v; want one", raw, err)
		}
		r.restart()
	}
	if _, err := r.ledger().Decided(t.Context(), ledger.ByCall, ledger.Key{Batch: 2}); !isNotFound(err) {
		t.Errorf("the batch whose worker died is decided: %v", err)
	}
	summary := r.artifacts(true)
	if fail, err := store.Read(store.Join(r.spec.OutputDir, summary.Files.Fail)); err != nil || strings.Count(string(fail), "\n") != 2 {
		t.Errorf("at the end the fail file is %q, %v", fail, err)
	}
}

func TestTheFolderKeepsWhyARunFailedUntilTheNextOneBegins(t *testing.T) {
	r := newRig(t, people(2))
	keep := func(reason string) {
		must[struct{}](r, r.acts.KeepFailure, FailureInput{Run: r.run, Failure: migration.Failure{At: now, Reason: reason, Spec: r.spec}})
	}
	kept := func() string {
		t.Helper()
		failure, err := r.spec.Folder.Failure()
		if errors.Is(err, migration.ErrAbsent) {
			return ""
		}
		if err != nil || failure.Spec.ID != r.spec.ID {
			t.Fatalf("%+v, %v; want the failure with its options", failure, err)
		}
		return failure.Reason
	}
	keep("no such entity type")
	if got := kept(); got != "no such entity type" {
		t.Errorf("%q is kept", got)
	}
	r.inspect()
	if got := kept(); got != "" {
		t.Errorf("%q is kept although a run has begun", got)
	}

	noError(t, r.run.Folder.Seal(r.run.ID))
	keep("the run was over")
	if got := kept(); got != "" {
		t.Errorf("%q is kept of a run that has a later one", got)
	}
	r.run.ID = "run-2"
	noError(t, r.spec.Folder.Finish(false))
	keep("it was migrated already")
	if got := kept(); got != "" {
		t.Errorf("%q is kept of a migration that is done", got)
	}
}
