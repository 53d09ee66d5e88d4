package durablefs

import (
	"errors"
	"fmt"
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
