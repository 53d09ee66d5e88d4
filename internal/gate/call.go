package gate

import (
	"context"
	"slices"
	"time"

	"durable-dataload/internal/limiter"
)

// Report is what a call came to. Its texts hold no user data.
type Report struct {
	Run        string
	Calls      int
	Ago        time.Duration // since the call was sent
	Reason     string
	Unknown    bool
	Fault      string
	Busy       bool
	Crowded    bool
	RetryAfter time.Duration
}

// Ended takes into account what a call of the gate came to, of whatever kind it was.
// ctx is that of the call. What changes the pace of all is told at once; after as many
// unknown outcomes in a row as open the breaker, this process begins no call before
// the limiter has answered.
func (g *Gate) Ended(ctx context.Context, r Report) {
	c := g.client
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Run, r.Calls = g.run, 1
	if isProbe(ctx) && !r.Busy {
		return
	}
	g.row++
	if !r.Unknown && r.Fault == "" {
		g.row = 0
	}
	if b := g.limits.Breaker; r.Fault != "" || r.Busy || b > 0 && g.row >= b {
		c.distrust()
	}
	c.tell(r)
	c.nudge()
}

// distrust lets no call of this process begin before the limiter has heard what a call
// came to: the leases that it has were granted without knowing that.
func (c *Client) distrust() {
	c.distrusted = c.seq
	for g := range c.live {
		g.lease, g.starts = 0, nil
	}
}

// Flush waits until the limiter has heard what changes the pace, so that State tells it;
// for the time of a lease at most.
func (g *Gate) Flush(ctx context.Context) {
	c := g.client
	ctx, cancel := context.WithTimeout(ctx, limiter.Lease)
	defer cancel()
	for {
		c.mu.Lock()
		pending, heard := c.urgent || c.telling, c.heard
		c.mu.Unlock()
		if !pending {
			return
		}
		select {
		case <-heard:
		case <-ctx.Done():
			return
		}
	}
}

// lately is for how long the calls that have begun are counted.
const lately = 10 * time.Second

// began counts a call. The caller holds c.mu.
func (c *Client) began(now time.Duration) {
	first := slices.IndexFunc(c.begun, func(t time.Duration) bool { return now-t <= lately })
	if first < 0 {
		first = len(c.begun)
	}
	c.begun = append(c.begun[first:], now)
}

// rate is the calls a second that have begun lately.
func (c *Client) rate(now time.Duration) float64 {
	for i, t := range c.begun {
		if took := now - t; took <= lately {
			return float64(len(c.begun)-i) / max(took, time.Second/5).Seconds()
		}
	}
	return 0
}

// tell keeps a report for the next request. Calls that say the same are one report.
func (c *Client) tell(r Report) {
	told := report{limiter.Report{Run: r.Run, Calls: r.Calls, Reason: r.Reason, Unknown: r.Unknown, Fault: r.Fault, Busy: r.Busy, Crowded: r.Crowded, RetryAfter: r.RetryAfter}, c.clock.Now() - r.Ago}
	if r.Busy {
		told.Rate = c.rate(c.clock.Now())
	}
	if n := len(c.reports); n > 0 {
		last := &c.reports[n-1]
		same := last.Report
		same.Calls, same.RetryAfter, same.Rate = told.Calls, told.RetryAfter, told.Rate
		if same == told.Report {
			last.Calls += told.Calls
			last.RetryAfter, last.Rate = max(last.RetryAfter, told.RetryAfter), max(last.Rate, told.Rate)
			last.sent = max(last.sent, told.sent)
			return
		}
	}
	c.reports = append(c.reports, told)
	c.urgent = c.urgent || r.Unknown || r.Fault != "" || r.Busy
}

type (
	slotKey    struct{}
	probingKey struct{}
	atOnceKey  struct{}
)

type entered struct {
	slot    *Slot
	waiting context.Context
	last    func() error
}

// WithSlot gives a call made under ctx the slot that its caller has for it already.
// waiting and last are those of AwaitStart: if it gives an error, the call is not made.
func WithSlot(ctx, waiting context.Context, s *Slot, last func() error) context.Context {
	return context.WithValue(ctx, slotKey{}, entered{s, waiting, last})
}

// Probing is for a harmless call that is made whether the gate is closed or not,
// without a slot.
func Probing(ctx context.Context) context.Context {
	return context.WithValue(ctx, probingKey{}, true)
}

func isProbe(ctx context.Context) bool { return ctx.Value(probingKey{}) != nil }

// AtOnce is for a call that a command or a short activity waits for, or that is worth one
// attempt only: it keeps to the pace, and does not wait where the gate is closed.
func AtOnce(ctx context.Context) context.Context { return context.WithValue(ctx, atOnceKey{}, true) }

func isAtOnce(ctx context.Context) bool { return ctx.Value(atOnceKey{}) != nil }

// BeforeCall is the hook of a client that makes a call: it waits for a slot and a
// start time, and gives the function that releases the slot. Under WithSlot the caller
// has the slot and releases it by itself; if a call takes several requests, one after the
// other, each but the first waits for a start time of its own.
func (g *Gate) BeforeCall(ctx context.Context) (release func(), err error) {
	if isProbe(ctx) {
		return nil, nil
	}
	if e, ok := ctx.Value(slotKey{}).(entered); ok {
		return e.slot.answered, e.slot.AwaitStart(ctx, e.waiting, e.last)
	}
	slot, err := g.Enter(ctx)
	if err != nil {
		return nil, err
	}
	if err := slot.AwaitStart(ctx, ctx, nil); err != nil {
		slot.Release()
		return nil, err
	}
	return slot.Release, nil
}
