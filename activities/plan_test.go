package activities

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/worker"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

// awkward is an input whose bytes are easily lost.
var awkward = []string{
	"\uFEFF",
	"email,note\r\n",
	"a1@example.com,\"two\r\nlines\"\r\n",
	"\r\n",
	"a2@example.com,\"a \"\"quote\"\"\"\n",
	"\"a3@example.com\",  space \r\n",
	"a4@example.com,too,many\n",
	"a5@example.com,\n",
	"a6@example.com,no line end",
}

func TestTheRetryFileHoldsTheBytesOfWhatIsUnknown(t *testing.T) {
	r := inspected(t, strings.Join(awkward, ""), batchSize(2))
	r.lose = func(send int) bool { return send != 2 } // batches 1 and 3 of three
	r.loadAll(0)
	if known := r.known(0); known != "uu cf uu" {
		t.Fatalf("the ledger knows %q, want uu cf uu", known)
	}
	want := awkward[1] + awkward[2] + awkward[4] + awkward[7] + awkward[8]
	first := r.retryFile(1)
	if first != (migration.RetryFile{Round: 1, Name: "retry_Nov_22_2026_13_06_00.csv", Batches: 2, Records: 4, List: first.List}) {
		t.Errorf("%+v, want round 1, 2 batches, 4 records", first)
	}
	if got := r.output(first.Name); got != want {
		t.Errorf("%s:\n%q\nwant\n%q", first.Name, got, want)
	}

	// Again, in another process, later: the same file under the same name.
	r.restart()
	again := must[migration.RetryFile](r, r.acts.WriteRetryFile, RetryFileInput{Run: r.run, Round: 1, Now: now.AddDate(1, 0, 0)})
	if again != first || r.output(first.Name) != want || len(r.outputs()) != 1 {
		t.Errorf("again: %+v, %d files; want %+v and one", again, len(r.outputs()), first)
	}

	// The second round has only what is unknown still.
	r.sends = 0
	r.lose = func(send int) bool { return send == 2 }
	r.findOutcome = nil
	r.loadAll(1)
	r.resolve(1, true)
	if known := r.known(1); known != "rr cf uu" {
		t.Fatalf("the ledger knows %q, want rr cf uu", known)
	}
	second := r.retryFile(2)
	if want := awkward[1] + awkward[7] + awkward[8]; second.Batches != 1 || second.Records != 2 || r.output(second.Name) != want {
		t.Errorf("%+v: %q, want 1 batch, 2 records: %q", second, r.output(second.Name), want)
	}

	// It is an input like any other.
	manual := inspected(t, r.output(second.Name))
	if got := manual.load(0, 1); got.Created != 2 {
		t.Errorf("loaded as an input: %+v, want 2 created", got)
	}
}

func TestWithoutUnknownRecordsThereIsNoRetryFile(t *testing.T) {
	r := inspected(t, people(4))
	r.loadAll(0)
	if got := r.retryFile(1); got != (migration.RetryFile{Round: 1}) {
		t.Errorf("%+v, want none", got)
	}
	if files := r.outputs(); len(files) != 0 {
		t.Errorf("%d files were written, want none", len(files))
	}
	if _, err := r.spec.Folder.RetryFile(1); err == nil {
		t.Error("the folder has a round 1")
	}
}

// A worker that was suspended while it listed the batches of a round may have listed too
// many: duplicates were resolved meanwhile.
func TestALateListOfARoundDoesNotHold(t *testing.T) {
	r := inspected(t, people(8))
	r.lose = func(int) bool { return true }
	r.load(0, 2)
	o := r.opened()
	late := migration.RetryFile{Round: 1, Batches: 2, Records: 8, List: "round-1-late.list"}
	list, err := store.NewWriter(r.spec.Folder.RoundList(late))
	noError(t, errors.Join(err, addToRoundList(list, 1), addToRoundList(list, 2)))
	held := r.retryFile(1)
	if late, err = o.beginRound(t.Context(), late, list, now); late != held || err != nil {
		t.Errorf("%+v (%v), want %+v, which was there before", late, err, held)
	}
	r.restart()
	if o, err = r.acts.migration(r.run); err != nil {
		t.Fatal(err)
	}
	if batch, err := o.roundBatch(1, 1); batch != 2 || err != nil {
		t.Errorf("the first batch of the round is %d (%v), want 2", batch, err)
	}
}

func TestTwoWorkersWriteOneRetryFile(t *testing.T) {
	r := inspected(t, people(8))
	r.lose = func(int) bool { return true }
	r.loadAll(0)
	type made struct {
		file migration.RetryFile
		err  error
	}
	results := make(chan made, 4)
	for range cap(results) {
		go func() {
			// Of two concurrent writers the older one fails, and is retried.
			var last made
			for range 20 {
				last.file, last.err = run[migration.RetryFile](r, worker.Options{}, nil, r.acts.WriteRetryFile, RetryFileInput{Run: r.run, Round: 1, Now: now})
				if last.err == nil {
					break
				}
			}
			results <- last
		}()
	}
	held := <-results
	for range cap(results) - 1 {
		if other := <-results; other.file != held.file || other.err != nil || held.err != nil {
			t.Errorf("%+v (%v), another worker has %+v (%v); want the same", other.file, other.err, held.file, held.err)
		}
	}
	if files := r.outputs(); len(files) != 1 || files[held.file.Name] != people(8) {
		t.Errorf("files %q, want the whole input in %s", files, held.file.Name)
	}
}

func TestARetryRoundSendsWhatIsUnknownOnly(t *testing.T) {
	// A claim of another worker, and a half that was sent: the rest is known.
	r := inspected(t, people(4))
	r.tooLarge = 2
	r.lose = func(send int) bool { return send == 3 } // after the refusal, the second half
	if got := r.load(0, 1).Counts; got != (ledger.Counts{Created: 2, Unknown: 2, Calls: 3}) {
		t.Fatalf("%+v, want 2 created, 2 unknown", got)
	}
	r.retryFile(1)
	r.lose = nil
	r.load(1, 1)
	calls := r.truth()
	expect(t, "keys of the retry round", calls[len(calls)-1].Keys, []string{"a3@example.com", "a4@example.com"})
	if len(calls) != 3 {
		t.Errorf("the target saw %d calls, want 3", len(calls))
	}
}

func TestAForecastIsByTheCallsThatWereMade(t *testing.T) {
	for name, tc := range map[string]struct {
		limits migration.Limits
		want   time.Duration // for the 7 batches that are left, 3 s each
	}{
		"the rate limits":        {migration.Limits{RateLimit: 0.5, Workers: 10}, 14 * time.Second},
		"the time of calls does": {migration.Limits{RateLimit: 100, Workers: 2}, 10500 * time.Millisecond},
		"without any rate limit": {migration.Limits{Workers: 1}, 21 * time.Second},
		"the timetable limits":   {migration.Limits{RateLimit: 4, RatePlan: "else 0.5/s", Workers: 10}, 14 * time.Second},
	} {
		r := inspected(t, people(40)) // 10 batches
		for i, took := range []time.Duration{9 * time.Second, time.Second, 3 * time.Second} {
			outcomes := ledger.NewOutcomes(4)
			for n := range 4 {
				outcomes.Created(n, "uuid")
			}
			settled := outcomes.Outcomes(true, "")
			settled.At, settled.Took = now, took
			r.decide(ledger.Key{Batch: i + 1}, settled)
		}
		got := must[Forecast](r, r.acts.Forecast, ForecastInput{Run: r.run, Loaded: 3, Limits: tc.limits})
		if want := (Forecast{Calls: 3, Median: 3 * time.Second, Longest: 9 * time.Second, Left: 7, Takes: tc.want}); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

func TestThereIsNoForecastWithoutAnAnswer(t *testing.T) {
	r := inspected(t, people(40))
	r.claim(ledger.Key{Batch: 1})
	if got := must[Forecast](r, r.acts.Forecast, ForecastInput{Run: r.run, Loaded: 1}); got != (Forecast{Left: 9}) {
		t.Errorf("%+v, want 9 batches left, and nothing known of calls", got)
	}
	if _, err := r.ledger().Decided(t.Context(), ledger.ByCall, ledger.Key{Batch: 1}); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("the forecast has decided the batch whose worker died: %v", err)
	}
}
