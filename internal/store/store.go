package store

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"time"

	"durable-dataload/internal/durablefs"
)

// ErrExists is what Create gives when the name is taken.
var ErrExists = durablefs.ErrExists

// file is a name in a store. Each kind of store implements it, and passes the tests of
// conformance_test.go. Its methods promise what the functions of the same names do.
type file interface {
	create(data []byte) error
	write(data []byte) error
	read() ([]byte, error)
	stat() (Info, error)
	exists() (bool, error)
	remove() error

	makeFolder() error
	hasFolder() (bool, error)
	list() ([]string, error)
	removeAll() error
	prove() error

	newWriter() (*durablefs.Writer, error)
	commit(ctx context.Context, w *durablefs.Writer) error
	commitNew(ctx context.Context, w *durablefs.Writer) error
	open() (*os.File, error)
	openRandom() (RandomReader, error)
	stream(ctx context.Context) (io.ReadCloser, error)

	appendLine(line []byte) error
	readLines() ([]byte, error)
}

var (
	_ file = local("")
	_ file = object{}
)

// at finds the store of a name.
func at(name string) (file, error) {
	if !IsURL(name) {
		return local(name), nil
	}
	return open(name)
}

// do calls a method of the file with this name, and get one that gives a result.
func do(name string, method func(file) error) error {
	f, err := at(name)
	if err != nil {
		return err
	}
	return method(f)
}

func get[T any](name string, method func(file) (T, error)) (result T, err error) {
	f, err := at(name)
	if err != nil {
		return result, err
	}
	return method(f)
}

// Create writes a file if its name is free, and gives ErrExists otherwise. It is
// exclusive, atomic and durable: of any number of writers, in any number of
// processes, one succeeds, and when it returns nil the file survives a crash of
// process and machine. From then on everybody reads the winner's content,
// complete. Another error may mean that the file was written after all.
func Create(name string, data []byte) error {
	return do(name, func(f file) error { return f.create(data) })
}

// CreatePair is Create for one file, and for a second one if the first one was created. On a
// disk they share their fsyncs. In a bucket they would be two requests, one after the other:
// there the second file is not created, and its error is ErrSeparate.
func CreatePair(name string, data []byte, second string, secondData []byte) (err, secondErr error) {
	if IsURL(name) || IsURL(second) {
		return Create(name, data), ErrSeparate
	}
	return durablefs.CreatePair(name, data, second, secondData)
}

// ErrSeparate says that a store does not create two files together.
var ErrSeparate = errors.New("this store creates one file at a time")

// Write replaces the content of a file durably, or makes the file. A reader sees the
// old content or the new one.
func Write(name string, data []byte) error {
	return do(name, func(f file) error { return f.write(data) })
}

// Read returns the content of a small file. The error is fs.ErrNotExist where there
// is none.
func Read(name string) ([]byte, error) { return get(name, file.read) }

// Info is the size and the age of a file.
type Info struct {
	Size    int64
	ModTime time.Time
}

// Stat returns the Info of a file. The error is fs.ErrNotExist where there is none.
func Stat(name string) (Info, error) { return get(name, file.stat) }

// Exists reports whether there is a file, or a link that leads nowhere. In a bucket
// there are no folders.
func Exists(name string) (bool, error) { return get(name, file.exists) }

// HasFolder reports whether there is a folder. In a bucket it is there if anything is in it.
func HasFolder(folder string) (bool, error) { return get(folder, file.hasFolder) }

// Remove removes a file, durably. That it is gone already is no error.
func Remove(name string) error { return do(name, file.remove) }

// RemoveAll removes a folder and all that is in it.
func RemoveAll(folder string) error { return do(folder, file.removeAll) }

// List returns the names of what is in a folder in their order, without those of
// unfinished writes. A folder that does not exist is empty.
func List(folder string) ([]string, error) { return get(folder, file.list) }

// MkdirAll makes a folder of a disk, and those above it. Buckets need none.
func MkdirAll(folder string) error { return do(folder, file.makeFolder) }

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
	w, err := get(name, file.newWriter)
	if err != nil {
		return nil, err
	}
	return &Writer{w, name}, nil
}

// Name is the name that the file will have.
func (w *Writer) Name() string { return w.name }

// Rename changes the name that the file will have: in a bucket to any other, on a disk to one of the same file system.
func (w *Writer) Rename(name string) {
	w.name = name
	w.Writer.Rename(name)
}

// Commit makes the content durable and gives the file its name; a file of that name is
// replaced. If ctx has ended, Commit writes nothing and gives the cause; if it ends during
// an upload, the upload is aborted. So a caller that has timed out cannot replace what its
// successor has written.
func (w *Writer) Commit(ctx context.Context) error { return w.end(ctx, file.commit) }

// CommitNew is Commit for a name that must be free: if it is taken, also by a write that ends during an upload, the content is
// dropped, and the error is ErrExists. It is exclusive, as Create is.
func (w *Writer) CommitNew(ctx context.Context) error { return w.end(ctx, file.commitNew) }

func (w *Writer) end(ctx context.Context, commit func(file, context.Context, *durablefs.Writer) error) error {
	defer w.Discard()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return do(w.name, func(f file) error { return commit(f, ctx, w.Writer) })
}

// Open returns a file to read. One of a bucket is copied into a file without a
// name, in the folder for temporary files. The error is fs.ErrNotExist where
// there is none.
func Open(name string) (*os.File, error) { return get(name, file.open) }

// RandomReader reads a file at any offset.
type RandomReader interface {
	io.ReaderAt
	io.Closer
	Name() string
	Size() int64 // when it was opened
}

// OpenRandom returns a file to read at any offset; in a bucket each read is a request. The
// error is fs.ErrNotExist where there is none.
func OpenRandom(name string) (RandomReader, error) { return get(name, file.openRandom) }

// Stream reads a file from its beginning to its end, until ctx ends.
func Stream(ctx context.Context, name string) (io.ReadCloser, error) {
	return get(name, func(f file) (io.ReadCloser, error) { return f.stream(ctx) })
}

// Append adds a line, without its end, to a log durably. Any number of processes may do so
// at once. On a disk the log is the file NAME.jsonl, and a line that a crash has truncated
// costs no other line; in a bucket it is a folder with an object a line.
func Append(name string, line []byte) error {
	return do(name, func(f file) error { return f.appendLine(line) })
}

// ReadLog returns the lines of a log in their order, each with its end; none where there is no
// log. Between them there may be empty lines. In a bucket the lines of several processes are in
// the order of their clocks.
func ReadLog(name string) ([]byte, error) { return get(name, file.readLines) }

// Prove shows that a folder can be used: that its files can be written, listed, read
// and removed, and that Create is exclusive there, which not every server that
// speaks S3 guarantees. It makes the folder if it is missing.
func Prove(folder string) error { return do(folder, file.prove) }

// outage is an error of a store as a whole.
type outage struct{ error }

func (o outage) Unwrap() error { return o.error }

// IsOutage reports whether an error is one of a bucket and not of one of its files: the bucket
// cannot be reached, or refuses, and all its files are concerned. Disks have no outages.
func IsOutage(err error) bool { return errors.As(err, new(outage)) }

// ErrEnough is what consume returns to end ForEachOrdered early, without an error.
var ErrEnough = errors.New("enough")

// Readers is how many reads of a folder are worth having in flight: in a bucket most of the
// time is spent waiting.
func Readers(folder string) int {
	if IsURL(folder) {
		return 16
	}
	return 2 * runtime.GOMAXPROCS(0)
}

// ForEachOrdered produces n values from a folder, several at a time (see Readers), and
// consumes them one by one in their order. The first error ends it.
func ForEachOrdered[T any](ctx context.Context, folder string, n int, produce func(ctx context.Context, i int) (T, error), consume func(T) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		value T
		err   error
	}
	// Each value has a channel, and the channels are in the queue in order: its length
	// bounds the values that are produced and not yet consumed.
	queue := make(chan chan result, Readers(folder))
	go func() {
		defer close(queue)
		for i := range n {
			c := make(chan result, 1)
			select {
			case queue <- c:
			case <-ctx.Done():
				return
			}
			go func() {
				value, err := produce(ctx, i)
				c <- result{value, err}
			}()
		}
	}()
	for c := range queue {
		r := <-c
		if r.err != nil {
			return r.err
		}
		if err := consume(r.value); errors.Is(err, ErrEnough) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return ctx.Err()
}
