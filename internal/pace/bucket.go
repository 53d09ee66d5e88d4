package pace

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"durable-dataload/internal/durablefs"
)

// bucketTarget is a target that is shared through a register in a bucket.
//
// A request to it takes long, compared to what is allowed for a call to be late.
// So start times are given out well before they come: in time for the version
// that gives them out to be written, and for what their callers do then. How long
// both take is measured. One version gives out as many as are wanted, up to a
// horizon, which all processes have in common: who looks further ahead than the
// others would get all of them.
type bucketTarget struct {
	register *register[targetSheet]
	writes   usual

	mu      sync.Mutex
	watch   watch // of the one who probes
	waiting []*startWaiter
	working bool
	came    chan struct{} // wakes the worker
	prepare time.Duration // what callers need, as the last one said
}

// startWaiter is a caller that waits for a start time.
type startWaiter struct {
	interval time.Duration
	answer   chan startAnswer
}

type startAnswer struct {
	given
	err error
}

// targetSheet is what the register has.
type targetSheet struct {
	Last int64 `json:"last,omitempty"` // the start time given out last, in nanoseconds since 1970
	// Ahead is the horizon in nanoseconds: how long before it comes a start time is
	// given out at the most.
	Ahead  int64  `json:"ahead,omitempty"`
	State  shared `json:"state"`
	Prober prober `json:"prober,omitzero"`
}

// prober is who has the right to probe.
type prober struct {
	ID    string `json:"id"`
	Shown uint64 `json:"shown"`
}

func newBucketTarget(folder string) *bucketTarget {
	b := &bucketTarget{register: newRegister[targetSheet](folder), came: make(chan struct{}, 1)}
	b.watch.keeping = keeping{placeKept, placeAbandoned}
	b.writes.add(lead) // nothing is measured yet
	return b
}

func (*bucketTarget) far() bool { return true }

func (b *bucketTarget) wait(ctx context.Context, interval func() (time.Duration, error), prepare time.Duration) (given, error) {
	each, err := interval()
	if each == 0 || err != nil {
		return given{}, err
	}
	w := &startWaiter{each, make(chan startAnswer, 1)}
	b.mu.Lock()
	b.prepare = prepare
	b.enqueue(w)
	b.mu.Unlock()
	for {
		select {
		case a := <-w.answer:
			if a.err != nil || time.Since(a.start) <= tolerance(a.interval) {
				return a.given, a.err
			}
			b.mu.Lock()
			b.enqueue(w)
			b.mu.Unlock()
			continue
		case <-time.After(poll):
			if each, err = interval(); each > 0 && err == nil {
				b.mu.Lock()
				w.interval = each
				b.mu.Unlock()
				continue
			}
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		// A start time that comes now is lost.
		b.mu.Lock()
		b.waiting = slices.DeleteFunc(b.waiting, func(other *startWaiter) bool { return other == w })
		b.mu.Unlock()
		return given{}, err
	}
}

func (b *bucketTarget) enqueue(w *startWaiter) {
	b.waiting = append(b.waiting, w)
	if !b.working {
		b.working = true
		go b.work()
	}
	select {
	case b.came <- struct{}{}:
	default:
	}
}

// work gives start times to those who wait, until nobody does.
func (b *bucketTarget) work() {
	early := rand.Float64()
	for {
		b.mu.Lock()
		if len(b.waiting) == 0 {
			b.working = false
			b.mu.Unlock()
			return
		}
		waiting := slices.Clone(b.waiting)
		intervals := make([]time.Duration, len(waiting))
		for i, w := range waiting {
			intervals[i] = w.interval
		}
		least, most := b.ahead()
		b.mu.Unlock()
		// Not as soon as there is one, so that there are some at once; and each
		// process at another moment. As long as others can only have made it later
		// it takes no request to know.
		last, now := b.register.last(), b.register.now()
		most = max(most, last.value.horizon())
		margin := time.Duration(float64(most-least) * (1 + early) / 3)
		if wait := last.value.next(intervals[0], least, now).Sub(now.Add(most - margin)); wait > 0 {
			select {
			case <-time.After(wait):
			case <-b.came:
			}
			continue
		}
		starts, err := b.giveOut(intervals, least, most)
		early = rand.Float64()
		b.mu.Lock()
		for i, w := range waiting {
			a := startAnswer{err: err}
			if err == nil {
				if i == len(starts) {
					break
				}
				a.given = given{starts[i], intervals[i], time.Now()}
			}
			b.waiting = slices.DeleteFunc(b.waiting, func(other *startWaiter) bool { return other == w })
			w.answer <- a
		}
		b.mu.Unlock()
	}
}

// ahead is how long before it a start time is given out at least, and at most.
func (b *bucketTarget) ahead() (least, most time.Duration) {
	write := b.writes.most()
	least = min(write+b.prepare, longestLead*3/4)
	return least, min(least+2*write+lead, longestLead)
}

// giveOut gives out a start time for each interval, as far as they are near.
func (b *bucketTarget) giveOut(intervals []time.Duration, least, most time.Duration) (starts []time.Time, err error) {
	var began time.Time
	err = b.register.change(context.Background(), func(t *targetSheet, now time.Time) {
		starts, began = nil, now
		for _, interval := range intervals {
			start := t.next(interval, least, now)
			if start.After(now.Add(most)) {
				break
			}
			starts = append(starts, start)
			t.Last = start.UnixNano()
		}
		if len(starts) > 0 {
			t.Ahead = int64(max(most, t.horizon()-(t.horizon()-most)/16))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("cannot keep the rate limit: %w", err)
	}
	if len(starts) > 0 {
		b.writes.add(b.register.now().Sub(began))
	}
	return starts, nil
}

// next is the start time after the last one, and not sooner than least.
func (t *targetSheet) next(interval, least time.Duration, now time.Time) time.Time {
	now = now.Round(0) // that of the wall
	return after(time.Unix(0, t.Last), interval, now, now.Add(least))
}

func (t *targetSheet) horizon() time.Duration { return min(time.Duration(t.Ahead), longestLead) }

func (b *bucketTarget) passes(ctx context.Context) error {
	err := b.register.change(ctx, func(t *targetSheet, now time.Time) { t.Last = t.next(0, 0, now).UnixNano() })
	if err != nil {
		return fmt.Errorf("cannot keep the rate limit: %w", err)
	}
	return nil
}

func (b *bucketTarget) read(since time.Time) (shared, error) {
	v, err := b.register.read(context.Background(), since)
	return v.State.orNone(b.register.now()), err
}

func (b *bucketTarget) change(change func(s *shared, now time.Time) []Event) (events []Event, err error) {
	err = b.register.change(context.Background(), func(t *targetSheet, now time.Time) {
		t.State = t.State.orNone(now)
		events = change(&t.State, now)
	})
	return events, err
}

func (b *bucketTarget) tryProbe() (right, error) {
	r := &probing{target: b, id: crand.Text(), left: make(chan struct{})}
	var taken bool
	err := b.register.change(context.Background(), func(t *targetSheet, now time.Time) {
		taken = t.Prober.ID == "" || b.isAbandoned(t.Prober, now)
		if taken {
			t.Prober = prober{ID: r.id}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("cannot keep the state of the target: %w", err)
	}
	if !taken {
		return nil, durablefs.ErrLocked
	}
	go r.keep()
	return r, nil
}

func (b *bucketTarget) isAbandoned(p prober, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.watch.look(map[string]uint64{p.ID: p.Shown}, now)) > 0
}

// probing is the right to probe, of one who shows that it lives.
type probing struct {
	target *bucketTarget
	id     string
	left   chan struct{}
}

func (r *probing) keep() {
	ticker := time.NewTicker(r.target.watch.kept)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			r.mine(func(p *prober) { p.Shown++ })
		case <-r.left:
			r.mine(func(p *prober) { *p = prober{} })
			return
		}
	}
}

// mine changes it, if it was not taken away. Where that fails it will be.
func (r *probing) mine(change func(*prober)) {
	_ = r.target.register.change(context.Background(), func(t *targetSheet, _ time.Time) {
		if t.Prober.ID == r.id {
			change(&t.Prober)
		}
	})
}

func (r *probing) release() { close(r.left) }
