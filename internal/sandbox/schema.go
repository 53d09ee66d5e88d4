package sandbox

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"durable-dataload/internal/target/identitycloud"
)

// schema is that of every entity type, and all that there is of it: what entityType answers, what checkSchema
// enforces, and which attributes exist from the start. Any other attribute may have any value, and comes into being
// when a call first mentions it, since the server cannot know a customer's schema.
//
// It follows the default schema as the vendor's iOS client has it, which is old, and what is known of its plurals, with
// the attributes that the sample file of dataload.py has besides (mobileNumber, optIn). Constraints that the server
// does not enforce are left out.
var schema = []identitycloud.Attribute{
	{Name: "aboutMe", Type: "string"},
	{Name: "birthday", Type: "date"},
	{Name: "clients", Type: "plural", Attributes: []identitycloud.Attribute{
		{Name: "channel", Type: "string", Length: 1000},
		{Name: "clientId", Type: "string", Length: 1000},
		{Name: "firstLogin", Type: "dateTime"},
		{Name: "id", Type: "id"},
		{Name: "lastLogin", Type: "dateTime"},
		{Name: "name", Type: "string", Length: 1000},
	}},
	{Name: "created", Type: "dateTime"},
	{Name: "currentLocation", Type: "string", Length: 1000},
	{Name: "display", Type: "json"},
	{Name: "displayName", Type: "string", Length: 1000},
	{Name: "email", Type: "string", Length: 256, Constraints: []string{"email-address", "unique"}},
	{Name: "emailVerified", Type: "dateTime"},
	{Name: "familyName", Type: "string", Length: 1000},
	{Name: "gender", Type: "string", Length: 100},
	{Name: "givenName", Type: "string", Length: 1000},
	{Name: "id", Type: "id"},
	{Name: "lastLogin", Type: "dateTime"},
	{Name: "lastUpdated", Type: "dateTime"},
	{Name: "middleName", Type: "string", Length: 1000},
	{Name: "mobileNumber", Type: "string", Length: 100},
	{Name: "optIn", Type: "object", Attributes: []identitycloud.Attribute{
		{Name: "status", Type: "boolean"},
	}},
	{Name: "password", Type: "password-bcrypt"},
	{Name: "photos", Type: "plural", Attributes: []identitycloud.Attribute{
		{Name: "id", Type: "id"},
		{Name: "type", Type: "string", Length: 1000},
		{Name: "value", Type: "string", Length: 1000},
	}},
	{Name: "primaryAddress", Type: "object", Attributes: []identitycloud.Attribute{
		{Name: "address1", Type: "string", Length: 1000},
		{Name: "address2", Type: "string", Length: 1000},
		{Name: "city", Type: "string", Length: 1000},
		{Name: "company", Type: "string", Length: 1000},
		{Name: "country", Type: "string", Length: 1000},
		{Name: "mobile", Type: "string", Length: 1000},
		{Name: "phone", Type: "string", Length: 100},
		{Name: "stateAbbreviation", Type: "string", Length: 100},
		{Name: "zip", Type: "string", Length: 100},
		{Name: "zipPlus4", Type: "string", Length: 1000},
	}},
	{Name: "profiles", Type: "plural", Attributes: []identitycloud.Attribute{
		{Name: "accessCredentials", Type: "json"},
		{Name: "domain", Type: "string", Length: 1000},
		{Name: "id", Type: "id"},
		{Name: "identifier", Type: "string", Length: 1000},
		{Name: "profile", Type: "json"},
		{Name: "provider", Type: "json"},
	}},
	{Name: "statuses", Type: "plural", Attributes: []identitycloud.Attribute{
		{Name: "id", Type: "id"},
		{Name: "status", Type: "string", Length: 1000},
		{Name: "statusCreated", Type: "dateTime"},
	}},
	{Name: "uuid", Type: "uuid"},
}

// schemaAt holds every attribute of the schema by its path.
var schemaAt = func() map[string]identitycloud.Attribute {
	at := map[string]identitycloud.Attribute{}
	identitycloud.Schema{Attributes: schema}.Each(func(path string, a identitycloud.Attribute) { at[path] = a })
	return at
}()

// systemAttributes are those that the server sets.
var systemAttributes = identitycloud.SystemAttributes

// entityType is the endpoint of that name: it gives the schema.
func (s *Server) entityType(q *request) (map[string]any, *apiError) {
	attributes := slices.Clone(schema)
	if s.options.Emails == SharedEmails {
		email := slices.IndexFunc(attributes, func(a identitycloud.Attribute) bool { return a.Name == "email" })
		attributes[email].Constraints = []string{"email-address"}
	}
	return map[string]any{"stat": "ok", "schema": identitycloud.Schema{Name: q.call.TypeName, Attributes: attributes}}, nil
}

// checkSchema verifies the attributes of a record, without the system attributes, against the schema, and brings
// dates to the form in which they are kept. Of several errors it gives that of the attribute first in the alphabet.
func checkSchema(record map[string]any) *apiError {
	return checkObject(record, "")
}

// checkObject verifies an object: a record, or one within it, with its path and a dot as prefix.
func checkObject(object map[string]any, prefix string) *apiError {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		path := prefix + name
		if name == "" || prefix == "" && strings.Contains(name, ".") {
			// A dotted path instead of a name means that the objects of the record were not built.
			return &apiError{223, "unknown attribute: " + path, map[string]any{"attribute_name": path}}
		}
		attribute, known := schemaAt[path]
		if !known || object[name] == nil {
			continue
		}
		value, err := checkValue(attribute, path, object[name])
		if err != nil {
			return err
		}
		object[name] = value
	}
	return nil
}

// checkValue verifies the value of an attribute, which is not null, and gives it in the form in which it is kept.
func checkValue(a identitycloud.Attribute, path string, value any) (any, *apiError) {
	wrongType := func(want string) (any, *apiError) { return nil, newError(341, "%s must be %s", path, want) }
	switch {
	case a.Type == "string":
		text, ok := value.(string)
		if !ok {
			return wrongType("a JSON string")
		}
		if n := utf8.RuneCountInString(text); a.Length > 0 && n > a.Length {
			return nil, newError(363, "%s is longer than %d characters: it has %d", path, a.Length, n)
		}
		if a.Has("email-address") && !strings.Contains(text, "@") {
			return nil, newError(340, "%s is not an email address", path)
		}
	case a.Type == "boolean":
		if _, ok := value.(bool); !ok {
			return wrongType("true or false")
		}
	case a.Type == "date", a.Type == "dateTime":
		text, _ := value.(string)
		date, ok := parseDate(text)
		if !ok {
			return nil, newError(342, "%s is not a date", path)
		}
		if a.Type == "date" {
			return formatDate(date), nil
		}
		return formatTime(date), nil
	case a.Type == "object":
		object, ok := value.(map[string]any)
		if !ok {
			return wrongType("a JSON object")
		}
		return object, checkObject(object, path+".")
	case a.Type == "plural":
		list, ok := value.([]any)
		if !ok || !isPlural(list) {
			return wrongType("a JSON list of objects")
		}
		for _, element := range list {
			if err := checkObject(element.(map[string]any), path+"."); err != nil {
				return nil, err
			}
		}
	case strings.HasPrefix(a.Type, "password"):
		if !isPassword(value) {
			return wrongType(`a JSON string or an object with "type" and "value"`)
		}
		return kept(value), nil
	}
	return value, nil // also what may have any value, and the ids of elements, which the server gives
}

func isPassword(value any) bool {
	object, ok := value.(map[string]any)
	if !ok {
		_, ok = value.(string)
		return ok
	}
	_, hasType := object["type"].(string)
	_, hasValue := object["value"].(string)
	return hasType && hasValue
}

// emailOf is a record's email, "" if it has none.
func emailOf(record map[string]any) string {
	email, _ := record["email"].(string)
	return email
}

// foldEmail returns what two emails have in common that the schema takes for the same.
func foldEmail(email string) string {
	return strings.ToLower(email)
}

// EmailRule says which emails two entities cannot both have. An entity may always have none.
type EmailRule string

// The rules. A search for an email ignores case under each of them.
const (
	FoldedEmails EmailRule = "folded" // those that differ in case only; this is the default
	ExactEmails  EmailRule = "exact"  // those that are the same to the letter
	SharedEmails EmailRule = "shared" // none: the schema does not call email unique
)

// key is what two emails have in common that the rule takes for the same.
func (r EmailRule) key(email string) string {
	if r == ExactEmails {
		return email
	}
	return foldEmail(email)
}
