package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"durable-dataload/internal/durablefs"
)

// ErrExists is what Create gives when the name is taken.
var ErrExists = durablefs.ErrExists

// Create writes a file if its name is free, and gives ErrExists otherwise. It is
// exclusive, atomic and durable: of any number of writers, in any number of
// processes, one succeeds, and when it returns nil the file survives a crash of
// process and machine. From then on everybody reads the winner's content,
// complete. Another error may mean that the file was written after all.
func Create(name string, data []byte) error {
	if !IsURL(name) {
		return durablefs.Create(name, data)
	}
	o, err := open(name)
	if err != nil {
		return err
	}
	return o.create(data)
}

// Write puts data under a name, in the place of what was there, durably. A reader
// sees the old content or the new one.
func Write(name string, data []byte) error {
	if !IsURL(name) {
		return durablefs.WriteFile(name, data)
	}
	o, err := open(name)
	if err != nil {
		return err
	}
	return o.write(data)
}

// Read gives the content of a small file. The error is fs.ErrNotExist where there
// is none.
func Read(name string) ([]byte, error) {
	if !IsURL(name) {
		f, err := durablefs.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		return io.ReadAll(f)
	}
	o, err := open(name)
	if err != nil {
		return nil, err
	}
	return o.read()
}

// Info is what a look at a file tells.
type Info struct {
	Size    int64
	ModTime time.Time
}

// Stat looks at a file. The error is fs.ErrNotExist where there is none.
func Stat(name string) (Info, error) {
	if !IsURL(name) {
		info, err := os.Stat(name)
		if err != nil {
			return Info{}, err
		}
		return Info{Size: info.Size(), ModTime: info.ModTime()}, nil
	}
	o, err := open(name)
	if err != nil {
		return Info{}, err
	}
	return o.stat()
}

// Exists says whether there is a file, or a link that leads nowhere. In a bucket
// there are no folders.
func Exists(name string) (bool, error) {
	var err error
	if IsURL(name) {
		_, err = Stat(name)
	} else {
		_, err = os.Lstat(name)
	}
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Remove removes a file, durably. That it is gone already is no error.
func Remove(name string) error {
	if !IsURL(name) {
		return durablefs.Remove(name)
	}
	o, err := open(name)
	if err != nil {
		return err
	}
	return o.remove()
}

// RemoveAll removes a folder and all that is in it.
func RemoveAll(folder string) error {
	if !IsURL(folder) {
		return os.RemoveAll(folder)
	}
	o, err := open(folder)
	if err != nil {
		return err
	}
	return o.removeAll()
}

// List gives the names of what is in a folder, without those of writes that have
// not ended, in their order. A folder that is not there has nothing in it.
func List(folder string) ([]string, error) {
	if IsURL(folder) {
		o, err := open(folder)
		if err != nil {
			return nil, err
		}
		return o.children()
	}
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !durablefs.IsTemporary(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// MkdirAll makes a folder of a disk, and those above it. Buckets need none.
func MkdirAll(folder string) error {
	if IsURL(folder) {
		return nil
	}
	return durablefs.MkdirAll(folder)
}

// Writer is a file being written: it appears whole with Commit, or never. One for
// a bucket takes room in the folder for temporary files (TMPDIR) until then.
type Writer struct {
	*durablefs.Writer
	name string
}

// NewWriter starts to write a file of any size. One writer of a name at a time:
// of two, the older one fails to commit on a disk, and in a bucket the last one
// counts.
func NewWriter(name string) (*Writer, error) {
	start := func() (*durablefs.Writer, error) { return durablefs.NewWriter(name) }
	if IsURL(name) {
		start = durablefs.NewNameless
	}
	w, err := start()
	if err != nil {
		return nil, err
	}
	return &Writer{w, name}, nil
}

// Name is the name that the file will have.
func (w *Writer) Name() string { return w.name }

// Rename gives the file another name to have, in a bucket.
func (w *Writer) Rename(name string) { w.name = name }

// Commit makes the content durable and gives it its name, in the place of what
// was there. Where ctx has ended it gives the cause, and breaks an upload off: who
// is not waited for any more shall not replace what another has written since.
func (w *Writer) Commit(ctx context.Context) error {
	if ctx.Err() != nil {
		w.Discard()
		return context.Cause(ctx)
	}
	if !IsURL(w.name) {
		return w.Writer.Commit()
	}
	defer w.Discard()
	o, err := open(w.name)
	if err != nil {
		return err
	}
	content, err := w.Written()
	if err != nil {
		return err
	}
	if err := o.upload(ctx, content); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	return nil
}

// Open gives a file to read. One of a bucket is copied into a file without a
// name, in the folder for temporary files. The error is fs.ErrNotExist where
// there is none.
func Open(name string) (*os.File, error) {
	if !IsURL(name) {
		return durablefs.Open(name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), lengthy)
	defer cancel()
	from, err := Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = from.Close() }()
	f, err := durablefs.Nameless()
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(durablefs.Temporary{File: f}, from); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return f, nil
}

// Pieces is a file that is read in pieces, at any place.
type Pieces interface {
	io.ReaderAt
	io.Closer
	Name() string
	Size() int64 // when it was opened
}

// OpenPieces gives a file to read in pieces: of a bucket, with a request for each
// piece. The error is fs.ErrNotExist where there is none.
func OpenPieces(name string) (Pieces, error) {
	if IsURL(name) {
		o, err := open(name)
		if err != nil {
			return nil, err
		}
		info, err := o.stat()
		return ranges{o, info.Size}, err
	}
	f, err := durablefs.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return file{f, info.Size()}, nil
}

type file struct {
	*os.File
	size int64
}

func (f file) Size() int64 { return f.size }

// Stream reads a file from its begin to its end, until ctx ends.
func Stream(ctx context.Context, name string) (io.ReadCloser, error) {
	if !IsURL(name) {
		return durablefs.Open(name)
	}
	o, err := open(name)
	if err != nil {
		return nil, err
	}
	return o.stream(ctx)
}

// Prove shows that a folder can be used: that its files can be written, listed, read
// and removed, and that Create is exclusive there, which not every server that
// speaks S3 holds to.
func Prove(folder string) error {
	if err := MkdirAll(folder); err != nil {
		return err
	}
	name := Join(folder, "probe-"+rand.Text())
	if err := Create(name, []byte("first")); err != nil {
		return err
	}
	err := Create(name, []byte("second"))
	if err == nil {
		err = fmt.Errorf("%s was created twice: the store does not keep to conditional writes (If-None-Match: *), and batches would be sent twice; use a store that does", name)
	} else if errors.Is(err, ErrExists) {
		var found []byte
		if found, err = Read(name); err == nil && string(found) != "first" {
			err = fmt.Errorf("%s has the content of a write that was refused; use another store", name)
		}
	}
	if err == nil {
		_, err = List(folder)
	}
	return errors.Join(err, Remove(name))
}
