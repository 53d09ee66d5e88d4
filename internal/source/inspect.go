// Package source reads the CSV file of a migration: it checks the file, cuts it into batches, and returns their records,
// always as the original bytes of the file.
//
// The rules are those of RFC 4180, extended by what real exports contain. Fields are separated by commas, or another
// delimiter, and may be quoted, with quotes doubled and line breaks inside. Lines end in LF or CRLF; the last may have no
// end. Empty lines are skipped. A byte order mark is skipped. Values are byte for byte those of the file: encoding/csv
// would turn a CRLF in quotes into LF, and dataload.py does.
package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
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

	// Own means that this program wrote the file, with a header that it has accepted before. So it is not asked whether the
	// file is of another format, or whether its header is wrong: a file of failed records may consist of malformed ones.
	// The bytes are checked like those of any file.
	Own bool

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
	// is taken without calling it. r.Raw is valid during the call. Calls are concurrent.
	EncodedSize func(h *Header, r Record) int64

	// Keyless, if set, selects the records that are marked as keyless in the index. It must be a function of its
	// arguments. r.Raw is valid during the call. Calls are concurrent.
	Keyless func(h *Header, r Record) bool

	// Unbounded means that EncodedSize may exceed EncodedBound: it is then called for every record.
	Unbounded bool

	// IndexPath, if set, is the path of the index, with mode 0600. It appears complete and durable, as the last step, or
	// not at all.
	IndexPath string

	// Plan identifies what else the index depends on.
	Plan Plan

	// CopyTo, if set, is the path of a byte-exact copy of the file, made in the same pass, with mode 0600. It appears
	// complete and durable before the index does.
	CopyTo string

	// Progress, if set, is called several times a mebibyte with the bytes and records read so far, including skipped ones.
	Progress func(bytes, records int64)
}

// Plan is a digest of what the functions of InspectOptions depend on, as MaxEncoded and CutAfter. It is kept in the index: one
// with the same input, plan, batch size and start has the same batches.
type Plan [sha256.Size]byte

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
// It uses all cores, and the result does not depend on their number. Memory use does not depend on the size of the file:
// 1 MiB for each core, or a few times the longest record. If ctx ends, Inspect ends soon with the cause. A refused file leaves IndexPath and CopyTo unchanged, and a new index
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
	i := &inspection{options: o, digest: sha256.New(), strict: true}
	if o.CopyTo != "" {
		if i.copy, err = store.NewWriter(o.CopyTo); err != nil {
			return nil, err
		}
		defer i.copy.Discard()
	}
	i.scanner = newScanner(r, o.Delimiter, func(chunk []byte) error { return i.read(ctx, chunk) })
	if err := i.readHeader(); err != nil {
		return nil, err
	}
	batches, err := NewBatcher(i.header, o)
	if err != nil {
		return nil, err
	}
	defer batches.Discard()
	if err := i.readRecords(ctx, batches); err != nil {
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
	if err := CheckSelection(o.Name, i.records, o.StartAt, o.CutAfter); err != nil {
		return nil, err
	}
	sum := i.summary(batches)
	if i.copy != nil {
		if err := i.copy.Commit(ctx); err != nil {
			return nil, err
		}
	}
	return sum, batches.commit(ctx, sum)
}

func isSameFile(out, in string) bool {
	if out == in {
		return true
	}
	outInfo, outErr := os.Stat(out)
	inInfo, inErr := os.Stat(in)
	return outErr == nil && inErr == nil && os.SameFile(outInfo, inInfo)
}

// inspection is one pass over a file.
type inspection struct {
	options InspectOptions
	strict  bool // it ends with the first refusal
	scanner *scanner
	copy    *store.Writer
	draft   *Draft
	header  *Header

	headerLine int64
	shapes     shapes

	digest  hash.Hash
	size    int64 // bytes read
	records int64 // cut, with the skipped ones
	ended   bool  // the rest cannot be read
}

func (i *inspection) readHeader() error {
	start, err := i.scanner.skipBOM()
	if err != nil {
		return err
	}
	if !i.options.Own {
		if reason := looksLike(start); reason != "" {
			return i.refuse(1, reason)
		}
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
		if i.options.Header != nil {
			return i.options.Header(header)
		}
		return nil
	}
}

// readRecords reads what is below the header.
func (i *inspection) readRecords(ctx context.Context, batches *Batcher) error {
	err := pass(ctx, i,
		func() func(*Block, []Measure) []Measure {
			return func(b *Block, measured []Measure) []Measure { return batches.measure(b, measured) }
		},
		func(b *Block, measured []Measure) error {
			for k := range b.pieces {
				p := &b.pieces[k]
				if len(p.refusals) > 0 {
					return p.refusals[0]
				}
				if !p.blank && !i.options.Own {
					i.shapes.see(i.header, p.raw)
				}
			}
			return batches.Add(b, measured, nil)
		})
	if err == nil {
		err = i.shapes.refuse(i)
	}
	if err == nil {
		err = batches.end()
	}
	return err
}

func (i *inspection) summary(b *Batcher) *Summary {
	return &Summary{
		Header: i.header, SHA256: hex.EncodeToString(i.digest.Sum(nil)), Size: i.size,
		Records: i.records - b.skipped, Skipped: b.skipped, Batches: b.batches,
	}
}

// next returns the scanner's next piece, valid UTF-8, or a Refusal.
func (i *inspection) next() (piece, error) {
	p, err := i.scanner.next()
	var unclosed *unclosedError
	switch {
	case errors.As(err, &unclosed):
		return piece{}, i.refuseUnclosed(unclosed)[0]
	case errors.Is(err, errRecordTooLong):
		return piece{}, i.refuseTooLong()
	case err != nil:
		return piece{}, err
	}
	if bad := i.notUTF8(p.raw, p.line); len(bad) > 0 {
		return piece{}, bad[0]
	}
	return p, nil
}

// notUTF8 refuses each line of a piece that is not UTF-8; a strict inspection only the first.
func (i *inspection) notUTF8(b []byte, line int64) (refusals []*Refusal) {
	for {
		bad, column, isBad := badUTF8(b, line)
		if !isBad {
			return refusals
		}
		refusals = append(refusals, i.refuseAs(NotUTF8, bad, fmt.Sprintf("byte %d of the line is not UTF-8; expected UTF-8 in the whole file; %s, or name the encoding with --encoding", column, saveAsUTF8)))
		if i.strict {
			return refusals
		}
		for ; line <= bad; line++ {
			_, b, _ = bytes.Cut(b, []byte{'\n'})
		}
	}
}

// refuseUnclosed refuses an open quote. A strict inspection says first that the end of the file is not UTF-8: that may be
// why the quote seems open.
func (i *inspection) refuseUnclosed(u *unclosedError) []*Refusal {
	if i.strict && u.atEnd {
		if bad := i.notUTF8(u.record, u.line); len(bad) > 0 {
			return bad
		}
	}
	before := "the end of the file"
	if !u.atEnd {
		before = fmt.Sprintf("%d MiB later", maxRecord>>20)
	}
	column := 1
	for pos := 0; pos < u.open; column++ {
		pos = fieldAt(u.record, pos, i.options.Delimiter.byte()).next
	}
	return []*Refusal{i.refuseAs(OpenQuote, u.line+lines(u.record[:u.open]),
		fmt.Sprintf("column %d opens a quote that is not closed before %s; expected a closing quote; close it, and double each quote that belongs to a value", column, before))}
}

func (i *inspection) refuseEmpty() *Refusal {
	return i.refuse(0, "the file is empty; expected a header with the attribute names, and then the records; check the export")
}

func (i *inspection) refuseTooLong() *Refusal {
	return i.refuse(i.scanner.line, fmt.Sprintf("there is no line end in %d MiB; expected LF or CRLF line ends; convert the line ends (old Macintosh programs write CR alone)", maxRecord>>20))
}

// read sees every chunk up to the header.
func (i *inspection) read(ctx context.Context, chunk []byte) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	i.size += int64(len(chunk))
	if err := i.take(chunk); err != nil {
		return err
	}
	i.progress()
	return nil
}

// take digests and copies the next bytes of the file.
func (i *inspection) take(chunk []byte) error {
	i.digest.Write(chunk)
	if i.draft != nil {
		i.draft.write(chunk)
	}
	if i.copy == nil {
		return nil
	}
	_, err := i.copy.Write(chunk)
	return err
}

func (i *inspection) progress() {
	if i.options.Progress != nil {
		i.options.Progress(i.size, i.records)
	}
}

func (i *inspection) refuse(line int64, reason string) *Refusal {
	return i.refuseAs(NotUsable, line, reason)
}

func (i *inspection) refuseAs(kind RefusalKind, line int64, reason string) *Refusal {
	return &Refusal{File: i.options.Name, Line: line, Reason: reason, Kind: kind}
}

// Head reads the header and the first n records from StartAt on, and little more of the file. The only other options it
// uses are those for reading the file. It refuses what Inspect refuses there; it may not see errors further down.
func Head(ctx context.Context, path string, n int, o InspectOptions) (*Header, []Record, error) {
	o.StartAt = max(1, o.StartAt)
	if o.Name == "" {
		o.Name = store.Base(path)
	}
	f, err := store.Stream(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	i := &inspection{options: InspectOptions{Delimiter: o.Delimiter, Name: o.Name}, strict: true, digest: sha256.New()}
	i.scanner = newScanner(f, o.Delimiter, func(chunk []byte) error { return i.read(ctx, chunk) })
	if err := i.readHeader(); err != nil {
		return nil, nil, err
	}
	var records []Record
	for len(records) < n {
		p, err := i.next()
		if errors.Is(err, io.EOF) {
			if err := i.shapes.refuse(i); err != nil {
				return nil, nil, err
			}
			return i.header, records, CheckSelection(o.Name, i.records, o.StartAt, 0)
		}
		if err != nil {
			return nil, nil, err
		}
		if p.blank {
			continue
		}
		i.records++
		i.shapes.see(i.header, p.raw)
		if i.records >= o.StartAt {
			records = append(records, Record{Number: i.records, Line: p.line, Raw: slices.Clone(p.raw)})
		}
	}
	return i.header, records, nil
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
