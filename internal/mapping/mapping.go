// Package mapping converts a CSV record into the JSON object for the API, as configured by a mapping file: a YAML file
// that assigns each column its attribute, its type and transformations. docs/mapping.md describes every key.
//
// Without a file the built-in one applies (default.yaml, see Default). It gives the results of dataload.py.
// Source: transformations.py, reader.py (transform) and utils.py (expand_objects) of github.com/janrain/dataload at
// 9ad68c6. The columns password, birthday, gender, optIn.status and clients are transformed, by name; in all others
// an empty value is null and every other value stays a string, spaces included. A dotted name becomes a member of an
// object, which exists even if all of its members are null.
//
// The results are those of dataload.py, value by value, with these exceptions:
//
//   - A password that begins like a JSON object or array and is not valid JSON fails its record. dataload.py takes it for
//     plain text, so the user's password becomes a broken hash.
//   - A password that is a JSON number, true, false or NaN is plain text. dataload.py makes 123456 a number and 1e3
//     the number 1000, and the user is locked out.
//   - An invalid birthday or clients, and NaN and Infinity in JSON, fail their record. dataload.py ends the run, or
//     sends a call that is refused as a whole.
//   - A birthday before the year 1000 has four digits of year. dataload.py gives as many as the C library does.
//   - A birthday in digits other than 0 to 9 fails its record. dataload.py accepts some of them in some positions.
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

// Mapping is a parsed mapping file, not yet bound to the columns of an input. It is safe for concurrent use.
type Mapping struct {
	name        string // of the file, for messages
	others      string // what happens to columns that are not mentioned
	mayMiss     bool   // a column that is listed and missing is not an error
	columns     []*columnRules
	attributes  []*rule
	mentioned   map[string]*columnRules
	saltColumns map[string]bool
}

// columnRules are the rules of one column: one for each attribute, none to ignore the column.
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

// rule describes how the value of one attribute is computed.
type rule struct {
	line   int
	column string // "" for one of `attributes:`
	to     string // the attribute's path

	// The source, if it is not the unchanged column.
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
	fallback     *string // replaces an empty cell
	values       map[string]*string
	ignoreCase   bool
	otherwise    otherwise

	typ  string // "" is string, or the type of the expression
	kind kind
}

// otherwise is the treatment of a value that is not in the table.
type otherwise struct {
	what  string // keep, null, fail, or value
	value string
}

// splitting splits a value into parts, each with its own rule.
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
