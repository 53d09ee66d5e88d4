package target

import (
	"slices"
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
