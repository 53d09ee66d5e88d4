// Package gate lets calls into a target begin, by leases that a limiter grants (see
// internal/limiter). A Client asks for all runs of a process that call one target; a
// Gate is the part of it that is for one run.
//
// No call begins after the lease that allowed it: a lease counts from the sending of
// the request, by the monotonic clock of this machine, which also passes while the
// process is stopped or the machine sleeps (see clock). A process that is cut off
// from its limiter makes no more calls within limiter.Lease.
package gate

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"sync"
	"time"
	"weak"

	"durable-dataload/internal/limiter"
)

// Asker takes requests to the limiter of a target. Repeated with the same request it
// gives the same answer.
type Asker interface {
	Ask(context.Context, limiter.Request) (limiter.Answer, error)
}

// Client asks for leases. It is safe for concurrent use.
type Client struct {
	asker Asker
	clock Clock
	id    string
	wake  chan struct{} // has room for one
	done  chan struct{}
	stop  context.CancelFunc

	mu     sync.Mutex
	gates  map[string]weak.Pointer[Gate] // by run; a process may work for any number of runs, one after the other
	seq    int64
	asked  time.Duration // when the last request was sent
	travel time.Duration // of a request at most, lately
	// reports are what calls came to since the last request that was answered.
	reports []report
	begun   []time.Duration // when the calls of the last ten seconds began
	urgent  bool            // they change what all workers may do
	telling bool            // the request that is not answered yet has such reports
	heard   chan struct{}   // closed at the next answer
	// distrusted is the last request whose answer allows no call: see distrust.
	distrusted int64
}

type report struct {
	limiter.Report
	sent time.Duration // of the call
}

// NewClient makes a client; Close ends it. process names this process, for people and
// for the process that finds it dead.
func NewClient(asker Asker, clock Clock, process string) *Client {
	ctx, stop := context.WithCancel(context.Background())
	c := &Client{asker: asker, clock: clock, id: WorkersOf(process) + rand.Text()[:8], gates: map[string]weak.Pointer[Gate]{},
		wake: make(chan struct{}, 1), heard: make(chan struct{}), done: make(chan struct{}), stop: stop, travel: firstTravel}
	go c.run(ctx)
	return c
}

// WorkersOf is how the names of all workers of a process begin.
func WorkersOf(process string) string { return process + "/" }

const (
	// firstTravel is how long a request takes before one was measured.
	firstTravel = 50 * time.Millisecond
	// longestTravel is the longest that one is waited for before it is repeated.
	longestTravel = limiter.Lease
	// askEvery is the least between two requests of a client.
	askEvery = 50 * time.Millisecond
	// renewAfter is when a lease is renewed under which calls are in flight.
	renewAfter = limiter.Lease / 2
)

// run asks whenever there is something to ask for, one request at a time.
func (c *Client) run(ctx context.Context) {
	defer close(c.done)
	for {
		wait, ask := c.due()
		if ask {
			c.ask(ctx)
			if ctx.Err() != nil {
				return
			}
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-c.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// nudge lets run look again at whether to ask.
func (c *Client) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// live gives the gates that something refers to. The caller holds c.mu.
func (c *Client) live(yield func(*Gate) bool) {
	for _, p := range c.gates {
		if g := p.Value(); g != nil && !yield(g) {
			return
		}
	}
}

// due says whether a request is to be sent now, or how long run may wait.
func (c *Client) due() (wait time.Duration, ask bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	next := time.Duration(1<<62 - 1)
	if c.urgent {
		next = c.asked
	}
	if len(c.reports) > 0 {
		next = min(next, c.asked+renewAfter)
	}
	for g := range c.live {
		next = min(next, g.nextAsk(now, c.travel))
	}
	next = max(next, c.asked+askEvery)
	return min(next-now, time.Minute), next <= now
}

// ask sends one request, and repeats it until it is answered or the lease that it
// could give is over: then the next one asks again.
func (c *Client) ask(ctx context.Context) {
	r, reports := c.request()
	asking, done := context.WithTimeout(ctx, longestTravel)
	answer, err := c.asker.Ask(asking, r)
	done()
	c.mu.Lock()
	defer c.mu.Unlock()
	took := c.clock.Now() - r.Sent
	close(c.heard)
	c.heard = make(chan struct{})
	if err != nil || answer.Stale {
		// The reports go with the next request. The limiter may have taken them
		// already: a report that counts twice lowers the pace once, since it tells
		// when its call was sent.
		c.reports = append(reports, c.reports...)
		c.urgent, c.telling = c.urgent || c.telling, false
		return
	}
	c.telling = false
	if r.Seq <= c.distrusted {
		answer.Lease = 0
	}
	c.travel = max(min(took, longestTravel), c.travel-c.travel/16)
	for _, grant := range answer.Grants {
		if g := c.gates[grant.Run].Value(); g != nil {
			g.take(r.Sent, answer.Lease, grant)
		}
	}
}

func (c *Client) request() (limiter.Request, []report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	c.asked = c.clock.Now()
	r := limiter.Request{Worker: c.id, Seq: c.seq, Clock: c.clock.ID(), Sent: c.asked, Travel: min(c.travel*5/4, limiter.Lease/2)}
	for _, run := range slices.Sorted(maps.Keys(c.gates)) {
		reports := slices.ContainsFunc(c.reports, func(r report) bool { return r.Run == run })
		if g := c.gates[run].Value(); g != nil && (reports || g.isActive()) {
			r.Needs = append(r.Needs, g.need())
		}
	}
	for _, told := range c.reports {
		told.Ago = max(0, c.asked-told.sent)
		r.Reports = append(r.Reports, told.Report)
	}
	reports := c.reports
	c.reports, c.telling, c.urgent = nil, c.urgent, false
	return r, reports
}

// Close gives everything back that the limiter granted. It does not wait for calls
// in flight: their slots are given up.
func (c *Client) Close(ctx context.Context) {
	c.stop()
	<-c.done
	r, _ := c.request()
	r.Leaving = true
	_, _ = c.asker.Ask(ctx, r) // else the lease ends by itself
}
