// Package mapping makes of a CSV record the JSON object that the API wants, as a mapping file says: a YAML file in which
// a column is given its attribute, its type and what else has to be done to its values. docs/mapping.md has every key.
//
// Without a file the built-in one holds (default.yaml, see Default). It has the results of dataload.py.
// Source: transformations.py, reader.py (transform) and utils.py (expand_objects) of github.com/janrain/dataload at
// 9ad68c6. The columns password, birthday, gender, optIn.status and clients are transformed, by name; of the others
// an empty one is null and every other value stays a string, spaces included. A dotted name becomes a member of an
// object, which is there even if all of its members are null.
//
// dataload.py is followed to the value, with these exceptions:
//
//   - A password that starts like a JSON object or array and is not JSON fails its record. dataload.py takes it for
//     plain text, and what the user gets for a password is a broken hash.
//   - A password that is a JSON number, true, false or NaN is plain text. dataload.py makes 123456 a number and 1e3
//     the number 1000, and the user is locked out.
//   - A birthday, clients, or NaN and Infinity in JSON, that cannot be used, fail their record. dataload.py ends the
//     run, or sends a call that is refused as a whole.
//   - A birthday before the year 1000 has four digits of year. dataload.py gives as many as the C library does.
//   - A birthday in other digits than 0 to 9 fails its record. dataload.py takes some of them, in some places.
package mapping

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"durable-dataload/internal/suggest"
)

//go:embed default.yaml
var defaultYAML []byte

// Default is the built-in mapping as a mapping file, with comments.
func Default() []byte { return slices.Clone(defaultYAML) }

// Mapping is a mapping file that was read. It does not know the columns of an input yet. It is safe for concurrent use.
type Mapping struct {
	name        string // of the file, for messages
	others      string // what happens to columns that are not mentioned
	mayMiss     bool   // a column that is mentioned and not there is no error
	columns     []*columnRules
	attributes  []*rule
	mentioned   map[string]*columnRules
	saltColumns map[string]bool
}

// columnRules are what a mapping says of one column: a rule for each attribute that it goes to, none to leave it out.
type columnRules struct {
	column string
	line   int
	rules  []*rule
}

// What happens to columns that are not mentioned.
const (
	othersDefault = "default" // as without a mapping file
	othersText    = "text"
	othersIgnore  = "ignore"
	othersFail    = "fail"
)

// builtIn are the rules of the built-in mapping by column, for `others: default`.
var builtIn = sync.OnceValue(func() map[string]*columnRules {
	m, err := Parse("", defaultYAML)
	if err != nil {
		panic(err) // it is compiled in
	}
	return m.mentioned
})

// rule says how the value of one attribute is made.
type rule struct {
	line   int
	column string // "" for one of `attributes:`
	to     string // the attribute's path

	// The source, if it is not the column as it stands.
	constant   []byte // JSON
	join       []string
	with       string
	expression string
	split      *splitting

	// What is done to the text, in this order; then the expression; then empty, values and type.
	trim      bool
	normalize string
	letters   string

	blankIsEmpty bool
	fallback     *string // stands for an empty cell
	values       map[string]*string
	ignoreCase   bool
	otherwise    otherwise

	typ  string // "" is string, or what the expression gives
	kind kind
}

// otherwise is what becomes of a value that a table does not have.
type otherwise struct {
	what  string // keep, null, fail, or value
	value string
}

// splitting cuts a value into parts, each with a rule of its own.
type splitting struct {
	at    string
	parts []part
}

// part is one part of a value, by its number from 0. The last of a list has all that comes after it too.
type part struct {
	number int
	rest   bool
	rule   *rule
}

// where names a rule in messages about the mapping file.
func (r *rule) where() string {
	if r.column == "" {
		return fmt.Sprintf("the attribute %q", r.to)
	}
	return fmt.Sprintf("the column %q", r.column)
}

// name is what a FieldError calls the rule, unless a step of it has a better name.
func (r *rule) name() string {
	switch {
	case r.typ != "":
		return "type " + r.typ
	case r.join != nil:
		return "join"
	case r.expression != "":
		return "expression"
	}
	return "type string"
}

// path is the attribute's path, name by name.
func (r *rule) path() []string { return strings.Split(r.to, ".") }

// didYouMean is the end of a message about an unknown name.
func didYouMean(name string, candidates []string) string {
	if n := suggest.Name(name, candidates); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return ""
}
