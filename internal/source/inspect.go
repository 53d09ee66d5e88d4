// Package source reads the CSV file of a migration: it checks the file, cuts it into batches, and returns their records,
// always as the original bytes of the file.
//
// The rules are those of RFC 4180, extended by what real exports contain. Fields are separated by commas, or another
// delimiter, and may be quoted, with quotes doubled and line breaks inside. Lines end in LF or CRLF; the last may have no
// end. Empty lines are skipped. A byte order mark is skipped. Values are byte for byte those of the file: encoding/csv
// would turn a CRLF in quotes into LF, and dataload.py does.
package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"os"
	"slices"

	"durable-dataload/internal/store"
)

// InspectOptions controls how a file is cut into batches and what Inspect writes.
type InspectOptions struct {
	// BatchSize is the maximum number of records in a batch; at least 1.
	BatchSize int
	// CutAfter is the number of records in the first batches: the next one, which must exist, begins a batch. 0 means
	// no cut.
	CutAfter int

	// Delimiter separates the fields.
	Delimiter Delimiter

	// Name is the name of the file in refusals; the base name of its path if empty.
	Name string

	// Header, if set, is called with the header before the records are read. Its error ends the inspection, and Inspect
	// returns it.
	Header func(h *Header) error

	// StartAt is the number of the first record to include, from 1 (0 means 1). Earlier ones are in no batch.
	StartAt int64

	// MaxEncoded is the largest encoded size of a batch in bytes: the sum of EncodedSize over its records. A record
	// that exceeds it alone gets a separate batch. 0 means no limit. The caller must leave room for the rest of the
	// request.
	MaxEncoded int64

	// EncodedSize is the exact size of a record in a request, with its separator; 0 if it will not be sent. It has to
	// be a function of its arguments and at most EncodedBound, because a batch that is within MaxEncoded by that bound
	// is taken without calling it. r.Raw is valid during the call.
	EncodedSize func(h *Header, r Record) int64

	// Keyless, if set, selects the records that are marked as keyless in the index. It must be a function of its
	// arguments. r.Raw is valid during the call.
	Keyless func(h *Header, r Record) bool

	// Unbounded means that EncodedSize may exceed EncodedBound: it is then called for every record.
	Unbounded bool

	// IndexPath, if set, is the path of the index, with mode 0600. It appears complete and durable, as the last step, or
	// not at all.
	IndexPath string

	// CopyTo, if set, is the path of a byte-exact copy of the file, made in the same pass, with mode 0600. It appears
	// complete and durable before the index does.
	CopyTo string

	// Progress, if set, is called after every chunk of about 1 MiB with the bytes and records read so far, including
	// skipped ones.
	Progress func(bytes, records int64)
}

// Summary is the result of Inspect.
type Summary struct {
	Header  *Header
	SHA256  string // of the whole file, in hexadecimal
	Size    int64  // of the whole file in bytes
	Records int64  // in batches
	Skipped int64  // before StartAt
	Batches int
}

// Inspect reads a file once, from start to end, and refuses it or cuts it into batches. The error is a *Refusal if the
// file is not usable: not UTF-8, another format, no header, a header whose names cannot be attributes or that matches no
// record, an unclosed quote, a record of more than 64 MiB, StartAt or CutAfter after the last record. A record with the
// wrong number of fields or a misplaced quote is in a batch like any other; Fields returns its error. A file with a header
// and no record is valid.
//
// Memory use does not depend on the size of the file: a chunk of 1 MiB, or a few times the longest record. If ctx ends,
// Inspect ends at the next chunk with the cause. A refused file leaves IndexPath and CopyTo unchanged, and a new index
// means that everything succeeded.
//
// The names of the files are those of package store. An object of a bucket does not change while it is read.
func Inspect(ctx context.Context, path string, o InspectOptions) (*Summary, error) {
	if o.Name == "" {
		o.Name = store.Base(path)
	}
	for _, out := range []string{o.IndexPath, o.CopyTo} {
		if isSameFile(out, path) {
			return nil, fmt.Errorf("inspect: %s would overwrite the input", out)
		}
	}
	if store.IsURL(path) {
		object, err := store.Stream(ctx, path)
		if err != nil {
			return nil, err
		}
		defer object.Close()
		return inspect(ctx, object, o, nil)
	}
	before, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() { // without opening it: opening a pipe would block
		return nil, &Refusal{File: o.Name, Kind: NotUsable, Reason: "this is not a regular file; expected a CSV file that can be read again; give the file itself"}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return inspect(ctx, f, o, func(size int64) (bool, error) {
		after, err := f.Stat()
		return err == nil && (after.Size() != size || !after.ModTime().Equal(before.ModTime())), err
	})
}

// InspectReader is Inspect for a reader.
func InspectReader(ctx context.Context, r io.Reader, o InspectOptions) (*Summary, error) {
	return inspect(ctx, r, o, nil)
}

// inspect reads to the end, and then checks whether the file has changed meanwhile.
func inspect(ctx context.Context, r io.Reader, o InspectOptions, hasChanged func(size int64) (bool, error)) (_ *Summary, err error) {
	if o.StartAt == 0 {
		o.StartAt = 1
	}
	if o.BatchSize < 1 || o.StartAt < 1 || o.MaxEncoded < 0 || (o.MaxEncoded > 0 && o.EncodedSize == nil) {
		return nil, fmt.Errorf("inspect: batch size %d, start at %d, limit %d: expected positive numbers, and a way to measure for a limit", o.BatchSize, o.StartAt, o.MaxEncoded)
	}
	i := &inspection{options: o, digest: sha256.New(), batchDigest: sha256.New()}
	if o.CopyTo != "" {
		if i.copy, err = store.NewWriter(o.CopyTo); err != nil {
			return nil, err
		}
		defer i.copy.Discard()
	}
	i.scanner = newScanner(r, o.Delimiter, func(chunk []byte) error { return i.read(ctx, chunk) })
	defer i.discardIndex()
	if err := i.run(); err != nil {
		return nil, err
	}
	if hasChanged != nil {
		changed, err := hasChanged(i.size)
		if err != nil {
			return nil, err
		}
		if changed {
			return nil, i.refuse(0, "the file changed while it was read; expected a finished file; wait until it is complete")
		}
	}
	return i.publish(ctx)
}

func isSameFile(out, in string) bool {
	if out == in {
		return true
	}
	outInfo, outErr := os.Stat(out)
	inInfo, inErr := os.Stat(in)
	return outErr == nil && inErr == nil && os.SameFile(outInfo, inInfo)
}

// inspection is one run of Inspect.
type inspection struct {
	options InspectOptions
	scanner *scanner
	copy    *store.Writer
	index   *indexWriter
	header  *Header

	headerLine int64
	shapes     shapes

	digest  hash.Hash
	size    int64 // bytes read
	records int64 // cut, with the skipped ones
	batches int

	batch       Batch  // the one being filled, if Records > 0
	marks       []byte // of its keyless records
	keyless     int64  // records, in all batches
	batchDigest hash.Hash
	cutter      *Cutter
}

// run is the pass over the file.
func (i *inspection) run() error {
	if err := i.readHeader(); err != nil {
		return err
	}
	if i.options.IndexPath != "" {
		var err error
		if i.index, err = newIndexWriter(i.options.IndexPath, i.header); err != nil {
			return err
		}
	}
	return i.readRecords()
}

func (i *inspection) readHeader() error {
	start, err := i.scanner.skipBOM()
	if err != nil {
		return err
	}
	if reason := looksLike(start); reason != "" {
		return i.refuse(1, reason)
	}
	for {
		p, err := i.next()
		if errors.Is(err, io.EOF) {
			return i.refuseEmpty()
		}
		if err != nil {
			return err
		}
		if p.blank {
			continue
		}
		header, reason := parseHeader(p.raw, i.options.Delimiter)
		if reason != "" {
			return i.refuse(p.line, reason)
		}
		i.header, i.headerLine = header, p.line
		i.cutter = NewCutter(header, i.options)
		if i.options.Header != nil {
			return i.options.Header(header)
		}
		return nil
	}
}

func (i *inspection) readRecords() error {
	for {
		p, err := i.next()
		if errors.Is(err, io.EOF) {
			if err := i.shapes.refuse(i); err != nil {
				return err
			}
			return i.closeBatch()
		}
		if err != nil {
			return err
		}
		if !p.blank {
			i.records++
			i.shapes.see(i.header, p.raw)
			if i.records < i.options.StartAt {
				continue
			}
			if err := i.place(p); err != nil {
				return err
			}
		}
		if i.batch.Records > 0 {
			i.batch.Length += int64(len(p.raw))
			i.batchDigest.Write(p.raw)
		}
	}
}

// next returns the scanner's next piece, valid UTF-8, or a Refusal.
func (i *inspection) next() (piece, error) {
	p, err := i.scanner.next()
	if err == nil {
		return p, i.checkUTF8(p.raw, p.line)
	}
	var unclosed *unclosedError
	switch {
	case errors.As(err, &unclosed):
		if i.scanner.eof {
			if err := i.checkUTF8(unclosed.record, unclosed.line); err != nil {
				return piece{}, err
			}
		}
		return piece{}, i.refuseUnclosed(unclosed)
	case errors.Is(err, errRecordTooLong):
		return piece{}, i.refuseTooLong()
	}
	return piece{}, err
}

func (i *inspection) checkUTF8(b []byte, line int64) error {
	if line, column, bad := badUTF8(b, line); bad {
		return i.refuseAs(NotUTF8, line, fmt.Sprintf("byte %d of the line is not UTF-8; expected UTF-8 in the whole file; %s, or name the encoding with --encoding", column, saveAsUTF8))
	}
	return nil
}

func (i *inspection) refuseUnclosed(u *unclosedError) error {
	before := "the end of the file"
	if !i.scanner.eof {
		before = fmt.Sprintf("%d MiB later", maxRecord>>20)
	}
	column := 1
	for pos := 0; pos < u.open; column++ {
		pos = fieldAt(u.record, pos, i.options.Delimiter.byte()).next
	}
	return i.refuseAs(OpenQuote, u.line+lines(u.record[:u.open]),
		fmt.Sprintf("column %d opens a quote that is not closed before %s; expected a closing quote; close it, and double each quote that belongs to a value", column, before))
}

func (i *inspection) refuseEmpty() error {
	return i.refuse(0, "the file is empty; expected a header with the attribute names, and then the records; check the export")
}

func (i *inspection) refuseTooLong() error {
	return i.refuse(i.scanner.line, fmt.Sprintf("there is no line end in %d MiB; expected LF or CRLF line ends; convert the line ends (old Macintosh programs write CR alone)", maxRecord>>20))
}

// place adds a record to the batch, or closes the batch and starts the next.
func (i *inspection) place(p piece) error {
	r := Record{Number: i.records, Line: p.line, Raw: p.raw}
	if i.cutter.Begins(r) {
		if err := i.closeBatch(); err != nil {
			return err
		}
		i.batches++
		i.batch = Batch{Number: i.batches, FirstRecord: r.Number, FirstLine: r.Line, Offset: p.offset}
	}
	i.mark(r)
	i.batch.Records++
	i.batch.LastLine = i.scanner.line - 1
	if p.raw[len(p.raw)-1] != '\n' {
		i.batch.LastLine++
	}
	return nil
}

// mark marks the next record of the batch, if it is keyless.
func (i *inspection) mark(r Record) {
	if i.options.Keyless == nil || !i.options.Keyless(i.header, r) {
		return
	}
	if i.marks == nil {
		i.marks = make([]byte, (i.options.BatchSize+7)/8)
	}
	i.marks[i.batch.Records/8] |= 1 << (i.batch.Records % 8)
	i.keyless++
}

func (i *inspection) closeBatch() error {
	if i.batch.Records == 0 {
		return nil
	}
	i.batchDigest.Sum(i.batch.Digest[:0])
	i.batchDigest.Reset()
	b := i.batch
	i.batch = Batch{}
	if i.index == nil {
		return nil
	}
	if i.marks == nil {
		i.marks = make([]byte, (i.options.BatchSize+7)/8)
	}
	b.keyless = string(i.marks)
	clear(i.marks)
	return i.index.add(b)
}

// read sees every chunk of the file.
func (i *inspection) read(ctx context.Context, chunk []byte) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	i.digest.Write(chunk)
	i.size += int64(len(chunk))
	if i.copy != nil {
		if _, err := i.copy.Write(chunk); err != nil {
			return err
		}
	}
	if i.options.Progress != nil {
		i.options.Progress(i.size, i.records)
	}
	return nil
}

func (i *inspection) publish(ctx context.Context) (*Summary, error) {
	if err := CheckSelection(i.options.Name, i.records, i.options.StartAt, i.options.CutAfter); err != nil {
		return nil, err
	}
	skipped := min(i.records, i.options.StartAt-1)
	sum := indexSummary{
		SHA256: [32]byte(i.digest.Sum(nil)), Size: i.size, Records: i.records - skipped, Skipped: skipped,
		StartAt: i.options.StartAt, Batches: int64(i.batches), BatchSize: int64(i.options.BatchSize),
		Keyless: i.keyless,
	}
	if i.copy != nil {
		if err := i.copy.Commit(ctx); err != nil {
			return nil, err
		}
	}
	if i.index != nil {
		if err := i.index.publish(ctx, sum); err != nil {
			return nil, err
		}
	}
	return &Summary{
		Header: i.header, SHA256: hex.EncodeToString(sum.SHA256[:]), Size: sum.Size,
		Records: sum.Records, Skipped: sum.Skipped, Batches: i.batches,
	}, nil
}

func (i *inspection) discardIndex() {
	if i.index != nil {
		i.index.file.Discard()
	}
}

func (i *inspection) refuse(line int64, reason string) error {
	return i.refuseAs(NotUsable, line, reason)
}

func (i *inspection) refuseAs(kind RefusalKind, line int64, reason string) error {
	return &Refusal{File: i.options.Name, Line: line, Reason: reason, Kind: kind}
}

var errHeadRead = errors.New("the head was read")

// Head reads the header and the first n records from StartAt on, and little more of the file. The only other options it
// uses are those for reading the file. It refuses what Inspect refuses there; it may not see errors further down.
func Head(ctx context.Context, path string, n int, o InspectOptions) (*Header, []Record, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var header *Header
	var records []Record
	o.BatchSize, o.CutAfter, o.MaxEncoded, o.Unbounded = math.MaxInt32, 0, math.MaxInt64, true
	o.IndexPath, o.CopyTo, o.Progress = "", "", nil
	o.EncodedSize = func(h *Header, r Record) int64 {
		header = h
		if len(records) < n {
			r.Raw = slices.Clone(r.Raw)
			records = append(records, r)
		}
		if len(records) >= n {
			cancel(errHeadRead)
		}
		return 0
	}
	summary, err := Inspect(ctx, path, o)
	switch {
	case header != nil && len(records) >= n: // whatever follows them
		return header, records, nil
	case err != nil:
		return nil, nil, err
	}
	return summary.Header, records, nil
}

// Digest is the SHA-256 of a file in hexadecimal, and the file's size in bytes. If ctx ends, it ends with the cause.
func Digest(ctx context.Context, path string) (sha256hex string, size int64, err error) {
	f, err := store.Stream(ctx, path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	digest, chunk := sha256.New(), make([]byte, chunkSize)
	for {
		if err := context.Cause(ctx); err != nil {
			return "", 0, err
		}
		n, err := f.Read(chunk)
		digest.Write(chunk[:n])
		size += int64(n)
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(digest.Sum(nil)), size, nil
		}
		if err != nil {
			return "", 0, err
		}
	}
}
