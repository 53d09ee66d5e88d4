package pace

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"durable-dataload/internal/store"
)

// steered is a gate whose settings a test changes, and what happened to it.
type steered struct {
	*Gate
	mu      sync.Mutex
	now     Settings
	err     error
	happens []Event
	probes  atomic.Int32
	serves  atomic.Bool // what a probe says
}

func newSteered(t *testing.T, dir string, s Settings) *steered {
	t.Helper()
	g := &steered{now: s}
	g.serves.Store(true)
	var err error
	g.Gate, err = New(Config{
		Starts: store.Join(dir, "pace", "target"), Places: store.Join(dir, "places"),
		Settings: func() (Settings, error) {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.now, g.err
		},
		Probe: func(ctx context.Context) error {
			g.probes.Add(1)
			if release, err := g.BeforeCall(ctx); err != nil || release != nil {
				t.Errorf("the probe itself waits: %v", err)
			}
			if !g.serves.Load() {
				return errors.New("it does not serve")
			}
			return nil
		},
		FirstProbe: 10 * time.Millisecond,
		Happened: func(e Event) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.happens = append(g.happens, e)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *steered) set(change func(*Settings)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&g.now)
}

// told is what happened, in short.
func (g *steered) told() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []string
	for _, e := range g.happens {
		all = append(all, []string{"slowed", "restored", "opened", "closed"}[e.Kind])
	}
	return strings.Join(all, " ")
}

func (g *steered) ended(t *testing.T, o Outcome) {
	t.Helper()
	if o.Sent.IsZero() {
		o.Sent = time.Now()
	}
	o.Ended = time.Now()
	if err := g.Ended(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// entering enters beside the test.
func entering(t *testing.T, g *steered) <-chan *Turn {
	in := make(chan *Turn, 1)
	go func() {
		if turn, err := g.Enter(t.Context()); err == nil {
			in <- turn
		}
	}()
	return in
}

func arrives(t *testing.T, in <-chan *Turn) *Turn {
	t.Helper()
	select {
	case turn := <-in:
		return turn
	case <-time.After(patience):
		t.Fatal("the caller waits on, want it to be let in")
		return nil
	}
}

// waits holds that nobody is let in for a while that is long for a gate.
func waits(t *testing.T, in <-chan *Turn) {
	t.Helper()
	select {
	case <-in:
		t.Fatal("the caller was let in, want it to wait")
	case <-time.After(450 * time.Millisecond):
	}
}

func plan(t *testing.T, text string) *Plan {
	t.Helper()
	p, err := ParsePlan(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWhatIsSetHoldsForThoseWhoWaitAlready(t *testing.T) {
	for name, c := range map[string]struct {
		before Settings
		enters int // before somebody waits
		closed string
		after  func(*Settings)
	}{
		"a pause ends":            {Settings{Places: 1, Paused: true, PausedText: "paused by anna: lunch"}, 0, "paused by anna: lunch", func(s *Settings) { s.Paused = false }},
		"a rest ends":             {Settings{Places: 1, Plan: plan(t, "daily off")}, 0, "the timetable allows no calls", func(s *Settings) { s.Plan = plan(t, "100/s") }},
		"the rate is raised":      {Settings{Places: 2, Rate: 0.01}, 1, "", func(s *Settings) { s.Rate = 50 }},
		"there is no rate now":    {Settings{Places: 2, Rate: 0.01}, 1, "", func(s *Settings) { s.Rate = 0 }},
		"the plan is faster":      {Settings{Places: 2, Plan: plan(t, "10/h")}, 1, "", func(s *Settings) { s.Plan = nil }},
		"there are more places":   {Settings{Places: 1}, 1, "", func(s *Settings) { s.Places = 2 }},
		"there are places enough": {Settings{Places: 2}, 2, "", func(s *Settings) { s.Places = MostPlaces + 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newSteered(t, t.TempDir(), c.before)
			for range c.enters {
				enter(t, g.Gate)
			}
			in := entering(t, g)
			waits(t, in)
			if s := g.State(); s.Closed != c.closed || s.Since.IsZero() != (c.closed == "") {
				t.Errorf("%+v, want closed %q", s, c.closed)
			}
			g.set(c.after)
			began := time.Now()
			arrives(t, in)
			// About half a second, on a machine that has nothing else to do.
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("it took %v until what was set holds", took)
			}
			if s := g.State(); s.Closed != "" || !s.Since.IsZero() {
				t.Errorf("%+v, want it open", s)
			}
		})
	}
}

func TestWhatIsLoweredHoldsForThoseWhoWaitAlready(t *testing.T) {
	everywhere(t, func(t *testing.T, folder func() string) {
		g := newSteered(t, folder(), Settings{Rate: 100, Places: 10})
		enter(t, g.Gate).Leave()
		g.set(func(s *Settings) { s.Rate = 2 })
		var last time.Time
		for i := range 4 {
			turn := enter(t, g.Gate)
			if err := turn.Fresh(t.Context(), t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			// The first may have had its start before the change was seen.
			if gap := turn.start.Sub(last); i > 1 && gap < 500*time.Millisecond {
				t.Errorf("start %d came %v after the one before, want half a second", i, gap)
			}
			last = turn.start
			turn.Leave()
		}

		places := newSteered(t, folder(), Settings{Places: 3})
		turns := []*Turn{enter(t, places.Gate), enter(t, places.Gate), enter(t, places.Gate)}
		places.set(func(s *Settings) { s.Places = 1 })
		places.look(true)
		in := entering(t, places)
		turns[1].Leave()
		turns[2].Leave()
		waits(t, in)
		turns[0].Leave()
		one := arrives(t, in)
		waits(t, entering(t, places))
		one.Leave()
	})
}

func TestAPauseIsSeenJustBeforeTheCall(t *testing.T) {
	everywhere(t, func(t *testing.T, folder func() string) {
		g := newSteered(t, folder(), Settings{Rate: 1000, Places: 1})
		turn := enter(t, g.Gate)
		g.set(func(s *Settings) { s.Paused = true })
		fresh := make(chan error, 1)
		go func() { fresh <- turn.Fresh(t.Context(), t.Context(), nil) }()
		select {
		case err := <-fresh:
			t.Fatalf("Fresh returned %v in a pause, want it to wait", err)
		case <-time.After(3 * poll):
		}
		g.set(func(s *Settings) { s.Paused = false })
		if err := <-fresh; err != nil || time.Since(turn.start) > time.Second {
			t.Errorf("Fresh after the pause: %v, start %v; want another start", err, turn.start)
		}

		// Who is not to wait any more does not.
		g.set(func(s *Settings) { s.Paused = true })
		stop := errors.New("stop")
		waiting, cancel := context.WithCancelCause(t.Context())
		cancel(stop)
		if err := turn.Fresh(t.Context(), waiting, nil); !errors.Is(err, stop) {
			t.Errorf("Fresh: %v, want %v", err, stop)
		}
	})
}

func TestSettingsThatCannotBeReadStayAsTheyWere(t *testing.T) {
	t.Parallel()
	g := newSteered(t, t.TempDir(), Settings{Rate: 7, Places: 3})
	g.mu.Lock()
	g.now, g.err = Settings{}, errors.New("damaged")
	g.mu.Unlock()
	if v := g.look(true); v.limit() != 7 || v.places() != 3 {
		t.Errorf("%v calls a second, %d places; want 7 and 3 as before", v.limit(), v.places())
	}
}

func TestTheTargetAsksForLess(t *testing.T) {
	everywhere(t, func(t *testing.T, folder func() string) {
		dir := folder()
		g := newSteered(t, dir, Settings{Rate: 8, Places: 10})
		other := newSteered(t, dir, Settings{Rate: 8, Places: 10})
		sent := time.Now()
		for range 10 { // that were in flight together
			g.ended(t, Outcome{Sent: sent, Busy: true, Crowded: true, Reason: "api 510"})
		}
		for _, gate := range []*steered{g, other, newSteered(t, dir, Settings{Rate: 8, Places: 10})} {
			if v := gate.look(true); v.allowed() < 4 || v.allowed() > 4.5 || v.places() != 5 {
				t.Errorf("%v calls a second and %d places are allowed after ten calls of one moment, want half", v.allowed(), v.places())
			}
		}
		age(t, g, settling+time.Millisecond)
		g.ended(t, Outcome{Busy: true, Reason: "http 429"})
		if v := other.look(true); v.allowed() < 2 || v.allowed() > 2.5 || v.places() != 5 {
			t.Errorf("%v calls a second and %d places are allowed after another step, want a quarter and half", v.allowed(), v.places())
		}
		if told := g.told(); told != "slowed" {
			t.Errorf("told %q, want the steps of some seconds told once", told)
		}
		age(t, g, 10*time.Second)
		if v := other.look(true); v.allowed() < 3.6 || v.allowed() > 4.1 || v.places() != 7 {
			t.Errorf("%v calls a second and %d places are allowed after 10 seconds, want a tenth more for each 5", v.allowed(), v.places())
		}
		age(t, g, Recovery)
		if v := other.look(true); v.allowed() != 8 || v.places() != 10 {
			t.Errorf("%v calls a second and %d places are allowed at the end, want all", v.allowed(), v.places())
		}
		g.look(true)
		if all := g.told() + " " + other.told(); all != "slowed restored" {
			t.Errorf("told %q, want slowed, and restored once", all)
		}
	})
}

// age makes what the state file tells so much older.
func age(t *testing.T, g *steered, by time.Duration) {
	t.Helper()
	if err := g.update(func(s *shared, _ time.Time) []Event {
		for _, at := range []*time.Time{&s.Pace.At, &s.Pace.From, &s.Crowd.At, &s.Crowd.From, &s.Told, &s.NotBefore} {
			if !at.IsZero() {
				*at = at.Add(-by)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutALimitThePaceIsMeasured(t *testing.T) {
	everywhere(t, func(t *testing.T, folder func() string) {
		g := newSteered(t, folder(), Settings{Places: 4})
		for range 40 {
			turn := enter(t, g.Gate)
			if err := turn.Fresh(t.Context(), t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			turn.Leave()
		}
		g.mu.Lock()
		for i := range g.begun { // 40 in 4 seconds
			g.begun[i] = time.Now().Add(time.Duration(i-40) * 100 * time.Millisecond)
		}
		g.mu.Unlock()
		g.ended(t, Outcome{Busy: true, Reason: "http 503"})
		if a := g.look(true).allowed(); a < 4 || a > 5.5 {
			t.Errorf("%v calls a second are allowed, want 5: half of what was measured", a)
		}
		age(t, g, Recovery)
		if a := g.look(true).allowed(); a != 0 {
			t.Errorf("%v calls a second are allowed at the end, want no limit", a)
		}
	})
}

func TestTheTargetAsksToWait(t *testing.T) {
	everywhere(t, func(t *testing.T, folder func() string) {
		dir := folder()
		g, other := newSteered(t, dir, Settings{Rate: 100, Places: 2}), newSteered(t, dir, Settings{Rate: 100, Places: 2})
		g.ended(t, Outcome{Busy: true, Reason: "http 429", RetryAfter: time.Hour})
		in := entering(t, other)
		waits(t, in)
		if s := other.State(); !strings.HasPrefix(s.Closed, "the target asks to wait until ") {
			t.Errorf("%+v, want it closed as the target asks", s)
		}
		age(t, g, time.Hour)
		arrives(t, in)
	})
}

func TestAStateThatIsDamagedOrOfAnotherClockIsBegunAnew(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"torn":          `{"version":1,"row":`,
		"empty":         ``,
		"another":       `{"version":2,"breaker":{"open":true}}`,
		"another clock": `{"version":1,"breaker":{"open":true,"since":"2999-01-01T00:00:00Z","next":"2999-01-01T00:00:00Z"}}`,
		"no recovery":   `{"version":1,"pace":{"share":0.01,"at":"2026-01-01T00:00:00Z","from":"2999-01-01T00:00:00Z"}}`,
		"a long wait":   `{"version":1,"not_before":"2999-01-01T00:00:00Z"}`,
	} {
		g := newSteered(t, t.TempDir(), Settings{Rate: 1000, Places: 1})
		if err := os.WriteFile(g.target.(fileTarget).stateFile(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s := g.State(); s.Closed != "" || s.Allowed != 1000 {
			t.Errorf("%s: %+v, want it open", name, s)
		}
		g.ended(t, Outcome{Unknown: true})
		if s := readShared(g.target.(fileTarget).stateFile()); s.Row != 1 {
			t.Errorf("%s: %+v, want one unknown call", name, s)
		}
	}
}

// Whatever comes, the limit is the limit.
func TestThePaceIsNeverAboveItsLimit(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, limit := range []float64{0.01, 3, 1000} {
		g := newSteered(t, t.TempDir(), Settings{Rate: limit, Places: 8})
		for range 300 {
			switch r.IntN(3) {
			case 0:
				g.ended(t, Outcome{Busy: true, Crowded: r.IntN(2) == 0, RetryAfter: time.Duration(r.IntN(3)) * time.Second})
			case 1:
				age(t, g, time.Duration(r.IntN(20_000))*time.Millisecond)
			case 2:
				g.ended(t, Outcome{})
			}
			if v := g.look(true); v.allowed() > limit || v.allowed() < min(limit, slowest) || v.places() > 8 || v.places() < 1 {
				t.Fatalf("%v calls a second, %d places; want at most %v and 8", v.allowed(), v.places(), limit)
			}
		}
	}
}

func TestStartsKeepTheirDistanceWhileThePaceChanges(t *testing.T) {
	everywhere(t, func(t *testing.T, folder func() string) {
		const perSecond = 40
		dir := folder()
		var mu sync.Mutex
		var starts []time.Time
		var all sync.WaitGroup
		for range 2 {
			g := newSteered(t, dir, Settings{Rate: perSecond, Places: 6})
			for caller := range 3 {
				all.Go(func() {
					for n := range 8 {
						turn, err := g.Enter(t.Context())
						if err != nil {
							t.Error(err)
							return
						}
						if err := turn.Fresh(t.Context(), t.Context(), nil); err != nil {
							t.Error(err)
						}
						mu.Lock()
						starts = append(starts, turn.start)
						mu.Unlock()
						if caller == 0 && n%3 == 1 {
							g.ended(t, Outcome{Busy: true})
							age(t, g, Recovery/2)
						}
						turn.Leave()
					}
				})
			}
		}
		all.Wait()
		slices.SortFunc(starts, time.Time.Compare)
		for i := 1; i < len(starts); i++ {
			if gap := starts[i].Sub(starts[i-1]); gap < time.Second/perSecond {
				t.Errorf("start %d came %v after the one before, want at least %v", i, gap, time.Second/perSecond)
			}
		}
	})
}

func TestTheBreakerOpensAfterUnknownCallsInARow(t *testing.T) {
	everywhere(t, func(t *testing.T, folder func() string) {
		dir := folder()
		a, b := newSteered(t, dir, Settings{Places: 2, Breaker: 3}), newSteered(t, dir, Settings{Places: 2, Breaker: 3})
		unknown := Outcome{Unknown: true, Reason: "http 502"}
		a.ended(t, unknown)
		b.ended(t, unknown)
		a.ended(t, Outcome{}) // a row no more
		b.ended(t, unknown)
		a.ended(t, unknown)
		if s := a.State(); s.Closed != "" {
			t.Fatalf("%+v after two in a row, want it open", s)
		}
		a.serves.Store(false)
		b.serves.Store(false)
		b.ended(t, unknown)
		for _, g := range []*steered{a, b} {
			g.look(true)
			if s := g.State(); s.Closed != "the breaker is open: http 502, 3 calls in a row" || !s.Breaker || s.Since.IsZero() || s.Probe.IsZero() {
				t.Errorf("%+v after three in a row, want it closed", s)
			}
		}
		if all := a.told() + b.told(); all != "opened" {
			t.Errorf("told %q, want it once", all)
		}
		off := newSteered(t, folder(), Settings{Places: 1})
		for range 50 {
			off.ended(t, unknown)
		}
		if s := off.State(); s.Closed != "" {
			t.Errorf("%+v without a breaker, want it open", s)
		}
	})
}

func TestABreakerThatIsOpenLetsOneCallThroughAndCloses(t *testing.T) {
	everywhere(t, func(t *testing.T, folder func() string) {
		dir := folder()
		a, b := newSteered(t, dir, Settings{Places: 2}), newSteered(t, dir, Settings{Places: 2})
		a.serves.Store(false)
		b.serves.Store(false)
		before := time.Now()
		a.ended(t, Outcome{Fault: "the secret is wrong"})
		waiting := []<-chan *Turn{entering(t, a), entering(t, a), entering(t, b), entering(t, b)}
		any := make(chan *Turn, len(waiting))
		for _, in := range waiting {
			go func() { any <- arrives(t, in) }()
		}
		eventually(t, "some probes", func() bool { return a.probes.Load()+b.probes.Load() >= 2 })
		waits(t, any)

		a.serves.Store(true)
		b.serves.Store(true)
		first := arrives(t, any)
		waits(t, any)
		// What was sent before the breaker opened says nothing.
		a.ended(t, Outcome{Sent: before})
		// The one call is unknown: it stays open, and another is tried.
		gate := map[*Gate]*steered{a.Gate: a, b.Gate: b}[first.gate]
		gate.ended(t, Outcome{Unknown: true, Reason: "reset"})
		waits(t, any)
		first.Leave()
		second := arrives(t, any)
		waits(t, any)
		gate = map[*Gate]*steered{a.Gate: a, b.Gate: b}[second.gate]
		gate.ended(t, Outcome{})
		second.Leave()
		arrives(t, any)
		arrives(t, any)
		if all := strings.Fields(a.told() + " " + b.told()); len(all) != 2 {
			t.Errorf("told %q, want opened and closed", all)
		}
	})
}

// The target is down, and refuses the credentials when it is there again: that
// is said at once, and once.
func TestAProbeThatIsRefusedSaysWhy(t *testing.T) {
	everywhere(t, func(t *testing.T, folder func() string) {
		g := newSteered(t, folder(), Settings{Places: 1, Breaker: 1})
		var probes atomic.Int64
		g.cfg.Probe = func(context.Context) error {
			if n := probes.Add(1); n > 1 {
				return NewFault(fmt.Errorf("the secret is wrong (request %d)", n))
			}
			return errors.New("nobody answers")
		}
		g.ended(t, Outcome{Unknown: true, Reason: "refused"})
		in := entering(t, g)
		eventually(t, "some probes", func() bool { return probes.Load() >= 4 })
		waits(t, in)
		if s := g.State(); s.Closed != "the breaker is open: the secret is wrong (request 2)" {
			t.Errorf("it is %q, want the reason of the probe", s.Closed)
		}
		if all := g.told(); all != "opened opened" {
			t.Errorf("told %q, want the outage and the secret, once each", all)
		}
	})
}

func TestAProcessWhoseOwnCallsAreRefusedProbesForItself(t *testing.T) {
	everywhere(t, func(t *testing.T, folder func() string) {
		dir := folder()
		good, bad := newSteered(t, dir, Settings{Places: 2}), newSteered(t, dir, Settings{Places: 2})
		bad.serves.Store(false)
		bad.ended(t, Outcome{Fault: "the secret is wrong"})
		turn := enter(t, good.Gate) // its credentials are right
		good.ended(t, Outcome{})
		turn.Leave()
		if s := good.State(); s.Closed != "" {
			t.Errorf("%+v, want it open for a process that is served", s)
		}
		in := entering(t, bad)
		waits(t, in)
		if s := bad.State(); !s.Breaker || !strings.Contains(s.Closed, "secret") {
			t.Errorf("%+v, want it closed for a process that is not", s)
		}
		bad.serves.Store(true)
		arrives(t, in)
	})
}

func TestAProcessThatDiesInATrialLeavesItToAnother(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := start(t, "trial", dir, "0 2 1 1")
	c.goOn(t)
	c.expect(t, "in")
	g := newSteered(t, dir, Settings{Places: 2})
	in := entering(t, g)
	waits(t, in)
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	if turn := arrives(t, in); turn.trial == nil {
		t.Error("the breaker is closed, want another trial")
	}
}

func TestThePausesBetweenProbesGrow(t *testing.T) {
	var b breaker
	now := time.Now()
	b.trip("x", time.Second, now)
	for _, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute} {
		pause := b.Next.Sub(now)
		if pause < want*9/10 || pause > want*11/10+1 {
			t.Errorf("probe %d comes after %v, want %v or a tenth more or less", b.Probes, pause, want)
		}
		if b.begin(time.Second, b.Next.Add(-time.Millisecond)) {
			t.Error("a probe is made before it is due")
		}
		now = b.Next
		if !b.begin(time.Second, now) {
			t.Error("a probe that is due is not made")
		}
	}
}

func TestAPauseIsSeenJustBeforeAProbe(t *testing.T) {
	t.Parallel()
	g := newSteered(t, t.TempDir(), Settings{Rate: 1000, Places: 1, Breaker: 1})
	turn := enter(t, g.Gate)
	defer turn.Leave()
	g.ended(t, Outcome{Unknown: true})
	for now := range time.Tick(time.Millisecond) {
		if b := g.look(true).tripped(); b.due(now) {
			break
		}
	}
	before := g.look(false)
	g.set(func(s *Settings) { s.Paused = true })
	if err := turn.probe(t.Context(), before); err != nil || turn.trial != nil || g.probes.Load() != 0 {
		t.Errorf("%v, %d probes were made in a pause, want none", err, g.probes.Load())
	}
	if after := g.look(true); after.state.Breaker.Probes != 0 {
		t.Errorf("%+v, want the probe to be due still", after.state.Breaker)
	}
	g.set(func(s *Settings) { s.Paused = false })
	if err := turn.probe(t.Context(), g.look(true)); err != nil || turn.trial == nil || g.probes.Load() != 1 {
		t.Errorf("%v, %d probes after the pause, want one, and that it lets this call through", err, g.probes.Load())
	}
}
