package source

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestDamagedIndexIsNoticed(t *testing.T) {
	f := newFile(t, "email,city\na,b\nc,d\ne,f\n")
	if _, err := f.inspect(InspectOptions{BatchSize: 1}); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(f.indexPath)
	if err != nil {
		t.Fatal(err)
	}
	// noticed opens the index and reads all of it.
	noticed := func(index []byte) error {
		if err := os.WriteFile(f.indexPath, index, 0o600); err != nil {
			t.Fatal(err)
		}
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
	if err := noticed(good); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x10
		if err := noticed(bad); err == nil {
			t.Fatalf("byte %d of %d is changed and the index is read as if nothing was", i, len(good))
		}
	}
	swapped := slices.Clone(good)
	copy(swapped[len(good)-2*entrySize:], good[len(good)-entrySize:])
	copy(swapped[len(good)-entrySize:], good[len(good)-2*entrySize:len(good)-entrySize])
	for name, bad := range map[string][]byte{
		"empty": nil, "cut": good[:len(good)-1], "cut in the block": good[:40], "an entry short": good[:len(good)-entrySize],
		"an entry more": slices.Concat(good, good[len(good)-entrySize:]), "two entries swapped": swapped, "a text": []byte(strings.Repeat("email\n", 99)),
	} {
		if err := noticed(bad); !errors.Is(err, ErrIndexCorrupt) {
			t.Errorf("%s: error %v; want %v", name, err, ErrIndexCorrupt)
		}
	}
}

func TestIndexOfAnotherVersionIsRefused(t *testing.T) {
	f := newFile(t, indexMagic+"\x03\x00\x00\x00\x99\x00\x00\x00")
	if _, err := OpenIndex(f.path); err == nil || !strings.HasSuffix(err.Error(), "the index has version 3; expected 1 to 2") {
		t.Errorf("error %v", err)
	}
}

// Version 1 had no delimiter; migrations that were begun with it go on.
func TestIndexOfVersion1IsReadWithCommas(t *testing.T) {
	f := newFile(t, "email,city\na,b\nc,d\n")
	if _, err := f.inspect(InspectOptions{BatchSize: 1}); err != nil {
		t.Fatal(err)
	}
	x := f.index()
	now, err := os.ReadFile(f.indexPath)
	if err != nil {
		t.Fatal(err)
	}
	old := slices.Clone(now[:x.block-5]) // without the delimiter and the checksum
	binary.LittleEndian.PutUint32(old[len(indexMagic):], 1)
	binary.LittleEndian.PutUint32(old[len(indexMagic)+4:], uint32(x.block-1))
	old = binary.LittleEndian.AppendUint32(old, crc32.Checksum(old, castagnoli))
	old = append(old, now[x.block:]...)
	f.indexPath += ".1"
	if err := os.WriteFile(f.indexPath, old, 0o600); err != nil {
		t.Fatal(err)
	}
	y := f.index()
	if !reflect.DeepEqual(y.Header(), x.Header()) || y.Batches() != 2 || y.SHA256() != x.SHA256() {
		t.Errorf("header %+v, %d batches; want %+v, 2", y.Header(), y.Batches(), x.Header())
	}
	for n := 1; n <= 2; n++ {
		got, err := y.Batch(n)
		want, _ := x.Batch(n)
		if err != nil || got != want {
			t.Errorf("batch %+v, error %v; want %+v", got, err, want)
		}
	}
}

func TestIndexIsReadConcurrently(t *testing.T) {
	f := newFile(t, "email\n"+strings.Repeat("a\nb\n", 500))
	if _, err := f.inspect(InspectOptions{BatchSize: 2}); err != nil {
		t.Fatal(err)
	}
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
