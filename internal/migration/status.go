package migration

import "time"

// Standing is how a run stands that is not over, as one worker process sees it,
// for metrics.
type Standing struct {
	Target string // the host
	Paused bool   // until somebody resumes it
	Round  int    // the last one that was begun
	// Unknown is how many records this process has left unknown that no later
	// round has decided; the first attempt at the oldest of them was at
	// UnknownSince. A process that begins anew does not know of those before.
	Unknown      int
	UnknownSince time.Time
}
