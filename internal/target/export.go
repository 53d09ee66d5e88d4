package target

import (
	"context"
	"encoding/json"
	"time"
)

// Exporter is an Adapter whose records can be exported: it lists them by the time of their last change, and selects them by a
// filter. Its methods only read.
type Exporter interface {
	Adapter

	// IDAttribute is the top-level attribute that holds Entity.ID.
	IDAttribute() string

	// Select is List for the records of a selection. ID, Created, Updated and Version of an entity are set whatever the
	// selection is.
	Select(ctx context.Context, s Selection, page Page) (entities []Entity, next string, err error)

	// CountSelected counts the records of a selection that were created before a time; zero is no limit. It fails like Count.
	CountSelected(ctx context.Context, s Selection, before time.Time) (int64, error)

	// Shows reports whether the client may see the hashes in an attribute of the type password. Where no record has one it is
	// false, too.
	Shows(ctx context.Context, s Selection, attribute string) (bool, error)
}

// Selection are records, and some of their attributes.
type Selection struct {
	// Filter is an expression in the language of the target, "" for all records. One that the target does not take is an error
	// of the class Refused.
	Filter string
	// Attributes are names of top-level attributes; nil is all of them.
	Attributes []string
}

// IsHash reports whether the value of a password attribute is a hash that can be loaded elsewhere.
func IsHash(value json.RawMessage) bool {
	p, ok, err := ParsePassword(value)
	return ok && err == nil && p.Plain == ""
}
