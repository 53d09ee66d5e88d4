package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"durable-dataload/internal/catalogue"
	"durable-dataload/internal/session"
)

// verifyOptions are the command line of starter verify.
type verifyOptions struct {
	runOptions
	name   catalogue.Name
	sample int
	all    bool
}

// defaultSample is how many records are read back by default.
const defaultSample = 1000

// verifyCommand reads back what a migration has written. It puts the exit code into
// code.
func verifyCommand(stdout, stderr io.Writer, code *int) *cobra.Command {
	var o verifyOptions
	command := &cobra.Command{
		Use:   "verify ID | --latest",
		Short: "Read back what a migration has written, and compare it",
		Long: `Read back what a migration has written, and compare it with the input.

` + catalogue.Help + `
Nothing is changed in the target. The differences are listed by line and name of the attribute, without a value.

Exit codes: 0 all records that were read are as they should be; 1 could not run; 2 wrong usage;
3 some differ or are missing; 4 some could not be read; 5 stopped, with records left.`,
		Example: `  starter verify --latest
  starter verify migration-users.csv-0123456789ab --all`,
		Args: oneMigration(&o.name, true),
		RunE: func(command *cobra.Command, _ []string) error {
			of, err := o.complete(command.Flags(), os.Getenv)
			if err != nil {
				return err
			}
			return o.attendOne(command.Context(), stdout, stderr, code, func(ctx context.Context, p session.Process) (int, error) {
				return o.withSession(p, func(s *session.Session) (int, error) {
					return s.Run(ctx, &verifyOperation{Session: s, o: &o, Migration: of})
				})
			})
		},
	}
	command.ValidArgsFunction = o.completeMigration
	command.Flags().SortFlags = false
	o.addFlags(command.Flags())
	return command
}

func (o *verifyOptions) addFlags(f *pflag.FlagSet) {
	o.name.AddFlags(f)
	f.Lookup("latest").Usage = "the migration that was started last"
	f.IntVar(&o.sample, "sample", defaultSample, "records to read, spread over the file: the same ones each time")
	f.BoolVar(&o.all, "all", false, "read all records")
	o.credentials.AddFlags(f)
	o.addSandboxFlag(f, "verify a migration into the local Identity Cloud")
	o.paceOptions.addFlags(f)
	o.outputOptions.addFlags(f)
	f.Lookup("output-dir").Usage = "folder for the result files, or the URL of one; default: that of the migration"
	o.addLocationFlags(f, "folder for the state, that of the migration")
	o.serviceOptions.addFlags(f)
}

// complete checks the command line, adds what is not on it, and finds the migration.
func (o *verifyOptions) complete(f *pflag.FlagSet, getenv func(string) string) (of catalogue.Migration, err error) {
	if o.all && f.Changed("sample") {
		return of, usage("expected one of --sample and --all")
	}
	if o.sample < 1 {
		return of, usage("--sample is %d; expected a number of records, or --all", o.sample)
	}
	if o.all {
		o.sample = 0
	}
	if err := o.completeRun(f, getenv); err != nil {
		return of, err
	}
	if of, err = o.find(o.name, "verify"); err != nil {
		return of, err
	}
	if o.outputDir == "" {
		o.outputDir = of.Spec.OutputDir
	}
	if err := o.outputOptions.complete(o.workURL); err != nil || o.sandbox {
		return of, err
	}
	return of, o.requireOf(of.ID, of.Spec.Target)
}
