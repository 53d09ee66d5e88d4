package pace

import (
	"context"
	"time"
)

// target is what the processes that call one target share: the start times, the
// state, and the right to probe.
type target interface {
	// wait waits for a start time: an interval after the one before, not in the
	// past, and nobody else gets it. It asks for the interval again and again, and
	// ends without a start time if that is 0 or an error. A caller needs prepare
	// between the answer and its call.
	wait(ctx context.Context, interval func() (time.Duration, error), prepare time.Duration) (given, error)
	// passes takes note of a call that is made now, without a start time.
	passes(ctx context.Context) error
	// read gives the state, as it is, or was at since or later.
	read(since time.Time) (shared, error)
	// change changes the state for all processes. The function may be called more
	// than once, each time with another state; the last call counts.
	change(func(s *shared, now time.Time) []Event) ([]Event, error)
	// tryProbe gives the right to probe. It is durablefs.ErrLocked while another has
	// it. Who dies, or is stopped, loses it.
	tryProbe() (right, error)
	// far says that each of these takes a request or two over a network: they are
	// combined, and made before their time.
	far() bool
}

// given is a start time that was given out.
type given struct {
	start    time.Time     // zero: without a limit
	interval time.Duration // that it was given out with
	at       time.Time     // when it was
}

// places are those for calls in flight, of all processes of a migration.
type places interface {
	// take waits for a place. It gives errAgain when look says that nobody may call.
	take(ctx context.Context, look func() view) (place, error)
	// close gives back those that nobody uses any more, and waits until that is
	// known to the others.
	close(ctx context.Context)
}

// right is something that one has at a time.
type right interface{ release() }

// place is one for a call in flight.
type place interface {
	right
	// surplus says that there are fewer places than are taken now that there are
	// n, and that this is one to give back.
	surplus(n int) bool
	// sure says that nobody else can have the place by now.
	sure() bool
}
