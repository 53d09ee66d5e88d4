package migration

import (
	"fmt"
	"strings"

	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

// Keys says by which attribute the target identifies the records of a migration. It is
// written once, before anything is sent, and holds for every later run.
type Keys struct {
	Attribute string `json:"attribute"` // the primary key
	// Unique says that the target refuses a second record with the same value.
	// Where it does not, every record is keyless.
	Unique bool `json:"unique"`
	// Marked says that the target refuses a second record with the same mark (see
	// target.Traits), so that no record is keyless, whatever its attributes are.
	Marked bool `json:"marked,omitempty"`
	// Others are the other attributes that the schema calls unique.
	Others []string `json:"others,omitempty"`
	// Unread says why the schema could not be read, so that Unique is assumed; ""
	// where the schema says it.
	Unread string `json:"unread,omitempty"`
}

// NewKeys are those of a target with this schema.
func NewKeys(attribute string, schema target.Schema, traits target.Traits) Keys {
	k := Keys{Attribute: attribute, Marked: traits.RefusesMark}
	for _, unique := range schema.Unique() {
		if unique == attribute {
			k.Unique = true
		} else {
			k.Others = append(k.Others, unique)
		}
	}
	return k
}

// AssumeKeys are those of a target that does not show its schema, from the traits of its platform.
func AssumeKeys(attribute string, traits target.Traits, why error) Keys {
	return Keys{Attribute: attribute, Unique: attribute == traits.DefaultKey, Marked: traits.RefusesMark, Unread: why.Error()}
}

// Keyless is what summary_*.json says of keyless records.
type Keyless struct {
	PrimaryKey string `json:"primary_key"`
	// Records of the input are keyless. Unknown of them may have been written by a
	// call whose answer was lost, and are not sent again.
	Records int `json:"records"`
	Unknown int `json:"unknown"`
	// Note says in one line, for people, which records are keyless, why, and how they are
	// treated; "" where none is, and nothing had to be assumed.
	Note string `json:"note"`
}

// KeylessRule says, for people, how a keyless record is treated.
const KeylessRule = "If the answer of its call is lost, such a record stays unknown and is not sent again; one that is in the target already, as a record of a retry file may be, is created a second time."

// Keyless says which of the records are keyless, if withoutValue of them have no value in
// the primary key. None of them is unknown yet.
func (k Keys) Keyless(records, withoutValue int) Keyless {
	all := Keyless{PrimaryKey: k.Attribute, Records: records}
	switch {
	case k.Marked:
		all.Records = 0
		return all
	case !k.Unique && k.Unread != "":
		all.Note = fmt.Sprintf("%s keyless, it is assumed: the schema cannot be read (%s), so it is not known whether %s is unique. %s",
			allRecords(records), k.Unread, k.Attribute, KeylessRule)
		return all
	case !k.Unique:
		all.Note = fmt.Sprintf("%s keyless: the schema does not call the primary key %s unique, so the target refuses no record as a duplicate of another one by it. %s",
			allRecords(records), k.Attribute, KeylessRule)
		if len(k.Others) > 0 {
			all.Note += " Unique are: " + strings.Join(k.Others, ", ") + " (see --primary-key)."
		}
		return all
	}
	all.Records = withoutValue
	var notes []string
	if k.Unread != "" {
		notes = append(notes, fmt.Sprintf("It is assumed that %s is unique, as in the platform's default schema: the schema cannot be read (%s).", k.Attribute, k.Unread))
	}
	if withoutValue > 0 {
		are := "records are"
		if withoutValue == 1 {
			are = "record is"
		}
		notes = append(notes, fmt.Sprintf("%d of %d %s keyless: without a value in the primary key %s the target cannot refuse a record as a duplicate. %s",
			withoutValue, records, are, k.Attribute, KeylessRule))
	}
	all.Note = strings.Join(notes, " ")
	return all
}

func allRecords(n int) string {
	switch n {
	case 0: // not known
		return "All records are"
	case 1:
		return "The one record is"
	}
	return fmt.Sprintf("All %d records are", n)
}

// CreateKeys writes the keys unless they are there, and gives those that hold.
func (f Folder) CreateKeys(k Keys) (Keys, error) { return create(f.path(keysName), k) }

// Keys returns the keys, or ErrAbsent before they are known.
func (f Folder) Keys() (Keys, error) { return load[Keys](f.path(keysName)) }

// DropKeys removes the keys of a migration that has sent nothing.
func (f Folder) DropKeys() error { return store.Remove(f.path(keysName)) }

const keysName = "keys.json"
