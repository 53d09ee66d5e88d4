package main_test

import (
	"strings"
	"testing"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/program"
)

// strangers are the records of the sandbox that somebody else has registered, by uuid.
func (s *target) strangers() map[string]bool {
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
