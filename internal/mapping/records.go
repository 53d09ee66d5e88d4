package mapping

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// FieldError is the reason why a record cannot be converted to JSON. Its text names the column and the rule, and never
// contains the value, so it may be logged. The caller adds the line.
type FieldError struct {
	Column string // the header's name; "" for an attribute that is not made from one column
	Rule   string // the part of the mapping that failed, as "type date"
	Reason string
}

func (e *FieldError) Error() string {
	if e.Column == "" {
		return e.Rule + ": " + e.Reason
	}
	return fmt.Sprintf("%s (%s): %s", e.Column, e.Rule, e.Reason)
}

// Records converts the records with one header to JSON. It is safe for concurrent use.
type Records struct {
	columns int
	record  object
	reads   map[int]bool // the columns that are not left out
	tables  []table
}

// table is a leaf that may lose values.
type table struct {
	attribute string
	leaf      *leaf
}

// object is a JSON object to be: its members in the order in which the header, and then the mapping, first name them.
type object struct {
	members []member
	at      map[string]int // by name; a header may have many columns
}

type member struct {
	name   string
	key    []byte  // the name as JSON, with the colon
	leaf   *leaf   // of a value
	object *object // of an object
}

// leaf computes the value of one attribute, from one cell (append) or from the whole record (row).
type leaf struct {
	column int
	append appendValue
	row    func(dst []byte, fields []string) ([]byte, error)

	name      string // of the column, for errors; "" if there is none
	rule      string // for errors
	source    string // what it is made from, for messages about the mapping
	line      int    // in the mapping file, 0 for a column that is not mentioned
	unchanged bool   // the value is the cell, except for surrounding space and case

	// replaced reports whether the rule does not know the value of a cell and replaces it by null or another value.
	// It is nil if the rule loses nothing.
	replaced func(value string) bool
	instead  string // known values, and the treatment of others, for messages
}

// stepError is an error of a step that has a better name than the type of its rule.
type stepError struct{ step, reason string }

func (e *stepError) Error() string { return e.reason }

// add adds an attribute. If its path is taken it returns the existing leaf.
func (o *object) add(path []string, l *leaf) (conflict *leaf) {
	last := len(path) == 1
	at, ok := o.at[path[0]]
	if !ok {
		key, err := appendString(nil, path[0])
		if err != nil {
			return l
		}
		m := member{name: path[0], key: append(key, ':')}
		if last {
			m.leaf = l
		} else {
			m.object = &object{}
		}
		if o.at == nil {
			o.at = map[string]int{}
		}
		at = len(o.members)
		o.at[path[0]] = at
		o.members = append(o.members, m)
	} else if m := &o.members[at]; last || m.leaf != nil {
		return m.first()
	}
	if last {
		return nil
	}
	return o.members[at].object.add(path[1:], l)
}

// first is the first value at or below a member.
func (m *member) first() *leaf {
	if m.leaf != nil {
		return m.leaf
	}
	return m.object.members[0].first()
}

// find returns the leaf of an attribute, by its path with dots; nil if it has none.
func (o *object) find(attribute string) *leaf {
	name, rest, nested := strings.Cut(attribute, ".")
	at, ok := o.at[name]
	switch {
	case !ok:
		return nil
	case !nested:
		return o.members[at].leaf
	case o.members[at].object == nil:
		return nil
	}
	return o.members[at].object.find(rest)
}

// AppendJSON appends one JSON object for a record with its fields in the order of the header. Its members are in that
// order too, those of an object together at the position of the first one, followed by the attributes without a column.
// Characters are escaped only if JSON requires it. The error is a *FieldError for an invalid value; dst is then returned
// unchanged.
func (r *Records) AppendJSON(dst []byte, fields []string) ([]byte, error) {
	if len(fields) != r.columns {
		return dst, fmt.Errorf("%d fields for %d columns", len(fields), r.columns)
	}
	out, err := r.record.appendJSON(dst, fields)
	if err != nil {
		return dst, err
	}
	return out, nil
}

func (o *object) appendJSON(dst []byte, fields []string) ([]byte, error) {
	dst = append(dst, '{')
	for i := range o.members {
		m := &o.members[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, m.key...)
		var err error
		if m.leaf == nil {
			dst, err = m.object.appendJSON(dst, fields)
		} else {
			dst, err = m.leaf.appendJSON(dst, fields)
		}
		if err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

func (l *leaf) appendJSON(dst []byte, fields []string) ([]byte, error) {
	var err error
	if l.append != nil {
		dst, err = l.append(dst, fields[l.column])
	} else {
		dst, err = l.row(dst, fields)
	}
	if err == nil {
		return dst, nil
	}
	f := &FieldError{Column: l.name, Rule: l.rule, Reason: err.Error()}
	if step := (*stepError)(nil); errors.As(err, &step) {
		f.Rule = step.step
	}
	if f.Column == "" {
		f.Rule = l.source + ", " + f.Rule
	}
	return nil, f
}

// Key finds the column with the value of an attribute, unchanged except for surrounding space and case.
func (r *Records) Key(attribute string) (column int, ok bool) {
	l := r.record.find(attribute)
	if l == nil || !l.unchanged {
		return 0, false
	}
	return l.column, true
}

// KeyValue returns the text of an attribute as it is sent, by which the record can be looked up. It is "" if the
// attribute is missing, is not text, or cannot be computed from these fields.
func (r *Records) KeyValue(attribute string, fields []string) string {
	l := r.record.find(attribute)
	if l == nil || len(fields) != r.columns {
		return ""
	}
	text, err := l.appendJSON(nil, fields)
	if err != nil {
		return ""
	}
	return stringOf(text)
}

// Keyless reports whether the record is sent without a value of the attribute by which the target could identify it:
// without the attribute, with null, with blank text (space, and invisible characters, which a target may trim), or with
// a value that is neither text nor a number. Fields from which the attribute cannot be computed are not sent, and so not
// keyless.
func (r *Records) Keyless(attribute string, fields []string) bool {
	l := r.record.find(attribute)
	if l == nil || len(fields) != r.columns {
		return l == nil
	}
	if l.unchanged && isVisible(fields[l.column]) {
		return false // as is the text that is made of it
	}
	value, err := l.appendJSON(nil, fields)
	switch {
	case err != nil:
		return false
	case len(value) > 0 && value[0] == '"':
		return !isVisible(stringOf(value))
	}
	return len(value) == 0 || value[0] != '-' && (value[0] < '0' || value[0] > '9')
}

// isVisible reports whether a text has a character that is more than space.
func isVisible(text string) bool {
	return strings.ContainsFunc(text, func(c rune) bool { return unicode.IsPrint(c) && c != ' ' })
}

// First is the value of the first of these attributes that has one, as in the input if it is sent unchanged; "" if none
// has. It identifies a record for people.
func (r *Records) First(fields []string, attributes ...string) string {
	for _, attribute := range attributes {
		if column, ok := r.Key(attribute); ok && column < len(fields) {
			return fields[column]
		}
		if value := r.KeyValue(attribute, fields); value != "" {
			return value
		}
	}
	return ""
}

// Has reports whether the mapping provides this attribute.
func (r *Records) Has(attribute string) bool {
	return r.record.find(attribute) != nil
}

// Made yields each attribute with a value, and the column that it comes from; -1 if it comes from no column, or from
// several.
func (r *Records) Made(tell func(attribute string, column int)) { r.record.made(tell, "") }

func (o *object) made(tell func(string, int), prefix string) {
	for _, m := range o.members {
		if m.leaf == nil {
			m.object.made(tell, prefix+m.name+".")
		} else {
			tell(prefix+m.name, m.leaf.column)
		}
	}
}

// Reads reports whether a column is used.
func (r *Records) Reads(column int) bool { return r.reads[column] }

// Replaced yields the attributes whose cells have values unknown to the mapping, which are replaced: for WAHR instead of
// true nothing is sent. expected is for messages, and depends only on the mapping.
func (r *Records) Replaced(fields []string, tell func(attribute, expected string)) {
	for _, t := range r.tables {
		if t.leaf.column < len(fields) && t.leaf.replaced(fields[t.leaf.column]) {
			tell(t.attribute, t.leaf.instead)
		}
	}
}
