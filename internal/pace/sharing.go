package pace

import (
	"context"
	"time"
)

// target is what the processes that call one target share: the start times, the
// state, and the right to probe.
type target interface {
	// nextStart gives the next start time: an interval after the one before, not
	// in the past, and nobody else gets it. If that is too far ahead to be given
	// out, taken is false, and start is when to ask again. A caller needs prepare
	// between the answer and its call.
	nextStart(ctx context.Context, interval, prepare time.Duration) (start time.Time, taken bool, err error)
	// read gives the state, as it is or was after since.
	read(since time.Time) (shared, error)
	// change changes the state for all processes. The function may be called more
	// than once, each time with another state; the last call counts.
	change(func(s *shared, now time.Time) []Event) ([]Event, error)
	// tryProbe gives the right to probe. It is private.ErrLocked while another has
	// it. Who dies, or is stopped, loses it.
	tryProbe() (right, error)
	// far says that each of these takes a request or two over a network: they are
	// combined, and made before their time.
	far() bool
}

// places are those for calls in flight, of all processes of a migration.
type places interface {
	// take waits for a place. It gives errAgain when look says that nobody may call.
	take(ctx context.Context, look func() view) (place, error)
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
