// Package export makes rows of a CSV file from the records of a target: the reverse of package mapping, for files that the
// program loads.
package export

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"durable-dataload/internal/suggest"
	"durable-dataload/internal/target"
)

// Column is a column of the file.
type Column struct {
	Path string `json:"path"` // its name: the path of the attribute
	// Attribute is that of the schema; only Name is set where the schema is not known.
	Attribute target.Attribute `json:"attribute"`
}

// Columns returns the columns for the attributes that are asked for, in their order; for all attributes of the schema where
// none are. An object has a column for each of its attributes, a plural has one. The attribute id comes first in either case,
// so that each row says whose it is.
//
// A schema without a name is not known: then the attributes must be named, and each is a column.
func Columns(schema target.Schema, id string, asked []string) (columns []Column, err error) {
	isKnown := schema.Name != ""
	if !isKnown && len(asked) == 0 {
		return nil, fmt.Errorf("the target does not tell the attributes to this client; expected their names, in --attributes")
	}
	add := func(path string, a target.Attribute) {
		if !slices.ContainsFunc(columns, func(c Column) bool { return c.Path == path }) {
			columns = append(columns, Column{path, a})
		}
	}
	add(id, target.Attribute{Name: id})
	if len(asked) == 0 {
		for _, a := range schema.Attributes {
			asked = append(asked, a.Name)
		}
	}
	for _, path := range asked {
		a, ok := schema.At(path)
		switch {
		case !isKnown:
			a = target.Attribute{Name: path}
		case !ok:
			return nil, unknownAttribute(schema, path)
		}
		leaves(path, a, add)
	}
	return columns, nil
}

// leaves passes on an attribute, or those of an object.
func leaves(path string, a target.Attribute, add func(string, target.Attribute)) {
	if a.Type != "object" || len(a.Attributes) == 0 {
		add(path, a)
		return
	}
	for _, inner := range a.Attributes {
		leaves(path+"."+inner.Name, inner, add)
	}
}

func unknownAttribute(schema target.Schema, path string) error {
	var known []string
	schema.Each(func(path string, _ target.Attribute) {
		if _, ok := schema.At(path); ok {
			known = append(known, path)
		}
	})
	hint := ""
	if near := suggest.Name(path, known); near != "" {
		hint = fmt.Sprintf("; did you mean %s?", near)
	}
	return fmt.Errorf("--attributes names %q, which %s does not have; expected names as in its schema, with dots in objects (primaryAddress.city)%s", path, schema.Name, hint)
}

// Roots are the top-level attributes of the columns.
func Roots(columns []Column) (names []string) {
	for _, c := range columns {
		name, _, _ := strings.Cut(c.Path, ".")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Names are the names of the columns.
func Names(columns []Column) (names []string) {
	for _, c := range columns {
		names = append(names, c.Path)
	}
	return names
}

// Passwords are the columns with passwords.
func Passwords(columns []Column) (paths []string) {
	for _, c := range columns {
		if c.isPassword() {
			paths = append(paths, c.Path)
		}
	}
	return paths
}

func (c Column) isPassword() bool {
	return strings.HasPrefix(c.Attribute.Type, "password") || c.Attribute.Type == "" && c.Path == "password"
}

// Row encodes a record as a row of the file, with its line end. An attribute without a value is an empty cell, and so is an
// empty plural. Text, numbers and dates are as the target has them; lists and other objects are JSON, those of plurals without the
// ids that the target gives to elements, and refuses in new records, and without attributes that have no value.
func Row(columns []Column, attributes map[string]json.RawMessage) ([]byte, error) {
	cells := make([]string, len(columns))
	for i, c := range columns {
		var err error
		if cells[i], err = c.cell(at(attributes, c.Path)); err != nil {
			return nil, err
		}
	}
	return Line(cells)
}

// Line encodes cells as a row, with its line end.
func Line(cells []string) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	err := w.Write(cells)
	w.Flush()
	return b.Bytes(), err
}

// at is the value at a path, nil if there is none.
func at(attributes map[string]json.RawMessage, path string) json.RawMessage {
	name, rest, isDeeper := strings.Cut(path, ".")
	value := attributes[name]
	if !isDeeper {
		return value
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(value, &members) != nil {
		return nil
	}
	return at(members, rest)
}

func (c Column) cell(value json.RawMessage) (string, error) {
	value = bytes.TrimSpace(value)
	switch {
	case len(value) == 0 || string(value) == "null" || c.Attribute.Type == "plural" && isEmpty(value):
		return "", nil
	case c.isPassword():
		return password(value)
	case c.Attribute.Type == "json": // a text too, or "5" would be loaded as 5
		return compact(value)
	case value[0] == '"':
		var text string
		err := json.Unmarshal(value, &text)
		return text, err
	case value[0] != '[' && value[0] != '{':
		return string(value), nil
	case c.Attribute.Type == "plural" || c.Attribute.Type == "object":
		return encoded(withoutIDs(value, c.Attribute))
	}
	return compact(value)
}

func isEmpty(list json.RawMessage) bool {
	var elements []json.RawMessage
	return json.Unmarshal(list, &elements) == nil && len(elements) == 0
}

// password is a hash as JSON, without the time at which it was set, which belongs to the target. Anything else is not shown:
// a text would be loaded as a password in plain text.
func password(value json.RawMessage) (string, error) {
	if !target.IsHash(value) {
		return "", nil
	}
	var members map[string]json.RawMessage
	err := json.Unmarshal(value, &members)
	delete(members, "created")
	return encoded(members, err)
}

// withoutIDs removes the ids of the elements of plurals, and of plurals within them, and the attributes without a value. A value
// that is not of the type of the schema stays as it is.
func withoutIDs(value json.RawMessage, a target.Attribute) (any, error) {
	switch a.Type {
	case "plural":
		var elements []map[string]json.RawMessage
		if json.Unmarshal(value, &elements) != nil {
			return value, nil //nolint:nilerr // see above
		}
		for _, e := range elements {
			delete(e, "id")
			if err := membersWithoutIDs(e, a); err != nil {
				return nil, err
			}
		}
		return elements, nil
	case "object":
		var members map[string]json.RawMessage
		if json.Unmarshal(value, &members) != nil {
			return value, nil //nolint:nilerr // see above
		}
		return members, membersWithoutIDs(members, a)
	}
	return value, nil
}

func membersWithoutIDs(members map[string]json.RawMessage, a target.Attribute) error {
	for _, inner := range a.Attributes {
		value, ok := members[inner.Name]
		if string(value) == "null" || inner.Type == "plural" && isEmpty(value) {
			delete(members, inner.Name)
			continue
		}
		if !ok || inner.Type != "plural" && inner.Type != "object" {
			continue
		}
		stripped, err := withoutIDs(value, inner)
		if err != nil {
			return err
		}
		if members[inner.Name], err = target.Marshal(stripped); err != nil {
			return err
		}
		if string(members[inner.Name]) == "{}" {
			delete(members, inner.Name)
		}
	}
	return nil
}

func encoded(value any, err error) (string, error) {
	if err != nil {
		return "", err
	}
	text, err := target.Marshal(value)
	return string(text), err
}

func compact(value json.RawMessage) (string, error) {
	var b bytes.Buffer
	err := json.Compact(&b, value)
	return b.String(), err
}
