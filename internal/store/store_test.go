package store

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

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
