package activities

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/config"
	"durable-dataload/internal/gate"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/target"
)

// Limiter is the limiter of one target: it grants the leases of a gate.Client, and takes
// orders, which a repeated id names.
type Limiter interface {
	gate.Asker
	// Order says how long it takes until every call keeps to the order.
	Order(ctx context.Context, id string, o limiter.Order) (holds time.Duration, err error)
}

// limited is the limiter of a target, and this process as one of its workers.
type limited struct {
	Limiter
	*gate.Client
}

// limiterOf is the limiter of a target.
func (a *Activities) limiterOf(t migration.Target) limited {
	a.mu.Lock()
	defer a.mu.Unlock()
	l, ok := a.limited[t.Host()]
	if !ok {
		limiter := a.limiters(t)
		l = limited{limiter, gate.NewClient(limiter, gate.MachineClock(), config.WorkerIdentity())}
		a.limited[t.Host()] = l
	}
	return l
}

// limitedRun names a run at the limiter of its target.
func (c *core) limitedRun() string { return c.spec.ID + "/" + c.run.ID }

// newGate makes the gate of a run: its probe is Target.Check, and the limiter's changes
// of the pace are events of the migration.
func (c *core) newGate() *gate.Gate {
	return c.limiter.Gate(c.limitedRun(), LimitsOf(c.spec.Limits),
		func(ctx context.Context) error { return probed(c.target.Check(ctx)) },
		func(change limiter.Change) {
			e, ok := event(change)
			if !ok {
				return
			}
			if err := c.folder.AppendEvent(e); err != nil {
				c.activities.log.Warn("an event was not written down", "error", err.Error())
			}
		})
}

// LimitsOf are the limits of a run as its limiter takes them.
func LimitsOf(l migration.Limits) limiter.Limits {
	return limiter.Limits{Rate: l.RateLimit, Plan: l.RatePlan, Workers: l.Workers, Breaker: l.Breaker}
}

// probed marks the errors of a probe that do not pass by themselves.
func probed(err error) error {
	if target.IsFault(err) {
		return gate.NewFault(err)
	}
	return err
}

// event is the record of a change of the pace in the migration's folder. What operators
// order for the run its workflow writes down.
func event(c limiter.Change) (e migration.Event, ok bool) {
	e = migration.Event{At: c.At, Text: c.Text}
	switch c.Kind {
	case limiter.Slowed:
		e.Kind, e.New = migration.EventSlowed, limiter.PerSecond(c.Allowed)
	case limiter.Restored:
		e.Kind = migration.EventRestored
	case limiter.Opened:
		e.Kind = migration.EventOpened
	case limiter.Closed:
		e.Kind = migration.EventClosed
	case limiter.Ordered:
		e = migration.Event{At: c.At, Kind: migration.EventChanged, Who: c.By, Name: "paused", Old: "no", New: "yes", Reason: c.Reason}
		if c.Text != "paused" {
			e.Old, e.New = e.New, e.Old
		}
	}
	return e, c.Run == ""
}

// judged reports the result of a call to the gate.
func judged(g *gate.Gate) func(context.Context, target.Call) {
	return func(ctx context.Context, call target.Call) { g.Ended(ctx, report(call)) }
}

func report(call target.Call) gate.Report {
	r := gate.Report{
		Ago: time.Since(call.Sent), Reason: call.Reason, RetryAfter: call.RetryAfter,
		Unknown: call.Unknown, Busy: call.Busy, Crowded: call.Crowded,
	}
	if call.Kind != target.Checks { // which report a fault to their caller
		r.Fault = call.Fault
	}
	return r
}

// pulse heartbeats for an activity that may wait at the gate.
type pulse struct {
	gate atomic.Pointer[gate.Gate]
	done atomic.Int64 // batches of the run
	of   atomic.Int64
	stop func()
}

// heartbeatDetails are those of a pulse. While the gate is closed they have its state: a
// timeout in such a wait is not the batch's fault.
type heartbeatDetails struct {
	*limiter.Gate
	// Done is how many batches of a run are done, of Batches.
	Done    int64 `json:"done,omitempty"`
	Batches int64 `json:"batches,omitempty"`
}

func newPulse(ctx context.Context) *pulse {
	p := &pulse{}
	p.stop = beat(ctx, func() {
		d := heartbeatDetails{Done: p.done.Load(), Batches: p.of.Load()}
		if g := p.gate.Load(); g != nil {
			if state := g.State(); state.Closed != "" {
				d.Gate = &state
			}
		}
		if d == (heartbeatDetails{}) {
			activity.RecordHeartbeat(ctx)
			return
		}
		activity.RecordHeartbeat(ctx, d)
	})
	return p
}

// tell has the heartbeat say how far a run of batches is.
func (p *pulse) tell(done, of int) {
	p.of.Store(int64(of))
	p.done.Store(int64(done))
}

// Waited reports whether an activity timed out while the gate was closed.
func Waited(err error) bool {
	var timeout *temporal.TimeoutError
	if !errors.As(err, &timeout) || !timeout.HasLastHeartbeatDetails() {
		return false
	}
	var state limiter.Gate
	return timeout.LastHeartbeatDetails(&state) == nil && state.Closed != ""
}

// IsUnbegun reports whether an activity was not begun, or ended without a result, because
// its worker is shutting down or was not heard by the service. It is no failure, and no
// attempt is consumed: its workflow schedules it again.
func IsUnbegun(err error) bool {
	var application *temporal.ApplicationError
	return errors.As(err, &application) && application.Type() == Unbegun
}

// unbegun is that error. Temporal does not repeat it: its attempts would be used up by
// every restart of a worker while the gate is closed.
func unbegun() error {
	return temporal.NewApplicationErrorWithOptions(errNotSent.Error(), Unbegun, temporal.ApplicationErrorOptions{
		NonRetryable: true, Category: temporal.ApplicationErrorCategoryBenign,
	})
}

// isUnheard reports whether an activity ended with this cause because the service did not
// accept its heartbeats. The activity was not cancelled.
func isUnheard(cause error) bool {
	var cancelled *temporal.CanceledError
	return cause != nil && !errors.Is(cause, context.Canceled) && !errors.As(cause, &cancelled) && !errors.Is(cause, errNotSent)
}

// pace is the state of the gate, which knows what the calls before came to; nil where it is
// what the options say.
func (c *core) pace(ctx context.Context) *limiter.Gate {
	c.gate.Flush(ctx)
	state := c.gate.State()
	if state == (limiter.Gate{Limit: c.spec.RateLimit, Allowed: c.spec.RateLimit, Slots: c.spec.Workers}) {
		return nil
	}
	return &state
}

// slots is how many calls may be in flight, over all workers.
func (c *core) slots() int { return cmp.Or(c.gate.State().Slots, c.spec.Workers) }

// room bounds how many batches are in memory, encoded.
type room struct {
	mu    sync.Mutex
	taken int
	freed chan struct{} // closed when one was given back
}

// take waits until fewer than most are taken; most may change at any time.
func (r *room) take(ctx context.Context, most func() int) error {
	for {
		r.mu.Lock()
		if r.taken < max(most(), 1) {
			r.taken++
			r.mu.Unlock()
			return nil
		}
		if r.freed == nil {
			r.freed = make(chan struct{})
		}
		freed := r.freed
		r.mu.Unlock()
		select {
		case <-freed:
		case <-time.After(time.Second): // an operator has set more
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tryTake takes one if fewer than most are taken.
func (r *room) tryTake(most int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken >= most {
		return false
	}
	r.taken++
	return true
}

func (r *room) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken--
	if r.freed != nil {
		close(r.freed)
		r.freed = nil
	}
}
