package engine

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"log/slog"

	"durable-dataload/internal/gate"
	"durable-dataload/internal/limiter"
	"durable-dataload/workflows"
)

func TestScratchLimiter(t *testing.T) {
	dir, _ := os.MkdirTemp("/dev/shm", "lim")
	defer os.RemoveAll(dir)
	e := start(t, dir)
	options, _ := e.Address().ClientOptions()
	options.Logger = log.NewStructuredLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	c, err := client.Dial(options)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := workflows.NewLimiterWorker(c, Namespace)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	asker := &workflows.LimiterClient{Client: c, ID: "limiter-test", Target: "http://x"}
	var took []time.Duration
	for i := range 50 {
		begun := time.Now()
		if _, err := asker.Ask(t.Context(), limiter.Request{Worker: "w", Seq: int64(i + 1), Clock: "c", Sent: time.Duration(begun.UnixNano()), Needs: []limiter.Need{{Run: "r", Limits: limiter.Limits{Rate: 20, Workers: 5}, Ready: 2}}}); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	fmt.Println("ask alone: median", took[25], "p90", took[45], "max", took[49])
	for _, rate := range []float64{4, 20, 100} {
		for _, workers := range []int{1, 3} {
			asker := &workflows.LimiterClient{Client: c, ID: fmt.Sprintf("limiter-%v-%d", rate, workers), Target: "http://x"}
			ctx, stop := context.WithCancel(t.Context())
			var mu sync.Mutex
			var began []time.Time
			var all sync.WaitGroup
			var clients []*gate.Client
			for range workers {
				cl := gate.NewClient(asker, gate.MachineClock())
				clients = append(clients, cl)
				g := cl.Gate("run", limiter.Limits{Rate: rate, Workers: 10}, nil, nil)
				for range 20 {
					all.Go(func() {
						for ctx.Err() == nil {
							s, err := g.Enter(ctx)
							if err != nil {
								return
							}
							time.Sleep(3 * time.Millisecond)
							if s.AwaitStart(ctx, ctx, nil) == nil {
								mu.Lock()
								began = append(began, time.Now())
								mu.Unlock()
								time.Sleep(20 * time.Millisecond)
								g.Ended(ctx, gate.Report{})
							}
							s.Release()
						}
					})
				}
			}
			time.Sleep(3 * time.Second)
			from := time.Now()
			time.Sleep(15 * time.Second)
			until := time.Now()
			stop()
			all.Wait()
			for _, cl := range clients {
				cl.Close(t.Context())
			}
			slices.SortFunc(began, time.Time.Compare)
			used, most := 0, 0
			for i, b := range began {
				if b.After(from) && b.Before(until) {
					used++
				}
				n := 0
				for _, o := range began[i:] {
					if o.Sub(b) <= time.Second {
						n++
					}
				}
				most = max(most, n)
			}
			fmt.Printf("%v/s, %d workers: used %.1f %%, most in a second %d\n", rate, workers, float64(used)/rate/15*100, most)
		}
	}
}
