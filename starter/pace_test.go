package main_test

import (
	"testing"
	"time"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/check"
	"durable-dataload/internal/proof/program"
)

// The pace is measured before the tests that run at the same time, so that
// what is measured is the program and not the load of the machine.

func TestTheRateLimitHolds(t *testing.T) {
	program.Long(t)
	for _, c := range []struct {
		name    string
		workers int // 0: the embedded one
	}{{"one embedded worker", 0}, {"three workers", 3}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// How much of the limit is used is measured by internal/proof/bench: a
			// machine that is busy loses start times.
			if average := paceOf(t, c.workers); average < 1 {
				t.Errorf("%.3f calls a second on average; want most of 4", average)
			}
		})
	}
}

// paceOf migrates in 100 calls, with so many workers, and gives the calls a second.
func paceOf(t *testing.T, workers int) float64 {
	t.Helper()
	l, s := labWithSandbox(t, "--latency", "30ms")
	m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 31}), 3) // --rate-limit is 4 by default
	if workers > 0 {
		m.remote()
	}
	for range workers {
		m.worker()
	}
	m.run(0)
	m.check()
	everything, err := check.Arrivals(s.truth(), "", 0)
	must(t, err)
	if most, from := everything.Most(time.Second); most > 5 {
		t.Errorf("%d calls within the second from %v on; at most 5 are allowed", most, from)
	}
	loading, err := check.Arrivals(s.truth(), "entity.bulkCreate", 0)
	must(t, err)
	average := loading.Average()
	t.Logf("%d calls, %.3f a second", len(loading), average)
	if len(loading) != 100 {
		t.Errorf("%d calls; want 100", len(loading))
	}
	return average
}

func TestCallsInFlightAreLimited(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		workers int
	}{{"one embedded worker", 0}, {"two workers", 2}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, s := labWithSandbox(t, "--latency", "150ms")
			m := l.migration(s, l.users(fakeusers.Options{Records: 400, Seed: 32}), 10, "--rate-limit", "0", "--workers", "2")
			if c.workers > 0 {
				m.remote()
			}
			for range c.workers {
				m.worker()
			}
			m.run(0)
			m.check()
			most, err := check.InFlight(s.truth())
			must(t, err)
			if most != 2 {
				t.Errorf("%d calls were in flight at once, want 2: no more, and both used", most)
			}
		})
	}
}

func TestWithoutARateLimitNothingWaits(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 600, Seed: 33}), 10, "--rate-limit", "0").shared()
	m.run(0)
	m.check()
	moments, err := check.Arrivals(s.truth(), "entity.bulkCreate", 0)
	must(t, err)
	const byDefault = 5 // within a second, by the limit that holds without the option
	if most, _ := moments.Most(time.Second); most <= byDefault {
		t.Errorf("%d calls within a second at most; want more than the default limit allows", most)
	}
}

// The first command of the README, to the letter.
func TestTheFirstCommandEndsWithinAMinute(t *testing.T) {
	program.Long(t)
	l := newLab(t)
	l.copyTestdata()
	began := time.Now()
	l.start("starter", []string{"XDG_STATE_HOME=" + l.path("states")}, "--data", "testdata/users.csv", "--sandbox").ends(3)
	t.Logf("it took %v", time.Since(began).Round(100*time.Millisecond))
	state := l.path("states", "durable-dataload")
	s := &sandboxTarget{lab: l, dir: state + "/sandbox/entities"}
	m := &migration{lab: l, target: s, input: l.path("testdata", "users.csv"), state: state, out: l.dir, batch: 10}
	m.check()
	f := m.figures()
	if len(f.Rounds) < 2 || f.Rounds[0].Unknown == 0 || f.Records["recovered"] == 0 || f.Records["unknown"] != 0 || f.Records["total"] != 500 {
		t.Errorf("%v in %d rounds; want 500, some unknown after round 0 and recovered later, none unknown at the end", f.Records, len(f.Rounds))
	}
}
