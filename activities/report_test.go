package activities

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
)

func (r *rig) report() string {
	r.t.Helper()
	return r.output("report_" + done + ".html")
}

func (r *rig) expectInReport(words ...string) {
	r.t.Helper()
	page := r.report()
	for _, want := range words {
		if !strings.Contains(page, want) {
			r.t.Errorf("the report lacks %q:\n%s", want, page)
		}
	}
}

func TestAnEntryTellsWhenTheAnswerWasThere(t *testing.T) {
	r := inspected(t, people(4), batchSize(2))
	r.lose = func(send int) bool { return send == 2 }
	for batch := 1; batch <= 2; batch++ {
		before := time.Now().Truncate(time.Millisecond)
		r.load(0, batch)
		entry, err := r.ledger().Decided(t.Context(), ledger.ByCall, ledger.Key{Batch: batch})
		noError(t, err)
		if entry.At.Before(before) || entry.At.After(time.Now()) || entry.Took <= 0 || entry.Took > time.Since(before) {
			t.Errorf("batch %d was answered at %v after %v, want between %v and now", batch, entry.At, entry.Took, before)
		}
	}
}

func TestTheReportOfAMigration(t *testing.T) {
	r := inspected(t, people(8), batchSize(2), withSpec(func(s *migration.Spec) { s.RateLimit, s.Isolate = 1000, true }))
	r.lose = func(send int) bool { return send == 2 }
	// The target quotes the record, in more than one way.
	r.answered = func(a *identitycloud.Answer) {
		for i := range a.Records {
			if n := r.sent()*2 - 1 + i; n >= 5 && n <= 6 {
				a.Records[i] = identitycloud.RecordAnswer{Err: &identitycloud.APIError{Code: 340, Description: fmt.Sprintf("Name %d <A%d@Example.com>, 'Name', is not valid: \"Name %d\"", n, n, n)}}
			}
		}
	}
	r.loadAll(0)
	for _, e := range []migration.Event{
		{At: now.Add(time.Minute), Kind: migration.EventChanged, Who: "operator", Name: "rate", Old: "1000", New: "8", Reason: "noon"},
		{At: now.Add(time.Hour - time.Millisecond), Kind: migration.EventDecision, Text: "the last moment"},
		{At: now.Add(time.Hour), Kind: migration.EventEnded, Text: "too late"},
	} {
		noError(t, r.run.Folder.AppendEvent(e))
	}
	r.artifacts(true)
	r.expectInReport("Half of the calls took", "reset</th><td>unknown</td>", `, is not valid: …</th><td class="n">2</td><td>6, 7</td>`,
		"<td>operator</td><td>rate</td><td>1000</td><td>8</td>", "the last moment", "<dt>--batch-size</dt><dd>2</dd>", "go1.", `<a href="summary_`+done+`.json">`)
	page := strings.ToLower(r.report())
	for n := range 9 {
		for _, value := range []string{fmt.Sprintf("a%d@", n), fmt.Sprintf("name %d", n), "example.com", "too late"} {
			if strings.Contains(page, value) {
				t.Errorf("the report holds %q:\n%s", value, page)
			}
		}
	}
	before := r.report()
	r.restart()
	if r.artifacts(true); r.report() != before {
		t.Errorf("written again:\n%s\nbefore:\n%s", r.report(), before)
	}
}

// The first time the artifacts decide that the claim of a suspended worker is unknown,
// the second time that is decided.
func TestTheReportOfACallWhoseWorkerDied(t *testing.T) {
	r := inspected(t, people(4), batchSize(2))
	r.claim(ledger.Key{Batch: 1})
	r.load(0, 2)
	r.artifacts(true)
	r.expectInReport("the worker died, or was cut off</th><td>unknown</td>", "Shown at their start and without a latency", "worker died: 1 call.", "Of 2 calls 1 was answered, 0 were refused as a whole, and 1 was of unknown outcome.")
	before := r.report()
	r.restart()
	if r.artifacts(true); r.report() != before {
		t.Errorf("written again:\n%s\nbefore:\n%s", r.report(), before)
	}
}

func TestTheReportDrawsUpdates(t *testing.T) {
	r := loadedDelta(t, people(2), []string{`{"email":"a1@example.com","givenName":"Other"}`})
	if got := r.update(1); got.Updated != 1 {
		t.Fatalf("%+v, want one update", got)
	}
	r.artifacts(false)
	r.expectInReport(">updates: updates, ")
}
