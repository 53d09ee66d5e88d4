package artifacts

import (
	"cmp"
	"maps"
	"math/bits"
	"slices"
	"time"

	"durable-dataload/internal/ledger"
)

// Timeline is how a migration went over time: a few numbers for each of some
// equal intervals of it, so that its size does not depend on that of the
// migration. The order in which calls are added does not matter.
type Timeline struct {
	start, end time.Time
	width      time.Duration // of a interval
	intervals  []interval
	rounds     map[int]*roundTimeline
	updates    span
	reasons    map[callReason]*callCount
	all        latencies
	untimed    int // calls of which nobody knows when they were made
	unmeasured int // calls of which nobody knows how long they took
}

// maxIntervals is what a drawing can show.
const maxIntervals = 120

// widths of a interval are those of a clock, so that a interval is easily named.
// What is longer than the longest one takes several days.
var widths = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// NewTimeline is the timeline of a migration from start to end.
func NewTimeline(start, end time.Time) *Timeline {
	start, end = start.UTC(), end.UTC()
	if end.Before(start) {
		end = start
	}
	c := &Timeline{start: start, end: end, rounds: map[int]*roundTimeline{}, reasons: map[callReason]*callCount{}}
	for i := 0; ; i++ {
		if i < len(widths) {
			c.width = widths[i]
		} else {
			c.width *= 2
		}
		n := int(end.Sub(start.Truncate(c.width))/c.width) + 1
		if n <= maxIntervals {
			c.intervals = make([]interval, n)
			return c
		}
	}
}

// interval is what happened in one piece of the time.
type interval struct {
	answered, refused, unknown int // calls
	settled                    int // records of which it became known what they are
	took                       latencies
}

func (s interval) calls() int { return s.answered + s.refused + s.unknown }

// roundTimeline is a round as its calls had it.
type roundTimeline struct {
	span
	took latencies
}

// span is the time from the first to the last of some things.
type span struct{ first, last time.Time }

func (s *span) add(from, to time.Time) {
	if s.first.IsZero() || from.Before(s.first) {
		s.first = from
	}
	if to.After(s.last) {
		s.last = to
	}
}

// callReason is a class of calls without an answer for each record.
type callReason struct{ reason, outcome string }

// What such a call came to.
const (
	callUnknown = "unknown"
	callRefused = "refused"
	callSplit   = "refused, sent again in halves"
)

type callCount struct{ calls, records int }

// Call adds an entry of the ledger. One whose At is zero counts, and is not in
// the drawings. A time outside of the migration's, by a clock that is wrong,
// counts as its begin or end.
func (c *Timeline) Call(round int, o ledger.Outcomes) {
	if !o.Sent {
		return
	}
	counts := o.Counts()
	outcome := ""
	switch {
	case o.Split:
		outcome = callSplit
	case counts.Unknown > 0:
		outcome = callUnknown
	case o.Reason != "":
		outcome = callRefused
	}
	if outcome != "" {
		reason := callReason{o.Reason, outcome}
		if c.reasons[reason] == nil {
			c.reasons[reason] = &callCount{}
		}
		c.reasons[reason].calls++
		if outcome == callUnknown {
			c.reasons[reason].records += counts.Unknown
		} else {
			c.reasons[reason].records += counts.Failed + counts.Unknown
		}
	}
	if o.At.IsZero() {
		c.untimed++
		return
	}
	r := c.rounds[round]
	if r == nil {
		r = &roundTimeline{}
		c.rounds[round] = r
	}
	r.add(c.within(o.At.Add(-o.Took)), c.within(o.At))
	s := c.interval(o.At)
	switch outcome {
	case "":
		s.answered++
	case callUnknown:
		s.unknown++
	default:
		s.refused++
	}
	s.settled += counts.Created + counts.Duplicate + counts.Failed
	if o.Took <= 0 {
		c.unmeasured++
		return
	}
	s.took.add(o.Took)
	r.took.add(o.Took)
	c.all.add(o.Took)
}

// Updated adds a record whose update was over at that time; zero: nobody knows.
func (c *Timeline) Updated(at time.Time) {
	if at.IsZero() {
		return
	}
	c.interval(at).settled++
	c.updates.add(c.within(at), c.within(at))
}

func (c *Timeline) within(t time.Time) time.Time {
	t = t.UTC()
	if t.Before(c.start) {
		return c.start
	}
	if t.After(c.end) {
		return c.end
	}
	return t
}

func (c *Timeline) interval(t time.Time) *interval {
	return &c.intervals[c.within(t).Sub(c.begin(0))/c.width]
}

// begin is when a interval begins. The first one may begin before the migration.
func (c *Timeline) begin(i int) time.Time {
	return c.start.Truncate(c.width).Add(time.Duration(i) * c.width)
}

// seconds is how much of a interval is in the migration, 1 at least.
func (c *Timeline) seconds(i int) float64 {
	return max(1, c.within(c.begin(i+1)).Sub(c.within(c.begin(i))).Seconds())
}

// isDrawn says whether there is anything to draw.
func (c *Timeline) isDrawn() bool {
	return slices.ContainsFunc(c.intervals, func(s interval) bool { return s.calls() > 0 || s.settled > 0 })
}

// roundNumbers are those of the rounds that made calls, in order.
func (c *Timeline) roundNumbers() []int { return slices.Sorted(maps.Keys(c.rounds)) }

// reasonsBySize gives the classes of calls, the most frequent first.
func (c *Timeline) reasonsBySize() []callReason {
	return slices.SortedFunc(maps.Keys(c.reasons), func(a, b callReason) int {
		return cmp.Or(cmp.Compare(c.reasons[b].calls, c.reasons[a].calls), cmp.Compare(a.reason, b.reason), cmp.Compare(a.outcome, b.outcome))
	})
}

// latencies counts how long calls took, by classes each of which is at most a
// sixteenth wider than what it begins with: what it tells is right to 4 %. The
// longest is exact.
type latencies struct {
	classes []uint32 // nil until the first
	count   int
	longest time.Duration
}

// classesOfLatency reach beyond an hour.
const classesOfLatency = 480

func (l *latencies) add(took time.Duration) {
	if l.classes == nil {
		l.classes = make([]uint32, classesOfLatency)
	}
	l.classes[min(latencyClass(took), classesOfLatency-1)]++
	l.count++
	l.longest = max(l.longest, took)
}

// latencyClass is the number of microseconds without all but its first five
// binary digits, and how many there were.
func latencyClass(took time.Duration) int {
	n := uint64(max(0, took.Microseconds()))
	shift := max(0, bits.Len64(n)-5)
	return shift<<4 + int(n>>shift)
}

// middle of a class.
func middleOfClass(class int) time.Duration {
	if class < 32 {
		return time.Duration(class) * time.Microsecond
	}
	shift := class>>4 - 1
	from := uint64(class-shift<<4) << shift
	return time.Duration(from+1<<shift/2) * time.Microsecond
}

// quantile is what the given share of the calls did not exceed; 0 without calls.
func (l *latencies) quantile(share float64) time.Duration {
	rank := uint64(share*float64(l.count) + 0.999999)
	var seen uint64
	for class, n := range l.classes {
		if seen += uint64(n); n > 0 && seen >= rank {
			return min(middleOfClass(class), l.longest)
		}
	}
	return l.longest
}
