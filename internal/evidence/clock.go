package evidence

import (
	"crypto/rand"
	"os"
	"strings"
	"sync"
	"time"

	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/ledger"
)

// ThisClock names the clock of this process. On Linux all processes of one boot have
// one clock, in containers too; the name of a host says nothing, since two can have
// the same. Elsewhere each process counts as having a clock of its own.
var ThisClock = sync.OnceValue(func() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if id := strings.TrimSpace(string(boot)); err == nil && id != "" {
		return id
	}
	return rand.Text()
})

// Bound says when, by the clock that stamps records, a call was claimed. What is
// stamped between Clearly and From was made a little too early to tell.
type Bound struct {
	From    time.Time // what is stamped then or later was made since
	Clearly time.Time // what is stamped earlier was made before
}

// Before says that a time is clearly before the claim. A time that is not shown is not.
func (b Bound) Before(m identitycloud.Moment) bool {
	return !m.IsZero() && m.Latest.Before(b.Clearly)
}

// IsEarly says that a time does not prove that something was made since: it is earlier, or not shown.
func (b Bound) IsEarly(m identitycloud.Moment) bool { return m.Latest.Before(b.From) }

const (
	// steadiness is what a calibrated clock may be set by meanwhile.
	steadiness = time.Second
	// agreement is how far the Date header's clock and one of ours may be apart to
	// confirm each other.
	agreement = time.Second
	// wellSet is how far two clocks may be apart that are set well.
	wellSet = 2 * time.Second
	// Uncalibrated is how far two clocks may be apart of which nothing is known.
	Uncalibrated = 5 * time.Minute
)

// Sample is a record whose making is known: it was made between Sent and Received by
// one of our clocks, and the target stamped it so.
type Sample struct {
	Clock          string
	Sent, Received time.Time
	Stamp          identitycloud.Moment
	// MaybeLater says that the stamp may be that of a later change.
	MaybeLater bool
}

// Clocks knows how far the clock that stamps records is ahead of ours. The Date
// header of an answer is that of another clock, and only says something where
// nothing else does.
type Clocks struct{ known map[string]*skews }

// skews are what the samples of one clock say.
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

// Latest is the latest that the stamping clock can have shown when a clock of ours
// showed t; ok is false where that is not known.
func (c *Clocks) Latest(clock string, t time.Time) (latest time.Time, ok bool) {
	k := c.known[clock]
	if k == nil {
		return t, false
	}
	return t.Add(max(k.high, k.low)), true
}

// LatestOfAny is Latest of a time of which it is not known by which of our clocks it is.
func (c *Clocks) LatestOfAny(t time.Time) (latest time.Time, ok bool) {
	for clock := range c.known {
		if l, _ := c.Latest(clock, t); !ok || l.After(latest) {
			latest, ok = l, true
		}
	}
	return latest, ok
}

// Since says when a call was claimed, of which a record may be. lost says that no
// answer told what the call did, or a part of it; then the record is likely to be
// ours, and only what was made clearly before is somebody else's.
//
// Where the clock of the claim is not calibrated, what is stamped no earlier than the
// claim by that clock was made since, unless the Date header says that the target's
// time is later.
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
