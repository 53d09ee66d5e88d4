package pace

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"durable-dataload/internal/private"
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
	stopped, err := private.TryLock(path) // and never shows itself again
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
	if other, err := private.TryLock(path); !errors.Is(err, private.ErrLocked) {
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
