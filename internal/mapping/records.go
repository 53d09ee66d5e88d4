package mapping

import (
	"fmt"
	"slices"
	"strings"
)

// FieldError is the reason why a record cannot be made into JSON. Its text names the column and the rule, and never
// holds the value, so it may be logged. The line is the caller's to add.
type FieldError struct {
	Column string // the header's name; "" for an attribute that is not made from one column
	Rule   string // the part of the mapping that could not be followed, as "type date"
	Reason string
}

func (e *FieldError) Error() string {
	if e.Column == "" {
		return e.Rule + ": " + e.Reason
	}
	return fmt.Sprintf("%s (%s): %s", e.Column, e.Rule, e.Reason)
}

// Records makes JSON of the records below one header. It is safe for concurrent use.
type Records struct {
	columns int
	record  object
}

// object is a JSON object to be: its members in the order in which the header, and then the mapping, first name them.
type object []member

type member struct {
	name    string
	key     []byte // the name as JSON, with the colon
	leaf    *leaf  // of a value
	members object // of an object
}

// leaf makes the value of one attribute, from one cell (append) or from the whole record (row).
type leaf struct {
	column int
	append appendValue
	row    func(dst []byte, fields []string) ([]byte, error)

	name      string // of the column, for errors; "" if there is none
	rule      string // for errors
	source    string // what it is made from, for messages about the mapping
	line      int    // in the mapping file, 0 for a column that is not mentioned
	unchanged bool   // the value is the cell as it stands, but for space around it and case
	plural    bool
}

// stepError is an error of a step that has a better name than the type of its rule.
type stepError struct{ step, reason string }

func (e *stepError) Error() string { return e.reason }

// add gives an attribute its place. Where it has none it gives the leaf that is there.
func (o *object) add(path []string, l *leaf) (conflict *leaf) {
	at := slices.IndexFunc(*o, func(m member) bool { return m.name == path[0] })
	last := len(path) == 1
	if at < 0 {
		key, err := appendString(nil, path[0])
		if err != nil {
			return l
		}
		m := member{name: path[0], key: append(key, ':')}
		if last {
			m.leaf = l
		}
		*o = append(*o, m)
		at = len(*o) - 1
	} else if m := (*o)[at]; last || m.leaf != nil {
		return m.first()
	}
	if last {
		return nil
	}
	return (*o)[at].members.add(path[1:], l)
}

// first is the first value at or below a member.
func (m *member) first() *leaf {
	if m.leaf != nil {
		return m.leaf
	}
	return m.members[0].first()
}

// find gives the leaf of an attribute, nil if it has none.
func (o object) find(path []string) *leaf {
	for i := range o {
		if o[i].name != path[0] {
			continue
		}
		if len(path) == 1 || o[i].leaf != nil {
			if len(path) > 1 {
				return nil
			}
			return o[i].leaf
		}
		return o[i].members.find(path[1:])
	}
	return nil
}

// AppendJSON appends one JSON object: the record whose fields are in the order of the header. Its members are in that
// order too, those of an object together where the first one stands; then come the attributes that the mapping makes
// itself. Characters are written as they are, and escaped only where JSON wants it. The error is a *FieldError for a
// value that cannot be used; dst is then returned as it was.
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

func (o object) appendJSON(dst []byte, fields []string) ([]byte, error) {
	dst = append(dst, '{')
	for i := range o {
		m := &o[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, m.key...)
		var err error
		if m.leaf == nil {
			dst, err = m.members.appendJSON(dst, fields)
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
	if step, ok := err.(*stepError); ok {
		f.Rule = step.step
	}
	if f.Column == "" {
		f.Rule = l.source + ", " + f.Rule
	}
	return nil, f
}

// Key finds the column that gives an attribute its value unchanged, or changed in nothing but the space around it and
// its case.
func (r *Records) Key(attribute string) (column int, ok bool) {
	l := r.record.find(strings.Split(attribute, "."))
	if l == nil || !l.unchanged {
		return 0, false
	}
	return l.column, true
}

// KeyValue gives the text of an attribute as it is sent, by which the record can be looked up. It is "" for an
// attribute that is not there, is no text, or cannot be made from these fields.
func (r *Records) KeyValue(attribute string, fields []string) string {
	l := r.record.find(strings.Split(attribute, "."))
	if l == nil || len(fields) != r.columns {
		return ""
	}
	text, err := l.appendJSON(nil, fields)
	if err != nil {
		return ""
	}
	return stringOf(text)
}

// Plurals gives the paths of the attributes that are plurals, in the order in which they are sent.
func (r *Records) Plurals() []string { return r.record.plurals(nil, "") }

func (o object) plurals(all []string, prefix string) []string {
	for _, m := range o {
		switch {
		case m.leaf == nil:
			all = m.members.plurals(all, prefix+m.name+".")
		case m.leaf.plural:
			all = append(all, prefix+m.name)
		}
	}
	return all
}

// First is the value, as it stands in the input where that is what is sent, of the first of these attributes that has
// one; "" if none has. It is what a person recognizes a record by.
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

// Has says whether the mapping makes this attribute.
func (r *Records) Has(attribute string) bool {
	return r.record.find(strings.Split(attribute, ".")) != nil
}
