// Package workflows tells the story of a migration: what happens in which
// order, what is waited for, and what follows from a failure. All I/O is in
// the activities; all outcomes are in the ledger. The workflows hold numbers.
//
// A changed workflow must still replay the histories in testdata/histories:
// guard a change of order with workflow.GetVersion, once at the top of a run.
package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/migration"
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
	m := newMigrationRun(ctx, spec)
	return m.run(ctx)
}

// run is the migration.
func (m *migrationRun) run(ctx workflow.Context) (Result, error) {
	if err := m.inspectSource(ctx); err != nil {
		return Result{}, err
	}
	if err := m.checkTarget(ctx); err != nil {
		return Result{}, err
	}
	m.load(ctx)
	if m.unknown() && !m.stopped {
		m.retry(ctx)
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
}

func newMigrationRun(ctx workflow.Context, spec migration.Spec) *migrationRun {
	m := &migrationRun{
		spec:     spec,
		ref:      activities.Run{Folder: migration.Folder(spec.Folder), ID: workflow.GetInfo(ctx).OriginalRunID},
		progress: Progress{Phase: PhaseInspecting},
	}
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
	m.progress.Records = m.source.Records
	return execute(withRetries(withActivity(ctx, "can "+m.spec.Target.Host()+" be used?"), checkAttempts), a.CheckTarget, m.ref, nil)
}

// load is round 0: the input.
func (m *migrationRun) load(ctx workflow.Context) {
	id := childID(ctx, "load")
	m.progress.Child = id
	m.enter(ctx, PhaseLoading)
	result, err := runLoad(ctx, id, "load "+m.fileName(), LoadInput{
		Run: m.ref, Round: 0, Workers: m.spec.Workers, RateLimit: m.spec.RateLimit, Timeout: m.spec.Timeout,
	})
	m.progress.Child = ""
	m.note(result, err)
	m.progress.endRound(0, result.Counts)
}

// retry is the rounds after it, as long as records are unknown.
func (m *migrationRun) retry(ctx workflow.Context) {
	id := childID(ctx, "retry")
	m.progress.Child = id
	m.enter(ctx, PhaseRetrying)
	options := childOptions(id, "records in unknown state of "+m.fileName())
	var result RetryResult
	err := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, options), RetryWorkflow, RetryInput{
		Run: m.ref, Workers: m.spec.Workers, RateLimit: m.spec.RateLimit, Timeout: m.spec.Timeout,
		Rounds: m.spec.RetryRounds, Backoff: m.spec.RetryBackoff, Round: 1,
	}).Get(ctx, &result)
	m.progress.Child = ""
	m.note(LoadResult{Halted: result.Halted, Stopped: result.Stopped}, err)
	m.progress.merge(result.Progress)
}

// countEntities is for the summary only: a target that does not tell is no
// fault of the migration.
func (m *migrationRun) countEntities(ctx workflow.Context) {
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
		Run: m.ref, FinishedAt: workflow.Now(ctx), EntitiesAfter: m.entities, Stopped: m.stopped,
	}, &result.Summary)
	if err != nil {
		return result, err
	}
	m.progress.Counts = &result.Summary.Records
	m.enter(ctx, PhaseDone)
	return result, nil
}

// unknown says whether round 0 left records in unknown state.
func (m *migrationRun) unknown() bool {
	return len(m.progress.Rounds) > 0 && m.progress.Rounds[0].Unknown > 0
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
		updates := []temporal.SearchAttributeUpdate{AttributePhase.ValueSet(string(phase))}
		if c := m.progress.Counts; c != nil {
			updates = append(updates, AttributeFailed.ValueSet(int64(c.Failed)), AttributeUnknown.ValueSet(int64(c.Unknown)))
		}
		if err := workflow.UpsertTypedSearchAttributes(ctx, updates...); err != nil {
			workflow.GetLogger(ctx).Warn("cannot set the search attributes", "error", err)
		}
	}
}

func (m *migrationRun) fileName() string { return m.spec.InputName() }

// childID is readable, and its own for each run of the migration.
func childID(ctx workflow.Context, what string) string {
	info := workflow.GetInfo(ctx)
	return info.WorkflowExecution.ID + "/" + what + "-" + info.OriginalRunID[:8]
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

	// No activity of ours takes longer than this, unless its worker is dead,
	// which the heartbeat tells long before.
	longest = 24 * time.Hour
)
