package export

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"durable-dataload/internal/target"
)

var schema = target.Schema{Name: "user", Attributes: []target.Attribute{
	{Name: "email", Type: "string"},
	{Name: "age", Type: "integer"},
	{Name: "isVip", Type: "boolean"},
	{Name: "password", Type: "password-bcrypt"},
	{Name: "address", Type: "object", Attributes: []target.Attribute{
		{Name: "city", Type: "string"},
		{Name: "geo", Type: "object", Attributes: []target.Attribute{{Name: "lat", Type: "decimal"}}},
	}},
	{Name: "any", Type: "object"},
	{Name: "display", Type: "json"},
	{Name: "profiles", Type: "plural", Attributes: []target.Attribute{
		{Name: "id", Type: "id"}, {Name: "profile", Type: "json"},
		{Name: "name", Type: "object", Attributes: []target.Attribute{{Name: "given", Type: "string"}, {Name: "middle", Type: "string"}}},
		{Name: "photos", Type: "plural", Attributes: []target.Attribute{{Name: "id", Type: "id"}, {Name: "value", Type: "string"}}},
	}},
	{Name: "uuid", Type: "uuid"},
}}

func TestColumnsAreThoseOfTheSchemaOrThoseAskedFor(t *testing.T) {
	for _, c := range []struct {
		schema target.Schema
		asked  string
		want   string // of the names, or of the error
	}{
		{schema, "", "uuid email age isVip password address.city address.geo.lat any display profiles"},
		{schema, "email,address,email,uuid", "uuid email address.city address.geo.lat"},
		{schema, "address.geo.lat,any.thing", "uuid address.geo.lat any.thing"},
		{schema, "emial", `--attributes names "emial", which user does not have; expected names as in its schema, with dots in objects (primaryAddress.city); did you mean email?`},
		{schema, "profiles.profile", `--attributes names "profiles.profile", which user does not have`},
		{target.Schema{}, "email,address.city", "uuid email address.city"},
		{target.Schema{}, "", "the target does not tell the attributes to this client; expected their names, in --attributes"},
	} {
		var asked []string
		if c.asked != "" {
			asked = strings.Split(c.asked, ",")
		}
		columns, err := Columns(c.schema, "uuid", asked)
		got := strings.Join(Names(columns), " ")
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%q: %s, want %s", c.asked, got, c.want)
		}
	}
	columns, _ := Columns(schema, "uuid", nil)
	if got := fmt.Sprint(Roots(columns), Passwords(columns)); got != "[uuid email age isVip password address any display profiles] [password]" {
		t.Errorf("roots and passwords are %s", got)
	}
}

func TestARowHasTheValuesOfARecord(t *testing.T) {
	columns, err := Columns(schema, "uuid", nil)
	if err != nil {
		t.Fatal(err)
	}
	for record, want := range map[string][]string{
		`{"uuid":"u1"}`: {"u1", "", "", "", "", "", "", "", "", ""},
		`{"uuid":"u2","email":null,"age":null,"password":null,"address":null,"address.city":"no","display":null,"profiles":[ ]}`: {"u2", "", "", "", "", "", "", "", "", ""},
		`{"uuid":"u3","email":"a \"b\",\r\nc & <d>","age":12345678901234567890,"isVip":false,"address":{"city":"Köln","geo":{"lat":1.50}},
		  "any":{"id":1,"x":[{"id":2}]},"display":[{"id": 7}, "<"],
		  "profiles":[{"id":5,"profile":{"id":9},"photos":[{"id":6,"value":"p"}]},{"id":8,"photos":[],"profile":null,"name":{"given":null,"middle":null}},{"name":{"given":"G","middle":null}}]}`: {
			"u3", "a \"b\",\r\nc & <d>", "12345678901234567890", "false", "", "Köln", "1.50",
			`{"id":1,"x":[{"id":2}]}`, `[{"id":7},"<"]`, `[{"photos":[{"value":"p"}],"profile":{"id":9}},{},{"name":{"given":"G"}}]`,
		},
		`{"uuid":"u4","password":{"created":"2020-01-01","type":"password-bcrypt","value":"$2a$","salt":"s"}}`: {
			"u4", "", "", "", `{"salt":"s","type":"password-bcrypt","value":"$2a$"}`, "", "", "", "", "",
		},
		`{"uuid":"u7","display":"5"}`:                         {"u7", "", "", "", "", "", "", "", `"5"`, ""},
		`{"uuid":"u8","display":5}`:                           {"u8", "", "", "", "", "", "", "", `5`, ""},
		`{"uuid":"u5","password":"$2a$04$"}`:                  {"u5", "", "", "", "", "", "", "", "", ""},
		`{"uuid":"u6","password":{"type":"password-bcrypt"}}`: {"u6", "", "", "", "", "", "", "", "", ""},
	} {
		var attributes map[string]json.RawMessage
		if err := json.Unmarshal([]byte(record), &attributes); err != nil {
			t.Fatal(err)
		}
		row, err := Row(columns, attributes)
		if err != nil {
			t.Errorf("%s: %v", record, err)
			continue
		}
		cells, err := csv.NewReader(strings.NewReader(string(row))).Read()
		for i := range want {
			want[i] = strings.ReplaceAll(want[i], "\r\n", "\n") // as encoding/csv reads it
		}
		if err != nil || !slices.Equal(cells, want) {
			t.Errorf("%s\nmakes %q\nwant  %q (%v)", record, cells, want, err)
		}
	}
}
