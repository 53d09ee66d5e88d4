package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"durable-dataload/internal/proof/check"
	"durable-dataload/internal/proof/fleet"
	"durable-dataload/internal/proof/s3server"
)

const (
	clientID     = "chaos-client"
	clientSecret = "chaos-secret-4hVq81ZtLwPz0c"

	// Users that exist before must be there so long before the migration that
	// they can be distinguished from those of a lost call: clocks differ, and
	// HTTP's has whole seconds.
	clockTolerance = 4 * time.Second

	// eventsEnd is the time after which no event starts any more. A fleet's
	// migration is larger.
	eventsEnd      = 75 * time.Second
	fleetEventsEnd = 4 * time.Minute

	// longestSleep is the maximum time for which a worker is suspended. A worker that
	// is suspended while it holds the lock of the start times blocks the others, as
	// docs/state.md says.
	longestSleep = 45 * time.Second
)

// comesToItsEnd is the guarantee that is broken if a migration makes no progress, or
// ends in an unexplained way.
const comesToItsEnd = "rerunning the command completes the migration"

// episode is a plan that is being executed, in a separate folder.
type episode struct {
	plan
	programs  string // the folder of the binaries
	s3        string // the binary of the S3 server, on a bucket
	installed string // where the server of a real target is
	dir       string
	say       func(format string, args ...any)
	count     *figures

	input, original, queue string
	state                  string // the state folder of the starter
	work, out              string // where the files are of what migrations keep, and of the artifacts

	platform        platform
	target, service *proxy // before the target's server, and before the engine
	server, engine  *slot
	database        *slot  // of a fleet's engine
	clientFile      string // the certificate for the engine; "" in a fleet, whose service asks for none
	real            *fleet.Service
	bucket          *s3server.Server // nil: what migrations keep is in the state folder
	store           *slot
	workers         []*slot
	hasDisk         bool
	filling         sync.Mutex // one at a time fills the disk
	before          int64
	wantFailed      int
	begun           time.Time
	limit           time.Duration
	witness         *check.Witness

	over     chan struct{} // closed when nothing more is to happen
	happened sync.WaitGroup

	mu        sync.Mutex
	starter   *process
	starts    int
	pause     time.Duration // before the next start of the starter
	active    int           // events in progress
	disturbed time.Time     // when the last one ended
	slower    time.Time     // when the rate was set lower
	changed   bool          // the input is not what it was
	callsThen int           // when it was changed
	sleepers  []*process
	pausers   int // operators that will resume
	orders    int // of operators
	underway  map[string]*underway
	spans     []span
	broken    []check.Broken
	all       []*process
}

// run carries the plan out. The evidence is what there is to check afterwards;
// the error says that the harness itself could not work.
func (e *episode) run(ctx context.Context) (*evidence, []check.Broken, error) {
	defer e.close()
	if err := e.prepare(ctx); err != nil {
		return nil, nil, err
	}
	for _, ev := range e.events {
		e.happened.Go(func() { e.follow(ev) })
	}
	e.happened.Go(e.attend)
	watched := make(chan struct{})
	go e.watch(watched)
	defer func() { <-watched }()

	code, done := e.migrate(ctx)
	close(e.over)
	e.happened.Wait()
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	if !done {
		return nil, e.broken, nil
	}
	e.wake()
	evidence, err := e.collect(code)
	return evidence, e.broken, err
}

func (e *episode) path(name string) string { return filepath.Join(e.dir, name) }

func (e *episode) tell(invariant, format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.broken = append(e.broken, check.Broken{Invariant: invariant, What: fmt.Sprintf(format, args...)})
}

// watch reads the ledger until the end, to detect changes.
func (e *episode) watch(done chan<- struct{}) {
	defer close(done)
	for {
		select {
		case <-e.over:
			return
		case <-time.After(50 * time.Millisecond):
			if err := e.witness.Look(); err != nil {
				e.tell(check.DecidedOnce, "the ledger cannot be read: %v", err)
				return
			}
		}
	}
}

// unexplained reports whether nothing has happened since then that explains an
// end before the time.
func (e *episode) unexplained(since time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.active == 0 && e.disturbed.Before(since)
}

// close ends all that still runs.
func (e *episode) close() {
	for _, s := range e.slots() {
		if s != nil {
			s.close()
		}
	}
	if e.database != nil {
		// If killed, it leaves shared memory that nothing removes.
		p := e.database.close()
		p.signal(syscall.SIGQUIT)
		p.endsIn(5 * time.Second)
	}
	e.mu.Lock()
	all := append([]*process(nil), e.all...)
	e.mu.Unlock()
	for _, p := range all {
		p.kill()
	}
	for _, p := range []*proxy{e.target, e.service} {
		if p != nil {
			p.close()
		}
	}
}

// release unmounts the disk. Its content is kept on request.
func (e *episode) release(keep bool) error {
	if !e.hasDisk {
		return nil
	}
	e.hasDisk = false
	err := unmount(e.state, keep)
	if err == nil && keep {
		err = errors.Join(os.Remove(e.state), os.Rename(e.state+".kept", e.state))
	}
	return err
}
