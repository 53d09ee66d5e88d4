package activities

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
)

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
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-ctx.Done():
		case <-activity.GetWorkerStopChannel(ctx):
			cancel(errNotSent)
		}
	}()
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// onRun runs a restartable activity on a run that it opens.
func onRun[R opened, In, Out any](ctx context.Context, open func(Run) (R, error), run Run, do func(R, context.Context, In) (Out, error), in In) (out Out, err error) {
	ctx, done := restartable(ctx)
	defer done()
	r, err := open(run)
	if err != nil {
		return out, err
	}
	out, err = do(r, ctx, in)
	return out, ended(ctx, err)
}

// ended is the error of an activity that is restartable.
func ended(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errNotSent) {
		return storageError(errNotSent)
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
