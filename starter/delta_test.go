package main_test

import (
	"bytes"
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

// count is how many calls to an endpoint the sandbox has written down.
func (s *sandboxTarget) count(endpoint string) int {
	s.lab.t.Helper()
	data, err := os.ReadFile(s.truth())
	must(s.lab.t, err)
	return bytes.Count(data, []byte(`"endpoint":"`+endpoint+`"`))
}

// TestDeltaGoesOnWhereItWasKilled: users that are there already, faults, a
// starter that is killed in the middle of the updates, and a target that dies
// under them.
func TestDeltaGoesOnWhereItWasKilled(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l := newLab(t)
	flags := []string{"--faults", "all=0.3,find:all=0.3,update:all=0.5,replace:all=0.5", "--seed", "5", "--latency", "30ms"}
	s := l.sandbox() // without faults while the users of before are made
	input := l.users(fakeusers.Options{Records: 600, Seed: 31, Awkward: true})
	flaws := fakeusers.Options{Records: 600, Awkward: true}.Flaws()
	// Those that fail for what they are, and the duplicate keys.
	fails := func(n int64) bool {
		return slices.Contains([]int64{flaws.TooFew, flaws.TooMany, flaws.BadBirthday}, n) || slices.Contains(flaws.Repeated[:], n)
	}
	var there []string
	for i, record := range rows(t, input) {
		email := record[0]
		// Nothing tells an unknown record that has only a key from another one like it.
		if strings.Join(record[1:], "") == "" {
			continue
		}
		if n := int64(i + 1); n%3 == 1 && !fails(n) {
			there = append(there, email)
		}
	}
	s.seed(there)
	s.runAgain(flags...)

	m := l.migration(s, input, 20, "-m", "--rate-limit", "0", "--timeout", "1", "--retry-rounds", "20", "--retry-backoff", "20ms")
	p := m.start()
	until(t, "some updates", func() bool { return s.count("entity.update") > 20 || p.hasEnded() })
	p.kill()
	updates := s.count("entity.update")
	if updates >= len(there)-10 {
		t.Fatalf("%d of %d updates were made before the kill: this was no test", updates, len(there))
	}
	p = m.start()
	until(t, "more updates", func() bool { return s.count("entity.update") > updates+10 || p.hasEnded() })
	if p.hasEnded() {
		t.Fatal("it has ended before the target died: this was no test")
	}
	s.process.kill()
	time.Sleep(300 * time.Millisecond) // calls fail meanwhile
	s.run(flags...)
	p.ends(3)
	m.check()
	f := m.figures()
	if f.Records["updated"] != len(there) || f.Records["failed"] != 6 || f.Records["unknown"] != 0 || f.Records["remaining"] != 0 {
		t.Errorf("the records came to %v, %d were there before; want all of these updated, 6 failed, none unknown or remaining", f.Records, len(there))
	}
	if !strings.Contains(p.output(), "update_success_") || !strings.Contains(p.errors(), "3 records have a key that an earlier record has") {
		t.Errorf("the screen does not show updates and duplicate keys:\n%s%s", p.output(), p.errors())
	}

	// The same file once more finds everything as it is, but for passwords in plain text, which the target does not show.
	plain, password := 0, slices.Index(fakeusers.Columns, "password")
	for i, record := range rows(t, input) {
		if !fails(int64(i+1)) && record[password] != "" && record[password][0] != '{' {
			plain++
		}
	}
	if plain == 0 {
		t.Error("no password is plain text: this was no test")
	}
	s.before = s.lastLine()
	again := l.migration(s, input, 20, "-m", "--rate-limit", "0")
	again.state, again.out = l.path("state-again"), l.path("out-again")
	updates = s.count("entity.update") + s.count("entity.replace")
	s.runAgain()
	again.run(3)
	f = again.figures()
	if f.Records["updated"] != 594 || f.Records["failed"] != 6 {
		t.Errorf("once more: the records came to %v; want 594 as they are, 6 failed", f.Records)
	}
	if n := s.count("entity.update") + s.count("entity.replace") - updates; n != plain {
		t.Errorf("once more: %d calls changed records, want %d, one for each password in plain text", n, plain)
	}
	if success := readAll(filepath.Join(again.out, *f.Files.UpdateSuccess)); strings.Count(success, ",unchanged\n") != 594-plain {
		t.Errorf("once more: %d records are unchanged, want %d", strings.Count(success, ",unchanged\n"), 594-plain)
	}
}

// lastLine is the last call of any kind.
func (s *sandboxTarget) lastLine() int64 {
	s.lab.t.Helper()
	_, last, err := check.Calls(s.truth(), "")
	must(s.lab.t, err)
	return last
}

func TestDeltaIsStoppedBetweenTwoRecords(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t, "--latency", "50ms")
	input := l.users(fakeusers.Options{Records: 100, Seed: 32})
	s.seed(emails(t, input))
	m := l.migration(s, input, 10, "-m", "--rate-limit", "0", "--workers", "2")
	p := m.start()
	until(t, "some updates", func() bool { return s.count("entity.update") > 3 || p.hasEnded() })
	p.signal(os.Interrupt)
	p.ends(4)
	m.check()
	if f := m.figures(); f.Records["unknown"] == 0 || f.Records["unknown"]+f.Records["updated"] != 100 || f.Files.Unresolved == nil {
		t.Errorf("the records came to %v; want some unknown, the others updated", f.Records)
	}

	without := m.flags
	m.flags = append([]string{}, "--batch-size", "10")
	p = m.run(1)
	hasAll(t, p.errors(), "--delta-migration")
	m.flags = without
	m.run(0)
	m.check()
	m.wantRecords(map[string]int{"updated": 100})
}

func TestDeltaKeepsThePace(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t)
	input := l.users(fakeusers.Options{Records: 100, Seed: 33})
	s.seed(emails(t, input))
	m := l.migration(s, input, 10, "-m", "--rate-limit", "40")
	m.run(0)
	m.check()
	arrivals, err := check.Arrivals(s.truth(), "", s.before)
	must(t, err)
	if n := len(arrivals); n < 110 {
		t.Fatalf("%d calls: this was no test", n)
	}
	if most, from := arrivals.Most(time.Second); most > 40+2 { // a call may take some milliseconds on its way
		t.Errorf("%d calls arrived within a second from %v, want at most 40", most, from)
	}
}
