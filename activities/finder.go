package activities

import (
	"cmp"
	"context"
	"slices"
	"time"

	"durable-dataload/internal/evidence"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/target"
)

// finder looks up the duplicates of batches.
type finder interface {
	// find sets what the target has of each duplicate, or that it was not written since
	// the migration began.
	find(ctx context.Context, chunk []*batchOfDuplicates) error
	close()
}

const (
	// fewKeyCalls is up to how many calls duplicates are always looked up by key.
	fewKeyCalls = 1
	// leastOfAPage is the smallest page of a view: one that fails is requested again with
	// half the size.
	leastOfAPage = 125
	// probes is how many keys are looked up to check that a view is complete, where
	// no record of ours can prove it.
	probes = 20
)

// finder chooses the cheaper of two ways to look up n duplicates: by key, Traits.FindKeys a
// call, or by paging through what was written since the migration began, Traits.MaxPage a
// call; through all records where the target cannot select them by time. If a view of what
// was written is complete, a key that is not in it existed before, unless a call was lost
// that may have written it: the view is only known to be complete up to the last call with
// an answer. The finder is nil if the target does not show yet what it must, and will be
// read again.
func (r *resolving) finder(ctx context.Context, open []openBatch, n int) (finder, error) {
	if r.spec.RecoveredBy == migration.Refusal {
		return byKey{r}, nil
	}
	keyCalls := calls(n, r.traits.FindKeys)
	if keyCalls <= fewKeyCalls {
		return byKey{r}, nil
	}
	if err := r.readOurs(ctx); err != nil {
		return nil, err
	}
	records := len(r.ours.ids.sorted)
	if !r.traits.ListsSince {
		count, err := r.target.Count(ctx)
		if err != nil {
			return byKey{r}, ctx.Err() //nolint:nilerr // without it the cost of a view is not known
		}
		records = int(count)
	}
	pages := records/r.traits.MaxPage + 1
	if pages >= keyCalls {
		return byKey{r}, nil
	}
	if r.in.Again && !r.in.Last {
		// It was behind. Read all pages again only if a few records of ours show now.
		if ours, err := r.learned(ctx); err != nil || ours.hidden {
			return nil, err
		}
	}
	// A few more pages than expected allow for records that others have written.
	v, state, err := r.view(ctx, open, min(keyCalls, 2*pages+3))
	switch {
	case err != nil:
		return nil, err
	case state == viewComplete:
		return v, nil
	case state == viewBehind && !r.in.Last:
		return nil, nil
	}
	return byKey{r}, nil
}

// calls is how many calls look so many keys up.
func calls(keys, perCall int) int { return (keys + perCall - 1) / perCall }

// byKey looks duplicates up by their keys.
type byKey struct{ *resolving }

func (b byKey) close() {}

func (b byKey) find(ctx context.Context, chunk []*batchOfDuplicates) error {
	if err := b.findMarks(ctx, chunk); err != nil {
		return err
	}
	var keys []string
	for _, d := range chunk {
		for _, dup := range d.duplicates {
			if len(dup.found) == 0 {
				keys = append(keys, dup.key)
			}
		}
	}
	found, err := b.byKeys(ctx, keys)
	if err != nil {
		return err
	}
	for _, d := range chunk {
		for _, dup := range d.duplicates {
			if len(dup.found) == 0 {
				dup.found = found[b.foldKey(dup.key)]
			}
		}
	}
	return nil
}

// findMarks looks duplicates up by their marks where these are ids: the target may have
// refused a record for its id, whatever key it has now.
func (b byKey) findMarks(ctx context.Context, chunk []*batchOfDuplicates) error {
	if !b.traits.RefusesMark {
		return nil
	}
	var marks []string
	for _, d := range chunk {
		for _, dup := range d.duplicates {
			marks = append(marks, dup.mark)
		}
	}
	found, err := b.byValues(ctx, b.calls, target.ByID, marks)
	if err != nil {
		return err
	}
	for _, d := range chunk {
		for _, dup := range d.duplicates {
			for _, e := range found[b.fold(target.ByID, dup.mark)] {
				if e.Mark == dup.mark {
					dup.found = []target.Entity{e}
				}
			}
		}
	}
	return nil
}

// view holds the records that were written since the migration began and have the key of
// a duplicate.
type view struct {
	*resolving
	keys    hashes
	records *spill
	entries []viewEntry // by hash
	// confirmed is how many calls confirm has made, or would have.
	confirmed int
}

type viewEntry struct {
	hash uint64 // of the key
	at   spilled
}

type viewState int

const (
	viewComplete    viewState = iota
	viewBehind                // the target does not show yet what it must
	viewUnavailable           // the target refuses it, or it is too long
)

func (r *resolving) view(ctx context.Context, open []openBatch, mostPages int) (_ *view, state viewState, err error) {
	v := &view{resolving: r}
	defer func() {
		if err != nil || state != viewComplete {
			v.close()
		}
	}()
	probed, err := v.readKeys(ctx, open)
	if err != nil {
		return nil, viewUnavailable, err
	}
	if v.records, err = newSpill(); err != nil {
		return nil, viewUnavailable, err
	}
	since := target.Page{Stamp: target.Created}
	if r.traits.ListsSince {
		since.Since = r.viewSince()
	}
	if r.givesCreated() {
		since.Stamp = target.Updated
	}
	if state, err = v.load(ctx, since, mostPages); err != nil || state != viewComplete {
		return nil, state, err
	}
	if len(r.ours.ids.sorted) == 0 {
		state, err = v.probe(ctx, probed, since)
	}
	return v, state, err
}

// givesCreated reports whether the input may give when a record was made.
func (r *resolving) givesCreated() bool {
	return r.traits.GivesCreated() && slices.ContainsFunc(r.traits.Givable, r.encoder.Has)
}

// viewSince is the start of the view: a little before the first call of this migration
// can have written something.
func (r *resolving) viewSince() time.Time {
	var clocks evidence.Clocks
	if r.ours.baseline != nil {
		clocks = r.ours.clocks
	}
	return clocks.Since(r.dated(r.start.Began), false).Clearly.Truncate(time.Second)
}

// readKeys reads the keys of the duplicates, and returns a few of them to probe.
func (v *view) readKeys(ctx context.Context, open []openBatch) (probed []string, err error) {
	stride := max(1, len(open)/probes)
	for i, b := range open {
		batch, err := v.index.Batch(b.batch)
		if err != nil {
			return nil, err
		}
		bare, _, _, err := v.ledger.Round(ctx, v.in.Round, b.batch, batch.Records)
		if err != nil {
			return nil, err
		}
		_, records, err := v.batchRecords(b.batch)
		if err != nil {
			return nil, err
		}
		taken := 0
		for n, record := range records {
			if bare[n].Outcome != ledger.Duplicate {
				continue
			}
			key := v.encoder.KeyOf(record.Raw)
			v.keys.add(v.foldKey(key))
			if key != "" && i%stride == 0 && taken < max(1, probes/len(open)) && len(probed) < probes {
				probed = append(probed, key)
				taken++
			}
		}
	}
	v.keys.sort()
	return probed, nil
}

// load pages through what was written. The view is complete if it holds every id that
// the ledger has.
func (v *view) load(ctx context.Context, since target.Page, mostPages int) (viewState, error) {
	seen := make([]uint64, (len(v.ours.ids.sorted)+63)/64)
	missing := len(v.ours.ids.sorted)
	since.Most = v.traits.MaxPage
	for page := 1; ; page++ {
		if page > mostPages {
			return viewUnavailable, nil
		}
		var (
			entities []target.Entity
			next     string
		)
		err := repeat(ctx, lookUpTries, lookUpBackoff, func(int) (err error) {
			entities, next, err = v.target.List(ctx, since)
			if err != nil {
				since.Most = max(since.Most/2, leastOfAPage)
			}
			return err
		}, always)
		if err != nil {
			if ctx.Err() != nil {
				return viewUnavailable, ctx.Err()
			}
			return viewUnavailable, nil // a look-up by key may work, or say why not
		}
		for _, e := range entities {
			if i := v.ours.ids.index(target.FoldID(e.ID)); i >= 0 && seen[i/64]&(1<<(i%64)) == 0 {
				seen[i/64] |= 1 << (i % 64)
				missing--
			}
			if err := v.keep(e); err != nil {
				return viewUnavailable, err
			}
		}
		if next == "" {
			break
		}
		since.After = next
	}
	slices.SortFunc(v.entries, func(a, b viewEntry) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.at.offset, b.at.offset))
	})
	if missing > 0 {
		return viewBehind, nil
	}
	return viewComplete, nil
}

// keep stores a record that has the key of a duplicate.
func (v *view) keep(e target.Entity) error {
	key := e.Text(v.spec.PrimaryKey)
	if key == "" || !v.keys.has(v.foldKey(key)) {
		return nil
	}
	at, err := v.records.add(e)
	v.entries = append(v.entries, viewEntry{hashOf(v.foldKey(key)), at})
	return err
}

// probe looks a few keys up: each must exist, and be in the view if it was written since.
func (v *view) probe(ctx context.Context, keys []string, since target.Page) (viewState, error) {
	found, err := v.byKeys(ctx, keys)
	if err != nil {
		return viewUnavailable, err
	}
	for _, key := range keys {
		records := found[v.foldKey(key)]
		if len(records) == 0 {
			return viewBehind, nil
		}
		inView, err := v.at(key)
		if err != nil {
			return viewUnavailable, err
		}
		for _, e := range records {
			stamp := e.Created
			if since.Stamp == target.Updated {
				stamp = e.Updated
			}
			shows := slices.ContainsFunc(inView, func(shown target.Entity) bool { return shown.ID == e.ID })
			if !shows && (!v.traits.ListsSince || !stamp.Earliest.Before(since.Since)) || v.traits.ListsSince && stamp.IsZero() {
				return viewUnavailable, nil
			}
		}
	}
	return viewComplete, nil
}

// at returns the records of the view that have a key.
func (v *view) at(key string) (found []target.Entity, err error) {
	folded := v.foldKey(key)
	hash := hashOf(folded)
	i, _ := slices.BinarySearchFunc(v.entries, hash, func(e viewEntry, hash uint64) int { return cmp.Compare(e.hash, hash) })
	for ; i < len(v.entries) && v.entries[i].hash == hash; i++ {
		var e target.Entity
		if err := v.records.get(v.entries[i].at, &e); err != nil {
			return nil, err
		}
		if v.foldKey(e.Text(v.spec.PrimaryKey)) == folded {
			found = append(found, e)
		}
	}
	return found, nil
}

func (v *view) find(ctx context.Context, chunk []*batchOfDuplicates) (err error) {
	var mayBeOurs, notInView []*duplicate
	for _, d := range chunk {
		for _, dup := range d.duplicates {
			if dup.key == "" {
				continue
			}
			if dup.found, err = v.at(dup.key); err != nil {
				return err
			}
			switch {
			case len(dup.found) == 1 && !v.ours.has(dup.found[0].ID):
				mayBeOurs = append(mayBeOurs, dup)
			case len(dup.found) == 0 && v.traits.ListsSince && !d.lost[dup.position]:
				dup.absent = true
			case len(dup.found) == 0:
				notInView = append(notInView, dup)
			}
		}
	}
	if err := (byKey{v.resolving}).find(ctx, []*batchOfDuplicates{{duplicates: notInView}}); err != nil {
		return err
	}
	return v.confirm(ctx, mayBeOurs)
}

// confirm looks up by key the records that may be ours: the view does not show whether a
// second record with the key existed before. It spends at most a fiftieth of the calls of
// the migration; beyond that the key is taken to be unique, as the schema says.
func (v *view) confirm(ctx context.Context, duplicates []*duplicate) error {
	calls := calls(len(duplicates), v.traits.FindKeys)
	if v.confirmed += calls; calls == 0 || v.confirmed > max(2, v.index.Batches()/50) {
		return nil
	}
	keys := make([]string, len(duplicates))
	for i, dup := range duplicates {
		keys[i] = dup.key
	}
	found, err := v.byKeys(ctx, keys)
	if err != nil {
		return err
	}
	for _, dup := range duplicates {
		if byKey := found[v.foldKey(dup.key)]; len(byKey) > 1 {
			dup.found = byKey
		}
	}
	return nil
}

func (v *view) close() {
	if v.records != nil {
		v.records.close()
	}
}
