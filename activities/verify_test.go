package activities

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/worker"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

// readBack begins a verification of the migration: from here on the rig's run is
// that of the verification.
func (r *rig) readBack(sample int) *rig {
	r.t.Helper()
	of := r.spec.Folder
	folder := migration.VerificationIn(r.spec.Folder.Work(), "key", fmt.Sprint(time.Now().UnixNano()))
	v := migration.Verification{
		ID: "verify-key", Source: r.spec.ID, Migration: of, OutputDir: r.spec.OutputDir, Folder: folder, Sample: sample,
		Ended: time.Now(), Limits: migration.Limits{Workers: 2}, Timeout: 20 * time.Second,
	}
	noError(r.t, folder.SaveOptions(v))
	if _, err := folder.CreateStart(migration.Start{ID: v.ID, StartedAt: now, Stamp: "stamp"}); err != nil {
		r.t.Fatal(err)
	}
	r.run = Run{Folder: folder.RunFolder, ID: "verify-run"}
	r.restart()
	return r
}

func (r *rig) verifyBatch(batch int, until time.Time) migration.VerifyResult {
	r.t.Helper()
	return must[migration.VerifyResult](r, r.acts.VerifyBatch, VerifyInput{Run: r.run, Batch: batch, Until: until})
}

func (r *rig) verifyPlan() VerifyPlan {
	r.t.Helper()
	return must[VerifyPlan](r, r.acts.PlanVerify, VerifyPlanInput{Run: r.run, Limit: 100})
}

func (r *rig) writeVerify() migration.VerifySummary {
	r.t.Helper()
	return must[migration.VerifySummary](r, r.acts.WriteVerify, VerifyArtifactsInput{Run: r.run, FinishedAt: now.Add(time.Hour)})
}

// ledgerFiles are all files of the migration's ledger, with their content.
func (r *rig) ledgerFiles() string {
	r.t.Helper()
	var all strings.Builder
	for round := range 3 {
		folder := store.Join(r.spec.Folder.Ledger(), fmt.Sprint(round), "00000")
		names, err := store.List(folder)
		noError(r.t, err)
		for _, name := range names {
			data, err := store.Read(store.Join(folder, name))
			noError(r.t, err)
			fmt.Fprintf(&all, "%d %s %s\n", round, name, data)
		}
	}
	return all.String()
}

// expectFound compares what is not zero, and checks that no value is in it.
func expectFound(t *testing.T, got, want migration.VerifyResult) {
	t.Helper()
	expect(t, "found", got, want)
	g, _ := json.Marshal(got)
	if strings.Contains(string(g), "@") {
		t.Errorf("a value of a record goes to Temporal: %s", g)
	}
}

func TestWhatWasLoadedIsInTheTarget(t *testing.T) {
	r := loadedDelta(t, mixed, []string{same, named, ohara})
	r.update(1)
	if known := r.known(0); known != "cnpp" {
		t.Fatalf("loaded: %q, want cnpp: created, unchanged, and two updated", known)
	}
	before := r.ledgerFiles()
	r.readBack(0)
	expect(t, "the plan", r.verifyPlan(), VerifyPlan{Batches: []PlannedBatch{{1, 2, 5}}, After: 1, Total: 1, Records: 4})
	expectFound(t, r.verifyBatch(1, time.Time{}), migration.VerifyResult{VerifyCounts: migration.VerifyCounts{Equal: 4}})
	if s := r.writeVerify(); s.ExitCode() != 0 || s.Sample != 4 || s.Records != 4 || s.Found.Equal != 4 {
		t.Errorf("%+v", s)
	}
	if got := r.output("verify_stamp.csv"); got != "batch,line,attribute,difference\n" {
		t.Errorf("the list of differences is %q", got)
	}
	if before == "" || r.ledgerFiles() != before {
		t.Error("the ledger of the migration is not as it was")
	}
}

func TestDifferencesAreNamedByLineAndAttribute(t *testing.T) {
	for _, hidden := range []bool{false, true} {
		t.Run(fmt.Sprintf("hidden=%v", hidden), func(t *testing.T) {
			r := loadedDelta(t, mixed, []string{same, named, ohara})
			r.update(1)
			r.hidden = hidden
			r.edit("new@example.com", `{"primaryAddress":{"city":null},"givenName":"Somebody","displayName":"not in the input"}`)
			r.edit("o'hara@example.com", `{"clients":[{"clientId":"10"}],"givenName":"Mary"}`)
			noError(t, r.client().Delete(t.Context(), by("name@example.com")))
			r.readBack(0)
			want := migration.VerifyResult{
				VerifyCounts: migration.VerifyCounts{Equal: 1, Different: 2, Missing: 1},
				Attributes:   map[string]int{"clients": 1, "givenName": 2, "primaryAddress.city": 1},
				First: []migration.Difference{
					{Line: 2, Attribute: "givenName", What: "different"}, {Line: 2, Attribute: "primaryAddress.city", What: "missing"}, {Line: 4, What: "missing"},
					{Line: 5, Attribute: "clients", What: "has 3 elements, expected 2"}, {Line: 5, Attribute: "givenName", What: "has a value, expected none"},
				},
			}
			expectFound(t, r.verifyBatch(1, time.Time{}), want)
			// It is found once: what changes then is for another verification.
			r.edit("new@example.com", `{"givenName":"New"}`)
			r.restart()
			r.viewing = func(*target.Ref) error { return errors.New("it was read again") }
			expectFound(t, r.verifyBatch(1, time.Time{}), want)
			s := r.writeVerify()
			expectFound(t, s.Found, want)
			list := "batch,line,attribute,difference\n1,2,givenName,different\n1,2,primaryAddress.city,missing\n1,4,,missing\n" +
				"1,5,clients,\"has 3 elements, expected 2\"\n1,5,givenName,\"has a value, expected none\"\n"
			if got := r.output(s.File); got != list || s.ExitCode() != 3 {
				t.Errorf("exit code %d, the list is\n%swant\n%s", s.ExitCode(), got, list)
			}
			expect(t, "the summary again, from another process", r.writeVerify(), s)
			var file migration.VerifySummary
			noError(t, json.Unmarshal([]byte(r.output("verify_stamp.json")), &file))
			expect(t, "the file", file, s)
			if names, err := store.List(r.run.Folder.Verification().Found(r.run.ID)); err != nil || len(names) > 0 {
				t.Errorf("what was found of each batch is still kept: %q, %v", names, err)
			}
		})
	}
}

func TestASearchThatIsBehindIsNoDifference(t *testing.T) {
	r := inspected(t, people(2))
	r.loadAll(0)
	views := 0
	r.readBack(0)
	r.viewing = func(*target.Ref) error { views++; return nil }
	expectFound(t, r.verifyBatch(1, time.Time{}), migration.VerifyResult{VerifyCounts: migration.VerifyCounts{Equal: 2}})
	if views != 0 {
		t.Errorf("%d records were read one by one, though a search shows them", views)
	}
	r.findEntities = func() error { return refusal(200, "") }
	r.readBack(0)
	expectFound(t, r.verifyBatch(1, time.Time{}), migration.VerifyResult{VerifyCounts: migration.VerifyCounts{Equal: 2}})
	if views != 2 {
		t.Errorf("%d reads of a target without a search, want 2", views)
	}
}

func TestWhatWasNotLoadedIsCounted(t *testing.T) {
	r := inspected(t, people(12), batchSize(4))
	r.stranger(`{"email":"a6@example.com"}`)
	for batch := 1; batch <= 2; batch++ {
		r.load(0, batch)
	}
	r.lose = func(int) bool { return true }
	r.load(0, 3)
	r.resolve(0, true)
	if known := r.known(0); known != "cccc cfcc uuuu" {
		t.Fatalf("loaded: %q, want cccc cfcc uuuu", known)
	}
	r.readBack(0)
	plan := r.verifyPlan()
	expect(t, "the plan", plan, VerifyPlan{
		Batches: []PlannedBatch{{1, 2, 5}, {2, 6, 9}}, After: 3, Total: 3, Records: 12, Settled: migration.VerifyCounts{NotLoaded: 4},
	})
	expectFound(t, r.verifyBatch(2, time.Time{}), migration.VerifyResult{VerifyCounts: migration.VerifyCounts{Equal: 3, NotLoaded: 1}})
	// Stopped before the first batch.
	s := r.writeVerify()
	expectFound(t, s.Found, migration.VerifyResult{VerifyCounts: migration.VerifyCounts{Equal: 3, NotLoaded: 5, Left: 4}})
	if s.ExitCode() != 5 {
		t.Errorf("exit code %d, want 5", s.ExitCode())
	}
}

func TestASampleIsTheSameEachTime(t *testing.T) {
	r := inspected(t, people(50), batchSize(4), withSpec(func(s *migration.Spec) { s.StartAt = 11 }))
	r.loadAll(0)
	for email := range r.uuids() {
		r.edit(email, `{"givenName":"Somebody"}`)
	}
	var lists [2]string
	for i := range lists {
		r.readBack(10)
		plan := r.verifyPlan()
		for _, b := range plan.Batches {
			r.verifyBatch(b.Position(), time.Time{})
		}
		s := r.writeVerify()
		if s.Records != 40 || s.Sample != 10 || s.Found.Different != 10 || s.Found.Sum() != 10 || plan.Records != 10 {
			t.Errorf("%+v, planned %d batches; want 10 records of 40 to be different", s, len(plan.Batches))
		}
		lists[i] = r.output(s.File)
	}
	if lists[0] != lists[1] {
		t.Errorf("the samples differ:\n%s%s", lists[0], lists[1])
	}
}

func TestAMissingRecordIsReadAgain(t *testing.T) {
	r := inspected(t, people(3))
	r.loadAll(0)
	r.hidden = true
	hide := func(times int) {
		r.viewing = func(ref *target.Ref) error {
			if ref.ID == r.uuids()["a2@example.com"] && times > 0 {
				times--
				*ref = by("nobody@example.com")
			}
			return nil
		}
	}
	hide(1)
	r.readBack(0)
	expectFound(t, r.verifyBatch(1, time.Now().Add(patience)), migration.VerifyResult{VerifyCounts: migration.VerifyCounts{Equal: 3}})
	hide(1000)
	r.readBack(0)
	expectFound(t, r.verifyBatch(1, time.Now().Add(50*time.Millisecond)), migration.VerifyResult{
		VerifyCounts: migration.VerifyCounts{Equal: 2, Missing: 1}, First: []migration.Difference{{Line: 3, What: "missing"}},
	})
}

func TestAPlainPasswordIsNotCompared(t *testing.T) {
	const hash = `{"type":"password-bcrypt","value":"$2a$10$abcdefghijklmnopqrstuv"}`
	r := newRig(t, "email,password\na1@example.com,plain text of somebody\na2@example.com,\na3@example.com,another\n")
	r.useMapping("columns:\n  email: email\n  password: password\n")
	r.inspect()
	r.loadAll(0)
	if known := r.known(0); known != "ccc" {
		t.Fatalf("loaded: %q, want ccc", known)
	}
	// As the platform does: it shows no plain text.
	r.edit("a1@example.com", `{"password":`+hash+`}`)
	r.edit("a3@example.com", `{"password":`+hash+`}`)
	r.readBack(0)
	expectFound(t, r.verifyBatch(1, time.Time{}), migration.VerifyResult{
		VerifyCounts: migration.VerifyCounts{Equal: 3}, NotCompared: map[string]int{"password": 2},
	})
}

func TestATargetThatDoesNotAnswerIsNoDifference(t *testing.T) {
	r := inspected(t, people(2))
	r.loadAll(0)
	r.hidden = true
	r.readBack(0)
	r.viewing = func(*target.Ref) error { return errCredentials }
	_, err := run[migration.VerifyResult](r, worker.Options{}, nil, r.acts.VerifyBatch, VerifyInput{Run: r.run, Batch: 1})
	expectType(t, err, Unreachable, true)
	// The target refuses to show one record: that is known, and is not a difference.
	uuids := r.uuids()
	r.viewing = func(ref *target.Ref) error {
		if ref.ID == uuids["a2@example.com"] {
			return refusal(200, "")
		}
		return nil
	}
	expectFound(t, r.verifyBatch(1, time.Time{}), migration.VerifyResult{
		VerifyCounts: migration.VerifyCounts{Equal: 1, Unseen: 1}, First: []migration.Difference{{Line: 3, What: "could not be compared"}},
	})
	if s := r.writeVerify(); s.ExitCode() != 4 {
		t.Errorf("exit code %d, want 4", s.ExitCode())
	}
}

// TestACanaryIsReadBackByItsOwnRun is without a verification: the batches of the
// migration that runs, with all of their records.
func TestACanaryIsReadBackByItsOwnRun(t *testing.T) {
	r := inspected(t, people(8), batchSize(4))
	r.load(0, 1)
	r.edit("a3@example.com", `{"givenName":"Somebody"}`)
	expectFound(t, r.verifyBatch(1, time.Time{}), migration.VerifyResult{
		VerifyCounts: migration.VerifyCounts{Equal: 3, Different: 1}, Attributes: map[string]int{"givenName": 1},
		First: []migration.Difference{{Line: 4, Attribute: "givenName", What: "different"}},
	})
	if known := r.known(0); known != "cccc ----" {
		t.Errorf("the ledger has %q", known)
	}
	if r.isClaimed(ledger.Key{Batch: 2}) {
		t.Error("a batch that is not in the canary is claimed")
	}
}

func TestAChangeAfterTheMigrationIsCountedApart(t *testing.T) {
	r := inspected(t, people(2))
	r.loadAll(0)
	r.edit("a1@example.com", `{"givenName":"Somebody"}`)
	r.readBack(0)
	r.viewed = func(e *target.Entity) {
		e.Updated.Earliest = e.Updated.Earliest.Add(time.Hour)
	}
	found := r.verifyBatch(1, time.Time{})
	if found.Different != 1 || found.ChangedSince != 1 {
		t.Errorf("%+v; want 1 different, changed since", found)
	}
	r.viewed = nil
	r.readBack(0)
	if found := r.verifyBatch(1, time.Time{}); found.Different != 1 || found.ChangedSince != 0 {
		t.Errorf("%+v; want 1 different, not changed since", found)
	}
}

func TestSeveralBatchesAreReadBackTogether(t *testing.T) {
	r := newRig(t, people(11)) // three batches
	r.inspect()
	r.loadAll(0)
	noError(t, r.client().Delete(t.Context(), by("a6@example.com")))
	r.readBack(0)
	found := must[migration.VerifyResult](r, r.acts.VerifyBatch, VerifyInput{Run: r.run, Batch: 1, Last: 2})
	if found.Equal != 7 || found.Missing != 1 || len(found.First) != 1 {
		t.Errorf("of the first two batches %+v was found; want 7 records as they should be, and one missing", found)
	}
	if s := r.writeVerify(); s.Found.Equal != 7 || s.Found.Left != 3 {
		t.Errorf("%+v was found; want the third batch left", s.Found)
	}
}

// The names in a JSON value are data, unlike those of columns and of the schema.
func TestNamesInAValueStayOutOfTheHistory(t *testing.T) {
	r := newRig(t, "email,Extra\na1@example.com,\"{\"\"ann@localhost\"\":1,\"\"bob@localhost\"\":2}\"\n")
	r.useMapping("columns:\n  Extra: {to: display, type: json}\n")
	r.inspect()
	r.loadAll(0)
	r.edit("a1@example.com", `{"display":{"ann@localhost":3,"bob@localhost":4}}`)
	r.readBack(0)
	expectFound(t, r.verifyBatch(1, time.Time{}), migration.VerifyResult{
		VerifyCounts: migration.VerifyCounts{Different: 1}, Attributes: map[string]int{"display": 1},
		First: []migration.Difference{{Line: 2, Attribute: "display", What: "different"}},
	})
	r.writeVerify()
	if got := r.output("verify_stamp.csv"); !strings.HasSuffix(got, "\n1,2,display,different\n") {
		t.Errorf("the list of differences is %q", got)
	}
}
