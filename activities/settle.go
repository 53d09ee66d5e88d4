package activities

import (
	"context"

	"durable-dataload/internal/ledger"
)

// SettleBatch decides what a LoadBatch that died has left undecided: a part that was
// claimed and has no outcome is unknown. It sends nothing.
func (a *Activities) SettleBatch(ctx context.Context, in BatchInput) (BatchResult, error) {
	stop := heartbeat(ctx)
	defer stop()
	m, err := a.migration(in.Run)
	if err != nil {
		return BatchResult{}, err
	}
	result, err := m.settleBatch(ctx, in.Round, in.Position, func(ledger.Key, ledger.Outcomes) {})
	return result, storageError(err)
}

// settleBatch is SettleBatch, and visits all entries of the batch and its parts.
func (m *migrationRun) settleBatch(ctx context.Context, round, position int, visit func(ledger.Key, ledger.Outcomes)) (BatchResult, error) {
	l, err := m.loading(ctx, round, position)
	if err != nil {
		return BatchResult{}, err
	}
	return l.settle(ctx, l.key, l.positions, ledger.Outcomes{}, visit)
}

// settle settles a part. whole is the entry of the call that the part is a half of.
func (l *loading) settle(ctx context.Context, key ledger.Key, positions []int, whole ledger.Outcomes, visit func(ledger.Key, ledger.Outcomes)) (BatchResult, error) {
	decided, err := l.ledger.Decided(ctx, ledger.ByCall, key)
	if err == nil {
		visit(key, decided)
		if !decided.Split {
			return l.result(decided), nil
		}
		firstKey, secondKey := key.Halves()
		firstHalf, secondHalf := decided.Halves(positions)
		first, err := l.settle(ctx, firstKey, firstHalf, decided, visit)
		if err != nil {
			return first, err
		}
		second, err := l.settle(ctx, secondKey, secondHalf, decided, visit)
		return l.result(decided).plus(first).plus(second), err
	}
	if !isNotFound(err) {
		return BatchResult{}, err
	}
	if _, err := l.ledger.ClaimOf(ctx, key); isNotFound(err) {
		return BatchResult{Unsent: true, Counts: ledger.Counts{Unknown: whole.Halved(positions)}}, nil
	} else if err != nil {
		return BatchResult{}, err
	}
	if _, err := l.decide(ctx, key, l.ledger.Decide, l.unknown(positions, "the worker died, or was cut off")); err != nil {
		return BatchResult{}, err
	}
	return l.settle(ctx, key, positions, whole, visit) // as it was decided
}
