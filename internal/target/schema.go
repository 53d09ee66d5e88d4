package target

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Schema has the attributes of a target's records, in the form of a record of the input.
type Schema struct {
	Name       string      `json:"name"`
	Attributes []Attribute `json:"attr_defs"`
}

// Attribute is one attribute of a schema. Objects and plurals have attributes of their own.
type Attribute struct {
	Name string `json:"name"`
	// Type is one of string, boolean, integer, decimal, date, dateTime, ipAddress, json, object, plural (a list), password
	// (also password-bcrypt and so on), id, uuid.
	Type string `json:"type"`
	// Length is the greatest number of characters, 0 if there is no limit.
	Length int `json:"length,omitempty"`
	// CaseSensitive is false where the attribute is compared without case; nil where the schema does not say.
	CaseSensitive *bool `json:"case-sensitive,omitempty"`
	// Constraints are names such as required, unique, locally-unique, email-address.
	Constraints []string `json:"constraints,omitempty"`
	// Format is the form of dates: "rfc3339", or "" for that of the Identity Cloud. Adapters set it.
	Format     string      `json:"-"`
	Attributes []Attribute `json:"attr_defs,omitempty"`
}

// UnmarshalJSON reads an attribute. A length, a case-sensitive or a constraint in a form that is not known counts as not
// given, and a number or a boolean may be a text: one detail of one attribute must not hide the rest of the schema.
func (a *Attribute) UnmarshalJSON(data []byte) error {
	var wire struct {
		Name          string          `json:"name"`
		Type          string          `json:"type"`
		Length        any             `json:"length"`
		CaseSensitive any             `json:"case-sensitive"`
		Constraints   any             `json:"constraints"`
		Attributes    json.RawMessage `json:"attr_defs"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	*a = Attribute{Name: wire.Name, Type: wire.Type}
	switch length := wire.Length.(type) {
	case float64:
		if length >= 0 && length < maxLength {
			a.Length = int(length)
		}
	case string:
		if n, err := strconv.ParseUint(length, 10, 31); err == nil {
			a.Length = int(n)
		}
	}
	switch is := wire.CaseSensitive.(type) {
	case bool:
		a.CaseSensitive = &is
	case string:
		if is, err := strconv.ParseBool(strings.ToLower(is)); err == nil {
			a.CaseSensitive = &is
		}
	}
	constraints, _ := wire.Constraints.([]any)
	for _, c := range constraints {
		if name, ok := c.(string); ok {
			a.Constraints = append(a.Constraints, name)
		}
	}
	if len(wire.Attributes) == 0 {
		return nil
	}
	return json.Unmarshal(wire.Attributes, &a.Attributes)
}

// maxLength bounds a length; a number from here on is no limit.
const maxLength = 1 << 31

// Has reports whether the attribute has a constraint.
func (a Attribute) Has(constraint string) bool { return slices.Contains(a.Constraints, constraint) }

// Each passes on all attributes with their paths, also those in objects and plurals.
func (s Schema) Each(tell func(path string, a Attribute)) { each(s.Attributes, "", tell) }

func each(attributes []Attribute, prefix string, tell func(path string, a Attribute)) {
	for _, a := range attributes {
		tell(prefix+a.Name, a)
		each(a.Attributes, prefix+a.Name+".", tell)
	}
}

// Unique returns the paths of the unique attributes, in the order of the schema, without those in plurals.
func (s Schema) Unique() []string { return unique(s.Attributes, "") }

func unique(attributes []Attribute, prefix string) (paths []string) {
	for _, a := range attributes {
		switch {
		case a.Has("unique"):
			paths = append(paths, prefix+a.Name)
		case a.Type == "object":
			paths = append(paths, unique(a.Attributes, prefix+a.Name+".")...)
		}
	}
	return paths
}

// At returns the attribute at a path, without those in plurals. An object without attributes has any; it is returned for
// every path below it.
func (s Schema) At(path string) (Attribute, bool) { return at(s.Attributes, path) }

func at(attributes []Attribute, path string) (Attribute, bool) {
	name, rest, nested := strings.Cut(path, ".")
	i := slices.IndexFunc(attributes, func(a Attribute) bool { return a.Name == name })
	switch {
	case i < 0:
		return Attribute{}, false
	case !nested:
		return attributes[i], true
	case attributes[i].Type != "object":
		return Attribute{}, false
	case len(attributes[i].Attributes) == 0:
		return attributes[i], true
	}
	return at(attributes[i].Attributes, rest)
}
