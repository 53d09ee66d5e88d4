// Package session is the use that a command makes of a Temporal service: it embeds
// the engine or connects to one, runs a worker, starts a workflow or attaches to it,
// and follows it to its end.
package session

import (
	"context"
	"errors"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/target"
	"durable-dataload/workflows"
)

// Operation is what a command does with one workflow: a migration, a rollback or a
// verification. A session calls the methods in this order.
type Operation interface {
	// Identify finds the workflow, without a service, and refuses what was done
	// before.
	Identify(ctx context.Context) (Job, error)
	// Prepare comes before the workflow, and before this process works on any. It
	// gives ErrStopped after a Ctrl-C, and ErrNothingToDo.
	Prepare(ctx context.Context) error
	// Attach checks that the running workflow may be attached to. Else Begin
	// writes down what the workflow needs.
	Attach() error
	Begin() error
	// IsFinished says, of a run that was being stopped and has ended, that
	// nothing is left for another run.
	IsFinished() (bool, error)
	Start(ctx context.Context) (client.WorkflowRun, error)
	Introduce()
	// Follow gives what shows the progress of the workflow.
	Follow() (update func(context.Context))
	// End shows the result, and gives the exit code.
	End() int
}

// Job is a workflow, and what a worker of this process needs for it.
type Job struct {
	Work
	Spec   migration.Spec // with the id of the workflow, and the connection to the target
	Result any            // where the result of the workflow is put
}

var (
	ErrStopped     = errors.New("stopped")
	ErrNothingToDo = errors.New("there is nothing to do")
)

// StoppedEarly is for people: a workflow was stopped before its first call.
const StoppedEarly = "Stopped before anything was sent. Rerun the command to begin again."

// Session runs an operation on one Temporal service.
type Session struct {
	Process
	Options  Options
	Service  *Service
	Attached bool // the workflow was running already
	Open     bool // this session has started the workflow or attached to it, and does not know its end
}

// Run runs the operation to its end. It gives the exit code, or ErrEngineGone.
func (s *Session) Run(ctx context.Context, op Operation) (int, error) {
	identifying, done := s.UntilStopped(ctx) // a large file is read
	j, err := op.Identify(identifying)
	done()
	if err == nil {
		err = s.checkTarget(j)
	}
	if err != nil {
		return s.notBegun(err)
	}
	if s.Service, err = Open(ctx, s.Process, s.Options); err != nil {
		return 0, err
	}
	defer s.Service.Close()
	for _, note := range s.Service.Notes {
		s.Screen.Say(note)
	}
	return s.operate(ctx, op, j)
}

// operate runs the operation on the service.
func (s *Session) operate(ctx context.Context, op Operation, j Job) (int, error) {
	var ended, run client.WorkflowRun
	err := s.Service.While(ctx, func(ctx context.Context) (err error) {
		if err := op.Prepare(ctx); err != nil {
			return err
		}
		if err := s.work(ctx, j); err != nil {
			return err
		}
		if ended, err = s.attachOrBegin(ctx, op, j); err == nil && ended == nil {
			run, err = op.Start(ctx)
		}
		return err
	})
	switch {
	case err != nil:
		return s.notBegun(err)
	case ended != nil:
		return s.conclude(ctx, op, j, ended, nil)
	}
	s.Open = true
	return s.follow(ctx, op, j, run)
}

// notBegun ends an operation that did not come to its workflow.
func (s *Session) notBegun(err error) (int, error) {
	switch {
	case errors.Is(err, ErrNothingToDo):
		return migration.ExitDone, nil
	case errors.Is(err, ErrStopped):
		s.Screen.Say(StoppedEarly)
		return migration.ExitStopped, nil
	}
	return 0, err
}

// follow shows the workflow until it ends or is released.
func (s *Session) follow(ctx context.Context, op Operation, j Job, run client.WorkflowRun) (int, error) {
	op.Introduce()
	s.Service.introduce(ctx, run)
	w := Watcher{Process: s.Process, Service: s.Service, Attached: s.Attached, Again: "Rerun the command to see it again."}
	err := w.Watch(ctx, run, j.Result, op.Follow())
	switch {
	case errors.Is(err, ErrEngineGone):
		return s.endedMeanwhile(ctx, op, j, run)
	case errors.Is(err, ErrReleased):
		return migration.ExitStopped, nil
	}
	return s.conclude(ctx, op, j, run, err)
}

// endedMeanwhile shows the result of a workflow that ended before the engine did. To begin anew would find it done, or do
// it once more. The error is ErrEngineGone if it runs: it needs a process.
func (s *Session) endedMeanwhile(ctx context.Context, op Operation, j Job, run client.WorkflowRun) (int, error) {
	service, err := Open(ctx, s.Process, s.Options)
	if err != nil {
		return 0, err
	}
	defer service.Close()
	e, err := service.Execution(ctx, run.GetID())
	if err == nil && (e.Running || e == Execution{}) {
		err = ErrEngineGone
	}
	if err != nil {
		return 0, service.lost(err)
	}
	s.Service = service
	run = service.Client.GetWorkflow(ctx, run.GetID(), run.GetRunID())
	return s.conclude(ctx, op, j, run, run.Get(ctx, j.Result))
}

// checkTarget shows that the target can be connected to as far as that takes no
// call, if this process is to run a worker.
func (s *Session) checkTarget(j Job) error {
	if remote, err := s.Options.IsRemote(); err != nil || remote && !s.Options.WithWorker {
		return err
	}
	if err := j.Credentials.Check(); err != nil {
		return err
	}
	_, err := j.Credentials.Connect(j.Spec, target.Hooks{})
	return err
}

// work runs a worker in this process. Where the engine is embedded it is for the one
// workflow: the credentials of this command are for that one only.
func (s *Session) work(ctx context.Context, j Job) error {
	if s.Service.TaskQueue == "" {
		s.Service.TaskQueue = j.Spec.ID
	} else if !s.Service.owner {
		return nil // other processes run workers
	}
	j.LongestCall = j.Spec.Timeout
	return s.Service.StartWorker(ctx, j.Work)
}

// attachOrBegin finds out whether the workflow runs, and prepares a new one if not. A
// run that was being stopped ends first, where only this process works on it: if
// nothing is left to do after it, it is given.
func (s *Session) attachOrBegin(ctx context.Context, op Operation, j Job) (ended client.WorkflowRun, err error) {
	for {
		e, err := s.Service.Execution(ctx, j.Spec.ID)
		if err != nil {
			return nil, err
		}
		if s.Attached = e.Running; !s.Attached {
			return nil, op.Begin()
		}
		if err := s.Service.refuseServed(j.Spec.ID, e); err != nil {
			return nil, err
		}
		if err := op.Attach(); err != nil {
			return nil, err
		}
		if !e.Ending || !s.Service.worksAlone(ctx) {
			return nil, nil
		}
		s.Screen.Say("An earlier run is stopping; waiting for its end.")
		run := s.Service.Client.GetWorkflow(ctx, j.Spec.ID, "")
		if run.Get(ctx, nil) != nil {
			continue
		}
		finished, err := op.IsFinished()
		if err != nil {
			return nil, err
		}
		if finished { // else the result is that of the next run alone
			return run, run.Get(ctx, j.Result)
		}
	}
}

// StartOptions start a workflow of ours, or attach to the run that there is.
func (s *Session) StartOptions(id, summary string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID:                       id,
		TaskQueue:                s.Service.TaskQueue,
		WorkflowTaskTimeout:      workflows.TaskTimeout,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            summary,
	}
}

// Execute starts the workflow, or attaches to it. what is the operation, for people.
func (s *Session) Execute(ctx context.Context, what string, o client.StartWorkflowOptions, workflow, input any) (client.WorkflowRun, error) {
	run, err := s.Service.Client.ExecuteWorkflow(ctx, o, workflow, input)
	if err != nil {
		err = fmt.Errorf("the Temporal service did not start the %s: %w", what, err)
	}
	return run, err
}

// RefuseRunning refuses, while a migration runs, what is about one that has ended.
func (s *Session) RefuseRunning(ctx context.Context, id string) error {
	e, err := s.Service.Execution(ctx, id)
	if err == nil && e.Running {
		err = NotEnded(id)
	}
	return err
}

// NotEnded is the error for what is about a migration that has ended.
func NotEnded(id string) error {
	return fmt.Errorf("the migration %s has not ended; rerun its command and let it end, or stop it there with Ctrl-C, and try again", id)
}

// conclude shows what the workflow came to.
func (s *Session) conclude(ctx context.Context, op Operation, j Job, run client.WorkflowRun, err error) (int, error) {
	s.Open = false
	if j.Notices != nil {
		defer s.awaitNotices(ctx, run)
	}
	switch {
	case temporal.IsCanceledError(err):
		s.Screen.Say(StoppedEarly)
		return migration.ExitStopped, nil
	case err != nil:
		return 0, errors.New(workflows.Cause(err))
	}
	return op.End(), nil
}
