// Package dupkeys finds the records of a file whose key an earlier record has, in memory that does not depend on the
// number of records.
package dupkeys

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"slices"

	"durable-dataload/internal/store"
)

// Keyed is a record and the key that identifies it.
type Keyed struct {
	Record int64 // number, from 1
	Line   int64
	Key    string
}

// Keys are records in the order of their numbers. With sent they have no keys of records that cannot be sent, which takes
// longer.
type Keys func(sent bool) iter.Seq2[Keyed, error]

// Find finds the records whose key an earlier record has, and writes them to a file that Open reads. The first record
// with a key that can be sent is kept, every later one is a duplicate of it. Keys are compared by what fold makes of them
// (see target.Traits); an empty key is no key. They are read a second time, with sent, if any of them are equal.
//
// It takes about 10 MiB of memory and 1/256 of the keys at 64 bytes each, which is 3 MiB for ten million. For 32 bytes a
// key it needs disk space next to path, or in the folder for temporary files (TMPDIR) for a path in a bucket; that file has
// no name and is removed with the process. path itself appears whole and durable, with mode 0600.
//
// Keys are compared by the first 128 bits of their SHA-256: a collision is less likely than a fault of the machine
// (about 1 in 10^25 for ten million keys).
func Find(ctx context.Context, keys Keys, fold func(string) string, path string) (*List, error) {
	w, err := list(ctx, keys(false), fold, path)
	if err == nil && w.count > 0 {
		w.file.Discard()
		w, err = list(ctx, keys(true), fold, path)
	}
	if err != nil {
		return nil, err
	}
	defer w.file.Discard()
	if err := w.commit(ctx); err != nil {
		return nil, err
	}
	return Open(path)
}

// list writes the duplicates among keys, and does not commit.
func list(ctx context.Context, keys iter.Seq2[Keyed, error], fold func(string) string, path string) (*listWriter, error) {
	f, err := NewFinder(store.TempDir(path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	hasher := Hasher{Fold: fold}
	for k, err := range keys {
		if err != nil {
			return nil, err
		}
		if k.Record%4096 == 0 {
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
		}
		if k.Key == "" {
			continue
		}
		if err := f.Add(Hashed{Record: k.Record, Line: k.Line, Hash: hasher.Hash(k.Key)}); err != nil {
			return nil, err
		}
	}
	w, err := newListWriter(path)
	if err != nil {
		return nil, err
	}
	if err := f.Each(ctx, store.TempDir(path), w.add); err != nil {
		w.file.Discard()
		return nil, err
	}
	return w, nil
}

// Hash identifies a key.
type Hash [16]byte

// Hasher hashes keys. It is for one goroutine.
type Hasher struct {
	Fold    func(key string) string
	scratch []byte
}

// Hash is the same for keys that are equal to the target.
func (h *Hasher) Hash(key string) Hash {
	h.scratch = append(h.scratch[:0], h.Fold(key)...)
	sum := sha256.Sum256(h.scratch)
	return Hash(sum[:16])
}

// Hashed is a record and the hash of its key.
type Hashed struct {
	Record, Line int64
	Hash         Hash
}

// Finder collects the keys of one column.
type Finder struct {
	keys    *spill // by the first byte of the hash
	highest int64  // record number
}

// NewFinder makes a finder whose temporary file is in dir. The file has no name: the system removes it when the process
// ends, however it ends.
func NewFinder(dir string) (*Finder, error) {
	keys, err := newSpill(dir)
	return &Finder{keys: keys}, err
}

// Close releases the file.
func (f *Finder) Close() { f.keys.close() }

// Add adds the key of a record. Records come in the order of their numbers.
func (f *Finder) Add(k Hashed) error {
	f.highest = max(f.highest, k.Record)
	return f.keys.add(int(k.Hash[0]), spilled{hash: k.Hash, record: k.Record, line: k.Line})
}

// Each visits the duplicates in the order of their record numbers. It goes through the parts, in each of which equal keys
// are together, and sorts what it finds by a second spill in dir, whose parts are ranges of record numbers.
func (f *Finder) Each(ctx context.Context, dir string, visit func(Duplicate) error) error {
	found, err := newSpill(dir)
	if err != nil {
		return err
	}
	defer found.close()
	for part := range spillParts {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := f.comparePart(part, found); err != nil {
			return err
		}
	}
	var duplicates []Duplicate
	for part := range spillParts {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if duplicates, err = duplicatesOf(duplicates[:0], found, part); err != nil {
			return err
		}
		for _, t := range duplicates {
			if err := visit(t); err != nil {
				return err
			}
		}
	}
	return nil
}

type firstRecord struct{ record, line int64 }

func (f *Finder) comparePart(part int, found *spill) error {
	first := map[[16]byte]firstRecord{}
	for e, err := range f.keys.part(part) {
		if err != nil {
			return err
		}
		earlier, ok := first[e.hash]
		if !ok {
			first[e.hash] = firstRecord{e.record, e.line}
			continue
		}
		binary.LittleEndian.PutUint64(e.hash[:8], uint64(earlier.record))
		binary.LittleEndian.PutUint64(e.hash[8:], uint64(earlier.line))
		if err := found.add(f.rangeOf(e.record), e); err != nil {
			return err
		}
	}
	return nil
}

func (f *Finder) rangeOf(record int64) int { return int(record / (f.highest/spillParts + 1)) }

func duplicatesOf(duplicates []Duplicate, found *spill, part int) ([]Duplicate, error) {
	for e, err := range found.part(part) {
		if err != nil {
			return nil, err
		}
		duplicates = append(duplicates, Duplicate{
			Record: e.record, Line: e.line,
			First:     int64(binary.LittleEndian.Uint64(e.hash[:8])),
			FirstLine: int64(binary.LittleEndian.Uint64(e.hash[8:])),
		})
	}
	slices.SortFunc(duplicates, func(a, b Duplicate) int { return cmp.Compare(a.Record, b.Record) })
	return duplicates, nil
}
