package store

import (
	"context"
	"errors"
	"runtime"
)

// ErrEnough is what take gives where it needs no more things.
var ErrEnough = errors.New("enough")

// Ahead produces n things of a folder, several at a time, and takes them one by
// one in their order. The first error ends it.
func Ahead[T any](ctx context.Context, folder string, n int, produce func(ctx context.Context, i int) (T, error), take func(T) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type made struct {
		thing T
		err   error
	}
	// Each is given a channel, and the channels are in the queue in order: its
	// length bounds what is produced and not taken yet.
	width := 2 * runtime.GOMAXPROCS(0)
	if IsURL(folder) {
		width = 16 // most of the time is waiting
	}
	queue := make(chan chan made, width)
	go func() {
		defer close(queue)
		for i := range n {
			c := make(chan made, 1)
			select {
			case queue <- c:
			case <-ctx.Done():
				return
			}
			go func() {
				thing, err := produce(ctx, i)
				c <- made{thing, err}
			}()
		}
	}()
	for c := range queue {
		m := <-c
		if m.err != nil {
			return m.err
		}
		if err := take(m.thing); errors.Is(err, ErrEnough) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return ctx.Err()
}
