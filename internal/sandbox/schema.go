package sandbox

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// defaultAttributes are the attribute paths that an entity type has from the start. Any other comes into being when a
// call first mentions it, since the server cannot know a customer's schema.
var defaultAttributes = []string{
	"id", "uuid", "created", "lastUpdated",
	"aboutMe", "birthday", "clients", "currentLocation", "display", "displayName", "email", "emailVerified",
	"familyName", "gender", "givenName", "lastLogin", "middleName", "password", "photos", "profiles", "statuses",
	"primaryAddress", "primaryAddress.address1", "primaryAddress.address2", "primaryAddress.city",
	"primaryAddress.company", "primaryAddress.country", "primaryAddress.mobile", "primaryAddress.phone",
	"primaryAddress.stateAbbreviation", "primaryAddress.zip", "primaryAddress.zipPlus4",
}

// systemAttributes are those that the server sets.
var systemAttributes = []string{"id", "uuid", "created", "lastUpdated"}

// stringLengths are the attributes that must be strings, with their greatest length in characters.
var stringLengths = map[string]int{
	"email": 256, "givenName": 1000, "middleName": 1000, "familyName": 1000, "displayName": 1000,
}

// checkSchema verifies the attributes of a record, without the system attributes, against the schema, and brings
// dates to the form in which they are kept. Of several errors it gives that of the attribute first in the alphabet.
func checkSchema(record map[string]any) *apiError {
	for _, name := range slices.Sorted(maps.Keys(record)) {
		if err := checkAttribute(record, name); err != nil {
			return err
		}
	}
	return nil
}

func checkAttribute(record map[string]any, name string) *apiError {
	if name == "" || strings.Contains(name, ".") {
		// A dotted path in the place of a name is a record whose objects were not built.
		return &apiError{223, "unknown attribute: " + name, map[string]any{"attribute_name": name}}
	}
	value := record[name]
	if value == nil {
		return nil
	}
	if length, ok := stringLengths[name]; ok {
		text, ok := value.(string)
		if !ok {
			return newError(341, "%s must be a JSON string", name)
		}
		if n := utf8.RuneCountInString(text); n > length {
			return newError(363, "%s is longer than %d characters: it has %d", name, length, n)
		}
	}
	switch name {
	case "email":
		if !strings.Contains(value.(string), "@") {
			return newError(340, "email is not an email address")
		}
	case "birthday":
		text, _ := value.(string)
		date, ok := parseDate(text)
		if !ok {
			return newError(342, "birthday is not a date")
		}
		record[name] = formatDate(date)
	case "password":
		if !isPassword(value) {
			return newError(341, `password must be a JSON string or an object with "type" and "value"`)
		}
	}
	return nil
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

// foldEmail gives what two emails have in common that the schema takes for the same.
func foldEmail(email string) string {
	return strings.ToLower(email)
}
