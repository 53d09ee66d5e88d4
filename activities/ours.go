package activities

import (
	"context"
	"hash/maphash"
	"os"
	"slices"
	"time"

	"durable-dataload/internal/evidence"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

// ours is what is known of the records that are certainly ours, since an answer gave us
// their ids.
type ours struct {
	ids      hashes             // of all that were created or recovered
	sampled  []sample           // of those that were created
	baseline *evidence.Baseline // nil until learn
	clocks   evidence.Clocks
	hidden   bool // some of the sampled are missing from a search
}

func (k *ours) has(id string) bool { return k.ids.has(target.FoldID(id)) }

// hashes is a set of texts, eight bytes each: among a hundred million, the chance of a
// collision is one in four thousand.
type hashes struct {
	sorted []uint64
	dirty  bool
}

var hashSeed = maphash.MakeSeed()

func hashOf(s string) uint64 { return maphash.String(hashSeed, s) }

func (h *hashes) add(s string) { h.sorted, h.dirty = append(h.sorted, hashOf(s)), true }

func (h *hashes) sort() {
	if h.dirty {
		slices.Sort(h.sorted)
		h.sorted, h.dirty = slices.Compact(h.sorted), false
	}
}

// index is the position of a text in the set, -1 if it is not in it.
func (h *hashes) index(s string) int {
	h.sort()
	if i, ok := slices.BinarySearch(h.sorted, hashOf(s)); ok {
		return i
	}
	return -1
}

func (h *hashes) has(s string) bool { return h.index(s) >= 0 }

// samples is how many records of ours are read, spread over the run.
const samples = 50

// sample is a record that was created by an answered call.
type sample struct {
	batch, position int
	ledger.Record
}

// readIDs reads the ledger from end to end: the ids of all records that were created
// or recovered up to a round, and a sample of those that were created.
func (d *dataset) readIDs(ctx context.Context, round int) (*ours, error) {
	k := &ours{}
	batches := d.index.Batches()
	each := (samples + batches - 1) / max(batches, 1) // of a batch
	stride := max(1, batches/samples)
	err := store.ForEachOrdered(ctx, d.of.Path(), batches, func(ctx context.Context, n int) ([]ledger.Record, error) {
		_, records, err := d.after(ctx, round, n+1)
		return records, err
	}, batchwise(func(batch int, records []ledger.Record) {
		left := 0
		if batch%stride == 0 || batch == batches {
			left = each
		}
		for i, record := range records {
			if record.UUID == "" {
				continue
			}
			k.ids.add(target.FoldID(record.UUID))
			if record.Outcome == ledger.Created && record.Took > 0 && left > 0 && len(k.sampled) < samples {
				k.sampled = append(k.sampled, sample{batch, i, record})
				left--
			}
		}
	}))
	k.ids.sort()
	return k, err
}

// batchwise numbers what store.ForEachOrdered delivers, from 1.
func batchwise[T any](visit func(batch int, t T)) func(T) error {
	batch := 0
	return func(t T) error {
		batch++
		visit(batch, t)
		return nil
	}
}

// readOurs reads the ids of our records, once.
func (r *resolving) readOurs(ctx context.Context) (err error) {
	if r.ours == nil {
		r.ours, err = r.readIDs(ctx, r.in.Round)
	}
	return err
}

// learned is what the records that are ours teach, read once.
func (r *resolving) learned(ctx context.Context) (*ours, error) {
	if err := r.readOurs(ctx); err != nil {
		return nil, err
	}
	if r.ours.baseline == nil {
		if err := r.calls.learn(ctx, r.dataset, r.ours); err != nil {
			return nil, err
		}
	}
	return r.ours, nil
}

// learn reads a few records of ours.
func (c *caller) learn(ctx context.Context, d *dataset, k *ours) error {
	schema, err := c.schema(ctx)
	if err != nil {
		return err
	}
	k.baseline = evidence.NewBaseline(schema, c.traits, d.primaryKey)
	if len(k.sampled) == 0 {
		return nil
	}
	ids := make([]string, len(k.sampled))
	for i, s := range k.sampled {
		ids[i] = s.UUID
	}
	var found []target.Entity
	err = c.asked(ctx, "records of ours", func(ctx context.Context) (err error) {
		found, err = c.target.Find(ctx, target.ByID, ids)
		return err
	})
	if err != nil {
		return err
	}
	k.hidden = len(found) < len(ids)
	if len(found) == 0 {
		// A search may be behind while the view of one record is not.
		err = c.asked(ctx, "a record of ours", func(ctx context.Context) error {
			if e, err := c.target.Get(ctx, target.Ref{ID: ids[0]}); err == nil {
				found = append(found, e)
			}
			return ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	return d.learnFrom(k, found)
}

// learnFrom calibrates the clocks first: a record that was changed since it was created
// teaches nothing about the attributes.
func (d *dataset) learnFrom(k *ours, found []target.Entity) (err error) {
	byID := map[string]target.Entity{}
	for _, e := range found {
		byID[target.FoldID(e.ID)] = e
	}
	sent := make([][]byte, len(k.sampled))
	batch, records := 0, []source.Record(nil)
	for i, s := range k.sampled {
		e, ok := byID[target.FoldID(s.UUID)]
		if !ok {
			continue
		}
		if s.batch != batch {
			if _, records, err = d.batchRecords(s.batch); err != nil {
				return err
			}
			batch = s.batch
		}
		if sent[i], err = d.json(records[s.position]); err != nil {
			continue // the mapping cannot make it now
		}
		// The ledger keeps whole milliseconds.
		stamp, isGiven := k.baseline.MadeAt(sent[i], e)
		k.clocks.Learn(evidence.Sample{Clock: s.Clock, Sent: s.At.Add(-s.Took), Received: s.At.Add(time.Millisecond), Stamp: stamp, MaybeLater: isGiven})
	}
	for i, s := range k.sampled {
		e, ok := byID[target.FoldID(s.UUID)]
		if !ok || sent[i] == nil || !k.baseline.HasKey(e, d.keyAsSent(sent[i])) {
			continue
		}
		if latest, known := k.clocks.Latest(s.Clock, s.At); known && e.Updated.Earliest.After(latest.Add(time.Second)) {
			continue
		}
		k.baseline.Learn(sent[i], e)
	}
	return nil
}

// keyAsSent is the key in a record as it is sent.
func (d *dataset) keyAsSent(sent []byte) string { return target.TextAt(sent, d.primaryKey) }

// schema reads the schema of the entity type, once; empty where the target does not tell.
func (c *caller) schema(ctx context.Context) (target.Schema, error) {
	c.schemaMu.Lock()
	defer c.schemaMu.Unlock()
	if c.schemaKnown != nil {
		return *c.schemaKnown, nil
	}
	var schema target.Schema
	refused := false
	err := c.asked(ctx, "the schema", func(ctx context.Context) (err error) {
		schema, err = c.target.Schema(ctx)
		if refused = isHidden(err); refused { // values are then compared as they are
			return nil
		}
		return err
	})
	if err == nil && (schema.Name != "" || refused) {
		c.schemaKnown = &schema
	}
	return schema, err
}

// lostKeys are the keys of the input's unknown records, without the duplicates of this
// round.
type lostKeys struct{ first map[uint64][2]int } // batch and position of the first with a key

// before reports whether an earlier record of the input has the folded key, and no outcome.
func (l *lostKeys) before(batch, position int, folded string) bool {
	first, ok := l.first[hashOf(folded)]
	return ok && slices.Compare(first[:], []int{batch, position}) < 0
}

func (r *resolving) readLostKeys(ctx context.Context) (*lostKeys, error) {
	lost := &lostKeys{first: map[uint64][2]int{}}
	type unknown struct {
		batch     int
		positions []int
	}
	err := store.ForEachOrdered(ctx, r.folder.Path(), r.index.Batches(), func(ctx context.Context, n int) (u unknown, err error) {
		u.batch = n + 1
		_, records, err := r.after(ctx, r.in.Round, u.batch)
		for i, record := range records {
			if record.Outcome == ledger.Unknown && record.Reason != ledger.NotLookedUp {
				u.positions = append(u.positions, i)
			}
		}
		return u, err
	}, func(u unknown) error {
		if len(u.positions) == 0 {
			return nil
		}
		_, records, err := r.batchRecords(u.batch)
		if err != nil {
			return err
		}
		for _, i := range u.positions {
			hash := hashOf(r.foldKey(r.encoder.KeyOf(records[i].Raw)))
			if _, earlier := lost.first[hash]; !earlier {
				lost.first[hash] = [2]int{u.batch, i}
			}
		}
		return nil
	})
	return lost, err
}

// updatedAfter reports whether a record was last updated after a time of ours that is
// known to the second.
func (c *core) updatedAfter(entity *target.Entity, t time.Time) bool {
	return entity.Updated.Earliest.After(c.clock.Latest(t.Add(time.Second)))
}

// newClaim is a claim by this process, now.
func (c *core) newClaim() ledger.Claim {
	return ledger.Claim{At: time.Now().UTC(), Clock: evidence.ThisClock(), Process: os.Getpid(), Date: c.clock.Skew()}
}

// dated is a claim with the present knowledge of the Date header's clock, if the claim
// is by this process's clock: by now that is known better than when it was made.
func (c *core) dated(claim ledger.Claim) ledger.Claim {
	if claim.Clock == evidence.ThisClock() {
		claim.Date = c.clock.Skew()
	}
	return claim
}
