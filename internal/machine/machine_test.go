package machine

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var (
	here  = identity{ID: "aaaa", Boot: "one", Host: "here"}
	there = identity{ID: "bbbb", Boot: "two", Host: "there"}
)

func expect(t *testing.T, what, dir string, i identity, word string) {
	t.Helper()
	err := claim(dir, i)
	if word == "" && err != nil {
		t.Errorf("%s: %v; want it used", what, err)
	}
	if word != "" && (err == nil || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), "remove "+filepath.Join(dir, name))) {
		t.Errorf("%s: %v; want it refused with %q and the remedy", what, err, word)
	}
}

func TestAStateFolderBelongsToOneMachine(t *testing.T) {
	dir := t.TempDir()
	expect(t, "new", dir, here, "")
	expect(t, "again", dir, here, "")
	rebooted, container := here, identity{Boot: "one", Host: "4f2a"}
	rebooted.Boot, rebooted.Host = "three", "renamed"
	expect(t, "after a reboot, with another host name", dir, rebooted, "")
	expect(t, "in a container without an id", dir, container, "")
	container.ID = "of its image"
	expect(t, "in a container with the id of its image", dir, container, "")
	expect(t, "on another machine", dir, there, `belongs to the machine "here"`)

	moved := filepath.Join(filepath.Dir(dir), "moved")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	expect(t, "renamed", moved, here, "")
}

func TestConcurrentProcessesAgree(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			if err := claim(dir, here); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("the folder has %v, %v; want the mark alone", left, err)
	}
}

func TestACopyIsRefusedUntilItsMarkIsRemoved(t *testing.T) {
	dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	expect(t, "new", dir, here, "")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	expect(t, "a copy on the same machine", copied, here, "is a copy, or was restored")
	expect(t, "a copy on another machine", copied, there, "belongs to the machine")
	expect(t, "the original", dir, here, "")
	if err := os.Remove(filepath.Join(copied, name)); err != nil {
		t.Fatal(err)
	}
	expect(t, "the copy, after that", copied, there, "")
	expect(t, "and again", copied, there, "")
	if info, err := os.Stat(filepath.Join(copied, name)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mark: %v, %v; want it for its owner only", info, err)
	}
	if err := os.WriteFile(filepath.Join(copied, name), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, "a damaged mark", copied, there, "is damaged")
}

func TestThisMachineIsRecognized(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		if err := Claim(dir); err != nil {
			t.Error(err)
		}
	}
	if i := this(); i.Host == "" || !i.isSame(this()) {
		t.Errorf("this machine is %+v; want it to be itself", i)
	}
}
