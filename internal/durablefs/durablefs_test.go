package durablefs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain can also be another process, for the tests that need several or
// that kill one.
func TestMain(m *testing.M) {
	// Modes must come from the code and not from the shell that runs the tests.
	unix.Umask(0)
	if mode := os.Getenv("PRIVATE_TEST_PROCESS"); mode != "" {
		if err := process(mode, os.Getenv("PRIVATE_TEST_DIR"), os.Getenv("PRIVATE_TEST_NAME")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const contested = 60 // names that the processes fight for

func process(mode, dir, name string) error {
	switch mode {
	case "create": // waits for the word, then tries to get every name
		fmt.Println("ready")
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			return err
		}
		for i := range contested {
			path := filepath.Join(dir, strconv.Itoa(i))
			err := Create(path, content(name, i))
			if err == nil {
				fmt.Println(i)
			} else if !errors.Is(err, ErrExists) {
				return err
			} else if got, err := os.ReadFile(path); err != nil || !complete(got) {
				return fmt.Errorf("name %d was taken, and its file is %d bytes (%v), want all of it", i, len(got), err)
			}
		}
		return nil
	case "write": // until it is killed
		for i := 0; ; i++ {
			if err := Create(filepath.Join(dir, name+"-"+strconv.Itoa(i)), content(name, i)); err != nil {
				return err
			}
			if err := WriteFile(filepath.Join(dir, "replaced"), content(name, i)); err != nil {
				return err
			}
			fmt.Println(i)
		}
	case "lock": // holds a lock until it is killed
		if _, err := TryLock(filepath.Join(dir, name)); err != nil {
			return err
		}
		fmt.Println("locked")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	}
	return fmt.Errorf("no process %q", mode)
}

// content is several pages long, and shows whether it is complete.
func content(name string, i int) []byte {
	line := fmt.Sprintf("%s %d\n", name, i)
	return append(bytes.Repeat([]byte(line), 2000), "end\n"...)
}

func complete(data []byte) bool {
	first, _, _ := bytes.Cut(data, []byte("\n"))
	line := append(bytes.Clone(first), '\n')
	return bytes.Equal(data, append(bytes.Repeat(line, 2000), "end\n"...))
}

type child struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
	err *bytes.Buffer
}

func start(t *testing.T, mode, dir, name string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0]), err: &bytes.Buffer{}}
	c.Env = append(os.Environ(), "PRIVATE_TEST_PROCESS="+mode, "PRIVATE_TEST_DIR="+dir, "PRIVATE_TEST_NAME="+name)
	c.Stderr = c.err
	var err error
	if c.in, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	must(t, err)
	c.out = bufio.NewScanner(out)
	must(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill() })
	return c
}

// line is the next line that the process prints, "" at its end.
func (c *child) line() string {
	c.out.Scan()
	return c.out.Text()
}

func (c *child) kill(t *testing.T) {
	t.Helper()
	must(t, c.Process.Kill())
	_ = c.Wait()
}

func TestCreateIsWonByOneOfManyGoroutines(t *testing.T) {
	dir := t.TempDir()
	const goroutines = 16
	for i := range 10 {
		path := filepath.Join(dir, strconv.Itoa(i))
		var wg sync.WaitGroup
		won := make(chan string, goroutines)
		for g := range goroutines {
			wg.Go(func() {
				name := "goroutine-" + strconv.Itoa(g)
				err := Create(path, content(name, i))
				switch {
				case err == nil:
					won <- name
				case !errors.Is(err, ErrExists):
					t.Errorf("Create: %v, want nil or %v", err, ErrExists)
				default:
					if got, err := os.ReadFile(path); err != nil || !complete(got) {
						t.Errorf("the loser reads %d bytes (%v), want the whole file of the winner", len(got), err)
					}
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("name %d was won %d times by %d goroutines, want once", i, len(won), goroutines)
		}
		name := <-won
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content(name, i)) {
			t.Errorf("%s won name %d; the file begins with %.30q (%v)", name, i, got, err)
		}
	}
	expectNoTemporary(t, dir)
}

func TestCreateIsWonByOneOfManyProcesses(t *testing.T) {
	dir := t.TempDir()
	var children []*child
	for i := range 4 {
		c := start(t, "create", dir, fmt.Sprintf("process-%d", i))
		if got := c.line(); got != "ready" {
			t.Fatalf("process %d says %q, want ready; %s", i, got, c.err)
		}
		children = append(children, c)
	}
	for _, c := range children {
		if _, err := io.WriteString(c.in, "go\n"); err != nil {
			t.Fatal(err)
		}
	}
	winner := map[int]string{}
	for i, c := range children {
		for line := c.line(); line != ""; line = c.line() {
			n, err := strconv.Atoi(line)
			if err != nil {
				t.Fatalf("process %d says %q, want a number", i, line)
			}
			name := fmt.Sprintf("process-%d", i)
			if other, twice := winner[n]; twice {
				t.Errorf("name %d was won by %s and by %s, want one", n, other, name)
			}
			winner[n] = name
		}
		if err := c.Wait(); err != nil {
			t.Fatalf("process %d: %v; %s", i, err, c.err)
		}
	}
	for i := range contested {
		if got, err := os.ReadFile(filepath.Join(dir, strconv.Itoa(i))); err != nil || !bytes.Equal(got, content(winner[i], i)) {
			t.Errorf("name %d was won by %q; the file begins with %.30q (%v)", i, winner[i], got, err)
		}
	}
	expectNoTemporary(t, dir)
}

func TestAKilledWriterLeavesCompleteFilesOrNone(t *testing.T) {
	dir := t.TempDir()
	written := 0
	for kill := range 8 {
		c := start(t, "write", dir, fmt.Sprintf("life-%d", kill))
		// Somewhere else in its work each time.
		for range 1 + kill%3 {
			if c.line() == "" {
				t.Fatalf("the writer ended: %s", c.err)
			}
		}
		c.kill(t)
		files, err := os.ReadDir(dir)
		must(t, err)
		written = 0
		for _, f := range files {
			if IsTemporary(f.Name()) {
				continue
			}
			written++
			if got, err := os.ReadFile(filepath.Join(dir, f.Name())); err != nil || !complete(got) {
				t.Errorf("after kill %d: %s has %d bytes (%v), want a complete file or none", kill, f.Name(), len(got), err)
			}
		}
	}
	if written < 8 {
		t.Errorf("%d complete files after 8 lives, want at least one of each", written)
	}
}

func TestWriteFileReplacesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, want := range []string{"first, and longer than the other", "second", ""} {
		must(t, WriteFile(path, []byte(want)))
		if got, _ := os.ReadFile(path); string(got) != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	expectNoTemporary(t, filepath.Dir(path))
}

func TestAFileThatCannotBeReplacedLeavesNoTemporaryOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "folder")
	must(t, MkdirAll(filepath.Join(path, "that is not empty")))
	if err := WriteFile(path, []byte("x")); err == nil {
		t.Error("WriteFile replaced a folder")
	}
	w := newWriter(t, path)
	write(t, w, "x")
	if err := w.Commit(); err == nil {
		t.Error("Commit replaced a folder")
	}
	expectNoTemporary(t, filepath.Dir(path))
}

func TestALineIsAppendedDurably(t *testing.T) {
	synced := 0
	fsync := fsyncFolder
	fsyncFolder = func(dir string) error {
		synced++
		return fsync(dir)
	}
	defer func() { fsyncFolder = fsync }()
	path := filepath.Join(t.TempDir(), "log")
	must(t, Append(path, []byte("one")))
	must(t, Append(path, []byte("two")))
	expectContent(t, path, "one\ntwo\n")
	if synced != 1 {
		t.Errorf("the folder was fsynced %d times, want once: for the new file", synced)
	}
	must(t, os.Truncate(path, 6))
	must(t, Append(path, []byte("three")))
	expectContent(t, path, "one\ntw\nthree\n")
	expectMode(t, path, fileMode)
}

func TestFilesAreForTheOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	nested := filepath.Join(dir, "a", "b", "c")
	must(t, MkdirAll(nested))
	path := func(name string) string { return filepath.Join(nested, name) }
	makers := map[string]func() error{
		"created": func() error { return Create(path("created"), []byte("x")) },
		"written": func() error { return WriteFile(path("written"), []byte("x")) },
		"touched": func() error { return Touch(path("touched")) },
		"lock": func() error {
			l, err := TryLock(path("lock"))
			l.Unlock()
			return err
		},
		"log": func() error {
			f, err := OpenLog(path("log"))
			if err == nil {
				err = f.Close()
			}
			return err
		},
		"committed": func() error {
			w, err := NewWriter(path("committed"))
			if err != nil {
				return err
			}
			expectMode(t, w.TemporaryPath(), 0o600)
			return w.Commit()
		},
	}
	for name, make := range makers {
		if err := make(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		expectMode(t, path(name), 0o600)
	}
	for _, folder := range []string{"a", "a/b", "a/b/c"} {
		expectMode(t, filepath.Join(dir, folder), 0o700)
	}
}

func TestMkdirAllMakesEveryNewFolderDurable(t *testing.T) {
	var synced []string
	fsync := fsyncFolder
	fsyncFolder = func(dir string) error {
		synced = append(synced, dir)
		return fsync(dir)
	}
	defer func() { fsyncFolder = fsync }()
	dir := t.TempDir()
	must(t, MkdirAll(filepath.Join(dir, "a", "b", "c")))
	want := []string{dir, filepath.Join(dir, "a"), filepath.Join(dir, "a", "b")}
	if strings.Join(synced, "\n") != strings.Join(want, "\n") {
		t.Errorf("fsynced: %q, want the folder that holds each new one: %q", synced, want)
	}
	if err := MkdirAll(filepath.Join(dir, "a", "b")); err != nil {
		t.Errorf("an existing folder: %v", err)
	}
	must(t, WriteFile(filepath.Join(dir, "file"), nil))
	if err := MkdirAll(filepath.Join(dir, "file", "below")); err == nil {
		t.Error("a folder below a file was made, want an error")
	}
}

func TestOnlyCommitGivesAFileItsName(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.csv")
	must(t, WriteFile(path, []byte("before")))
	w := newWriter(t, path)
	write(t, w, "after")
	must(t, w.Flush())
	if w.Path() != path || !IsTemporary(filepath.Base(w.TemporaryPath())) {
		t.Errorf("Path %q, TemporaryPath %q; want %q and a temporary name", w.Path(), w.TemporaryPath(), path)
	}
	expectContent(t, path, "before")
	w.Discard()
	expectContent(t, path, "before")
	expectNoTemporary(t, dir)

	w = newWriter(t, path)
	write(t, w, strings.Repeat("after ", 100_000)) // more than the buffer holds
	must(t, w.Commit())
	w.Discard() // does nothing any more
	expectContent(t, path, strings.Repeat("after ", 100_000))
	expectNoTemporary(t, dir)
}

func TestAWriterTakesAFreeNameOnly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.csv")
	for i, want := range []error{nil, ErrExists} {
		w := newWriter(t, path)
		write(t, w, strconv.Itoa(i))
		if err := w.CommitNew(); err != want {
			t.Errorf("CommitNew %d: %v; want %v", i, err, want)
		}
		w.Discard() // does nothing any more
		expectContent(t, path, "0")
		expectNoTemporary(t, dir)
	}
}

func TestOfTwoWritersOfOneFileTheOlderOneFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	other := newWriter(t, path+"s")
	older := newWriter(t, path)
	write(t, older, "older")
	newer := newWriter(t, path)
	write(t, newer, "newer")
	if err := older.Commit(); err == nil {
		t.Error("the older writer has committed, want an error")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file has its name already")
	}
	for _, w := range []*Writer{newer, other} {
		if err := w.Commit(); err != nil {
			t.Errorf("%s: %v", w.Path(), err)
		}
	}
	expectContent(t, path, "newer")
	expectNoTemporary(t, filepath.Dir(path))
}

func TestAWriterRemovesTheRemainsOfAKilledOne(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	must(t, os.WriteFile(temporaryName(path), []byte("half"), 0o600))
	w := newWriter(t, path)
	write(t, w, "whole")
	must(t, w.Commit())
	expectContent(t, path, "whole")
	expectNoTemporary(t, dir)
}

func TestAWriterOverwritesItsContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	w := newWriter(t, path)
	write(t, w, "header, and more")
	if _, err := w.WriteAt([]byte("HEADER"), 0); err != nil {
		t.Fatal(err)
	}
	write(t, w, ".")
	must(t, w.Commit())
	expectContent(t, path, "HEADER, and more.")
}

func TestALockIsHeldByOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := TryLock(path)
	must(t, err)
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) {
		t.Fatalf("the second TryLock: %v, want %v", err, ErrLocked)
	}
	taken := make(chan error, 1)
	go func() {
		l, err := TakeLock(path)
		l.Unlock()
		taken <- err
	}()
	held.Unlock()
	select {
	case err := <-taken:
		if err != nil {
			t.Errorf("TakeLock: %v, want the released lock", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("TakeLock still waits for a lock that is free")
	}
	var none *Lock
	none.Unlock() // a lock that was never taken
}

func TestALockIsFreeWhenItsProcessDies(t *testing.T) {
	dir := t.TempDir()
	c := start(t, "lock", dir, "lock")
	if got := c.line(); got != "locked" {
		t.Fatalf("the process says %q, want locked; %s", got, c.err)
	}
	path := filepath.Join(dir, "lock")
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) {
		t.Fatalf("TryLock beside the process: %v, want %v", err, ErrLocked)
	}
	c.kill(t)
	l, err := TryLock(path)
	if err != nil {
		t.Fatalf("TryLock after the process was killed: %v, want the lock", err)
	}
	l.Unlock()
}

func TestOpenLogStartsANewFileAtItsLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	add := func(text string) {
		t.Helper()
		f, err := OpenLog(path)
		must(t, err)
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		must(t, f.Close())
	}
	add("one\n")
	add("two\n")
	expectContent(t, path, "one\ntwo\n")
	must(t, os.Truncate(path, logLimit))
	add("over") // 16 MiB are allowed
	if _, err := os.Stat(path + ".1"); err == nil {
		t.Error("a log of 16 MiB was renamed, want it to be continued")
	}
	must(t, os.WriteFile(path+".1", []byte("older"), 0o600))
	add("new")
	expectContent(t, path, "new")
	if info, err := os.Stat(path + ".1"); err != nil || info.Size() != logLimit+4 {
		t.Errorf("the renamed log: %v, %v; want %d bytes, and the older one replaced", info, err, logLimit+4)
	}
}

func TestRemoveAndRename(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	must(t, WriteFile(from, []byte("x")))
	must(t, Rename(from, to))
	expectContent(t, to, "x")
	for range 2 { // gone already is no error
		if err := Remove(to); err != nil {
			t.Errorf("Remove: %v", err)
		}
	}
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Remove: %v, want no file", err)
	}
}

func newWriter(t *testing.T, path string) *Writer {
	t.Helper()
	w, err := NewWriter(path)
	must(t, err)
	return w
}

func write(t *testing.T, w io.StringWriter, text string) {
	t.Helper()
	if _, err := w.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func expectContent(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s: %.60q (%d bytes, %v), want %.60q", filepath.Base(path), got, len(got), err, want)
	}
}

func expectMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != want {
		t.Errorf("%s: mode %v (%v), want %v", path, info.Mode().Perm(), err, want)
	}
}

func expectNoTemporary(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	must(t, err)
	for _, f := range files {
		if IsTemporary(f.Name()) {
			t.Errorf("%s was left behind", f.Name())
		}
	}
}

func TestANameMayBeAsLongAsTheFileSystemAllows(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, strings.Repeat("a", 254)+"1"), filepath.Join(dir, strings.Repeat("a", 254)+"2")
	must(t, Create(one, []byte("one")))
	must(t, WriteFile(one, []byte("more")))
	first, err := NewWriter(one)
	must(t, err)
	second, err := NewWriter(two) // with the same prefix
	must(t, err)
	for _, w := range []*Writer{first, second} {
		if err := w.Commit(); err != nil {
			t.Errorf("%v; want both written", err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
