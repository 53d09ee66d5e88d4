package activities

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/worker"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/sandbox"
	"durable-dataload/internal/target"
)

// lostOnce loads round 0, of which the answers to these calls are lost, and the
// retry round, of which none is.
func lostOnce(r *rig, lost ...int) {
	r.t.Helper()
	r.lose = func(send int) bool { return slices.Contains(lost, send) }
	r.loadAll(0)
	r.lose = nil
	r.retryFile(1)
	r.loadAll(1)
}

func TestARecordThatALostCallWroteIsRecovered(t *testing.T) {
	r := inspected(t, "email,givenName\na1@example.com,A\nA2@Example.COM,B\no'brien@example.com,C\n\"back\\slash@example.com\",D\na5@example.com,E\n", batchSize(3))
	lostOnce(r, 1, 2)
	if got, want := r.resolve(1, false), (Resolved{Recovered: 5}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	uuids := r.uuids()
	emails := []string{"a1@example.com", "A2@Example.COM", "o'brien@example.com", `back\slash@example.com`, "a5@example.com"}
	n := 0
	for _, batch := range r.records(1) {
		for _, record := range batch {
			if want := uuids[emails[n]]; record.UUID != want || want == "" || string(record.Outcome) != "r" || record.Round != 1 {
				t.Errorf("%s: %+v, want it recovered in round 1 with the uuid %q", emails[n], record, want)
			}
			n++
		}
	}
	calls := len(r.truth())
	r.restart()
	if again := r.resolve(1, true); again != (Resolved{Recovered: 5}) || len(r.truth()) != calls {
		t.Errorf("again: %+v, want the same", again)
	}
}

func TestWhatWasNotWrittenIsCreatedByTheRetryRound(t *testing.T) {
	// The call wrote every other record: those come back as duplicates.
	r := inspected(t, people(4), faults("partial-502=100"), func(_ *rig, o *sandbox.Options) { o.HealAfter = 1 })
	lostOnce(r)
	if got, want := r.resolve(1, true), (Resolved{Recovered: 2}); got != want || r.known(1) != "rcrc" {
		t.Errorf("%+v, known %q; want %+v, rcrc", got, r.known(1), want)
	}
}

func TestAStrangersRecordIsNeverRecovered(t *testing.T) {
	before := func(moment time.Time) target.Moment {
		return target.Moment{Earliest: moment, Latest: moment.Add(time.Second - 1)}
	}
	old := before(now.AddDate(-11, 0, 0))
	cases := map[string]struct {
		input string
		found func(*target.Entity)
		want  string
	}{
		"created long ago":                   {people(1), func(f *target.Entity) { f.Created = old }, "f"},
		"last updated long ago":              {people(1), func(f *target.Entity) { f.Created, f.Updated = old, old }, "f"},
		"last updated is not shown":          {people(1), func(f *target.Entity) { f.Updated = target.Moment{} }, "r"},
		"created is not shown":               {people(1), func(f *target.Entity) { f.Created = target.Moment{} }, "u"},
		"as it was":                          {people(1), func(*target.Entity) {}, "r"},
		"created as the input gives it":      {"email,created\na1@example.com,2011-11-22 13:05:00\n", func(*target.Entity) {}, "r"},
		"created otherwise":                  {"email,created\na1@example.com,2011-11-22 13:05:00\n", func(f *target.Entity) { f.Created = old }, "f"},
		"created by the input, not touched":  {"email,created\na1@example.com,2011-11-22 13:05:00\n", func(f *target.Entity) { f.Updated = old }, "f"},
		"created column, without a value":    {"email,created\na1@example.com,\n", func(*target.Entity) {}, "r"},
		"created column, a stranger's value": {"email,created\na1@example.com,\n", func(f *target.Entity) { f.Created = old }, "f"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := inspected(t, tc.input)
			r.findOutcome = func(found []target.Entity, err error) ([]target.Entity, error) {
				for i := range found {
					tc.found(&found[i])
				}
				return found, err
			}
			lostOnce(r, 1)
			r.resolve(1, true)
			if known := r.known(1); known != tc.want {
				t.Errorf("the record is %q, want %q", known, tc.want)
			}
			if record := r.records(1)[0][0]; tc.want == "f" && !strings.Contains(record.Error, "duplicate") {
				t.Errorf("it failed for %q, want the target's words", record.Error)
			}
		})
	}
}

func TestARealStrangerFromBeforeFails(t *testing.T) {
	r := inspected(t, people(2))
	r.stranger(`{"email":"A2@example.com","created":"2015-12-15 07:36:25 +0000"}`)
	lostOnce(r, 1)
	if got, want := r.resolve(1, true), (Resolved{Recovered: 1, Failed: 1}); got != want || r.known(1) != "rf" {
		t.Errorf("%+v, known %q; want %+v, rf", got, r.known(1), want)
	}
}

func TestOneRecordOfTheTargetIsRecoveredOnce(t *testing.T) {
	cases := map[string]struct {
		input string
		size  int
		lost  []int
		want  string
	}{
		"in one batch, lost":         {"email\na@example.com\nA@Example.com\na@example.com\n", 3, []int{1}, "rff"},
		"in two batches, both lost":  {"email\na@example.com\nb@example.com\nA@EXAMPLE.COM\nc@example.com\n", 2, []int{1, 2}, "rr fr"},
		"the second lost":            {"email\na@example.com\nb@example.com\nA@EXAMPLE.COM\nc@example.com\n", 2, []int{2}, "cc fr"},
		"the first lost":             {"email\na@example.com\nb@example.com\nA@EXAMPLE.COM\nc@example.com\n", 2, []int{1}, "rr fc"},
		"in three batches, two lost": {"email\na@example.com\nA@example.com\na@Example.com\n", 1, []int{1, 3}, "r f f"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := inspected(t, tc.input, batchSize(tc.size))
			lostOnce(r, tc.lost...)
			r.resolve(1, true)
			if known := r.known(1); known != tc.want {
				t.Errorf("the ledger knows %q, want %q", known, tc.want)
			}
			seen := map[string]bool{}
			for _, batch := range r.records(1) {
				for _, record := range batch {
					if record.UUID != "" && seen[record.UUID] {
						t.Errorf("the uuid %s belongs to two records", record.UUID)
					}
					seen[record.UUID] = true
				}
			}
		})
	}
}

func TestWhatCannotBeSeenYetStaysOpen(t *testing.T) {
	hidden := true
	r := inspected(t, people(4), batchSize(2))
	r.findOutcome = func(found []target.Entity, err error) ([]target.Entity, error) {
		return slices.DeleteFunc(found, func(e target.Entity) bool { return hidden && e.Text("email") == "a2@example.com" }), err
	}
	lostOnce(r, 1, 2)
	// Batch 1 stays open as a whole, batch 2 is decided.
	if got, want := r.resolve(1, false), (Resolved{Recovered: 2, Invisible: 2}); got != want || r.known(1) != "uu rr" {
		t.Errorf("%+v, known %q; want %+v, uu rr", got, r.known(1), want)
	}
	if got, want := r.resolve(1, false), (Resolved{Recovered: 2, Invisible: 2}); got != want {
		t.Errorf("again: %+v, want %+v", got, want)
	}
	hidden = false
	if got, want := r.resolve(1, false), (Resolved{Recovered: 4}); got != want || r.known(1) != "rr rr" {
		t.Errorf("when all is visible: %+v, known %q; want %+v", got, r.known(1), want)
	}
}

func TestWhatIsNeverSeenStaysUnknownAndIsAskedForInTheNextRound(t *testing.T) {
	r := inspected(t, people(2), func(_ *rig, o *sandbox.Options) { o.FindLag = time.Hour })
	lostOnce(r, 1)
	if got, want := r.resolve(1, true), (Resolved{Unknown: 2}); got != want || r.known(1) != "uu" {
		t.Errorf("%+v, known %q; want %+v, uu", got, r.known(1), want)
	}
	if file := r.retryFile(2); file.Records != 2 {
		t.Errorf("%+v, want both records in the next round", file)
	}
	if got := r.loadAll(2); got.Duplicate != 2 {
		t.Errorf("round 2: %+v, want 2 duplicates", got)
	}
}

func TestTheLagOfTheTargetPasses(t *testing.T) {
	r := inspected(t, people(2), func(_ *rig, o *sandbox.Options) { o.FindLag = 300 * time.Millisecond })
	lostOnce(r, 1)
	eventually(t, "the records are visible", func() bool { return r.resolve(1, false) == Resolved{Recovered: 2} })
}

func TestRefusalTakesTheTargetsWord(t *testing.T) {
	r := inspected(t, people(4), batchSize(2), withSpec(func(s *migration.Spec) { s.RecoveredBy = migration.Refusal }))
	r.findOutcome = func([]target.Entity, error) ([]target.Entity, error) {
		t.Error("a record was looked up")
		return nil, nil
	}
	lostOnce(r, 1)
	if got, want := r.resolve(1, false), (Resolved{Recovered: 2}); got != want || r.known(1) != "rr cc" {
		t.Errorf("%+v, known %q; want %+v, rr cc", got, r.known(1), want)
	}
	for _, record := range r.records(1)[0] {
		if record.UUID != "" {
			t.Errorf("%+v has a uuid that no answer gave", record)
		}
	}
}

func TestAClientWithoutThePermissionToLookUpIsAnError(t *testing.T) {
	t.Parallel() // it waits between look-ups
	r := inspected(t, people(2))
	lookUps := 0
	r.findOutcome = func([]target.Entity, error) ([]target.Entity, error) {
		lookUps++
		return nil, errForbidden
	}
	lostOnce(r, 1)
	_, err := run[Resolved](r, worker.Options{}, nil, r.acts.ResolveDuplicates, ResolveInput{Run: r.run, Round: 1, Last: true})
	expectType(t, err, Unreachable, false, "may not look records up", "--recovered-by refusal")
	if known := r.known(1); known != "uu" || lookUps < 2 {
		t.Errorf("known %q after %d look-ups, want uu after more than one", known, lookUps)
	}
}

func TestALookUpThatFailsSeesNothingNow(t *testing.T) {
	t.Parallel() // it waits between look-ups
	r := inspected(t, people(2))
	failing := true
	r.findOutcome = func(found []target.Entity, err error) ([]target.Entity, error) {
		if failing {
			return nil, httpError(502)
		}
		return found, err
	}
	lostOnce(r, 1)
	if got, want := r.resolve(1, false), (Resolved{Invisible: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	failing = false
	if got, want := r.resolve(1, false), (Resolved{Recovered: 2}); got != want {
		t.Errorf("later: %+v, want %+v", got, want)
	}
}

func TestARefusalInPassingTroubleIsNoMissingPermission(t *testing.T) {
	t.Parallel() // it waits between look-ups
	r := inspected(t, people(2))
	lookUps := 0
	r.findOutcome = func(found []target.Entity, err error) ([]target.Entity, error) {
		switch lookUps++; lookUps {
		case 1:
			return nil, httpError(502)
		case 2, 3:
			return nil, errForbidden
		}
		return found, err
	}
	lostOnce(r, 1)
	if got, want := r.resolve(1, false), (Resolved{Invisible: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, want := r.resolve(1, false), (Resolved{Recovered: 2}); got != want {
		t.Errorf("later: %+v, want %+v", got, want)
	}
}

func TestMoreDuplicatesThanOneLookUpTakes(t *testing.T) {
	const n = 107
	r := inspected(t, people(n), batchSize(25))
	lostOnce(r, 1, 2, 3, 4, 5)
	if got, want := r.resolve(1, false), (Resolved{Recovered: n}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestALookUpThatWasNotPermittedCanBeRepeated(t *testing.T) {
	t.Parallel() // it waits between look-ups
	r := inspected(t, people(3))
	r.stranger(`{"email":"a3@example.com","created":"2015-12-15 07:36:25 +0000"}`)
	allowed := false
	r.findOutcome = func(found []target.Entity, err error) ([]target.Entity, error) {
		if !allowed {
			return nil, errForbidden
		}
		return found, err
	}
	lostOnce(r, 1)
	if _, err := run[Resolved](r, worker.Options{}, nil, r.acts.ResolveDuplicates, ResolveInput{Run: r.run, Round: 1}); err == nil {
		t.Fatal("the look-up was allowed")
	}
	ended := r.artifacts(false)
	if want := (migration.Counts{Total: 3, Unknown: 3}); ended.Records != want || ended.Files.Unresolved == nil {
		t.Fatalf("%+v, want %+v, and a file of what is unknown", ended, want)
	}
	if got := r.output(*ended.Files.Unresolved); got != people(3) {
		t.Errorf("the file of what is unknown: %q, want the whole input", got)
	}

	// The permission is granted, and the rerun resumes.
	allowed = true
	r.resume()
	if plan := r.plan(1, 0, 10); len(plan.Batches) != 0 || plan.Settled.Duplicate != 3 {
		t.Errorf("the plan of round 1: %+v, want nothing but 3 duplicates", plan)
	}
	if got, want := r.resolve(1, true), (Resolved{Recovered: 2, Failed: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if file := r.retryFile(2); file.Records != 0 {
		t.Errorf("%+v, want no round 2", file)
	}
	resumed := r.artifacts(false)
	if want := (migration.Counts{Total: 3, Recovered: 2, Failed: 1}); resumed.Records != want || resumed.Files.Unresolved != nil {
		t.Errorf("%+v, want %+v", resumed, want)
	}
	if slices.Contains(r.names(), *ended.Files.Unresolved) {
		t.Errorf("%s is there still", *ended.Files.Unresolved)
	}
}

func TestRecordsWithOneKeyGetOneAnswer(t *testing.T) {
	hasQuote := func(key string) bool { return strings.Contains(key, "'") }
	c := &core{traits: target.Traits{FindKeys: 2, FindsAlone: hasQuote, Fold: strings.ToLower}}
	var asked []string
	found, err := c.inGroups("email", []string{"a@example.com", "o'a@example.com", "b@example.com", "", "a@example.com", "A@example.com", "o'b@example.com"}, func(group []string) (all []target.Entity, _ error) {
		asked = append(asked, strings.Join(group, " "))
		for _, key := range group {
			all = append(all, target.Entity{ID: strings.ToLower(key), Attributes: map[string]json.RawMessage{"email": json.RawMessage(strconv.Quote(strings.ToLower(key)))}})
		}
		return all, nil
	})
	if err != nil || len(found) != 4 || len(found["a@example.com"]) != 1 {
		t.Errorf("%v, %v; want four keys, and one record for each", found, err)
	}
	if got, want := strings.Join(asked, "|"), "o'a@example.com|o'b@example.com|a@example.com b@example.com|A@example.com"; got != want {
		t.Errorf("%q was looked up, want %q", got, want)
	}
}
