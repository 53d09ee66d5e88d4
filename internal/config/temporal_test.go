package config

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"go.temporal.io/sdk/client"
)

const profiles = `
[profile.default]
address = "default.example:7233"
namespace = "default-namespace"

[profile.cloud]
address = "cloud.example:7233"
namespace = "cloud-namespace"
api_key = "key-in-file"

[profile.nothing]
`

// options reads a command line with a profile file and an environment.
func temporalOptions(t *testing.T, line, file string, env map[string]string) (client.Options, bool, error) {
	t.Helper()
	for _, name := range []string{"ADDRESS", "NAMESPACE", "API_KEY", "PROFILE", "CONFIG_FILE", "TLS", "TLS_CLIENT_CERT_PATH", "TLS_CLIENT_KEY_PATH", "TLS_SERVER_NAME", "TLS_SERVER_CA_CERT_PATH"} {
		t.Setenv("TEMPORAL_"+name, "")
		_ = os.Unsetenv("TEMPORAL_" + name)
	}
	home := t.TempDir() // the test must not read the user's own profiles
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", home)
	if file != "" {
		path := filepath.Join(home, "temporal.toml")
		must(t, os.WriteFile(path, []byte(file), 0o600))
		t.Setenv("TEMPORAL_CONFIG_FILE", path)
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
	var o Temporal
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	o.AddFlags(flags)
	if err := flags.Parse(strings.Fields(line)); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return o.ClientOptions()
}

func TestFlagsComeBeforeEnvironmentAndProfile(t *testing.T) {
	cases := []struct {
		name, line, file   string
		env                map[string]string
		address, namespace string
		given              bool
	}{
		{name: "nothing", given: false},
		{name: "flags", line: "--address flag:7233 --namespace flag-ns", address: "flag:7233", namespace: "flag-ns", given: true},
		{name: "environment", env: map[string]string{"TEMPORAL_ADDRESS": "env:7233", "TEMPORAL_NAMESPACE": "env-ns"}, address: "env:7233", namespace: "env-ns", given: true},
		{name: "default profile", file: profiles, address: "default.example:7233", namespace: "default-namespace", given: true},
		{name: "named profile", file: profiles, line: "--profile cloud", address: "cloud.example:7233", namespace: "cloud-namespace", given: true},
		{name: "profile named by the environment", file: profiles, env: map[string]string{"TEMPORAL_PROFILE": "cloud"}, address: "cloud.example:7233", namespace: "cloud-namespace", given: true},
		{name: "profile without an address", file: profiles, line: "--profile nothing", given: false},
		{name: "environment over profile", file: profiles, env: map[string]string{"TEMPORAL_ADDRESS": "env:7233"}, address: "env:7233", namespace: "default-namespace", given: true},
		{name: "flag over both", file: profiles, line: "--address flag:7233", env: map[string]string{"TEMPORAL_ADDRESS": "env:7233", "TEMPORAL_NAMESPACE": "env-ns"}, address: "flag:7233", namespace: "env-ns", given: true},
		{name: "a namespace alone names no service", line: "--namespace flag-ns", namespace: "flag-ns", given: false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			o, given, err := temporalOptions(t, tc.line, tc.file, tc.env)
			must(t, err)
			if given != tc.given || given && o.HostPort != tc.address || o.Namespace != tc.namespace {
				t.Errorf("address %q, namespace %q, given %v; want %q, %q, %v", o.HostPort, o.Namespace, given, tc.address, tc.namespace, tc.given)
			}
		})
	}
}

func TestAKeyMeansTLS(t *testing.T) {
	cases := []struct {
		name, line, file string
		tls, key         bool
	}{
		{"plain", "--address a:7233", "", false, false},
		{"asked for", "--address a:7233 --tls", "", true, false},
		{"server name", "--address a:7233 --tls-server-name b.example", "", true, false},
		{"API key", "--address a:7233 --api-key " + secret, "", true, true},
		{"API key in the profile", "--profile cloud", profiles, true, true},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			o, _, err := temporalOptions(t, tc.line, tc.file, nil)
			must(t, err)
			if got := o.ConnectionOptions.TLS != nil; got != tc.tls {
				t.Errorf("TLS: %v, want %v", got, tc.tls)
			}
			if tc.name == "server name" && o.ConnectionOptions.TLS != nil && o.ConnectionOptions.TLS.ServerName != "b.example" {
				t.Errorf("server name %q, want b.example", o.ConnectionOptions.TLS.ServerName)
			}
			if got := o.Credentials != nil; got != tc.key {
				t.Errorf("a key for the service: %v, want %v", got, tc.key)
			}
		})
	}
}

func TestCertificatesComeFromFiles(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	o, _, err := temporalOptions(t, "--address a:7233 --tls-cert-path "+cert+" --tls-key-path "+key+" --tls-ca-path "+cert, "", nil)
	must(t, err)
	tls := o.ConnectionOptions.TLS
	if tls == nil || tls.RootCAs == nil || len(tls.Certificates) != 1 {
		t.Errorf("TLS is %+v; want the certificate of the client and the authority of the service", tls)
	}
}

func TestErrorsOfTheTemporalOptions(t *testing.T) {
	for name, tc := range map[string]struct{ line, file string }{
		"no such profile": {"--profile other", profiles},
		"no such file":    {"--config-file /does/not/exist.toml --profile other", ""},
		"not TOML":        {"", "[profile.default\naddress = \"" + secret + "\""},
		"no such key":     {"--address a:7233 --api-key " + secret + " --tls-cert-path /does/not/exist --tls-key-path /does/not/exist", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, given, err := temporalOptions(t, tc.line, tc.file, nil)
			if err == nil || given || !strings.Contains(err.Error(), "the Temporal configuration") {
				t.Errorf("given %v, %v; want an error about the Temporal configuration", given, err)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}

func TestDialNamesTheAddressThatDoesNotAnswer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := Dial(ctx, client.Options{HostPort: "127.0.0.1:1"}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "--address") {
		t.Errorf("%v; want an error that names the address and the option", err)
	}
}

// certificate writes a self-signed certificate and its key.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	must(t, err)
	keyDER, err := x509.MarshalECPrivateKey(private)
	must(t, err)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		must(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	}
	return cert, key
}
