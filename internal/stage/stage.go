// Package stage converts an input into the plain file that is migrated: standard input, a compressed file, or text in
// another encoding becomes a UTF-8 file on disk, or in a bucket, that can be read again.
//
// Only the compression and the encoding are removed. Line ends, quotes and delimiters are unchanged; internal/source
// validates the content.
package stage

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"unicode/utf8"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/store"
)

// Stdin is the path that means standard input.
const Stdin = "-"

// Input is the input as given by the user.
type Input struct {
	Path     string // Stdin, a file, or the URL of one in a bucket
	Stdin    io.Reader
	Encoding Encoding
}

// Name is the name of the input in messages and the summary: that of the plain file, without its folder.
func (in Input) Name() string {
	if in.Path == Stdin {
		return "stdin"
	}
	name := store.Base(in.Path)
	if c := byName(name); c != nil {
		name = name[:len(name)-len(c.extension)]
	}
	return safetext.UTF8(name)
}

// label is the name of the input in errors: the name that the user gave.
func (in Input) label() string {
	if in.Path == Stdin {
		return "stdin"
	}
	return safetext.Name(store.Base(in.Path))
}

// Staged is a plain file in UTF-8.
type Staged struct {
	Path   string
	Name   string // in messages and the summary: users.csv for users.csv.gz
	SHA256 string // of the file, in hexadecimal
	Size   int64  // of the file in bytes
}

// Path is the name of the plain file with this digest in a folder.
func Path(dir, sha256hex string) string { return store.Join(dir, sha256hex+".csv") }

// Needs reports whether an input cannot be migrated in place. It checks only its name and its encoding: source.Inspect
// refuses a compressed file whose name does not say so. A path that is not UTF-8 cannot be passed to workers.
func Needs(in Input) bool {
	return in.Path == Stdin || in.Encoding != UTF8 || byName(in.Path) != nil || !utf8.ValidString(in.Path)
}

// Error is the error for an invalid input. Its text says where, what was found, what was expected and what to do, and
// contains no value of a record.
type Error struct {
	File   string // name without its folder
	Line   int64  // physical line, counting LF; 0 if the file as a whole is meant
	Reason string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Reason
	}
	return fmt.Sprintf("%s, line %d: %s", e.File, e.Line, e.Reason)
}

// File writes the input as a plain file into dir (mode 0600; the folder is created with mode 0700 if it is missing),
// complete and durable. The file is named by its content, <SHA-256>.csv: the same content gives the same file. progress,
// if set, is called with the bytes of the input read so far, about once a mebibyte.
//
// dir may be a folder of a bucket. The file is first written into the temporary folder (TMPDIR), and not uploaded if the
// bucket has it already, by its name and its size.
//
// The error is an *Error if the input is invalid: compressed in another format than its name says, truncated, damaged, or
// with an invalid byte in the encoding. After any error, or if ctx ends, nothing of the input remains; the next process
// removes what a killed process has left. Memory use does not depend on the size of the input, packed or unpacked, and is
// at most some 150 MiB for zstd with the maximum window.
func File(ctx context.Context, dir string, in Input, progress func(bytes int64)) (Staged, error) {
	src := &reading{ctx: ctx, progress: progress}
	if in.Path == Stdin {
		src.r = interruptible(ctx, in.Stdin)
	} else {
		f, err := store.Stream(ctx, in.Path)
		if err != nil {
			return Staged{}, err
		}
		defer f.Close()
		src.r = f
	}
	file, err := begin(dir)
	if err != nil {
		return Staged{}, cannotWrite(in, dir, err)
	}
	defer file.discard()

	out := &output{w: file, digest: sha256.New()}
	if err := copyPlain(out, src, in); err != nil {
		switch {
		case out.err != nil:
			return Staged{}, cannotWrite(in, dir, out.err)
		case context.Cause(ctx) != nil:
			return Staged{}, context.Cause(ctx)
		case src.err != nil:
			return Staged{}, fmt.Errorf("cannot read %s: %w", in.label(), src.err)
		}
		return Staged{}, err
	}
	sum := hex.EncodeToString(out.digest.Sum(nil))
	staged := Staged{Path: Path(dir, sum), Name: in.Name(), SHA256: sum, Size: out.size}
	if err := file.commit(ctx, staged); err != nil {
		if context.Cause(ctx) != nil {
			return Staged{}, context.Cause(ctx)
		}
		return Staged{}, cannotWrite(in, dir, err)
	}
	return staged, nil
}

func cannotWrite(in Input, dir string, err error) error {
	if store.IsURL(dir) {
		return fmt.Errorf("cannot bring %s into %s: %w; expected room in the folder for temporary files (TMPDIR), and a bucket that can be written", in.label(), dir, err)
	}
	return fmt.Errorf("cannot unpack %s into %s: %w; make room there, or give another --state-dir", in.label(), dir, err)
}

// file is a plain file that is being written, and has no name yet.
type file interface {
	io.Writer
	commit(context.Context, Staged) error
	discard() // after a commit it only cleans up
}

// begin starts a file in a folder.
func begin(dir string) (file, error) {
	if store.IsURL(dir) {
		w, err := store.NewWriter(store.Join(dir, "incoming"))
		return uploaded{w}, err
	}
	if err := durablefs.MkdirAll(dir); err != nil {
		return nil, err
	}
	path, lock, err := place(dir)
	if err != nil {
		return nil, err
	}
	w, err := durablefs.NewWriter(path)
	if err != nil {
		lock.Unlock()
		return nil, err
	}
	return onDisk{w, lock}, nil
}

// onDisk is written under a name that is reserved as long as it holds the lock.
type onDisk struct {
	*durablefs.Writer
	lock *durablefs.Lock
}

func (f onDisk) commit(_ context.Context, as Staged) error {
	if err := f.Commit(); err != nil {
		return err
	}
	return durablefs.Rename(f.Path(), as.Path)
}

func (f onDisk) discard() {
	f.Discard()
	f.lock.Unlock()
}

// uploaded is uploaded to a bucket when it is complete.
type uploaded struct{ *store.Writer }

func (f uploaded) commit(ctx context.Context, as Staged) error {
	before, err := store.Stat(as.Path)
	if err == nil && before.Size == as.Size {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f.Rename(as.Path)
	return f.Commit(ctx)
}

func (f uploaded) discard() { f.Discard() }

// place returns a name to write to, which no other process uses until the lock is released. Names are reused, so that
// the remains of a killed process are found.
func place(dir string) (string, *durablefs.Lock, error) {
	for n := 1; ; n++ {
		path := filepath.Join(dir, fmt.Sprintf("incoming-%d", n))
		lock, err := durablefs.TryLock(path + ".lock")
		if errors.Is(err, durablefs.ErrLocked) {
			continue
		}
		if err == nil {
			// Complete, but killed before the final rename.
			err = durablefs.Remove(path)
		}
		if err != nil {
			lock.Unlock()
			return "", nil, err
		}
		return path, lock, nil
	}
}

// copyPlain decompresses and converts.
func copyPlain(out *output, src *reading, in Input) error {
	packed := bufio.NewReaderSize(src, chunkSize)
	head, err := packed.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	c, reason := compressed(in, head)
	if reason != "" {
		return &Error{File: in.label(), Reason: reason}
	}
	plain := io.Reader(packed)
	if c != nil {
		unpacked, err := c.open(packed)
		if err != nil {
			return c.broken(in, err)
		}
		defer unpacked.Close()
		plain = unpacked
	}
	err = in.Encoding.copy(out, plain)
	var wrong *Error
	switch {
	case err == nil || out.err != nil || src.err != nil:
		return err
	case errors.As(err, &wrong):
		wrong.File = in.label()
		return wrong
	case c != nil:
		return c.broken(in, err)
	}
	return err
}

const chunkSize = 1 << 20 // bytes read at a time

// reading reads the original input. It keeps its error separate from errors of the decompression.
type reading struct {
	ctx      context.Context
	r        io.Reader
	progress func(int64)
	read     int64
	err      error
}

func (s *reading) Read(p []byte) (int, error) {
	if s.err = context.Cause(s.ctx); s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	s.read += int64(n)
	if n > 0 && s.progress != nil {
		s.progress(s.read)
	}
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// output is the plain file.
type output struct {
	w      io.Writer
	digest hash.Hash
	size   int64
	lines  int64 // that have ended
	err    error
}

func (o *output) Write(p []byte) (int, error) {
	o.digest.Write(p)
	o.size += int64(len(p))
	o.lines += int64(bytes.Count(p, []byte{'\n'}))
	n, err := o.w.Write(p)
	o.err = err
	return n, err
}

// interruptible reads from r until ctx ends, even if r blocks: a terminal, a pipe that never closes. One call of Read may
// then stay blocked.
func interruptible(ctx context.Context, r io.Reader) io.Reader {
	reader, writer := io.Pipe()
	context.AfterFunc(ctx, func() { writer.CloseWithError(context.Cause(ctx)) })
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{writer}, struct{ io.Reader }{r}, make([]byte, chunkSize))
		writer.CloseWithError(err)
	}()
	return reader
}
