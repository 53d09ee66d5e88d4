package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/session"
	"durable-dataload/internal/terminal"
	"durable-dataload/internal/validate"
)

// validateCommand checks a file before anything is sent. It takes the options of a
// migration, so that the command line is the same but for one word.
func validateCommand(stdout, stderr io.Writer, code *int) *cobra.Command {
	var o options
	v := &validating{}
	c := &cobra.Command{
		Use:   "validate --data users.csv [options of the migration]",
		Short: "Check a file: all that can be known before anything is sent",
		Long: `Check a file before anything is sent: what is wrong with its records, by line and column, how large they are, and
how long a migration of them takes. It takes the options of the migration.

With a target it makes two harmless calls: they show whether address, credentials and entity type are right, and the
schema, against which the records are checked as they would be sent. Nothing is written to the target.

Exit codes: 0 no errors, maybe warnings; 1 could not run; 2 wrong usage; 3 errors.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if v.lines < 1 || v.lines > maxLines {
				return usage("--lines is %d; expected 1 to %d", v.lines, maxLines)
			}
			if err := o.complete(c.Flags(), args, os.Getenv); err != nil {
				return err
			}
			var err error
			if v.migrator, err = o.migrator(stdout, stderr, os.Getenv); err != nil {
				return err
			}
			warn(stderr, o.credentials.Warnings)
			*code, err = v.run(c.Context())
			return err
		},
	}
	c.Flags().SortFlags = false
	c.Flags().BoolVar(&v.offline, "offline", false, "make no call; then the schema is not known")
	c.Flags().IntVar(&v.lines, "lines", 10, "lines shown for each finding")
	under(c.Flags(), "Validation")
	o.addFlags(c.Flags())
	return c
}

const maxLines = 10_000_000

// validating is one validation of the inputs.
type validating struct {
	*migrator
	offline bool
	lines   int
}

func (v *validating) run(ctx context.Context) (int, error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if !v.offline {
		closeTarget, err := v.o.openTarget(v.o.stateDir)
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

// probe calls the target, if there is one.
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
	running := v.o.running(ctx)
	if running != nil {
		defer running.Close()
	}
	var probed validate.Probed
	err := running.While(ctx, func(ctx context.Context) error {
		target, done, err := v.o.paced(ctx, running, meter)
		defer done()
		if err == nil {
			probed, err = validate.Probe(ctx, target, meter)
		}
		return err
	})
	if errors.Is(err, session.ErrEngineGone) {
		return v.probe(ctx, meter)
	}
	return probed, err
}

func (v *validating) one(ctx context.Context, in input, probed validate.Probed, meter *validate.Meter) (*validate.Report, error) {
	// Its copy is not that of a migration, and no worker needs it.
	dir, err := os.MkdirTemp("", "durable-dataload-")
	if err != nil {
		return nil, durablefs.TemporaryError(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file, err := plainFile(ctx, v.Process, locations{stateDir: dir}, in)
	if err != nil {
		return nil, err
	}
	report, err := v.validateFile(ctx, file, probed.Schema, meter.CallTime(), v.lines, nil)
	if err != nil {
		return nil, err
	}
	for _, f := range probed.Findings {
		report.Add(f.Severity, f.Kind, f.Message)
	}
	report.NotChecked = append(report.NotChecked, probed.NotChecked...)
	return report, nil
}
