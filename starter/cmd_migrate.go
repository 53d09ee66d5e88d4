package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"syscall"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/telemetry"
	"durable-dataload/workflows"
)

// command is what one call of the program does.
type command struct {
	o      options
	screen *screen
	log    *slog.Logger
	stop   <-chan struct{} // closed at the first Ctrl-C
}

// migrate runs the migrations that were asked for to their end, or watches
// those that run. It gives the exit code.
func migrate(ctx context.Context, o options, screen *screen) (int, error) {
	return attend(ctx, &o, screen, func(ctx context.Context, logger *slog.Logger, stop <-chan struct{}) (int, error) {
		if err := o.prove(); err != nil {
			return 0, err
		}
		c := &command{o: o, screen: screen, log: logger, stop: stop}
		if o.several {
			return c.all(ctx)
		}
		code, _, err := c.one(ctx, o.inputs[0])
		return code, err
	})
}

// attend runs what has a log and telemetry, which it adds to the options, and
// can be stopped: stop is closed at the first Ctrl-C, and the second one ends
// the process.
func attend(ctx context.Context, o *options, screen *screen, run func(ctx context.Context, logger *slog.Logger, stop <-chan struct{}) (int, error)) (int, error) {
	logger, closeLog, err := openLog(*o)
	if err != nil {
		return 0, err
	}
	defer closeLog()
	if o.telemetry, err = telemetry.Start(ctx, o.watched, "starter", logger); err != nil {
		return 0, err
	}
	defer o.telemetry.Close()
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
		screen.say("Stopped at once. Nothing is lost: the same command goes on.")
		os.Exit(migration.ExitStopped)
	}()
	return run(ctx, logger, stop)
}

// takingOver runs a session, and again where the engine that it used is gone.
func takingOver(screen *screen, run func() (int, error)) (int, error) {
	for {
		code, err := run()
		if !errors.Is(err, errEngineGone) {
			return code, err
		}
		screen.say("The process that ran the engine has ended; this one takes over.")
	}
}

// attendSession is attend for the commands whose one session takes over from an
// engine that is gone. code is where it puts the exit code.
func attendSession(ctx context.Context, o *options, stdout, stderr io.Writer, code *int, run func(context.Context, *screen, *slog.Logger, <-chan struct{}) (int, error)) (err error) {
	warn(stderr, o.credentials.Warnings)
	screen := newScreen(stdout, stderr, *o)
	*code, err = attend(ctx, o, screen, func(ctx context.Context, logger *slog.Logger, stop <-chan struct{}) (int, error) {
		if err := o.prove(); err != nil {
			return 0, err
		}
		return takingOver(screen, func() (int, error) { return run(ctx, screen, logger, stop) })
	})
	return err
}

// one runs the migration of one input. It gives the exit code, and the summary
// where there is one.
func (c *command) one(ctx context.Context, in input) (code int, _ *migration.Summary, err error) {
	o := c.o
	o.file, err = c.prepare(ctx, in)
	if errors.Is(err, errStopped) {
		c.screen.say(stoppedEarly)
		return migration.ExitStopped, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	var s *session
	code, err = takingOver(c.screen, func() (int, error) {
		s = &session{o: o, screen: c.screen, log: c.log, stop: c.stop}
		return s.run(ctx)
	})
	if !s.begun {
		if dropErr := c.dropStaged(o.file); dropErr != nil {
			c.log.Warn("cannot remove a staged input", "error", dropErr)
		}
	}
	return code, s.summary, err
}

const stoppedEarly = "Stopped before anything was sent. The same command begins again."

func (c *command) stopped() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

// session is a migration seen through one Temporal service.
type session struct {
	o      options
	screen *screen
	log    *slog.Logger
	stop   <-chan struct{} // closed at the first Ctrl-C

	spec     migration.Spec
	service  *service
	attached bool // the migration was running already
	ending   bool // and somebody had asked it to stop
	begun    bool // and is not known to have ended
	// toldKeyless says that the person knows of keyless records.
	toldKeyless bool
	summary     *migration.Summary
}

func (s *session) run(ctx context.Context) (_ int, err error) {
	closeTarget, err := s.o.openTarget()
	if err != nil {
		return 0, err
	}
	defer closeTarget()
	if err := s.identify(ctx); err != nil {
		return 0, err
	}
	if s.service, err = openService(ctx, s.o, s.spec, s.log); err != nil {
		return 0, err
	}
	defer func() {
		err = s.service.lost(err)
		s.service.close()
	}()
	for _, note := range s.service.notes {
		s.screen.say(note)
	}
	if err := s.service.work(s.spec, s.o.credentials, nil, s.o.notices, s.log); err != nil {
		return 0, err
	}
	err = s.validate(ctx)
	if err == nil {
		err = s.bring(ctx)
	}
	if errors.Is(err, errStopped) {
		s.screen.say(stoppedEarly)
		return migration.ExitStopped, nil
	}
	if err != nil {
		return 0, err
	}
	run, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	if s.ending && s.service.worksAlone(ctx) {
		s.screen.say("This migration was being stopped; that comes to its end first.")
		var result workflows.Result
		if err := run.Get(ctx, &result); err == nil {
			if finished, err := migration.Folder(s.spec.Folder).Finished(); err != nil {
				return 0, err
			} else if finished {
				return s.end(ctx, run, result, nil)
			}
		}
		if run, err = s.begin(ctx); err != nil {
			return 0, err
		}
	}
	s.introduce(ctx, run)
	return s.watch(ctx, run)
}

// identify finds out which migration this is, and whether it was done before.
func (s *session) identify(ctx context.Context) error {
	in := s.o.file.input()
	if in.SHA256 == "" {
		var err error
		if in.SHA256, _, err = source.Digest(ctx, in.Path); err != nil {
			return err
		}
	}
	spec, kept, err := migration.Identify(s.o.spec(), in, s.o.work(), s.o.again)
	s.spec = spec
	var done *migration.DoneError
	if errors.As(err, &done) {
		return s.alreadyDone(done)
	}
	if err != nil {
		return err
	}
	for _, note := range kept {
		s.screen.say(note)
	}
	if err := checkMapping(ctx, s.o); err != nil {
		return err
	}
	return checkSelection(ctx, s.o)
}

// checkSelection refuses --start-at and --canary where the file is too short for
// them, before anything is started. What else is wrong with the input the
// inspection says.
func checkSelection(ctx context.Context, o options) error {
	if o.startAt == 1 && o.canary == 0 {
		return nil
	}
	delimiter, err := source.ParseDelimiter(o.delimiter)
	if err != nil {
		return err
	}
	_, err = source.Inspect(ctx, o.file.near(), source.InspectOptions{
		Delimiter: delimiter, Name: o.file.inputName(), BatchSize: math.MaxInt32, StartAt: o.startAt, CutAfter: o.canary,
	})
	if refusal := (*source.Refusal)(nil); errors.As(err, &refusal) && refusal.Kind == source.NotInFile {
		return err
	}
	return context.Cause(ctx)
}

// doneError says that an input was migrated before.
type doneError struct {
	text    string
	summary migration.Summary
}

func (e *doneError) Error() string { return e.text }

func (s *session) alreadyDone(done *migration.DoneError) error {
	c := done.Summary.Records
	if done.Summary.Cancelled {
		text := fmt.Sprintf("the migration of %s was cancelled (%s UTC: %s); begin anew with --again", s.o.file.shown, done.Summary.FinishedAt.Format(time.DateTime), c)
		return &doneError{text, done.Summary}
	}
	text := fmt.Sprintf("%s was migrated already (%s UTC: %d created, %d recovered, %d updated, %d failed; see %s); load it once more with --again",
		s.o.file.shown, done.Summary.FinishedAt.Format(time.DateTime), c.Created, c.Recovered, c.Updated, c.Failed,
		store.Join(done.Spec.OutputDir, artifacts.SummaryName(done.Start.Stamp)))
	return &doneError{text, done.Summary}
}

// begin starts the workflow, or attaches to it.
func (s *session) begin(ctx context.Context) (client.WorkflowRun, error) {
	var err error
	if s.attached, s.ending, err = s.service.isRunning(ctx, s.spec.ID); err != nil {
		return nil, err
	}
	if s.attached {
		if err := s.service.refuseServed(ctx, s.spec.ID); err != nil {
			return nil, err
		}
		folder := migration.Folder(s.spec.Folder)
		if before, err := folder.Spec(); err == nil && before.Mapping != s.spec.Mapping {
			return nil, folder.OtherMapping(before, s.spec)
		}
	}
	if err := s.keepMapping(); err != nil {
		return nil, err
	}
	s.spec.SearchAttributes = s.service.attributes
	// The workers of a service know themselves whether they have somebody.
	s.spec.Notify = s.o.notices != nil || s.service.engineDir == ""
	o := client.StartWorkflowOptions{
		ID:                       s.spec.ID,
		TaskQueue:                s.service.taskQueue,
		WorkflowTaskTimeout:      workflows.TaskTimeout,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            workflows.Summary(s.spec),
		StaticDetails:            workflows.Details(s.spec, s.o.file.shown),
	}
	if s.spec.SearchAttributes {
		o.TypedSearchAttributes = workflows.Attributes(s.spec)
	}
	start := func() (client.WorkflowRun, error) {
		if err := migration.Folder(s.spec.Folder).Order(s.spec); err != nil {
			return nil, fmt.Errorf("cannot keep the options of the migration: %w", err)
		}
		run, err := s.service.client.ExecuteWorkflow(ctx, o, workflows.MigrationWorkflow, s.spec)
		if err != nil {
			err = fmt.Errorf("the Temporal service did not start the migration: %w", err)
		}
		return run, err
	}
	run, err := start()
	var invalid *serviceerror.InvalidArgument
	if errors.As(err, &invalid) && s.spec.SearchAttributes {
		// A service may know attributes and not have told all its parts yet.
		s.spec.SearchAttributes, o.TypedSearchAttributes = false, temporal.SearchAttributes{}
		run, err = start()
	}
	if err != nil {
		return nil, err
	}
	s.begun = true
	return run, nil
}

// keepMapping gives the migration its copy of the mapping file, which its workers
// may not see.
func (s *session) keepMapping() error {
	if s.attached || s.spec.Mapping == "" {
		return nil
	}
	if err := migration.Folder(s.spec.Folder).SaveMapping(s.o.mappingText); err != nil {
		return fmt.Errorf("cannot keep a copy of the mapping file: %w", err)
	}
	return nil
}

func (s *session) introduce(ctx context.Context, run client.WorkflowRun) {
	what := "Migrating"
	if _, err := migration.Folder(s.spec.Folder).Spec(); err == nil || s.attached {
		what = "Going on with the migration of"
	}
	s.screen.say(fmt.Sprintf("%s %s into %s (%s).", what, s.o.file.shown, s.spec.Target.URI, s.spec.Target.EntityType))
	s.service.introduce(ctx, run, s.screen)
	if s.attached {
		s.noteOptions()
	}
}

// noteOptions says that a running migration keeps its own options.
func (s *session) noteOptions() {
	running, err := migration.Folder(s.spec.Folder).Spec()
	if err != nil {
		return
	}
	if running.Delta != s.spec.Delta {
		s.screen.say(fmt.Sprintf("It goes on as it was begun: --delta-migration=%t.", running.Delta))
	}
	if running.Limits != s.spec.Limits || running.MaxFailed != s.spec.MaxFailed || running.Timeout != s.spec.Timeout ||
		running.RetryRounds != s.spec.RetryRounds || running.RetryBackoff != s.spec.RetryBackoff {
		s.screen.say(fmt.Sprintf("It keeps the options that it was begun with: --rate-limit %g --rate-plan '%s' --workers %d --breaker %d --max-failed '%s' --timeout %s --retry-rounds %d --retry-backoff %s. (starter set, or Ctrl-C and the same command, change them.)",
			running.RateLimit, running.RatePlan, running.Workers, running.Breaker, running.MaxFailed, running.Timeout, running.RetryRounds, running.RetryBackoff))
	}
}

// watch shows how it goes until the migration ends.
func (s *session) watch(ctx context.Context, run client.WorkflowRun) (int, error) {
	view := newView(s.service, run.GetID(), s.o.stateDir, s.screen)
	view.keyless = s.toldKeyless
	w := watcher{service: s.service, screen: s.screen, log: s.log, stop: s.stop, attached: s.attached, again: "The same command"}
	var result workflows.Result
	err := w.watch(ctx, run, &result, view.update)
	s.toldKeyless = view.keyless
	switch {
	case errors.Is(err, errEngineGone):
		return 0, err
	case errors.Is(err, errLeft):
		return migration.ExitStopped, nil
	}
	return s.end(ctx, run, result, err)
}

// end shows what the migration came to.
func (s *session) end(ctx context.Context, run client.WorkflowRun, result workflows.Result, err error) (int, error) {
	s.begun = false
	defer s.awaitNotices(ctx, run)
	switch {
	case temporal.IsCanceledError(err):
		s.screen.say(stoppedEarly)
		return migration.ExitStopped, nil
	case err != nil:
		return 0, errors.New(workflows.Cause(err))
	}
	s.summary = &result.Summary
	if k := s.summary.Keyless; k != nil && !s.toldKeyless {
		s.screen.say(k.Note)
	}
	s.screen.result(result, s.spec.OutputDir)
	return result.Summary.Records.ExitCode(), nil
}
