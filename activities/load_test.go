package activities

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/worker"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/sandbox"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

// four has a record that is created, one whose email is taken, one that the
// target refuses, and one that cannot be sent.
const four = "email,givenName,birthday\n" +
	"new@example.com,New,1/2/1990\n" +
	"Taken@example.com,Taken,\n" +
	"no-address,Refused,\n" +
	"bad@example.com,Bad,yesterday\n"

func TestTheAnswerDecidesTheOutcome(t *testing.T) {
	type counts = ledger.Counts
	hang := withSpec(func(s *migration.Spec) { s.Timeout = 400 * time.Millisecond })
	noneIsUnknown := withSpec(func(s *migration.Spec) { s.UnknownAPI, s.UnknownHTTP = [][2]int{}, [][2]int{} })
	cases := []struct {
		name    string
		options []option
		want    counts
		reason  string
		outcome string // of the records
		written int    // records of this call in the target
	}{
		{"ok", nil, counts{Created: 1, Duplicate: 1, Failed: 2, Calls: 1}, "", "cuff", 1},
		{"refuse", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "closed", "uuuf", 0},
		{"reset-before", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "reset", "uuuf", 0},
		{"reset-after", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "reset", "uuuf", 1},
		{"partial-502", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "http 502", "uuuf", 1},
		{"hang", []option{hang}, counts{Unknown: 3, Failed: 1, Calls: 1}, "timeout", "uuuf", 0},
		{"hang-after", []option{hang}, counts{Unknown: 3, Failed: 1, Calls: 1}, "timeout", "uuuf", 1},
		{"http403", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "http 403", "uuuf", 0},
		{"http429", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "http 429", "uuuf", 0},
		{"http500", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "http 500", "uuuf", 0},
		{"http501", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "http 501", "uuuf", 0},
		{"http502", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "http 502", "uuuf", 0},
		{"http503", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "http 503", "uuuf", 0},
		{"http504", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "http 504", "uuuf", 0},
		{"http502-after", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "http 502", "uuuf", 1},
		{"api403", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "api 403", "uuuf", 0},
		{"api500", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "api 500", "uuuf", 0},
		{"api504", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "api 504", "uuuf", 0},
		{"api510", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "api 510", "uuuf", 0},
		{"api500-after", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "api 500", "uuuf", 1},
		{"broken-json", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "not json", "uuuf", 1},
		{"truncated-json", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "cut short", "uuuf", 1},
		{"no-stat", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "no stat", "uuuf", 1},
		{"too-few-results", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "too few results", "uuuf", 1},
		{"http409-after", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "http 409", "uuuf", 1},
		{"http505-after", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "http 505", "uuuf", 1},
		{"http520-after", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "http 520", "uuuf", 1},
		{"http524-after", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "http 524", "uuuf", 1},
		{"api501-after", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "api 501", "uuuf", 1},
		{"api550-after", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "api 550", "uuuf", 1},
		{"record504-after", nil, counts{Created: 1, Unknown: 2, Failed: 1, Calls: 1}, "api 504", "ucuf", 1},
		{"record510-after", nil, counts{Created: 1, Unknown: 2, Failed: 1, Calls: 1}, "api 510", "ucuf", 1},
		{"same-uuid", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "uuid twice", "uuuf", 1},
		{"sign-in", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "reset", "uuuf", 1},
		{"stranger", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "reset", "uuuf", 0},
		{"namesake", nil, counts{Unknown: 3, Failed: 1, Calls: 1}, "reset", "uuuf", 0},
		{"replay", nil, counts{Duplicate: 2, Failed: 2, Calls: 1}, "", "uuff", 1}, // until they are looked up
		{"wrong-order", nil, counts{Created: 2, Failed: 2, Calls: 1}, "", "ccff", 1},
		{"http413-after", nil, counts{Unknown: 3, Failed: 1, Calls: 5}, "too large", "uuuf", 1},
		// With other lists the target's words count.
		{"http502", []option{noneIsUnknown}, counts{Failed: 4, Calls: 1}, "http 502", "ffff", 0},
		{"api500", []option{noneIsUnknown}, counts{Failed: 4, Calls: 1}, "api 500", "ffff", 0},
		{"hang", []option{hang, noneIsUnknown}, counts{Unknown: 3, Failed: 1, Calls: 1}, "timeout", "uuuf", 0},
	}
	covered := map[string]bool{}
	for _, tc := range cases {
		covered[tc.name] = true
		name := tc.name
		if len(tc.options) > 0 {
			name += ", other options"
		}
		t.Run(name, func(t *testing.T) {
			options := tc.options
			if tc.name != "ok" {
				options = append(slices.Clone(options), faults(tc.name+"=100"))
			}
			r := inspected(t, four, options...)
			if tc.name == "ok" {
				r.stranger(`{"email":"taken@example.com"}`)
			}
			strangers := len(r.truth())
			got := r.load(0, 1)
			if got.Counts != tc.want || got.Reason != tc.reason || got.Unsent {
				t.Errorf("%+v, want %+v, %q", got, tc.want, tc.reason)
			}
			if known := r.known(0); known != tc.outcome {
				t.Errorf("the ledger knows %q, want %q", known, tc.outcome)
			}
			for i, record := range r.records(0)[0] {
				if record.Ours != (i == 3) {
					t.Errorf("record %d: ours %t (%s); only what cannot be sent has a reason of this program", i+1, record.Ours, record.Error)
				}
			}
			calls := slices.DeleteFunc(r.truth()[strangers:], func(c sandbox.Call) bool { return c.Endpoint != "entity.bulkCreate" })
			sent := len(calls)
			written := 0
			for _, call := range calls {
				if call.Fault == "replayed" {
					sent-- // one call, and twice in the log
				}
				for _, w := range call.Written {
					if w.Email == "new@example.com" {
						written++
					}
				}
			}
			if sent != tc.want.Calls || written != tc.written {
				t.Errorf("the target saw %d calls and has written the first record %d times, want %d and %d", sent, written, tc.want.Calls, tc.written)
			}
			if strings.Contains(got.Reason, "@") {
				t.Errorf("the reason %q quotes a record", got.Reason)
			}
		})
	}
	for kind := range strings.SplitSeq(sandbox.FaultNames(), ", ") {
		if !covered[kind] {
			t.Errorf("the fault %s has no case", kind)
		}
	}
}

func TestWhatFailedSaysWhy(t *testing.T) {
	r := inspected(t, four)
	r.stranger(`{"email":"taken@example.com"}`)
	r.loadAll(0)
	records := r.records(0)[0]
	if uuid := r.uuids()["new@example.com"]; records[0].UUID != uuid || uuid == "" {
		t.Errorf("the created record has the uuid %q, want the target's %q", records[0].UUID, uuid)
	}
	for i, want := range map[int]string{1: "duplicate value", 2: "email", 3: "birthday"} {
		if !strings.Contains(records[i].Error, want) {
			t.Errorf("record %d failed for %q, want it to speak of %q", i, records[i].Error, want)
		}
	}
}

func TestACallThatIsRefusedAsAWholeFailsItsRecords(t *testing.T) {
	r := inspected(t, someBad(3, 2), wholeCalls)
	got := r.load(0, 1)
	if want := (ledger.Counts{Failed: 3, Calls: 1}); got.Counts != want || got.Reason != "api 340" || got.Errors["api 340"] != 3 {
		t.Errorf("%+v, want %+v, api 340 of three", got, want)
	}
	for i, record := range r.records(0)[0] {
		if !strings.Contains(record.Error, "API Error 340") {
			t.Errorf("record %d failed for %q, want the target's words", i, record.Error)
		}
	}
}

func TestTooLargeIsHalvedUntilItFits(t *testing.T) {
	// Of 7 records one fails here; a call takes two.
	input := "email,birthday\na1@example.com,\na2@example.com,\na3@example.com,never\na4@example.com,\na5@example.com,\na6@example.com,\na7@example.com,\n"
	r := inspected(t, input, batchSize(7))
	r.tooLarge = 2
	got := r.load(0, 1)
	// 7 → 3 (of which 2 are sent) and 4 → 2 and 2: calls for 6, 2, 4, 2, 2.
	if want := (ledger.Counts{Created: 6, Failed: 1, Calls: 5}); got.Counts != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if known := r.known(0); known != "ccfcccc" {
		t.Errorf("the ledger knows %q, want ccfcccc", known)
	}
	expect(t, "calls at the target", r.callSizes(), []int{2, 2, 2})
	for email, uuid := range r.uuids() {
		found := slices.ContainsFunc(r.records(0)[0], func(record ledger.Record) bool { return record.UUID == uuid })
		if !found {
			t.Errorf("%s has the uuid %s, which the ledger does not know", email, uuid)
		}
	}
	sends := r.sent()
	if again := r.load(0, 1); again.Counts != got.Counts || r.sent() != sends {
		t.Errorf("loaded again: %+v with %d calls, want %+v without any", again, r.sent()-sends, got)
	}
}

// The API alone can say that nothing of a call was written; else its records may exist before their half is sent.
func TestWhatATooLargeCallMayHaveWritten(t *testing.T) {
	for byAPI, want := range map[bool]string{false: "hhhh", true: "----"} {
		r := inspected(t, people(4))
		r.tooLarge, r.sizeByAPI = 2, byAPI
		r.load(0, 1)
		entry, err := r.ledger().Decided(t.Context(), ledger.ByCall, ledger.Key{Batch: 1})
		if err != nil || !entry.Split || entry.Letters != want {
			t.Errorf("by the API %t: the entry of the whole call is %+v, %v, want the letters %s", byAPI, entry, err, want)
		}
	}
}

func (r *rig) callSizes() (sizes []int) {
	for _, call := range r.truth() {
		sizes = append(sizes, call.Records)
	}
	return sizes
}

// One record cannot be halved. It fails if the API refuses its size; a front end may refuse it after it was written.
func TestARecordThatIsTooLargeByItself(t *testing.T) {
	for _, tc := range []struct {
		byAPI bool
		want  ledger.Counts
		known string
		words string
	}{
		{true, ledger.Counts{Created: 3, Failed: 1, Calls: 5}, "cfcc", "too large"},
		{false, ledger.Counts{Created: 3, Unknown: 1, Calls: 5}, "cucc", ""},
	} {
		r := inspected(t, "email,aboutMe\na1@example.com,\na2@example.com,"+strings.Repeat("x", 5000)+"\na3@example.com,\na4@example.com,\n")
		r.tooManyBytes, r.sizeByAPI = 4000, tc.byAPI
		// 4 → 2 and 2, of which the first → 1 and 1.
		if got := r.load(0, 1); got.Counts != tc.want || got.Errors["too large"] != 1 {
			t.Errorf("by the API %t: %+v, want %+v, one of them too large", tc.byAPI, got, tc.want)
		}
		if known := r.known(0); known != tc.known {
			t.Errorf("by the API %t: the ledger knows %q, want %s", tc.byAPI, known, tc.known)
		}
		if words := r.records(0)[0][1].Error; !strings.Contains(words, tc.words) {
			t.Errorf("by the API %t: the record failed for %q, want its size", tc.byAPI, words)
		}
	}
}

func TestABatchIsCalledForOnce(t *testing.T) {
	for _, fault := range []string{"", "http502-after=100", "api500=100"} {
		r := inspected(t, people(4), faults(fault))
		first := r.load(0, 1)
		r.restart() // another process
		for range 3 {
			if again := r.load(0, 1); again.Counts != first.Counts || again.Reason != first.Reason {
				t.Errorf("fault %q: loaded again: %+v, want %+v", fault, again, first)
			}
		}
		if n := len(r.truth()); n != 1 {
			t.Errorf("fault %q: the target saw %d calls, want 1", fault, n)
		}
	}
}

func TestConcurrentWorkersOnABatchMakeOneCall(t *testing.T) {
	r := inspected(t, people(4), withSpec(func(s *migration.Spec) { s.Workers = 10 }))
	hold, called := make(chan struct{}), make(chan struct{})
	r.before = func(int) { close(called); <-hold }
	first := make(chan BatchesResult, 1)
	go func() {
		result, err := run[BatchesResult](r, worker.Options{}, nil, r.acts.LoadBatches, r.batch(0, 1))
		if err != nil {
			t.Error(err)
		}
		first <- result
	}()
	<-called
	// The call is in flight. A second attempt must not call: the batch is unknown.
	second := r.load(0, 1)
	if want := (ledger.Counts{Unknown: 4, Calls: 1}); second.Counts != want {
		t.Errorf("the second worker: %+v, want %+v", second, want)
	}
	close(hold)
	if late := <-first; late.Counts != second.Counts {
		t.Errorf("the first worker: %+v, want what was decided before its answer came: %+v", late, second)
	}
	if known := r.known(0); known != "uuuu" || len(r.truth()) != 1 || r.sent() != 1 {
		t.Errorf("the ledger knows %q after %d calls, want uuuu after 1", known, r.sent())
	}
}

func TestAClaimWithoutAnOutcomeIsUnknown(t *testing.T) {
	r := inspected(t, four)
	r.claim(ledger.Key{Round: 0, Batch: 1})
	got := r.load(0, 1)
	if want := (ledger.Counts{Unknown: 4, Calls: 1}); got.Counts != want || !strings.Contains(got.Reason, "died") {
		t.Errorf("%+v, want %+v", got, want)
	}
	if n := len(r.truth()); n != 0 || r.sent() != 0 {
		t.Errorf("%d calls were made, want none", n)
	}
}

func TestARunThatIsOverSendsNothing(t *testing.T) {
	r := inspected(t, people(4))
	noError(t, r.run.Folder.Seal(r.run.ID))
	got := r.load(0, 1)
	if want := (ledger.Counts{Unknown: 4}); got.Counts != want {
		t.Errorf("%+v, want %+v: nothing was sent", got, want)
	}
	if n := len(r.truth()); n != 0 || r.sent() != 0 {
		t.Errorf("%d calls were made, want none", n)
	}
	// The next run is not over.
	r = inspected(t, people(4))
	noError(t, r.run.Folder.Seal("run-0"))
	if got := r.load(0, 1); got.Created != 4 {
		t.Errorf("after another run was sealed: %+v, want 4 created", got)
	}
}

// A worker that is suspended while it waits for its start slot, after its claim, may
// resume when the run is over.
func TestARunThatEndsWhileACallWaitsSendsNothing(t *testing.T) {
	r := inspected(t, people(4), withSpec(func(s *migration.Spec) { s.RateLimit = 10 }))
	r.before = func(int) {
		if _, err := r.ledger().ClaimOf(t.Context(), ledger.Key{Batch: 1}); err != nil {
			t.Errorf("it is not claimed yet: %v", err)
		}
		if err := r.run.Folder.Seal(r.run.ID); err != nil {
			t.Error(err)
		}
	}
	got := r.load(0, 1)
	if want := (ledger.Counts{Unknown: 4}); got.Counts != want || got.Reason != "the run was over" {
		t.Errorf("%+v, want %+v: nothing was sent", got, want)
	}
	if n := len(r.truth()); n != 0 {
		t.Errorf("%d calls were made, want none", n)
	}
}

func TestABatchOfBadRecordsMakesNoCall(t *testing.T) {
	r := inspected(t, "email,birthday\na@example.com,never\nb@example.com\n\"c\"x@example.com,\n")
	got := r.load(0, 1)
	if want := (ledger.Counts{Failed: 3}); got.Counts != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if r.sent() != 0 || r.isClaimed(ledger.Key{Batch: 1}) {
		t.Errorf("%d calls were made, claimed: %v; want neither", r.sent(), r.isClaimed(ledger.Key{Batch: 1}))
	}
	for i, record := range r.records(0)[0] {
		if record.Error == "" {
			t.Errorf("record %d failed without a reason", i)
		}
	}
}

func TestARecordWithoutAnyValueFailsAlone(t *testing.T) {
	r := newRig(t, "email,givenName\na@example.com,A\n,\n\" \",\"\"\nb@example.com,B\n,\n,\n,\n,\n")
	r.inspect()
	if sum := r.loadAll(0); sum.Created != 2 || sum.Failed != 6 {
		t.Errorf("the outcomes are %+v, want 2 created and 6 failed", sum)
	}
	calls := r.truth()
	if len(calls) != 1 || calls[0].Records != 2 {
		t.Errorf("the target was called %+v, want one call with the 2 records that have a value", calls)
	}
}

func TestARecordOverTheLimitFailsAlone(t *testing.T) {
	huge := strings.Repeat("x", 5_100_000)
	r := inspected(t, "email,aboutMe\na@example.com,small\nb@example.com,"+huge+"\nc@example.com,small\n")
	sum := r.loadAll(0)
	if sum.Created != 2 || sum.Failed != 1 {
		t.Errorf("%+v, want 2 created, 1 failed", sum)
	}
	if known := strings.ReplaceAll(r.known(0), " ", ""); known != "cfc" {
		t.Errorf("the ledger knows %q, want cfc", known)
	}
}

// waiting puts every start slot far into the future.
var waiting = withSpec(func(s *migration.Spec) { s.RateLimit = 0.001 })

func TestAWorkerThatStopsSendsNothingMore(t *testing.T) {
	cases := map[string]func(r *rig) (stop chan struct{}, end func()){
		"drained before": func(r *rig) (chan struct{}, func()) { r.acts.Drain(); r.acts.Drain(); return nil, func() {} },
		"drained while it waits for a slot": func(r *rig) (chan struct{}, func()) {
			return nil, r.acts.Drain
		},
		"stopped before": func(*rig) (chan struct{}, func()) {
			stop := make(chan struct{})
			close(stop)
			return stop, func() {}
		},
		"stopped while it waits for a slot": func(*rig) (chan struct{}, func()) {
			stop := make(chan struct{})
			return stop, func() { close(stop) }
		},
	}
	for name, prepare := range cases {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(name, "waits") {
				onDisk(t) // where a waiting caller can be seen from outside
			}
			r := inspected(t, people(8), waiting)
			r.load(0, 1) // has the one start slot
			stop, end := prepare(r)
			failed := make(chan error, 1)
			go func() {
				_, err := run[BatchesResult](r, worker.Options{}, stop, r.acts.LoadBatches, r.batch(0, 2))
				failed <- err
			}()
			if strings.Contains(name, "waits") {
				eventually(t, "the batch waits", func() bool { return r.gate().State().Slots > 0 })
			}
			end()
			select {
			case err := <-failed:
				expectType(t, err, Unbegun, false)
			case <-time.After(patience):
				t.Fatal("the activity waits on")
			}
			if r.isClaimed(ledger.Key{Batch: 2}) || r.sent() != 1 || r.known(0) != "cccc ----" {
				t.Errorf("claimed: %v, %d calls, known %q; want the second batch untouched", r.isClaimed(ledger.Key{Batch: 2}), r.sent(), r.known(0))
			}
		})
	}
}

func TestACallInFlightEndsAlthoughTheWorkerStops(t *testing.T) {
	r := inspected(t, people(4))
	ctx, cancel := context.WithCancel(t.Context())
	stop := make(chan struct{})
	r.before = func(int) { // the worst moment
		r.acts.Drain()
		close(stop)
		cancel()
	}
	_, err := run[BatchesResult](r, worker.Options{BackgroundActivityContext: ctx}, stop, r.acts.LoadBatches, r.batch(0, 1))
	if err != nil {
		t.Logf("the cancelled activity ended with %v", err)
	}
	if known := r.known(0); known != "cccc" {
		t.Errorf("the ledger knows %q, want what the answer said: cccc", known)
	}
}

func TestACancelledBatchIsNotSent(t *testing.T) {
	onDisk(t) // where a waiting caller can be seen from outside
	r := inspected(t, people(8), waiting)
	r.load(0, 1)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := run[BatchesResult](r, worker.Options{BackgroundActivityContext: ctx}, nil, r.acts.LoadBatches, r.batch(0, 2))
		failed <- err
	}()
	eventually(t, "the batch waits", func() bool { return r.gate().State().Slots > 0 })
	cancel()
	select {
	case err := <-failed:
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), "cancel") {
			t.Errorf("the error is %v, want that it was cancelled", err)
		}
	case <-time.After(patience):
		t.Fatal("the activity waits on")
	}
	if r.isClaimed(ledger.Key{Batch: 2}) {
		t.Error("the batch is claimed")
	}
}

func TestAChangedInputIsNotSent(t *testing.T) {
	original := people(8)
	changes := map[string]func(r *rig){
		"a byte changed":     func(r *rig) { r.writeInput(strings.Replace(original, "a6@", "b6@", 1)) },
		"truncated":          func(r *rig) { r.writeInput(original[:len(original)-1]) },
		"a record was added": func(r *rig) { r.writeInput(original + "a9@example.com,Name 9\n") },
		"two records swapped": func(r *rig) {
			r.writeInput(strings.NewReplacer("a5@", "a6@", "a6@", "a5@").Replace(original))
		},
		"emptied": func(r *rig) { r.writeInput("") },
		"removed": func(r *rig) {
			noError(r.t, store.Remove(r.spec.DataFile))
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			r := inspected(t, original)
			r.load(0, 1)
			change(r)
			_, err := run[BatchesResult](r, worker.Options{}, nil, r.acts.LoadBatches, r.batch(0, 2))
			expectType(t, err, InputChanged, false, "users.csv", "put")
			if r.isClaimed(ledger.Key{Batch: 2}) || r.sent() != 1 {
				t.Errorf("claimed: %v, %d calls; want the second batch untouched", r.isClaimed(ledger.Key{Batch: 2}), r.sent())
			}
			// Put back as it was, it resumes.
			r.writeInput(original)
			if got := r.load(0, 2); got.Created != 4 {
				t.Errorf("put back: %+v, want 4 created", got)
			}
		})
	}
}

func TestSettleDecidesWhatWasLeftOpen(t *testing.T) {
	r := inspected(t, people(16))
	decided := r.load(0, 1)
	r.claim(ledger.Key{Batch: 2})
	r.claim(ledger.Key{Batch: 4})
	r.decide(ledger.Key{Batch: 4}, ledger.Outcomes{Split: true, Sent: true})
	r.claim(ledger.Key{Batch: 4, Part: "1"})
	cases := []struct {
		batch int
		want  BatchResult
		known string
	}{
		{1, decided.BatchResult, "cccc"},
		{2, BatchResult{Counts: ledger.Counts{Unknown: 4, Calls: 1}, Reason: "the worker died, or was cut off", Errors: map[string]int{"the worker died, or was cut off": 4}}, "uuuu"},
		{3, BatchResult{Unsent: true}, "----"},
		{4, BatchResult{Unsent: true}, "--uu"},
	}
	for _, tc := range cases {
		for range 2 {
			if got := r.settle(0, tc.batch).BatchResult; !reflect.DeepEqual(got, tc.want) {
				t.Errorf("batch %d: %+v, want %+v", tc.batch, got, tc.want)
			}
			if known := strings.Fields(r.known(0))[tc.batch-1]; known != tc.known {
				t.Errorf("batch %d: the ledger knows %q, want %q", tc.batch, known, tc.known)
			}
		}
	}
	if r.sent() != 1 {
		t.Errorf("%d calls, want the one of the load", r.sent())
	}
	// What was not sent can be loaded still; the other half is decided.
	if got, want := r.load(0, 4).Counts, (ledger.Counts{Created: 2, Unknown: 2, Calls: 3}); got != want {
		t.Errorf("batch 4, loaded: %+v, want %+v", got, want)
	}
	if got := r.load(0, 3).Counts; got.Created != 4 {
		t.Errorf("batch 3, loaded: %+v, want 4 created", got)
	}
	if known := r.known(0); known != "cccc uuuu cccc ccuu" {
		t.Errorf("the ledger knows %q", known)
	}
}

func TestADamagedFolderIsAStorageError(t *testing.T) {
	r := inspected(t, people(4))
	noError(t, store.Write(r.spec.Folder.Staged(), []byte("short")))
	r.load(0, 1) // reads the input itself
	noError(t, store.MkdirAll(store.Join(r.run.Folder.Ledger(), "0", "00000")))
	noError(t, store.Write(store.Join(r.run.Folder.Ledger(), "0", "00000", "00000001.outcomes"), []byte("{")))
	_, err := run[BatchesResult](r, worker.Options{}, nil, r.acts.SettleBatches, r.batch(0, 1))
	expectType(t, err, Storage, true, "damaged")
}

// A bucket that does not answer delays its own runs, and no others.
func TestARunDoesNotWaitForTheBucketOfAnother(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "invented")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "invented")
	r := inspected(t, people(4))
	asked, goOn := make(chan struct{}, 8), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-goOn
		w.WriteHeader(http.StatusForbidden)
	}))
	defer slow.Close()
	ended := make(chan error)
	go func() {
		_, err := r.acts.open(Run{Folder: migration.RunFolder("s3://bucket/slow?region=us-east-1&endpoint=" + slow.URL), ID: "run-1"})
		ended <- err
	}()
	<-asked
	opened := make(chan error)
	go func() {
		_, err := r.acts.open(r.run)
		opened <- err
	}()
	select {
	case err := <-opened:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the run waits for that in the bucket")
		defer func() { <-opened }()
	}
	close(goOn)
	if err := <-ended; err == nil {
		t.Error("a run was opened that cannot be read")
	}
}

func TestAWorkerServesManyRunsAtOnce(t *testing.T) {
	first := inspected(t, people(4))
	o, err := first.acts.migration(first.run)
	noError(t, err)
	others := func(name string, then func()) {
		for i := range 20 {
			other := first.run
			other.ID = name + string(rune('a'+i))
			if _, err := first.acts.open(other); err != nil {
				t.Fatal(err)
			}
			then()
		}
	}
	// Other migrations come, while an activity of the first one is at work.
	others("other-", func() {})
	second, err := first.acts.migration(first.run)
	if noError(t, err); second == o {
		t.Error("the first run is open still; want it dropped, as the one that was not used for the longest time")
	}
	others("more-", func() {
		if again, err := first.acts.migration(first.run); err != nil || again != second {
			t.Fatalf("a run that is in use was dropped, with what its process knows of it: %v", err)
		}
	})
	if len(first.acts.runs) > 10 {
		t.Errorf("%d runs are kept open, want few", len(first.acts.runs))
	}
	if _, _, err := o.batchRecords(1); err != nil {
		t.Errorf("the files of a run that is at work were closed: %v", err)
	}
}

func TestNothingIsSentWithoutTheLedger(t *testing.T) {
	onDisk(t)
	r := inspected(t, people(6), batchSize(2))
	must[BatchesResult](r, r.acts.LoadBatches, r.batch(0, 1))
	sent := len(r.truth())
	noError(t, os.RemoveAll(r.run.Folder.Ledger()))
	for _, where := range []string{"in the process that has it open", "in another one"} {
		if _, err := run[BatchesResult](r, worker.Options{}, nil, r.acts.LoadBatches, r.batch(0, 2)); err == nil || !strings.Contains(err.Error(), "is gone") {
			t.Errorf("%s: %v; want an error that says so", where, err)
		}
		r.restart()
	}
	if _, err := run[Inspected](r, worker.Options{}, nil, r.acts.InspectSource, InspectInput{Spec: r.spec, Run: r.run, Now: now}); err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("a later run: %v; want an error that says so", err)
	}
	if got := len(r.truth()); got != sent {
		t.Errorf("%d calls were made after the ledger was removed, want none", got-sent)
	}
	if _, err := os.Stat(r.run.Folder.Ledger()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the ledger: %v; want it not made again", err)
	}
}

// A target may leave records of a call for another one: a duplicate rolled them back, or they cannot travel with the others.
func TestRecordsThatWereNotWrittenAreSentInPartsOfTheCall(t *testing.T) {
	left := target.Result{Err: &target.Error{Class: target.Unwritten, Reason: "rolled back"}}
	duplicate := target.Result{Err: &target.Error{Class: target.Duplicate, Reason: "code 409", Words: "it exists"}}
	r := inspected(t, people(4))
	r.instead = func(send int) *target.Answer {
		if send > 1 {
			return nil
		}
		return &target.Answer{Results: []target.Result{left, duplicate, left, left}, Sent: time.Now(), Received: time.Now()}
	}
	if got, want := r.load(0, 1).Counts, (ledger.Counts{Created: 3, Duplicate: 1, Calls: 3}); got != want || r.known(0) != "cucc" {
		t.Errorf("%+v, known %q; want %+v, cucc", got, r.known(0), want)
	}
	if again := r.load(0, 1); again.Created != 3 || r.sent() != 3 {
		t.Errorf("again: %+v, %d calls; want nothing more", again, r.sent())
	}
	alone := inspected(t, people(1))
	alone.instead = func(int) *target.Answer {
		return &target.Answer{Results: []target.Result{left}, Sent: time.Now(), Received: time.Now()}
	}
	if got := alone.load(0, 1); got.Unknown != 1 || alone.sent() != 1 || got.Reason != "rolled back" {
		t.Errorf("a record that no call writes: %+v after %d calls; want it unknown after one", got, alone.sent())
	}
}

// A call that is refused as a whole is cut without --isolate where one bad record refuses it, to the end.
func TestATargetThatRefusesTogetherIsAskedForEachRecord(t *testing.T) {
	for _, together := range []bool{false, true} {
		r := inspected(t, people(4))
		r.refusesTogether = together
		bad := 0 // calls
		r.instead = func(int) *target.Answer {
			if bad++; bad > 2 {
				return nil
			}
			return &target.Answer{Err: refusal(400, "one of them is wrong"), NothingWritten: true, Sent: time.Now(), Received: time.Now()}
		}
		want := ledger.Counts{Failed: 4, Calls: 1}
		if together {
			want = ledger.Counts{Created: 4, Calls: 5}
		}
		if got := r.load(0, 1).Counts; got != want {
			t.Errorf("together %t: %+v, want %+v", together, got, want)
		}
	}
}

// loadRun loads a run of batches in a process.
func (r *rig) loadRun(a *Activities, first, last int) BatchesResult {
	r.t.Helper()
	result, err := run[BatchesResult](r, worker.Options{}, nil, a.LoadBatches, r.batches(0, first, last))
	if err != nil {
		r.t.Errorf("batches %d to %d: %v", first, last, err)
	}
	return result
}

// What is loaded in a paused migration is counted, although the rest of its run waits.
func TestARunThatWaitsGivesBackWhatItHasDone(t *testing.T) {
	t.Parallel()
	r := inspected(t, people(8), batchSize(2))
	r.load(0, 1)
	holds, err := r.limiter.Order(t.Context(), "", limiter.Order{Number: 1, Run: r.opened().limitedRun(), Pause: "paused by anna"})
	noError(t, err)
	time.Sleep(holds) // what was granted before has ended
	got := r.loadRun(r.acts, 1, 4)
	if got.Done != 1 || got.Counts != (ledger.Counts{Created: 2, Calls: 1}) || r.isClaimed(ledger.Key{Batch: 2}) {
		t.Errorf("%+v, batch 2 claimed: %t; want the batch before the pause, and no further claim", got, r.isClaimed(ledger.Key{Batch: 2}))
	}
	if got.Pace == nil || got.Pace.Closed != "paused by anna" {
		t.Errorf("the gate at its end: %+v, want it closed", got.Pace)
	}
}

func TestARunOfBatchesIsLoadedInOrder(t *testing.T) {
	r := inspected(t, people(18))
	r.before = func(send int) {
		batch := send + 1
		if _, err := r.ledger().Decided(t.Context(), ledger.ByCall, ledger.Key{Batch: batch - 1}); send > 1 && err != nil {
			t.Errorf("at the call for batch %d, the one before: %v; want it decided", batch, err)
		}
		if !r.isClaimed(ledger.Key{Batch: batch}) || r.isClaimed(ledger.Key{Batch: batch + 1}) {
			t.Errorf("at the call for batch %d it is claimed: %t, and the next one: %t; want it, and no claim ahead", batch, r.isClaimed(ledger.Key{Batch: batch}), r.isClaimed(ledger.Key{Batch: batch + 1}))
		}
	}
	got := r.loadRun(r.acts, 2, 5)
	if got.Done != 4 || got.Counts != (ledger.Counts{Created: 14, Calls: 4}) || got.Held || got.Claimed {
		t.Errorf("%+v, want 4 batches of 14 records", got)
	}
	for i, email := range []string{"a5@example.com", "a9@example.com", "a13@example.com", "a17@example.com"} {
		if call := r.truth()[i]; call.Written[0].Email != email {
			t.Errorf("call %d began with %s, want %s", i+1, call.Written[0].Email, email)
		}
	}
	if known := r.known(0); known != "---- cccc cccc cccc cc" {
		t.Errorf("the ledger knows %q, want batch 1 untouched", known)
	}
	if again := r.loadRun(r.acts, 2, 5); again.Done != 4 || again.Counts != got.Counts || r.sent() != 4 {
		t.Errorf("again: %+v with %d calls, want %+v without any", again, r.sent()-4, got)
	}
}

// What was begun ends, and what was done is given back.
func TestARunThatIsStoppedInTheMiddleGivesBackWhatItHasDone(t *testing.T) {
	for name, end := range map[string]func(r *rig, stop chan struct{}, cancel func()){
		"drained":   func(r *rig, _ chan struct{}, _ func()) { r.acts.Drain() },
		"stopped":   func(_ *rig, stop chan struct{}, _ func()) { close(stop) },
		"cancelled": func(_ *rig, _ chan struct{}, cancel func()) { cancel() },
		"held": func(r *rig, _ chan struct{}, _ func()) {
			noError(r.t, r.spec.Folder.Hold("a load"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := inspected(t, people(16))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stop := make(chan struct{})
			r.before = func(send int) {
				if send == 2 {
					end(r, stop, cancel)
				}
			}
			in := r.batches(0, 1, 4)
			in.Limit = &FailLimit{Load: "a load", Left: 100}
			got, err := run[BatchesResult](r, worker.Options{BackgroundActivityContext: ctx}, stop, r.acts.LoadBatches, in)
			if err != nil || got.Done != 2 || got.Created != 8 || got.Claimed || got.Held != (name == "held") {
				t.Errorf("%+v, %v; want the first two batches", got, err)
			}
			if known := r.known(0); known != "cccc cccc ---- ----" || r.isClaimed(ledger.Key{Batch: 3}) || r.sent() != 2 {
				t.Errorf("the ledger knows %q after %d calls, want two batches, and the third not claimed", known, r.sent())
			}
		})
	}
}

func TestARunEndsAtTheClaimOfAnotherAttempt(t *testing.T) {
	r := inspected(t, people(20))
	r.claim(ledger.Key{Batch: 3})
	if got := r.loadRun(r.acts, 1, 5); got.Done != 2 || !got.Claimed || got.Created != 8 {
		t.Errorf("%+v, want it to end after two batches", got)
	}
	if known := r.known(0); known != "cccc cccc ---- ---- ----" || r.sent() != 2 {
		t.Errorf("the ledger knows %q after %d calls, want nothing of the claimed batch or later", known, r.sent())
	}
	if got := must[BatchesResult](r, r.acts.SettleBatches, r.batches(0, 3, 5)); got.Done != 1 || got.Counts != (ledger.Counts{Unknown: 4, Calls: 1}) {
		t.Errorf("settled: %+v, want the claimed batch unknown, and the others left", got)
	}
	if got := r.loadRun(r.acts, 4, 5); got.Done != 2 || got.Created != 8 {
		t.Errorf("the rest: %+v, want it loaded", got)
	}
}

// A batch of which a half is claimed by another attempt is not loaded further.
func TestARunEndsAtTheClaimOfAHalf(t *testing.T) {
	r := inspected(t, people(8))
	r.claim(ledger.Key{Batch: 1})
	r.decide(ledger.Key{Batch: 1}, ledger.Outcomes{Split: true, Sent: true})
	r.claim(ledger.Key{Batch: 1, Part: "0"})
	if got := r.loadRun(r.acts, 1, 2); got.Done != 0 || !got.Claimed || r.sent() != 0 {
		t.Errorf("%+v after %d calls, want none", got, r.sent())
	}
	if got := must[BatchesResult](r, r.acts.SettleBatches, r.batches(0, 1, 2)); got.Done != 0 {
		t.Errorf("settled: %+v, want the other half left", got)
	}
	if got := r.loadRun(r.acts, 1, 2); got.Done != 2 || got.Unknown != 2 || got.Created != 6 {
		t.Errorf("%+v, want all but the claimed half created", got)
	}
}

func TestASecondAttemptAtARunDecidesNothing(t *testing.T) {
	r := inspected(t, people(16), withSpec(func(s *migration.Spec) { s.Workers = 10 }))
	hold, called := make(chan struct{}), make(chan struct{})
	r.before = func(send int) {
		if send == 2 {
			close(called)
			<-hold
		}
	}
	first := make(chan BatchesResult, 1)
	go func() { first <- r.loadRun(r.acts, 1, 4) }()
	<-called
	if second := r.loadRun(r.acts, 1, 4); second.Done != 1 || !second.Claimed {
		t.Errorf("the second attempt: %+v, want it to end at the batch that the first one calls for", second)
	}
	close(hold)
	if got := <-first; got.Done != 4 || got.Counts != (ledger.Counts{Created: 16, Calls: 4}) || r.sent() != 4 {
		t.Errorf("the first attempt: %+v with %d calls, want all of it", got, r.sent())
	}
}

// A worker is suspended in its run, which is settled, and another one has the rest when it wakes: before that one has begun,
// while it calls, or when it has ended.
func TestAZombieInARunLeavesOnlyItsBatchUnknown(t *testing.T) {
	for _, wakes := range []string{"before", "while", "after"} {
		t.Run(wakes, func(t *testing.T) {
			r := inspected(t, people(24), withSpec(func(s *migration.Spec) { s.Workers = 10 }))
			suspended, awake := make(chan struct{}), make(chan struct{})
			var zombie chan BatchesResult
			wake := sync.OnceFunc(func() { close(awake); zombie <- <-zombie })
			r.before = func(send int) {
				switch {
				case send == 2:
					close(suspended)
					<-awake
				case send == 4 && wakes == "while":
					wake()
				}
			}
			dead := r.acts
			zombie = make(chan BatchesResult, 1)
			go func() { zombie <- r.loadRun(dead, 1, 6) }()
			<-suspended
			r.restart()
			if got := must[BatchesResult](r, r.acts.SettleBatches, r.batches(0, 1, 6)); got.Done != 2 || got.Created != 4 || got.Unknown != 4 {
				t.Errorf("settled: %+v, want one batch created and one unknown", got)
			}
			if wakes == "before" {
				wake()
			}
			for next := 3; next <= 6; {
				got := r.loadRun(r.acts, next, 6)
				if got.Done == 0 || got.Created != 4*got.Done || got.Claimed {
					t.Fatalf("from batch %d on: %+v, want it created", next, got)
				}
				next += got.Done
			}
			wake()
			if got := <-zombie; got.Done != 2 || got.Unknown != 4 {
				t.Errorf("the zombie: %+v, want it to end with its late answer", got)
			}
			if known := r.known(0); known != "cccc uuuu cccc cccc cccc cccc" || r.sent() != 6 {
				t.Errorf("the ledger knows %q after %d calls, want one batch unknown after 6", known, r.sent())
			}
		})
	}
}

// A worker that is suspended between two batches sees that another one works on its run.
func TestAnAttemptEndsWhereAnotherHasTakenItsRunOver(t *testing.T) {
	r := inspected(t, people(16))
	r.before = func(send int) {
		if send == 1 {
			r.before = nil
			r.loadRun(r.acts, 2, 2)
		}
	}
	if got := r.loadRun(r.acts, 1, 4); got.Done != 2 || got.Created != 8 || r.sent() != 2 {
		t.Errorf("%+v after %d calls, want it to end at the batch that another has loaded", got, r.sent())
	}
}

func TestTheHeartbeatOfARunSaysHowFarItIs(t *testing.T) {
	r := inspected(t, people(16))
	told := make(chan heartbeatDetails, 1)
	r.before = func(send int) {
		if send == 3 {
			if d := <-told; d != (heartbeatDetails{Done: 2, Batches: 4}) {
				t.Errorf("the heartbeat tells %+v, want 2 of 4 batches", d)
			}
		}
	}
	env := newEnvironment()
	onHeartbeat(env, func(d heartbeatDetails) {
		select {
		case told <- d:
		default:
		}
	})
	env.RegisterActivity(r.acts.LoadBatches)
	if _, err := env.ExecuteActivity(r.acts.LoadBatches, r.batches(0, 1, 4)); err != nil {
		t.Error(err)
	}
}
