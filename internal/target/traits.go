package target

import "time"

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

	// Marks: every record carries a mark of ours, which the target shows (Entity.Mark). An equal mark proves that a record
	// is ours, and another one, or none, that it is not.
	Marks bool
	// RefusesMark: the target refuses a second record with the same mark, as a Duplicate. So a record may be sent again after a
	// lost answer whatever its attributes are, and none is keyless; without it only a record with a unique attribute may.
	RefusesMark bool

	// ShowsCreated, ShowsUpdated: the target shows when a record was made, and changed, by its own clock. A time that the
	// input can set is not shown in this sense.
	ShowsCreated, ShowsUpdated bool

	// Lag is how long a new record, or a change, can be invisible to Find, List and Count; 0: they are seen at once.
	Lag time.Duration

	// Conditional: the target itself compares Ref.Version, in one step with the change. Where false the adapter reads the
	// record just before, and a change between the two is overwritten.
	Conditional bool

	// FindKeys is how many keys Find looks up in one call.
	FindKeys int
	// ListsSince: List can select by time. MaxPage is the largest page.
	ListsSince bool
	MaxPage    int

	// System are the attributes, paths from the root, that the target sets itself: they are never compared, changed or
	// restored. Givable are those of them that a new record may have.
	System, Givable []string
	// Hidden are attributes that the target never shows in plain text, nor with their hashes: they cannot be verified,
	// compared or restored. A client without the right to see them may find others hidden, too.
	Hidden []string

	// DefaultKey is the unique attribute that identifies users in the platform's default schema.
	DefaultKey string
	// Fold returns the form in which the target compares keys: equal forms are one key.
	Fold func(key string) string
}
