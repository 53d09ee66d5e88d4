package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"durable-dataload/internal/target/identitycloud"
)

// TestARecordHasEveryAttributeOfTheSchema: in the vendor's examples of /entity and entity.find a record without a value has
// null, [] for a plural, and an object with nulls.
func TestARecordHasEveryAttributeOfTheSchema(t *testing.T) {
	server, c := start(t, Options{})
	c.create(`[{}, {"clients":null,"primaryAddress":null,"optIn":{}}, {"primaryAddress":{"city":"Wien"},"clients":[{"name":"n"}]}]`)
	const address = `{"address1":null,"address2":null,"city":%s,"company":null,"country":null,"mobile":null,"phone":null,"stateAbbreviation":null,"zip":null,"zipPlus4":null}`
	none := fmt.Sprintf(address, "null")
	for id, want := range map[string]map[string]string{
		"1": {"givenName": "null", "birthday": "null", "display": "null", "password": "null", "clients": "[]", "profiles": "[]", "optIn": `{"status":null}`, "primaryAddress": none},
		"2": {"clients": "[]", "optIn": `{"status":null}`, "primaryAddress": none},
		"3": {"clients": `[{"channel":null,"clientId":null,"firstLogin":null,"id":4,"lastLogin":null,"name":"n"}]`, "primaryAddress": fmt.Sprintf(address, `"Wien"`)},
	} {
		for what, got := range map[string]map[string]any{
			"entity":         c.ok("entity", params{"id": id})["result"].(map[string]any),
			"entity.find":    c.ok(findEndpoint, params{"filter": "id = " + id})["results"].([]any)[0].(map[string]any),
			"include_record": c.ok(updateEndpoint, params{"id": id, "attributes": `{}`, "include_record": "true"})["result"].(map[string]any),
		} {
			for _, a := range schema {
				if _, ok := got[a.Name]; !ok {
					t.Errorf("%s: record %s lacks %s", what, id, a.Name)
				}
			}
			for name, value := range want {
				if asJSON(t, got[name]) != value {
					t.Errorf("%s: record %s has %s %s, want %s", what, id, name, asJSON(t, got[name]), value)
				}
			}
			identitycloud.Schema{Attributes: schema}.Each(func(path string, _ identitycloud.Attribute) {
				if values := valuesAt(got, strings.Split(path, ".")); id == "1" && values != nil && !strings.Contains("id uuid created lastUpdated", path) && sparse(values[0]) != nil {
					t.Errorf("%s: record 1 has %s %v, want no value", what, path, values)
				}
			})
		}
	}
	log, err := os.ReadFile(filepath.Join(server.options.StateDir, TruthFile))
	must(t, err)
	if strings.Contains(string(log), "zipPlus4\":null") {
		t.Errorf("what was only shown is kept: %s", log)
	}
}

// TestIdsAreSharedByRecordsAndElements: in the vendor's example of entity.bulkCreate, records with an element each are 11393,
// 11395 and 11397.
func TestIdsAreSharedByRecordsAndElements(t *testing.T) {
	server, c := start(t, Options{})
	elements := func(id string) string {
		t.Helper()
		return asJSON(t, c.ok("entity", params{"id": id, "attributes": `["statuses.id"]`})["result"])
	}
	created := c.ok(bulkCreateEndpoint, params{"all_attributes": `[{"email":"a@x.org","statuses":[{"status":"s"}]},{"email":"a@x.org","statuses":[{"status":"refused"}]},
		{"statuses":[{"status":"s"},{"status":"t"}]},{}]`})
	results := created["results"].([]any)
	if got := fmt.Sprint(results[0], results[2], results[3]); got != "1 3 6" {
		t.Errorf("ids %s, want 1 3 6", got)
	}
	c.ok(replaceEndpoint, params{"id": "1", "attribute_name": "statuses", "value": `[{"status":"u"},{"status":"v"}]`})
	server.Close()
	_, c = start(t, Options{StateDir: server.options.StateDir})
	c.ok(updateEndpoint, params{"id": "6", "attribute_name": "statuses", "value": `{"status":"w"}`})
	if got := c.ok(bulkCreateEndpoint, params{"all_attributes": `[{}]`})["results"].([]any)[0]; got != 10.0 {
		t.Errorf("after elements up to 9 a record is %v, want 10", got)
	}
	for id, want := range map[string]string{"1": "7 8", "3": "4 5", "6": "9", "10": ""} {
		var ids []string
		for _, id := range strings.Fields(want) {
			ids = append(ids, `{"id":`+id+`}`)
		}
		if got, want := elements(id), `{"statuses":[`+strings.Join(ids, ",")+`]}`; got != want {
			t.Errorf("record %s has %s, want %s", id, got, want)
		}
	}
	c.fails("entity", params{"id": "2"}, 310)
	if got := c.total(); got != 4 {
		t.Errorf("%d entities, want 4", got)
	}
	if got := c.ok(findEndpoint, params{"filter": "id > 1", "sort_on": `["id"]`, "max_results": "2", "attributes": `["id"]`})["results"]; asJSON(t, got) != `[{"id":3},{"id":6}]` {
		t.Errorf("the page after 1 is %s", asJSON(t, got))
	}
}

// TestAPasswordTellsWhenItWasSet: in a sample of 2025 it has created, type and value.
func TestAPasswordTellsWhenItWasSet(t *testing.T) {
	server, c := start(t, Options{})
	c.create(`[{"email":"a@x.org","created":"2001-01-01","password":{"type":"password-bcrypt","value":"$2a$04$x","created":"1999-01-01"}},{"password":"secret-text"}]`)
	record := func(id string) (password, record map[string]any) {
		record = c.ok("entity", params{"id": id})["result"].(map[string]any)
		password, _ = record["password"].(map[string]any)
		return password, record
	}
	first, whole := record("1")
	if first["created"] != whole["lastUpdated"] || first["type"] != "password-bcrypt" || first["value"] != "$2a$04$x" || len(first) != 3 {
		t.Errorf("the password is %v, want the hash that was given, created at %v", first, whole["lastUpdated"])
	}
	c.ok(updateEndpoint, params{"id": "1", "attributes": `{"givenName":"Ann","password":{"type":"password-bcrypt","value":"$2a$04$x"}}`})
	if again, _ := record("1"); asJSON(t, again) != asJSON(t, first) {
		t.Errorf("set to the same, it is %v, before %v", again, first)
	}
	c.ok(updateEndpoint, params{"id": "1", "attribute_name": "password", "value": `{"type":"password-bcrypt","value":"$2a$04$y","created":"1999-01-01"}`})
	second, whole := record("1")
	if second["created"] != whole["lastUpdated"] || second["created"] == first["created"] || second["value"] != "$2a$04$y" {
		t.Errorf("another one is %v, set at %v", second, whole["lastUpdated"])
	}
	c.ok(updateEndpoint, params{"id": "1", "attributes": `{"givenName":"Eve"}`})
	server.Close()
	_, c = start(t, Options{StateDir: server.options.StateDir})
	if again, _ := record("1"); asJSON(t, again) != asJSON(t, second) {
		t.Errorf("after a change of the name it is %v, before %v", again, second)
	}
	plain, _ := record("2")
	if text := asJSON(t, plain); strings.Contains(text, "secret") || plain["type"] != "password-bcrypt" || len(plain["value"].(string)) != 60 {
		t.Errorf("a plain text is shown as %s, want a hash", text)
	}
}

func BenchmarkBulkCreate(b *testing.B) {
	for _, kind := range []struct{ name, record string }{
		{"flat", `{"email":"u%d@x.org","givenName":"Ann","familyName":"Smith","primaryAddress":{"city":"Wien","zip":"1010"},"password":{"type":"password-bcrypt","value":"$2a$10$abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz0"}}`},
		{"plural", `{"email":"u%d@x.org","givenName":"Ann","clients":[{"clientId":"one","lastLogin":"2020-01-01 00:00:00"},{"clientId":"two"}]}`},
	} {
		b.Run(kind.name, func(b *testing.B) {
			server, c := start(b, Options{})
			n := 0
			for b.Loop() {
				var records []string
				for range 100 {
					n++
					records = append(records, fmt.Sprintf(kind.record, n))
				}
				c.ok(bulkCreateEndpoint, params{"all_attributes": "[" + strings.Join(records, ",") + "]"})
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
			server.Close()
		})
	}
}

func BenchmarkFind(b *testing.B) {
	server, c := start(b, Options{})
	defer server.Close()
	for i := range 10 {
		var records []string
		for n := range 100 {
			records = append(records, fmt.Sprintf(`{"email":"u%d@x.org","givenName":"Ann","primaryAddress":{"city":"Wien"},"clients":[{"clientId":"one"}]}`, i*100+n))
		}
		c.ok(bulkCreateEndpoint, params{"all_attributes": "[" + strings.Join(records, ",") + "]"})
	}
	for b.Loop() {
		c.ok(findEndpoint, params{"filter": "id > 0", "max_results": "1000"})
	}
	b.ReportMetric(float64(1000*b.N)/b.Elapsed().Seconds(), "records/s")
}
