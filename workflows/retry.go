package workflows

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
)

// longestBackoff is where the doubling of the pauses between rounds ends.
const longestBackoff = time.Hour

// RetryInput is the retry rounds of a migration, and how far they are.
type RetryInput struct {
	Run activities.Run `json:"run"`
	migration.Limits
	Partitions int           `json:"partitions,omitempty"`
	Rounds     int           `json:"rounds"` // that may be loaded
	Backoff    time.Duration `json:"backoff"`
	// MostFailed is how many records of these rounds may fail; null is any number.
	// Negative is: too many have failed before them.
	MostFailed *int `json:"most_failed,omitempty"`
	Delta      bool `json:"delta,omitempty"`
	Notify     bool `json:"notify,omitempty"`

	Round    int      `json:"round"`  // the next one
	Loaded   int      `json:"loaded"` // rounds that this run of the migration has loaded
	Progress Progress `json:"progress"`
}

// RetryResult is the result of the retry rounds.
type RetryResult struct {
	Progress Progress `json:"progress"`
	Stopped  bool     `json:"stopped,omitempty"`
	Halted   string   `json:"halted,omitempty"`
	// TooManyFailed says that records are left because of RetryInput.MostFailed,
	// and for no other reason.
	TooManyFailed bool `json:"too_many_failed,omitempty"`
}

// RetryWorkflow writes what is unknown and may be sent again into
// retry_<datetime>.csv, loads that, and finds out which duplicates are our own. It
// repeats that until nothing of the kind is left or the rounds are used up.
// Without rounds it writes the file.
func RetryWorkflow(ctx workflow.Context, in RetryInput) (RetryResult, error) {
	ctx = withFolder(ctx, in.Run.Folder.Path())
	r := &retryRun{in: in}
	r.in.Progress.Phase = PhaseRetrying
	r.in.Progress.serve(ctx)
	receiveMostFailed(ctx, func(ctx workflow.Context, most *int) {
		r.in.MostFailed = most
		children := r.in.Progress.Children
		sendMostFailed(ctx, children, func() *int { return shareOf(r.mostFailed(), len(children)) })
	})
	return r.run(ctx)
}

func (r *retryRun) run(ctx workflow.Context) (RetryResult, error) {
	for {
		if isHistoryLong(ctx) && ctx.Err() == nil {
			yield(ctx)
			return RetryResult{}, workflow.NewContinueAsNewError(ctx, RetryWorkflow, r.in)
		}
		r.countReasons(ctx)
		file, err := r.writeRetryFile(ctx)
		if err != nil || file.Records == 0 {
			return r.result(ctx, err), nil
		}
		loaded, err := r.load(ctx, file)
		if errors.Is(err, errRoundsUsedUp) {
			return r.result(ctx, nil), nil
		}
		if loaded.TooManyFailed || errors.Is(err, errTooManyFailed) {
			return r.result(ctx, errTooManyFailed), nil
		}
		if err != nil || loaded.Stopped {
			r.halted = loaded.Halted
			r.stopped = true
			return r.result(ctx, err), nil
		}
		if err := r.resolve(ctx, loaded.Counts.Duplicate); err != nil {
			// The round is not over, so the file of the next one is not written:
			// rerunning the command retries the look-ups. The artifacts keep what is
			// unknown now.
			return r.result(ctx, err), nil
		}
		r.in.Round++
	}
}

type retryRun struct {
	in      RetryInput
	failed  map[string]int // by class of reason, before the round that runs
	stopped bool
	halted  string
}

// countReasons counts the current reasons of all rounds so far: what was unknown may
// have been created since.
func (r *retryRun) countReasons(ctx workflow.Context) {
	var reasons activities.Reasons
	if err := execute(ctx, "why are records failed or unknown?", a.CountReasons, r.in.Run, &reasons); err != nil {
		workflow.GetLogger(ctx).Warn("cannot count the reasons", "error", err)
		return
	}
	r.failed, r.in.Progress.Errors = reasons.Failed, errorsOf(reasons)
}

func (r *retryRun) writeRetryFile(ctx workflow.Context) (migration.RetryFile, error) {
	var file migration.RetryFile
	err := execute(ctx, fmt.Sprintf("write the retry file of round %d", r.in.Round), a.WriteRetryFile, activities.RetryFileInput{
		Run: r.in.Run, Round: r.in.Round, Now: workflow.Now(ctx),
	}, &file)
	r.in.Progress.Aside += file.Aside
	r.in.Progress.show(ctx)
	return file, err
}

var (
	// errRoundsUsedUp says that records stay unknown, in the retry file.
	errRoundsUsedUp = errors.New("the retry rounds are used up")
	// errTooManyFailed says that RetryInput.MostFailed is exceeded.
	errTooManyFailed = errors.New("too many records have failed")
)

// load waits and loads the retry file. A round that an earlier run of the
// migration has loaded needs no wait, and does not count.
func (r *retryRun) load(ctx workflow.Context, file migration.RetryFile) (LoadResult, error) {
	var plan activities.Plan
	if err := execute(ctx, "is anything left to load?", a.PlanBatches, activities.PlanInput{
		Run: r.in.Run, Round: r.in.Round, Limit: 1,
	}, &plan); err != nil {
		return LoadResult{}, err
	}
	if len(plan.Batches) == 0 {
		r.in.Progress.endRound(r.in.Round, plan.Settled)
		return LoadResult{Counts: plan.Settled}, nil
	}
	if r.in.Loaded == r.in.Rounds {
		return LoadResult{}, errRoundsUsedUp
	}
	if err := r.wait(ctx); err != nil {
		return LoadResult{}, err
	}
	r.in.Loaded++
	load := round{
		run: r.in.Run, number: r.in.Round, batches: file.Batches, limits: r.in.Limits, partitions: r.in.Partitions,
		id:      fmt.Sprintf("%s/round-%d", workflow.GetInfo(ctx).WorkflowExecution.ID, r.in.Round),
		summary: fmt.Sprintf("round %d: load %s", r.in.Round, file.Name), mostFailed: r.mostFailed(), notify: r.in.Notify,
	}
	// The round finds out again what is unknown.
	r.in.Progress.Round, r.in.Progress.Children, r.in.Progress.Errors = r.in.Round, load.ids(), r.failed
	r.in.Progress.show(ctx)
	result, err := load.load(ctx)
	r.in.Progress.Children = nil
	r.in.Progress.endRound(r.in.Round, result.Counts)
	r.in.Progress.Errors = maps.Clone(r.failed)
	ledger.AddClasses(&r.in.Progress.Errors, result.Errors)
	r.in.Progress.show(ctx)
	return result, err
}

// mostFailed is how many records of the round that runs may fail.
func (r *retryRun) mostFailed() *int {
	if r.in.MostFailed == nil {
		return nil
	}
	most := *r.in.MostFailed
	for _, ended := range r.in.Progress.Rounds {
		most -= ended.failed(r.in.Delta)
	}
	return &most
}

// shareOf is how many records may fail in each of the parts of a round, which count alone.
// Where one has used up its share the round is held, and resumes with what is left.
func shareOf(most *int, parts int) *int {
	if most == nil || *most < 0 || parts < 2 {
		return most
	}
	return new(*most / parts)
}

func (r *retryRun) tooManyFailed() bool {
	most := r.mostFailed()
	return most != nil && *most < 0
}

// wait gives the target time to recover, twice as long before each round.
func (r *retryRun) wait(ctx workflow.Context) error {
	pause := r.in.Backoff
	for range r.in.Loaded {
		pause = max(r.in.Backoff, min(2*pause, longestBackoff)) // one that begins longer stays
	}
	return r.pause(ctx, pause, fmt.Sprintf("before round %d", r.in.Round))
}

// pause waits, and shows for what. It returns errTooManyFailed as soon as too many
// records have failed.
func (r *retryRun) pause(ctx workflow.Context, d time.Duration, forWhat string) error {
	r.in.Progress.Waiting = forWhat + ", until " + workflow.Now(ctx).Add(d).UTC().Format(time.DateTime) + " UTC"
	r.in.Progress.show(ctx)
	tooMany, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
		Timeout: d, TimerOptions: workflow.TimerOptions{Summary: "wait " + forWhat},
	}, r.tooManyFailed)
	r.in.Progress.Waiting = ""
	r.in.Progress.show(ctx)
	if err == nil && tooMany {
		return errTooManyFailed
	}
	return err
}

// resolve finds out whose the duplicates of the round are.
func (r *retryRun) resolve(ctx workflow.Context, duplicates int) error {
	resolved, err := resolveDuplicates(ctx, r.in.Run, r.in.Round, duplicates, func(d time.Duration, forWhat string) error {
		return r.pause(ctx, d, forWhat)
	})
	if err == nil {
		r.in.Progress.resolved(r.in.Round, resolved)
	}
	return err
}

func (r *retryRun) result(ctx workflow.Context, err error) RetryResult {
	if errors.Is(err, errTooManyFailed) && ctx.Err() == nil {
		return RetryResult{Progress: r.in.Progress, TooManyFailed: true}
	}
	if err != nil && !temporal.IsCanceledError(err) && r.halted == "" {
		r.halted = Cause(err)
	}
	return RetryResult{Progress: r.in.Progress, Stopped: r.stopped || ctx.Err() != nil, Halted: r.halted}
}

const (
	// New records can stay invisible to look-ups for minutes. A round retries for
	// this long; what is still invisible waits for the next round.
	invisibleFor        = 3 * time.Minute
	shortestLookupPause = time.Second // doubling
	longestLookupPause  = 30 * time.Second
)

// resolveDuplicates finds out whose the records are that the target refused as
// duplicates in a round, and retries for those that it does not show yet.
func resolveDuplicates(ctx workflow.Context, run activities.Run, round, duplicates int, pause func(d time.Duration, forWhat string) error) (resolved activities.Resolved, err error) {
	if duplicates == 0 {
		return resolved, nil
	}
	start := workflow.Now(ctx)
	for after := shortestLookupPause; ; after = min(2*after, longestLookupPause) {
		in := activities.ResolveInput{Run: run, Round: round, Again: after > shortestLookupPause, Last: workflow.Now(ctx).Sub(start) >= invisibleFor}
		if err := execute(ctx, fmt.Sprintf("whose are the %d duplicates of round %d?", duplicates, round), a.ResolveDuplicates, in, &resolved); err != nil {
			return resolved, err
		}
		if resolved.Invisible == 0 || in.Last {
			return resolved, nil
		}
		if err := pause(after, "for "+figures.Count(resolved.Invisible, "record")+" to show"); err != nil {
			return resolved, err
		}
	}
}
