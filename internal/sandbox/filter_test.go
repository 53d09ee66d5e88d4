package sandbox

import (
	"slices"
	"strings"
	"testing"
)

// people are entities 1, 2, 3, … of the filter tests.
var people = []string{
	`{"id":1,"uuid":"00000000-0000-4000-8000-00000000000a","email":"Ann@X.org","givenName":"Ann","age":31,"vip":true,"created":"2020-01-01 00:00:00 +0000","primaryAddress":{"city":"Bonn"},"clients":[{"name":"a","hits":1},{"name":"b","hits":20}]}`,
	`{"id":2,"email":"o'brien@x.org","givenName":"Bob","age":9,"vip":false,"created":"2021-06-15 12:00:00.500000 +0000","zip":"00123"}`,
	`{"id":3,"email":null,"givenName":"say \"hi\" \\o/","age":null,"score":1.5,"created":"2022-01-01 00:00:00 +0000"}`,
}

func knownInTests(attribute string) bool {
	return attribute != "nope" && !strings.HasPrefix(attribute, "nope.")
}

func TestFilters(t *testing.T) {
	cases := []struct {
		filter string
		want   []int64
	}{
		{`email = 'ann@x.ORG'`, []int64{1}},
		{`email = "ANN@x.org"`, []int64{1}},
		{`email='o''brien@x.org'`, []int64{2}},
		{`email='o\'brien@x.org'`, []int64{2}},
		{`email="o'brien@x.org"`, []int64{2}},
		{`givenName = "say ""hi"" \\o/"`, []int64{3}},
		{`givenName = 'ann'`, nil},
		{`givenName != 'Ann'`, []int64{2, 3}},
		{`givenName > 'Ann' and givenName<='Bob'`, []int64{2}},
		{`age > 9`, []int64{1}},
		{`age >= '9'`, []int64{1, 2}},
		{`age < 31`, []int64{2}},
		{`age = -1`, nil},
		{`age != 9`, []int64{1}}, // null is neither equal nor unequal
		{`not age = 9`, []int64{1}},
		{`score = 1.50`, []int64{3}},
		{`score < 2e0`, []int64{3}},
		{`zip = 00123`, []int64{2}},
		{`zip = 123`, nil},
		{`vip = true`, []int64{1}},
		{`vip = 'false'`, []int64{2}},
		{`vip = 'x'`, nil},
		{`email is null`, []int64{3}},
		{`email is not null`, []int64{1, 2}},
		{`EMAIL is null`, []int64{1, 2, 3}}, // attributes have case
		{`email IS NOT NULL And age IS NOT null`, []int64{1, 2}},
		{`not email is null`, []int64{1, 2}},
		{`!email is null`, []int64{1, 2}},
		{`! (email is null or age = 9)`, []int64{1}},
		{`not not age = 9`, []int64{2}},
		{`age = 9 or age = 31 and vip = false`, []int64{2}},
		{`(age = 9 or age = 31) and vip = true`, []int64{1}},
		{`primaryAddress.city = 'Bonn'`, []int64{1}},
		{`primaryAddress.city is null`, []int64{2, 3}},
		{`primaryAddress = 'Bonn'`, nil},
		{`clients.name = 'b'`, []int64{1}},
		{`clients.name = 'b' and clients.hits = 1`, []int64{1}}, // of any element each
		{`clients.hits > 20`, nil},
		{`clients is null`, []int64{2, 3}},
		{`created >= '2021-06-15 12:00:00.5 +0000' and created < '2022-01-01'`, []int64{2}},
		{`created = '2020-01-01T01:00:00+01:00'`, []int64{1}},
		{`id = 2`, []int64{2}},
		{`id = '2'`, []int64{2}},
		{`id > 1`, []int64{2, 3}},
		{`id >= 1 and id < 3`, []int64{1, 2}},
		{`id <= 0 or id = 3`, []int64{3}},
		{`id != 2`, []int64{1, 3}},
		{`id > 1 and (id = 1 or id = 2)`, []int64{2}},
		{`(id = 1 or id = 3) and id > 1 and id < 9`, []int64{3}},
		{`id = 3 or id < 2`, []int64{1, 3}},
		{`uuid = '00000000-0000-4000-8000-00000000000A'`, []int64{1}},
		{`uuid = 'x'`, nil},
		{"  email\t=\n'ann@x.org'  ", []int64{1}},
	}
	table, entities := tableOf(t, people)
	for _, tc := range cases {
		f, err := parseFilter(tc.filter, knownInTests)
		if err != nil {
			t.Errorf("%s: %v", tc.filter, err)
			continue
		}
		var got []int64
		for _, entity := range entities {
			if f.judge(entity.attributes) == yes {
				got = append(got, entity.id)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: fits %v, want %v", tc.filter, got, tc.want)
		}
		if tc.filter == `uuid = '00000000-0000-4000-8000-00000000000A'` {
			continue // this uuid is not one of the server's, which have their id within
		}
		for _, id := range got {
			if !f.where(table).has(id) {
				t.Errorf("%s: entity %d fits, and is outside of the region %v", tc.filter, id, f.where(table))
			}
		}
	}
}

func TestFilterErrors(t *testing.T) {
	cases := []struct{ filter, want string }{
		{`nope = 'x'`, "Unknown attribute (nope)"},
		{`nope.x is null`, "Unknown attribute (nope.x)"},
		{`email = 'x`, "the string that begins at character 9 has no closing quote"},
		{`email = 'x\'`, "no closing quote"},
		{`email`, "at character 6 there should be an operator"},
		{`email = `, "there should be a value"},
		{`email = foo`, "there should be a value"},
		{`email == 'x'`, "there should be a value"},
		{`'x' = email`, "there should be an attribute"},
		{`(email is null`, "a closing parenthesis, but there is the end"},
		{`email is null)`, "and, or, or the end of the filter, but there is )"},
		{`email is not`, "there should be null"},
		{`email is 'null'`, "there should be null"},
		{`email contains 'x'`, "contains was removed"},
		{`email = 'a' email = 'b'`, "the end of the filter"},
		{`email ! 'x'`, "there should be an operator"},
		{`age = 1.2.3`, "malformed number"},
		{`age = -`, "malformed number"},
		{`é = 1 %`, "at character 7 there is a character that has no meaning"},
		{"\xff", "no meaning"},
		{`id = 'x'`, "not a whole number"},
		{`created > 'soon'`, "not a date"},
		{`and`, "there should be an operator"},
		{strings.Repeat("(", 10000) + "id = 1" + strings.Repeat(")", 10000), "nested deeper than 500 levels"},
		{strings.Repeat("!", 10000) + "id = 1", "nested deeper than 500 levels"},
		{``, "there should be an attribute"},
	}
	for _, tc := range cases {
		f, err := parseFilter(tc.filter, knownInTests)
		if err == nil {
			t.Errorf("%.60s: parsed as %v; want an error", tc.filter, f)
		} else if !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%.60s: %q; want %q", tc.filter, err, tc.want)
		}
	}
}

func TestRegionsAreSmall(t *testing.T) {
	table, _ := tableOf(t, people)
	cases := []struct {
		filter string
		want   region
	}{
		{`email = 'ann@x.org' or email = 'none@x.org' or id = 3 or email = 'ANN@x.org'`, listOf(1, 3)},
		{`email = 'ann@x.org' and givenName = 'Ann'`, listOf(1)},
		{`givenName = 'Ann' and email = 'ann@x.org'`, listOf(1)},
		{`(id = 1 or id = 2) and id > 1`, listOf(2)},
		{`id > 1 and id < 3`, region{first: 2, last: 2}},
		{`id > 5 or id = 2 or id < 0`, region{first: 2, last: everywhere.last}},
		{`email = 'none@x.org'`, listOf()},
		{`email = 'ann@x.org' or givenName = 'Bob'`, everywhere},
		{`not email = 'ann@x.org'`, everywhere},
	}
	for _, tc := range cases {
		f, err := parseFilter(tc.filter, knownInTests)
		must(t, err)
		got := f.where(table)
		if got.listed != tc.want.listed || !slices.Equal(got.ids, tc.want.ids) || got.first != tc.want.first || got.last != tc.want.last {
			t.Errorf("%s: %+v, want %+v", tc.filter, got, tc.want)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, seed := range []string{
		`email = 'ann@x.ORG' or email="o'brien@x.org"`, `not (age >= 9 and id < 3) or id = 1`, `! email is not null`,
		`clients.name != 'b\'' and score <= 1.5e+3`, `created > '2020-01-01' and vip = true`, `id > -1 or uuid = 'x'`, `((((`,
	} {
		f.Add(seed)
	}
	table, entities := tableOf(f, people)
	f.Fuzz(func(t *testing.T, text string) {
		filter, err := parseFilter(text, func(attribute string) bool { return attribute != "uuid" })
		if err != nil {
			return
		}
		area := filter.where(table)
		for _, entity := range entities {
			judged := filter.judge(entity.attributes)
			if judged == yes && !area.has(entity.id) {
				t.Errorf("%q: entity %d fits, and is outside of the region %+v", text, entity.id, area)
			}
			if opposite := (negation{filter}).judge(entity.attributes); judged+opposite != yes {
				t.Errorf("%q: entity %d is judged %d, and %d by the opposite", text, entity.id, judged, opposite)
			}
		}
	})
}

// tableOf makes an index over entities that are in no log.
func tableOf(t testing.TB, bodies []string) (*table, []*entity) {
	t.Helper()
	table := newTable()
	var entities []*entity
	for i, body := range bodies {
		entity, err := decodeEntity(int64(i+1), entry{}, []byte(body))
		must(t, err)
		table.add(entry{size: len(body)}, entity.email())
		entities = append(entities, entity)
	}
	return table, entities
}
