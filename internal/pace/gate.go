// Package pace holds the limits of a target: how many calls a second, and how
// many at once, over all worker processes that share a state folder.
//
// The limits live in files with locks of the operating system, so they hold
// over restarts as well: a killed process gives its place free at once, and the
// start times that were given out stay given out. A process that is stopped, or
// whose machine sleeps, loses its places after a while.
//
// Processes on machines that share nothing but a bucket share them through
// registers in the bucket. There a killed process gives its places free after
// that while, too. Start times are of the clock on the wall, so the clocks of the
// machines have to agree (NTP): by how much one is wrong, by so much its calls
// come too soon or too late among those of the others.
//
// What people set can change at any moment (Settings). Below that, the pace goes
// down when the target says that it is too much, and comes back by itself; and a
// target that does not serve gets no calls but a probe now and then (Outcome).
package pace

import (
	"context"
	"errors"
	"sync"
	"time"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/store"
)

// Gate lets calls through. It is safe for concurrent use; every worker process
// has its own Gate on the same files.
type Gate struct {
	cfg    Config
	target target
	places places

	local *Seats // the places, as far as this process may use them

	looks    usual // how long a look takes
	prepares usual // how long callers need between a start time and their call

	looking chan struct{} // holds one for each who reads what seen is

	mu          sync.Mutex
	settings    Settings  // the last that could be read
	seen        view      // a moment ago
	changed     time.Time // by this process: what was seen before is outdated
	outage      bool      // the state could not be read
	known       knownPlan
	fault       breaker   // this process's own calls are refused, whatever becomes of others
	closedSince time.Time // zero while calls are made
	begun       []time.Time
}

type knownPlan struct {
	plan      *Plan
	at, until time.Time
	perSecond float64
}

// Config is what a gate is made of.
type Config struct {
	// Starts is the file of the start time that was given out last, for all
	// migrations into the target. The state of the target is beside it. In a
	// bucket (see store.IsURL) it is the register of all that, a folder.
	Starts string
	// Places is the folder of the places for calls in flight, a locked file each,
	// or their register in a bucket.
	Places string
	// Settings gives the limits that hold now. It is called often, and just before
	// each call, also from some goroutines at the same time. While it gives an error
	// the last known limits hold.
	Settings func() (Settings, error)
	// Probe makes one harmless call, under the context that it is given, and gives
	// nil if the target serves; a Fault where no call can succeed until somebody
	// has done something. nil: the first call that is let through is the probe.
	Probe func(context.Context) error
	// FirstProbe is how long after the breaker has opened the first probe is made,
	// and how soon the second at least, which then doubles; 0 = a second.
	FirstProbe time.Duration
	// Happened, if not nil, is told what this process has done to the pace of all.
	Happened func(Event)
}

// Fixed are settings that never change.
func Fixed(perSecond float64, places int) func() (Settings, error) {
	return func() (Settings, error) { return Settings{Rate: perSecond, Places: places}, nil }
}

// New makes a gate.
func New(cfg Config) (*Gate, error) {
	for _, dir := range []string{store.Dir(cfg.Starts), cfg.Places} {
		if store.IsURL(dir) {
			if err := store.Check(dir); err != nil {
				return nil, err
			}
		}
		if err := store.MkdirAll(dir); err != nil {
			return nil, err
		}
	}
	if cfg.FirstProbe == 0 {
		cfg.FirstProbe = time.Second
	}
	settings, err := cfg.Settings()
	if err != nil {
		return nil, err
	}
	g := &Gate{cfg: cfg, settings: settings, local: NewSeats(), looking: make(chan struct{}, 1)}
	g.target, g.places = newFileTarget(cfg.Starts), filePlaces{cfg.Places}
	if store.IsURL(cfg.Starts) {
		g.target = newBucketTarget(cfg.Starts)
		g.looking = make(chan struct{}, 4)
		// Nothing is measured yet.
		g.looks.add(lead)
		g.prepares.add(2 * lead)
	}
	if store.IsURL(cfg.Places) {
		g.places = newBucketPlaces(cfg.Places)
	}
	return g, nil
}

// margin keeps any second, wherever it begins, from seeing one call more than it
// may when a call is some milliseconds late and the one a second after it is not.
// It costs less than one call in a hundred.
const margin = 1.008

// Turn is the permission to make one call now.
type Turn struct {
	gate    *Gate
	place   place
	entered bool  // the caller has it
	trial   right // to make the one call that is let through while the breaker is open, or nil
	given
}

// errAgain says that the gate was closed, or has fewer places now: who has not
// entered yet begins anew, without its place.
var errAgain = errors.New("the gate has changed")

// Enter waits until calls may be made, for a place and, up to a moment, for a
// start time. The caller prepares its call, waits for the moment itself with
// Fresh, makes the call at once, and then calls Leave.
func (g *Gate) Enter(ctx context.Context) (*Turn, error) {
	for {
		if err := g.whileClosed(ctx); err != nil {
			return nil, err
		}
		if err := g.local.Take(ctx, func() int { return g.lately().places() }); err != nil {
			return nil, err
		}
		t, err := g.enter(ctx)
		if err == nil {
			return t, nil
		}
		g.local.Leave()
		if !errors.Is(err, errAgain) {
			return nil, err
		}
	}
}

// enter is Enter, for who has a seat.
func (g *Gate) enter(ctx context.Context) (*Turn, error) {
	place, err := g.places.take(ctx, g.lately)
	if err != nil {
		return nil, err
	}
	t := &Turn{gate: g, place: place}
	err = t.open(ctx)
	if err == nil {
		err = t.wait(ctx)
	}
	if err != nil {
		t.release()
		return nil, err
	}
	t.entered = true
	return t, nil
}

// whileClosed waits, without a place, while nothing can be done.
func (g *Gate) whileClosed(ctx context.Context) error {
	for {
		v := g.lately()
		if b := v.tripped(); v.rest() == "" && (!b.Open || b.due(v.at)) {
			return context.Cause(ctx)
		}
		if err := sleepUntil(ctx, time.Now().Add(poll)); err != nil {
			return err
		}
	}
}

// open waits until this turn may call: the gate is open, or the breaker is and
// this is the one call that is to find out whether it can close.
func (t *Turn) open(ctx context.Context) error {
	for {
		v := t.gate.look(false)
		switch {
		case !t.entered && t.place.surplus(v.places()):
			return errAgain
		case t.mayCall(v):
			return nil
		case v.rest() == "":
			if err := t.probe(ctx, v); err != nil {
				return err
			}
			if t.trial != nil {
				return nil
			}
		}
		if err := sleepUntil(ctx, time.Now().Add(poll)); err != nil {
			return err
		}
	}
}

func (t *Turn) mayCall(v view) bool {
	return v.rest() == "" && (t.trial != nil || !v.tripped().Open)
}

// probe makes the next probe if that is due and nobody else does. If all is well
// the turn becomes the one call that is let through.
func (t *Turn) probe(ctx context.Context, v view) error {
	g := t.gate
	if b := v.tripped(); !b.due(v.at) {
		return nil
	}
	if v = g.look(true); v.rest() != "" {
		return nil // somebody paused just now
	}
	if !v.state.Breaker.Open {
		g.mu.Lock()
		begun := g.fault.begin(g.cfg.FirstProbe, time.Now())
		g.mu.Unlock()
		if begun {
			_ = g.isServed(ctx) // its own fault is told already
		}
		return nil
	}
	trial, err := g.target.tryProbe()
	if errors.Is(err, durablefs.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	begun := false
	err = g.update(func(s *shared, now time.Time) []Event {
		begun = s.Breaker.begin(g.cfg.FirstProbe, now)
		return nil
	})
	if err == nil && begun {
		var fault Fault
		switch found := g.isServed(ctx); {
		case found == nil:
			t.trial = trial
			return nil
		case errors.As(found, &fault):
			err = g.update(func(s *shared, now time.Time) []Event { return g.trip(s, fault.Error(), now) })
		}
	}
	trial.release()
	return err
}

// isServed probes the target. nil is yes.
func (g *Gate) isServed(ctx context.Context) error {
	if g.cfg.Probe != nil {
		if err := g.cfg.Probe(Probing(ctx)); err != nil {
			return err
		}
	}
	g.mu.Lock()
	g.fault = breaker{}
	g.mu.Unlock()
	return nil
}

// Fresh waits for the start time itself, and for another one if that has gone
// stale since Enter: a call that starts late would come together with those that
// start in time. If the gate was closed since Enter it waits, until waiting ends:
// what was set before it returned holds.
//
// last, if not nil, is asked with the last look, behind all waiting but that for the
// start time itself: if it gives an error, that is Fresh's.
func (t *Turn) Fresh(ctx, waiting context.Context, last func() error) error {
	g := t.gate
	if g.target.far() && !t.start.IsZero() {
		g.prepares.add(time.Since(t.at) + g.looks.most())
	}
	for {
		if err := t.comesNear(ctx); err != nil {
			return err
		}
		began := time.Now()
		v := g.lookBeforeCall()
		if last != nil {
			if err := last(); err != nil {
				return err
			}
		}
		if !t.start.IsZero() {
			g.looks.add(time.Since(began))
		}
		if err := sleepUntil(ctx, t.start); err != nil {
			return err
		}
		limited := v.interval() > 0
		if t.mayCall(v) && t.place.sure() && (!limited || t.isTimely(v.interval())) {
			g.begins()
			return nil
		}
		if err := t.open(waiting); err != nil {
			return err
		}
		if err := t.keepPlace(waiting); err != nil {
			return err
		}
		if err := t.wait(ctx); err != nil && !errors.Is(err, errAgain) {
			return err
		}
	}
}

// comesNear waits until it is time for the last look before the call: at the start
// time, or before it by what a look takes over a network.
func (t *Turn) comesNear(ctx context.Context) error {
	g := t.gate
	if !g.target.far() || t.start.IsZero() {
		return sleepUntil(ctx, t.start)
	}
	return sleepUntil(ctx, t.start.Add(-g.looks.most()))
}

// isTimely says that the start time is not stale. One that was given out long
// before is, if the pace was lowered since.
func (t *Turn) isTimely(interval time.Duration) bool {
	if t.start.Sub(t.at) > 2*lead && interval > t.interval*3/2 {
		return false
	}
	return !t.start.IsZero() && time.Since(t.start) <= tolerance(t.interval)
}

// keepPlace takes another place where this process was stopped for so long that
// somebody else may have the one that it had.
func (t *Turn) keepPlace(waiting context.Context) error {
	for !t.place.sure() {
		t.place.release()
		t.place = noPlace{}
		place, err := t.gate.places.take(waiting, t.gate.lately)
		if err == nil {
			t.place = place
			continue
		}
		if !errors.Is(err, errAgain) {
			return err
		}
		if err := sleepUntil(waiting, time.Now().Add(poll)); err != nil {
			return err
		}
	}
	return nil
}

// noPlace is that of a turn that has lost its own.
type noPlace struct{}

func (noPlace) release()         {}
func (noPlace) surplus(int) bool { return false }
func (noPlace) sure() bool       { return false }

// Close gives back what this process holds and does not use, and waits until the
// others know, or ctx ends. A process that ends without it keeps them waiting for
// its places, where they are in a bucket.
func (g *Gate) Close(ctx context.Context) { g.places.close(ctx) }

// Leave gives the place free, after the call.
func (t *Turn) Leave() {
	t.release()
	t.gate.local.Leave()
}

func (t *Turn) release() {
	t.place.release()
	if t.trial != nil {
		t.trial.release()
	}
}

// tolerance is how late a call may start, so that no second holds one call more
// than it may. Where a start time is rare, a machine that is busy for a moment
// must not lose it.
func tolerance(interval time.Duration) time.Duration {
	if interval > 4*time.Second {
		return interval / 4
	}
	return min(interval/4, 10*time.Millisecond)
}

// wait gets a start time, unless the gate closes meanwhile.
func (t *Turn) wait(ctx context.Context) (err error) {
	g := t.gate
	t.given, err = g.target.wait(ctx, func() (time.Duration, error) {
		v := g.lately()
		if interval := v.interval(); interval == 0 || t.mayCall(v) {
			return interval, context.Cause(ctx)
		}
		return 0, errAgain
	}, g.prepares.most())
	return err
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// begins keeps that a call begins, for a pace that has to be measured.
func (g *Gate) begins() {
	const keep = 64
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.begun) == keep {
		g.begun = append(g.begun[:0], g.begun[1:]...)
	}
	g.begun = append(g.begun, time.Now())
}

// measured is the calls a second that this process has made lately.
func (g *Gate) measured(now time.Time) float64 {
	const lately = 10 * time.Second
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, t := range g.begun {
		if took := now.Sub(t); took <= lately {
			// What was too much may come with the first calls.
			return float64(len(g.begun)-i) / max(took, time.Second/5).Seconds()
		}
	}
	return slowest
}

func sleepUntil(ctx context.Context, t time.Time) error {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

type (
	turnKey    struct{}
	probingKey struct{}
)

type entered struct {
	turn    *Turn
	waiting context.Context
	last    func() error
}

// WithTurn gives a call made under ctx the turn that its caller has entered for
// it already. Should the gate be closed meanwhile, it is waited for until waiting
// ends. last is that of Fresh: if it gives an error, the call is not made.
func WithTurn(ctx, waiting context.Context, t *Turn, last func() error) context.Context {
	return context.WithValue(ctx, turnKey{}, entered{t, waiting, last})
}

// Probing is for a harmless call that is made whether the gate is closed or not,
// without a place. It counts for the start times of others.
func Probing(ctx context.Context) context.Context {
	return context.WithValue(ctx, probingKey{}, true)
}

// AtOnce is for a call that somebody waits for, or that is worth one attempt only:
// it does not wait behind a gate that is closed.
func (g *Gate) AtOnce(ctx context.Context) context.Context {
	if g.lately().isClosed() {
		return Probing(ctx)
	}
	return ctx
}

func isProbe(ctx context.Context) bool { return ctx.Value(probingKey{}) != nil }

// BeforeCall is the hook of a client that makes a call: it waits for a turn,
// and gives the function that ends it. Under WithTurn the caller has entered
// and leaves by itself; then only the start time is made sure of, and last is
// asked.
func (g *Gate) BeforeCall(ctx context.Context) (release func(), err error) {
	if isProbe(ctx) {
		return nil, g.target.passes(ctx)
	}
	if e, ok := ctx.Value(turnKey{}).(entered); ok {
		return nil, e.turn.Fresh(ctx, e.waiting, e.last)
	}
	turn, err := g.Enter(ctx)
	if err != nil {
		return nil, err
	}
	if err := turn.Fresh(ctx, ctx, nil); err != nil {
		turn.Leave()
		return nil, err
	}
	return turn.Leave, nil
}
