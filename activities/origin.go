package activities

import (
	"context"
	"fmt"
	"strings"

	"durable-dataload/internal/delta"
	"durable-dataload/internal/evidence"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/rollback"
	"durable-dataload/internal/target"
)

// Why a rollback does not delete a record that has the uuid of a record of the migration.
const (
	anotherKey   = "the record has another key than the one that was loaded: it is not the migration's, or the target's answers were in a wrong order"
	thereBefore  = "the record existed before the migration began"
	tooEarly     = "the record was last updated so shortly before the migration began that the clocks do not tell; --force deletes it anyway"
	madeAfter    = "the record was created after the migration had ended"
	notProven    = "the record was recovered, and nothing proves now that it is the one that was loaded; --force deletes it anyway"
	changedThere = "the record was changed after it was loaded; --force deletes it anyway"
)

// origin is the migration that is rolled back: what it has sent, and what is known of
// its records.
type origin struct {
	*dataset
	start migration.Start
	ours  *ours
	last  int // round
}

// originOf opens the migration that is rolled back, once; nil if only its success file is
// known.
func (b *undoing) originOf(ctx context.Context) (_ *origin, err error) {
	b.opening.Lock()
	defer b.opening.Unlock()
	of := b.rollback.Migration
	if m := b.origin.Load(); m != nil || of.IsZero() {
		return m, nil
	}
	spec, err := of.Spec()
	if err != nil {
		return nil, err
	}
	m := &origin{}
	if m.dataset, err = openDataset(of, spec); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	if m.start, err = of.Start(); err != nil {
		return nil, err
	}
	if m.last, err = of.LastRound(); err != nil {
		return nil, err
	}
	if m.ours, err = m.readIDs(ctx, m.last); err != nil {
		return nil, err
	}
	if err := b.calls.learn(ctx, m.dataset, m.ours); err != nil {
		return nil, err
	}
	b.origin.Store(m)
	return m, nil
}

// loaded is a record of a migration: as it was sent, and what became of it.
type loaded struct {
	ledger.Record
	sent  []byte // nil if it cannot be encoded now
	mark  string // of it
	isTag bool   // see dataset.mark
}

// loaded returns the records of a batch of the migration by their lines.
func (m *origin) loaded(ctx context.Context, batch int) (map[int64]loaded, error) {
	b, records, err := m.batchRecords(batch)
	if err != nil {
		return nil, err
	}
	known, err := m.ledger.After(ctx, m.last, batch, b.Records)
	if err != nil {
		return nil, err
	}
	all := map[int64]loaded{}
	for i, r := range records {
		l := loaded{Record: known[i]}
		if sent, err := m.json(r); err == nil {
			if l.mark, l.isTag, err = m.mark(r, sent); err == nil {
				l.sent = sent
			}
		}
		all[r.Line] = l
	}
	return all, nil
}

// notOurs returns the reason why a record is not deleted, though it has the uuid of an item;
// "" if it is.
func (b *undoing) notOurs(ctx context.Context, item rollback.Item, entity *target.Entity) (reason string, err error) {
	m, err := b.originOf(ctx)
	if err != nil {
		return "", err
	}
	if m == nil {
		return b.notOfFile(item, entity), nil
	}
	if b.sent[item.Batch] == nil {
		if b.sent[item.Batch], err = m.loaded(ctx, item.Batch); err != nil {
			return "", err
		}
	}
	r, ok := b.sent[item.Batch][item.Line]
	if !ok {
		return "", fmt.Errorf("the migration has no line %d in batch %d, which the list of this rollback has: the two do not belong together", item.Line, item.Batch)
	}
	if r.sent == nil {
		return b.notOfFile(item, entity), nil
	}
	if key := m.keyAsSent(r.sent); key != "" && !m.ours.baseline.HasKey(*entity, key) {
		return anotherKey, nil
	}
	since := m.ours.clocks.Since(b.dated(m.start.Began), true)
	answer := m.ours.baseline.Decide(evidence.Question{Sent: r.sent, Mark: r.mark, IsTag: r.isTag, Found: []target.Entity{*entity}, Since: since})
	switch {
	case !b.traits.ShowsUpdated && !b.rollback.Force && m.ours.baseline.Differs(r.sent, *entity):
		return changedThere, nil
	case answer.Verdict == evidence.Ours:
		return "", nil
	case b.rollback.Force && answer.Reason == evidence.SameID:
		return "", nil
	case b.traits.Marks:
		return notProven, nil
	case since.Before(entity.Updated):
		return thereBefore, nil
	case b.rollback.Force && answer.Verdict == evidence.CannotTell:
		return "", nil
	case answer.Reason == evidence.ChangedSince:
		return changedThere, nil
	case r.Outcome == ledger.Created:
		// The answer gave its uuid. Other differences are made by the target.
		return "", nil
	}
	return notProven, nil
}

// notOfFile is notOurs if all that is known of a record is in a success file: its key, and
// when the migration began and ended.
func (b *undoing) notOfFile(item rollback.Item, entity *target.Entity) string {
	from, until := b.rollback.From, b.rollback.Until
	var clocks evidence.Clocks // nothing calibrates it
	since := clocks.Since(ledger.Claim{At: from, Date: b.clock.Skew()}, false)
	switch {
	case item.Email != "" && !b.hasText(entity, item.Email):
		return anotherKey
	case !from.IsZero() && since.Before(entity.Updated):
		return thereBefore
	case !from.IsZero() && !b.rollback.Force && since.IsEarly(entity.Updated):
		return tooEarly
	case !until.IsZero() && entity.Created.Earliest.After(b.clock.Latest(until).Add(evidence.Uncalibrated)):
		return madeAfter
	}
	return ""
}

// hasText reports whether a record has a text as its email or, if it has none, as any other
// attribute: a success file names records by their email or, if the input had none, by
// their key.
func (b *undoing) hasText(entity *target.Entity, text string) bool {
	folded := b.traits.Fold(strings.TrimSpace(text))
	if email := entity.Text("email"); email != "" {
		return b.traits.Fold(email) == folded
	}
	for path := range delta.TypesOf(target.Schema{}, b.traits).Leaves(entity.Attributes) {
		if b.traits.Fold(entity.Text(path)) == folded {
			return true
		}
	}
	return false
}
