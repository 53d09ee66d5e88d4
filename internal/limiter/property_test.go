package limiter

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world is a simulation of workers that share one clock and ask one limiter. Time
// passes in steps; messages travel for as long as the test draws.
type world struct {
	t       *rapid.T
	now     time.Duration // on the clock of the workers
	skew    time.Duration // the limiter's clock is ahead by this
	state   State
	limits  Limits
	workers map[string]*simulated
	inbox   []message
	calls   []call
	paused  []pause
}

type simulated struct {
	id       string
	seq      int64
	sent     time.Duration
	waiting  bool // for an answer
	lease    time.Duration
	starts   []time.Duration
	slots    int
	inFlight []time.Duration // when each ends
	ready    int
	asleep   time.Duration // until then it does nothing
	last     *Request
	travel   time.Duration
}

type message struct {
	at      time.Duration
	request *Request
	answer  *Answer
	to      string
}

type call struct{ at, end time.Duration }

// pause is a time in which no call may begin.
type pause struct{ from, until time.Duration }

func (w *world) limiterTime() time.Time { return time.Unix(1_800_000_000, 0).Add(w.now + w.skew) }

func (w *world) step(d time.Duration) {
	w.now += d
	for {
		i := slices.IndexFunc(w.inbox, func(m message) bool { return m.at <= w.now })
		if i < 0 {
			break
		}
		m := w.inbox[i]
		w.inbox = slices.Delete(w.inbox, i, i+1)
		w.deliver(m)
	}
	for _, id := range slices.Sorted(maps.Keys(w.workers)) {
		w.work(w.workers[id])
	}
}

func (w *world) deliver(m message) {
	switch {
	case m.request != nil:
		answer := w.state.Ask(w.limiterTime(), *m.request)
		w.inbox = append(w.inbox, message{at: w.now + w.travel(), answer: &answer, to: m.to})
	case m.answer != nil:
		s := w.workers[m.to]
		if s == nil || m.answer.Stale || !s.waiting {
			return
		}
		s.waiting, s.lease = false, s.sent+m.answer.Lease
		s.travel = max(s.travel*9/10, w.now-s.sent)
		for _, g := range m.answer.Grants {
			s.slots = g.Slots
			if g.State.Closed != "" {
				s.starts, s.slots = nil, 0
			}
			for _, start := range g.Starts {
				s.starts = append(s.starts, s.sent+start)
			}
			slices.Sort(s.starts)
		}
	}
}

func (w *world) travel() time.Duration {
	return time.Duration(rapid.IntRange(1, 60).Draw(w.t, "travel")) * time.Millisecond
}

// work lets a worker do what it may: begin the calls whose start time has come, and
// ask again when it has none left.
func (w *world) work(s *simulated) {
	if w.now < s.asleep {
		return
	}
	s.inFlight = slices.DeleteFunc(s.inFlight, func(end time.Duration) bool { return end <= w.now })
	for len(s.starts) > 0 && s.starts[0] <= w.now {
		start := s.starts[0]
		s.starts = s.starts[1:]
		if w.now-start <= 5*time.Millisecond && w.now < s.lease && len(s.inFlight) < s.slots {
			end := w.now + 20*time.Millisecond
			s.inFlight = append(s.inFlight, end)
			w.calls = append(w.calls, call{w.now, end})
		}
	}
	if !s.waiting && (len(s.starts) == 0 || s.starts[len(s.starts)-1]-w.now < 2*s.travel+20*time.Millisecond) && w.now-s.sent >= 50*time.Millisecond {
		w.ask(s)
	}
}

func (w *world) ask(s *simulated) {
	s.seq++
	s.sent, s.waiting = w.now, true
	s.last = &Request{Worker: s.id, Seq: s.seq, Clock: "boot", Sent: w.now + 40*time.Hour, Travel: min(s.travel, time.Second),
		Needs: []Need{{Run: "run", Limits: w.limits, InFlight: len(s.inFlight), Slots: len(s.inFlight) + s.ready, Ready: s.ready}}}
	w.inbox = append(w.inbox, message{at: w.now + w.travel(), request: s.last, to: s.id})
}

// TestNoSecondSeesMoreThanTheLimit: any interleaving of lease, expiry, repeat, kill,
// sleep and continue-as-new keeps the limit on one clock, and nearly all of it is
// used while there is work.
func TestNoSecondSeesMoreThanTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.SampledFrom([]float64{2, 4, 20, 100}).Draw(t, "rate")
		w := &world{t: t, limits: Limits{Rate: rate, Workers: rapid.SampledFrom([]int{3, 30}).Draw(t, "slots")}, workers: map[string]*simulated{},
			skew: time.Duration(rapid.IntRange(-1000, 1000).Draw(t, "skew")) * time.Millisecond}
		n := rapid.IntRange(1, 4).Draw(t, "workers")
		for i := range n {
			id := fmt.Sprint("worker-", i)
			w.workers[id] = &simulated{id: id, ready: rapid.IntRange(1, 20).Draw(t, "ready"), sent: -time.Second}
		}
		disturbed := rapid.Bool().Draw(t, "disturbed")
		for range 8000 {
			w.step(time.Millisecond)
			if disturbed && rapid.IntRange(0, 199).Draw(t, "event") == 0 {
				w.disturb()
			}
		}
		w.check(rate)
		most := 0
		for _, s := range w.workers {
			most += s.ready
		}
		most = min(most, w.limits.Workers*2)
		// A worker with few calls ready cannot use more than it asks for.
		steady := len(w.calls) - 1
		if wanted := 7 * rate / margin * 0.98; !disturbed && most >= int(rate/4)+2 && float64(steady) < wanted {
			t.Fatalf("%d calls in 8 s at %v/s with %d workers and %d calls ready; expected %.0f at least", len(w.calls), rate, n, most, wanted)
		}
	})
}

func (w *world) disturb() {
	id := rapid.SampledFrom(slices.Sorted(maps.Keys(w.workers))).Draw(w.t, "whom")
	s := w.workers[id]
	switch rapid.SampledFrom([]string{"kill", "sleep", "repeat", "continue", "pause", "resume"}).Draw(w.t, "what") {
	case "kill":
		*s = simulated{id: s.id + "'", ready: s.ready, sent: w.now}
		delete(w.workers, id)
		w.workers[s.id] = s
		w.inbox = slices.DeleteFunc(w.inbox, func(m message) bool { return m.to == id && m.answer != nil })
	case "sleep":
		s.asleep = w.now + time.Duration(rapid.IntRange(1, 4000).Draw(w.t, "ms"))*time.Millisecond
	case "repeat":
		if s.last != nil {
			w.inbox = append(w.inbox, message{at: w.now + w.travel(), request: s.last, to: s.id})
		}
	case "pause":
		if holds := w.state.Order(w.limiterTime(), Order{Run: "run", Pause: "paused"}); w.until() != 0 {
			from := w.now + holds.Sub(w.limiterTime())
			if from > w.now+Lease {
				w.t.Fatalf("a pause holds after %v; expected %v at most", from-w.now, Lease)
			}
			w.paused = append(w.paused, pause{from: from})
		}
	case "resume":
		w.state.Order(w.limiterTime(), Order{Run: "run", Resume: true})
		if w.until() == 0 {
			w.paused[len(w.paused)-1].until = w.now
		}
	case "continue":
		data, err := json.Marshal(w.state)
		if err != nil {
			w.t.Fatal(err)
		}
		w.state = State{}
		if err := json.Unmarshal(data, &w.state); err != nil {
			w.t.Fatal(err)
		}
	}
}

// until is when the last pause ended, 0 if it has not.
func (w *world) until() time.Duration {
	if len(w.paused) == 0 {
		return -1
	}
	return w.paused[len(w.paused)-1].until
}

func (w *world) check(rate float64) {
	for i, c := range w.calls {
		for _, p := range w.paused {
			if c.at > p.from && (p.until == 0 || c.at < p.until) {
				w.t.Fatalf("a call at %v; paused from %v until %v", c.at, p.from, p.until)
			}
		}
		inFlight := 0
		for _, other := range w.calls[max(0, i-100) : i+1] {
			if other.end > c.at {
				inFlight++
			}
		}
		if inFlight > w.limits.Workers {
			w.t.Fatalf("%d calls in flight at %v; expected %d at most", inFlight, c.at, w.limits.Workers)
		}
	}
	most := int(rate) + 1 // the fence post
	for i, c := range w.calls {
		n := 0
		for _, other := range w.calls[i:] {
			if other.at-c.at <= time.Second {
				n++
			}
		}
		if n > most {
			w.t.Fatalf("%d calls within a second from %v on; expected %d at most", n, c.at, most)
		}
	}
}
