package mapping

import (
	"strings"
	"testing"
)

func TestAWrongMappingIsRefusedWithItsLine(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "m.yaml, line 1: the file is empty"},
		{"no YAML", "columns:\n  a: [b\n", "this is not YAML"},
		{"a list", "- a\n", "m.yaml, line 1: the file is a list; expected keys with values"},
		{"two documents", "columns: {}\n---\ncolumns: {}\n", "more than one document"},
		{"an alias", "columns:\n  a: &x b\n  c: *x\n", "line 2: an anchor or an alias"},
		{"an unknown key", "columns: {}\ncolunms: {}\n", `line 2: the file has the unknown key "colunms"; did you mean "columns"?`},
		{"an unknown key of a rule", "columns:\n  a:\n    to: b\n    typ: date\n", `line 4: the column "a" has the unknown key "typ"; did you mean "type"?`},
		{"a key twice", "columns:\n  a: b\n  a: c\n", `line 3: columns has the key "a" twice`},
		{"a version to come", "version: 2\n", `line 1: version is "2"; expected 1`},
		{"others", "others: drop\n", `line 1: others is "drop"; expected default, text, ignore, fail`},
		{"an empty attribute", "columns:\n  a:\n", "line 2: the attribute is empty; expected a text"},
		{"a path with an empty name", "columns:\n  a: b..c\n", `line 2: the attribute "b..c" is not a path`},
		{"an unknown type", "columns:\n  a: {type: datetime}\n", `type is "datetime"; expected string, integer, decimal, boolean, date, dateTime, json, plural, object, password; did you mean "dateTime"?`},
		{"a date without layouts", "columns:\n  a: {type: date}\n", "is a date without layouts"},
		{"a wrong layout", "columns:\n  a: {type: date, layouts: [dd.mm.yyyy]}\n", `the layout "dd.mm.yyyy" has 'd' in it`},
		{"a layout without a year", "columns:\n  a: {type: date, layouts: [DD.MM.]}\n", "no year, no month or no day"},
		{"a layout with two days", "columns:\n  a: {type: date, layouts: [DD.D.MM.YYYY]}\n", "a part of a date twice"},
		{"no zone", "columns:\n  a: {type: dateTime, layouts: [YYYY-MM-DD hh:mm], zone: Mars/Olympus}\n", `the unknown zone "Mars/Olympus"`},
		{"the zone of the machine", "columns:\n  a: {type: dateTime, layouts: [YYYY-MM-DD hh:mm], zone: Local}\n", `the unknown zone "Local"`},
		{"a key of another type", "columns:\n  a: {type: string, zone: UTC}\n", "has zone, which goes with type: dateTime only"},
		{"otherwise alone", "columns:\n  a: {otherwise: null}\n", "has otherwise, which goes with values or type: boolean only"},
		{"a word for both", "columns:\n  a: {type: boolean, true: [y], false: [Y]}\n", `"y" is a word for true and for false`},
		{"true for false", "columns:\n  a: {type: boolean, false: [true]}\n", "has no word that means true"},
		{"a default that is no value", "columns:\n  a:\n    type: integer\n    default: none\n", `line 4: the column "a": default "none" cannot be used: the value is not an integer`},
		{"a table to no value", "columns:\n  a: {type: integer, values: {x: y}}\n", `values "y" cannot be used`},
		{"values in two cases", "columns:\n  a: {ignore-case: true, values: {M: male, m: man}}\n", `has "m" in more than one case`},
		{"an unknown hash", "columns:\n  a: {type: password, hash: bcyrpt}\n", `hash is "bcyrpt"`},
		{"a salted hash without salt", "columns:\n  a: {type: password, hash: md5-salted-left-base64}\n", "is a salted hash without its salt"},
		{"two salts", "columns:\n  a: {type: password, hash: sha-256, salt: s, salt-separator: ':'}\n", "expected the salt in one place"},
		{"a salt without a hash", "columns:\n  a: {type: password, salt: s}\n", "has salt without hash"},
		{"the same marks", "columns:\n  a: {type: decimal, decimal: ',', thousands: ','}\n", "the same mark"},
		{"split and type", "columns:\n  a: {type: date, layouts: [DD.MM.YYYY], split: {at: ' ', to: [b]}}\n", "beside split"},
		{"split without at", "columns:\n  a: {split: {to: [b]}}\n", "a split without at or to"},
		{"split of a part", "columns:\n  a: {split: {at: ' ', to: [{to: b, split: {at: ',', to: [c]}}]}}\n", "has to beside split"},
		{"a part that is no number", "columns:\n  a: {split: {at: ' ', to: {first: b}}}\n", `the part "first"; expected a number from 1`},
		{"an attribute without a source", "attributes:\n  a: {trim: true}\n", `line 2: the attribute "a" has no source`},
		{"a constant and more", "attributes:\n  a: {constant: 1, trim: true}\n", "expected the constant alone"},
		{"a constant that JSON does not have", "attributes:\n  a: {constant: .nan}\n", "no number that JSON has"},
		{"an expression that is none", "columns:\n  a: {expression: 'value +'}\n", `the column "a": the expression is wrong at its character`},
		{"an expression with a loop", "columns:\n  a: {expression: 'map(1..9999999, value)'}\n", "a range (..)"},
		{"an expression with loops in loops", "columns:\n  a: {expression: 'any(split(value, \"\"), any(split(value, \"\"), # == value))'}\n", "a loop in a loop"},
		{"an expression with reduce", "columns:\n  a: {expression: 'reduce(split(value, \"\"), # + #)'}\n", `calls "reduce"`},
		{"an expression with a variable", "columns:\n  a: {expression: 'let a = value; a + a'}\n", "a variable"},
		{"an expression with the clock", "columns:\n  a: {expression: 'string(now())'}\n", `calls "now"`},
		{"an expression that sees all", "columns:\n  a: {expression: '$env[\"HOME\"]'}\n", "$env"},
		{"an expression without end", "columns:\n  a: {expression: '" + strings.Repeat("value + ", 200) + "value'}\n", "the expression is wrong"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("m.yaml", []byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s\ngave error %v\nwant %s", c.text, err, c.want)
			}
		})
	}
	if _, err := Parse("m.yaml", []byte("# "+strings.Repeat("x", MaxSize))); err == nil {
		t.Error("a file of more than a mebibyte was read")
	}
}

func TestAMappingThatDoesNotFitTheHeaderIsRefused(t *testing.T) {
	for _, c := range []struct {
		name, text string
		header     []string
		want       string
	}{
		{"a missing column", "columns:\n  Mial: email\n", []string{"Mail"}, `mapping.yaml, line 2: the column "Mial" is not in the input; did you mean column 1?`},
		{"two columns on one attribute", "columns:\n  Mail: email\n  Mail2: email\n", []string{"Mail", "Mail2"}, `line 3: the attribute "email" gets a value from the column "Mail2", and it, or an object at its path, from the column "Mail" (line 2) too`},
		{"a column that is not mentioned on the same", "columns:\n  Mail: email\n", []string{"Mail", "email"}, `the attribute "email" gets a value from the column "email"`},
		{"a value and an object", "columns:\n  City: address\n  Zip: address.zip\n", []string{"City", "Zip"}, `the attribute "address.zip"`},
		{"an object and a value", "columns:\n  City: address.city\n  Zip: address\n", []string{"City", "Zip"}, `the attribute "address"`},
		{"an attribute of its own on a column's", "attributes:\n  email: {constant: x}\n", []string{"email"}, `the attribute "email"`},
		{"a built-in one on the same", "columns: {DOB: birthday}\n", []string{"DOB", "birthday"}, `mapping.yaml: the attribute "birthday" gets a value from the column "birthday", and it, or an object at its path, from the column "DOB" (line 1) too`},
		{"others: fail", "others: fail\ncolumns: {a: ignore}\n", []string{"a", "b"}, `column 2 of the input is not mentioned`},
		{"a join of nothing", "attributes:\n  a: {join: [x, y]}\n", []string{"x"}, `joins the column "y", which is not in the input`},
		{"no salt", "columns:\n  p: {type: password, hash: sha-256, salt: slat}\n", []string{"p", "salt"}, `the salt from the column "slat", which is not in the input; did you mean column 2?`},
		{"an expression over a missing column", "columns:\n  a: {expression: 'value + nmae'}\n", []string{"a", "name"}, `the expression uses "nmae", which is not a column of the input; did you mean column 2?`},
		{"an expression over a missing row", "columns:\n  a: {expression: 'row[\"First nam\"]'}\n", []string{"a", "First name"}, `uses "First nam", which is not a column of the input; did you mean column 2?`},
		{"an expression of the wrong type", "columns:\n  a: {expression: 'b - 1'}\n", []string{"a", "b"}, "the expression is wrong at its character"},
		{"an expression that is no text for a date", "columns:\n  a: {type: date, layouts: [YYYY-MM-DD], expression: 'len(value)'}\n", []string{"a"}, "the expression returns a number; expected a text"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := compile(t, c.text, c.header...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s\nfor %q gave error %v\nwant %s", c.text, c.header, err, c.want)
			}
		})
	}
}

// Any file is a mapping or refused, and any mapping compiles or is refused.
func FuzzParse(f *testing.F) {
	f.Add(string(Default()))
	f.Add("columns:\n  a: {split: {at: ' ', to: {1: x, 3: {to: y, type: integer, default: 7}}}}\nattributes:\n  z: {join: [a], with: ''}\n")
	f.Add("columns:\n  a: [x, {to: y, type: dateTime, layouts: [unix, D.M.YY h:mm am Z], zone: Europe/Berlin}]\n  b: ignore\nothers: fail\n")
	f.Add("attributes:\n  a: {expression: 'map(split(row[\"b\"], \",\"), {\"value\": upper(#)})', type: plural}\n  c: {constant: [1, {x: null}, 0x1F, 1e3, 2001-01-01]}\n")
	f.Add("columns:\n  a: {type: password, hash: sha-256, salt: b}\n  b: {type: decimal, decimal: ',', thousands: '.', default: '1.000,5'}\n")
	f.Add("columns:\n  a: {values: {x: , y: z}, ignore-case: true, otherwise: {value: q}}\n  b: {type: plural, separator: ;, member: value}\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Parse("m.yaml", []byte(text))
		if err != nil {
			return
		}
		r, err := m.Compile([]string{"a", "b"})
		if err != nil {
			return
		}
		checkJSON(t, r, []string{"1.5", "x, y"})
		checkJSON(t, r, []string{"", ""})
	})
}
