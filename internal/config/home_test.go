package config

import (
	"strings"
	"testing"
)

func TestTheStateFolderIsAnAbsolutePath(t *testing.T) {
	t.Setenv("HOME", "/home/somebody")
	none := func(string) string { return "" }
	if dir, err := StateDir("", none); err != nil || dir != "/home/somebody/.local/state/durable-dataload" {
		t.Errorf("by default: %q, %v", dir, err)
	}
	if dir, err := StateDir("", func(string) string { return "~/state" }); err != nil || dir != "/home/somebody/state/durable-dataload" {
		t.Errorf("XDG_STATE_HOME=~/state: %q, %v; want it in the home folder", dir, err)
	}
	for _, right := range []string{"/srv/Q#1", "/srv/a?b", "/srv/50%41", "/srv/Müller GmbH"} {
		if dir, err := StateDir(right, none); err != nil || dir != right {
			t.Errorf("%q: %q, %v", right, dir, err)
		}
	}
	if dir, err := StateDir("/srv/\xff", none); err == nil || !strings.Contains(err.Error(), `--state-dir is "/srv/\xff"`) {
		t.Errorf("a path that is not UTF-8: %q, %v; want an error that names it", dir, err)
	}
}
