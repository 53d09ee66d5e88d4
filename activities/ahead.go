package activities

import (
	"context"
	"errors"
	"runtime"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

// errEnough is what take gives where it needs no more things.
var errEnough = errors.New("enough")

// ahead produces n things of a folder, several at a time, and takes them one by
// one in their order. The first error ends it.
func ahead[T any](ctx context.Context, of migration.Folder, n int, produce func(ctx context.Context, i int) (T, error), take func(T) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type made struct {
		thing T
		err   error
	}
	// Each is given a channel, and the channels are in the queue in order: its
	// length bounds what is produced and not taken yet.
	width := 2 * runtime.GOMAXPROCS(0)
	if store.IsURL(string(of)) {
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
		if err := take(m.thing); errors.Is(err, errEnough) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return ctx.Err()
}
