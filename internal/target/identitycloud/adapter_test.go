package identitycloud

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"durable-dataload/internal/target"
)

// The suite of package conformance runs in package sandbox.

func TestOnlyAnEmptyPageIsTheLast(t *testing.T) {
	for records, next := range map[int]string{0: "", 1: "1", 150: "150", 250: "250"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var all []string
			for i := range records {
				all = append(all, fmt.Sprintf(`{"id":%d,"uuid":"u-%d"}`, i+1, i+1))
			}
			fmt.Fprintf(w, `{"stat":"ok","results":[%s]}`, strings.Join(all, ","))
		}))
		defer server.Close()
		a, err := NewAdapter(Config{BaseURL: server.URL, ClientID: "id", ClientSecret: "secret"}, target.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		found, got, err := a.List(t.Context(), target.Page{Most: 250})
		if err != nil || len(found) != records || got != next {
			t.Errorf("a page of %d: %d records, next %q, %v; want next %q", records, len(found), got, err, next)
		}
	}
}

func TestAnUpdateIsOneObjectAndEachPluralIsReplaced(t *testing.T) {
	list := target.Change{Path: "list", Value: json.RawMessage(`[1]`)}
	steps, err := Format("", 0).Steps([]target.Change{
		{Path: "a", Value: json.RawMessage(`"<&>"`)}, list, {Path: "o.b", Value: json.RawMessage(`null`)},
		{Path: "o.p.c", Value: json.RawMessage(`1.50`)}, {Path: "password", Value: json.RawMessage(`{"type":"t"}`)},
	})
	if err != nil || len(steps) != 2 || len(steps[1].Changes) != 1 || steps[1].Changes[0].Path != list.Path {
		t.Fatalf("the steps are %s, %v; want one with all values, then the list", steps, err)
	}
	want := `{"a":"<&>","o":{"b":null,"p":{"c":1.50}},"password":{"type":"t"}}`
	if got, err := steps[0].Nested(); err != nil || string(got) != want {
		t.Errorf("the update is %s, %v; want %s", got, err, want)
	}
}

func TestASchemaThatIsNotLetThroughIsForbidden(t *testing.T) {
	for status, want := range map[int]target.Class{401: target.Unusable, 403: target.Forbidden, 404: target.Forbidden, 429: target.Throttled, 502: target.Unknown} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		defer server.Close()
		a, err := NewAdapter(Config{BaseURL: server.URL, ClientID: "id", ClientSecret: "secret"}, target.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Schema(t.Context()); !target.Is(err, want) || target.IsFault(err) != (status == 401) {
			t.Errorf("HTTP %d: %v, a fault: %t; want %v", status, err, target.IsFault(err), want)
		}
	}
}
