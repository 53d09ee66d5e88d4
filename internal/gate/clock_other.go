//go:build !linux

package gate

import "time"

// begun is read once: clocks of two processes cannot be compared here, and so a
// process has a clock of its own.
var begun = time.Now()

func sinceBoot() time.Duration { return time.Since(begun) }
