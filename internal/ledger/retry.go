package ledger

import (
	"bytes"
	"context"
	"errors"
	"time"
)

// AnswerBudget is how long the answer to a call waits for a full disk or an
// unavailable bucket. It is the only retry of such a write: the store's own
// request (half a minute at most in a bucket) ends inside it or is the last one.
const AnswerBudget = time.Minute

// The pauses between the attempts: the first, doubling, up to the longest.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = 10 * time.Second
)

// retrying is a Store whose Create is for answers. A call is made once, so its answer
// cannot be obtained again: losing it makes known records unknown.
type retrying struct{ Store }

// Create implements Store. It retries after any error except ErrExists, until the
// value is written, ctx ends, or AnswerBudget is used up; then it returns the last
// error of the store.
func (p retrying) Create(ctx context.Context, name string, value []byte) error {
	deadline := time.Now().Add(AnswerBudget)
	err := p.Store.Create(ctx, name, value)
	for pause := firstPause; err != nil && !errors.Is(err, ErrExists); pause = min(2*pause, longestPause) {
		if ctx.Err() != nil || time.Now().Add(pause).After(deadline) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
		if err = p.Store.Create(ctx, name, value); errors.Is(err, ErrExists) {
			// An attempt that returned an error may have written the value nevertheless.
			if held, getErr := p.Get(ctx, name); getErr == nil && bytes.Equal(held, value) {
				return nil
			}
		}
	}
	return err
}
