package source

import (
	"os"
	"path/filepath"
)

// atomicFile is a file that appears under its name complete and durable, or not at all.
type atomicFile struct {
	*os.File
	path string
	done bool
}

// createAtomic makes a temporary file (mode 0600) next to path.
func createAtomic(path string) (*atomicFile, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return nil, err
	}
	return &atomicFile{File: f, path: path}, nil
}

// publish gives the file its name, replacing one that has it. When it returns, file and name are on disk.
func (a *atomicFile) publish() error {
	if err := a.Sync(); err != nil {
		return err
	}
	if err := a.Close(); err != nil {
		return err
	}
	if err := os.Rename(a.Name(), a.path); err != nil {
		return err
	}
	a.done = true
	folder, err := os.Open(filepath.Dir(a.path))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// discard removes a file that was not published; after publish it does nothing.
func (a *atomicFile) discard() {
	if a.done {
		return
	}
	a.Close()
	os.Remove(a.Name())
}
