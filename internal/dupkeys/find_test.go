package dupkeys

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	_ "gocloud.dev/blob/memblob"

	"durable-dataload/internal/target"
)

func keyed(keys []string) Keys {
	return func(bool) iter.Seq2[Keyed, error] {
		return func(yield func(Keyed, error) bool) {
			for i, key := range keys {
				if !yield(Keyed{Record: int64(i + 1), Line: int64(2*i + 2), Key: key}, nil) {
					return
				}
			}
		}
	}
}

// findByMap does the same as Find, in memory.
func findByMap(keys []string) (found []Duplicate) {
	first := map[string]int64{}
	for i, key := range keys {
		record := int64(i + 1)
		if key == "" {
			continue
		}
		if earlier, ok := first[strings.ToLower(key)]; ok {
			found = append(found, Duplicate{record, 2 * record, earlier, 2 * earlier})
		} else {
			first[strings.ToLower(key)] = record
		}
	}
	return found
}

func all(t *testing.T, list *List) (all []Duplicate) {
	t.Helper()
	for i := range list.Count() {
		d, err := list.At(i)
		must(t, err)
		all = append(all, d)
	}
	return all
}

func TestFindInABucketLeavesNothingOnTheDisk(t *testing.T) {
	here := t.TempDir()
	t.Chdir(here)
	list, err := Find(t.Context(), keyed([]string{"a", "b", "A"}), target.FoldCase, "mem://dupkeys/work/list")
	must(t, err)
	defer list.Close()
	if got := all(t, list); !slices.Equal(got, []Duplicate{{3, 6, 1, 2}}) {
		t.Errorf("%v, want the third of the first", got)
	}
	if left, err := os.ReadDir(here); len(left) != 0 || err != nil {
		t.Errorf("%v (%v) in the working folder, want nothing", left, err)
	}
}

func TestFindFindsWhatAMapFinds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	spellings := []func(string) string{strings.ToUpper, strings.ToLower, func(s string) string { return s }}
	for name, c := range map[string]struct{ records, keys int }{
		"none": {0, 1}, "one": {1, 1}, "all the same": {40_000, 1}, "few keys": {3_000, 50}, "many keys, more than are held in memory": {300_000, 250_000},
	} {
		t.Run(name, func(t *testing.T) {
			keys := make([]string, c.records)
			for i := range keys {
				switch r.IntN(20) {
				case 0: // no key
				case 1:
					keys[i] = " " + strconv.Itoa(r.IntN(c.keys)) + "@example.com" // spaces count
				default:
					keys[i] = spellings[r.IntN(3)]("Ärger" + strconv.Itoa(r.IntN(c.keys)) + "@Example.com")
				}
			}
			dir := t.TempDir()
			list, err := Find(t.Context(), keyed(keys), target.FoldCase, filepath.Join(dir, "list"))
			must(t, err)
			defer list.Close()
			want := findByMap(keys)
			if got := all(t, list); !slices.Equal(got, want) {
				t.Fatalf("%d duplicates, want the %d of a map", len(got), len(want))
			}
			byRecord := map[int64]Duplicate{}
			for _, d := range want {
				byRecord[d.Record] = d
			}
			for _, record := range append([]int64{0, 1, int64(len(keys)), int64(len(keys) + 1)}, sample(r, len(keys))...) {
				first, firstLine, ok, err := list.Lookup(record)
				w, wantOK := byRecord[record]
				if err != nil || ok != wantOK || first != w.First || firstLine != w.FirstLine {
					t.Fatalf("Lookup(%d) = %d, %d, %v, %v; want %d, %d, %v", record, first, firstLine, ok, err, w.First, w.FirstLine, wantOK)
				}
			}
			holdsOnly(t, dir, "list")
		})
	}
}

func TestRecordsThatAreNotSentAreLeftOutWhereKeysAreEqual(t *testing.T) {
	var read []bool
	keys := func(all, sent []string) Keys {
		return func(onlySent bool) iter.Seq2[Keyed, error] {
			read = append(read, onlySent)
			if onlySent {
				return keyed(sent)(true)
			}
			return keyed(all)(false)
		}
	}
	for _, c := range []struct {
		all, sent []string
		want      []Duplicate
		read      []bool
	}{
		{[]string{"a", "a", "A"}, []string{"", "a", "A"}, []Duplicate{{3, 6, 2, 4}}, []bool{false, true}},
		{[]string{"a", "a"}, []string{"", "a"}, nil, []bool{false, true}},
		{[]string{"a", "b"}, []string{"", "b"}, nil, []bool{false}}, // the longer way is not needed
	} {
		read = nil
		dir := t.TempDir()
		list, err := Find(t.Context(), keys(c.all, c.sent), target.FoldCase, filepath.Join(dir, "list"))
		must(t, err)
		if got := all(t, list); !slices.Equal(got, c.want) || !slices.Equal(read, c.read) {
			t.Errorf("%q: %v, read %v; want %v, read %v", c.all, got, read, c.want, c.read)
		}
		list.Close()
		holdsOnly(t, dir, "list")
	}
}

func sample(r *rand.Rand, n int) (records []int64) {
	for range min(n, 500) {
		records = append(records, 1+r.Int64N(int64(n)))
	}
	return records
}

func holdsOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var found []string
	for _, e := range entries {
		found = append(found, e.Name())
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, mode %v; want 0600", e.Name(), err, info.Mode())
		}
	}
	if !slices.Equal(found, names) {
		t.Errorf("the folder has %q, want %q", found, names)
	}
}

func TestFindLeavesNothingWhereItFails(t *testing.T) {
	broken := errors.New("broken")
	stopped, stop := context.WithCancel(t.Context())
	stop()
	breaking := func(atSent bool) Keys {
		return func(sent bool) iter.Seq2[Keyed, error] {
			if sent != atSent {
				return keyed([]string{"a", "a"})(sent)
			}
			return func(yield func(Keyed, error) bool) {
				if yield(Keyed{Record: 1, Line: 2, Key: "a"}, nil) {
					yield(Keyed{}, broken)
				}
			}
		}
	}
	for _, c := range []struct {
		name string
		ctx  context.Context
		keys Keys
		want error
	}{
		{"a source that fails", t.Context(), breaking(false), broken},
		{"a source that fails the second time", t.Context(), breaking(true), broken},
		{"a context that has ended", stopped, keyed([]string{"a", "a"}), context.Canceled},
	} {
		dir := t.TempDir()
		if _, err := Find(c.ctx, c.keys, target.FoldCase, filepath.Join(dir, "list")); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		holdsOnly(t, dir)
	}
}

func TestADamagedListIsDetected(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	made, err := Find(t.Context(), keyed([]string{"a", "b", "A", "a"}), target.FoldCase, path)
	must(t, err)
	made.Close()
	whole, err := os.ReadFile(path)
	must(t, err)
	open := func(content []byte) error {
		must(t, os.WriteFile(path, content, 0o600))
		list, err := Open(path)
		if err != nil {
			return err
		}
		defer list.Close()
		for record := range int64(5) {
			if _, _, _, err := list.Lookup(record); err != nil {
				return err
			}
		}
		return nil
	}
	must(t, open(whole))
	for i := range whole {
		damaged := slices.Clone(whole)
		damaged[i] ^= 4
		if err := open(damaged); !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d changed: %v, want ErrCorrupt", i, err)
		}
	}
	for _, n := range []int{0, 10, headerSize, len(whole) - 1} {
		if err := open(whole[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v, want ErrCorrupt", n, err)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	keys := make([]string, 1_000_000)
	for i := range keys {
		keys[i] = "somebody" + strconv.Itoa(i) + "@example.com"
	}
	for b.Loop() {
		list, err := Find(b.Context(), keyed(keys), target.FoldCase, filepath.Join(b.TempDir(), "list"))
		if err != nil {
			b.Fatal(err)
		}
		list.Close()
	}
	b.ReportMetric(float64(len(keys))*float64(b.N)/b.Elapsed().Seconds(), "keys/s")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
