package gate

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"
	"weak"

	"durable-dataload/internal/limiter"
)

// Gate lets the calls of one run begin. It is safe for concurrent use.
type Gate struct {
	client *Client
	run    string
	limits limiter.Limits // of the command line
	check  Probe
	note   func(limiter.Change)

	// The rest is guarded by client.mu.
	timer    *time.Timer // see again
	waiting  []*Slot     // that need a start time, in the order in which they asked
	held     int         // slots, from Enter to Release
	calling  int         // of these, with a call that has begun
	slots    int         // that calls may have until the lease ends
	lease    time.Duration
	starts   []time.Duration // granted and not used, in order
	free     bool            // there is no limit of the rate
	askAfter time.Duration
	hungry   bool          // more was asked for than granted
	probing  bool          // the right to probe is being used
	rate     time.Duration // between two start times
	state    limiter.Gate
	row      int // calls of unknown outcome in a row, of this process
	// prepares is how long a caller needs between its start time being given and its call,
	// at most, lately; usual is the mean.
	prepares, usual time.Duration
}

// Slot is the permission to make one call.
type Slot struct {
	gate    *Gate
	ready   chan struct{} // closed when it has a slot and a start time
	held    bool
	calling bool
	start   time.Duration // 0: none
	entered time.Duration
	trial   bool // it is the one call that is let through while the breaker is open
	atOnce  bool // see AtOnce
	err     error
}

// ErrEnded says that no call of the run begins any more.
var ErrEnded = errors.New("the run has ended")

// Probe makes one harmless call, and gives nil if the target serves; an error of type
// Fault where no call can succeed until a person acts.
type Probe func(context.Context) error

// Fault is an error of a Probe. Its text is for people, and holds no user data.
type Fault struct{ error }

// NewFault gives a Fault with the text of an error.
func NewFault(err error) Fault { return Fault{err} }

// Gate makes the gate of a run, or returns the one that there is while anything refers to it. note, if not nil, is
// told of changes of the pace: of each once, over all workers of the run.
func (c *Client) Gate(run string, limits limiter.Limits, probe Probe, note func(limiter.Change)) *Gate {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.gates[run].Value()
	if g == nil {
		g = &Gate{client: c, run: run, limits: limits, check: probe, note: note}
		c.gates[run] = weak.Make(g)
		runtime.AddCleanup(g, c.forget, run)
	}
	return g
}

// forget drops a gate that nothing refers to any more: no call of it waits or is in flight.
func (c *Client) forget(run string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gates[run].Value() == nil { // and there is no new one
		delete(c.gates, run)
	}
}

// Enter waits for a slot, and until shortly before a start time. The caller prepares
// its call, waits for the start with AwaitStart, makes the call at once, and then
// calls Release.
func (g *Gate) Enter(ctx context.Context) (*Slot, error) {
	s := &Slot{gate: g, ready: make(chan struct{}), atOnce: isAtOnce(ctx)}
	g.client.mu.Lock()
	g.waiting = append(g.waiting, s)
	g.dispatch()
	g.client.mu.Unlock()
	g.client.nudge()
	if err := s.await(ctx); err != nil {
		s.Release()
		return nil, err
	}
	s.entered = g.client.clock.Now()
	return s, nil
}

// await waits until dispatch has given s what it needs, or ctx ends before.
func (s *Slot) await(ctx context.Context) error {
	select {
	case <-s.ready:
		return s.err
	case <-ctx.Done():
	}
	g := s.gate
	g.client.mu.Lock()
	defer g.client.mu.Unlock()
	select {
	case <-s.ready: // at the same moment
		return s.err
	default:
	}
	g.waiting = slices.DeleteFunc(g.waiting, func(w *Slot) bool { return w == s })
	return context.Cause(ctx)
}

// awaitAgain is await for a call that has missed its start time. It is claimed, so its records
// become unknown if it is not made: while the gate is open, the end of waiting leaves it the
// time for two leases.
func (s *Slot) awaitAgain(ctx, waiting context.Context) error {
	select {
	case <-s.ready:
	case <-waiting.Done():
		if s.gate.State().Closed == "" {
			longer, done := context.WithTimeoutCause(ctx, 2*limiter.Lease, context.Cause(waiting))
			defer done()
			waiting = longer
		}
	}
	return s.await(waiting)
}

// lead is how long before its start time a call is given to its caller.
func (g *Gate) lead() time.Duration { return g.prepares*5/4 + 2*time.Millisecond }

// dispatch gives slots and start times to the calls that wait, as far as they are
// near. It does so again when the next one is near. The caller holds client.mu.
func (g *Gate) dispatch() {
	now := g.client.clock.Now()
	g.starts = slices.DeleteFunc(g.starts, func(start time.Duration) bool { return start < now-tolerance(g.rate) })
	if g.state.Closed != "" {
		for _, s := range slices.Clone(g.waiting) {
			switch {
			case s.atOnce:
				g.admit(s)
			case g.state.Ended:
				s.err = ErrEnded
				g.admit(s)
			}
		}
	}
	for len(g.waiting) > 0 && now < g.lease {
		s := g.waiting[0]
		// What waits again is claimed, and goes on also when slots were taken away.
		if s.held && g.calling >= g.slots || !s.held && g.held >= g.slots {
			break
		}
		switch {
		case g.free:
			s.start = now
		case len(g.starts) == 0:
			return
		case g.starts[0]+tolerance(g.rate) < now+g.usual:
			g.starts = g.starts[1:] // it would be missed
			continue
		case g.starts[0]-now > g.lead():
			g.again(g.starts[0] - g.lead() - now)
			return
		default:
			s.start = g.starts[0]
			g.starts = g.starts[1:]
		}
		g.admit(s)
	}
}

// again lets dispatch look once more, after a time.
func (g *Gate) again(after time.Duration) {
	if g.timer != nil {
		g.timer.Stop()
	}
	g.timer = time.AfterFunc(after, func() {
		g.client.mu.Lock()
		defer g.client.mu.Unlock()
		g.dispatch()
	})
}

func (g *Gate) admit(s *Slot) {
	g.waiting = slices.DeleteFunc(g.waiting, func(w *Slot) bool { return w == s })
	if !s.held {
		s.held = true
		g.held++
	}
	close(s.ready)
}

// tolerance is how late a call may start, so that no second holds one call more than
// it may. Where a start time is rare, a machine that is busy for a moment must not
// lose it.
func tolerance(every time.Duration) time.Duration {
	if every > 4*time.Second {
		return every / 4
	}
	return min(every/4, 10*time.Millisecond)
}

// AwaitStart waits for the start time, and for another one if that has passed, or the
// lease has ended, since Enter. While the gate is closed it waits until waiting ends, and for
// at most two leases longer where it is open then. It ends when ctx does.
//
// last, if not nil, is called behind all waiting: if it gives an error, that is
// AwaitStart's. When AwaitStart returns nil, the call begins at once.
func (s *Slot) AwaitStart(ctx, waiting context.Context, last func() error) error {
	g := s.gate
	for from := s.entered; ; from = g.client.clock.Now() {
		if last != nil {
			if err := last(); err != nil {
				return err
			}
		}
		g.prepared(from)
		if err := sleep(ctx, s.start-g.client.clock.Now()); err != nil {
			return err
		}
		if s.begin() {
			return nil
		}
		g.client.nudge()
		if err := s.awaitAgain(ctx, waiting); err != nil {
			return err
		}
	}
}

// prepared measures how long a caller needs before its call, from Enter or from its next
// start time on.
func (g *Gate) prepared(from time.Duration) {
	g.client.mu.Lock()
	defer g.client.mu.Unlock()
	took := min(g.client.clock.Now()-from, limiter.Lease/2)
	g.prepares = max(took, g.prepares-g.prepares/64)
	g.usual += (took - g.usual) / 8
}

// Again has a slot whose call has ended serve another call of the same caller, if one may
// begin at once: the rate has no limit and the gate is open. If not, it says so, and the slot
// is as before.
func (s *Slot) Again() bool {
	g := s.gate
	g.client.mu.Lock()
	defer g.client.mu.Unlock()
	now := g.client.clock.Now()
	if !s.held || !g.free || g.state.Closed != "" || now >= g.lease || g.held > g.slots {
		return false
	}
	if s.calling {
		s.calling = false
		g.calling--
	}
	s.start, s.entered, s.trial = now, now, false
	g.dispatch()
	return true
}

// begin says whether the call may begin now. If not, it waits in front of the others.
func (s *Slot) begin() bool {
	g := s.gate
	g.client.mu.Lock()
	defer g.client.mu.Unlock()
	now := g.client.clock.Now()
	if s.atOnce && g.state.Closed != "" || now < g.lease && (s.trial && g.state.IsProbed() || g.state.Closed == "" && g.calling < g.slots && (g.free || now-s.start <= tolerance(g.rate))) {
		s.calling = true
		g.calling++
		g.client.began(now)
		return true
	}
	s.ready, s.trial = make(chan struct{}), false
	g.waiting = slices.Insert(g.waiting, 0, s)
	g.dispatch()
	return false
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Release gives the slot back, after the call.
func (s *Slot) Release() {
	g := s.gate
	g.client.mu.Lock()
	g.release(s)
	g.client.mu.Unlock()
	g.client.nudge()
}

// answered says that the request of a call is over, and the call is not: its slot is held.
func (s *Slot) answered() {
	g := s.gate
	g.client.mu.Lock()
	defer g.client.mu.Unlock()
	if s.calling {
		s.calling, s.start, s.entered = false, 0, g.client.clock.Now()
		g.calling--
		g.dispatch()
	}
}

func (g *Gate) release(s *Slot) {
	if s.held {
		s.held = false
		g.held--
	}
	if s.calling {
		s.calling = false
		g.calling--
	}
	g.waiting = slices.DeleteFunc(g.waiting, func(w *Slot) bool { return w == s })
	g.dispatch()
}

// isActive says that the gate needs something of the limiter.
func (g *Gate) isActive() bool { return len(g.waiting) > 0 || g.held > 0 }

// wanted is how many start times the gate can use before it has asked again: where
// calls wait, those that are in flight are followed by others.
func (g *Gate) wanted() int {
	if g.free || len(g.waiting) == 0 {
		return len(g.waiting)
	}
	return 2*len(g.waiting) + g.held - len(g.starts)
}

func (g *Gate) need() limiter.Need {
	ready := max(0, g.wanted())
	return limiter.Need{Run: g.run, Limits: g.limits, InFlight: g.calling, Slots: g.held + len(g.waiting), Ready: ready, Lead: g.lead()}
}

// nextAsk is when the gate needs an answer of the limiter.
func (g *Gate) nextAsk(now, travel time.Duration) time.Duration {
	const never = time.Duration(1<<62 - 1)
	if !g.isActive() {
		return never
	}
	renew := g.lease - limiter.Lease + renewAfter
	switch {
	case len(g.waiting) == 0:
		return renew
	case g.state.Closed != "" || g.hungry || !g.free && g.wanted() > 0:
		return min(renew, g.askAfter)
	}
	return renew
}

// take applies a grant of a request that was sent then.
func (g *Gate) take(sent, lease time.Duration, grant limiter.Grant) {
	g.lease, g.slots, g.rate, g.free = sent+lease, grant.Slots, grant.Every, grant.Every == 0
	g.state = grant.State
	if grant.State.Closed != "" {
		g.starts, g.free = nil, false
	}
	for _, start := range grant.Starts {
		g.starts = append(g.starts, sent+start)
	}
	slices.Sort(g.starts)
	g.askAfter, g.hungry = sent+grant.AskAfter, grant.Hungry
	if grant.Probe && !g.probing && len(g.waiting) > 0 {
		g.probing = true
		go g.probe()
	}
	if g.note != nil && len(grant.Changes) > 0 {
		go func() {
			for _, c := range grant.Changes {
				g.note(c)
			}
		}()
	}
	g.dispatch()
}

// probe makes the harmless call that finds out whether the target serves. If it does,
// the first call that waits is let through: its outcome closes the breaker.
func (g *Gate) probe() {
	c := g.client
	ctx, cancel := context.WithTimeout(context.Background(), longestProbe)
	defer cancel()
	var err error
	if g.check != nil {
		err = g.check(Probing(ctx))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	g.probing = false
	var fault Fault
	switch {
	case errors.As(err, &fault):
		c.tell(Report{Run: g.run, Calls: 1, Fault: fault.Error()})
	// A pause may have begun while the probe took its time.
	case err == nil && g.state.IsProbed() && len(g.waiting) > 0 && c.clock.Now() < g.lease:
		s := g.waiting[0]
		s.trial, s.start = true, c.clock.Now()
		g.admit(s)
	}
}

// longestProbe bounds a probe.
const longestProbe = time.Minute

// State is how the gate stood when the limiter answered last.
func (g *Gate) State() limiter.Gate {
	g.client.mu.Lock()
	defer g.client.mu.Unlock()
	return g.state
}
