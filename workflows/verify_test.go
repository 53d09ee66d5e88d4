package workflows

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/migration"
)

// reader has the activities of a verification of some batches.
type reader struct {
	t       *testing.T
	batches int

	journal
	until   time.Time // of the last batch
	written activities.VerifyArtifactsInput

	check func() error
	read  func(batch int) (migration.VerifyResult, error)
}

func newReader(t *testing.T, batches int) *reader {
	return &reader{
		t: t, batches: batches, check: func() error { return nil },
		read: func(int) (migration.VerifyResult, error) { return equal(recordsABatch), nil },
	}
}

func equal(n int) (r migration.VerifyResult) {
	r.Equal = n
	return r
}

func (r *reader) CheckTarget(_ context.Context, run activities.Run) error {
	if run.ID == "" || run.Folder == "" {
		r.t.Errorf("CheckTarget got %+v", run)
	}
	r.note("CheckTarget")
	return r.check()
}

func (r *reader) PlanVerify(_ context.Context, in activities.VerifyPlanInput) (activities.VerifyPlan, error) {
	r.note("PlanVerify")
	p := activities.VerifyPlan{After: in.After, Total: r.batches, Records: r.batches * recordsABatch}
	for p.After < p.Total && len(p.Batches) < in.Limit {
		p.After++
		if p.After%7 == 0 { // nothing of it was loaded
			p.Settled.NotLoaded += recordsABatch
			continue
		}
		first := 2 + (p.After-1)*recordsABatch
		p.Batches = append(p.Batches, activities.PlannedBatch{p.After, first, first + recordsABatch - 1})
	}
	return p, nil
}

func (r *reader) VerifyBatch(_ context.Context, in activities.VerifyInput) (migration.VerifyResult, error) {
	r.note(fmt.Sprintf("VerifyBatch %d", in.Batch))
	defer r.working()()
	r.mu.Lock()
	r.until = in.Until
	r.mu.Unlock()
	var sum migration.VerifyResult
	for batch := in.Batch; batch <= max(in.Batch, in.Last); batch++ {
		found, err := r.read(batch)
		if err != nil {
			return found, err
		}
		sum.Add(found)
	}
	return sum, nil
}

func (r *reader) WriteVerify(_ context.Context, in activities.VerifyArtifactsInput) (migration.VerifySummary, error) {
	r.note("WriteVerify")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.written = in
	return migration.VerifySummary{Sample: r.batches * recordsABatch, Halted: in.Halted}, nil
}

func (r *reader) environment() *environment {
	return environmentOf(r.t, &r.journal, r.CheckTarget, r.PlanVerify, r.VerifyBatch, r.WriteVerify)
}

var endedAt = time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)

func toVerify() VerifyWorkflowInput {
	return VerifyWorkflowInput{Verification: migration.Verification{
		ID: "verify-key", Folder: migration.RunFolder("/state/verifications/key").Verification(), Ended: endedAt, Limits: migration.Limits{RateLimit: 4, Workers: 3},
	}}
}

func (r *reader) run(e *environment, in VerifyWorkflowInput) (migration.VerifySummary, error) {
	r.t.Helper()
	return runToEnd[migration.VerifySummary](e, VerifyWorkflow, in)
}

func TestAVerificationReadsEveryLoadedBatch(t *testing.T) {
	r := newReader(t, 20)
	e := r.environment()
	var p VerifyProgress
	r.read = func(int) (migration.VerifyResult, error) { return equal(recordsABatch), nil }
	e.SetOnActivityCompletedListener(func(info *activity.Info, _ converter.EncodedValue, _ error) {
		if info.ActivityType.Name != "VerifyBatch" || p.Phase != "" {
			return
		}
		p = progressOf[VerifyProgress](e)
	})
	if _, err := r.run(e, toVerify()); err != nil || r.count("VerifyBatch") != 18 || r.count("VerifyBatch 7") != 0 || r.count("WriteVerify") != 1 || r.count("CheckTarget") != 1 {
		t.Errorf("%v: %s", err, r.story())
	}
	if most := r.mostAtOnce(); most > 3 {
		t.Errorf("%d batches at once, want 3 at most", most)
	}
	if want := endedAt.Add(invisibleFor); !r.until.Equal(want) {
		t.Errorf("missing records are looked up until %v, want %v", r.until, want)
	}
	if p.Phase != PhaseVerifying || p.Records != 200 || p.Found.NotLoaded != 20 || p.InFlight == 0 {
		t.Errorf("the progress was %+v", p)
	}
	if names := e.summaries("VerifyBatch"); names[2] != "verify batch 3 of 20, lines 22 to 31" {
		t.Errorf("the summaries are %q", names)
	}
}

func TestAStoppedVerificationWritesWhatItHasFound(t *testing.T) {
	r := newReader(t, 50)
	e := r.environment()
	r.read = func(batch int) (migration.VerifyResult, error) {
		switch {
		case batch == 3:
			for r.count("VerifyBatch") < 3 { // those before it may be started later
				time.Sleep(time.Millisecond)
			}
			e.CancelWorkflow()
		case batch > 3:
			<-e.endsNow()
		}
		return equal(recordsABatch), nil
	}
	if _, err := r.run(e, toVerify()); err != nil || r.count("WriteVerify") != 1 || r.written.Halted != "" || r.count("VerifyBatch") > 8 {
		t.Errorf("%v, halted %q: %s", err, r.written.Halted, r.story())
	}
}

func TestTroubleHaltsAVerification(t *testing.T) {
	r := newReader(t, 50)
	e := r.environment()
	r.read = func(batch int) (migration.VerifyResult, error) {
		switch {
		case batch == 2:
			return migration.VerifyResult{}, forbidden("may not read")
		case batch > 2:
			<-e.endsNow()
		}
		return equal(recordsABatch), nil
	}
	summary, err := r.run(e, toVerify())
	if err != nil || summary.Halted != "may not read" || r.count("WriteVerify") != 1 || r.count("VerifyBatch") > 6 {
		t.Errorf("%+v, %v: %s", summary, err, r.story())
	}
	r = newReader(t, 3)
	r.check = func() error { return temporal.NewNonRetryableApplicationError("no such type", activities.Refused, nil) }
	if _, err := r.run(r.environment(), toVerify()); err == nil || r.story() != "CheckTarget" {
		t.Errorf("a target that cannot be used: %v: %s", err, r.story())
	}
}

func TestAVerificationContinuesAsNew(t *testing.T) {
	r := newReader(t, 250)
	r.read = func(batch int) (found migration.VerifyResult, _ error) {
		found.Different, found.Attributes = 1, map[string]int{"givenName": 1}
		found.Note(migration.Difference{Line: int64(batch), Attribute: "givenName", What: "different"})
		return found, nil
	}
	e := r.environment()
	e.SetCurrentHistoryLength(eventsARun)
	_, err := r.run(e, toVerify())
	further := nextInput[VerifyWorkflowInput](t, err)
	if further.After != 116 || further.Found.Different != 100 || further.Found.NotLoaded != 160 || further.Found.Attributes["givenName"] != 100 || further.Run.ID == "" {
		t.Errorf("the next run got %+v", further)
	}
	if n := size(t, further); n > 2048 {
		t.Errorf("the input has %d bytes in the history, want few", n)
	}
	if _, err := r.run(r.environment(), further); err != nil || r.count("CheckTarget") != 1 || r.count("VerifyBatch") != 215 || r.count("WriteVerify") != 1 {
		t.Errorf("%v: %d batches", err, r.count("VerifyBatch"))
	}
}

// canaryOf reads back the first batches as a migration does.
func canaryOf(ctx workflow.Context, run activities.Run, batches int) (migration.VerifyResult, error) {
	return readBackBatches(withFolder(ctx, run.Folder.Path()), run, batches)
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
			e.ExecuteWorkflow(canaryOf, activities.Run{Folder: "/state/migrations/key", ID: "run"}, 3)
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

// The migration cannot continue as new while it reads back, and a run is terminated at 51,200 events.
func TestALargeCanaryIsReadBackByFewActivities(t *testing.T) {
	r := newReader(t, 10_001)
	r.read = func(int) (migration.VerifyResult, error) { return equal(10), nil }
	e := r.environment()
	e.RegisterWorkflow(canaryOf)
	e.ExecuteWorkflow(canaryOf, activities.Run{Folder: "/state/migrations/key", ID: "run"}, 10_001)
	var found migration.VerifyResult
	if err := e.GetWorkflowResult(&found); err != nil || found.Equal != 100_010 {
		t.Errorf("%d records were read back, %v; want 100,010", found.Equal, err)
	}
	if n := r.count("VerifyBatch"); n > mostReadBacks {
		t.Errorf("%d activities read back, want %d at most", n, mostReadBacks)
	}
	if names := e.summaries("VerifyBatch"); !slices.Contains(names, "read back batches 1 to 34 of 1 to 10001") {
		t.Errorf("they are called %q", names[:3])
	}
}
