package dupkeys

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"os"
	"sort"

	"durable-dataload/internal/durablefs"
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

const (
	spillParts = 256
	spillBlock = 512 // entries of one part that are written together: 16 KiB
)

// spilled is an entry of a spill: the hash of a key, or a pair of numbers; a record number; its line.
type spilled struct {
	hash   [16]byte
	record int64
	line   int64
}

const spilledSize = 16 + 8 + 8

// spill keeps entries on disk in parts that are read one by one. It uses 4 MiB of memory. Its file has no name: the system
// removes it when the process ends, however it ends.
type spill struct {
	file    *os.File
	dir     string
	written int64                 // blocks in the file
	buffers [spillParts][]spilled // not yet written
	blocks  [spillParts][]int64   // numbers of the blocks of each part, in the order in which they were added
	scratch []byte
}

func newSpill(dir string) (*spill, error) {
	if err := durablefs.MkdirAll(dir); err != nil {
		return nil, inFolder(dir, err)
	}
	f, err := os.CreateTemp(dir, ".keys-*") // mode 0600
	if err != nil {
		return nil, inFolder(dir, err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return &spill{file: f, dir: dir, scratch: make([]byte, 0, spillBlock*spilledSize)}, nil
}

// inFolder adds to an error the folder that lacks space.
func inFolder(dir string, err error) error {
	if dir == os.TempDir() {
		return durablefs.TemporaryError(err)
	}
	return fmt.Errorf("the keys of the records cannot be kept in %s: %w; expected a folder that can be written and has room", dir, err)
}

func (s *spill) add(part int, e spilled) error {
	s.buffers[part] = append(s.buffers[part], e)
	if len(s.buffers[part]) < spillBlock {
		return nil
	}
	b := s.scratch[:0]
	for _, e := range s.buffers[part] {
		b = append(b, e.hash[:]...)
		b = binary.LittleEndian.AppendUint64(b, uint64(e.record))
		b = binary.LittleEndian.AppendUint64(b, uint64(e.line))
	}
	if _, err := s.file.WriteAt(b, s.written*int64(len(b))); err != nil {
		return inFolder(s.dir, err)
	}
	s.blocks[part] = append(s.blocks[part], s.written)
	s.written++
	s.buffers[part] = s.buffers[part][:0]
	return nil
}

// part returns the entries of one part, in the order in which they were added.
func (s *spill) part(part int) iter.Seq2[spilled, error] {
	return func(yield func(spilled, error) bool) {
		b := s.scratch[:spillBlock*spilledSize]
		for _, block := range s.blocks[part] {
			if _, err := s.file.ReadAt(b, block*int64(len(b))); err != nil {
				yield(spilled{}, err)
				return
			}
			for i := range spillBlock {
				raw := b[i*spilledSize:]
				e := spilled{
					hash:   [16]byte(raw),
					record: int64(binary.LittleEndian.Uint64(raw[16:])),
					line:   int64(binary.LittleEndian.Uint64(raw[24:])),
				}
				if !yield(e, nil) {
					return
				}
			}
		}
		for _, e := range s.buffers[part] {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (s *spill) close() { s.file.Close() }
