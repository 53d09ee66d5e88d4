package activities

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
)

// ResolveInput asks whose the duplicates of a retry round are.
type ResolveInput struct {
	Run   `json:"run"`
	Round int `json:"round"`
	// Last says that nobody will look again in this round: what cannot be seen
	// now stays unknown.
	Last bool `json:"last"`
}

// Resolved counts the duplicates by what they turned out to be.
type Resolved struct {
	Recovered int `json:"recovered"`
	Failed    int `json:"failed"`
	// Duplicate are those of a delta migration that are to be updated.
	Duplicate int `json:"duplicate,omitempty"`
	// Invisible duplicates cannot be seen in the target yet, though it says
	// that they are there.
	Invisible int `json:"invisible"`
}

// chunkOfDuplicates is how many duplicates are looked up before their owners
// are searched in the ledger, which is read from end to end for it.
const chunkOfDuplicates = 20_000

// ResolveDuplicates finds out, for every duplicate of a retry round, whether a
// lost call of this migration wrote the record (recovered) or somebody else
// did (failed, in the target's words; in a delta migration it stays a duplicate,
// to be updated). It says recovered only on evidence:
//
//   - the record was last updated no earlier than the first attempt at its
//     batch, by the target's clock;
//   - its created is the one that the input gives or, where the input gives
//     none, no earlier than that attempt either;
//   - no other record of the input has it: the ledger knows the uuids of all
//     that were created and recovered, and of records with the same key the
//     earliest in the input gets it.
//
// New records can stay invisible to a look-up for minutes. The batches of
// those stay open until all is seen, or In.Last.
func (a *Activities) ResolveDuplicates(ctx context.Context, in ResolveInput) (Resolved, error) {
	ctx, done := restartable(ctx)
	defer done()
	o, err := a.open(in.Run)
	if err != nil {
		return Resolved{}, err
	}
	r := &resolving{opened: o, activities: a, in: in}
	err = r.eachBatchOfDuplicates(ctx, func(d *batchOfDuplicates) error {
		r.chunk = append(r.chunk, d)
		r.inChunk += len(d.duplicates)
		if r.inChunk < chunkOfDuplicates {
			return nil
		}
		return r.resolveChunk(ctx)
	})
	if err == nil {
		err = r.resolveChunk(ctx)
	}
	return r.sum, ended(ctx, err)
}

type resolving struct {
	*opened
	activities *Activities
	in         ResolveInput
	chunk      []*batchOfDuplicates
	inChunk    int
	sum        Resolved
}

// batchOfDuplicates is a batch with duplicates that are not resolved yet.
type batchOfDuplicates struct {
	batch        int
	records      int
	firstAttempt time.Time // by the target's clock, the earliest it can have been
	duplicates   []*duplicate
}

type duplicate struct {
	position int // in the batch, from 0
	key      string
	created  string // as the input gives it, "" if it does not
	words    string // the target's refusal
	found    *identitycloud.Found
}

// eachBatchOfDuplicates visits the batches of the round that have duplicates,
// in order; it counts those that are resolved already.
func (r *resolving) eachBatchOfDuplicates(ctx context.Context, visit func(*batchOfDuplicates) error) error {
	length, err := r.roundLength(r.in.Round)
	if err != nil {
		return err
	}
	type looked struct {
		resolved *ledger.Outcomes
		open     *batchOfDuplicates
	}
	return store.Ahead(ctx, string(r.folder), length, func(ctx context.Context, n int) (l looked, err error) {
		batch, err := r.roundBatch(r.in.Round, n+1)
		if err != nil {
			return l, err
		}
		b, err := r.index.Batch(batch)
		if err != nil {
			return l, err
		}
		bare, counts, _, err := r.ledger.Round(ctx, r.in.Round, batch, b.Records)
		if err != nil || counts.Duplicate == 0 {
			return l, err
		}
		resolved, err := r.ledger.Resolved(ctx, ledger.Key{Round: r.in.Round, Batch: batch})
		if isNotFound(err) {
			l.open, err = r.readDuplicates(ctx, b, bare)
			return l, err
		}
		l.resolved = &resolved
		return l, err
	}, func(l looked) error {
		switch {
		case l.resolved != nil:
			r.count(*l.resolved)
		case l.open != nil:
			return visit(l.open)
		}
		return nil
	})
}

func (r *resolving) readDuplicates(ctx context.Context, b source.Batch, bare []ledger.Record) (*batchOfDuplicates, error) {
	claim, err := r.ledger.ClaimOf(ctx, ledger.Key{Round: 0, Batch: b.Number})
	if err != nil {
		return nil, err
	}
	_, records, err := r.batchRecords(b.Number)
	if err != nil {
		return nil, err
	}
	d := &batchOfDuplicates{batch: b.Number, records: b.Records, firstAttempt: r.byTargetClock(claim)}
	for i, record := range records {
		if bare[i].Outcome == ledger.Duplicate {
			d.duplicates = append(d.duplicates, &duplicate{
				position: i,
				key:      r.sent(r.spec.PrimaryKey, record),
				created:  strings.TrimSpace(r.sent("created", record)),
				words:    bare[i].Error,
			})
		}
	}
	return d, nil
}

// byTargetClock is the earliest that the target's clock can have shown at a
// claim. Each answer tells more of how the clocks differ, so by now this may be
// known better than the claimant knew it.
func (r *resolving) byTargetClock(claim ledger.Claim) time.Time {
	earliest := claim.TargetAt
	if claim.Host == hostName() {
		if now := r.clock.earliest(claim.At); now.After(earliest) {
			earliest = now
		}
	}
	return earliest
}

// resolveChunk looks the duplicates of the chunk up, and decides the batches
// of which all are seen.
func (r *resolving) resolveChunk(ctx context.Context) error {
	defer func() { r.chunk, r.inChunk = nil, 0 }()
	if r.inChunk == 0 {
		return nil
	}
	if r.spec.RecoveredBy == migration.Refusal {
		return r.recoverByRefusal(ctx)
	}
	if err := r.lookUp(ctx); err != nil {
		return err
	}
	owned, err := r.owned(ctx)
	if err != nil {
		return err
	}
	for _, d := range r.chunk {
		if err := r.decideBatch(ctx, d, owned); err != nil {
			return err
		}
	}
	return nil
}

func (r *resolving) recoverByRefusal(ctx context.Context) error {
	for _, d := range r.chunk {
		outcomes := ledger.NewOutcomes(d.records)
		for _, dup := range d.duplicates {
			outcomes.Recovered(dup.position, "")
		}
		if err := r.write(ctx, d, outcomes); err != nil {
			return err
		}
	}
	return nil
}

// lookUp finds the records that have the keys of the chunk. Each key is looked
// up once, so that records with the same key are seen alike.
func (r *resolving) lookUp(ctx context.Context) error {
	byKey := map[string][]*duplicate{}
	var keys []string
	for _, d := range r.chunk {
		for _, dup := range d.duplicates {
			if dup.key == "" {
				continue // nothing to look it up by: it stays invisible
			}
			folded := strings.ToLower(dup.key)
			if byKey[folded] == nil {
				keys = append(keys, dup.key)
			}
			byKey[folded] = append(byKey[folded], dup)
		}
	}
	for group := range slices.Chunk(keys, keysACall) {
		found, err := r.find(ctx, group)
		if err != nil {
			return err
		}
		for i := range found {
			for _, dup := range byKey[strings.ToLower(found[i].Key)] {
				dup.found = &found[i]
			}
		}
	}
	return nil
}

const (
	keysACall     = 50 // of one look-up
	lookUpTries   = 3
	lookUpBackoff = time.Second
)

// find looks a few keys up. What cannot be looked up now is not seen now: the
// next look may see it. Only a target that refuses look-ups is an error, and
// not the first time: it says so in passing trouble as well.
func (r *resolving) find(ctx context.Context, keys []string) ([]identitycloud.Found, error) {
	for try := 1; ; try++ {
		found, err := r.target.FindByKey(ctx, r.spec.PrimaryKey, keys)
		if err == nil {
			return found, nil
		}
		if errors.Is(err, context.Canceled) {
			return nil, context.Canceled
		}
		r.activities.log.Warn("a look-up failed", "round", r.in.Round, "keys", len(keys), "try", try, "error", err.Error())
		if try == lookUpTries {
			var api *identitycloud.APIError
			if errors.As(err, &api) && api.IsPermission() {
				return nil, temporal.NewNonRetryableApplicationError("the client may not look records up ("+err.Error()+"), so duplicates stay unknown; give it the right to call entity.find, or use --recovered-by refusal", Unreachable, nil)
			}
			return nil, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(try) * lookUpBackoff):
		}
	}
}

// owned gives those of the found uuids that a record of the input has already.
func (r *resolving) owned(ctx context.Context) (map[string]bool, error) {
	candidates := map[string]bool{}
	for _, d := range r.chunk {
		for _, dup := range d.duplicates {
			if dup.found != nil {
				candidates[dup.found.UUID] = false
			}
		}
	}
	if len(candidates) == 0 {
		return candidates, nil
	}
	err := store.Ahead(ctx, string(r.folder), r.index.Batches(), func(ctx context.Context, n int) ([]ledger.Record, error) {
		b, err := r.index.Batch(n + 1)
		if err != nil {
			return nil, err
		}
		return r.ledger.After(ctx, r.in.Round, b.Number, b.Records)
	}, func(records []ledger.Record) error {
		for _, record := range records {
			if _, candidate := candidates[record.UUID]; candidate && record.UUID != "" {
				candidates[record.UUID] = true
			}
		}
		return nil
	})
	return candidates, err
}

// decideBatch decides whose the duplicates of a batch are, if all are seen.
func (r *resolving) decideBatch(ctx context.Context, d *batchOfDuplicates, owned map[string]bool) error {
	outcomes := ledger.NewOutcomes(d.records)
	invisible := 0
	for _, dup := range d.duplicates {
		switch {
		case dup.found == nil:
			invisible++
			outcomes.Unknown(dup.position, "the target does not show the record")
		case !owned[dup.found.UUID] && isOurs(dup, d.firstAttempt):
			// Even where this batch stays open, no later record gets it.
			owned[dup.found.UUID] = true
			outcomes.Recovered(dup.position, dup.found.UUID)
		case r.spec.Delta && !owned[dup.found.UUID]:
			outcomes.Duplicate(dup.position, dup.words)
		default:
			outcomes.Failed(dup.position, dup.words)
		}
	}
	if invisible > 0 && !r.in.Last {
		r.sum.Invisible += len(d.duplicates)
		return nil
	}
	return r.write(ctx, d, outcomes)
}

// isOurs says whether a record of the target was written by a lost call of
// this migration.
func isOurs(d *duplicate, since time.Time) bool {
	if d.found.LastUpdated.IsZero() || d.found.LastUpdated.Latest.Before(since) {
		return false
	}
	if d.created != "" {
		given, ok := identitycloud.ParseMoment(d.created)
		return ok && given.Overlaps(d.found.Created)
	}
	return !d.found.Created.IsZero() && !d.found.Created.Latest.Before(since)
}

func (r *resolving) write(ctx context.Context, d *batchOfDuplicates, outcomes *ledger.Builder) error {
	key := ledger.Key{Round: r.in.Round, Batch: d.batch}
	held, won, err := r.ledger.Resolve(ctx, key, outcomes.Outcomes(false, ""))
	if won {
		r.tell(ctx, key, held, ledger.Duplicate)
	}
	if err == nil {
		r.count(held)
	}
	return err
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
			r.sum.Invisible++
		}
	}
}
