package identitycloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// directory is a server with records that compares keys exactly or, as the default schema does, without case.
type directory struct {
	t       *testing.T
	records []map[string]any
	exact   bool
	finds   []string // the filters
	views   []string // the key values
}

func (d *directory) equal(a, b string) bool {
	return a == b || !d.exact && strings.EqualFold(a, b)
}

func (d *directory) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != "POST" || r.URL.RawQuery != "" || r.PostFormValue("attributes") != "" {
		d.t.Errorf("%s %s with %v, want a POST for whole records", r.Method, r.URL, r.PostForm)
	}
	switch r.URL.Path {
	case "/entity.find":
		filter := r.PostFormValue("filter")
		d.finds = append(d.finds, filter)
		results := []map[string]any{}
		for _, record := range d.records {
			for term := range strings.SplitSeq(filter, " or ") {
				name, value, ok := strings.Cut(term, "='")
				value, quoted := strings.CutSuffix(value, "'")
				if !ok || !quoted || name != "email" || strings.ContainsAny(value, `'\`) {
					d.t.Errorf("bad term %q in the filter", term)
				}
				if d.equal(value, record["email"].(string)) {
					results = append(results, record)
					break
				}
			}
		}
		if r.PostFormValue("max_results") != "1000" {
			d.t.Errorf("max_results is %q", r.PostFormValue("max_results"))
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"stat": "ok", "result_count": len(results), "results": results})
	case "/entity":
		var value string
		if err := json.Unmarshal([]byte(r.PostFormValue("key_value")), &value); err != nil || r.PostFormValue("key_attribute") != "email" {
			d.t.Errorf("key_value %s: %v", r.PostFormValue("key_value"), err)
		}
		d.views = append(d.views, value)
		for _, record := range d.records {
			if d.equal(value, record["email"].(string)) {
				_ = json.NewEncoder(w).Encode(map[string]any{"stat": "ok", "result": record})
				return
			}
		}
		_, _ = io.WriteString(w, `{"stat":"error","code":310,"error":"record_not_found","error_description":"no record"}`)
	}
}

func TestFindManyKeys(t *testing.T) {
	for _, exact := range []bool{false, true} {
		t.Run(fmt.Sprintf("exact %t", exact), func(t *testing.T) {
			d := &directory{t: t, exact: exact}
			var keys, want []string
			for i := range 200 {
				key := fmt.Sprintf("User%d@Example.com", i)
				switch {
				case i%50 == 7:
					key = fmt.Sprintf("O'Brien%d\\x@Example.com", i)
				case i%10 == 3:
					key = fmt.Sprintf("lower%d@example.com", i)
				}
				keys = append(keys, key)
				if i%3 == 0 { // known, and written in lower case
					uuid := fmt.Sprintf("uuid-%d", i)
					want = append(want, uuid)
					d.records = append(d.records, map[string]any{"uuid": uuid, "email": strings.ToLower(key),
						"created": "2026-11-22 13:05:00.123456 +0000", "lastUpdated": "2026-11-22 13:05:01 +0000", "givenName": "Zoë", "score": json.RawMessage("1.10")})
				}
			}
			keys = append(keys, keys[0], "") // a duplicate, and an empty key
			url, _ := serve(t, d.ServeHTTP)
			found, err := newClient(t, url).FindEntities(context.Background(), "email", keys)
			must(t, err)
			var got []string
			for _, f := range found {
				got = append(got, f.UUID)
				if f.Created.IsZero() || f.LastUpdated.Latest.Sub(f.LastUpdated.Earliest) < 900_000_000 || string(f.Attributes["score"]) != "1.10" {
					t.Errorf("got %+v", f)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			if len(d.finds) != 4 || len(d.views) != 8 {
				t.Errorf("%d finds and %d views, want 4 and 8 (two spellings of 4 keys)", len(d.finds), len(d.views))
			}
		})
	}
}

func TestFindSearchesEachSpellingAndReturnsARecordOnce(t *testing.T) {
	d := &directory{t: t, records: []map[string]any{{"uuid": "u1", "email": "ann@example.com"}, {"uuid": "u2", "email": "o'b@example.com"}}}
	url, _ := serve(t, d.ServeHTTP)
	found, err := newClient(t, url).FindEntities(context.Background(), "email",
		[]string{"Ann@example.com", "O'B@example.com", "ann@example.com", "bob@example.com", "ANN@example.com"})
	var got []string
	for _, f := range found {
		got = append(got, f.UUID)
		if !f.Created.IsZero() || !f.LastUpdated.IsZero() {
			t.Errorf("got times that the API did not tell: %+v", f)
		}
	}
	want := []string{"u1", "u2"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
	if len(d.finds) != 1 || d.finds[0] != "email='ANN@example.com' or email='Ann@example.com' or email='ann@example.com' or email='bob@example.com'" {
		t.Errorf("filters %q", d.finds)
	}
}

func TestFindSplitsLongKeys(t *testing.T) {
	d := &directory{t: t}
	url, _ := serve(t, d.ServeHTTP)
	long := strings.Repeat("x", findBytes/2)
	if _, err := newClient(t, url).FindEntities(context.Background(), "email", []string{long + "1", long + "2", long + "3", "short"}); err != nil {
		t.Fatal(err)
	}
	if len(d.finds) != 3 {
		t.Errorf("%d finds, want 3", len(d.finds))
	}
}

func TestFindReadsPathsAndNumbers(t *testing.T) {
	for _, tc := range []struct{ attribute, key, record string }{
		{"legacy.id", "4711", `{"uuid":"u1","legacy":{"id":4711}}`},
		{"legacy.id", "4711", `{"uuid":"u1","legacy":{"id":"4711"}}`},
		{"id", "12345678901234567", `{"uuid":"u1","id":12345678901234567}`},
		{"uuid", "U1", `{"uuid":"u1"}`},
	} {
		url, _ := serve(t, says(200, `{"stat":"ok","results":[`+tc.record+`]}`))
		found, err := newClient(t, url).FindEntities(context.Background(), tc.attribute, []string{tc.key})
		if err != nil || len(found) != 1 || found[0].UUID != "u1" {
			t.Errorf("%s=%s: got %+v, %v", tc.attribute, tc.key, found, err)
		}
	}
}

func TestFindErrors(t *testing.T) {
	many := `{"stat":"ok","results":[` + strings.Repeat(`{"uuid":"u","email":"a"},`, 999) + `{"uuid":"u","email":"a"}]}`
	for _, tc := range []struct {
		name      string
		attribute string
		key       string
		body      string
		want      string
	}{
		{"no name", "", "a", "", "not the name of an attribute"},
		{"a name that would change the filter", "email='a' or x", "a", "", "not the name of an attribute"},
		{"half a path", "a..b", "a", "", "not the name of an attribute"},
		{"API error", "email", "a", apiError(200, "Unknown attribute (ann@example.com)"), "api 200 some_name (request geup8cd3)"},
		{"API error in a view", "email", "o'b", apiError(200, "ann@example.com"), "api 200 some_name (request geup8cd3)"},
		{"no results", "email", "a", `{"stat":"ok"}`, "no results"},
		{"results null", "email", "a", `{"stat":"ok","results":null}`, "no results"},
		{"results of another kind", "email", "a", `{"stat":"ok","results":["u1"]}`, "no results"},
		{"no result", "email", "o'b", `{"stat":"ok","result":"u1"}`, "no result"},
		{"no uuid", "email", "a", `{"stat":"ok","results":[{"email":"a"}]}`, "result without uuid or email"},
		{"no key", "email", "a", `{"stat":"ok","results":[{"uuid":"a"}]}`, "result without uuid or email"},
		{"key null", "email", "a", `{"stat":"ok","results":[{"uuid":"a","email":null}]}`, "result without uuid or email"},
		{"result null", "email", "a", `{"stat":"ok","results":[null]}`, "result without uuid or email"},
		{"an attribute that is not unique", "email", "a", many, "not unique"},
	} {
		url, _ := serve(t, says(200, tc.body))
		found, err := newClient(t, url).FindEntities(context.Background(), tc.attribute, []string{tc.key})
		if err == nil || !strings.Contains(err.Error(), tc.want) || len(found) != 0 {
			t.Errorf("%s: got %v, %v, want an error with %q", tc.name, found, err, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), "ann@example.com") {
			t.Errorf("%s: the error holds user data: %v", tc.name, err)
		}
	}
}

func TestFindKeepsWhatItFoundBeforeAnError(t *testing.T) {
	n := 0
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 1 {
			_, _ = io.WriteString(w, `{"stat":"ok","results":[{"uuid":"u1","email":"k1"},{"uuid":"u2","email":"stranger"}]}`)
			return
		}
		w.WriteHeader(502)
	})
	keys := make([]string, findKeys+1)
	for i := range keys {
		keys[i] = fmt.Sprintf("k%d", i)
	}
	found, err := newClient(t, url).FindEntities(context.Background(), "email", keys)
	var e *HTTPError
	if !IsUnknown(err) || !errors.As(err, &e) || e.Status != 502 || len(found) != 1 || found[0].UUID != "u1" {
		t.Errorf("got %+v, %v, want u1 and an unknown outcome, HTTP 502", found, err)
	}
}

func TestAFoldedKeyIsWhatEqualFoldHoldsEqual(t *testing.T) {
	texts := []string{"", "a", "A", "k", "K", "\u212a", "s", "S", "\u017f", "ß", "ss", "é", "É", "i", "I", "İ", "ı", "Σ", "σ", "ς", "Ann@Example.com", "ann@example.COM", "\xff"}
	for _, a := range texts {
		for _, b := range texts {
			if got, want := FoldKey(a) == FoldKey(b), strings.EqualFold(a, b); got != want {
				t.Errorf("%q and %q: the same key %t, want %t", a, b, got, want)
			}
		}
	}
	if got := FoldKey("Ann@Example.com"); got != "ann@example.com" {
		t.Errorf("got %q, want it in lower case", got)
	}
}

func TestAllRecordsWithAKeyAreReturned(t *testing.T) {
	d := &directory{t: t, records: []map[string]any{{"uuid": "u1", "email": "ann@example.com"}, {"uuid": "u2", "email": "ANN@example.com"}, {"uuid": "u3", "email": "ann@example.com"}}}
	url, _ := serve(t, d.ServeHTTP)
	found, err := newClient(t, url).FindEntities(context.Background(), "email", []string{"Ann@example.com"})
	if err != nil || len(found) != 3 {
		t.Errorf("got %+v, %v; want all three", found, err)
	}
}

func TestFindWrittenPagesByID(t *testing.T) {
	answers := []string{
		`{"stat":"ok","results":[{"uuid":"u1","id":5},{"uuid":"u2","id":7}]}`,
		`{"stat":"ok","results":[{"uuid":"u3"}]}`,
		`{"stat":"ok","results":[{"uuid":"u3","id":7}]}`,
	}
	var asked []string
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, strings.Join([]string{r.URL.Path, r.PostFormValue("filter"), r.PostFormValue("sort_on"), r.PostFormValue("max_results")}, "|"))
		_, _ = io.WriteString(w, answers[len(asked)-1])
	})
	c, ctx := newClient(t, url), context.Background()
	since := Written{Stamp: "created", Since: time.Date(2026, 11, 22, 14, 5, 0, 120_000_000, time.FixedZone("", 3600))}
	page, err := c.FindWritten(ctx, since, 4, 2)
	if err != nil || len(page) != 2 || page[0].UUID != "u1" || page[1].ID != 7 {
		t.Errorf("got %+v, %v; want u1 and u2", page, err)
	}
	for range 2 { // neither a record without an id nor one that was returned before is valid
		if page, err := c.FindWritten(ctx, since, 7, 2); !IsUnknown(err) || page != nil {
			t.Errorf("got %+v, %v; want no answer", page, err)
		}
	}
	want := []string{
		`/entity.find|created >= '2026-11-22 13:05:00.120000 +0000' and id > 4|["id"]|2`,
	}
	if !slices.Equal(asked[:1], want) {
		t.Errorf("asked %q\nwant  %q", asked[:1], want)
	}
}
