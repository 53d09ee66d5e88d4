package identitycloud

import "durable-dataload/internal/target"

// Schema is the schema of an entity type, and Attribute one attribute of it.
type (
	Schema    = target.Schema
	Attribute = target.Attribute
)

// SystemAttributes are the attributes that the platform sets itself. created may be given to a new record; none may be
// changed. Source: "system generated" on Akamai's page on entity.create.
var SystemAttributes = []string{"id", "uuid", "created", "lastUpdated"}

// DefaultKey is the unique attribute of the platform's default schema.
const DefaultKey = "email"
