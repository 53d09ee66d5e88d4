package pace

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"durable-dataload/internal/durablefs"
)

// aged makes a file look as if nobody had touched it for some time.
func aged(t *testing.T, path string, by time.Duration) {
	t.Helper()
	then := time.Now().Add(-by)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
}

func TestThePlaceOfAProcessThatIsStoppedIsTakenAway(t *testing.T) {
	dir := t.TempDir()
	g, err := open(dir, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "places", "place-0")
	stopped, err := durablefs.TryLock(path) // and never shows itself again
	if err != nil {
		t.Fatal(err)
	}
	defer stopped.Unlock()

	short, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	aged(t, path, placeAbandoned-5*time.Second)
	if _, err := g.Enter(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Enter gave %v while the place was not abandoned yet, want to wait", err)
	}

	long, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	aged(t, path, placeAbandoned+time.Second)
	turn, err := g.Enter(long)
	if err != nil {
		t.Fatalf("Enter gave %v, want the abandoned place", err)
	}
	// The place is one again: nobody else gets it.
	if other, err := durablefs.TryLock(path); !errors.Is(err, durablefs.ErrLocked) {
		other.Unlock()
		t.Errorf("the place can be locked by another (%v), want ErrLocked", err)
	}
	turn.Leave()
	again, err := g.Enter(long)
	if err != nil {
		t.Fatalf("Enter gave %v after Leave", err)
	}
	again.Leave()
}

func TestAFreePlaceThatWasNotUsedForLongIsTakenAsItIs(t *testing.T) {
	dir := t.TempDir()
	g, err := open(dir, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		turn, err := g.Enter(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if isAbandoned(filepath.Join(dir, "places", "place-0")) {
			t.Error("a place that was just taken looks abandoned")
		}
		turn.Leave()
		aged(t, filepath.Join(dir, "places", "place-0"), time.Hour)
	}
}

func TestAProcessThatIsStoppedWithTheStartTimesHoldsNobodyUp(t *testing.T) {
	g := newGate(t, t.TempDir(), 1, 2)
	enter(t, g).Leave()
	last := readStart(t, g)
	stopped, err := durablefs.TryLock(g.cfg.Starts) // and never gives it free
	if err != nil {
		t.Fatal(err)
	}
	defer stopped.Unlock()
	aged(t, g.cfg.Starts, placeAbandoned+time.Second)

	// The next start keeps its distance to the last one that was given out.
	turn := enter(t, g)
	if gap := turn.start.Sub(last); gap < g.look(false).interval() {
		t.Errorf("the next start comes %v after the last one, want the distance of the rate limit", gap)
	}
	turn.Leave()
	if isAt(stopped.File(), g.cfg.Starts) {
		t.Error("the file is still that of the stopped process")
	}
	// What it writes, should it wake, is not looked at; and it changes no state.
	if err := g.update(func(s *shared, now time.Time) []Event {
		s.NotBefore = now.Add(time.Hour)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if state := readShared(g.target.(fileTarget).stateFile()); state.NotBefore.IsZero() {
		t.Error("the state was not changed by the one who has the lock")
	}
}

func TestAChangeOfTheStateIsMadeAgainWhereTheLockWasLost(t *testing.T) {
	g := newGate(t, t.TempDir(), 0, 1)
	times := 0
	if err := g.update(func(s *shared, now time.Time) []Event {
		if times++; times == 1 { // the lock is taken away from this process, which slept
			aged(t, g.cfg.Starts, time.Hour)
			if err := copyAbandoned(g.cfg.Starts); err != nil {
				t.Fatal(err)
			}
		}
		s.NotBefore = now.Add(time.Hour)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if times != 2 || readShared(g.target.(fileTarget).stateFile()).NotBefore.IsZero() {
		t.Errorf("changed %d times, state %+v; want it made again, under the new lock", times, readShared(g.target.(fileTarget).stateFile()))
	}
}

func readStart(t *testing.T, g *Gate) time.Time {
	t.Helper()
	data, err := os.ReadFile(g.cfg.Starts)
	if err != nil || len(data) != 8 {
		t.Fatalf("the start times: %q, %v", data, err)
	}
	return time.Unix(0, int64(binary.LittleEndian.Uint64(data)))
}
