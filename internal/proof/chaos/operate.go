package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/proof/check"
)

// The orders of operators that are drawn. What a migration waits for is answered
// besides (see attend).
const (
	orderPause  = "pause" // and resume, after a while
	orderSet    = "set"   // with what is set
	orderStop   = "stop"
	orderStatus = "status"
)

// drawOperators adds operators, and options that make the migration wait. It has a
// separate random source.
func (p *plan) drawOperators(r *rand.Rand) {
	p.breaker = 5
	if p.has(change) {
		return
	}
	p.breaker = []int{5, 5, 3, 0}[r.IntN(4)]
	if r.IntN(4) == 0 {
		p.canary = p.batch * (1 + r.IntN(3))
	}
	if r.IntN(3) == 0 {
		p.maxFailed = []string{"0", "1%"}[r.IntN(2)]
	}
	lasts := func(from, to int) time.Duration { return time.Duration(from+r.IntN(to-from)) * time.Millisecond }
	killAt := func(what string, n int) {
		if r.IntN(2) == 0 {
			p.events = append(p.events, event{
				action: kill, when: trigger{what: what, n: n, after: lasts(0, 1500)}, target: p.drawTarget(r, kill), lasts: lasts(0, 800),
			})
		}
	}
	pauses := 0
	for range 1 + r.IntN(6) {
		e := event{action: order, when: p.drawTrigger(r)}
		switch r.IntN(9) {
		case 0, 1, 2:
			e.how, e.lasts = orderPause, lasts(500, 6000)
			pauses++
			killAt(onPauses, pauses)
		case 3, 4, 5:
			e.how = orderSet + " " + p.drawSetting(r)
		case 6:
			e.how = orderStop
		default:
			e.how = orderStatus
		}
		p.events = append(p.events, e)
	}
	if p.canary > 0 || p.maxFailed != "" {
		killAt(onDecisions, 1)
	}
	if r.IntN(4) == 0 {
		p.events = append(p.events, event{action: refuse, when: p.drawTrigger(r), lasts: lasts(3000, 9000)}) // longer than a call is tried
	}
	if r.IntN(4) == 0 {
		p.events = append(p.events, event{action: expire, when: p.drawTrigger(r), lasts: lasts(500, 6000)})
	}
}

// drawSetting draws a change to no more than the options allow, so that these
// hold at all times.
func (p *plan) drawSetting(r *rand.Rand) string {
	switch r.IntN(3) {
	case 0:
		rate := p.rate
		if rate == 0 {
			rate = 60
		}
		return fmt.Sprintf("rate=%.1f", rate*(1+r.Float64())/2)
	case 1:
		return fmt.Sprintf("workers=%d", 1+r.IntN(p.flight))
	}
	return fmt.Sprintf("breaker=%d", []int{0, 3, 8}[r.IntN(3)])
}

// span is a time in which something must hold that an operator has ordered.
type span struct {
	from, to time.Time
	rate     float64 // calls a second at most
	paused   bool
}

// settledAfter is how long after the answer to an order a call may still be seen
// that was begun before it, on a machine that is busy.
const settledAfter = 300 * time.Millisecond

// operate carries an order of the plan out.
func (e *episode) operate(ev event) {
	verb, set, _ := strings.Cut(ev.how, " ")
	switch verb {
	case orderPause:
		e.pauseFor(ev.lasts)
	case orderSet:
		if _, alone := e.order(verb, set); !alone {
			return
		}
		if text, ok := strings.CutPrefix(set, "rate="); ok {
			if rate, err := migration.ParseRate(text); err == nil {
				e.holds(span{from: time.Now(), rate: rate})
			}
		}
	case orderStatus:
		e.status()
	default:
		e.order(verb)
	}
}

// pauseFor pauses the migration for a while, if it is not paused already.
func (e *episode) pauseFor(d time.Duration) {
	e.pausing(1)
	ok, alone := e.order(orderPause)
	if alone {
		e.holds(span{from: time.Now(), paused: true})
	}
	if ok {
		e.sleep(d)
	}
	e.pausing(-1)
	if ok {
		e.order("resume")
	}
}

// pausing counts the operators that pause and will resume: the attendant does not
// resume for them.
func (e *episode) pausing(more int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pausers += more
}

// holds records an order that is in effect from now on, until further notice.
func (e *episode) holds(s span) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.spans = append(e.spans, s)
}

// lift ends the effect of an order before another order.
func (e *episode) lift(verb string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.spans {
		if s := &e.spans[i]; s.to.IsZero() && s.paused == (verb == "resume") {
			s.to = time.Now()
		}
	}
}

// underway counts orders of one kind: those of which a later one ends the effect of an earlier one.
type underway struct{ begun, running int }

// begins counts an order. The function that it returns is called at the end of the order, and tells whether no other one of
// its kind was underway meanwhile: of two at the same time nobody knows which came last.
func (e *episode) begins(kind string) (ends func() (alone bool)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.underway[kind] == nil {
		e.underway[kind] = &underway{}
	}
	u := e.underway[kind]
	u.begun++
	begun, isFirst := u.begun, u.running == 0
	u.running++
	return func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		u.running--
		return isFirst && u.begun == begun
	}
}

// order runs an order, and reports whether it was carried out. It may be refused,
// and nothing may be running. alone says that it was, and that no other order has changed the same meanwhile.
func (e *episode) order(verb string, set ...string) (done, alone bool) {
	select {
	case <-e.over:
		return false, false
	default:
	}
	kind := verb
	if kind == "resume" {
		kind = orderPause
	}
	ends := e.begins(kind)
	defer func() { alone = ends() && done }()
	if verb == "resume" || verb == orderSet {
		e.lift(verb)
	}
	p, err := e.operator(verb, append([]string{"--latest", "--reason", "chaos"}, set...)...)
	if err != nil {
		return false, false
	}
	done = p.code() == migration.ExitDone
	e.count.add(func(f *figures) {
		if done {
			f.Orders[verb]++
		} else {
			f.OrdersRefused++
		}
	})
	if !done {
		e.say("%s was not carried out: %s", p.name, lastLines(p.errors(), 1))
	}
	return done, false
}

// operatorTimeout is after what time a command of an operator hangs. One that
// ends the migration waits for that.
const operatorTimeout = 2 * time.Minute

var errHangs = fmt.Errorf("it did not end within %s", operatorTimeout)

// operator runs a command of the starter that finds the migration by itself.
func (e *episode) operator(verb string, args ...string) (*process, error) {
	e.mu.Lock()
	e.orders++
	name := fmt.Sprintf("operator-%d-%s", e.orders, verb)
	e.mu.Unlock()
	args = append(e.there(verb), args...)
	if e.service != nil {
		args = append(args, e.serviceFlags()...)
	}
	p, err := e.launch(name, "starter", nil, args...)
	if err == nil && !p.endsIn(operatorTimeout) {
		p.dump()
		err = errHangs
	}
	if err != nil {
		e.tell(comesToItsEnd, "%s: %v", name, err)
		return nil, err
	}
	if code := p.code(); code != migration.ExitDone && code != migration.ExitCannotRun && code != migration.ExitStopped {
		e.tell(comesToItsEnd, "%s ended with exit code %d: %s", name, code, lastLines(p.errors(), 5))
	}
	return p, nil
}

// status holds that what an operator sees adds up, at any moment.
func (e *episode) status() {
	p, err := e.operator(orderStatus, "--json")
	if err != nil || p.code() != migration.ExitDone {
		return // nothing runs, and nothing has begun
	}
	e.count.add(func(f *figures) { f.Orders[orderStatus]++ })
	var seen struct{ Records migration.Counts }
	text := read(p.stdout)
	if err := json.Unmarshal([]byte(text), &seen); err != nil {
		e.tell(check.AddsUp, "%s is not readable: %v: %.200s", p.name, err, text)
	}
	if c := seen.Records; c.Sum() != c.Total {
		e.tell(check.AddsUp, "%s: %v does not add up to %d", p.name, c, c.Total)
	}
}

// attend answers the decisions of the migration, after a while, and resumes it after
// abandoned pauses, so that every migration finishes.
func (e *episode) attend() {
	r := rand.New(rand.NewPCG(uint64(e.seed), uint64(e.number)))
	for e.sleep(100 * time.Millisecond) {
		verb := e.waitsFor()
		if verb == "" || !e.sleep(time.Duration(r.IntN(3000))*time.Millisecond) || e.waitsFor() != verb {
			continue
		}
		e.order(verb)
	}
}

// waitsFor is the order that the migration waits for and no operator will give, ""
// if there is none.
func (e *episode) waitsFor() string {
	paused, decision := false, ""
	for _, ev := range e.history() {
		switch ended := ev.New == "yes" && (ev.Name == orderStop || ev.Name == "cancel"); {
		case ev.Kind == migration.EventBegun, ev.Kind == migration.EventEnded, ended:
			paused, decision = false, ""
		case ev.Kind == migration.EventDecision:
			if decision = "resume"; strings.HasPrefix(ev.Text, "The canary") {
				decision = "approve"
			}
		case ev.Kind == migration.EventChanged && ev.Name == "paused":
			paused = ev.New == "yes"
		case ev.Kind == migration.EventChanged && (ev.Name == "canary approved" || ev.Name == migration.SettingMaxFailed):
			decision = ""
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if paused && e.pausers == 0 {
		return "resume"
	}
	return decision
}

// history is what the folder says has happened to the migration.
func (e *episode) history() []migration.Event {
	folders, _ := filepath.Glob(filepath.Join(e.work, "migrations", "*"))
	if len(folders) != 1 {
		return nil
	}
	if e.bucket == nil {
		events, _ := migration.RunFolder(folders[0]).Migration().Events()
		return events
	}
	// A bucket has an object for each, whose names are in the order of time.
	var events []migration.Event
	paths, _ := filepath.Glob(filepath.Join(folders[0], "events", "*.json"))
	for _, path := range paths {
		var ev migration.Event
		if json.Unmarshal([]byte(read(path)), &ev) == nil && !slices.Contains(events, ev) {
			events = append(events, ev)
		}
	}
	return events
}

func (e *episode) times(is func(migration.Event) bool) (n int) {
	for _, ev := range e.history() {
		if is(ev) {
			n++
		}
	}
	return n
}

func isPause(ev migration.Event) bool { return ev.Name == "paused" && ev.New == "yes" }

func isDecision(ev migration.Event) bool { return ev.Kind == migration.EventDecision }

func isOpened(ev migration.Event) bool { return ev.Kind == migration.EventOpened }

// ordered returns what had to hold, until when: another run of the migration
// begins with its options.
func (e *episode) ordered() []span {
	e.mu.Lock()
	spans := slices.Clone(e.spans)
	e.mu.Unlock()
	events := e.history()
	for i := range spans {
		s := &spans[i]
		if s.to.IsZero() {
			s.to = time.Now()
		}
		for _, ev := range events {
			if ev.Kind == migration.EventBegun && ev.At.After(s.from) && ev.At.Before(s.to) {
				s.to = ev.At
			}
		}
	}
	return spans
}

// pauseHolds is what is broken where a call is made in a pause.
const pauseHolds = "of orders, no call is made in a pause"

// steered holds that all calls kept to what operators had ordered. Probes and
// counts are not held up by a pause.
func (v *evidence) steered() (broken []check.Broken) {
	for _, s := range v.spans {
		within := func(all check.Moments) (some check.Moments) {
			for _, t := range all {
				if t.After(s.from.Add(settledAfter)) && t.Before(s.to) {
					some = append(some, t)
				}
			}
			return some
		}
		if !s.paused {
			broken = append(broken, within(v.arrivals).Over(s.rate)...)
			continue
		}
		// A process that was stopped may make the calls that it had begun.
		most := 0
		if v.migration.Late {
			most = v.flight
		}
		if calls := within(v.gated); len(calls) > most {
			broken = append(broken, check.Broken{Invariant: pauseHolds, What: fmt.Sprintf("%d calls were made in the pause from %s to %s, the first at %s; at most %d had begun before",
				len(calls), s.from.Format(time.RFC3339Nano), s.to.Format(time.RFC3339Nano), calls[0].Format(time.RFC3339Nano), most)})
		}
	}
	return broken
}
