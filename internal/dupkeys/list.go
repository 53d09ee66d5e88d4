package dupkeys

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"sort"

	"durable-dataload/internal/store"
)

// A list is a header and then one entry of fixed size for each duplicate, in the order of record numbers, all numbers little-endian:
//
//	magic "DDTWINS\n" | version uint32 | duplicates int64 | CRC-32C of all before it
//
//	record | line | first record | its line (each int64) | CRC-32C
const (
	magic      = "DDTWINS\n"
	version    = 1
	headerSize = len(magic) + 4 + 8 + 4
	entrySize  = 4*8 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrCorrupt says that a file is a damaged list, or none.
var ErrCorrupt = errors.New("this is no list of records with the same key, or it is damaged; remove it and rerun the command")

// Duplicate is a record whose key an earlier record has.
type Duplicate struct {
	Record, Line     int64
	First, FirstLine int64 // the first record with the key
}

// List holds the duplicates of a file, in the order of their record numbers. They are read one at a time, so memory does
// not depend on their number. It is safe for concurrent use.
type List struct {
	file  *os.File
	count int64
}

// Open opens what Find has written. If it is damaged, the error is ErrCorrupt.
func Open(path string) (*List, error) {
	f, err := store.Open(path)
	if err != nil {
		return nil, err
	}
	l := &List{file: f}
	if err := l.readHeader(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

func (l *List) readHeader() error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < int64(headerSize) {
		return ErrCorrupt
	}
	b := make([]byte, headerSize)
	if _, err := l.file.ReadAt(b, 0); err != nil {
		return err
	}
	n := len(magic)
	l.count = int64(binary.LittleEndian.Uint64(b[n+4:]))
	if string(b[:n]) != magic || !checked(b) || binary.LittleEndian.Uint32(b[n:]) != version ||
		info.Size() != int64(headerSize)+l.count*entrySize {
		return ErrCorrupt
	}
	return nil
}

// Count is the number of duplicates.
func (l *List) Count() int64 { return l.count }

// At returns duplicate i, from 0 to Count-1.
func (l *List) At(i int64) (Duplicate, error) {
	b := make([]byte, entrySize)
	if _, err := l.file.ReadAt(b, int64(headerSize)+i*entrySize); err != nil {
		return Duplicate{}, fmt.Errorf("read a record with the same key: %w", err)
	}
	if !checked(b) {
		return Duplicate{}, ErrCorrupt
	}
	v := func(i int) int64 { return int64(binary.LittleEndian.Uint64(b[8*i:])) }
	return Duplicate{v(0), v(1), v(2), v(3)}, nil
}

// Lookup reports whether the record with this number is a duplicate, and of which record. A list that cannot be read
// is an error: not to know is not to be taken for no.
func (l *List) Lookup(record int64) (first, firstLine int64, ok bool, err error) {
	var found Duplicate
	at := sort.Search(int(l.count), func(i int) bool {
		if err != nil {
			return true
		}
		var here Duplicate
		if here, err = l.At(int64(i)); err != nil || here.Record < record {
			return err != nil
		}
		found = here
		return true
	})
	if err != nil || at == int(l.count) || found.Record != record {
		return 0, 0, false, err
	}
	return found.First, found.FirstLine, true, nil
}

// Close releases the file.
func (l *List) Close() error { return l.file.Close() }

type listWriter struct {
	file    *store.Writer
	count   int64
	scratch []byte
}

func newListWriter(path string) (*listWriter, error) {
	file, err := store.NewWriter(path)
	if err != nil {
		return nil, err
	}
	w := &listWriter{file: file}
	if _, err := file.Write(make([]byte, headerSize)); err != nil { // room for the header, whose count is known last
		file.Discard()
		return nil, err
	}
	return w, nil
}

func (w *listWriter) add(d Duplicate) error {
	w.count++
	b := w.scratch[:0]
	for _, v := range []int64{d.Record, d.Line, d.First, d.FirstLine} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	w.scratch = appendChecksum(b)
	_, err := w.file.Write(w.scratch)
	return err
}

func (w *listWriter) commit(ctx context.Context) error {
	b := append([]byte(nil), magic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint64(b, uint64(w.count))
	if _, err := w.file.WriteAt(appendChecksum(b), 0); err != nil {
		return err
	}
	return w.file.Commit(ctx)
}

func appendChecksum(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// checked reports whether b ends in the checksum of what is before it.
func checked(b []byte) bool {
	n := len(b) - 4
	return crc32.Checksum(b[:n], castagnoli) == binary.LittleEndian.Uint32(b[n:])
}
