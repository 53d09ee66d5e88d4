package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"durable-dataload/internal/config"
	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/notify"
	"durable-dataload/internal/session"
	"durable-dataload/internal/telemetry"
	"durable-dataload/internal/terminal"
	"durable-dataload/workflows"
)

// newServeCommand keeps the engine and a worker running, which schedules need.
func newServeCommand(stdout, stderr io.Writer, code *int) *cobra.Command {
	var o serveOptions
	command := &cobra.Command{
		Use:   "serve [--sandbox | options of the target]",
		Short: "Keep the embedded engine and a worker up, so that schedules fire",
		Long: `Keep the embedded engine and a worker up, so that schedules fire. With --address only the worker.

It serves the schedules of its state folder until SIGTERM or Ctrl-C; calls in flight finish. What was cut off is resumed
when it starts again. Migrations that are started beside it on the same state folder use its engine.`,
		Example: `  starter serve --client-secret-file /etc/durable-dataload/client_secret \
      --client-id … --apid_uri https://example.janraincapture.com
  starter serve --sandbox`,
		Args: noArguments(""),
		RunE: func(command *cobra.Command, _ []string) error {
			notices, err := o.complete(command.Flags(), os.Getenv)
			if err != nil {
				return err
			}
			warn(stderr, append(o.credentials.Warnings, o.notify.Warnings...))
			*code, err = serve(command.Context(), o, notices, terminal.New(stdout, stderr, terminal.Options{JSON: false}))
			return err
		},
	}
	f := command.Flags()
	f.SortFlags = false
	o.credentials.AddFlags(f)
	o.addSandboxFlag(f, "serve schedules into the local Identity Cloud of the state folder, and run that")
	o.addLocationFlags(f, "folder for the state: ledger and embedded engine")
	o.temporal.AddFlags(f)
	f.StringVar(&o.taskQueue, "task-queue", workflows.TaskQueue, "task queue to poll with --address")
	o.addUIPort(f)
	config.AddInsecureHTTP(f, &o.insecureHTTP)
	o.notify.AddFlags(f)
	o.watched.AddFlags(f)
	return command
}

// serveOptions are the command line of starter serve.
type serveOptions struct {
	targetOptions
	locations
	serviceOptions
	watched telemetry.Options
	notify  config.Notify
}

func (o *serveOptions) complete(f *pflag.FlagSet, getenv func(string) string) (*notify.Sender, error) {
	if err := o.locations.complete(getenv); err != nil {
		return nil, err
	}
	if err := o.watched.Check(); err != nil {
		return nil, usage("%w", err)
	}
	if err := o.targetOptions.complete(f, getenv); err != nil {
		return nil, err
	}
	if !o.sandbox {
		if err := o.credentials.Check(); err != nil {
			return nil, err
		}
	}
	return o.notify.Sender(getenv, o.insecureHTTP)
}

// serve works for schedules until it is stopped.
func serve(ctx context.Context, o serveOptions, notices *notify.Sender, screen *terminal.Screen) (int, error) {
	return session.Attend(ctx, screen, o.stateDir, o.watched, func(ctx context.Context, p session.Process) (int, error) {
		if err := o.prove(); err != nil {
			return 0, err
		}
		if remote, err := o.serviceOptions.session(o.locations).IsRemote(); err != nil {
			return 0, err
		} else if !remote {
			lock, err := durablefs.TryLock(filepath.Join(o.stateDir, "serve.lock"))
			if errors.Is(err, durablefs.ErrLocked) {
				return 0, fmt.Errorf("another starter serve runs on the state folder %s; stop it, or give another --state-dir", o.stateDir)
			}
			if err != nil {
				return 0, err
			}
			defer lock.Unlock()
		}
		// There is no terminal: the log goes to stderr, which a service manager keeps.
		var err error
		if p.Log, err = o.watched.Logger(screen.Stderr); err != nil {
			return 0, err
		}
		return session.TakingOver(screen, func() (int, error) { return 0, serveOnce(ctx, o, notices, p) })
	})
}

// serveOnce serves with its own engine, or with that of a starter that migrates, until
// that one has ended.
func serveOnce(ctx context.Context, o serveOptions, notices *notify.Sender, p session.Process) error {
	closeTarget, err := o.openTarget(o.stateDir)
	if err != nil {
		return err
	}
	defer closeTarget()
	s, err := session.Open(ctx, p, o.serviceOptions.session(o.locations))
	if err != nil {
		return err
	}
	defer s.Close()
	for _, note := range s.Notes {
		p.Screen.Say(note)
	}
	if s.TaskQueue == "" {
		s.TaskQueue = workflows.TaskQueue
	}
	return s.While(ctx, func(ctx context.Context) error {
		if err := s.StartWorker(ctx, session.Work{Credentials: o.credentials, Notices: notices, LongestCall: workflows.LongestCall}); err != nil {
			return fmt.Errorf("cannot start a worker: %w", err)
		}
		if err := introduceServe(ctx, s, o.stateDir, p.Screen); err != nil {
			return err
		}
		select {
		case <-p.Stop:
			p.Screen.Say("Stopping: calls in flight end first. Ctrl-C again exits at once.")
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
}

func introduceServe(ctx context.Context, s *session.Service, stateDir string, screen *terminal.Screen) error {
	if link := s.Link(""); link != "" {
		screen.Say("Serving the state folder " + stateDir + ". Web UI:  " + link)
	} else {
		screen.Say("Serving the task queue " + s.TaskQueue + ".")
	}
	views, err := listSchedules(ctx, s)
	if err != nil {
		return err
	}
	return writeSchedules(screen.Stderr, views)
}
