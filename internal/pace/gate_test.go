package pace

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/proof/program"
	"durable-dataload/internal/store"
)

// patience is how long something may take that should happen at once. It only
// ends tests that have failed.
const patience = 30 * time.Second

// TestMain can also be another worker process on the same files.
func TestMain(m *testing.M) {
	if mode := os.Getenv("PACE_TEST_PROCESS"); mode != "" {
		if err := process(mode, os.Getenv("PACE_TEST_DIR"), os.Getenv("PACE_TEST_NUMBERS")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	program.UseMemory()
	os.Exit(m.Run())
}

func open(dir string, perSecond float64, places int) (*Gate, error) {
	return New(Config{Starts: store.Join(dir, "pace", "target"), Places: store.Join(dir, "places"), Settings: Fixed(perSecond, places)})
}

func process(mode, dir, numbers string) error {
	var perSecond float64
	var places, callers, calls int
	if _, err := fmt.Sscan(numbers, &perSecond, &places, &callers, &calls); err != nil {
		return err
	}
	g, err := open(dir, perSecond, places)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	switch mode {
	case "hold": // enters, and stays until it is killed
		if _, err := g.Enter(context.Background()); err != nil {
			return err
		}
		fmt.Println("in")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	case "trial": // the same, of a gate whose breaker has opened
		if err := g.Ended(context.Background(), Outcome{Sent: time.Now(), Fault: "the secret"}); err != nil {
			return err
		}
		turn, err := g.Enter(context.Background())
		if err != nil {
			return err
		}
		if turn.trial == nil {
			return errors.New("it was let in, and is no trial")
		}
		fmt.Println("in")
		_, err = io.Copy(io.Discard, os.Stdin)
		return err
	case "call": // so many callers at once, so many calls each
		events, err := os.OpenFile(filepath.Join(dir, "events"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer func() { _ = events.Close() }()
		failed := make(chan error, callers)
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range calls {
					turn, err := g.Enter(context.Background())
					if err != nil {
						failed <- err
						return
					}
					began := time.Now()
					// An append is one moment for all processes.
					_, inErr := events.WriteString("+")
					fmt.Printf("%d %d\n", turn.start.UnixNano(), began.UnixNano())
					_, outErr := events.WriteString("-")
					turn.Leave()
					if err := errors.Join(inErr, outErr); err != nil {
						failed <- err
						return
					}
				}
			})
		}
		wg.Wait()
		close(failed)
		return <-failed
	}
	return fmt.Errorf("no process %q", mode)
}

type child struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
	err *bytes.Buffer
}

// start starts another process, which is ready and waits for the word.
func start(t *testing.T, mode, dir, numbers string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0]), err: &bytes.Buffer{}}
	c.Env = append(os.Environ(), "PACE_TEST_PROCESS="+mode, "PACE_TEST_DIR="+dir, "PACE_TEST_NUMBERS="+numbers)
	c.Stderr = c.err
	var err error
	if c.in, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewScanner(out)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	c.expect(t, "ready")
	return c
}

func (c *child) expect(t *testing.T, want string) {
	t.Helper()
	c.out.Scan()
	if got := c.out.Text(); got != want {
		t.Fatalf("the process says %q, want %q; %s", got, want, c.err)
	}
}

func (c *child) goOn(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(c.in, "go\n"); err != nil {
		t.Fatal(err)
	}
}

func newGate(t *testing.T, dir string, perSecond float64, places int) *Gate {
	t.Helper()
	g, err := open(dir, perSecond, places)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// enter enters within patience.
func enter(t *testing.T, g *Gate) *Turn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	turn, err := g.Enter(ctx)
	if err != nil {
		t.Fatalf("Enter: %v, want a turn", err)
	}
	return turn
}

// calls is what two processes recorded of their calls.
type calls struct {
	starts []time.Time // that the gates gave out
	begun  []time.Time // by the clock of the caller, when it had entered
	events string      // + for a call that begins, - for one that ends
}

func callFromTwoProcesses(t *testing.T, numbers string) calls {
	t.Helper()
	dir := t.TempDir()
	processes := []*child{start(t, "call", dir, numbers), start(t, "call", dir, numbers)}
	for _, c := range processes {
		c.goOn(t)
	}
	var r calls
	for _, c := range processes {
		for c.out.Scan() {
			granted, begun, _ := strings.Cut(c.out.Text(), " ")
			for text, list := range map[string]*[]time.Time{granted: &r.starts, begun: &r.begun} {
				nanoseconds, err := strconv.ParseInt(text, 10, 64)
				if err != nil {
					t.Fatalf("the process says %q", c.out.Text())
				}
				*list = append(*list, time.Unix(0, nanoseconds))
			}
		}
		if err := c.Wait(); err != nil {
			t.Fatalf("the process: %v; %s", err, c.err)
		}
	}
	slices.SortFunc(r.starts, time.Time.Compare)
	slices.SortFunc(r.begun, time.Time.Compare)
	events, err := os.ReadFile(filepath.Join(dir, "events"))
	if err != nil {
		t.Fatal(err)
	}
	r.events = string(events)
	return r
}

func TestNoMoreCallsAreInFlightThanPlaces(t *testing.T) {
	for _, places := range []int{1, 3} {
		r := callFromTwoProcesses(t, fmt.Sprintf("0 %d 6 40", places))
		in, most := 0, 0
		for _, event := range r.events {
			in += map[rune]int{'+': 1, '-': -1}[event]
			most = max(most, in)
		}
		if in != 0 || len(r.events) != 2*2*6*40 {
			t.Fatalf("%d events, %d calls have not ended; want %d and none", len(r.events), in, 2*2*6*40)
		}
		if most > places {
			t.Errorf("%d places: %d calls were in flight in two processes", places, most)
		}
	}
}

func TestStartTimesOfTwoProcessesKeepTheirDistance(t *testing.T) {
	const perSecond, each = 8.0, 12
	r := callFromTwoProcesses(t, fmt.Sprintf("%g 10 3 %d", perSecond, each/3))
	if len(r.starts) != 2*each {
		t.Fatalf("%d calls, want %d", len(r.starts), 2*each)
	}
	interval := time.Duration(float64(time.Second) / perSecond)
	for i := 1; i < len(r.starts); i++ {
		if gap := r.starts[i].Sub(r.starts[i-1]); gap < interval {
			t.Errorf("start %d was given out %v after the one before, want at least %v", i, gap, interval)
		}
	}
	for i, first := range r.begun {
		inOneSecond := 0
		for _, t := range r.begun[i:] {
			if t.Sub(first) < time.Second {
				inOneSecond++
			}
		}
		if inOneSecond > perSecond+1 {
			t.Errorf("%d calls began within a second after call %d, want at most %g", inOneSecond, i, perSecond+1)
		}
	}
	// Not slower than it has to be, but for what a busy machine takes.
	if took, most := r.starts[len(r.starts)-1].Sub(r.starts[0]), time.Duration(2*each-1)*interval*2; took > most {
		t.Errorf("%d calls took %v, want at most %v", 2*each, took, most)
	}
}

func TestAnIdleTimeIsNotMadeUpForWithABurst(t *testing.T) {
	g := newGate(t, t.TempDir(), 10, 10)
	writeStart(t, g, time.Now().Add(-time.Hour))
	var last time.Time
	for i := range 4 {
		turn := enter(t, g)
		if gap := turn.start.Sub(last); gap < g.look(true).interval() {
			t.Errorf("start %d came %v after the one before, want at least %v", i, gap, g.look(true).interval())
		}
		last = turn.start
		turn.Leave()
	}
}

func TestAPlaceComesFreeWhenItsProcessIsKilled(t *testing.T) {
	dir := t.TempDir()
	g := newGate(t, dir, 0, 1)
	c := start(t, "hold", dir, "0 1 1 1")
	c.goOn(t)
	c.expect(t, "in")

	entered := make(chan error, 1)
	go func() {
		turn, err := g.Enter(t.Context())
		if err == nil {
			turn.Leave()
		}
		entered <- err
	}()
	eventually(t, "the caller waits for a place", func() bool { return g.local.inUse() == 1 })
	select {
	case err := <-entered:
		t.Fatalf("Enter returned %v beside the process that has the only place", err)
	default:
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	select {
	case err := <-entered:
		if err != nil {
			t.Errorf("Enter after the process was killed: %v, want its place", err)
		}
	case <-time.After(patience):
		t.Error("the place of the killed process is not free")
	}
}

func TestAStaleTurnGetsAnotherStart(t *testing.T) {
	g := newGate(t, t.TempDir(), 20, 2)
	turn := enter(t, g)
	defer turn.Leave()
	granted := time.Now()
	turn.start = granted
	if err := turn.Fresh(t.Context(), t.Context(), nil); err != nil || !turn.start.Equal(granted) && time.Since(granted) < tolerance(g.look(true).interval()) {
		t.Errorf("a turn that is fresh got another start (%v)", err)
	}
	for _, late := range []time.Duration{tolerance(g.look(true).interval()) + time.Millisecond, time.Hour} {
		other := enter(t, g)
		given := other.start
		other.Leave()
		turn.start = time.Now().Add(-late)
		if err := turn.Fresh(t.Context(), t.Context(), nil); err != nil || turn.start.Sub(given) < g.look(true).interval() {
			t.Errorf("a turn that is %v late starts %v after the one that was given out last (%v), want at least %v", late, turn.start.Sub(given), err, g.look(true).interval())
		}
	}
}

func TestZeroIsNoLimit(t *testing.T) {
	dir := t.TempDir()
	g := newGate(t, dir, 0, 2)
	begin := time.Now()
	for range 500 {
		turn := enter(t, g)
		if err := turn.Fresh(t.Context(), t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		turn.Leave()
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("500 calls took %v, want no limit", took)
	}
	if _, err := os.Stat(g.cfg.Starts); err == nil {
		t.Errorf("start times were given out")
	}
}

func TestAnEndedContextReturnsAtOnceAndGivesThePlaceBack(t *testing.T) {
	cases := map[string]struct {
		perSecond float64
		places    int
		busy      func(t *testing.T, g *Gate) // until the case is over
		waiting   func(g *Gate) bool
	}{
		"waiting for the start time": {
			0.001, 1,
			func(t *testing.T, g *Gate) { writeStart(t, g, time.Now()) },
			func(g *Gate) bool { return len(g.target.(fileTarget).queue) == 1 },
		},
		"waiting behind another caller": {
			0.001, 2,
			func(t *testing.T, g *Gate) {
				writeStart(t, g, time.Now())
				ctx, cancel := context.WithCancel(t.Context())
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					_, _ = g.Enter(ctx)
				}()
				t.Cleanup(func() { cancel(); <-gone })
				eventually(t, "another caller waits for its start", func() bool { return len(g.target.(fileTarget).queue) == 1 })
			},
			func(g *Gate) bool { return g.local.inUse() == 2 && !placeIsFree(g, 1) },
		},
		"waiting for a place of another process": {
			0, 1,
			func(t *testing.T, g *Gate) {
				lock, err := durablefs.TryLock(filepath.Join(g.cfg.Places, "place-0"))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(lock.Unlock)
			},
			func(g *Gate) bool { return g.local.inUse() == 1 },
		},
		"waiting for a place of this process": {
			0, 1,
			func(t *testing.T, g *Gate) { t.Cleanup(enter(t, g).Leave) },
			func(g *Gate) bool { return true },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			g := newGate(t, t.TempDir(), tc.perSecond, tc.places)
			tc.busy(t, g)
			inUse := g.local.inUse()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			returned := make(chan error, 1)
			go func() {
				_, err := g.Enter(ctx)
				returned <- err
			}()
			eventually(t, "the caller waits", func() bool { return tc.waiting(g) })
			cancel()
			select {
			case err := <-returned:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("Enter: %v, want %v", err, context.Canceled)
				}
			case <-time.After(patience):
				t.Fatal("Enter waits on, want it to return")
			}
			if g.local.inUse() != inUse || !placeIsFree(g, tc.places-1) && tc.perSecond > 0 {
				t.Errorf("%d places of this process are in use, %d before; the place is free: %v", g.local.inUse(), inUse, placeIsFree(g, tc.places-1))
			}
		})
	}
}

func placeIsFree(g *Gate, i int) bool {
	lock, err := durablefs.TryLock(filepath.Join(g.cfg.Places, fmt.Sprintf("place-%d", i)))
	lock.Unlock()
	return err == nil
}

func TestAStartTimeFarAheadDoesNotBlock(t *testing.T) {
	// The clock was set back, or the file was written by a machine whose clock
	// was wrong.
	for _, ahead := range []time.Duration{time.Hour, 30 * 365 * 24 * time.Hour} {
		g := newGate(t, t.TempDir(), 10, 1)
		writeStart(t, g, time.Now().Add(ahead))
		turn := enter(t, g)
		if wait := time.Until(turn.start); wait > 0 {
			t.Errorf("%v ahead: the start is %v ahead, want now", ahead, wait)
		}
		turn.Leave()
		next := enter(t, g)
		if gap := next.start.Sub(turn.start); gap < g.look(true).interval() {
			t.Errorf("%v ahead: the next start is %v later, want at least %v", ahead, gap, g.look(true).interval())
		}
		next.Leave()
	}
}

func TestATornFileDoesNotBlock(t *testing.T) {
	g := newGate(t, t.TempDir(), 10, 1)
	if err := os.WriteFile(g.cfg.Starts, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	enter(t, g).Leave()
}

func TestAFolderThatIsGoneIsAnError(t *testing.T) {
	dir := t.TempDir()
	g := newGate(t, dir, 10, 2)
	if err := os.RemoveAll(filepath.Join(dir, "pace")); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Enter(t.Context()); err == nil || !strings.Contains(err.Error(), "rate limit") {
		t.Errorf("Enter without the start times: %v, want an error about the rate limit", err)
	}
	if g.local.inUse() != 0 || !placeIsFree(g, 0) {
		t.Error("the place was not given back")
	}
	if err := os.RemoveAll(filepath.Join(dir, "places")); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Enter(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Enter without the places: %v, want %v", err, os.ErrNotExist)
	}
	if g.local.inUse() != 0 {
		t.Error("the place was not given back")
	}
}

func TestTheHookUsesTheTurnOfItsCaller(t *testing.T) {
	g := newGate(t, t.TempDir(), 20, 1)
	turn := enter(t, g)
	// With the only place in the caller's hand, a second one would never come.
	turn.start = time.Now().Add(-time.Hour)
	release, err := g.BeforeCall(WithTurn(t.Context(), t.Context(), turn, func() error { return nil }))
	if err != nil || release != nil || time.Since(turn.start) > time.Minute {
		t.Errorf("BeforeCall under a turn: release %v, %v, start %v; want a fresh start of that turn", release != nil, err, turn.start)
	}
	turn.Leave()
	release, err = g.BeforeCall(t.Context())
	if err != nil || release == nil || g.local.inUse() != 1 {
		t.Fatalf("BeforeCall: release %v, %v, %d places in use; want a turn of its own", release != nil, err, g.local.inUse())
	}
	release()
	if g.local.inUse() != 0 || !placeIsFree(g, 0) {
		t.Error("release has not given the place back")
	}
}

// writeStart makes t the start time that was given out last.
func writeStart(t *testing.T, g *Gate, last time.Time) {
	t.Helper()
	data := binary.LittleEndian.AppendUint64(nil, uint64(last.UnixNano()))
	if err := os.WriteFile(g.cfg.Starts, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for it: %s", patience, what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestACallIsPreparedBeforeItsStartAndMadeNoSooner(t *testing.T) {
	g := newGate(t, t.TempDir(), 20, 5)
	var last time.Time
	for range 5 {
		turn, err := g.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := turn.Fresh(t.Context(), t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if now := time.Now(); now.Before(turn.start) {
			t.Errorf("the call is %s before its start time", turn.start.Sub(now))
		}
		if !last.IsZero() && turn.start.Sub(last) < 50*time.Millisecond {
			t.Errorf("two start times are %s apart, want a twentieth of a second", turn.start.Sub(last))
		}
		last = turn.start
		turn.Leave()
	}
}
