package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"durable-dataload/internal/config"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/telemetry"
)

// usageError is a mistake on the command line. run adds to its text which command's
// help to read.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// noArguments refuses arguments; advice, if not "", says what to give instead.
func noArguments(advice string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return nil
		case command.HasSubCommands():
			return noCommand(command, args[0])
		case advice != "":
			advice = "; " + advice
		}
		return usage("expected no arguments, found %q%s", args[0], advice)
	}
}

// runOptions are the options of every command that runs a workflow, and perhaps a
// worker for it.
type runOptions struct {
	targetOptions
	paceOptions
	outputOptions
	locations
	serviceOptions
	watched telemetry.Options
}

// options are the command line of a migration, with dataload.py's names, letters and
// defaults. They hold what was given, checked and in its normal form. What is made of
// them is a migrator.
type options struct {
	runOptions
	inputOptions
	recordOptions
	loadOptions
	retryOptions
	careOptions
	notify config.Notify
}

func (o *options) addFlags(f *pflag.FlagSet) {
	o.inputOptions.addFlags(f)
	o.addMappingFlag(f)
	under(f, "Input")
	o.targetOptions.addFlags(f, "migrate into a local Identity Cloud that fails now and then")
	o.addKeyFlag(f)
	under(f, "Target")
	o.addBatchFlag(f)
	o.paceOptions.addFlags(f)
	o.addPlanFlags(f)
	o.addPartitionsFlag(f)
	under(f, "Pace")
	o.recordOptions.addFlags(f)
	o.retryOptions.addFlags(f)
	under(f, "Handling of records")
	o.careOptions.addFlags(f)
	under(f, "Care")
	o.outputOptions.addFlags(f)
	o.addLocationFlags(f, "folder for the state: ledger and embedded engine")
	o.watched.AddFlags(f)
	o.notify.AddFlags(f)
	under(f, "Results, logs and notices")
	o.serviceOptions.addFlags(f)
	under(f, "A Temporal service of your own, instead of the embedded one")
}

// complete checks the command line and adds what is not on it.
func (o *options) complete(f *pflag.FlagSet, args []string, getenv func(string) string) error {
	for _, complete := range []func() error{
		func() error { return o.inputOptions.complete(args) },
		func() error { return o.targetOptions.complete(f, getenv) },
		o.paceOptions.complete,
		func() error { return o.loadOptions.complete(f, o.sandbox, o.spec(nil).Format()) },
		func() error { return o.recordOptions.complete(f, o.spec(nil).Format()) },
		func() error { return o.retryOptions.complete(f, o.sandbox) },
		o.careOptions.complete,
		func() error { return o.locations.complete(getenv) },
	} {
		if err := complete(); err != nil {
			return err
		}
	}
	if err := o.watched.Check(); err != nil {
		return usage("%w", err)
	}
	if o.dryRun {
		o.workURL = "" // a dry run keeps nothing
	}
	return o.outputOptions.complete(o.workURL)
}

// spec is the migration that these options mean, without its input.
func (o *options) spec(mappingText []byte) migration.Spec {
	mappingDigest := ""
	if o.mapping != "" {
		mappingDigest = migration.MappingDigest(mappingText)
	}
	return migration.Spec{
		OutputDir: o.outputDir, Delimiter: o.delimiter, Target: o.target(),
		BatchSize: o.batchSize, StartAt: o.startAt, Limits: o.limits, Timeout: time.Duration(o.timeout),
		RetryRounds: o.retryRounds, RetryBackoff: time.Duration(o.retryBackoff), UnknownAPI: o.unknownAPI.codes, UnknownHTTP: o.unknownHTTP.codes,
		RecoveredBy: migration.RecoveredBy(o.recoveredBy), PrimaryKey: o.primaryKey, Isolate: o.isolate, Partitions: o.partitions,
		MaxFailed: o.maxFailed, Canary: o.canary, CanaryTimeout: time.Duration(o.canaryTimeout),
		Delta: o.delta, UndoRecipient: o.undoRecipient,
		Mapping: mappingDigest, MappingFile: o.mapping,
	}
}

// optionRange is the range of an option, and its value.
type optionRange struct {
	name      string
	value     float64
	low, high float64
}

func checkRanges(options []optionRange) error {
	for _, n := range options {
		if !(n.value >= n.low && n.value <= n.high) {
			return usage("--%s is %v; expected %v to %v", n.name, n.value, n.low, n.high)
		}
	}
	return nil
}

// seconds is a duration that may be given as a bare number, as dataload.py
// wants it.
type seconds time.Duration

func (s *seconds) String() string { return time.Duration(*s).String() }
func (s *seconds) Type() string   { return "seconds" }
func (s *seconds) Set(text string) error {
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		*s = seconds(n * float64(time.Second))
		return nil
	}
	d, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil {
		return fmt.Errorf("expected seconds (10) or a duration (1m30s)")
	}
	*s = seconds(d)
	return nil
}
