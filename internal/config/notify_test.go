package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestSenderOfNotices(t *testing.T) {
	const (
		key   = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		url   = "https://hooks.example.com/S3cr3t-never-shown"
		plain = "http://hooks.example.com/S3cr3t-never-shown"
	)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	good, empty, blank := file("good", key+"\n"), file("empty", ""), file("blank", " \n")
	for _, c := range []struct {
		name           string
		line           []string
		env            map[string]string
		insecure       bool
		sends, signed  bool
		wantedInErrors string
	}{
		{"nobody", nil, nil, false, false, false, ""},
		{"a secret that stands in the environment anyway", nil, map[string]string{"NOTIFY_SECRET": key}, false, false, false, ""},
		{"unsigned", []string{"--notify-url", url}, nil, false, true, false, ""},
		{"from the environment", nil, map[string]string{"NOTIFY_URL": url, "NOTIFY_SECRET": key}, false, true, true, ""},
		{"from the command line", []string{"--notify-url", url, "--notify-secret-file", good}, map[string]string{"NOTIFY_URL": "x", "NOTIFY_SECRET": "x"}, false, true, true, ""},
		{"plain HTTP", []string{"--notify-url", plain}, nil, false, false, false, "--insecure-http"},
		{"plain HTTP that is allowed", []string{"--notify-url", plain}, nil, true, true, false, ""},
		{"a file without a URL", []string{"--notify-secret-file", good}, nil, false, false, false, "--notify-url"},
		{"an empty file", []string{"--notify-url", url, "--notify-secret-file", empty}, map[string]string{"NOTIFY_SECRET": key}, false, false, false, "is empty"},
		{"a blank file", []string{"--notify-url", url, "--notify-secret-file", blank}, nil, false, false, false, "is empty"},
		{"no file", []string{"--notify-url", url, "--notify-secret-file", dir + "/absent"}, nil, false, false, false, "cannot use --notify-secret-file"},
		{"a bad secret", []string{"--notify-url", url}, map[string]string{"NOTIFY_SECRET": "S3cr3t-never-shown"}, false, false, false, "expected whsec_"},
	} {
		var n Notify
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		n.AddFlags(flags)
		must(t, flags.Parse(c.line))
		sender, err := n.Sender(func(name string) string { return c.env[name] }, c.insecure)
		if c.wantedInErrors != "" {
			if err == nil || !strings.Contains(err.Error(), c.wantedInErrors) || strings.Contains(err.Error(), "S3cr3t") {
				t.Errorf("%s: %v; want an error with %q and without the secret", c.name, err, c.wantedInErrors)
			}
			continue
		}
		if err != nil || (sender != nil) != c.sends || sender != nil && sender.Signed() != c.signed {
			t.Errorf("%s: sender %v, %v; want one: %v, signed: %v", c.name, sender != nil, err, c.sends, c.signed)
		}
		if warned := strings.Contains(strings.Join(n.Warnings, "\n"), "not signed"); warned != (c.sends && !c.signed) {
			t.Errorf("%s: warnings %q", c.name, n.Warnings)
		}
	}
}
