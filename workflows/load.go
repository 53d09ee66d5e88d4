package workflows

import (
	"fmt"
	"math"
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
	// Window is how many runs of batches are in flight at most, and AtFirst is it as long as
	// Together is not known.
	Window  int `json:"window"`
	AtFirst int `json:"at_first,omitempty"`
	// Together is how many batches make a run; 0 is not known: one.
	Together int `json:"together,omitempty"`

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

// LoadWorkflow loads the batches of one round, some runs of them at a time. A run is an
// activity: as many consecutive batches as take about four seconds. Cancelled, it starts no
// more, waits for those in flight, and reports what it has.
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
	batches := pass[activities.PlannedBatch]{flight: &l.flight, plan: l.plan, window: l.window, take: l.take, work: l.loadBatches}
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
	first   int           // runs in flight that began before their length was known
	total   int           // batches of the round
	pace    *limiter.Gate // as it was after the last batch
	called  time.Time     // see Progress.LastCall

	batchContext workflow.Context
	release      workflow.CancelFunc // cancels batchContext
}

func (l *loadRun) plan(ctx workflow.Context) (next []activities.PlannedBatch, isLast bool, err error) {
	var plan activities.Plan
	if err := execute(ctx, "plan the next batches", a.PlanBatches, activities.PlanInput{
		Run: l.in.Run, Round: l.in.Round, After: l.in.After, To: l.in.To, Limit: l.planned(),
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

// A run of batches takes about aRun, so that each is a line in the Web UI where calls are
// few, and costs the service little where they are many.
const (
	aRun       = 4 * time.Second
	mostInARun = 100
	// runsAhead is how many times the runs in flight are planned at once.
	runsAhead   = 2
	mostPlanned = 1000
)

// together is how many batches make a run, where there are enough left; 0 is not known.
// Where only so many records may fail a run is one batch.
func (l *loadRun) together() int {
	if l.in.MostFailed != nil {
		return 0
	}
	return l.in.Together
}

// take is how many of the next batches make a run: consecutive ones, and fewer near the
// end, so that all runs end at about the same time.
func (l *loadRun) take(next []activities.PlannedBatch) int {
	left := l.in.To - next[0].Position() + 1
	n := min(max(1, l.together()), len(next), max(1, l.together()/4, left/(2*l.window())))
	for i := range n {
		if next[i].Position() != next[0].Position()+i {
			return i
		}
	}
	return n
}

// planned is how many batches are planned at once.
func (l *loadRun) planned() int {
	return min(max(batchesAPlan, runsAhead*l.window()*max(1, l.together())), mostPlanned)
}

// measure adapts the length of the next runs to the speed of the last one.
func (l *loadRun) measure(r activities.BatchesResult) {
	if r.Done == 0 {
		return
	}
	n := mostInARun
	if r.Took > 0 {
		n = min(n, int(math.Round(aRun.Seconds()*float64(r.Done)/r.Took.Seconds())))
	}
	l.in.Together = max(1, min(n, max(l.in.Together, 4*r.Done)))
}

// loadBatches loads a run of batches, and settles it where its worker died or it met the
// claim of another attempt: then one is unknown, and those that were not sent are loaded
// again. What isNoAttempt may happen any number of times.
func (l *loadRun) loadBatches(ctx workflow.Context, batches []activities.PlannedBatch) {
	if l.together() == 0 {
		l.first++
		defer func() { l.first-- }()
	}
	for deaths := 0; len(batches) > 0; {
		name := l.name(batches)
		input := activities.BatchesInput{
			Run: l.in.Run, Round: l.in.Round, First: batches[0].Position(), Last: batches[len(batches)-1].Position(), Limit: l.failLimit(ctx),
		}
		var loaded activities.BatchesResult
		err := attempt(ctx, name, a.LoadBatches, input, &loaded)
		if temporal.IsCanceledError(err) { // before the first one was claimed: nothing was sent
			l.lose(ctx, err)
			return
		}
		if err == nil {
			l.measure(loaded)
			l.add(ctx, loaded)
			batches, deaths = batches[loaded.Done:], 0
			if loaded.Held {
				l.hold(ctx)
				return
			}
			if !loaded.Claimed {
				if len(batches) > 0 && l.ending(ctx) {
					l.leave()
					return
				}
				continue
			}
			input.First, name = batches[0].Position(), l.name(batches)
		}
		var settled activities.BatchesResult
		aside, _ := workflow.NewDisconnectedContext(ctx)
		if err := execute(aside, "settle "+name, a.SettleBatches, input, &settled); err != nil {
			l.lose(ctx, err)
			return
		}
		l.add(ctx, settled)
		batches = batches[settled.Done:]
		switch {
		case len(batches) == 0:
			return
		case l.ending(ctx):
			l.leave()
			return
		case err == nil, settled.Done > 0:
			deaths = 0
		case isNoAttempt(ctx, err):
		case temporal.IsTimeoutError(err) && deaths+1 < lostWorkers:
			deaths++
		default:
			l.lose(ctx, err)
			return
		}
	}
}

// name is what the Web UI calls a run of batches.
func (l *loadRun) name(batches []activities.PlannedBatch) string {
	first, last := batches[0], batches[len(batches)-1]
	from, _ := first.Lines()
	_, to := last.Lines()
	if len(batches) == 1 {
		return fmt.Sprintf("batch %d of %d, lines %d to %d", first.Position(), l.total, from, to)
	}
	return fmt.Sprintf("batches %d to %d of %d, lines %d to %d", first.Position(), last.Position(), l.total, from, to)
}

func (l *loadRun) add(ctx workflow.Context, r activities.BatchesResult) {
	if r.Done == 0 {
		return
	}
	l.loaded.Add(r.Counts)
	l.batches += r.Done
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

// window follows the number of calls in flight that operators have set since. It shrinks only
// as the first runs end: those of a worker that died would leave the others none until its
// heartbeats are missed.
func (l *loadRun) window() int {
	scaled := func(runs int) int { return max(1, runs*l.slots()/l.in.Workers) }
	atFirst := scaled(max(l.in.Window, l.in.AtFirst))
	if l.together() == 0 {
		return atFirst
	}
	return min(atFirst, scaled(l.in.Window)+l.first)
}

func (l *loadRun) slots() int {
	if l.pace != nil && l.pace.Slots > 0 {
		return l.pace.Slots
	}
	return l.in.Workers
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
