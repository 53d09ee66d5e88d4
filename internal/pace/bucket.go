package pace

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"durable-dataload/internal/private"
)

// bucketTarget is a target that is shared through a register in a bucket.
//
// A request to it takes long, compared to what is allowed for a call to be late.
// So start times are given out well before they come: in time for the version
// that gives them out to be written, and for what their callers do then. How long
// both take is measured.
type bucketTarget struct {
	register *register[targetSheet]
	writes   usual

	mu    sync.Mutex
	watch watch // of the one who probes
}

// targetSheet is what the register has.
type targetSheet struct {
	Last   int64  `json:"last,omitempty"` // the start time given out last, in nanoseconds since 1970
	State  shared `json:"state"`
	Prober prober `json:"prober,omitzero"`
}

// prober is who has the right to probe.
type prober struct {
	ID    string `json:"id"`
	Shown uint64 `json:"shown"`
}

func newBucketTarget(folder string) *bucketTarget {
	b := &bucketTarget{register: newRegister[targetSheet](folder)}
	b.watch.keeping = keeping{placeKept, placeAbandoned}
	b.writes.add(lead) // nothing is measured yet
	return b
}

func (*bucketTarget) far() bool { return true }

// ahead is how long before it a start time is given out at least, and at most.
func (b *bucketTarget) ahead(interval, prepare time.Duration) (least, most time.Duration) {
	if interval == 0 {
		return 0, longestLead // a probe, which does not wait for it
	}
	least = min((b.writes.most()+prepare)*5/4, longestLead*3/4)
	return least, min(2*least+lead, longestLead)
}

func (b *bucketTarget) nextStart(ctx context.Context, interval, prepare time.Duration) (time.Time, bool, error) {
	least, most := b.ahead(interval, prepare)
	next := func(t *targetSheet, now time.Time) time.Time {
		now = now.Round(0) // that of the wall
		return after(time.Unix(0, t.Last), interval, now, now.Add(least))
	}
	// Without a request, as long as others can only have made it later.
	last, now := b.register.last(), b.register.now()
	if start := next(&last.value, now); start.After(now.Add(most)) {
		return start.Add(-most), false, nil
	}
	var given struct {
		start time.Time
		taken bool
		at    time.Time
	}
	err := b.register.change(ctx, func(t *targetSheet, now time.Time) {
		given.at, given.start = now, next(t, now)
		if given.taken = !given.start.After(now.Add(most)); given.taken {
			t.Last = given.start.UnixNano()
		}
	})
	if err != nil {
		return time.Time{}, false, fmt.Errorf("cannot keep the rate limit: %w", err)
	}
	if !given.taken {
		return given.start.Add(-most), false, nil
	}
	b.writes.add(b.register.now().Sub(given.at))
	return given.start, true, nil
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
	r := &probing{target: b, id: rand.Text(), left: make(chan struct{})}
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
		return nil, private.ErrLocked
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
