package evidence

import (
	"sync"
	"time"

	"durable-dataload/internal/ledger"
)

// DateClock estimates how far the clock of the target's Date header is ahead of ours. The
// header has whole seconds (RFC 9110, section 6.6.1), so each answer bounds the
// difference from both sides, and many bound it closely. The clock that stamps records
// can be another one: see Clocks. It is safe for concurrent use.
type DateClock struct {
	mu        sync.Mutex
	known     bool
	low, high time.Duration
}

// Saw adds an answer: the server's date lies between sending and receiving.
func (c *DateClock) Saw(date, sent, received time.Time) {
	if date.IsZero() || sent.IsZero() || received.IsZero() {
		return
	}
	low, high := date.Sub(received), date.Add(time.Second).Sub(sent)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known || low > c.high || high < c.low {
		// The first, or one of the clocks was set meanwhile.
		c.known, c.low, c.high = true, low, high
		return
	}
	c.low, c.high = max(c.low, low), min(c.high, high)
}

// Skew is how far the Date header's clock is ahead of ours; nil before the first answer.
func (c *DateClock) Skew() *ledger.Skew {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		return nil
	}
	return &ledger.Skew{Low: c.low, High: c.high}
}

// Latest is the latest time that the target's clock should show when ours shows t, if
// no record of ours provides it. A Date header that is minutes off is ignored.
func (c *DateClock) Latest(t time.Time) time.Time {
	ahead := time.Duration(0)
	if skew := c.Skew(); skew != nil && skew.High <= time.Minute {
		ahead = max(skew.High, 0)
	}
	return t.Add(wellSet + ahead)
}
