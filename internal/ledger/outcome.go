package ledger

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// Outcome is what is known of one record after one round.
type Outcome byte

// The outcomes of a call, the results of ResolveDuplicates and UpdateBatch for a
// duplicate, and the disposition of a record that was never attempted. The ledger's
// entries store one letter each.
const (
	None      Outcome = '-' // the record is not in this round, or not in this part of the batch
	Created   Outcome = 'c'
	Duplicate Outcome = 'd'
	Failed    Outcome = 'f'
	Unknown   Outcome = 'u'
	Recovered Outcome = 'r' // written by a call whose answer was lost
	Updated   Outcome = 'p' // existed before, and has the input's values now
	Unchanged Outcome = 'n' // existed before, with the input's values already
	// Halved is only in an entry with Split: the call may have written the record,
	// which is in one of its halves. It is unknown until that half has an outcome.
	Halved Outcome = 'h'
)

// The outcomes of a rollback, besides Failed and None: not attempted.
const (
	Deleted  Outcome = 'e' // existed, and has been deleted
	Gone     Outcome = 'g' // had been deleted already
	Restored Outcome = 'b' // has its previous values back
	Kept     Outcome = 'k' // had its previous values already
)

// Outcomes are what is known of the records of one batch, in input order.
type Outcomes struct {
	// Split means that the target refused the call as too large or for one of its records,
	// or left some of its records for another call, and that its halves have separate
	// entries. They have the records that are None or Halved here: those that are decided,
	// or must not be sent again, have their outcome here.
	Split bool `json:"split,omitempty"`
	// Sent means that a call was made, or may have been.
	Sent bool `json:"sent,omitempty"`
	// Unwritten means that nothing of the call was written: it was not sent, or the
	// API itself refused all of it. Its unknown records may be sent again, keyless
	// ones too.
	Unwritten bool `json:"unwritten,omitempty"`
	// Reason is the error of the call: a class ("http 502", "timeout"), never the
	// text of an answer.
	Reason string `json:"reason,omitempty"`
	// Letters has one Outcome for each record of the whole batch; it may be empty
	// if Split is set.
	Letters string `json:"outcomes,omitempty"`
	// UUIDs are those of the created and recovered records, in order. One may
	// be empty: recovered by the target's refusal, without a look-up.
	UUIDs []string `json:"uuids,omitempty"`
	// Errors are the messages for the duplicate and failed records, in order. The target's
	// may quote a record: user data.
	Errors []string `json:"errors,omitempty"`
	// Ours says of each of Errors that this program made it and that it holds nothing of a
	// record. None if all are the target's.
	Ours []bool `json:"ours,omitempty"`
	// Unknown has the reasons of the unknown records, in order. Adjacent records with
	// the same reason share an entry.
	Unknown []Why `json:"unknown,omitempty"`
	// Classes are the classes of the errors, in order, "" for an unclassified one (a
	// duplicate). None if all are unclassified.
	Classes []Why `json:"classes,omitempty"`
	// At is the time of the answer, or of giving up; for updates, of the last one.
	// Took is the duration of the call. Both are by the clock of the calling worker,
	// and zero for a call whose worker died.
	At   time.Time     `json:"at,omitzero"`
	Took time.Duration `json:"took,omitzero"` // in nanoseconds
	// Clock names the clock of At and Took (see evidence.ThisClock).
	Clock string `json:"clock,omitempty"`
}

// Why is the reason of a number of consecutive records that are unknown, or that
// failed or are duplicates.
type Why struct {
	// Reason is a short class: "changed since", "http 502". It never contains the
	// text of an answer or content of a record.
	Reason  string `json:"why"`
	Records int    `json:"n"`
}

// NewOutcomes has None for each of a batch's records.
func NewOutcomes(records int) *Builder {
	letters := bytes.Repeat([]byte{byte(None)}, records)
	return &Builder{letters: letters, uuids: map[int]string{}, errors: map[int]string{}, ours: map[int]bool{}, reasons: map[int]string{}}
}

// Builder collects the outcomes of a batch in any order.
type Builder struct {
	letters []byte
	uuids   map[int]string
	errors  map[int]string
	ours    map[int]bool
	reasons map[int]string
}

// Created sets record i (from 0) of the batch.
func (b *Builder) Created(i int, uuid string) { b.letters[i], b.uuids[i] = byte(Created), uuid }

// Recovered sets record i; uuid may be empty.
func (b *Builder) Recovered(i int, uuid string) { b.letters[i], b.uuids[i] = byte(Recovered), uuid }

// Duplicate sets record i, with the target's message.
func (b *Builder) Duplicate(i int, words string) { b.set(i, Duplicate, words, false) }

// Failed sets record i, with the target's message for result files.
func (b *Builder) Failed(i int, words string) { b.set(i, Failed, words, false) }

// FailedHere sets record i to Failed, with a reason of this program that holds nothing of the
// record.
func (b *Builder) FailedHere(i int, reason string) { b.set(i, Failed, reason, true) }

func (b *Builder) set(i int, outcome Outcome, words string, ours bool) {
	b.letters[i], b.errors[i] = byte(outcome), words
	delete(b.ours, i)
	if ours {
		b.ours[i] = true
	}
}

// Unknown sets record i, with the class of the reason (see Why).
func (b *Builder) Unknown(i int, reason string) { b.letters[i], b.reasons[i] = byte(Unknown), reason }

// Halved sets record i of a call that is split.
func (b *Builder) Halved(i int) { b.letters[i] = byte(Halved) }

// Classify sets the class of the reason of record i, which has failed or is a
// duplicate (see Why).
func (b *Builder) Classify(i int, class string) { b.reasons[i] = class }

// Updated sets record i.
func (b *Builder) Updated(i int) { b.letters[i] = byte(Updated) }

// Unchanged sets record i.
func (b *Builder) Unchanged(i int) { b.letters[i] = byte(Unchanged) }

// RolledBack sets record i to an outcome of a rollback that needs no message.
func (b *Builder) RolledBack(i int, o Outcome) { b.letters[i] = byte(o) }

// Outcomes returns the collected outcomes.
func (b *Builder) Outcomes(sent bool, reason string) Outcomes {
	o := Outcomes{Sent: sent, Reason: reason, Letters: string(b.letters)}
	for i := range b.letters {
		switch Outcome(b.letters[i]) {
		case Created, Recovered:
			o.UUIDs = append(o.UUIDs, b.uuids[i])
		case Duplicate, Failed:
			o.Errors = append(o.Errors, b.errors[i])
			o.Ours = append(o.Ours, b.ours[i])
			o.Classes = oneMore(o.Classes, b.reasons[i])
		case Unknown:
			o.Unknown = oneMore(o.Unknown, b.reasons[i])
		}
	}
	if len(o.Classes) == 1 && o.Classes[0].Reason == "" {
		o.Classes = nil // none is classified
	}
	if len(b.ours) == 0 {
		o.Ours = nil
	}
	return o
}

// oneMore adds the reason of the next record.
func oneMore(whys []Why, reason string) []Why {
	if last := len(whys) - 1; last >= 0 && whys[last].Reason == reason {
		whys[last].Records++
		return whys
	}
	return append(whys, Why{Reason: reason, Records: 1})
}

// Halves returns the two parts of positions, in order, that have separate entries
// if Split is set.
func (o Outcomes) Halves(positions []int) (first, second []int) {
	left := slices.Clone(positions)
	if o.Letters != "" {
		left = slices.DeleteFunc(left, func(i int) bool { return Outcome(o.Letters[i]) != None && Outcome(o.Letters[i]) != Halved })
	}
	half := len(left) / 2
	return left[:half], left[half:]
}

// Halved is the number of records at these positions that the call of an entry with
// Split may have written.
func (o Outcomes) Halved(positions []int) (n int) {
	for _, i := range positions {
		if i < len(o.Letters) && Outcome(o.Letters[i]) == Halved {
			n++
		}
	}
	return n
}

// check verifies that the lists match the letters, so that a damaged entry is never
// written.
func (o Outcomes) check() error {
	var uuids, errors, unknown, reasons int
	for i := range len(o.Letters) {
		switch Outcome(o.Letters[i]) {
		case Created, Recovered:
			uuids++
		case Duplicate, Failed:
			errors++
		case Unknown:
			unknown++
		case None, Halved, Updated, Unchanged, Deleted, Gone, Restored, Kept:
		default:
			return fmt.Errorf("the ledger has no outcome %q", o.Letters[i])
		}
	}
	for _, why := range o.Unknown {
		reasons += max(why.Records, 0)
	}
	classes := 0
	for _, why := range o.Classes {
		classes += max(why.Records, 0)
	}
	if classes != errors && len(o.Classes) > 0 {
		return fmt.Errorf("the ledger's entry has classes for %d errors, expected %d", classes, errors)
	}
	if len(o.Ours) != errors && len(o.Ours) > 0 {
		return fmt.Errorf("the ledger's entry says of %d errors whose they are, expected %d", len(o.Ours), errors)
	}
	if unknown != reasons {
		return fmt.Errorf("the ledger's entry has reasons for %d unknown records, expected %d", reasons, unknown)
	}
	if uuids != len(o.UUIDs) || errors != len(o.Errors) {
		return fmt.Errorf("the ledger's entry has %d uuids and %d errors, expected %d and %d", len(o.UUIDs), len(o.Errors), uuids, errors)
	}
	return nil
}
