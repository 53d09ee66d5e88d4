package pace

import (
	"math"
	"sync"
	"time"
)

// Settings are the limits that people have set.
type Settings struct {
	Rate    float64 // calls a second at most, 0 = no limit
	Plan    *Plan   // holds beside Rate; the same pointer as long as it is the same
	Places  int     // calls in flight at most
	Breaker int     // calls of unknown outcome in a row that open the breaker, 0 = none do
	Paused  bool    // no calls
	// PausedText says who paused and why, for people.
	PausedText string
}

// poll is how soon a change of the settings, or of the state of the target, is
// seen by callers that wait.
const poll = 150 * time.Millisecond

// view is what holds at a moment.
type view struct {
	at      time.Time
	set     Settings
	state   shared
	fault   breaker // of this process alone
	planned float64 // what the plan allows: 0 = nothing, +Inf = everything
	until   time.Time
}

// stale is how old a view may be while another one is on its way from afar.
const stale = 2 * time.Second

// look gives what holds now: fresh, or as it was a moment ago.
func (g *Gate) look(fresh bool) view {
	now := time.Now()
	g.mu.Lock()
	age := now.Sub(g.seen.at)
	changed, outage := g.seen.at.Before(g.changed), g.outage
	g.mu.Unlock()
	switch outdated := age < 0 || age >= poll || changed; {
	case !fresh && !outdated:
	case fresh:
		g.refresh(now, now)
	case !g.target.far() || !outage && (changed || age < 0 || age >= stale):
		g.refresh(now, now.Add(-poll))
	case len(g.looking) == 0:
		go g.refresh(now, now.Add(-poll))
	}
	return g.view()
}

// lookBeforeCall is a fresh look. From afar it is one at the settings, and at a
// state that was read a moment ago: who waits for a start time reads it all the
// time, and to read it again would take longer than the moment.
func (g *Gate) lookBeforeCall() view {
	if !g.target.far() {
		return g.look(true)
	}
	now := time.Now()
	g.refresh(now, now.Add(-2*poll))
	return g.view()
}

// view is what was seen last.
func (g *Gate) view() view {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := g.seen
	v.at, v.fault = time.Now(), g.fault
	if v.isClosed() {
		if g.closedSince.IsZero() {
			g.closedSince = v.at
		}
	} else {
		g.closedSince = time.Time{}
	}
	return v
}

// lately is a look at how it was a moment ago.
func (g *Gate) lately() view { return g.look(false) }

// refresh reads what holds, unless somebody has begun to after arrived. The state
// may be as it was since.
func (g *Gate) refresh(arrived, since time.Time) {
	if g.reread(arrived, since).restored() {
		// The next one tries again where this fails.
		_ = g.update(restore)
	}
}

func (g *Gate) reread(arrived, since time.Time) view {
	g.looking <- struct{}{}
	defer func() { <-g.looking }()
	g.mu.Lock()
	v := g.seen
	g.mu.Unlock()
	if !v.at.Before(arrived) {
		return view{}
	}
	v.at = time.Now()
	var unreadable error
	var reading sync.WaitGroup
	reading.Go(func() { v.set, unreadable = g.cfg.Settings() })
	state, err := g.target.read(since)
	reading.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	// What cannot be read is as it was. Of two that read at once the one that began
	// later knows better, whichever ends first.
	if unreadable == nil && (g.seen.at.IsZero() || g.seen.at.Before(v.at)) {
		g.settings = v.set
	}
	if g.outage = err != nil; !g.outage {
		v.state = state
	}
	v.set = g.settings
	v.set.Places = min(max(v.set.Places, 1), MostPlaces)
	v.planned, v.until = g.plan(v.at)
	if g.seen.at.Before(v.at) {
		g.seen = v
	}
	return v
}

// plan is what the plan allows, and until when. Finding that out takes a
// millisecond.
func (g *Gate) plan(now time.Time) (perSecond float64, until time.Time) {
	k := &g.known
	if k.plan != g.settings.Plan || k.at.IsZero() || now.Before(k.at) || now.Sub(k.at) > time.Minute || !k.until.IsZero() && !now.Before(k.until) {
		k.plan, k.at = g.settings.Plan, now
		k.perSecond, k.until = k.plan.At(now)
	}
	return k.perSecond, k.until
}

// limit is the calls a second that people allow now, 0 = no limit. What nobody
// may do now is closed, see rest.
func (v view) limit() float64 {
	limit := v.set.Rate
	if v.planned > 0 && !math.IsInf(v.planned, 1) && (limit == 0 || v.planned < limit) {
		limit = v.planned
	}
	return limit
}

// allowed is what is left of the limit, 0 = no limit.
func (v view) allowed() float64 {
	limit, share := v.limit(), v.state.Pace.share(v.at)
	if share == 1 {
		return limit
	}
	if limit == 0 {
		limit = v.state.Full
	}
	return max(limit*share, min(limit, slowest))
}

// interval is that between two starts, 0 = none.
func (v view) interval() time.Duration {
	if a := v.allowed(); a > 0 {
		return time.Duration(margin * float64(time.Second) / a)
	}
	return 0
}

// places is how many calls may be in flight.
func (v view) places() int {
	return max(1, int(float64(v.set.Places)*v.state.Crowd.share(v.at)))
}

// rest says why nobody may call now, whatever the breaker says; "" if that is
// not so.
func (v view) rest() string {
	switch {
	case v.set.Paused && v.set.PausedText != "":
		return v.set.PausedText
	case v.set.Paused:
		return "paused"
	case v.planned == 0:
		text := "the timetable allows no calls"
		if !v.until.IsZero() {
			text += " until " + v.until.In(v.set.Plan.zone).Format("Mon 2006-01-02 15:04 MST")
		}
		return text
	case v.state.NotBefore.After(v.at):
		return "the target asks to wait until " + v.state.NotBefore.UTC().Format("2006-01-02 15:04:05 MST")
	}
	return ""
}

// tripped is the breaker that is open, if one is.
func (v view) tripped() breaker {
	if v.state.Breaker.Open {
		return v.state.Breaker
	}
	return v.fault
}

func (v view) isClosed() bool { return v.rest() != "" || v.tripped().Open }

// restored says that a pace that was lowered has come back.
func (v view) restored() bool { return isRestored(v.state, v.at) }

func isRestored(s shared, now time.Time) bool {
	return (!s.Pace.At.IsZero() || !s.Crowd.At.IsZero()) && s.Pace.share(now) == 1 && s.Crowd.share(now) == 1
}

func restore(s *shared, now time.Time) []Event {
	if !isRestored(*s, now) {
		return nil // another process was faster
	}
	told := !s.Told.IsZero()
	s.Pace, s.Crowd, s.Full, s.Told = lowered{}, lowered{}, 0, time.Time{}
	if !told {
		return nil
	}
	return []Event{{Kind: Restored}}
}

// State says how the gate stands.
func (g *Gate) State() State {
	v := g.lately()
	b := v.tripped()
	s := State{Limit: v.limit(), Allowed: v.allowed(), Places: v.places(), Closed: v.rest(), Paused: v.set.Paused, Breaker: b.Open, Probe: b.Next}
	switch {
	case s.Closed != "":
		g.mu.Lock()
		s.Since = g.closedSince
		g.mu.Unlock()
	case b.Open:
		s.Closed, s.Since = "the breaker is open: "+b.Reason, b.Since
	}
	return s
}
