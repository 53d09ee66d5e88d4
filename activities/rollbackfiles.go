package activities

import (
	"context"
	"slices"
	"time"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/rollback"
	"durable-dataload/internal/store"
)

// RollbackArtifactsInput asks for the artifacts of a rollback.
type RollbackArtifactsInput struct {
	Run        `json:"run"`
	Round      int       `json:"round"`
	FinishedAt time.Time `json:"finished_at"`
}

// WriteRollback writes the two files of a rollback, and first proves that every item is in
// exactly one of them. From then on nothing of this run may be sent.
func (a *Activities) WriteRollback(ctx context.Context, in RollbackArtifactsInput) (migration.RollbackSummary, error) {
	return onRun(ctx, a.rollback, in.Run, (*rollbackRun).writeRollback, in)
}

func (o *rollbackRun) writeRollback(ctx context.Context, in RollbackArtifactsInput) (migration.RollbackSummary, error) {
	if err := o.folder.Seal(o.run.ID); err != nil {
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
		// The summary goes to Temporal, and the target's words may quote a record.
		if reason != item.Reason && !slices.Contains(ownReasons, reason) {
			reason = refusedByWords
		}
		summary.Reasons[reason]++
	}
	return nil
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
