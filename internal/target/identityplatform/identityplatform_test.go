package identityplatform_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"durable-dataload/internal/proof/authemulator"
	"durable-dataload/internal/proof/program"
	"durable-dataload/internal/target"
	"durable-dataload/internal/target/conformance"
	"durable-dataload/internal/target/identityplatform"
	"durable-dataload/internal/target/jsonapi"
)

// The emulator differs from production, as far as it is known:
//
//   - It compares passwords with a hash of its own. A user who was imported with a real hash cannot sign in there, and the
//     parameters of hashes are not looked at, not even the name of the algorithm.
//   - It refuses an email that exists, always. Production does so only with sanityCheck, which the adapter sets, in projects
//     with one account for each email.
//   - It looks for an existing email in the case in which it is sent, and then stores it in lower case, so that two users
//     can have one email. The adapter sends lower case.
//   - It accepts attributes that it does not know, any number of users in a call, and any project.
//   - The token is "owner"; its errors for others are those of production.
//   - It shows a new user at once.

// emulator is that of all tests, nil where it is not wanted or not to be had, for the reason missing.
var (
	emulator *authemulator.Server
	missing  = errors.New(program.NoTargets)
)

func TestMain(m *testing.M) {
	code := 1
	if err := startEmulator(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	if emulator != nil {
		emulator.Kill()
	}
	os.Exit(code)
}

func startEmulator() error {
	if !program.WantsTargets() {
		return nil
	}
	installed, err := authemulator.Install(context.Background())
	var unavailable *program.Unavailable
	if errors.As(err, &unavailable) {
		missing = err
		return nil
	}
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "authemulator-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // it is read on start
	emulator, err = authemulator.Start(context.Background(), installed, dir)
	return err
}

// start returns the emulator, or skips the test.
func start(t *testing.T) *authemulator.Server {
	t.Helper()
	// Asked again here: go test does not see what TestMain reads from the environment, and would take a cached result of a
	// run without the emulator for one with it.
	if !program.WantsTargets() || emulator == nil {
		t.Skip(missing)
	}
	return emulator
}

func connect(t *testing.T, url, token string, hooks target.Hooks) target.Adapter {
	t.Helper()
	a, err := identityplatform.New(identityplatform.Config{
		Config: jsonapi.Config{BaseURL: url, Token: func() (string, error) { return token, nil }}, Project: authemulator.Project,
	}, hooks)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const (
	bcrypt = "$2b$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"
	pbkdf2 = "$pbkdf2-sha256$i=1000,l=32$c2FsdHNhbHRzYWx0c2FsdA$BBs+1+PaslLtBPULUr8/lQicvVuHiEPMz0i8MjLCbzM"
)

func record(key string) string {
	return fmt.Sprintf(`{"email":%q,"emailVerified":true,"displayName":"Ann Lee","createdAt":"2015-12-15T07:36:25.000Z",
		"customAttributes":{"uuid":"efd7fe4e-0000-4000-8000-000000000000","newsletter":true,"score":1.50},
		"providerUserInfo":[{"providerId":"google.com","rawId":%q}],"password":{"type":"password-bcrypt","value":%q}}`, key, key, bcrypt)
}

func TestIdentityPlatformIsATarget(t *testing.T) {
	server := start(t)
	subject := conformance.Subject{
		URL: server.Address,
		Connect: func(t *testing.T, url string, hooks target.Hooks) target.Adapter {
			return connect(t, url, "owner", hooks)
		},
		Denied: func(t *testing.T, hooks target.Hooks) target.Adapter {
			return connect(t, server.Address, "expired", hooks)
		},
		Key: identityplatform.DefaultKey, Record: record, Value: "displayName",
		Refused: func(key string) string { return fmt.Sprintf(`{"email":%q,"phoneNumber":"none"}`, key) },
		Apart: func(key string) string {
			return fmt.Sprintf(`{"email":%q,"password":{"type":"pbkdf2","value":%q}}`, key, pbkdf2)
		},
		Unsendable: []string{
			`{"givenName":"Ann"}`, `{"email":5}`, `{"emailVerified":"2020-02-29"}`, `{"createdAt":"soon"}`, `{"customAttributes":[]}`, `{"providerUserInfo":{}}`,
			`{"localId":"` + strings.Repeat("x", 129) + `"}`, `{"customAttributes":{"a":"` + strings.Repeat("x", 1000) + `"}}`,
			`{"password":"plain text"}`, `{"password":{"type":"password-netforum","value":"x"}}`, `{"password":{"type":"password-bcrypt","value":"$2b$10$short"}}`, `{"password":7}`,
		},
	}
	subject.InternalError.Status, subject.InternalError.Body = http.StatusInternalServerError, `{"error":{"code":500,"message":"Internal error encountered.","status":"INTERNAL"}}`
	conformance.Run(t, subject)
}

func TestTheIDOfTheInputIsKept(t *testing.T) {
	server := start(t)
	a := connect(t, server.Address, "owner", target.Hooks{})
	encode := func(n int64, text string) target.Record {
		t.Helper()
		r, err := a.Encode([]byte(text), target.NewTag("run", n))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := encode(1, `{"localId":"efd7fe4e-0000","email":"ann@example.com"}`)
	answer := a.Create(t.Context(), []target.Record{first, encode(2, `{"localId":"efd7fe4e-0000","email":"bob@example.com"}`), encode(3, `{"email":"cem@example.com","phoneNumber":"+15555550100"}`)})
	if answer.Err != nil || answer.Results[0].ID != "efd7fe4e-0000" || !target.Is(answer.Results[1].Err, target.Unwritten) || answer.Results[2].ID != target.NewTag("run", 3) {
		t.Fatalf("Create: %v, %+v; want an id of the input, one left for later, and a tag", answer.Err, answer.Results)
	}
	answer = a.Create(t.Context(), []target.Record{encode(2, `{"localId":"efd7fe4e-0000","email":"bob@example.com"}`)})
	if answer.Err != nil || !target.Is(answer.Results[0].Err, target.Duplicate) {
		t.Errorf("another user with the id: %v, %+v; want a duplicate", answer.Err, answer.Results)
	}
}

func TestClaimsPhoneNumberAndEmailAreChanged(t *testing.T) {
	server := start(t)
	a := connect(t, server.Address, "owner", target.Hooks{})
	sent, err := a.Encode([]byte(`{"email":"dora@example.com","emailVerified":true,"phoneNumber":"+15555550101","customAttributes":{"a":{"b":1,"c":2},"d":3}}`), target.NewTag("run", 4))
	if err != nil {
		t.Fatal(err)
	}
	answer := a.Create(t.Context(), []target.Record{sent})
	if answer.Err != nil || answer.Results[0].Err != nil {
		t.Fatalf("Create: %v, %v", answer.Err, answer.Results)
	}
	steps, err := a.Steps([]target.Change{
		{Path: "customAttributes.a.b", Value: json.RawMessage("7")}, {Path: "customAttributes.d", Value: json.RawMessage("null")},
		{Path: "email", Value: json.RawMessage(`"lee@example.com"`)}, {Path: "phoneNumber", Value: json.RawMessage("null")}, {Path: "disabled", Value: json.RawMessage("true")},
	})
	if err != nil {
		t.Fatal(err)
	}
	ref := target.Ref{ID: answer.Results[0].ID}
	for _, step := range steps {
		if err := a.Apply(t.Context(), ref, step); err != nil {
			t.Fatal(err)
		}
	}
	after, err := a.Get(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"customAttributes": `{"a":{"b":7,"c":2}}`, "email": `"lee@example.com"`, "emailVerified": "true", "phoneNumber": "", "disabled": "true"} {
		if got := string(after.Attributes[name]); got != want {
			t.Errorf("%s is %s after the changes, want %s", name, got, want)
		}
	}
	if _, err := a.Steps([]target.Change{{Path: "password", Value: json.RawMessage(`"x"`)}}); !target.Is(err, target.Refused) {
		t.Errorf("a new password: %v; want it refused before a call", err)
	}
}

// What the emulator does not look at or does not say.
func TestRequestsAndAnswersOfProduction(t *testing.T) {
	var request struct {
		HashAlgorithm  string
		Rounds         int
		AllowOverwrite *bool
		SanityCheck    bool
		Users          []map[string]any
	}
	status, answer, shows := http.StatusOK, "", ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if strings.HasSuffix(r.URL.Path, ":lookup") {
			_, _ = io.WriteString(w, shows)
			return
		}
		if err != nil || json.NewDecoder(bytes.NewReader(body)).Decode(&request) != nil {
			t.Errorf("the request %s is not JSON, %v", body, err)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	a := connect(t, server.URL, "token", target.Hooks{})
	var records []target.Record
	for i, text := range []string{
		fmt.Sprintf(`{"localId":"a","password":{"type":"pbkdf2","value":%q}}`, pbkdf2),
		`{"localId":"b"}`,
		`{"localId":"c","password":{"type":"pbkdf2","value":"$pbkdf2-sha256$1000$c2FsdHNhbHQ$BBs.1.PaslLtBPULUr8/lQicvVuHiEPMz0i8MjLCbzM"}}`,
		fmt.Sprintf(`{"localId":"d","password":{"type":"password-bcrypt","value":%q}}`, bcrypt),
		`{"localId":"e","password":{"type":"pbkdf2","value":"$pbkdf2$1000$c2FsdHNhbHQ$BBs.1.PaslLtBPULUr8/lQicvVs"}}`,
	} {
		r, err := a.Encode([]byte(text), target.NewTag("run", int64(i)))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		records = append(records, r)
	}
	for _, tc := range []struct {
		name          string
		status        int
		answer, shows string
		want          string
	}{
		{"no failure", 200, `{"kind":"identitytoolkit#UploadAccountResponse"}`, "", "a b c unwritten unwritten"},
		{"an answer that says nothing, and users who are there", 200, `{}`, `{"users":[{"localId":"a"},{"localId":"c"}]}`, "a unknown c unwritten unwritten"},
		{"the first one exists", 200, `{"error":[{"message":"localId belongs to an existing account - can not overwrite."},{"index":2,"message":"email exists in other account in database"}]}`, "", "duplicate b duplicate unwritten unwritten"},
		{"one is refused, one has an internal error", 200, `{"error":[{"index":1,"message":"Invalid custom claims provided."},{"index":2,"message":"Internal error, try again"}]}`, "", "a refused unknown unwritten unwritten"},
		{"a failure of a record that was not sent", 200, `{"error":[{"index":3,"message":"x"}]}`, "", "call unknown"},
		{"two failures of one record", 200, `{"error":[{"index":1,"message":"x"},{"index":1,"message":"y"}]}`, "", "call unknown"},
		{"an unknown member", 200, `{"kind":"x","users":[]}`, "", "call unknown"},
		{"a duplicate within the call", 400, `{"error":{"code":400,"message":"DUPLICATE_EMAIL : ann@example.com","status":"INVALID_ARGUMENT"}}`, "", "call duplicate nothing written"},
		{"a bad parameter", 400, `{"error":{"code":400,"message":"INVALID_HASH_ALGORITHM"}}`, "", "call refused nothing written"},
		{"no project", 400, `{"error":{"code":400,"message":"CONFIGURATION_NOT_FOUND"}}`, "", "call unusable nothing written"},
		{"no permission", 403, `{"error":{"code":403,"message":"The caller does not have permission","status":"PERMISSION_DENIED"}}`, "", "call forbidden nothing written"},
		{"a quota", 400, `{"error":{"code":400,"message":"QUOTA_EXCEEDED : Exceeded quota for uploading accounts."}}`, "", "call throttled"},
		{"an internal error", 500, `{"error":{"code":500,"message":"INTERNAL"}}`, "", "call unknown"},
	} {
		request.Users, request.AllowOverwrite = nil, nil
		status, answer, shows = tc.status, tc.answer, tc.shows
		got := a.Create(t.Context(), records)
		words := []string{}
		for _, r := range got.Results {
			if r.Err != nil {
				words = append(words, r.Err.Class.String())
			} else {
				words = append(words, r.ID)
			}
		}
		var e *target.Error
		if errors.As(got.Err, &e) {
			words = append(words, "call", e.Class.String())
			if got.NothingWritten {
				words = append(words, "nothing written")
			}
		}
		if text := strings.Join(words, " "); text != tc.want {
			t.Errorf("%s: %s; want %s", tc.name, text, tc.want)
		}
		if request.HashAlgorithm != "PBKDF2_SHA256" || request.Rounds != 1000 || request.AllowOverwrite == nil || *request.AllowOverwrite || !request.SanityCheck || len(request.Users) != 3 {
			t.Fatalf("the request is %+v", request)
		}
		if u := request.Users[0]; u["passwordHash"] != "BBs-1-PaslLtBPULUr8_lQicvVuHiEPMz0i8MjLCbzM=" || u["salt"] != "c2FsdHNhbHRzYWx0c2FsdA==" {
			t.Errorf("the hash is sent as %v", u)
		}
	}
}

func TestARefreshedTokenIsNoChangeOfTheUser(t *testing.T) {
	user := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"users":[`+user+`]}`)
	}))
	defer server.Close()
	a := connect(t, server.URL, "token", target.Hooks{})
	version := func(text string) string {
		t.Helper()
		user = text
		e, err := a.Get(t.Context(), target.Ref{ID: "a"})
		if err != nil {
			t.Fatal(err)
		}
		return e.Version
	}
	first := version(`{"localId":"a","lastLoginAt":"1","lastRefreshAt":"2026-01-01T00:00:00Z"}`)
	if version(`{"lastRefreshAt":"2026-01-02T00:00:00Z","localId":"a","lastLoginAt":"1"}`) != first {
		t.Error("a refreshed token is a change")
	}
	if version(`{"localId":"a","lastLoginAt":"2","lastRefreshAt":"2026-01-01T00:00:00Z"}`) == first {
		t.Error("a sign-in is no change")
	}
}
