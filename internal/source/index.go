package source

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"durable-dataload/internal/store"
)

// The index is a header block and then one entry of fixed size for each batch, all numbers little-endian:
//
//	magic "DDINDEX\n" | version uint32 | length of the block uint32 | SHA-256 of the input | plan | size of the input |
//	records | skipped | start at | batches | batch size | keyless (each int64) | raw header | delimiter | CRC-32C of all before it
//
//	number | first record | first line | last line | records | offset | length (each int64) | SHA-256 |
//	a bit for each record of the batch size, set where it is keyless | CRC-32C
//
// The length of the block depends on the raw header alone, so the entries are written in the one pass over the input
// and the block is filled in at the end.
const (
	indexMagic   = "DDINDEX\n"
	indexVersion = 4
	blockFixed   = len(indexMagic) + 4 + 4 + 32 + 32 + 7*8
	entryFixed   = 7*8 + 32 + 4
)

// entrySize is the length of an entry.
func entrySize(batchSize int64) int64 { return entryFixed + (batchSize+7)/8 }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrIndexCorrupt means that a file is a damaged index, or not an index.
var ErrIndexCorrupt = errors.New("not an index, or a damaged one; expected the index of an inspection; inspect the input again")

// Index locates the batches of an inspected file. It is safe for concurrent use. It reads one entry at a time and keeps
// none, so its memory use does not depend on the number of batches.
type Index struct {
	f       *os.File
	block   int64 // length of the header block
	header  *Header
	summary indexSummary
}

// indexSummary is the content of the header block besides the raw header.
type indexSummary struct {
	SHA256                                              [32]byte
	Plan                                                Plan
	Size, Records, Skipped, StartAt, Batches, BatchSize int64
	Keyless                                             int64
}

// OpenIndex opens an index that Inspect wrote. If it is damaged, the error is ErrIndexCorrupt.
func OpenIndex(path string) (*Index, error) {
	f, err := store.Open(path)
	if err != nil {
		return nil, err
	}
	x := &Index{f: f}
	if err := x.readBlock(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return x, nil
}

func (x *Index) readBlock() error {
	info, err := x.f.Stat()
	if err != nil {
		return err
	}
	start := make([]byte, len(indexMagic)+8)
	if _, err := x.f.ReadAt(start, 0); err != nil && err != io.EOF {
		return err
	}
	if string(start[:len(indexMagic)]) != indexMagic {
		return ErrIndexCorrupt
	}
	if version := binary.LittleEndian.Uint32(start[len(indexMagic):]); version != indexVersion {
		return fmt.Errorf("the index has version %d; expected %d", version, indexVersion)
	}
	x.block = int64(binary.LittleEndian.Uint32(start[len(indexMagic)+4:]))
	if x.block < int64(blockFixed)+1+4 || x.block > info.Size() {
		return ErrIndexCorrupt
	}
	block := make([]byte, x.block)
	if _, err := x.f.ReadAt(block, 0); err != nil {
		return err
	}
	body := block[:x.block-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(block[x.block-4:]) {
		return ErrIndexCorrupt
	}
	if _, err := binary.Decode(body[len(start):], binary.LittleEndian, &x.summary); err != nil {
		return err
	}
	raw, last := body[blockFixed:len(body)-1], body[len(body)-1:]
	delimiter, err := ParseDelimiter(string(last))
	if err != nil {
		return ErrIndexCorrupt
	}
	var reason string
	if x.header, reason = parseHeader(raw, delimiter); reason != "" {
		return ErrIndexCorrupt
	}
	if info.Size() != x.block+x.summary.Batches*entrySize(x.summary.BatchSize) {
		return ErrIndexCorrupt
	}
	return nil
}

// Header is the header of the input.
func (x *Index) Header() *Header { return x.header }

// SHA256 is the digest of the whole input, in hexadecimal.
func (x *Index) SHA256() string { return hex.EncodeToString(x.summary.SHA256[:]) }

// Plan is that of the inspection.
func (x *Index) Plan() Plan { return x.summary.Plan }

// Size is the length of the input in bytes.
func (x *Index) Size() int64 { return x.summary.Size }

// Records is the number of records in all batches; those before StartAt are not among them.
func (x *Index) Records() int64 { return x.summary.Records }

// Skipped is the number of records before StartAt.
func (x *Index) Skipped() int64 { return x.summary.Skipped }

// StartAt is the number of the first record that is in a batch.
func (x *Index) StartAt() int64 { return x.summary.StartAt }

// Batches is the number of batches.
func (x *Index) Batches() int { return int(x.summary.Batches) }

// Keyless is the number of keyless records in all batches.
func (x *Index) Keyless() int64 { return x.summary.Keyless }

// BatchSize is the maximum number of records in a batch.
func (x *Index) BatchSize() int { return int(x.summary.BatchSize) }

// Batch reads the entry of batch n, from 1 to Batches.
func (x *Index) Batch(n int) (Batch, error) {
	if n < 1 || n > x.Batches() {
		return Batch{}, fmt.Errorf("there is no batch %d; expected 1 to %d", n, x.Batches())
	}
	entry := make([]byte, entrySize(x.summary.BatchSize))
	if _, err := x.f.ReadAt(entry, x.block+int64(n-1)*int64(len(entry))); err != nil {
		return Batch{}, fmt.Errorf("read the index entry of batch %d: %w", n, err)
	}
	b, ok := decodeEntry(entry)
	if !ok || b.Number != n {
		return Batch{}, fmt.Errorf("batch %d: %w", n, ErrIndexCorrupt)
	}
	b.delimiter = x.header.Delimiter
	return b, nil
}

// Close releases the file.
func (x *Index) Close() error { return x.f.Close() }

func appendEntry(dst []byte, b Batch) []byte {
	start := len(dst)
	for _, v := range []int64{int64(b.Number), b.FirstRecord, b.FirstLine, b.LastLine, int64(b.Records), b.Offset, b.Length} {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
	}
	dst = append(dst, b.Digest[:]...)
	dst = append(dst, b.keyless...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func decodeEntry(e []byte) (Batch, bool) {
	body := e[:len(e)-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(e[len(body):]) {
		return Batch{}, false
	}
	v := func(i int) int64 { return int64(binary.LittleEndian.Uint64(body[8*i:])) }
	b := Batch{Number: int(v(0)), FirstRecord: v(1), FirstLine: v(2), LastLine: v(3), Records: int(v(4)), Offset: v(5), Length: v(6)}
	copy(b.Digest[:], body[7*8:])
	b.keyless = string(bytes.TrimRight(body[7*8+len(b.Digest):], "\x00"))
	return b, true
}

// blockSize is the length of the header block.
func blockSize(h *Header) int { return blockFixed + len(h.Raw) + 1 + 4 }

// indexWriter writes an index while the input is read.
type indexWriter struct {
	file    *store.Writer
	header  *Header
	scratch []byte
}

func newIndexWriter(path string, h *Header) (*indexWriter, error) {
	file, err := store.NewWriter(path)
	if err != nil {
		return nil, err
	}
	// Room for the header block, which is known last.
	if _, err := file.Write(make([]byte, blockSize(h))); err != nil {
		file.Discard()
		return nil, err
	}
	return &indexWriter{file: file, header: h}, nil
}

func (w *indexWriter) add(b Batch) error {
	w.scratch = appendEntry(w.scratch[:0], b)
	_, err := w.file.Write(w.scratch)
	return err
}

// seal writes the header block.
func (w *indexWriter) seal(s indexSummary) error {
	block := append([]byte(nil), indexMagic...)
	block = binary.LittleEndian.AppendUint32(block, indexVersion)
	block = binary.LittleEndian.AppendUint32(block, uint32(blockSize(w.header)))
	block, err := binary.Append(block, binary.LittleEndian, s)
	if err != nil {
		return err
	}
	block = append(block, w.header.Raw...)
	block = append(block, w.header.Delimiter.byte())
	block = binary.LittleEndian.AppendUint32(block, crc32.Checksum(block, castagnoli))
	_, err = w.file.WriteAt(block, 0)
	return err
}
