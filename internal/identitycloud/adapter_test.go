package identitycloud

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"durable-dataload/internal/target"
)

// The suite of package conformance runs in package sandbox.

func TestAShortPageOfARoundNumberMayNotBeTheLast(t *testing.T) {
	for records, next := range map[int]string{0: "", 99: "", 100: "100", 101: "", 250: "250"} {
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
