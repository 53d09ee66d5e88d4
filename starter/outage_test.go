package main_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/check"
)

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
