package store

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Events are a log, and those of the beginning belong to the report.
func TestALongLogKeepsItsBeginning(t *testing.T) {
	name := Join(t.TempDir(), "events")
	must(t, Append(name, []byte("begun")))
	must(t, Append(name, bytes.Repeat([]byte("x"), 17<<20)))
	must(t, Append(name, []byte("ended")))
	lines, err := ReadLog(name)
	if err != nil || !bytes.HasPrefix(lines, []byte("begun\n")) || !bytes.HasSuffix(lines, []byte("\nended\n")) {
		t.Errorf("a log of %d bytes, %v; want all three lines", len(lines), err)
	}
}

// An upload that takes long is aborted with its context.
func TestAnUploadIsAborted(t *testing.T) {
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

func TestNames(t *testing.T) {
	for _, c := range []struct{ folder, join, dir, base string }{
		{"/a/b", "/a/b/c/d", "/a", "b"},
		{"s3://bucket", "s3://bucket/c/d", "s3://bucket", "/"},
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
		"file:///tmp/x":             "not a supported object store",
		"http://example.com/x":      "not a supported object store",
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

// answering is a store that gives the same answer to every request.
func answering(t *testing.T, status int, body string) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s
}

// A store that cannot be reached, or refuses, has not answered that a file is missing.
func TestAFailedRequestIsNotAbsence(t *testing.T) {
	if os.Getenv("DATALOAD_TEST_URL") != "" {
		t.Skip("the clients take the environment once, and it is that of another bucket")
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "invented")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "invented")
	t.Setenv("AZURE_STORAGE_ACCOUNT", "invented")
	t.Setenv("AZURE_STORAGE_KEY", base64.StdEncoding.EncodeToString([]byte("invented")))
	google := answering(t, http.StatusForbidden, `{"error": {"code": 403, "message": "no permission, or it does not exist"}}`)
	noBucket := "s3://bucket/file?region=us-east-1&endpoint=" + answering(t, http.StatusNotFound, `<Error><Code>NoSuchBucket</Code></Error>`).URL
	noServer := "s3://bucket/file?region=us-east-1&endpoint=" + answering(t, http.StatusNotFound, "404 page not found\n").URL
	read := func(name string) error { _, err := Read(name); return err }
	stat := func(name string) error { _, err := Stat(name); return err }
	for what, c := range map[string]struct {
		name string
		read func(name string) error
	}{
		// A name with an empty label is not sent to a resolver. The client retries for some
		// seconds nevertheless.
		"Azure, host not found": {"azblob://container/file?protocol=http&domain=invented..example", exists},
		"Google, forbidden":     {"gs://bucket/file", exists},
		"Google, no reading":    {"gs://bucket/file", read},
		"Google, no removing":   {"gs://bucket/file", Remove},
		"S3, no bucket":         {noBucket, read},
		"S3, no bucket, exists": {noBucket, exists},
		"proxy, no S3":          {noServer, read},
		"proxy, no S3, exists":  {noServer, exists},
		"proxy, no S3, stat":    {noServer, stat},
		"proxy, no S3, remove":  {noServer, Remove},
	} {
		t.Run(what, func(t *testing.T) {
			t.Setenv("STORAGE_EMULATOR_HOST", google.Listener.Addr().String())
			err := c.read(c.name)
			t.Log(err)
			if err == nil || errors.Is(err, fs.ErrNotExist) || !IsOutage(err) {
				t.Errorf("%v; want an outage that is not %v", err, fs.ErrNotExist)
			}
		})
	}
}

// A connection that is closed is the end of no list and of no file.
func TestAClosedConnectionIsNotTheEnd(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "invented")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "invented")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		switch {
		case r.Method == http.MethodHead:
			return
		case strings.HasSuffix(r.URL.Path, "/half"):
			fmt.Fprint(w, "a,b\n")
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	}))
	defer s.Close()
	var ends sync.WaitGroup
	defer ends.Wait()
	name := func(file string) string { return "s3://bucket/" + file + "?region=us-east-1&endpoint=" + s.URL }
	for what, read := range map[string]func() error{
		"list":        func() error { _, err := List(name("")); return err },
		"has folder":  func() error { _, err := HasFolder(name("folder")); return err },
		"remove all":  func() error { return RemoveAll(name("folder")) },
		"read":        func() error { _, err := Read(name("none")); return err },
		"read half":   func() error { _, err := Read(name("half")); return err },
		"open half":   func() error { _, err := Open(name("half")); return err },
		"range":       func() error { return readRange(name("none")) },
		"range, half": func() error { return readRange(name("half")) },
		"stream half": func() error {
			r, err := Stream(t.Context(), name("half"))
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				_ = r.Close()
			}
			return err
		},
	} {
		ends.Go(func() { // each waits for the client's retries
			err := read()
			t.Log(what, err)
			if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || !IsOutage(err) {
				t.Errorf("%s: %v; want an outage that is no end of a file", what, err)
			}
		})
	}
}

// A client repeats no request whose answer was cut off.
func TestAnAnswerThatIsCutOffIsRequestedAgain(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "invented")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "invented")
	var gets atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size := 100
		if r.Header.Get("Range") != "" {
			size = 50
		}
		w.Header().Set("Content-Length", strconv.Itoa(size))
		if r.Method == http.MethodHead {
			return
		}
		if gets.Add(1)%3 == 0 {
			_, _ = w.Write(make([]byte, size))
			return
		}
		_, _ = w.Write(make([]byte, 10))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer s.Close()
	name := "s3://bucket/file?region=us-east-1&endpoint=" + s.URL
	if data, err := Read(name); err != nil || len(data) != 100 {
		t.Errorf("Read: %d bytes, %v; want all", len(data), err)
	}
	must(t, readRange(name))
}

func readRange(name string) error {
	r, err := OpenRandom(name)
	if err != nil {
		return err
	}
	_, err = r.ReadAt(make([]byte, 50), 10)
	return err
}

// exists gives an error if it is not known whether there is a file.
func exists(name string) error {
	there, err := Exists(name)
	if err == nil && there {
		err = errors.New("it is there")
	}
	return err
}

func TestForEachOrderedConsumesInOrder(t *testing.T) {
	const n = 100
	var got []int
	var atOnce, most atomic.Int64
	err := ForEachOrdered(t.Context(), "s3://bucket/folder", n, func(_ context.Context, i int) (int, error) {
		if now := atOnce.Add(1); now > most.Load() {
			most.Store(now)
		}
		defer atOnce.Add(-1)
		time.Sleep(time.Duration(i%3) * time.Millisecond)
		return i, nil
	}, func(i int) error { got = append(got, i); return nil })
	want := make([]int, n)
	for i := range want {
		want[i] = i
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want 0 to %d in order", got, err, n-1)
	}
	if most.Load() < 2 {
		t.Error("one at a time, want some at once")
	}
}

func TestForEachOrderedEndsEarly(t *testing.T) {
	for name, c := range map[string]struct{ produced, taken, want error }{
		"enough":        {nil, fmt.Errorf("no more: %w", ErrEnough), nil},
		"produce fails": {io.ErrUnexpectedEOF, nil, io.ErrUnexpectedEOF},
		"consume fails": {nil, io.ErrShortWrite, io.ErrShortWrite},
		"canceled":      {nil, nil, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			taken := 0
			err := ForEachOrdered(ctx, t.TempDir(), 1000, func(_ context.Context, i int) (int, error) {
				if i == 5 {
					return i, c.produced
				}
				return i, nil
			}, func(i int) error {
				taken++
				if i != 5 {
					return nil
				}
				if name == "canceled" {
					cancel()
				}
				return c.taken
			})
			if !errors.Is(err, c.want) || c.want == nil && err != nil || taken > 500 {
				t.Errorf("%v after %d, want %v after a few", err, taken, c.want)
			}
		})
	}
}
