package main_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/limiter"
	migrations "durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
	"durable-dataload/internal/sandbox"
	"durable-dataload/workflows"
)

// order steers the migration.
func (s *scene) order(run client.WorkflowRun, name string, set map[string]string) {
	s.t.Helper()
	handle, err := s.client.UpdateWorkflow(s.ctx, client.UpdateWorkflowOptions{
		WorkflowID: run.GetID(), RunID: run.GetRunID(), UpdateName: name,
		Args:         []any{workflows.Order{By: "olga", Reason: "to be recorded", Set: set}},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	var answer workflows.Answer
	if err == nil {
		err = handle.Get(s.ctx, &answer)
	}
	if err != nil {
		s.t.Fatalf("%s: %s: %v", s.name, name, err)
	}
}

// progress is what a workflow of the scene tells of itself.
func (s *scene) progress(id string) (p workflows.Progress, ok bool) {
	value, err := s.client.QueryWorkflow(s.ctx, id, "", workflows.QueryProgress)
	return p, err == nil && value.Get(&p) == nil
}

// untilDecided waits until the migration waits for a decision.
func (s *scene) untilDecided(run client.WorkflowRun, by string) {
	s.t.Helper()
	s.eventually("the migration waits for "+by, func() bool {
		p, ok := s.progress(run.GetID())
		return ok && p.Steering.DecidedBy == by
	})
}

// untilOpen waits until the breaker is open, and the load has the results of the calls that
// opened it.
func (s *scene) untilOpen(run client.WorkflowRun) {
	s.t.Helper()
	s.eventually("the breaker opens", func() bool {
		p, ok := s.progress(run.GetID())
		if !ok || len(p.Children) == 0 {
			return false
		}
		p, ok = s.progress(p.Children[0])
		all, err := workflows.NewLimiterClient(s.client, s.spec.Target.Host()).View(s.ctx)
		gate := all.Of(run.GetID())
		return ok && p.BatchesDone >= s.spec.Breaker && err == nil && gate != nil && gate.Breaker
	})
}

// recordSteered is one that is paused, set, resumed and stopped, and the run
// that resumes it.
func (r *recorder) recordSteered(name string) {
	s := r.scene(name, 150, sandbox.Options{Latency: 150 * time.Millisecond}, "")
	s.spec.MaxFailed = "90%"
	result, err := s.run(func(run client.WorkflowRun) {
		r.eventually("some batches are loaded", func() bool { return r.calls(s) >= 3 })
		s.order(run, workflows.UpdatePause, nil)
		s.order(run, workflows.UpdateSet, map[string]string{"rate": "50", "rate-plan": "else 40/s", "workers": "2", "breaker": "4", "max-failed": "50%"})
		s.order(run, workflows.UpdateSet, map[string]string{"workers": "2"}) // nothing changes
		s.order(run, workflows.UpdateResume, nil)
		before := r.calls(s)
		r.eventually("some more are loaded", func() bool { return r.calls(s) >= before+4 })
		s.order(run, workflows.UpdateStop, nil)
	})
	r.expect(s.name, result, err, func(w workflows.Result) bool { return w.Summary.Records.Remaining > 0 && w.Halted == "" })
	result, err = s.run(nil)
	r.expect(s.name, result, err, func(w workflows.Result) bool { return w.Summary.Records.Created == 142 })
}

// recordCancelled is one that is given up while it is paused.
func (r *recorder) recordCancelled(name string) {
	s := r.scene(name, 300, sandbox.Options{Latency: 100 * time.Millisecond}, "")
	result, err := s.run(func(run client.WorkflowRun) {
		r.eventually("some batches are loaded", func() bool { return r.calls(s) >= 3 })
		s.order(run, workflows.UpdatePause, nil)
		s.order(run, workflows.UpdateCancel, nil)
	})
	r.expect(s.name, result, err, func(w workflows.Result) bool {
		return w.Summary.Records.Remaining > 0 && w.Summary.Cancelled && s.spec.Folder.Cancelled()
	})
}

// recordMaxFailedRetry is one whose records fail in the first retry round, which
// has heard of another limit by then, and hears of one more.
func (r *recorder) recordMaxFailedRetry(name string) {
	var input strings.Builder
	input.WriteString("email\n")
	for i := 1; i <= 80; i++ {
		email := fmt.Sprintf("a%d@example.com", i)
		if i%5 == 0 {
			email = fmt.Sprintf("no address %d", i)
		}
		input.WriteString(email + "\n")
	}
	s := r.sceneOf(name, input.String(), sandbox.Options{HealAfter: 16, Latency: 200 * time.Millisecond}, "http502=100")
	s.spec.MaxFailed, s.spec.RetryBackoff, s.spec.Workers = "50%", 3*time.Second, 1
	result, err := s.run(func(run client.WorkflowRun) {
		s.untilBackoff(run)
		s.order(run, workflows.UpdateSet, map[string]string{"max-failed": "40%"})
		r.eventually("round 1 begins", func() bool { return r.calls(s) > 16 })
		s.order(run, workflows.UpdateSet, map[string]string{"max-failed": "2"})
		s.untilDecided(run, workflows.UpdateResume)
		s.order(run, workflows.UpdateResume, nil)
	})
	r.expect(s.name, result, err, func(w workflows.Result) bool {
		return w.Summary.Records.Failed == 16 && w.Summary.Records.Created == 64
	})
}

// recordCanary is one whose canary is approved.
func (r *recorder) recordCanary(name string) {
	s := r.scene(name, 40, sandbox.Options{}, "")
	s.spec.Canary = 10
	result, err := s.run(func(run client.WorkflowRun) {
		s.untilDecided(run, workflows.UpdateApprove)
		s.order(run, workflows.UpdateApprove, nil)
	})
	r.expect(s.name, result, err, func(w workflows.Result) bool { return w.Summary.Records.Created == 38 })
}

// receiver takes notices: one only at the second attempt, and one never.
func (s *scene) receiver() {
	s.t.Helper()
	var busy atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		var n notify.Notice
		if err := json.NewDecoder(request.Body).Decode(&n); err != nil {
			s.t.Error(err)
		}
		switch {
		case n.Type == notify.Started && busy.CompareAndSwap(false, true):
			w.WriteHeader(http.StatusServiceUnavailable)
		case n.Type == notify.Paused:
			w.WriteHeader(http.StatusGone)
		}
	}))
	s.t.Cleanup(server.Close)
	var err error
	s.notices, err = notify.New(notify.Options{URL: server.URL})
	must(s.t, err)
	s.spec.Notify = true
	s.restart()
}

// restart replaces the worker.
func (s *scene) restart() {
	s.acts.Drain()
	s.worker.Stop()
	s.startWorker()
}

// recordNotices is one that tells of all that can happen: of its canary, the
// breaker, a pause, a decision, its end.
func (r *recorder) recordNotices(name string) {
	s := r.scene(name, 100, sandbox.Options{HealAfter: 4}, "http502=100")
	s.receiver()
	s.spec.Breaker, s.spec.Canary, s.spec.MaxFailed = 2, 5, "2"
	result, err := s.run(func(run client.WorkflowRun) {
		s.untilDecided(run, workflows.UpdateApprove)
		s.order(run, workflows.UpdateApprove, nil)
		s.untilOpen(run)
		s.order(run, workflows.UpdatePause, nil)
		s.order(run, workflows.UpdateResume, nil)
		s.untilDecided(run, workflows.UpdateResume)
		s.order(run, workflows.UpdateResume, nil)
	})
	r.expect(s.name, result, err, func(w workflows.Result) bool {
		return w.Summary.Records.Failed == 5 && w.Summary.Records.Unknown == 0
	})
}

// recordBreakerWorker is one whose worker is stopped while its batches wait for
// that: another one begins them again.
func (r *recorder) recordBreakerWorker(name string) {
	s := r.scene(name, 60, sandbox.Options{HealAfter: 6}, "http502=100")
	s.spec.Breaker = 3
	result, err := s.run(func(run client.WorkflowRun) {
		s.untilOpen(run)
		s.restart()
	})
	r.expect(s.name, result, err, func(w workflows.Result) bool {
		return w.Summary.Records.Unknown == 0 && w.Summary.Records.Recovered == 0 && w.Summary.Records.Created == 57
	})
}

// recordLimiter is the second run of a limiter, with the state of the first.
func (r *recorder) recordLimiter(name string) {
	c := workflows.NewLimiterClient(r.client, "limiter.example.com")
	limits := limiter.Limits{Rate: 50, Workers: 4, Breaker: 2}
	ask := func(seq int, reports ...limiter.Report) limiter.Answer {
		answer, err := c.Ask(r.ctx, limiter.Request{
			Worker: "worker", Seq: int64(seq), Clock: "clock", Sent: time.Duration(seq) * time.Millisecond, Travel: time.Millisecond,
			Needs: []limiter.Need{{Run: "run", Limits: limits, InFlight: 1, Slots: 3, Ready: 2}}, Reports: reports,
		})
		must(r.t, err)
		return answer
	}
	order := func(id string, o limiter.Order) {
		_, err := c.Order(r.ctx, id, o)
		must(r.t, err)
	}
	first := ""
	for seq := 1; ; seq++ {
		ask(seq, limiter.Report{Run: "run", Calls: 1})
		d, err := r.client.DescribeWorkflowExecution(r.ctx, c.ID, "")
		must(r.t, err)
		run := d.GetWorkflowExecutionInfo().GetExecution().GetRunId()
		if first = cmp.Or(first, run); run != first {
			break
		}
	}
	const later = 1000
	order("pause", limiter.Order{Run: "run", Number: 1, Pause: "paused by anna", By: "anna"})
	ask(later)
	order("resume", limiter.Order{Run: "run", Number: 2, Limits: &limits, Resume: true, By: "anna"})
	ask(later+1, limiter.Report{Run: "run", Calls: 1, Reason: "http 503", Busy: true, RetryAfter: time.Second})
	ask(later+2, limiter.Report{Run: "run", Calls: 2, Reason: "http 502", Unknown: true})
	must(r.t, c.Revoke(r.ctx, "worker"))
	order("end", limiter.Order{Run: "run", Number: 3, End: true})
	must(r.t, r.client.TerminateWorkflow(r.ctx, c.ID, "", "it is recorded"))
	s := &scene{recorder: r, name: name}
	d, err := r.client.DescribeWorkflowExecution(r.ctx, c.ID, "")
	must(r.t, err)
	s.save(c.ID, d.GetWorkflowExecutionInfo().GetExecution().GetRunId(), map[string]int{})
}

// incoming is the folder of the scene's schedule.
func (s *scene) incoming() string { return filepath.Join(s.dir, s.name, "incoming") }

func (s *scene) put(name, content string) {
	s.t.Helper()
	must(s.t, os.MkdirAll(s.incoming(), 0o700))
	must(s.t, os.WriteFile(filepath.Join(s.incoming(), name), []byte(content), 0o600))
}

// runSchedule runs the scene's schedule once, and saves the histories.
func (s *scene) runSchedule(meanwhile func(client.WorkflowRun)) (result migrations.Scheduled, err error) {
	s.t.Helper()
	options := s.spec
	options.ID, options.DataFile, options.Folder, options.SHA256 = "", "", migrations.Folder{}, ""
	schedule := migrations.Schedule{
		ID: s.name, Patterns: []string{filepath.Join(s.incoming(), "*.csv")}, StateDir: filepath.Join(s.dir, s.name, "state"),
		Settle: time.Second, Options: options,
	}
	must(s.t, schedule.Order())
	err = s.execute(client.StartWorkflowOptions{ID: "scheduled-" + s.name}, workflows.ScheduledMigrationWorkflow, workflows.ScheduledInput{Schedule: schedule}, meanwhile, &result)
	return result, err
}

// recordScheduled is two runs of a schedule: one finds a file that is still
// being written, the next one a file that was migrated before and one that
// cannot be migrated.
func (r *recorder) recordScheduled(name string) {
	s := r.scene(name, 0, sandbox.Options{}, "")
	s.put("a.csv", inputOf(1, 10))
	s.put("b.csv", inputOf(11, 12))
	result, err := s.runSchedule(func(run client.WorkflowRun) {
		r.eventually("the files are listed once", func() bool { return r.hasStartedTimer(run.GetID()) })
		s.put("b.csv", inputOf(11, 30))
	})
	if err != nil || len(result.Files) != 2 || result.Files[0].Result != migrations.FileMigrated || result.Files[1].Result != migrations.FileGrowing {
		r.t.Fatalf("%s: %+v, %v: not the run to record", name, result, err)
	}
	s.put("c.csv", inputOf(1, 10))
	s.put("d.csv", "")
	_, err = s.runSchedule(nil)
	var left *temporal.ApplicationError
	if !errors.As(err, &left) || left.Type() != workflows.FilesLeft || !strings.Contains(left.Message(), "d.csv (refused)") {
		r.t.Fatalf("%s: %v: not the run to record", name, err)
	}
}
