package fakeusers

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// config has the fields of sample_config.json of dataload.
func config(t testing.TB) *Config {
	t.Helper()
	text, err := os.ReadFile("testdata/sample_config.json")
	must(t, err)
	return parse(t, string(text))
}

func parse(t testing.TB, text string) *Config {
	t.Helper()
	c, err := ParseConfig([]byte(text))
	must(t, err)
	return c
}

func TestPredefinedFieldsAreThoseOfTheSampleConfiguration(t *testing.T) {
	configured := config(t).fields
	if len(configured) != len(predefined) {
		t.Fatalf("%d fields; want %d", len(configured), len(predefined))
	}
	for i, got := range configured {
		if want := predefined[i]; got.name != want.name || got.required != want.required || got.column != want.column {
			t.Errorf("field %d is %s, required %v, column %d; want %s, %v, %d", i+1, got.name, got.required, got.column, want.name, want.required, want.column)
		}
	}
}

func TestEachTypeMakesItsValues(t *testing.T) {
	const client = `\{"id": 7, "name": "Client Name \d", "clientId": "\d{6,8}"\}`
	for _, c := range []struct {
		field string
		want  string // of every value
		some  []string
	}{
		{`"type": "string"`, `^[A-Z][a-z]{1,2}$`, nil},
		{`"type": "string", "min_length": 0, "max_length": 0`, `^$`, nil},
		{`"type": "string", "max_length": 5`, `^[A-Z][a-z]{1,4}$`, []string{`^.{5}$`, `^.{2}$`}},
		{`"type": "string", "format": "n{index}{{{index}}}@example.com"`, `^n(\d+)\{\d+\}@example\.com$`, []string{`^n0\{0\}`, `^n199\{199\}`}},
		{`"type": "password"`, `^[A-Z][a-z]{1,2}$`, nil},
		{`"type": "password", "predefined_password_list": [{"type": "t",  "value": "v"}, "x"]`, `^(\{"type":"t","value":"v"\}|"x"|[A-Z][a-z]{1,2})$`, []string{`^\{`, `^"x"$`, `^[A-Z]`}},
		{`"type": "gender"`, ``, []string{`^$`, `^MALE$`, `^n/A$`, `^[A-Z][a-z]{1,2}$`}},
		{`"type": "boolean"`, `^(|[01TF]|[Tt]rue|[Ff]alse)$`, []string{`^$`, `^0$`, `^T$`}},
		{`"type": "date"`, `^[01]\d/[0-3]\d/(1[789]|20)\d\d$`, []string{`/20\d\d$`, `/200\d$`, `/202\d$`}},
		{`"type": "datetime"`, `^(1[789]|20)\d\d-[01]\d-[0-3]\d [0-2]\d:[0-5]\d:[0-5]\d$`, nil},
		{`"type": "client", "format": "{\"id\": 7, \"name\": \"\"}"`, `^(|\[\]|\[` + client + `(, ` + client + `){0,2}\])$`, []string{`^$`, `^\[\]$`, `"Client Name 2"`}},
	} {
		o := Options{Records: 200, Seed: 5, Config: parse(t, `{"sample": {"min_length": 2, "max_length": 3, "fields": [
			{"name": "x", "required": 1, `+c.field+`}]}}`)}
		values, err := csv.NewReader(bytes.NewReader(written(t, o))).ReadAll()
		if err != nil || len(values) != 201 {
			t.Fatalf("%s: %d lines, error %v; want 201 and none", c.field, len(values), err)
		}
		for _, v := range values[1:] {
			if !regexp.MustCompile(c.want).MatchString(v[0]) {
				t.Errorf("%s makes %q; want %s", c.field, v[0], c.want)
			}
			if strings.HasPrefix(v[0], "[") && !json.Valid([]byte(v[0])) {
				t.Errorf("%s makes %q; want JSON", c.field, v[0])
			}
		}
		for _, some := range c.some {
			found := false
			for _, v := range values[1:] {
				found = found || regexp.MustCompile(some).MatchString(v[0])
			}
			if !found {
				t.Errorf("%s makes no %s in 200 records", c.field, some)
			}
		}
	}
}

func TestAConfigurationNamesItsFileAndItsSeparator(t *testing.T) {
	fields := `"min_length": 1, "max_length": 1, "fields": [{"name": "a;b", "type": "string", "required": true}, {"name": "b", "type": "string", "required": false, "format": "1;2"}]`
	at := time.Date(2026, 11, 2, 13, 5, 9, 0, time.FixedZone("", 3600))
	const predefined = "sample_records_Nov_02_2026_12_05_09.csv"
	for _, c := range []struct{ settings, name, line string }{
		{``, predefined, `a;b,b`},
		{`"file": {"filename_pattern": "x.csv"},`, "x.csv", `a;b,b`},
		{`"separator": ";",`, predefined, `"a;b";b`},
		{`"separator": "\t", "file": {"filename_pattern": "{}.tsv", "filename_pattern_replace": "%y%m%d 2006 %I%p %%"},`, "261102 2006 12PM %.tsv", "a;b\tb"},
	} {
		config := parse(t, `{"sample": {`+c.settings+fields+`}}`)
		if name := config.FileName(at); name != c.name {
			t.Errorf("%s: the file is called %q; want %q", c.settings, name, c.name)
		}
		if line, _, _ := strings.Cut(string(written(t, Options{Config: config})), "\n"); line != c.line {
			t.Errorf("%s: the header is %q; want %q", c.settings, line, c.line)
		}
	}
}

func TestAConfigurationIsRefusedWithItsReason(t *testing.T) {
	const field = `{"name": "a", "type": "string", "required": 1, "min_length": 1, "max_length": 2}`
	one := func(field string) string { return `{"sample": {"fields": [` + field + `]}}` }
	with := func(setting string) string { return `{"sample": {` + setting + `, "fields": [` + field + `]}}` }
	parse(t, one(field))
	for _, c := range []struct{ config, says string }{
		{``, "expected JSON"},
		{`[]`, "expected JSON"},
		{one(field) + `x`, "expected JSON"},
		{one(field) + `{}`, "something behind the object"},
		{`{"sample": {}}`, "no fields"},
		{with(`"max_lenght": 9`), `unknown field "max_lenght"`},
		{with(`"separator": "ab"`), `separator is "ab"; expected one ASCII character`},
		{with(`"separator": "\""`), "expected one ASCII character"},
		{with(`"separator": "\n"`), "expected one ASCII character"},
		{with(`"separator": "é"`), "expected one ASCII character"},
		{with(`"file": {"filename_pattern": "{}{}.csv"}`), "at most one {}"},
		{with(`"file": {"filename_pattern": "{0}.csv"}`), "at most one {}"},
		{with(`"file": {"filename_pattern_replace": "%Q"}`), `is "%Q"; expected no other directives than %Y %y`},
		{with(`"file": {"filename_pattern_replace": "x%"}`), "expected no other directives"},
		{one(field + `,` + field), `field 2, "a": the name is there twice`},
		{one(`{"type": "string", "required": 1}`), `field 1, "": there is no name`},
		{one(`{"name": "a", "type": "string"}`), "required is missing"},
		{one(`{"name": "a", "type": "string", "required": 2}`), "required is 2; expected 1 or 0"},
		{one(`{"name": "a", "type": "animal", "required": 1}`), `field 1, "a": the type is "animal"; expected string, password`},
		{one(`{"name": "a", "type": "string", "required": 1}`), "there is no length"},
		{one(`{"name": "a", "type": "gender", "required": 1, "min_length": 3}`), "there is no length"},
		{one(`{"name": "a", "type": "string", "required": 1, "min_length": 3, "max_length": 2}`), "the smaller one first"},
		{one(`{"name": "a", "type": "password", "required": 1, "min_length": -1, "max_length": 2}`), "expected lengths from 0"},
		{one(`{"name": "a", "type": "string", "required": 1, "min_length": 1, "max_length": 2000000}`), "expected lengths from 0"},
		{one(`{"name": "a", "type": "string", "required": 1, "format": "{number}"}`), `the format is "{number}"; expected {index}`},
		{one(`{"name": "a", "type": "string", "required": 1, "format": "x}"}`), "expected {index}"},
		{one(`{"name": "a", "type": "client", "required": 1}`), "a client has no format"},
		{one(`{"name": "a", "type": "client", "required": 1, "format": "[]"}`), "no JSON object"},
		{one(`{"name": "a", "type": "client", "required": 1, "format": "{} x"}`), "no JSON object"},
	} {
		if _, err := ParseConfig([]byte(c.config)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v; want %q in it", c.config, err, c.says)
		}
	}
}

// Of any configuration that is accepted come files with a value for each column.
func FuzzParseConfig(f *testing.F) {
	text, err := os.ReadFile("testdata/sample_config.json")
	must(f, err)
	f.Add(text)
	f.Add([]byte(`{"sample": {"separator": "a", "fields": [{"name": "a", "type": "string", "required": 0, "format": "a\n\"{index}"}]}}`))
	f.Add([]byte(`{"sample": {"separator": "\t", "fields": [{"name": " ", "type": "boolean", "required": 0}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseConfig(text)
		if err != nil {
			return
		}
		_ = c.FileName(time.Unix(0, 0))
		for _, required := range []bool{false, true} {
			reader := csv.NewReader(bytes.NewReader(written(t, Options{Records: 4, Config: c, OnlyRequired: required})))
			reader.Comma = rune(c.separator)
			reader.FieldsPerRecord = len(c.fields)
			if rows, err := reader.ReadAll(); err != nil || len(rows) != 5 {
				t.Errorf("%d rows, error %v; want 5 and none", len(rows), err)
			}
		}
	})
}
