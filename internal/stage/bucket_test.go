package stage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	_ "gocloud.dev/blob/memblob"

	"durable-dataload/internal/store"
)

// bucket gives a folder of a bucket that is in memory.
func bucket(t *testing.T) string { return "mem://" + strings.ToLower(t.Name()) + "/inputs?nomd5=true" }

// inBucket are the names of what is in a folder of a bucket.
func inBucket(t *testing.T, folder string) []string {
	t.Helper()
	names, err := store.List(folder)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestFileIntoABucket(t *testing.T) {
	dir := bucket(t)
	packed := store.Join(store.Dir(dir), "incoming", "users.csv.gz")
	if err := store.Write(packed, []byte(gzipped(t, people))); err != nil {
		t.Fatal(err)
	}
	if !Needs(Input{Path: packed}) || Needs(Input{Path: store.Join(dir, "users.csv")}) {
		t.Error("a URL with options: expected the end of the name to say what has to be unpacked")
	}
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(people)))
	var written store.Info
	for i, in := range []Input{
		input(t, "users.csv", people, UTF8), input(t, "users.csv.zst", zstandard(t, people), UTF8), {Path: packed},
	} {
		var progress int64
		got, err := File(t.Context(), dir, in, func(bytes int64) { progress = bytes })
		want := Staged{Path: store.Join(dir, digest+".csv"), Name: "users.csv", SHA256: digest, Size: int64(len(people))}
		if err != nil || got != want || progress == 0 {
			t.Fatalf("%s: %+v, error %v, %d bytes read; want %+v", in.Path, got, err, progress, want)
		}
		if content, err := store.Read(got.Path); err != nil || string(content) != people {
			t.Errorf("%s: the file is %.200q, error %v; want %.200q", in.Path, content, err, people)
		}
		if names := inBucket(t, dir); !slices.Equal(names, []string{digest + ".csv"}) {
			t.Errorf("%s: the folder has %q; want the file", in.Path, names)
		}
		info, err := store.Stat(got.Path)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			written = info
		} else if info != written {
			t.Errorf("%s: the file is of %v; want that of %v, which was there", in.Path, info.ModTime, written.ModTime)
		}
	}

	// An object with another size is not the file.
	path := store.Join(dir, digest+".csv")
	if err := store.Write(path, []byte(people[1:])); err != nil {
		t.Fatal(err)
	}
	if _, err := File(t.Context(), dir, input(t, "-", people, UTF8), nil); err != nil {
		t.Fatal(err)
	}
	if content, err := store.Read(path); err != nil || string(content) != people {
		t.Errorf("the file is %.200q, error %v; want it written again", content, err)
	}
}

func TestNothingIsLeftInABucket(t *testing.T) {
	dir := bucket(t)
	if _, err := File(t.Context(), dir, input(t, "users.csv.gz", gzipped(t, people)[:30], UTF8), nil); !errors.As(err, new(*Error)) {
		t.Errorf("of a file that is cut off: error %v; want one of the input", err)
	}
	if _, err := File(t.Context(), dir, Input{Path: store.Join(dir, "users.csv.gz")}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a file that is not there: error %v", err)
	}
	stop := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if _, err := File(ctx, dir, input(t, "-", people, UTF8), nil); !errors.Is(err, stop) {
		t.Errorf("stopped while it reads: error %v; want %v", err, stop)
	}
	f, err := begin(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, strings.Repeat(people, 100_000)); err != nil {
		t.Fatal(err)
	}
	if err := f.commit(ctx, Staged{Path: store.Join(dir, "users.csv")}); err == nil {
		t.Error("stopped while it is brought there: no error")
	}
	if names := inBucket(t, dir); names != nil {
		t.Errorf("%q is left", names)
	}
	t.Setenv("TMPDIR", "/no/such/folder")
	if _, err := File(t.Context(), dir, input(t, "users.csv", people, UTF8), nil); err == nil || !strings.HasPrefix(err.Error(), "cannot bring users.csv into mem://") || !strings.Contains(err.Error(), "TMPDIR") {
		t.Errorf("without a folder for temporary files: error %v", err)
	}
}
