package sandbox

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEmailRules(t *testing.T) {
	const two = `[{"email":"Ann@x.org"},{"email":"ann@x.org"},{"email":"ann@x.org"},{}]`
	for _, tc := range []struct {
		rule    EmailRule
		created string // indexes
		unique  bool   // by the schema
		viewed  any    // the email of the entity that key_attribute=email finds for ann@x.org, or an error's code
	}{
		{"", "0 3", true, "Ann@x.org"},
		{FoldedEmails, "0 3", true, "Ann@x.org"},
		{ExactEmails, "0 1 3", true, "ann@x.org"},
		{SharedEmails, "0 1 2 3", false, 200.0},
	} {
		t.Run(string(tc.rule), func(t *testing.T) {
			server, c := start(t, Options{Emails: tc.rule})
			c.ok(bulkCreateEndpoint, params{"type_name": "user", "all_attributes": two})
			for range 2 { // also when the log is read again
				var created []string
				for _, w := range truth(t, server.options.StateDir)[0].Written {
					created = append(created, fmt.Sprint(w.Index))
				}
				if got := strings.Join(created, " "); got != tc.created {
					t.Errorf("records %s were created, want %s", got, tc.created)
				}
				if got := len(c.emails(params{"filter": "email = 'ANN@x.org'"})); got != len(created)-1 {
					t.Errorf("find gives %d, want %d: it ignores case", got, len(created)-1)
				}
				answer := c.call("entity", params{"key_attribute": "email", "key_value": `"ann@x.org"`})
				viewed := answer["code"]
				if found, ok := answer["result"].(map[string]any); ok {
					viewed = found["email"]
				}
				if viewed != tc.viewed {
					t.Errorf("entity gives %v, want %v", viewed, tc.viewed)
				}
				server.Close()
				server, c = start(t, Options{StateDir: server.options.StateDir, Emails: tc.rule})
			}
			schema := fmt.Sprint(c.ok("entityType", nil)["schema"])
			if unique := strings.Contains(schema, "[email-address unique]"); unique != tc.unique {
				t.Errorf("the schema calls email unique: %t, want %t", unique, tc.unique)
			}
		})
	}
}

// An email that several have is found as long as one has it, whatever becomes of the others.
func TestSharedEmailsThatChange(t *testing.T) {
	_, c := start(t, Options{Emails: SharedEmails})
	uuids := c.create(`[{"email":"a@x.org"},{"email":"A@x.org"},{"email":"a@x.org"}]`)
	has := func(want int) {
		t.Helper()
		if got := len(c.emails(params{"filter": "email = 'a@x.org'"})); got != want {
			t.Errorf("%d have the email, want %d", got, want)
		}
	}
	has(3)
	c.ok(deleteEndpoint, params{"uuid": uuids[0]})
	has(2)
	c.ok(updateEndpoint, params{"uuid": uuids[1], "value": `{"email":"b@x.org"}`})
	has(1)
	c.ok(updateEndpoint, params{"uuid": uuids[1], "value": `{"email":"a@x.org"}`})
	has(2)
}

// Under the exact rule a stranger who writes the address in capitals is there beside the record that comes later.
func TestAStrangerInAnotherCase(t *testing.T) {
	_, c := start(t, Options{Faults: faultsOf(t, "stranger=100"), HealAfter: 1, Emails: ExactEmails})
	call := params{"type_name": "user", "all_attributes": `[{"email":"a@x.org"}]`}
	if _, _, _, err := c.send(bulkCreateEndpoint, call); err == nil {
		t.Error("the call was answered")
	}
	c.ok(bulkCreateEndpoint, call)
	if got := c.emails(params{"filter": "email = 'a@x.org'"}); !slices.Equal(got, []string{"A@X.ORG", "a@x.org"}) {
		t.Errorf("find gives %q, want the stranger and the record", got)
	}
}

func TestClocksThatDiffer(t *testing.T) {
	server, c := start(t, Options{DateSkew: time.Hour, StampSkew: -2 * time.Hour})
	uuid := c.create(`[{"email":"a@x.org"}]`)[0]
	status, header, _, err := c.send("entity", params{"type_name": "user", "uuid": uuid})
	if err != nil || status != 200 {
		t.Fatal(status, err)
	}
	committed := truth(t, server.options.StateDir)[0].Committed
	if date, err := http.ParseTime(header.Get("Date")); err != nil || time.Until(date).Round(time.Minute) != time.Hour {
		t.Errorf("Date: %s, want an hour ahead", header.Get("Date"))
	}
	entity := c.ok("entity", params{"uuid": uuid})["result"].(map[string]any)
	want := formatTime(committed.Add(-2 * time.Hour))
	if entity["created"] != want || entity["lastUpdated"] != want {
		t.Errorf("created %v, last updated %v; want %s", entity["created"], entity["lastUpdated"], want)
	}
	c.ok(updateEndpoint, params{"uuid": uuid, "value": `{"givenName":"Ann"}`, "lastUpdated": want})
	after := c.ok("entity", params{"uuid": uuid})["result"].(map[string]any)
	if changed, ok := parseDate(after["lastUpdated"].(string)); !ok || time.Since(changed).Round(time.Minute) != 2*time.Hour || after["created"] != want {
		t.Errorf("after an update: created %v, last updated %v", after["created"], after["lastUpdated"])
	}
}

func TestHiddenAttributes(t *testing.T) {
	const record = `[{"email":"a@x.org","givenName":"Ann","primaryAddress":{"city":"Wien","zip":"1010"}}]`
	for _, tc := range []struct {
		hide    []string
		want    string // attributes of the entity
		refused []string
	}{
		{nil, "created email givenName id lastUpdated primaryAddress uuid", nil},
		{[]string{"created"}, "email givenName id lastUpdated primaryAddress uuid", []string{"created"}},
		{[]string{"created", "lastUpdated", "primaryAddress"}, "email givenName id uuid", []string{"created", "lastUpdated", "primaryAddress.city"}},
		{[]string{"all"}, "email uuid", []string{"created", "givenName", "id"}},
	} {
		_, c := start(t, Options{Hide: tc.hide})
		uuid := c.create(record)[0]
		updated := params{"uuid": uuid, "value": `{"middleName":null}`, "include_record": "true"}
		for _, got := range []any{
			c.ok("entity", params{"uuid": uuid})["result"],
			c.ok(findEndpoint, nil)["results"].([]any)[0],
			c.ok(updateEndpoint, updated)["result"],
		} {
			for _, name := range tc.hide {
				if _, isShown := got.(map[string]any)[name]; isShown {
					t.Errorf("without %q: %v", tc.hide, got)
				}
			}
			names := slices.Sorted(maps.Keys(sparse(got).(map[string]any)))
			if strings.Join(names, " ") != tc.want {
				t.Errorf("without %q: %q, want %s", tc.hide, names, tc.want)
			}
		}
		for _, name := range tc.refused {
			asked := c.ok("entity", params{"uuid": uuid, "attributes": `["email","` + name + `"]`})["result"].(map[string]any)
			if len(asked) != 1 {
				t.Errorf("without %q: asked for %s, it shows %v", tc.hide, name, asked)
			}
			for endpoint, p := range map[string]params{
				"entity": {"uuid": uuid, "attribute_name": name}, findEndpoint: {"filter": name + " is not null"}, "entity.count": {"filter": name + " is null"},
			} {
				if answer := c.call(endpoint, p); answer["stat"] != "error" {
					t.Errorf("without %q: %s with %v gives %v", tc.hide, endpoint, p, answer)
				}
			}
			if answer := c.call(findEndpoint, params{"sort_on": `["-` + name + `"]`}); answer["stat"] != "error" {
				t.Errorf("without %q: a find in the order of %s gives %v", tc.hide, name, answer)
			}
		}
	}
}

func TestCreatedCanBeIgnored(t *testing.T) {
	for _, ignore := range []bool{false, true} {
		_, c := start(t, Options{IgnoreCreated: ignore})
		uuid := c.create(`[{"email":"a@x.org","created":"2001-02-03 04:05:06"}]`)[0]
		created := c.ok("entity", params{"uuid": uuid})["result"].(map[string]any)["created"].(string)
		if got := !strings.HasPrefix(created, "2001"); got != ignore {
			t.Errorf("ignored %t: created is %s", ignore, created)
		}
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	for want, o := range map[string]Options{
		`no rule "unique"`:       {Emails: "unique"},
		"uuid cannot be hidden":  {Hide: []string{"created", "uuid"}},
		"email cannot be hidden": {Hide: []string{"email"}},
	} {
		o.Address, o.StateDir, o.ClientID, o.ClientSecret = "127.0.0.1:0", t.TempDir(), testID, testSecret
		server, err := Start(o)
		if err == nil {
			server.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
