package config

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/target"
)

const secret = "S3cr3t-never-shown"

// complete reads a command line with files and an environment, like main.
func complete(t *testing.T, line string, env map[string]string) (Credentials, error) {
	t.Helper()
	var c Credentials
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c.AddFlags(flags)
	if err := flags.Parse(strings.Fields(line)); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	err := c.Complete(func(name string) string { return env[name] })
	return c, err
}

func TestFlagsComeBeforeFileAndEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(file, []byte(" from-file\r\n"), 0o600))
	env := map[string]string{"CAPTURE_APID_URI": "env.example/", "CAPTURE_CLIENT_ID": "env-id", "CAPTURE_CLIENT_SECRET": "env-secret"}
	cases := []struct {
		line            string
		env             map[string]string
		uri, id, secret string
	}{
		{"-u https://flag.example -i flag-id -s flag-secret", env, "https://flag.example", "flag-id", "flag-secret"},
		{"--apid_uri flag.example --client-id flag-id --client-secret flag-secret", env, "https://flag.example", "flag-id", "flag-secret"},
		{"--client-secret-file " + file, env, "https://env.example", "env-id", "from-file"},
		{"", env, "https://env.example", "env-id", "env-secret"},
		{"-i flag-id", env, "https://env.example", "flag-id", "env-secret"},
		{"", nil, "", "", ""},
	}
	for _, tc := range cases {
		c, err := complete(t, tc.line, tc.env)
		if err != nil || c.URI != tc.uri || c.ClientID != tc.id || c.Secret != tc.secret {
			t.Errorf("%q with %d variables: %q %q %q, %v; want %q %q %q", tc.line, len(tc.env), c.URI, c.ClientID, c.Secret, err, tc.uri, tc.id, tc.secret)
		}
	}
}

func TestErrorsAboutSecretsDoNotContainThem(t *testing.T) {
	dir := t.TempDir()
	file, empty := filepath.Join(dir, "secret"), filepath.Join(dir, "empty")
	for path, text := range map[string]string{file: secret, empty: " \n"} {
		must(t, os.WriteFile(path, []byte(text), 0o600))
	}
	for line, want := range map[string]string{
		"-s " + secret + " --client-secret-file " + file:   "expected one of them",
		"--client-secret-file " + filepath.Join(dir, "no"): "cannot use --client-secret-file",
		"--client-secret-file " + empty:                    "is empty; expected the secret",
	} {
		_, err := complete(t, line, map[string]string{"CAPTURE_CLIENT_SECRET": secret})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v; want an error with %q and without the secret", line, err, want)
		}
	}
	for _, c := range []Credentials{{Secret: secret}, {ClientID: "id"}, {}} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), "credentials") || strings.Contains(err.Error(), secret) {
			t.Errorf("Check with id %q: %v; want an error about the credentials without the secret", c.ClientID, err)
		}
	}
	if err := (&Credentials{ClientID: "id", Secret: secret}).Check(); err != nil {
		t.Errorf("Check with both: %v", err)
	}
}

func TestCredentialsAreForOneTarget(t *testing.T) {
	spec := func(uri string) migration.Spec {
		return migration.Spec{Target: migration.Target{URI: uri, EntityType: "user", Auth: AuthBasic}, Limits: migration.Limits{Workers: 2}, Timeout: time.Second}
	}
	cases := []struct {
		credentials, target string
		ok                  bool
	}{
		{"https://a.example", "https://a.example", true},
		{"a.example/", "https://a.example", true},
		{"", "https://a.example", true},
		{"https://a.example", "https://b.example", false},
		{"https://a.example", "https://a.example.evil", false},
		{"https://a.example", "https://a.example:8443", false},
		{"https://127.0.0.1", "http://127.0.0.1", false},
		{"https://a.example", "", false},
	}
	for _, tc := range cases {
		c, err := complete(t, "-i id -s "+secret, map[string]string{"CAPTURE_APID_URI": tc.credentials})
		must(t, err)
		_, err = c.Connect(spec(tc.target), target.Hooks{})
		if (err == nil) != tc.ok {
			t.Errorf("credentials for %q, migration into %q: %v; want it to be allowed: %v", tc.credentials, tc.target, err, tc.ok)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows the secret: %v", err)
		}
		if err != nil && tc.target != "" && !strings.Contains(err.Error(), WorkerIdentity()) {
			t.Errorf("%v; want the worker, %s", err, WorkerIdentity())
		}
	}
}

func TestConnectConfiguresTheClientForTheMigration(t *testing.T) {
	c := Credentials{ClientID: "id", Secret: secret}
	for auth, isSigned := range map[string]bool{AuthBasic: false, AuthSignature: true} {
		spec := migration.Spec{
			Target: migration.Target{URI: "http://elsewhere.example", EntityType: "admin", Auth: auth, InsecureHTTP: true},
			Limits: migration.Limits{Workers: 7}, Timeout: 3 * time.Second, UnknownAPI: [][2]int{}, UnknownHTTP: [][2]int{{502, 502}},
		}
		got := c.configOf(spec)
		if got.Client.IsSigned != isSigned || got.URL != spec.Target.URI || got.Part != "admin" || got.Timeout != spec.Timeout || !got.InsecureHTTP ||
			got.Client.ID != "id" || got.Client.Secret != secret || got.Connections <= spec.Workers ||
			fmt.Sprint(got.Client.UnknownAPI, got.Client.UnknownHTTP) != "[] [[502 502]]" || got.Client.UnknownAPI == nil {
			t.Errorf("auth %s: the client is made with %+v; want what the migration says: %+v", auth, got, spec)
		}
	}
	insecure := migration.Spec{Target: migration.Target{URI: "http://elsewhere.example", Auth: AuthBasic}}
	if _, err := c.Connect(insecure, target.Hooks{}); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("plain HTTP to another machine: %v; want an error without the secret", err)
	}
}

func TestAddressesAreNormalized(t *testing.T) {
	for _, given := range []string{"HTTPS://A.Example.:443/", "a.example"} {
		c := Credentials{URI: given}
		if err := c.Complete(func(string) string { return "" }); err != nil || c.URI != "https://a.example" {
			t.Errorf("%q: %q, %v; want https://a.example", given, c.URI, err)
		}
		c = Credentials{}
		if err := c.Complete(func(name string) string { return map[string]string{"CAPTURE_APID_URI": given}[name] }); err != nil || c.URI != "https://a.example" {
			t.Errorf("%q in the environment: %q, %v; want https://a.example", given, c.URI, err)
		}
	}
	c := Credentials{URI: "https://me:hunter2@a.example"}
	if err := c.Complete(func(string) string { return "" }); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("an address with a password: %v; want an error without it", err)
	}
}

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
			client, err := credentials.Connect(migration.Spec{Target: migration.Target{URI: server.URL}}, target.Hooks{})
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
