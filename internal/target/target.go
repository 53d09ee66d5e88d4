package target

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"
	"time"
)

// Adapter is a platform that users are migrated to. It may be used by many goroutines at once.
//
// A call is sent once: no redirect is followed, no request is repeated. Unless stated otherwise an error of a call is an
// *Error; any other error is that of Hooks.BeforeCall or of the context, and then nothing was sent.
type Adapter interface {
	Format

	// Check verifies address, credentials and type before anything is written. It only reads, and changes nothing. An error
	// of the class Unusable is final; with Error.Fault an operator must act; any other may pass.
	Check(ctx context.Context) error

	// Schema returns the attributes of a record, with their paths in a record of the input.
	Schema(ctx context.Context) (Schema, error)

	// Count counts all records. The number may be behind. A platform or a client that cannot count fails with Forbidden.
	Count(ctx context.Context) (int64, error)

	// Create sends records in one call that writes, and judges its answer. It returns no Go error: an error is an answer
	// too. The caller must make sure that no record is sent twice. All of the records fit into one call (see Traits).
	//
	// Where an answer needs confirmation, Create then makes calls that only read, before it returns. Each passes the hooks.
	Create(ctx context.Context, records []Record) Answer

	// Find returns the records whose attribute has one of the keys, whole, each once; attribute is a path that Schema calls
	// unique, or ByID. Keys are compared by Traits.Fold, an empty key is skipped, and all records with a key are returned.
	// It makes a call for every Traits.FindKeys keys, sometimes more. A record that is not found may exist all the same,
	// within Traits.Lag.
	Find(ctx context.Context, attribute string, keys []string) ([]Entity, error)

	// Get returns one record, whole. A record that does not exist is an error of the class NotFound. Ref.Version is ignored.
	Get(ctx context.Context, ref Ref) (Entity, error)

	// List returns a page of records in a fixed order that new records do not change, and the cursor of the next page, ""
	// after the last one.
	List(ctx context.Context, page Page) (entities []Entity, next string, err error)

	// Apply makes one step. It may be repeated: it sets the same values again. See Ref for conditions and errors.
	Apply(ctx context.Context, ref Ref, step Step) error

	// Delete deletes a record permanently. By id it may be repeated: ids are not reused, and the second call fails with
	// NotFound. See Ref for conditions and errors.
	Delete(ctx context.Context, ref Ref) error

	// Close closes idle connections.
	Close()
}

// Format is the part of an adapter that makes no calls. It needs neither an address nor credentials, and is safe for
// concurrent use.
type Format interface {
	Traits() Traits

	// Encode checks a record of the input, a JSON object that the mapping has made, and returns what is sent for it. The
	// tag (see NewTag) becomes the mark of the record, where Traits.Marks, unless the record has an id of its own that takes
	// its place.
	//
	// It fails with an *Error, Refused or TooLarge, whose text and reason contain nothing of the record: then the record
	// fails without a call. Reason is a class that validate counts, such as "password-netforum".
	Encode(record []byte, tag string) (Record, error)

	// Measure is Record.Size of a record as Encode makes it, whatever its tag is, or the error of Encode.
	Measure(record []byte) (int64, error)

	// Steps divides the changes of one record into the calls that make them, in order. An attribute that the platform cannot
	// change fails with Refused.
	Steps(changes []Change) ([]Step, error)
}

// MeasureEncoded is a Format.Measure that encodes the record.
func MeasureEncoded(f Format, record []byte) (int64, error) {
	r, err := f.Encode(record, anyTag)
	return r.Size, err
}

// anyTag stands for the tag of a record: all have one length.
var anyTag = NewTag("", 0)

// Record is a record as it is sent.
type Record struct {
	Body []byte // as it stands in a request
	// Size is what it adds to a request; the sum over a call is at most Traits.MaxBytes.
	Size int64
	// Group is how the adapter divides the records of a call; the caller does not look at it.
	Group string
	// Mark is what proves that a record of the target was written for this one: Entity.Mark is the same. "" if nothing does.
	Mark string
}

// NewTag returns the tag of a record: a UUID (version 8 of RFC 9562) that no other record and no other migration has. run
// is random, made once for a migration and kept with it, so that all rounds give a record the same tag; it must not be
// derived from the input or the target, since two work places may have both in common. record is the number of the record
// in the input.
func NewTag(run string, record int64) string {
	sum := sha256.Sum256([]byte(run + "\n" + strconv.FormatInt(record, 10)))
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// Ref addresses one record: by its ID, or by a unique Attribute and its value Key.
//
// Version, if given, is the Entity.Version of a read. If the record was changed since, the call does nothing and fails
// with Conflict. See Traits.Conditional.
type Ref struct{ ID, Attribute, Key, Version string }

// ByID is the attribute of Find that stands for the id of a record.
const ByID = ""

// Page selects records. Since is used only where Traits.ListsSince.
type Page struct {
	// Since is the earliest time of the Stamp; zero is no limit.
	Since time.Time
	Stamp Stamp
	// After is the cursor of the page, "" for the first one.
	After string
	Most  int // records; the target may give fewer
}

// Stamp is one of the two times of a record.
type Stamp int

// The stamps.
const (
	Created Stamp = iota
	Updated
)

// Hooks are called around every HTTP request of an adapter. Each may be nil.
type Hooks struct {
	// BeforeCall may block: the pace hooks in here. release, unless nil, is called when the answer was read or the call has
	// failed. If BeforeCall fails, nothing is sent.
	BeforeCall func(ctx context.Context) (release func(), err error)
	// Answered is called for an answer with a Date header: its time in whole seconds, and when the request was sent and its
	// answer received by the local clock.
	Answered func(serverDate, sent, received time.Time)
	// Judged is called after each request with what it says about the target, unless nothing was sent.
	Judged func(ctx context.Context, call Call)
}

// Kind is what a call does.
type Kind int

// The kinds of calls. Check is any call of Check, Schema and Count: it reports a fault to its caller.
const (
	Checks Kind = iota
	Creates
	Reads
	Changes // Apply and Delete
)

// Call is the result of one request, for pace, breaker and metrics. It contains nothing of a record.
type Call struct {
	Kind           Kind
	Sent, Received time.Time
	// Reason is the class of the failure, as in Answer.Reason; "" if the target answered.
	Reason string
	// Unknown: the target gave no answer that can be relied upon. Not set for a missing permission to read or change: the
	// target is healthy then. If every record of an answer is unknown, it is set as well.
	Unknown bool
	// Fault is the text of an error with Error.Fault, else "".
	Fault string
	// Busy: the target asks for fewer calls. Crowded: because too many were in flight, not in a time.
	Busy, Crowded bool
	RetryAfter    time.Duration // 0: not said
}
