package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"durable-dataload/activities"
	"durable-dataload/internal/config"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/gate"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/session"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
	"durable-dataload/internal/validate"
)

// validateFile validates a data file. draft, if it is not nil, gets the index and the copy for its migration.
func (c *migrator) validateFile(ctx context.Context, file dataFile, schema *target.Schema, callTime time.Duration, lines int, draft *source.Draft) (*validate.Report, error) {
	o, name := c.o, safetext.Name(file.inputName())
	delimiter, err := source.ParseDelimiter(o.delimiter)
	if err != nil {
		return nil, err
	}
	progress := c.Screen.ReadProgress("validating " + name)
	defer c.Screen.Clear()
	return validate.File(ctx, file.near(), validate.Options{
		Encoder: func(header []string) (validate.Records, error) { return c.mapping.Compile(header) }, Schema: schema, Delimiter: delimiter, Name: name,
		BatchSize: o.batchSize, StartAt: o.startAt, Canary: o.canary, PrimaryKey: o.primaryKey, Format: o.spec(nil).Format(),
		Pace:     validate.Pace{Limits: o.limits, Timeout: time.Duration(o.timeout)},
		CallTime: callTime, TempDir: o.stateDir, Lines: lines, Draft: draft, Progress: func(bytes, _ int64) { progress(bytes) },
	})
}

// paced is an adapter whose calls keep to the limiter of the target, if one can be asked: a
// nil service has none. done ends it.
func (o *options) paced(ctx context.Context, s *session.Service, meter *validate.Meter) (to target.Adapter, done func(), err error) {
	spec := o.spec(nil)
	limits := activities.LimitsOf(spec.Limits)
	limits.Workers = 1
	client := gate.NewClient(s.Limiters(ctx)(spec.Target), gate.MachineClock(), config.WorkerIdentity())
	g := client.Gate("validate", limits, nil, nil)
	to, err = o.credentials.Connect(spec, target.Hooks{
		BeforeCall: func(ctx context.Context) (func(), error) { return g.BeforeCall(gate.AtOnce(ctx)) },
		Answered:   meter.Saw,
	})
	return to, func() {
		if to != nil {
			to.Close()
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		client.Close(ctx)
	}, err
}

// mostFindings is how many findings are shown in full before a migration.
const mostFindings = 2

// validate shows the findings of the input of a new migration before anything is sent. It
// stops nothing: what cannot be loaded is refused later, and the fail file has each record.
func (m *migrateOperation) validate(ctx context.Context) error {
	if e, err := m.Service.Execution(ctx, m.spec.ID); err != nil || e.Running {
		return err
	}
	if _, err := m.spec.Folder.Spec(); !errors.Is(err, migration.ErrAbsent) {
		return err // it is resumed, and was validated when it began
	}
	ctx, cancel := m.UntilStopped(ctx)
	defer cancel()
	schema := m.schema(ctx)
	if m.c.o.noValidate {
		m.tellNotUnique(schema)
		return nil
	}
	report, err := m.c.validateFile(ctx, m.file, schema, 0, 3, m.newDraft())
	if errors.Is(err, session.ErrStopped) {
		return err
	}
	if err != nil {
		m.Log.Warn("the input could not be validated", "error", err.Error())
		return nil
	}
	if len(report.Findings) == 0 {
		return nil
	}
	m.sayFindings(report)
	return nil
}

// sayFindings shows what was found in a few lines.
func (m *migrateOperation) sayFindings(report *validate.Report) {
	var errorsIn, warningsIn int64
	for _, f := range report.Findings {
		if f.Severity == validate.Error {
			errorsIn += max(1, f.Count)
		} else {
			warningsIn += max(1, f.Count)
		}
		if len(report.Findings) > mostFindings {
			continue
		}
		text := string(f.Severity) + ": " + f.Line()
		if where := f.Where(); where != "" {
			text += " (" + where + ")"
		}
		m.Screen.Say(text)
		m.toldKeyless = m.toldKeyless || f.Kind == validate.KindNoKey || f.Kind == validate.KindNotUnique
	}
	if len(report.Findings) <= mostFindings {
		return
	}
	var counts []string
	count := func(n int64, kinds int, noun string) {
		if n > 0 {
			counts = append(counts, figures.Count(n, noun)+" of "+figures.Count(kinds, "kind"))
		}
	}
	count(errorsIn, report.Errors(), "error")
	count(warningsIn, report.Warnings(), "warning")
	m.Screen.Say(fmt.Sprintf("%s: %s; starter validate with the same options lists them.", m.file.shown, strings.Join(counts, " and ")))
}

// newDraft prepares the index and the copy of the input to be made while it is validated, so that it is parsed once. They
// become those of the migration when it begins. In a bucket the worker makes them.
func (m *migrateOperation) newDraft() *source.Draft {
	folder := m.spec.Folder.Path()
	if store.IsURL(folder) || store.MkdirAll(store.Dir(folder)) != nil {
		return nil
	}
	m.draft = &source.Draft{IndexPath: folder + ".index", CopyTo: folder + ".csv", Plan: m.spec.IndexPlan(m.spec.Canary)}
	return m.draft
}

// useDraft gives the migration the draft, if it is of the input. Without it the migration inspects the input itself.
func (m *migrateOperation) useDraft(ctx context.Context) {
	if m.draft == nil {
		return
	}
	made := m.draft.Complete()
	if made == nil || made.SHA256 != m.spec.SHA256 {
		return
	}
	err := m.spec.Folder.Make()
	if err == nil {
		err = m.draft.Publish(ctx, m.spec.Folder.Index(), m.spec.Folder.Staged())
	}
	if err != nil && !errors.Is(err, store.ErrExists) {
		m.Log.Warn("the input is read again to index it", "error", err.Error())
	}
}

func (m *migrateOperation) dropDraft() {
	if m.draft != nil {
		m.draft.Discard()
	}
}

// tellNotUnique shows that all records are keyless, also without validation.
func (m *migrateOperation) tellNotUnique(schema *target.Schema) {
	if schema == nil {
		return
	}
	if keys := migration.NewKeys(m.spec.PrimaryKey, *schema, m.spec.Format().Traits()); !keys.Unique && !keys.Marked {
		m.Screen.Say(keys.Keyless(0, 0).Note)
		m.toldKeyless = true
	}
}

// schema is that of the target, nil if it cannot be read here. The migration itself
// reports what is wrong with the target.
func (m *migrateOperation) schema(ctx context.Context) *target.Schema {
	if m.c.o.credentials.Check() != nil {
		return nil // the workers have them
	}
	to, done, err := m.c.o.paced(ctx, m.Service, &validate.Meter{})
	defer done()
	if err != nil {
		return nil
	}
	schema, err := validate.ReadSchema(ctx, to)
	if err != nil {
		m.Log.Warn("validating without the schema", "error", err.Error())
	}
	return schema
}
