package durablefs

import (
	"os"
	"sync"
)

// syncFolder makes the names in a folder durable that were there when it was called. Callers of one process share fsyncs:
// while one runs, all that call meanwhile wait for the next one together. Each gets the error of the fsync that began after
// its call.
func syncFolder(dir string) error {
	f, _ := folders.LoadOrStore(dir, newFolder())
	return f.(*folder).sync(dir)
}

// folders has a *folder for each path that was synced. In a ledger there is one for a thousand batches.
var folders sync.Map

// folder coordinates the callers of syncFolder.
type folder struct {
	syncing chan struct{} // full during an fsync

	mu   sync.Mutex
	next *round // has not begun its fsync; nil if nobody waits
}

func newFolder() *folder { return &folder{syncing: make(chan struct{}, 1)} }

// round is one fsync, for all that joined before it began.
type round struct {
	done chan struct{}
	err  error // valid when done is closed
}

func (f *folder) sync(dir string) error {
	f.mu.Lock()
	r := f.next
	if r != nil {
		f.mu.Unlock()
		<-r.done
		return r.err
	}
	r = &round{done: make(chan struct{})}
	f.next = r
	f.mu.Unlock()

	f.syncing <- struct{}{}
	f.mu.Lock()
	f.next = nil // the fsync does not cover a name that is created from now on
	f.mu.Unlock()
	r.err = fsyncFolder(dir)
	close(r.done)
	<-f.syncing
	return r.err
}

// fsyncFolder is the system's fsync. Tests replace it.
var fsyncFolder = func(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return f.Sync()
}
