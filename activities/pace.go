package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/pace"
)

// newGate makes the gate of a run: operators set its limits, its probe is Target.Check,
// and its changes of the pace are events of the migration.
func (c *core) newGate() (*pace.Gate, error) {
	set := &control{run: c.run, spec: c.spec}
	return pace.New(pace.Config{
		Starts: c.folder.StartTimes(c.spec.Target), Places: c.folder.Slots(), Settings: set.settings,
		Probe:      func(ctx context.Context) error { return probed(c.target.Check(ctx)) },
		FirstProbe: c.activities.firstProbe,
		Happened: func(e pace.Event) {
			if err := c.folder.AppendEvent(event(e)); err != nil {
				c.activities.log.Warn("an event was not written down", "error", err.Error())
			}
		},
	})
}

// probed marks the errors of a probe that do not pass by themselves.
func probed(err error) error {
	for _, fault := range []error{identitycloud.ErrCredentials, identitycloud.ErrEntityType, identitycloud.ErrTLS, identitycloud.ErrNotIdentityCloud} {
		if errors.Is(err, fault) {
			return pace.NewFault(err)
		}
	}
	return err
}

// control is the control of a run as it was last read.
type control struct {
	run  Run
	spec migration.Spec

	mu   sync.Mutex
	set  migration.Control
	read bool
	last pace.Settings
}

// settings are what operators have set, or the options.
func (c *control) settings() (pace.Settings, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	set, err := c.run.Folder.Control(c.run.ID, c.spec)
	if err != nil {
		return c.last, err
	}
	if c.read && set == c.set {
		return c.last, nil
	}
	plan := c.last.Plan
	if !c.read || set.RatePlan != plan.String() {
		if plan, err = pace.ParsePlan(set.RatePlan, nil); err != nil {
			return c.last, fmt.Errorf("the timetable of the pace: %w", err)
		}
	}
	c.set, c.read = set, true
	c.last = pace.Settings{Rate: set.RateLimit, Plan: plan, Places: set.Workers, Breaker: set.Breaker, Paused: set.Paused, PausedText: "paused " + set.PausedText}
	return c.last, nil
}

// event is the record of a change of the pace in the migration's folder.
func event(e pace.Event) migration.Event {
	kept := migration.Event{At: time.Now(), Text: e.Text}
	switch e.Kind {
	case pace.Slowed:
		kept.Kind, kept.New = migration.EventSlowed, pace.PerSecond(e.Allowed)
	case pace.Restored:
		kept.Kind = migration.EventRestored
	case pace.Opened:
		kept.Kind = migration.EventOpened
	case pace.Closed:
		kept.Kind = migration.EventClosed
	}
	return kept
}

// judged reports the result of a call to the gate.
func (a *Activities) judged(gate *pace.Gate) func(context.Context, string, identitycloud.Answer) {
	return func(ctx context.Context, endpoint string, answer identitycloud.Answer) {
		if answer.Verdict == identitycloud.NotSent {
			return
		}
		if err := gate.Ended(ctx, outcome(endpoint, answer)); err != nil {
			a.log.Warn("the result of a call could not be reported to the pace", "error", err.Error())
		}
	}
}

func outcome(endpoint string, answer identitycloud.Answer) pace.Outcome {
	o := pace.Outcome{Sent: answer.Sent, Ended: answer.Received, Reason: answer.Reason, RetryAfter: answer.RetryAfter}
	var api *identitycloud.APIError
	isAPI := errors.As(answer.Err, &api)
	// A permission error means that the target is healthy; except for a bulkCreate,
	// which dataload.py sends again on this code.
	mayNot := isAPI && api.IsPermission() && endpoint != identitycloud.BulkCreate
	o.Unknown = answer.Verdict == identitycloud.Unknown && answer.Reason != "canceled" && !mayNot
	if unknown, reason := unknownRecords(answer); unknown > 0 && unknown == len(answer.Records) {
		o.Unknown, o.Reason = true, reason
	}
	// The calls of Target.Check report a fault to their caller, not to the gate.
	if answer.Fault != nil && endpoint != "/entity.count" && endpoint != "/entityType" {
		o.Fault = answer.Fault.Error()
	}
	o.Crowded = isAPI && api.Code == 510 || slices.ContainsFunc(answer.Records, func(r identitycloud.RecordAnswer) bool { return r.Unknown == "api 510" })
	var status *identitycloud.HTTPError
	o.Busy = o.Crowded || errors.As(answer.Err, &status) && (status.Status == 429 || status.Status == 503 || status.Status == 510)
	return o
}

// unknownRecords counts the records that an answer leaves unknown, and returns the class
// of the reason of the last.
func unknownRecords(answer identitycloud.Answer) (unknown int, reason string) {
	for _, r := range answer.Records {
		if r.Unknown != "" {
			unknown++
			reason = r.Unknown
		}
	}
	return unknown, reason
}

// pulse heartbeats for an activity that may wait at the gate. While the gate is closed
// its state is in the heartbeat's details: a timeout in such a wait is not the batch's
// fault.
type pulse struct {
	gate atomic.Pointer[pace.Gate]
	stop func()
}

func newPulse(ctx context.Context) *pulse {
	p := &pulse{}
	p.stop = beat(ctx, func() {
		if gate := p.gate.Load(); gate != nil {
			if state := gate.State(); state.Closed != "" {
				activity.RecordHeartbeat(ctx, state)
				return
			}
		}
		activity.RecordHeartbeat(ctx)
	})
	return p
}

// Waited reports whether an activity timed out while the gate was closed.
func Waited(err error) bool {
	var timeout *temporal.TimeoutError
	if !errors.As(err, &timeout) || !timeout.HasLastHeartbeatDetails() {
		return false
	}
	var state pace.State
	return timeout.LastHeartbeatDetails(&state) == nil && state.Closed != ""
}

// IsUnbegun reports whether the worker is shutting down and has not started the batch. It is no
// failure, and no attempt is consumed.
func IsUnbegun(err error) bool {
	var application *temporal.ApplicationError
	return errors.As(err, &application) && application.Type() == Stopping && application.NonRetryable() && application.Message() == errNotSent.Error()
}

// unbegun gives the error of LoadBatch or UpdateBatch its type. Their workflows schedule
// an unstarted batch again themselves: attempts of Temporal would be used up by every
// restart of a worker while the gate is closed.
func unbegun(ctx context.Context, err error) error {
	if errors.Is(err, errNotSent) && ctx.Err() == nil || isUnheard(ctx) && errors.Is(err, context.Cause(ctx)) {
		return temporal.NewApplicationErrorWithOptions(errNotSent.Error(), Stopping, temporal.ApplicationErrorOptions{
			NonRetryable: true, Category: temporal.ApplicationErrorCategoryBenign,
		})
	}
	return storageError(err)
}

// isUnheard reports whether an activity was ended because the service did not accept its
// heartbeats: it is busy or unreachable. The activity was not cancelled.
func isUnheard(ctx context.Context) bool {
	var cancelled *temporal.CanceledError
	cause := context.Cause(ctx)
	return cause != nil && !errors.Is(cause, context.Canceled) && !errors.As(cause, &cancelled) && !errors.Is(cause, errNotSent)
}

// pace is the state of the gate, nil where it is what the options say.
func (c *core) pace() *pace.State {
	state := c.gate.State()
	if state == (pace.State{Limit: c.spec.RateLimit, Allowed: c.spec.RateLimit, Places: c.spec.Workers}) {
		return nil
	}
	return &state
}
