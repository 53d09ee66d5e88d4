package mapping

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

func TestValues(t *testing.T) {
	for _, c := range []struct {
		name, rule string
		cells      map[string]string // "" as JSON is a failed record
	}{
		{"text", "{}", map[string]string{"": "null", " a ": `" a "`, "1": `"1"`}},
		{"trim", "{trim: true}", map[string]string{" a ": `"a"`, "  ": "null"}},
		{"lower", "{case: lower}", map[string]string{"ÄB": `"äb"`}},
		{"upper", "{case: upper}", map[string]string{"äb": `"ÄB"`}},
		{"NFC", "{normalize: NFC}", map[string]string{"e\u0301": `"é"`, "ﬁ": `"ﬁ"`}},
		{"NFKC", "{normalize: NFKC}", map[string]string{"ﬁ": `"fi"`, "Ａ": `"A"`}},
		{"blank", "{blank-is-empty: true}", map[string]string{" \t": "null", " a": `" a"`}},
		{"default", "{default: none}", map[string]string{"": `"none"`, " ": `" "`}},
		{"default, trimmed", "{default: none, trim: true}", map[string]string{" ": `"none"`}},
		{"default of a number", "{default: 007, type: integer}", map[string]string{"": "7", "12": "12"}},
		{"default of a list", "{default: [{a: 1}], type: plural}", map[string]string{"": `[{"a":1}]`, "[]": "[]"}},
		{"integer", "{type: integer}", map[string]string{"": "null", "0": "0", "-0012": "-12", "+5": "5", "1.5": "", " 1": "", "1e3": "", "-": "", "99999999999999999999": "99999999999999999999"}},
		{"integer with thousands", "{type: integer, thousands: '.'}", map[string]string{"1.234.567": "1234567", "12.34": "", ".123": "", "1234": "1234"}},
		{"decimal", "{type: decimal}", map[string]string{"1.50": "1.50", "007.1": "7.1", "5": "5", "-.5": "", "1.": "", "1,5": "", "NaN": ""}},
		{"decimal with a comma", "{type: decimal, decimal: ',', thousands: '.'}", map[string]string{"1.234,50": "1234.50", "1,5": "1.5", "1.5": ""}},
		{"boolean", "{type: boolean}", map[string]string{"TRUE": "true", "false": "false", "": "null", "yes": ""}},
		{"boolean with words", "{type: boolean, true: [yes, ja], false: [no, nein], otherwise: null}", map[string]string{"JA": "true", "no": "false", "perhaps": "null", "true": "null"}},
		{"boolean with one side", "{type: boolean, true: x}", map[string]string{"X": "true", "false": "false"}},
		{"date", "{type: date, layouts: [DD.MM.YYYY, 'MMM D, YYYY']}", map[string]string{"31.12.1999": `"1999-12-31 00:00:00"`, "feb 3, 2001": `"2001-02-03 00:00:00"`, "31.4.1999": "", "31.04.1999": "", "29.02.1900": "", "29.02.2000": `"2000-02-29 00:00:00"`, "31.12.1999 ": ""}},
		{"two digits of year", "{type: date, layouts: [D/M/YY]}", map[string]string{"1/2/69": `"1969-02-01 00:00:00"`, "1/2/68": `"2068-02-01 00:00:00"`}},
		{"a date keeps its day", "{type: date, layouts: ['YYYY-MM-DDThh:mm:ssZ']}", map[string]string{"1999-12-31T23:30:00-05:00": `"1999-12-31 00:00:00"`}},
		{"dateTime", "{type: dateTime, layouts: ['YYYY-MM-DD hh:mm:ss']}", map[string]string{"1999-12-31 23:59:59": `"1999-12-31 23:59:59"`, "1999-12-31 23:59:59.5": `"1999-12-31 23:59:59.500000 +0000"`, "1999-12-31 24:00:00": "", "1999-12-31 23:60:00": ""}},
		{"dateTime in a zone", "{type: dateTime, layouts: ['DD.MM.YYYY hh:mm'], zone: Europe/Berlin}", map[string]string{"01.07.2020 00:30": `"2020-06-30 22:30:00"`, "01.01.2020 00:30": `"2019-12-31 23:30:00"`}},
		{"a date of RFC 3339", "{type: date, layouts: [D.M.YYYY], format: rfc3339}", map[string]string{"1.2.1999": `"1999-02-01"`, "1": ""}},
		{"a dateTime that occurs twice", "{type: dateTime, layouts: ['YYYY-MM-DD hh:mm'], zone: Europe/London}", map[string]string{"2026-10-25 00:59": `"2026-10-24 23:59:00"`, "2026-10-25 01:00": `"2026-10-25 00:00:00"`, "2026-10-25 01:59": `"2026-10-25 00:59:00"`, "2026-10-25 02:00": `"2026-10-25 02:00:00"`, "2026-03-29 00:59": `"2026-03-29 00:59:00"`, "2026-03-29 02:00": `"2026-03-29 01:00:00"`}},
		{"a dateTime that occurs twice, west", "{type: dateTime, layouts: ['YYYY-MM-DD hh:mm'], zone: America/New_York}", map[string]string{"2026-11-01 01:30": `"2026-11-01 05:30:00"`, "2026-11-01 02:00": `"2026-11-01 07:00:00"`}},
		{"a dateTime of RFC 3339", "{type: dateTime, layouts: ['YYYY-MM-DD hh:mm:ss'], zone: Europe/Berlin, format: rfc3339}", map[string]string{"2020-07-01 00:30:00": `"2020-06-30T22:30:00Z"`, "2020-07-01 00:30:00.1234567": `"2020-06-30T22:30:00.123456Z"`}},
		{"an offset is more than the zone", "{type: dateTime, layouts: ['YYYY-MM-DDThh:mm:ssZ'], zone: Europe/Berlin}", map[string]string{"2020-07-01T00:30:00Z": `"2020-07-01 00:30:00"`, "2020-07-01T00:30:00+0530": `"2020-06-30 19:00:00"`, "2020-07-01T00:30:00-02": `"2020-07-01 02:30:00"`}},
		{"half days", "{type: dateTime, layouts: ['M/D/YYYY h:mm am']}", map[string]string{"1/2/2003 12:05 AM": `"2003-01-02 00:05:00"`, "1/2/2003 12:05 pm": `"2003-01-02 12:05:00"`, "1/2/2003 11:05PM": "", "1/2/2003 13:05 PM": ""}},
		{"seconds since 1970", "{type: dateTime, layouts: [unix]}", map[string]string{"946684799": `"1999-12-31 23:59:59"`, "-1": `"1969-12-31 23:59:59"`, "x": "", "999999999999999": ""}},
		{"milliseconds since 1970", "{type: dateTime, layouts: [unix-ms]}", map[string]string{"946684799500": `"1999-12-31 23:59:59.500000 +0000"`}},
		{"json", "{type: json}", map[string]string{` { "a" : 1.50 } `: `{"a":1.50}`, "5": "5", "x": "", "": "null"}},
		{"object", "{type: object}", map[string]string{`{"a": 1}`: `{"a":1}`, "[]": "", "null": "null", `"a"`: ""}},
		{"plural", "{type: plural}", map[string]string{"": "[]", `[{"a": 1}]`: `[{"a":1}]`, "{}": "", "x": ""}},
		{"plural of parts", "{type: plural, separator: ;, member: value}", map[string]string{"a; b;;": `[{"value":"a"},{"value":"b"}]`, "": "[]"}},
		{"plural of texts", "{type: plural, separator: ', '}", map[string]string{"a, b": `["a","b"]`}},
		{"a table", "{values: {M: male, F: female, X: null}}", map[string]string{"M": `"male"`, "X": "null", "m": `"m"`, "": "null"}},
		{"a table, fail", "{values: {M: male}, otherwise: fail, ignore-case: true}", map[string]string{"m": `"male"`, "W": "", "": "null"}},
		{"a table, null", "{values: {M: male}, otherwise: null}", map[string]string{"W": "null"}},
		{"a table, value", "{values: {M: male}, otherwise: {value: other}}", map[string]string{"W": `"other"`}},
		{"a table to numbers", "{values: {low: 1, high: 9}, type: integer}", map[string]string{"low": "1", "5": "5", "x": ""}},
		{"a table of long and foreign words", "{values: {ÄÖÜ: a, " + strings.Repeat("w", 40) + ": b}, ignore-case: true}", map[string]string{"äöü": `"a"`, strings.Repeat("W", 40): `"b"`}},
		{"a password", "{type: password}", map[string]string{"secret": `"secret"`, `{"type": "password-bcrypt", "value": "x"}`: `{"type":"password-bcrypt","value":"x"}`, "{x": "", "": "null"}},
		{"a hash", "{type: password, hash: bcrypt}", map[string]string{"$2a$04$x": `{"type":"password-bcrypt","value":"$2a$04$x"}`, "": "null"}},
		{"a hash by its whole name", "{type: password, hash: password-sha-256}", map[string]string{"x": `{"type":"password-sha-256","value":"x"}`}},
		{"a salt in the cell", "{type: password, hash: md5-salted-left-base64, salt-separator: ':'}", map[string]string{"hash:salt": `{"type":"password-md5-salted-left-base64","value":"hash","salt":"salt"}`, "geheim": "", "geheim:": ""}},
		{"a salt first", "{type: password, hash: sha-512, salt-separator: $, salt-first: true}", map[string]string{"salt$hash": `{"type":"password-sha-512","value":"hash","salt":"salt"}`}},
		{"an expression", `{expression: 'upper(value) + "!"'}`, map[string]string{"a": `"A!"`, "": `"!"`}},
		{"an expression, then a type", `{expression: 'trimSuffix(value, " years")', type: integer}`, map[string]string{"12 years": "12", "x years": "", "": "null"}},
		{"an expression that gives a list", `{expression: 'map(filter(split(value, ","), # != ""), {{"value": trim(#)}})', type: plural}`, map[string]string{"a, b,": `[{"value":"a"},{"value":"b"}]`, "": "[]"}},
		{"an expression that gives nothing", `{expression: 'value == "none" ? nil : value'}`, map[string]string{"none": "null", "a": `"a"`}},
		{"an expression that gives a number", `{expression: 'len(value)'}`, map[string]string{"abc": "3"}},
		{"an expression that fails", `{expression: 'int(value)'}`, map[string]string{"abc": "", "12": "12"}},
		{"an expression after trim and case", `{trim: true, case: lower, expression: 'value == "x"', type: boolean}`, map[string]string{" X ": "true", "y": "false"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := compile(t, "columns:\n  c: "+c.rule+"\n", "c")
			must(t, err)
			for cell, want := range c.cells {
				got, err := r.AppendJSON(nil, []string{cell})
				if field := new(FieldError); want == "" {
					if !errors.As(err, &field) || field.Column != "c" || field.Rule == "" {
						t.Errorf("%q gave %s, %v; want a FieldError for c", cell, got, err)
					}
					if err != nil && len(cell) > 2 && strings.Contains(err.Error(), cell) {
						t.Errorf("%q gave the error %v, which holds the value", cell, err)
					}
					continue
				}
				if err != nil || string(got) != `{"c":`+want+`}` {
					t.Errorf("%q gave %s, %v; want %s", cell, got, err, want)
				}
			}
		})
	}
}

func TestRecords(t *testing.T) {
	for _, c := range []struct {
		name, mapping string
		header, cells []string
		want          string // JSON, or the error
	}{
		{"paths make objects", "columns: {City: primaryAddress.city, Zip: primaryAddress.zip}\n", []string{"City", "email", "Zip"}, []string{"Testville", "a@example.com", "01"}, `{"primaryAddress":{"city":"Testville","zip":"01"},"email":"a@example.com"}`},
		{"a column in two attributes", "columns: {Mail: [email, {to: login, case: lower}]}\n", []string{"Mail"}, []string{"A@example.com"}, `{"email":"A@example.com","login":"a@example.com"}`},
		{"others as without a file", "columns: {x: ignore}\n", []string{"x", "gender", "birthday", "y"}, []string{"1", "m", "1/2/2003", ""}, `{"gender":"male","birthday":"2003-01-02 00:00:00","y":null}`},
		{"others as text", "others: text\n", []string{"gender"}, []string{"m"}, `{"gender":"m"}`},
		{"others not at all", "others: ignore\ncolumns: {a: b}\n", []string{"a", "c"}, []string{"1", "2"}, `{"b":"1"}`},
		{"a mentioned column is not built in", "columns: {gender: {}}\n", []string{"gender"}, []string{"m"}, `{"gender":"m"}`},
		{"missing columns", "missing: ignore\ncolumns: {a: b, c: d}\n", []string{"c"}, []string{"1"}, `{"d":"1"}`},
		{"constants with all their digits", "others: ignore\nattributes: {a: {constant: 12345678901234567890123}, b: {constant: 1.10}, c: {constant: 0x1F}, d: {constant: -0.12345678901234567890}}\n", []string{"x"}, []string{""}, `{"a":12345678901234567890123,"b":1.10,"c":31,"d":-0.12345678901234567890}`},
		{"constants", "others: ignore\nattributes: {a: {constant: x}, b.c: {constant: 5}, d: {constant: \"5\"}, e: {constant: [true, null, {k: 1.5}]}, f: {constant: yes}}\n", []string{"x"}, []string{""}, `{"a":"x","b":{"c":5},"d":"5","e":[true,null,{"k":1.5}],"f":"yes"}`},
		{"a join", "others: ignore\nattributes: {n: {join: [a, b, c], with: ' '}}\n", []string{"a", "b", "c"}, []string{"A", "", "C"}, `{"n":"A C"}`},
		{"a join of nothing", "others: ignore\nattributes: {n: {join: [a, b], with: ' ', default: nobody}}\n", []string{"a", "b"}, []string{"", ""}, `{"n":"nobody"}`},
		{"a join that is a date", "others: ignore\nattributes: {n: {join: [y, m, d], with: '-', type: date, layouts: [YYYY-M-D]}}\n", []string{"y", "m", "d"}, []string{"1999", "1", "31"}, `{"n":"1999-01-31 00:00:00"}`},
		{"a join that is no date", "others: ignore\nattributes: {n: {join: [y, m], with: '-', type: date, layouts: [YYYY-M-D]}}\n", []string{"y", "m"}, []string{"1999", "1"}, `the attribute "n", type date: the value is not a date; expected YYYY-M-D, as 1999-12-31`},
		{"a split", "columns: {n: {split: {at: ' ', to: [givenName, familyName]}}}\n", []string{"n"}, []string{"Ada van Test"}, `{"givenName":"Ada","familyName":"van Test"}`},
		{"a split of less", "columns: {n: {split: {at: ' ', to: [givenName, familyName]}}}\n", []string{"n"}, []string{"Ada"}, `{"givenName":"Ada","familyName":null}`},
		{"a split by number", "columns: {n: {split: {at: '|', to: {3: {to: age, type: integer}, 1: name}}}}\n", []string{"n"}, []string{"A|x|07|y"}, `{"age":7,"name":"A"}`},
		{"a split with an expression", "columns: {n: {split: {at: '|', to: {2: {to: b, expression: 'upper(value) + c'}}}}, c: ignore}\n", []string{"n", "c"}, []string{"a|b", "!"}, `{"b":"B!"}`},
		{"a split with a hash and its salt", "columns: {n: {split: {at: '|', to: {2: {to: p, type: password, hash: sha-256, salt: s}}}}}\n", []string{"n", "s"}, []string{"a|b", "!"}, `{"p":{"type":"password-sha-256","value":"b","salt":"!"}}`},
		{"a split that cannot be used", "columns: {n: {split: {at: '|', to: {1: {to: age, type: integer}}}}}\n", []string{"n"}, []string{"A|x"}, "n (type integer): the value is not an integer; expected digits, as 1234"},
		{"a split, trimmed, with a default", "columns: {n: {trim: true, default: No Name, split: {at: ' ', to: [a, b]}}}\n", []string{"n"}, []string{"  "}, `{"a":"No","b":"Name"}`},
		{"a salt in another column", "columns: {p: {to: password, type: password, hash: sha-256, salt: s}}\n", []string{"p", "s"}, []string{"hash", "salt"}, `{"password":{"type":"password-sha-256","value":"hash","salt":"salt"}}`},
		{"no password, but a salt", "columns: {p: {to: password, type: password, hash: sha-256, salt: s}}\n", []string{"p", "s"}, []string{"", "salt"}, `{"password":null}`},
		{"no salt where one must be", "columns: {p: {to: password, type: password, hash: md5-salted-right-base64, salt: s}}\n", []string{"p", "s"}, []string{"hash", ""}, "p (type password): the hash has no salt beside it; expected both, or neither"},
		{"a salt that is an attribute too", "columns: {p: {type: password, hash: sha-256, salt: s}, s: legacy.salt}\n", []string{"p", "s"}, []string{"hash", "salt"}, `{"p":{"type":"password-sha-256","value":"hash","salt":"salt"},"legacy":{"salt":"salt"}}`},
		{"an expression over columns", `attributes: {full: {expression: 'row["First name"] + " " + last'}}` + "\nothers: ignore\n", []string{"First name", "last"}, []string{"Ada", "Test"}, `{"full":"Ada Test"}`},
		{"a column named value", "columns: {a: {expression: 'value + row[\"value\"]'}, value: ignore}\n", []string{"a", "value"}, []string{"1", "2"}, `{"a":"12"}`},
		{"an expression over dotted names", "columns: {a: {expression: 'row[\"b.c\"]'}, b.c: ignore}\n", []string{"a", "b.c"}, []string{"1", "2"}, `{"a":"2"}`},
		{"an expression of an attribute that fails", "others: ignore\nattributes: {n: {expression: 'int(a)'}}\n", []string{"a"}, []string{"secret"}, `the attribute "n", expression: the expression failed at its character 1`},
		{"objects of an expression", `attributes: {phones: {type: plural, expression: '[{"kind": "home", "number": home}, {"kind": "work", "number": work}]'}}` + "\nothers: ignore\n", []string{"home", "work"}, []string{"1", "2"}, `{"phones":[{"kind":"home","number":"1"},{"kind":"work","number":"2"}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := compile(t, c.mapping, c.header...)
			must(t, err)
			got, err := r.AppendJSON(nil, c.cells)
			if err != nil {
				got = []byte(err.Error())
			}
			if string(got) != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestKeysAreWhatIsSent(t *testing.T) {
	r, err := compile(t, `
columns:
  Mail: {to: email, trim: true, case: lower}
  Number: {to: ids.number, type: integer}
  Login: {to: ids.login, expression: 'value + "\"x"'}
  Code: {to: code, default: none}
attributes:
  source: {constant: old}
others: ignore
`, "Mail", "Number", "Login", "Code", "Rest")
	must(t, err)
	fields := []string{" A@Example.com", "7", "me", "", "rest"}
	for _, c := range []struct {
		attribute string
		column    int
		ok        bool
		value     string
	}{
		{"email", 0, true, "a@example.com"},
		{"ids.number", 0, false, ""}, // not a string
		{"ids.login", 0, false, `me"x`},
		{"code", 0, false, "none"},
		{"source", 0, false, "old"},
		{"ids", 0, false, ""},
		{"email.x", 0, false, ""},
		{"Rest", 0, false, ""},
	} {
		if column, ok := r.Key(c.attribute); column != c.column || ok != c.ok {
			t.Errorf("Key(%q) = %d, %v; want %d, %v", c.attribute, column, ok, c.column, c.ok)
		}
		if value := r.KeyValue(c.attribute, fields); value != c.value {
			t.Errorf("KeyValue(%q) = %q, want %q", c.attribute, value, c.value)
		}
	}
	if value := r.KeyValue("email", fields[:2]); value != "" {
		t.Errorf("KeyValue of too few fields = %q, want nothing", value)
	}
}

// Expressions are bounded for any content of the cells.
func TestExpressionsAreBounded(t *testing.T) {
	for expression, cell := range map[string]string{
		`value + "x"`:                             strings.Repeat("a", maxCells+1),
		`len(split(value, ","))`:                  strings.Repeat(",", maxParts),
		`replace(value, "", value)`:               strings.Repeat("a", 2000),
		`join(map(split(value, ","), value), "")`: strings.Repeat(",", maxParts-1) + strings.Repeat("a", 2000),
		`map(split(value, ","), value)`:           strings.Repeat(",", maxParts-1) + strings.Repeat("a", 4000),
	} {
		r, err := compile(t, "columns: {a: {expression: '"+expression+"'}}\n", "a")
		must(t, err)
		field := new(FieldError)
		if got, err := r.AppendJSON(nil, []string{cell}); !errors.As(err, &field) || field.Rule != "expression" {
			t.Errorf("%s of %d bytes gave %d bytes, %v; want a FieldError", expression, len(cell), len(got), err)
		}
		if _, err := r.AppendJSON(nil, []string{"a,b"}); err != nil {
			t.Errorf("%s of a short cell gave %v", expression, err)
		}
	}
}

func TestRecordsAreSafeForConcurrentUse(t *testing.T) {
	r, err := compile(t, "columns: {a: {expression: 'map(split(value, \",\"), upper(#) + b)'}, b: {values: {x: y}, ignore-case: true}}\n", "a", "b")
	must(t, err)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			b := strings.Repeat("z", i+1)
			want := `{"a":["P` + b + `","Q` + b + `"],"b":"` + b + `"}`
			for range 200 {
				if got, err := r.AppendJSON(nil, []string{"p,q", b}); err != nil || string(got) != want {
					t.Errorf("got %s, %v; want %s", got, err, want)
					return
				}
			}
		})
	}
	wait.Wait()
}

// everything contains each kind of rule once.
const everything = `
columns:
  a: {to: x.text, trim: true, case: upper, normalize: NFKC, values: {A: b, C: null}, ignore-case: true, otherwise: keep}
  b: [{to: x.integer, type: integer, thousands: "."}, {to: x.decimal, type: decimal, decimal: ","}]
  c: [{to: x.date, type: date, layouts: [D.M.YYYY, unix]}, {to: x.time, type: dateTime, layouts: ["YYYY-MM-DDThh:mm:ssZ", unix-ms], zone: America/New_York}]
  d: [{to: x.json, type: json}, {to: x.object, type: object}, {to: x.list, type: plural}]
  e: {split: {at: " ", to: {1: y.one, 2: {to: y.two, type: plural, separator: ",", member: value}}}}
  f: [{to: p.hash, type: password, hash: sha-256, salt: g}, {to: p.own, type: password, hash: sha-256, salt-separator: ":"}, {to: p.json, type: password}]
attributes:
  z: {constant: {a: [1, "é"]}}
  j: {join: [a, b, c], with: "\n"}
  k: {expression: 'map(split(a + b, ","), {{"v": lower(#), (c): [d, len(e), f contains "x"]}})'}
missing: ignore
`

// For any content of the cells a record is valid JSON or a FieldError without that content.
func FuzzMappedJSONIsValid(f *testing.F) {
	names := []string{"a", "b", "c", "d", "e", "f", "g"}
	var rules []*Records // one attribute each, so that one that fails does not hide the others
	whole, err := compile(f, everything, names...)
	must(f, err)
	var one func(o *object)
	one = func(o *object) {
		for _, m := range o.members {
			if m.leaf == nil {
				one(m.object)
				continue
			}
			rules = append(rules, &Records{columns: len(names), record: object{members: []member{m}}})
		}
	}
	one(&whole.record)
	f.Add("a", "1.000", "31.12.1999", "{}", "x y,z", "hash:salt", "s")
	f.Add("\xff", "-1,5", "1999-12-31T23:59:59.123Z", "[1e9]", "\x00 \u2028", `{"type":"x"}`, "")
	f.Add("ǅ", "+00", "-5", `"\ud800"`, "", `"`, "\\")
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g, h string) {
		for _, r := range rules {
			checkJSON(t, r, []string{a, b, c, d, e, g, h})
		}
	})
}

func checkJSON(t *testing.T, r *Records, fields []string) {
	t.Helper()
	got, err := r.AppendJSON([]byte("x"), fields)
	if field := new(FieldError); err != nil {
		if !errors.As(err, &field) || string(got) != "x" {
			t.Fatalf("%q gave %s, %v; want a FieldError, and nothing appended", fields, got, err)
		}
		return
	}
	if !json.Valid(got[1:]) || !utf8.Valid(got) || got[1] != '{' {
		t.Fatalf("%q gave %s, which is no JSON object", fields, got[1:])
	}
}

func BenchmarkMapped(b *testing.B) {
	r, err := compile(b, `
columns:
  Mail: {to: email, trim: true, case: lower}
  Name: {split: {at: " ", to: [givenName, familyName]}}
  Born: {to: birthday, type: date, layouts: [DD.MM.YYYY]}
  Sex: {to: gender, values: {M: male, F: female}, otherwise: fail}
  City: primaryAddress.city
attributes:
  displayName: {expression: 'upper(Name)'}
`, "Mail", "Name", "Born", "Sex", "City")
	must(b, err)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		if dst, err = r.AppendJSON(dst[:0], []string{"Q@example.com", "Quillon Ashwyn", "31.12.1999", "M", "Testville"}); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(dst)))
}

// A key identifies a record in the target, as it is sent.
func TestKeyless(t *testing.T) {
	r, err := compile(t, `
columns:
  number: {type: integer}
  flag: {type: boolean}
  json: {type: json}
  lower: {case: lower, trim: true, to: lowered}
  list: {type: plural}
`, "email", "number", "flag", "json", "lower", "list", "a.b")
	must(t, err)
	for _, c := range []struct {
		attribute, cell string
		keyless         bool
	}{
		{"email", "", true},
		{"email", "a@example.com", false},
		{"email", " a ", false},
		{"email", "0", false},
		{"email", "null", false},
		{"email", " \t\r\n", true},
		{"email", "\u00a0\u2003\u3000", true},
		{"email", "\u200b\ufeff\u00ad\u2060\u202e", true},
		{"email", "\x00\x1f\x7f\u0085", true},
		{"email", "\u200b\u00e9", false},
		{"a.b", "x", false},
		{"a.b", "", true},
		{"a", "x", true},
		{"a.b.c", "x", true},
		{"number", "", true},
		{"number", "0", false},
		{"number", "-5", false},
		{"number", "x", false}, // it fails and is not sent
		{"flag", "true", true},
		{"json", "12", false},
		{"json", `{"a":1}`, true},
		{"json", `" "`, true},
		{"lowered", "  ", true},
		{"lowered", " A ", false},
		{"list", `[{"a":1}]`, true},
		{"absent", "x", true},
	} {
		fields := []string{"", "", "", "", "", "", ""}
		for i, name := range []string{"email", "number", "flag", "json", "lower", "list", "a.b"} {
			if name == c.attribute || name+"ed" == c.attribute {
				fields[i] = c.cell
			}
		}
		if c.attribute == "a" || c.attribute == "a.b.c" {
			fields[6] = c.cell
		}
		if got := r.Keyless(c.attribute, fields); got != c.keyless {
			t.Errorf("%s %q: keyless %v, want %v", c.attribute, c.cell, got, c.keyless)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
