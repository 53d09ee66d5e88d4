package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"filippo.io/age"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
	"durable-dataload/internal/telemetry"
	"durable-dataload/internal/terminal"
	"durable-dataload/workflows"
)

// operation is what a command does with one workflow: a migration, a rollback or
// a verification. A session calls the hooks in this order.
type operation interface {
	// identify finds the workflow, without a service, and refuses what was done
	// before.
	identify(ctx context.Context) (job, error)
	// prepare comes before the workflow, and before this process works on any. It
	// gives errStopped after a Ctrl-C, and errNothingToDo.
	prepare(ctx context.Context) error
	// attach checks that the running workflow may be attached to. Else begin
	// writes down what the workflow needs.
	attach() error
	begin(ctx context.Context) error
	// isFinished says, of a run that was being stopped and has ended, that
	// nothing is left for another one.
	isFinished() (bool, error)
	start(ctx context.Context) (client.WorkflowRun, error)
	introduce()
	// follow gives what shows the progress of the workflow.
	follow() (update func(context.Context))
	// end shows the result, and gives the exit code.
	end() int
}

// job is a workflow, and what the worker of this process needs for it.
type job struct {
	spec       migration.Spec // with the id of the workflow, and the connection to the target
	identities []age.Identity
	notices    *notify.Sender
	result     any // where the result of the workflow is put
}

var (
	errStopped     = errors.New("stopped")
	errNothingToDo = errors.New("there is nothing to do")
)

const stoppedEarly = "Stopped before anything was sent. Rerun the command to begin again."

// session runs an operation on one Temporal service.
type session struct {
	process
	options  *runOptions
	service  *service
	attached bool // the workflow was running already
	open     bool // this session has started the workflow or attached to it, and does not know its end
}

// run runs the operation to its end. It gives the exit code, or errEngineGone.
func (s *session) run(ctx context.Context, op operation) (_ int, err error) {
	closeTarget, err := s.options.openTarget()
	if err != nil {
		return 0, err
	}
	defer closeTarget()
	j, err := op.identify(ctx)
	if err != nil {
		return 0, err
	}
	if s.service, err = openService(ctx, *s.options, s.process, j.spec); err != nil {
		return 0, err
	}
	defer func() {
		err = s.service.lost(err)
		s.service.close()
	}()
	for _, note := range s.service.notes {
		s.screen.Say(note)
	}
	err = op.prepare(ctx)
	switch {
	case errors.Is(err, errNothingToDo):
		return migration.ExitDone, nil
	case errors.Is(err, errStopped):
		s.screen.Say(stoppedEarly)
		return migration.ExitStopped, nil
	case err != nil:
		return 0, err
	}
	if err := s.service.work(j.spec, s.options.credentials, j.identities, j.notices, s.log); err != nil {
		return 0, err
	}
	if ended, err := s.attachOrBegin(ctx, op, j); err != nil {
		return 0, err
	} else if ended != nil {
		return s.conclude(ctx, op, j, ended, nil)
	}
	run, err := op.start(ctx)
	if err != nil {
		return 0, err
	}
	s.open = true
	op.introduce()
	s.service.introduce(ctx, run, s.screen)
	w := watcher{service: s.service, screen: s.screen, log: s.log, stop: s.stop, attached: s.attached, again: "The same command"}
	err = w.watch(ctx, run, j.result, op.follow())
	switch {
	case errors.Is(err, errEngineGone):
		return 0, err
	case errors.Is(err, errLeft):
		return migration.ExitStopped, nil
	}
	return s.conclude(ctx, op, j, run, err)
}

// attachOrBegin finds out whether the workflow runs, and prepares a new one if not. A
// run that was being stopped ends first, where only this process works on it: if
// nothing is left to do after it, it is given.
func (s *session) attachOrBegin(ctx context.Context, op operation, j job) (ended client.WorkflowRun, err error) {
	for {
		e, err := s.service.execution(ctx, j.spec.ID)
		if err != nil {
			return nil, err
		}
		if s.attached = e.running; !s.attached {
			return nil, op.begin(ctx)
		}
		if err := s.service.refuseServed(j.spec.ID, e); err != nil {
			return nil, err
		}
		if err := op.attach(); err != nil {
			return nil, err
		}
		if !e.ending || !s.service.worksAlone(ctx) {
			return nil, nil
		}
		s.screen.Say("An earlier run was being stopped; waiting for its end.")
		run := s.service.client.GetWorkflow(ctx, j.spec.ID, "")
		if run.Get(ctx, j.result) == nil {
			if finished, err := op.isFinished(); err != nil || finished {
				return run, err
			}
		}
	}
}

// startOptions start a workflow of ours, or attach to the run that there is.
func (s *session) startOptions(id, summary string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID:                       id,
		TaskQueue:                s.service.taskQueue,
		WorkflowTaskTimeout:      workflows.TaskTimeout,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            summary,
	}
}

// refuseRunning refuses what is about a migration that has ended while it runs.
func (s *session) refuseRunning(ctx context.Context, id string) error {
	e, err := s.service.execution(ctx, id)
	if err == nil && e.running {
		err = notAtItsEnd(id)
	}
	return err
}

func notAtItsEnd(id string) error {
	return fmt.Errorf("the migration %s has not ended; rerun its command and let it end, or stop it there with Ctrl-C, and try again", id)
}

// conclude shows what the workflow came to.
func (s *session) conclude(ctx context.Context, op operation, j job, run client.WorkflowRun, err error) (int, error) {
	s.open = false
	if j.notices != nil {
		defer s.awaitNotices(ctx, run)
	}
	switch {
	case temporal.IsCanceledError(err):
		s.screen.Say(stoppedEarly)
		return migration.ExitStopped, nil
	case err != nil:
		return 0, errors.New(workflows.Cause(err))
	}
	return op.end(), nil
}

// attend runs what has a log and telemetry, and can be stopped: the first Ctrl-C
// closes stop, the second one ends the process.
func attend(ctx context.Context, o *runOptions, screen *terminal.Screen, run func(context.Context, process) (int, error)) (int, error) {
	logger, closeLog, err := openLog(o.stateDir, o.watched)
	if err != nil {
		return 0, err
	}
	defer closeLog()
	observed, err := telemetry.Start(ctx, o.watched, "starter", logger)
	if err != nil {
		return 0, err
	}
	defer observed.Close()
	// A terminal that goes away does not end a migration.
	signal.Ignore(syscall.SIGHUP)
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(chan struct{})
	go func() {
		<-interrupts
		close(stop)
		<-interrupts
		screen.Say("Stopped at once. Nothing is lost: rerun the command to resume.")
		os.Exit(migration.ExitStopped)
	}()
	return run(ctx, process{screen, logger, observed, stop})
}

// takingOver runs a session, and again where the engine that it used is gone.
func takingOver(screen *terminal.Screen, run func() (int, error)) (int, error) {
	for {
		code, err := run()
		if !errors.Is(err, errEngineGone) {
			return code, err
		}
		screen.Say("The process that ran the engine has ended; this one takes over.")
	}
}

// attendSession is attend for the commands with one session, which takes over
// from an engine that is gone. code is where it puts the exit code.
func attendSession(ctx context.Context, o *runOptions, stdout, stderr io.Writer, code *int, run func(context.Context, *session) (int, error)) (err error) {
	warn(stderr, o.credentials.Warnings)
	*code, err = attend(ctx, o, terminal.New(stdout, stderr, terminal.Options{JSON: o.json}), func(ctx context.Context, p process) (int, error) {
		if err := o.prove(); err != nil {
			return 0, err
		}
		return takingOver(p.screen, func() (int, error) { return run(ctx, &session{process: p, options: o}) })
	})
	return err
}
