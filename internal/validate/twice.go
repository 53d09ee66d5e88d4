package validate

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/store"
)

// Keyed is a record and the key that identifies it.
type Keyed struct {
	Record int64 // number, from 1
	Line   int64
	Key    string
}

// Twice finds the records whose key an earlier record has, and writes them to a file that OpenTwins reads. The first
// record with a key counts, every later one is a twin of it. keys come in the order of their record numbers. Keys are
// compared as identitycloud.FoldKey has them; an empty key is no key.
//
// Memory does not depend on the number of twins, and hardly on that of records: about 10 MiB, and 1/256 of the keys at
// 64 bytes each, which is 3 MiB for ten million. For 32 bytes a key it needs disk space beside path, for a path in a bucket in the folder for temporary files (TMPDIR); what it writes
// there has no name and is gone with the process. path itself appears whole and durable, with mode 0600.
//
// Keys are compared by the first 128 bits of their SHA-256: for different keys to be taken for the same is less likely
// than a fault of the machine (about 1 in 10^25 for ten million keys).
func Twice(ctx context.Context, keys iter.Seq2[Keyed, error], path string) (*Twins, error) {
	f, err := newFinder(beside(path))
	if err != nil {
		return nil, err
	}
	defer f.close()
	for k, err := range keys {
		if err != nil {
			return nil, err
		}
		if k.Record%4096 == 0 {
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
		}
		if err := f.add(k.Record, k.Line, k.Key); err != nil {
			return nil, err
		}
	}
	return f.twins(ctx, path)
}

// beside is the folder for what is needed while path is written.
func beside(path string) string {
	if store.IsURL(path) {
		return os.TempDir()
	}
	return filepath.Dir(path)
}

// finder collects the keys of one column.
type finder struct {
	keys    *spill // by the first byte of the hash
	highest int64  // record number
	scratch []byte
}

func newFinder(dir string) (*finder, error) {
	keys, err := newSpill(dir)
	return &finder{keys: keys}, err
}

func (f *finder) close() { f.keys.close() }

func (f *finder) add(record, line int64, key string) error {
	if key == "" {
		return nil
	}
	f.scratch = append(f.scratch[:0], identitycloud.FoldKey(key)...)
	sum := sha256.Sum256(f.scratch)
	f.highest = max(f.highest, record)
	return f.keys.add(int(sum[0]), spilled{hash: [16]byte(sum[:16]), record: record, line: line})
}

// twins writes the twins to a file.
func (f *finder) twins(ctx context.Context, path string) (*Twins, error) {
	w, err := newTwinsWriter(path)
	if err != nil {
		return nil, err
	}
	defer w.file.Discard()
	if err := f.inOrder(ctx, beside(path), w.add); err != nil {
		return nil, err
	}
	if err := w.commit(ctx); err != nil {
		return nil, err
	}
	return OpenTwins(path)
}

// inOrder visits the twins in the order of their record numbers. It goes through the parts, in each of which equal keys
// are together, and brings what it finds into order by a second spill, whose parts are ranges of record numbers.
func (f *finder) inOrder(ctx context.Context, dir string, visit func(Twin) error) error {
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
	var twins []Twin
	for part := range spillParts {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if twins, err = rangeOfTwins(twins[:0], found, part); err != nil {
			return err
		}
		for _, t := range twins {
			if err := visit(t); err != nil {
				return err
			}
		}
	}
	return nil
}

type firstRecord struct{ record, line int64 }

func (f *finder) comparePart(part int, found *spill) error {
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

func (f *finder) rangeOf(record int64) int { return int(record / (f.highest/spillParts + 1)) }

func rangeOfTwins(twins []Twin, found *spill, part int) ([]Twin, error) {
	for e, err := range found.part(part) {
		if err != nil {
			return nil, err
		}
		twins = append(twins, Twin{
			Record: e.record, Line: e.line,
			First:     int64(binary.LittleEndian.Uint64(e.hash[:8])),
			FirstLine: int64(binary.LittleEndian.Uint64(e.hash[8:])),
		})
	}
	slices.SortFunc(twins, func(a, b Twin) int { return cmp.Compare(a.Record, b.Record) })
	return twins, nil
}
