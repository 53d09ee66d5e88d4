package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

func TestForEachOrderedConsumesInOrder(t *testing.T) {
	const n = 100
	var got []int
	var atOnce, most atomic.Int64
	err := ForEachOrdered(t.Context(), "s3://bucket/folder", n, func(_ context.Context, i int) (int, error) {
		if now := atOnce.Add(1); now > most.Load() {
			most.Store(now)
		}
		defer atOnce.Add(-1)
		time.Sleep(time.Duration(i%3) * time.Millisecond)
		return i, nil
	}, func(i int) error { got = append(got, i); return nil })
	want := make([]int, n)
	for i := range want {
		want[i] = i
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want 0 to %d in order", got, err, n-1)
	}
	if most.Load() < 2 {
		t.Error("one at a time, want some at once")
	}
}

func TestForEachOrderedEndsEarly(t *testing.T) {
	for name, c := range map[string]struct{ produced, taken, want error }{
		"enough":        {nil, fmt.Errorf("no more: %w", ErrEnough), nil},
		"produce fails": {io.ErrUnexpectedEOF, nil, io.ErrUnexpectedEOF},
		"consume fails": {nil, io.ErrShortWrite, io.ErrShortWrite},
		"canceled":      {nil, nil, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			taken := 0
			err := ForEachOrdered(ctx, t.TempDir(), 1000, func(_ context.Context, i int) (int, error) {
				if i == 5 {
					return i, c.produced
				}
				return i, nil
			}, func(i int) error {
				taken++
				if i != 5 {
					return nil
				}
				if name == "canceled" {
					cancel()
				}
				return c.taken
			})
			if !errors.Is(err, c.want) || c.want == nil && err != nil || taken > 500 {
				t.Errorf("%v after %d, want %v after a few", err, taken, c.want)
			}
		})
	}
}
