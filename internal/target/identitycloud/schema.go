package identitycloud

import (
	"slices"

	"durable-dataload/internal/target"
)

// Schema is the schema of an entity type, and Attribute one attribute of it.
type (
	Schema    = target.Schema
	Attribute = target.Attribute
)

// SystemAttributes are the attributes that the platform sets itself. created may be given to a new record; none may be
// changed. Source: "system generated" on Akamai's page on entity.create.
var SystemAttributes = []string{"id", "uuid", "created", "lastUpdated"}

// Refuses reports whether the platform refuses a value of this top-level attribute in a new record.
func Refuses(attribute string) bool {
	return attribute != "created" && slices.Contains(SystemAttributes, attribute)
}

// Takes reports whether a new record of a schema may have a value at a path. Paths into plurals are not accepted.
func Takes(s Schema, path string) bool {
	_, ok := s.At(path)
	return ok && !Refuses(path)
}

// DefaultKey is the unique attribute of the platform's default schema.
const DefaultKey = "email"
