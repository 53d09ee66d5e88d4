package validate

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/mapping"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
)

// drafted validates a file with a draft. It returns the draft, and the folder that its files are for.
func drafted(t *testing.T, path string, o Options) (*source.Draft, string) {
	t.Helper()
	dir := t.TempDir()
	o.Draft = &source.Draft{IndexPath: filepath.Join(dir, "key.index"), CopyTo: filepath.Join(dir, "key.csv"), Plan: source.Plan{1, 2, 3}}
	t.Cleanup(o.Draft.Discard)
	_, err := File(t.Context(), path, o)
	must(t, err)
	return o.Draft, dir
}

func isEmpty(t *testing.T, dir string) bool {
	t.Helper()
	left, err := os.ReadDir(dir)
	must(t, err)
	return len(left) == 0
}

// The index and the copy that a validation makes are, byte for byte, those of an inspection.
func TestADraftIsWhatInspectWrites(t *testing.T) {
	long := header
	for n := range 2000 {
		long += "a" + strings.Repeat("n", n%7) + "@example.com,\"" + strings.Repeat("ä\n", n%900) + "\"\n\n"
	}
	var users bytes.Buffer
	must(t, fakeusers.Write(&users, fakeusers.Options{Records: 4000, Seed: 1, Awkward: true}))
	for name, c := range map[string]struct {
		content string
		change  func(*Options)
	}{
		"usual":        {users.String(), func(*Options) {}},
		"small calls":  {users.String(), func(o *Options) { o.Format = limited{o.Format, 40_000} }},
		"later start":  {users.String(), func(o *Options) { o.StartAt, o.BatchSize = 1234, 7 }},
		"canary":       {long, func(o *Options) { o.Canary, o.BatchSize = 33, 1000 }},
		"long records": {long, func(o *Options) { o.BatchSize, o.Format = 1000, limited{o.Format, 3000} }},
		"keyless":      {header + "a@example.com,A\n,B\n\"\u200b\",C\nx,\ny\n ,\n", func(o *Options) { o.BatchSize = 2 }},
		"no record":    {header, func(*Options) {}},
	} {
		o := options(t)
		c.change(&o)
		path, dir := write(t, c.content), t.TempDir()
		var records *mapping.Encoder
		inspected, err := source.Inspect(t.Context(), path, source.InspectOptions{
			Header: func(h *source.Header) (err error) {
				records, err = mapping.NewEncoder(h, mapping.BuiltIn(), o.PrimaryKey, o.Format)
				return err
			},
			BatchSize: o.BatchSize, StartAt: o.StartAt, CutAfter: o.Canary, MaxEncoded: o.Format.Traits().MaxBytes, Plan: source.Plan{1, 2, 3},
			EncodedSize: func(_ *source.Header, r source.Record) int64 { return records.Size(r.Raw) },
			Keyless:     func(_ *source.Header, r source.Record) bool { return records.IsKeyless(r.Raw) },
			IndexPath:   filepath.Join(dir, "index"), CopyTo: filepath.Join(dir, "copy"),
		})
		must(t, err)
		want, err := os.ReadFile(filepath.Join(dir, "index"))
		must(t, err)

		d, folder := drafted(t, path, o)
		made := d.Complete()
		if made == nil || made.SHA256 != inspected.SHA256 || made.Batches != inspected.Batches || made.Skipped != inspected.Skipped {
			t.Fatalf("%s: %+v, want %+v", name, made, inspected)
		}
		must(t, os.Mkdir(filepath.Join(folder, "key"), 0o700))
		index, copied := filepath.Join(folder, "key", "index"), filepath.Join(folder, "key", "input.csv")
		must(t, d.Publish(t.Context(), index, copied))
		if got, err := os.ReadFile(index); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: the index differs from that of Inspect (%v)", name, err)
		}
		if got, err := os.ReadFile(copied); err != nil || string(got) != c.content {
			t.Errorf("%s: the copy differs (%v)", name, err)
		}
		must(t, os.RemoveAll(filepath.Join(folder, "key")))
		if !isEmpty(t, folder) {
			t.Errorf("%s: something is left beside the folder", name)
		}
	}
}

// What Inspect refuses, and what does not fit the mapping, has no draft, and an index that is there stays.
func TestADraftIsNotUsed(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		change  func(*Options)
	}{
		"open quote":        {header + "a@example.com,A\nb@example.com,\"B\n", func(*Options) {}},
		"not UTF-8":         {header + "a@example.com,A\nb@example.com,\xff\n", func(*Options) {}},
		"other format":      {"PK\x03\x04", func(*Options) {}},
		"header":            {"a,a\n1,2\n", func(*Options) {}},
		"title":             {"email\na@example.com,A\nb@example.com,B\n", func(*Options) {}},
		"start too late":    {header + "a@example.com,A\n", func(o *Options) { o.StartAt = 3 }},
		"canary too large":  {header + "a@example.com,A\n", func(o *Options) { o.Canary = 5 }},
		"header without it": {"mail\na\n", func(*Options) {}},
		"mapping": {header + "a@example.com,A\n", func(o *Options) {
			o.Encoder = func([]string) (Records, error) { return nil, errors.New("it does not fit") }
		}},
	} {
		o := options(t)
		c.change(&o)
		d, dir := drafted(t, write(t, c.content), o)
		if made := d.Complete(); made != nil {
			t.Errorf("%s: there is a draft of %+v, want none", name, made)
		}
		if err := d.Publish(t.Context(), filepath.Join(dir, "index"), filepath.Join(dir, "copy")); err == nil {
			t.Errorf("%s: it was published", name)
		}
		if !isEmpty(t, dir) {
			t.Errorf("%s: something is left", name)
		}
	}

	d, dir := drafted(t, write(t, header+"a@example.com,A\n"), options(t))
	index, copied := filepath.Join(dir, "index"), filepath.Join(dir, "copy")
	must(t, os.WriteFile(index, []byte("another run's"), 0o600))
	if err := d.Publish(t.Context(), index, copied); !errors.Is(err, store.ErrExists) {
		t.Errorf("beside another index: %v, want %v", err, store.ErrExists)
	}
	if got, err := os.ReadFile(index); err != nil || string(got) != "another run's" {
		t.Errorf("the other index is %q, %v", got, err)
	}
	must(t, os.Remove(index))
	if !isEmpty(t, dir) {
		t.Error("something is left")
	}
}

func TestAFolderThatCannotBeWrittenCostsTheDraftOnly(t *testing.T) {
	o := options(t)
	o.Draft = &source.Draft{IndexPath: "/nowhere/index", CopyTo: "/nowhere/copy"}
	report, err := File(context.Background(), write(t, header+"a@example.com,A\n"), o)
	if err != nil || report.Sent != 1 || o.Draft.Complete() != nil {
		t.Errorf("%+v, %v; want the report, and no draft", report, err)
	}
	o.Draft.Discard()
}

// A process that is killed leaves the temporary files of its draft: the next one with the same names removes them, and that of
// another process that still runs cannot be published.
func TestADraftRemovesTheOneBefore(t *testing.T) {
	dir, path := t.TempDir(), write(t, header+"a@example.com,A\n")
	draft := func() *source.Draft {
		o := options(t)
		o.Draft = &source.Draft{IndexPath: filepath.Join(dir, "key.index"), CopyTo: filepath.Join(dir, "key.csv")}
		_, err := File(t.Context(), path, o)
		must(t, err)
		return o.Draft
	}
	older, newer := draft(), draft()
	index, copied := filepath.Join(dir, "index"), filepath.Join(dir, "input.csv")
	if err := older.Publish(t.Context(), index, copied); err == nil {
		t.Error("the older draft was published, and its files are gone")
	}
	must(t, newer.Publish(t.Context(), index, copied))
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("the folder has %v, %v; want index and copy", left, err)
	}
}
