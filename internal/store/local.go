package store

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"durable-dataload/internal/durablefs"
)

// local is an absolute path on a disk.
type local string

func (f local) create(data []byte) error { return durablefs.Create(string(f), data) }
func (f local) write(data []byte) error  { return durablefs.WriteFile(string(f), data) }
func (f local) remove() error            { return durablefs.Remove(string(f)) }
func (f local) removeAll() error         { return os.RemoveAll(string(f)) }
func (f local) makeFolder() error        { return durablefs.MkdirAll(string(f)) }
func (f local) hasFolder() (bool, error) { return f.exists() }
func (f local) open() (*os.File, error)  { return durablefs.Open(string(f)) }

func (f local) newWriter() (*durablefs.Writer, error) { return durablefs.NewWriter(string(f)) }

func (f local) commit(_ context.Context, w *durablefs.Writer) error { return w.Commit() }

func (f local) commitNew(_ context.Context, w *durablefs.Writer) error { return w.CommitNew() }

func (f local) stream(context.Context) (io.ReadCloser, error) { return f.open() }

func (f local) read() ([]byte, error) {
	r, err := f.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(r)
}

func (f local) stat() (Info, error) {
	info, err := os.Stat(string(f))
	if err != nil {
		return Info{}, err
	}
	return Info{Size: info.Size(), ModTime: info.ModTime()}, nil
}

func (f local) exists() (bool, error) {
	_, err := os.Lstat(string(f))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (f local) list() (names []string, err error) {
	entries, err := os.ReadDir(string(f))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if !durablefs.IsTemporary(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// prove writes a file; hard links are exclusive.
func (f local) prove() error {
	if err := f.makeFolder(); err != nil {
		return err
	}
	probe, err := durablefs.NewWriter(filepath.Join(string(f), "probe"))
	if err != nil {
		return err
	}
	probe.Discard()
	return nil
}

// localReader is a RandomReader of a disk.
type localReader struct {
	*os.File
	size int64
}

func (r localReader) Size() int64 { return r.size }

func (f local) openRandom() (RandomReader, error) {
	r, err := f.open()
	if err != nil {
		return nil, err
	}
	info, err := r.Stat()
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	return localReader{r, info.Size()}, nil
}

func (f local) log() string { return string(f) + ".jsonl" }

func (f local) appendLine(line []byte) error { return durablefs.Append(f.log(), line) }

func (f local) readLines() ([]byte, error) {
	lines, err := os.ReadFile(f.log())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return lines, err
}
