// Package limiter decides when calls into a target may begin: the start times, the
// slots for calls in flight, the lowered pace, the breaker and the pauses that all
// workers, rounds and migrations into one target share. It has no clock, no I/O and
// no goroutines: a workflow calls it with its time, one request after the other, so
// it decides the same when it is replayed.
//
// A worker asks for a lease (Request), and gets start times and slots for two
// seconds at most (Answer). Times in a lease count from the sending of the request,
// by the worker's own monotonic clock; the limiter counts a lease from the moment
// at which it answered, which is later. So a lease has ended for its worker before
// it ends for the limiter, whatever the clocks show and however long messages
// travel.
package limiter

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"durable-dataload/internal/figures"
)

// Lease is the longest for which a worker may begin calls by one answer.
const Lease = 2 * time.Second

// State is all that the limiter of a target knows. It is plain data: the next run
// of the workflow continues with it.
type State struct {
	Schedule Schedule           `json:"schedule,omitzero"`
	Workers  map[string]*Worker `json:"workers,omitempty"`
	Runs     map[string]*Run    `json:"runs,omitempty"`
	Health   Health             `json:"health,omitzero"`
	Paused   string             `json:"paused,omitempty"`  // for all runs, with the text for people
	Changes  []Change           `json:"changes,omitempty"` // the last, the newest at the end
	Changed  int64              `json:"changed,omitempty"` // number of the last change
}

// Worker is a process that asks for leases.
type Worker struct {
	Seq    int64           `json:"seq"`
	Answer Answer          `json:"answer"` // to Seq
	Clock  string          `json:"clock"`
	Until  time.Time       `json:"until"` // its lease has ended by then
	Slots  map[string]int  `json:"slots,omitempty"`
	Wants  map[string]bool `json:"wants,omitempty"` // calls wait in it
}

// Run is what the limiter knows of a run of a migration, rollback or verification.
type Run struct {
	Limits  Limits    `json:"limits"`
	Ordered bool      `json:"ordered,omitempty"` // by people: they hold whatever the command line says
	Number  int64     `json:"number,omitempty"`  // of the last order
	Paused  string    `json:"paused,omitempty"`  // the text for people
	Ended   bool      `json:"ended,omitempty"`
	Told    int64     `json:"told,omitempty"`  // the last change that a worker was given for it
	Asked   time.Time `json:"asked"`           // when a worker last needed something for it
	Closed  time.Time `json:"closed,omitzero"` // since when it is closed, whatever the breaker says
	Used    []Used    `json:"used,omitempty"`  // calls made, by second, of the last ten
}

// Used is how many calls ended in a second, as reports tell it.
type Used struct {
	Second int64 `json:"second"` // Unix time
	Calls  int   `json:"calls"`
}

// Change is an event of the pace. Its text holds no user data.
type Change struct {
	Number  int64     `json:"number"`
	At      time.Time `json:"at"`
	Kind    Kind      `json:"kind"`
	Run     string    `json:"run,omitempty"`     // "": of all
	Allowed float64   `json:"allowed,omitempty"` // calls a second, where the pace was lowered
	Text    string    `json:"text,omitempty"`
	By      string    `json:"by,omitempty"` // the operator, where one has ordered it
	Reason  string    `json:"reason,omitempty"`
}

// Kind is what happened.
type Kind string

// The kinds of changes.
const (
	Slowed   Kind = "slowed" // not for each step: at most one in some seconds
	Restored Kind = "restored"
	Opened   Kind = "breaker opened"
	Closed   Kind = "breaker closed"
	Ordered  Kind = "ordered"
)

// keptChanges bounds what a run of the workflow hands to the next.
const keptChanges = 20

// Ask answers a request for a lease. Asked again with the same request it gives the
// same answer, and nothing is granted twice.
func (s *State) Ask(now time.Time, r Request) Answer {
	s.expire(now)
	w := s.Workers[r.Worker]
	switch {
	case w != nil && r.Seq == w.Seq:
		return w.Answer
	case w != nil && r.Seq < w.Seq:
		return Answer{Stale: true}
	case w == nil:
		w = &Worker{}
		if s.Workers == nil {
			s.Workers = map[string]*Worker{}
		}
		s.Workers[r.Worker] = w
	}
	s.Schedule.hear(now, r.Clock, r.Sent)
	for _, report := range r.Reports {
		s.learn(now, report)
	}
	s.note(s.Health.restore(now)...)
	// What it had it asks for again, or has given back.
	w.Seq, w.Clock, w.Slots, w.Wants = r.Seq, r.Clock, map[string]int{}, map[string]bool{}
	w.Until, w.Answer = now.Add(Lease), Answer{Lease: Lease}
	if r.Leaving {
		w.Until = now
		return w.Answer
	}
	for _, need := range r.Needs {
		w.Answer.Grants = append(w.Answer.Grants, s.grant(now, r, w, need))
	}
	return w.Answer
}

// grant gives a worker what it needs for a run, as far as that is free.
func (s *State) grant(now time.Time, r Request, w *Worker, need Need) Grant {
	run := s.run(now, need.Run)
	if !run.Ordered {
		run.Limits = need.Limits
	}
	s.noteClosed(now, run)
	g := Grant{Run: need.Run, State: s.gate(now, run), Changes: s.since(need.Run, run)}
	if g.State.Closed != "" {
		b := &s.Health.Breaker
		g.Probe = g.State.IsProbed() && need.Ready > 0 && b.grant(r.Worker, now)
		g.AskAfter = pollClosed
		if g.State.IsProbed() {
			g.AskAfter = min(max(0, b.Next.Sub(now)), pollClosed)
		}
		w.Slots[need.Run] = need.InFlight
		return g
	}
	others, wanting := s.others(r.Worker, need.Run)
	// Where others want slots too, each has its share. Without a limit of the rate a worker
	// asks rarely, and so has all that is free: what it does not use comes back when the
	// lease ends.
	g.Every = interval(g.State.Allowed)
	g.Slots = max(0, min(g.State.Slots-others, (g.State.Slots+wanting)/(wanting+1)))
	if g.Every > 0 {
		g.Slots = min(g.Slots, need.Slots)
	}
	w.Slots[need.Run] = max(g.Slots, need.InFlight)
	if g.Every > 0 && need.Ready > 0 {
		if g.Slots > 0 {
			g.Starts, g.AskAfter = s.Schedule.grant(r.Clock, r.Sent, r.Travel, min(need.Lead, Lease/2), horizon(r.Travel, g.Every, wanting+1), g.Every, need.Ready, wanting+1)
		}
		g.AskAfter = max(time.Duration(wanting+1)*askEvery, g.AskAfter)
		g.Hungry = len(g.Starts) < need.Ready
	}
	w.Wants[need.Run] = need.Ready > 0
	return g
}

// pollClosed is how often a worker asks whether calls may be made again.
const pollClosed = time.Second

// others gives the slots of a run that other workers hold, and in how many of them calls
// wait.
func (s *State) others(worker, run string) (slots, wanting int) {
	for _, id := range sorted(s.Workers) {
		other := s.Workers[id]
		if id == worker {
			continue
		}
		slots += other.Slots[run]
		if other.Wants[run] {
			wanting++
		}
	}
	return slots, wanting
}

// askEvery is how often workers ask for start times at most, all together.
const askEvery = 50 * time.Millisecond

// horizon is for how long a lease gives out start times: until the worker has asked
// again, with time to spare, or some of them, where they are rare.
func horizon(travel, every time.Duration, workers int) time.Duration {
	untilAsked := 2 * (travel + time.Duration(workers)*askEvery)
	return min(Lease/2, max(untilAsked, time.Duration(startsALease*workers)*every))
}

// startsALease is how many start times a lease has, where it is not longer for it.
const startsALease = 4

func (s *State) run(now time.Time, id string) *Run {
	run := s.Runs[id]
	if run == nil {
		if s.Runs == nil {
			s.Runs = map[string]*Run{}
		}
		run = &Run{Told: s.Changed}
		s.Runs[id] = run
	}
	run.Asked = now
	return run
}

// gate is how the limiter stands for a run.
func (s *State) gate(now time.Time, run *Run) Gate {
	g := Gate{Limit: s.limit(now, run), Allowed: s.allowed(now, run), Slots: s.slots(now, run), Closed: s.closed(now, run), Paused: run.Paused != "" || s.Paused != "", Ended: run.Ended}
	b := s.Health.Breaker
	g.Breaker = b.Open
	switch {
	case g.Closed != "" && run.Closed.IsZero():
		g.Since = now
	case g.Closed != "":
		g.Since = run.Closed
	case b.Open:
		g.Closed, g.Since, g.Probe = "the breaker is open: "+b.Reason, b.Since, b.Next
	}
	return g
}

// noteClosed keeps since when a run is closed.
func (s *State) noteClosed(now time.Time, run *Run) {
	if s.closed(now, run) == "" {
		run.Closed = time.Time{}
	} else if run.Closed.IsZero() {
		run.Closed = now
	}
}

// closed says why no call of a run may begin, whatever the breaker says.
func (s *State) closed(now time.Time, run *Run) string {
	switch plan := planOf(run.Limits.Plan); {
	case run.Ended:
		return "the run has ended"
	case run.Paused != "":
		return run.Paused
	case s.Paused != "":
		return s.Paused
	case plan.rate(now) == 0:
		text := "the timetable allows no calls"
		if _, until := plan.At(now); !until.IsZero() {
			text += " until " + until.In(plan.zone).Format("Mon 2006-01-02 15:04 MST")
		}
		return text
	case now.Before(s.Health.NotBefore):
		return "the target asks to wait until " + s.Health.NotBefore.UTC().Format("2006-01-02 15:04:05 MST")
	}
	return ""
}

func (s *State) limit(now time.Time, run *Run) float64 { return run.Limits.At(now) }

// allowed is what is left of the limit after what the target asked for; 0 = no limit.
func (s *State) allowed(now time.Time, run *Run) float64 {
	limit, share := s.limit(now, run), s.Health.Pace.share(now)
	if share == 1 {
		return limit
	}
	limit = cmp.Or(limit, s.Health.Full)
	return max(limit*share, min(limit, slowest))
}

// slots is how many calls of a run may be in flight.
func (s *State) slots(now time.Time, run *Run) int {
	return max(1, int(float64(run.Limits.Workers)*s.Health.Crowd.share(now)))
}

func (s *State) learn(now time.Time, r Report) {
	run := s.Runs[r.Run]
	if run == nil {
		run = &Run{}
	}
	full := cmp.Or(s.limit(now, run), s.Health.Full, max(slowest, r.Rate, s.rate(now)))
	allowed := cmp.Or(s.allowed(now, run), full)
	s.note(s.Health.learn(r, run.Limits.Breaker, full, allowed, now, now.Add(-r.Ago))...)
	second := now.Unix()
	if n := len(run.Used); n > 0 && run.Used[n-1].Second == second {
		run.Used[n-1].Calls += r.Calls
	} else {
		run.Used = append(run.Used, Used{second, r.Calls})
	}
	run.Used = slices.DeleteFunc(run.Used, func(u Used) bool { return u.Second < second-usedFor })
}

// usedFor is for how many seconds calls are counted.
const usedFor = 10

// used is the calls a second that have ended lately: in the last ten seconds, or since the first of those.
func (r *Run) used(now time.Time) float64 {
	calls, first := 0, now.Unix()
	for _, u := range r.Used {
		if u.Second >= now.Unix()-usedFor {
			calls, first = calls+u.Calls, min(first, u.Second)
		}
	}
	return float64(calls) / max(1, now.Sub(time.Unix(first, 0)).Seconds())
}

// rate is the calls a second of all runs.
func (s *State) rate(now time.Time) (calls float64) {
	for _, id := range sorted(s.Runs) {
		calls += s.Runs[id].used(now)
	}
	return calls
}

// Order changes what holds, and gives the moment from which on every call keeps to
// it: the leases that were granted before have ended then.
func (s *State) Order(now time.Time, o Order) (holds time.Time) {
	s.expire(now)
	if o.Run == "" {
		if o.Pause != "" || o.Resume {
			s.Paused = o.Pause
		}
	} else if run := s.run(now, o.Run); o.Number == 0 || o.Number > run.Number {
		run.order(o)
	}
	if text := o.text(); text != "" {
		s.note(Change{At: now, Kind: Ordered, Run: o.Run, Text: text, By: o.By, Reason: o.Reason})
	}
	for _, id := range sorted(s.Runs) {
		s.noteClosed(now, s.Runs[id])
	}
	holds = now
	for _, id := range sorted(s.Workers) {
		if w := s.Workers[id]; o.Run == "" || w.Slots[o.Run] > 0 || w.grants(o.Run) || s.Health.Breaker.Worker == id {
			holds = later(holds, w.Until)
		}
	}
	return holds
}

func (r *Run) order(o Order) {
	r.Number = max(r.Number, o.Number)
	if o.Limits != nil {
		r.Limits, r.Ordered = *o.Limits, true
	}
	if o.Pause != "" || o.Resume {
		r.Paused = o.Pause
	}
	r.Ended = r.Ended || o.End
}

// text is what an operator has changed, for people; "" if that is nothing.
func (o Order) text() string {
	switch {
	case o.By == "":
		return ""
	case o.End:
		return "stopped"
	case o.Pause != "":
		return "paused"
	case o.Limits != nil:
		return fmt.Sprintf("limits: %s, %s", PerSecond(o.Limits.Rate), figures.Count(o.Limits.Workers, "slot"))
	}
	return "resumed"
}

func (w *Worker) grants(run string) bool {
	return slices.ContainsFunc(w.Answer.Grants, func(g Grant) bool { return g.Run == run && g.State.Closed == "" })
}

// Revoke ends the leases of a process that is known to be dead: of the workers whose
// names begin with its name.
func (s *State) Revoke(process string) {
	for _, id := range sorted(s.Workers) {
		if strings.HasPrefix(id, process) {
			delete(s.Workers, id)
			if s.Health.Breaker.Worker == id {
				s.Health.Breaker.Worker = ""
			}
		}
	}
}

// remembered is how long the answer to the last request of a worker is kept, for one
// that is repeated.
const remembered = time.Minute

// expire frees what ended leases held.
func (s *State) expire(now time.Time) {
	used := map[string]bool{}
	for _, id := range sorted(s.Workers) {
		w := s.Workers[id]
		if !now.Before(w.Until) {
			w.Slots, w.Wants = nil, nil
		}
		if now.Sub(w.Until) > remembered {
			delete(s.Workers, id)
			continue
		}
		used[w.Clock] = true
	}
	s.Schedule.keep(used)
	for _, id := range sorted(s.Runs) {
		idle := now.Sub(s.Runs[id].Asked)
		if idle > remembered && !s.Runs[id].isOrdered() || idle > longestOrdered {
			delete(s.Runs, id)
		}
	}
}

// sorted are the keys of a map in order, so that a workflow decides the same when it is
// replayed, which workflowcheck cannot see.
//
//workflowcheck:ignore
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// longestOrdered is how long an order outlives the last request for its run: a run that
// was terminated gives no order to forget it.
const longestOrdered = 30 * 24 * time.Hour

func (r *Run) isOrdered() bool { return (r.Ordered || r.Paused != "") && !r.Ended }

// IsIdle says that the limiter may end: no worker has asked for a minute, and nothing
// is pending that must outlive it.
func (s *State) IsIdle(now time.Time) bool {
	s.expire(now)
	return len(s.Workers) == 0 && len(s.Runs) == 0 && s.Paused == "" && !s.Health.pending(now)
}

// since returns the changes that a run has not been given, and gives them to it.
func (s *State) since(id string, run *Run) (changes []Change) {
	for _, c := range s.Changes {
		if c.Number > run.Told && (c.Run == "" || c.Run == id) {
			changes = append(changes, c)
		}
	}
	run.Told = s.Changed
	return changes
}

func (s *State) note(changes ...Change) {
	for _, c := range changes {
		s.Changed++
		c.Number = s.Changed
		s.Changes = append(s.Changes, c)
	}
	if n := len(s.Changes) - keptChanges; n > 0 {
		s.Changes = slices.Delete(s.Changes, 0, n)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// planOf reads a timetable. One that cannot be read allows nothing: it was checked
// before it was ordered.
func planOf(text string) *Plan {
	p, err := ParsePlan(text, time.UTC)
	if err != nil {
		return &Plan{zone: time.UTC, entries: []planned{{on: everyDay}}}
	}
	return p
}
