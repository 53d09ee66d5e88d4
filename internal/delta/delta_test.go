package delta

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"durable-dataload/internal/target"
)

var (
	traits  = target.Traits{System: []string{"id", "uuid", "created", "lastUpdated"}, Fold: target.FoldCase}
	untyped = TypesOf(target.Schema{}, traits)
)

func attributes(t testing.TB, text string) map[string]json.RawMessage {
	t.Helper()
	var a map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return a
}

func TestChangesNameWhatDiffers(t *testing.T) {
	cases := []struct {
		name, want, there string
		changes           string // "path: before → after", separated by ";"
	}{
		{"the same", `{"a":"x","b":null}`, `{"a":"x","b":null}`, ""},
		{"a value", `{"a":"x","b":"y"}`, `{"a":"z","b":"y"}`, `a: "z" → "x"`},
		{"in the order of the paths", `{"b":"x","a":"x"}`, `{}`, `a: null → "x"; b: null → "x"`},
		{"null and absent", `{"a":null}`, `{}`, ""},
		{"a null clears", `{"a":null}`, `{"a":"x"}`, `a: "x" → null`},
		{"case", `{"email":"A@example.com"}`, `{"email":"a@example.com"}`, `email: "a@example.com" → "A@example.com"`},
		{"what the input does not name", `{"a":"x"}`, `{"a":"x","b":"y"}`, ""},
		{"reserved", `{"id":1,"uuid":"u","created":"2015-12-15","lastUpdated":"2015-12-15","a":"x"}`, `{"created":"2026-01-01 00:00:00 +0000"}`, `a: null → "x"`},
		{"reserved only at the top", `{"o":{"id":"7"}}`, `{"o":{"id":"8"}}`, `o.id: "8" → "7"`},
		{"escapes", `{"a":"\u00e9"}`, `{"a":"é"}`, ""},

		{"a member", `{"o":{"a":"x","b":"y"}}`, `{"o":{"a":"x","b":"z","c":"w"}}`, `o.b: "z" → "y"`},
		{"a member of a member", `{"o":{"p":{"a":"x"}}}`, `{"o":{"p":{"a":"y"},"q":"r"}}`, `o.p.a: "y" → "x"`},
		{"an object that is not there", `{"o":{"a":"x","b":null}}`, `{}`, `o.a: null → "x"`},
		{"an object that is null", `{"o":{"a":null}}`, `{"o":null}`, ""},
		{"a member with a dot", `{"o":{"p":{"x@example.com":1,"b":2},"q":1}}`, `{"o":{"p":{"x@example.com":3,"c":4},"q":2}}`,
			`o.p: {"x@example.com":3,"c":4} → {"b":2,"c":4,"x@example.com":1}; o.q: 2 → 1`},
		{"the same member with a dot", `{"o":{"x@example.com":1}}`, `{"o":{"x@example.com":1,"c":4}}`, ""},
		{"a member with a dot that is not there", `{"o":{"x@example.com":1}}`, `{}`, `o: null → {"x@example.com":1}`},
		{"an object that is a value", `{"o":{"a":"x"}}`, `{"o":"x"}`, `o: "x" → {"a":"x"}`},

		{"a plural without the ids", `{"p":[{"a":"x"},{"a":"y"}]}`, `{"p":[{"id":1,"a":"x"},{"id":2,"a":"y"}]}`, ""},
		{"another order", `{"p":[{"a":"x"},{"a":"y"}]}`, `{"p":[{"id":1,"a":"y"},{"id":2,"a":"x"}]}`, `p: [{"id":1,"a":"y"},{"id":2,"a":"x"}] → [{"a":"x"},{"a":"y"}]`},
		{"one element more", `{"p":[{"a":"x"},{"a":"y"}]}`, `{"p":[{"id":1,"a":"x"}]}`, `p: [{"id":1,"a":"x"}] → [{"a":"x"},{"a":"y"}]`},
		{"a member that the input does not name", `{"p":[{"a":"x"}]}`, `{"p":[{"id":1,"a":"x","b":"y"}]}`, `p: [{"id":1,"a":"x","b":"y"}] → [{"a":"x"}]`},
		{"a member that is null", `{"p":[{"a":"x","c":null}]}`, `{"p":[{"id":1,"a":"x","b":null}]}`, ""},
		{"a plural in a plural", `{"p":[{"q":[{"a":"x"}]}]}`, `{"p":[{"id":1,"q":[{"id":2,"a":"x"}]}]}`, ""},
		{"an object in a plural, and a plural in it, that have no value", `{"p":[{"a":"x"}]}`, `{"p":[{"id":1,"a":"x","o":{"b":null,"q":[],"r":{"c":null}}}]}`, ""},
		{"an object in a plural that has a value", `{"p":[{"a":"x"}]}`, `{"p":[{"id":1,"a":"x","o":{"b":null,"c":0}}]}`, `p: [{"id":1,"a":"x","o":{"b":null,"c":0}}] → [{"a":"x"}]`},
		{"an object that is to have no value", `{"o":null}`, `{"o":{"a":null,"p":[]}}`, ""},
		{"an object that is to lose its value", `{"o":null}`, `{"o":{"a":"x","p":[]}}`, `o: {"a":"x","p":[]} → null`},
		{"an empty plural and none", `{"p":[]}`, `{"p":null}`, ""},
		{"none and an empty plural", `{"p":null}`, `{"p":[]}`, ""},
		{"a plural is emptied", `{"p":[]}`, `{"p":[{"id":1}]}`, `p: [{"id":1}] → []`},
		{"a null empties a plural", `{"p":null}`, `{"p":[{"id":1}]}`, `p: [{"id":1}] → []`},
		{"a null empties a plural in an object", `{"o":{"p":null}}`, `{"o":{"p":[{"id":1}]}}`, `o.p: [{"id":1}] → []`},
		{"a plural in an object", `{"o":{"p":[{"a":"x"}]}}`, `{"o":{"p":[]}}`, `o.p: [] → [{"a":"x"}]`},
		{"a list of values", `{"p":["a","b"]}`, `{"p":["a","c"]}`, `p: ["a","c"] → ["a","b"]`},

		{"a date in the target's form", `{"d":"1990-01-02 00:00:00"}`, `{"d":"1990-01-02"}`, ""},
		{"a time in the target's form", `{"d":"2015-12-15T07:36:25Z"}`, `{"d":"2015-12-15 07:36:25 +0000"}`, ""},
		{"a zone", `{"d":"2015-12-15 09:36:25 +0200"}`, `{"d":"2015-12-15 07:36:25.000000 +0000"}`, ""},
		{"another day", `{"d":"1990-01-02 00:00:00"}`, `{"d":"1990-01-03"}`, `d: "1990-01-03" → "1990-01-02 00:00:00"`},
		{"a day is not an hour of it", `{"d":"2015-12-15"}`, `{"d":"2015-12-15 07:36:25 +0000"}`, `d: "2015-12-15 07:36:25 +0000" → "2015-12-15"`},

		{"numbers", `{"n":1.50,"m":7}`, `{"n":1.5,"m":8}`, `m: 8 → 7`},
		{"numbers that a float does not tell apart", `{"n":90071992547409931}`, `{"n":90071992547409932}`, `n: 90071992547409932 → 90071992547409931`},
		{"a number and a text", `{"n":"7"}`, `{"n":7}`, `n: 7 → "7"`},
		{"booleans", `{"b":true,"c":false}`, `{"b":true,"c":true}`, `c: true → false`},

		{"a password as plain text", `{"password":"secret"}`, `{"password":null}`, `password: null → "secret"`},
		{"the same hash", `{"password":{"type":"t","value":"v"}}`, `{"password":{"value":"v","type":"t"}}`, ""},
		{"the same hash, set another time", `{"password":{"type":"t","value":"v"}}`, `{"password":{"created":"2020-01-01 00:00:00 +0000","type":"t","value":"v"}}`, ""},
		{"another hash", `{"password":{"type":"t","value":"v"}}`, `{"password":{"type":"t","value":"w"}}`, `password: {"type":"t","value":"w"} → {"type":"t","value":"v"}`},
		{"a salt that is not given", `{"password":{"type":"t","value":"v"}}`, `{"password":{"type":"t","value":"v","salt":"s"}}`, `password: {"type":"t","value":"v","salt":"s"} → {"type":"t","value":"v"}`},
	}
	for _, tc := range cases {
		found, err := untyped.Changes([]byte(tc.want), attributes(t, tc.there))
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		var all []string
		for _, c := range found {
			all = append(all, c.Path+": "+string(c.Before)+" → "+string(c.After))
		}
		if got := strings.Join(all, "; "); got != tc.changes {
			t.Errorf("%s: %s\nagainst %s\ngives %s\nwant  %s", tc.name, tc.want, tc.there, got, tc.changes)
		}
	}
	for _, bad := range []string{"", "null", "[]", `{"a":`, "{\"a\":\"\xff\"}"} {
		if _, err := untyped.Changes([]byte(bad), nil); err == nil {
			t.Errorf("%q was taken for a record", bad)
		}
	}
}

func TestAtFollowsAPath(t *testing.T) {
	a := attributes(t, `{"a":"x","o":{"b":{"c":7}},"n":null}`)
	for path, want := range map[string]string{"a": `"x"`, "o.b.c": "7", "o.b": `{"c":7}`, "o.x": "null", "n": "null", "n.x": "null", "a.x": "null", "": "null"} {
		if got := string(At(a, path)); got != want {
			t.Errorf("At(%q): %s, want %s", path, got, want)
		}
	}
}

// FuzzChanges checks that a record to which its changes were applied has no
// further differences.
func FuzzChanges(f *testing.F) {
	f.Add(`{"a":"x","o":{"b":null,"c":[{"d":1}]},"d":"1990-01-02"}`, `{"a":"y","o":{"c":[{"id":1}]},"d":"1990-01-02 00:00:01"}`)
	f.Add(`{"password":{"type":"t"},"p":[]}`, `{"o":"x","password":null,"p":[1]}`)
	f.Add(`{"a":{"b":{}}}`, `{"a":7}`)
	f.Add("{\"a\":\"\xff\"}", "{\"a\":\"\xff\",\"b\":\"\xff\"}")
	f.Add(`{"a":"\ufffd"}`, "{\"a\":\"\xff\"}")
	f.Fuzz(func(t *testing.T, want, there string) {
		var before map[string]json.RawMessage
		if json.Unmarshal([]byte(there), &before) != nil || before == nil {
			return
		}
		found, err := untyped.Changes([]byte(want), before)
		if err != nil {
			return
		}
		if _, err := (target.Step{Changes: Changes(found)}).Nested(); err != nil {
			t.Fatalf("%s against %s: %v", want, there, err)
		}
		for _, c := range found {
			if strings.Trim(c.Path, "abcdefghijklmnopqrstuvwxyz.") != "" || strings.Contains("."+c.Path+".", "..") || hasDots(want) || hasDots(there) {
				return // names that no header can have
			}
			set(t, before, c.Path, c.After)
		}
		left, err := untyped.Changes([]byte(want), before)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range left {
			t.Errorf("%s against %s: %s still differs: %s, want %s", want, there, c.Path, c.Before, c.After)
		}
	})
}

// hasDots reports whether a name contains a dot, the separator of paths.
func hasDots(text string) bool { return strings.Contains(text, ".") || strings.Contains(text, `\`) }

// set applies a change like the target.
func set(t *testing.T, attributes map[string]json.RawMessage, path string, value json.RawMessage) {
	t.Helper()
	name, rest, deeper := strings.Cut(path, ".")
	if deeper {
		members, ok := object(attributes[name])
		if !ok {
			members = map[string]json.RawMessage{}
		}
		set(t, members, rest, value)
		var err error
		if value, err = json.Marshal(members); err != nil {
			t.Fatal(err)
		}
	}
	attributes[name] = value
}

func TestReversedRestoresThePreviousValues(t *testing.T) {
	for _, c := range []struct{ path, before, after, back string }{
		{"p", `"Ann"`, `"Anne"`, `"Ann"`},
		{"p", `null`, `"Anne"`, `null`},
		{"p", `12345678901234567890.10`, `1`, `12345678901234567890.10`},
		{"p", `"<b>&"`, `null`, `"<b>&"`},
		{"p", `[{"id":7,"name":"one","in":[{"id":8,"x":1}],"of":{"id":9}}]`, `[]`, `[{"in":[{"x":1}],"name":"one","of":{"id":9}}]`},
		{"p", `[{"id":7,"name":"one"}]`, `null`, `[{"name":"one"}]`},
		{"p", `null`, `[{"name":"one"}]`, `[]`},
		{"p", `["a","b"]`, `["c"]`, `["a","b"]`},
		{"p", `{"type":"password-bcrypt","value":"$2a$","created":"2020-01-01"}`, `"text"`, `{"created":"2020-01-01","type":"password-bcrypt","value":"$2a$"}`},
		{"password", `{"type":"password-bcrypt","value":"$2a$","created":"2020-01-01"}`, `"text"`, `{"type":"password-bcrypt","value":"$2a$"}`},
	} {
		got, err := untyped.Reversed(Change{Path: c.path, Before: json.RawMessage(c.before), After: json.RawMessage(c.after)})
		if err != nil || got.Path != c.path || string(got.Before) != c.after || string(got.After) != c.back {
			t.Errorf("%s to %s: back %s to %s, %v; want %s", c.before, c.after, got.Before, got.After, err, c.back)
		}
		if !untyped.Equal(c.path, got.After, json.RawMessage(c.before)) {
			t.Errorf("%s does not count as %s", got.After, c.before)
		}
	}
	for _, bad := range []string{`{`, "\"\xff\""} {
		if back, err := untyped.Reversed(Change{Before: json.RawMessage(bad)}); err == nil {
			t.Errorf("%q is put back as %s", bad, back.After)
		}
	}
}

func TestValuesAreComparedByTheirType(t *testing.T) {
	insensitive := false
	schema := target.Schema{Attributes: []target.Attribute{
		{Name: "age", Type: "integer"}, {Name: "price", Type: "decimal"}, {Name: "ok", Type: "boolean"}, {Name: "day", Type: "date"},
		{Name: "name", Type: "string"}, {Name: "nick", Type: "string", CaseSensitive: &insensitive}, {Name: "address", Type: "ipAddress"},
		{Name: "email", Type: "string"},
		{Name: "o", Type: "object", Attributes: []target.Attribute{{Name: "n", Type: "integer"}}},
		{Name: "p", Type: "plural", Attributes: []target.Attribute{{Name: "n", Type: "integer"}}},
	}}
	types := TypesOf(schema, traits)
	folding := types.Folding(schema, "email")
	for _, c := range []struct {
		path, want, there string
		exact, folded     bool
	}{
		{"age", `"42"`, `42`, true, true},
		{"age", `42`, `"42"`, true, true},
		{"age", `"42"`, `43`, false, false},
		{"age", `"42 years"`, `42`, false, false},
		{"price", `"1.50"`, `1.5`, true, true},
		{"ok", `"True"`, `true`, true, true},
		{"ok", `"false"`, `true`, false, false},
		{"ok", `1`, `true`, true, true},
		{"day", `"2015-12-15"`, `"2015-12-15 00:00:00 +0000"`, true, true},
		{"name", `42`, `"42"`, true, true},
		{"name", `"Ann"`, `"ann"`, false, false},
		{"name", `"2015-12-15 00:00:00"`, `"2015-12-15"`, false, false},
		{"nick", `"Ann"`, `"ann"`, false, true},
		{"email", `"Ann@example.com"`, `"ann@example.com"`, false, true},
		{"address", `"::ffff:10.0.0.1"`, `"10.0.0.1"`, true, true},
		{"address", `"10.0.0.1"`, `"10.0.0.2"`, false, false},
		{"o", `{"n":"1"}`, `{"n":1}`, true, true},
		{"p", `[{"n":"1"}]`, `[{"id":7,"n":1}]`, true, true},
		{"p", `[{"n":"1"}]`, `[{"id":7,"n":1,"m":2}]`, false, false},
		{"other", `"42"`, `42`, false, false},
	} {
		want, there := json.RawMessage(c.want), json.RawMessage(c.there)
		if got := types.Equal(c.path, want, there); got != c.exact {
			t.Errorf("%s: %s and %s: %t, want %t", c.path, c.want, c.there, got, c.exact)
		}
		if got := folding.Equal(c.path, want, there); got != c.folded {
			t.Errorf("%s, without case: %s and %s: %t, want %t", c.path, c.want, c.there, got, c.folded)
		}
	}
}

func TestTheLeavesOfARecord(t *testing.T) {
	types := TypesOf(target.Schema{Attributes: []target.Attribute{{Name: "old", Type: "password-md5"}}}, traits)
	got := types.Leaves(attributes(t, `{"uuid":"u","id":1,"created":"c","lastUpdated":"l","password":"p","old":"p","a":1,"none":null,"empty":"","list":[],
		"o":{"x":"y","none":null,"deep":{"z":true}},"p":[{"id":9,"v":1,"sub":[{"id":8,"w":2}]}]}`))
	want := map[string]json.RawMessage{
		"a": json.RawMessage(`1`), "o.x": json.RawMessage(`"y"`), "o.deep.z": json.RawMessage(`true`), "p": json.RawMessage(`[{"sub":[{"w":2}],"v":1}]`),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
