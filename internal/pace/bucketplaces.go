package pace

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"
)

// bucketPlaces are places that are shared through a register in a bucket, which
// has how many each process holds. Within the process a place goes from hand to
// hand without a request.
//
// A process gives places up before that is written down, and uses those that it
// takes after it is. It shows that it lives with each version that it writes, and
// does not begin a call when it could not do so for a while.
//
// Where processes wait for places, those who have more than their share give the
// rest up as their calls end.
type bucketPlaces struct {
	register *register[placesSheet]
	me       string
	keeping

	mu       sync.Mutex
	watch    watch
	look     func() view
	places   int // that there are, when it was last looked at
	has      int // places, written down
	others   int // those of others, when they were last seen
	may      int // hold so many, as it was then
	inUse    int
	epoch    int // another one when the places were taken away
	waiting  []*placeWaiter
	came     bool // one who waits, since the register was looked at
	looked   time.Time
	shown    time.Time // no sooner than this it was written down that this process lives
	released time.Time
	yielded  time.Time // when the only place was left to another
	working  bool
	changed  chan struct{} // wakes the worker
}

// placesSheet is what the register has: processes by their name.
type placesSheet struct {
	Of map[string]holder `json:"of"`
}

// holder is what one process has.
type holder struct {
	Has   int    `json:"has"`
	Waits bool   `json:"waits,omitempty"` // for more
	Shown uint64 `json:"shown"`
}

type placeWaiter struct{ granted chan grant }

type grant struct {
	place *bucketPlace
	err   error
}

// bucketPlace is one place.
type bucketPlace struct {
	of    *bucketPlaces
	epoch int
}

// linger is how long a place that nobody of this process needs is kept for the
// next one.
const linger = poll

func newBucketPlaces(folder string) *bucketPlaces {
	b := &bucketPlaces{register: newRegister[placesSheet](folder), me: rand.Text(), changed: make(chan struct{}, 1)}
	b.keep(keeping{placeKept, placeAbandoned})
	return b
}

func (b *bucketPlaces) keep(k keeping) { b.keeping, b.watch.keeping = k, k }

func (b *bucketPlaces) take(ctx context.Context, look func() view) (place, error) {
	n := look().places()
	w := &placeWaiter{make(chan grant, 1)}
	b.mu.Lock()
	b.look, b.places = look, n
	b.waiting = append(b.waiting, w)
	b.came = true
	if b.isShown() {
		b.grant()
	}
	b.wake()
	b.mu.Unlock()
	for {
		var err error
		select {
		case g := <-w.granted:
			if g.err != nil {
				return nil, g.err
			}
			return g.place, nil
		case <-time.After(poll):
			if look().rest() == "" {
				continue
			}
			err = errAgain
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		b.leave(w)
		return nil, err
	}
}

// leave is for one who waits no more.
func (b *bucketPlaces) leave(w *placeWaiter) {
	b.mu.Lock()
	b.waiting = slices.DeleteFunc(b.waiting, func(other *placeWaiter) bool { return other == w })
	b.mu.Unlock()
	select {
	case g := <-w.granted:
		if g.err == nil {
			g.place.release()
		}
	default:
	}
}

// grant gives those who wait the places that are free.
func (b *bucketPlaces) grant() {
	for len(b.waiting) > 0 && b.inUse < min(b.has, b.may, b.places) {
		b.inUse++
		b.waiting[0].granted <- grant{place: &bucketPlace{b, b.epoch}}
		b.waiting = b.waiting[1:]
	}
}

// wake has the worker look at what has changed.
func (b *bucketPlaces) wake() {
	if !b.working {
		if b.has == 0 && len(b.waiting) == 0 {
			return
		}
		b.working = true
		go b.work()
	}
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

func (p *bucketPlace) release() {
	b := p.of
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.epoch != b.epoch {
		return // it was taken away
	}
	b.inUse--
	b.released = b.register.now()
	if b.isShown() {
		b.grant()
	}
	b.wake()
}

func (p *bucketPlace) surplus(n int) bool {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	return p.of.has+p.of.others > n
}

func (p *bucketPlace) sure() bool {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	return p.epoch == p.of.epoch && p.of.isShown()
}

// isShown says that nobody can have taken the places away.
func (b *bucketPlaces) isShown() bool { return b.register.elapsed(b.shown) < b.sure() }

// work keeps the register and this process in step, as long as there is something
// to hold or to wait for.
func (b *bucketPlaces) work() {
	for {
		b.mu.Lock()
		look := b.look
		b.mu.Unlock()
		n := look().places()
		err := b.sync(n)
		b.mu.Lock()
		b.places = n
		if err != nil {
			for _, w := range b.waiting {
				w.granted <- grant{err: err}
			}
			b.waiting = nil
		}
		b.grant()
		// What could not be given back will be taken away.
		if b.inUse == 0 && len(b.waiting) == 0 && (b.has == 0 || err != nil) {
			b.has, b.working = 0, false
			b.mu.Unlock()
			return
		}
		wait := b.due()
		b.mu.Unlock()
		for wait > 0 {
			select {
			case <-time.After(wait):
			case <-b.changed:
			}
			b.mu.Lock()
			wait = b.due()
			b.mu.Unlock()
		}
	}
}

// due is how long the register need not be looked at.
func (b *bucketPlaces) due() time.Duration {
	now := b.register.now()
	next := b.looked.Add(b.kept / 3)
	switch {
	case b.has > max(b.inUse, b.may), b.came && b.may > b.has:
		return 0
	case len(b.waiting) > 0:
		next = b.looked.Add(poll * 3 / 4)
	case b.has > b.inUse && b.released.Add(linger).Before(next):
		next = b.released.Add(linger)
	}
	return next.Sub(now)
}

// sync writes down what this process holds and wants, as far as there are places,
// and takes note of what the others do.
func (b *bucketPlaces) sync(n int) error {
	began := b.register.now()
	var has int
	var shows bool
	err := b.register.change(context.Background(), func(s *placesSheet, now time.Time) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if s.Of == nil {
			s.Of = map[string]holder{}
		}
		b.drop(s, now)
		mine, there := s.Of[b.me]
		if !there && b.has > 0 {
			b.epoch++
			b.has, b.inUse = 0, 0
		}
		b.came = false
		need := b.inUse + len(b.waiting)
		b.may = b.share(s, n, now)
		wanted := need
		if now.Sub(b.released) < linger {
			wanted = max(need, b.has)
		}
		has = max(b.inUse, min(wanted, b.may))
		if has == 0 && b.has > 0 && need > 0 {
			b.yielded = now
		}
		b.has = min(b.has, has) // what is given up is not used from now on
		waits := need > has
		shows = mine.Has != has || mine.Waits != waits || b.register.elapsed(b.shown) >= b.kept
		switch {
		case has == 0 && !waits:
			delete(s.Of, b.me)
		case shows:
			s.Of[b.me] = holder{has, waits, mine.Shown + 1}
		}
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looked = b.register.now()
	if err != nil {
		return err
	}
	if b.has = has; shows {
		b.shown = began
	}
	return nil
}

// drop removes who does not live any more.
func (b *bucketPlaces) drop(s *placesSheet, now time.Time) {
	shown := map[string]uint64{}
	for id, h := range s.Of {
		if id != b.me {
			shown[id] = h.Shown
		}
	}
	for _, id := range b.watch.look(shown, now) {
		delete(s.Of, id)
	}
}

// share is how many of n places this process may hold, beside the others.
func (b *bucketPlaces) share(s *placesSheet, n int, now time.Time) int {
	processes, waiting, without := 1, false, false
	b.others = 0
	for id, h := range s.Of {
		if id != b.me {
			processes++
			b.others += h.Has
			waiting = waiting || h.Waits
			without = without || h.Waits && h.Has == 0
		}
	}
	may := max(0, n-b.others)
	switch {
	case !waiting:
		return may
	case n < processes && without && (b.has > 0 || now.Sub(b.yielded) < 3*poll):
		return 0 // they take turns
	}
	return min(may, (n+processes-1)/processes)
}
