package activities

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"go.temporal.io/sdk/worker"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/sandbox"
	"durable-dataload/internal/undo"
)

func isDelta(s *migration.Spec) { s.Delta = true }

// loadedDelta is a delta migration whose round 0 is loaded.
func loadedDelta(t *testing.T, input string, strangers []string, options ...option) *rig {
	t.Helper()
	r := newRig(t, input, append([]option{withSpec(isDelta)}, options...)...)
	for _, s := range strangers {
		r.stranger(s)
	}
	r.inspect()
	r.loadAll(0)
	return r
}

func (r *rig) update(batch int) ledger.Updates {
	r.t.Helper()
	return must[ledger.Updates](r, r.acts.UpdateBatch, UpdateInput{Run: r.run, Batch: batch})
}

func (r *rig) tryUpdate(batch int, stop chan struct{}) error {
	r.t.Helper()
	_, err := run[ledger.Updates](r, worker.Options{}, stop, r.acts.UpdateBatch, UpdateInput{Run: r.run, Batch: batch})
	return err
}

func (r *rig) updatePlan() UpdatePlan {
	r.t.Helper()
	return must[UpdatePlan](r, r.acts.PlanUpdates, UpdatePlanInput{Run: r.run, Limit: 1000})
}

// undone are the entries of the undo files of a batch.
func (r *rig) undone(batch int, identities ...age.Identity) (all []undo.Entry) {
	r.t.Helper()
	files, err := undo.Read(r.spec.Folder.Undo(), batch)
	noError(r.t, err)
	for _, f := range files {
		entries, err := f.Entries(identities...)
		noError(r.t, err)
		all = append(all, entries...)
	}
	return all
}

// endpoints counts the calls that the sandbox has had.
func (r *rig) endpoints() map[string]int {
	r.t.Helper()
	calls, err := sandbox.ReadTruth(r.state)
	noError(r.t, err)
	n := map[string]int{}
	for _, c := range calls {
		n[c.Endpoint]++
	}
	return n
}

const (
	mixed = "email,givenName,primaryAddress.city,clients,birthday,created\n" +
		"new@example.com,New,Ghent,,1/2/1990,2015-12-15 07:36:25\n" +
		"same@example.com,Same,Ghent,\"[{\"\"clientId\"\":\"\"7\"\"}]\",1/2/1990,2015-12-15 07:36:25\n" +
		"name@example.com,Name,Ghent,\"[{\"\"clientId\"\":\"\"7\"\"}]\",1/2/1990,\n" +
		"o'hara@example.com,,,\"[{\"\"clientId\"\":\"\"8\"\"},{\"\"clientId\"\":\"\"9\"\"}]\",,\n"
	same  = `{"email":"same@example.com","created":"2014-01-02 03:04:05 +0000","givenName":"Same","familyName":"kept","primaryAddress":{"city":"Ghent","zip":"9000"},"clients":[{"clientId":"7"}],"birthday":"1990-01-02"}`
	named = `{"email":"NAME@example.com","givenName":"Old","familyName":"kept","primaryAddress":{"city":"Bruges","zip":"8000"},"clients":[{"clientId":"7"}],"birthday":"1990-01-02"}`
	ohara = `{"email":"o'hara@example.com","givenName":"Old","clients":[{"clientId":"7"},{"clientId":"8"}]}`
)

func TestADuplicateIsUpdatedInWhatDiffers(t *testing.T) {
	r := loadedDelta(t, mixed, []string{same, named, ohara})
	if known := r.known(0); known != "cddd" {
		t.Fatalf("loaded: %q, want cddd", known)
	}
	plan := r.updatePlan()
	expect(t, "the plan", plan, UpdatePlan{Batches: []PlannedBatch{{1, 2, 5}}, After: 1, Total: 1})
	before := r.entity("same@example.com")
	if got, want := r.update(1), (ledger.Updates{Updated: 2, Unchanged: 1}); got != want || r.known(0) != "cnpp" {
		t.Errorf("%+v, known %q; want %+v, cnpp", got, r.known(0), want)
	}
	expect(t, "what was the same", r.entity("same@example.com"), before)
	changed := r.entity("name@example.com")
	if changed["email"] != "name@example.com" || changed["givenName"] != "Name" || changed["familyName"] != "kept" {
		t.Errorf("%v; want the names of the input, and the family name kept", changed)
	}
	if address := changed["primaryAddress"].(map[string]any); address["city"] != "Ghent" || address["zip"] != "8000" || address["country"] != nil {
		t.Errorf("the address is %v, want Ghent, 8000 and no country", address)
	}
	// A plural is replaced, not added to; an empty cell clears.
	changed = r.entity("o'hara@example.com")
	clients, _ := changed["clients"].([]any)
	ids := ""
	for _, c := range clients {
		ids += fmt.Sprint(c.(map[string]any)["clientId"])
	}
	if ids != "89" || changed["givenName"] != nil {
		t.Errorf("clients %v, given name %v; want 8 and 9, and null", clients, changed["givenName"])
	}
	// Duplicates are looked up twice, to resolve and to update them; a few records of ours
	// and the schema are read once.
	expect(t, "calls", r.endpoints(), map[string]int{"entity.bulkCreate": 4, "entity.find": 3, "entity": 2 + 3 + 1, "entity.update": 2, "entity.replace": 1, "entityType": 1})

	expect(t, "what the updates sent", r.bodies, []string{
		`{"email":"name@example.com","givenName":"Name","primaryAddress":{"city":"Ghent"}}`,
		`{"givenName":null}`,
	})

	entries := r.undone(1)
	if len(entries) != 2 || entries[0].Line != 4 || entries[1].Line != 5 {
		t.Fatalf("%+v, want entries of the lines 4 and 5", entries)
	}
	expect(t, "what undoes it", entries[0], undo.Entry{
		Change: undo.Change{Line: 4, UUID: changedUUID(r, "name@example.com"), Paths: []string{"email", "givenName", "primaryAddress.city"}},
		Value: undo.Value{
			Before: values(`{"email":"NAME@example.com","givenName":"Old","primaryAddress.city":"Bruges"}`),
			After:  values(`{"email":"name@example.com","givenName":"Name","primaryAddress.city":"Ghent"}`),
		},
	})

	// Again, in another process: it is decided.
	calls := r.endpoints()
	r.restart()
	if again := r.update(1); again != (ledger.Updates{Updated: 2, Unchanged: 1}) {
		t.Errorf("again: %+v", again)
	}
	expect(t, "calls, again", r.endpoints(), calls)
	plan = r.updatePlan()
	expect(t, "the plan, again", plan, UpdatePlan{Settled: ledger.Updates{Updated: 2, Unchanged: 1}, After: 1, Total: 1})
}

func changedUUID(r *rig, email string) string { return r.entity(email)["uuid"].(string) }

func values(text string) (v map[string]json.RawMessage) {
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(err)
	}
	return v
}

func TestAnUpdateWithoutAnAnswerIsRepeated(t *testing.T) {
	for name, done := range map[string]bool{"before the target did it": false, "after": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := loadedDelta(t, mixed, []string{same, named, ohara})
			r.change = func(n int, call func() error) error {
				if n != 3 { // the plural of the last record
					return call()
				}
				if done {
					_ = call()
				}
				return errLost
			}
			if got, want := r.update(1), (ledger.Updates{Updated: 2, Unchanged: 1}); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
			if clients, _ := r.entity("o'hara@example.com")["clients"].([]any); len(clients) != 2 || r.changes != 4 {
				t.Errorf("clients %v after %d calls; want two of them after 4", clients, r.changes)
			}
		})
	}
}

func TestAnInterruptedUpdateResumes(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	noError(t, err)
	for _, recipient := range []string{"", key.Recipient().String()} {
		for cut := range 4 { // calls that are made before the worker dies: 0 to 3
			r := loadedDelta(t, mixed, []string{same, named, ohara}, withSpec(func(s *migration.Spec) { s.UndoRecipient = recipient }))
			r.change = func(n int, call func() error) error {
				if n > cut {
					return errNotSent
				}
				if err := call(); err != nil || n < cut {
					return err
				}
				return errNotSent // it was done, and the answer is lost
			}
			err := r.tryUpdate(1, nil)
			expectType(t, err, Unbegun, false)
			if known := r.known(0); known != "cddd" {
				t.Fatalf("cut after %d: known %q, want nothing to be decided", cut, known)
			}
			entries := r.undone(1, key)
			r.restart()
			r.change = nil
			if got, want := r.update(1), (ledger.Updates{Updated: 2, Unchanged: 1}); got != want || r.known(0) != "cnpp" {
				t.Errorf("cut after %d: %+v, known %q; want %+v, cnpp", cut, got, r.known(0), want)
			}
			expect(t, "what undoes it", r.undone(1, key), entries)
			if e := entries[0]; string(e.Before["givenName"]) != `"Old"` {
				t.Errorf("cut after %d: the given name was %s, want Old", cut, e.Before["givenName"])
			}
			if got := r.entity("name@example.com")["givenName"]; got != "Name" {
				t.Errorf("cut after %d: the given name is %v", cut, got)
			}
		}
	}
}

// TestARepeatedUpdateKeepsToItsUndoFile: what another client changed meanwhile has
// no previous value there.
func TestARepeatedUpdateKeepsToItsUndoFile(t *testing.T) {
	r := loadedDelta(t, mixed, []string{same, named, ohara})
	r.change = func(int, func() error) error { return errNotSent }
	expectType(t, r.tryUpdate(1, nil), Unbegun, false)
	r.change = nil
	for email, change := range map[string]string{"same@example.com": `{"givenName":"Somebody"}`, "name@example.com": `{"birthday":"1999-09-09"}`} {
		r.edit(email, change)
	}
	if got, want := r.update(1), (ledger.Updates{Updated: 2, Failed: 1}); got != want || r.known(0) != "cfpp" {
		t.Errorf("%+v, known %q; want %+v, cfpp", got, r.known(0), want)
	}
	if e := r.records(0)[0][1]; e.Error != touched || !e.ByUpdate {
		t.Errorf("%+v, want it to have failed for the other's change", e)
	}
	if got := r.entity("same@example.com")["givenName"]; got != "Somebody" {
		t.Errorf("the given name is %v: it was changed without its previous value being known", got)
	}
	if got := r.entity("name@example.com"); got["birthday"] != "1999-09-09" || got["givenName"] != "Name" {
		t.Errorf("%v; want the other's birthday, and the name of the input", got)
	}
}

func TestTwoWorkersOnOneBatchDoTheSame(t *testing.T) {
	r := loadedDelta(t, mixed, []string{same, named, ohara})
	var other ledger.Updates
	r.change = func(n int, call func() error) error {
		if n == 1 { // another worker comes between undo file and update, and does it all
			other = r.update(1)
		}
		return call()
	}
	if got, want := r.update(1), (ledger.Updates{Updated: 2, Unchanged: 1}); got != want || other != want {
		t.Errorf("%+v and %+v, want both %+v", got, other, want)
	}
	if clients, _ := r.entity("o'hara@example.com")["clients"].([]any); len(clients) != 2 {
		t.Errorf("clients %v, want two", clients)
	}
	if entries := r.undone(1); len(entries) != 2 || string(entries[0].Before["givenName"]) != `"Old"` {
		t.Errorf("%+v, want the values before both", entries)
	}
}

func TestARecordThatASearchDoesNotShowIsReadByItself(t *testing.T) {
	r := loadedDelta(t, mixed, []string{same, named, ohara})
	r.hidden = true
	if got, want := r.update(1), (ledger.Updates{Updated: 2, Unchanged: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestADuplicateOfAnotherAttributeFails(t *testing.T) {
	// The duplicate was deleted, with the same effect: no record has the key.
	r := loadedDelta(t, mixed, []string{same, named, ohara})
	r.removeAll("same@example.com", "name@example.com")
	if got, want := r.update(1), (ledger.Updates{Updated: 1, Failed: 2}); got != want || r.known(0) != "cffp" {
		t.Errorf("%+v, known %q; want %+v, cffp", got, r.known(0), want)
	}
	if e := r.records(0)[0][1]; e.Error != notThere || !e.Ours {
		t.Errorf("%q, ours %t, want %q, ours", e.Error, e.Ours, notThere)
	}
	s := r.artifacts(false)
	if got, want := r.output(*s.Files.UpdateFail), "batch,line,email,error\n1,3,same@example.com,"+notThere+"\n1,4,name@example.com,"+notThere+"\n"; got != want {
		t.Errorf("update_fail:\n%swant\n%s", got, want)
	}
	lines := strings.SplitAfter(mixed, "\n")
	if got, want := r.output(s.Files.FailRecords), lines[0]+lines[2]+lines[3]; got != want {
		t.Errorf("fail_records:\n%swant\n%s", got, want)
	}
}

func TestARefusedUpdateFailsInTheTargetsWords(t *testing.T) {
	r := loadedDelta(t, mixed, []string{same, named, ohara})
	r.change = func(n int, call func() error) error {
		switch n {
		case 1:
			return refusal(363, "givenName is too long")
		case 3:
			return refusal(341, "no plural")
		}
		return call()
	}
	if got, want := r.update(1), (ledger.Updates{Unchanged: 1, Failed: 2}); got != want || r.changes != 3 {
		t.Errorf("%+v after %d calls; want %+v after 3", got, r.changes, want)
	}
	records := r.records(0)[0]
	if records[2].Error != "givenName is too long" || records[3].Error != "clients: no plural (other attributes were updated)" {
		t.Errorf("%q and %q", records[2].Error, records[3].Error)
	}
}

func TestATargetThatDoesNotUpdateIsUnreachable(t *testing.T) {
	cases := map[string]struct {
		err   error
		words string
	}{
		"no answer":         {errLost, "rerun the command to resume"},
		"an HTTP error":     {httpError(404), "rerun the command to resume"},
		"wrong credentials": {errCredentials, "check them"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := loadedDelta(t, mixed, []string{same, named, ohara})
			r.change = func(int, func() error) error { return tc.err }
			expectType(t, r.tryUpdate(1, nil), Unreachable, true, tc.words)
			if r.changes != callTries || r.known(0) != "cddd" {
				t.Errorf("%d calls, known %q; want %d, and nothing decided", r.changes, r.known(0), callTries)
			}
		})
	}
}

func TestAStoppingWorkerEndsBetweenTwoRecords(t *testing.T) {
	r := loadedDelta(t, mixed, []string{same, named, ohara})
	stop := make(chan struct{})
	r.change = func(n int, call func() error) error {
		close(stop) // at the first call, which comes to its end
		return call()
	}
	expectType(t, r.tryUpdate(1, stop), Unbegun, false)
	if r.changes != 1 || r.known(0) != "cddd" {
		t.Errorf("%d calls, known %q; want one, and nothing decided", r.changes, r.known(0))
	}

	r = loadedDelta(t, mixed, []string{same, named, ohara})
	before := r.endpoints()["entity.find"]
	r.acts.Drain()
	expectType(t, r.tryUpdate(1, nil), Unbegun, false)
	if n := r.endpoints()["entity.find"] - before; n != 0 || r.changes != 0 {
		t.Errorf("%d reads and %d changes after the drain, want none", n, r.changes)
	}
}

func TestARunThatIsOverUpdatesNothing(t *testing.T) {
	r := loadedDelta(t, mixed, []string{same, named, ohara})
	noError(t, r.run.Folder.Seal(r.run.ID))
	expectType(t, r.tryUpdate(1, nil), Over, false)
	if r.changes != 0 || r.known(0) != "cddd" {
		t.Errorf("%d calls, known %q; want none", r.changes, r.known(0))
	}
}

func TestARecordWithAPlainPasswordIsAlwaysUpdated(t *testing.T) {
	input := "email,password\na1@example.com,plain-text\na2@example.com,\"{\"\"type\"\":\"\"password-bcrypt\"\",\"\"value\"\":\"\"$2a$04$abc\"\"}\"\n"
	r := loadedDelta(t, input, []string{
		`{"email":"a1@example.com","password":{"type":"password-bcrypt","value":"$2a$04$xyz"}}`,
		`{"email":"a2@example.com","password":{"type":"password-bcrypt","value":"$2a$04$abc"}}`,
	})
	if got, want := r.update(1), (ledger.Updates{Updated: 1, Unchanged: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestADuplicateKeyIsLoadedOnce(t *testing.T) {
	input := "email,givenName\na1@example.com,First\nb@example.com,B\nA1@Example.com,Second\nc@example.com,C\na1@example.com,Third\n"
	r := newRig(t, input, withSpec(isDelta), batchSize(2))
	if got := r.inspect(); got.DuplicateKeys != 2 || got.Records != 5 {
		t.Errorf("%+v, want 2 duplicate keys in 5 records", got)
	}
	r.stranger(`{"email":"a1@example.com","givenName":"Old"}`)
	r.loadAll(0)
	if known := r.known(0); known != "dc fc f" {
		t.Errorf("loaded: %q, want dc fc f", known)
	}
	if e := r.records(0)[2][0].Error; e != "duplicate key in the file, first in line 2; only the first is loaded" {
		t.Errorf("the last failed for %q", e)
	}
	r.update(1)
	if got := r.entity("a1@example.com")["givenName"]; got != "First" {
		t.Errorf("the given name is %v, want that of the first record", got)
	}
	s := r.artifacts(false)
	if want := (migration.Counts{Total: 5, Created: 2, Updated: 1, Failed: 2}); s.Records != want {
		t.Errorf("%+v, want %+v", s.Records, want)
	}
	if got := r.output(*s.Files.UpdateFail); strings.Count(got, "\n") != 1 {
		t.Errorf("update_fail: %q, want no rows: no update failed", got)
	}

	// A migration without --delta-migration sends every record.
	plain := inspected(t, input, batchSize(2))
	plain.loadAll(0)
	if known := plain.known(0); known != "cc fc f" {
		t.Errorf("no delta migration: %q, want cc fc f", known)
	}
}

// What cannot be sent is not the first record with its key.
func TestAKeyOfARecordThatIsNotSentIsNotADuplicate(t *testing.T) {
	r := newRig(t, "email,birthday\na@example.com,notadate\na@example.com,1/2/1990\n\"a@example.com\",1/2/1991\na@example.com,never\n", withSpec(isDelta))
	if got := r.inspect(); got.DuplicateKeys != 1 {
		t.Errorf("%+v, want 1 duplicate key", got)
	}
	r.loadAll(0)
	if known := r.known(0); known != "fcff" {
		t.Errorf("loaded: %q, want fcff", known)
	}
	for i, want := range map[int]string{0: "birthday", 2: "duplicate key in the file, first in line 3; only the first is loaded", 3: "birthday"} {
		if got := r.records(0)[0][i].Error; !strings.Contains(got, want) {
			t.Errorf("line %d failed for %q, want %q", i+2, got, want)
		}
	}
}

func TestWhatADeltaMigrationNeeds(t *testing.T) {
	r := newRig(t, "givenName\nA\n", withSpec(isDelta))
	_, err := run[Inspected](r, worker.Options{}, nil, r.acts.InspectSource, InspectInput{Spec: r.spec, Run: r.run, Now: now})
	expectType(t, err, Refused, false, `"email"`, "--primary-key")

	for _, change := range []struct {
		before, after func(*migration.Spec)
		words         string
	}{
		{isDelta, func(s *migration.Spec) { s.Delta = false }, "started with --delta-migration"},
		{func(*migration.Spec) {}, isDelta, "--again"},
		{isDelta, func(s *migration.Spec) { s.PrimaryKey = "givenName" }, "--primary-key email"},
	} {
		r := inspected(t, people(2), withSpec(change.before))
		r.loadAll(0)
		change.after(&r.spec)
		_, err := run[Inspected](r, worker.Options{}, nil, r.acts.InspectSource, InspectInput{Spec: r.spec, Run: r.run, Now: now})
		expectType(t, err, Refused, false, change.words)
	}
}

func TestDuplicatesThatAreNotUpdatedYetAreUnknown(t *testing.T) {
	r := loadedDelta(t, mixed+"z@example.com,Z,,,,\n", []string{same, named, ohara, `{"email":"z@example.com"}`}, batchSize(4))
	if known := r.known(0); known != "cddd d" {
		t.Fatalf("loaded: %q, want cddd d", known)
	}
	r.update(1)
	s := r.artifacts(true)
	if want := (migration.Counts{Total: 5, Created: 1, Updated: 3, Unknown: 1}); s.Records != want || s.Files.Unresolved == nil || r.isFinished() {
		t.Fatalf("%+v, files %+v; want %+v, a retry file, and not the end", s.Records, s.Files, want)
	}
	if got, want := r.output(*s.Files.Unresolved), strings.SplitAfter(mixed, "\n")[0]+"z@example.com,Z,,,,\n"; got != want {
		t.Errorf("unresolved: %q, want %q", got, want)
	}
	success := r.output(*s.Files.UpdateSuccess)
	if want := "batch,line,email,how\n1,3,same@example.com,unchanged\n1,4,name@example.com,updated\n1,5,o'hara@example.com,updated\n"; success != want {
		t.Errorf("update_success:\n%swant\n%s", success, want)
	}

	// The command is rerun and resumes.
	stale := *s.Files.Unresolved
	r.run.ID = "run-2"
	r.inspect()
	if plan := r.plan(0, 0, 10); len(plan.Batches) != 0 {
		t.Errorf("%+v is loaded again", plan.Batches)
	}
	expect(t, "what is left", r.updatePlan().Batches, []PlannedBatch{{2, 6, 6}})
	r.update(2)
	s = r.artifacts(false)
	if want := (migration.Counts{Total: 5, Created: 1, Updated: 4}); s.Records != want || !r.isFinished() || s.Files.Unresolved != nil {
		t.Errorf("%+v, files %+v; want %+v, and the end", s.Records, s.Files, want)
	}
	if slices.Contains(r.names(), stale) {
		t.Errorf("%s is still there", stale)
	}
}

// TestDuplicatesOfALaterRoundAreUpdatedAsWell: a batch whose other records were
// updated before, and a stranger's record that a retry round has met.
func TestDuplicatesOfALaterRoundAreUpdatedAsWell(t *testing.T) {
	r := inspected(t, people(4), withSpec(isDelta), batchSize(2))
	r.stranger(`{"email":"a1@example.com","created":"2015-12-15 07:36:25"}`)
	r.stranger(`{"email":"a3@example.com","created":"2015-12-15 07:36:25"}`)
	lostOnce(r, 2) // lines 4 and 5
	if got, want := r.resolve(1, true), (Resolved{Recovered: 1, Duplicate: 1}); got != want || r.known(1) != "dc dr" {
		t.Fatalf("%+v, known %q; want %+v, dc dr", got, r.known(1), want)
	}
	plan := r.updatePlan()
	if plan.Round != 1 || len(plan.Batches) != 2 {
		t.Errorf("%+v, want both batches, after round 1", plan)
	}
	for batch := 1; batch <= 2; batch++ {
		got := must[ledger.Updates](r, r.acts.UpdateBatch, UpdateInput{Run: r.run, Round: 1, Batch: batch})
		if got != (ledger.Updates{Updated: 1}) {
			t.Errorf("batch %d: %+v, want one updated", batch, got)
		}
	}
	if known := r.known(1); known != "pc pr" {
		t.Errorf("known %q, want pc pr", known)
	}
	if got := r.entity("a3@example.com")["givenName"]; got != "Name 3" {
		t.Errorf("the given name is %v", got)
	}
	s := r.artifacts(false)
	if want := (migration.Counts{Total: 4, Created: 1, Recovered: 1, Updated: 2}); s.Records != want {
		t.Errorf("%+v, want %+v", s.Records, want)
	}
	if entries := r.undone(2); len(entries) != 1 || entries[0].Line != 4 {
		t.Errorf("%+v, want the entry of line 4", entries)
	}
}

// TestABatchIsUpdatedAgainAfterALaterRound: the rounds were used up, its
// duplicates were updated, and the rerun resumes with what was unknown.
func TestABatchIsUpdatedAgainAfterALaterRound(t *testing.T) {
	for _, died := range []bool{false, true} {
		r := inspected(t, people(4), withSpec(isDelta), batchSize(2))
		for _, email := range []string{"a1@example.com", "a2@example.com", "a3@example.com"} {
			r.stranger(`{"email":"` + email + `","created":"2015-12-15 07:36:25"}`)
		}
		// Of batch 1, line 2 is a duplicate and line 3 unknown.
		r.claim(ledger.Key{Batch: 1})
		b := ledger.NewOutcomes(2)
		b.Duplicate(0, "twice")
		b.Unknown(1, "timeout")
		r.decide(ledger.Key{Batch: 1}, b.Outcomes(true, ""))
		r.loadAll(0)
		if died {
			r.change = func(_ int, call func() error) error {
				_ = call()
				return errNotSent
			}
			expectType(t, r.tryUpdate(1, nil), Unbegun, false)
			r.change = nil
		} else if got := r.update(1); got != (ledger.Updates{Updated: 1}) {
			t.Fatalf("round 0: %+v, want one updated", got)
		}
		r.retryRound(1)
		got := must[ledger.Updates](r, r.acts.UpdateBatch, UpdateInput{Run: r.run, Round: 1, Batch: 1})
		want := ledger.Updates{Updated: 1}
		if died {
			want.Updated = 2
		}
		if got != want || r.known(1) != "pp dc" {
			t.Errorf("died %v: %+v, known %q; want %+v, pp dc", died, got, r.known(1), want)
		}
		if entries := r.undone(1); len(entries) != 2 || entries[0].Line != 2 || entries[1].Line != 3 || string(entries[0].Before["givenName"]) != "null" {
			t.Errorf("died %v: %+v, want an entry for each of the lines 2 and 3", died, entries)
		}
	}
}

func TestAnInputThatChangesIsNotUpdatedFrom(t *testing.T) {
	r := loadedDelta(t, mixed, []string{same, named, ohara})
	r.writeInput(strings.Replace(mixed, "Name,Ghent", "Nope,Ghent", 1))
	expectType(t, r.tryUpdate(1, nil), InputChanged, false)
	if r.changes != 0 || r.known(0) != "cddd" {
		t.Errorf("%d calls, known %q; want none", r.changes, r.known(0))
	}
}

func TestAClientThatMayNotSearchCanUpdate(t *testing.T) {
	t.Parallel()
	r := loadedDelta(t, mixed, []string{same, named, ohara})
	r.findEntities = func() error { return errForbidden }
	if got, want := r.update(1), (ledger.Updates{Updated: 2, Unchanged: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	r = loadedDelta(t, mixed, []string{same, named, ohara})
	r.findEntities = func() error { return errCredentials }
	expectType(t, r.tryUpdate(1, nil), Unreachable, true)
}

func TestAnotherUniqueAttributeIsTheKey(t *testing.T) {
	r := inspected(t, "legacyId,givenName\n7,Seven\n", withSpec(func(s *migration.Spec) { s.Delta, s.PrimaryKey = true, "legacyId" }))
	// In the sandbox only email is unique, so the refusal is written into the ledger.
	b := ledger.NewOutcomes(1)
	b.Duplicate(0, "Attempted to update a duplicate value")
	r.decide(ledger.Key{Batch: 1}, b.Outcomes(true, ""))
	r.stranger(`{"email":"a@example.com","legacyId":7,"givenName":"Old"}`)
	r.resolve(0, true)
	if got := r.update(1); got != (ledger.Updates{Updated: 1}) {
		t.Errorf("%+v, known %q %q", got, r.known(0), r.records(0)[0][0].Error)
	}
	s := r.artifacts(false)
	if got := r.output(*s.Files.UpdateSuccess); got != "batch,line,legacyId,how\n1,2,7,updated\n" {
		t.Errorf("update_success: %q", got)
	}
}

func TestTheUndoFileIsForTheOwner(t *testing.T) {
	onDisk(t)
	r := loadedDelta(t, mixed, []string{same, named, ohara})
	r.update(1)
	path := r.spec.Folder.Undo() + "/00000/00000001.json"
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v; want mode 0600", path, info, err)
	}
}
