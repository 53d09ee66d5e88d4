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

// Order changes what holds, and says how long it takes until every call keeps to it.
func (l *Local) Order(_ context.Context, _ string, o limiter.Order) (holds time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	return l.state.Order(now, o).Sub(now), nil
}
