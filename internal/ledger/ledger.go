// Package ledger stores the outcomes of records, one entry per batch and round.
//
// It enforces two guarantees, under activity retries, workflow resets, zombie
// workers and any number of concurrent workers:
//
//   - A call is made at most once for a batch in a round. Before the call the
//     batch is claimed (Claim), which succeeds for one caller only. A caller
//     that finds a claim without an outcome must not call: the batch is unknown.
//   - An outcome is decided once (Decide) and never changes. A later caller gets
//     the decided outcome, and drops its own.
//
// A batch whose call the target refused as too large is halved, and the halves
// are claimed and decided separately, as parts of the batch.
package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrClaimed means that the batch was claimed before: the holder of the claim may
// have called, so no other caller may.
var ErrClaimed = errors.New("the batch is claimed already")

// Key names the entry of one batch in one round.
type Key struct {
	Round int // 0 is the input, n is the n-th retry file
	Batch int // 1…
	// Part is empty for the whole batch. "0" and "1" are its halves, "00" and
	// "01" the halves of its first half, and so on.
	Part string
}

// Halves are the two parts that a part is cut into.
func (k Key) Halves() (first, second Key) {
	first, second = k, k
	first.Part += "0"
	second.Part += "1"
	return first, second
}

// name puts a thousand batches in a folder, which file systems handle well.
func (k Key) name(kind Kind) string {
	part := k.Part
	if part != "" {
		part = "-" + part
	}
	return fmt.Sprintf("%d/%05d/%08d%s.%s", k.Round, k.Batch/1000, k.Batch, part, kind)
}

// Kind is what an entry of outcomes decides.
type Kind string

const (
	// ByCall: the result of the call for a part of a batch.
	ByCall Kind = "outcomes"
	// ByLookup: the origin of the duplicates of a batch.
	ByLookup Kind = "resolved"
	// ByUpdate: the results of updating a batch's duplicates. The round of the key is the
	// last completed one: a later round can find further duplicates of the batch, which
	// get a separate entry.
	ByUpdate Kind = "updated"
	// ByReview: what a rollback found when it read the records of a batch again; Failed are
	// those in the wrong state.
	ByReview Kind = "verified"

	claims Kind = "claim"
)

// Claim is the permission to make the one call for a batch in a round.
type Claim struct {
	// At is when it was claimed, by the clock Clock (see evidence.ThisClock).
	At    time.Time `json:"at"`
	Clock string    `json:"clock"`
	// Process is the claimant's process id, for diagnosis and for tests that kill it.
	Process int `json:"process"`
	// Date is how far the clock of the target's Date header was ahead of that
	// clock; nil before the first answer.
	Date *Skew `json:"date,omitempty"`
}

// Skew bounds how far one clock is ahead of another.
type Skew struct {
	Low  time.Duration `json:"low"` // in nanoseconds
	High time.Duration `json:"high"`
}

// Ledger is safe for concurrent use by any number of processes.
type Ledger struct {
	store   Store
	answers Store // the same, for answers, which must not be lost
}

// New is a ledger in a store.
func New(store Store) *Ledger { return &Ledger{store: store, answers: retrying{store}} }

// Claim claims a batch durably, or returns ErrClaimed.
func (l *Ledger) Claim(ctx context.Context, key Key, claim Claim) error {
	value, err := json.Marshal(claim)
	if err != nil {
		return err
	}
	err = l.store.Create(ctx, key.name(claims), value)
	if errors.Is(err, ErrExists) {
		return ErrClaimed
	}
	return err
}

// ClaimOf returns the claim of a batch, or ErrNotFound.
func (l *Ledger) ClaimOf(ctx context.Context, key Key) (Claim, error) {
	return get[Claim](ctx, l, key.name(claims))
}

// Decide writes the outcomes of a batch, or of a part of it, unless outcomes of that kind
// are decided already. It returns the decided outcomes, and whether they are these. It is
// for outcomes that can be determined again, such as those of a dead worker.
func (l *Ledger) Decide(ctx context.Context, kind Kind, key Key, outcomes Outcomes) (held Outcomes, won bool, err error) {
	return l.decide(ctx, l.store, kind, key, outcomes)
}

// DecideAnswer is Decide for answers of calls: if the store cannot be written, it
// retries for up to AnswerBudget.
func (l *Ledger) DecideAnswer(ctx context.Context, kind Kind, key Key, outcomes Outcomes) (held Outcomes, won bool, err error) {
	return l.decide(ctx, l.answers, kind, key, outcomes)
}

// DecideAnswerAndClaim is DecideAnswer, and, if these outcomes are decided, Claim of another
// batch: both become durable at once where the store can do that. Where claimed is false, try
// Claim. The claim is exclusive as always, and never made ahead of the outcomes.
func (l *Ledger) DecideAnswerAndClaim(ctx context.Context, kind Kind, key Key, outcomes Outcomes, next Key, claim Claim) (held Outcomes, won, claimed bool, err error) {
	pairs, ok := l.store.(PairStore)
	if !ok {
		held, won, err = l.DecideAnswer(ctx, kind, key, outcomes)
		return held, won, false, err
	}
	claimValue, err := json.Marshal(claim)
	if err != nil {
		return Outcomes{}, false, false, err
	}
	p := &pairing{PairStore: pairs, second: next.name(claims), secondValue: claimValue}
	held, won, err = l.decide(ctx, retrying{p}, kind, key, outcomes)
	return held, won, p.created && won, err
}

// pairing is a Store whose first Create also creates a second value.
type pairing struct {
	PairStore
	second      string
	secondValue []byte
	tried       bool
	created     bool // the second value
}

// Create implements Store.
func (p *pairing) Create(ctx context.Context, name string, value []byte) error {
	if p.tried {
		return p.PairStore.Create(ctx, name, value)
	}
	p.tried = true
	err, secondErr := p.CreatePair(ctx, name, value, p.second, p.secondValue)
	p.created = err == nil && secondErr == nil
	return err
}

// Decided returns the decided outcomes, or ErrNotFound.
func (l *Ledger) Decided(ctx context.Context, kind Kind, key Key) (Outcomes, error) {
	return get[Outcomes](ctx, l, key.name(kind))
}

func (l *Ledger) decide(ctx context.Context, to Store, kind Kind, key Key, outcomes Outcomes) (Outcomes, bool, error) {
	if err := outcomes.check(); err != nil {
		return Outcomes{}, false, err
	}
	value, err := json.Marshal(outcomes)
	if err != nil {
		return Outcomes{}, false, err
	}
	err = to.Create(ctx, key.name(kind), value)
	if err == nil {
		return outcomes, true, nil
	}
	if !errors.Is(err, ErrExists) {
		return Outcomes{}, false, err
	}
	held, err := l.Decided(ctx, kind, key)
	return held, false, err
}

func get[T any](ctx context.Context, l *Ledger, name string) (value T, err error) {
	data, err := l.store.Get(ctx, name)
	if err != nil {
		return value, err
	}
	if err := json.Unmarshal(data, &value); err != nil {
		return value, fmt.Errorf("the ledger's entry %s is damaged; expected JSON of this program; restore it from a backup: %w", name, err)
	}
	return value, nil
}

// Abandoned is the reason of records for which a call may have been made, and nothing
// else is known.
const Abandoned = "claimed, and no outcome"

// Visit visits the decided entries of some records of a batch in a round: its entry,
// or that and those of its parts, first half first. open is called with the positions
// of each part without an outcome, and whether a call may have been made for it.
// Visit changes nothing.
func (l *Ledger) Visit(ctx context.Context, key Key, positions []int, decided func(Key, Outcomes), open func(positions []int, claimed bool)) error {
	o, err := l.Decided(ctx, ByCall, key)
	if errors.Is(err, ErrNotFound) {
		_, err := l.ClaimOf(ctx, key)
		if err == nil || errors.Is(err, ErrNotFound) {
			open(positions, err == nil)
			return nil
		}
		return err
	}
	if err != nil {
		return err
	}
	decided(key, o)
	if !o.Split {
		return nil
	}
	first, second := key.Halves()
	one, two := o.Halves(positions)
	if err := l.Visit(ctx, first, one, decided, open); err != nil {
		return err
	}
	return l.Visit(ctx, second, two, decided, open)
}
