package evidence

import (
	"crypto/rand"
	"os"
	"strings"
	"sync"
	"time"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/target"
)

// ThisClock names the clock of this process. On Linux all processes of one boot have
// one clock, in containers too; host names are not used, since two hosts can have the
// same. On other systems each process counts as having its own clock.
var ThisClock = sync.OnceValue(func() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if id := strings.TrimSpace(string(boot)); err == nil && id != "" {
		return id
	}
	return rand.Text()
})

// Bound is the time of a claim by the clock that stamps records. A stamp between
// Clearly and From is too close to decide.
type Bound struct {
	From    time.Time // a record with this stamp or a later one was created since
	Clearly time.Time // a record with an earlier stamp was created before
}

// Before reports whether a time is clearly before the claim. A missing time is not.
func (b Bound) Before(m target.Moment) bool {
	return !m.IsZero() && m.Latest.Before(b.Clearly)
}

// IsEarly reports whether a time does not prove creation since the claim: it is earlier, or missing.
func (b Bound) IsEarly(m target.Moment) bool { return m.Latest.Before(b.From) }

const (
	// steadiness is the tolerance for adjustments of a calibrated clock.
	steadiness = time.Second
	// agreement is the maximum difference at which the Date header's clock and one
	// of ours confirm each other.
	agreement = time.Second
	// wellSet is the maximum difference of two well-set clocks.
	wellSet = 2 * time.Second
	// Uncalibrated is the assumed maximum difference of two unknown clocks.
	Uncalibrated = 5 * time.Minute
)

// Sample is a record whose creation is known: it was created between Sent and Received
// by one of our clocks, and the target assigned the stamp.
type Sample struct {
	Clock          string
	Sent, Received time.Time
	Stamp          target.Moment
	// MaybeLater means that the stamp may be that of a later change.
	MaybeLater bool
}

// Clocks estimates how far the clock that stamps records is ahead of ours. The Date
// header of an answer comes from another clock, and is used only without better
// evidence.
type Clocks struct{ known map[string]*skews }

// skews are the bounds from the samples of one clock.
type skews struct {
	low, high   time.Duration // that fit all samples
	lowest      time.Duration // that fits any
	isLowStrict bool          // low is of stamps that are certain
}

// Learn takes a sample into account.
func (c *Clocks) Learn(s Sample) {
	if s.Clock == "" || s.Sent.IsZero() || s.Received.IsZero() || s.Stamp.IsZero() {
		return
	}
	low, high := s.Stamp.Earliest.Sub(s.Received), s.Stamp.Latest.Sub(s.Sent)
	k := c.known[s.Clock]
	if k == nil {
		if c.known == nil {
			c.known = map[string]*skews{}
		}
		c.known[s.Clock] = &skews{low: low, high: high, lowest: low, isLowStrict: !s.MaybeLater}
		return
	}
	k.high, k.lowest = min(k.high, high), min(k.lowest, low)
	switch {
	case !s.MaybeLater && k.isLowStrict:
		k.low = max(k.low, low)
	case !s.MaybeLater:
		k.low, k.isLowStrict = low, true
	case !k.isLowStrict: // the earliest stamp is the least changed
		k.low = min(k.low, low)
	}
}

// ahead bounds how far the stamping clock is ahead of one of ours.
func (k *skews) ahead() time.Duration {
	if k.low > k.high { // one of the clocks was set meanwhile
		return k.lowest
	}
	return k.low
}

// Latest is the latest time that the stamping clock can have shown when one of our
// clocks showed t; ok is false if that is not known.
func (c *Clocks) Latest(clock string, t time.Time) (latest time.Time, ok bool) {
	k := c.known[clock]
	if k == nil {
		return t, false
	}
	return t.Add(max(k.high, k.low)), true
}

// LatestOfAny is Latest for a time from an unknown clock of ours.
func (c *Clocks) LatestOfAny(t time.Time) (latest time.Time, ok bool) {
	for clock := range c.known {
		if l, _ := c.Latest(clock, t); !ok || l.After(latest) {
			latest, ok = l, true
		}
	}
	return latest, ok
}

// Since returns the bound for the claim of a call that may have written a record. lost
// means that no answer said what the call did, or a part of it; then the record is
// likely to be ours, and only a record that was clearly created before is not.
//
// If the clock of the claim is not calibrated, a record that is stamped no earlier than
// the claim by that clock was created since, unless the Date header says that the
// target's time is later.
func (c *Clocks) Since(claim ledger.Claim, lost bool) Bound {
	from, margin := claim.At, Uncalibrated
	if k := c.known[claim.Clock]; k != nil {
		from, margin = claim.At.Add(k.ahead()), steadiness
		if !lost {
			margin = 0
		}
	} else if date := claim.Date; date != nil {
		from = claim.At.Add(max(date.Low, 0))
		if !lost && date.Low <= agreement && date.High >= -agreement {
			margin = 0
		} else {
			margin += max(date.Low, 0) + max(-date.High, 0)
		}
	}
	return Bound{From: from, Clearly: from.Add(-margin)}
}

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
