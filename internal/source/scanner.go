package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxRecord is the longest record in bytes. A longer one is not data: it is a file whose line ends are not LF,
// or a quote that was never closed, and it would be read into memory as a whole.
const maxRecord = 64 << 20

// chunkSize is how many bytes are read at a time, and the scanner's memory while no record is longer. Some hundred records
// are enough work for a goroutine, and few enough bytes for its cache. Tests make it smaller.
var chunkSize = 256 << 10

var utf8BOM = []byte{0xEF, 0xBB, 0xBF}

// frame finds the end of the record at the start of b, as the csv module of Python does in its lenient mode (the one
// that dataload.py reads with): a quote opens a quoted field only as the first byte of a field, anywhere else it is
// a literal; only LF outside of quotes ends a record.
//
// It returns the length with the line end, or -1 when b ends before the record does. open is then the position of the
// quote that is still open, or -1. At the end of the file the rest of b is a record, unless a quote is open.
func frame(b []byte, eof bool, delimiter byte) (n, open int) {
	pos, lf := 0, bytes.IndexByte(b, '\n')
	for {
		line := b[pos:]
		if lf >= 0 {
			line = b[pos:lf]
		}
		quote := bytes.IndexByte(line, '"')
		if quote < 0 {
			if lf >= 0 {
				return lf + 1, -1
			}
			if eof {
				return len(b), -1
			}
			return -1, -1
		}
		quote += pos
		// b[pos:] starts a record or follows a quote, so a delimiter counts only if it is after pos.
		if quote != 0 && (quote == pos || b[quote-1] != delimiter) {
			pos = quote + 1
			continue
		}
		end := closingQuote(b, quote)
		if end < 0 {
			return -1, quote
		}
		pos = end + 1
		if lf >= 0 && lf < pos {
			if lf = bytes.IndexByte(b[pos:], '\n'); lf >= 0 {
				lf += pos
			}
		}
	}
}

// closingQuote finds the quote that closes the one at position open, or -1. Doubled quotes belong to the value.
func closingQuote(b []byte, open int) int {
	for i := open + 1; ; i += 2 {
		quote := bytes.IndexByte(b[i:], '"')
		if quote < 0 {
			return -1
		}
		i += quote
		if i+1 >= len(b) || b[i+1] != '"' {
			return i
		}
	}
}

// piece is a part of the file: a record, or an empty line. Pieces follow each other without a gap.
type piece struct {
	raw    []byte // with its line end; valid until the next call
	offset int64  // of the first byte in the file
	line   int64  // physical line of the first byte
	blank  bool
}

// scanner cuts a file into pieces. Its memory is one chunk, or a few times the longest record if that
// is more.
type scanner struct {
	r         io.Reader
	delimiter byte
	onRead    func(chunk []byte) error // sees every byte of the file once, in order; its error stops the scan

	buf        []byte
	start, end int // buf[start:end] is read and not yet cut
	eof        bool
	offset     int64 // of buf[start] in the file
	line       int64 // of buf[start]
}

// unclosedError means that the file, or the maximum length of a record, ended inside quotes.
type unclosedError struct {
	record []byte // what there is of the record
	open   int    // the quote that is not closed
	line   int64  // of the record
	atEnd  bool   // of the file, and not of the maximum length
}

func (e *unclosedError) Error() string {
	return fmt.Sprintf("the quote in line %d is not closed", e.line+lines(e.record[:e.open]))
}

var errRecordTooLong = errors.New("record too long")

func newScanner(r io.Reader, d Delimiter, onRead func([]byte) error) *scanner {
	return &scanner{r: r, delimiter: d.byte(), onRead: onRead, buf: make([]byte, chunkSize), line: 1}
}

// skipBOM skips a byte order mark at the start of the file and returns the bytes that follow it, without consuming them.
func (s *scanner) skipBOM() ([]byte, error) {
	if err := s.fill(); err != nil {
		return nil, err
	}
	if bytes.HasPrefix(s.buf[:s.end], utf8BOM) {
		s.start, s.offset = len(utf8BOM), int64(len(utf8BOM))
	}
	return s.buf[s.start:s.end], nil
}

// next returns the next piece; io.EOF after the last; *unclosedError or errRecordTooLong (s.line says where) when
// there is none.
func (s *scanner) next() (piece, error) {
	for {
		p, err := s.cut()
		if !errors.Is(err, errNeedsMore) {
			return p, err
		}
		if err := s.fill(); err != nil {
			return piece{}, err
		}
	}
}

// errNeedsMore means that the buffer holds no whole piece.
var errNeedsMore = errors.New("more bytes are needed")

// cut is next without reading: its error is errNeedsMore if that takes a call of fill.
func (s *scanner) cut() (piece, error) {
	rest := s.buf[s.start:s.end]
	if len(rest) == 0 && s.eof {
		return piece{}, io.EOF
	}
	atEnd := s.eof
	if len(rest) > maxRecord {
		rest, atEnd = rest[:maxRecord], false
	}
	n, open := -1, -1
	if len(rest) > 0 {
		n, open = frame(rest, atEnd, s.delimiter)
	}
	switch {
	case n > 0:
		p := piece{raw: rest[:n:n], offset: s.offset, line: s.line, blank: isBlank(rest[:n])}
		s.start += n
		s.offset += int64(n)
		s.line += lines(p.raw)
		return p, nil
	case !atEnd && len(rest) < maxRecord:
		return piece{}, errNeedsMore
	case open >= 0: // only that leaves bytes over at the end of the file
		return piece{}, &unclosedError{record: rest, open: open, line: s.line, atEnd: atEnd}
	}
	return piece{}, errRecordTooLong
}

// moveTo moves the bytes that are not yet cut to the start of another buffer, which is longer than they are. The pieces
// so far stay in the old one.
func (s *scanner) moveTo(buf []byte) {
	s.end = copy(buf, s.buf[s.start:s.end])
	s.buf, s.start = buf, 0
}

// fill reads until the buffer is full or the file ends. Bytes not yet cut move to the front. A record that fills the
// whole buffer gets one of double size, so that framing it again each time stays linear.
func (s *scanner) fill() error {
	if s.start == 0 && s.end == len(s.buf) {
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	} else if s.start > 0 {
		s.moveTo(s.buf)
	}
	from := s.end
	for s.end < len(s.buf) && !s.eof {
		// A Read call gets at most one chunk, so that onRead is called often enough.
		n, err := s.r.Read(s.buf[s.end:min(len(s.buf), s.end+chunkSize)])
		s.end += n
		if err == io.EOF {
			s.eof = true
		} else if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		if err := s.onRead(s.buf[from:s.end]); err != nil {
			return err
		}
		from = s.end
	}
	return nil
}

func isBlank(raw []byte) bool { return len(trimLineEnd(raw)) == 0 }

// trimLineEnd removes LF or CRLF; and a CR that is the last byte of the file, which is a CRLF cut short.
func trimLineEnd(raw []byte) []byte {
	raw = bytes.TrimSuffix(raw, []byte{'\n'})
	return bytes.TrimSuffix(raw, []byte{'\r'})
}

// lines is the number of physical lines that end in b.
func lines(b []byte) int64 { return int64(bytes.Count(b, []byte{'\n'})) }
