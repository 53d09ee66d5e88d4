package config

import (
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"

	"durable-dataload/internal/migration"
)

func TestASecretReplacedInItsFileIsUsed(t *testing.T) {
	secretFile := clientsFileWith(t, "old\n")
	clients := clientsFileWith(t, "clients: {a: {client_id: x, client_secret: old}}")
	for _, c := range []struct {
		name, line, path, after string
		taken                   bool
	}{
		{"a file with the secret", "-i x --client-secret-file " + secretFile, secretFile, "new\n", true},
		{"a file with clients", "-k a", clients, "clients: {a: {client_id: x, client_secret: new}}", true},
		{"another client", "-k a", clients, "clients: {a: {client_id: y, client_secret: new}}", false},
		{"no secret in it", "-i x --client-secret-file " + secretFile, secretFile, "", false},
		{"the command line", "-i x -s old", secretFile, "new\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(t, os.WriteFile(secretFile, []byte("old\n"), 0o600))
			must(t, os.WriteFile(clients, []byte("clients: {a: {client_id: x, client_secret: old}}"), 0o600))
			var valid atomic.Value
			valid.Store("old")
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, secret, _ := r.BasicAuth(); secret != valid.Load() {
					_, _ = w.Write([]byte(`{"stat":"error","code":402}`))
					return
				}
				_, _ = w.Write([]byte(`{"stat":"ok","total_count":7}`))
			}))
			defer server.Close()
			credentials, err := complete(t, c.line, map[string]string{"JANRAIN_CONFIG": clients})
			must(t, err)
			credentials.URI = ""
			client, err := credentials.Connect(migration.Spec{Target: migration.Target{URI: server.URL}}, nil)
			must(t, err)
			if err := client.Check(t.Context()); err != nil {
				t.Fatalf("with the first secret: %v", err)
			}
			valid.Store("new")
			must(t, os.WriteFile(c.path, []byte(c.after), 0o600))
			if err := client.Check(t.Context()); (err == nil) != c.taken {
				t.Errorf("the check that finds out: %v, want the new secret taken: %v", err, c.taken)
			}
			if _, err := client.Count(t.Context()); (err == nil) != c.taken {
				t.Errorf("the call after it: %v, want the new secret taken: %v", err, c.taken)
			}
		})
	}
}
