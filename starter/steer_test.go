package main_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/program"
)

// operate gives a command that steers or shows the migrations of the folder.
func (m *migration) operate(args ...string) *process {
	m.lab.t.Helper()
	var env []string
	if m.bucket != nil {
		env = m.bucket.Environment()
	}
	return m.lab.start("starter", env, append(args, m.locations()...)...)
}

// ordered gives a command that has to be carried out.
func (m *migration) ordered(args ...string) string {
	m.lab.t.Helper()
	return m.operate(args...).ends(0).output()
}

// shownStatus are the parts of a status that tests ask for.
type shownStatus struct {
	ID       string
	State    string
	Phase    string
	ExitCode *int `json:"exit_code"`
	Reason   string
	Rerun    string
	Records  map[string]int
	Paused   string
	Decision string
	Errors   map[string]int
	Pace     struct {
		Limit   float64
		Workers int
		Closed  string
	}
	Events []struct{ Kind, Who, Name, Old, New, Reason string }
}

func (m *migration) status(args ...string) shownStatus {
	m.lab.t.Helper()
	return decoded[shownStatus](m.lab.t, m.ordered(append([]string{"status", "--json"}, args...)...))
}

// changes are those in the status, a line each.
func (s shownStatus) changes() string {
	var lines []string
	for _, e := range s.Events {
		if e.Kind == "changed" {
			lines = append(lines, strings.Join([]string{e.Name, e.Old, e.New, e.Reason}, ","))
		}
	}
	return strings.Join(lines, "\n")
}

func TestAPauseHoldsAlsoAfterACrash(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 400, Seed: 81}), 5, "--rate-limit", "20", "--retry-backoff", "100ms")
	first := m.startUntil(5)
	m.ordered("pause", "--latest", "--reason", "lunch")
	until(t, "the batches wait", func() bool { return m.status().Pace.Closed != "" })
	calls := s.calls()
	paused := m.status() // polls for two seconds, in which 40 calls could be made
	if !strings.Contains(paused.Paused, "lunch") || paused.State != "running" || s.calls() != calls {
		t.Errorf("the status is %+v, %d calls were made in the pause; want it paused, and none", paused, s.calls()-calls)
	}
	if p := m.operate("pause", "--latest"); p.wait() != 1 || !strings.Contains(p.errors(), "paused already") {
		t.Errorf("another pause: %d, %s", p.wait(), p.errors())
	}
	until(t, "the first terminal shows the pause", func() bool { return strings.Contains(first.errors(), "Paused by") })

	first.kill()
	second := m.start()
	until(t, "the second terminal shows the pause", func() bool {
		return strings.Contains(second.errors(), "Paused by") || second.hasEnded()
	})
	if paused = m.status(); !strings.Contains(paused.Paused, "lunch") || s.calls() != calls {
		t.Errorf("after a crash the status is %+v, and %d calls were made; want it paused, and none", paused, s.calls()-calls)
	}
	m.ordered("resume", "users.csv")
	second.ends(0)
	m.check()
	if got, want := m.status().changes(), "paused,no,yes,lunch\npaused,yes,no,"; got != want {
		t.Errorf("the changes are\n%s\nwant\n%s", got, want)
	}
}

func TestSettingsChangeWhileAMigrationRuns(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 1000, Seed: 82}), 5, "--rate-limit", "2", "--retry-backoff", "100ms")
	p := m.start()
	until(t, "a call", func() bool { return s.calls() >= 1 })
	refused := m.operate("set", "--latest", "rate=8", "workers=0").ends(1)
	hasAll(t, refused.errors(), `workers is "0"; expected 1 to 1000`)
	if usage := m.operate("set", "--latest", "rat=8"); usage.wait() != 2 || !strings.Contains(usage.errors(), "did you mean rate?") {
		t.Errorf("a name that is not known: %d, %s", usage.wait(), usage.errors())
	}
	before := m.status()
	if before.Pace.Limit != 2 || before.Pace.Workers != 10 || before.changes() != "" {
		t.Errorf("after what was refused the status is %+v", before)
	}
	output := m.ordered("set", before.ID, "rate=500", "workers=4", "--reason", "night")
	hasAll(t, output, "rate: 2 → 500", "workers: 10 → 4")
	p.ends(0) // which takes 100 seconds by the old rate
	m.check()
	after := m.status(before.ID)
	if got, want := after.changes(), "rate,2,500,night\nworkers,10,4,night"; got != want || after.State != "done" || *after.ExitCode != 0 {
		t.Errorf("the changes are\n%s\nin %+v; want\n%s\nand it done", got, after, want)
	}
	hasAll(t, m.ordered("list"), before.ID, "done")
}

func TestAStopFromAnotherTerminalEndsTheMigrationForNow(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 83}), 5, "--rate-limit", "10")
	p := m.startUntil(5)
	watcher := l.start("starter", nil, "status", "--watch", "--state-dir", m.state)
	until(t, "a status follows", func() bool { return strings.Contains(watcher.errors(), "/300") || watcher.hasEnded() })
	output := m.ordered("stop", "--latest")
	p.ends(5)
	watcher.ends(5)
	m.check()
	f := m.figures()
	if f.Files.Remaining == nil || f.Records["remaining"] == 0 || !strings.Contains(output, *f.Files.Remaining) {
		t.Errorf("the records came to %v, and stop says\n%s", f.Records, output)
	}
	stopped := m.status()
	if stopped.State != "stopped" || *stopped.ExitCode != 5 || stopped.Records["remaining"] != f.Records["remaining"] {
		t.Errorf("the status is %+v; want it stopped, with %d remaining", stopped, f.Records["remaining"])
	}
	refused := m.operate("resume", "--latest").ends(1)
	hasAll(t, refused.errors(), "no process runs the engine of the state folder "+m.state)
	m.run(0)
	m.check()
	if after := m.status(); after.State != "done" || len(m.artifacts("remaining_*")) > 0 {
		t.Errorf("the status is %+v, and there is %q; want it done", after, m.artifacts("remaining_*"))
	}
}

// The process that was stopped may not have ended yet, and its engine does.
func TestARerunMayFollowAStopAtOnce(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 200, Seed: 86}), 5, "--rate-limit", "10", "--retry-backoff", "100ms")
	p := m.startUntil(3)
	m.ordered("stop", "--latest")
	m.run(0)
	p.ends(5)
	m.check()
}

func TestACancelledMigrationIsNotResumed(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 84}), 5, "--rate-limit", "10")
	p := m.startUntil(5)
	output := m.ordered("cancel", "--latest", "--reason", "the wrong file")
	p.ends(5)
	m.check()
	if !strings.Contains(output, "was cancelled") || !strings.Contains(p.output(), "does not resume") {
		t.Errorf("cancel says\n%s\nthe migration\n%s", output, p.output())
	}
	calls := s.calls()
	refused(t, m.start(), 1, "was cancelled", "--again")
	if cancelled := m.status(); cancelled.State != "cancelled" || cancelled.changes() != "cancel,no,yes,the wrong file" || s.calls() != calls {
		t.Errorf("the status is %+v; %d more calls were made", cancelled, s.calls()-calls)
	}
}

// A load without -m that leaves records unknown is loaded with -m instead.
func TestAMigrationThatHasEndedWithUnknownRecordsIsCancelled(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t, "--faults", "reset-before=100", "--heal-after", "2")
	m := l.migration(s, l.users(fakeusers.Options{Records: 20, Seed: 87}), 10, "--rate-limit", "0", "--retry-rounds", "0").shared()
	m.run(4)
	before := m.figures()
	delta := *m
	delta.flags = append(slices.Clone(m.flags), "-m")
	delta.run(1)
	status, list := m.status(), m.ordered("list")
	if status.State != "unresolved" || *status.ExitCode != 4 || status.Records["unknown"] != 20 || !strings.Contains(status.Rerun, "without --delta-migration") {
		t.Errorf("after a rerun that was refused the status is %+v; want that of the run before, and the refusal", status)
	}
	hasAll(t, list, "unresolved", "without --delta-migration")
	hasAll(t, m.ordered("status"), "done, with records in unknown state", "The last rerun, at ", "could not start: ")

	output := m.ordered("cancel", "--latest", "--reason", "without -m by mistake")
	hasAll(t, output, "was cancelled: 20 records in an unknown state are in "+*before.Files.Unresolved)
	refused(t, m.start(), 1, "was cancelled", "--again")
	cancelled := m.status()
	if cancelled.State != "cancelled" || cancelled.changes() != "cancel,no,yes,without -m by mistake" {
		t.Errorf("the status is %+v", cancelled)
	}
	if after := m.figures(); !strings.Contains(readAll(m.summary()), `"cancelled": true`) || !maps.Equal(after.Records, before.Records) || len(m.artifacts("retry_*")) != 1 {
		t.Errorf("the summary is %+v, the retry files are %q; want it cancelled, with the records as before", after, m.artifacts("retry_*"))
	}
	hasAll(t, readAll(m.artifacts("report_*")[0]), "was cancelled: 20 records in an unknown state are in ", "Rerunning the command does not resume it")
	hasAll(t, m.operate("cancel", "--latest").ends(1).errors(), "does not run: cancelled, for good")
	delta.flags = append(delta.flags, "--again", "--retry-rounds", "3", "--retry-backoff", "100ms")
	delta.run(0)
	if accounts := len(s.content()); accounts != 20 {
		t.Errorf("%d accounts of 20 records", accounts)
	}
	hasAll(t, m.operate("cancel", "--latest").ends(1).errors(), "does not run: done")
}

func TestACancelOfARunThatWasCutOffSaysHowToEndIt(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 88}), 5, "--rate-limit", "20").shared()
	m.startUntil(5).kill()
	hasAll(t, m.operate("cancel", "--latest").ends(1).errors(), "cut off", "Ctrl-C", "repeat starter cancel", "remaining_*.csv")
	if state := m.status().State; state != "cut_off" {
		t.Errorf("it is %s", state)
	}
}

func TestAMigrationIsFoundAndSteeredByTheServiceAlone(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 85}), 5, "--rate-limit", "2").remote() // for half a minute: a list takes seconds while others use the service
	m.worker()
	p := m.startUntil(5)
	key := filepath.Base(filepath.Dir(m.ledger()))
	at := serviceFlags(t)
	elsewhere := *m
	elsewhere.state = l.path("elsewhere")
	until(t, "the service lists it", func() bool {
		return strings.Contains(elsewhere.ordered(append([]string{"list"}, at...)...), key)
	})
	running := elsewhere.status(append(at, key)...)
	if running.State != "running" || running.Records["total"] != 300 || running.Pace.Limit != 2 {
		t.Errorf("the status is %+v", running)
	}
	elsewhere.ordered(append([]string{"stop", key}, at...)...)
	p.ends(5)
	m.check()
	stopped := elsewhere.status(append(at, key)...)
	if stopped.State != "stopped" || stopped.Records["remaining"] == 0 || !slices.ContainsFunc(stopped.Events, func(e struct{ Kind, Who, Name, Old, New, Reason string }) bool { return e.Name == "stop" }) {
		t.Errorf("the status is %+v", stopped)
	}
}

func TestProgressSaysThatNoWorkerPollsTheTaskQueue(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 2000, Seed: 95}), 5, "--rate-limit", "5", "--retry-backoff", "100ms").remote()
	worker := m.worker()
	p := m.start()
	shown := func() string {
		lines := strings.Split(strings.TrimSpace(p.errors()), "\n")
		return lines[len(lines)-1]
	}
	until(t, "a speed is shown", func() bool { return strings.Contains(shown(), " left") || p.hasEnded() })
	worker.kill()
	want := "no worker polls the task queue " + m.queue()
	until(t, "it says that no worker polls", func() bool { return strings.Contains(shown(), want) })
	at := serviceFlags(t, filepath.Base(filepath.Dir(m.ledger())))
	status := m.ordered(append([]string{"status", "--json"}, at...)...)
	if !strings.Contains(status, `"unpolled_task_queue": "`+m.queue()+`"`) || strings.Contains(status, "seconds_left") || strings.Contains(status, "calls_per_second") {
		t.Errorf("the status is\n%s\nwant the task queue, and no pace", status)
	}
	hasAll(t, m.ordered(serviceFlags(t, "list")...), want)
	m.worker()
	m.ordered(append([]string{"set", "rate=0"}, at...)...)
	p.ends(0)
	m.check()
}

// Two migrations into one target wait, each of them also in a process of its own, and one
// that is paused itself still waits when the target is resumed.
func TestAPauseOfATargetIsForAllThatCallIt(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	one := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 84}), 5, "--rate-limit", "20", "--retry-backoff", "100ms")
	other := l.path("other.csv")
	must(t, os.Rename(one.input, other))
	one.input, other = other, l.users(fakeusers.Options{Records: 100, Seed: 85})
	two := l.migration(s, other, 5, "--rate-limit", "20", "--retry-backoff", "100ms")
	two.out = l.path("out-2")
	first := one.startUntil(5)
	second := two.start()
	host := strings.TrimPrefix(s.uri(), "http://")
	hasAll(t, one.ordered("pause", "--target", s.uri(), "--reason", "release"), "paused", host)
	calls := s.calls()
	until(t, "both wait", func() bool {
		for _, m := range []*migration{one, two} {
			if c := m.status(filepath.Base(m.input)).Pace.Closed; !strings.Contains(c, "release") {
				return false
			}
		}
		return true
	})
	if n := s.calls() - calls; n != 0 {
		t.Errorf("%d calls began after the pause was answered, want none", n)
	}
	one.ordered("pause", filepath.Base(one.input))
	one.ordered("resume", "--target", host)
	second.ends(0)
	if c := one.status(filepath.Base(one.input)); c.Paused == "" {
		t.Errorf("%+v; want the migration that was paused itself still paused", c)
	}
	one.ordered("resume", filepath.Base(one.input))
	first.ends(0)
	if p := one.operate("pause", "--latest", "--target", host); p.wait() != 2 || !strings.Contains(p.errors(), "found both") {
		t.Errorf("a migration and a target: %d, %s", p.wait(), p.errors())
	}
}
