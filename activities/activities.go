// Package activities does all I/O of a migration: it reads the input, calls the
// target, and writes the ledger and the artifacts.
//
// Every activity may be run again at any moment, by any worker: after a crash,
// by a retry, after a reset of the workflow. The ledger, not the activity,
// prevents what must not happen twice. Only numbers, names and classes of errors
// go to and from Temporal, never the content of a record.
package activities

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"filippo.io/age"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/source"
	"durable-dataload/internal/target"
)

// HeartbeatTimeout is how soon a dead worker is noticed. A live one heartbeats
// several times within it.
const HeartbeatTimeout = 6 * time.Second

const heartbeatInterval = 1500 * time.Millisecond

// Connect makes the adapter of a target, with credentials that this process has, and
// with the hooks that the activities need around its calls.
type Connect func(spec migration.Spec, hooks target.Hooks) (target.Adapter, error)

// Activities are the activities of one worker process.
type Activities struct {
	work     []string // the state folders and work URLs whose runs it accepts
	connect  Connect
	log      *slog.Logger
	observer Observer
	// identities open the previous values of updated records, where these are
	// encrypted.
	identities []age.Identity
	notices    *notify.Sender // nil: no notices
	drain      chan struct{}
	drained    sync.Once
	limiters   func(migration.Target) Limiter

	mu      sync.Mutex
	runs    map[Run]*opening
	uses    int64              // of runs
	limited map[string]limited // by the host of the target
}

// New makes the activities of this process, for the runs in its state folders and work
// URLs. Its calls keep to the limiters of their targets.
func New(work []string, connect Connect, limiters func(migration.Target) Limiter, log *slog.Logger) *Activities {
	return &Activities{
		work: work, connect: connect, limiters: limiters, log: log, observer: noObserver{}, drain: make(chan struct{}),
		runs: map[Run]*opening{}, limited: map[string]limited{},
	}
}

// OpenUndo sets the keys to encrypted previous values, for rollbacks. Call it before the
// first activity.
func (a *Activities) OpenUndo(identities []age.Identity) { a.identities = identities }

// NotifyWith sets the sender of notices; nil sends none. Call it before the first
// activity.
func (a *Activities) NotifyWith(s *notify.Sender) { a.notices = s }

// Drain stops this process from starting further calls that load or update records. Calls
// in flight end, and their outcomes are written down.
func (a *Activities) Drain() { a.drained.Do(func() { close(a.drain) }) }

// Close gives what this process has of the limiters back, for other workers. Call it when
// no activity runs.
func (a *Activities) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.limited {
		l.Close(ctx)
	}
	clear(a.limited)
}

// Types of the errors that the workflows tell apart.
const (
	// Refused: this input or this target cannot be migrated. Nothing was sent.
	Refused = "Refused"
	// Unfit: this is not the worker for it: it works in other folders, or this was not ordered
	// in them. See Interceptor.
	Unfit = "Unfit"
	// Damaged: a file of the migration's folder is not as this program writes it, or the
	// ledger is missing.
	Damaged = "Damaged"
	// Unreachable: the target does not answer as it should. It may pass.
	Unreachable = "Unreachable"
	// InputChanged: the input is not the file that was inspected.
	InputChanged = "InputChanged"
	// Storage: a folder cannot be read or written. It may pass.
	Storage = "Storage"
	// Unbegun: this worker is stopping, or the service did not accept its heartbeats, and
	// nothing more was sent. Another worker, or this one later, can do it.
	Unbegun = "Unbegun"
	// Over: the run is over, and nothing more is sent for it.
	Over = "Over"
	// DoesNotAddUp: the program found a bug of its own.
	DoesNotAddUp = "DoesNotAddUp"
)

// refused makes the error that ends a migration before anything is sent.
func refused(err error) error {
	return temporal.NewNonRetryableApplicationError(safetext.Text(err.Error()), Refused, nil)
}

// storageError gives an error of reading or writing its type. Its text names paths, never
// content.
func storageError(err error) error {
	var application *temporal.ApplicationError
	switch {
	case err == nil, errors.As(err, &application):
		return err
	case errors.Is(err, context.Canceled) && !errors.Is(err, errNotSent):
		return context.Canceled // the activity was cancelled
	case errors.Is(err, source.ErrInputChanged):
		return temporal.NewNonRetryableApplicationError(err.Error(), InputChanged, nil)
	case errors.Is(err, migration.ErrDamaged), errors.Is(err, ledger.ErrGone):
		return temporal.NewNonRetryableApplicationError(err.Error(), Damaged, nil)
	case errors.Is(err, artifacts.ErrDoesNotAddUp):
		return temporal.NewNonRetryableApplicationError(err.Error(), DoesNotAddUp, nil)
	case errors.Is(err, errNotSent):
		return unbegun()
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return temporal.NewApplicationError("the disk is full: "+err.Error()+"; free some space, nothing is lost", Storage)
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return temporal.NewApplicationError(err.Error()+"; make it writable, nothing is lost", Storage)
	case errors.Is(err, fs.ErrNotExist):
		return temporal.NewApplicationError(err.Error()+"; restore that folder or file", Storage)
	}
	return temporal.NewApplicationError(err.Error(), Storage)
}

func isNotFound(err error) bool { return errors.Is(err, ledger.ErrNotFound) }

// heartbeat tells Temporal that this worker is alive, until stop is called.
func heartbeat(ctx context.Context) (stop func()) {
	return beat(ctx, func() { activity.RecordHeartbeat(ctx) })
}

func beat(ctx context.Context, record func()) (stop func()) {
	done := make(chan struct{})
	var once sync.Once
	go func() {
		ticker := time.NewTicker(heartbeatInterval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-ticker.C:
				record()
			}
		}
	}()
	return func() { once.Do(func() { close(done) }) }
}

// restartable is for activities that only read, or write a function of the ledger: when
// the worker stops they end at once, and another worker starts them again. It heartbeats
// until done is called.
func restartable(ctx context.Context) (_ context.Context, done func()) {
	stop := heartbeat(ctx)
	ctx, cancel := untilWorkerStops(ctx)
	return ctx, func() {
		stop()
		cancel()
	}
}

func untilWorkerStops(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-ctx.Done():
		case <-activity.GetWorkerStopChannel(ctx):
			cancel(errNotSent)
		}
	}()
	return ctx, func() { cancel(nil) }
}

// onRun runs a restartable activity on a run that it opens. It may wait at the gate.
func onRun[R opened, In, Out any](ctx context.Context, open func(Run) (R, error), run Run, do func(R, context.Context, In) (Out, error), in In) (out Out, err error) {
	beat := newPulse(ctx)
	defer beat.stop()
	ctx, done := untilWorkerStops(ctx)
	defer done()
	r, err := open(run)
	if err != nil {
		return out, err
	}
	beat.gate.Store(r.common().gate)
	out, err = do(r, ctx, in)
	return out, ended(ctx, err)
}

// ended is the error of an activity that ends as one that was not begun if the worker stops,
// or if the service did not accept its heartbeats: it is busy or unreachable.
func ended(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(cause, errNotSent), isUnheard(cause) && (errors.Is(err, cause) || errors.Is(err, context.Canceled)):
		return unbegun()
	}
	return storageError(err)
}

// workerStop is closed when the worker of an activity stops; nil if ctx is not that of an
// activity.
func workerStop(ctx context.Context) <-chan struct{} {
	if !activity.IsActivity(ctx) {
		return nil
	}
	return activity.GetWorkerStopChannel(ctx)
}

// stopping returns an error if this process must not begin anything new.
func (a *Activities) stopping(ctx context.Context) error {
	select {
	case <-a.drain:
		return errNotSent
	case <-workerStop(ctx):
		return errNotSent
	default:
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}

// untilStopping derives a context that ends when this process must not begin anything new.
func (a *Activities) untilStopping(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-ctx.Done():
		case <-a.drain:
		case <-workerStop(ctx):
		}
		cancel(errNotSent)
	}()
	return ctx, func() { cancel(nil) }
}

// errNotSent says that this worker is stopping and nothing was sent.
var errNotSent = errors.New("this worker is stopping; nothing was sent")
