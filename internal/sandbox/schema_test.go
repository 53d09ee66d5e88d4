package sandbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"durable-dataload/internal/target/identitycloud"
)

// What entityType says of an attribute is what a write is held to: of every attribute of the answer a value that fits
// is taken, and one that does not is refused.
func TestTheSchemaIsWhatIsEnforced(t *testing.T) {
	_, c := start(t, Options{EntityTypes: []string{"user", "admin"}})
	target, err := identitycloud.New(identitycloud.Config{BaseURL: c.url, ClientID: testID, ClientSecret: testSecret, EntityType: "admin"})
	must(t, err)
	defer target.Close()
	told, err := target.EntityType(context.Background())
	if err != nil || told.Name != "admin" {
		t.Fatalf("got %+v, %v, want the schema of admin", told, err)
	}
	seen := map[string]int{}
	var check func(around string, attributes []identitycloud.Attribute)
	check = func(around string, attributes []identitycloud.Attribute) {
		try := func(a identitycloud.Attribute, value string, code int) {
			t.Helper()
			record := fmt.Sprintf(around, fmt.Sprintf("%q:%s", a.Name, value))
			answer := c.ok("entity.bulkCreate", params{"type_name": "admin", "all_attributes": "[" + record + "]"})
			result := answer["results"].([]any)[0]
			got := 0
			if object, ok := result.(map[string]any); ok {
				got = int(object["code"].(float64))
			}
			if got != code {
				t.Errorf("%.100s, %s of length %d: code %d, want %d", record, a.Type, a.Length, got, code)
			}
		}
		for _, a := range attributes {
			seen[a.Type]++
			if a.Type == "id" || a.Type == "uuid" || slices.Contains(systemAttributes, a.Name) {
				continue // the server's own
			}
			switch a.Type {
			case "string":
				length := a.Length
				if length == 0 {
					length = 5000
				}
				longest := strings.Repeat("ü", length-1) + "@"
				try(a, `"`+longest+`"`, 0)
				if a.Length > 0 {
					try(a, `"ü`+longest+`"`, 363)
				}
				if a.Has("unique") {
					try(a, `"`+strings.ToUpper(longest)+`"`, 361)
				}
				if a.Has("email-address") {
					try(a, `"x"`, 340)
				}
				try(a, `5`, 341)
			case "boolean":
				try(a, `true`, 0)
				try(a, `"true"`, 341)
			case "date", "dateTime":
				try(a, `"2012-06-13 18:02:56"`, 0)
				try(a, `"13.6.2012"`, 342)
				try(a, `20120613`, 342)
			case "json":
				try(a, `[5,"x",{"id":null}]`, 0)
			case "password-bcrypt":
				try(a, `"plain"`, 0)
				try(a, `{"type":"password-bcrypt","value":"x"}`, 0)
				try(a, `{"value":"x"}`, 341)
			case "object":
				try(a, `{"anything":["else"]}`, 0)
				try(a, `[]`, 341)
				check(fmt.Sprintf(strings.ReplaceAll(around, "%s", "%q:{%%s}"), a.Name), a.Attributes)
			case "plural":
				try(a, `[{"anything":["else"]},{}]`, 0)
				try(a, `{}`, 341)
				try(a, `["x"]`, 341)
				check(fmt.Sprintf(strings.ReplaceAll(around, "%s", "%q:[{},{%%s}]"), a.Name), a.Attributes)
			default:
				t.Errorf("%s has the type %q, which this test does not know", a.Name, a.Type)
			}
			try(a, `null`, 0)
		}
	}
	check("{%s}", told.Attributes)
	for _, kind := range []string{"string", "boolean", "date", "dateTime", "json", "password-bcrypt", "object", "plural", "id", "uuid"} {
		if seen[kind] == 0 {
			t.Errorf("the schema has no attribute of the type %s", kind)
		}
	}
	c.fails("entityType", params{"type_name": "nobody"}, 222)
}

func TestDatesAreKeptInOneForm(t *testing.T) {
	_, c := start(t, Options{})
	c.create(`[{"email":"a@x.org","birthday":"20120613","emailVerified":"2012-06-13T18:02:56Z","clients":[{"lastLogin":"2012-06-13"}]}]`)
	got := c.ok("entity", params{"id": "1"})["result"].(map[string]any)
	if got["birthday"] != "2012-06-13" || got["emailVerified"] != "2012-06-13 18:02:56 +0000" ||
		asJSON(t, sparse(got["clients"])) != `[{"id":2,"lastLogin":"2012-06-13 00:00:00 +0000"}]` {
		t.Errorf("got %v", got)
	}
	for _, filter := range []string{"emailVerified = '2012-06-13T20:02:56+02:00'", "clients.lastLogin < '20120614'"} {
		if found := c.emails(params{"filter": filter}); len(found) != 1 {
			t.Errorf("%s finds %v", filter, found)
		}
	}
}
