package activities

import (
	"errors"
	"testing"

	"durable-dataload/internal/migration"
)

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
