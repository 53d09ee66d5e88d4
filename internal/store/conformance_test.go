package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	_ "gocloud.dev/blob/memblob"
)

// stores gives a folder of each kind of store.
func stores(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{
		"a folder": t.TempDir(),
		"memory":   "mem://" + strings.ToLower(rand.Text()) + "/some/where",
	}
	if server := realS3(t); server != "" {
		found["an S3 server"] = server
	}
	if own := os.Getenv("DATALOAD_TEST_URL"); own != "" {
		folder := Join(own, rand.Text())
		t.Cleanup(func() { must(t, RemoveAll(folder)) })
		found["DATALOAD_TEST_URL"] = folder
	}
	return found
}

// everywhere runs a test of the conformance suite: each kind of store passes it.
func everywhere(t *testing.T, test func(t *testing.T, folder string)) {
	for where, folder := range stores(t) {
		t.Run(where, func(t *testing.T) { test(t, folder) })
	}
}

func TestAFileIsCreatedOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, folder string) {
		name := Join(folder, "a", "file")
		must(t, MkdirAll(Dir(name)))
		must(t, Create(name, []byte("first")))
		if err := Create(name, []byte("second")); !errors.Is(err, ErrExists) {
			t.Errorf("the second Create: %v, want %v", err, ErrExists)
		}
		content(t, name, "first")
		must(t, Remove(name))
		must(t, Create(name, []byte("third")))
		content(t, name, "third")
		must(t, Write(name, []byte("fourth")))
		if err := Create(name, []byte("fifth")); !errors.Is(err, ErrExists) {
			t.Errorf("Create of what Write has written: %v, want %v", err, ErrExists)
		}
		content(t, name, "fourth")
	})
}

func TestCreateIsWonByOneOfMany(t *testing.T) {
	everywhere(t, func(t *testing.T, folder string) {
		must(t, MkdirAll(folder))
		const writers = 8
		for n := range 12 {
			name := Join(folder, fmt.Sprintf("contested-%d", n))
			start := make(chan struct{})
			won := make(chan []byte, writers)
			var all sync.WaitGroup
			for w := range writers {
				all.Go(func() {
					mine := bytes.Repeat([]byte{byte('a' + w)}, 5000)
					<-start
					switch err := Create(name, mine); {
					case err == nil:
						won <- mine
					case !errors.Is(err, ErrExists):
						t.Errorf("Create: %v, want nil or %v", err, ErrExists)
					default:
						if got, err := Read(name); err != nil || len(got) != 5000 || bytes.Count(got, got[:1]) != 5000 {
							t.Errorf("a loser reads %d bytes (%v), want all of the winner's", len(got), err)
						}
					}
				})
			}
			close(start)
			all.Wait()
			if len(won) != 1 {
				t.Fatalf("%s was won %d times, want once", name, len(won))
			}
			content(t, name, string(<-won))
		}
	})
}

func TestFilesAreReplacedAndRemoved(t *testing.T) {
	everywhere(t, func(t *testing.T, folder string) {
		must(t, MkdirAll(folder))
		name := Join(folder, "file")
		if _, err := Read(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Read of a missing file: %v, want %v", err, fs.ErrNotExist)
		}
		if _, err := Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Stat of a missing file: %v, want %v", err, fs.ErrNotExist)
		}
		if there, err := Exists(name); there || err != nil {
			t.Errorf("Exists of a missing file: %v, %v", there, err)
		}
		must(t, Write(name, []byte("one, and longer")))
		must(t, Write(name, []byte("two")))
		content(t, name, "two")
		if info, err := Stat(name); err != nil || info.Size != 3 || info.ModTime.IsZero() {
			t.Errorf("Stat: %+v, %v; want 3 bytes and a time", info, err)
		}
		if there, err := Exists(name); !there || err != nil {
			t.Errorf("Exists of a file: %v, %v", there, err)
		}
		for range 2 {
			must(t, Remove(name))
		}
		if there, err := Exists(name); there || err != nil {
			t.Errorf("Exists of a removed file: %v, %v", there, err)
		}
	})
}

func TestAFolderIsListed(t *testing.T) {
	everywhere(t, func(t *testing.T, folder string) {
		if names, err := List(Join(folder, "none")); err != nil || len(names) != 0 {
			t.Errorf("a missing folder has %q, %v", names, err)
		}
		for _, name := range []string{"b", "a", "c/d", "c/e", "ab", "c d+ä%2F"} {
			must(t, MkdirAll(Dir(Join(folder, name))))
			must(t, Create(Join(folder, name), nil))
		}
		unfinished, err := NewWriter(Join(folder, "unfinished"))
		must(t, err)
		defer unfinished.Discard()
		names, err := List(folder)
		must(t, err)
		slices.Sort(names)
		if want := []string{"a", "ab", "b", "c", "c d+ä%2F"}; !slices.Equal(names, want) {
			t.Errorf("%q, want %q", names, want)
		}
		if names, err := List(Join(folder, "c")); err != nil || !slices.Equal(names, []string{"d", "e"}) {
			t.Errorf("c has %q, %v; want d and e", names, err)
		}
		if IsURL(folder) { // some tools make an object for a folder
			c, err := open(Join(folder, "c"))
			must(t, err)
			must(t, c.in.WriteAll(t.Context(), c.key()+"/", nil, nil))
			if names, err := List(Join(folder, "c")); err != nil || !slices.Equal(names, []string{"d", "e"}) {
				t.Errorf("c, for which there is an object, has %q, %v; want d and e", names, err)
			}
		}
		must(t, RemoveAll(Join(folder, "c")))
		names, err = List(folder)
		must(t, err)
		slices.Sort(names)
		if want := []string{"a", "ab", "b", "c d+ä%2F"}; !slices.Equal(names, want) {
			t.Errorf("without c: %q, want %q", names, want)
		}
	})
}

func TestALargeFileAppearsWhole(t *testing.T) {
	everywhere(t, func(t *testing.T, folder string) {
		must(t, MkdirAll(folder))
		name := Join(folder, "large.csv")
		large := bytes.Repeat([]byte("0123456789abcde\n"), 1<<20) // more than one part of an upload
		w, err := NewWriter(name)
		must(t, err)
		if w.Name() != name {
			t.Errorf("Name %q, want %q", w.Name(), name)
		}
		_, err = w.Write(large)
		must(t, err)
		_, err = w.WriteAt([]byte("0000"), 8)
		must(t, err)
		copy(large[8:], "0000")
		written, err := w.Written()
		must(t, err)
		if got, err := io.ReadAll(written); err != nil || !bytes.Equal(got, large) {
			t.Errorf("Written: %d bytes, %v; want %d", len(got), err, len(large))
		}
		if there, err := Exists(name); there || err != nil {
			t.Errorf("before Commit it exists: %v, %v", there, err)
		}
		must(t, w.Commit(t.Context()))
		w.Discard() // has no effect

		f, err := Open(name)
		must(t, err)
		defer f.Close()
		if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, large) {
			t.Errorf("Open: %d bytes, %v; want %d", len(got), err, len(large))
		}
		stream, err := Stream(context.Background(), name)
		must(t, err)
		defer stream.Close()
		if got, err := io.ReadAll(stream); err != nil || !bytes.Equal(got, large) {
			t.Errorf("Stream: %d bytes, %v; want %d", len(got), err, len(large))
		}
		random, err := OpenRandom(name)
		must(t, err)
		defer random.Close()
		if random.Size() != int64(len(large)) || random.Name() != name {
			t.Errorf("Size %d, Name %q; want %d, %q", random.Size(), random.Name(), len(large), name)
		}
		for _, at := range []struct{ offset, length, want int }{{0, 20, 20}, {1 << 20, 1000, 1000}, {len(large) - 5, 10, 5}, {len(large), 3, 0}} {
			p := make([]byte, at.length)
			n, err := random.ReadAt(p, int64(at.offset))
			if at.want < at.length && err != io.EOF || at.want == at.length && err != nil || !bytes.Equal(p[:n], large[at.offset:at.offset+at.want]) {
				t.Errorf("ReadAt %d: %d bytes, %v; want %d", at.offset, n, err, at.want)
			}
		}
	})
}

func TestAMissingFileCannotBeOpened(t *testing.T) {
	everywhere(t, func(t *testing.T, folder string) {
		name := Join(folder, "none")
		_, errOpen := Open(name)
		_, errRandom := OpenRandom(name)
		_, errStream := Stream(context.Background(), name)
		for what, err := range map[string]error{"Open": errOpen, "OpenRandom": errRandom, "Stream": errStream} {
			if !errors.Is(err, fs.ErrNotExist) || IsOutage(err) {
				t.Errorf("%s: %v, want %v, which is no outage", what, err, fs.ErrNotExist)
			}
		}
	})
}

// A writer whose caller has timed out does not replace what its successor has written.
// TestACommittedFileReplacesNone: a large one is uploaded in parts, and the name can be taken meanwhile.
func TestACommittedFileReplacesNone(t *testing.T) {
	everywhere(t, func(t *testing.T, folder string) {
		must(t, MkdirAll(folder))
		for _, size := range []int{5, 17 << 20} {
			name := Join(folder, fmt.Sprintf("file-%d", size))
			write := func(letter string) *Writer {
				w, err := NewWriter(name)
				must(t, err)
				_, err = w.Write(bytes.Repeat([]byte(letter), size))
				must(t, err)
				return w
			}
			late := write("b")
			must(t, Create(name, []byte("first")))
			if err := late.CommitNew(t.Context()); !errors.Is(err, ErrExists) {
				t.Errorf("%d bytes: CommitNew of a taken name: %v, want %v", size, err, ErrExists)
			}
			content(t, name, "first")
			must(t, Remove(name))
			must(t, write("c").CommitNew(t.Context()))
			if got, err := Read(name); err != nil || !bytes.Equal(got, bytes.Repeat([]byte("c"), size)) {
				t.Errorf("found %d bytes, %v; want the %d that were committed", len(got), err, size)
			}
			ended, end := context.WithCancelCause(t.Context())
			end(io.ErrClosedPipe)
			if err := write("d").CommitNew(ended); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("CommitNew: %v, want %v", err, io.ErrClosedPipe)
			}
		}
	})
}

func TestACanceledWriterReplacesNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, folder string) {
		must(t, MkdirAll(folder))
		name := Join(folder, "file")
		late, err := NewWriter(name)
		must(t, err)
		_, err = late.WriteString("late")
		must(t, err)
		must(t, Write(name, []byte("newer")))
		ended, end := context.WithCancelCause(t.Context())
		end(io.ErrClosedPipe)
		if err := late.Commit(ended); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Commit: %v, want %v", err, io.ErrClosedPipe)
		}
		content(t, name, "newer")
	})
}

func TestADiscardedFileDoesNotAppear(t *testing.T) {
	everywhere(t, func(t *testing.T, folder string) {
		must(t, MkdirAll(folder))
		w, err := NewWriter(Join(folder, "file"))
		must(t, err)
		_, err = w.WriteString("half")
		must(t, err)
		w.Discard()
		if names, err := List(folder); err != nil || len(names) != 0 {
			t.Errorf("found %q, %v; want nothing", names, err)
		}
	})
}

func TestAFolderIsProven(t *testing.T) {
	everywhere(t, func(t *testing.T, folder string) {
		must(t, Prove(folder))
		if names, err := List(folder); err != nil || len(names) != 0 {
			t.Errorf("Prove has left %q, %v; want nothing", names, err)
		}
	})
}

func TestAReaderSeesTheOldContentOrTheNew(t *testing.T) {
	everywhere(t, func(t *testing.T, folder string) {
		must(t, MkdirAll(folder))
		name := Join(folder, "file")
		must(t, Write(name, allOf("a")))
		var readers sync.WaitGroup
		var done atomic.Bool
		for range 3 {
			readers.Go(func() {
				for !done.Load() {
					if got, err := Read(name); err != nil || !bytes.Equal(got, allOf(string(got[:1]))) {
						t.Errorf("%d bytes, %v; want the whole content of one write", len(got), err)
						return
					}
				}
			})
		}
		for i := range 100 {
			must(t, Write(name, allOf(letter(i%26))))
		}
		done.Store(true)
		readers.Wait()
	})
}

func TestAFolderExistsIfAnythingIsInIt(t *testing.T) {
	everywhere(t, func(t *testing.T, folder string) {
		inside := Join(folder, "inside")
		if has, err := HasFolder(inside); has || err != nil {
			t.Errorf("before: %v, %v; want no folder", has, err)
		}
		must(t, MkdirAll(inside))
		must(t, Create(Join(inside, "file"), nil))
		if has, err := HasFolder(inside); !has || err != nil {
			t.Errorf("after: %v, %v; want a folder", has, err)
		}
	})
}

func TestALogHasEveryLine(t *testing.T) {
	everywhere(t, func(t *testing.T, folder string) {
		must(t, MkdirAll(folder))
		name := Join(folder, "log")
		if lines, err := ReadLog(name); err != nil || len(lines) != 0 {
			t.Errorf("a missing log: %q, %v; want no lines", lines, err)
		}
		must(t, Append(name, []byte("first")))
		var writers sync.WaitGroup
		for i := range 8 {
			writers.Go(func() {
				if err := Append(name, allOf(letter(i))); err != nil {
					t.Error(err)
				}
			})
		}
		writers.Wait()
		must(t, Append(name, []byte("last")))
		lines, err := ReadLog(name)
		must(t, err)
		got := strings.Fields(string(lines))
		if len(got) != 10 || got[0] != "first" || got[9] != "last" {
			t.Fatalf("%d lines, from %.10q to %.10q; want 10, from first to last", len(got), got[0], got[len(got)-1])
		}
		slices.Sort(got[1:9])
		for i, line := range got[1:9] {
			if line != string(allOf(letter(i))) {
				t.Errorf("line %.10q… of %d bytes, want one writer's, whole", line, len(line))
			}
		}
	})
}
