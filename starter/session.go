package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/catalogue"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/session"
	"durable-dataload/internal/terminal"
)

// session are the options of a session.
func (o *serviceOptions) session(h locations) session.Options {
	return session.Options{Temporal: o.temporal, TaskQueue: o.taskQueue, WithWorker: o.withWorker, StateDir: h.stateDir, UIPort: int(o.uiPort), WorkLocations: h.workLocations()}
}

// running is the service of an engine that runs on the state folder; nil if none does.
func (o *runOptions) running(ctx context.Context) *session.Service {
	options := o.session(o.locations)
	if remote, err := options.IsRemote(); err != nil || remote {
		return nil
	}
	s, err := session.Find(ctx, session.Process{Log: slog.New(slog.DiscardHandler)}, options)
	if err != nil {
		return nil
	}
	return s
}

// completeRun checks what every command has that calls the target.
func (o *runOptions) completeRun(f *pflag.FlagSet, getenv func(string) string) error {
	if err := o.paceOptions.complete(); err != nil {
		return err
	}
	if err := o.targetOptions.complete(f, getenv); err != nil {
		return err
	}
	return o.locations.complete(getenv)
}

// find gives the migration with a name, which is to be verified or rolled back, from its
// folder. to is what is to be done with it, for messages.
func (l locations) find(name catalogue.Name, to string) (of catalogue.Migration, err error) {
	known := l.catalogue()
	known.NoExports = true
	if of, err = known.Find(context.Background(), name); err != nil {
		return of, err
	}
	if of.IsExport {
		return of, fmt.Errorf("%s is an export, which changes nothing in a target, so there is nothing to %s; expected a migration", of.ID, to)
	}
	of.Spec, err = of.Folder.Spec()
	if errors.Is(err, migration.ErrAbsent) {
		err = fmt.Errorf("the migration %s has sent nothing; there is nothing to %s", of.ID, to)
	}
	return of, err
}

// attend is session.Attend. It checks first that the locations of the command can be
// used.
func (o *runOptions) attend(ctx context.Context, screen *terminal.Screen, run func(context.Context, session.Process) (int, error)) (int, error) {
	return session.Attend(ctx, screen, o.stateDir, o.watched, func(ctx context.Context, p session.Process) (int, error) {
		if err := o.prove(); err != nil {
			return 0, err
		}
		return run(ctx, p)
	})
}

// attendOne is attend for the commands with one operation, which takes over from an
// engine that is gone. It puts the exit code into code.
func (o *runOptions) attendOne(ctx context.Context, stdout, stderr io.Writer, code *int, run func(context.Context, session.Process) (int, error)) (err error) {
	warn(stderr, o.credentials.Warnings)
	*code, err = o.attend(ctx, terminal.New(stdout, stderr, terminal.Options{JSON: o.json}), func(ctx context.Context, p session.Process) (int, error) {
		return session.TakingOver(p.Screen, func() (int, error) { return run(ctx, p) })
	})
	return err
}

// withSession returns a session. The target that the options name lasts as long.
func (o *runOptions) withSession(p session.Process, run func(*session.Session) (int, error)) (int, error) {
	s := &session.Session{Process: p, Options: o.serviceOptions.session(o.locations)}
	if remote, err := s.Options.IsRemote(); err != nil {
		return 0, err
	} else if remote && o.sandbox && !o.withWorker {
		return 0, usage("--sandbox needs a worker that knows its credentials; give --with-worker as well")
	}
	closeTarget, err := o.openTarget(o.stateDir)
	if err != nil {
		return 0, err
	}
	defer closeTarget()
	return run(s)
}

// reserveStart returns the start of a rollback or verification, with a stamp that the
// result files of no other one in the folder have.
func reserveStart(id, outputDir, kind string, owner func() (string, error)) (migration.Start, error) {
	if err := artifacts.CheckFolder(outputDir); err != nil {
		return migration.Start{}, err
	}
	name, err := owner()
	if err != nil {
		return migration.Start{}, err
	}
	now := time.Now()
	stamp, err := artifacts.ReserveStamp(outputDir, name, kind, now)
	return migration.Start{ID: id, StartedAt: now.UTC().Truncate(time.Second), Stamp: stamp}, err
}
