package activities

import (
	"context"
	"errors"

	"durable-dataload/internal/delta"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/rollback"
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
	stop := heartbeat(ctx)
	defer stop()
	o, err := a.rollback(in.Run)
	if err != nil {
		return migration.RollbackCounts{}, err
	}
	counts, err := o.rollBackBatch(ctx, in)
	return counts, storageError(err)
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
