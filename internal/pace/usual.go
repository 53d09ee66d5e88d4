package pace

import (
	"sync"
	"time"
)

// usual is how long something takes at the most, as a rule. It grows at once and
// shrinks slowly, so that what is planned with it is seldom late. The zero value
// knows nothing yet.
type usual struct {
	mu   sync.Mutex
	took time.Duration
}

// longestLead is the longest before a start time that it is given out.
const longestLead = 2 * time.Second

func (u *usual) add(took time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.took = max(min(took, longestLead), u.took-(u.took-took)/16)
}

func (u *usual) most() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.took
}
