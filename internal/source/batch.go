package source

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"durable-dataload/internal/store"
)

// ErrInputChanged means that the file is not the one that was inspected.
var ErrInputChanged = errors.New("the input has changed since it was inspected")

// Batch is a range of the file: consecutive records that travel in one call. It ends where the next one begins, so
// empty lines after a record belong to its batch.
type Batch struct {
	Number      int   // 1 for the first
	FirstRecord int64 // number of its first record
	FirstLine   int64 // physical line on which its first record starts
	LastLine    int64 // physical line on which its last record ends
	Records     int
	Offset      int64 // of its first byte in the file
	Length      int64 // in bytes
	Digest      [sha256.Size]byte

	delimiter Delimiter // of the file; set by Index.Batch
	keyless   string    // a bit for each record, the lowest first
}

// Keyless reports whether record i of the batch, from 0, is marked as keyless: see InspectOptions.Keyless.
func (b Batch) Keyless(i int) bool { return i/8 < len(b.keyless) && b.keyless[i/8]&(1<<(i%8)) != 0 }

// ReadBatch reads the bytes of a batch from the file that was inspected, or from its copy, and checks their
// digest. If they differ from the inspected bytes, the error is ErrInputChanged. It is safe for concurrent use
// if f is, as an *os.File is.
func ReadBatch(f io.ReaderAt, b Batch) ([]byte, error) {
	data := make([]byte, b.Length)
	n, err := f.ReadAt(data, b.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read lines %d-%d: %w", b.FirstLine, b.LastLine, err)
	}
	if n < len(data) || sha256.Sum256(data) != b.Digest {
		return nil, fmt.Errorf("%slines %d-%d (batch %d): %w; expected the same bytes; restore the file, or start a new migration with the changed one",
			nameOf(f), b.FirstLine, b.LastLine, b.Number, ErrInputChanged)
	}
	return data, nil
}

// nameOf is the name of a file for an error text, followed by a comma, or nothing if it has none.
func nameOf(f any) string {
	if named, ok := f.(interface{ Name() string }); ok {
		return store.Base(named.Name()) + ", "
	}
	return ""
}
