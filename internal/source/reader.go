package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"durable-dataload/internal/store"
)

// ReaderOptions describes the format of a file, and the callbacks of a Reader.
type ReaderOptions struct {
	// Delimiter and Name are those of InspectOptions.
	Delimiter Delimiter
	Name      string

	// Refused is called for each reason for which Inspect would refuse the file, in the order of the file.
	Refused func(*Refusal)

	// Progress, if set, is called after every chunk of about 1 MiB with the bytes and records read so far.
	Progress func(bytes, records int64)
}

// Reader reads a file once, record by record, and continues where Inspect refuses the file, to report all errors and not
// only the first. It splits a file that Inspect accepts into the same records.
//
// Invalid UTF-8 in a record is reported line by line. An unclosed quote ends with its line, as a guess: the following
// lines are records again. Reading stops only in a file of another format, or without line ends. Memory use is that of
// Inspect.
type Reader struct {
	i       *inspection
	file    io.Closer
	refused func(*Refusal)
	ended   bool // the rest cannot be read
}

// OpenReader opens a file and reads its header. The error is one of reading the file.
func OpenReader(ctx context.Context, path string, o ReaderOptions) (*Reader, error) {
	f, err := store.Stream(ctx, path)
	if err != nil {
		return nil, err
	}
	r := &Reader{file: f, refused: o.Refused}
	if o.Name == "" {
		o.Name = store.Base(path)
	}
	r.i = &inspection{options: InspectOptions{Delimiter: o.Delimiter, Name: o.Name, Progress: o.Progress}, digest: sha256.New()}
	r.i.scanner = newScanner(f, o.Delimiter, func(chunk []byte) error { return r.i.read(ctx, chunk) })
	if err := r.readHeader(); err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// Header is the file's header, nil if it was refused.
func (r *Reader) Header() *Header { return r.i.header }

// Next returns the next record that was not refused; its bytes are valid until the next call. io.EOF means that there is
// none, and that the whole file was read unless a refusal says otherwise. Refused records are counted too.
func (r *Reader) Next() (Record, error) {
	for {
		p, good, err := r.next()
		if errors.Is(err, io.EOF) && !r.ended && r.i.header != nil {
			r.refuse(r.i.shapes.refuse(r.i))
			r.ended = true
		}
		if err != nil {
			return Record{}, err
		}
		if p.blank {
			continue
		}
		r.i.records++
		if r.i.header != nil {
			r.i.shapes.see(r.i.header, p.raw)
		}
		if good {
			return Record{Number: r.i.records, Line: p.line, Raw: p.raw}, nil
		}
	}
}

// Records is the number of records so far, including refused ones.
func (r *Reader) Records() int64 { return r.i.records }

// Size is the number of bytes read.
func (r *Reader) Size() int64 { return r.i.size }

// SHA256 is the digest of what was read, in hexadecimal: that of the file once Next has returned io.EOF.
func (r *Reader) SHA256() string { return hex.EncodeToString(r.i.digest.Sum(nil)) }

// Close releases the file.
func (r *Reader) Close() error { return r.file.Close() }

func (r *Reader) readHeader() error {
	start, err := r.i.scanner.skipBOM()
	if err != nil {
		return err
	}
	if reason := looksLike(start); reason != "" {
		r.refuse(r.i.refuse(1, reason))
		r.ended = true
		return nil
	}
	for {
		p, good, err := r.next()
		if errors.Is(err, io.EOF) {
			if !r.ended { // else it was refused for something else
				r.refuse(r.i.refuseEmpty())
			}
			return nil
		}
		if err != nil || !good {
			return err
		}
		if p.blank {
			continue
		}
		header, reason := parseHeader(p.raw, r.i.options.Delimiter)
		if reason != "" {
			r.refuse(r.i.refuse(p.line, reason))
			return nil
		}
		r.i.header, r.i.headerLine = header, p.line
		return nil
	}
}

// next returns the next piece, and whether it is usable.
func (r *Reader) next() (p piece, good bool, err error) {
	if r.ended {
		return p, false, io.EOF
	}
	p, err = r.i.scanner.next()
	var unclosed *unclosedError
	switch {
	case err == nil:
		return p, r.checkUTF8(p), nil
	case errors.As(err, &unclosed):
		r.refuse(r.i.refuseUnclosed(unclosed))
		p = r.i.scanner.cutLine(unclosed.open)
		r.checkUTF8(p)
		return p, false, nil
	case errors.Is(err, errRecordTooLong):
		r.refuse(r.i.refuseTooLong())
		r.ended = true
		return p, false, io.EOF
	}
	return p, false, err
}

// checkUTF8 refuses each line of the piece that is not UTF-8, and reports whether all are.
func (r *Reader) checkUTF8(p piece) bool {
	good, b, line := true, p.raw, p.line
	for {
		var refusal *Refusal
		if !errors.As(r.i.checkUTF8(b, line), &refusal) {
			return good
		}
		good = false
		r.refuse(refusal)
		for ; line <= refusal.Line; line++ {
			_, b, _ = bytes.Cut(b, []byte{'\n'})
		}
	}
}

func (r *Reader) refuse(err error) {
	var refusal *Refusal
	if errors.As(err, &refusal) && r.refused != nil {
		r.refused(refusal)
	}
}

// cutLine ends the first piece after the line with position open.
func (s *scanner) cutLine(open int) piece {
	rest := s.buf[s.start:s.end]
	n := len(rest)
	if lf := bytes.IndexByte(rest[open:], '\n'); lf >= 0 {
		n = open + lf + 1
	}
	p := piece{raw: rest[:n:n], offset: s.offset, line: s.line}
	s.start += n
	s.offset += int64(n)
	s.line += lines(p.raw)
	return p
}
