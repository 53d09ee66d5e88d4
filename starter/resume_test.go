package main_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"durable-dataload/internal/engine"
	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/check"
	"durable-dataload/internal/proof/program"
)

func TestARerunWatchesTheRunningMigration(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t, "--faults", "reset-after=20", "--seed", "3")
	m := l.migration(s, l.users(fakeusers.Options{Records: 200, Seed: 71, Awkward: true}), 5, "--rate-limit", "10", "--retry-rounds", "9", "--retry-backoff", "100ms", "--json")
	first := m.startUntil(5)
	second := m.start()
	first.ends(3)
	second.ends(3)
	m.check()
	hasAll(t, second.errors(), "Resuming the migration of")
	if first.output() != second.output() || first.output() != readAll(m.summary()) {
		t.Errorf("the first shows\n%s\nthe second\n%s\nthe summary is\n%s", first.output(), second.output(), readAll(m.summary()))
	}
}

// The first process ends with its engine before the second one has the result. To begin anew would find the migration done,
// or, with --again, load the file once more.
func TestARerunShowsTheEndThatItMissed(t *testing.T) {
	t.Parallel()
	for _, again := range []string{"", "--again"} {
		l, s := labWithSandbox(t)
		m := l.migration(s, l.users(fakeusers.Options{Records: 60, Seed: 74}), 5, "--rate-limit", "10", "--json")
		first := m.startUntil(3)
		if again != "" {
			m.flags = append(m.flags, again)
		}
		second := m.start()
		until(t, "the second one watches", func() bool { return strings.Contains(second.errors(), "Web UI") })
		second.signal(syscall.SIGSTOP)
		first.ends(0)
		calls := s.calls()
		second.signal(syscall.SIGCONT)
		second.ends(0)
		m.check()
		if first.output() != second.output() {
			t.Errorf("%q: the first shows\n%s\nthe second\n%s", again, first.output(), second.output())
		}
		if n := s.calls(); n != calls {
			t.Errorf("%q: %d calls after the end, want none", again, n-calls)
		}
	}
}

// Neither has a workflow yet that it watches, and both wait for something of the engine.
func TestCommandsThatHaveNotBegunOutliveTheEngine(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	done := l.migration(s, l.users(fakeusers.Options{Records: 60, Seed: 75}), 20, "--rate-limit", "0")
	done.run(0)
	first := l.migration(s, l.users(fakeusers.Options{Records: 400, Seed: 76}), 5, "--rate-limit", "10").startUntil(s.calls() + 5)
	undoing := done.rollback("--dry-run", "--rate-limit", "10")
	until(t, "the rollback reads the first records", func() bool { return s.count("entity.find") > 0 || undoing.hasEnded() })
	s.process.signal(syscall.SIGSTOP)
	validating := l.migration(s, l.write("more.csv", people(t, fakeusers.Options{Records: 20, Seed: 77})), 5).start()
	until(t, "the second migration uses the engine of the first", func() bool {
		return strings.Contains(readAll(filepath.Join(done.state, "logs", "starter.log")), fmt.Sprintf("WorkerID=%d@", validating.cmd.Process.Pid)) || validating.hasEnded()
	})
	first.kill()
	s.process.signal(syscall.SIGCONT)
	validating.ends(0)
	hasAll(t, validating.errors(), "takes over")
	undoing.ends(0)
	hasAll(t, undoing.errors(), "takes over")
}

func TestAWatcherTakesOverWhenTheFirstIsKilled(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t, "--latency", "50ms")
	m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 72}), 5, "--rate-limit", "10", "--retry-backoff", "100ms")
	first := m.startUntil(5)
	second := m.start()
	until(t, "the second watches", func() bool { return strings.Contains(second.errors(), "Web UI:") || second.hasEnded() })
	first.kill()
	calls := s.calls()
	second.ends(0)
	m.check()
	if !strings.Contains(second.errors(), "takes over") || s.calls() <= calls {
		t.Errorf("%d calls until the kill, %d in all; the second said\n%s\nwant it to take over", calls, s.calls(), second.errors())
	}
}

// starter serve runs the engine, so that the migration outlives its own process.
func TestCtrlCStopsAMigrationUnlessAnotherProcessWorksForIt(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 400, Seed: 73}), 5, "--rate-limit", "4")
	serve := l.start("starter", m.env, "serve", "--apid_uri", s.uri(), "--state-dir", m.state)
	until(t, "the engine runs", func() bool { return strings.Contains(serve.errors(), "Serving") || serve.hasEnded() })
	first := m.startUntil(3)
	attach := func() *process {
		t.Helper()
		p := m.start()
		until(t, "another process watches", func() bool { return strings.Contains(p.errors(), "Web UI:") || p.hasEnded() })
		p.signal(os.Interrupt)
		return p
	}
	second := attach().ends(5)
	if want := fmt.Sprintf("It runs on without this terminal, by process %d.", first.cmd.Process.Pid); !strings.Contains(second.errors(), want) {
		t.Errorf("it says\n%s\nwant %q", second.errors(), want)
	}
	calls := s.calls()
	until(t, "the first makes more calls", func() bool { return s.calls() > calls+2 || first.hasEnded() })

	first.kill()
	third := attach().ends(5)
	if text := third.errors(); !strings.Contains(text, "Stopping: ") || strings.Contains(text, "without this terminal") {
		t.Errorf("no other process works on it; want a stop, it says\n%s", text)
	}
	m.check()
	if f := m.figures(); f.Records["remaining"] == 0 || f.Records["created"] == 0 {
		t.Errorf("the records came to %v; want some created and some remaining", f.Records)
	}
}

func TestAFinishedFileIsLoadedAgainOnlyOnDemand(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 60, Seed: 74}), 10, "--rate-limit", "0")
	m.run(0)
	before, calls := m.snapshot(), s.calls()
	refused(t, m.start(), 1, "was migrated already", "60 created", "--again", filepath.Base(m.summary()))
	sameArtifacts(t, m.snapshot(), before)
	s.wantCalls(calls)

	again := l.migration(s, m.input, 10, "--rate-limit", "0", "--again")
	again.out = l.path("again")
	s.before = s.lastCall()
	again.run(3)
	e := again.evidence2(2)
	verify(t, e)
	again.wantRecords(map[string]int{"failed": 60})
	sameArtifacts(t, m.snapshot(), before)
}

// evidence2 is evidence where the state folder holds more than one migration.
func (m *migration) evidence2(ledgers int) check.Migration {
	m.lab.t.Helper()
	found, _ := filepath.Glob(filepath.Join(m.state, "migrations", "*", "ledger"))
	if len(found) != ledgers {
		m.lab.t.Fatalf("%d ledgers, want %d: %q", len(found), ledgers, found)
	}
	return check.Migration{Input: m.input, Summary: m.summary(), Truth: m.target.truth(), Before: m.target.before, BatchSize: m.batch}
}

// As Akamai's page on retrying failed migrations describes it.
func TestARetryFileIsLoadedByHand(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t, "--faults", "partial-502=30,http503=10,hang-after=5", "--seed", "9")
	m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 75, Awkward: true}), 10, "--rate-limit", "0", "--timeout", "1", "--retry-rounds", "0")
	p := m.run(4)
	m.check()
	f := m.figures()
	if f.Records["unknown"] == 0 || f.Records["recovered"] != 0 || len(f.Rounds) != 1 || len(f.Files.Retry) != 1 || f.Files.Unresolved == nil {
		t.Fatalf("the records came to %v in %d rounds, retry files %q; want some unknown and in one retry file", f.Records, len(f.Rounds), f.Files.Retry)
	}
	retry := filepath.Join(m.out, *f.Files.Unresolved)
	hasAll(t, p.output(), "unknown state: those of "+*f.Files.Unresolved)

	s.runAgain()
	written := map[string]bool{}
	for _, email := range s.emails() {
		written[strings.ToLower(email)] = true
	}
	s.before = s.lastCall()
	byHand := l.migration(s, retry, 10, "--rate-limit", "0")
	byHand.out = l.path("by-hand")
	byHand.run(3)
	verify(t, byHand.evidence2(2))
	var wantCreated, wantFailed int
	for _, email := range emails(t, retry) {
		if key := strings.ToLower(email); written[key] {
			wantFailed++
		} else {
			written[key] = true
			wantCreated++
		}
	}
	g := byHand.figures()
	if g.Records["created"] != wantCreated || g.Records["failed"] != wantFailed || wantCreated == 0 || wantFailed == 0 {
		t.Errorf("%d created, %d failed; want %d, and the %d that were written before", g.Records["created"], g.Records["failed"], wantCreated, wantFailed)
	}
	for _, row := range rows(t, filepath.Join(byHand.out, g.Files.Fail)) {
		hasAll(t, row[3], "Attempted to update a duplicate value")
	}
}

func TestTheFirstInterruptEndsTheMigrationInOrder(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			if signal != os.Interrupt {
				program.Long(t)
			}
			t.Parallel()
			l, s := labWithSandbox(t, "--latency", "400ms")
			m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 76, Awkward: true}), 5, "--rate-limit", "15")
			p := m.startUntil(8)
			calls := s.calls()
			p.signal(signal)
			p.ends(5)
			m.check()
			f := m.figures()
			if f.Records["remaining"] == 0 || f.Records["unknown"] != 0 || f.Files.Remaining == nil {
				t.Errorf("the records came to %v; want some remaining and, since the calls in flight ended, none unknown", f.Records)
			}
			if after := s.calls() - calls; after > 15 {
				t.Errorf("%d calls ended after the interrupt, want only those in flight", after)
			}
			if !strings.Contains(p.errors(), "Stopping") || !strings.Contains(p.output(), "remaining") {
				t.Errorf("it does not say what it does:\n%s\n%s", p.errors(), p.output())
			}
			m.run(3)
			m.check()
			f = m.figures()
			if f.Records["remaining"] != 0 || len(f.Rounds) != 1 || len(m.artifacts("remaining_*")) > 0 {
				t.Errorf("the records came to %v in %d rounds, remaining files %q; want none remaining", f.Records, len(f.Rounds), m.artifacts("remaining_*"))
			}
		})
	}
}

func TestAnInterruptInARetryRoundKeepsWhatIsUnknown(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t, "--faults", "reset-after=50,reset-before=20", "--seed", "5", "--latency", "100ms")
	m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 77}), 5, "--rate-limit", "15", "--retry-rounds", "20", "--retry-backoff", "100ms")
	p := m.start()
	until(t, "a retry round is loaded", func() bool { return s.calls() >= 68 })
	p.signal(os.Interrupt)
	p.ends(4)
	m.check()
	if f := m.figures(); f.Records["unknown"] == 0 || f.Files.Unresolved == nil {
		t.Errorf("the records came to %v; want some unknown, in a file", f.Records)
	}
	s.runAgain() // well again
	m.run(0)
	m.check()
	if f := m.figures(); f.Files.Unresolved != nil || len(m.artifacts("retry_*")) != len(f.Files.Retry) {
		t.Errorf("retry files %q, the summary names %q, unresolved %v; want only those of rounds", m.artifacts("retry_*"), f.Files.Retry, f.Files.Unresolved)
	}
}

func TestTheSecondInterruptEndsAtOnce(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t, "--latency", "3s")
	m := l.migration(s, l.users(fakeusers.Options{Records: 100, Seed: 78}), 5, "--rate-limit", "10", "--retry-backoff", "100ms")
	p := m.start()
	until(t, "calls are in flight", func() bool { return len(m.claims(p)) >= 3 })
	p.signal(os.Interrupt)
	until(t, "it says that it stops", func() bool { return strings.Contains(p.errors(), "Stopping") })
	p.signal(os.Interrupt)
	p.ends(5)
	s.runAgain()
	m.run(0)
	m.check()
	if f := m.figures(); f.Records["created"]+f.Records["recovered"] != 100 {
		t.Errorf("the records came to %v; want 100 created or recovered", f.Records)
	}
}

// The database of the embedded engine belongs to one version of it. A migration
// that another version has started resumes from its ledger.
func TestAMigrationResumesUnderAnotherEngine(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t, "--latency", "20ms")
	m := l.migration(s, l.users(fakeusers.Options{Records: 200, Seed: 91}), 5, "--rate-limit", "20", "--retry-backoff", "100ms")
	first := m.startUntil(5)
	first.kill()

	engine := filepath.Join(m.state, "engine")
	files, err := filepath.Glob(filepath.Join(engine, "temporal-*.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no database in %s: %v", engine, err)
	}
	for _, file := range files {
		_, suffix, _ := strings.Cut(filepath.Base(file), ".db")
		must(t, os.Rename(file, filepath.Join(engine, "temporal-0.1.0.db"+suffix)))
	}
	p := m.run(0)
	m.check()
	if said := p.errors(); !strings.Contains(said, "another version") || !strings.Contains(said, "temporal-0.1.0.db ") || strings.Contains(said, ".db-wal") {
		t.Errorf("it said\n%s\nwant the other engine's database named", said)
	}
	if _, err := os.Stat(filepath.Join(engine, "temporal-0.1.0.db")); err != nil {
		t.Errorf("the other engine's database is gone: %v", err)
	}

	again := l.migration(s, l.users(fakeusers.Options{Records: 10, Seed: 92}), 5)
	again.state = m.state
	p = again.run(0)
	if strings.Contains(p.errors(), "another version") {
		t.Errorf("it is said a second time:\n%s", p.errors())
	}
}

// An operator can reset a workflow in Temporal at any time: it runs again from
// an earlier point, and all its activities with it.
func TestAResetOfAWorkflowSendsNothingTwice(t *testing.T) {
	program.Long(t)
	t.Parallel()
	for _, which := range []string{"the migration", "the load"} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			l, s := labWithSandbox(t, "--latency", "900ms")
			m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 27}), 5, "--rate-limit", "0", "--timeout", "3", "--retry-backoff", "20ms").remote()
			m.worker()
			p := m.startUntil(12)
			reset(t, m, which == "the load")
			if which == "the migration" {
				// What it watched was terminated by the reset. A rerun
				// of the command finds the run that replaced it, which may stop
				// because of the load that the first has started, and resumes.
				p.ends(1)
				for again := 0; p.wait() != 0 && again < 4; again++ {
					p = m.start()
				}
			}
			p.ends(0)
			m.check()
			if f := m.figures(); f.Records["created"]+f.Records["recovered"] != 300 {
				t.Errorf("the records came to %v; want 300 created or, where a call was in flight at the reset, recovered", f.Records)
			}
		})
	}
}

// reset runs a workflow of a remote migration again from its start.
func reset(t *testing.T, m *migration, load bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c := dial(t, serviceOf(t))
	kind := "MigrationWorkflow"
	if load {
		kind = "LoadWorkflow"
	}
	found := m.find(c, kind)
	history := c.GetWorkflowHistory(ctx, found.GetWorkflowId(), found.GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		event, err := history.Next()
		must(t, err)
		if event.GetEventType() != enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
			continue
		}
		_, err = c.ResetWorkflowExecution(ctx, &workflowservice.ResetWorkflowExecutionRequest{
			Namespace: engine.Namespace, WorkflowExecution: found, Reason: "a test", WorkflowTaskFinishEventId: event.GetEventId(), RequestId: "reset-" + found.GetRunId(),
		})
		must(t, err)
		return
	}
	t.Fatal("the workflow has no task that was completed")
}

// find gives the one workflow of this kind that runs for a remote migration.
func (m *migration) find(c client.Client, kind string) (found *common.WorkflowExecution) {
	m.lab.t.Helper()
	until(m.lab.t, "the service lists the workflow", func() bool {
		list, err := c.ListWorkflow(context.Background(), &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: engine.Namespace, Query: "WorkflowType = '" + kind + "' AND TaskQueue = '" + m.queue() + "' AND ExecutionStatus = 'Running'",
		})
		must(m.lab.t, err)
		if len(list.GetExecutions()) == 1 {
			found = list.GetExecutions()[0].GetExecution()
		}
		return found != nil
	})
	return found
}
