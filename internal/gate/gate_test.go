package gate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"durable-dataload/internal/limiter"
)

// far is a limiter that is asked over a network.
type far struct {
	Local
	away  func() bool
	asked atomic.Int64
}

func (f *far) requests() int { return int(f.asked.Load()) }

func (f *far) Ask(ctx context.Context, r limiter.Request) (limiter.Answer, error) {
	f.asked.Add(1)
	time.Sleep(time.Duration(5+rand.N(20)) * time.Millisecond)
	if f.away != nil && f.away() {
		<-ctx.Done()
		return limiter.Answer{}, ctx.Err()
	}
	answer, err := f.Local.Ask(ctx, r)
	time.Sleep(time.Duration(5+rand.N(20)) * time.Millisecond)
	return answer, err
}

// bubbleClock is one clock for all workers of a test.
type bubbleClock struct{ begun time.Time }

func (bubbleClock) ID() string           { return "boot" }
func (c bubbleClock) Now() time.Duration { return time.Since(c.begun) }

// calls keeps when calls began.
type calls struct {
	mu    sync.Mutex
	began []time.Time
}

func (c *calls) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.began = append(c.began, time.Now())
}

func (c *calls) since(t time.Time) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.began {
		if !b.Before(t) {
			n++
		}
	}
	return n
}

// most is the most calls in any second.
func (c *calls) most() (most int) {
	slices.SortFunc(c.began, time.Time.Compare)
	for i, from := range c.began {
		n := 0
		for _, t := range c.began[i:] {
			if t.Sub(from) <= time.Second {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// load makes calls through a gate until ctx ends, by so many callers.
func load(ctx context.Context, g *Gate, callers int, c *calls, took time.Duration) *sync.WaitGroup {
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for ctx.Err() == nil {
				slot, err := g.Enter(ctx)
				if err != nil {
					return
				}
				time.Sleep(time.Duration(rand.N(10)) * time.Millisecond) // it is claimed
				if slot.AwaitStart(ctx, ctx, nil) == nil {
					c.begin()
					time.Sleep(took)
					g.Ended(ctx, Report{Ago: took})
				}
				slot.Release()
			}
		})
	}
	return &all
}

// crowd is workers that share one clock and one limiter, each with callers of its own.
type crowd struct {
	calls
	asker   *far
	ctx     context.Context
	stop    context.CancelFunc
	clock   bubbleClock
	clients []*Client
	loads   []*sync.WaitGroup
}

func newCrowd(t *testing.T) *crowd {
	c := &crowd{asker: &far{}, clock: bubbleClock{time.Now()}}
	c.ctx, c.stop = context.WithCancel(t.Context())
	return c
}

// join adds a worker.
func (c *crowd) join(limits limiter.Limits, callers int, took time.Duration) {
	client := NewClient(c.asker, c.clock, "process")
	c.clients = append(c.clients, client)
	c.loads = append(c.loads, load(c.ctx, client.Gate("run", limits, nil, nil), callers, &c.calls, took))
}

// leave ends all of them.
func (c *crowd) leave() {
	c.stop()
	for _, l := range c.loads {
		l.Wait()
	}
	for _, client := range c.clients {
		client.Close(context.Background())
	}
}

func TestTheLimitIsKeptAndUsed(t *testing.T) {
	for _, rate := range []float64{4, 20, 100} {
		for _, workers := range []int{1, 3} {
			t.Run(fmt.Sprintf("%v/s, %d workers", rate, workers), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCrowd(t)
					for range workers {
						c.join(limiter.Limits{Rate: rate, Workers: 10}, 20, 20*time.Millisecond)
					}
					time.Sleep(2 * time.Second)
					from := time.Now()
					const steady = 30
					time.Sleep(steady * time.Second)
					used := c.since(from)
					c.leave()
					if most, wanted := c.most(), int(rate)+1; most > wanted {
						t.Errorf("%d calls within a second; expected %d at most", most, wanted)
					}
					if share := float64(used) / (rate * steady); share < 0.985 {
						t.Errorf("%d calls in %d s: %.1f %% of the limit; expected 99 %%", used, steady, share*100)
					}
				})
			})
		}
	}
}

// Without a limit of the rate it costs one request a second and worker, and all slots are
// used.
func TestWithoutALimitTheLimiterIsAskedOnceASecond(t *testing.T) {
	for _, workers := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t)
			for range workers {
				c.join(limiter.Limits{Workers: 10}, 40/workers, 100*time.Millisecond)
			}
			time.Sleep(5 * time.Second)
			from, before := time.Now(), c.asker.requests()
			const steady = 20
			time.Sleep(steady * time.Second)
			asked, used := c.asker.requests()-before, c.since(from)
			c.leave()
			if most := workers * (steady + 1); asked > most {
				t.Errorf("%d workers asked %d times in %d s, want %d at most", workers, asked, steady, most)
			}
			// Each call takes 100 ms, and its claim up to 10 ms.
			const least = 98 * 10 * steady * 1000 / 100 / 110
			if used < least {
				t.Errorf("%d workers made %d calls in %d s with 10 slots, want %d or more", workers, used, steady, least)
			}
		})
	}
}

func TestNoCallBeginsOnceAPauseHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asker := &far{}
		client := NewClient(asker, bubbleClock{time.Now()}, "process")
		ctx, stop := context.WithCancel(t.Context())
		var c calls
		all := load(ctx, client.Gate("run", limiter.Limits{Workers: 5}, nil, nil), 10, &c, 50*time.Millisecond)
		time.Sleep(5 * time.Second)
		if c.since(time.Now().Add(-time.Second)) == 0 {
			t.Fatal("no calls in the last second")
		}
		holds, _ := asker.Order(t.Context(), "", limiter.Order{Run: "run", Pause: "paused"})
		if holds > 2*time.Second {
			t.Errorf("the pause holds in %v; expected 2 s at most", holds)
		}
		time.Sleep(holds)
		from := time.Now()
		time.Sleep(10 * time.Second)
		if n := c.since(from); n > 0 {
			t.Errorf("%d calls began after the pause held", n)
		}
		_, _ = asker.Order(t.Context(), "", limiter.Order{Run: "run", Resume: true})
		from = time.Now()
		time.Sleep(2 * time.Second)
		if c.since(from) == 0 {
			t.Error("no calls within two seconds after it was resumed")
		}
		stop()
		all.Wait()
		client.Close(t.Context())
	})
}

// When the target answers again, a probe lets one call through. Not in a pause.
func TestNoCallTriesTheTargetInAPause(t *testing.T) {
	for after := time.Duration(0); after < 8*time.Second; after += 300 * time.Millisecond { // since it was down
		for _, probing := range []time.Duration{0, 700 * time.Millisecond, 5 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				asker, clock := &far{}, bubbleClock{time.Now()}
				ctx, stop := context.WithCancel(t.Context())
				up := time.Now().Add(after)
				var c calls
				var all sync.WaitGroup
				var clients []*Client
				for range 2 {
					client := NewClient(asker, clock, "process")
					clients = append(clients, client)
					g := client.Gate("run", limiter.Limits{Rate: 50, Workers: 4, Breaker: 3}, func(context.Context) error {
						time.Sleep(probing)
						return nil
					}, nil)
					for range 4 {
						all.Go(func() {
							for ctx.Err() == nil {
								slot, err := g.Enter(ctx)
								if err != nil {
									return
								}
								time.Sleep(30 * time.Millisecond) // it is claimed
								if slot.AwaitStart(ctx, ctx, nil) == nil {
									c.begin()
									g.Ended(ctx, Report{Unknown: time.Now().Before(up)})
								}
								slot.Release()
							}
						})
					}
				}
				time.Sleep(after)
				holds, _ := asker.Order(t.Context(), "", limiter.Order{Run: "run", Pause: "paused"})
				time.Sleep(holds)
				from := time.Now()
				time.Sleep(20 * time.Second)
				if n := c.since(from); n > 0 {
					t.Errorf("paused after %v, and a probe takes %v: %d calls began after the pause held", after, probing, n)
				}
				_, _ = asker.Order(t.Context(), "", limiter.Order{Run: "run", Resume: true})
				from = time.Now()
				time.Sleep(2*probing + 5*time.Second)
				if c.since(from) == 0 {
					t.Errorf("paused after %v, and a probe takes %v: no calls after it was resumed", after, probing)
				}
				stop()
				all.Wait()
				for _, client := range clients {
					client.Close(t.Context())
				}
			})
		}
	}
}

func TestAWorkerWithoutItsLimiterMakesNoCallAfterItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away bool
		var mu sync.Mutex
		asker := &far{away: func() bool { mu.Lock(); defer mu.Unlock(); return away }}
		client := NewClient(asker, bubbleClock{time.Now()}, "process")
		ctx, stop := context.WithCancel(t.Context())
		var c calls
		all := load(ctx, client.Gate("run", limiter.Limits{Rate: 20, Workers: 5}, nil, nil), 10, &c, 50*time.Millisecond)
		time.Sleep(3 * time.Second)
		mu.Lock()
		away = true
		mu.Unlock()
		time.Sleep(limiter.Lease)
		from := time.Now()
		time.Sleep(time.Minute)
		if n := c.since(from); n > 0 {
			t.Errorf("%d calls began after the lease", n)
		}
		mu.Lock()
		away = false
		mu.Unlock()
		from = time.Now()
		time.Sleep(5 * time.Second)
		if c.since(from) < 40 {
			t.Errorf("%d calls in five seconds after the limiter answered again", c.since(from))
		}
		stop()
		all.Wait()
		client.Close(t.Context())
	})
}

func TestAnOutageCostsTheCallsInFlightAndTheProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asker, clock := &far{}, bubbleClock{time.Now()}
		ctx, stop := context.WithCancel(t.Context())
		down := time.Now().Add(5 * time.Second)
		up := down.Add(time.Minute)
		isDown := func() bool { now := time.Now(); return now.After(down) && now.Before(up) }
		var mu sync.Mutex
		failed, probes, served := 0, 0, 0
		probe := func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			probes++
			if isDown() {
				return errors.New("no answer")
			}
			return nil
		}
		var all sync.WaitGroup
		var clients []*Client
		for range 3 {
			client := NewClient(asker, clock, "process")
			clients = append(clients, client)
			g := client.Gate("run", limiter.Limits{Rate: 100, Workers: 10, Breaker: 5}, probe, nil)
			for range 10 {
				all.Go(func() {
					for ctx.Err() == nil {
						slot, err := g.Enter(ctx)
						if err != nil {
							return
						}
						if slot.AwaitStart(ctx, ctx, nil) == nil {
							r := Report{Ago: 20 * time.Millisecond}
							time.Sleep(20 * time.Millisecond)
							mu.Lock()
							if isDown() {
								failed++
								r.Unknown, r.Reason = true, "http 502"
							} else if time.Now().After(up) {
								served++
							}
							mu.Unlock()
							g.Ended(ctx, r)
						}
						slot.Release()
					}
				})
			}
		}
		time.Sleep(time.Until(up))
		mu.Lock()
		if failed > 30 || failed < 5 {
			t.Errorf("%d calls were made into the outage; expected 5 to 30", failed)
		}
		if probes < 3 || probes > 12 {
			t.Errorf("%d probes in a minute; expected 3 to 12", probes)
		}
		mu.Unlock()
		time.Sleep(2 * time.Minute)
		stop()
		all.Wait()
		for _, client := range clients {
			client.Close(t.Context())
		}
		if served < 1000 {
			t.Errorf("%d calls in two minutes after the outage", served)
		}
	})
}

// Calls that are claimed, and have missed their start, go on when their worker's share of
// the slots shrinks below them.
func TestClaimedCallsGoOnWithFewerSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		for range 3 {
			c.join(limiter.Limits{Rate: 50, Workers: 12}, 20, 20*time.Millisecond)
			time.Sleep(3 * time.Second) // the first has all slots by then
		}
		for _, slots := range []int{3, 1, 12} {
			_, _ = c.asker.Order(t.Context(), "", limiter.Order{Run: "run", Limits: &limiter.Limits{Rate: 50, Workers: slots}})
			time.Sleep(5 * time.Second)
			from := time.Now()
			time.Sleep(5 * time.Second)
			if c.since(from) == 0 {
				t.Fatalf("no call in five seconds with %d slots", slots)
			}
		}
		c.leave()
	})
}

// A claimed call that misses its start time when its worker stops is made all the same,
// unless the gate is closed.
func TestAClaimedCallIsMadeWhenItsWorkerStops(t *testing.T) {
	for _, closed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			asker := &far{}
			client := NewClient(asker, bubbleClock{time.Now()}, "process")
			g := client.Gate("run", limiter.Limits{Rate: 4, Workers: 2}, nil, nil)
			waiting, stop := context.WithCancel(t.Context())
			slot, err := g.Enter(waiting)
			if err != nil {
				t.Fatal(err)
			}
			if closed {
				_, _ = asker.Order(t.Context(), "", limiter.Order{Run: "run", Pause: "paused"})
			}
			time.Sleep(3 * time.Second) // it claims; the start time passes, and the lease ends
			time.AfterFunc(time.Second, stop)
			if !closed {
				stop()
			}
			began := time.Now()
			err = slot.AwaitStart(t.Context(), waiting, nil)
			if closed && (!errors.Is(err, context.Canceled) || time.Since(began) != time.Second) || !closed && err != nil {
				t.Errorf("closed: %t; after %v: %v", closed, time.Since(began), err)
			}
			slot.Release()
			client.Close(t.Context())
		})
	}
}

// A call that waits alone uses the first start time that it is granted.
func TestOneCallerUsesEachStartTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := NewClient(&far{}, bubbleClock{time.Now()}, "process")
		g := client.Gate("run", limiter.Limits{Rate: 2, Workers: 4}, nil, nil)
		begun := time.Now()
		const callers = 10
		for range callers {
			slot, err := g.Enter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := slot.AwaitStart(t.Context(), t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			g.Ended(t.Context(), Report{})
			slot.Release()
		}
		if took := time.Since(begun); took > (callers+1)*time.Second/2 {
			t.Errorf("%d calls took %v at 2 a second", callers, took)
		}
		client.Close(t.Context())
	})
}

// Without a limit of the rate, the pace is lowered to half of what was called lately, also
// when the target objects to the first calls after a pause.
func TestALoweredPaceIsHalfOfWhatWasCalledLately(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := NewClient(&far{}, bubbleClock{time.Now()}, "process")
		g := client.Gate("run", limiter.Limits{Workers: 10}, nil, nil)
		ctx, stop := context.WithCancel(t.Context())
		var c calls
		all := load(ctx, g, 20, &c, 20*time.Millisecond)
		time.Sleep(400 * time.Millisecond)
		stop()
		all.Wait()
		called := float64(len(c.began)) / 0.4
		g.Ended(t.Context(), Report{Busy: true, Reason: "http 429"})
		g.Flush(t.Context())
		if got := g.State().Allowed; got < called/4 || got > called {
			t.Errorf("%.1f calls a second are allowed after %.1f; want about half", got, called)
		}
		client.Close(t.Context())
	})
}

// A slot serves a second call at once only where nothing has to be waited for.
func TestASlotServesTheNextCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := &far{}
		client := NewClient(local, bubbleClock{time.Now()}, "process")
		defer client.Close(t.Context())
		call := func(s *Slot) {
			t.Helper()
			if err := s.AwaitStart(t.Context(), t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			s.gate.Ended(t.Context(), Report{})
		}
		enter := func(g *Gate) *Slot {
			t.Helper()
			s, err := g.Enter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			call(s)
			return s
		}
		g := client.Gate("run", limiter.Limits{Workers: 2}, nil, nil)
		s := enter(g)
		for range 5 {
			if !s.Again() {
				t.Fatal("the slot was not kept, and nothing limits the calls")
			}
			call(s)
		}
		if g.held != 1 || g.calling != 1 {
			t.Errorf("%d slots are held and %d calls in flight, want one", g.held, g.calling)
		}
		for name, o := range map[string]limiter.Order{
			"a limit of the rate": {Number: 1, Limits: &limiter.Limits{Rate: 5, Workers: 2}},
			"a pause":             {Number: 2, Limits: &limiter.Limits{Workers: 2}, Pause: "lunch"},
		} {
			o.Run = name
			limited := client.Gate(name, limiter.Limits{Workers: 2}, nil, nil)
			slot := enter(limited)
			_, _ = local.Order(t.Context(), "", o)
			time.Sleep(2 * limiter.Lease)
			if slot.Again() {
				t.Errorf("%s: the slot was kept for a call at once", name)
			}
			slot.Release()
		}
		s.Release()
		if s.Again() || g.held != 0 || g.calling != 0 {
			t.Errorf("%d slots are held and %d calls in flight after the release, want none", g.held, g.calling)
		}
	})
}

// A call may take several requests, as one that reads before it changes: they keep to the pace, and to one slot.
func TestACallOfSeveralRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := NewClient(&far{}, bubbleClock{time.Now()}, "process")
		g := client.Gate("run", limiter.Limits{Rate: 2, Workers: 1}, nil, nil)
		var c calls
		begun := time.Now()
		const each, callers = 3, 5
		for range callers {
			slot, err := g.Enter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ctx := WithSlot(t.Context(), t.Context(), slot, nil)
			for range each {
				release, err := g.BeforeCall(ctx)
				if err != nil {
					t.Fatal(err)
				}
				c.begin()
				if state := g.need(); state.InFlight != 1 || state.Slots != 1 {
					t.Fatalf("%d requests are in flight with %d slots, want one of each", state.InFlight, state.Slots)
				}
				time.Sleep(time.Millisecond)
				g.Ended(ctx, Report{})
				release()
			}
			slot.Release()
		}
		if most := c.most(); most > 3 {
			t.Errorf("%d requests began within a second, at 2 a second", most)
		}
		if took := time.Since(begun); took > (each*callers+2)*time.Second/2 {
			t.Errorf("%d requests took %v at 2 a second", each*callers, took)
		}
		client.Close(t.Context())
	})
}

// A worker process may serve thousands of runs, and a gate keeps the target of its run.
func TestTheGateOfARunThatIsOverIsForgotten(t *testing.T) {
	c := NewClient(&Local{}, bubbleClock{time.Now()}, "process")
	defer c.Close(context.Background())
	kept := c.Gate("kept", limiter.Limits{Workers: 1}, nil, nil)
	slot, err := kept.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		c.Gate(fmt.Sprint("run ", n), limiter.Limits{Workers: 1}, nil, func(limiter.Change) {})
	}
	left := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.gates)
	}
	for range 1000 {
		if runtime.GC(); left() == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if n := left(); n != 1 || c.Gate("kept", limiter.Limits{}, nil, nil) != kept {
		t.Errorf("%d gates are left, want that of the run with a slot", n)
	}
	slot.Release()
}
