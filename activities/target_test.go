package activities

import (
	"strings"
	"testing"

	"go.temporal.io/sdk/worker"

	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

func (r *rig) check() error {
	_, err := run[any](r, worker.Options{}, nil, r.acts.CheckTarget, r.run)
	return err
}

func TestCheckTargetSeparatesRefusalsFromOutages(t *testing.T) {
	good := inspected(t, people(1))
	if err := good.check(); err != nil {
		t.Errorf("a good target: %v", err)
	}

	unknownType := inspected(t, people(1), withSpec(func(s *migration.Spec) { s.Target.EntityType = "nobody" }))
	expectType(t, unknownType.check(), Refused, false, "nobody")

	gone := inspected(t, people(1))
	noError(t, gone.sandbox.Close())
	expectType(t, gone.check(), Unreachable, true, "nothing was sent")

	for _, r := range []*rig{good, unknownType, gone} {
		if n := len(r.truth()); n != 0 {
			t.Errorf("%d calls were made that write", n)
		}
	}
}

func TestWrongCredentialsAreRefused(t *testing.T) {
	r := inspected(t, people(1))
	r.acts = New(nil, func(spec migration.Spec, with func(*identitycloud.Config)) (Target, error) {
		return identitycloud.New(identitycloud.Config{BaseURL: spec.Target.URI, ClientID: "id", ClientSecret: "S3cr3t-never-shown"})
	}, r.acts.log)
	err := r.check()
	expectType(t, err, Refused, false, "client id")
	if err != nil && strings.Contains(err.Error(), "S3cr3t") {
		t.Errorf("the error shows the secret: %v", err)
	}
}

func TestEntitiesAreCounted(t *testing.T) {
	r := inspected(t, people(6))
	r.loadAll(0)
	count := must[*int64](r, r.acts.CountEntities, r.run)
	if count == nil || *count != 6 {
		t.Errorf("%v, want 6", count)
	}
	noError(t, r.sandbox.Close())
	_, err := run[*int64](r, worker.Options{}, nil, r.acts.CountEntities, r.run)
	expectType(t, err, Unreachable, true)
}

func TestWithoutAFolderNothingIsDone(t *testing.T) {
	r := inspected(t, people(1))
	noError(t, store.RemoveAll(r.run.Folder.Path()))
	expectType(t, r.check(), Storage, true, "not there yet")
}
