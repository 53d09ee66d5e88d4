package identitycloud

import (
	"slices"
	"strings"
)

// Schema is the schema of an entity type.
type Schema struct {
	Name       string      `json:"name"`
	Attributes []Attribute `json:"attr_defs"`
}

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

// SystemAttributes are the attributes that the platform sets itself. created may be given to a new record; none may be
// changed. Source: "system generated" on Akamai's page on entity.create.
var SystemAttributes = []string{"id", "uuid", "created", "lastUpdated"}

// Refuses reports whether the platform refuses a value of this top-level attribute in a new record.
func Refuses(attribute string) bool {
	return attribute != "created" && slices.Contains(SystemAttributes, attribute)
}

// Takes reports whether a new record may have a value at a path. Paths into plurals are not accepted.
func (s Schema) Takes(path string) bool { return !Refuses(path) && takes(s.Attributes, path) }

func takes(attributes []Attribute, path string) bool {
	name, rest, nested := strings.Cut(path, ".")
	i := slices.IndexFunc(attributes, func(a Attribute) bool { return a.Name == name })
	switch {
	case i < 0:
		return false
	case !nested:
		return true
	}
	a := attributes[i]
	return a.Type == "object" && (len(a.Attributes) == 0 || takes(a.Attributes, rest))
}

// DefaultKey is the unique attribute of the platform's default schema.
const DefaultKey = "email"

// Attribute is one attribute of a schema. Objects and plurals have attributes
// of their own.
type Attribute struct {
	Name string `json:"name"`
	// Type is one of string, boolean, integer, decimal, date, dateTime,
	// ipAddress, json, object, plural, password (also password-bcrypt and so
	// on), id, uuid.
	Type string `json:"type"`
	// Length is the greatest number of characters, 0 if there is no limit.
	Length int `json:"length,omitempty"`
	// CaseSensitive is false where the attribute is compared without case; nil
	// where the schema does not say.
	CaseSensitive *bool `json:"case-sensitive,omitempty"`
	// Constraints are names such as required, unique, locally-unique,
	// email-address.
	Constraints []string    `json:"constraints,omitempty"`
	Attributes  []Attribute `json:"attr_defs,omitempty"`
}

// Has reports whether the attribute has a constraint.
func (a Attribute) Has(constraint string) bool { return slices.Contains(a.Constraints, constraint) }
