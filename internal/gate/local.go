package gate

import (
	"context"
	"sync"
	"time"

	"durable-dataload/internal/limiter"
)

// Local is the limiter of a command that calls a target without a Temporal service: its
// limits hold in this process.
type Local struct {
	mu    sync.Mutex
	state limiter.State
}

// Ask answers at once.
func (l *Local) Ask(_ context.Context, r limiter.Request) (limiter.Answer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.Ask(time.Now(), r), nil
}

// Order changes what holds, and gives the moment from which on every call keeps to it.
func (l *Local) Order(o limiter.Order) (holds time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.Order(time.Now(), o)
}
