package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

var errClosed = errors.New("the server has been closed")

// commitLog appends lines to a file, and brings the lines of concurrent calls to the disk together: one write and
// one fsync for all that came while the one before was under way.
//
// After the first failed write nothing more is accepted: what the disk holds is not known then.
type commitLog struct {
	file *os.File
	done chan struct{} // closed when the writer has ended

	mu      sync.Mutex
	change  *sync.Cond // any of the fields below changed
	pending []byte     // appended and not yet handed to the disk
	tail    int64      // size of the file once pending is in it
	durable int64      // size of the file that is on the disk for certain
	err     error
	closing bool
}

// openLog opens or creates the log of a state folder, for this process alone, and reads what it holds. A torn last
// line is cut off.
func openLog(stateDir string, each func(place int64, c *Call) error) (*commitLog, error) {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, fmt.Errorf("the state folder cannot be made: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(stateDir, TruthFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the truth log cannot be opened: %w", err)
	}
	l := &commitLog{file: file, done: make(chan struct{})}
	l.change = sync.NewCond(&l.mu)
	if err := l.recover(stateDir, each); err != nil {
		file.Close()
		return nil, err
	}
	go l.write()
	return l, nil
}

func (l *commitLog) recover(stateDir string, each func(place int64, c *Call) error) error {
	// The lock goes with the open file: the kernel lets go of it however the process ends.
	err := unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("the state folder %s belongs to a sandbox that is running: end that one, or choose another folder", stateDir)
	}
	if err != nil {
		return fmt.Errorf("the state folder %s cannot be locked: %w", stateDir, err)
	}
	end, err := readLines(l.file, each)
	if err != nil {
		return err
	}
	if err := l.file.Truncate(end); err != nil {
		return fmt.Errorf("the torn end of the truth log cannot be cut off: %w", err)
	}
	// Whole lines of a killed process may still be in memory only, and are about to be built upon.
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("the truth log cannot be brought to disk: %w", err)
	}
	folder, err := os.Open(stateDir)
	if err != nil {
		return fmt.Errorf("the state folder cannot be opened: %w", err)
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("the state folder cannot be brought to disk: %w", err)
	}
	l.tail, l.durable = end, end
	return nil
}

// refusal is the reason why nothing more is accepted, nil while the log works.
func (l *commitLog) refusal() error {
	if l.err == nil && l.closing {
		return errClosed
	}
	return l.err
}

// append puts a line at the end of the log and gives the place of its first and behind its last byte. The line is
// not durable before sync(end) has returned nil.
func (l *commitLog) append(line []byte) (start, end int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refusal(); err != nil {
		return 0, 0, err
	}
	start = l.tail
	l.pending = append(l.pending, line...)
	l.tail += int64(len(line))
	l.change.Broadcast()
	return start, l.tail, nil
}

// sync returns when everything before end is on the disk, or never will be.
func (l *commitLog) sync(end int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.durable < end && l.err == nil {
		l.change.Wait()
	}
	if l.durable < end {
		return l.err
	}
	return nil
}

// read returns what the log holds from start on: at least least bytes, for which it waits if their line is not durable
// yet, and at most most.
func (l *commitLog) read(start int64, least, most int) ([]byte, error) {
	if err := l.sync(start + int64(least)); err != nil {
		return nil, err
	}
	l.mu.Lock()
	size := min(int64(most), l.durable-start)
	l.mu.Unlock()
	buf := make([]byte, size)
	if _, err := l.file.ReadAt(buf, start); err != nil {
		return nil, fmt.Errorf("the truth log cannot be read: %w", err)
	}
	return buf, nil
}

// write is the one writer. It ends after close, when nothing is pending, or when the disk fails.
func (l *commitLog) write() {
	defer close(l.done)
	var spare []byte
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for len(l.pending) == 0 && !l.closing {
			l.change.Wait()
		}
		if len(l.pending) == 0 {
			return
		}
		group, at := l.pending, l.durable
		l.pending = spare[:0]
		l.mu.Unlock()
		_, err := l.file.WriteAt(group, at)
		if err == nil {
			err = l.file.Sync()
		}
		spare = group
		if cap(spare) > 8<<20 { // a rare giant is not kept
			spare = nil
		}
		l.mu.Lock()
		if err != nil {
			l.err = fmt.Errorf("the truth log cannot be written, nothing more is accepted: %w", err)
		} else {
			l.durable = at + int64(len(group))
		}
		l.change.Broadcast()
		if err != nil {
			return
		}
	}
}

// close brings everything appended to the disk, ends the writer and lets go of the state folder. It gives the error
// that stopped the log, if one did.
func (l *commitLog) close() error {
	l.mu.Lock()
	l.closing = true
	l.change.Broadcast()
	l.mu.Unlock()
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.err, l.file.Close())
}
