// Package workflows defines what happens in a migration in which order, what is
// waited for, and what follows from a failure. All I/O is in the activities; all
// outcomes are in the ledger. The workflows hold numbers.
//
// A changed workflow must still replay the histories in testdata/histories, unless
// they are recorded again: see CONTRIBUTING.md.
package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
)

// Result is the result of a migration.
type Result struct {
	Summary migration.Summary `json:"summary"`
	// Halted says what ended the migration early, for people. It is empty where an
	// operator did, or where it did not end early.
	Halted string `json:"halted,omitempty"`
}

// MigrationWorkflow loads one input into one target. It can be cancelled at any
// time: calls in flight end, the artifacts say what was done and what remains,
// and a later run with the same spec resumes from there.
func MigrationWorkflow(ctx workflow.Context, spec migration.Spec) (Result, error) {
	ctx = withFolder(ctx, spec.Folder.Path())
	m := newMigrationRun(ctx, spec)
	result, err := m.run(ctx)
	m.writing = true
	if err != nil {
		m.keepFailure(ctx, err)
	}
	m.notifyEnd(ctx, result, err)
	m.answerOrders(ctx)
	return result, err
}

// run is the migration.
func (m *migrationRun) run(ctx workflow.Context) (Result, error) {
	ctx = m.listen(ctx, m.orders())
	if err := m.inspectSource(ctx); err != nil {
		return Result{}, err
	}
	m.prepared = true
	if err := m.checkTarget(ctx); err != nil {
		return Result{}, err
	}
	m.notifyStart(ctx)
	if m.source.Canary > 0 {
		m.canary(ctx)
	}
	if m.canContinue() {
		m.load(ctx)
	}
	if m.unknown() && m.canContinue() {
		m.retry(ctx)
	}
	if m.spec.Delta && m.duplicates() > 0 && m.canContinue() {
		m.update(ctx)
	}
	m.countEntities(ctx)
	return m.writeArtifacts(ctx)
}

type migrationRun struct {
	steered
	spec     migration.Spec
	began    time.Time
	progress Progress
	source   activities.Inspected
	entities *int64
	stopped  bool // early, by an operator or by trouble
	halted   string

	notices map[notify.Type]int64 // number of notices
}

func newMigrationRun(ctx workflow.Context, spec migration.Spec) *migrationRun {
	m := &migrationRun{
		spec:     spec,
		progress: Progress{Phase: PhaseInspecting, Delta: spec.Delta},
		began:    workflow.Now(ctx),
		steered: steered{
			ref:      activities.Run{Folder: spec.Folder.RunFolder, ID: workflow.GetInfo(ctx).OriginalRunID},
			steering: Steering{Limits: spec.Limits, MaxFailed: spec.MaxFailed},
			settings: migration.Settings,
			words: steeredWords{
				what: "migration", writing: "its result files are being written",
				stopping:   "stopping: calls in flight end, then the result files are written; rerun the command to resume",
				cancelling: "cancelling: calls in flight end, then the result files are written; the migration cannot be resumed",
			},
		},
	}
	m.shown = func(ctx workflow.Context) { m.enter(ctx, m.progress.Phase) }
	m.progress.Steering = &m.steering
	m.progress.serve(ctx)
	return m
}

func (m *migrationRun) inspectSource(ctx workflow.Context) error {
	m.enter(ctx, PhaseInspecting)
	return execute(ctx, "check and index "+m.fileName(), a.InspectSource, activities.InspectInput{
		Spec: m.spec, Run: m.ref, Now: m.began,
	}, &m.source)
}

func (m *migrationRun) checkTarget(ctx workflow.Context) error {
	m.progress.Records, m.progress.DuplicateKeys = m.source.Records, m.source.DuplicateKeys
	var checked activities.Checked
	err := execute(withAttempts(ctx, checkAttempts), "can "+m.spec.Target.Host()+" be used?", a.CheckTarget, m.ref, &checked)
	m.progress.KeylessNote = checked.KeylessNote
	return err
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
		if !tooManyFailed || !m.canContinue() {
			return
		}
		if m.stopped = !m.decideOnFailed(ctx); m.stopped {
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
	default: // rerunning the command retries it; the artifacts keep what is unknown now
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
	m.note(result.Stopped, result.Halted, err)
	m.progress.endRound(0, result.Counts)
	m.progress.Errors = result.Errors
	return result.TooManyFailed
}

// retry runs the rounds after round 0, as long as records are unknown.
func (m *migrationRun) retry(ctx workflow.Context) {
	for again := 1; ; again++ {
		m.progress.Rounds = m.progress.Rounds[:1]
		var result RetryResult
		err := m.runChild(ctx, PhaseRetrying, numbered("retry", again), "records in unknown state of "+m.fileName(), RetryWorkflow, RetryInput{
			Run: m.ref, Limits: m.steering.Limits, Partitions: m.spec.Partitions,
			Rounds: m.spec.RetryRounds, Backoff: m.spec.RetryBackoff, Round: 1, MostFailed: m.mostFailed(), Delta: m.spec.Delta, Notify: m.spec.Notify,
		}, &result)
		m.note(result.Stopped, result.Halted, err)
		m.progress.merge(result.Progress)
		if !result.TooManyFailed {
			return
		}
		if m.stopped = !m.decideOnFailed(ctx); m.stopped {
			return
		}
	}
}

// update updates the records of a delta migration that were there already. The
// rounds come first: a duplicate in one of them may be our own record.
func (m *migrationRun) update(ctx workflow.Context) {
	var result UpdateResult
	err := m.runChild(ctx, PhaseUpdating, "update", "records of "+m.fileName()+" that are there already", UpdateWorkflow, UpdateInput{
		Run: m.ref, Limits: m.steering.Limits, Records: m.duplicates(),
	}, &result)
	m.note(result.Stopped, result.Halted, err)
	m.progress.ToUpdate, m.progress.Updates = m.duplicates(), result.Counts
}

func (m *migrationRun) runChild(ctx workflow.Context, phase Phase, name, summary string, child, input, result any) error {
	id := childID(ctx, name)
	m.progress.Children = []string{id}
	m.enter(ctx, phase)
	err := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, childOptions(id, summary)), child, input).Get(ctx, result)
	m.progress.Children = nil
	return err
}

// countEntities is for the summary only: its failure does not fail the migration.
func (m *migrationRun) countEntities(ctx workflow.Context) {
	m.writing = true
	m.enter(ctx, PhaseWriting)
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	attempts := int32(countAttempts)
	if m.stopped {
		attempts = 1 // an operator waits for the end
	}
	if err := execute(withAttempts(ctx, attempts), "count the entities", a.CountEntities, m.ref, &m.entities); err != nil {
		m.entities = nil
	}
}

func (m *migrationRun) writeArtifacts(ctx workflow.Context) (Result, error) {
	result := Result{Halted: m.halted}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	err := execute(ctx, "write and count the artifacts", a.WriteArtifacts, activities.ArtifactsInput{
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

// keepFailure keeps in the folder why the migration failed, for when the service has
// deleted its history.
func (m *migrationRun) keepFailure(ctx workflow.Context, err error) {
	failure := migration.Failure{At: workflow.Now(ctx).UTC(), Reason: Cause(err), Stopped: temporal.IsCanceledError(err), Spec: m.spec}
	if m.progress.Phase == PhaseInspecting {
		failure.Began = m.began.UTC()
	}
	if failure.Stopped {
		failure.Reason = "stopped before anything was sent"
	}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := execute(withAttempts(ctx, countAttempts), "keep why it failed", a.KeepFailure, activities.FailureInput{Run: m.ref, Failure: failure}, nil); err != nil {
		workflow.GetLogger(ctx).Warn("cannot keep why the migration failed", "error", err)
	}
}

// unknown reports whether round 0 left records in unknown state.
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

// note keeps why a child ended early. Whatever it was, the artifacts are written, so
// that every record has its disposition.
func (m *migrationRun) note(stopped bool, halted string, err error) {
	if stopped || err != nil {
		m.stopped = true
	}
	m.halted = halted
	if err != nil && !temporal.IsCanceledError(err) {
		m.halted = Cause(err)
	}
}

// canContinue reports whether nothing has ended the migration early.
func (m *migrationRun) canContinue() bool { return !m.stopped && m.halted == "" }

// enter shows a phase in queries, the Web UI and the search attributes.
func (m *migrationRun) enter(ctx workflow.Context, phase Phase) {
	m.progress.Phase = phase
	m.progress.show(ctx)
	if !m.spec.SearchAttributes {
		return
	}
	updates := []temporal.SearchAttributeUpdate{AttributePhase.ValueSet(string(m.progress.ShownPhase()))}
	if failed, unknown, known := m.soFar(); known {
		updates = append(updates, AttributeFailed.ValueSet(int64(failed)), AttributeUnknown.ValueSet(int64(unknown)))
	}
	if err := workflow.UpsertTypedSearchAttributes(ctx, updates...); err != nil {
		workflow.GetLogger(ctx).Warn("cannot set the search attributes", "error", err)
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

func (m *migrationRun) fileName() string { return m.spec.ShownName() }

// numbered names the children of a kind; the first has no number.
func numbered(what string, n int) string {
	if n == 1 {
		return what
	}
	return fmt.Sprintf("%s-%d", what, n)
}

// childID is readable, and unique to each run of the migration. It has the whole run
// id: the service derives them from the time, so that those of one minute begin with
// the same characters.
func childID(ctx workflow.Context, what string) string {
	info := workflow.GetInfo(ctx)
	return info.WorkflowExecution.ID + "/" + what + "-" + info.OriginalRunID
}
