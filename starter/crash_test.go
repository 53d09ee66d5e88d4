package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/program"
)

// chance draws the moments of a crash test. A failing test logs its seed;
// CRASH_SEED repeats it.
func chance(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("CRASH_SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatalf("CRASH_SEED: %v", err)
		}
	}
	t.Logf("CRASH_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// killAtRandom kills a process at one of the moments that matter: while it
// starts, after some calls, or when it has just written a file.
// It kills at once when the starter has ended, and with it the migration.
func killAtRandom(t *testing.T, r *rand.Rand, m *migration, p, starter *process) {
	t.Helper()
	var moment string
	var come func() bool
	files, calls, started := len(m.artifacts("*")), m.target.calls(), time.Now()
	switch r.IntN(5) {
	case 0:
		limit := time.Duration(r.IntN(1500)) * time.Millisecond
		moment, come = fmt.Sprintf("%v after the start", limit), func() bool { return time.Since(started) >= limit }
	case 1:
		moment, come = "a new file", func() bool { return len(m.artifacts("*")) > files }
	default:
		more := 1 + r.IntN(25)
		moment, come = fmt.Sprintf("%d calls", more), func() bool { return m.target.calls() >= calls+more }
	}
	until(t, "the moment to kill: "+moment, func() bool { return come() || starter.hasEnded() })
	time.Sleep(time.Duration(r.IntN(40)) * time.Millisecond) // anywhere within a call
	p.kill()
	t.Logf("killed %s at: %s, %d calls until then", p.name, moment, m.target.calls())
}

const kills = 8

func TestAKilledStarterResumes(t *testing.T) {
	program.Long(t)
	t.Parallel()
	r := chance(t)
	l, s := labWithSandbox(t, "--faults", "all=0.7", "--seed", "3", "--latency", "30ms", "--find-lag", "500ms")
	m := l.migration(s, l.users(fakeusers.Options{Records: 3_000, Seed: 21, Awkward: true}), 20,
		"--rate-limit", "0", "--timeout", "1", "--retry-rounds", "12", "--retry-backoff", "20ms")
	for range kills {
		p := m.start()
		killAtRandom(t, r, m, p, p)
		if p.cmd.ProcessState.Exited() {
			break // it was done before
		}
	}
	p := m.start()
	if p.wait() == 1 && strings.Contains(p.errors(), "was migrated already") {
		t.Log("it was done before the last kill")
	} else {
		p.ends(3)
	}
	m.check()
	m.wantRecords(map[string]int{"failed": 6, "unknown": 0, "remaining": 0})
}

func TestAKilledWorkerIsReplacedByAnother(t *testing.T) {
	program.Long(t)
	t.Parallel()
	r := chance(t)
	l, s := labWithSandbox(t, "--faults", "all=0.7", "--seed", "4", "--latency", "30ms")
	m := l.migration(s, l.users(fakeusers.Options{Records: 3_000, Seed: 22, Awkward: true}), 20,
		"--rate-limit", "0", "--timeout", "1", "--retry-rounds", "12", "--retry-backoff", "20ms").remote()
	p := m.start()
	for range kills - 2 {
		killAtRandom(t, r, m, m.worker(), p)
	}
	m.worker()
	p.ends(3)
	m.check()
	m.wantRecords(map[string]int{"failed": 6, "unknown": 0, "remaining": 0})
}

func TestAKilledTargetComesBackAndNothingIsLost(t *testing.T) {
	program.Long(t)
	t.Parallel()
	r := chance(t)
	l, s := labWithSandbox(t, "--latency", "60ms")
	m := l.migration(s, l.users(fakeusers.Options{Records: 3_000, Seed: 23, Awkward: true}), 20,
		"--rate-limit", "40", "--timeout", "1", "--retry-rounds", "12", "--retry-backoff", "20ms")
	p := m.start()
	for range 4 {
		calls := s.calls()
		more := 1 + r.IntN(25)
		until(t, "calls to kill the sandbox in", func() bool { return s.calls() >= calls+more || p.hasEnded() })
		time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
		s.process.kill()
		time.Sleep(time.Duration(r.IntN(700)) * time.Millisecond) // calls fail meanwhile
		s.run("--latency", "60ms")
	}
	p.ends(3)
	m.check()
	f := m.figures()
	if f.Records["failed"] != 6 || f.Records["unknown"] != 0 || f.Records["remaining"] != 0 {
		t.Errorf("the records came to %v; want 6 failed, none unknown or remaining", f.Records)
	}
	if len(f.Rounds) < 2 {
		t.Errorf("%d rounds; want more: this was no test", len(f.Rounds))
	}
}

// claims gives the batches of round 0 that a process has claimed and that are not
// decided, by the names of their outcomes.
func (m *migration) claims(p *process) (open []string) {
	m.lab.t.Helper()
	for _, outcomes := range m.claimed(p) {
		if !exists(outcomes) {
			open = append(open, outcomes)
		}
	}
	return open
}

// suspendedInCall suspends one of the processes while it is in calls, and gives their outcomes.
func (m *migration) suspendedInCall(processes ...*process) (suspended *process, open []string) {
	m.lab.t.Helper()
	until(m.lab.t, "a process is in a call", func() bool {
		for _, p := range processes {
			if len(m.claims(p)) == 0 {
				continue
			}
			p.signal(syscall.SIGSTOP)
			if open = m.claims(p); len(open) > 0 {
				suspended = p
				return true
			}
			p.signal(syscall.SIGCONT) // the call has ended just now
		}
		return false
	})
	return suspended, open
}

// claimed gives all that a process has claimed.
func (m *migration) claimed(p *process) (all []string) {
	m.lab.t.Helper()
	paths, _ := filepath.Glob(filepath.Join(m.state, "migrations", "*", "ledger", "0", "*", "*.claim"))
	for _, path := range paths {
		var claim struct{ Process int }
		data, err := os.ReadFile(path)
		if err != nil || json.Unmarshal(data, &claim) != nil {
			m.lab.t.Fatalf("the claim %s cannot be read: %v", path, err)
		}
		if claim.Process == p.cmd.Process.Pid {
			all = append(all, strings.TrimSuffix(path, ".claim")+".outcomes")
		}
	}
	return all
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// decided is how many batches of round 0 have outcomes.
func (m *migration) decided() int {
	paths, _ := filepath.Glob(filepath.Join(m.state, "migrations", "*", "ledger", "0", "*", "*.outcomes"))
	return len(paths)
}

// areUnknown says that all records of a batch were decided to be unknown.
func areUnknown(t *testing.T, outcomes string) bool {
	t.Helper()
	o := decoded[struct{ Outcomes string }](t, readAll(outcomes))
	return o.Outcomes != "" && strings.Trim(o.Outcomes, "u") == ""
}

func TestAWorkerKilledInACallIsNoticedWhileOthersContinue(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t, "--latency", "700ms")
	m := l.migration(s, l.users(fakeusers.Options{Records: 700, Seed: 24}), 5,
		"--rate-limit", "0", "--workers", "6", "--timeout", "3", "--retry-backoff", "20ms").remote()
	workers := []*process{m.worker(), m.worker(), m.worker()}
	p := m.start()
	until(t, "others have made some calls", func() bool { return m.decided() > 6 })
	victim, lost := m.suspendedInCall(workers...)
	victim.kill()
	killed, decided := time.Now(), m.decided()
	others := 0
	for _, outcomes := range lost {
		until(t, "the batch of the killed worker is settled", func() bool {
			others = max(others, m.decided()-decided)
			return exists(outcomes)
		})
		if !areUnknown(t, outcomes) {
			t.Errorf("the batch of the killed worker was decided as %s; want all unknown", readAll(outcomes))
		}
	}
	t.Logf("%d batches of the killed worker were settled %v later; %d others were decided until then", len(lost), time.Since(killed).Round(time.Millisecond), others-len(lost))
	if inFlight := 6; others-len(lost) <= inFlight {
		t.Errorf("%d other batches were decided until the lost ones were settled; want more than the %d that can have been in flight", others-len(lost), inFlight)
	}
	p.ends(0)
	m.check()
	if f := m.figures(); f.Records["created"]+f.Records["recovered"] != 700 || f.Records["recovered"] == 0 {
		t.Errorf("the records came to %v; want 700 created or recovered, some of them recovered", f.Records)
	}
}

func TestAWorkerThatIsSuspendedThroughTheEndChangesNothing(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t, "--latency", "800ms")
	m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 25}), 10,
		"--rate-limit", "5", "--timeout", "3", "--retry-backoff", "20ms").remote()
	sleeper, other := m.worker(), m.worker()
	p := m.start()
	until(t, "both workers are in a call", func() bool { return len(m.claims(sleeper)) > 0 && len(m.claims(other)) > 0 })
	_, lost := m.suspendedInCall(sleeper)
	for _, outcomes := range lost {
		until(t, "the batch of the sleeping worker is settled", func() bool { return exists(outcomes) })
		if !areUnknown(t, outcomes) {
			t.Errorf("the batch of the sleeping worker was decided as %s; want all unknown", readAll(outcomes))
		}
	}
	p.ends(0)
	m.check()
	before, calls := m.snapshot(), s.calls()
	ledger := folder(t, m.ledger())
	sleeper.signal(syscall.SIGCONT)
	until(t, "the worker wakes and drops its late answers", func() bool {
		return strings.Count(sleeper.errors(), "a late answer was dropped") >= len(lost)
	})
	sameArtifacts(t, m.snapshot(), before)
	if now := folder(t, m.ledger()); now != ledger {
		t.Errorf("the ledger has changed:\n%s\nbefore:\n%s", now, ledger)
	}
	s.wantCalls(calls)
	m.check()
}

func TestASuspendedWorkerDoesNotBlockTheOthers(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t, "--latency", "800ms")
	m := l.migration(s, l.users(fakeusers.Options{Records: 100, Seed: 26}), 10,
		"--rate-limit", "0", "--workers", "2", "--timeout", "3", "--retry-backoff", "20ms").remote()
	sleeper := m.worker()
	p := m.start()
	until(t, "the worker makes all the calls that may be in flight", func() bool { return len(m.claims(sleeper)) == 2 })
	sleeper.signal(syscall.SIGSTOP)
	stopped := time.Now()
	m.worker()
	p.ends(0)
	t.Logf("the other worker was done %v after the first had been stopped", time.Since(stopped).Round(time.Second))
	m.check()
}

func TestAWorkerThatIsSuspendedThroughAStopSendsNothing(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t, "--latency", "300ms")
	m := l.migration(s, l.users(fakeusers.Options{Records: 200, Seed: 28}), 5,
		"--rate-limit", "0", "--workers", "3", "--retry-backoff", "100ms").remote()
	sleeper := m.worker()
	p := m.start()
	until(t, "some calls", func() bool { return s.calls() >= 3 && len(m.claims(sleeper)) > 0 })
	sleeper.signal(syscall.SIGSTOP) // with batches that wait for their turn
	other := m.worker()
	cancel(t, m)
	p.ends(4, 5)
	m.check()
	before, calls := m.snapshot(), s.calls()
	sleeper.signal(syscall.SIGCONT)
	until(t, "the worker wakes and finds that it has nothing to do any more", func() bool {
		// An activity that has ended says why it has failed, or is told that it is too late.
		ended := strings.Count(sleeper.errors(), "Activity error.") + strings.Count(sleeper.errors(), "workflow execution already completed")
		return ended+len(m.claimed(sleeper)) > calls
	})
	sleeper.signal(syscall.SIGTERM)
	sleeper.ends(0)
	s.wantCalls(calls)
	sameArtifacts(t, m.snapshot(), before)
	m.check()

	m.run(0)
	m.check()
	other.signal(syscall.SIGTERM)
	other.ends(0)
}

// cancel stops a migration as an operator does in the Web UI.
func cancel(t *testing.T, m *migration) {
	t.Helper()
	ctx, end := context.WithTimeout(context.Background(), 30*time.Second)
	defer end()
	c := dial(t, serviceOf(t))
	must(t, c.CancelWorkflow(ctx, m.find(c, "MigrationWorkflow").GetWorkflowId(), ""))
}

// folder is a folder's content in one string, without what is being written
// just now.
func folder(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") {
			fmt.Fprintf(&b, "%s %s\n", path, readAll(path))
		}
		return err
	})
	must(t, err)
	return b.String()
}

func TestAfterAKillTheCountsAreThoseOfTheLedger(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 500, Seed: 29}), 5, "--rate-limit", "10", "--retry-backoff", "100ms")
	first := m.startUntil(3)
	first.signal(os.Interrupt)
	first.ends(5)
	before := m.figures().Records["created"]
	second := m.start()
	until(t, "more calls", func() bool { return 5*m.decided() > before+20 || second.hasEnded() })
	second.kill()
	claims, err := filepath.Glob(filepath.Join(m.ledger(), "0", "*", "*.claim"))
	must(t, err)
	attempted := 5 * len(claims) // also what the killed process was sending
	status, list := m.status(), m.ordered("list", "--json")
	r := status.Records
	if status.State != "cut_off" || r["total"] != 500 || r["created"]+r["unknown"] != attempted || r["created"] != 5*m.decided() || r["remaining"] != 500-attempted {
		t.Errorf("the status is %+v; want %d records created of the %d that were sent, and before that there were %d", status, 5*m.decided(), attempted, before)
	}
	var rows []shownStatus
	if err := json.Unmarshal([]byte(list), &rows); err != nil || len(rows) != 1 || !maps.Equal(rows[0].Records, r) {
		t.Errorf("the list is\n%s\n%v; want the counts of the status, %v", list, err, r)
	}
}
