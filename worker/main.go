// Command worker does the work of migrations for a Temporal service: it reads
// the input, calls the target, and writes ledger and artifacts. Any number of
// workers may run; they share the folders that the starter names.
//
// Its credentials for the target come from its own command line, a file or its
// environment. A workflow never carries them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // of --rate-plan, where a machine has no time zones

	"github.com/spf13/pflag"

	"durable-dataload/activities"
	"durable-dataload/internal/config"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/output"
	"durable-dataload/internal/telemetry"
	"durable-dataload/internal/tilde"
	"durable-dataload/internal/undo"
	"durable-dataload/internal/version"
	"durable-dataload/workflows"
)

func main() {
	output.SurvivePipes()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	out := output.New(stdout)
	err := work(args, out, stderr)
	if (err == nil || errors.Is(err, pflag.ErrHelp)) && out.Err() != nil {
		err = fmt.Errorf("the output cannot be written: %w", out.Err())
	}
	var usage usageError
	switch {
	case err == nil, errors.Is(err, pflag.ErrHelp):
		return migration.ExitDone
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "worker: %v; see worker --help\n", err)
		return migration.ExitUsage
	}
	fmt.Fprintf(stderr, "worker: %v\n", err)
	return migration.ExitCannotRun
}

// usageError is a fault of the command line.
type usageError struct{ error }

// options are those of the command line, completed from the environment.
type options struct {
	credentials   config.Credentials
	temporal      config.Temporal
	watched       telemetry.Options
	notify        config.Notify
	taskQueue     string
	identity      string
	insecure      bool
	stateDir      string
	workURL       string
	workLocations []string // whose migrations it takes: a state folder, and maybe a work URL
	showVersion   bool
}

func (o *options) flags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("worker", pflag.ContinueOnError)
	flags.SortFlags = false
	o.credentials.AddFlags(flags)
	o.temporal.AddFlags(flags)
	o.watched.AddFlags(flags)
	tilde.Var(flags, &o.stateDir, "state-dir", "the starter's --state-dir: migrations elsewhere are refused; default: the user's state folder")
	flags.StringVar(&o.workURL, "work-url", "", "the starter's --work-url ("+config.WorkVariable+"): migrations there are accepted too")
	flags.StringVar(&o.taskQueue, "task-queue", workflows.TaskQueue, "task queue to poll; the same as the starter's")
	tilde.Var(flags, &o.identity, "undo-identity", "file with the private age key for encrypted previous values; only rollbacks need it (UNDO_IDENTITY)")
	o.notify.AddFlags(flags)
	config.AddInsecureHTTP(flags, &o.insecure)
	flags.BoolVar(&o.showVersion, "version", false, "print the version")
	return flags
}

// parseOptions gives pflag.ErrHelp where nothing is to be done but what was printed.
func parseOptions(args []string, stdout io.Writer) (o options, err error) {
	flags := o.flags()
	flags.SetOutput(stdout)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return o, err
		}
		return o, usageError{err}
	}
	if flags.NArg() > 0 {
		return o, usageError{fmt.Errorf("unexpected argument %q", flags.Arg(0))}
	}
	if o.showVersion {
		fmt.Fprintln(stdout, version.String("worker"))
		return o, pflag.ErrHelp
	}
	if err := o.watched.Check(); err != nil {
		return o, usageError{err}
	}
	if o.workLocations, err = findWorkLocations(o.stateDir, o.workURL); err != nil {
		return o, err
	}
	if o.identity == "" {
		o.identity, err = tilde.Path(os.Getenv("UNDO_IDENTITY"))
	}
	return o, err
}

func work(args []string, stdout, stderr io.Writer) error {
	o, err := parseOptions(args, stdout)
	if err != nil {
		return err
	}
	if err := o.credentials.Complete(os.Getenv); err != nil {
		return err
	}
	notices, err := o.notify.Sender(os.Getenv, o.insecure)
	if err != nil {
		return err
	}
	for _, warning := range append(o.credentials.Warnings, o.notify.Warnings...) {
		fmt.Fprintln(stderr, "Warning: "+warning)
	}
	if err := o.credentials.Check(); err != nil {
		return err
	}
	identities, err := undo.ReadIdentities(o.identity)
	if err != nil {
		return fmt.Errorf("cannot use --undo-identity: %w", err)
	}
	clientOptions, _, err := o.temporal.ClientOptions()
	if err != nil {
		return err
	}
	log, err := o.watched.Logger(stderr)
	if err != nil {
		return err
	}
	t, err := telemetry.Start(context.Background(), o.watched, "worker", log)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.Instrument(&clientOptions); err != nil {
		return err
	}
	clientOptions.Identity = config.WorkerIdentity()
	client, err := config.Dial(context.Background(), clientOptions, log)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, url := range o.workLocations[1:] {
		owner, err := config.OwnerOf(context.Background(), client, clientOptions)
		if err == nil {
			err = migration.ClaimWork(context.Background(), url, owner, func(migration.Owner) bool { return false })
		}
		if err != nil {
			return err
		}
	}
	a := activities.New(o.workLocations, o.credentials.Connect, workflows.Limiters(client), log)
	a.Observe(t)
	t.Watch(a.Statuses)
	a.OpenUndo(identities)
	a.NotifyWith(notices)
	limiters := workflows.NewLimiterWorker(client, clientOptions.Namespace)
	w := workflows.NewWorker(client, o.taskQueue, a, workflows.LongestCall, false)
	for _, start := range []func() error{limiters.Start, w.Start} {
		if err := start(); err != nil {
			return fmt.Errorf("cannot work for the Temporal service: %w", err)
		}
	}
	t.Working(client, o.taskQueue, clientOptions.Identity)
	waitForStop(t, log)
	w.Stop()
	a.Close() // the limiters must be told
	limiters.Stop()
	return nil
}

// waitForStop waits for a signal. A second one ends the process at once.
func waitForStop(t *telemetry.Telemetry, log *slog.Logger) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	<-signals
	t.Draining()
	log.Info("stopping: waiting for calls in flight; a second signal exits at once")
	go func() {
		<-signals
		os.Exit(migration.ExitCannotRun)
	}()
}

// findWorkLocations are those whose migrations this worker takes.
func findWorkLocations(stateDir, workURL string) ([]string, error) {
	stateDir, err := config.StateDir(stateDir, os.Getenv)
	if err != nil {
		return nil, err
	}
	if workURL, err = config.WorkURL(workURL, os.Getenv); err != nil {
		return nil, usageError{err}
	}
	if workURL == "" {
		return []string{stateDir}, nil
	}
	return []string{stateDir, workURL}, nil
}
