package workflows

import (
	"testing"
	"time"

	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/migration"
)

// canaryOf reads back the first three batches as a migration does.
func canaryOf(ctx workflow.Context, run activities.Run) (migration.VerifyResult, error) {
	return readBackBatches(withFolder(ctx, run.Folder.Path()), run, 3)
}

func TestACanaryIsReadBack(t *testing.T) {
	for name, c := range map[string]struct {
		read func(batch int) (migration.VerifyResult, error)
		want string // of the result, or of the error
	}{
		"as it should be": {func(int) (migration.VerifyResult, error) { return equal(10), nil }, "30 of 30 records are in the target as they should be."},
		"a difference": {func(batch int) (migration.VerifyResult, error) {
			found := equal(9)
			found.Missing = 1
			found.Note(migration.Difference{Line: int64(batch * 10), What: "missing"})
			return found, nil
		}, "27 of 30 records are in the target as they should be. 3 are missing. First: line 10: missing; line 20: missing; line 30: missing."},
		"trouble": {func(int) (migration.VerifyResult, error) {
			return migration.VerifyResult{}, forbidden("may not read")
		}, "may not read"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReader(t, 20)
			r.read = c.read
			e := r.environment()
			e.RegisterWorkflow(canaryOf)
			e.SetStartTime(endedAt)
			e.ExecuteWorkflow(canaryOf, activities.Run{Folder: "/state/migrations/key", ID: "run"})
			var found migration.VerifyResult
			err := e.GetWorkflowError()
			if err == nil {
				err = e.GetWorkflowResult(&found)
			}
			got := found.Text()
			if err != nil {
				got = Cause(err)
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if want := endedAt.Add(invisibleFor); r.count("VerifyBatch") != 3 && err == nil || r.until.Before(want) || r.until.After(want.Add(time.Second)) {
				t.Errorf("missing records are looked up until %v, want %v: %s", r.until, want, r.story())
			}
		})
	}
}
