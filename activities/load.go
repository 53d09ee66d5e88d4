package activities

import (
	"context"
	"errors"
	"time"

	"durable-dataload/internal/evidence"
	"durable-dataload/internal/gate"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

// BatchesInput names a run of batches by their positions in a round.
type BatchesInput struct {
	Run   `json:"run"`
	Round int `json:"round"`
	First int `json:"first"`
	Last  int `json:"last"`
	// Limit is how many records may fail; nil is any number.
	Limit *FailLimit `json:"limit,omitempty"`
}

// BatchResult is what became of a batch, or of several.
type BatchResult struct {
	ledger.Counts
	// Unsent says that the batch is undecided and can still be loaded.
	Unsent bool `json:"-"`
	// Reason is why records are unknown: "http 502".
	Reason string `json:"reason,omitempty"`
	// Errors are the numbers of records that failed or are unknown by class of reason:
	// "api 363", "http 502".
	Errors map[string]int `json:"errors,omitempty"`
}

// BatchesResult is what became of a run of batches. It is that of the first Done of them:
// the others can still be loaded.
type BatchesResult struct {
	BatchResult
	Done int `json:"done"`
	// Held says that the run ended because too many records have failed, Claimed that it
	// ended at the claim of another attempt, about which SettleBatches decides.
	Held    bool `json:"held,omitempty"`
	Claimed bool `json:"claimed,omitempty"`
	// Took is how long LoadBatches worked on them, waiting included.
	Took time.Duration `json:"took,omitempty"`
	// Pace is the state of the gate at the end of the run, nil where it was what the
	// options of the migration say.
	Pace *limiter.Gate `json:"pace,omitempty"`
}

// longestRun is for how long LoadBatches begins further batches: its result is what a
// watching person sees.
const longestRun = 6 * time.Second

// LoadBatches loads a run of batches, one after the other. Of each: read, encode, claim,
// one call, outcomes.
//
// It may be run any number of times, concurrently too: each call is made at most once. It
// ends at a claim of another attempt, makes no call there and decides nothing. Where it
// is stopped, fails, waits for long, or notices that another attempt is at work, it gives
// back what it has done. It fails, or waits on, only if that is nothing.
func (a *Activities) LoadBatches(ctx context.Context, in BatchesInput) (BatchesResult, error) {
	beat := newPulse(ctx)
	defer beat.stop()
	m, err := a.migration(in.Run)
	if err != nil {
		return BatchesResult{}, err
	}
	beat.gate.Store(m.gate)
	var r BatchesResult
	began, called := time.Now(), false
	q := &sequence{migrationRun: m, in: in, until: began.Add(longestRun)}
	defer q.end()
	for position := in.First; position <= in.Last; position++ {
		one, how, err := q.loadBatch(ctx, position)
		if err != nil {
			r.Held, r.Claimed = errors.Is(err, errHeld), errors.Is(err, ledger.ErrClaimed)
			if r.Done == 0 && !r.Held && !r.Claimed {
				return BatchesResult{}, ended(ctx, err)
			}
			break
		}
		r.BatchResult = r.plus(one)
		r.Done++
		q.done = true
		beat.tell(r.Done, in.Last-in.First+1)
		if q.slot == nil && (how == decidedElsewhere || how == decidedBefore && called || time.Now().After(q.until)) {
			break
		}
		called = called || how == decidedHere
	}
	r.Took = time.Since(began).Round(time.Millisecond)
	r.Pace = m.pace(ctx)
	return r, nil
}

// decision says who decided a batch.
type decision int

const (
	decidedBefore    decision = iota // before this attempt came to it
	decidedHere                      // by this attempt
	decidedElsewhere                 // while this attempt was at work on it: another one works on those after it
)

// sequence is the work on a run of batches.
type sequence struct {
	*migrationRun
	in    BatchesInput
	until time.Time          // no batch is begun after it
	done  bool               // at least one batch is
	ahead chan preparedBatch // has the next batch, when it is ready; nil if it is not being prepared
	// slot is held for the next batch, which is claimed already; nil if it is not.
	slot *gate.Slot
}

// preparedBatch is a batch that is read and encoded.
type preparedBatch struct {
	*loading
	err error
}

// loadBatch loads one batch of the run. The error is ledger.ErrClaimed where another attempt
// may have sent it.
func (q *sequence) loadBatch(ctx context.Context, position int) (BatchResult, decision, error) {
	l, err := q.take(ctx, position)
	if err != nil {
		return BatchResult{}, decidedBefore, err
	}
	defer l.prepared.leave()
	l.run, l.slot, q.slot = q, q.slot, nil
	defer l.release() // where it was not used
	if position < q.in.Last {
		q.prepareAhead(ctx, position+1)
	}
	result, err := l.load(ctx, l.key, l.positions)
	return result, l.by, err
}

// take gives the batch at a position, when it is ready.
func (q *sequence) take(ctx context.Context, position int) (*loading, error) {
	if next := q.next(); next.loading != nil || next.err != nil {
		return next.loading, next.err
	}
	waiting, stopWaiting := q.activities.untilStopping(ctx)
	defer stopWaiting()
	if err := q.prepared.take(waiting, q.most); err != nil {
		return nil, err
	}
	next := q.prepare(ctx, position)
	return next.loading, next.err
}

// most is how many batches are in memory, encoded: those in flight, as many that wait for a
// slot, and as many that follow at once.
func (q *sequence) most() int {
	if q.mayFollow() {
		return 3 * q.slots()
	}
	return 2 * q.slots()
}

// mayFollow reports whether a call may follow another one at once: nothing limits the rate,
// any number of records may fail, and the ledger is on a disk.
func (q *sequence) mayFollow() bool {
	pace := q.gate.State()
	return q.in.Limit == nil && pace.Slots > 0 && pace.Allowed == 0 && !store.IsURL(q.folder.Path())
}

// prepare reads and encodes a batch. It gives the room back if it fails.
func (q *sequence) prepare(ctx context.Context, position int) (p preparedBatch) {
	defer func() {
		if p.err != nil {
			q.prepared.leave()
		}
	}()
	l, err := q.loading(ctx, q.in.Round, position)
	if err != nil {
		return preparedBatch{err: err}
	}
	l.limit = q.in.Limit
	if _, l.encoded, err = l.readInput(l.batch); err != nil {
		return preparedBatch{err: err}
	}
	return preparedBatch{l, nil}
}

// prepareAhead prepares the next batch beside the call for this one, if it may follow and
// there is room.
func (q *sequence) prepareAhead(ctx context.Context, position int) {
	if !q.mayFollow() || !q.prepared.tryTake(q.most()) {
		return
	}
	q.ahead = make(chan preparedBatch, 1)
	go func(ahead chan<- preparedBatch) { ahead <- q.prepare(ctx, position) }(q.ahead)
}

// next is the batch that was prepared ahead, nil if none was.
func (q *sequence) next() (p preparedBatch) {
	if q.ahead != nil {
		p = <-q.ahead
		q.ahead = nil
	}
	return p
}

// mayClaimNext reports whether the next batch may be claimed together with the outcomes of
// the present one, whose slot then serves its call: there is nothing to wait for.
func (q *sequence) mayClaimNext(ctx context.Context, key ledger.Key, outcomes ledger.Outcomes, slot *gate.Slot) (*loading, bool) {
	if key.Part != "" || outcomes.Split || !outcomes.Sent || time.Now().After(q.until) || q.activities.stopping(ctx) != nil {
		return nil, false
	}
	select {
	case next := <-q.ahead:
		q.ahead <- next
		if next.err != nil {
			return nil, false
		}
		_, sent := next.sendable(next.positions)
		return next.loading, len(sent) > 0 && slot.Again()
	default:
		return nil, false
	}
}

// end gives back what the run has left.
func (q *sequence) end() {
	if next := q.next(); next.loading != nil && next.err == nil {
		q.prepared.leave()
	}
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
	by        decision
	run       *sequence
	slot      *gate.Slot // the batch is claimed and has a slot; nil if not
}

func (l *loading) release() {
	if l.slot != nil {
		l.slot.Release()
		l.slot = nil
	}
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
	outcomes, slot, err := l.call(ctx, key, positions, sent, records)
	if err != nil {
		return BatchResult{}, err
	}
	result, err := l.conclude(ctx, key, outcomes, slot)
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

// conclude writes down what a call came to, and gives its slot back or keeps it for the next
// batch. What an answer said must be written down, even if this activity was cancelled.
func (l *loading) conclude(ctx context.Context, key ledger.Key, outcomes ledger.Outcomes, slot *gate.Slot) (BatchResult, error) {
	next, may := l.run.mayClaimNext(ctx, key, outcomes, slot)
	if !may {
		slot.Release()
		return l.decide(context.WithoutCancel(ctx), key, l.ledger.DecideAnswer, outcomes)
	}
	claimed := false
	result, err := l.decide(context.WithoutCancel(ctx), key, func(ctx context.Context, kind ledger.Kind, key ledger.Key, outcomes ledger.Outcomes) (held ledger.Outcomes, won bool, err error) {
		held, won, claimed, err = l.ledger.DecideAnswerAndClaim(ctx, kind, key, outcomes, next.key, next.newClaim())
		return held, won, err
	}, outcomes)
	if claimed {
		l.run.slot = slot
	} else {
		slot.Release()
	}
	return result, err
}

// call claims the part and makes the one call for it. It fails only if nothing was sent
// here: with ledger.ErrClaimed where another attempt may have sent it. Else the slot is the
// caller's to release.
func (l *loading) call(ctx context.Context, key ledger.Key, positions, sent []int, records []target.Record) (_ ledger.Outcomes, slot *gate.Slot, err error) {
	if l.slot != nil {
		slot, l.slot = l.slot, nil
	} else if slot, err = l.claim(ctx, key); err != nil {
		return ledger.Outcomes{}, nil, err
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
	return outcomes, slot, nil
}

// claim waits for a slot and claims the part. While the gate is closed, for hours perhaps, what
// the run has done is counted nowhere, so then it waits no longer than it may begin batches.
func (l *loading) claim(ctx context.Context, key ledger.Key) (*gate.Slot, error) {
	waiting := ctx
	if l.run.done {
		var cancel context.CancelFunc
		waiting, cancel = context.WithDeadline(ctx, l.run.until)
		defer cancel()
	}
	slot, err := l.calls.slot(waiting)
	if err != nil {
		return nil, err
	}
	if err = l.mayClaim(key); err == nil {
		err = l.ledger.Claim(ctx, key, l.newClaim())
	}
	if err != nil {
		slot.Release()
		return nil, err
	}
	return slot, nil
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
		l.by = decidedElsewhere
		return l.result(held), nil
	}
	l.by = max(l.by, decidedHere)
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

// SettleBatches decides what a LoadBatches that died has left undecided: a part that was
// claimed and has no outcome is unknown. It ends at the first batch of which something is
// left to be sent, and sends nothing.
func (a *Activities) SettleBatches(ctx context.Context, in BatchesInput) (r BatchesResult, err error) {
	stop := heartbeat(ctx)
	defer stop()
	m, err := a.migration(in.Run)
	if err != nil {
		return r, err
	}
	for position := in.First; position <= in.Last; position++ {
		one, err := m.settleBatch(ctx, in.Round, position, func(ledger.Key, ledger.Outcomes) {})
		if err != nil {
			return r, storageError(err)
		}
		if one.Unsent {
			break
		}
		r.BatchResult = r.plus(one)
		r.Done++
	}
	r.Pace = m.pace(ctx)
	return r, nil
}

// settleBatch settles one batch, and visits all entries of the batch and its parts.
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
