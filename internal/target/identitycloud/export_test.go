package identitycloud

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"durable-dataload/internal/target"
)

// TestASelectionIsAskedForByFilterAndAttributes holds the form of the calls of an export.
func TestASelectionIsAskedForByFilterAndAttributes(t *testing.T) {
	var path, filter, attributes, sort, most string
	results := "[]"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, filter, attributes, sort, most = r.URL.Path, r.PostFormValue("filter"), r.PostFormValue("attributes"), r.PostFormValue("sort_on"), r.PostFormValue("max_results")
		fmt.Fprintf(w, `{"stat":"ok","total_count":7,"results":%s}`, results)
	}))
	defer server.Close()
	a, err := NewAdapter(Config{BaseURL: server.URL, EntityType: "user", ClientID: "id", ClientSecret: "secret"}, target.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	since := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	const system = `"created","id","lastUpdated","uuid"`
	for _, c := range []struct {
		selection          target.Selection
		page               target.Page
		filter, attributes string
	}{
		{target.Selection{}, target.Page{Most: 3}, "id > 0", ""},
		{target.Selection{Filter: "a = 1 or b = 2", Attributes: []string{"email", "uuid"}}, target.Page{After: "9", Most: 3}, "(a = 1 or b = 2) and id > 9", `["created","email","id","lastUpdated","uuid"]`},
		{target.Selection{Filter: "a = 1", Attributes: []string{}}, target.Page{Since: since, Stamp: target.Updated, Most: 3}, "(a = 1) and lastUpdated >= '2026-11-22 13:05:00.000000 +0000' and id > 0", "[" + system + "]"},
	} {
		if _, next, err := a.Select(t.Context(), c.selection, c.page); err != nil || next != "" {
			t.Errorf("%+v: next %q, %v", c.selection, next, err)
		}
		if path != "/entity.find" || filter != c.filter || attributes != c.attributes || sort != `["id"]` || most != "3" {
			t.Errorf("%+v asks %s for %q, %s by %s, %s at most; want %q, %s", c.selection, path, filter, attributes, sort, most, c.filter, c.attributes)
		}
	}
	for want, count := range map[string]func() (int64, error){
		"": func() (int64, error) { return a.CountSelected(t.Context(), target.Selection{}, time.Time{}) },
		"a = 1": func() (int64, error) {
			return a.CountSelected(t.Context(), target.Selection{Filter: "a = 1"}, time.Time{})
		},
		"(a = 1 or b = 2) and created < '2026-11-22 13:05:00.000000 +0000'": func() (int64, error) {
			return a.CountSelected(t.Context(), target.Selection{Filter: "a = 1 or b = 2"}, since)
		},
		"created < '2026-11-22 13:05:00.000000 +0000'": func() (int64, error) { return a.CountSelected(t.Context(), target.Selection{}, since) },
	} {
		if n, err := count(); n != 7 || err != nil || path != "/entity.count" || filter != want {
			t.Errorf("%d, %v: %s with %q, want %q", n, err, path, filter, want)
		}
	}
	for password, want := range map[string]bool{
		`{"type":"password-bcrypt","value":"$2a$","created":"2020-01-01 00:00:00.000000 +0000"}`: true,
		`{"type":"password-bcrypt"}`: false, `"***"`: false, "null": false,
	} {
		results = fmt.Sprintf(`[{"id":1,"uuid":"u1","password":%s}]`, password)
		shows, err := a.Shows(t.Context(), target.Selection{Filter: "a = 1"}, "password")
		if shows != want || err != nil || filter != "(a = 1) and password is not null and id > 0" && filter != "((a = 1) and password is not null) and id > 0" {
			t.Errorf("%s: %v, %v with %q, want %v", password, shows, err, filter, want)
		}
	}
	results = "[]"
	if shows, err := a.Shows(t.Context(), target.Selection{}, "password"); shows || err != nil {
		t.Errorf("nobody has a password: %v, %v", shows, err)
	}
	if !json.Valid([]byte(attributes)) {
		t.Errorf("the attributes are %s", attributes)
	}
}
