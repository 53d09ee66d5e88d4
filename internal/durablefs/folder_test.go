package durablefs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
)

func TestCallersShareTheFsyncOfAFolderThatBeginsAfterTheirCall(t *testing.T) {
	const waiting = 20
	synctest.Test(t, func(t *testing.T) {
		begun, end := make(chan struct{}), make(chan error)
		fsync := fsyncFolder
		fsyncFolder = func(string) error {
			begun <- struct{}{}
			return <-end
		}
		defer func() { fsyncFolder = fsync }()
		f := newFolder()
		result := make(chan error, waiting)
		call := func() { result <- f.sync("ledger") }
		go call()
		<-begun
		for range waiting { // their names may have come after the fsync that runs
			go call()
		}
		synctest.Wait()
		end <- nil
		if err := <-result; err != nil {
			t.Errorf("the first caller got %v, want the result of the first fsync", err)
		}
		<-begun
		synctest.Wait()
		if len(result) > 0 {
			t.Fatalf("%d callers returned before an fsync that began after their call", len(result))
		}
		broken := errors.New("the disk is broken")
		end <- broken
		for range waiting {
			if err := <-result; !errors.Is(err, broken) {
				t.Errorf("a caller got %v, want the error of its fsync", err)
			}
		}
		go call() // a third fsync only for who asks after the second
		<-begun
		end <- nil
		if err := <-result; err != nil {
			t.Errorf("after an error: %v, want the result of a new fsync", err)
		}
	})
}

// Every file that Create has returned for is in a folder whose fsync began after the file had its name.
func TestNoCreateReturnsBeforeItsNameIsDurable(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	durable := map[string]bool{}
	fsync := fsyncFolder
	fsyncFolder = func(dir string) error {
		names, err := filepath.Glob(filepath.Join(dir, "entry-*"))
		if err == nil {
			err = fsync(dir)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, name := range names {
			durable[name] = true
		}
		return err
	}
	defer func() { fsyncFolder = fsync }()
	var all sync.WaitGroup
	for writer := range 10 {
		all.Go(func() {
			for i := range 30 {
				path := filepath.Join(dir, fmt.Sprintf("entry-%d-%d", writer, i))
				if err := Create(path, []byte("content")); err != nil {
					t.Error(err)
				}
				mu.Lock()
				if !durable[path] {
					t.Errorf("%s is not durable, and Create has returned", path)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
}

func TestAPairSharesItsFsyncsAndIsCreatedInOrder(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	fsyncs := 0
	fsync := fsyncFolder
	fsyncFolder = func(dir string) error {
		fsyncs++
		for _, path := range []string{first, second} {
			if _, err := os.Stat(path); err != nil {
				t.Errorf("the fsync of the folder is too early: %v", err)
			}
		}
		return fsync(dir)
	}
	defer func() { fsyncFolder = fsync }()
	if err, secondErr := CreatePair(first, []byte("one"), second, []byte("two")); err != nil || secondErr != nil || fsyncs != 1 {
		t.Errorf("%v, %v after %d fsyncs of the folder, want one", err, secondErr, fsyncs)
	}
	for path, want := range map[string]string{first: "one", second: "two"} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}

	third := filepath.Join(dir, "third")
	if err, secondErr := CreatePair(first, nil, third, nil); !errors.Is(err, ErrExists) || !errors.Is(secondErr, ErrExists) {
		t.Errorf("a first name that is taken: %v, %v; want %v twice", err, secondErr, ErrExists)
	}
	if _, err := os.Stat(third); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the second file of a pair without a first one: %v, want none", err)
	}
	if err, secondErr := CreatePair(third, nil, second, nil); err != nil || !errors.Is(secondErr, ErrExists) {
		t.Errorf("a second name that is taken: %v, %v; want the first created, and %v", err, secondErr, ErrExists)
	}
	if got, err := os.ReadFile(second); err != nil || string(got) != "two" {
		t.Errorf("the taken name: %q, %v; want it unchanged", got, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("%v, %v; want three files and nothing temporary", entries, err)
	}
}
