package identitycloud

import "slices"

// Schema is what an entity type says of its records.
type Schema struct {
	Name       string      `json:"name"`
	Attributes []Attribute `json:"attr_defs"`
}

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

// Has says whether the attribute has a constraint.
func (a Attribute) Has(constraint string) bool { return slices.Contains(a.Constraints, constraint) }
