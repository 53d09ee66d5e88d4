package gate

import (
	"time"

	"durable-dataload/internal/evidence"
)

// Clock is a monotonic clock, which also runs while the process is stopped and
// while the machine sleeps.
type Clock interface {
	// ID tells clocks apart: workers whose clocks have one ID read the same clock.
	ID() string
	Now() time.Duration
}

// MachineClock is that of this machine since its boot.
func MachineClock() Clock { return machineClock{evidence.ThisClock()} }

type machineClock struct{ id string }

func (c machineClock) ID() string         { return c.id }
func (c machineClock) Now() time.Duration { return sinceBoot() }
