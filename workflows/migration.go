// Package workflows tells the story of a migration: what happens in which
// order, what is waited for, and what follows from a failure. All I/O is in
// the activities; all outcomes are in the ledger. The workflows hold numbers.
//
// A changed workflow must still replay the histories in testdata/histories:
// guard a change of order with workflow.GetVersion, once at the top of a run.
package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
)

// Result is what a migration came to.
type Result struct {
	Summary migration.Summary `json:"summary"`
	// Halted says why the migration ended before its time, for people. It is
	// empty where somebody asked for it, or where it did not.
	Halted string `json:"halted,omitempty"`
}

// MigrationWorkflow loads one input into one target. It can be cancelled at any
// time: calls in flight end, the artifacts say what was done and what remains,
// and a later run with the same spec goes on from there.
func MigrationWorkflow(ctx workflow.Context, spec migration.Spec) (Result, error) {
	ctx = onStore(ctx, migration.Folder(spec.Folder))
	m := newMigrationRun(ctx, spec)
	result, err := m.run(ctx)
	if err != nil {
		m.keepFailure(ctx, err)
	}
	m.tellEnd(ctx, result, err)
	m.answerOrders(ctx)
	return result, err
}

// run is the migration.
func (m *migrationRun) run(ctx workflow.Context) (Result, error) {
	ctx = m.listen(ctx)
	if err := m.inspectSource(ctx); err != nil {
		return Result{}, err
	}
	if err := m.checkTarget(ctx); err != nil {
		return Result{}, err
	}
	m.tellStart(ctx)
	if m.source.Canary > 0 {
		m.canary(ctx)
	}
	if !m.stopped {
		m.load(ctx)
	}
	if m.unknown() && !m.stopped && m.halted == "" {
		m.retry(ctx)
	}
	if m.spec.Delta && m.duplicates() > 0 && !m.stopped && m.halted == "" {
		m.update(ctx)
	}
	m.countEntities(ctx)
	return m.writeArtifacts(ctx)
}

type migrationRun struct {
	spec     migration.Spec
	ref      activities.Run
	progress Progress
	source   activities.Inspected
	entities *int64
	stopped  bool // before its time, by a person or by trouble
	halted   string

	steering Steering
	ordering workflow.Mutex        // order after order
	endWork  workflow.CancelFunc   // ends what is in work, and not the artifacts
	writing  bool                  // the artifacts
	told     map[notify.Type]int64 // how many notices
}

func newMigrationRun(ctx workflow.Context, spec migration.Spec) *migrationRun {
	m := &migrationRun{
		spec:     spec,
		ref:      activities.Run{Folder: migration.Folder(spec.Folder), ID: workflow.GetInfo(ctx).OriginalRunID},
		progress: Progress{Phase: PhaseInspecting, Delta: spec.Delta},
		steering: Steering{Control: migration.Control{Limits: spec.Limits}, MaxFailed: spec.MaxFailed},
	}
	m.progress.Steering = &m.steering
	m.progress.serve(ctx)
	return m
}

func (m *migrationRun) inspectSource(ctx workflow.Context) error {
	m.enter(ctx, PhaseInspecting)
	return execute(withActivity(ctx, "check and index "+m.fileName()), a.InspectSource, activities.InspectInput{
		Spec: m.spec, Run: m.ref, Now: workflow.Now(ctx),
	}, &m.source)
}

func (m *migrationRun) checkTarget(ctx workflow.Context) error {
	m.progress.Records, m.progress.Twins = m.source.Records, m.source.Twins
	var checked activities.Checked
	err := execute(withRetries(withActivity(ctx, "can "+m.spec.Target.Host()+" be used?"), checkAttempts), a.CheckTarget, m.ref, &checked)
	m.progress.KeylessNote = checked.KeylessNote
	return err
}

// canary loads the first records, reads them back, and waits until somebody has
// looked at what came of them.
func (m *migrationRun) canary(ctx workflow.Context) {
	m.loadBatches(ctx, "canary", m.source.Canary)
	if m.stopped || m.source.Canary == m.source.Batches {
		return
	}
	m.enter(ctx, PhaseVerifying)
	question, timeout := m.canaryText(ctx), m.spec.CanaryTimeout
	if timeout > 0 {
		question += " Without an answer it stops at " + workflow.Now(ctx).Add(timeout).UTC().Format(time.DateTime) + " UTC."
	}
	m.stopped = !m.decide(ctx, UpdateApprove, question, timeout)
	if m.stopped && ctx.Err() == nil {
		m.halted = fmt.Sprintf("nobody has approved the canary within %s", timeout)
	}
}

// canaryText says what came of the canary, for the one who decides.
func (m *migrationRun) canaryText(ctx workflow.Context) string {
	c := m.progress.Rounds[0].Counts
	text := fmt.Sprintf("The canary: of %s %d %s created, %d %s there already, %d failed, %d %s unknown. ", figures.Count(c.Records(), "record"),
		c.Created, figures.Plural(c.Created, "was", "were"), c.Duplicate, figures.Plural(c.Duplicate, "was", "were"), c.Failed, c.Unknown, figures.Plural(c.Unknown, "is", "are"))
	found, err := verifyBatches(ctx, m.ref, 1, m.source.Canary)
	text += "Read back: " + found.Text()
	if err != nil {
		text += " Not all could be read back: " + Cause(err) + "."
	}
	var forecast activities.Forecast
	if err := execute(withActivity(ctx, "how long will the rest take?"), a.Forecast, activities.ForecastInput{Run: m.ref, Loaded: m.source.Canary}, &forecast); err == nil {
		text += " " + forecastText(forecast)
	}
	return text
}

func forecastText(f activities.Forecast) string {
	if f.Calls == 0 {
		return fmt.Sprintf("%s %s left.", figures.Count(f.Left, "batch"), figures.Plural(f.Left, "is", "are"))
	}
	return fmt.Sprintf("A call took %s (half of them less), at most %s: the %s left %s about %s at the pace that is set.",
		f.Median.Round(time.Millisecond), f.Longest.Round(time.Millisecond), figures.Count(f.Left, "batch"), figures.Plural(f.Left, "takes", "take"), f.Takes.Round(time.Second))
}

// load is round 0: the input.
func (m *migrationRun) load(ctx workflow.Context) { m.loadBatches(ctx, "load", m.source.Batches) }

// loadBatches loads the first batches of the input, and finds out whose the
// duplicates are. Where too many records fail, it waits for a decision.
func (m *migrationRun) loadBatches(ctx workflow.Context, name string, batches int) {
	for again := 1; ; again++ {
		tooManyFailed := m.loadRound(ctx, numbered(name, again), batches)
		if !m.stopped {
			m.resolve(ctx)
		}
		if !tooManyFailed || m.stopped || m.halted != "" {
			return
		}
		if m.stopped = !m.mayGoOn(ctx); m.stopped {
			return
		}
	}
}

// resolve finds out whose the duplicates of the input are: a call of ours can have
// written a record and not said so, also where no answer was lost.
func (m *migrationRun) resolve(ctx workflow.Context) {
	resolved, err := resolveDuplicates(ctx, m.ref, 0, m.progress.Rounds[0].Duplicate, func(d time.Duration, forWhat string) error {
		m.progress.Waiting = forWhat
		m.progress.show(ctx)
		err := sleep(ctx, d, "wait "+forWhat)
		m.progress.Waiting = ""
		m.progress.show(ctx)
		return err
	})
	switch {
	case err == nil:
		m.progress.resolved(0, resolved)
		m.progress.show(ctx)
	case temporal.IsCanceledError(err):
		m.stopped = true
	default: // the same command looks again; the artifacts keep what is unknown now
		m.halted = Cause(err)
	}
}

// loadRound loads the first batches of the input, and says whether it left some
// because too many records have failed.
func (m *migrationRun) loadRound(ctx workflow.Context, name string, batches int) (tooManyFailed bool) {
	mostFailed := m.mostFailedAgain()
	m.progress.Errors = nil // what was loaded before counts again
	r := round{
		run: m.ref, number: 0, batches: batches, limits: m.steering.Limits,
		partitions: m.spec.Partitions, id: childID(ctx, name), summary: "load " + m.fileName(),
		mostFailed: mostFailed, duplicatesFail: !m.spec.Delta, notify: m.spec.Notify,
	}
	m.progress.Children = r.ids()
	m.enter(ctx, PhaseLoading)
	result, err := r.load(ctx)
	m.progress.Children = nil
	m.note(result, err)
	m.progress.endRound(0, result.Counts)
	m.progress.Errors = result.Errors
	return result.TooManyFailed
}

// retry is the rounds after it, as long as records are unknown.
func (m *migrationRun) retry(ctx workflow.Context) {
	for again := 1; ; again++ {
		m.progress.Rounds = m.progress.Rounds[:1]
		id := childID(ctx, numbered("retry", again))
		m.progress.Children = []string{id}
		m.enter(ctx, PhaseRetrying)
		options := childOptions(id, "records in unknown state of "+m.fileName())
		var result RetryResult
		err := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, options), RetryWorkflow, RetryInput{
			Run: m.ref, Limits: m.steering.Limits, Partitions: m.spec.Partitions,
			Rounds: m.spec.RetryRounds, Backoff: m.spec.RetryBackoff, Round: 1, MostFailed: m.mostFailed(), Delta: m.spec.Delta, Notify: m.spec.Notify,
		}).Get(ctx, &result)
		m.progress.Children = nil
		m.note(LoadResult{Halted: result.Halted, Stopped: result.Stopped}, err)
		m.progress.merge(result.Progress)
		if !result.TooManyFailed {
			return
		}
		if m.stopped = !m.mayGoOn(ctx); m.stopped {
			return
		}
	}
}

// update is for the records of a delta migration that were there already. The
// rounds come first: a duplicate of theirs may be our own.
func (m *migrationRun) update(ctx workflow.Context) {
	id := childID(ctx, "update")
	m.progress.Children = []string{id}
	m.enter(ctx, PhaseUpdating)
	var result UpdateResult
	err := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, childOptions(id, "records of "+m.fileName()+" that are there already")), UpdateWorkflow, UpdateInput{
		Run: m.ref, Limits: m.steering.Limits, Records: m.duplicates(),
	}).Get(ctx, &result)
	m.progress.Children = nil
	m.note(LoadResult{Halted: result.Halted, Stopped: result.Stopped}, err)
	m.progress.ToUpdate, m.progress.Updates = m.duplicates(), result.Counts
}

// countEntities is for the summary only: a target that does not tell is no
// fault of the migration.
func (m *migrationRun) countEntities(ctx workflow.Context) {
	m.writing = true
	m.enter(ctx, PhaseWriting)
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	attempts := int32(countAttempts)
	if m.stopped {
		attempts = 1 // somebody waits for the end
	}
	if err := execute(withRetries(withActivity(ctx, "count the entities"), attempts), a.CountEntities, m.ref, &m.entities); err != nil {
		m.entities = nil
	}
}

func (m *migrationRun) writeArtifacts(ctx workflow.Context) (Result, error) {
	result := Result{Halted: m.halted}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	err := execute(withActivity(ctx, "write and count the artifacts"), a.WriteArtifacts, activities.ArtifactsInput{
		Run: m.ref, FinishedAt: workflow.Now(ctx), EntitiesAfter: m.entities, Stopped: m.stopped, Cancelled: m.steering.Ending == UpdateCancel,
		Halted: m.halted,
	}, &result.Summary)
	if err != nil {
		return result, err
	}
	m.progress.Counts = &result.Summary.Records
	m.enter(ctx, PhaseDone)
	return result, nil
}

// keepFailure keeps why the migration came to nothing where it is found when the
// service does not tell any more.
func (m *migrationRun) keepFailure(ctx workflow.Context, err error) {
	failure := migration.Failure{At: workflow.Now(ctx).UTC(), Reason: Cause(err), Stopped: temporal.IsCanceledError(err), Spec: m.spec}
	if failure.Stopped {
		failure.Reason = "stopped before anything was sent"
	}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	ctx = withRetries(withActivity(ctx, "keep why it came to nothing"), countAttempts)
	if err := execute(ctx, a.KeepFailure, activities.FailureInput{Run: m.ref, Failure: failure}, nil); err != nil {
		workflow.GetLogger(ctx).Warn("why the migration came to nothing could not be kept", "error", err)
	}
}

// unknown says whether round 0 left records in unknown state.
func (m *migrationRun) unknown() bool {
	return len(m.progress.Rounds) > 0 && m.progress.Rounds[0].unknown() > 0
}

// duplicates is how many records are in the target already and are not ours.
func (m *migrationRun) duplicates() (n int) {
	for _, r := range m.progress.Rounds {
		n += r.Resolved.Duplicate
	}
	return n
}

// note keeps why a child ended before its time. Whatever it was, the artifacts
// are written, so that every record stands somewhere.
func (m *migrationRun) note(result LoadResult, err error) {
	if result.Stopped || err != nil {
		m.stopped = true
	}
	m.halted = result.Halted
	if err != nil && !temporal.IsCanceledError(err) {
		m.halted = Cause(err)
	}
}

// enter shows a phase to those who watch.
func (m *migrationRun) enter(ctx workflow.Context, phase Phase) {
	m.progress.Phase = phase
	m.progress.show(ctx)
	if m.spec.SearchAttributes {
		updates := []temporal.SearchAttributeUpdate{AttributePhase.ValueSet(string(m.progress.ShownPhase()))}
		if failed, unknown, known := m.soFar(); known {
			updates = append(updates, AttributeFailed.ValueSet(int64(failed)), AttributeUnknown.ValueSet(int64(unknown)))
		}
		if err := workflow.UpsertTypedSearchAttributes(ctx, updates...); err != nil {
			workflow.GetLogger(ctx).Warn("cannot set the search attributes", "error", err)
		}
	}
}

// soFar is how many records have failed and are unknown, by the rounds that have
// ended.
func (m *migrationRun) soFar() (failed, unknown int, known bool) {
	if c := m.progress.Counts; c != nil {
		return c.Failed, c.Unknown, true
	}
	rounds := m.progress.Rounds
	if len(rounds) == 0 {
		return 0, 0, false
	}
	return m.failed() + m.progress.Updates.Failed, rounds[len(rounds)-1].unknown(), true
}

// failed is how many records the rounds that have ended have failed.
func (m *migrationRun) failed() (n int) {
	for _, r := range m.progress.Rounds {
		n += r.failed(m.spec.Delta)
	}
	return n
}

func (m *migrationRun) fileName() string { return m.spec.ShownName() }

// mayGoOn waits for a decision while too many records have failed. The limit may
// have been raised since.
func (m *migrationRun) mayGoOn(ctx workflow.Context) bool {
	if most := m.mostFailed(); most == nil || *most >= 0 {
		return ctx.Err() == nil
	}
	return m.decide(ctx, UpdateResume, fmt.Sprintf("%d of %s %s failed, more than --max-failed %s allows.", m.failed(), figures.Count(m.source.Records, "record"), figures.Plural(m.failed(), "has", "have"), m.steering.MaxFailed), 0)
}

// tellMostFailed tells the children of a new limit.
func (m *migrationRun) tellMostFailed(ctx workflow.Context) {
	if p := m.progress.Phase; p != PhaseLoading && p != PhaseRetrying {
		return
	}
	for _, id := range m.progress.Children {
		_ = workflow.SignalExternalWorkflow(ctx, id, "", signalMostFailed, m.mostFailed()).Get(ctx, nil) // it may have ended just now
	}
}

// mostFailed is how many more records may fail; nil is any number.
func (m *migrationRun) mostFailed() *int {
	limit, err := migration.ParseMaxFailed(m.steering.MaxFailed)
	most, limited := limit.Of(m.source.Records)
	if err != nil || !limited {
		return nil
	}
	most -= m.failed()
	return &most
}

// mostFailedAgain is mostFailed for a round that counts what was loaded before once
// more: duplicates fail in it that turned out not to have failed.
func (m *migrationRun) mostFailedAgain() *int {
	rounds := m.progress.Rounds
	m.progress.Rounds = nil
	most := m.mostFailed()
	if most != nil && !m.spec.Delta && len(rounds) > 0 && rounds[0].isResolved() {
		*most += rounds[0].Duplicate - rounds[0].Resolved.Failed
	}
	return most
}

// numbered names the children of a kind; the first as it always was.
func numbered(what string, n int) string {
	if n == 1 {
		return what
	}
	return fmt.Sprintf("%s-%d", what, n)
}

// childID is readable, and its own for each run of the migration. The run id is in it whole:
// the service makes them of the time, so that those of one minute begin alike.
func childID(ctx workflow.Context, what string) string {
	info := workflow.GetInfo(ctx)
	return info.WorkflowExecution.ID + "/" + what + "-" + info.OriginalRunID
}

const (
	// A target that does not answer at the start is asked for about a quarter
	// of a minute before the migration refuses to begin.
	checkAttempts = 5
	countAttempts = 3

	// Reading and writing folders is tried again for about a minute: a disk
	// that is full may be cleared. Then the migration ends with the reason, and
	// the same command goes on.
	storageAttempts = 8
	// A bucket is waited for half an hour, and longer where it does not even
	// refuse: nobody has to watch an outage of it.
	bucketAttempts = 180

	// No activity of ours takes longer than this, unless its worker is dead,
	// which the heartbeat tells long before.
	longest = 24 * time.Hour
)
