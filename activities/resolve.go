package activities

import (
	"context"
	"slices"

	"durable-dataload/internal/evidence"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

// ResolveInput asks which of a round's duplicates this migration wrote.
type ResolveInput struct {
	Run   `json:"run"`
	Round int `json:"round"`
	// Again says that an earlier attempt in this round left records undecided.
	Again bool `json:"again,omitempty"`
	// Last says that this is the last attempt in this round: what cannot be decided
	// now stays unknown.
	Last bool `json:"last"`
}

// Resolved counts the duplicates by what they turned out to be.
type Resolved struct {
	Recovered int `json:"recovered"`
	Failed    int `json:"failed"`
	// Duplicate are those of a delta migration that are to be updated.
	Duplicate int `json:"duplicate,omitempty"`
	// Unknown are those that cannot be decided.
	Unknown int `json:"unknown,omitempty"`
	// Invisible are those that are undecided, since the target may show more of their
	// batches in a while.
	Invisible int `json:"invisible"`
}

const (
	// chunkOfDuplicates is how many duplicates are in memory, each with the record that
	// was sent and the records that were found.
	chunkOfDuplicates = 2000
	// groupOfDuplicates is how many keys are matched with one view of what was written
	// since the migration began, eight bytes each.
	groupOfDuplicates = 2_000_000
)

// ResolveDuplicates finds out, for every duplicate of a round, what wrote the record
// that exists: a call of this migration (recovered), something else (failed, in the
// target's words; in a delta migration it stays a duplicate, to be updated), or that
// cannot be decided (unknown, with the reason). A call can have written a record
// without saying so in any round: its answer was lost, a gateway sent it twice, the
// target wrote and refused, or the ledger was restored from a backup. Package evidence
// decides.
//
// New records can be invisible for minutes. A batch with records that may be decided
// later stays open until they are, or until ResolveInput.Last.
func (a *Activities) ResolveDuplicates(ctx context.Context, in ResolveInput) (Resolved, error) {
	return onRun(ctx, a.migration, in.Run, (*migrationRun).resolveDuplicates, in)
}

func (m *migrationRun) resolveDuplicates(ctx context.Context, in ResolveInput) (Resolved, error) {
	calls := &caller{core: m.core, log: m.activities.log.With("round", in.Round), needsFind: true}
	r := &resolving{migrationRun: m, calls: calls, in: in, taken: map[string]bool{}}
	err := r.resolve(ctx)
	return r.sum, err
}

type resolving struct {
	*migrationRun
	calls *caller
	in    ResolveInput
	sum   Resolved

	ours   *ours           // what ledger and target tell of our records; nil until it is needed
	taken  map[string]bool // uuids that a record of the input got in this call
	lost   *lostKeys       // nil until it is needed
	rivals *rivals         // nil until it is needed
}

// batchOfDuplicates is a batch with duplicates that are not resolved yet.
type batchOfDuplicates struct {
	batch      int
	records    int
	since      evidence.Bound // when a call of ours can first have written them
	lost       []bool         // by position: a call of ours may have written it and not said so
	duplicates []*duplicate
}

type duplicate struct {
	position int    // in the batch, from 0
	key      string // "" of a keyless record
	sent     []byte // the record, as it was sent
	words    string // the target's refusal
	mark     string // of the record, as it was sent
	isTag    bool   // see dataset.mark
	found    []target.Entity
	absent   bool // no call of ours has written it
}

// openBatch is a batch of the round that has duplicates to resolve.
type openBatch struct{ batch, duplicates int }

func (r *resolving) resolve(ctx context.Context) error {
	open, err := r.openBatches(ctx)
	if err != nil {
		return err
	}
	for len(open) > 0 {
		group, n := 0, 0
		for group < len(open) && (group == 0 || n+open[group].duplicates <= groupOfDuplicates) {
			n += open[group].duplicates
			group++
		}
		if err := r.resolveGroup(ctx, open[:group], n); err != nil {
			return err
		}
		open = open[group:]
	}
	return nil
}

// openBatches returns the batches of the round that have unresolved duplicates, in
// order; it counts those that are resolved already.
func (r *resolving) openBatches(ctx context.Context) (open []openBatch, err error) {
	length, err := r.roundLength(r.in.Round)
	if err != nil {
		return nil, err
	}
	type batchState struct {
		resolved *ledger.Outcomes
		openBatch
	}
	err = store.ForEachOrdered(ctx, r.folder.Path(), length, func(ctx context.Context, n int) (l batchState, err error) {
		if l.batch, err = r.roundBatch(r.in.Round, n+1); err != nil {
			return l, err
		}
		b, err := r.index.Batch(l.batch)
		if err != nil {
			return l, err
		}
		_, counts, _, err := r.ledger.Round(ctx, r.in.Round, l.batch, b.Records)
		if err != nil || counts.Duplicate == 0 {
			return l, err
		}
		l.duplicates = counts.Duplicate
		resolved, err := r.ledger.Decided(ctx, ledger.ByLookup, ledger.Key{Round: r.in.Round, Batch: l.batch})
		if err == nil {
			l.resolved = &resolved
		}
		if isNotFound(err) {
			err = nil
		}
		return l, err
	}, func(l batchState) error {
		switch {
		case l.resolved != nil:
			r.count(*l.resolved)
		case l.duplicates > 0:
			open = append(open, l.openBatch)
		}
		return nil
	})
	return open, err
}

// resolveGroup resolves batches with so many duplicates together.
func (r *resolving) resolveGroup(ctx context.Context, open []openBatch, n int) error {
	finder, err := r.finder(ctx, open, n)
	if err != nil {
		return err
	}
	if finder == nil { // the target is behind: it is read later
		r.sum.Invisible += n
		return nil
	}
	defer finder.close()
	var (
		chunk   []*batchOfDuplicates
		inChunk int
	)
	for i, b := range open {
		d, err := r.readDuplicates(ctx, b.batch)
		if err != nil {
			return err
		}
		chunk, inChunk = append(chunk, d), inChunk+len(d.duplicates)
		if inChunk < chunkOfDuplicates && i < len(open)-1 {
			continue
		}
		if err := r.resolveChunk(ctx, finder, chunk); err != nil {
			return err
		}
		chunk, inChunk = nil, 0
	}
	return nil
}

func (r *resolving) readDuplicates(ctx context.Context, batch int) (*batchOfDuplicates, error) {
	b, records, err := r.batchRecords(batch)
	if err != nil {
		return nil, err
	}
	d := &batchOfDuplicates{batch: batch, records: b.Records, lost: make([]bool, b.Records)}
	var bare []ledger.Record // of this round
	for round := range r.in.Round + 1 {
		if bare, _, _, err = r.ledger.Round(ctx, round, batch, b.Records); err != nil {
			return nil, err
		}
		for i, record := range bare {
			d.lost[i] = d.lost[i] || record.Halved || record.Outcome == ledger.Unknown && !record.Unwritten
		}
	}
	keyless, err := r.keyless(b)
	if err != nil {
		return nil, err
	}
	for i, record := range records {
		if bare[i].Outcome != ledger.Duplicate {
			continue
		}
		dup := &duplicate{position: i, words: bare[i].Error}
		if !keyless(i) {
			dup.key = r.encoder.KeyOf(record.Raw)
		}
		if dup.sent, err = r.json(record); err != nil {
			return nil, err // it was sent, so it can be encoded
		}
		if dup.mark, dup.isTag, err = r.mark(record, dup.sent); err != nil {
			return nil, err
		}
		d.duplicates = append(d.duplicates, dup)
	}
	return d, nil
}

// resolveChunk looks up the duplicates of the chunk, and decides the batches of which
// all can be decided.
func (r *resolving) resolveChunk(ctx context.Context, finder finder, chunk []*batchOfDuplicates) error {
	if r.spec.RecoveredBy != migration.Refusal {
		if err := finder.find(ctx, chunk); err != nil {
			return err
		}
		if err := r.findBlocked(ctx, chunk); err != nil {
			return err
		}
	}
	for _, d := range chunk {
		if err := r.decideBatch(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// decideBatch decides the duplicates of a batch, unless some may be decided later.
func (r *resolving) decideBatch(ctx context.Context, d *batchOfDuplicates) error {
	outcomes := ledger.NewOutcomes(d.records)
	again := false
	for _, dup := range d.duplicates {
		answer, inInput, err := r.askEvidence(ctx, d, dup)
		if err != nil {
			return err
		}
		switch {
		case answer.Verdict == evidence.Ours:
			outcomes.Recovered(dup.position, answer.UUID)
		case answer.Verdict == evidence.CannotTell:
			again = again || answer.Again
			outcomes.Unknown(dup.position, answer.Reason)
		case r.spec.Delta && !inInput:
			outcomes.Duplicate(dup.position, dup.words)
		default:
			outcomes.Failed(dup.position, dup.words)
		}
	}
	if again && !r.in.Last {
		r.sum.Invisible += len(d.duplicates)
		return nil
	}
	key := ledger.Key{Round: r.in.Round, Batch: d.batch}
	held, won, err := r.ledger.Decide(ctx, ledger.ByLookup, key, outcomes.Outcomes(false, ""))
	if won {
		r.observeBatch(ctx, key, held, ledger.Duplicate)
	}
	if err == nil {
		r.count(held)
	}
	return err
}

// askEvidence says what package evidence answers, and whether another record of the input
// has the id. Ledgers are read only if the answer depends on them.
func (r *resolving) askEvidence(ctx context.Context, d *batchOfDuplicates, dup *duplicate) (answer evidence.Answer, inInput bool, err error) {
	byRefusal := r.spec.RecoveredBy == migration.Refusal
	switch {
	// By Akamai's page on retrying: a duplicate of the input existed before, one of a
	// retry file was written by the first call.
	case byRefusal && r.in.Round == 0:
		return evidence.Answer{Verdict: evidence.Others}, false, nil
	case dup.key == "" && !r.traits.RefusesMark: // it is refused for another attribute
		return evidence.Answer{Reason: evidence.NoKey}, false, nil
	case byRefusal:
		return evidence.Answer{Verdict: evidence.Ours}, false, nil
	}
	q := evidence.Question{Sent: dup.sent, Mark: dup.mark, IsTag: dup.isTag, Found: dup.found, NotWritten: dup.absent}
	if len(dup.found) == 0 {
		return (&evidence.Baseline{}).Decide(q), false, nil
	}
	if r.traits.Marks && !dup.isTag && !d.lost[dup.position] {
		// An earlier import of the same input gave the record this id as well.
		return evidence.Answer{Verdict: evidence.Others}, false, nil
	}
	ours, err := r.learned(ctx)
	if err != nil {
		return answer, false, err
	}
	if q.Since, err = r.sinceOf(ctx, d); err != nil {
		return answer, false, err
	}
	if len(dup.found) == 1 && (ours.has(dup.found[0].ID) || r.taken[dup.found[0].ID]) {
		q.Owner = evidence.InInput
	}
	answer = ours.baseline.Decide(q)
	if answer.Verdict != evidence.Ours {
		return answer, q.Owner == evidence.InInput, nil
	}
	if q.Owner, q.Rival, err = r.contest(ctx, d, dup); err != nil {
		return answer, false, err
	}
	if answer = ours.baseline.Decide(q); answer.Verdict == evidence.Ours {
		// Even if this batch stays open, no later record gets it.
		r.taken[answer.UUID] = true
	}
	return answer, false, nil
}

// sinceOf is since, once.
func (r *resolving) sinceOf(ctx context.Context, d *batchOfDuplicates) (_ evidence.Bound, err error) {
	if d.since.From.IsZero() {
		d.since, err = r.since(ctx, d)
	}
	return d.since, err
}

// since is when a call of this migration can first have written the records of a batch:
// in round 0, since the migration began, by a call that this ledger may not know; later,
// since the first claim of the batch.
func (r *resolving) since(ctx context.Context, d *batchOfDuplicates) (evidence.Bound, error) {
	ours, err := r.learned(ctx)
	if err != nil {
		return evidence.Bound{}, err
	}
	if r.in.Round == 0 {
		return ours.clocks.Since(r.dated(r.start.Began), slices.Contains(d.lost, true)), nil
	}
	claim, err := r.ledger.ClaimOf(ctx, ledger.Key{Round: 0, Batch: d.batch})
	if err != nil {
		return evidence.Bound{}, err
	}
	return ours.clocks.Since(r.dated(claim), true), nil
}

// contest finds out whether another record or migration has a better claim to a record
// that equals ours.
func (r *resolving) contest(ctx context.Context, d *batchOfDuplicates, dup *duplicate) (owner evidence.Owner, rival string, err error) {
	folded := r.foldKey(dup.key)
	if r.lost == nil {
		if r.lost, err = r.readLostKeys(ctx); err != nil {
			return owner, rival, err
		}
	}
	if r.lost.before(d.batch, dup.position, folded) {
		return owner, evidence.EarlierRecord, nil
	}
	if r.rivals == nil {
		if r.rivals, err = r.readRivals(ctx); err != nil {
			return owner, rival, err
		}
	}
	return r.rivals.contest(ctx, dup.found[0].ID, folded)
}

func (r *resolving) count(o ledger.Outcomes) {
	for i := range len(o.Letters) {
		switch ledger.Outcome(o.Letters[i]) {
		case ledger.Recovered:
			r.sum.Recovered++
		case ledger.Failed:
			r.sum.Failed++
		case ledger.Duplicate:
			r.sum.Duplicate++
		case ledger.Unknown:
			r.sum.Unknown++
		}
	}
}

// byKeys returns the records that have one of these keys, by folded key; byValues does so
// for any attribute.
func (r *resolving) byKeys(ctx context.Context, keys []string) (map[string][]target.Entity, error) {
	return r.byValues(ctx, r.calls, r.spec.PrimaryKey, keys)
}

func (r *resolving) byValues(ctx context.Context, calls *caller, attribute string, values []string) (map[string][]target.Entity, error) {
	return r.inGroups(attribute, values, func(group []string) (found []target.Entity, err error) {
		err = calls.asked(ctx, "keys", func(ctx context.Context) (err error) {
			found, err = r.target.Find(ctx, attribute, group)
			return err
		})
		return found, err
	})
}
