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

// ReadCopy is ReadBatch for a migration's own copy of the input, which nobody else changes.
func ReadCopy(f io.ReaderAt, b Batch) ([]byte, error) {
	data, err := ReadBatch(f, b)
	if errors.Is(err, ErrInputChanged) {
		err = fmt.Errorf("the migration's own copy of the input is damaged: %w", err)
	}
	return data, err
}

// nameOf is the name of a file for an error text, followed by a comma, or nothing if it has none.
func nameOf(f any) string {
	if named, ok := f.(interface{ Name() string }); ok {
		return store.Base(named.Name()) + ", "
	}
	return ""
}

// Cutter cuts a file into batches; all callers use it, so that they agree on the boundaries. It takes the records of a
// file in order, from StartAt on.
type Cutter struct {
	o       InspectOptions
	header  *Header
	names   int64           // headerBound
	records int             // of the batch
	size    int64           // of the batch: exact for measured records, a bound for the others
	bounded []boundedRecord // those that count with a bound
	raw     []byte          // of the records in bounded, since the scanner reuses its buffer; at most an eighth of the limit
}

// boundedRecord is a record that counts with the bound of its size; its bytes are raw[from:to].
type boundedRecord struct {
	number, line int64
	from, to     int
	bound        int64
}

// NewCutter returns a cutter for records with this header. It uses the options BatchSize, CutAfter, StartAt, MaxEncoded,
// EncodedSize and Unbounded.
func NewCutter(h *Header, o InspectOptions) *Cutter {
	o.StartAt = max(1, o.StartAt)
	return &Cutter{o: o, header: h, names: headerBound(h.Names)}
}

// bound is EncodedBound.
func (c *Cutter) bound(raw []byte) int64 { return c.names + textBound(raw) }

// Begins reports whether the next record begins a batch. size is that of its Measure.
func (c *Cutter) Begins(r Record, size int64) bool {
	if c.records == c.o.BatchSize || c.o.CutAfter > 0 && r.Number == c.o.StartAt+int64(c.o.CutAfter) {
		c.reset()
	}
	if c.o.MaxEncoded > 0 && !c.fits(r, size) {
		c.records = 0
	}
	c.records++
	return c.records == 1
}

func (c *Cutter) reset() {
	c.records, c.size, c.bounded, c.raw = 0, 0, c.bounded[:0], c.raw[:0]
}

// fits adds a record to the batch and returns true; or, if it does not fit, starts a new batch with the record and
// returns false.
func (c *Cutter) fits(r Record, size int64) bool {
	limit, measure, bound := c.o.MaxEncoded, c.o.EncodedSize, size
	if c.o.Unbounded {
		return c.fitsExactly(size)
	}
	if c.size+bound <= limit {
		c.addBound(r, bound)
		return true
	}
	for _, b := range c.bounded {
		c.size += measure(c.header, Record{Number: b.number, Line: b.line, Raw: c.raw[b.from:b.to]}) - b.bound
	}
	c.bounded, c.raw = c.bounded[:0], c.raw[:0]
	if c.size+bound <= limit {
		c.addBound(r, bound)
		return true
	}
	return c.fitsExactly(measure(c.header, r))
}

func (c *Cutter) fitsExactly(exact int64) bool {
	if c.size+exact <= c.o.MaxEncoded {
		c.size += exact
		return true
	}
	c.reset()
	c.size = exact
	return false
}

func (c *Cutter) addBound(r Record, bound int64) {
	from := len(c.raw)
	c.raw = append(c.raw, r.Raw...)
	c.bounded = append(c.bounded, boundedRecord{number: r.Number, line: r.Line, from: from, to: len(c.raw), bound: bound})
	c.size += bound
}

// EncodedBound is an upper bound, in bytes, of a record that is encoded as JSON by the built-in mapping and then
// percent-encoded for a form. It is computed from the bytes alone, which is a fraction of the work of encoding them, and for
// usual records within a third of what the names leave open.
func EncodedBound(h *Header, raw []byte) int64 { return headerBound(h.Names) + textBound(raw) }

// headerBound is the size of the names in each record: each in quotes with a colon, a comma, and the quotes of its value;
// a dot in one becomes "%22%3A%7B%22…%7D"; and a short value may become a longer one (a gender, a date) in each
// column.
func headerBound(names []string) int64 {
	const aName, aDot, aValue = 18, 16, 64
	bound := int64(16)
	for _, name := range names {
		bound += aName + aValue + textBound([]byte(name))
		for i := range len(name) {
			if name[i] == '.' {
				bound += aDot
			}
		}
	}
	return bound
}

func textBound(text []byte) (bound int64) {
	for _, b := range text {
		bound += int64(byteBound[b])
	}
	return bound
}

// byteBound is the maximum encoded size of a byte: itself, %XX, %5C%22 for a quote, %5Cu0001 for a control character.
var byteBound = func() (t [256]uint8) {
	for b := range t {
		switch {
		case b < ' ' || b == 0x7F:
			t[b] = 8
		case b == '"' || b == '\\':
			t[b] = 6
		case b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b == '-' || b == '_' || b == '.' || b == '~' || b == ' ':
			t[b] = 1
		default:
			t[b] = 3
		}
	}
	return t
}()
