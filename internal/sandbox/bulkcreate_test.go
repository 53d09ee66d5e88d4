package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestEachRecordIsCreatedOrRefusedForItself(t *testing.T) {
	cases := []struct {
		name   string
		record string
		code   int // 0 for created
	}{
		{"only an email", `{"email":"one@x.org"}`, 0},
		{"no email", `{}`, 0},
		{"no email again", `{"email":null,"givenName":null}`, 0},
		{"email taken", `{"email":"taken@x.org"}`, 361},
		{"email taken, other case", `{"email":"TAKEN@X.org"}`, 361},
		{"email taken in the same call", `{"email":"One@x.org"}`, 361},
		{"email not a string", `{"email":5}`, 341},
		{"email without @", `{"email":"x.org"}`, 340},
		{"email empty", `{"email":""}`, 340},
		{"email too long", `{"email":"` + strings.Repeat("e", 250) + `@x.test"}`, 363},
		{"givenName too long", `{"givenName":"` + strings.Repeat("ü", 1001) + `"}`, 363},
		{"givenName just short enough", `{"givenName":"` + strings.Repeat("ü", 1000) + `"}`, 0},
		{"givenName not a string", `{"givenName":["Ann"]}`, 341},
		{"birthday a date", `{"birthday":"1881-01-29"}`, 0},
		{"birthday not a date", `{"birthday":"01/29/1881"}`, 342},
		{"birthday out of range", `{"birthday":"2021-02-30"}`, 342},
		{"birthday a number", `{"birthday":18810129}`, 342},
		{"created a date", `{"created":"1875-08-02 15:28:31"}`, 0},
		{"created not a date", `{"created":"soon"}`, 342},
		{"id", `{"id":7}`, 320},
		{"uuid", `{"uuid":"efd7fe4e-0000-4000-8000-000000000000"}`, 234},
		{"lastUpdated", `{"lastUpdated":"2020-01-01"}`, 234},
		{"element with an id", `{"clients":[{"id":1}]}`, 320},
		{"password as text", `{"password":"text"}`, 0},
		{"password as hash", `{"password":{"type":"password-bcrypt","value":"$2a$"}}`, 0},
		{"password without a value", `{"password":{"type":"password-bcrypt"}}`, 341},
		{"password a number", `{"password":5}`, 341},
		{"dotted name", `{"primaryAddress.city":"Bonn"}`, 223},
		{"not an object", `"text"`, 341},
		{"anything else", `{"x":{"y":[1,"2",null,{"z":true}]},"plural":[{"a":1}],"display":[],"n":12345678901234567890}`, 0},
	}
	server, c := start(t, Options{})
	c.create(`[{"email":"Taken@x.org"}]`)
	var records []string
	for _, tc := range cases {
		records = append(records, tc.record)
	}
	text := "[" + strings.Join(records, ",") + "]"
	answer := c.ok("entity.bulkCreate", params{"all_attributes": text})
	ids, uuids := answer["results"].([]any), answer["uuid_results"].([]any)
	if len(ids) != len(cases) || len(uuids) != len(cases) {
		t.Fatalf("%d results and %d uuid_results for %d records", len(ids), len(uuids), len(cases))
	}
	created, refused := []string{}, []Refused{}
	for i, tc := range cases {
		if tc.code == 0 {
			uuid, isUUID := uuids[i].(string)
			if _, isNumber := ids[i].(float64); !isNumber || !isUUID {
				t.Errorf("%s: %v and %v; want an id and a uuid", tc.name, ids[i], uuids[i])
			}
			created = append(created, uuid)
			continue
		}
		refused = append(refused, Refused{i, tc.code})
		object, _ := uuids[i].(map[string]any)
		if object["code"] != float64(tc.code) || object["stat"] != "error" || object["error"] != errorNames[tc.code] {
			t.Errorf("%s: %v; want the error %d", tc.name, uuids[i], tc.code)
		}
		if !reflect.DeepEqual(ids[i], uuids[i]) {
			t.Errorf("%s: results has %v, uuid_results %v", tc.name, ids[i], uuids[i])
		}
		if tc.code == 361 {
			want := map[string]any{
				"code": 361.0, "error": "unique_violation", "stat": "error", "error_description": "Attempted to update a duplicate value",
			}
			if !reflect.DeepEqual(object, want) {
				t.Errorf("%s: %v, want %v", tc.name, object, want)
			}
		}
	}
	if got, want := c.total(), 1+len(created); got != want {
		t.Errorf("%d entities, want %d", got, want)
	}

	call := truth(t, server.options.StateDir)[1]
	sum := sha256.Sum256([]byte(text))
	if call.SHA256 != hex.EncodeToString(sum[:]) || call.Records != len(cases) || len(call.Keys) != len(cases) {
		t.Errorf("truth log: sha256 %s, %d records, %d keys; want %x and %d each", call.SHA256, call.Records, len(call.Keys), sum, len(cases))
	}
	if call.Keys[0] != "one@x.org" || call.Keys[1] != "" || call.Keys[4] != "taken@x.org" {
		t.Errorf("truth log: keys %q", call.Keys)
	}
	if !slices.Equal(call.Refused, refused) {
		t.Errorf("truth log: refused %v, want %v", call.Refused, refused)
	}
	var written []string
	for _, w := range call.Written {
		written = append(written, w.UUID)
		if uuids[w.Index] != w.UUID || ids[w.Index] != float64(w.ID) {
			t.Errorf("truth log: record %d is %d %s, its answer was %v %v", w.Index, w.ID, w.UUID, ids[w.Index], uuids[w.Index])
		}
	}
	if !slices.Equal(written, created) {
		t.Errorf("truth log: written %v, want %v", written, created)
	}
}

func TestSystemAttributesAndDates(t *testing.T) {
	_, c := start(t, Options{})
	before := time.Now().UTC()
	uuids := c.create(`[{"email":"A@x.org","birthday":"1881-01-29 00:00:00","created":"2012-06-13T18:02:56.012122Z"},
		{"created":"1875-08-02 15:28:31"},{"n":12345678901234567890.10,"html":"<&>\u2028"}]`)
	after := time.Now().UTC()

	first := c.ok("entity", params{"uuid": uuids[0]})["result"].(map[string]any)
	for name, want := range map[string]any{
		"id": 1.0, "uuid": uuids[0], "email": "A@x.org", "birthday": "1881-01-29", "created": "2012-06-13 18:02:56.012122 +0000",
	} {
		if first[name] != want {
			t.Errorf("%s is %v, want %v", name, first[name], want)
		}
	}
	updated, err := time.Parse("2006-01-02 15:04:05.000000 -0700", fmt.Sprint(first["lastUpdated"]))
	if err != nil || updated.Before(before) || updated.After(after.Add(time.Microsecond)) {
		t.Errorf("lastUpdated is %v (%v), want between %v and %v", first["lastUpdated"], err, before, after)
	}
	if got := c.ok("entity", params{"id": "2", "attribute_name": "created"})["result"]; got != "1875-08-02 15:28:31 +0000" {
		t.Errorf("created is %v, want 1875-08-02 15:28:31 +0000", got)
	}
	_, _, body, _ := c.send("entity", params{"type_name": "user", "id": "3"})
	for _, want := range []string{`"html":"<&>\u2028"`, `"n":12345678901234567890.10`} {
		if !strings.Contains(body, want) {
			t.Errorf("%s; want %s within", body, want)
		}
	}
	third := c.ok("entity", params{"id": "3"})["result"].(map[string]any)
	if third["created"] != third["lastUpdated"] {
		t.Errorf("created %v, lastUpdated %v; want both the time of the call", third["created"], third["lastUpdated"])
	}
}

func TestEmptyBatchIsOK(t *testing.T) {
	_, c := start(t, Options{})
	if answer := c.ok("entity.bulkCreate", params{"all_attributes": "[]"}); len(answer["results"].([]any)) != 0 {
		t.Errorf("%v; want no results", answer)
	}
}

func TestConcurrentCallsCreateAnEmailOnce(t *testing.T) {
	const callers, emails = 8, 50
	server, c := start(t, Options{})
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := range emails {
				record := fmt.Sprintf(`[{"email":"%d@x.org","by":%d}]`, (i+caller*7)%emails, caller)
				if _, _, body, err := c.send("entity.bulkCreate", params{"type_name": "user", "all_attributes": record}); err != nil {
					t.Errorf("%v: %s", err, body)
				}
			}
		})
	}
	wg.Wait()
	if got := c.total(); got != emails {
		t.Errorf("%d entities, want %d", got, emails)
	}
	created := map[string]int{}
	numbers := map[int64]bool{}
	var last Call
	for _, call := range truth(t, server.options.StateDir) {
		if call.Seq != last.Seq+1 || call.Committed.Before(last.Committed) || call.Committed.Before(call.Received) {
			t.Fatalf("call %d, received %v, committed %v, comes after call %d, committed %v",
				call.Seq, call.Received, call.Committed, last.Seq, last.Committed)
		}
		if call.Endpoint == "entity.bulkCreate" && numbers[call.Number] {
			t.Errorf("two calls have the number %d", call.Number)
		}
		numbers[call.Number] = true
		for _, w := range call.Written {
			created[w.Email]++
		}
		last = call
	}
	for email, n := range created {
		if n != 1 {
			t.Errorf("%s was created %d times", email, n)
		}
	}
}

func TestEntityTypesAreApart(t *testing.T) {
	_, c := start(t, Options{EntityTypes: []string{"user", "customer"}})
	record := params{"all_attributes": `[{"email":"a@x.org","points":1}]`}
	c.ok("entity.bulkCreate", record)
	record["type_name"] = "customer"
	if result := c.ok("entity.bulkCreate", record)["results"].([]any)[0]; result != 1.0 {
		t.Errorf("the first customer: %v, want id 1", result)
	}
	c.ok("entity.delete", params{"type_name": "customer", "id": "1"})
	if got := c.total(); got != 1 {
		t.Errorf("%d users, want 1", got)
	}
}

func TestUUIDsHoldTheirID(t *testing.T) {
	for _, id := range []int64{1, 77, 1 << 33, 1<<48 - 1} {
		uuid := newUUID(id)
		if got, ok := idWithin(uuid); !ok || got != id {
			t.Errorf("idWithin(newUUID(%d)) = %d, %v", id, got, ok)
		}
		if uuid[14] != '4' || !strings.Contains("89ab", uuid[19:20]) {
			t.Errorf("%s is not a uuid of version 4", uuid)
		}
	}
	for _, text := range []string{"", "x", strings.Repeat("-", 36), "efd7fe4e000040008000000000000000", "efd7fe4e-0000-4000-8000-00000000000g", "efd7-fe4e0000-4000-8000-000000000000"} {
		if id, ok := idWithin(text); ok {
			t.Errorf("idWithin(%q) = %d, want none", text, id)
		}
	}
}

// asJSON is for comparing values as JSON.
// sparse is a value without the attributes that have none: null, an empty plural, an object of such.
func sparse(value any) any {
	switch value := value.(type) {
	case map[string]any:
		rest := map[string]any{}
		for name, inner := range value {
			if inner = sparse(inner); inner != nil {
				rest[name] = inner
			}
		}
		if len(rest) > 0 {
			return rest
		}
		return nil
	case []any:
		rest := make([]any, len(value))
		for i, element := range value {
			rest[i] = sparse(element)
		}
		if len(rest) > 0 {
			return rest
		}
		return nil
	}
	return value
}

func decoded(t *testing.T, text string) (value any) {
	t.Helper()
	must(t, json.Unmarshal([]byte(text), &value))
	return value
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	must(t, err)
	return string(text)
}
