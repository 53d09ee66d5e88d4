package kratos_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"durable-dataload/internal/proof/kratos"
	"durable-dataload/internal/proof/program"
	"durable-dataload/internal/target"
	"durable-dataload/internal/target/conformance"
	"durable-dataload/internal/target/jsonapi"
	adapter "durable-dataload/internal/target/kratos"
)

// start starts a real server, or skips the test where it is not wanted or not to be had.
func start(t *testing.T) *kratos.Server {
	t.Helper()
	if !program.WantsTargets() {
		t.Skip(program.NoTargets)
	}
	path, err := kratos.Install(t.Context())
	var unavailable *program.Unavailable
	if errors.As(err, &unavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := kratos.New(t.Context(), path, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

func connect(t *testing.T, url string, hooks target.Hooks) target.Adapter {
	t.Helper()
	a, err := adapter.New(adapter.Config{Config: jsonapi.Config{BaseURL: url}}, hooks)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// hash is the bcrypt hash of "correct horse".
const hash = "$2a$04$qmnzZJOar2gYkq6tUszWWOJX48YPvKSdIX9G.SW4fK1OY6n6RHd/e"

func record(key string) string {
	return fmt.Sprintf(`{"traits":{"email":%q,"name":{"first":"Ann","last":"Lee"},"age":41,"newsletter":true,"birthday":"1980-02-29","tags":["a","b"]},
		"password":{"type":"password-bcrypt","value":%q},"metadata_admin":{"uuid":"efd7fe4e-0000-4000-8000-000000000000"},
		"verifiable_addresses":[{"value":%q,"via":"email","verified":true,"status":"completed"}]}`, key, hash, key)
}

func TestKratosIsATarget(t *testing.T) {
	server := start(t)
	subject := conformance.Subject{
		URL: server.Admin, Connect: connect, Key: adapter.DefaultKey, Record: record,
		Value: "traits.name.first", List: "traits.tags", Elements: [2]string{`["x","y","z"]`, `[]`},
		Refused: func(key string) string { return fmt.Sprintf(`{"traits":{"email":%q,"age":"old"}}`, key) },
		Unsendable: []string{
			`{"email":"ann@example.com"}`, `{"traits":null}`, `{"traits":{},"metadata_admin":5}`,
			`{"traits":{},"password":{"type":"password-netforum","value":"x"}}`, `{"traits":{},"password":7}`,
		},
	}
	subject.Denied = func(t *testing.T, hooks target.Hooks) target.Adapter { // a self-hosted Kratos asks for no token
		t.Helper()
		network := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":{"code":401,"status":"Unauthorized","reason":"Access credentials are invalid","message":"The request could not be authorized"}}`)
		}))
		t.Cleanup(network.Close)
		return connect(t, network.URL, hooks)
	}
	subject.InternalError.Status, subject.InternalError.Body = http.StatusInternalServerError, `{"error":{"code":500,"status":"Internal Server Error","message":"An internal server error occurred"}}`
	conformance.Run(t, subject)
}

func TestAnImportedUserSignsInWithTheOldPassword(t *testing.T) {
	server := start(t)
	a := connect(t, server.Admin, target.Hooks{})
	var ids []string
	for i, password := range []string{
		`{"type":"password-bcrypt","value":"` + hash + `"}`,
		`{"type":"password-crypt-sha512","value":"$6$saltsalt$hRM5XZ86KXEw9UOmjigeVqFgULtFB2sgpC9lXQDfMib3Zgw7mEiUvBJI2EplzfAqxL5Vvwp2scFtv/uamSo5z0"}`,
		`{"type":"password-crypt-sha256","value":"$5$saltsalt$myjXcpMpE2Ofk7fj9hqyNYSn6lmWG4Mqnjx.KIRRr4/"}`,
		`{"type":"password-crypt-md5","value":"$1$saltsalt$NuzA7WTAelpl95xgBGWN60"}`,
		`{"type":"pbkdf2","value":"$pbkdf2-sha256$i=1000,l=32$c2FsdHNhbHRzYWx0c2FsdA$BBs+1+PaslLtBPULUr8/lQicvVuHiEPMz0i8MjLCbzM"}`,
		`{"type":"ssha","value":"{SSHA}RVkYfPxb39JKWtqZoYqBfJgg5JZzYWx0c2FsdHNhbHRzYWx0"}`,
		`"correct horse"`,
	} {
		email := fmt.Sprintf("user%d@example.com", i)
		sent, err := a.Encode([]byte(fmt.Sprintf(`{"traits":{"email":%q,"name":{"last":"Lee"}},"metadata_admin":{"uuid":"u-1"},"password":%s}`, email, password)), target.NewTag("run", int64(i)))
		if err != nil {
			t.Fatal(err)
		}
		answer := a.Create(t.Context(), []target.Record{sent})
		if answer.Err != nil || answer.Results[0].Err != nil {
			t.Fatalf("Create: %v %s, %v", answer.Err, answer.Words(), answer.Results)
		}
		ids = append(ids, answer.Results[0].ID)
		signsIn(t, server, email, "correct horse", true)
		signsIn(t, server, email, "wrong", false)
	}
	// An update brings another hash.
	steps, err := a.Steps([]target.Change{{Path: "password", Value: json.RawMessage(`"battery staple"`)}})
	if err != nil {
		t.Fatal(err)
	}
	ref := target.Ref{ID: ids[0]}
	before, err := a.Get(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Apply(t.Context(), ref, steps[0]); err != nil {
		t.Fatal(err)
	}
	after, err := a.Get(t.Context(), ref)
	if err != nil || after.Mark != before.Mark || after.Text("traits.name.last") != "Lee" || after.Text("metadata_admin.uuid") != "u-1" {
		t.Errorf("after a new password: %+v, %v; want everything else as it was", after, err)
	}
	signsIn(t, server, "User0@example.com", "correct horse", false)
	signsIn(t, server, "User0@example.com", "battery staple", true)
}

func TestTheMarkOutlivesAChangeOfItsObject(t *testing.T) {
	server := start(t)
	a := connect(t, server.Admin, target.Hooks{})
	sent, err := a.Encode([]byte(record("ann@example.com")), target.NewTag("run", 1))
	if err != nil {
		t.Fatal(err)
	}
	answer := a.Create(t.Context(), []target.Record{sent})
	if answer.Err != nil {
		t.Fatal(answer.Err)
	}
	ref := target.Ref{ID: answer.Results[0].ID}
	for _, change := range []target.Change{
		{Path: "metadata_admin.a/b~c", Value: json.RawMessage(`1`)}, {Path: "metadata_admin", Value: json.RawMessage(`{"x":1}`)}, {Path: "metadata_admin", Value: json.RawMessage(`null`)},
	} {
		steps, err := a.Steps([]target.Change{change})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Apply(t.Context(), ref, steps[0]); err != nil {
			t.Fatalf("%s: %v", change.Path, err)
		}
		after, err := a.Get(t.Context(), ref)
		want := string(change.Value)
		if change.Path != "metadata_admin" {
			want = `{"a/b~c":1,"uuid":"efd7fe4e-0000-4000-8000-000000000000"}`
		}
		if got := string(after.Attributes["metadata_admin"]); err != nil || after.Mark != sent.Mark || got != want {
			t.Errorf("after %s = %s: %s with the mark %q, %v; want %s with %q", change.Path, change.Value, got, after.Mark, err, want, sent.Mark)
		}
	}
	if _, err := a.Steps([]target.Change{{Path: "schema_id", Value: json.RawMessage(`"x"`)}}); !target.Is(err, target.Refused) {
		t.Errorf("a change of the schema: %v, want it refused before a call", err)
	}
}

// signsIn checks whether a user can sign in, as an app does.
func signsIn(t *testing.T, server *kratos.Server, email, password string, want bool) {
	t.Helper()
	var flow struct {
		UI struct{ Action string }
	}
	send(t, http.MethodGet, server.Public+"/self-service/login/api", "", &flow)
	body, err := json.Marshal(map[string]string{"method": "password", "identifier": email, "password": password})
	if err != nil {
		t.Fatal(err)
	}
	status := send(t, http.MethodPost, flow.UI.Action, string(body), nil)
	if status != http.StatusOK && status != http.StatusBadRequest || (status == http.StatusOK) != want {
		t.Errorf("%s signs in with the password %q: HTTP %d, want success: %t", email, password, status, want)
	}
}

func send(t *testing.T, method, url, body string, into any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatalf("%s: %v in %s", url, err, text)
		}
	}
	return resp.StatusCode
}
