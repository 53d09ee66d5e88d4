package source

import (
	"context"
	"errors"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func TestADamagedIndexIsDetected(t *testing.T) {
	f := newFile(t, "email,city\na,b\nc,d\ne,f\n")
	f.inspected(InspectOptions{BatchSize: 1})
	good, err := os.ReadFile(f.indexPath)
	must(t, err)
	// noticed opens the index and reads it completely.
	noticed := func(index []byte) error {
		must(t, os.WriteFile(f.indexPath, index, 0o600))
		x, err := OpenIndex(f.indexPath)
		if err != nil {
			return err
		}
		defer x.Close()
		for n := 1; n <= x.Batches(); n++ {
			if _, err := x.Batch(n); err != nil {
				return err
			}
		}
		return nil
	}
	must(t, noticed(good))
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x10
		if err := noticed(bad); err == nil {
			t.Fatalf("byte %d of %d is changed and the index is read as if nothing was", i, len(good))
		}
	}
	entry := int(entrySize(1))
	swapped := slices.Clone(good)
	copy(swapped[len(good)-2*entry:], good[len(good)-entry:])
	copy(swapped[len(good)-entry:], good[len(good)-2*entry:len(good)-entry])
	for name, bad := range map[string][]byte{
		"empty": nil, "cut": good[:len(good)-1], "cut in the block": good[:40], "an entry short": good[:len(good)-entry],
		"an entry more": slices.Concat(good, good[len(good)-entry:]), "two entries swapped": swapped, "a text": []byte(strings.Repeat("email\n", 99)),
	} {
		if err := noticed(bad); !errors.Is(err, ErrIndexCorrupt) {
			t.Errorf("%s: error %v; want %v", name, err, ErrIndexCorrupt)
		}
	}
}

func TestIndexOfAnotherVersionIsRefused(t *testing.T) {
	f := newFile(t, indexMagic+"\x02\x00\x00\x00\x99\x00\x00\x00")
	if _, err := OpenIndex(f.path); err == nil || !strings.HasSuffix(err.Error(), "the index has version 2; expected 4") {
		t.Errorf("error %v", err)
	}
}

// The mark of a record is one bit, in full, short and last batches; empty lines and skipped records are not in a batch.
func TestKeylessRecordsAreMarkedInTheIndex(t *testing.T) {
	records := []string{"a", "", "c", "", "", "f", "g", "h", "", "", "", "l", "m", "n", "o", "p", "q", "r", "s", ""}
	input := "email,n\n"
	for i, key := range records {
		input += key + "," + strconv.Itoa(i+1) + "\n\n"
	}
	f := newFile(t, input)
	_, err := f.inspect(InspectOptions{BatchSize: 9, CutAfter: 2, StartAt: 2, Keyless: func(h *Header, r Record) bool { return r.Raw[0] == ',' }})
	must(t, err)
	x, n := f.index(), 1
	for batch := 1; batch <= x.Batches(); batch++ {
		b, err := x.Batch(batch)
		must(t, err)
		for i := range b.Records {
			if got, want := b.Keyless(i), records[n] == ""; got != want {
				t.Errorf("batch %d, record %d (number %d): keyless %v, want %v", batch, i, n+1, got, want)
			}
			n++
		}
		if b.Keyless(b.Records) || b.Keyless(1000) {
			t.Errorf("batch %d: a record behind the last one is keyless", batch)
		}
	}
	if n != len(records) || x.Keyless() != 7 {
		t.Errorf("%d records, %d keyless; want %d, 7", n, x.Keyless(), len(records))
	}
}

func TestIndexIsReadConcurrently(t *testing.T) {
	f := newFile(t, "email\n"+strings.Repeat("a\nb\n", 500))
	f.inspected(InspectOptions{BatchSize: 2})
	x, in := f.index(), f.open()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for n := 1; n <= x.Batches(); n++ {
				b, err := x.Batch(n)
				if err != nil || b.Number != n {
					t.Errorf("batch %+v, error %v; want %d", b, err, n)
					return
				}
				data, err := ReadBatch(in, b)
				var raw []string
				for r := range Records(b, data) {
					raw = append(raw, string(r.Raw))
				}
				if err != nil || !reflect.DeepEqual(raw, []string{"a\n", "b\n"}) {
					t.Errorf("batch %d: %q, error %v", n, raw, err)
					return
				}
			}
		})
	}
	group.Wait()
}

func TestInspectWithoutAnIndexWritesNothing(t *testing.T) {
	f := newFile(t, "email\na\n")
	summary, err := Inspect(context.Background(), f.path, InspectOptions{BatchSize: 1})
	if err != nil || summary.Batches != 1 {
		t.Errorf("%+v, error %v; want 1 batch", summary, err)
	}
	f.holdsOnly("users.csv")
}
