package main_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/check"
	"durable-dataload/internal/proof/program"
)

// allFaults is every kind of fault at once, of calls that write and of those
// that look up.
const allFaults = "all=1,find:all=1"

// The time by which a user must have been there before the migration began to
// be told from one that a lost call wrote: clocks differ, and HTTP's has whole
// seconds.
const clockTolerance = 4 * time.Second

func TestTwentyThousandRecordsIntoATargetThatFailsInEveryWay(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l := newLab(t)
	input := l.users(fakeusers.Options{Records: 20_000, Seed: 11, Awkward: true})
	s := l.sandbox()
	all := emails(t, input)
	var existing []string
	for i := 150; i < len(all); i += 211 {
		email := all[i]
		if i%2 == 0 {
			email = strings.ToUpper(email)
		}
		existing = append(existing, email)
	}
	s.seed(existing)
	seeded := time.Now()
	s.runAgain("--faults", allFaults, "--seed", "4810", "--find-lag", "1500ms", "--latency", "5ms")
	until(t, "the users were there some time before", func() bool { return time.Since(seeded) > clockTolerance })

	m := l.migration(s, input, 100, "--rate-limit", "0", "--timeout", "1", "--retry-rounds", "12", "--retry-backoff", "100ms")
	m.run(3)
	m.check()

	f := m.figures()
	flaws := fakeusers.Options{Records: 20_000, Awkward: true}.Flaws()
	failed := len(existing) + 3 + len(flaws.Repeated)
	if f.Records["failed"] != failed || f.Records["unknown"] != 0 || f.Records["remaining"] != 0 {
		t.Errorf("%d failed, %d unknown, %d remaining; want %d, 0 and 0", f.Records["failed"], f.Records["unknown"], f.Records["remaining"], failed)
	}
	if f.Records["recovered"] == 0 || len(f.Rounds) < 3 {
		t.Errorf("%d recovered in %d rounds; want some: this was no test", f.Records["recovered"], len(f.Rounds))
	}
	failedEmails, failedLines := map[string]string{}, 0
	for _, row := range rows(t, l.path("out", f.Files.Fail)) {
		failedEmails[strings.ToLower(row[2])] = row[3]
		failedLines++
	}
	if failedLines != failed {
		t.Errorf("%d lines in the fail file, want %d", failedLines, failed)
	}
	for _, email := range existing {
		if reason := failedEmails[strings.ToLower(email)]; !strings.Contains(reason, "duplicate value") {
			t.Errorf("%s was there before; the fail file says %q", email, reason)
		}
	}
	for _, n := range slices.Concat([]int64{flaws.BadBirthday}, flaws.Repeated[:]) {
		if failedEmails[strings.ToLower(all[n-1])] == "" {
			t.Errorf("record %d cannot be loaded, and is not in the fail file", n)
		}
	}
	if f.Entities == nil || *f.Entities != f.Records["created"]+f.Records["recovered"]+len(existing) {
		t.Errorf("entities_after is %v; want %d", f.Entities, f.Records["created"]+f.Records["recovered"]+len(existing))
	}
	everyFaultCame(t, s)
}

// everyFaultCame holds that the run met what it was to meet.
func everyFaultCame(t *testing.T, s *target) {
	t.Helper()
	log := readAll(s.truth())
	for _, fault := range []string{
		"refuse", "reset-before", "reset-after", "partial-502", "hang", "hang-after", "http403", "http429", "http500", "http501",
		"http502", "http503", "http504", "http502-after", "api403", "api500", "api504", "api510", "api500-after", "broken-json",
		"truncated-json", "no-stat", "too-few-results",
	} {
		if !strings.Contains(log, `"fault":"`+fault+`"`) {
			t.Errorf("the fault %s never came; give another --seed", fault)
		}
	}
}

func TestAHealthyTargetTakesEverythingInOneRound(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 1_000, Seed: 3}), 50, "--rate-limit", "0")
	m.run(0)
	m.check()
	f := m.figures()
	if f.Records["created"] != 1000 || len(f.Rounds) != 1 || f.Rounds[0].Calls != 20 || len(f.Files.Retry) != 0 {
		t.Errorf("created %d in %d rounds, retry files %q; want 1000 in one round of 20 calls and no retry file", f.Records["created"], len(f.Rounds), f.Files.Retry)
	}
	if n, _, err := check.Calls(s.truth(), "entity.bulkCreate"); n != 20 || err != nil {
		t.Errorf("%d calls (%v), want 20", n, err)
	}
}
