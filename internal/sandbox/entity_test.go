package sandbox

import (
	"strings"
	"testing"
	"time"
)

// TestEditing does one edit to a fresh entity a case, and compares all its attributes that have a value, but the system's.
func TestEditing(t *testing.T) {
	const before = `{"email":"a@x.org","name":"Ann","address":{"city":"Bonn","zip":"1"},"clients":[{"c":"one"},{"c":"two"}],
		"tags":["x"],"password":{"type":"password-x","value":"v","salt":"s"}}`
	cases := []struct {
		name     string
		endpoint string
		p        params
		code     int
		want     string // "" for unchanged
	}{
		{"update one attribute", "entity.update", params{"attributes": `{"name":"Eve"}`}, 0,
			`{"address":{"city":"Bonn","zip":"1"},"clients":[{"c":"one","id":2},{"c":"two","id":3}],"email":"a@x.org","name":"Eve","password":{"salt":"s","type":"password-x","value":"v"},"tags":["x"]}`},
		{"update the whole record by value", "entity.update", params{"value": `{"name":null,"address":{"zip":"2"},"new":1}`}, 0,
			`{"address":{"city":"Bonn","zip":"2"},"clients":[{"c":"one","id":2},{"c":"two","id":3}],"email":"a@x.org","name":null,"new":1,"password":{"salt":"s","type":"password-x","value":"v"},"tags":["x"]}`},
		{"update adds to plurals and replaces by id", "entity.update", params{"attributes": `{"clients":[{"c":"three"},{"id":2,"c":"uno"}],"tags":["y"],"name":null,"address":null,"password":{"type":"password-y","value":"w"}}`}, 0,
			`{"address":null,"clients":[{"c":"uno","id":2},{"c":"two","id":3},{"c":"three","id":5}],"email":"a@x.org","name":null,"password":{"type":"password-y","value":"w"},"tags":["y"]}`},
		{"update adds nothing to a plural", "entity.update", params{"attributes": `{"clients":[],"tags":[],"name":null,"address":null,"password":null}`}, 0,
			`{"address":null,"clients":[{"c":"one","id":2},{"c":"two","id":3}],"email":"a@x.org","name":null,"password":null,"tags":[]}`},
		{"update at a path, plain text", "entity.update", params{"attribute_name": "address.city", "value": "Köln"}, 0,
			`{"address":{"city":"Köln","zip":"1"},"clients":[{"c":"one","id":2},{"c":"two","id":3}],"email":"a@x.org","name":"Ann","password":{"salt":"s","type":"password-x","value":"v"},"tags":["x"]}`},
		{"update of an element", "entity.update", params{"attribute_name": "clients#3.c", "value": `"zwei"`}, 0,
			`{"address":{"city":"Bonn","zip":"1"},"clients":[{"c":"one","id":2},{"c":"zwei","id":3}],"email":"a@x.org","name":"Ann","password":{"salt":"s","type":"password-x","value":"v"},"tags":["x"]}`},
		{"update adds an element at a path", "entity.update", params{"attribute_name": "clients", "value": `{"c":"three"}`}, 0,
			`{"address":{"city":"Bonn","zip":"1"},"clients":[{"c":"one","id":2},{"c":"two","id":3},{"c":"three","id":5}],"email":"a@x.org","name":"Ann","password":{"salt":"s","type":"password-x","value":"v"},"tags":["x"]}`},
		{"update at a path that is new", "entity.update", params{"attribute_name": "optIn.status", "value": `true`}, 0,
			`{"address":{"city":"Bonn","zip":"1"},"clients":[{"c":"one","id":2},{"c":"two","id":3}],"email":"a@x.org","name":"Ann","optIn":{"status":true},"password":{"salt":"s","type":"password-x","value":"v"},"tags":["x"]}`},
		{"update of the password at its path", "entity.update", params{"attribute_name": "password", "value": `{"type":"password-y","value":"w"}`}, 0,
			`{"address":{"city":"Bonn","zip":"1"},"clients":[{"c":"one","id":2},{"c":"two","id":3}],"email":"a@x.org","name":"Ann","password":{"type":"password-y","value":"w"},"tags":["x"]}`},
		{"update to an own email in other case", "entity.update", params{"attribute_name": "email", "value": `A@X.org`}, 0,
			`{"address":{"city":"Bonn","zip":"1"},"clients":[{"c":"one","id":2},{"c":"two","id":3}],"email":"A@X.org","name":"Ann","password":{"salt":"s","type":"password-x","value":"v"},"tags":["x"]}`},
		{"replace the record", "entity.replace", params{"attributes": `{"name":"Eve","clients":[{"c":"new"}]}`}, 0,
			`{"clients":[{"c":"new","id":5}],"name":"Eve"}`},
		{"replace a plural", "entity.replace", params{"attribute_name": "clients", "value": `[{"c":"new"}]`}, 0,
			`{"address":{"city":"Bonn","zip":"1"},"clients":[{"c":"new","id":5}],"email":"a@x.org","name":"Ann","password":{"salt":"s","type":"password-x","value":"v"},"tags":["x"]}`},
		{"replace clears a plural", "entity.replace", params{"attribute_name": "clients", "attributes": `[]`}, 0,
			`{"address":{"city":"Bonn","zip":"1"},"clients":[],"email":"a@x.org","name":"Ann","password":{"salt":"s","type":"password-x","value":"v"},"tags":["x"]}`},
		{"replace an element keeps its id", "entity.replace", params{"attribute_name": "clients#2", "value": `{"d":1}`}, 0,
			`{"address":{"city":"Bonn","zip":"1"},"clients":[{"d":1,"id":2},{"c":"two","id":3}],"email":"a@x.org","name":"Ann","password":{"salt":"s","type":"password-x","value":"v"},"tags":["x"]}`},
		{"delete an element", "entity.delete", params{"attribute_name": "clients#2"}, 0,
			`{"address":{"city":"Bonn","zip":"1"},"clients":[{"c":"two","id":3}],"email":"a@x.org","name":"Ann","password":{"salt":"s","type":"password-x","value":"v"},"tags":["x"]}`},

		{"a taken email", "entity.update", params{"attributes": `{"email":"TAKEN@x.org"}`}, 361, ""},
		{"an email that is none", "entity.update", params{"attributes": `{"email":"x"}`}, 340, ""},
		{"a bad birthday", "entity.update", params{"attribute_name": "birthday", "value": "soon"}, 342, ""},
		{"a system attribute", "entity.update", params{"attributes": `{"created":"2020-01-01"}`}, 234, ""},
		{"a system attribute at its path", "entity.replace", params{"attribute_name": "uuid", "value": "x"}, 234, ""},
		{"an element that is not there", "entity.update", params{"attributes": `{"clients":[{"id":9}]}`}, 310, ""},
		{"a path to an element that is not there", "entity.update", params{"attribute_name": "clients#9.c", "value": "x"}, 310, ""},
		{"a path through a string", "entity.update", params{"attribute_name": "name.x", "value": "1"}, 200, ""},
		{"a path without a name", "entity.update", params{"attribute_name": "address..x", "value": "1"}, 200, ""},
		{"a path with an id that is none", "entity.update", params{"attribute_name": "clients#x", "value": "1"}, 200, ""},
		{"nothing to write", "entity.update", params{}, 100, ""},
		{"something that is not JSON", "entity.update", params{"attributes": `{`}, 200, ""},
		{"something that is no object", "entity.replace", params{"attributes": `[]`}, 200, ""},
		{"new elements with ids", "entity.replace", params{"attribute_name": "clients", "value": `[{"id":1}]`}, 320, ""},
		{"a whole plural to delete", "entity.delete", params{"attribute_name": "clients"}, 200, ""},
		{"another created", "entity.update", params{"attributes": `{"name":"Eve"}`, "created": "2001-01-01"}, 330, ""},
		{"a lastUpdated that is no date", "entity.update", params{"attributes": `{"name":"Eve"}`, "lastUpdated": "x"}, 200, ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			server, c := start(t, Options{})
			uuid := c.create("[" + before + `,{"email":"taken@x.org"}]`)[0]
			old := c.ok("entity", params{"uuid": uuid})["result"].(map[string]any)
			tc.p["uuid"] = uuid
			if tc.code != 0 {
				c.fails(tc.endpoint, tc.p, tc.code)
				if now := c.ok("entity", params{"uuid": uuid})["result"]; asJSON(t, now) != asJSON(t, old) {
					t.Errorf("after the error the entity is %s, want %s", asJSON(t, now), asJSON(t, old))
				}
				return
			}
			c.ok(tc.endpoint, tc.p)
			check := func() {
				t.Helper()
				now := c.ok("entity", params{"id": "1"})["result"].(map[string]any)
				if now["uuid"] != uuid || now["created"] != old["created"] || now["lastUpdated"].(string) <= old["lastUpdated"].(string) {
					t.Errorf("system attributes: %v, before %v; want only lastUpdated changed, to later", now, old)
				}
				for _, name := range systemAttributes {
					delete(now, name)
				}
				if password, ok := now["password"].(map[string]any); ok {
					delete(password, "created")
				}
				if got, want := asJSON(t, sparse(now)), asJSON(t, sparse(decoded(t, tc.want))); got != want {
					t.Errorf("the entity is\n%s, want\n%s", got, want)
				}
			}
			check()
			server.Close()
			_, c = start(t, Options{StateDir: server.options.StateDir})
			check()
		})
	}
}

func TestEmailsMoveWithTheirEntities(t *testing.T) {
	server, c := start(t, Options{})
	c.create(`[{"email":"a@x.org"},{"email":"b@x.org"},{"email":"c@x.org"}]`)
	c.ok("entity.update", params{"key_attribute": "email", "key_value": `"A@x.org"`, "attributes": `{"email":"New@x.org"}`})
	c.ok("entity.replace", params{"id": "2", "attributes": `{}`})
	c.ok("entity.delete", params{"id": "3"})
	check := func() {
		t.Helper()
		if got := c.total(); got != 2 {
			t.Errorf("%d entities, want 2", got)
		}
		for email, want := range map[string]string{"a@x.org": "", "b@x.org": "", "c@x.org": "", "new@x.org": "New@x.org"} {
			got := strings.Join(c.emails(params{"filter": "email = '" + email + "'"}), " ")
			if got != want {
				t.Errorf("%s: found %q, want %q", email, got, want)
			}
		}
	}
	check()
	server.Close()
	calls := truth(t, server.options.StateDir)
	if w := calls[1].Written[0]; w.Email != "New@x.org" || w.EmailBefore != "a@x.org" || calls[1].Keys[0] != "a@x.org" {
		t.Errorf("truth log of the update: %+v, keys %v", w, calls[1].Keys)
	}
	if d := calls[3].Deleted; len(d) != 1 || d[0].ID != 3 || d[0].Email != "c@x.org" {
		t.Errorf("truth log of the deletion: %+v", d)
	}
	_, c = start(t, Options{StateDir: server.options.StateDir})
	check()
	// The emails are free again, ids and uuids are not.
	for _, uuid := range c.create(`[{"email":"a@x.org"},{"email":"b@x.org"},{"email":"c@x.org"}]`) {
		if id, _ := idWithin(uuid); id < 4 {
			t.Errorf("an id was used again: %d", id)
		}
	}
	c.fails("entity", params{"uuid": calls[3].Deleted[0].UUID}, 310)
}

func TestAnEntityIsFoundByEveryAddress(t *testing.T) {
	_, c := start(t, Options{})
	uuid := c.create(`[{"email":"o'brien\"@x.org"}]`)[0]
	entity := c.ok("entity", params{"id": "1"})["result"].(map[string]any)
	for _, p := range []params{
		{"uuid": uuid},
		{"uuid": strings.ToUpper(uuid)},
		{"key_attribute": "email", "key_value": `"O'BRIEN\"@x.org"`},
		{"key_attribute": "uuid", "key_value": `"` + uuid + `"`},
		{"key_attribute": "id", "key_value": `1`},
		{"uuid": uuid, "created": entity["created"].(string), "lastUpdated": entity["lastUpdated"].(string)},
	} {
		if got := c.ok("entity", p)["result"]; asJSON(t, got) != asJSON(t, entity) {
			t.Errorf("%v: %v, want %v", p, got, entity)
		}
	}
	stranger := newUUID(1) // the right id within, and another uuid
	c.fails("entity", params{"uuid": stranger}, 310)
	if got := c.emails(params{"filter": "uuid = '" + stranger + "'"}); len(got) != 0 {
		t.Errorf("a stranger's uuid finds %v", got)
	}
	if got := c.ok("entity", params{"id": "1", "attribute_name": "uuid"})["result"]; got != uuid {
		t.Errorf("attribute_name=uuid gives %v, want %s", got, uuid)
	}
	if got := c.ok("entity.update", params{"id": "1", "attributes": `{"a":1}`, "include_record": "true"})["result"].(map[string]any); got["a"] != 1.0 || got["uuid"] != uuid {
		t.Errorf("include_record gives %v", got)
	}
}

func TestDateForms(t *testing.T) {
	moment := time.Date(2012, 6, 13, 18, 2, 56, 12122000, time.UTC)
	for text, want := range map[string]time.Time{
		"2012-06-13 18:02:56.012122 +0000":  moment,
		"2012-06-13 18:02:56.012122":        moment,
		"2012-06-13 20:02:56.0121229+02:00": moment,
		"2012-06-13 20:02:56.012122 +02:00": moment,
		"2012-06-13T18:02:56.012122Z":       moment,
		"2012-06-13T18:02:56.012122 +0000":  moment,
		"2012-06-13T18:02:56.012122+0000":   moment,
		"2012-06-13T18:02:56.012122":        moment,
		"2012-06-13 18:02:56":               moment.Truncate(time.Second),
		"2012-06-13":                        moment.Truncate(24 * time.Hour),
		"20120613":                          moment.Truncate(24 * time.Hour),
		"1875-08-02 15:28:31":               time.Date(1875, 8, 2, 15, 28, 31, 0, time.UTC),
	} {
		if got, ok := parseDate(text); !ok || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "06/13/2012", "2012-13-01", "2012-06-13 25:00:00", "2012-06-13x", "13.6.2012"} {
		if got, ok := parseDate(text); ok {
			t.Errorf("%q: %v; want no date", text, got)
		}
	}
	if got := formatTime(moment); got != "2012-06-13 18:02:56.012122 +0000" {
		t.Errorf("formatTime: %s", got)
	}
}

func TestPaceIsOfAnySecond(t *testing.T) {
	begin := time.Now()
	cases := []struct {
		limit float64
		at    []int // milliseconds of the calls
		want  string
	}{
		{0, []int{0, 0, 0, 0}, "++++"},
		{2, []int{0, 1, 2, 900, 1001, 1002, 1003}, "++--++-"},
		{4, []int{0, 249, 499, 752, 1000, 1248, 1500}, "+++++++"}, // evenly, with what the network makes of it
		{0.5, []int{0, 1000, 1500, 2000}, "+--+"},
		{1.5, []int{0, 500, 700}, "+-+"},
	}
	for _, tc := range cases {
		p := newPace(tc.limit)
		got := ""
		for _, ms := range tc.at {
			if p.allow(begin.Add(time.Duration(ms) * time.Millisecond)) {
				got += "+"
			} else {
				got += "-"
			}
		}
		if got != tc.want {
			t.Errorf("limit %g, calls at %v: %s, want %s", tc.limit, tc.at, got, tc.want)
		}
	}
}
