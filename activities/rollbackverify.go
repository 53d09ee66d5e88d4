package activities

import (
	"context"
	"time"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/rollback"
)

// VerifyRollback reads the items of a batch that are undone again: what was deleted must
// be gone, what was restored must have its previous values. It counts the batch as it is
// then. It changes nothing in the target.
func (a *Activities) VerifyRollback(ctx context.Context, in RollbackInput) (migration.RollbackCounts, error) {
	return onRun(ctx, a.rollback, in.Run, (*rollbackRun).verifyBatch, in)
}

func (o *rollbackRun) verifyBatch(ctx context.Context, in RollbackInput) (migration.RollbackCounts, error) {
	b, err := o.undoing(ctx, in)
	if err != nil {
		return migration.RollbackCounts{}, err
	}
	known, err := b.after(ctx, in.Round, in.Batch)
	if err != nil {
		return migration.RollbackCounts{}, err
	}
	outcomes := ledger.NewOutcomes(len(known))
	for i, k := range known {
		if !isUndone(k.Outcome) {
			continue
		}
		reason, err := b.verify(ctx, b.items[i], k.Outcome)
		if err != nil {
			return migration.RollbackCounts{}, err
		}
		if reason != "" {
			outcomes.Failed(i, reason)
		}
	}
	if err := b.calls.notSealed(); err != nil {
		return migration.RollbackCounts{}, err
	}
	if _, _, err := b.ledger.Decide(ctx, ledger.ByReview, b.key, outcomes.Outcomes(true, "")); err != nil {
		return migration.RollbackCounts{}, err
	}
	return b.counts(ctx)
}

// verify returns the reason why an item is not undone after all, or "". It reads an item up
// to lookUpTries times: recent writes can be invisible for a while.
func (b *undoing) verify(ctx context.Context, item rollback.Item, outcome ledger.Outcome) (reason string, err error) {
	for try := 1; ; try++ {
		entity, reason, err := b.read(ctx, item)
		if err != nil || reason != "" {
			return reason, err
		}
		if outcome == ledger.Deleted || outcome == ledger.Gone {
			if entity == nil {
				return "", nil
			}
			reason = thereAgain
		} else {
			changes, err := b.reversed(item)
			if err != nil || entity != nil && len(b.different(changes, entity)) == 0 {
				return "", err
			}
			reason = valuesLost
		}
		if try == lookUpTries {
			return reason, nil
		}
		if err := sleep(ctx, time.Duration(try)*lookUpBackoff); err != nil {
			return "", err
		}
	}
}
