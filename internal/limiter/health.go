package limiter

import (
	"fmt"
	"time"

	"durable-dataload/internal/figures"
)

// Health is what the answers of the target say of it.
type Health struct {
	Pace  Lowered `json:"pace,omitzero"`  // calls a second
	Crowd Lowered `json:"crowd,omitzero"` // calls in flight
	// Full is the calls a second that were measured when a pace without a limit was
	// lowered: Pace is a share of it then.
	Full float64 `json:"full,omitempty"`
	// NotBefore is when the target wants the next call.
	NotBefore time.Time `json:"not_before,omitzero"`
	Told      time.Time `json:"told,omitzero"` // when a lowered pace was last a change
	Row       int       `json:"row,omitempty"` // the last so many calls are of unknown outcome
	Breaker   Breaker   `json:"breaker,omitzero"`
}

const (
	// Recovery is how long a lowered pace takes from nothing to its limit, steadily: a
	// tenth in 5 seconds.
	Recovery = 50 * time.Second
	// slowest is the calls a second that a lowered pace keeps.
	slowest = 0.1
	// toldEvery is how often a lowered pace is a change that is kept, at most.
	toldEvery = 5 * time.Second
	// longestWait is the most that a target can ask for.
	longestWait = 24 * time.Hour
)

// Lowered is a limit of which only a share is used, which grows by itself.
type Lowered struct {
	Share float64   `json:"share"`
	At    time.Time `json:"at"`   // when it was lowered
	From  time.Time `json:"from"` // when it begins to grow
}

func (l Lowered) share(now time.Time) float64 {
	if l.At.IsZero() {
		return 1
	}
	return min(1, l.Share+max(0, now.Sub(l.From)).Seconds()/Recovery.Seconds())
}

// halve lowers the limit once for all calls that were sent under the leases of one
// moment: what the target says to a call that was granted before the last step
// says nothing of the new pace.
func (l *Lowered) halve(sent, now time.Time) bool {
	if sent.Before(l.At) {
		return false
	}
	l.Share, l.At, l.From = l.share(now)/2, now, now
	return true
}

// Breaker keeps calls away from a target that does not serve.
type Breaker struct {
	Open   bool      `json:"open,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	Reason string    `json:"reason,omitempty"`
	Fault  bool      `json:"fault,omitempty"`  // it does not pass by itself
	Probes int       `json:"probes,omitempty"` // that were granted
	Next   time.Time `json:"next,omitzero"`    // when the next one is due
	// Worker has the right to probe until Until.
	Worker string    `json:"worker,omitempty"`
	Until  time.Time `json:"until,omitzero"`
}

const (
	firstProbe   = time.Second
	longestPause = time.Minute // between two probes
)

func (b *Breaker) trip(reason string, fault bool, now time.Time) {
	*b = Breaker{Open: true, Since: now, Reason: reason, Fault: fault}
	b.Next = now.Add(b.pause())
}

// pause doubles with each probe.
func (b *Breaker) pause() time.Duration { return min(firstProbe<<min(b.Probes, 16), longestPause) }

// grant gives a worker the right to probe, if a probe is due. It counts before it
// is made: one that a process dies of is not made again at once.
func (b *Breaker) grant(worker string, now time.Time) bool {
	if !b.Open || now.Before(b.Next) || b.Worker != "" && b.Worker != worker && now.Before(b.Until) {
		return false
	}
	b.Probes++
	b.Worker, b.Until = worker, now.Add(Lease)
	b.Next = now.Add(b.pause())
	return true
}

// learn takes into account what calls came to. full is the calls a second that
// people allow, or, without a limit, that were made lately.
func (h *Health) learn(r Report, threshold int, full, allowed float64, now time.Time, sent time.Time) (changes []Change) {
	if r.Busy {
		changes = append(changes, h.slow(r, full, allowed, now, sent)...)
	}
	switch b := &h.Breaker; {
	case r.Fault != "":
		if !b.Open || !b.Fault {
			changes = append(changes, Change{At: now, Kind: Opened, Text: r.Fault})
		}
		if !b.Open {
			b.trip(r.Fault, true, now)
		}
		b.Reason, b.Fault = r.Fault, true
	case r.Unknown && !b.Open:
		h.Row += r.Calls
		if threshold > 0 && h.Row >= threshold {
			b.trip(fmt.Sprintf("%s, %s in a row", r.Reason, figures.Count(h.Row, "call")), false, now)
			changes = append(changes, Change{At: now, Kind: Opened, Text: b.Reason})
		}
	case !r.Unknown:
		h.Row = 0
		// What was sent before it opened says nothing of now.
		if b.Open && sent.After(b.Since) {
			changes = append(changes, Change{At: now, Kind: Closed, Text: "after " + now.Sub(b.Since).Round(time.Second).String()})
			*b = Breaker{}
		}
	}
	return changes
}

func (h *Health) slow(r Report, full, allowed float64, now, sent time.Time) []Change {
	if wait := now.Add(min(r.RetryAfter, longestWait)); r.RetryAfter > 0 && wait.After(h.NotBefore) {
		h.NotBefore = wait
	}
	stepped := h.Pace.halve(sent, now)
	if stepped {
		h.Full = full
	}
	if r.Crowded {
		h.Crowd.halve(sent, now)
	}
	for _, l := range []*Lowered{&h.Pace, &h.Crowd} {
		if !l.At.IsZero() && h.NotBefore.After(l.From) {
			l.From = h.NotBefore
		}
	}
	if !stepped || !h.Told.IsZero() && now.Sub(h.Told) < toldEvery {
		return nil
	}
	h.Told = now
	text := r.Reason
	if r.RetryAfter > 0 {
		text += ", no call for " + r.RetryAfter.Round(time.Second).String()
	}
	return []Change{{At: now, Kind: Slowed, Allowed: max(allowed/2, slowest), Text: text}}
}

// restore ends a lowered pace that has come back.
func (h *Health) restore(now time.Time) []Change {
	if h.Pace.At.IsZero() && h.Crowd.At.IsZero() || h.Pace.share(now) < 1 || h.Crowd.share(now) < 1 {
		return nil
	}
	told := !h.Told.IsZero()
	h.Pace, h.Crowd, h.Full, h.Told = Lowered{}, Lowered{}, 0, time.Time{}
	if !told {
		return nil
	}
	return []Change{{At: now, Kind: Restored}}
}

// pending says that the limiter has something to remember, though no worker asks.
func (h *Health) pending(now time.Time) bool {
	return h.Breaker.Open || now.Before(h.NotBefore) || h.Pace.share(now) < 1 || h.Crowd.share(now) < 1
}
