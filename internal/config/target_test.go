package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/target"
)

func TestAnotherTargetHasAnAddressAndAToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(file, []byte("from-the-file\n"), 0o600))
	for _, tc := range []struct {
		args       string
		env        map[string]string
		uri, token string
		err        string
	}{
		{"--target kratos --target-url HTTPS://Kratos.Example:443/", nil, "https://kratos.example", "", ""},
		{"--target kratos", map[string]string{TargetURLVariable: "https://kratos.example", "CAPTURE_APID_URI": "https://a.example", "CAPTURE_CLIENT_SECRET": secret}, "https://kratos.example", "", ""},
		{"--target kratos --target-url https://k.example --target-token-file " + file, map[string]string{TargetTokenVariable: "other"}, "https://k.example", "from-the-file", ""},
		{"--target identity-platform", map[string]string{TargetTokenVariable: "owner"}, "https://identitytoolkit.googleapis.com", "owner", ""},
		{"--target kratos -u https://a.example", nil, "", "", "expected no option of the Identity Cloud"},
		{"--target kratos --target-token-file /none", nil, "", "", "cannot use --target-token-file"},
		{"--target nowhere", nil, "", "", "there is no target"},
		{"-i id -s " + secret + " --target-url https://k.example", nil, "", "", "are for another --target"},
	} {
		c, err := complete(t, tc.args, tc.env)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v, want %q", tc.args, err, tc.err)
			}
			continue
		}
		must(t, err)
		must(t, c.Check())
		token := ""
		if c.token != nil {
			token, err = c.token()
			must(t, err)
		}
		if c.URI != tc.uri || token != tc.token || c.Secret != "" {
			t.Errorf("%s: %s with the token %q, want %s with %q", tc.args, c.URI, token, tc.uri, tc.token)
		}
	}
	c, err := complete(t, "--target kratos --target-url https://k.example", nil)
	must(t, err)
	for name, ok := range map[string]bool{"kratos": true, "": false, "identity-platform": false} {
		spec := migration.Spec{Target: migration.Target{Name: name, URI: "https://k.example", EntityType: "p"}}
		if _, err := c.Connect(spec, target.Hooks{}); (err == nil) != ok {
			t.Errorf("credentials for kratos, and a migration into %q: %v; want it to be allowed: %t", name, err, ok)
		}
	}
}
