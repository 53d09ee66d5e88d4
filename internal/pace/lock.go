package pace

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"durable-dataload/internal/durablefs"
)

const (
	// Who has a place shows it this often, by the time of its file.
	placeKept = 3 * time.Second
	// Of whom it was not seen for so long, the place is taken away: that one is
	// stopped, and the others need not wait. A call that it had made may still
	// be in flight then, at the most.
	placeAbandoned = 15 * time.Second
)

func tryPlace(path string) (*durablefs.Lock, error) {
	place, err := durablefs.TryLock(path)
	if err != nil {
		return nil, err
	}
	err = touch(place.File())
	if err == nil && !isAt(place.File(), path) {
		err = durablefs.ErrLocked // it was taken away from the one before just now
	}
	if err != nil {
		place.Unlock()
		return nil, err
	}
	return place, nil
}

// takeAway frees a place whose holder does not show itself. The holder keeps
// the file that it has locked, and the name is free for another.
func takeAway(path string) {
	if !isAbandoned(path) {
		return
	}
	one, err := durablefs.TryLock(filepath.Join(filepath.Dir(path), "taking-away"))
	if err != nil {
		return // another does it
	}
	defer one.Unlock()
	// Who has locked it just now has not shown itself yet.
	time.Sleep(50 * time.Millisecond)
	if isAbandoned(path) {
		_ = os.Remove(path)
	}
}

func isAbandoned(path string) bool {
	info, err := os.Stat(path)
	return err == nil && time.Since(info.ModTime()) > placeAbandoned
}

func isAt(f *os.File, path string) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(held, there)
}

// touch sets the time of a file to now.
func touch(f *os.File) error {
	_, err := f.WriteAt([]byte{'.'}, 0)
	return err
}

// held is a lock whose holder shows that it lives.
type held struct {
	lock *durablefs.Lock
	left chan struct{}
}

func hold(lock *durablefs.Lock) *held {
	h := &held{lock: lock, left: make(chan struct{})}
	go func() {
		ticker := time.NewTicker(placeKept)
		defer ticker.Stop()
		for {
			select {
			case <-h.left:
				return
			case <-ticker.C:
				_ = touch(h.lock.File())
			}
		}
	}()
	return h
}

// release gives the lock free. That of nil is.
func (h *held) release() {
	if h != nil {
		close(h.left)
		h.lock.Unlock()
	}
}

// takeStarts takes the lock of the start times, which is held for moments, and
// waits for it. It is taken away from one that is stopped while it has it: the
// name then means a copy of the file, and that one keeps the old one.
func takeStarts(path string) (*durablefs.Lock, error) {
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		lock, err := durablefs.TryLock(path)
		switch {
		case err == nil:
			now := time.Now()
			if err := os.Chtimes(path, now, now); err == nil && isAt(lock.File(), path) {
				return lock, nil
			}
			lock.Unlock() // it was taken away just now
		case !errors.Is(err, durablefs.ErrLocked):
			return nil, err
		case isAbandoned(path):
			if err := copyAbandoned(path); err != nil {
				return nil, err
			}
		}
		time.Sleep(pause)
	}
}

func copyAbandoned(path string) error {
	one, err := durablefs.TryLock(filepath.Join(filepath.Dir(path), "taking-away"))
	if errors.Is(err, durablefs.ErrLocked) {
		return nil // another does it
	}
	if err != nil {
		return err
	}
	defer one.Unlock()
	time.Sleep(50 * time.Millisecond)
	if !isAbandoned(path) {
		return nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return durablefs.Swap(path, content)
}
