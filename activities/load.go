package activities

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"durable-dataload/internal/evidence"
	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/pace"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
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
	// Unsent says that nothing is decided: the batch can be loaded still. LoadBatch
	// gives it where too many records have failed.
	Unsent bool `json:"unsent,omitempty"`
	// Reason says why records are unknown, for people: "http 502".
	Reason string `json:"reason,omitempty"`
	// Errors are how many records failed or are unknown for which class of
	// reason: "api 363", "http 502".
	Errors map[string]int `json:"errors,omitempty"`
	// Pace is how the gate stood when the batch was done, where that is not as
	// the options of the migration have it.
	Pace *pace.State `json:"pace,omitempty"`
}

// LoadBatch loads one batch: read, transform, claim, one call, outcomes.
//
// It may be run any number of times, at the same time as well: the call is
// made at most once. A run that finds the batch claimed by another does not
// call; it decides that the batch is unknown.
func (a *Activities) LoadBatch(ctx context.Context, in BatchInput) (BatchResult, error) {
	beat := newPulse(ctx)
	defer beat.stop()
	l, err := a.loading(ctx, in)
	if err != nil {
		return BatchResult{}, storageError(err)
	}
	beat.gate.Store(l.gate)
	waiting, stopWaiting := a.untilStopping(ctx)
	defer stopWaiting()
	if err := l.prepared.Take(waiting, func() int { return 2 * l.gate.State().Places }); err != nil {
		return BatchResult{}, unbegun(ctx, err)
	}
	defer l.prepared.Leave()
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
	result.Pace = l.pace()
	return result, nil
}

// SettleBatch decides what a LoadBatch that died has left open: a part that was
// claimed and has no outcome is unknown. It sends nothing.
func (a *Activities) SettleBatch(ctx context.Context, in BatchInput) (BatchResult, error) {
	stop := heartbeat(ctx)
	defer stop()
	result, err := a.settleBatch(ctx, in, func(ledger.Key, ledger.Outcomes) {})
	return result, storageError(err)
}

// settleBatch visits all entries of the batch as well: those of its parts, too.
func (a *Activities) settleBatch(ctx context.Context, in BatchInput, visit func(ledger.Key, ledger.Outcomes)) (BatchResult, error) {
	l, err := a.loading(ctx, in)
	if err != nil {
		return BatchResult{}, err
	}
	return l.settle(ctx, l.key, l.positions, ledger.Outcomes{}, visit)
}

// loading is the work on one batch in one round.
type loading struct {
	*opened
	calls     *caller
	key       ledger.Key
	batch     source.Batch
	positions []int // of the records of the batch that are in this round, from 0
	keyless   func(i int) bool
	isolated  int // calls that were halved because they were refused
	encoded   []encodedRecord
	limit     *FailLimit
}

// encodedRecord is a record as the target wants it, or the reason why it
// cannot be sent.
type encodedRecord struct {
	json   []byte
	reason string
}

func (a *Activities) loading(ctx context.Context, in BatchInput) (*loading, error) {
	o, err := a.open(in.Run)
	if err != nil {
		return nil, err
	}
	batch, err := o.roundBatch(in.Round, in.Position)
	if err != nil {
		return nil, err
	}
	l := &loading{opened: o, calls: a.caller(o, batch), key: ledger.Key{Round: in.Round, Batch: batch}}
	if l.batch, err = o.index.Batch(batch); err != nil {
		return nil, err
	}
	if l.keyless, err = o.keyless(l.batch); err != nil {
		return nil, err
	}
	inRound, err := o.ledger.InRound(ctx, in.Round, batch, l.batch.Records, l.keyless)
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

// readInput reads a batch from the input file itself, checks that it is what was
// inspected, and encodes its records.
func (o *opened) readInput(b source.Batch) ([]source.Record, []encodedRecord, error) {
	f, err := store.OpenPieces(o.spec.DataFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s is gone: %w; put it back as it was, and rerun the command to resume", o.spec.DataFile, source.ErrInputChanged)
	}
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }()
	if f.Size() != o.index.Size() {
		return nil, nil, fmt.Errorf("%s has %d bytes, expected %d: %w; put it back as it was, and rerun the command to resume", o.spec.DataFile, f.Size(), o.index.Size(), source.ErrInputChanged)
	}
	data, err := source.ReadBatch(f, b)
	if err != nil {
		return nil, nil, err
	}
	all := records(b, data)
	encoded := make([]encodedRecord, len(all))
	for i, r := range all {
		if encoded[i], err = o.encode(r); err != nil {
			return nil, nil, err
		}
	}
	return all, encoded, nil
}

// encode encodes a record for the target, or gives the reason why it is not sent.
func (o *opened) encode(r source.Record) (encodedRecord, error) {
	reason, err := o.twinOf(r)
	if err != nil || reason != "" {
		return encodedRecord{reason: reason}, err
	}
	json, err := o.json(r)
	if err != nil {
		return encodedRecord{reason: err.Error()}, nil
	}
	return encodedRecord{json: json}, nil
}

// load loads a part of the batch: the records at these positions.
func (l *loading) load(ctx context.Context, key ledger.Key, positions []int) (BatchResult, error) {
	decided, err := l.ledger.Decided(ctx, key)
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
	body, sent, err := l.body(positions)
	if err != nil {
		return BatchResult{}, err
	}
	if len(sent) == 0 {
		outcomes := l.refusedHere(positions).Outcomes(false, "")
		l.countFailed(outcomes)
		return l.decide(ctx, key, l.ledger.Decide, outcomes)
	}
	outcomes, err := l.call(ctx, key, positions, sent, body)
	if errors.Is(err, ledger.ErrClaimed) {
		return l.decide(ctx, key, l.ledger.Decide, l.unknown(positions, ledger.Abandoned))
	}
	if err != nil {
		return BatchResult{}, err
	}
	// What an answer said must be written down, even if nobody waits for this
	// activity any more.
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

// body encodes the request for the records at these positions that can be
// sent, and says which these are.
func (l *loading) body(positions []int) (body identitycloud.Body, sent []int, err error) {
	var jsons [][]byte
	for _, i := range positions {
		if l.encoded[i].reason == "" {
			sent = append(sent, i)
			jsons = append(jsons, l.encoded[i].json)
		}
	}
	if len(sent) == 0 {
		return body, nil, nil
	}
	body, err = l.target.NewBody(jsons)
	return body, sent, err
}

// call claims the part and makes the one call for it. It gives an error only if
// nothing was sent here: ledger.ErrClaimed where somebody else may have called.
func (l *loading) call(ctx context.Context, key ledger.Key, positions, sent []int, body identitycloud.Body) (ledger.Outcomes, error) {
	slot, err := l.calls.slot(ctx)
	if err != nil {
		return ledger.Outcomes{}, err
	}
	defer slot.Leave()
	if err := l.mayClaim(key); err != nil {
		return ledger.Outcomes{}, err
	}
	err = l.ledger.Claim(ctx, key, l.newClaim())
	if err != nil {
		return ledger.Outcomes{}, err
	}
	// The claim is made: from here on the part gets an outcome, whatever comes.
	calling, called := l.calls.withSlot(ctx, slot)
	defer called()
	answer := l.target.CreateBatch(calling, body)
	l.observer.Called(ctx, l.spec.Target.Host(), key, len(sent), answer)
	if errors.Is(answer.Err, errRunOver) {
		answer.Reason = errRunOver.Error()
	}
	outcomes := l.judge(positions, sent, answer)
	l.countFailed(outcomes)
	outcomes.At, outcomes.Took = answer.Received.UTC().Truncate(time.Millisecond), answer.Received.Sub(answer.Sent).Truncate(time.Microsecond)
	outcomes.Clock = evidence.ThisClock()
	return outcomes, nil
}

// newClaim is a claim by this process, now.
func (o *opened) newClaim() ledger.Claim {
	return ledger.Claim{At: time.Now().UTC(), Clock: evidence.ThisClock(), Process: os.Getpid(), Date: o.clock.skew()}
}

// judge says what an answer means for the records at positions, of which those
// at sent were sent.
func (l *loading) judge(positions, sent []int, answer identitycloud.Answer) ledger.Outcomes {
	outcomes := l.refusedHere(positions)
	reason := answer.Reason
	verdict := answer.Verdict
	switch {
	case answer.Fault != nil:
		verdict = identitycloud.Unknown // it is not the records' fault: they are sent again in the next round
	case verdict == identitycloud.TooLarge && len(sent) == 1 && !answer.NothingWritten:
		verdict = identitycloud.Unknown // one record cannot be halved, and it may have been written
	}
	switch verdict {
	case identitycloud.Answered:
		for n, i := range sent {
			switch r := answer.Records[n]; {
			case r.UUID != "":
				outcomes.Created(i, r.UUID)
			case r.Err != nil && r.Err.IsDuplicate():
				outcomes.Duplicate(i, r.Err.Words())
			case r.Err != nil:
				outcomes.Failed(i, r.Err.Words())
				outcomes.Classify(i, r.Err.Reason())
			default:
				reason = r.Unknown
				outcomes.Unknown(i, reason)
			}
		}
	case identitycloud.Refused:
		if l.mayIsolate(len(sent), answer) {
			l.isolated++
			return ledger.Outcomes{Split: true, Sent: true, Reason: reason}
		}
		for _, i := range sent {
			outcomes.Failed(i, answer.Words())
			outcomes.Classify(i, reason)
		}
	case identitycloud.TooLarge:
		lost := l.lostAsTooLarge(sent, answer)
		switch {
		case len(lost) == len(sent):
			for _, i := range sent {
				outcomes.Unknown(i, reason)
			}
		case len(sent) > 1:
			split := ledger.NewOutcomes(l.batch.Records)
			if !answer.NothingWritten {
				for _, i := range sent {
					split.Halved(i)
				}
			}
			for _, i := range lost {
				split.Unknown(i, reason)
			}
			o := split.Outcomes(true, reason)
			o.Split = true
			return o
		default:
			outcomes.Failed(sent[0], "the target refuses the record as too large: "+answer.Words())
			outcomes.Classify(sent[0], reason)
		}
	default: // also NotSent: the claim is used up
		for _, i := range sent {
			outcomes.Unknown(i, reason)
		}
	}
	o := outcomes.Outcomes(answer.Verdict != identitycloud.NotSent, reason)
	o.Unwritten = answer.NothingWritten
	return o
}

// lostAsTooLarge are the keyless records of a call that was refused as too large,
// where it may have been written all the same: the target would not refuse them
// in a half of it.
func (l *loading) lostAsTooLarge(sent []int, answer identitycloud.Answer) (lost []int) {
	if answer.NothingWritten {
		return nil
	}
	for _, i := range sent {
		if l.keyless(i) {
			lost = append(lost, i)
		}
	}
	return lost
}

// mostIsolated is how many refused calls of a batch are halved: one bad record
// among a thousand takes ten. A batch that is bad all over costs at most twice
// as many calls and one, and what is left in one call then fails together.
const mostIsolated = 32

// mayIsolate says whether the guilty record of a call that was refused as a
// whole is looked for: the API itself says that nothing of the call was written,
// so its halves can be sent, keyless records too. Not if the refusal is of the call itself.
func (l *loading) mayIsolate(sent int, answer identitycloud.Answer) bool {
	var api *identitycloud.APIError
	return l.spec.Isolate && sent > 1 && l.isolated < mostIsolated && errors.As(answer.Err, &api) && !api.IsAboutCall()
}

// refusedHere has the records that cannot be sent as failed.
func (l *loading) refusedHere(positions []int) *ledger.Builder {
	outcomes := ledger.NewOutcomes(l.batch.Records)
	for _, i := range positions {
		if l.encoded != nil && l.encoded[i].reason != "" {
			outcomes.Failed(i, l.encoded[i].reason)
			outcomes.Classify(i, cannotBeSent)
		}
	}
	return outcomes
}

// unknown has all records unknown that may have been sent.
func (l *loading) unknown(positions []int, reason string) ledger.Outcomes {
	outcomes := l.refusedHere(positions)
	for _, i := range positions {
		if l.encoded == nil || l.encoded[i].reason == "" {
			outcomes.Unknown(i, reason)
		}
	}
	return outcomes.Outcomes(true, reason)
}

// decide writes outcomes down, by one of the ledger's ways to decide, and gives
// what the batch has come to.
func (l *loading) decide(ctx context.Context, key ledger.Key, by decider, outcomes ledger.Outcomes) (BatchResult, error) {
	held, won, err := by(ctx, key, outcomes)
	if err != nil {
		return BatchResult{}, err
	}
	if !won {
		l.calls.log.Warn("a late answer was dropped: the outcome was decided before", "round", key.Round, "part", key.Part)
		return l.result(held), nil
	}
	l.tell(ctx, key, held, ledger.None)
	if key.Part == "" {
		l.observer.Batch(l.spec.Target.Host())
	}
	return l.result(held), nil
}

type decider func(context.Context, ledger.Key, ledger.Outcomes) (held ledger.Outcomes, won bool, err error)

// settle settles a part. whole is the entry of the call that it is a half of.
func (l *loading) settle(ctx context.Context, key ledger.Key, positions []int, whole ledger.Outcomes, visit func(ledger.Key, ledger.Outcomes)) (BatchResult, error) {
	decided, err := l.ledger.Decided(ctx, key)
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

// result is what an entry of the ledger says. Duplicates count as errors where
// they fail: in round 0, unless they are to be updated.
func (l *loading) result(o ledger.Outcomes) BatchResult {
	return BatchResult{Counts: o.Counts(), Reason: o.Reason, Errors: o.Reasons(l.key.Round == 0 && !l.spec.Delta)}
}

func (r BatchResult) plus(other BatchResult) BatchResult {
	r.Add(other.Counts)
	r.Errors = sumOf(r.Errors, other.Errors)
	r.Unsent = r.Unsent || other.Unsent
	if r.Reason == "" || other.Reason != "" && other.Unknown > 0 {
		r.Reason = other.Reason
	}
	return r
}

// sumOf adds numbers by class.
func sumOf(a, b map[string]int) map[string]int {
	if len(a) == 0 {
		return b
	}
	sum := maps.Clone(a)
	for class, n := range b {
		sum[class] += n
	}
	return sum
}
