package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"

	"durable-dataload/internal/engine"
	"durable-dataload/internal/machine"
)

// engineStart is how long an engine may take until it answers: half a second, and far
// longer on a machine that is busy.
const engineStart = 30 * time.Second

// openEmbedded starts the engine of the state folder, or uses the one that another
// process runs there.
func openEmbedded(ctx context.Context, p Process, o Options) (*Service, error) {
	s := &Service{engineDir: engineDir(o.StateDir), Attributes: true, workLocations: o.WorkLocations, process: p}
	ctx, cancel := context.WithTimeout(ctx, engineStart)
	defer cancel()
	// The engine would export spans of its own, over gRPC alone, and not start where
	// another protocol is asked for. What this process exports is decided by now.
	if err := os.Unsetenv("OTEL_TRACES_EXPORTER"); err != nil {
		return nil, err
	}
	if err := machine.Claim(o.StateDir); err != nil {
		return nil, err
	}
	var err error
	if s.engine, s.address, err = engineOf(ctx, s.engineDir, o.UIPort); err != nil {
		return nil, err
	}
	if s.engine != nil {
		s.owner = true
		limitMemory()
		if left := s.engine.Left(); len(left) > 0 {
			s.Notes = append(s.Notes, fmt.Sprintf("The embedded engine has another version than before and uses a new database; %s is kept for the program of that version. Ledgers do not depend on the version: to resume a migration that was cut off, rerun its command.", strings.Join(left, ", ")))
		}
	}
	clientOptions, err := s.address.ClientOptions()
	if err == nil {
		err = s.dial(ctx, clientOptions)
	}
	if err == nil {
		err = s.own(ctx, clientOptions)
	}
	if err == nil {
		err = s.runLimiters(clientOptions.Namespace)
	}
	if err != nil {
		s.Close()
		if s.engine == nil && engine.WaitUntilFree(s.engineDir, engineStart) {
			err = ErrEngineGone
		}
		return nil, err
	}
	return s, nil
}

// engineOf starts the engine of a folder, or gives nil and the address of the one
// that another process runs there. It waits for the end of one that is stopping: a
// command may follow the one before at once.
func engineOf(ctx context.Context, dir string, uiPort int) (*engine.Engine, engine.Address, error) {
	for {
		e, err := engine.Start(ctx, dir, searchAttributes, uiPort)
		if err == nil {
			return e, e.Address(), nil
		}
		if !errors.Is(err, engine.ErrOwned) {
			return nil, engine.Address{}, err
		}
		address, err := runningEngine(ctx, dir)
		if err == nil {
			return nil, address, nil
		}
		if !errors.Is(err, errNothingRuns) || ctx.Err() != nil {
			return nil, address, fmt.Errorf("the state folder %s belongs to another process: %w; end that one, or give another --state-dir", filepath.Dir(dir), err)
		}
	}
}

// errNothingRuns says that no process runs an engine in a folder.
var errNothingRuns = errors.New("nothing runs there")

// runningEngine finds the engine that a process runs in a folder. One that does not
// answer may be starting or stopping.
func runningEngine(ctx context.Context, dir string) (engine.Address, error) {
	ctx, cancel := context.WithTimeout(ctx, engineStart)
	defer cancel()
	for {
		owned, err := engine.IsOwned(dir)
		switch {
		case err == nil && !owned, errors.Is(err, os.ErrNotExist):
			return engine.Address{}, errNothingRuns
		case err != nil:
			return engine.Address{}, fmt.Errorf("cannot see whether a process runs the engine of the state folder %s: %w; run this as the owner of the folder, or give another --state-dir", filepath.Dir(dir), err)
		}
		attempt, done := context.WithTimeout(ctx, time.Second)
		address, err := engine.Running(attempt, dir)
		done()
		if err == nil || ctx.Err() != nil {
			return address, err
		}
	}
}

// limitMemory lets the garbage collector use the memory that an engine may have: it
// took a tenth of the time. GOGC and GOMEMLIMIT have precedence.
func limitMemory() {
	const limit = 300 << 20
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(300)
		debug.SetMemoryLimit(limit)
	}
}

// HasEngine reports whether a process runs the engine that the service is; true with a
// service of the user's own.
func (s *Service) HasEngine() bool { return !s.IsEmbedded() || !engine.IsFree(s.engineDir) }

// Ends reports whether the service is an engine that stops, and waits for its end.
func (s *Service) Ends() bool {
	return s.IsEmbedded() && engine.WaitUntilFree(s.engineDir, engineStart)
}

// While does something that needs the service. Its context ends when the process that runs the engine has ended: calls to
// an engine that is gone are repeated, some without end. The error is ErrEngineGone then. A nil service has no engine.
func (s *Service) While(ctx context.Context, do func(context.Context) error) error {
	if s == nil {
		return do(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	gone := s.gone(ctx)
	go func() {
		select {
		case <-gone:
			cancel(ErrEngineGone)
		case <-ctx.Done():
		}
	}()
	err := do(ctx)
	if err != nil && errors.Is(context.Cause(ctx), ErrEngineGone) {
		return ErrEngineGone
	}
	return s.lost(err)
}

// lost returns ErrEngineGone in the place of an error of the service if the process
// that ran the engine has ended, or is about to.
func (s *Service) lost(err error) error {
	var unavailable *serviceerror.Unavailable
	if s.engine != nil || !errors.As(err, &unavailable) || !s.Ends() {
		return err
	}
	return ErrEngineGone
}

// gone returns a channel that is closed when the engine of another process, which this
// one uses, is gone.
func (s *Service) gone(ctx context.Context) <-chan struct{} {
	gone := make(chan struct{})
	if s.engine != nil || !s.IsEmbedded() {
		return gone
	}
	go func() {
		for ctx.Err() == nil {
			if !s.HasEngine() {
				close(gone)
				return
			}
			time.Sleep(500 * time.Millisecond)
		}
	}()
	return gone
}
