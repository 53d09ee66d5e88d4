package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/mapping"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
	"durable-dataload/internal/session"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/terminal"
	"durable-dataload/workflows"
)

// migrate runs the migrations that were asked for to their end, or watches
// those that run. It gives the exit code.
func (c *migrator) migrate(ctx context.Context) (int, error) {
	return c.o.attend(ctx, c.Screen, func(ctx context.Context, p session.Process) (int, error) {
		c.Process = p
		if c.several {
			return c.all(ctx)
		}
		code, _, err := c.one(ctx, c.inputs[0])
		return code, err
	})
}

// one runs the migration of one input. It gives the exit code, and the summary if
// there is one.
func (c *migrator) one(ctx context.Context, in input) (code int, _ *migration.Summary, err error) {
	file, err := plainFile(ctx, c.Process, c.o.locations, in)
	if errors.Is(err, session.ErrStopped) {
		c.Screen.Say(session.StoppedEarly)
		return migration.ExitStopped, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	var op *migrateOperation
	code, err = session.TakingOver(c.Screen, func() (int, error) {
		op = &migrateOperation{Session: new(session.Session), c: c, file: file}
		defer op.dropDraft()
		return c.o.withSession(c.Process, func(s *session.Session) (int, error) {
			op.Session = s
			return s.Run(ctx, op)
		})
	})
	if !op.Open {
		if dropErr := file.drop(c.o.locations); dropErr != nil {
			c.Log.Warn("cannot remove a staged input", "error", dropErr)
		}
	}
	return code, op.summary, err
}

// migrateOperation is a migration of one input.
type migrateOperation struct {
	*session.Session
	c           *migrator
	file        dataFile
	spec        migration.Spec
	toldKeyless bool // of keyless records
	draft       *source.Draft
	result      workflows.Result
	summary     *migration.Summary // nil: not ended
}

// Prepare shows what is wrong with the input, and brings it to the work location.
func (m *migrateOperation) Prepare(ctx context.Context) error {
	if err := m.validate(ctx); err != nil {
		return err
	}
	return m.bring(ctx)
}

// Identify finds out which migration this is, and whether it was done before.
func (m *migrateOperation) Identify(ctx context.Context) (j session.Job, err error) {
	in := m.file.input()
	if in.SHA256 == "" {
		if in.SHA256, _, err = source.Digest(ctx, in.Path); err != nil {
			return j, err
		}
	}
	spec, kept, err := migration.Identify(m.c.o.spec(m.c.mappingText), in, m.c.o.work(), m.c.o.again)
	m.spec = spec
	var done *migration.DoneError
	if errors.As(err, &done) {
		return j, m.alreadyDone(done)
	}
	if err != nil {
		return j, err
	}
	for _, note := range kept {
		m.Screen.Say(note)
	}
	if err := m.checkMapping(ctx); err != nil {
		return j, err
	}
	job := session.Job{Work: session.Work{Credentials: m.c.o.credentials, Notices: m.c.notices}, Spec: spec, Result: &m.result}
	return job, m.checkSelection(ctx)
}

// checkSelection refuses --start-at and --canary where the file is too short for
// them, before anything is started. What else is wrong with the input the
// inspection says.
func (m *migrateOperation) checkSelection(ctx context.Context) error {
	o := &m.c.o
	if o.startAt == 1 && o.canary == 0 {
		return nil
	}
	delimiter, err := source.ParseDelimiter(o.delimiter)
	if err != nil {
		return err
	}
	_, err = source.Inspect(ctx, m.file.near(), source.InspectOptions{
		Delimiter: delimiter, Name: m.file.inputName(), BatchSize: math.MaxInt32, StartAt: o.startAt, CutAfter: o.canary,
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

func (m *migrateOperation) alreadyDone(done *migration.DoneError) error {
	c := done.Summary.Records
	if done.Summary.Cancelled {
		text := fmt.Sprintf("the migration of %s was cancelled (%s UTC: %s); start it again with --again", m.file.shown, done.Summary.FinishedAt.Format(time.DateTime), c)
		return &doneError{text, done.Summary}
	}
	text := fmt.Sprintf("%s was migrated already (%s UTC: %d created, %d recovered, %d updated, %d failed; see %s); load it once more with --again",
		m.file.shown, done.Summary.FinishedAt.Format(time.DateTime), c.Created, c.Recovered, c.Updated, c.Failed,
		store.Join(done.Spec.OutputDir, artifacts.SummaryName(done.Start.Stamp)))
	return &doneError{text, done.Summary}
}

func (m *migrateOperation) Attach() error {
	folder := m.spec.Folder
	if before, err := folder.Spec(); err == nil && before.Mapping != m.spec.Mapping {
		return folder.OtherMapping(before, m.spec)
	}
	return nil
}

// Begin gives the migration its copy of the mapping file, which its workers may
// not see, and what was made of the input while it was validated.
func (m *migrateOperation) Begin() error {
	m.useDraft(context.Background())
	if m.spec.Mapping == "" {
		return nil
	}
	if err := m.spec.Folder.SaveMapping(m.c.mappingText); err != nil {
		return fmt.Errorf("cannot keep a copy of the mapping file: %w", err)
	}
	return nil
}

func (m *migrateOperation) IsFinished() (bool, error) {
	return m.spec.Folder.Finished()
}

func (m *migrateOperation) Start(ctx context.Context) (client.WorkflowRun, error) {
	m.spec.SearchAttributes = m.Service.Attributes
	// Workers of a service have receivers of notices of their own.
	m.spec.Notify = m.c.notices != nil || !m.Service.IsEmbedded()
	o := m.StartOptions(m.spec.ID, workflows.Summary(m.spec))
	o.StaticDetails = workflows.Details(m.spec, m.file.shown)
	if m.spec.SearchAttributes {
		o.TypedSearchAttributes = workflows.Attributes(m.spec)
	}
	start := func() (client.WorkflowRun, error) {
		if err := m.spec.Folder.Order(m.spec); err != nil {
			return nil, fmt.Errorf("cannot keep the options of the migration: %w", err)
		}
		return m.Execute(ctx, "migration", o, workflows.MigrationWorkflow, m.spec)
	}
	run, err := start()
	var invalid *serviceerror.InvalidArgument
	if errors.As(err, &invalid) && m.spec.SearchAttributes {
		// A service may know attributes and not have told all its parts yet.
		m.spec.SearchAttributes, o.TypedSearchAttributes = false, temporal.SearchAttributes{}
		run, err = start()
	}
	return run, err
}

func (m *migrateOperation) Introduce() {
	what := "Migrating"
	if _, err := m.spec.Folder.Spec(); err == nil || m.Attached {
		what = "Resuming the migration of"
	}
	m.Screen.Say(fmt.Sprintf("%s %s into %s (%s).", what, m.file.shown, m.spec.Target.URI, m.spec.Target.EntityType))
	if m.Attached {
		m.noteOptions()
	}
}

// noteOptions says that a running migration keeps its own options.
func (m *migrateOperation) noteOptions() {
	running, err := m.spec.Folder.Spec()
	if err != nil {
		return
	}
	if running.Delta != m.spec.Delta {
		m.Screen.Say(fmt.Sprintf("It keeps the option that it was started with: --delta-migration=%t.", running.Delta))
	}
	changeable := func(s migration.Spec) string {
		return fmt.Sprintf("--rate-limit %g --rate-plan '%s' --workers %d --breaker %d --max-failed '%s' --timeout %s --retry-rounds %d --retry-backoff %s",
			s.RateLimit, s.RatePlan, s.Workers, s.Breaker, s.MaxFailed, s.Timeout, s.RetryRounds, s.RetryBackoff)
	}
	if kept := changeable(running); kept != changeable(m.spec) {
		m.Screen.Say("It keeps the options that it was started with: " + kept + ". (starter set, or Ctrl-C and a rerun of the command, change them.)")
	}
}

func (m *migrateOperation) Follow() func(context.Context) {
	v := newView(m.Service, m.spec.ID, m.spec.Target.Host(), m.c.o.stateDir, m.Screen)
	v.keyless = m.toldKeyless
	return func(ctx context.Context) {
		v.update(ctx)
		m.toldKeyless = v.keyless
	}
}

func (m *migrateOperation) End() int {
	m.summary = &m.result.Summary
	if k := m.summary.Keyless; k != nil && !m.toldKeyless {
		m.Screen.Say(k.Note)
	}
	e := endedIn(m.spec.Folder, m.result)
	e.relative = m.c.o.relative
	m.c.o.printResult(m.Screen, e, m.c.several)
	if m.Service.IsEmbedded() && !m.c.several && !m.Screen.JSON {
		m.Screen.Say("To look at it again in the Web UI: starter serve, with the options of the target.")
	}
	return m.summary.Records.ExitCode()
}

// migrator is what is made of the options of a migration.
type migrator struct {
	session.Process
	o           options
	inputs      []input
	several     bool // inputs were asked for, even if there is one
	mapping     *mapping.Mapping
	mappingText []byte         // nil with the built-in mapping
	notices     *notify.Sender // nil: this process sends no notices
}

// migrator finds and reads what complete options name.
func (o options) migrator(stdout, stderr io.Writer, getenv func(string) string) (c *migrator, err error) {
	c = &migrator{o: o}
	if c.notices, err = o.notify.Sender(getenv, o.insecureHTTP); err != nil {
		return nil, err
	}
	if c.mapping, c.mappingText, err = readMappingFile(o.mapping, o.credentials.Name()); err != nil {
		return nil, err
	}
	if c.inputs, c.several, err = o.find(); err != nil {
		return nil, err
	}
	c.Screen = terminal.New(stdout, stderr, terminal.Options{JSON: o.json})
	return c, nil
}
