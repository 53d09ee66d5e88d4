package kratos

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"durable-dataload/internal/target"
	"durable-dataload/internal/target/jsonapi"
)

const (
	idA = "efd7fe4e-0000-4000-8000-00000000000a"
	idB = "efd7fe4e-0000-4000-8000-00000000000b"
)

// The answers that the real server of the other tests does not give.
func TestAnswersOfOtherVersions(t *testing.T) {
	tags := []string{target.NewTag("run", 1), target.NewTag("run", 2), target.NewTag("run", 3)}
	created := func(n int, id string) string {
		return fmt.Sprintf(`{"action":"create","identity":%q,"patch_id":%q}`, id, tags[n])
	}
	failed := func(n, code int) string {
		return fmt.Sprintf(`{"action":"error","patch_id":%q,"error":{"code":%d,"reason":"ann@example.com is taken"}}`, tags[n], code)
	}
	list := func(entries ...string) string { return `{"identities":[` + strings.Join(entries, ",") + `]}` }
	const conflict = `{"error":{"code":409,"status":"Conflict","reason":"This identity conflicts with another identity that already exists.","message":"The resource could not be created due to a conflict"}}`
	for _, tc := range []struct {
		name    string
		status  int
		body    string
		there   string // the identities that a read shows
		call    string // the class of the error of the call
		results string
	}{
		{"all created", 200, list(created(0, idA), created(1, idB)), "", "", idA + " " + idB},
		{"a duplicate is the only one that is not written, as of v26.2", 200, list(created(0, idA), failed(1, 409)), idA, "", idA + " duplicate"},
		{"all but the duplicate are rolled back", 200, list(created(0, idA), failed(1, 409)), "", "", "unwritten duplicate"},
		{"all are duplicates, as of v26.2", 409, conflict, "", "duplicate", ""},
		{"a read that shows some of one transaction", 200, list(created(0, idA), created(1, idB), failed(2, 409)), idB, "", "unknown " + idB + " duplicate"},
		{"a read that shows others", 200, list(created(0, idA), failed(1, 409)), idB, "", "unknown duplicate"},
		{"a record is refused", 200, list(failed(0, 400), failed(1, 409)), "", "", "refused duplicate"},
		{"an internal error for a record", 200, list(failed(0, 500), failed(1, 409)), "", "", "unknown duplicate"},
		{"the call is refused", 400, `{"error":{"code":500,"message":"json: unknown field"}}`, "", "refused", ""},
		{"the entries are in another order", 200, list(created(1, idA), created(0, idB)), "", "", "unknown unknown"},
		{"one id twice", 200, list(created(0, idA), created(1, idA)), "", "", "unknown unknown"},
		{"not an id", 200, list(created(0, "7"), created(1, idB)), idB, "", "unknown " + idB},
		{"too few", 200, list(created(0, idA)), "", "unknown", ""},
		{"too many", 200, list(created(0, idA), created(1, idB), created(1, idB)), "", "unknown", ""},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				there := "[]"
				if tc.there != "" {
					there = fmt.Sprintf(`[{"id":%q}]`, tc.there)
				}
				_, _ = io.WriteString(w, there)
				return
			}
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, tc.body)
		}))
		defer server.Close()
		a, err := New(Config{Config: jsonapi.Config{BaseURL: server.URL}}, target.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		answer := a.Create(t.Context(), encoded(t, a, tags[:max(2, strings.Count(tc.results, " ")+1)]...))
		call, results := "", []string{}
		var e *target.Error
		if errors.As(answer.Err, &e) {
			call = e.Class.String()
		}
		for _, r := range answer.Results {
			if r.Err != nil {
				results = append(results, r.Err.Class.String())
			} else {
				results = append(results, r.ID)
			}
		}
		if got := strings.Join(results, " "); call != tc.call || got != tc.results || answer.NothingWritten != (tc.call == "refused" || tc.call == "duplicate") {
			t.Errorf("%s: the call %q, the records %q, nothing written: %t; want %q and %q", tc.name, call, got, answer.NothingWritten, tc.call, tc.results)
		}
	}
}

func encoded(t *testing.T, f target.Format, tags ...string) (records []target.Record) {
	t.Helper()
	for i, tag := range tags {
		r, err := f.Encode([]byte(fmt.Sprintf(`{"traits":{"email":"user%d@example.com"},"password":"plain text"}`, i)), tag)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}

func TestABatchHasAtMost200PasswordsInPlainText(t *testing.T) {
	f := Format("")
	var tags []string
	for i := range maxPlain + 2 {
		tags = append(tags, target.NewTag("run", int64(i)))
	}
	records := encoded(t, f, tags...)
	hashed, err := f.Encode([]byte(`{"traits":{"email":"last@example.com"},"password":{"type":"password-bcrypt","value":"$2b$10$abc"}}`), target.NewTag("run", 1000))
	if err != nil {
		t.Fatal(err)
	}
	body, sent := batch(append(records, hashed))
	if len(sent) != maxPlain+1 || sent[len(sent)-1] != maxPlain+2 || strings.Count(string(body), "plain text") != maxPlain {
		t.Errorf("the batch has %d records with %d passwords in plain text, the last is %d; want %d, %d and the last one", len(sent), strings.Count(string(body), "plain text"), sent[len(sent)-1], maxPlain+1, maxPlain)
	}
}

// A page with HTTP 200 says nothing of the change, and an update that is taken for made is not repeated.
func TestAChangeIsAnsweredWithTheIdentity(t *testing.T) {
	answer := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = fmt.Fprintf(w, `{"id":%q,"traits":{}}`, idA)
			return
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	a, err := New(Config{Config: jsonapi.Config{BaseURL: server.URL}}, target.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		answer string
		known  bool
	}{
		{fmt.Sprintf(`{"id":%q,"traits":{}}`, idA), true},
		{fmt.Sprintf(`{"id":%q,"traits":{}}`, idB), false},
		{`<html>Sign in</html>`, false},
		{`{}`, false},
		{`null`, false},
		{``, false},
	} {
		answer = tc.answer
		for path, value := range map[string]string{"traits.name": `"Ann"`, "password": `"plain text"`} {
			err := a.Apply(t.Context(), target.Ref{ID: idA}, target.Step{Changes: []target.Change{{Path: path, Value: json.RawMessage(value)}}})
			if isKnown := err == nil; isKnown != tc.known || err != nil && !target.Is(err, target.Unknown) {
				t.Errorf("a change of %s is answered with %q: %v; want it known: %t", path, tc.answer, err, tc.known)
			}
		}
	}
}

// A PUT empties what it does not have.
func TestAPasswordIsSetAndNothingElse(t *testing.T) {
	const shown = `"external_id":"crm-7","metadata_admin":{"x":1},"metadata_public":{"y":2},"schema_id":"default","state":"inactive","traits":{"email":"ann@example.com"}`
	var put map[string]json.RawMessage
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			if err := json.NewDecoder(r.Body).Decode(&put); err != nil {
				t.Error(err)
			}
		}
		_, _ = fmt.Fprintf(w, `{"id":%q,"created_at":"2026-11-22T13:05:00Z","updated_at":"2026-11-22T13:05:00Z",%s}`, idA, shown)
	}))
	defer server.Close()
	a, err := New(Config{Config: jsonapi.Config{BaseURL: server.URL}}, target.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	step := target.Step{Changes: []target.Change{{Path: "password", Value: json.RawMessage(`"plain text"`)}}}
	if err := a.Apply(t.Context(), target.Ref{ID: idA}, step); err != nil {
		t.Fatal(err)
	}
	if put["credentials"] == nil {
		t.Error("no password was sent")
	}
	delete(put, "credentials")
	if got, err := target.Marshal(put); err != nil || string(got) != "{"+shown+"}" {
		t.Errorf("beside the password %s is sent, want {%s}, as it was", got, shown)
	}
}
