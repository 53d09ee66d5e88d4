package main_test

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/program"
)

// asks waits until a process tells that its migration waits for a decision.
func (p *process) asks() {
	p.t.Helper()
	until(p.t, "it waits for a decision", func() bool {
		return strings.Contains(p.errors(), "It waits for a decision: ") || p.hasEnded()
	})
	if p.hasEnded() {
		p.t.Fatalf("%s ended, want it to wait for a decision\n%s", p.name, p.errors())
	}
}

// checkCut is check for batches that a canary has cut.
func (m *migration) checkCut() {
	m.lab.t.Helper()
	e := m.evidence()
	e.BatchSize, e.Ledger = 0, ""
	verify(m.lab.t, e)
}

func TestACanaryWaitsForItsApprovalAlsoAfterACrash(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	input := l.users(fakeusers.Options{Records: 120, Seed: 91})
	m := l.migration(s, input, 10, "--rate-limit", "50", "--retry-backoff", "100ms", "--canary", "25")
	first := m.start()
	first.asks()
	canary, there := emails(t, input)[:25], s.emails()
	slices.Sort(canary)
	slices.Sort(there)
	if !slices.Equal(there, canary) {
		t.Errorf("the target has %d records, want the first 25:\n%q\n%q", len(there), there, canary)
	}
	hasAll(t, first.errors(), "25 of 25 records are in the target as they should be")
	calls := s.calls()
	first.kill()
	second := m.start()
	second.asks()
	refused(t, m.operate("resume", "--latest"), 1, "starter approve")
	if waiting := m.status(); s.calls() != calls || waiting.Records["remaining"] != 95 || !strings.Contains(waiting.Decision, "The canary") {
		t.Errorf("after a crash the status is %+v, and %d calls were made; want it to wait, and none", waiting, s.calls()-calls)
	}
	m.ordered("approve", "--latest", "--reason", "looks right")
	second.ends(0)
	m.checkCut()
	after := m.status()
	if got, want := after.changes(), "canary approved,no,yes,looks right"; got != want || after.Records["created"] != 120 {
		t.Errorf("the changes are %q in %+v; want %q, and 120 created", got, after, want)
	}
	refused(t, m.operate("approve", "--latest"), 1, "does not run: done")
}

func TestACanaryThatNobodyApprovesStopsAndAsksAgainUntilItIs(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 150, Seed: 92}), 5, "--rate-limit", "5", "--canary", "5")
	patient := m.flags
	m.flags = append(slices.Clone(patient), "--canary-timeout", "1")
	p := m.run(5)
	hasAll(t, p.errors(), "the canary was not approved within 1s")
	m.checkCut()
	if f := m.figures(); f.Records["created"] != 5 || f.Records["remaining"] != 145 || s.calls() != 1 {
		t.Errorf("%d calls were made, and the records came to %v; want those of the canary", s.calls(), f.Records)
	}
	m.flags = patient
	p = m.start()
	p.asks()
	m.ordered("approve", "--latest")
	until(t, "some calls", func() bool { return s.calls() >= 3 })
	m.ordered("stop", "--latest")
	p.ends(5)
	m.checkCut()
	p = m.run(0)
	m.checkCut()
	if strings.Contains(p.errors(), "decision") {
		t.Errorf("it was approved, and asks again:\n%s", p.errors())
	}
}

func TestTooManyFailedRecordsWaitForADecision(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		order    string
		exitCode int
	}{{"resume", 3}, {"stop", 5}} {
		t.Run(c.order, func(t *testing.T) {
			t.Parallel()
			l, s := labWithSandbox(t)
			input := l.users(fakeusers.Options{Records: 200, Seed: 93})
			s.seed(emails(t, input)[:10])
			m := l.migration(s, input, 5, "--rate-limit", "20", "--workers", "2", "--retry-backoff", "100ms", "--max-failed", "2%")
			p := m.start()
			p.asks()
			calls := s.calls()
			waiting := m.status()
			if !strings.Contains(waiting.Decision, "of 200 records have failed, more than --max-failed 2% allows") || waiting.Records["remaining"] == 0 || s.calls() != calls {
				t.Errorf("the status is %+v, and %d calls were made meanwhile; want it to wait", waiting, s.calls()-calls)
			}
			failed := 0
			for _, n := range waiting.Errors {
				failed += n
			}
			for _, pattern := range []string{"fail_[A-Z]*.csv", "fail_records_*.csv"} {
				files := m.artifacts(pattern)
				if len(files) != 1 || len(rows(t, files[0])) != failed || failed != waiting.Records["failed"] || failed == 0 {
					t.Errorf("it waits with %d reasons for %d failed records, and the files %q; want a row for each", failed, waiting.Records["failed"], files)
				}
			}
			hasAll(t, m.ordered("list"), "waits for a decision")
			m.ordered(c.order, "--latest", "--reason", "they are known")
			p.ends(c.exitCode)
			m.check()
			f := m.figures()
			stopped := c.exitCode == 5
			if left, failed := f.Records["remaining"], f.Records["failed"]; (left > 0) != stopped || failed != 10 && !(stopped && failed == 5) {
				t.Errorf("after %s the records came to %v", c.order, f.Records)
			}
			if strings.Count(p.errors(), "waits for a decision") != 1 {
				t.Errorf("it asks more than once:\n%s", p.errors())
			}
		})
	}
}

// Without a rate limit many batches wait for their turn when the limit is passed:
// only those that are called for then fail on top of it.
func TestTheLimitOfFailedRecordsHoldsButForTheCallsInFlight(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	input := l.users(fakeusers.Options{Records: 200, Seed: 95})
	s.seed(emails(t, input))
	seeded := s.calls()
	const workers = 3
	m := l.migration(s, input, 5, "--rate-limit", "0", "--workers", strconv.Itoa(workers), "--max-failed", "10")
	p := m.start()
	p.asks()
	if calls, most := s.calls()-seeded, 3+workers-1; calls > most {
		t.Errorf("%d calls of 5 records failed, want %d at most: the third passes the limit", calls, most)
	}
	m.ordered("resume", "--latest")
	p.ends(3)
	m.check()
	if f := m.figures(); f.Records["failed"] != 200 || s.calls()-seeded != 40 {
		t.Errorf("%v in %d calls, want all failed, in 40", f.Records, s.calls()-seeded)
	}
}

func TestAnOrderReachesTheWorkersOfAService(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 94}), 5, "--rate-limit", "10", "--retry-backoff", "100ms").remote()
	at := func(args ...string) []string { return append(args, serviceFlags(t)...) }
	worker := m.worker()
	p := m.startUntil(3)
	key := filepath.Base(filepath.Dir(m.ledger())) // others use the service too
	m.ordered(at("pause", key, "--reason", "lunch")...)
	until(t, "the batches wait", func() bool { return strings.Contains(m.status(at(key)...).Paused, "lunch") })
	worker.kill()
	m.worker()
	calls := s.calls()
	// It is answered by the new worker.
	m.ordered(at("set", key, "rate=200", "workers=3")...)
	s.wantCalls(calls)
	m.ordered(at("resume", key)...)
	p.ends(0)
	m.check()
	if got, want := m.status(at(key)...).changes(), "paused,no,yes,lunch\nrate,10,200,\nworkers,10,3,\npaused,yes,no,"; got != want {
		t.Errorf("the changes are\n%s\nwant\n%s", got, want)
	}
}
