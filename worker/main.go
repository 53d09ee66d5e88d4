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
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // of --rate-plan, where a machine has no time zones

	"github.com/spf13/pflag"

	"durable-dataload/activities"
	"durable-dataload/internal/config"
	"durable-dataload/internal/identitycloud"
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

func work(args []string, stdout, stderr io.Writer) error {
	var (
		credentials config.Credentials
		temporal    config.Temporal
		watched     telemetry.Options
		taskQueue   string
		identity    string
		notify      config.Notify
		insecure    bool
		stateDir    string
		workURL     string
		showVersion bool
	)
	flags := pflag.NewFlagSet("worker", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.SetOutput(stdout)
	credentials.AddFlags(flags)
	temporal.AddFlags(flags)
	watched.AddFlags(flags)
	tilde.Var(flags, &stateDir, "state-dir", "the starter's --state-dir: migrations elsewhere are refused; default: the user's state folder")
	flags.StringVar(&workURL, "work-url", "", "the starter's --work-url ("+config.WorkVariable+"): migrations there are accepted too")
	flags.StringVar(&taskQueue, "task-queue", workflows.TaskQueue, "task queue to poll; the same as the starter's")
	tilde.Var(flags, &identity, "undo-identity", "file with the private age key for encrypted previous values; only rollbacks need it (UNDO_IDENTITY)")
	notify.AddFlags(flags)
	config.AddInsecureHTTP(flags, &insecure)
	flags.BoolVar(&showVersion, "version", false, "print the version")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return err
		}
		return usageError{err}
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("unexpected argument %q", flags.Arg(0))}
	}
	if showVersion {
		fmt.Fprintln(stdout, version.String("worker"))
		return nil
	}
	if err := watched.Check(); err != nil {
		return usageError{err}
	}
	places, err := workPlaces(stateDir, workURL)
	if err != nil {
		return err
	}
	if err := credentials.Complete(os.Getenv); err != nil {
		return err
	}
	notices, err := notify.Sender(os.Getenv, insecure)
	if err != nil {
		return err
	}
	for _, warning := range append(credentials.Warnings, notify.Warnings...) {
		fmt.Fprintln(stderr, "Warning: "+warning)
	}
	if err := credentials.Check(); err != nil {
		return err
	}
	if identity == "" {
		var err error
		if identity, err = tilde.Path(os.Getenv("UNDO_IDENTITY")); err != nil {
			return err
		}
	}
	identities, err := undo.ReadIdentities(identity)
	if err != nil {
		return fmt.Errorf("cannot use --undo-identity: %w", err)
	}
	options, _, err := temporal.ClientOptions()
	if err != nil {
		return err
	}
	log, err := watched.Logger(stderr)
	if err != nil {
		return err
	}
	t, err := telemetry.Start(context.Background(), watched, "worker", log)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.Instrument(&options); err != nil {
		return err
	}
	options.Identity = config.WorkerIdentity()
	client, err := config.Dial(context.Background(), options, log)
	if err != nil {
		return err
	}
	defer client.Close()
	a := activities.New(places, func(spec migration.Spec, with func(*identitycloud.Config)) (activities.Target, error) {
		return credentials.Connect(spec, with)
	}, log)
	a.Observe(t)
	t.Watch(a.Statuses)
	a.OpenUndo(identities)
	a.NotifyWith(notices)
	w := workflows.NewWorker(client, taskQueue, a, workflows.LongestCall, false)
	if err := w.Start(); err != nil {
		return fmt.Errorf("cannot work for the Temporal service: %w", err)
	}
	t.Working(client, taskQueue, options.Identity)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	<-signals
	t.Draining()
	log.Info("stopping: waiting for calls in flight; a second signal exits at once")
	go func() {
		<-signals
		os.Exit(migration.ExitCannotRun)
	}()
	w.Stop()
	a.Close()
	return nil
}

// workPlaces are those whose migrations this worker takes.
func workPlaces(stateDir, workURL string) ([]string, error) {
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
