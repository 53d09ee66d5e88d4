package mapping

import (
	"fmt"
	"strings"

	"golang.org/x/text/unicode/norm"

	"durable-dataload/internal/suggest"
	"durable-dataload/internal/target"
)

// Maker lists the attributes of records with a header, each with the column (from 0) that it comes from, or -1.
type Maker interface {
	Made(tell func(attribute string, column int))
}

// GivesKey reports whether the mapping provides the primary key, or a value that may contain it.
func GivesKey(m Maker, key string) (gives bool) {
	m.Made(func(attribute string, _ int) {
		gives = gives || attribute == key || strings.HasPrefix(key, attribute+".")
	})
	return gives
}

// CheckHeader refuses a header that does not fit the target: no column provides the primary key, and either a column seems
// to mean it, or no column is an attribute of the target. schema is nil if it is not known: then the key alone decides. The
// error gives numbers of columns, not names: in a file without a header, a name is a value.
//
// A header without the key is accepted if the target has another of its columns: the records are keyless then.
func CheckHeader(m Maker, key string, schema *target.Schema, traits target.Traits) error {
	if GivesKey(m, key) {
		return nil
	}
	meant, known := 0, false
	m.Made(func(attribute string, column int) {
		switch {
		case schema != nil && traits.Takes(*schema, attribute):
			known = true
		case meant == 0 && column >= 0 && seemsToMean(attribute, key):
			meant = column + 1
		}
	})
	switch {
	case meant > 0:
		return fmt.Errorf("no column gives the primary key, but column %d nearly has its name; did you mean %s? expected exactly that name; rename the column, send it to that attribute with a mapping (docs/mapping.md), or give another --primary-key", meant, key)
	case known:
		return nil
	case schema != nil:
		return fmt.Errorf("no column is an attribute of the target's, and none gives the primary key, %s; expected attribute names on the first line; check that this is the right file, put a header there, or name the attributes in a mapping (docs/mapping.md)", key)
	}
	return fmt.Errorf("no column gives the primary key, %s, and the target's schema is not known; expected attribute names on the first line; put a header there, name the attributes in a mapping (docs/mapping.md), or give another --primary-key", key)
}

// seemsToMean reports whether a name differs from the primary key's in case, accents and punctuation only, in a few letters, or
// in words before or after it.
func seemsToMean(name, key string) bool {
	name, key = bare(norm.NFKD.String(name)), bare(norm.NFKD.String(key)) // accents are not letters
	return name != "" && (name == key || suggest.Name(name, []string{key}) != "" || len(key) > 3 && strings.Contains(name, key))
}
