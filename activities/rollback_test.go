package activities

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"go.temporal.io/sdk/worker"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/rollback"
	"durable-dataload/internal/target"
)

// toUndo is a delta migration that is over, and its rollback, of which nothing
// is done yet. The rig's run is that of the rollback.
func toUndo(t *testing.T, input string, strangers []string, options ...option) *rig {
	t.Helper()
	r := loadedDelta(t, input, strangers, options...)
	for batch := range r.records(0) {
		r.update(batch + 1)
	}
	r.changes = 0
	return r.rollBack(func(*migration.Rollback) {})
}

// rollBack begins a rollback, or another run of it.
func (r *rig) rollBack(change func(*migration.Rollback)) *rig {
	r.t.Helper()
	folder := migration.RollbackIn(r.spec.Folder.Work(), "key")
	spec := migration.Rollback{
		ID: "rollback-key", Source: r.spec.ID, Migration: r.spec.Folder, OutputDir: r.spec.OutputDir, Folder: folder,
		Target: r.spec.Target, Until: time.Now(), Limits: migration.Limits{Workers: 2}, Timeout: 20 * time.Second,
	}
	change(&spec)
	if _, err := folder.Start(); err != nil {
		if _, err := rollback.Write(r.t.Context(), folder, rollback.OfMigration(r.t.Context(), spec.Migration)); err != nil {
			r.t.Fatal(err)
		}
		if _, err := folder.CreateStart(migration.Start{ID: spec.ID, StartedAt: now, Stamp: "stamp"}); err != nil {
			r.t.Fatal(err)
		}
	}
	noError(r.t, folder.SaveOptions(spec))
	r.run = Run{Folder: folder.RunFolder, ID: fmt.Sprintf("rollback-run-%d", time.Now().UnixNano())}
	r.restart()
	return r
}

func (r *rig) begin() RollbackBegun {
	r.t.Helper()
	return must[RollbackBegun](r, r.acts.BeginRollback, r.run)
}

func (r *rig) undoBatch(round int) migration.RollbackCounts {
	r.t.Helper()
	return must[migration.RollbackCounts](r, r.acts.RollBackBatch, RollbackInput{Run: r.run, Round: round, Batch: 1})
}

func (r *rig) verify(round int) migration.RollbackCounts {
	r.t.Helper()
	return must[migration.RollbackCounts](r, r.acts.VerifyRollback, RollbackInput{Run: r.run, Round: round, Batch: 1})
}

func (r *rig) writeRollback(round int) migration.RollbackSummary {
	r.t.Helper()
	return must[migration.RollbackSummary](r, r.acts.WriteRollback, RollbackArtifactsInput{Run: r.run, Round: round, FinishedAt: now.Add(time.Hour)})
}

func (r *rig) isThere(email string) bool {
	r.t.Helper()
	_, err := r.client().Get(r.t.Context(), by(email))
	if err != nil && !target.Is(err, target.NotFound) {
		r.t.Fatal(err)
	}
	return err == nil
}

func TestARollbackDeletesAndRestores(t *testing.T) {
	r := toUndo(t, mixed, []string{same, named, ohara})
	expect(t, "begun", r.begin(), RollbackBegun{Items: 3, Batches: 1})
	plan := RollbackPlanInput{Run: r.run, Limit: 10}
	expect(t, "plan", must[RollbackPlan](r, r.acts.PlanRollback, plan), RollbackPlan{Batches: []int{1}, After: 1, Total: 1})
	want := migration.RollbackCounts{Deleted: 1, Restored: 2}
	expect(t, "undone", r.undoBatch(0), want)
	if r.isThere("new@example.com") {
		t.Error("what was created is there still")
	}
	back := r.entity("name@example.com")
	if back["email"] != "NAME@example.com" || back["givenName"] != "Old" || back["familyName"] != "kept" {
		t.Errorf("%v; want the names of before", back)
	}
	if address := back["primaryAddress"].(map[string]any); address["city"] != "Bruges" || address["zip"] != "8000" || address["country"] != nil {
		t.Errorf("the address is %v, want Bruges, 8000 and no country", address)
	}
	clients, _ := r.entity("o'hara@example.com")["clients"].([]any)
	if len(clients) != 2 || clients[0].(map[string]any)["clientId"] != "7" || clients[1].(map[string]any)["clientId"] != "8" {
		t.Errorf("the clients are %v, want 7 and 8", clients)
	}
	if !r.isClaimed(ledger.Key{Batch: 1}) {
		t.Error("that the batch was begun is not written down")
	}
	if r.changes != 4 {
		t.Errorf("%d calls changed something, want 4: a delete, two updates, a replace", r.changes)
	}
	// Again, and in another process: it is decided.
	r.restart()
	expect(t, "undone again", r.undoBatch(0), want)
	expect(t, "plan after it", must[RollbackPlan](r, r.acts.PlanRollback, plan), RollbackPlan{After: 1, Total: 1, Settled: want})
	plan.Verify = true
	expect(t, "plan to verify", must[RollbackPlan](r, r.acts.PlanRollback, plan).Batches, []int{1})
	expect(t, "verified", r.verify(0), want)
	expect(t, "plan after that", must[RollbackPlan](r, r.acts.PlanRollback, plan).Batches, []int(nil))
	if r.changes != 4 {
		t.Errorf("%d calls, want no more", r.changes)
	}
	s := r.writeRollback(0)
	if s.Items != 3 || s.Records != want || s.Unverified != 0 || s.ExitCode() != 0 {
		t.Errorf("the summary is %+v", s)
	}
	uuid := func(email string) string { return r.entity(email)["uuid"].(string) }
	lines := strings.Split(r.output("rollback_success_stamp.csv"), "\n")
	if len(lines) != 5 || lines[0] != "batch,line,uuid,email" || !strings.HasPrefix(lines[1], "1,2,") || lines[2] != "1,4,"+uuid("name@example.com")+",name@example.com" {
		t.Errorf("the file is %q", lines)
	}
	if mark, err := r.spec.Folder.RolledBack(); err != nil || !mark.Done {
		t.Errorf("the migration is marked %+v, %v", mark, err)
	}
}

func TestALostAnswerToARollbackIsFoundOut(t *testing.T) {
	for lost := range 4 {
		for _, done := range []bool{false, true} {
			t.Run(fmt.Sprintf("call %d, done %v", lost+1, done), func(t *testing.T) {
				t.Parallel()
				r := toUndo(t, mixed, []string{same, named, ohara})
				r.begin()
				r.change = func(n int, call func() error) error {
					if n != lost+1 {
						return call()
					}
					if done {
						_ = call()
					}
					return errLost
				}
				expect(t, "undone", r.undoBatch(0), migration.RollbackCounts{Deleted: 1, Restored: 2})
				expect(t, "verified", r.verify(0), migration.RollbackCounts{Deleted: 1, Restored: 2})
			})
		}
	}
}

func TestWhatWasChangedSinceIsLeftAlone(t *testing.T) {
	touch := func(email, attributes string) func(*rig) { return func(r *rig) { r.edit(email, attributes) } }
	long := func(s *migration.Rollback) { s.Until = time.Now().Add(-time.Hour) }
	for name, c := range map[string]struct {
		before func(*rig)
		change func(*migration.Rollback)
		want   migration.RollbackCounts
		reason string
	}{
		"a created record":                 {func(*rig) {}, long, migration.RollbackCounts{Restored: 2, Failed: 1}, changedSince},
		"with force":                       {touch("name@example.com", `{"givenName":"New"}`), func(s *migration.Rollback) { long(s); s.Force = true }, migration.RollbackCounts{Deleted: 1, Restored: 2}, ""},
		"an updated value":                 {touch("name@example.com", `{"givenName":"New"}`), func(*migration.Rollback) {}, migration.RollbackCounts{Deleted: 1, Restored: 1, Failed: 1}, changedSince},
		"another value":                    {touch("name@example.com", `{"familyName":"New"}`), func(*migration.Rollback) {}, migration.RollbackCounts{Deleted: 1, Restored: 2}, ""},
		"a list":                           {touch("o'hara@example.com", `{"clients":[{"clientId":"10"}]}`), func(*migration.Rollback) {}, migration.RollbackCounts{Deleted: 1, Restored: 1, Failed: 1}, changedSince},
		"it is as it was":                  {touch("name@example.com", `{"email":"NAME@example.com","givenName":"Old","primaryAddress":{"city":"Bruges"}}`), func(*migration.Rollback) {}, migration.RollbackCounts{Deleted: 1, Restored: 1, Kept: 1}, ""},
		"both are gone":                    {func(r *rig) { r.removeAll("new@example.com", "name@example.com") }, func(*migration.Rollback) {}, migration.RollbackCounts{Gone: 1, Restored: 1, Failed: 1}, deletedSince},
		"while it is forced":               {func(r *rig) { r.change = r.disturbed("new@example.com", "%d") }, func(s *migration.Rollback) { s.Force = true }, migration.RollbackCounts{Deleted: 1, Restored: 2}, ""},
		"another record":                   {func(r *rig) { r.viewed = func(e *target.Entity) { e.ID = "another" } }, func(*migration.Rollback) {}, migration.RollbackCounts{Failed: 3}, anotherUUID},
		"another value while it is undone": {func(r *rig) { r.change = r.disturbed("new@example.com", "%d") }, func(*migration.Rollback) {}, migration.RollbackCounts{Restored: 2, Failed: 1}, changedThere},
		"always while undone":              {func(r *rig) { r.change = r.disturbed("new@example.com", "New") }, func(*migration.Rollback) {}, migration.RollbackCounts{Restored: 2, Failed: 1}, keepsChanging},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := toUndo(t, mixed, []string{same, named, ohara})
			r.rollBack(c.change)
			c.before(r)
			r.begin()
			expect(t, "undone", r.undoBatch(0), c.want)
			s := r.writeRollback(0)
			if c.reason != "" && (s.Reasons[c.reason] == 0 || !strings.Contains(r.output("rollback_fail_stamp.csv"), c.reason)) {
				t.Errorf("the reasons are %v, the file has %q; want %q", s.Reasons, r.output("rollback_fail_stamp.csv"), c.reason)
			}
		})
	}
}

func (r *rig) removeAll(emails ...string) {
	r.t.Helper()
	for _, email := range emails {
		noError(r.t, r.client().Delete(r.t.Context(), by(email)))
	}
}

// disturbed changes a record before each call of the first three, in the moment
// between read and call.
func (r *rig) disturbed(email, name string) func(int, func() error) error {
	return func(n int, call func() error) error {
		if n <= raceTries && r.isThere(email) {
			r.edit(email, `{"givenName":"`+strings.ReplaceAll(name, "%d", fmt.Sprint(n))+`"}`)
		}
		return call()
	}
}

// TestAPasswordIsRestoredIfTheRecordIsUnchanged: the target does not show the
// text that the migration gave.
func TestAPasswordIsRestoredIfTheRecordIsUnchanged(t *testing.T) {
	const hash = `{"type":"password-bcrypt","value":"$2a$04$hash"}`
	for name, until := range map[string]time.Duration{"unchanged": time.Minute, "changed": -time.Hour} {
		r := toUndo(t, "email,password\nann@example.com,secret-text\n", []string{`{"email":"ann@example.com","password":` + hash + `}`})
		r.rollBack(func(s *migration.Rollback) { s.Until = time.Now().Add(until) })
		r.edit("ann@example.com", `{"password":{"type":"password-bcrypt","value":"$2a$04$of-the-text"}}`) // what the target makes of it
		r.begin()
		c := r.undoBatch(0)
		password := fmt.Sprint(r.entity("ann@example.com")["password"])
		if restored := strings.Contains(password, "$2a$04$hash"); restored != (until > 0) || c.Restored == 1 != restored {
			t.Errorf("%s: %+v, the password is %s", name, c, password)
		}
	}
}

func TestALookUpEndsWhenItsWorkerStops(t *testing.T) {
	r := toUndo(t, mixed, []string{same, named, ohara})
	r.begin()
	r.schema = func(ctx context.Context) (target.Schema, error) { // as at a closed gate
		r.acts.Drain()
		<-ctx.Done()
		return target.Schema{}, ctx.Err()
	}
	_, err := run[migration.RollbackCounts](r, worker.Options{}, nil, r.acts.RollBackBatch, RollbackInput{Run: r.run, Batch: 1})
	expectType(t, err, Unbegun, false)
}

func TestARollbackThatIsStoppedInABatchResumesInAnotherRound(t *testing.T) {
	r := toUndo(t, mixed, []string{same, named, ohara})
	r.begin()
	r.change = func(n int, call func() error) error {
		if n == 2 { // the update of name@: it comes to its end
			r.acts.Drain()
		}
		return call()
	}
	expect(t, "undone", r.undoBatch(0), migration.RollbackCounts{Deleted: 1, Left: 2})
	s := r.writeRollback(0)
	if s.ExitCode() != migration.ExitStopped || s.Unverified != 1 || s.Reasons[notAttempted] != 2 {
		t.Errorf("the summary is %+v; want two left, one not verified", s)
	}
	if mark, err := r.spec.Folder.RolledBack(); err == nil {
		t.Errorf("the migration is marked %+v", mark)
	}
	// A worker of that run that resumes does nothing.
	old := r.run
	changes := r.changes
	r.rollBack(func(*migration.Rollback) {})
	_, err := run[migration.RollbackCounts](r, worker.Options{}, nil, r.acts.RollBackBatch, RollbackInput{Run: old, Round: 1, Batch: 1})
	expectType(t, err, Over, false)
	if r.changes != changes || r.isClaimed(ledger.Key{Round: 1, Batch: 1}) {
		t.Error("it has changed something, or has said that it was about to")
	}
	r.change = nil
	expect(t, "begun again", r.begin(), RollbackBegun{Items: 3, Batches: 1, Round: 1})
	// name@ has its previous values already, but no attempt has written that down.
	expect(t, "undone again", r.undoBatch(1), migration.RollbackCounts{Deleted: 1, Restored: 1, Kept: 1})
	expect(t, "begun again", r.begin(), RollbackBegun{Items: 3, Batches: 1, Round: 1})
	r.verify(1)
	if s := r.writeRollback(1); s.ExitCode() != 0 || s.Records.Undone() != 3 {
		t.Errorf("the summary is %+v; want all undone", s)
	}
}

func TestAnInterruptedBatchIsReportedAsSuch(t *testing.T) {
	r := toUndo(t, mixed, []string{same, named, ohara})
	r.begin()
	noError(t, r.ledger().Claim(t.Context(), ledger.Key{Batch: 1}, ledger.Claim{At: now}))
	if s := r.writeRollback(0); s.Reasons[notKnown] != 3 || s.ExitCode() != migration.ExitStopped {
		t.Errorf("the summary is %+v; want three of which nothing is known", s)
	}
}

func TestVerificationFindsWhatIsNotUndone(t *testing.T) {
	t.Parallel()
	r := toUndo(t, mixed, []string{same, named, ohara})
	r.begin()
	r.undoBatch(0)
	r.edit("name@example.com", `{"givenName":"Name"}`)
	expect(t, "verified", r.verify(0), migration.RollbackCounts{Deleted: 1, Restored: 1, Failed: 1})
	if s := r.writeRollback(0); s.Reasons[valuesLost] != 1 || s.ExitCode() != migration.ExitFailed {
		t.Errorf("the summary is %+v; want one that has lost its values", s)
	}
	// The rerun tries it again.
	r.rollBack(func(*migration.Rollback) {})
	expect(t, "begun again", r.begin().Round, 1)
	expect(t, "undone again", r.undoBatch(1), migration.RollbackCounts{Deleted: 1, Restored: 2})
	plan := RollbackPlanInput{Run: r.run, Round: 1, Verify: true, Limit: 10}
	expect(t, "plan to verify it again", must[RollbackPlan](r, r.acts.PlanRollback, plan).Batches, []int{1})
}

func TestEncryptedValuesNeedTheirKey(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	noError(t, err)
	r := toUndo(t, mixed, []string{same, named, ohara}, withSpec(func(s *migration.Spec) { s.UndoRecipient = key.Recipient().String() }))
	_, err = run[RollbackBegun](r, worker.Options{}, nil, r.acts.BeginRollback, r.run)
	expectType(t, err, Refused, false, "--undo-identity")
	r.acts.OpenUndo([]age.Identity{key})
	r.begin()
	expect(t, "undone", r.undoBatch(0), migration.RollbackCounts{Deleted: 1, Restored: 2})
}

func TestADryRunChangesNothing(t *testing.T) {
	r := toUndo(t, mixed, []string{same, named, ohara})
	r.edit("name@example.com", `{"givenName":"New"}`)
	spec, err := r.run.Folder.Rollback().Options()
	noError(t, err)
	counts, err := r.acts.DryRun(context.Background(), spec, func(migration.RollbackCounts) {})
	noError(t, err)
	expect(t, "it would", counts.RollbackCounts, migration.RollbackCounts{Deleted: 1, Restored: 1, Failed: 1})
	if r.changes != 0 || !r.isThere("new@example.com") {
		t.Errorf("%d calls changed something", r.changes)
	}
}

func TestARolledBackMigrationDoesNotResume(t *testing.T) {
	r := inspected(t, mixed)
	noError(t, r.spec.Folder.MarkRolledBack(migration.RolledBack{Rollback: "x"}))
	_, err := run[Inspected](r, worker.Options{}, nil, r.acts.InspectSource, InspectInput{Spec: r.spec, Run: r.run, Now: now})
	expectType(t, err, Refused, false, "--again")
}

// A worker can sleep between its claim and its call, and its run end meanwhile without a
// result.
func TestNothingIsSentAfterARollbackHasBegun(t *testing.T) {
	r := inspected(t, people(4), batchSize(2))
	r.load(0, 1)
	noError(t, r.spec.Folder.MarkRolledBack(migration.RolledBack{Rollback: "rollback-1"}))
	r.load(0, 2)
	if r.isThere("a3@example.com") || !r.isThere("a1@example.com") {
		t.Errorf("a call was made for a run of a migration that is rolled back")
	}
}
