package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"durable-dataload/internal/fakeusers"
)

// readAll returns the lines of the records that a Reader returns for a file, and its refusals.
func readAll(t testing.TB, path string) (r *Reader, lines []int64, refusals []string) {
	t.Helper()
	r, err := OpenReader(context.Background(), path, ReaderOptions{Refused: func(r *Refusal) {
		refusals = append(refusals, r.Error())
	}})
	must(t, err)
	defer r.Close()
	for _, record := range recordsOf(t, r, func(r *Refusal) { refusals = append(refusals, r.Error()) }) {
		lines = append(lines, record.Line)
	}
	return r, lines, refusals
}

// recordsOf returns the records of a Reader.
func recordsOf(t testing.TB, r *Reader, refused func(*Refusal)) (all []Record) {
	t.Helper()
	must(t, ForEachBlock(context.Background(), r,
		func() func(*Block, int) int { return func(b *Block, _ int) int { return b.Len() } },
		func(b *Block, _ int) error {
			for _, record := range b.Records(refused) {
				record.Raw = slices.Clone(record.Raw)
				all = append(all, record)
			}
			return nil
		}))
	return all
}

func TestTheReaderContinuesAfterARefusal(t *testing.T) {
	for _, c := range []struct {
		name, content string
		records       int64 // including refused ones
		lines         []int64
		refused       []string // line and a word of the reason
		header        bool
	}{
		{"nothing refused", "a,b\n1,2\n\n3,4\n", 2, []int64{2, 4}, nil, true},
		{"three lines that are not UTF-8, two in a record", "a,b\n\xff,\"\n\xfe\n\"\nx,y\n\xfd,z", 3, []int64{5},
			[]string{"line 2: byte 1", "line 3: byte 1", "line 6: byte 1"}, true},
		{"a quote that is never closed", "a,b\n1,2\n3,\"4\n5,6\n7,\"\"\n", 4, []int64{2, 4, 5}, []string{"line 3: column 2 opens a quote"}, true},
		{"a quote that is never closed, and not UTF-8", "a\n\"\xff\n\xfe\n", 2, nil,
			[]string{"line 2: column 1 opens a quote", "line 2: byte 2", "line 3: byte 1"}, true},
		{"a header name twice", "a,a\n1,2\n\xff,2\n", 2, []int64{2}, []string{"line 1: columns 1 and 2", "line 3: byte 1"}, false},
		{"a header that is not UTF-8", "\xff\n1\n2\n", 2, []int64{2, 3}, []string{"line 1: byte 1"}, false},
		{"a header with an open quote", "\"a\n1\n2\n", 2, []int64{2, 3}, []string{"line 1: column 1 opens a quote"}, false},
		{"another format", "PK\x03\x04\n1\n", 0, nil, []string{"line 1: the file is an Excel workbook"}, false},
		{"empty", "\n\n", 0, nil, []string{"the file is empty"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f.csv")
			must(t, os.WriteFile(path, []byte(c.content), 0o600))
			r, lines, refusals := readAll(t, path)
			if !slices.Equal(lines, c.lines) || r.Records() != c.records || (r.Header() != nil) != c.header {
				t.Errorf("records on lines %d, %d in all, header %v; want %d, %d, %v", lines, r.Records(), r.Header() != nil, c.lines, c.records, c.header)
			}
			if len(refusals) != len(c.refused) {
				t.Fatalf("refusals:\n%s\nwant %q", strings.Join(refusals, "\n"), c.refused)
			}
			for i, want := range c.refused {
				if !strings.Contains(refusals[i], want) {
					t.Errorf("refusal %d is %q, want %q in it", i+1, refusals[i], want)
				}
			}
		})
	}
}

func TestTheReaderStopsWithoutLineEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.csv")
	must(t, os.WriteFile(path, []byte("a\n1\n"+strings.Repeat("x", maxRecord+1)), 0o600))
	_, lines, refusals := readAll(t, path)
	if !slices.Equal(lines, []int64{2}) || len(refusals) != 1 || !strings.Contains(refusals[0], "line 3: there is no line end") {
		t.Errorf("records on lines %d, refusals %q", lines, refusals)
	}
}

// FuzzReader compares the Reader with Inspect: it returns the same records of a file that Inspect accepts, and its refusals
// include the one of Inspect.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{"a,b\n1,2\n", "\ufeffa\n\"x\n\"\n\n", "a\n\"\xff\n\"\"\n\"b", "a,a\n\"", "\"\"\"\n", "a\n,\"\"\"\n\"\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "f.csv")
		must(t, os.WriteFile(path, content, 0o600))
		sum, err := Inspect(context.Background(), path, InspectOptions{BatchSize: 10})
		r, lines, refusals := readAll(t, path)
		var refusal *Refusal
		switch {
		case errors.As(err, &refusal):
			if !slices.Contains(refusals, refusal.Error()) {
				t.Errorf("Inspect says %q, the Reader %q", refusal, refusals)
			}
		case err != nil:
			t.Fatal(err)
		case len(refusals) > 0 || r.Records() != sum.Records || int64(len(lines)) != sum.Records || r.SHA256() != sum.SHA256 || r.Size() != sum.Size:
			t.Errorf("Inspect took the file with %d records; the Reader has %d, and refuses %q", sum.Records, r.Records(), refusals)
		}
	})
}

func TestTheReaderReturnsTheRecordsOfAnAwkwardFile(t *testing.T) {
	o := fakeusers.Options{Records: 200, Seed: 3, Awkward: true}
	path := filepath.Join(t.TempDir(), "f.csv")
	file, err := os.Create(path)
	must(t, err)
	defer file.Close()
	must(t, fakeusers.Write(file, o))
	r, err := OpenReader(context.Background(), path, ReaderOptions{})
	must(t, err)
	defer r.Close()
	all := recordsOf(t, r, nil)
	if int64(len(all)) != o.Records {
		t.Fatalf("%d records, want %d", len(all), o.Records)
	}
	for i, record := range all {
		n := int64(i + 1)
		want := fakeusers.AppendRecord(nil, o, n)
		if n == o.Flaws().BlankBehind {
			want = want[:len(want)-1]
		}
		if record.Number != n || string(record.Raw) != string(want) {
			t.Fatalf("record %d is %s", n, fmt.Sprintf("%d: %q, want %q", record.Number, record.Raw, want))
		}
	}
}
