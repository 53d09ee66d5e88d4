package pace

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"
)

// shared is what all processes that call a target know of it, kept beside the
// start times. It survives restarts; a damaged one is begun anew.
type shared struct {
	Version int     `json:"version"`
	Pace    lowered `json:"pace,omitzero"`  // calls a second
	Crowd   lowered `json:"crowd,omitzero"` // calls in flight
	// Full is the calls a second that were measured when a pace without a limit
	// was lowered: what Pace is a share of then.
	Full float64 `json:"full,omitempty"`
	// NotBefore is when the target wants the next call.
	NotBefore time.Time `json:"not_before,omitzero"`
	Told      time.Time `json:"told,omitzero"` // when a lowered pace was last an event
	Row       int       `json:"row,omitempty"` // the last so many calls are unknown
	Breaker   breaker   `json:"breaker,omitzero"`
}

// sharedVersion is that of what is kept. Another one is not understood.
const sharedVersion = 1

const (
	// Recovery is how long a lowered pace takes from nothing to its limit, steadily: a
	// tenth in 5 seconds.
	Recovery = 50 * time.Second
	// slowest is the calls a second that a lowered pace keeps.
	slowest = 0.1
	// settling is how long after a step down calls may come that had their turn
	// before it: what the target says to them says nothing of the new pace.
	settling = 250 * time.Millisecond
	// toldEvery is how often a lowered pace is an event, at most.
	toldEvery = 5 * time.Second
	// longestWait is the most that a target can ask for.
	longestWait = 24 * time.Hour
)

// lowered is a limit of which only a share is used, which grows by itself.
type lowered struct {
	Share float64   `json:"share"`
	At    time.Time `json:"at"`   // when it was lowered
	From  time.Time `json:"from"` // when it begins to grow
}

func (l lowered) share(now time.Time) float64 {
	if l.At.IsZero() {
		return 1
	}
	return min(1, l.Share+max(0, now.Sub(l.From)).Seconds()/Recovery.Seconds())
}

// halve lowers the limit, unless it was lowered since the call was sent.
func (l *lowered) halve(sent, now time.Time) bool {
	if sent.Before(l.At.Add(settling)) {
		return false
	}
	l.Share, l.At, l.From = l.share(now)/2, now, now
	return true
}

// breaker keeps calls away from a target that does not serve.
type breaker struct {
	Open   bool      `json:"open,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	Reason string    `json:"reason,omitempty"`
	Fault  bool      `json:"fault,omitempty"`  // it does not pass by itself
	Probes int       `json:"probes,omitempty"` // that were made
	Next   time.Time `json:"next,omitzero"`    // when the next one is due
}

// longestPause is the longest between two probes.
const longestPause = time.Minute

func (b *breaker) trip(reason string, first time.Duration, now time.Time) {
	*b = breaker{Open: true, Since: now, Reason: reason}
	b.Next = now.Add(b.pause(first))
}

// begin takes the next probe if it is due. It counts before it is made: one that
// a process dies of is not made again at once.
func (b *breaker) begin(first time.Duration, now time.Time) bool {
	if !b.due(now) {
		return false
	}
	b.Probes++
	b.Next = now.Add(b.pause(first))
	return true
}

func (b *breaker) due(now time.Time) bool { return b.Open && !now.Before(b.Next) }

// pause doubles with each probe. Processes that began at once do not stay in
// step.
func (b *breaker) pause(first time.Duration) time.Duration {
	pause := min(first<<min(b.Probes, 16), longestPause)
	return pause*9/10 + rand.N(pause/5+1)
}

func (s shared) encode() []byte {
	data, _ := json.Marshal(s) // it can be encoded
	return data
}

// decodeShared reads the state of a target. What cannot be read, or is of another
// clock, is no state.
func decodeShared(data []byte, now time.Time) shared {
	var s shared
	if json.Unmarshal(data, &s) != nil {
		return shared{Version: sharedVersion}
	}
	return s.orNone(now)
}

// orNone is the state, unless it cannot be understood.
func (s shared) orNone(now time.Time) shared {
	if s.Version != sharedVersion {
		return shared{Version: sharedVersion}
	}
	for _, t := range []time.Time{s.Pace.At, s.Crowd.At, s.Breaker.Since, s.Breaker.Next.Add(-2 * longestPause), s.NotBefore.Add(-longestWait), s.Pace.From.Add(-longestWait), s.Crowd.From.Add(-longestWait)} {
		if t.After(now.Add(time.Minute)) {
			return shared{Version: sharedVersion}
		}
	}
	return s
}

// update changes the state of the target for all processes, and tells what
// happened.
func (g *Gate) update(change func(s *shared, now time.Time) []Event) error {
	events, err := g.target.change(change)
	g.mu.Lock()
	g.changed = time.Now() // the next look sees it
	g.mu.Unlock()
	if err != nil {
		return fmt.Errorf("cannot keep the state of the target: %w", err)
	}
	for _, e := range events {
		if g.cfg.Happened != nil {
			g.cfg.Happened(e)
		}
	}
	return nil
}
