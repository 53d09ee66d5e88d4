package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	_ "gocloud.dev/blob/memblob"
)

// places are where the files of these tests are: in each of them all of them hold.
func places(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{
		"a folder": t.TempDir(),
		"memory":   "mem://" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")) + "/some/where",
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

func everywhere(t *testing.T, test func(t *testing.T, folder string)) {
	for where, folder := range places(t) {
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
							t.Errorf("who lost reads %d bytes (%v), want all of the winner's", len(got), err)
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
			t.Errorf("Read of what is not there: %v, want %v", err, fs.ErrNotExist)
		}
		if _, err := Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Stat of what is not there: %v, want %v", err, fs.ErrNotExist)
		}
		if there, err := Exists(name); there || err != nil {
			t.Errorf("Exists of what is not there: %v, %v", there, err)
		}
		must(t, Write(name, []byte("one, and longer")))
		must(t, Write(name, []byte("two")))
		content(t, name, "two")
		if info, err := Stat(name); err != nil || info.Size != 3 || info.ModTime.IsZero() {
			t.Errorf("Stat: %+v, %v; want 3 bytes and a time", info, err)
		}
		if there, err := Exists(name); !there || err != nil {
			t.Errorf("Exists of what is there: %v, %v", there, err)
		}
		for range 2 {
			must(t, Remove(name))
		}
		if there, err := Exists(name); there || err != nil {
			t.Errorf("Exists of what was removed: %v, %v", there, err)
		}
	})
}

func TestAFolderIsListed(t *testing.T) {
	everywhere(t, func(t *testing.T, folder string) {
		if names, err := List(Join(folder, "none")); err != nil || len(names) != 0 {
			t.Errorf("a folder that is not there has %q, %v", names, err)
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
			t.Errorf("before Commit it is there: %v, %v", there, err)
		}
		must(t, w.Commit(t.Context()))
		w.Discard() // does nothing any more

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
		pieces, err := OpenPieces(name)
		must(t, err)
		defer pieces.Close()
		if pieces.Size() != int64(len(large)) || pieces.Name() != name {
			t.Errorf("Size %d, Name %q; want %d, %q", pieces.Size(), pieces.Name(), len(large), name)
		}
		for _, at := range []struct{ offset, length, want int }{{0, 20, 20}, {1 << 20, 1000, 1000}, {len(large) - 5, 10, 5}, {len(large), 3, 0}} {
			p := make([]byte, at.length)
			n, err := pieces.ReadAt(p, int64(at.offset))
			if at.want < at.length && err != io.EOF || at.want == at.length && err != nil || !bytes.Equal(p[:n], large[at.offset:at.offset+at.want]) {
				t.Errorf("ReadAt %d: %d bytes, %v; want %d", at.offset, n, err, at.want)
			}
		}
	})
}

func TestWhatIsNotThereCannotBeOpened(t *testing.T) {
	everywhere(t, func(t *testing.T, folder string) {
		name := Join(folder, "none")
		_, errOpen := Open(name)
		_, errPieces := OpenPieces(name)
		_, errStream := Stream(context.Background(), name)
		for what, err := range map[string]error{"Open": errOpen, "OpenPieces": errPieces, "Stream": errStream} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v, want %v", what, err, fs.ErrNotExist)
			}
		}
	})
}

// Who is not waited for any more does not replace what another has written.
func TestAWriterThatIsNotWaitedForLeavesWhatIsThere(t *testing.T) {
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

// An upload can take long, and is broken off.
func TestAnUploadIsBrokenOff(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "invented")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "invented")
	asked := make(chan struct{}, 16)
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer slow.Close()
	w, err := NewWriter("s3://bucket/file?region=us-east-1&endpoint=" + slow.URL)
	must(t, err)
	ctx, end := context.WithCancelCause(t.Context())
	go func() {
		<-asked
		end(io.ErrClosedPipe)
	}()
	if err := w.Commit(ctx); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Commit: %v, want %v", err, io.ErrClosedPipe)
	}
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
			t.Errorf("there is %q, %v; want nothing", names, err)
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

func TestNames(t *testing.T) {
	for _, c := range []struct{ folder, join, dir, base string }{
		{"/a/b", "/a/b/c/d", "/a", "b"},
		{"s3://bucket", "s3://bucket/c/d", "s3://bucket", "."},
		{"s3://bucket/a", "s3://bucket/a/c/d", "s3://bucket", "a"},
		{"s3://bucket/a/b/", "s3://bucket/a/b/c/d", "s3://bucket/a", "b"},
		{"s3://bucket/a b/ä%2F?region=x&endpoint=http://127.0.0.1:1", "s3://bucket/a b/ä%2F/c/d?region=x&endpoint=http://127.0.0.1:1", "s3://bucket/a b?region=x&endpoint=http://127.0.0.1:1", "ä%2F"},
	} {
		if got := Join(c.folder, "c", "d"); got != c.join {
			t.Errorf("Join(%q, c, d) = %q, want %q", c.folder, got, c.join)
		}
		if got := Dir(c.folder); got != c.dir {
			t.Errorf("Dir(%q) = %q, want %q", c.folder, got, c.dir)
		}
		if got := Base(c.folder); got != c.base {
			t.Errorf("Base(%q) = %q, want %q", c.folder, got, c.base)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	for _, good := range []string{"s3://bucket", "s3://bucket/a/b?region=eu", "gs://bucket/x", "azblob://container/x"} {
		if err := Check(good); err != nil {
			t.Errorf("%s: %v, want it", good, err)
		}
	}
	for name, want := range map[string]string{
		"file:///tmp/x":             "not an object store that is known",
		"http://example.com/x":      "not an object store that is known",
		"s3:///x":                   "names no bucket",
		"s3://key:secret@bucket/x":  "has a user or a password in it",
		"s3://bucket/line\nbreak/x": "line break",
		"azblob://container/x?sv=2026-01-01&sig=secret":         "a signature",
		"s3://bucket/x?X-Amz-Signature=secret":                  "a signature",
		"s3://bucket/x?endpoint=http://key:secret@localhost:90": "a password",
	} {
		err := Check(name)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want an error with %q", name, err, want)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, name, want string) {
	t.Helper()
	got, err := Read(name)
	if err != nil || string(got) != want {
		t.Errorf("%s: %.40q (%d bytes, %v), want %.40q", name, got, len(got), err, want)
	}
}
