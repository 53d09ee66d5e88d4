package main_test

import (
	"os"
	"path/filepath"
	"testing"

	"durable-dataload/internal/fakeusers"
)

// The index and the copy of a new migration are made while its input is validated, before it is started, and nothing is left
// beside its folder. With --no-validate the inspection makes them.
func TestTheIndexIsMadeWhileTheInputIsValidated(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{nil, {"--no-validate"}} {
		l, s := labWithSandbox(t)
		m := l.migration(s, l.users(fakeusers.Options{Records: 500, Seed: 410, Awkward: true}), 20, append(flags, "--rate-limit", "0")...).shared()
		m.run(0, 3)
		m.check()
		folders, err := os.ReadDir(filepath.Join(m.state, "migrations"))
		if err != nil || len(folders) != 1 {
			t.Fatalf("%v, %v; want the folder of the migration alone", folders, err)
		}
		folder := filepath.Join(m.state, "migrations", folders[0].Name())
		index, err := os.Stat(filepath.Join(folder, "index"))
		must(t, err)
		runs, err := filepath.Glob(filepath.Join(folder, "run-*"))
		if err != nil || len(runs) != 1 {
			t.Fatalf("%q, %v; want one run", runs, err)
		}
		begun, err := os.Stat(runs[0])
		must(t, err)
		if early, want := index.ModTime().Before(begun.ModTime()), flags == nil; early != want {
			t.Errorf("%q: the index was made before the run began: %t, want %t", flags, early, want)
		}
	}
}
