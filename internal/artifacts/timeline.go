package artifacts

import (
	"cmp"
	"maps"
	"math/bits"
	"slices"
	"time"

	"durable-dataload/internal/ledger"
)

// Timeline is the progress of a migration over time: a few numbers for each of some equal
// intervals, so that its size does not depend on that of the migration. Calls may be added
// in any order.
type Timeline struct {
	start, end time.Time
	width      time.Duration // of an interval
	intervals  []interval
	rounds     map[int]*roundTimeline
	updates    span
	reasons    map[callReason]*callCount
	all        latencies
	untimed    int // calls whose time is not known
	unmeasured int // calls whose duration is not known
}

// maxIntervals is how many intervals a chart can show.
const maxIntervals = 120

// widths are the widths of an interval, parts of a day, so that its beginning is a round
// time. Beyond the longest they are doubled.
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
	tl := &Timeline{start: start, end: end, rounds: map[int]*roundTimeline{}, reasons: map[callReason]*callCount{}}
	for i := 0; ; i++ {
		if i < len(widths) {
			tl.width = widths[i]
		} else {
			tl.width *= 2
		}
		n := int(end.Sub(start.Truncate(tl.width))/tl.width) + 1
		if n <= maxIntervals {
			tl.intervals = make([]interval, n)
			return tl
		}
	}
}

// interval is what happened in one interval.
type interval struct {
	answered, refused, unknown int // calls
	settled                    int // records that got an outcome
	took                       latencies
}

func (s interval) calls() int { return s.answered + s.refused + s.unknown }

// roundTimeline is when the calls of a round were made and how long they took.
type roundTimeline struct {
	span
	took latencies
}

// span is the time from the first to the last of some events.
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

// The outcomes of such a call.
const (
	callUnknown = "unknown"
	callRefused = "refused"
	callSplit   = "refused, sent again in halves"
)

type callCount struct{ calls, records int }

// Call adds an entry of the ledger. One whose At is zero is counted, and is not in the
// charts. A time outside of the migration, by a wrong clock, counts as its start or end.
func (tl *Timeline) Call(round int, o ledger.Outcomes) {
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
		if tl.reasons[reason] == nil {
			tl.reasons[reason] = &callCount{}
		}
		tl.reasons[reason].calls++
		if outcome == callUnknown {
			tl.reasons[reason].records += counts.Unknown
		} else {
			tl.reasons[reason].records += counts.Failed + counts.Unknown
		}
	}
	if o.At.IsZero() {
		tl.untimed++
		return
	}
	r := tl.rounds[round]
	if r == nil {
		r = &roundTimeline{}
		tl.rounds[round] = r
	}
	r.add(tl.within(o.At.Add(-o.Took)), tl.within(o.At))
	s := tl.interval(o.At)
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
		tl.unmeasured++
		return
	}
	s.took.add(o.Took)
	r.took.add(o.Took)
	tl.all.add(o.Took)
}

// Updated adds a record whose update had ended at that time; zero is not known.
func (tl *Timeline) Updated(at time.Time) {
	if at.IsZero() {
		return
	}
	tl.interval(at).settled++
	tl.updates.add(tl.within(at), tl.within(at))
}

func (tl *Timeline) within(t time.Time) time.Time {
	t = t.UTC()
	if t.Before(tl.start) {
		return tl.start
	}
	if t.After(tl.end) {
		return tl.end
	}
	return t
}

func (tl *Timeline) interval(t time.Time) *interval {
	return &tl.intervals[tl.within(t).Sub(tl.begin(0))/tl.width]
}

// begin is when an interval begins. The first one may begin before the migration.
func (tl *Timeline) begin(i int) time.Time {
	return tl.start.Truncate(tl.width).Add(time.Duration(i) * tl.width)
}

// seconds is how much of an interval is in the migration, at least 1.
func (tl *Timeline) seconds(i int) float64 {
	return max(1, tl.within(tl.begin(i+1)).Sub(tl.within(tl.begin(i))).Seconds())
}

// isDrawn reports whether there is anything to show.
func (tl *Timeline) isDrawn() bool {
	return slices.ContainsFunc(tl.intervals, func(s interval) bool { return s.calls() > 0 || s.settled > 0 })
}

// roundNumbers are those of the rounds that made calls, in order.
func (tl *Timeline) roundNumbers() []int { return slices.Sorted(maps.Keys(tl.rounds)) }

// reasonsBySize returns the classes of calls, the most frequent first.
func (tl *Timeline) reasonsBySize() []callReason {
	return slices.SortedFunc(maps.Keys(tl.reasons), func(a, b callReason) int {
		return cmp.Or(cmp.Compare(tl.reasons[b].calls, tl.reasons[a].calls), cmp.Compare(a.reason, b.reason), cmp.Compare(a.outcome, b.outcome))
	})
}

// latencies is a histogram of call durations. Each class is at most a sixteenth wider than
// its lower bound, so that quantiles are exact to 4 %; the longest duration is exact.
type latencies struct {
	classes []uint32 // nil until the first
	count   int
	longest time.Duration
}

// classesOfLatency cover more than an hour.
const classesOfLatency = 480

func (l *latencies) add(took time.Duration) {
	if l.classes == nil {
		l.classes = make([]uint32, classesOfLatency)
	}
	l.classes[min(latencyClass(took), classesOfLatency-1)]++
	l.count++
	l.longest = max(l.longest, took)
}

// latencyClass is made of the first five binary digits of the number of microseconds, and of
// the number of the others.
func latencyClass(took time.Duration) int {
	n := uint64(max(0, took.Microseconds()))
	shift := max(0, bits.Len64(n)-5)
	return shift<<4 + int(n>>shift)
}

// middleOfClass is the middle of a class.
func middleOfClass(class int) time.Duration {
	if class < 32 {
		return time.Duration(class) * time.Microsecond
	}
	shift := class>>4 - 1
	from := uint64(class-shift<<4) << shift
	return time.Duration(from+1<<shift/2) * time.Microsecond
}

// quantile is the duration that a share of the calls did not exceed; 0 without calls.
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
