package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/pace"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/session"
	"durable-dataload/internal/source"
	"durable-dataload/internal/terminal"
	"durable-dataload/internal/validate"
)

// validateCommand tells what can be known before anything is sent. It takes the
// options of a migration, so that a command line is validated by one word more.
func validateCommand(stdout, stderr io.Writer, code *int) *cobra.Command {
	var o options
	v := &validating{}
	c := &cobra.Command{
		Use:   "validate --data users.csv [options of the migration]",
		Short: "Tell everything about a file that can be known before anything is sent",
		Long: `Tell everything about a file that can be known before anything is sent: what is wrong with its records, by line and
column, how large they are, and how long a migration of them takes. It takes the options of the migration.

With a target it makes two harmless calls: they tell whether address, credentials and entity type are right, and the
schema, against which the records are held as they would be sent. Nothing is written to the target.

Exit codes: 0 no errors, maybe warnings; 1 could not run; 2 wrong usage; 3 errors.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if v.places < 1 || v.places > maxPlaces {
				return usage("--lines is %d; expected 1 to %d", v.places, maxPlaces)
			}
			if err := o.complete(c.Flags(), args, os.Getenv); err != nil {
				return err
			}
			var err error
			if v.command, err = o.command(stdout, stderr, os.Getenv); err != nil {
				return err
			}
			warn(stderr, o.credentials.Warnings)
			*code, err = v.run(c.Context())
			return err
		},
	}
	c.Flags().SortFlags = false
	c.Flags().BoolVar(&v.offline, "offline", false, "make no call; then the schema is not known")
	c.Flags().IntVar(&v.places, "lines", 10, "lines that are told of each finding")
	under(c.Flags(), "Validation")
	o.addFlags(c.Flags())
	return c
}

const maxPlaces = 10_000_000

// validating is one validation of the inputs.
type validating struct {
	*command
	offline bool
	places  int
}

func (v *validating) run(ctx context.Context) (int, error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if !v.offline {
		closeTarget, err := v.o.openTarget()
		if err != nil {
			return 0, err
		}
		defer closeTarget()
	}
	meter := &validate.Meter{}
	probed, err := v.probe(ctx, meter)
	if err != nil {
		return 0, err
	}
	var reports []*validate.Report
	code := migration.ExitDone
	for _, in := range v.inputs {
		report, err := v.one(ctx, in, probed, meter)
		if errors.Is(err, context.Canceled) {
			return 0, errors.New("stopped before the end; nothing was sent")
		}
		if err != nil {
			return 0, err
		}
		if report.Errors() > 0 {
			code = migration.ExitFailed
		}
		reports = append(reports, report)
		if !v.o.json {
			report.Text(v.Screen.Stdout)
		}
	}
	if !v.o.json {
		return code, nil
	}
	var result any = reports
	if !v.several {
		result = reports[0]
	}
	return code, terminal.WriteJSON(v.Screen.Stdout, result)
}

// probe asks the target, if there is one to ask.
func (v *validating) probe(ctx context.Context, meter *validate.Meter) (validate.Probed, error) {
	why := ""
	switch {
	case v.offline:
		why = "--offline"
	case v.o.credentials.URI == "":
		why = "no --apid_uri is given"
	case v.o.credentials.Check() != nil:
		why = "no credentials of an API client are given"
	}
	if why != "" {
		return validate.Probed{NotChecked: []string{"address, credentials, entity type and clock: " + why}}, nil
	}
	target, err := v.o.paced(meter)
	if err != nil {
		return validate.Probed{}, err
	}
	defer target.Close()
	return validate.Probe(ctx, target, meter)
}

func (v *validating) one(ctx context.Context, in input, probed validate.Probed, meter *validate.Meter) (*validate.Report, error) {
	here := home{stateDir: v.o.stateDir} // no worker reads a copy of it
	file, err := plainFile(ctx, v.Process, here, in)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.drop(here) }()
	report, err := v.validateFile(ctx, file, probed.Schema, meter.CallTime(), v.places)
	if err != nil {
		return nil, err
	}
	for _, f := range probed.Findings {
		report.Add(f.Severity, f.Kind, f.Message)
	}
	report.NotChecked = append(report.NotChecked, probed.NotChecked...)
	return report, nil
}

// validateFile validates a data file.
func (c *command) validateFile(ctx context.Context, file dataFile, schema *identitycloud.Schema, callTime time.Duration, places int) (*validate.Report, error) {
	o, name := c.o, safetext.Name(file.inputName())
	delimiter, err := source.ParseDelimiter(o.delimiter)
	if err != nil {
		return nil, err
	}
	progress := c.Screen.ReadProgress("validating " + name)
	defer c.Screen.Clear()
	return validate.File(ctx, file.near(), validate.Options{
		Encoder: func(header []string) (validate.Records, error) { return c.mapping.Compile(header) }, Schema: schema, Delimiter: delimiter, Name: name,
		BatchSize: o.batchSize, StartAt: o.startAt, Canary: o.canary, PrimaryKey: o.primaryKey, Room: o.spec(nil).Room(),
		Pace:     validate.Pace{Limits: o.limits, Timeout: time.Duration(o.timeout)},
		CallTime: callTime, TempDir: o.stateDir, Places: places, Progress: func(bytes, _ int64) { progress(bytes) },
	})
}

// paced is a client whose calls keep the rate of the target, also while other
// migrations into it run. One is made at a time on this machine: in a bucket the
// place of a process that has ended is free only after a while.
func (o *options) paced(meter *validate.Meter) (*identitycloud.Client, error) {
	spec := o.spec(nil)
	gate, err := pace.New(pace.Config{
		Starts: migration.In(o.work(), "validate").StartTimes(spec.Target), Places: filepath.Join(o.stateDir, "pace", "validate"), Settings: pace.Fixed(spec.RateLimit, 1),
	})
	if err != nil {
		return nil, err
	}
	return o.credentials.Connect(spec, func(cfg *identitycloud.Config) {
		cfg.BeforeCall = func(ctx context.Context) (func(), error) { return gate.BeforeCall(gate.AtOnce(ctx)) }
		cfg.Answered = meter.Saw
	})
}

// maxShown is how many findings are shown before a migration.
const maxShown = 10

// validate shows what is wrong with the input of a new migration before anything
// is sent. It stops nothing: what cannot be loaded is refused later, and the fail
// file tells of each record.
func (m *migrateOperation) validate(ctx context.Context) error {
	if e, err := m.Service.Execution(ctx, m.spec.ID); err != nil || e.Running {
		return err
	}
	if _, err := m.spec.Folder.Spec(); !errors.Is(err, migration.ErrAbsent) {
		return err // it goes on, and was validated when it began
	}
	ctx, cancel := m.UntilStopped(ctx)
	defer cancel()
	schema := m.schema(ctx)
	if m.c.o.noValidate {
		m.tellNotUnique(schema)
		return nil
	}
	report, err := m.c.validateFile(ctx, m.file, schema, 0, 3)
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
	m.Screen.Say(fmt.Sprintf("Found in %s before anything is sent; starter validate tells more:", m.file.shown))
	for i, f := range report.Findings {
		if i == maxShown {
			m.Screen.Say(fmt.Sprintf("  … and %d more", len(report.Findings)-maxShown))
			break
		}
		text := "  " + string(f.Severity) + ": " + f.Line()
		if where := f.Where(); where != "" {
			text += " (" + where + ")"
		}
		m.Screen.Say(text)
		m.toldKeyless = m.toldKeyless || f.Kind == validate.KindNoKey || f.Kind == validate.KindNotUnique
	}
	return nil
}

// tellNotUnique says that all records are keyless, whether the input is validated
// or not.
func (m *migrateOperation) tellNotUnique(schema *identitycloud.Schema) {
	if schema == nil {
		return
	}
	if keys := migration.NewKeys(m.spec.PrimaryKey, *schema); !keys.Unique {
		m.Screen.Say(keys.Keyless(0, 0).Note)
		m.toldKeyless = true
	}
}

// schema is that of the target, nil if it cannot be read here. What is wrong
// with the target the migration itself tells.
func (m *migrateOperation) schema(ctx context.Context) *identitycloud.Schema {
	if m.c.o.credentials.Check() != nil {
		return nil // the workers have them
	}
	target, err := m.c.o.paced(&validate.Meter{})
	if err != nil {
		return nil
	}
	defer target.Close()
	schema, err := validate.ReadSchema(ctx, target)
	if err != nil {
		m.Log.Warn("validating without the schema", "error", err.Error())
	}
	return schema
}
