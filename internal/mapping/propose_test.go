package mapping

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"durable-dataload/internal/target"
)

func TestProposeGuessesFromNamesValuesAndSchema(t *testing.T) {
	header := []string{"E-Mail", "First name", "DOB", "Sex", "ZIP", "Newsletter", "pw_hash", "Photos", "Shoe size", "mail"}
	sample := [][]string{
		{"ada@example.com", "Ada", "31.12.1999", "F", "01234", "ja", "$2a$04$abc", "a.png; b.png", "38,5", "x"},
		{"bob@example.com", "Bob", "", "M", "", "nein", "$2b$04$abc", "", "", ""},
	}
	schema := &target.Schema{Name: "user", Attributes: []target.Attribute{
		{Name: "uuid", Type: "uuid"}, {Name: "email", Type: "string"}, {Name: "givenName", Type: "string"}, {Name: "birthday", Type: "date"},
		{Name: "password", Type: "password-bcrypt"}, {Name: "shoeSize", Type: "decimal"},
		{Name: "primaryAddress", Type: "object", Attributes: []target.Attribute{{Name: "zip", Type: "string"}}},
		{Name: "photos", Type: "plural", Attributes: []target.Attribute{{Name: "id", Type: "id"}, {Name: "url", Type: "string"}}},
	}}
	for name, c := range map[string]struct {
		schema *target.Schema
		want   string
		says   []string
	}{
		"without a schema": {nil, `{"email":"ada@example.com","givenName":"Ada","birthday":"1999-12-31 00:00:00","gender":"female","primaryAddress":{"zip":"01234"},"optIn":{"status":true},"password":{"type":"password-bcrypt","value":"$2a$04$abc"},"photos":[{"value":"a.png"},{"value":"b.png"}],"shoeSize":"38,5"}`,
			[]string{"# no attribute of the default schema", "# email has its value from \"E-Mail\" already"}},
		"with a schema": {schema, `{"email":"ada@example.com","givenName":"Ada","birthday":"1999-12-31 00:00:00","primaryAddress":{"zip":"01234"},"password":{"type":"password-bcrypt","value":"$2a$04$abc"},"photos":[{"url":"a.png"},{"url":"b.png"}],"shoeSize":38.5}`,
			[]string{"# the target has no attribute like this"}},
	} {
		text := string(Propose(header, sample, c.schema, traits))
		r, err := compile(t, text, header...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		if got, err := r.AppendJSON(nil, sample[0]); err != nil || string(got) != c.want {
			t.Errorf("%s:\n%s\ngave %s, %v\nwant %s", name, text, got, err, c.want)
		}
		for _, words := range c.says {
			if !strings.Contains(text, words) {
				t.Errorf("%s:\n%s\ndoes not say %s", name, text, words)
			}
		}
		for _, value := range []string{"ada", "a.png", "$2a", "01234"} {
			if strings.Contains(text, value) {
				t.Errorf("%s:\n%s\nholds the value %s", name, text, value)
			}
		}
	}
}

func TestGuessedLayouts(t *testing.T) {
	for _, text := range guessedLayouts {
		if _, err := parseLayout(text); err != nil {
			t.Error(err)
		}
	}
	for values, want := range map[string]string{
		"1999-12-31":               "YYYY-MM-DD",
		"12/31/1999":               "M/D/YYYY",
		"1/2/1999":                 "M/D/YYYY D/M/YYYY",
		"1/2/1999,31/2/1999":       "M/D/YYYY D/M/YYYY, not all",
		"31.1.1999,x,1.2.1999":     "D.M.YYYY, not all",
		"31.1.1999,x,y":            "",
		"1/2/1999,31/1/1999":       "D/M/YYYY",
		"19991231":                 "YYYYMMDD",
		"946684799":                "unix",
		"946684799000":             "unix-ms",
		"1999-12-31T23:59:59.123Z": "YYYY-MM-DDThh:mm:ssZ",
		"yesterday":                "",
		"":                         "",
	} {
		var list []string
		if values != "" {
			list = strings.Split(values, ",")
		}
		fit, all := layoutsOf(list)
		got := strings.Join(fit, " ")
		if got != "" && !all {
			got += ", not all"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", values, got, want)
		}
	}
}

// For any names and values of columns the proposal is a valid mapping.
func FuzzProposalsCompile(f *testing.F) {
	f.Add("email", "mail", "a.b", "1", "[1]")
	f.Add("ignore", "null", "a", "31/12/99", "yes")
	f.Add("a: b", "# c", "\"d\"\\\t", "{}", "")
	f.Add("Straße", "é\u2028", "~", "photos", "1,5")
	f.Add("-", "a", "a.b.c", "clients", "x;y")
	f.Add(strings.Repeat("long ", 300), strings.Repeat("\f", 1000), "a", "", "")
	f.Fuzz(func(t *testing.T, a, b, c, v, w string) {
		header := []string{a, b, c}
		if a == "" || b == "" || c == "" || a == b || b == c || a == c || !utf8.ValidString(a) || !utf8.ValidString(b) || !utf8.ValidString(c) {
			return
		}
		schema := &target.Schema{Attributes: []target.Attribute{{Name: "a", Type: v}, {Name: "email", Type: w}}}
		for _, s := range []*target.Schema{nil, schema} {
			text := Propose(header, [][]string{{v, w, v}, {w}}, s, traits)
			m, err := Parse("m.yaml", text)
			if err == nil {
				_, err = m.Compile(header)
			}
			if err != nil {
				t.Fatalf("%q: %v\n%s", header, err, text)
			}
		}
	})
}

// What took a step for each pair of columns would outlast the deadline of the tests.
func TestAProposalForAHundredThousandColumns(t *testing.T) {
	header := make([]string, 100_000)
	for i := range header {
		header[i] = fmt.Sprintf("object%d.member%d", i/3, i)
	}
	if lines := bytes.Count(Propose(header, nil, nil, traits), []byte("\n")); lines < len(header) {
		t.Errorf("%d lines for %d columns", lines, len(header))
	}
}

var traits = target.Traits{System: []string{"id", "uuid", "created", "lastUpdated"}, Givable: []string{"created"}}
