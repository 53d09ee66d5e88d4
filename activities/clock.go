package activities

import (
	"sync"
	"time"
)

// clock knows how far the target's clock is ahead of ours, as far as its
// answers have told: their Date header has whole seconds (RFC 9110, section
// 6.6.1), so each answer bounds the difference from both sides, and many bound
// it closely.
type clock struct {
	mu        sync.Mutex
	known     bool
	low, high time.Duration
}

// unknownSkew is what is allowed for before the first answer with a date.
const unknownSkew = 2 * time.Second

// saw takes an answer into account: the server's date lies between sending and
// receiving.
func (c *clock) saw(date, sent, received time.Time) {
	if date.IsZero() || sent.IsZero() || received.IsZero() {
		return
	}
	low, high := date.Sub(received), date.Add(time.Second).Sub(sent)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known || low > c.high || high < c.low {
		// The first, or one of the clocks was set anew.
		c.known, c.low, c.high = true, low, high
		return
	}
	c.low, c.high = max(c.low, low), min(c.high, high)
}

// latest is the latest that the target's clock can show when ours shows t.
func (c *clock) latest(t time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		return t.Add(unknownSkew)
	}
	return t.Add(c.high)
}

// earliest is the earliest that the target's clock can show when ours shows t.
func (c *clock) earliest(t time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		return t.Add(-unknownSkew)
	}
	return t.Add(c.low)
}
