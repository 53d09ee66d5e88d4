package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"durable-dataload/internal/config"
	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/terminal"
	"durable-dataload/workflows"
)

// newServeCommand keeps what a schedule needs.
func newServeCommand(stdout, stderr io.Writer, code *int) *cobra.Command {
	var o options
	command := &cobra.Command{
		Use:   "serve [--sandbox | options of the target]",
		Short: "Keep the embedded engine and a worker up, so that schedules fire",
		Long: `Keep the embedded engine and a worker up, so that schedules fire. With --address only the worker.

It serves the schedules of its state folder until SIGTERM or Ctrl-C; calls in flight end then. What was cut off goes on
when it starts again. Migrations that are started beside it on the same state folder use its engine.`,
		Example: `  starter serve --client-secret-file /etc/durable-dataload/secret --client-id … --apid_uri https://example.janraincapture.com
  starter serve --sandbox`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := o.completeServe(command.Flags(), os.Getenv); err != nil {
				return err
			}
			warn(stderr, append(o.credentials.Warnings, o.notify.Warnings...))
			var err error
			*code, err = serve(command.Context(), o, terminal.New(stdout, stderr, terminal.Options{JSON: o.json}), stderr)
			return err
		},
	}
	f := command.Flags()
	f.SortFlags = false
	o.credentials.AddFlags(f)
	f.BoolVar(&o.sandbox, "sandbox", false, "serve schedules into the local Identity Cloud of the state folder, and run that")
	o.addHomeFlags(f, "folder for the state: ledger and embedded engine")
	o.temporal.AddFlags(f)
	f.StringVar(&o.taskQueue, "task-queue", workflows.TaskQueue, "where to look for work of --address")
	config.AddInsecureHTTP(f, &o.insecureHTTP)
	o.notify.AddFlags(f)
	o.watched.AddFlags(f)
	return command
}

func (o *options) completeServe(f *pflag.FlagSet, getenv func(string) string) error {
	if err := o.completeHome(getenv); err != nil {
		return err
	}
	if err := o.watched.Check(); err != nil {
		return usageError{err}
	}
	var err error
	if o.notices, err = o.notify.Sender(getenv, o.insecureHTTP); err != nil {
		return err
	}
	if !o.sandbox {
		if err := o.credentials.Complete(getenv); err != nil {
			return err
		}
		return o.credentials.Check()
	}
	if name := namesTarget(f); name != "" {
		return usage("--sandbox brings its own target; expected no --%s with it", name)
	}
	return nil
}

// serve works for schedules until somebody stops it.
func serve(ctx context.Context, o options, screen *terminal.Screen, stderr io.Writer) (int, error) {
	return attend(ctx, &o, screen, func(ctx context.Context, _ *slog.Logger, stop <-chan struct{}) (int, error) {
		if err := o.home.prove(); err != nil {
			return 0, err
		}
		if _, given, err := o.temporal.ClientOptions(); err != nil {
			return 0, err
		} else if !given {
			lock, err := durablefs.TryLock(filepath.Join(o.stateDir, "serve.lock"))
			if errors.Is(err, durablefs.ErrLocked) {
				return 0, fmt.Errorf("another starter serve runs on the state folder %s; end that one, or give another --state-dir", o.stateDir)
			}
			if err != nil {
				return 0, err
			}
			defer lock.Unlock()
		}
		// Nobody watches a screen: what happens goes where a service manager
		// keeps it.
		logger, err := o.watched.Logger(stderr)
		if err != nil {
			return 0, err
		}
		return takingOver(screen, func() (int, error) { return 0, serveOnce(ctx, o, screen, logger, stop) })
	})
}

// serveOnce serves with the engine that there is, its own or that of a starter
// that migrates, until that one is gone.
func serveOnce(ctx context.Context, o options, screen *terminal.Screen, logger *slog.Logger, stop <-chan struct{}) error {
	closeTarget, err := o.openTarget()
	if err != nil {
		return err
	}
	defer closeTarget()
	s, err := connect(ctx, o, logger)
	if err != nil {
		return err
	}
	defer s.close()
	for _, note := range s.notes {
		screen.Say(note)
	}
	if s.taskQueue == "" {
		s.taskQueue = workflows.TaskQueue
	}
	if err := s.startWorker(o.credentials, nil, o.notices, workflows.LongestCall, logger); err != nil {
		return fmt.Errorf("cannot work for the Temporal service: %w", err)
	}
	if err := introduceServe(ctx, s, o, screen); err != nil {
		return err
	}
	select {
	case <-stop:
		screen.Say("Stopping: calls in flight come to their end. Ctrl-C again: out at once.")
		return nil
	case <-s.gone(ctx):
		return errEngineGone
	}
}

func introduceServe(ctx context.Context, s *service, o options, screen *terminal.Screen) error {
	if link := s.link(""); link != "" {
		screen.Say("Serving the state folder " + o.stateDir + ". Web UI:  " + link)
	} else {
		screen.Say("Serving the task queue " + s.taskQueue + ".")
	}
	views, err := listSchedules(ctx, s)
	if err != nil {
		return err
	}
	return writeSchedules(screen.Stderr, views)
}
