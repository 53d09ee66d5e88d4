package workflows

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"durable-dataload/activities"
	"durable-dataload/internal/migration"
)

// undoer has the activities of a rollback of some batches.
type undoer struct {
	t       *testing.T
	batches int

	journal
	rounds int
	done   map[string]bool // "undo 0/3", "verify 0/3"

	check func() error
	plan  func(activities.RollbackPlanInput) error
	undo  func(activities.RollbackInput) (migration.RollbackCounts, error)
}

func newUndoer(t *testing.T, batches int) *undoer {
	return &undoer{
		t: t, batches: batches, rounds: -1, done: map[string]bool{},
		check: func() error { return nil },
		plan:  func(activities.RollbackPlanInput) error { return nil },
		undo: func(activities.RollbackInput) (migration.RollbackCounts, error) {
			return migration.RollbackCounts{Deleted: recordsABatch}, nil
		},
	}
}

func (u *undoer) CheckTarget(_ context.Context, run activities.Run) error {
	if run.ID == "" || run.Folder == "" {
		u.t.Errorf("CheckTarget got %+v", run)
	}
	u.note("CheckTarget")
	return u.check()
}

func (u *undoer) BeginRollback(context.Context, activities.Run) (activities.RollbackBegun, error) {
	u.note("BeginRollback")
	u.rounds++
	return activities.RollbackBegun{Items: u.batches * recordsABatch, Batches: u.batches, Round: u.rounds}, nil
}

func kind(verify bool) string {
	if verify {
		return "verify"
	}
	return "undo"
}

func (u *undoer) PlanRollback(_ context.Context, in activities.RollbackPlanInput) (activities.RollbackPlan, error) {
	u.note("PlanRollback " + kind(in.Verify))
	if err := u.plan(in); err != nil {
		return activities.RollbackPlan{}, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	p := activities.RollbackPlan{After: in.After, Total: u.batches}
	for p.After < p.Total && len(p.Batches) < in.Limit {
		p.After++
		if u.done[fmt.Sprintf("%s %d/%d", kind(in.Verify), in.Round, p.After)] {
			p.Settled.Deleted += recordsABatch
		} else {
			p.Batches = append(p.Batches, p.After)
		}
	}
	return p, nil
}

func (u *undoer) RollBackBatch(_ context.Context, in activities.RollbackInput) (migration.RollbackCounts, error) {
	u.note(fmt.Sprintf("RollBackBatch %d/%d", in.Round, in.Batch))
	defer u.working()()
	return u.undo(in)
}

func (u *undoer) VerifyRollback(_ context.Context, in activities.RollbackInput) (migration.RollbackCounts, error) {
	u.note(fmt.Sprintf("VerifyRollback %d/%d", in.Round, in.Batch))
	return migration.RollbackCounts{Deleted: recordsABatch}, nil
}

func (u *undoer) WriteRollback(_ context.Context, in activities.RollbackArtifactsInput) (migration.RollbackSummary, error) {
	u.note(fmt.Sprintf("WriteRollback %d", in.Round))
	return migration.RollbackSummary{Items: u.batches * recordsABatch, FinishedAt: in.FinishedAt}, nil
}

func (u *undoer) environment() *environment {
	return environmentOf(u.t, &u.journal, u.CheckTarget, u.BeginRollback, u.PlanRollback, u.RollBackBatch, u.VerifyRollback, u.WriteRollback)
}

func toRollBack() RollbackInput {
	return RollbackInput{Rollback: migration.Rollback{
		ID: "rollback-key", Folder: migration.RollbackIn("/state", "key"), Target: migration.Target{URI: "https://example.com"}, Limits: migration.Limits{Workers: 1},
	}}
}

func (u *undoer) run(e *environment, in RollbackInput) (RollbackResult, error) {
	u.t.Helper()
	return runToEnd[RollbackResult](e, RollbackWorkflow, in)
}

func TestARollbackUndoesThenVerifies(t *testing.T) {
	u := newUndoer(t, 2)
	e := u.environment()
	in := toRollBack()
	in.Rollback.RateLimit = 4
	if result, err := u.run(e, in); err != nil || result.Halted != "" || result.Summary.Items != 20 {
		t.Errorf("%+v, %v", result, err)
	}
	if got, want := u.story(), "CheckTarget, BeginRollback, PlanRollback undo, RollBackBatch 0/1, RollBackBatch 0/2, "+
		"PlanRollback verify, VerifyRollback 0/1, VerifyRollback 0/2, WriteRollback 0"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if most := u.mostAtOnce(); most != 1 {
		t.Errorf("%d batches at once, want one", most)
	}
}

func TestRecordsLeftByAWorkerAreUndoneInAnotherRound(t *testing.T) {
	u := newUndoer(t, 2)
	u.undo = func(in activities.RollbackInput) (migration.RollbackCounts, error) {
		if in.Round == 0 && in.Batch == 1 {
			return migration.RollbackCounts{Deleted: 4, Left: 6}, nil
		}
		return migration.RollbackCounts{Deleted: 10}, nil
	}
	if _, err := u.run(u.environment(), toRollBack()); err != nil || u.count("BeginRollback") != 2 || u.count("VerifyRollback 1/") != 2 || u.count("VerifyRollback 0/") != 0 {
		t.Errorf("%v, %s; want a second round, and that one verified", err, u.story())
	}
}

func TestAStoppedRollbackWritesItsFiles(t *testing.T) {
	u := newUndoer(t, 50)
	e := u.environment()
	u.undo = func(in activities.RollbackInput) (migration.RollbackCounts, error) {
		switch {
		case in.Batch == 3:
			for u.count("RollBackBatch") < 3 { // those before it may be started later
				time.Sleep(time.Millisecond)
			}
			e.CancelWorkflow()
			return migration.RollbackCounts{Deleted: 1, Left: 9}, nil
		case in.Batch > 3:
			<-e.endsNow()
		}
		return migration.RollbackCounts{Deleted: 10}, nil
	}
	result, err := u.run(e, toRollBack())
	if err != nil || result.Halted != "" || u.count("WriteRollback") != 1 || u.count("VerifyRollback") != 0 || u.count("BeginRollback") != 1 {
		t.Errorf("%+v, %v: %s", result, err, u.story())
	}
	if n := u.count("RollBackBatch"); n < 3 || n > 5 {
		t.Errorf("%d batches were started, want 3 to 5", n)
	}
}

func TestTroubleHaltsARollback(t *testing.T) {
	refusal := forbidden("may not delete")
	u := newUndoer(t, 50)
	e := u.environment()
	u.undo = func(in activities.RollbackInput) (migration.RollbackCounts, error) {
		switch {
		case in.Batch == 2:
			return migration.RollbackCounts{}, refusal
		case in.Batch > 2:
			<-e.endsNow()
		}
		return migration.RollbackCounts{Deleted: 10}, nil
	}
	result, err := u.run(e, toRollBack())
	if err != nil || result.Halted != "may not delete" || u.count("WriteRollback") != 1 || u.count("VerifyRollback") != 0 || u.count("RollBackBatch") > 5 {
		t.Errorf("%+v, %v: %s", result, err, u.story())
	}
	u = newUndoer(t, 3)
	u.plan = func(in activities.RollbackPlanInput) error {
		if in.Verify {
			return refusal
		}
		return nil
	}
	if result, err := u.run(u.environment(), toRollBack()); err != nil || result.Halted == "" || u.count("WriteRollback") != 1 {
		t.Errorf("in the verification: %+v, %v: %s", result, err, u.story())
	}
	u = newUndoer(t, 3)
	u.check = func() error { return temporal.NewNonRetryableApplicationError("no such type", activities.Refused, nil) }
	if _, err := u.run(u.environment(), toRollBack()); err == nil || u.story() != "CheckTarget" {
		t.Errorf("a target that cannot be used: %v: %s", err, u.story())
	}
}

func TestARollbackContinuesAsNew(t *testing.T) {
	u := newUndoer(t, 250)
	e := u.environment()
	e.SetCurrentHistoryLength(eventsARun)
	in := toRollBack()
	in.Rollback.Workers = 4
	for batch := 1; batch <= 50; batch++ {
		u.done[fmt.Sprintf("undo 0/%d", batch)] = true
	}
	_, err := u.run(e, in)
	further := nextInput[RollbackInput](t, err)
	if further.Phase != PhaseRollingBack || further.After != 150 || further.Counts.Deleted != 1500 || further.Run.ID == "" || further.Begun.Items != 2500 {
		t.Errorf("the next run got %+v", further)
	}
	if _, err := u.run(u.environment(), further); err != nil || u.count("CheckTarget") != 1 || u.count("BeginRollback") != 1 || u.count("RollBackBatch") != 200 || u.count("VerifyRollback") != 250 {
		t.Errorf("%v: %d undone, %d verified", err, u.count("RollBackBatch"), u.count("VerifyRollback"))
	}
	if n := size(t, further); n > 2048 {
		t.Errorf("the input has %d bytes in the history, want few", n)
	}
}
