package workflows

import (
	"go.temporal.io/sdk/workflow"

	"durable-dataload/internal/migration"
)

// flight is the batches that a workflow has in work at once. Once it is
// cancelled, or halted, no more are begun.
type flight struct {
	inFlight int
	lost     int // batches that were begun and not done
	halted   string
	held     bool // too many records have failed: what was begun and not sent is given back
}

// start works on a batch beside the others.
func (f *flight) start(ctx workflow.Context, work func(workflow.Context)) {
	f.inFlight++
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer func() { f.inFlight-- }()
		work(ctx)
	})
}

// waitForRoom waits until one more batch may be begun, of so many at once, and
// says whether it is still wanted.
func (f *flight) waitForRoom(ctx workflow.Context, window int) bool {
	err := workflow.Await(ctx, func() bool { return f.halted != "" || f.held || f.inFlight < window })
	return err == nil && !f.stopping(ctx)
}

// drain waits for all that is in flight, also when the workflow is cancelled.
func (f *flight) drain(ctx workflow.Context) {
	aside, _ := workflow.NewDisconnectedContext(ctx)
	_ = workflow.Await(aside, func() bool { return f.inFlight == 0 })
}

// stopping says that nothing more is begun.
func (f *flight) stopping(ctx workflow.Context) bool { return f.ending(ctx) || f.held }

// ending says that what was begun is not begun again either: a person, or
// trouble, ends the work.
func (f *flight) ending(ctx workflow.Context) bool { return ctx.Err() != nil || f.halted != "" }

// stopped says whether batches are left because of that.
func (f *flight) stopped(ctx workflow.Context) bool { return f.ending(ctx) || f.lost > 0 }

// halt ends the work because of trouble. Once somebody has asked for a stop,
// what fails on the way out is no news.
func (f *flight) halt(ctx workflow.Context, err error) {
	if ctx.Err() == nil && f.halted == "" {
		f.halted = Cause(err)
	}
}

// shouldContinueAsNew says that the history is long enough.
func shouldContinueAsNew(ctx workflow.Context) bool {
	info := workflow.GetInfo(ctx)
	return info.GetContinueAsNewSuggested() || info.GetCurrentHistoryLength() >= eventsARun
}

// windowOf is how many batches are begun at once where each takes several
// calls, or where the input does not say it (see round.window).
func windowOf(l migration.Limits) int {
	if l.RateLimit > 0 {
		return l.Workers
	}
	return 2 * l.Workers
}
