package validate

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

// The file of twins is a header and then one entry of fixed size for each twin, in the order of record numbers, all
// numbers little-endian:
//
//	magic "DDTWINS\n" | version uint32 | twins int64 | CRC-32C of all before it
//
//	record | line | first record | its line (each int64) | CRC-32C
const (
	twinsMagic   = "DDTWINS\n"
	twinsVersion = 1
	twinsHeader  = len(twinsMagic) + 4 + 8 + 4
	twinSize     = 4*8 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrTwinsCorrupt says that a file is a damaged list of twins, or none.
var ErrTwinsCorrupt = errors.New("this is no list of records with the same key, or it is damaged; remove it and begin again")

// Twin is a record whose key an earlier record has.
type Twin struct {
	Record, Line     int64
	First, FirstLine int64 // the first record with the key
}

// Twins are the twins of a file, in the order of their record numbers. They are read one at a time, so memory does not
// depend on their number. It is safe for concurrent use.
type Twins struct {
	file  *os.File
	count int64
}

// OpenTwins opens what Twice has written. If it is damaged, the error is ErrTwinsCorrupt.
func OpenTwins(path string) (*Twins, error) {
	f, err := store.Open(path)
	if err != nil {
		return nil, err
	}
	t := &Twins{file: f}
	if err := t.readHeader(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func (t *Twins) readHeader() error {
	info, err := t.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < int64(twinsHeader) {
		return ErrTwinsCorrupt
	}
	b := make([]byte, twinsHeader)
	if _, err := t.file.ReadAt(b, 0); err != nil {
		return err
	}
	n := len(twinsMagic)
	t.count = int64(binary.LittleEndian.Uint64(b[n+4:]))
	if string(b[:n]) != twinsMagic || !checked(b) || binary.LittleEndian.Uint32(b[n:]) != twinsVersion ||
		info.Size() != int64(twinsHeader)+t.count*twinSize {
		return ErrTwinsCorrupt
	}
	return nil
}

// Count is the number of twins.
func (t *Twins) Count() int64 { return t.count }

// At gives twin i, from 0 to Count-1.
func (t *Twins) At(i int64) (Twin, error) {
	b := make([]byte, twinSize)
	if _, err := t.file.ReadAt(b, int64(twinsHeader)+i*twinSize); err != nil {
		return Twin{}, fmt.Errorf("read a record with the same key: %w", err)
	}
	if !checked(b) {
		return Twin{}, ErrTwinsCorrupt
	}
	v := func(i int) int64 { return int64(binary.LittleEndian.Uint64(b[8*i:])) }
	return Twin{v(0), v(1), v(2), v(3)}, nil
}

// Lookup says whether the record with this number is a twin, and of which record it is one. A list that cannot be read
// is an error: not to know is not to be taken for no.
func (t *Twins) Lookup(record int64) (first, firstLine int64, ok bool, err error) {
	var twin Twin
	at := sort.Search(int(t.count), func(i int) bool {
		if err != nil {
			return true
		}
		var here Twin
		if here, err = t.At(int64(i)); err != nil || here.Record < record {
			return err != nil
		}
		twin = here
		return true
	})
	if err != nil || at == int(t.count) || twin.Record != record {
		return 0, 0, false, err
	}
	return twin.First, twin.FirstLine, true, nil
}

// Close releases the file.
func (t *Twins) Close() error { return t.file.Close() }

type twinsWriter struct {
	file    *store.Writer
	count   int64
	scratch []byte
}

func newTwinsWriter(path string) (*twinsWriter, error) {
	file, err := store.NewWriter(path)
	if err != nil {
		return nil, err
	}
	w := &twinsWriter{file: file}
	if _, err := file.Write(make([]byte, twinsHeader)); err != nil { // room for the header, whose count is known last
		file.Discard()
		return nil, err
	}
	return w, nil
}

func (w *twinsWriter) add(t Twin) error {
	w.count++
	b := w.scratch[:0]
	for _, v := range []int64{t.Record, t.Line, t.First, t.FirstLine} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	w.scratch = appendChecksum(b)
	_, err := w.file.Write(w.scratch)
	return err
}

func (w *twinsWriter) commit(ctx context.Context) error {
	b := append([]byte(nil), twinsMagic...)
	b = binary.LittleEndian.AppendUint32(b, twinsVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(w.count))
	if _, err := w.file.WriteAt(appendChecksum(b), 0); err != nil {
		return err
	}
	return w.file.Commit(ctx)
}

func appendChecksum(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// checked says whether b ends in the checksum of what is before it.
func checked(b []byte) bool {
	n := len(b) - 4
	return crc32.Checksum(b[:n], castagnoli) == binary.LittleEndian.Uint32(b[n:])
}
