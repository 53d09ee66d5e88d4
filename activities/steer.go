package activities

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
)

// SteerInput is what operators have changed.
type SteerInput struct {
	Run `json:"run"`
	// Order, unless it is null, is in force from now on.
	Order *limiter.Order `json:"order,omitempty"`
	// Events are written down.
	Events []migration.Event `json:"events,omitempty"`
	// Approved says that the canary was approved.
	Approved bool `json:"approved,omitempty"`
}

// Steered says from when on every call keeps to an order.
type Steered struct {
	Holds time.Duration `json:"holds"` // counted from the end of the activity, or before
}

// orderTimeout is how long a limiter has to take an order: an operator waits, and so do the orders after it.
const orderTimeout = 10 * time.Second

// Steer writes what operators have changed down, and orders it of the limiter. Once Holds
// has passed, no call begins on any worker that the order forbids. Exceptions are those of
// CheckTarget and CountEntities, which do not wait at a closed gate.
//
// It heartbeats, so that no second attempt begins while this one waits.
func (a *Activities) Steer(ctx context.Context, in SteerInput) (Steered, error) {
	ctx, done := restartable(ctx)
	defer done()
	steered, err := a.steer(ctx, in)
	return steered, ended(ctx, err)
}

func (a *Activities) steer(ctx context.Context, in SteerInput) (s Steered, err error) {
	folder := in.Run.Folder.Migration()
	if ctx.Err() != nil {
		return s, context.Cause(ctx)
	}
	if in.Order != nil {
		o, err := a.open(in.Run)
		if err != nil {
			return s, err
		}
		c := o.common()
		in.Order.Run = c.limitedRun()
		ordering, cancel := context.WithTimeout(ctx, orderTimeout)
		s.Holds, err = c.limiter.Order(ordering, fmt.Sprintf("%s-%d", c.run.ID, in.Order.Number), *in.Order)
		cancel()
		if err != nil && in.Order.End && ctx.Err() == nil { // the seal of the run ends its calls, too
			a.log.Warn("the limiter was not told that the run ends", "error", err.Error())
			s.Holds, err = limiter.Lease, nil
		}
		if err != nil {
			return s, fmt.Errorf("the limiter did not take the order: %w", err)
		}
	}
	if in.Approved {
		if err := folder.Approve(); err != nil {
			return s, err
		}
	}
	for _, e := range in.Events {
		if err := folder.AppendEvent(e); err != nil {
			return s, err
		}
	}
	return s, nil
}

// FailLimit is how many records of a load may fail.
type FailLimit struct {
	// Load names the LoadWorkflow, over all of its runs.
	Load string `json:"load"`
	// Left is how many records may fail by its calls.
	Left int `json:"left"`
	// Duplicates fail as well.
	Duplicates bool `json:"duplicates,omitempty"`
}

// HoldInput names a load of which too many records have failed.
type HoldInput struct {
	Run  `json:"run"`
	Load string `json:"load"`
}

// HoldLoad stops all workers from claiming further batches of a load, permanently. Calls
// in flight run to their end.
func (a *Activities) HoldLoad(ctx context.Context, in HoldInput) error {
	stop := heartbeat(ctx)
	defer stop()
	return storageError(in.Run.Folder.Migration().Hold(in.Load))
}

// errHeld says that too many records have failed: the batch was not sent.
var errHeld = errors.New("too many records have failed")

// mayClaim returns errHeld once too many records of the load have failed: by the calls of
// this process, which it knows first, or by what the workflow knows of all workers. A
// batch of which a part was sent is always finished.
func (l *loading) mayClaim(key ledger.Key) error {
	if l.limit == nil || key.Part != "" {
		return nil
	}
	if l.failures.of(l.limit.Load) > l.limit.Left {
		return errHeld
	}
	held, err := l.of.Held(l.limit.Load)
	if err == nil && held {
		err = errHeld
	}
	return err
}

// countFailed counts the records that a call has failed. Call it before the slot is
// released.
func (l *loading) countFailed(outcomes ledger.Outcomes) {
	if l.limit == nil {
		return
	}
	c := outcomes.Counts()
	n := c.Failed
	if l.limit.Duplicates {
		n += c.Duplicate
	}
	l.failures.add(l.limit.Load, n)
}

// failures are how many records have failed by calls of this process, by load.
type failures struct {
	mu sync.Mutex
	by map[string]int
}

func (f *failures) add(load string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = map[string]int{}
	}
	f.by[load] += n
}

func (f *failures) of(load string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.by[load]
}
