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

	// Draft, if set, gets the copy of the file, and its index with Index.
	Draft *Draft

	// Progress, if set, is called several times a mebibyte with the bytes and records read so far.
	Progress func(bytes, records int64)
}

// Reader reads a file once, and continues where Inspect refuses the file, to report all errors and not only the first. It
// splits a file that Inspect accepts into the same records.
//
// Invalid UTF-8 in a record is reported line by line. An unclosed quote ends with its line, as a guess: the following
// lines are records again. Reading stops only in a file of another format, or without line ends. Memory use is that of
// Inspect.
type Reader struct {
	i       *inspection
	file    io.Closer
	refused func(*Refusal)
	draft   *Draft
	clean   bool // nothing was refused
}

// OpenReader opens a file and reads its header. The error is one of reading the file.
func OpenReader(ctx context.Context, path string, o ReaderOptions) (*Reader, error) {
	f, err := store.Stream(ctx, path)
	if err != nil {
		return nil, err
	}
	r := &Reader{file: f, draft: o.Draft, clean: true}
	r.refused = func(refusal *Refusal) {
		r.clean = false
		if o.Refused != nil {
			o.Refused(refusal)
		}
	}
	if o.Name == "" {
		o.Name = store.Base(path)
	}
	r.i = &inspection{options: InspectOptions{Delimiter: o.Delimiter, Name: o.Name, Progress: o.Progress}, digest: sha256.New()}
	if r.draft != nil {
		r.draft.begin()
		r.i.draft = r.draft
	}
	r.i.scanner = newScanner(f, o.Delimiter, func(chunk []byte) error { return r.i.read(ctx, chunk) })
	if err := r.readHeader(); err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// Header is the file's header, nil if it was refused.
func (r *Reader) Header() *Header { return r.i.header }

// ForEachBlock reads the records of a file, on all cores. Every worker is a goroutine with a function of its own: it gets a
// block, and the result of an earlier one to reuse its memory, and returns a result. consume gets the blocks with their results
// in the order of the file, one at a time. The first error in that order is returned; without one, the whole file was read unless
// a refusal says otherwise. Refused records are counted too.
func ForEachBlock[T any](ctx context.Context, r *Reader, newWorker func() func(*Block, T) T, consume func(*Block, T) error) error {
	if r.i.ended {
		return nil
	}
	err := pass(ctx, r.i, newWorker, func(b *Block, result T) error {
		for k := range b.pieces {
			p := &b.pieces[k]
			r.clean = r.clean && len(p.refusals) == 0
			if r.i.header != nil && !p.blank {
				r.i.shapes.see(r.i.header, p.raw)
			}
		}
		return consume(b, result)
	})
	if err == nil && !r.i.ended && r.i.header != nil {
		r.refuse(r.i.shapes.refuse(r.i))
	}
	return err
}

// Index completes the draft, after ForEachBlock has added all blocks to the batches.
func (r *Reader) Index(batches *Batcher) {
	d := r.draft
	if d == nil || d.copy == nil || !r.clean {
		return
	}
	if CheckSelection(r.i.options.Name, r.i.records, batches.o.StartAt, batches.o.CutAfter) != nil || batches.end() != nil || batches.index == nil {
		return
	}
	if s := r.i.summary(batches); batches.seal(s) == nil {
		d.summary = s
	}
}

// Records is the number of records read, including refused ones.
func (r *Reader) Records() int64 { return r.i.records }

// Size is the number of bytes read.
func (r *Reader) Size() int64 { return r.i.size }

// SHA256 is the digest of what was read, in hexadecimal: that of the file after ForEachBlock.
func (r *Reader) SHA256() string { return hex.EncodeToString(r.i.digest.Sum(nil)) }

// Close releases the file.
func (r *Reader) Close() error { return r.file.Close() }

func (r *Reader) readHeader() error {
	start, err := r.i.scanner.skipBOM()
	if err != nil {
		return err
	}
	if reason := looksLike(start); reason != "" {
		r.refused(r.i.refuse(1, reason))
		r.i.ended = true
		return nil
	}
	for {
		p, err := r.i.scanner.next()
		var unclosed *unclosedError
		switch {
		case errors.Is(err, io.EOF):
			r.refused(r.i.refuseEmpty())
			return nil
		case errors.As(err, &unclosed):
			r.refused(r.i.refuseUnclosed(unclosed)[0])
			p = r.i.scanner.cutLine(unclosed.open)
		case errors.Is(err, errRecordTooLong):
			r.refused(r.i.refuseTooLong())
			r.i.ended = true
			return nil
		case err != nil:
			return err
		}
		bad := r.i.notUTF8(p.raw, p.line)
		for _, refusal := range bad {
			r.refused(refusal)
		}
		if len(bad) > 0 || unclosed != nil {
			return nil //nolint:nilerr // it was refused
		}
		if p.blank {
			continue
		}
		header, reason := parseHeader(p.raw, r.i.options.Delimiter)
		if reason != "" {
			r.refused(r.i.refuse(p.line, reason))
			return nil
		}
		r.i.header, r.i.headerLine = header, p.line
		return nil
	}
}

func (r *Reader) refuse(err error) {
	var refusal *Refusal
	if errors.As(err, &refusal) {
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
