package activities

import (
	"context"
	"errors"
	"time"

	"durable-dataload/internal/evidence"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/source"
	"durable-dataload/internal/target"
)

// BatchInput names a batch by its position in a round.
type BatchInput struct {
	Run      `json:"run"`
	Round    int `json:"round"`
	Position int `json:"position"`
	// Limit is how many records may fail; nil is any number.
	Limit *FailLimit `json:"limit,omitempty"`
}

// BatchResult is what became of a batch.
type BatchResult struct {
	ledger.Counts
	// Unsent says that the batch is undecided and can still be loaded. LoadBatch sets
	// it where too many records have failed.
	Unsent bool `json:"unsent,omitempty"`
	// Reason is why records are unknown: "http 502".
	Reason string `json:"reason,omitempty"`
	// Errors are the numbers of records that failed or are unknown by class of reason:
	// "api 363", "http 502".
	Errors map[string]int `json:"errors,omitempty"`
	// Pace is the state of the gate when the batch was done, nil where it was what the
	// options of the migration say.
	Pace *limiter.Gate `json:"pace,omitempty"`
}

// LoadBatch loads one batch: read, encode, claim, one call, outcomes.
//
// It may be run any number of times, concurrently too: the call is made at most once. An
// attempt that finds a claim of another makes no call and decides that the batch is
// unknown.
func (a *Activities) LoadBatch(ctx context.Context, in BatchInput) (BatchResult, error) {
	beat := newPulse(ctx)
	defer beat.stop()
	m, err := a.migration(in.Run)
	if err != nil {
		return BatchResult{}, err
	}
	l, err := m.loading(ctx, in.Round, in.Position)
	if err != nil {
		return BatchResult{}, storageError(err)
	}
	beat.gate.Store(l.gate)
	waiting, stopWaiting := a.untilStopping(ctx)
	defer stopWaiting()
	if err := l.prepared.take(waiting, func() int { return 2 * l.slots() }); err != nil {
		return BatchResult{}, unbegun(ctx, err)
	}
	defer l.prepared.leave()
	if _, l.encoded, err = l.readInput(l.batch); err != nil {
		return BatchResult{}, storageError(err)
	}
	l.limit = in.Limit
	result, err := l.load(ctx, l.key, l.positions)
	if errors.Is(err, errHeld) {
		return BatchResult{Unsent: true}, nil
	}
	if err != nil {
		return BatchResult{}, unbegun(ctx, err)
	}
	result.Pace = l.pace(ctx)
	return result, nil
}

// loading is the work on one batch in one round.
type loading struct {
	*migrationRun
	calls     *caller
	key       ledger.Key
	batch     source.Batch
	positions []int // of the records of the batch that are in this round, from 0
	keyless   func(i int) bool
	isolated  int // calls that were halved because they were refused
	encoded   []encodedRecord
	limit     *FailLimit
}

func (m *migrationRun) loading(ctx context.Context, round, position int) (*loading, error) {
	batch, err := m.roundBatch(round, position)
	if err != nil {
		return nil, err
	}
	l := &loading{migrationRun: m, calls: m.caller(batch), key: ledger.Key{Round: round, Batch: batch}}
	if l.batch, err = m.index.Batch(batch); err != nil {
		return nil, err
	}
	if l.keyless, err = m.keyless(l.batch); err != nil {
		return nil, err
	}
	inRound, err := m.ledger.InRound(ctx, round, batch, l.batch.Records, l.keyless)
	if err != nil {
		return nil, err
	}
	for i, in := range inRound {
		if in {
			l.positions = append(l.positions, i)
		}
	}
	return l, nil
}

// load loads a part of the batch: the records at these positions.
func (l *loading) load(ctx context.Context, key ledger.Key, positions []int) (BatchResult, error) {
	decided, err := l.ledger.Decided(ctx, ledger.ByCall, key)
	if err == nil {
		if !decided.Split {
			return l.result(decided), nil
		}
		return l.loadHalves(ctx, key, positions, decided)
	}
	if !isNotFound(err) {
		return BatchResult{}, err
	}
	if err := l.mayClaim(key); err != nil {
		return BatchResult{}, err
	}
	records, sent := l.sendable(positions)
	if len(sent) == 0 {
		outcomes := l.refusedHere(positions).Outcomes(false, "")
		l.countFailed(outcomes)
		return l.decide(ctx, key, l.ledger.Decide, outcomes)
	}
	outcomes, err := l.call(ctx, key, positions, sent, records)
	if errors.Is(err, ledger.ErrClaimed) {
		return l.decide(ctx, key, l.ledger.Decide, l.unknown(positions, ledger.Abandoned))
	}
	if err != nil {
		return BatchResult{}, err
	}
	// What an answer said must be written down, even if this activity was cancelled.
	result, err := l.decide(context.WithoutCancel(ctx), key, l.ledger.DecideAnswer, outcomes)
	if err == nil && outcomes.Split {
		return l.load(ctx, key, positions) // as it was decided
	}
	return result, err
}

func (l *loading) loadHalves(ctx context.Context, key ledger.Key, positions []int, split ledger.Outcomes) (BatchResult, error) {
	sum := l.result(split)
	firstKey, secondKey := key.Halves()
	firstHalf, secondHalf := split.Halves(positions)
	first, err := l.load(ctx, firstKey, firstHalf)
	if err != nil {
		return sum, err
	}
	second, err := l.load(ctx, secondKey, secondHalf)
	return sum.plus(first).plus(second), err
}

// sendable are the records at these positions that can be sent, and where they are.
func (l *loading) sendable(positions []int) (records []target.Record, sent []int) {
	for _, i := range positions {
		if l.encoded[i].reason == "" {
			sent = append(sent, i)
			records = append(records, l.encoded[i].record)
		}
	}
	return records, sent
}

// call claims the part and makes the one call for it. It fails only if nothing was sent
// here: with ledger.ErrClaimed where another attempt may have sent it.
func (l *loading) call(ctx context.Context, key ledger.Key, positions, sent []int, records []target.Record) (ledger.Outcomes, error) {
	slot, err := l.calls.slot(ctx)
	if err != nil {
		return ledger.Outcomes{}, err
	}
	defer slot.Release()
	if err := l.mayClaim(key); err != nil {
		return ledger.Outcomes{}, err
	}
	err = l.ledger.Claim(ctx, key, l.newClaim())
	if err != nil {
		return ledger.Outcomes{}, err
	}
	// The claim is made: from here on the part gets an outcome, whatever happens.
	calling, called := l.calls.withSlot(ctx, slot)
	defer called()
	answer := l.target.Create(calling, records)
	l.activities.observer.Called(ctx, l.spec.Target.Host(), key, len(sent), answer)
	outcomes := l.judge(positions, sent, answer)
	l.countFailed(outcomes)
	outcomes.At, outcomes.Took = answer.Received.UTC().Truncate(time.Millisecond), answer.Received.Sub(answer.Sent).Truncate(time.Microsecond)
	outcomes.Clock = evidence.ThisClock()
	return outcomes, nil
}

// decide writes outcomes down, by one of the ledger's ways to decide, and returns the
// result of the batch.
func (l *loading) decide(ctx context.Context, key ledger.Key, by decider, outcomes ledger.Outcomes) (BatchResult, error) {
	held, won, err := by(ctx, ledger.ByCall, key, outcomes)
	if err != nil {
		return BatchResult{}, err
	}
	if !won {
		l.calls.log.Warn("a late answer was dropped: the outcome was decided before", "round", key.Round, "part", key.Part)
		return l.result(held), nil
	}
	l.observeBatch(ctx, key, held, ledger.None)
	if key.Part == "" {
		l.activities.observer.Batch(l.spec.Target.Host())
	}
	return l.result(held), nil
}

type decider func(context.Context, ledger.Kind, ledger.Key, ledger.Outcomes) (held ledger.Outcomes, won bool, err error)

// result is what an entry of the ledger says. Duplicates count as errors where they
// fail: in round 0, unless they are to be updated.
func (l *loading) result(o ledger.Outcomes) BatchResult {
	return BatchResult{Counts: o.Counts(), Reason: o.Reason, Errors: o.Reasons(l.key.Round == 0 && !l.spec.Delta)}
}

func (r BatchResult) plus(other BatchResult) BatchResult {
	r.Add(other.Counts)
	ledger.AddClasses(&r.Errors, other.Errors)
	r.Unsent = r.Unsent || other.Unsent
	if r.Reason == "" || other.Reason != "" && other.Unknown > 0 {
		r.Reason = other.Reason
	}
	return r
}

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
