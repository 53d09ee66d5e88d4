package pace

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"durable-dataload/internal/store"

	_ "gocloud.dev/blob/memblob"
)

// bucket is a folder in a bucket, for one test.
func bucket() string { return "mem://pace/" + crand.Text() }

// slow makes each request of a register take so long, and counts it.
func slow(r *requests, from, to time.Duration, counted *[4]atomic.Int64) {
	was := *r
	wait := func(kind int) {
		counted[kind].Add(1)
		if to > 0 {
			time.Sleep(from + rand.N(to-from+1))
		}
	}
	r.read = func(name string) ([]byte, error) { wait(0); return was.read(name) }
	r.create = func(name string, data []byte) error { wait(1); return was.create(name, data) }
	r.list = func(folder string) ([]string, error) { wait(2); return was.list(folder) }
	r.remove = func(name string) error { wait(3); return was.remove(name) }
}

func slowed(g *Gate, from, to time.Duration, counted *[4]atomic.Int64) {
	slow(&g.target.(*bucketTarget).register.bucket, from, to, counted)
	slow(&g.places.(*bucketPlaces).register.bucket, from, to, counted)
}

type counting struct {
	target
	taken, asked atomic.Int64
}

func (c *counting) wait(ctx context.Context, interval func() (time.Duration, error), prepare time.Duration) (given, error) {
	g, err := c.target.wait(ctx, interval, prepare)
	c.asked.Add(1)
	if err == nil {
		c.taken.Add(1)
	}
	return g, err
}

func counts(c *[4]atomic.Int64) string {
	return fmt.Sprintf("%d reads, %d creations, %d lists, %d removals", c[0].Load(), c[1].Load(), c[2].Load(), c[3].Load())
}

func TestMeasure(t *testing.T) {
	for _, c := range []struct {
		rate       float64
		gates      int
		callers    int
		places     int
		from, to   time.Duration
		prep, call time.Duration
	}{
		{0, 1, 10, 10, 0, 0, 0, 0},
		{0, 1, 10, 10, 30 * time.Millisecond, 30 * time.Millisecond, 0, 0},
		{0, 2, 10, 10, 30 * time.Millisecond, 30 * time.Millisecond, 0, 0},
		{0, 2, 10, 10, 30 * time.Millisecond, 30 * time.Millisecond, 30 * time.Millisecond, 200 * time.Millisecond},
		{4, 2, 10, 10, 30 * time.Millisecond, 80 * time.Millisecond, 60 * time.Millisecond, 200 * time.Millisecond},
		{10, 2, 10, 10, 30 * time.Millisecond, 80 * time.Millisecond, 60 * time.Millisecond, 200 * time.Millisecond},
		{50, 2, 20, 40, 30 * time.Millisecond, 80 * time.Millisecond, 60 * time.Millisecond, 200 * time.Millisecond},
		{10, 4, 10, 20, 30 * time.Millisecond, 80 * time.Millisecond, 60 * time.Millisecond, 200 * time.Millisecond},
	} {
		func() {
			dir := bucket()
			var counted [4]atomic.Int64
			var mu sync.Mutex
			var starts []time.Time
			per := make([]int, c.gates)
			end := time.Now().Add(6 * time.Second)
			ctx, cancel := context.WithDeadline(t.Context(), end)
			defer cancel()
			var all sync.WaitGroup
			for n := range c.gates {
				g := newGate(t, dir, c.rate, c.places)
				slowed(g, c.from, c.to, &counted)
				ct := &counting{target: g.target}
				g.target = ct
				defer func() {
					b := ct.target.(*bucketTarget)
					l, m := b.ahead()
					t.Logf("gate %d: %d taken, %d asked, write %v prepare %v look %v least %v most %v", n, ct.taken.Load(), ct.asked.Load(), b.writes.most(), g.prepares.most(), g.looks.most(), l, m)
				}()
				for range c.callers {
					all.Go(func() {
						for time.Now().Before(end) {
							turn, err := g.Enter(ctx)
							if err != nil {
								return
							}
							time.Sleep(c.prep)
							if err := turn.Fresh(t.Context(), t.Context()); err != nil {
								t.Error(err)
								return
							}
							now := time.Now()
							if now.After(end) {
								turn.Leave()
								return
							}
							mu.Lock()
							starts = append(starts, now)
							per[n]++
							mu.Unlock()
							sent := time.Now()
							time.Sleep(c.call)
							if err := g.Ended(t.Context(), Outcome{Sent: sent, Ended: time.Now()}); err != nil {
								t.Error(err)
							}
							turn.Leave()
						}
					})
				}
			}
			all.Wait()
			slices.SortFunc(starts, time.Time.Compare)
			most := 0
			for i := range starts {
				k := 0
				for _, s := range starts[i:] {
					if s.Sub(starts[i]) < time.Second {
						k++
					} else {
						break
					}
				}
				most = max(most, k)
			}
			took := starts[len(starts)-1].Sub(starts[0])
			t.Logf("%+v: %.1f/s %v, first after %v, most in a second %d; %s, %.1f a call", c, float64(len(starts)-1)/took.Seconds(), per, starts[0].Sub(end.Add(-6*time.Second)), most, counts(&counted), float64(counted[0].Load()+counted[1].Load())/float64(len(starts)))
		}()
	}
	_ = strings.Join
	_ = store.Join
}
