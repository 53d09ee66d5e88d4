package workflows

import (
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/internal/migration"
)

const (
	// A run ends at about this many events and continues as a new one: short
	// histories replay fast, and the Web UI can show them.
	eventsARun = 1800

	// batchesAPlan is how many batches are planned at once: about 2 KB.
	batchesAPlan = 100
)

// flight is the batches that a workflow has in work at once. Once it is
// cancelled, halted or held, no more are started.
type flight struct {
	inFlight int
	lost     int // batches that were started and not finished
	halted   string
	held     bool // too many records have failed: batches that were started and not sent are released
}

// pass goes once over a set of batches: it plans some, starts each as soon as
// there is room, and plans the next ones.
type pass[B any] struct {
	*flight
	plan   func(workflow.Context) (next []B, isLast bool, err error)
	window func() int         // that are in flight at most
	take   func(next []B) int // how many of them are worked on together; nil: one
	work   func(workflow.Context, []B)
}

// singly works on one batch after the other.
func singly[B any](work func(workflow.Context, B)) func(workflow.Context, []B) {
	return func(ctx workflow.Context, batches []B) {
		for _, b := range batches {
			work(ctx, b)
		}
	}
}

// run goes over the batches until the last one is done or the work is stopped. It
// says whether the workflow should continue as new instead: then every planned
// batch is done, and more are left. batches is the context in which they are
// worked on.
func (p pass[B]) run(ctx, batches workflow.Context) (continueAsNew bool) {
	isLong := p.startBatches(ctx, batches)
	p.drain(ctx)
	return isLong && !p.stopping(ctx)
}

// startBatches ends when nothing more is to be started, or, with true, when the
// history is long.
func (p pass[B]) startBatches(ctx, batches workflow.Context) bool {
	for !p.stopping(ctx) {
		next, isLast, err := p.plan(ctx)
		if err != nil {
			p.halt(ctx, err)
			return false
		}
		for len(next) > 0 {
			if !p.waitForRoom(ctx, p.window) {
				return false
			}
			n := 1
			if p.take != nil {
				n = p.take(next)
			}
			some := next[:n]
			next = next[n:]
			p.start(batches, func(ctx workflow.Context) { p.work(ctx, some) })
		}
		switch {
		case isLast:
			return false
		case isHistoryLong(ctx):
			return true
		}
	}
	return false
}

// start works on a batch beside the others.
func (f *flight) start(ctx workflow.Context, work func(workflow.Context)) {
	f.inFlight++
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer func() { f.inFlight-- }()
		work(ctx)
	})
}

// waitForRoom waits until one more batch may be started, with so many in flight at
// most, and says whether it is still wanted.
func (f *flight) waitForRoom(ctx workflow.Context, window func() int) bool {
	err := workflow.Await(ctx, func() bool { return f.halted != "" || f.held || f.inFlight < window() })
	return err == nil && !f.stopping(ctx)
}

// drain waits for all that is in flight, also when the workflow is cancelled.
func (f *flight) drain(ctx workflow.Context) {
	aside, _ := workflow.NewDisconnectedContext(ctx)
	_ = workflow.Await(aside, func() bool { return f.inFlight == 0 })
}

// stopping reports whether no more batches are started.
func (f *flight) stopping(ctx workflow.Context) bool { return f.ending(ctx) || f.held }

// ending reports whether batches which were started are not repeated either: the
// workflow was cancelled, or has halted.
func (f *flight) ending(ctx workflow.Context) bool { return ctx.Err() != nil || f.halted != "" }

// stopped reports whether batches are left because of that.
func (f *flight) stopped(ctx workflow.Context) bool { return f.ending(ctx) || f.lost > 0 }

// lose counts a batch that was started and came to nothing, and halts unless it
// was cancelled. Of a flight that is held such batches are expected to be left.
func (f *flight) lose(ctx workflow.Context, err error) {
	f.leave()
	if !temporal.IsCanceledError(err) {
		f.halt(ctx, err)
	}
}

// leave is lose where the reason is known: the work ends.
func (f *flight) leave() {
	if !f.held {
		f.lost++
	}
}

// halt ends the work because of trouble. After a cancellation the errors of calls
// that end by it are no news.
func (f *flight) halt(ctx workflow.Context, err error) {
	if ctx.Err() == nil && f.halted == "" {
		f.halted = Cause(err)
	}
}

// isHistoryLong reports whether the workflow should continue as new.
func isHistoryLong(ctx workflow.Context) bool {
	info := workflow.GetInfo(ctx)
	return info.GetContinueAsNewSuggested() || info.GetCurrentHistoryLength() >= eventsARun
}

// windowOf is how many batches are started at once where each takes several
// calls. (round.window is for those of one call.)
func windowOf(l migration.Limits) int {
	if l.RateLimit > 0 {
		return l.Workers
	}
	return 2 * l.Workers
}

// yield has the other coroutines of a workflow take what has come with the present task, such as a signal, before the
// workflow continues as new without it.
func yield(ctx workflow.Context) {
	yielded := false
	workflow.Go(ctx, func(workflow.Context) { yielded = true })
	_ = workflow.Await(ctx, func() bool { return yielded })
}
