package validate

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
)

func keyed(keys []string) iter.Seq2[Keyed, error] {
	return func(yield func(Keyed, error) bool) {
		for i, key := range keys {
			if !yield(Keyed{Record: int64(i + 1), Line: int64(2*i + 2), Key: key}, nil) {
				return
			}
		}
	}
}

// twinsByMap is what Twice does, without regard to memory.
func twinsByMap(keys []string) (twins []Twin) {
	first := map[string]int64{}
	for i, key := range keys {
		record := int64(i + 1)
		if key == "" {
			continue
		}
		if earlier, ok := first[strings.ToLower(key)]; ok {
			twins = append(twins, Twin{record, 2 * record, earlier, 2 * earlier})
		} else {
			first[strings.ToLower(key)] = record
		}
	}
	return twins
}

func allTwins(t *testing.T, twins *Twins) (all []Twin) {
	t.Helper()
	for i := range twins.Count() {
		twin, err := twins.At(i)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, twin)
	}
	return all
}

func TestTwiceInABucketLeavesNothingOnTheDisk(t *testing.T) {
	here := t.TempDir()
	t.Chdir(here)
	twins, err := Twice(t.Context(), keyed([]string{"a", "b", "A"}), "mem://validate/work/twins")
	if err != nil {
		t.Fatal(err)
	}
	defer twins.Close()
	if got := allTwins(t, twins); !slices.Equal(got, []Twin{{3, 6, 1, 2}}) {
		t.Errorf("%v, want the third of the first", got)
	}
	if left, err := os.ReadDir(here); len(left) != 0 || err != nil {
		t.Errorf("%v (%v) in the working folder, want nothing", left, err)
	}
}

func TestTwiceFindsWhatAMapFinds(t *testing.T) {
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
			twins, err := Twice(t.Context(), keyed(keys), filepath.Join(dir, "twins"))
			if err != nil {
				t.Fatal(err)
			}
			defer twins.Close()
			want := twinsByMap(keys)
			if got := allTwins(t, twins); !slices.Equal(got, want) {
				t.Fatalf("%d twins, want the %d of a map", len(got), len(want))
			}
			byRecord := map[int64]Twin{}
			for _, twin := range want {
				byRecord[twin.Record] = twin
			}
			for _, record := range append([]int64{0, 1, int64(len(keys)), int64(len(keys) + 1)}, sample(r, len(keys))...) {
				first, firstLine, ok, err := twins.Lookup(record)
				w, wantOK := byRecord[record]
				if err != nil || ok != wantOK || first != w.First || firstLine != w.FirstLine {
					t.Fatalf("Lookup(%d) = %d, %d, %v, %v; want %d, %d, %v", record, first, firstLine, ok, err, w.First, w.FirstLine, wantOK)
				}
			}
			holdsOnly(t, dir, "twins")
		})
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
	if err != nil {
		t.Fatal(err)
	}
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

func TestTwiceLeavesNothingWhereItFails(t *testing.T) {
	broken := errors.New("broken")
	stopped, stop := context.WithCancel(t.Context())
	stop()
	failing := func(yield func(Keyed, error) bool) {
		if yield(Keyed{Record: 1, Line: 2, Key: "a"}, nil) {
			yield(Keyed{}, broken)
		}
	}
	for _, c := range []struct {
		name string
		ctx  context.Context
		keys iter.Seq2[Keyed, error]
		want error
	}{
		{"a source that fails", t.Context(), failing, broken},
		{"a context that has ended", stopped, keyed([]string{"a", "a"}), context.Canceled},
	} {
		dir := t.TempDir()
		if _, err := Twice(c.ctx, c.keys, filepath.Join(dir, "twins")); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		holdsOnly(t, dir)
	}
}

func TestADamagedListOfTwinsIsNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "twins")
	made, err := Twice(t.Context(), keyed([]string{"a", "b", "A", "a"}), path)
	if err != nil {
		t.Fatal(err)
	}
	made.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	open := func(content []byte) error {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		twins, err := OpenTwins(path)
		if err != nil {
			return err
		}
		defer twins.Close()
		for record := range int64(5) {
			if _, _, _, err := twins.Lookup(record); err != nil {
				return err
			}
		}
		return nil
	}
	if err := open(whole); err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		damaged := slices.Clone(whole)
		damaged[i] ^= 4
		if err := open(damaged); !errors.Is(err, ErrTwinsCorrupt) {
			t.Errorf("byte %d changed: %v, want ErrTwinsCorrupt", i, err)
		}
	}
	for _, n := range []int{0, 10, twinsHeader, len(whole) - 1} {
		if err := open(whole[:n]); !errors.Is(err, ErrTwinsCorrupt) {
			t.Errorf("cut to %d bytes: %v, want ErrTwinsCorrupt", n, err)
		}
	}
}

func BenchmarkTwice(b *testing.B) {
	keys := make([]string, 1_000_000)
	for i := range keys {
		keys[i] = "somebody" + strconv.Itoa(i) + "@example.com"
	}
	for b.Loop() {
		twins, err := Twice(b.Context(), keyed(keys), filepath.Join(b.TempDir(), "twins"))
		if err != nil {
			b.Fatal(err)
		}
		twins.Close()
	}
	b.ReportMetric(float64(len(keys))*float64(b.N)/b.Elapsed().Seconds(), "keys/s")
}
