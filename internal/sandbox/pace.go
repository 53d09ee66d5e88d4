package sandbox

import (
	"sync"
	"time"
)

// pace is the limit on calls a second. It refuses a call that would make more than the limit within any one second.
//
// Calls that are spaced exactly may arrive a little closer together than they were sent, so the second is taken five
// percent short. Refused calls do not count.
type pace struct {
	window time.Duration

	mu    sync.Mutex
	taken []time.Time // when the last calls were let through, a ring
	next  int         // the oldest of them
}

// newPace makes a limit of so many calls a second; nil, which allows all, for 0. A limit below one a second allows
// one call in a window that is longer accordingly.
func newPace(limit float64) *pace {
	if limit == 0 {
		return nil
	}
	calls := max(1, int(limit))
	second := float64(calls) / limit
	return &pace{window: time.Duration(second * 0.95 * float64(time.Second)), taken: make([]time.Time, calls)}
}

func (p *pace) allow(now time.Time) bool {
	if p == nil {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.taken[p.next]) < p.window {
		return false
	}
	p.taken[p.next] = now
	p.next = (p.next + 1) % len(p.taken)
	return true
}
