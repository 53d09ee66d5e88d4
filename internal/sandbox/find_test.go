package sandbox

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestFindSortsPagesAndCounts(t *testing.T) {
	_, c := start(t, Options{})
	c.create(`[{"email":"c@x.org","age":3,"city":"B"},{"email":"a@x.org","age":30,"city":"B"},{"email":"b@x.org","age":7,"city":"A"},
		{"age":7},{"email":"gone@x.org"}]`)
	c.ok("entity.delete", params{"id": "5"})
	cases := []struct {
		name  string
		p     params
		want  string // the emails, the one without as -
		total int    // -1 for no total_count
	}{
		{"in the order of ids", params{}, "c a b -", -1},
		{"sorted", params{"sort_on": `["email"]`}, "- a b c", -1},
		{"descending", params{"sort_on": `["-email"]`}, "c b a -", -1},
		{"numbers", params{"sort_on": `["-age"]`}, "a b - c", -1},
		{"two keys", params{"sort_on": `["city","-age"]`}, "- b a c", -1},
		{"by id", params{"sort_on": `["id"]`}, "c a b -", -1},
		{"by id descending", params{"sort_on": `["-id"]`}, "- b a c", -1},
		{"not sorted", params{"sort_on": `[]`}, "c a b -", -1},
		{"a page", params{"max_results": "2", "first_result": "2"}, "a b", -1},
		{"a sorted page", params{"max_results": "2", "first_result": "2", "sort_on": `["email"]`}, "a b", -1},
		{"beyond the end", params{"first_result": "9", "show_total_count": "true"}, "", 4},
		{"counted", params{"max_results": "1", "show_total_count": "true"}, "c", 4},
		{"filtered and counted", params{"filter": "age = 7", "max_results": "1", "show_total_count": "true"}, "b", 2},
		{"only counted", params{"filter": "age = 7", "max_results": "0", "show_total_count": "true"}, "", 2},
		{"from an id on", params{"filter": "id > 1", "max_results": "1", "sort_on": `["id"]`}, "a", -1},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, email := range c.emails(tc.p) {
				name, _, _ := strings.Cut(email, "@")
				if name == "" {
					name = "-"
				}
				got = append(got, name)
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("%v: found %s, want %s", tc.p, got, tc.want)
			}
			answer := c.ok("entity.find", tc.p)
			total, given := answer["total_count"]
			if given != (tc.total >= 0) || given && total != float64(tc.total) {
				t.Errorf("%v: total_count %v, want %d", tc.p, total, tc.total)
			}
			if answer["result_count"] != float64(len(got)) {
				t.Errorf("%v: result_count %v, want %d", tc.p, answer["result_count"], len(got))
			}
		})
	}
}

func TestFindGivesTheAttributesAskedFor(t *testing.T) {
	_, c := start(t, Options{})
	c.create(`[{"email":"a@x.org","address":{"city":"Bonn","zip":"1"},"clients":[{"name":"n","x":1},{"x":2}],"deep":[{"in":{"a":1,"b":2}}]}]`)
	cases := []struct{ attributes, want string }{
		{`["email"]`, `{"email":"a@x.org"}`},
		{`["id","address.city"]`, `{"address":{"city":"Bonn"},"id":1}`},
		{`["address.city","address.zip"]`, `{"address":{"city":"Bonn","zip":"1"}}`},
		{`["address"]`, `{"address":{"city":"Bonn","zip":"1"}}`},
		{`["clients.name","clients.id"]`, `{"clients":[{"id":2,"name":"n"},{"id":3,"name":null}]}`},
		{`["deep.in.a"]`, `{"deep":[{"in":{"a":1}}]}`},
		{`["primaryAddress.city","optIn","statuses","birthday"]`, `{"birthday":null,"optIn":{"status":null},"primaryAddress":{"city":null},"statuses":[]}`},
		{`["nope","nope2.x"]`, `{"nope":null,"nope2":null}`},
		{`[]`, `{}`},
	}
	for _, tc := range cases {
		result := c.ok("entity.find", params{"attributes": tc.attributes})["results"].([]any)[0]
		if got := asJSON(t, result); got != tc.want {
			t.Errorf("find %s: %s, want %s", tc.attributes, got, tc.want)
		}
		if got := asJSON(t, c.ok("entity", params{"id": "1", "attributes": tc.attributes})["result"]); got != tc.want {
			t.Errorf("view %s: %s, want %s", tc.attributes, got, tc.want)
		}
	}
}

func TestFindHundredsOfEmails(t *testing.T) {
	_, c := start(t, Options{})
	var records, terms []string
	for i := range 2000 {
		records = append(records, fmt.Sprintf(`{"email":"User%d@x.org","i":%d}`, i, i))
		if i%4 == 0 {
			terms = append(terms, fmt.Sprintf("email='uSER%d@x.org'", i))
		}
	}
	c.create("[" + strings.Join(records, ",") + "]")
	terms = append(terms, "email='nobody@x.org'", terms[0])
	slices.Reverse(terms)
	answer := c.ok("entity.find", params{"filter": strings.Join(terms, " or "), "max_results": "10000", "attributes": `["i"]`})
	results := answer["results"].([]any)
	if len(results) != 500 {
		t.Fatalf("%d results, want 500", len(results))
	}
	for n, result := range results {
		if i := result.(map[string]any)["i"]; i != float64(4*n) {
			t.Fatalf("result %d is record %v, want %d", n, i, 4*n)
		}
	}
}

func TestFindReadsMoreThanOneStretch(t *testing.T) {
	_, c := start(t, Options{})
	var records []string
	for i := range 3000 {
		records = append(records, fmt.Sprintf(`{"email":"%d@x.org","text":"%s"}`, i, strings.Repeat("t", i%200)))
	}
	c.create("[" + strings.Join(records, ",") + "]")
	for i := 10; i <= 3000; i += 10 { // puts them out of their order in the log
		c.ok("entity.update", params{"id": strconv.Itoa(i), "attributes": `{"seen":true}`})
	}
	if got := c.ok("entity.count", params{"filter": "seen = true"})["total_count"]; got != 300.0 {
		t.Errorf("%v were seen, want 300", got)
	}
	last, seen := 0, 0
	for { // as an export does
		page := c.ok("entity.find", params{"filter": fmt.Sprintf("id > %d", last), "sort_on": `["id"]`, "max_results": "700"})["results"].([]any)
		if len(page) == 0 {
			break
		}
		for _, result := range page {
			if id := int(result.(map[string]any)["id"].(float64)); id != last+1 {
				t.Fatalf("id %d after id %d", id, last)
			}
			last++
			seen++
		}
	}
	if seen != 3000 {
		t.Errorf("the pages have %d entities, want 3000", seen)
	}
}

func TestSortingKeepsOnlyWhatIsWanted(t *testing.T) {
	_, c := start(t, Options{})
	var records []string
	for i := range 2500 {
		records = append(records, fmt.Sprintf(`{"n":%d}`, i*7919%2500))
	}
	c.create("[" + strings.Join(records, ",") + "]")
	page := c.ok("entity.find", params{"sort_on": `["-n"]`, "first_result": "11", "max_results": "10", "attributes": `["n"]`, "show_total_count": "true"})
	for i, result := range page["results"].([]any) {
		if n := result.(map[string]any)["n"]; n != float64(2489-i) {
			t.Errorf("result %d has n = %v, want %d", i, n, 2489-i)
		}
	}
	if page["result_count"] != 10.0 || page["total_count"] != 2500.0 {
		t.Errorf("result_count %v, total_count %v; want 10 and 2500", page["result_count"], page["total_count"])
	}
}

func TestSortingOrdersAllKindsOfValues(t *testing.T) {
	_, c := start(t, Options{})
	c.create(`[{"v":"b"},{"v":"B"},{"v":10},{"v":9.5},{"v":true},{"v":null},{"v":false},{"v":{"x":1}},{}]`)
	var got []string
	for _, result := range c.ok("entity.find", params{"sort_on": `["v"]`, "attributes": `["id"]`})["results"].([]any) {
		got = append(got, asJSON(t, result.(map[string]any)["id"]))
	}
	if want := "6 9 7 5 4 3 2 1 8"; strings.Join(got, " ") != want {
		t.Errorf("ids %s, want %s", got, want)
	}
}

func TestFindLagHidesNewEntities(t *testing.T) {
	server, c := start(t, Options{FindLag: time.Hour})
	uuid := c.create(`[{"email":"a@x.org"}]`)[0]
	byEmail := params{"filter": "email = 'a@x.org'"}
	if got := c.emails(byEmail); len(got) != 0 {
		t.Errorf("find gives %v within the lag, want nothing", got)
	}
	if got := c.ok("entity.count", byEmail)["total_count"]; got != 0.0 {
		t.Errorf("count with a filter gives %v within the lag, want 0", got)
	}
	if got := c.emails(params{"show_total_count": "true"}); len(got) != 0 {
		t.Errorf("find without a filter gives %v within the lag, want nothing", got)
	}
	// Everything else sees it at once.
	if got := c.total(); got != 1 {
		t.Errorf("count gives %d, want 1", got)
	}
	c.ok("entity", params{"uuid": uuid})
	if got := c.create(`[{"email":"A@x.org"}]`)[0]; got != "" {
		t.Errorf("the email was taken, and %s was created", got)
	}
	server.Close()

	_, c = start(t, Options{StateDir: server.options.StateDir, FindLag: time.Nanosecond})
	if got := c.emails(byEmail); len(got) != 1 {
		t.Errorf("find gives %v after the lag, want a@x.org", got)
	}
}

func TestVisibleIsUpToTheMoment(t *testing.T) {
	table := newTable()
	for second := range 40000 { // over several pages
		table.add(entry{written: int64(second) * 1e6, size: 1}, "")
	}
	for _, tc := range []struct{ moment, want int64 }{{-1, 0}, {0, 1}, {20000, 20001}, {39999, 40000}, {1e6, 40000}} {
		if got := table.visible(time.Unix(tc.moment, 0)); got != tc.want {
			t.Errorf("at second %d: %d, want %d", tc.moment, got, tc.want)
		}
	}
}

func TestAttributesExistFromTheirFirstMention(t *testing.T) {
	server, c := start(t, Options{})
	byPoints := params{"filter": "loyalty.points > 3"}
	c.fails("entity.find", byPoints, 200)
	c.create(`[{"email":"bad","loyalty":{"points":5}}]`) // refused, yet mentioned
	c.ok("entity.find", byPoints)
	server.Close()
	_, c = start(t, Options{StateDir: server.options.StateDir})
	c.ok("entity.find", byPoints)
	c.fails("entity.find", params{"filter": "loyalty.pints > 3"}, 200)
}
