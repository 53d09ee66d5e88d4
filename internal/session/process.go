package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/telemetry"
	"durable-dataload/internal/terminal"
)

// Process is what a command works with while it runs.
type Process struct {
	Screen    *terminal.Screen
	Log       *slog.Logger
	Telemetry *telemetry.Telemetry // nil: no metrics and no traces
	Stop      <-chan struct{}      // closed at the first Ctrl-C
}

// IsStopped reports whether there was a Ctrl-C.
func (p Process) IsStopped() bool {
	select {
	case <-p.Stop:
		return true
	default:
		return false
	}
}

// UntilStopped ends the context with ErrStopped at the first Ctrl-C.
func (p Process) UntilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-p.Stop:
			cancel(ErrStopped)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// Attend runs a command with a log in the state folder, telemetry, and a stop that
// is closed at the first Ctrl-C. The second one ends the process.
func Attend(ctx context.Context, screen *terminal.Screen, stateDir string, watched telemetry.Options, run func(context.Context, Process) (int, error)) (int, error) {
	stop := make(chan struct{})
	p := Process{Screen: screen, Stop: stop}
	var closeLog func()
	var err error
	if p.Log, closeLog, err = OpenLog(stateDir, watched); err != nil {
		return 0, err
	}
	defer closeLog()
	if p.Telemetry, err = telemetry.Start(ctx, watched, "starter", p.Log); err != nil {
		return 0, err
	}
	defer p.Telemetry.Close()
	// A terminal that goes away does not end a migration.
	signal.Ignore(syscall.SIGHUP)
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		<-interrupts
		close(stop)
		<-interrupts
		screen.Say("Stopped at once. Nothing is lost: rerun the command to resume.")
		os.Exit(migration.ExitStopped)
	}()
	return run(ctx, p)
}

// TakingOver runs something on a service, and again if the process that ran the
// engine has ended: this process starts the engine then.
func TakingOver(screen *terminal.Screen, run func() (int, error)) (int, error) {
	for {
		code, err := run()
		if !errors.Is(err, ErrEngineGone) {
			return code, err
		}
		screen.Say("The process that ran the engine has ended; this one takes over.")
	}
}

// OpenLog opens the log of the state folder.
func OpenLog(stateDir string, o telemetry.Options) (*slog.Logger, func(), error) {
	dir := filepath.Join(stateDir, "logs")
	if err := durablefs.MkdirAll(dir); err != nil {
		return nil, nil, fmt.Errorf("cannot use the state folder: %w; give another --state-dir", err)
	}
	f, err := durablefs.OpenLog(filepath.Join(dir, "starter.log"))
	if err != nil {
		return nil, nil, fmt.Errorf("cannot use the state folder: %w; give another --state-dir", err)
	}
	logger, err := o.Logger(f)
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return logger, func() { _ = f.Close() }, nil
}
