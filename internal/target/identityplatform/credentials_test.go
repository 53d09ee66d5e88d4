package identityplatform_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/target"
	"durable-dataload/internal/target/identityplatform"
	"durable-dataload/internal/target/jsonapi"
)

func TestTheKeyOfAServiceAccountGivesTokens(t *testing.T) {
	status, answer := http.StatusOK, `{"access_token":"a-token","expires_in":3600,"token_type":"Bearer"}`
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			asked++
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, answer)
			return
		}
		if got := r.Header.Get("Authorization"); got != "Bearer a-token" {
			t.Errorf("the call has the authorization %q", got)
		}
		_, _ = io.WriteString(w, `{"recordsCount":"7"}`)
	}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "key.json")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
	early := identityplatform.Credentials(time.Minute)
	if _, err := early(); err == nil {
		t.Error("there are credentials, though there is no file")
	}
	writeKey(t, path, server.URL+"/token")
	if got, err := early(); err != nil || got != "a-token" {
		t.Errorf("once the file is there, the token is %q, %v", got, err)
	}
	asked = 0
	count := func() (int64, error) {
		t.Helper()
		token := identityplatform.Credentials(time.Minute)
		a, err := identityplatform.New(identityplatform.Config{Config: jsonapi.Config{BaseURL: server.URL, Token: token}, Project: "demo-x"}, target.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		if _, err := a.Count(t.Context()); err != nil {
			return 0, err
		}
		return a.Count(t.Context())
	}
	if n, err := count(); err != nil || n != 7 || asked != 1 {
		t.Errorf("Count: %d, %v, with %d requests for a token; want 7, with one", n, err, asked)
	}
	status, answer = http.StatusBadRequest, `{"error":"invalid_grant","error_description":"Invalid JWT for robot@example.com"}`
	if _, err := count(); !target.IsFault(err) || !strings.Contains(err.Error(), "invalid_grant") || strings.Contains(err.Error(), "robot") {
		t.Errorf("Count with a key that is refused: %v; want a fault that says invalid_grant, and nothing of the answer", err)
	}
}

func TestATokenThatDoesNotComeIsNotWaitedForLong(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	path := filepath.Join(t.TempDir(), "key.json")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
	writeKey(t, path, server.URL)
	if got, err := identityplatform.Credentials(20 * time.Millisecond)(); err == nil {
		t.Errorf("the token that does not come is %q", got)
	}
}

func writeKey(t *testing.T, path, tokenURI string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "robot@example.com", "private_key_id": "1", "token_uri": tokenURI,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
