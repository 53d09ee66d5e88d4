package main_test

import (
	"os"
	"path/filepath"
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
func everyFaultCame(t *testing.T, s *sandboxTarget) {
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

// The failed records are malformed in the same way, as if the header were wrong.
func TestFailedRecordsMayAllBeMalformedInTheSameWay(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	input := l.path("users.csv")
	malformed := "b@example.com,B,Smith, Jr.\nc@example.com,C,Jones, Sr.\n"
	must(t, os.WriteFile(input, []byte("email,givenName,familyName\na@example.com,A,B\n"+malformed+"d@example.com,D,D\n"), 0o600))
	m := l.migration(s, input, 100)
	m.run(3)
	m.wantRecords(map[string]int{"created": 2, "failed": 2})
	failed := m.artifacts("fail_records_*.csv")
	if len(failed) != 1 || readAll(failed[0]) != "email,givenName,familyName\n"+malformed {
		t.Errorf("%q, want one file with the two malformed records", failed)
	}
}

// The target is down in the middle for as long as a third of the file takes. It
// costs the calls that were in flight, and not that third.
func TestAnOutageIsWaitedFor(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t, "--latency", "20ms")
	m := l.migration(s, l.users(fakeusers.Options{Records: 600, Seed: 41}), 5,
		"--rate-limit", "40", "--workers", "4", "--breaker", "3", "--retry-backoff", "100ms")
	p := m.start()
	until(t, "a third is loaded", func() bool { return s.calls() >= 40 || p.hasEnded() })
	s.process.kill()
	until(t, "the breaker opens", func() bool { return strings.Contains(m.events(), `"breaker opened"`) || p.hasEnded() })
	time.Sleep(2 * time.Second) // enough for 80 batches
	s.run("--latency", "20ms")
	p.ends(0)
	m.check()
	f := m.figures()
	if f.Records["unknown"] != 0 || f.Records["failed"] != 0 || f.Records["created"]+f.Records["recovered"] != 600 {
		t.Errorf("the records came to %v; want all created or recovered", f.Records)
	}
	// A good answer from before may come in between, and begins the row again.
	if most := 5 * (2*3 + 4); f.Rounds[0].Unknown > most || f.Rounds[0].Unknown == 0 {
		t.Errorf("%d records are unknown after the first round; want some, and at most the %d of what was in flight", f.Rounds[0].Unknown, most)
	}
	if events := m.events(); strings.Count(events, `"breaker opened"`) != 1 || strings.Count(events, `"breaker closed"`) != 1 {
		t.Errorf("events:\n%s\nwant the breaker to open and close once", events)
	}
	everything, err := check.Arrivals(s.truth(), "", 0)
	must(t, err)
	if most, from := everything.Most(time.Second); most > 41 {
		t.Errorf("%d calls within the second from %v on; at most 41 are allowed", most, from)
	}
}

// events is the file of events of the one migration.
func (m *migration) events() string {
	m.lab.t.Helper()
	found, err := filepath.Glob(filepath.Join(m.state, "migrations", "*", "events.jsonl"))
	if err != nil || len(found) != 1 {
		return ""
	}
	return readAll(found[0])
}

// strangers are the records of the sandbox that somebody else has registered, by uuid.
func (s *sandboxTarget) strangers() map[string]bool {
	s.lab.t.Helper()
	found := map[string]bool{}
	for uuid, record := range s.content() {
		if record["displayName"] == "registered alone" {
			found[uuid] = true
		}
	}
	return found
}

// Calls are lost unwritten, and strangers register with the addresses.
func TestStrangersAreNeitherOursNorRolledBack(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t, "--faults", "stranger=30", "--seed", "3", "--heal-after", "12")
	m := l.migration(s, l.users(fakeusers.Options{Records: 120, Seed: 31}), 10, "--rate-limit", "0", "--retry-backoff", "1s", "--retry-rounds", "1")
	m.run(3, 4)
	m.check()
	before := s.strangers()
	if f := m.figures(); len(before) == 0 || f.Records["failed"]+f.Records["unknown"] < len(before) {
		t.Fatalf("%d strangers, and the records came to %v; want none of them ours", len(before), f.Records)
	}
	undone := m.rollback("--yes", "--rate-limit", "0")
	undone.wait()
	after := s.strangers()
	for uuid := range before {
		if !after[uuid] {
			t.Errorf("the rollback deleted %s, which is a stranger's:\n%s", uuid, undone.output())
		}
	}
	if left := len(s.content()) - len(after); left > m.figures().Records["unknown"] {
		t.Errorf("%d records are left that are no stranger's", left)
	}
}

// Whatever stands between us and the target, and whatever its clocks show, what it wrote
// is ours.
func TestWhatWasWrittenForUsIsOurs(t *testing.T) {
	for name, flags := range map[string][]string{
		"a gateway sends requests twice":           {"--faults", "replay=50"},
		"refused as too large after writing":       {"--faults", "http413-after=30"},
		"an error after writing":                   {"--faults", "http505-after=30,api501-after=20"},
		"lost, Date is 0.2 s ahead":                {"--faults", "reset-after=40", "--date-skew", "200ms"},
		"lost, Date is an hour ahead":              {"--faults", "reset-after=40", "--date-skew", "1h"},
		"lost, records are stamped an hour behind": {"--faults", "reset-after=40", "--stamp-skew", "-1h"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "lost") {
				program.Long(t)
			}
			t.Parallel()
			l, s := labWithSandbox(t, append(flags, "--seed", "5", "--heal-after", "16")...)
			m := l.migration(s, l.users(fakeusers.Options{Records: 120, Seed: 32}), 10, "--rate-limit", "0", "--retry-backoff", "1s").shared()
			m.run(0)
			m.check()
			if f := m.figures(); f.Records["recovered"] == 0 || f.Records["created"]+f.Records["recovered"] != 120 {
				t.Errorf("the records came to %v; want all 120 ours, some of them recovered", f.Records)
			}
		})
	}
}
