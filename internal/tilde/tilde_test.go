package tilde

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestATildeIsTheHomeFolder(t *testing.T) {
	t.Setenv("HOME", "/home/somebody")
	t.Chdir(t.TempDir())
	if err := os.WriteFile("~draft.csv", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{
		"~/out": "/home/somebody/out", "~": "/home/somebody", "~/": "/home/somebody", "~/a/~/b": "/home/somebody/a/~/b",
		"": "", "out": "out", "./~": "./~", "/a/~": "/a/~", "s3://bucket/~": "s3://bucket/~", "-": "-", "~draft.csv": "~draft.csv", "~new.csv": "~new.csv",
	} {
		if got, err := Path(given); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", given, got, err, want)
		}
		var option string
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		VarP(f, &option, "output-dir", "O", "")
		if err := f.Parse([]string{"--output-dir=" + given}); err != nil || option != want {
			t.Errorf("--output-dir=%s: %q, %v; want %q", given, option, err, want)
		}
	}
	if got, err := Path("~olga/out"); err == nil || !strings.Contains(err.Error(), "~olga/out") {
		t.Errorf("the folder of another user: %q, %v; want an error", got, err)
	}
	t.Setenv("HOME", "")
	if got, err := Path("~/out"); err == nil || !strings.Contains(err.Error(), "whole path") {
		t.Errorf("without a home folder: %q, %v; want an error", got, err)
	}
}
