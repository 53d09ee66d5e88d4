package pace

import (
	"context"
	"durable-dataload/internal/figures"
	"fmt"
	"time"
)

// Outcome is what a call came to, as far as the pace is concerned. Its texts
// hold no user data.
type Outcome struct {
	Sent, Ended time.Time
	// Unknown says that the target is to blame for it that nobody knows what the
	// call did. Reason is the class of that: "http 502".
	Unknown bool
	Reason  string
	// Fault, if not "", is why no call can succeed now, for people: the
	// credentials, say.
	Fault string
	// Busy says that the target asks for fewer calls, Crowded that it asks for
	// fewer at the same time, RetryAfter for how long it wants none.
	Busy, Crowded bool
	RetryAfter    time.Duration
}

// Event is a change of the pace of all processes.
type Event struct {
	Kind EventKind
	// Allowed is, where the pace was lowered, the calls a second from then on.
	Allowed float64
	Text    string // for people
}

// EventKind says what happened.
type EventKind int

// The kinds of events.
const (
	Slowed   EventKind = iota // not for each step: at most one in some seconds
	Restored                  // the full pace is allowed again
	Opened                    // the breaker
	Closed                    // the breaker
)

// Ended takes into account what a call came to, of whatever kind it was. ctx is
// that of the call. It gives an error if the state cannot be kept.
func (g *Gate) Ended(ctx context.Context, o Outcome) error {
	// From afar a row is looked at as it was a moment ago: a success then may come
	// too early to end it.
	v := g.look(!g.target.far() || o.Unknown || o.Busy || o.Fault != "")
	known := !o.Unknown && o.Fault == ""
	if known && !o.Busy && v.state.Row == 0 && !v.state.Breaker.Open {
		return nil // as it should be, and mostly is
	}
	return g.update(func(s *shared, now time.Time) (events []Event) {
		if o.Busy {
			events = g.slow(s, v, o, now)
		}
		if isProbe(ctx) {
			return events
		}
		switch b := &s.Breaker; {
		case o.Fault != "":
			events = append(events, g.trip(s, o.Fault, now)...)
		case o.Unknown && !b.Open:
			s.Row++
			if v.set.Breaker > 0 && s.Row >= v.set.Breaker {
				b.trip(fmt.Sprintf("%s, %s in a row", o.Reason, figures.Count(s.Row, "call")), g.cfg.FirstProbe, now)
				events = append(events, Event{Kind: Opened, Text: b.Reason})
			}
		case known:
			s.Row = 0
			// What was sent before it opened says nothing of now.
			if b.Open && o.Sent.After(b.Since) {
				events = append(events, Event{Kind: Closed, Text: "after " + now.Sub(b.Since).Round(time.Second).String()})
				*b = breaker{}
			}
		}
		return events
	})
}

// Fault is an error of a probe: no call can succeed until somebody has done
// something. Its text is for people, and holds no user data.
type Fault struct{ error }

// NewFault gives a Fault with the text of an error.
func NewFault(err error) Fault { return Fault{err} }

// trip opens the breaker for a fault, or gives one that is open that reason.
func (g *Gate) trip(s *shared, fault string, now time.Time) []Event {
	g.mu.Lock()
	if !g.fault.Open {
		g.fault.trip(fault, g.cfg.FirstProbe, now)
	}
	g.mu.Unlock()
	b := &s.Breaker
	switch {
	case !b.Open:
		b.trip(fault, g.cfg.FirstProbe, now)
	case b.Fault:
		return nil // one like it was told: each has another request id
	}
	b.Reason, b.Fault = fault, true
	return []Event{{Kind: Opened, Text: fault}}
}

// slow lowers the pace: one step for all calls that were in flight together.
func (g *Gate) slow(s *shared, v view, o Outcome, now time.Time) []Event {
	full := v.limit()
	if full == 0 {
		full = s.Full // it was lowered before
	}
	if full == 0 {
		full = g.measured(now)
	}
	wait := o.Ended.Add(min(o.RetryAfter, longestWait))
	if o.RetryAfter > 0 && wait.After(s.NotBefore) {
		s.NotBefore = wait
	}
	stepped := s.Pace.halve(o.Sent, now)
	if stepped {
		s.Full = full
	}
	if o.Crowded {
		s.Crowd.halve(o.Sent, now)
	}
	for _, l := range []*lowered{&s.Pace, &s.Crowd} {
		if !l.At.IsZero() && s.NotBefore.After(l.From) {
			l.From = s.NotBefore
		}
	}
	if !stepped || now.Sub(s.Told) < toldEvery && now.After(s.Told) {
		return nil
	}
	s.Told = now
	v.state, v.at = *s, now
	text := o.Reason
	if o.RetryAfter > 0 {
		text += ", no call for " + o.RetryAfter.Round(time.Second).String()
	}
	return []Event{{Kind: Slowed, Allowed: v.allowed(), Text: text}}
}

// PerSecond is a pace for people: "2/s".
func PerSecond(calls float64) string {
	if calls == 0 {
		return "no limit"
	}
	return figures.Figure(calls) + "/s"
}
