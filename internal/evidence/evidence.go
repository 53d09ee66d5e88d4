// Package evidence decides whether a record of the target that has the key of
// one of our records was written by one of our calls.
//
// All decisions go through one function, Decide: for duplicates, for updates and
// for rollbacks. It returns Ours only on evidence: the same content, created no
// earlier than our call could have created it. If the evidence is insufficient it
// returns CannotTell with a reason.
//
// The package makes no calls. It learns about the target from records that are
// known to be ours because an answer contained their ids: how the target changes
// attributes (Baseline), and how its clock relates to those of our workers
// (Clocks).
package evidence

import (
	"encoding/json"
	"slices"
	"time"

	"durable-dataload/internal/delta"
	"durable-dataload/internal/target"
)

// Verdict is the origin of a record.
type Verdict int

const (
	// CannotTell is the zero value, so that an unjudged record is never ours.
	CannotTell Verdict = iota
	// Ours was written by a call of this migration.
	Ours
	// Others existed before, or was written by someone else.
	Others
)

// Reasons for CannotTell. They are classes: they contain nothing of a record.
const (
	NoKey         = "the record has no key to look it up by"
	NotShown      = "the target does not show the record"
	MoreThanOne   = "more than one record has the key"
	TooEarly      = "made a little too early for the clocks to tell"
	NoTime        = "the target does not show when the record was made"
	NoChangeTime  = "the target does not show when the record was changed"
	ChangedSince  = "changed since"
	NothingButKey = "the target shows nothing but the key"
	NoBaseline    = "nothing shows what the target does with the attributes that differ"
	SameID        = "a record with its id differs from what was sent"
	EarlierRecord = "an earlier record with this key has no outcome yet"
	OpenElsewhere = "another migration may have written it"
)

// Owner is the known owner of the id of a record.
type Owner int

const (
	NoOwner   Owner = iota
	InInput         // another record of the same input has it
	Elsewhere       // another migration of the same state folder or work URL has it
)

// Question is the evidence: a record of ours and the result of a look-up by its key.
type Question struct {
	// Sent is the record as it was sent, a JSON object, and Mark its mark (see target.Record).
	Sent []byte
	Mark string
	// IsTag says that the mark is a tag, which no other record and no other migration has.
	IsTag bool
	// Found are all records that have the key, whole.
	Found []target.Entity
	// NotWritten says that no call of ours has written the record: all records that were
	// written since Since are known, and none has the key, or another record keeps the target
	// from taking it.
	NotWritten bool
	// Since is the earliest time at which a call of ours can have written the record.
	Since Bound
	// Owner is the owner of the record found, if there is exactly one.
	Owner Owner
	// Rival is the reason why someone else may have written the record as well: EarlierRecord,
	// OpenElsewhere, or "".
	Rival string
}

// Answer is the result of Decide.
type Answer struct {
	Verdict Verdict
	UUID    string // of a record that is Ours
	// Reason is one of the constants above for CannotTell.
	Reason string
	// Again means that a later look-up may decide, when the target shows more.
	Again bool
}

func cannotTell(reason string, again bool) Answer { return Answer{Reason: reason, Again: again} }

// Decide decides the origin of the record. b is the knowledge from records that are ours.
func (b *Baseline) Decide(q Question) Answer {
	switch {
	case len(q.Found) > 1:
		return cannotTell(MoreThanOne, true)
	case len(q.Found) == 0 && q.NotWritten:
		return Answer{Verdict: Others}
	case len(q.Found) == 0:
		return cannotTell(NotShown, true)
	case q.Owner != NoOwner:
		return Answer{Verdict: Others}
	case b.traits.Marks:
		return b.byMark(q)
	}
	found := q.Found[0]
	if b.IsOlder(q.Sent, found, q.Since) {
		return Answer{Verdict: Others}
	}
	made, isGiven := b.MadeAt(q.Sent, found)
	likeness, reason := b.compare(q.Sent, found.Attributes)
	if likeness == different {
		switch changed, known := b.isChanged(found, isGiven); {
		case !known:
			return cannotTell(NoChangeTime, false)
		case changed:
			return cannotTell(ChangedSince, false)
		}
		return Answer{Verdict: Others}
	}
	switch {
	case made.IsZero():
		return cannotTell(NoTime, false)
	case likeness == undecided:
		return cannotTell(reason, false)
	case q.Since.IsEarly(made):
		return cannotTell(TooEarly, true)
	case q.Rival != "":
		return cannotTell(q.Rival, q.Rival == OpenElsewhere)
	}
	return Answer{Verdict: Ours, UUID: found.ID}
}

// byMark decides by the mark of the record found: a tag proves that it is ours. A mark that
// the input gives proves less: a record that was there before, or that an earlier migration
// of the input wrote, can have it too. So one that differs from what was sent is not proven
// ours.
func (b *Baseline) byMark(q Question) Answer {
	found := q.Found[0]
	switch {
	case found.Mark == "" || found.Mark != q.Mark:
		return Answer{Verdict: Others}
	case q.IsTag:
		return Answer{Verdict: Ours, UUID: found.ID}
	case q.Rival != "":
		return cannotTell(q.Rival, q.Rival == OpenElsewhere)
	}
	if likeness, _ := b.compare(q.Sent, found.Attributes); likeness == different {
		return cannotTell(SameID, false)
	}
	return Answer{Verdict: Ours, UUID: found.ID}
}

// MadeAt is the time at which a record was first written, as far as the target shows
// it. A record whose time of creation is that of the input was written when it was
// last updated, or before that.
func (b *Baseline) MadeAt(sent []byte, found target.Entity) (made target.Moment, isGiven bool) {
	if b.traits.GivesCreated() {
		for _, name := range b.traits.Givable {
			if given, ok := target.ParseMoment(target.TextAt(sent, name)); ok && given.Overlaps(found.Created) {
				return found.Updated, true
			}
		}
	}
	return found.Created, false
}

// IsOlder reports whether a record was clearly made, or last changed, before a time: no later call can have written it.
func (b *Baseline) IsOlder(sent []byte, found target.Entity, since Bound) bool {
	made, _ := b.MadeAt(sent, found)
	return since.Before(made) || since.Before(found.Updated)
}

// isChanged reports whether a record was changed after it was made.
func (b *Baseline) isChanged(found target.Entity, isGiven bool) (changed, known bool) {
	if found.Updated.IsZero() || found.Created.IsZero() {
		return false, false
	}
	// If the input has the time of creation, nothing shows when it was written.
	return isGiven || found.Updated.Earliest.After(found.Created.Latest.Add(b.settling)), true
}

// likeness is the result of comparing a record of the target with what was sent.
type likeness int

const (
	undecided likeness = iota
	equal
	different
)

// fewSamples is the minimum number of records known to be ours for conclusions from
// what they have in common.
const fewSamples = 3

// Baseline is the knowledge from our own records: how the target changes attributes
// that are sent, and which values it gives to others.
type Baseline struct {
	types   delta.Types
	traits  target.Traits
	key     string // attribute
	samples int
	// For attributes that were sent: how often the target shows them unchanged,
	// changed, or not at all.
	kept, altered, lost map[string]int
	sent                map[string]int
	unsent              map[string]*values
	// settling is the time after its creation in which the target may still change a
	// record on its own.
	settling time.Duration
}

// values are the values of an attribute in records that were sent without it.
type values struct {
	records  int
	distinct map[string]bool
}

// mostValues is the number of values of an attribute that are kept: two show that it varies.
const mostValues = 8

// NewBaseline returns an empty baseline for a target with these traits. key is the attribute by which records are looked up.
func NewBaseline(schema target.Schema, traits target.Traits, key string) *Baseline {
	return &Baseline{
		types: delta.TypesOf(schema, traits).Folding(schema, key), traits: traits, key: key,
		kept: map[string]int{}, altered: map[string]int{}, lost: map[string]int{}, sent: map[string]int{}, unsent: map[string]*values{},
	}
}

// Learn adds a record that is known to be ours and unchanged since.
func (b *Baseline) Learn(sent []byte, found target.Entity) {
	was, is, ok := b.leaves(sent, found.Attributes)
	if !ok {
		return
	}
	b.samples++
	if gap := found.Updated.Earliest.Sub(found.Created.Latest); !found.Updated.IsZero() && !found.Created.IsZero() && gap <= longestSettling {
		b.settling = max(b.settling, gap)
	}
	for path, value := range was {
		b.sent[path]++
		shown, isShown := is[path]
		switch {
		case !isShown:
			b.lost[path]++
		case b.types.Equal(path, value, shown):
			b.kept[path]++
		default:
			b.altered[path]++
		}
	}
	for path, value := range is {
		if _, isSent := was[path]; isSent {
			continue
		}
		v := b.unsent[path]
		if v == nil {
			v = &values{distinct: map[string]bool{}}
			b.unsent[path] = v
		}
		v.records++
		if len(v.distinct) < mostValues {
			v.distinct[string(value)] = true
		}
	}
}

// longestSettling is the maximum time of a target's own changes to a new record. A
// record with created from the input has a longer gap, which is no evidence.
const longestSettling = time.Second

// leaves returns the values of both sides by path, without the key.
func (b *Baseline) leaves(sent []byte, found map[string]json.RawMessage) (was, is map[string]json.RawMessage, ok bool) {
	var record map[string]json.RawMessage
	if json.Unmarshal(sent, &record) != nil || record == nil {
		return nil, nil, false
	}
	was, is = b.types.Leaves(record), b.types.Leaves(found)
	return was, is, true
}

// compare compares a record of the target with what was sent, as a whole.
func (b *Baseline) compare(sent []byte, found map[string]json.RawMessage) (likeness, string) {
	was, is, ok := b.leaves(sent, found)
	if !ok {
		return undecided, NothingButKey
	}
	result, alike, compared := equal, 0, 0
	note := func(l likeness) {
		if l == different || l == undecided && result == equal {
			result = l
		}
	}
	for path, value := range was {
		shown, isShown := is[path]
		isEqual := isShown && b.types.Equal(path, value, shown)
		if path == b.key {
			if !isEqual {
				note(different)
			}
			continue
		}
		compared++
		if isEqual {
			alike++
			continue
		}
		note(b.notKept(path, isShown))
	}
	for path := range is {
		if _, isSent := was[path]; !isSent && path != b.key {
			note(b.notSent(path, string(is[path])))
		}
	}
	for path, v := range b.unsent {
		_, isSent := was[path]
		_, isShown := is[path]
		if !isSent && !isShown && v.records >= fewSamples && v.records == b.samples-b.sent[path] {
			note(different) // all of our records have a value
		}
	}
	switch {
	case result == undecided:
		return undecided, NoBaseline
	case result == equal && compared > 0 && alike == 0:
		return undecided, NothingButKey
	}
	return result, ""
}

// Differs reports whether a record of the target shows another value than one that was sent. It asks nothing of other
// records, of which some may have been changed as well where the target does not show when.
func (b *Baseline) Differs(sent []byte, found target.Entity) bool {
	changes, err := b.types.Changes(sent, found.Attributes)
	return err != nil || slices.ContainsFunc(changes, func(c delta.Change) bool { return !b.types.IsHidden(c.Path) && !b.types.IsPassword(c.Path) })
}

// notKept judges an attribute whose value differs from what was sent.
func (b *Baseline) notKept(path string, isShown bool) likeness {
	alike := b.lost[path]
	if isShown {
		alike = b.altered[path]
	}
	switch {
	case alike > 0 && b.kept[path] > 0:
		return undecided // the target does so with some of our records
	case alike > 0:
		return equal // and with all of them
	case isShown || b.kept[path] > 0:
		return different
	}
	return undecided
}

// notSent judges an attribute that has a value although none was sent.
func (b *Baseline) notSent(path, value string) likeness {
	without := b.samples - b.sent[path] // samples that were sent without it
	v := b.unsent[path]
	switch {
	case v == nil && without >= fewSamples:
		return different
	case v == nil:
		return undecided
	case v.distinct[value] || len(v.distinct) > 1 || b.types.IsTime(path) || isTime(value):
		return equal
	case v.records >= fewSamples:
		return different
	}
	return undecided
}

func isTime(value string) bool {
	var text string
	if json.Unmarshal([]byte(value), &text) != nil {
		return false
	}
	_, ok := target.ParseMoment(text)
	return ok
}

// HasKey reports whether a record of the target has this key, in any case.
func (b *Baseline) HasKey(found target.Entity, key string) bool {
	quoted, err := json.Marshal(key)
	return err == nil && b.types.Equal(b.key, quoted, delta.At(found.Attributes, b.key))
}
