package validate

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/suggest"
)

// Making is what records below a header get: each attribute, and the column (from 0) that it is made from, or -1.
type Making interface {
	Made(tell func(attribute string, column int))
}

// GivesKey says whether the primary key is made, or a value that may have it within.
func GivesKey(m Making, key string) (gives bool) {
	m.Made(func(attribute string, _ int) {
		gives = gives || attribute == key || strings.HasPrefix(key, attribute+".")
	})
	return gives
}

// CheckHeader refuses what is no header for the target: nothing gives the primary key, and either a column seems to mean
// it, or no column is an attribute of the target's. schema is nil if it is not known: then the key alone tells. The
// error numbers columns and does not name them: where a file has no header, a name is a value.
//
// A file whose columns the target has, all but the key, is no fault of the header: its records have no key.
func CheckHeader(m Making, key string, schema *identitycloud.Schema) error {
	if GivesKey(m, key) {
		return nil
	}
	root := newShape(schema)
	meant, known := 0, false
	m.Made(func(attribute string, column int) {
		n := root.at(attribute)
		switch {
		case schema != nil && n != nil && !n.reserved:
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
	return errors.New(noKey(key))
}

func noKey(key string) string {
	return fmt.Sprintf("no column gives the primary key, %s, and the target's schema is not known; expected attribute names on the first line; put a header there, name the attributes in a mapping (docs/mapping.md), or give another --primary-key", key)
}

// seemsToMean says that a name differs from the primary key's in case, accents and punctuation only, in a few letters, or
// in words before or after it.
func seemsToMean(name, key string) bool {
	bare, bareKey := letters(name), letters(key)
	return bare != "" && (bare == bareKey || suggest.Name(bare, []string{bareKey}) != "" || len(bareKey) > 3 && strings.Contains(bare, bareKey))
}

// letters are the letters and digits of a name, in lower case and without accents.
func letters(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, norm.NFKD.String(name))
}
