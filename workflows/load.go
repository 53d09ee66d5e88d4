package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
)

// lostWorkers is how many workers may die on one batch, each before it had sent
// it, until the load halts: then the batch itself kills them.
const lostWorkers = 5

// LoadInput is one round of a migration, or a part of one, and how far it is.
type LoadInput struct {
	Run   activities.Run `json:"run"`
	Round int            `json:"round"`
	migration.Limits
	// Window is how many batches are in flight at most.
	Window int `json:"window"`

	// The positions of the round after After and up to To are loaded.
	After int `json:"after"`
	To    int `json:"to"`

	// MostFailed is how many records of the round may fail: once more have, no
	// call is started. Null is any number. DuplicatesFail says that duplicates count
	// as well.
	MostFailed     *int `json:"most_failed,omitempty"`
	DuplicatesFail bool `json:"duplicates_fail,omitempty"`
	// FailedBefore are those that had failed before this workflow came to them.
	FailedBefore int `json:"failed_before,omitempty"`

	// Notify says that notices of the breaker may be wanted.
	Notify  bool          `json:"notify,omitempty"`
	Breaker breakerNotice `json:"breaker,omitzero"`

	// What the runs before this one have done.
	Batches int            `json:"batches"`
	Counts  ledger.Counts  `json:"counts"`
	Errors  map[string]int `json:"errors,omitempty"` // see Progress
}

// LoadResult is the result of a round.
type LoadResult struct {
	Counts ledger.Counts  `json:"counts"`
	Errors map[string]int `json:"errors,omitempty"` // see Progress
	// Stopped says that batches of the round are left.
	Stopped bool `json:"stopped,omitempty"`
	// Halted says why, where it was trouble and not an operator.
	Halted string `json:"halted,omitempty"`
	// TooManyFailed says that batches are left because of LoadInput.MostFailed,
	// and for no other reason. They were not sent.
	TooManyFailed bool `json:"too_many_failed,omitempty"`
}

// LoadWorkflow loads the batches of one round, some at a time. Each is an
// activity. Cancelled, it starts no more, waits for those in flight, and
// reports what it has.
func LoadWorkflow(ctx workflow.Context, in LoadInput) (LoadResult, error) {
	ctx = withFolder(ctx, in.Run.Folder.Path())
	l := &loadRun{in: in, from: in.After - in.Batches}
	l.batchContext, l.release = workflow.WithCancel(ctx)
	if err := l.serveProgress(ctx); err != nil {
		return LoadResult{}, err
	}
	receiveMostFailed(ctx, func(ctx workflow.Context, most *int) {
		l.in.MostFailed = most
		l.checkFailed(ctx)
	})
	return l.run(ctx)
}

func (l *loadRun) run(ctx workflow.Context) (LoadResult, error) {
	batches := pass[activities.PlannedBatch]{flight: &l.flight, plan: l.plan, window: l.window, batch: l.loadBatch}
	if batches.run(ctx, l.batchContext) {
		l.in.Counts, l.in.Batches = l.counts(), l.done()
		return LoadResult{}, workflow.NewContinueAsNewError(ctx, LoadWorkflow, l.in)
	}
	return l.result(ctx), nil
}

type loadRun struct {
	flight
	in      LoadInput
	from    int           // position after which the first run began
	loaded  ledger.Counts // by this run
	batches int           // done by this run
	total   int           // batches of the round
	pace    *limiter.Gate // as it was after the last batch
	called  time.Time     // see Progress.LastCall

	batchContext workflow.Context
	release      workflow.CancelFunc // cancels batchContext
}

func (l *loadRun) plan(ctx workflow.Context) (next []activities.PlannedBatch, isLast bool, err error) {
	var plan activities.Plan
	if err := execute(ctx, "plan the next batches", a.PlanBatches, activities.PlanInput{
		Run: l.in.Run, Round: l.in.Round, After: l.in.After, To: l.in.To, Limit: batchesAPlan,
	}, &plan); err != nil {
		return nil, false, err
	}
	l.total = plan.Total
	l.loaded.Add(plan.Settled)
	ledger.AddClasses(&l.in.Errors, plan.Errors)
	l.in.FailedBefore += l.failedOf(plan.Settled)
	l.batches += plan.After - l.in.After - len(plan.Batches)
	l.in.After = plan.After
	l.checkFailed(ctx)
	l.show(ctx)
	return plan.Batches, plan.After >= l.in.To, nil
}

// loadBatch loads one batch, and settles it where its worker died: then it is
// unknown, or it was not sent and is loaded again. What isNoAttempt may happen any
// number of times.
func (l *loadRun) loadBatch(ctx workflow.Context, batch activities.PlannedBatch) {
	first, last := batch.Lines()
	name := fmt.Sprintf("batch %d of %d, lines %d to %d", batch.Position(), l.total, first, last)
	input := activities.BatchInput{Run: l.in.Run, Round: l.in.Round, Position: batch.Position(), Limit: l.failLimit(ctx)}
	for attempt := 1; ; attempt++ {
		var loaded activities.BatchResult
		err := execute(withoutRetryOfTimeouts(ctx), name, a.LoadBatch, input, &loaded)
		switch {
		case err == nil && loaded.Unsent:
			l.hold(ctx)
			return
		case err == nil:
			l.add(ctx, loaded)
			return
		case temporal.IsCanceledError(err): // before it was claimed: nothing was sent
			l.lose(ctx, err)
			return
		}
		var settled activities.BatchResult
		aside, _ := workflow.NewDisconnectedContext(ctx)
		if err := execute(aside, "settle "+name, a.SettleBatch, input, &settled); err != nil {
			l.lose(ctx, err)
			return
		}
		if !settled.Unsent {
			l.add(ctx, settled)
			return
		}
		if !l.ending(ctx) && isNoAttempt(ctx, err) {
			attempt--
			continue
		}
		if !temporal.IsTimeoutError(err) || attempt == lostWorkers || l.ending(ctx) {
			l.lose(ctx, err)
			return
		}
	}
}

func (l *loadRun) add(ctx workflow.Context, r activities.BatchResult) {
	l.loaded.Add(r.Counts)
	l.batches++
	l.pace = r.Pace
	if r.Calls > 0 {
		l.called = workflow.Now(ctx)
	}
	ledger.AddClasses(&l.in.Errors, r.Errors)
	l.checkFailed(ctx)
	l.show(ctx)
	if l.in.Notify {
		l.in.Breaker.saw(ctx, l.in.Run, PhaseLoading, r.Pace)
	}
}

// checkFailed holds the load once too many records have failed.
func (l *loadRun) checkFailed(ctx workflow.Context) {
	if l.in.MostFailed != nil && l.failedOf(l.counts()) > *l.in.MostFailed {
		l.hold(ctx)
	}
}

// hold ends the load early: calls in flight end, and batches that wait for their
// start are released. A worker learns of the cancellation with its next heartbeat;
// until then it reads what HoldLoad has written before it sends.
func (l *loadRun) hold(ctx workflow.Context) {
	if l.held {
		return
	}
	l.held = true
	l.release()
	aside, _ := workflow.NewDisconnectedContext(ctx)
	l.start(aside, func(ctx workflow.Context) {
		err := execute(ctx, "too many records have failed: send no more", a.HoldLoad, activities.HoldInput{Run: l.in.Run, Load: l.id(ctx)}, nil)
		if err != nil {
			workflow.GetLogger(ctx).Warn("cannot tell the workers at once that too many records have failed", "error", err)
		}
	})
}

// failLimit is what the activity has to know of MostFailed.
func (l *loadRun) failLimit(ctx workflow.Context) *activities.FailLimit {
	if l.in.MostFailed == nil {
		return nil
	}
	return &activities.FailLimit{Load: l.id(ctx), Left: *l.in.MostFailed - l.in.FailedBefore, Duplicates: l.in.DuplicatesFail}
}

// id names this workflow over all of its runs.
func (l *loadRun) id(ctx workflow.Context) string { return workflow.GetInfo(ctx).FirstRunID }

func (l *loadRun) failedOf(c ledger.Counts) int {
	return RoundProgress{Counts: c}.failed(!l.in.DuplicatesFail)
}

// window follows the number of calls in flight that operators have set since.
func (l *loadRun) window() int {
	if l.pace != nil && l.pace.Slots > 0 {
		return max(1, l.in.Window*l.pace.Slots/l.in.Workers)
	}
	return l.in.Window
}

func (l *loadRun) counts() ledger.Counts {
	sum := l.in.Counts
	sum.Add(l.loaded)
	return sum
}

func (l *loadRun) done() int { return l.in.Batches + l.batches }

// size is the number of batches that are loaded by this workflow, over all of
// its runs.
func (l *loadRun) size() int { return l.in.To - l.from }

func (l *loadRun) result(ctx workflow.Context) LoadResult {
	return LoadResult{
		Counts:  l.counts(),
		Errors:  l.in.Errors,
		Stopped: l.stopped(ctx),
		Halted:  l.halted,

		TooManyFailed: l.held && l.done() < l.size() && !l.stopped(ctx),
	}
}

// show writes the current details for the Web UI.
func (l *loadRun) show(ctx workflow.Context) {
	c := l.counts()
	text := fmt.Sprintf("Round %d: batch %d of %d\n\n| calls | created | duplicate | failed | unknown |\n|--:|--:|--:|--:|--:|\n| %d | %d | %d | %d | %d |\n",
		l.in.Round, l.done(), l.size(), c.Calls, c.Created, c.Duplicate, c.Failed, c.Unknown)
	if l.pace != nil && l.pace.Closed != "" {
		text += fmt.Sprintf("\nNo calls are made since %s: %s. The batches wait; the heartbeats of the pending activities have the state of the gate.\n",
			l.pace.Since.UTC().Format(time.RFC3339), l.pace.Closed)
	}
	workflow.SetCurrentDetails(ctx, text)
}

func (l *loadRun) serveProgress(ctx workflow.Context) error {
	return workflow.SetQueryHandler(ctx, QueryProgress, func() (Progress, error) {
		return Progress{
			Phase: PhaseLoading, Round: l.in.Round, Batches: l.size(), BatchesDone: l.done(), InFlight: l.inFlight, Loading: l.counts(),
			Errors: l.in.Errors, LastCall: l.called,
		}, nil
	})
}
