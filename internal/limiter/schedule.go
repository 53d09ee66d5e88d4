package limiter

import (
	"math"
	"slices"
	"time"
)

// Schedule hands out start times. All of them lie on one clock, that of the worker
// that asked first, so workers that share it get start times that are exactly an
// interval apart, however long their answers travel.
type Schedule struct {
	Clock string        `json:"clock,omitempty"`
	Last  time.Duration `json:"last"` // the last start time that was granted or is in Free, on Clock
	// Free are start times up to Last that were left to other workers, Every apart.
	Free   []time.Duration   `json:"free,omitempty"`
	Every  time.Duration     `json:"every,omitempty"`
	Clocks map[string]Offset `json:"clocks,omitempty"`
}

// Offset is how far the limiter's time is ahead of a clock: the least that was seen
// in the last minutes, since a request travels for some time. Two clocks can be
// compared up to the difference of their shortest travels.
type Offset struct {
	Least  time.Duration `json:"least"`
	Before time.Duration `json:"before"` // the least of the period before
	Since  time.Time     `json:"since"`
}

// offsetPeriod bounds what clocks may drift apart unnoticed: 10 ms at 100 ppm.
const offsetPeriod = 100 * time.Second

func (o Offset) ahead() time.Duration { return min(o.Least, o.Before) }

func (o Offset) seen(now time.Time, ahead time.Duration) Offset {
	switch age := now.Sub(o.Since); {
	case o.Since.IsZero() || age >= 2*offsetPeriod:
		return Offset{Least: ahead, Before: ahead, Since: now}
	case age >= offsetPeriod:
		return Offset{Least: ahead, Before: o.Least, Since: now}
	}
	o.Least = min(o.Least, ahead)
	return o
}

// margin is for clocks that run at different speeds, and for rounding. It is small: a
// call that starts as late as it may (see gate.tolerance) does not bring a second more
// than one call, the fence post, above the limit.
const margin = 1.002

// interval is that between two start times at a rate; 0 at no limit.
func interval(perSecond float64) time.Duration {
	if perSecond <= 0 || math.IsInf(perSecond, 1) {
		return 0
	}
	return time.Duration(margin * float64(time.Second) / perSecond)
}

// hear learns from a request how the clocks stand.
func (s *Schedule) hear(now time.Time, clock string, reading time.Duration) {
	if s.Clocks == nil {
		s.Clocks = map[string]Offset{}
	}
	s.Clocks[clock] = s.Clocks[clock].seen(now, time.Duration(now.UnixNano())-reading)
	if s.Clock == "" {
		s.Clock, s.Last = clock, reading-time.Hour
	}
}

// on gives a reading of a clock as one of Schedule.Clock.
func (s *Schedule) on(clock string, reading time.Duration) time.Duration {
	if clock == s.Clock {
		return reading
	}
	return reading + s.Clocks[clock].ahead() - s.Clocks[s.Clock].ahead()
}

// keep drops the clocks that no worker uses. If that of the schedule is among them,
// the schedule moves to one that is used; no start time is granted twice by that.
func (s *Schedule) keep(used map[string]bool) {
	if len(used) == 0 {
		return // the next request still meets the start times that were granted
	}
	if !used[s.Clock] {
		next := sorted(used)[0]
		s.Last += s.Clocks[s.Clock].ahead() - s.Clocks[next].ahead()
		s.Clock, s.Free = next, nil
	}
	for _, clock := range sorted(s.Clocks) {
		if !used[clock] {
			delete(s.Clocks, clock)
		}
	}
}

// grant hands out up to most start times to one of several workers, for a request sent
// at a reading of a clock: from sent+travel+lead on, for a horizon, or one if the next
// comes later. They are given as durations since sent. What lies between them is left
// to the other workers, so that each of them has an even pace. askAfter is when the
// worker should ask again.
func (s *Schedule) grant(clock string, sent, travel, lead, horizon, every time.Duration, most, workers int) (starts []time.Duration, askAfter time.Duration) {
	base := s.on(clock, sent)
	earliest := base + travel + lead
	until := base + max(horizon, travel) + lead
	if every != s.Every {
		s.Every, s.Free = every, nil // they lie too close together, or too far apart
	}
	next := earliest // start times before it are left to others, while they can use them
	take := func(t time.Duration) bool {
		latest := until
		if len(starts) == 0 {
			latest = base + Lease - travel
		}
		// Workers ask every askEvery, all together: what comes sooner after earliest the
		// others may not be able to use any more.
		isOthers := t < next && t >= earliest+askEvery
		if len(starts) == most || t < earliest || t > latest || isOthers {
			return false
		}
		starts = append(starts, t-base)
		next = t + time.Duration(workers)*every - every/4
		return true
	}
	s.Free = slices.DeleteFunc(s.Free, func(t time.Duration) bool { return t < base || take(t) })
	for len(starts) < most {
		t := max(s.Last+every, earliest)
		if len(starts) > 0 && t > until || t > base+Lease-travel {
			break
		}
		s.Last = t
		if !take(t) {
			s.Free = append(s.Free, t)
		}
	}
	if len(starts) == 0 {
		return nil, s.Last + every - base - Lease/2 - lead
	}
	return starts, starts[len(starts)-1] - 2*travel - lead - askEvery
}
