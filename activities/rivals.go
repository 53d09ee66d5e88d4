package activities

import (
	"context"
	"errors"
	"strings"

	"durable-dataload/internal/evidence"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

// rivals are the other migrations of the same state folder or work URL that can have
// written a record of the same target.
type rivals struct {
	ids hashes // of what they created or recovered
	// open has the keys of records whose fate they do not know yet: a call is in
	// flight, or its answer was lost.
	open map[uint64]bool
	// recovered decides between two migrations that recover a record at the same time;
	// nil if no other is at work. A migration that begins after this one has read the
	// target cannot have written what this one has found.
	recovered *ledger.Folder
	name      string // of this migration
}

// lately is how long before this migration began another one may have ended and still
// count as a possible writer of a record that was made since: both clocks may be wrong.
// Where records are not dated it is no limit.
const lately = 2 * evidence.Uncalibrated

// isDated reports whether the target shows when it made a record. An id that the input
// gives does not say it, nor does the time of the last change where the input gives
// that of creation.
func (r *resolving) isDated() bool { return !r.traits.RefusesMark && !r.givesCreated() }

func (r *resolving) readRivals(ctx context.Context) (*rivals, error) {
	all := &rivals{open: map[uint64]bool{}, name: store.Base(r.folder.Path())}
	folders, err := migration.All(r.folder.Work())
	if err != nil {
		return nil, err
	}
	for _, folder := range folders {
		if folder == r.of {
			continue
		}
		working, err := r.addRival(ctx, all, folder)
		if err != nil {
			return nil, err
		}
		if working {
			all.recovered = ledger.NewFolder(r.of.Recovered(r.spec.Target))
		}
	}
	all.ids.sort()
	return all, nil
}

// addRival adds what another migration has, and says whether it may still be at work. A
// migration that has sent nothing has nothing.
func (r *resolving) addRival(ctx context.Context, all *rivals, folder migration.Folder) (working bool, err error) {
	spec, err := folder.Spec()
	if errors.Is(err, migration.ErrAbsent) {
		return false, nil
	}
	if err != nil || !spec.Target.IsSame(r.spec.Target) {
		return false, err
	}
	finished, err := folder.Finished()
	if err != nil {
		return false, err
	}
	if finished {
		summary, err := folder.Summary()
		if err == nil && r.isDated() && summary.FinishedAt.Before(r.start.StartedAt.Add(-lately)) {
			return false, nil
		}
		if err != nil && !errors.Is(err, migration.ErrAbsent) {
			return false, err
		}
	}
	other, err := openDataset(folder, spec)
	if errors.Is(err, migration.ErrAbsent) || isNotFound(err) {
		return true, nil // it is just starting
	}
	if err != nil {
		return false, err
	}
	defer other.close()
	return !finished, all.read(ctx, other)
}

func (all *rivals) read(ctx context.Context, other *dataset) error {
	last, err := other.of.LastRound()
	if err != nil {
		return err
	}
	type batchKnown struct {
		batch   int
		records []ledger.Record
		open    []bool
	}
	return store.ForEachOrdered(ctx, other.of.Path(), other.index.Batches(), func(ctx context.Context, n int) (l batchKnown, err error) {
		l.batch = n + 1
		b, records, err := other.after(ctx, last, l.batch)
		if err != nil {
			return l, err
		}
		l.records = records
		l.open, err = other.mayHaveWritten(ctx, last, b, l.records)
		return l, err
	}, func(l batchKnown) error {
		for _, record := range l.records {
			if record.UUID != "" {
				all.ids.add(target.FoldID(record.UUID))
			}
		}
		if l.open == nil {
			return nil
		}
		_, records, err := other.batchRecords(l.batch)
		if err != nil {
			return err
		}
		for i, record := range records {
			if key := other.encoder.KeyOf(record.Raw); l.open[i] && key != "" {
				all.open[hashOf(other.foldKey(key))] = true
			}
		}
		return nil
	})
}

// mayHaveWritten says which records of a batch are undecided and may have been written by
// a call that is in flight or whose answer was lost; nil is none.
func (d *dataset) mayHaveWritten(ctx context.Context, last int, b source.Batch, known []ledger.Record) ([]bool, error) {
	var open []bool
	for round := range last + 1 {
		bare, _, status, err := d.ledger.Round(ctx, round, b.Number, b.Records)
		if err != nil {
			return nil, err
		}
		for i := range known {
			undecided := known[i].Outcome == ledger.Unknown || known[i].Outcome == ledger.None
			lost := bare[i].Outcome == ledger.Unknown || status == ledger.Claimed && bare[i].Outcome == ledger.None
			if undecided && lost {
				if open == nil {
					open = make([]bool, b.Records)
				}
				open[i] = true
			}
		}
	}
	return open, nil
}

// contest reports whether another migration has an id, or may have written the record with
// a folded key. An id without an owner becomes this migration's.
func (all *rivals) contest(ctx context.Context, uuid, folded string) (evidence.Owner, string, error) {
	if all.ids.has(target.FoldID(uuid)) {
		return evidence.Elsewhere, "", nil
	}
	if all.open[hashOf(folded)] {
		return evidence.NoOwner, evidence.OpenElsewhere, nil
	}
	if all.recovered == nil {
		return evidence.NoOwner, "", nil
	}
	name := ownerName(uuid)
	err := all.recovered.Create(ctx, name, []byte(all.name))
	if err == nil || !errors.Is(err, ledger.ErrExists) {
		return evidence.NoOwner, "", err
	}
	owner, err := all.recovered.Get(ctx, name)
	if err == nil && string(owner) != all.name {
		return evidence.Elsewhere, "", nil
	}
	return evidence.NoOwner, "", err
}

// ownerName spreads the entries over folders, and is a safe name whatever the id is.
func ownerName(uuid string) string {
	digest := migration.ShortDigest(target.FoldID(strings.TrimSpace(uuid)))
	return digest[:2] + "/" + digest
}
