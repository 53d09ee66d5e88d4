// Package transform makes of a CSV record the JSON object that the API wants, with the results of dataload.py.
//
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
package transform

import (
	"fmt"
	"slices"
	"strings"
)

// FieldError is the reason why a record cannot be made into JSON. Its text names the column and never holds the value,
// so it may be logged.
type FieldError struct {
	Column string // the header's name
	Reason string
}

func (e *FieldError) Error() string { return fmt.Sprintf("%s: %s", e.Column, e.Reason) }

// Transformer makes JSON of the records below one header. It is safe for concurrent use.
type Transformer struct {
	names  []string
	record object
}

// object is a JSON object to be: its members in the order in which the header first names them.
type object []member

type member struct {
	name    string
	key     []byte // the name as JSON, with the colon
	column  int    // of a value
	append  appendValue
	members object // of an object; then column and append are unused
}

// appendValue appends the JSON of one value.
type appendValue func(dst []byte, value string) ([]byte, error)

// columns holds the transformations of dataload.py; dataload_import.py adds them by these names.
var columns = map[string]appendValue{
	"password":     appendPassword,
	"birthday":     appendDate,
	"gender":       appendGender,
	"optIn.status": appendBoolean,
	"clients":      appendPlural,
}

// New prepares for records with these columns. It refuses a name that is there twice, and one that is a value and an
// object, as a with a.b: no JSON object can hold both.
func New(header []string) (*Transformer, error) {
	t := &Transformer{names: slices.Clone(header)}
	for i, name := range header {
		transformation, ok := columns[name]
		if !ok {
			transformation = appendText
		}
		if !t.record.add(strings.Split(name, "."), i, transformation) {
			return nil, fmt.Errorf("column %d, %q, is named twice, or is a value and an object; expected each name once; rename or remove one", i+1, name)
		}
	}
	return t, nil
}

// add gives the value of a column its place, and says that there is one.
func (o *object) add(path []string, column int, f appendValue) bool {
	at := slices.IndexFunc(*o, func(m member) bool { return m.name == path[0] })
	leaf := len(path) == 1
	if at < 0 {
		key, err := appendString(nil, path[0])
		if err != nil {
			return false
		}
		m := member{name: path[0], key: append(key, ':'), column: column}
		if leaf {
			m.append = f
		}
		*o = append(*o, m)
		at = len(*o) - 1
	} else if leaf || (*o)[at].append != nil {
		return false
	}
	return leaf || (*o)[at].members.add(path[1:], column, f)
}

// AppendJSON appends one JSON object: the record whose fields are in the order of the header. Its members are in that
// order too, those of an object together where the first one stands. Characters are written as they are, and escaped
// only where JSON wants it. The error is a *FieldError for a value that cannot be used; dst is then returned as it was.
func (t *Transformer) AppendJSON(dst []byte, fields []string) ([]byte, error) {
	if len(fields) != len(t.names) {
		return dst, fmt.Errorf("%d fields for %d columns", len(fields), len(t.names))
	}
	out, err := t.record.appendJSON(dst, t.names, fields)
	if err != nil {
		return dst, err
	}
	return out, nil
}

func (o object) appendJSON(dst []byte, names, fields []string) ([]byte, error) {
	dst = append(dst, '{')
	for i, m := range o {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, m.key...)
		var err error
		if m.append == nil {
			if dst, err = m.members.appendJSON(dst, names, fields); err != nil {
				return nil, err
			}
		} else if dst, err = m.append(dst, fields[m.column]); err != nil {
			return nil, &FieldError{Column: names[m.column], Reason: err.Error()}
		}
	}
	return append(dst, '}'), nil
}

// Key finds a column, such as the primary key's, by the name in the header; dots are part of it.
func (t *Transformer) Key(name string) (index int, ok bool) {
	index = slices.Index(t.names, name)
	return index, index >= 0
}
