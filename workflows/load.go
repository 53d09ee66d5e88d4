package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/pace"
)

const (
	// A run ends at about this many events and continues as a new one: short
	// histories replay fast, and the Web UI can show them.
	eventsARun = 1800

	// batchesAPlan is how many batches are planned at once: about 2 KB.
	batchesAPlan = 100

	// lostWorkers is how many workers may die on one batch, each before it had
	// sent it, until the load halts: then it is the batch that kills them.
	lostWorkers = 5
)

// LoadInput is one round of a migration, and how far it is.
type LoadInput struct {
	Run   activities.Run `json:"run"`
	Round int            `json:"round"`
	migration.Limits
	// Window is how many batches are begun at once. 0, from before it was
	// there: as many as Workers, twice as many without a rate limit.
	Window int `json:"window,omitempty"`

	// The positions of the round after After and up to To are loaded. 0, from
	// before it was there: up to the end.
	After int `json:"after"`
	To    int `json:"to,omitempty"`

	// MostFailed is how many records of the round may fail: once more have, no
	// call is begun. Null is any number. DuplicatesFail says that duplicates count
	// as well.
	MostFailed     *int `json:"most_failed,omitempty"`
	DuplicatesFail bool `json:"duplicates_fail,omitempty"`
	// FailedBefore are those that had failed before this workflow came to them.
	FailedBefore int `json:"failed_before,omitempty"`

	// Notify says that somebody may want to hear of the breaker.
	Notify  bool          `json:"notify,omitempty"`
	Breaker breakerNotice `json:"breaker,omitzero"`

	// What the runs before this one have done.
	Batches int            `json:"batches"`
	Counts  ledger.Counts  `json:"counts"`
	Errors  map[string]int `json:"errors,omitempty"` // see Progress
}

// LoadResult is what a round came to.
type LoadResult struct {
	Counts ledger.Counts  `json:"counts"`
	Errors map[string]int `json:"errors,omitempty"` // see Progress
	// Stopped says that batches of the round are left.
	Stopped bool `json:"stopped,omitempty"`
	// Halted says why, where it was trouble and not a person.
	Halted string `json:"halted,omitempty"`
	// TooManyFailed says that batches are left because of LoadInput.MostFailed,
	// and for no other reason. They were not sent.
	TooManyFailed bool `json:"too_many_failed,omitempty"`
}

// LoadWorkflow loads the batches of one round, some at a time. Each is an
// activity. Cancelled, it starts no more, waits for those in flight, and
// reports what it has.
func LoadWorkflow(ctx workflow.Context, in LoadInput) (LoadResult, error) {
	ctx = onStore(ctx, in.Run.Folder)
	l := &loadRun{in: in, from: in.After - in.Batches}
	l.begun, l.giveBack = workflow.WithCancel(ctx)
	if err := l.serveProgress(ctx); err != nil {
		return LoadResult{}, err
	}
	heedMostFailed(ctx, func(ctx workflow.Context, most *int) {
		l.in.MostFailed = most
		l.checkFailed(ctx)
	})
	return l.run(ctx)
}

// signalMostFailed tells a round, while it runs, how many records may fail.
const signalMostFailed = "most-failed"

func heedMostFailed(ctx workflow.Context, heed func(workflow.Context, *int)) {
	workflow.Go(ctx, func(ctx workflow.Context) {
		for {
			var most *int
			if !workflow.GetSignalChannel(ctx, signalMostFailed).Receive(ctx, &most) {
				return
			}
			heed(ctx, most)
		}
	})
}

// checkFailed holds the load once too many records have failed.
func (l *loadRun) checkFailed(ctx workflow.Context) {
	if l.in.MostFailed != nil && l.failedOf(l.counts()) > *l.in.MostFailed {
		l.hold(ctx)
	}
}

// hold ends the load early: calls in flight end, and batches that wait for their
// turn are given back. A worker hears of the cancellation with its next heartbeat;
// until then it finds what HoldLoad has written when it is about to send.
func (l *loadRun) hold(ctx workflow.Context) {
	if l.held {
		return
	}
	l.held = true
	l.giveBack()
	aside, _ := workflow.NewDisconnectedContext(ctx)
	l.start(aside, func(ctx workflow.Context) {
		err := execute(withActivity(ctx, "too many records have failed: send no more"), a.HoldLoad, activities.HoldInput{Run: l.in.Run, Load: l.id(ctx)}, nil)
		if err != nil {
			workflow.GetLogger(ctx).Warn("the workers could not be told at once that too many records have failed", "error", err)
		}
	})
}

// id names this workflow over all of its runs.
func (l *loadRun) id(ctx workflow.Context) string { return workflow.GetInfo(ctx).FirstRunID }

func (l *loadRun) failedOf(c ledger.Counts) int {
	return RoundProgress{Counts: c}.failed(!l.in.DuplicatesFail)
}

func (l *loadRun) run(ctx workflow.Context) (LoadResult, error) {
	for !l.stopping(ctx) {
		plan, err := l.plan(ctx)
		if err != nil {
			l.halt(ctx, err)
			break
		}
		for _, batch := range plan.Batches {
			if !l.waitForRoom(ctx, l.window()) {
				break
			}
			l.start(l.begun, func(ctx workflow.Context) { l.loadBatch(ctx, batch) })
		}
		if l.stopping(ctx) {
			break
		}
		l.in.After = plan.After
		if plan.After >= l.to() {
			l.drain(ctx)
			return l.result(ctx), nil
		}
		if shouldContinueAsNew(ctx) {
			l.drain(ctx)
			if !l.stopping(ctx) {
				l.in.Counts, l.in.Batches = l.counts(), l.done()
				return LoadResult{}, workflow.NewContinueAsNewError(ctx, LoadWorkflow, l.in)
			}
		}
	}
	l.drain(ctx)
	return l.result(ctx), nil
}

type loadRun struct {
	flight
	in      LoadInput
	from    int           // position after which the first run began
	loaded  ledger.Counts // by this run
	batches int           // done by this run
	// begun is the context of the batches, which giveBack cancels.
	begun    workflow.Context
	giveBack workflow.CancelFunc
	total    int         // batches of the round
	pace     *pace.State // as it was after the last batch
	called   time.Time   // see Progress.LastCall
}

func (l *loadRun) plan(ctx workflow.Context) (activities.Plan, error) {
	var plan activities.Plan
	err := execute(withActivity(ctx, "plan the next batches"), a.PlanBatches, activities.PlanInput{
		Run: l.in.Run, Round: l.in.Round, After: l.in.After, To: l.in.To, Limit: batchesAPlan,
	}, &plan)
	l.total = plan.Total
	l.loaded.Add(plan.Settled)
	addErrors(&l.in.Errors, plan.Errors)
	l.in.FailedBefore += l.failedOf(plan.Settled)
	l.batches += plan.After - l.in.After - len(plan.Batches)
	l.checkFailed(ctx)
	l.show(ctx)
	return plan, err
}

// loadBatch loads one batch, and settles it where its worker died: then it is
// unknown, or it was not sent and is loaded again. A worker that died, or was
// stopped, while the batch waited for the gate to open is no matter: any number
// may.
func (l *loadRun) loadBatch(ctx workflow.Context, batch activities.PlannedBatch) {
	input := activities.BatchInput{Run: l.in.Run, Round: l.in.Round, Position: batch.Position(), Limit: l.limit(ctx)}
	for attempt := 1; ; attempt++ {
		var loaded activities.BatchResult
		err := execute(l.withLoad(ctx, batch), a.LoadBatch, input, &loaded)
		if err == nil && loaded.Unsent {
			l.hold(ctx)
			return
		}
		if err == nil {
			l.add(ctx, loaded)
			return
		}
		if temporal.IsCanceledError(err) { // before it was claimed: nothing was sent
			l.leave()
			return
		}
		var settled activities.BatchResult
		aside, _ := workflow.NewDisconnectedContext(ctx)
		if settleErr := execute(withActivity(aside, "settle "+l.name(batch)), a.SettleBatch, input, &settled); settleErr != nil {
			l.leave()
			l.halt(ctx, settleErr)
			return
		}
		if !settled.Unsent {
			l.add(ctx, settled)
			return
		}
		if !l.ending(ctx) && onlyWaited(ctx, err) {
			attempt--
			continue
		}
		if !temporal.IsTimeoutError(err) || attempt == lostWorkers || l.ending(ctx) {
			l.leave()
			l.halt(ctx, err)
			return
		}
	}
}

// leave is for a batch that was begun and comes to nothing: in a load that is held
// it is one of those that are left.
func (l *loadRun) leave() {
	if !l.held {
		l.lost++
	}
}

// limit is what a batch has to know of MostFailed.
func (l *loadRun) limit(ctx workflow.Context) *activities.FailLimit {
	if l.in.MostFailed == nil {
		return nil
	}
	return &activities.FailLimit{Load: l.id(ctx), Left: *l.in.MostFailed - l.in.FailedBefore, Duplicates: l.in.DuplicatesFail}
}

// withLoad tells the options of LoadBatch. What must not be repeated is held by
// the ledger, so an attempt that failed before it sent may be repeated here;
// but a timeout is for SettleBatch to look at, which is another worker's task.
func (l *loadRun) withLoad(ctx workflow.Context, batch activities.PlannedBatch) workflow.Context {
	policy := storageRetries(ctx)
	policy.NonRetryableErrorTypes = []string{"TemporalTimeout:StartToClose", "TemporalTimeout:Heartbeat"}
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: longest,
		HeartbeatTimeout:    activities.HeartbeatTimeout,
		WaitForCancellation: true,
		Summary:             l.name(batch),
		RetryPolicy:         policy,
	})
}

func (l *loadRun) name(batch activities.PlannedBatch) string {
	first, last := batch.Lines()
	return fmt.Sprintf("batch %d of %d, lines %d to %d", batch.Position(), l.total, first, last)
}

func (l *loadRun) add(ctx workflow.Context, r activities.BatchResult) {
	l.loaded.Add(r.Counts)
	l.batches++
	l.pace = r.Pace
	if r.Calls > 0 {
		l.called = workflow.Now(ctx)
	}
	addErrors(&l.in.Errors, r.Errors)
	l.checkFailed(ctx)
	l.show(ctx)
	if l.in.Notify {
		l.in.Breaker.saw(ctx, l.in.Run, PhaseLoading, r.Pace)
	}
}

// show writes the current details for the Web UI.
func (l *loadRun) show(ctx workflow.Context) {
	c := l.counts()
	text := fmt.Sprintf("Round %d: batch %d of %d\n\n| calls | created | duplicate | failed | unknown |\n|--:|--:|--:|--:|--:|\n| %d | %d | %d | %d | %d |\n",
		l.in.Round, l.done(), l.size(), c.Calls, c.Created, c.Duplicate, c.Failed, c.Unknown)
	if l.pace != nil && l.pace.Closed != "" {
		text += fmt.Sprintf("\nNo calls are made since %s: %s. The batches wait; how the gate stands now is in the heartbeats of the pending activities.\n",
			l.pace.Since.UTC().Format(time.RFC3339), l.pace.Closed)
	}
	workflow.SetCurrentDetails(ctx, text)
}

// window is how many batches are begun at once: more, or fewer, where operators
// have changed how many calls may be in flight.
func (l *loadRun) window() int {
	window := l.in.Window
	if window == 0 {
		window = windowOf(l.in.Limits)
	}
	if l.pace != nil && l.pace.Places > 0 {
		window = max(1, window*l.pace.Places/l.in.Workers)
	}
	return window
}

func (l *loadRun) counts() ledger.Counts {
	sum := l.in.Counts
	sum.Add(l.loaded)
	return sum
}

func (l *loadRun) done() int { return l.in.Batches + l.batches }

// to is the last position that is loaded.
func (l *loadRun) to() int {
	if l.in.To > 0 {
		return l.in.To
	}
	return l.total
}

// size is the number of batches that are loaded by this workflow, over all of
// its runs.
func (l *loadRun) size() int { return l.to() - l.from }

func (l *loadRun) result(ctx workflow.Context) LoadResult {
	return LoadResult{
		Counts:  l.counts(),
		Errors:  l.in.Errors,
		Stopped: l.stopped(ctx),
		Halted:  l.halted,

		TooManyFailed: l.held && l.done() < l.size() && !l.stopped(ctx),
	}
}

func (l *loadRun) serveProgress(ctx workflow.Context) error {
	return workflow.SetQueryHandler(ctx, QueryProgress, func() (Progress, error) {
		return Progress{
			Phase: PhaseLoading, Round: l.in.Round, Batches: l.size(), BatchesDone: l.done(), InFlight: l.inFlight, Loading: l.counts(),
			Errors: l.in.Errors, Pace: l.pace, LastCall: l.called,
		}, nil
	})
}
