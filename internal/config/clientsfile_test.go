package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vendorsFile has the format of the test file of janrain-python-api, with the
// variations that users write.
const vendorsFile = `
defaults:
  default_client: test-client
clusters:
  dev:
    apid_uri: https://dev.example.com
    client_id: dev-id
    client_secret: dev-secret
  both:
    client_id: cluster-id
    client_secret: cluster-secret
  bare: {apid_uri: "https://bare.example.com/"}
clients:
  test-client:
    apid_uri: https://test.example.com
    client_id: test-id
    client_secret: test-secret
  cluster-client:
    apid_uri: https://cluster.example.com
    cluster: dev
  lost-client: {cluster: gone, client_id: x, client_secret: S3cr3t-never-shown}
  both: {client_id: client-id, client_secret: client-secret}
  null-client: {cluster: dev, client_secret: null}
  no-secret: {client_id: x}
  list-secret: {client_id: x, client_secret: [S3cr3t-never-shown]}
  digits: {client_id: 0123, client_secret: 0x10, apid_uri: digits.example.com}
  anchored: &base {client_id: anchored-id, client_secret: anchored-secret}
  merged: {<<: *base, client_id: merged-id}
  alias: *base
dotted:
  path:
    here: {client_id: deep-id, client_secret: deep-secret, cluster: dev}
    list: [a, b]
test-client2:
  client_id: top-id
  client_secret: top-secret
`

// clientsFileWith writes a file with API clients, for its owner alone.
func clientsFileWith(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clients.yaml")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestClientsOfTheFile(t *testing.T) {
	path := clientsFileWith(t, vendorsFile)
	env := map[string]string{"JANRAIN_CONFIG": path, "CAPTURE_CLIENT_ID": "env-id", "CAPTURE_CLIENT_SECRET": "env-secret",
		"CAPTURE_APID_URI": "env.example.com"}
	for _, tc := range []struct{ line, uri, id, secret string }{
		{"-k clients.test-client", "https://test.example.com", "test-id", "test-secret"},
		{"--config-key test-client", "https://test.example.com", "test-id", "test-secret"},
		{"-d", "https://test.example.com", "test-id", "test-secret"},
		{"--default-client", "https://test.example.com", "test-id", "test-secret"},
		{"-d -k dev", "https://dev.example.com", "dev-id", "dev-secret"},
		{"-k clusters.dev", "https://dev.example.com", "dev-id", "dev-secret"},
		{"-k cluster-client", "https://cluster.example.com", "dev-id", "dev-secret"},
		{"-k clients.cluster-client", "https://cluster.example.com", "dev-id", "dev-secret"},
		{"-k both", "https://env.example.com", "client-id", "client-secret"},
		{"-k clusters.both", "https://env.example.com", "cluster-id", "cluster-secret"},
		{"-k test-client2", "https://env.example.com", "top-id", "top-secret"},
		{"-k dotted.path.here", "https://env.example.com", "deep-id", "deep-secret"},
		{"-k digits", "https://digits.example.com", "0123", "0x10"},
		{"-k merged", "https://env.example.com", "merged-id", "anchored-secret"},
		{"-k alias", "https://env.example.com", "anchored-id", "anchored-secret"},
		{"-k test-client -u flag.example.com", "https://flag.example.com", "test-id", "test-secret"},
		{"", "https://env.example.com", "env-id", "env-secret"},
	} {
		c, err := complete(t, tc.line, env)
		if err != nil || c.URI != tc.uri || c.ClientID != tc.id || c.Secret != tc.secret || len(c.Warnings) > 0 {
			t.Errorf("%q: %q %q %q, %v, %q; want %q %q %q", tc.line, c.URI, c.ClientID, c.Secret, err, c.Warnings, tc.uri, tc.id, tc.secret)
		}
	}
}

func TestErrorsOfTheClientsFile(t *testing.T) {
	secretFile := clientsFileWith(t, secret)
	for _, tc := range []struct{ name, text, line, want string }{
		{"no such client", vendorsFile, "-k nobody", "there is no nobody, clients.nobody, clusters.nobody; give --config-key"},
		{"no such path", vendorsFile, "-k clients.nobody", "there is no clients.nobody; give"},
		{"a path through text", vendorsFile, "-k clients.test-client.client_id.x", "there is no clients.test-client.client_id.x"},
		{"text in the place of a client", vendorsFile, "-k clients.test-client.client_id", "clients.test-client.client_id.client_id is missing"},
		{"a list in the place of a client", vendorsFile, "-k dotted.path.list", "dotted.path.list.client_id is missing"},
		{"a section in the place of a client", vendorsFile, "-k clients", "clients.client_id is missing"},
		{"a cluster without a client", vendorsFile, "-k bare", "clusters.bare.client_id is missing"},
		{"no secret", vendorsFile, "-k no-secret", "clients.no-secret.client_secret is missing"},
		{"a secret that is null, with one in the cluster", vendorsFile, "-k null-client", "clients.null-client.client_secret is missing"},
		{"a secret that is a list", vendorsFile, "-k list-secret", "clients.list-secret.client_secret is missing or is not text"},
		{"a cluster that is not there", vendorsFile, "-k lost-client", "add clusters.gone, or correct clients.lost-client.cluster"},
		{"no default", "clients: {a: {client_id: x, client_secret: " + secret + "}}", "-d", "defaults.default_client is missing"},
		{"a default that is not there", "defaults: {default_client: a.b}", "-d", "there is no a.b;"},
		{"an empty file", "", "-d", "defaults.default_client is missing"},
		{"a file of text", secret, "-k x", "there is no x,"},
		{"not YAML", "clients:\n  a: {client_id: x\n  b: " + secret + ": y", "-k a", "is not valid YAML"},
		{"a tab", "clients:\n\t" + secret, "-k a", "line 2 is not valid YAML"},
		{"a name twice", "clients:\n  " + secret + ": {}\n  " + secret + ": {}", "-k a", "line 3 is not valid YAML"},
		{"an unknown alias", "clients: *" + secret, "-k a", "is not valid YAML"},
		{"an id on the command line too", vendorsFile, "-k test-client -i x", "given twice"},
		{"a secret on the command line too", vendorsFile, "-d -s " + secret, "given twice"},
		{"a secret file too", vendorsFile, "-d --client-secret-file " + secretFile, "given twice"},
	} {
		path := clientsFileWith(t, tc.text)
		_, err := complete(t, tc.line, map[string]string{"JANRAIN_CONFIG": path})
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v; want an error with %q and without the secret", tc.name, err, tc.want)
		}
		if err != nil && !strings.Contains(err.Error(), path) && tc.want != "given twice" {
			t.Errorf("%s: %v; want the file's name in it", tc.name, err)
		}
	}
}

func TestWhereTheClientsFileIs(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	if _, err := complete(t, "-d", nil); err == nil || !strings.Contains(err.Error(), filepath.Join(home, ".janrain-capture")+": there is no such file") {
		t.Errorf("without a file: %v; want an error with its path", err)
	}
	must(t, os.WriteFile(filepath.Join(home, ".janrain-capture"), []byte(vendorsFile), 0o600))
	if c, err := complete(t, "-d", nil); err != nil || c.ClientID != "test-id" {
		t.Errorf("with a file in the home folder: %q, %v; want test-id", c.ClientID, err)
	}
	other := clientsFileWith(t, "defaults: {default_client: o}\nclients: {o: {client_id: other-id, client_secret: x}}")
	if c, err := complete(t, "-d", map[string]string{"JANRAIN_CONFIG": other}); err != nil || c.ClientID != "other-id" {
		t.Errorf("with JANRAIN_CONFIG: %q, %v; want other-id", c.ClientID, err)
	}
	if _, err := complete(t, "-d", map[string]string{"JANRAIN_CONFIG": home}); err == nil || !strings.Contains(err.Error(), "cannot read the file") {
		t.Errorf("with a folder: %v; want that it cannot be read", err)
	}
	// Without the name of a client no file is needed.
	if _, err := complete(t, "-i x", map[string]string{"JANRAIN_CONFIG": filepath.Join(home, "none")}); err != nil {
		t.Errorf("without -k and -d: %v", err)
	}
}

func TestWarnings(t *testing.T) {
	path := clientsFileWith(t, vendorsFile)
	secretFile := clientsFileWith(t, secret)
	for _, tc := range []struct {
		line string
		mode os.FileMode
		want string // "" for none
	}{
		{"-d", 0o600, ""},
		{"-d", 0o400, ""},
		{"-d", 0o640, "chmod 600 " + path},
		{"-d", 0o604, "(mode 0604)"},
		{"-i x --client-secret-file " + secretFile, 0o644, ""},
		{"-i x -s " + secret, 0o644, "use CAPTURE_CLIENT_SECRET or --client-secret-file"},
	} {
		must(t, os.Chmod(path, tc.mode))
		c, err := complete(t, tc.line, map[string]string{"JANRAIN_CONFIG": path, "CAPTURE_CLIENT_SECRET": "from-the-environment"})
		got := strings.Join(c.Warnings, "\n")
		if err != nil || (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) || len(c.Warnings) > 1 || strings.Contains(got, secret) {
			t.Errorf("%q, file with mode %o: %v, %q; want one warning with %q", tc.line, tc.mode, err, c.Warnings, tc.want)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
