// Package pace holds the limits of a target: how many calls a second, and how
// many at once, over all worker processes that share a state folder.
//
// The limits live in files with locks of the operating system, so they hold
// over restarts as well: a killed process gives its place free at once, and the
// start times that were given out stay given out. A process that is stopped, or
// whose machine sleeps, loses its places after a while.
package pace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"durable-dataload/internal/private"
)

// Gate lets calls through. It is safe for concurrent use; every worker process
// has its own Gate on the same files.
type Gate struct {
	slotFile string        // the start time that was given out last, for all migrations into the target
	folder   string        // the places for calls in flight, a locked file each
	places   int           // calls in flight at most
	interval time.Duration // between two starts; 0 = no limit

	local chan struct{} // the places, as far as this process may use them
	queue chan struct{} // one caller of this process at a time waits for a start time
}

// New makes a gate for at most perSecond calls a second (0 = no limit) into
// the target whose start times are kept in slotFile, and at most places calls
// in flight, kept in folder.
func New(slotFile, folder string, perSecond float64, places int) (*Gate, error) {
	for _, dir := range []string{filepath.Dir(slotFile), folder} {
		if err := private.MkdirAll(dir); err != nil {
			return nil, err
		}
	}
	g := &Gate{slotFile: slotFile, folder: folder, places: places, local: make(chan struct{}, places), queue: make(chan struct{}, 1)}
	if perSecond > 0 {
		g.interval = time.Duration(margin * float64(time.Second) / perSecond)
	}
	return g, nil
}

const (
	// margin keeps any second, wherever it begins, from seeing one call more
	// than it may when a call is some milliseconds late and the one a second
	// after it is not. It costs less than one call in a hundred.
	margin = 1.008

	// lead is how long before its start time a turn is given: for what a caller
	// has to write down before it calls.
	lead = 50 * time.Millisecond
)

// Turn is the permission to make one call now.
type Turn struct {
	gate  *Gate
	place *private.Lock
	start time.Time
	left  chan struct{} // closed by Leave
}

// Enter waits for a place and, up to a moment, for a start time. The caller
// prepares its call, waits for the moment itself with Fresh, makes the call at
// once, and then calls Leave.
func (g *Gate) Enter(ctx context.Context) (*Turn, error) {
	select {
	case g.local <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	place, err := g.takePlace(ctx)
	if err != nil {
		<-g.local
		return nil, err
	}
	t := &Turn{gate: g, place: place, left: make(chan struct{})}
	go t.keep()
	if err := t.wait(ctx); err != nil {
		t.Leave()
		return nil, err
	}
	return t, nil
}

// Fresh waits for the start time itself, and for another one if that has gone
// stale since Enter. A call that starts late would come together with those
// that start in time.
func (t *Turn) Fresh(ctx context.Context) error {
	for t.gate.interval > 0 {
		if err := sleepUntil(ctx, t.start); err != nil {
			return err
		}
		if time.Since(t.start) <= t.gate.tolerance() {
			return nil
		}
		if err := t.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Leave gives the place free, after the call.
func (t *Turn) Leave() {
	close(t.left)
	t.place.Unlock()
	<-t.gate.local
}

// tolerance is how late a call may start, so that no second holds one call more
// than it may. Where a start time is rare, a machine that is busy for a moment
// must not lose it.
func (g *Gate) tolerance() time.Duration {
	if g.interval > 4*time.Second {
		return g.interval / 4
	}
	return min(g.interval/4, 10*time.Millisecond)
}

func (t *Turn) wait(ctx context.Context) error {
	g := t.gate
	if g.interval == 0 {
		return ctx.Err()
	}
	// One at a time, so that a process that dies has few start times given out
	// that nobody uses.
	select {
	case g.queue <- struct{}{}:
		defer func() { <-g.queue }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		start, err := g.nextStart(ctx)
		if err != nil {
			return err
		}
		if err := sleepUntil(ctx, start.Add(-lead)); err != nil {
			return err
		}
		if time.Since(start) <= g.tolerance() {
			t.start = start
			return nil
		}
	}
}

// nextStart gives out the next start time of the target: an interval after the
// one before, and not in the past.
func (g *Gate) nextStart(ctx context.Context) (time.Time, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	lock, err := private.TakeLock(g.slotFile)
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot keep the rate limit: %w", err)
	}
	defer lock.Unlock()
	var stored [8]byte
	start := time.Now()
	if n, _ := lock.File().ReadAt(stored[:], 0); n == len(stored) {
		last := time.Unix(0, int64(binary.LittleEndian.Uint64(stored[:])))
		// A time far ahead was written under another clock.
		if next := last.Add(g.interval); next.After(start) && next.Before(start.Add(10*g.interval+time.Minute)) {
			start = next
		}
	}
	binary.LittleEndian.PutUint64(stored[:], uint64(start.UnixNano()))
	if _, err := lock.File().WriteAt(stored[:], 0); err != nil {
		return time.Time{}, fmt.Errorf("cannot keep the rate limit: %w", err)
	}
	return start, nil
}

// takePlace takes one of the places that all processes share.
func (g *Gate) takePlace(ctx context.Context) (*private.Lock, error) {
	for {
		for i := range g.places {
			path := filepath.Join(g.folder, fmt.Sprintf("place-%d", i))
			place, err := g.tryPlace(path)
			if err == nil {
				return place, nil
			}
			if !errors.Is(err, private.ErrLocked) {
				return nil, err
			}
			g.takeAway(path)
		}
		// Another process has the rest: it will not tell us when it is done.
		if err := sleepUntil(ctx, time.Now().Add(20*time.Millisecond)); err != nil {
			return nil, err
		}
	}
}

const (
	// Who has a place shows it this often, by the time of its file.
	placeKept = 3 * time.Second
	// Of whom it was not seen for so long, the place is taken away: that one is
	// stopped, and the others need not wait. A call that it had made may still
	// be in flight then, at the most.
	placeAbandoned = 15 * time.Second
)

func (g *Gate) tryPlace(path string) (*private.Lock, error) {
	place, err := private.TryLock(path)
	if err != nil {
		return nil, err
	}
	err = touch(place.File())
	if err == nil && !isAt(place.File(), path) {
		err = private.ErrLocked // it was taken away from the one before just now
	}
	if err != nil {
		place.Unlock()
		return nil, err
	}
	return place, nil
}

// takeAway frees a place whose holder does not show itself. The holder keeps
// the file that it has locked, and the name is free for another.
func (g *Gate) takeAway(path string) {
	if !isAbandoned(path) {
		return
	}
	one, err := private.TryLock(filepath.Join(g.folder, "taking-away"))
	if err != nil {
		return // another does it
	}
	defer one.Unlock()
	// Who has locked it just now has not shown itself yet.
	time.Sleep(50 * time.Millisecond)
	if isAbandoned(path) {
		_ = os.Remove(path)
	}
}

func isAbandoned(path string) bool {
	info, err := os.Stat(path)
	return err == nil && time.Since(info.ModTime()) > placeAbandoned
}

func isAt(f *os.File, path string) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(held, there)
}

// touch sets the time of a file to now.
func touch(f *os.File) error {
	_, err := f.WriteAt([]byte{'.'}, 0)
	return err
}

// keep shows that the turn lives, until it is left.
func (t *Turn) keep() {
	ticker := time.NewTicker(placeKept)
	defer ticker.Stop()
	for {
		select {
		case <-t.left:
			return
		case <-ticker.C:
			_ = touch(t.place.File())
		}
	}
}

func sleepUntil(ctx context.Context, t time.Time) error {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type turnKey struct{}

type entered struct {
	turn *Turn
	last func() error
}

// WithTurn gives a call made under ctx the turn that its caller has entered
// for it already. last is asked after all waiting, just before the call: if it
// gives an error, the call is not made.
func WithTurn(ctx context.Context, t *Turn, last func() error) context.Context {
	return context.WithValue(ctx, turnKey{}, entered{t, last})
}

// BeforeCall is the hook of a client that makes a call: it waits for a turn,
// and gives the function that ends it. Under WithTurn the caller has entered
// and leaves by itself; then only the start time is made sure of, and last is
// asked.
func (g *Gate) BeforeCall(ctx context.Context) (release func(), err error) {
	if e, ok := ctx.Value(turnKey{}).(entered); ok {
		if err := e.turn.Fresh(ctx); err != nil {
			return nil, err
		}
		return nil, e.last()
	}
	turn, err := g.Enter(ctx)
	if err != nil {
		return nil, err
	}
	if err := turn.Fresh(ctx); err != nil {
		turn.Leave()
		return nil, err
	}
	return turn.Leave, nil
}
