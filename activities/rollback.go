package activities

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/delta"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/rollback"
	"durable-dataload/internal/store"
	"durable-dataload/internal/undo"
)

// RollbackInput names a batch of items.
type RollbackInput struct {
	Run   `json:"run"`
	Round int `json:"round"`
	Batch int `json:"batch"`
}

// RollBackBatch undoes the items of a batch: read, refuse what was changed since and what
// is not the migration's, delete or restore.
//
// It may be run any number of times, concurrently too, because everything that it sends
// may be repeated:
//
//   - A delete by uuid deletes the record that was read or nothing: uuids are not reused.
//     So the second of two equal calls finds nothing, which means done if the record was
//     read before.
//   - A restore goes one call at a time, each after a read that shows what is left to do.
//     A call whose answer was lost has done its part, or has not.
//   - Both carry the lastUpdated of that read, unless they are forced. If the record was
//     changed between read and call, the target does nothing (code 330), and the next
//     read shows what happened. So a late call of a suspended worker overwrites nothing
//     that came after its read.
//
// A record that is gone in a batch that was begun before may have been deleted then, by a
// worker that was killed; it counts as gone.
//
// If the run is stopped in the middle of a batch, what is not attempted gets no outcome,
// and is left for another round.
func (a *Activities) RollBackBatch(ctx context.Context, in RollbackInput) (migration.RollbackCounts, error) {
	beat := newPulse(ctx)
	defer beat.stop()
	o, err := a.rollback(in.Run)
	if err != nil {
		return migration.RollbackCounts{}, err
	}
	beat.gate.Store(o.gate)
	counts, err := o.rollBackBatch(ctx, in)
	return counts, ended(ctx, err)
}

func (o *rollbackRun) rollBackBatch(ctx context.Context, in RollbackInput) (migration.RollbackCounts, error) {
	b, err := o.undoing(ctx, in)
	if err != nil {
		return migration.RollbackCounts{}, err
	}
	decided, err := b.isDecided(ctx, in.Round, in.Batch)
	if err != nil {
		return migration.RollbackCounts{}, err
	}
	if decided {
		return b.counts(ctx)
	}
	if err := b.calls.notSealed(); err != nil {
		return migration.RollbackCounts{}, err
	}
	err = b.ledger.Claim(ctx, b.key, b.newClaim())
	if err != nil && !errors.Is(err, ledger.ErrClaimed) {
		return migration.RollbackCounts{}, err
	}
	outcomes := ledger.NewOutcomes(len(b.items))
	for i, item := range b.items {
		if !b.in[i] {
			continue
		}
		outcome, reason, err := b.undo(ctx, item)
		if errors.Is(err, errNotSent) || errors.Is(err, context.Canceled) {
			break
		}
		if err != nil {
			return migration.RollbackCounts{}, err
		}
		if outcome == ledger.Failed {
			outcomes.Failed(i, reason)
		} else {
			outcomes.RolledBack(i, outcome)
		}
	}
	if err := b.calls.notSealed(); err != nil {
		return migration.RollbackCounts{}, err
	}
	// What was done must be written down, even if this activity was cancelled.
	ctx = context.WithoutCancel(ctx)
	held, won, err := b.ledger.DecideAnswer(ctx, ledger.ByCall, b.key, outcomes.Outcomes(true, ""))
	if err != nil {
		return migration.RollbackCounts{}, err
	}
	if won {
		b.observeOutcomes(held, ledger.None)
	}
	return b.counts(ctx)
}

// undoing is the work on one batch of items.
type undoing struct {
	*rollbackRun
	calls  *caller
	key    ledger.Key
	items  []rollback.Item
	in     []bool // whether an item is in the round
	dry    bool   // nothing is changed
	values map[int]map[int64]undo.Entry
	sent   map[int]map[int64]loaded // by batch and line of the migration
	types  delta.Types
}

func (o *rollbackRun) undoing(ctx context.Context, in RollbackInput) (_ *undoing, err error) {
	b := &undoing{
		rollbackRun: o, calls: o.caller(in.Batch), key: ledger.Key{Round: in.Round, Batch: in.Batch},
		values: map[int]map[int64]undo.Entry{}, sent: map[int]map[int64]loaded{},
	}
	if b.types, err = b.calls.types(ctx); err != nil {
		return nil, err
	}
	if b.items, err = o.readItems(in.Batch); err != nil {
		return nil, err
	}
	b.in, err = o.inRound(ctx, in.Round, in.Batch)
	return b, err
}

// counts are those of the whole batch.
func (b *undoing) counts(ctx context.Context) (migration.RollbackCounts, error) {
	known, err := b.after(ctx, b.key.Round, b.key.Batch)
	return countRollback(known), err
}

// RollbackArtifactsInput asks for the artifacts of a rollback.
type RollbackArtifactsInput struct {
	Run        `json:"run"`
	Round      int       `json:"round"`
	FinishedAt time.Time `json:"finished_at"`
}

// WriteRollback writes the two files of a rollback, and first proves that every item is in
// exactly one of them. From then on nothing of this run may be sent.
func (a *Activities) WriteRollback(ctx context.Context, in RollbackArtifactsInput) (migration.RollbackSummary, error) {
	return onRun(ctx, a.rollback, in.Run, func(o *rollbackRun, ctx context.Context, in RollbackArtifactsInput) (migration.RollbackSummary, error) {
		return writeOnce(o.folder, in.Run.ID, in.FinishedAt, o.folder.Rollback().Summary, func(isFirst func() error) (migration.RollbackSummary, error) {
			return o.writeRollback(ctx, in, isFirst)
		})
	}, in)
}

func (o *rollbackRun) writeRollback(ctx context.Context, in RollbackArtifactsInput, isFirst func() error) (migration.RollbackSummary, error) {
	if err := o.seal(ctx); err != nil {
		return migration.RollbackSummary{}, err
	}
	summary := migration.RollbackSummary{
		WorkflowID: o.start.ID, Source: o.rollback.Source, EntityType: o.spec.Target.EntityType, URI: o.spec.Target.URI,
		StartedAt: o.start.StartedAt, FinishedAt: in.FinishedAt.UTC().Truncate(time.Second),
		Items: int(o.index.Records()), Reasons: map[string]int{},
	}
	set, err := artifacts.NewRollbackSet(o.spec.OutputDir, o.start.Stamp)
	if err != nil {
		return summary, err
	}
	defer set.Discard()
	summary.Success, summary.Fail = set.Names()
	err = store.ForEachOrdered(ctx, o.folder.Path(), o.index.Batches(), func(ctx context.Context, n int) (undone, error) {
		return o.readUndone(ctx, ledger.Key{Round: in.Round, Batch: n + 1})
	}, func(u undone) error { return u.add(set, &summary) })
	if err != nil {
		return summary, err
	}
	if err := isFirst(); err != nil {
		return summary, err
	}
	if err := set.Commit(ctx, summary.Items); err != nil {
		return summary, err
	}
	if err := releaseNames(o.folder, o.spec.OutputDir); err != nil {
		return summary, err
	}
	if err := o.folder.Rollback().SaveSummary(summary); err != nil {
		return summary, err
	}
	if summary.IsDone() && !o.rollback.Migration.IsZero() {
		return summary, o.rollback.Migration.MarkRolledBack(migration.RolledBack{Rollback: o.start.ID, Done: true, Failed: summary.Records.Failed})
	}
	return summary, nil
}

// undone is what became of the items of a batch.
type undone struct {
	items    []rollback.Item
	known    []ledger.Record
	left     string // why those without an outcome have none
	verified bool
}

func (o *rollbackRun) readUndone(ctx context.Context, key ledger.Key) (u undone, err error) {
	if u.items, err = o.readItems(key.Batch); err != nil {
		return u, err
	}
	if u.known, err = o.after(ctx, key.Round, key.Batch); err != nil {
		return u, err
	}
	if u.left, err = o.whyLeft(ctx, key); err != nil {
		return u, err
	}
	u.verified, err = o.isVerified(ctx, key.Round, key.Batch)
	return u, err
}

// add adds the items of a batch.
func (u undone) add(set *artifacts.RollbackSet, summary *migration.RollbackSummary) error {
	summary.Records.Add(countRollback(u.known))
	for i, item := range u.items {
		if isUndone(u.known[i].Outcome) {
			if !u.verified {
				summary.Unverified++
			}
			if err := set.Success(item.Batch, item.Line, item.UUID, item.Email); err != nil {
				return err
			}
			continue
		}
		reason := u.known[i].Error
		if u.known[i].Outcome == ledger.None {
			reason = u.left
		}
		if err := set.Fail(item.Batch, item.Line, reason); err != nil {
			return err
		}
		summary.Reasons[ownReason(item, reason)]++
	}
	return nil
}

// ownReason is the reason why an item was not undone, for the summary, which goes to Temporal: the target's words may
// quote a record.
func ownReason(item rollback.Item, reason string) string {
	if reason != item.Reason && !slices.Contains(ownReasons, reason) {
		return refusedByWords
	}
	return reason
}

// whyLeft is the reason of items without an outcome: a batch that was begun and is
// undecided may be done in part.
func (o *rollbackRun) whyLeft(ctx context.Context, key ledger.Key) (string, error) {
	decided, err := o.isDecided(ctx, key.Round, key.Batch)
	if err != nil || decided {
		return notAttempted, err
	}
	_, err = o.ledger.ClaimOf(ctx, key)
	if isNotFound(err) {
		return notAttempted, nil
	}
	return notKnown, err
}

// DryRun reads all items of a rollback and counts what would be done: it changes nothing,
// in the target or in the rollback's folder. It is not an activity. shown is called after
// each batch.
func (a *Activities) DryRun(ctx context.Context, r migration.Rollback, shown func(migration.RollbackCounts)) (sum migration.DryRollback, err error) {
	sum.Reasons = map[string]int{}
	if err := a.checkIdentities(r.Migration); err != nil {
		return sum, plain(err)
	}
	run := Run{Folder: r.Folder.RunFolder}
	empty := ledger.New(ledger.NewFolder(run.Folder.Ledger())) // a dry run has not begun, and keeps nothing
	o, err := a.openRollback(run, r, migration.Start{}, empty)
	if err != nil {
		return sum, err
	}
	defer o.close()
	for batch := 1; batch <= o.index.Batches(); batch++ {
		b, err := o.undoing(ctx, RollbackInput{Batch: batch})
		if err != nil {
			return sum, err
		}
		b.dry = true
		known := make([]ledger.Record, len(b.items))
		for i, item := range b.items {
			outcome, reason, err := b.undo(ctx, item)
			if err != nil {
				return sum, plain(err)
			}
			known[i].Outcome = outcome
			if !isUndone(outcome) {
				sum.Reasons[ownReason(item, reason)]++
			}
		}
		sum.Add(countRollback(known))
		shown(sum.RollbackCounts)
	}
	return sum, nil
}

// plain strips an error of what was added for Temporal.
func plain(err error) error {
	var application *temporal.ApplicationError
	if errors.As(err, &application) {
		return errors.New(application.Message())
	}
	return err
}
