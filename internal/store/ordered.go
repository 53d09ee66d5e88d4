package store

import (
	"context"
	"errors"
	"runtime"
)

// ErrEnough is what consume returns to end ForEachOrdered early, without an error.
var ErrEnough = errors.New("enough")

// Readers is how many reads of a folder are worth having in flight: in a bucket most of the
// time is spent waiting.
func Readers(folder string) int {
	if IsURL(folder) {
		return 16
	}
	return 2 * runtime.GOMAXPROCS(0)
}

// ForEachOrdered produces n values from a folder, several at a time (see Readers), and
// consumes them one by one in their order. The first error ends it.
func ForEachOrdered[T any](ctx context.Context, folder string, n int, produce func(ctx context.Context, i int) (T, error), consume func(T) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		value T
		err   error
	}
	// Each value has a channel, and the channels are in the queue in order: its length
	// bounds the values that are produced and not yet consumed.
	queue := make(chan chan result, Readers(folder))
	go func() {
		defer close(queue)
		for i := range n {
			c := make(chan result, 1)
			select {
			case queue <- c:
			case <-ctx.Done():
				return
			}
			go func() {
				value, err := produce(ctx, i)
				c <- result{value, err}
			}()
		}
	}()
	for c := range queue {
		r := <-c
		if r.err != nil {
			return r.err
		}
		if err := consume(r.value); errors.Is(err, ErrEnough) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return ctx.Err()
}
