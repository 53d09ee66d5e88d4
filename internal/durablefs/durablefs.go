// Package durablefs writes files and folders that hold user data: accessible to
// the owner only (modes 0600 and 0700), durable (the file and its folder are
// fsynced before a function returns), and never partial under their final name.
package durablefs

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	fileMode   = 0o600
	folderMode = 0o700
)

// ErrExists says that Create found the name taken; the existing file is complete.
var ErrExists = errors.New("the file exists already")

// ErrLocked says that another process holds a lock.
var ErrLocked = errors.New("another process holds the lock")

// MkdirAll makes the folder and its parents, mode 0700, durably: the parent of
// every new folder is fsynced, since a file is lost with any folder above it.
func MkdirAll(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, folderMode); err != nil { // another process may have made it
		return err
	}
	return syncFolder(parent)
}

// ReadOwn reads a file that holds a key. It refuses one that other users may read, and says
// what to do: its content is no longer a secret.
func ReadOwn(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if open := info.Mode().Perm() &^ folderMode; open != 0 {
		return nil, fmt.Errorf("%s has mode %04o, expected %04o: others may have read the key in it; remove it, and the next start creates a new one, or chmod 600 it if nobody has",
			path, info.Mode().Perm(), fileMode)
	}
	return io.ReadAll(f)
}

// Touch creates an empty file, mode 0600, if there is none.
func Touch(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	return f.Close()
}

// Sync makes the content of a file durable, whoever wrote it.
func Sync(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Rename renames a file and makes that durable.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(to))
}

// Remove removes a file, durably. That it is gone already is no error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// WriteFile writes a file, or replaces it. A reader, or a crash at any moment, sees the old
// content or the new one.
func WriteFile(path string, data []byte) error {
	tmp := temporaryName(path)
	err := writeTemporary(tmp, data)
	if err == nil {
		err = Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp)
	}
	return err
}

// Create writes a file only if its name is free, and gives ErrExists otherwise: of any number
// of processes that try, exactly one succeeds. The file appears complete and durable or not
// at all: a hard link, made after the content was fsynced, is the only operation of POSIX
// that is exclusive and never shows a partial file.
func Create(path string, data []byte) error {
	tmp := temporaryName(path)
	if err := writeTemporary(tmp, data); err != nil {
		return err
	}
	return linkDurably(tmp, path)
}

// CreatePair creates two files, the second one only if the first one was created, and shares
// their fsyncs: together they wait as long as Create does for one. Each file is as Create
// makes it; a crash before CreatePair returns may leave either of them. The second error is
// that of the first file where there is one.
func CreatePair(path string, data []byte, second string, secondData []byte) (err, secondErr error) {
	tmp, secondTmp := temporaryName(path), temporaryName(second)
	written := make(chan error, 1)
	go func() { written <- writeTemporary(secondTmp, secondData) }()
	err = writeTemporary(tmp, data)
	secondErr = <-written
	if err == nil {
		err = link(tmp, path)
	}
	switch {
	case secondErr != nil:
	case err != nil:
		secondErr = err
		_ = os.Remove(secondTmp)
	default:
		secondErr = link(secondTmp, second)
	}
	if err != nil {
		return err, secondErr
	}
	dir, secondDir := filepath.Dir(path), filepath.Dir(second)
	err = syncFolder(dir)
	if secondErr == nil {
		if secondErr = err; secondDir != dir {
			secondErr = syncFolder(secondDir)
		}
	}
	return err, secondErr
}

func linkDurably(tmp, path string) error {
	if err := link(tmp, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// link gives a temporary file its name if that is free. The temporary name is removed in any
// case.
func link(tmp, path string) error {
	linkErr := os.Link(tmp, path)
	removeErr := os.Remove(tmp)
	if errors.Is(linkErr, os.ErrExist) {
		return ErrExists
	}
	if linkErr != nil {
		return linkErr
	}
	return removeErr
}

// Writer is a file being written: it gets its name with Commit, or never.
type Writer struct {
	*bufio.Writer
	file *os.File
	path string
}

// NewWriter starts to write a file that will be named path. It removes what a killed process
// had written of it. So there is one writer at a time: of two, the older one fails to commit.
func NewWriter(path string) (*Writer, error) {
	if err := sweep(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(temporaryName(path), os.O_CREATE|os.O_EXCL|os.O_RDWR, fileMode)
	if err != nil {
		return nil, err
	}
	return &Writer{Writer: bufio.NewWriterSize(f, 1<<18), file: f, path: path}, nil
}

// NewNameless starts to write a file that never gets a name: its content is read with
// Written, and removed by Discard or the end of the process, however that ends. It takes
// space in the folder for temporary files (TMPDIR).
func NewNameless() (*Writer, error) {
	f, err := Nameless()
	if err != nil {
		return nil, err
	}
	return &Writer{Writer: bufio.NewWriterSize(Temporary{f}, 1<<18), file: f}, nil
}

// Nameless creates a file without a name in the folder for temporary files.
func Nameless() (*os.File, error) {
	f, err := os.CreateTemp("", "dataload"+temporaryMark) // mode 0600
	if err != nil {
		return nil, TemporaryError(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, TemporaryError(err)
	}
	return f, nil
}

// Temporary writes into a file of the folder for temporary files.
type Temporary struct{ File *os.File }

// Write names the folder in its errors.
func (t Temporary) Write(p []byte) (int, error) {
	n, err := t.File.Write(p)
	return n, TemporaryError(err)
}

// TemporaryError adds to an error in the folder for temporary files which folder that is and what to do; nil stays nil.
// It does not wrap fs.ErrNotExist: a missing temporary folder must not be taken for a missing input.
func TemporaryError(err error) error {
	if err == nil {
		return nil
	}
	//nolint:errorlint // on purpose, see above
	return fmt.Errorf("the folder for temporary files, %s (TMPDIR), cannot be used: %v; expected a writable folder with free space; free some space, or set TMPDIR to another folder", os.TempDir(), err)
}

// Path is the name that the file will have; "" for one without a name.
func (w *Writer) Path() string { return w.path }

// Rename changes the name that the file will have. The folder is of the same file system.
func (w *Writer) Rename(path string) { w.path = path }

// TemporaryPath is the name that the file has until Commit, if it gets one.
func (w *Writer) TemporaryPath() string { return w.file.Name() }

// Written returns the content so far, to be read before Commit or Discard.
func (w *Writer) Written() (*io.SectionReader, error) {
	if err := w.Flush(); err != nil {
		return nil, err
	}
	info, err := w.file.Stat()
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(w.file, 0, info.Size()), nil
}

// Commit makes the content durable and gives the file its name, and replaces the one that has
// it.
func (w *Writer) Commit() error {
	if err := w.finish(); err != nil {
		return err
	}
	err := Rename(w.file.Name(), w.path)
	if err != nil {
		_ = os.Remove(w.file.Name())
	}
	return err
}

// CommitNew is Commit for a name that must be free. If it is not, the content is dropped, and
// the error is ErrExists.
func (w *Writer) CommitNew() error {
	if err := w.finish(); err != nil {
		return err
	}
	return linkDurably(w.file.Name(), w.path)
}

// finish makes the content durable, or drops it.
func (w *Writer) finish() error {
	err := w.Flush()
	if err == nil {
		err = w.file.Sync()
	}
	if closeErr := w.file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(w.file.Name())
	}
	return err
}

// WriteAt overwrites a part of the content.
func (w *Writer) WriteAt(p []byte, offset int64) (int, error) {
	if err := w.Flush(); err != nil {
		return 0, err
	}
	return w.file.WriteAt(p, offset)
}

// Discard drops the content. After Commit it does nothing.
func (w *Writer) Discard() {
	if w.file.Close() == nil {
		_ = os.Remove(w.file.Name())
	}
}

// Lock is an exclusive lock on a file. The system releases it when the process
// ends, however it ends.
type Lock struct{ file *os.File }

// TryLock takes the lock or gives ErrLocked at once.
func TryLock(path string) (*Lock, error) {
	return lock(path, unix.LOCK_EX|unix.LOCK_NB)
}

// TakeLock waits until the lock is free and takes it. It is for locks that are held only
// briefly.
func TakeLock(path string) (*Lock, error) {
	return lock(path, unix.LOCK_EX)
}

// IsLocked reports whether a process holds the lock on an existing file. It changes nothing, so the folder may be read-only.
func IsLocked(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	if err = flock(f, unix.LOCK_SH|unix.LOCK_NB); errors.Is(err, ErrLocked) {
		return true, nil
	}
	return false, err
}

func lock(path string, how int) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return nil, err
	}
	if err := flock(f, how); err != nil {
		_ = f.Close()
		return nil, err
	}
	return &Lock{file: f}, nil
}

func flock(f *os.File, how int) error {
	for {
		switch err := unix.Flock(int(f.Fd()), how); {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrLocked
		case err != nil:
			return fmt.Errorf("cannot lock %s: %w", f.Name(), err)
		default:
			return nil
		}
	}
}

// File is the locked file, for a small state that the lock guards.
func (l *Lock) File() *os.File { return l.file }

// Unlock releases the lock. A nil lock is free already.
func (l *Lock) Unlock() {
	if l != nil {
		_ = l.file.Close()
	}
}

// logLimit is the size beyond which OpenLog starts a new log file.
const logLimit = 16 << 20

// OpenLog opens a log file to append to (and to read), mode 0600. One over 16 MiB is
// renamed to path.1, and replaces an older one.
func OpenLog(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > logLimit {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, fileMode)
}

// Append appends a line, without its end, to a file that it makes where there is none, and makes that durable. Any number of
// processes may do so at once, and a line that a crash has truncated costs no other line.
func Append(path string, line []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, fileMode)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		whole := append(bytes.Clone(line), '\n')
		if isTruncated(f, info.Size()) {
			whole = append([]byte{'\n'}, whole...)
		}
		_, err = f.Write(whole) // one write of a file opened to append is atomic for all processes
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil && info.Size() == 0 {
		err = syncFolder(filepath.Dir(path))
	}
	return err
}

// isTruncated reports whether the last line of a file has no end: its writer crashed.
func isTruncated(f *os.File, size int64) bool {
	var last [1]byte
	_, err := f.ReadAt(last[:], max(0, size-1))
	return err == nil && last[0] != '\n'
}

func writeTemporary(tmp string, data []byte) error {
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(tmp)
	}
	return err
}

const temporaryMark = ".tmp-"

// temporaryName is unique among all writers, in this process or another, on this machine or
// another that shares the folder.
func temporaryName(path string) string {
	return filepath.Join(filepath.Dir(path), temporaryPrefix(path)+rand.Text())
}

// temporaryPrefix is the prefix of the temporary names of path, and of no other file. It is
// short enough even if the name of the file is as long as the file system allows.
func temporaryPrefix(path string) string {
	name := filepath.Base(path)
	const most = 150 // bytes, of 255
	if len(name) > most {
		sum := sha256.Sum256([]byte(name))
		name = name[:most] + "-" + hex.EncodeToString(sum[:8])
	}
	return "." + name + temporaryMark
}

// sweep removes the temporary files of path.
func sweep(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporaryPrefix(path)) {
			if err := os.Remove(filepath.Join(filepath.Dir(path), e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// IsTemporary reports whether a file name is that of an unfinished write: a leftover of a crash,
// or a write in progress.
func IsTemporary(name string) bool {
	return strings.HasPrefix(name, ".") && strings.Contains(name, temporaryMark)
}
