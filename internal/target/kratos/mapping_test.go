package kratos_test

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"durable-dataload/internal/mapping"
	"durable-dataload/internal/target"
	"durable-dataload/internal/target/conformance"
	adapter "durable-dataload/internal/target/kratos"
)

// export is a CSV file as an Identity Cloud gives it.
const export = `uuid,email,givenName,familyName,emailVerified,created,lastUpdated,id,password,metadata_public.optIn
efd7fe4e-0001, Ann@example.com,Ann,Lee,2020-01-02 03:04:05 +0000,2015-12-15 07:36:25 +0000,2021-01-01 00:00:00 +0000,7,"{""type"":""password-bcrypt"",""value"":""$2a$04$qmnzZJOar2gYkq6tUszWWOJX48YPvKSdIX9G.SW4fK1OY6n6RHd/e""}",yes
efd7fe4e-0002,bob@example.com,,,,,,8,,
`

func TestTheDefaultMappingTakesAnExport(t *testing.T) {
	server := start(t)
	a := connect(t, server.Admin, target.Hooks{})
	found := conformance.Load(t, a, adapter.DefaultMapping, export)
	for i, want := range []map[string]string{
		{"traits.email": "Ann@example.com", "traits.name.first": "Ann", "traits.name.last": "Lee", "metadata_admin.uuid": "efd7fe4e-0001", "metadata_public.optIn": "yes", "metadata_admin.created": "2015-12-15 07:36:25 +0000"},
		{"traits.email": "bob@example.com", "traits.name.first": "", "metadata_admin.uuid": "efd7fe4e-0002", "metadata_public.optIn": ""},
	} {
		for path, text := range want {
			if got := found[i].Text(path); got != text {
				t.Errorf("%s of record %d is %q, want %q", path, i, got, text)
			}
		}
		if isVerified := strings.Contains(string(found[i].Attributes["verifiable_addresses"]), `"verified":true`); isVerified != (i == 0) {
			t.Errorf("record %d has the addresses %s", i, found[i].Attributes["verifiable_addresses"])
		}
	}
	signsIn(t, server, "ann@example.com", "correct horse", true)
}

func TestAProposalFromTheLiveSchemaCanBeLoaded(t *testing.T) {
	server := start(t)
	a := connect(t, server.Admin, target.Hooks{})
	schema, err := a.Schema(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if email, _ := schema.At(adapter.DefaultKey); email.CaseSensitive == nil || *email.CaseSensitive || !email.Has("required") || !email.Has("email-address") || email.Length != 320 {
		t.Errorf("the schema has the identifier %+v", email)
	}
	const file = "E-Mail,First name,Surname,Born,Newsletter,Age,Tags,pw_hash,Legacy ID\n" +
		"cem@example.com,Cem,Öz,31.12.1999,yes,41,a;b,$2a$04$qmnzZJOar2gYkq6tUszWWOJX48YPvKSdIX9G.SW4fK1OY6n6RHd/e,17\n" +
		"dora@example.com,Dora,,,no,,,,18\n"
	rows, err := csv.NewReader(strings.NewReader(file)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	proposal := mapping.Propose(rows[0], rows[1:], &schema, a.Traits())
	if !strings.Contains(string(proposal), "to keep the column, as metadata_admin.legacyID") {
		t.Errorf("the proposal does not say where the id can be kept:\n%s", proposal)
	}
	found := conformance.Load(t, a, proposal, file)
	const want = `{"email":"cem@example.com","name":{"first":"Cem","last":"Öz"},"birthday":"1999-12-31","newsletter":true,"age":41,"tags":["a","b"]}`
	if got := string(found[0].Attributes["traits"]); !sameJSON(t, got, want) {
		t.Errorf("%s\nmakes the traits %s, want %s", proposal, got, want)
	}
	signsIn(t, server, "cem@example.com", "correct horse", true)
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal([]byte(a), &x), json.Unmarshal([]byte(b), &y)); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}
