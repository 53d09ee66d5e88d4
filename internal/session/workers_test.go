package session

import (
	"os"
	"path/filepath"
	"testing"

	"durable-dataload/internal/durablefs"
)

func TestOfTwoWorkersThatReleaseAtOnceOneStays(t *testing.T) {
	w := workersOf(t.TempDir(), "a-queue")
	enter := func() *durablefs.Lock {
		t.Helper()
		mark, err := w.enter()
		if err != nil {
			t.Fatal(err)
		}
		return mark
	}
	other := func(mark *durablefs.Lock, release bool) bool {
		t.Helper()
		pid, err := w.other(mark, release)
		if err != nil {
			t.Fatal(err)
		}
		if pid != 0 && pid != os.Getpid() {
			t.Errorf("a worker has the process id %d, want that of this process, %d", pid, os.Getpid())
		}
		return pid != 0
	}
	if other(nil, false) {
		t.Error("there is a worker before any has begun")
	}
	first, second := enter(), enter()
	for _, step := range []struct {
		name          string
		mark          *durablefs.Lock
		release, want bool
	}{
		{"the first asks", first, false, true},
		{"a watcher asks", nil, false, true},
		{"the first releases", first, true, true},
		{"the second wants to release", second, true, false},
		{"a watcher still finds the second", nil, false, true},
	} {
		if got := other(step.mark, step.release); got != step.want {
			t.Errorf("%s and finds another worker: %v, want %v", step.name, got, step.want)
		}
	}
	if workersOf(filepath.Dir(filepath.Dir(string(w))), "another queue") == w {
		t.Error("two task queues have the same workers")
	}
	unmark(second)
	unmark(second) // as Close does after a release
	if other(nil, false) {
		t.Error("there is a worker when all have released")
	}
}

// The process that wrote the file is dead, and its id is that of a process that
// lives: the file is not locked.
func TestAKilledProcessIsNoWorkerEvenIfItsIDIsReused(t *testing.T) {
	w := workersOf(t.TempDir(), "a-queue")
	mark, err := w.enter()
	if err != nil {
		t.Fatal(err)
	}
	left := mark.File().Name()
	if err := mark.File().Close(); err != nil { // as the system does for a process that was killed
		t.Fatal(err)
	}
	if info, err := os.Stat(left); err != nil || info.Size() == 0 {
		t.Fatalf("the file of the dead process: %v, %v; want its id in it", info, err)
	}
	if pid, err := w.other(nil, false); pid != 0 || err != nil {
		t.Errorf("the worker is process %d, %v; want none", pid, err)
	}
	if exists, _ := filepath.Glob(filepath.Join(string(w), "*"+workerFile)); len(exists) != 0 {
		t.Errorf("the file of the dead process is left: %q", exists)
	}
}
