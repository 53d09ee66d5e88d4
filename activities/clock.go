package activities

import (
	"sync"
	"time"

	"durable-dataload/internal/ledger"
)

// clock knows how far the clock of the target's Date header is ahead of ours. The
// header has whole seconds (RFC 9110, section 6.6.1), so each answer bounds the
// difference from both sides, and many bound it closely. The clock that stamps
// records can be another one: see evidence.Clocks.
type clock struct {
	mu        sync.Mutex
	known     bool
	low, high time.Duration
}

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

// skew is how far the Date header's clock is ahead of ours; nil if no answer has told.
func (c *clock) skew() *ledger.Skew {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		return nil
	}
	return &ledger.Skew{Low: c.low, High: c.high}
}

// latest is the latest that the target's clock should show when ours shows t, where no
// record of ours tells. A Date header that is minutes off says nothing.
func (c *clock) latest(t time.Time) time.Time {
	ahead := time.Duration(0)
	if skew := c.skew(); skew != nil && skew.High <= time.Minute {
		ahead = max(skew.High, 0)
	}
	return t.Add(unknownSkew + ahead)
}

// unknownSkew is what is allowed for between clocks that are set well.
const unknownSkew = 2 * time.Second
