package target

import (
	"slices"
	"time"
)

// Traits say in what a target differs from others, so that nobody has to know which one it is. They are constant for an
// adapter.
type Traits struct {
	// Name is that of --target: "identity-cloud".
	Name string

	// MaxRecords is the largest number of records in a call of Create, 0 if there is no limit; MaxBytes the largest sum of
	// Record.Size, Overhead what a request has besides. A limit of one record is a platform without a bulk call.
	MaxRecords         int
	MaxBytes, Overhead int64

	// RefusesTogether: one bad record refuses the whole call (class Refused), so a refused call is always cut to find it.
	// Where false, a refusal is usually about the call.
	RefusesTogether bool

	// Marks: every record carries a mark of ours, which the target shows (Entity.Mark). An equal tag proves that a record is
	// ours, and another mark, or none, that it is not.
	Marks bool
	// RefusesMark: the mark is the id of the record, and the target refuses a second record with the same, as a Duplicate. So
	// a record may be sent again after a lost answer whatever its attributes are, and none is keyless; without it only a
	// record with a unique attribute may.
	RefusesMark bool

	// ShowsCreated, ShowsUpdated: the target shows when a record was made, and changed, by its own clock. A time that the
	// input can set is not shown in this sense.
	ShowsCreated, ShowsUpdated bool

	// Lag is how long a new record, or a change, can be invisible to Find, List and Count; 0: they are seen at once.
	Lag time.Duration

	// Conditional: the target itself compares Ref.Version, in one step with the change. Where false the adapter reads the
	// record just before, and a change between the two is overwritten.
	Conditional bool

	// FindKeys is how many keys Find looks up in one call. FindsAlone says which keys take a call of their own; nil is none.
	FindKeys   int
	FindsAlone func(key string) bool
	// ListsSince: List can select by time. MaxPage is the largest page.
	ListsSince bool
	MaxPage    int

	// System are the attributes, paths from the root, that the target sets itself or never changes: they are never compared, changed or
	// restored. Givable are those of them that a new record may have; with ShowsCreated they are times of creation.
	System, Givable []string
	// Hidden are attributes that the target never shows in plain text, nor with their hashes: they cannot be verified,
	// compared or restored. A client without the right to see them may find others hidden, too.
	Hidden []string

	// Doubts says what speaks against a password that Encode takes: a text for people, "" if nothing does, and whether the
	// platform is going to refuse it. kind is the type of a hash, "" for plain text. nil is no doubt.
	Doubts func(kind string) (text string, refused bool)

	// DefaultKey is the unique attribute that identifies users in the platform's default schema.
	DefaultKey string
	// Fold returns the form in which the target compares keys: equal forms are one key.
	Fold func(key string) string
}

// Refuses reports whether a new record may not have a value of this top-level attribute, since the target sets it itself.
func (t Traits) Refuses(attribute string) bool {
	return slices.Contains(t.System, attribute) && !slices.Contains(t.Givable, attribute)
}

// Takes reports whether a new record of a schema may have a value at a path. Paths into plurals are not accepted.
func (t Traits) Takes(s Schema, path string) bool {
	_, ok := s.At(path)
	return ok && !t.Refuses(path)
}

// GivesCreated reports whether a new record may have a time of creation of its own.
func (t Traits) GivesCreated() bool { return t.ShowsCreated && len(t.Givable) > 0 }
