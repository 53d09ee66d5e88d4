package activities

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/worker"

	"durable-dataload/internal/evidence"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/target"
)

// some has four records a batch, of which those with a name in capitals have no
// key.
const some = "email,givenName\na1@example.com,a\n,B\na3@example.com,c\n\"\u200b \",D\na5@example.com,e\n,F\n,G\na8@example.com,h\n"

// written is how many accounts there are with each of these names.
func (r *rig) written(names string) (counts []int) {
	r.t.Helper()
	found, err := r.client().Find(r.t.Context(), "givenName", strings.Split(names, ""))
	noError(r.t, err)
	counts = make([]int, len(names))
	for _, e := range found {
		if name, err := strconv.Unquote(string(e.Attributes["givenName"])); err == nil {
			counts[strings.Index(names, name)]++
		}
	}
	return counts
}

// lastFile holds what the last retry file has, and that nothing was sent twice
// which the target could not refuse.
func (r *rig) lastFile(want string, total migration.Counts, keyless int) {
	r.t.Helper()
	s := r.artifacts(false)
	if s.Records != total {
		r.t.Errorf("%+v, want %+v", s.Records, total)
	}
	if s.Keyless == nil || s.Keyless.Unknown != keyless {
		r.t.Errorf("keyless: %+v, want %d unknown", s.Keyless, keyless)
	}
	if s.Files.Unresolved == nil {
		r.t.Fatal("no retry file holds the unknown records")
	}
	if got := r.output(*s.Files.Unresolved); got != want {
		r.t.Errorf("the last retry file:\n%q\nwant\n%q", got, want)
	}
	if last := s.Files.Retry[len(s.Files.Retry)-1]; last != *s.Files.Unresolved {
		r.t.Errorf("the last retry file is %s, the unresolved one %s", last, *s.Files.Unresolved)
	}
	if code := s.Records.ExitCode(); code != migration.ExitUnknown {
		r.t.Errorf("exit code %d, want %d", code, migration.ExitUnknown)
	}
	for i, n := range r.written("abcdefghABCDEFGH") {
		if n > 1 {
			r.t.Errorf("%c was written %d times", "abcdefghABCDEFGH"[i], n)
		}
	}
	if r.isFinished() {
		r.t.Error("the migration is finished, with unknown records")
	}
}

func TestKeylessRecordsWhoseAnswerWasLostAreNotSentAgain(t *testing.T) {
	r := inspected(t, some)
	r.lose = func(send int) bool { return send <= 2 }
	r.loadAll(0)
	r.lose = nil
	file := r.retryFile(1)
	if file.Records != 4 || file.Batches != 2 || file.Aside != 4 {
		t.Errorf("round 1: %+v, want 4 records of 2 batches, and 4 set aside", file)
	}
	if got, want := r.output(file.Name), "email,givenName\na1@example.com,a\na3@example.com,c\na5@example.com,e\na8@example.com,h\n"; got != want {
		t.Errorf("the retry file of round 1:\n%q\nwant\n%q", got, want)
	}
	r.loadAll(1)
	r.resolve(1, true)
	for range 2 { // as a later run would ask again
		if file := r.retryFile(2); file.Records != 0 || file.Aside != 0 {
			t.Errorf("round 2: %+v, want none", file)
		}
		r.nextRun("run-2")
	}
	r.lastFile("email,givenName\n,B\n\"\u200b \",D\n,F\n,G\n", migration.Counts{Total: 8, Recovered: 4, Unknown: 4}, 4)
	for _, records := range r.records(1) {
		for _, record := range records {
			if record.Outcome == ledger.Unknown && record.Reason != "reset" {
				t.Errorf("%+v, want the reason of the call", record)
			}
		}
	}
}

func TestWithoutAUniqueKeyNoRecordIsSentAgain(t *testing.T) {
	r := newRig(t, some)
	r.notUnique = true
	r.inspect()
	r.lose = func(send int) bool { return send == 1 }
	r.loadAll(0)
	if file := r.retryFile(1); file.Records != 0 || file.Aside != 4 {
		t.Errorf("round 1: %+v, want no records, and 4 set aside", file)
	}
	if sent := r.sent(); sent != 2 {
		t.Errorf("%d calls, want 2", sent)
	}
	r.lastFile("email,givenName\na1@example.com,a\n,B\na3@example.com,c\n\"\u200b \",D\n", migration.Counts{Total: 8, Created: 4, Unknown: 4}, 4)
}

// Rounds that are used up leave one retry file, which holds all that is unknown.
// Its records that have a key are loaded when the migration resumes.
func TestWithoutRoundsOneRetryFileHoldsAllThatIsUnknown(t *testing.T) {
	r := inspected(t, some)
	r.lose = func(int) bool { return true }
	r.loadAll(0)
	first := r.retryFile(1)
	r.lastFile(some, migration.Counts{Total: 8, Unknown: 8}, 4)
	if s := r.artifacts(false); !slices.Equal(s.Files.Retry, []string{first.Name}) {
		t.Errorf("retry files %q, want one", s.Files.Retry)
	}
	r.lose = nil
	r.nextRun("run-2")
	r.inspect()
	if again := r.retryFile(1); again != first {
		t.Errorf("round 1 is %+v, and was %+v", again, first)
	}
	r.loadAll(1)
	r.resolve(1, true)
	r.lastFile("email,givenName\n,B\n\"\u200b \",D\n,F\n,G\n", migration.Counts{Total: 8, Recovered: 4, Unknown: 4}, 4)
}

// A worker that died may have written its batch.
func TestKeylessRecordsOfADeadWorkerAreNotSentAgain(t *testing.T) {
	r := inspected(t, some)
	r.claim(ledger.Key{Batch: 1})
	r.settle(0, 1)
	r.load(0, 2)
	r.retryFile(1)
	r.loadAll(1)
	r.lastFile("email,givenName\n,B\n\"\u200b \",D\n", migration.Counts{Total: 8, Created: 6, Unknown: 2}, 2)
}

// A gateway refuses a call as too large that the target has written. Only the
// target's own word would prove that it wrote nothing.
func TestKeylessRecordsAreInNoHalfOfACallThatAGatewayRefused(t *testing.T) {
	r := inspected(t, some)
	r.answered = func(a *target.Answer) {
		if r.sent() == 1 {
			*a = tooLargeForAGateway(*a)
		}
	}
	if got := r.load(0, 1); got.Unknown != 2 || got.Duplicate != 2 || got.Calls != 3 {
		t.Errorf("%+v, want 2 unknown, 2 duplicates, 3 calls", got)
	}
	again := r.load(0, 1) // it finds what is decided
	if again.Unknown != 2 || again.Duplicate != 2 || r.sent() != 3 {
		t.Errorf("again: %+v, %d calls", again, r.sent())
	}
	if settled := r.settle(0, 1); settled.Counts != again.Counts {
		t.Errorf("settled: %+v, want %+v", settled.Counts, again.Counts)
	}
	for i, n := range r.written("aBc") {
		if n != 1 {
			t.Errorf("%c was written %d times", "aBc"[i], n)
		}
	}
	// If all records are keyless, no half is sent.
	r = inspected(t, "email,givenName\n,A\n,B\n")
	r.answered = func(a *target.Answer) {
		*a = tooLargeForAGateway(*a)
	}
	if got := r.load(0, 1); got.Unknown != 2 || got.Calls != 1 || r.sent() != 1 {
		t.Errorf("%+v, %d calls; want 2 unknown, one call", got, r.sent())
	}
}

func TestKeylessRecordsAreInTheHalvesOfACallThatTheTargetRefused(t *testing.T) {
	r := inspected(t, some)
	r.tooLarge, r.sizeByAPI = 1, true
	r.loadAll(0)
	if known := r.known(0); known != "cccf cccc" { // the target takes no space for an address
		t.Errorf("%s, want cccf cccc", known)
	}
}

// What was certainly not written may be sent, keyless records too.
func TestKeylessRecordsOfACallThatWroteNothingAreSentAgain(t *testing.T) {
	for name, answer := range map[string]target.Answer{
		"not sent":    {NothingWritten: true, Err: errors.New("stopped")},
		"credentials": {NothingWritten: true, Err: errCredentials},
	} {
		t.Run(name, func(t *testing.T) {
			r := inspected(t, some)
			r.instead = func(send int) *target.Answer {
				if send == 1 {
					answer.Sent, answer.Received = time.Now(), time.Now()
					return &answer
				}
				return nil
			}
			r.loadAll(0)
			if file := r.retryFile(1); file.Records != 4 || file.Aside != 0 {
				t.Errorf("round 1: %+v, want 4 records", file)
			}
			r.lose = func(int) bool { return true }
			r.loadAll(1)
			if file := r.retryFile(2); file.Records != 2 || file.Aside != 2 {
				t.Errorf("round 2: %+v, want 2 records, and 2 set aside", file)
			}
		})
	}
}

// A keyless record that is refused as a duplicate, by another unique attribute,
// cannot be looked up. By the refusal alone it is not ours.
func TestAKeylessDuplicateStaysUnknown(t *testing.T) {
	for _, by := range []migration.RecoveredBy{migration.Lookup, migration.Refusal} {
		t.Run(string(by), func(t *testing.T) {
			r := newRig(t, people(1), withSpec(func(s *migration.Spec) { s.PrimaryKey, s.RecoveredBy = "givenName", by }))
			r.notUnique = true
			r.inspect()
			r.instead = func(send int) *target.Answer {
				if send > 1 {
					return nil
				}
				return &target.Answer{NothingWritten: true, Err: errors.New("stopped"), Sent: time.Now(), Received: time.Now()}
			}
			r.loadAll(0)
			r.stranger(`{"email":"a1@example.com","givenName":"Name 1"}`)
			r.retryFile(1)
			r.loadAll(1)
			r.resolve(1, false)
			if record := r.records(1)[0][0]; record.Outcome != ledger.Unknown || record.Reason != evidence.NoKey {
				t.Errorf("%+v, want it unknown since it has no key", record)
			}
		})
	}
}

func TestWhatTheTargetRefusesAsADuplicateIsFoundOutOnce(t *testing.T) {
	schema := func(constraints ...string) func(context.Context) (target.Schema, error) {
		return func(context.Context) (target.Schema, error) {
			return target.Schema{Name: "user", Attributes: []target.Attribute{
				{Name: "email", Type: "string", Constraints: constraints}, {Name: "nickname", Type: "string", Constraints: []string{"unique"}}}}, nil
		}
	}
	fails := func(err error) func(context.Context) (target.Schema, error) {
		return func(context.Context) (target.Schema, error) { return target.Schema{}, err }
	}
	for _, c := range []struct {
		name, key string
		schema    func(context.Context) (target.Schema, error)
		unique    bool
		note      string
	}{
		{"unique", "nickname", schema(), true, ""},
		{"unique, with keyless records", "email", schema("unique"), true, "4 of 8 records are keyless: without a value in the primary key email"},
		{"not unique", "email", schema("required", "locally-unique"), false, "All 8 records are keyless: the schema does not call the primary key email unique"},
		{"not in the schema", "customerId", schema("unique"), false, "Unique are: email, nickname (see --primary-key)."},
		{"no permission", "email", fails(errForbidden), true, "It is assumed that email is unique, as in the platform's default schema: the schema cannot be read (api 403 client_permission_error)."},
		{"no permission, another key", "nickname", fails(errForbidden), false, "All 8 records are keyless, it is assumed: the schema cannot be read (api 403 client_permission_error)"},
		{"refused", "email", fails(refusal(200, "")), true, "(api 200)"},
		{"a gateway without it", "email", fails(&target.Error{Class: target.Forbidden, Err: httpError(404)}), true, "(HTTP 404 Not Found)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, strings.ReplaceAll(some, "givenName", "nickname"), withSpec(func(s *migration.Spec) { s.PrimaryKey = c.key }))
			must[Inspected](r, r.acts.InspectSource, InspectInput{Spec: r.spec, Run: r.run, Now: now})
			r.schema = c.schema
			first := must[Checked](r, r.acts.CheckTarget, r.run)
			if !strings.Contains(first.KeylessNote, c.note) || (c.note == "") != (first.KeylessNote == "") {
				t.Errorf("note %q, want %q", first.KeylessNote, c.note)
			}
			keys, err := r.spec.Folder.Keys()
			if err != nil || keys.Unique != c.unique || keys.Attribute != c.key {
				t.Errorf("%+v, %v; want %s, unique %v", keys, err, c.key, c.unique)
			}
			// A later run keeps to it, whatever the schema is by then.
			r.schema = fails(errors.New("asked again"))
			r.nextRun("run-2")
			if again := must[Checked](r, r.acts.CheckTarget, r.run); again != first {
				t.Errorf("a later run: %+v, want %+v", again, first)
			}
		})
	}
	for name, err := range map[string]error{
		"busy": &target.Error{Class: target.Throttled, Reason: "api 510"}, "temporary": httpError(502), "no answer": errLost,
	} {
		r := newRig(t, some)
		must[Inspected](r, r.acts.InspectSource, InspectInput{Spec: r.spec, Run: r.run, Now: now})
		r.schema = fails(err)
		_, got := run[Checked](r, worker.Options{}, nil, r.acts.CheckTarget, r.run)
		expectType(t, got, Unreachable, true, "nothing was sent")
		if _, err := r.spec.Folder.Keys(); !errors.Is(err, migration.ErrAbsent) {
			t.Errorf("%s: %v, want nothing to be assumed", name, err)
		}
	}
}

// A delta migration by a key that is not unique would change any of those that
// have it.
func TestADeltaMigrationNeedsAUniqueKey(t *testing.T) {
	r := newRig(t, people(1), withSpec(func(s *migration.Spec) { s.PrimaryKey = "givenName" }), withSpec(isDelta))
	must[Inspected](r, r.acts.InspectSource, InspectInput{Spec: r.spec, Run: r.run, Now: now})
	_, err := run[Checked](r, worker.Options{}, nil, r.acts.CheckTarget, r.run)
	expectType(t, err, Refused, false, "--primary-key givenName", "not call unique", "email")
}

// Which records are keyless depends on the primary key: it may change until
// something was sent.
func TestThePrimaryKeyHoldsOnceSomethingWasSent(t *testing.T) {
	r := inspected(t, some)
	r.spec.PrimaryKey = "givenName"
	r.nextRun("run-2")
	r.inspect()
	if keys, err := r.spec.Folder.Keys(); err != nil || keys.Attribute != "givenName" {
		t.Errorf("%+v, %v", keys, err)
	}
	r.lose = func(int) bool { return true }
	r.loadAll(0)
	if file := r.retryFile(1); file.Records != 8 {
		t.Errorf("round 1: %+v, want all: every record has a name", file)
	}
	r.spec.PrimaryKey = "email"
	r.nextRun("run-3")
	r.refusedInspection("--primary-key givenName", "email")
}
