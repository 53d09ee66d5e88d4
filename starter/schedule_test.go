package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/program"
)

// nightly is a schedule, and the folder in which its files arrive.
type nightly struct {
	lab    *lab
	target *sandboxTarget
	remote []string // options that name another service
	seen   int      // summaries of runs

	created string // what create has printed
}

// nightly creates the schedule.
func (l *lab) nightly(s *sandboxTarget, remote []string, flags ...string) *nightly {
	l.t.Helper()
	n := &nightly{lab: l, target: s, remote: remote}
	must(l.t, os.MkdirAll(l.path("incoming"), 0o700))
	n.created = n.schedule("create", append([]string{
		"nightly", "--cron", "0 2 * * *", "--time-zone", "Europe/Berlin", "--data", l.path("incoming", "*.csv"), "--output-dir", l.path("out"),
		"--apid_uri", s.uri(), "--settle", "500ms",
	}, flags...)...)
	return n
}

func (n *nightly) schedule(command string, args ...string) string {
	t := n.lab.t
	t.Helper()
	p := n.lab.start("starter", nil, append(append([]string{"schedule", command, "--state-dir", n.lab.path("state")}, n.remote...), args...)...).ends(0)
	return p.output()
}

func (n *nightly) serve() *process {
	n.lab.t.Helper()
	p := n.lab.start("starter", n.target.credentials(), append([]string{"serve", "--apid_uri", n.target.uri(), "--state-dir", n.lab.path("state")}, n.remote...)...)
	until(n.lab.t, "serve says what it serves", func() bool {
		if p.hasEnded() {
			n.lab.t.Fatalf("serve has ended: %s", p.errors())
		}
		return strings.Contains(p.errors(), "nightly")
	})
	return p
}

// put delivers a file as one should: in one moment.
func (n *nightly) put(name string, content []byte) {
	n.lab.t.Helper()
	hidden := n.lab.write(filepath.Join("incoming", "."+name), content)
	must(n.lab.t, os.Rename(hidden, n.lab.path("incoming", name)))
}

// told is what a run has recorded: results and where the file went, by name.
type told struct {
	ID    string `json:"workflow_id"`
	Files []struct {
		File, Result string
		MovedTo      string `json:"moved_to"`
		Reason       string
		Records      map[string]int
	}
	Known int
}

func (t told) results() (lines []string) {
	for _, f := range t.Files {
		line := filepath.Base(f.File) + ": " + f.Result
		if f.MovedTo != "" {
			line += ", " + filepath.Base(filepath.Dir(f.MovedTo))
		}
		lines = append(lines, line)
	}
	return lines
}

// next waits for the summary of the next run.
func (n *nightly) next() told {
	t := n.lab.t
	t.Helper()
	var found []string
	until(t, "the summary of the next run", func() bool {
		found, _ = filepath.Glob(n.lab.path("out", "scheduled_*.json"))
		return len(found) > n.seen
	})
	n.seen++
	return decoded[told](t, readAll(found[len(found)-1]))
}

// view is the output of describe.
type view struct {
	Paused  bool
	Note    string
	Next    []time.Time
	Running []string
	Runs    int
}

func (n *nightly) describe() view {
	n.lab.t.Helper()
	return decoded[view](n.lab.t, n.schedule("describe", "nightly", "--json"))
}

func sameLines(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
}

func TestAScheduleMigratesTheFilesThatAreNew(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	n := l.nightly(s, nil, "--rate-limit", "0", "--note", "the export of the shop")
	if v := n.describe(); v.Paused || v.Note != "the export of the shop" || len(v.Next) != 5 || v.Next[0].Hour() != 2 || v.Next[0].Minute() != 0 {
		t.Errorf("%+v; want the next five nights at two, and the note", v)
	}
	serving := n.serve()
	refused(t, l.start("starter", s.credentials(), "serve", "--state-dir", l.path("state")), 1, "another starter serve", "--state-dir")

	one, two := people(t, fakeusers.Options{Records: 30, Seed: 301}), people(t, fakeusers.Options{Records: 30, Seed: 302})
	n.put("one.csv", one)
	n.put("two.csv", two)
	n.put("bad.csv", []byte("email\na\xff@example.com\n"))
	growing, err := os.Create(l.path("incoming", "growing.csv"))
	must(t, err)
	defer growing.Close()
	stop, writing := make(chan struct{}), sync.WaitGroup{}
	fmt.Fprintln(growing, "email,displayName")
	writing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				fmt.Fprintf(growing, "late%d@example.com,Late\n", i)
			}
		}
	})
	n.schedule("trigger", "nightly")
	first := n.next()
	close(stop)
	writing.Wait()
	sameLines(t, first.results(), []string{"bad.csv: refused, failed", "growing.csv: growing", "one.csv: migrated, done", "two.csv: migrated, done"})
	if f := first.Files[0]; !strings.Contains(f.Reason, "line 2") || !strings.Contains(f.Reason, "UTF-8") {
		t.Errorf("the reason is %q; want line and fault", f.Reason)
	}
	if n := len(s.emails()); n != 60 {
		t.Errorf("%d users were written; want 60", n)
	}
	var v view
	until(t, "the schedule is paused", func() bool {
		v = n.describe()
		return v.Paused
	})
	if !strings.Contains(v.Note, "bad.csv (refused)") || v.Runs != 1 {
		t.Errorf("%+v; want to read that it is paused because of bad.csv, after one run", v)
	}

	// What has stopped to grow is taken now, and a content that is known is not
	// loaded again, whatever its name.
	n.schedule("unpause", "nightly", "--reason", "it was fixed")
	if v := n.describe(); v.Paused || v.Note != "unpaused: it was fixed" {
		t.Errorf("%+v; want it active, with the reason", v)
	}
	n.put("one-again.csv", one)
	n.put("one.csv", two)
	n.schedule("trigger", "nightly")
	sameLines(t, n.next().results(), []string{"growing.csv: migrated, done", "one-again.csv: known, done", "one.csv: known, done"})
	users := s.emails()
	slices.Sort(users)
	if len(users) < 61 || len(slices.Compact(slices.Clone(users))) != len(users) {
		t.Errorf("%d users were written; want those of growing.csv besides, and none twice", len(users))
	}
	for name, content := range map[string][]byte{"one.csv": one, "one-2.csv": two, "one-again.csv": one} {
		if got := readAll(l.path("incoming", "done", name)); got != string(content) {
			t.Errorf("done/%s is %.60q; want the file that was delivered", name, got)
		}
	}
	if v := n.describe(); v.Paused {
		t.Errorf("%+v; want it active", v)
	}
	calls := s.calls()
	n.schedule("trigger", "nightly")
	if again := n.next(); len(again.Files) != 0 || s.calls() != calls {
		t.Errorf("%+v, %d calls; want nothing new", again, s.calls()-calls)
	}
	serving.signal(syscall.SIGTERM)
	serving.ends(0)
	n.schedule("delete", "nightly")
	hasAll(t, n.schedule("list"), "There are no schedules")
}

func TestAServeThatIsKilledResumes(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t, "--latency", "50ms")
	n := l.nightly(s, nil, "--batch-size", "10", "--rate-limit", "15", "--retry-backoff", "20ms")
	n.put("users.csv", people(t, fakeusers.Options{Records: 600, Seed: 303}))
	serving := n.serve()
	n.schedule("trigger", "nightly")
	until(t, "some calls", func() bool { return s.calls() > 10 })
	serving.kill()
	if calls := s.calls(); calls >= 60 {
		t.Fatalf("%d calls until the kill: this was no test", calls)
	}
	// Without serve the error names the schedule that it belongs to.
	m := &migration{lab: l, target: s, input: l.path("incoming", "users.csv"), state: l.path("state"), out: l.path("out"), batch: 10,
		flags: []string{"--batch-size", "10"}, env: s.credentials()}
	refused(t, m.start(), 1, "started by a schedule", "starter serve")

	n.serve()
	sameLines(t, n.next().results(), []string{"users.csv: migrated, done"})
	m.input = l.path("incoming", "done", "users.csv")
	m.check()
	if f := m.figures(); f.Records["created"]+f.Records["recovered"] != 600 {
		t.Errorf("the records are %v; want 600 created or recovered", f.Records)
	}
	refused(t, m.start(), 1, "migrated already")
}

func TestARunInProgressFinishesWhenItsScheduleIsDeleted(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t, "--latency", "50ms")
	n := l.nightly(s, nil, "--batch-size", "10", "--rate-limit", "10")
	n.put("one.csv", people(t, fakeusers.Options{Records: 200, Seed: 304}))
	n.put("two.csv", people(t, fakeusers.Options{Records: 10, Seed: 305}))
	n.serve()
	n.schedule("trigger", "nightly")
	until(t, "some calls", func() bool { return s.calls() > 5 })
	hasAll(t, n.schedule("delete", "nightly"), "is deleted; its run", "finishes")
	sameLines(t, n.next().results(), []string{"one.csv: migrated, done", "two.csv: migrated, done"})
	until(t, "the order is gone", func() bool {
		left, err := os.ReadDir(l.path("state", "schedules"))
		return err == nil && len(left) == 0
	})
}

func TestAServeThatIsStoppedLeavesNothingUnknown(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t, "--latency", "300ms")
	n := l.nightly(s, nil, "--batch-size", "10", "--rate-limit", "15")
	n.put("users.csv", people(t, fakeusers.Options{Records: 400, Seed: 304}))
	serving := n.serve()
	n.schedule("trigger", "nightly")
	until(t, "some calls", func() bool { return s.calls() > 5 })
	serving.signal(syscall.SIGTERM)
	serving.ends(0)
	if calls := s.calls(); calls >= 40 {
		t.Fatalf("%d calls until the stop: this was no test", calls)
	}
	n.serve()
	result := n.next()
	sameLines(t, result.results(), []string{"users.csv: migrated, done"})
	if r := result.Files[0].Records; r["created"] != 400 {
		t.Errorf("the records are %v; want 400 created, since calls in flight finish", r)
	}
}

func TestAScheduleOfAnotherService(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	remote := serviceFlags(t)
	n := l.nightly(s, remote, "--task-queue", "remote-nightly")
	n.put("users.csv", people(t, fakeusers.Options{Records: 20, Seed: 305}))
	const waits = "No worker polls the task queue remote-nightly: the schedule nightly waits for starter serve, or a worker with --task-queue remote-nightly."
	for command, output := range map[string]string{"create": n.created, "describe": n.schedule("describe", "nightly"), "trigger": n.schedule("trigger", "nightly")} {
		hasAll(t, command+": "+output, waits)
	}
	until(t, "the list says so", func() bool { return strings.Contains(n.schedule("list"), waits) })
	n.remote = append(remote, "--task-queue", "remote-nightly")
	n.serve()
	sameLines(t, n.next().results(), []string{"users.csv: migrated, done"})
	n.remote = remote
	if list, one := n.schedule("list"), n.schedule("describe", "nightly"); strings.Contains(list+one, "No worker polls the task queue remote-nightly") {
		t.Errorf("a worker polls, and they say\n%s%s", list, one)
	}
}

func TestScheduleRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	must(t, os.MkdirAll(l.path("incoming"), 0o700))
	pattern := l.path("incoming", "*.csv")
	for _, c := range []struct {
		args  []string
		code  int
		words []string
	}{
		{[]string{"create", "--cron", "@daily", "--data", pattern, "--sandbox"}, 2, []string{"the name of one schedule"}},
		{[]string{"create", "x", "--data", pattern, "--sandbox"}, 2, []string{"--cron", "0 2 * * *"}},
		{[]string{"create", "x", "--cron", "@daily", "--time-zone", "Berlin", "--data", pattern, "--sandbox"}, 2, []string{"Europe/Berlin"}},
		{[]string{"create", "x", "--cron", "@daily", "--data", pattern}, 2, []string{"--apid_uri", "--sandbox"}},
		{[]string{"create", "x", "--cron", "@daily", "--sandbox"}, 2, []string{"--data"}},
		{[]string{"create", "x", "--cron", "@daily", "--data", "-", "--sandbox"}, 2, []string{"standard input"}},
		{[]string{"create", "x", "--cron", "@daily", "--data", l.path("nowhere", "*.csv"), "--sandbox"}, 1, []string{"nowhere"}},
		{[]string{"create", "x", "--cron", "@daily", "--data", pattern, "--sandbox", "--again"}, 2, []string{"--again is not for a schedule"}},
		{[]string{"create", "x", "--cron", "@daily", "--data", pattern, "--sandbox", "--settle", "0s"}, 2, []string{"--settle"}},
		{[]string{"pause", "x"}, 1, []string{"there is no schedule x", "schedule list"}},
	} {
		refused(t, l.start("starter", nil, append(append([]string{"schedule"}, c.args...), "--state-dir", l.path("state"))...), c.code, c.words...)
	}
	refused(t, l.start("starter", nil, "serve", "--state-dir", l.path("state")), 1, "credentials", "CAPTURE_CLIENT_ID")
}

func TestARefusedCommandLeavesAScheduleAlone(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	l.nightly(s, nil)
	p := l.start("starter", nil, "schedule", "create", "nightly", "--cron", "@daily", "--data", l.path("incoming", "*.csv"), "--apid_uri", s.uri(), "--batch-size", "7", "--state-dir", l.path("state"))
	refused(t, p, 1, "there is a schedule nightly already")
	if orders, _ := filepath.Glob(l.path("state", "schedules", "*")); len(orders) != 1 {
		t.Errorf("%q are ordered, want the one schedule", orders)
	}
	p = l.start("starter", nil, "schedule", "backfill", "nightly", "--from", "soon", "--state-dir", l.path("state"))
	refused(t, p, 2, `starter: --from is "soon"`)
}
