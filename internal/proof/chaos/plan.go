package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"durable-dataload/internal/fakeusers"
)

// plan is one episode as it is drawn: a migration with its options, and what
// happens to it when. It is a function of seed, number and records alone.
type plan struct {
	number  int
	input   fakeusers.Options
	batch   int
	flight  int     // --workers: calls in flight
	rate    float64 // --rate-limit
	workers int     // separate worker processes; 0: the starter embeds engine and worker
	before  int     // every n-th of the users exists before, 0 = none
	faults  string  // of the sandbox
	seed    int64   // of these faults
	latency time.Duration
	findLag time.Duration
	events  []event

	into      *realTarget // nil: the sandbox
	breaker   int         // --breaker
	canary    int         // --canary, 0 = none; whole batches, so that all batches begin where the checker has them
	maxFailed string      // --max-failed
	fleet     bool        // the engine is the service of docker-compose.yml
	bucket    bool        // what the migration keeps is in a bucket, and no process shares a folder with another
	scheduled bool        // before it, a schedule migrates a file
	world
}

// action is something that happens to a migration.
type action string

const (
	kill         action = "kill"          // SIGKILL, and started again
	stop         action = "stop"          // SIGSTOP, then SIGCONT
	interrupt    action = "interrupt"     // SIGINT to the starter
	cut          action = "cut"           // all connections are reset
	refuse       action = "refuse"        // nothing listens at the target's address
	loseAnswers  action = "lose-answers"  // the target answers, and the answer is thrown away
	cutCalls     action = "cut-calls"     // half of a call arrives
	delayCalls   action = "delay-calls"   // a call arrives late
	delayAnswers action = "delay-answers" // an answer arrives late
	throttle     action = "throttle"      // an answer arrives byte by byte
	fill         action = "fill"          // the disk of the state folder is full
	change       action = "change"        // the input changes
	expire       action = "expire"        // the target refuses the credentials
	order        action = "order"         // an operator steers the migration
	strangers    action = "strangers"     // a call is lost, and users register with some of its addresses
	pauseIt      action = "pause"         // starter pause, status, resume
	setRate      action = "set"           // starter set rate
)

// Names of what is killed, stopped or cut.
const (
	theStarter = "starter"
	theTarget  = "target"
	theSandbox = "sandbox" // as --target
	theEngine  = "engine"
	theBase    = "database"   // of a fleet
	theStore   = "store"      // the S3 server of a fleet
	aWorker    = "worker"     // with a number, from 1
	everything = "everything" // but the target
)

// event is an action, and when it comes.
type event struct {
	when   trigger
	action action
	target string        // of kill, stop and cut
	calls  int           // that meet it
	lasts  time.Duration // of what lasts; of kill: until it is started again
	until  string        // of stop: "", untilSettled or untilEnd in the place of lasts
	how    string        // of change and strangers; of order: which
}

const namesakes = "namesakes" // of strangers: they have all data of the records

const (
	untilSettled = "its batches are settled"
	untilEnd     = "the migration is over"
)

// trigger is the moment of an event: when so many of something are there.
type trigger struct {
	what  string
	n     int
	after time.Duration // and so long after it
}

const (
	onCalls    = "call that creates records"
	onClaims   = "claim in the ledger"
	onOutcomes = "outcome in the ledger"
	onFiles    = "file in the output folder" // also those without a name yet
	onMillis   = "millisecond"

	onPauses    = "pause"
	onDecisions = "decision that is needed"
)

func (t trigger) String() string {
	s := fmt.Sprintf("at %s %d", t.what, t.n)
	if t.after > 0 {
		s += fmt.Sprintf(" + %s", t.after)
	}
	return s
}

func (e event) String() string {
	s := fmt.Sprintf("%s: %s", e.when, e.action)
	if e.target != "" {
		s += " " + e.target
	}
	if e.how != "" {
		s += " " + e.how
	}
	if e.calls > 0 {
		s += fmt.Sprintf(" %d calls", e.calls)
	}
	switch {
	case e.until != "":
		s += " until " + e.until
	case e.action == kill:
		s += fmt.Sprintf(", back after %s", e.lasts)
	case e.lasts > 0:
		s += fmt.Sprintf(" for %s", e.lasts)
	}
	return s
}

const (
	callTimeout  = time.Second // --timeout
	retryBackoff = 100 * time.Millisecond
	retryRounds  = 12
)

// draw draws an episode on the sandbox. records > 0 fixes the size of the input.
func draw(seed uint64, number int, records int64) plan { return drawOn(nil, seed, number, records) }

// drawOn draws an episode on a real target; nil is the sandbox.
func drawOn(real *realTarget, seed uint64, number int, records int64) plan {
	r := rand.New(rand.NewPCG(seed, uint64(number)))
	p := plan{number: number}
	p.batch = 5 + r.IntN(36)
	p.input = fakeusers.Options{Records: int64(p.batch * (15 + r.IntN(65))), Seed: r.Uint64(), Awkward: r.IntN(2) == 0}
	if records > 0 {
		p.input.Records = records
	}
	p.flight = 1 + r.IntN(12)
	p.rate = []float64{0, 10, 25, 60}[r.IntN(4)]
	p.workers = []int{0, 0, 1, 2, 3}[r.IntN(5)]
	if r.IntN(3) == 0 {
		p.before = 97
	}
	if r.IntN(4) > 0 {
		percent := 0.2 + 0.6*r.Float64()
		p.faults = fmt.Sprintf("all=%.1f", percent)
		if r.IntN(2) == 0 {
			p.faults += fmt.Sprintf(",find:all=%.1f", percent)
		}
	}
	p.seed = r.Int64N(1 << 31)
	p.latency = time.Duration(5+r.IntN(150)) * time.Millisecond
	p.findLag = time.Duration(r.IntN(1200)) * time.Millisecond
	p.drawRuns(rand.New(rand.NewPCG(seed, uint64(number)|1<<61)), records > 0)
	ofReal := rand.New(rand.NewPCG(seed, uint64(number)|1<<60))
	if real != nil {
		p.into = real
		p.drawReal(ofReal, records > 0)
	}
	p.events = p.drawEvents(r)
	p.drawOperators(rand.New(rand.NewPCG(seed, uint64(number)|1<<63)))
	if real != nil {
		p.drawOthers(ofReal)
	} else {
		p.drawWorld(rand.New(rand.NewPCG(seed, uint64(number)|1<<62)))
	}
	return p
}

// drawReal makes an episode smaller: the SQLite of a Kratos is slow, and refuses what it is asked at the same time. A real
// target injects no faults by itself.
func (p *plan) drawReal(r *rand.Rand, isFixed bool) {
	p.faults, p.latency, p.findLag = "", 0, 0
	p.flight = 1 + r.IntN(6)
	if !isFixed {
		p.batch = 5 + r.IntN(26)
		p.input.Records = int64(p.batch * (8 + r.IntN(18)))
	}
	p.before = []int{0, 19, 97}[r.IntN(3)]
}

// drawOthers adds strangers, records without a key, a rollback, and kills of the server in the middle of calls; a server that
// would forget its users loses answers instead.
func (p *plan) drawOthers(r *rand.Rand) {
	if p.has(change) {
		return
	}
	for range 1 + r.IntN(3) {
		e := p.drawEvent(r, strangers)
		e.how = []string{"", namesakes}[r.IntN(2)]
		p.events = append(p.events, e)
	}
	for range 1 + r.IntN(3) {
		e := p.drawEvent(r, kill)
		e.target, e.when.what, e.when.n = theTarget, onCalls, 1+r.IntN(p.batches())
		if p.into.forgets {
			e.action, e.target, e.lasts, e.calls = loseAnswers, "", 0, 1+r.IntN(8)
		}
		p.events = append(p.events, e)
	}
	if r.IntN(4) == 0 {
		p.keyless, p.input.Awkward = 2+r.IntN(9), false
	}
	p.undo = p.workers == 0 && r.IntN(2) == 0
}

// drawRuns has every third episode load long runs of batches: many small ones into a quick target,
// without a limit and with few calls in flight, so that what happens meets the middle of a run.
func (p *plan) drawRuns(r *rand.Rand, isFixed bool) {
	if r.IntN(3) > 0 {
		return
	}
	p.rate, p.flight, p.latency = 0, 1+r.IntN(3), time.Duration(r.IntN(5))*time.Millisecond
	if !isFixed {
		p.batch = 3 + r.IntN(8)
		p.input.Records = int64(p.batch * (200 + r.IntN(400)))
	}
}

func (p *plan) batches() int { return int(p.input.Records+int64(p.batch)-1) / p.batch }

// drawEvents combines a changed input only with events that do not affect it, since
// calls after the change are counted.
func (p *plan) drawEvents(r *rand.Rand) (events []event) {
	actions := []action{kill, kill, kill, kill, kill, kill, stop, stop, stop, stop, interrupt, cut, refuse, loseAnswers, loseAnswers, cutCalls, delayCalls, delayAnswers, throttle, fill}
	n := 4 + r.IntN(7)
	if r.IntN(8) == 0 {
		actions = []action{loseAnswers, cut, throttle}
		n = 1 + r.IntN(2)
		events = append(events, event{
			when: trigger{what: onCalls, n: 2 + r.IntN(max(1, p.batches()/2))}, action: change,
			how: []string{"cut-off", "longer", "gone", "a-byte"}[r.IntN(4)],
		})
	}
	for range n {
		events = append(events, p.drawEvent(r, actions[r.IntN(len(actions))]))
	}
	return events
}

func (p *plan) drawEvent(r *rand.Rand, a action) event {
	e := event{action: a, when: p.drawTrigger(r)}
	millis := func(from, to int) time.Duration { return time.Duration(from+r.IntN(to-from)) * time.Millisecond }
	switch a {
	case kill:
		e.target = p.drawTarget(r, a)
		e.lasts = millis(0, 800)
	case stop:
		e.target = p.drawTarget(r, a)
		e.lasts = millis(500, 9000)
		if strings.HasPrefix(e.target, aWorker) && p.workers > 1 {
			e.until = []string{"", untilSettled, untilEnd}[r.IntN(3)]
		}
	case interrupt:
		e.target = theStarter
	case cut:
		e.target = theTarget
		if p.workers > 0 && r.IntN(2) == 0 {
			e.target = theEngine
		}
	case refuse:
		e.lasts = millis(100, 2500)
	case loseAnswers, cutCalls, strangers:
		e.calls = 1 + r.IntN(8)
	case delayCalls, delayAnswers, throttle:
		e.calls = 1 + r.IntN(8)
		e.lasts = millis(100, int(2*callTimeout/time.Millisecond))
	case fill:
		e.lasts = millis(200, 4000)
	}
	return e
}

func (p *plan) drawTarget(r *rand.Rand, a action) string {
	if p.workers > 1 && a == stop && r.IntN(3) > 0 {
		return fmt.Sprintf("%s %d", aWorker, 1+r.IntN(p.workers)) // which can sleep through much
	}
	targets := []string{theStarter}
	if a != kill || p.into == nil || !p.into.forgets {
		targets = append(targets, theTarget)
	}
	if p.workers > 0 && a == kill {
		targets = append(targets, everything)
	}
	if p.workers > 0 {
		targets = append(targets, theEngine)
		for i := range p.workers {
			// Twice: they are what it is about.
			targets = append(targets, fmt.Sprintf("%s %d", aWorker, i+1), fmt.Sprintf("%s %d", aWorker, i+1))
		}
	}
	return targets[r.IntN(len(targets))]
}

func (p *plan) drawTrigger(r *rand.Rand) trigger {
	t := trigger{after: time.Duration(r.IntN(40)) * time.Millisecond} // anywhere within a call
	switch r.IntN(10) {
	case 0:
		t.what, t.n = onMillis, r.IntN(4000)
	case 1:
		t.what, t.n = onFiles, 1+r.IntN(6)
	case 2, 3:
		t.what, t.n = onClaims, 1+r.IntN(p.batches())
	case 4, 5:
		t.what, t.n = onOutcomes, 1+r.IntN(p.batches())
	default:
		t.what, t.n = onCalls, 1+r.IntN(p.batches())
	}
	return t
}

// has reports whether an action is among the events.
func (p *plan) has(actions ...action) bool {
	for _, e := range p.events {
		for _, a := range actions {
			if e.action == a {
				return true
			}
		}
	}
	return false
}

func (p *plan) String() string {
	var b strings.Builder
	shape := "embedded engine"
	if p.workers > 0 {
		shape = fmt.Sprintf("separate engine and %d workers", p.workers)
	}
	if p.fleet {
		shape = fmt.Sprintf("Temporal on PostgreSQL and %d workers on a folder", p.workers)
	}
	if p.bucket {
		shape = fmt.Sprintf("Temporal on PostgreSQL and %d workers on a bucket", p.workers)
	}
	if p.into != nil {
		shape += ", into " + p.into.place
	}
	fmt.Fprintf(&b, "%d records (awkward %t, every n-th there before %d) in batches of %d, %s, %d calls in flight, %g a second, latency %s, find lag %s, faults %q, breaker %d, canary %d, max-failed %q",
		p.input.Records, p.input.Awkward, p.before, p.batch, shape, p.flight, p.rate, p.latency, p.findLag, p.faults, p.breaker, p.canary, p.maxFailed)
	if world := p.world.String(); world != "" {
		b.WriteString("; " + world)
	}
	for _, e := range p.events {
		fmt.Fprintf(&b, "\n  %s", e)
	}
	return b.String()
}
