package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// NotLookedUp is the reason of an unknown record that the target refused as a
// duplicate, and whose origin was not looked up yet.
const NotLookedUp = "a duplicate that was not looked up yet"

// Status is the progress of a batch in a round.
type Status int

const (
	// Unclaimed: no call was made, and some records have no outcome.
	Unclaimed Status = iota
	// Claimed: a call may have been made, and its records have no outcome yet.
	Claimed
	// Settled: every record that is in the round has an outcome.
	Settled
)

// Record is the ledger's knowledge of one record after a number of rounds.
type Record struct {
	Outcome Outcome // None: never attempted
	Round   int     // the round that decided it
	UUID    string  // of a created or recovered record
	Error   string  // of a failed or duplicate record
	Ours    bool    // Error is a text of this program, and holds nothing of the record
	Reason  string  // of an unknown or failed record, a class (see Why); "" of a duplicate
	// Unwritten is that of its entry: an unknown record was not written by the
	// call of its round.
	Unwritten bool
	// ByUpdate means that the outcome is that of the update of a duplicate.
	ByUpdate bool
	// At, Took and Clock are those of its entry, see Outcomes. An outcome that was
	// resolved after the call has none.
	At    time.Time
	Took  time.Duration
	Clock string

	// Halved means that in its round a call was made again in halves that may have written
	// the record.
	Halved bool

	open bool // no half of its call has an outcome for it yet
}

// MayBeSent reports whether a later round may send the record: it is unknown, and the
// target would refuse it as a duplicate if it was written. The target would not refuse
// a keyless record, so that must certainly be unwritten.
func (r Record) MayBeSent(keyless bool) bool {
	return r.Outcome == Unknown && (!keyless || r.Unwritten)
}

// InRound selects the records of a batch of n records that are in a round: all in
// round 0, those that may be sent after the earlier rounds in a later one.
// keyless selects those, from 0, that the target would not refuse as duplicates.
func (l *Ledger) InRound(ctx context.Context, round, batch, n int, keyless func(i int) bool) ([]bool, error) {
	if round == 0 {
		return slices.Repeat([]bool{true}, n), nil
	}
	records, err := l.After(ctx, round-1, batch, n)
	if err != nil {
		return nil, err
	}
	in := make([]bool, n)
	for i, r := range records {
		in[i] = r.MayBeSent(keyless(i))
	}
	return in, nil
}

// After returns the knowledge of the n records of a batch after the given round: the
// outcome of the last round that has one, with resolved duplicates. A duplicate that
// is not resolved yet is unknown. A duplicate that was updated since has the result
// of its update.
func (l *Ledger) After(ctx context.Context, round, batch, n int) ([]Record, error) {
	records := slices.Repeat([]Record{{Outcome: None}}, n)
	for r := range round + 1 {
		found, err := l.round(ctx, Key{Round: r, Batch: batch}, n)
		if err != nil {
			return nil, err
		}
		open := false
		for i := range found {
			if found[i].Outcome != None {
				records[i] = found[i]
			}
			open = open || records[i].Outcome == Unknown || records[i].Outcome == None
		}
		if !open {
			break
		}
	}
	return records, l.overlayUpdates(ctx, round, batch, records)
}

// overlayUpdates replaces duplicates by the outcomes of their updates.
func (l *Ledger) overlayUpdates(ctx context.Context, round, batch int, records []Record) error {
	for r := 0; r <= round && hasDuplicate(records); r++ {
		updated, err := l.Decided(ctx, ByUpdate, Key{Round: r, Batch: batch})
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		before := slices.Clone(records)
		if err := overlay(records, updated, r); err != nil {
			return err
		}
		for i := range records {
			switch {
			case Outcome(updated.Letters[i]) == None:
			case before[i].Outcome == Duplicate:
				records[i].ByUpdate = true
			default: // only a duplicate can be updated
				records[i] = before[i]
			}
		}
	}
	return nil
}

func hasDuplicate(records []Record) bool {
	return slices.ContainsFunc(records, func(r Record) bool { return r.Outcome == Duplicate })
}

// round returns the outcomes of one round.
func (l *Ledger) round(ctx context.Context, key Key, n int) ([]Record, error) {
	records := slices.Repeat([]Record{{Outcome: None}}, n)
	if _, err := l.walk(ctx, key, func(o Outcomes) error { return overlay(records, o, key.Round) }); err != nil {
		return nil, err
	}
	for i := range records {
		if records[i].Outcome == Duplicate {
			// Until it is resolved, the origin of the record is unknown.
			records[i].Outcome, records[i].Error, records[i].Reason = Unknown, "", NotLookedUp
		}
	}
	resolved, err := l.Decided(ctx, ByLookup, key)
	if errors.Is(err, ErrNotFound) {
		return records, nil
	}
	if err != nil {
		return nil, err
	}
	return records, overlay(records, resolved, key.Round)
}

// Round returns the unresolved outcomes of the calls of one round, and the progress
// of the batch.
func (l *Ledger) Round(ctx context.Context, round, batch, n int) ([]Record, Counts, Status, error) {
	records := slices.Repeat([]Record{{Outcome: None}}, n)
	var counts Counts
	status, err := l.walk(ctx, Key{Round: round, Batch: batch}, func(o Outcomes) error {
		counts.Add(o.Counts())
		return overlay(records, o, round)
	})
	for _, r := range records {
		if r.open {
			counts.Unknown++
		}
	}
	return records, counts, status, err
}

// walk visits the decided parts of a batch, first half first, and returns its
// progress. A call that was refused as too large counts as a call as well.
func (l *Ledger) walk(ctx context.Context, key Key, visit func(Outcomes) error) (Status, error) {
	o, err := l.Decided(ctx, ByCall, key)
	switch {
	case errors.Is(err, ErrNotFound):
		_, err := l.ClaimOf(ctx, key)
		if errors.Is(err, ErrNotFound) {
			return Unclaimed, nil
		}
		return Claimed, err
	case err != nil:
		return Unclaimed, err
	}
	if err := visit(o); err != nil {
		return Unclaimed, err
	}
	if !o.Split {
		return Settled, nil
	}
	first, second := key.Halves()
	one, err := l.walk(ctx, first, visit)
	if err != nil {
		return Unclaimed, err
	}
	two, err := l.walk(ctx, second, visit)
	return min(one, two), err
}

func overlay(records []Record, o Outcomes, round int) error {
	if o.Split && o.Letters == "" {
		return nil
	}
	if len(o.Letters) != len(records) {
		return fmt.Errorf("a ledger entry of round %d speaks of %d records, expected %d: the index and the ledger do not belong together", round, len(o.Letters), len(records))
	}
	if err := o.check(); err != nil {
		return err
	}
	uuids, words, ours, reasons, classes := o.UUIDs, o.Errors, o.Ours, unrolled(o.Unknown), unrolled(o.Classes)
	for i := range records {
		outcome := Outcome(o.Letters[i])
		if outcome == None {
			continue
		}
		records[i] = Record{Outcome: outcome, Round: round, Unwritten: o.Unwritten, At: o.At, Took: o.Took, Clock: o.Clock, Halved: records[i].Halved}
		switch outcome {
		case Created, Recovered:
			records[i].UUID, uuids = uuids[0], uuids[1:]
		case Duplicate, Failed:
			records[i].Error, words = words[0], words[1:]
			if len(ours) > 0 {
				records[i].Ours, ours = ours[0], ours[1:]
			}
			if len(classes) > 0 {
				records[i].Reason, classes = classes[0], classes[1:]
			}
		case Unknown:
			records[i].Reason, reasons = reasons[0], reasons[1:]
		case Halved:
			records[i].Outcome, records[i].Reason, records[i].Halved, records[i].open = Unknown, o.Reason, true, true
		}
	}
	return nil
}

// unrolled has a reason for each record.
func unrolled(whys []Why) (reasons []string) {
	for _, why := range whys {
		for range why.Records {
			reasons = append(reasons, why.Reason)
		}
	}
	return reasons
}

// Class is the class of the reason of a record that is failed, unknown or a
// duplicate.
func (r Record) Class() string {
	switch {
	case r.Reason != "":
		return r.Reason
	case r.ByUpdate:
		return "update"
	}
	return classDuplicate
}

const classDuplicate = "duplicate"

// WasThere reports whether a record failed because the target had it before, or had another
// record with the same unique value.
func (r Record) WasThere() bool {
	return (r.Outcome == Failed || r.Outcome == Duplicate) && r.Class() == classDuplicate
}
