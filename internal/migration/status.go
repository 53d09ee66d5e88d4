package migration

import "time"

// RunStatus is the state of a run that is not over, as one worker process knows it, for
// metrics.
type RunStatus struct {
	Target string // the host
	Paused bool   // until it is resumed
	Round  int    // the last one that was begun
	// Unknown is how many records this process has left unknown that no later
	// round has decided; the first attempt at the oldest of them was at
	// UnknownSince. It starts from 0 when the process is restarted.
	Unknown      int
	UnknownSince time.Time
}
