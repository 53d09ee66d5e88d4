package pace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"durable-dataload/internal/durablefs"
)

// fileTarget is a target that is shared through files with locks of the operating
// system: path has the start time that was given out last, and its lock is that
// of the state beside it.
type fileTarget struct {
	path string
	// One caller of a process at a time waits, so that a process that dies has few
	// start times given out that nobody uses.
	queue chan struct{}
}

func newFileTarget(path string) fileTarget { return fileTarget{path, make(chan struct{}, 1)} }

func (f fileTarget) stateFile() string { return f.path + ".state" }
func (f fileTarget) probeFile() string { return f.path + ".probe" }

func (fileTarget) far() bool { return false }

// lead is how long before its start time a turn is given: for what a caller has
// to write down before it calls. It is not given out long before, since the pace
// may change.
const lead = 50 * time.Millisecond

func (f fileTarget) wait(ctx context.Context, interval func() (time.Duration, error), _ time.Duration) (given, error) {
	if each, err := interval(); each == 0 || err != nil {
		return given{}, err
	}
	select {
	case f.queue <- struct{}{}:
		defer func() { <-f.queue }()
	case <-ctx.Done():
		return given{}, context.Cause(ctx)
	}
	for {
		each, err := interval()
		if each == 0 || err != nil {
			return given{}, err
		}
		start, taken, err := f.nextStart(each)
		if err != nil {
			return given{}, err
		}
		if !taken {
			if err := sleepUntil(ctx, earlier(start.Add(-lead), time.Now().Add(poll))); err != nil {
				return given{}, err
			}
			continue
		}
		if now := time.Now(); now.Sub(start) <= tolerance(each) {
			return given{start, each, now}, nil
		}
	}
}

func (f fileTarget) passes(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	_, _, err := f.nextStart(0)
	return err
}

// nextStart gives the next start time. It is taken if it is near.
func (f fileTarget) nextStart(interval time.Duration) (start time.Time, taken bool, err error) {
	lock, err := takeStarts(f.path)
	if err != nil {
		return start, false, fmt.Errorf("cannot keep the rate limit: %w", err)
	}
	defer lock.Unlock()
	now := time.Now()
	start = now
	var stored [8]byte
	if n, _ := lock.File().ReadAt(stored[:], 0); n == len(stored) {
		last := time.Unix(0, int64(binary.LittleEndian.Uint64(stored[:])))
		start = after(last, interval, now, now)
	}
	if start.After(now.Add(lead)) {
		return start, false, nil
	}
	binary.LittleEndian.PutUint64(stored[:], uint64(start.UnixNano()))
	if _, err := lock.File().WriteAt(stored[:], 0); err != nil {
		return start, false, fmt.Errorf("cannot keep the rate limit: %w", err)
	}
	return start, true, nil
}

// after is the start time after the last one, and not before earliest. A time far
// ahead of now was written under another clock.
func after(last time.Time, interval time.Duration, now, earliest time.Time) time.Time {
	if next := last.Add(interval); next.After(earliest) && next.Before(now.Add(10*interval+time.Minute)) {
		return next
	}
	return earliest
}

func (f fileTarget) read(time.Time) (shared, error) { return readShared(f.stateFile()), nil }

func (f fileTarget) change(change func(s *shared, now time.Time) []Event) ([]Event, error) {
	events, err := f.tryChange(change)
	for errors.Is(err, durablefs.ErrLocked) {
		events, err = f.tryChange(change)
	}
	return events, err
}

// tryChange gives ErrLocked if the lock was taken away meanwhile, from a process
// that was stopped, and nothing has changed.
func (f fileTarget) tryChange(change func(s *shared, now time.Time) []Event) ([]Event, error) {
	lock, err := takeStarts(f.path)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	s := readShared(f.stateFile())
	before := s.encode()
	events := change(&s, time.Now())
	after := s.encode()
	if string(before) == string(after) {
		return events, nil
	}
	if !isAt(lock.File(), f.path) {
		return nil, durablefs.ErrLocked
	}
	return events, durablefs.Swap(f.stateFile(), after)
}

// readShared reads the state of a target. What cannot be read is no state.
func readShared(path string) shared {
	data, err := os.ReadFile(path)
	if err != nil {
		return shared{Version: sharedVersion}
	}
	return decodeShared(data, time.Now())
}

// A process that dies gives the lock free, and one that is stopped loses it.
func (f fileTarget) tryProbe() (right, error) {
	lock, err := tryPlace(f.probeFile())
	if errors.Is(err, durablefs.ErrLocked) {
		takeAway(f.probeFile())
	}
	if err != nil {
		return nil, err
	}
	return hold(lock), nil
}

// filePlaces are places in a folder, a locked file each.
type filePlaces struct{ dir string }

// filePlace is one of them.
type filePlace struct {
	*held
	number int
}

func (p filePlace) surplus(n int) bool { return p.number >= n }

// sure is always true: a process that is stopped may have one call more in flight
// when it wakes.
func (filePlace) sure() bool { return true }

// close has nothing to do: a lock that is given free is free for all.
func (filePlaces) close(context.Context) {}

func (f filePlaces) take(ctx context.Context, look func() view) (place, error) {
	for {
		v := look()
		if v.rest() != "" {
			return nil, errAgain
		}
		for i := range v.places() {
			path := filepath.Join(f.dir, fmt.Sprintf("place-%d", i))
			lock, err := tryPlace(path)
			if err == nil {
				return filePlace{hold(lock), i}, nil
			}
			if !errors.Is(err, durablefs.ErrLocked) {
				return nil, err
			}
			takeAway(path)
		}
		// Another process has the rest: it will not tell us when it is done.
		pause := 20 * time.Millisecond
		if v.tripped().Open {
			pause = poll
		}
		if err := sleepUntil(ctx, time.Now().Add(pause)); err != nil {
			return nil, err
		}
	}
}
