package source

import (
	"bytes"
	"fmt"
	"iter"
	"strings"
)

// Record is one row of the file after the header.
type Record struct {
	Number int64  // 1 for the first record after the header
	Line   int64  // physical line on which it starts, counting LF; the header is normally line 1
	Raw    []byte // its original bytes, with the line end; the last of a file may have none
}

// RecordError is the reason why a record has no fields. Its text names columns and never contains a value of the
// record, so it may be logged.
type RecordError struct {
	Column int    // from 1; 0 if the record as a whole is meant
	Name   string // the header's name of the column, if it has one
	Reason string
}

func (e *RecordError) Error() string {
	switch {
	case e.Column == 0:
		return e.Reason
	case e.Name == "":
		return fmt.Sprintf("column %d: %s", e.Column, e.Reason)
	default:
		return fmt.Sprintf("column %d (%s): %s", e.Column, shorten(e.Name), e.Reason)
	}
}

// fault is why a part of a record is not a field; 0 if it is one.
type fault uint8

const (
	faultAfterQuote fault = iota + 1
	faultBackslash
	faultCR
	faultUnclosed
)

func (f fault) String() string {
	return [...]string{
		faultAfterQuote: "text after the closing quote; a quote inside a quoted value must be doubled",
		faultBackslash:  `text after the closing quote; a quote inside a quoted value must be doubled, and not escaped with a backslash, as MySQL does`,
		faultCR:         "a carriage return outside of quotes; expected LF or CRLF at the end of the line, and quotes around a value with line breaks",
		faultUnclosed:   "the quote is not closed",
	}[f]
}

// field is the position of one field in a record.
type field struct {
	start, end int  // of the value, without the quotes
	next       int  // start of the next field, or -1
	escaped    bool // the value holds doubled quotes
	fault      fault
}

// fieldAt reads the field that starts at pos. The record b comes without its line end.
func fieldAt(b []byte, pos int, delimiter byte) field {
	f := field{start: pos, end: len(b), next: -1}
	stop := pos // from here on the next delimiter ends the field
	quoted := pos < len(b) && b[pos] == '"'
	if quoted {
		f.start = pos + 1
		stop = f.start
		for {
			quote := bytes.IndexByte(b[stop:], '"')
			if quote < 0 {
				f.fault = faultUnclosed
				return f
			}
			stop += quote + 1
			if stop == len(b) || b[stop] != '"' {
				break
			}
			f.escaped = true
			stop++
		}
		f.end = stop - 1
	}
	behind := b[stop:] // text before the next delimiter
	if end := bytes.IndexByte(behind, delimiter); end >= 0 {
		behind = behind[:end]
		f.next = stop + end + 1
	}
	if bytes.IndexByte(behind, '\r') >= 0 {
		f.fault = faultCR
	} else if quoted && len(behind) > 0 {
		f.fault = faultAfterQuote
		if b[f.end-1] == '\\' {
			f.fault = faultBackslash
		}
	}
	if !quoted {
		f.end = stop + len(behind)
	}
	return f
}

// Fields returns the values of a record that was framed by this package, one for each column of the header. Values are
// byte for byte those of the file, line breaks included; quotes around a value are gone and doubled ones are single.
// The error is a *RecordError: too few or too many fields, text after a closing quote, a CR outside of quotes.
func (h *Header) Fields(raw []byte) ([]string, error) {
	return h.AppendFields(make([]string, 0, len(h.Names)), raw)
}

// AppendFields is Fields, and appends to dst. With an error it returns nil.
func (h *Header) AppendFields(dst []string, raw []byte) ([]string, error) {
	return h.appendFields(dst, raw, everyColumn)
}

// Value is the value of one column, from 0, that Fields returns.
func (h *Header) Value(raw []byte, column int) (string, error) {
	one, err := h.appendFields(make([]string, 0, 1), raw, column)
	if err != nil {
		return "", err
	}
	return one[0], nil
}

const everyColumn = -1

// appendFields appends the value of one column, or of every column, and checks the whole record. The values share memory that
// is made once, and no function is called for each field: this is most of what reading a file costs.
func (h *Header) appendFields(dst []string, raw []byte, column int) ([]string, error) {
	b, delimiter := trimLineEnd(raw), h.Delimiter.byte()
	hasCR := bytes.IndexByte(b, '\r') >= 0
	var values strings.Builder // never moves what it has: together they are not longer than the record
	if column == everyColumn {
		values.Grow(len(b))
	}
	count := 0
	for pos := 0; pos >= 0; count++ {
		first, from := pos, values.Len()
		wanted := column == count || column == everyColumn && count < len(h.Names)
		if pos < len(b) && b[pos] == '"' {
			doubled := true
			for doubled {
				pos++ // the opening quote, or the first of two
				n := bytes.IndexByte(b[pos:], '"')
				if n < 0 {
					return nil, h.faultAt(b, first, count+1)
				}
				end := pos + n
				doubled = end+1 < len(b) && b[end+1] == '"'
				if wanted {
					values.Write(b[pos:end])
					if doubled {
						values.WriteByte('"')
					}
				}
				pos = end + 1
			}
			switch {
			case pos == len(b):
				pos = -1
			case b[pos] == delimiter:
				pos++
			default:
				return nil, h.faultAt(b, first, count+1)
			}
		} else {
			value := b[pos:]
			if n := bytes.IndexByte(value, delimiter); n >= 0 {
				value = value[:n]
				pos += n + 1
			} else {
				pos = -1
			}
			if hasCR && bytes.IndexByte(value, '\r') >= 0 {
				return nil, h.faultAt(b, first, count+1)
			}
			if wanted {
				values.Write(value)
			}
		}
		if wanted {
			dst = append(dst, values.String()[from:])
		}
	}
	if count != len(h.Names) {
		return nil, &RecordError{Reason: fmt.Sprintf("the record has %s; expected %d as in the header; values with %s or line breaks need quotes", plural(count, "field"), len(h.Names), h.Delimiter.plural())}
	}
	return dst, nil
}

// faultAt is the error of the field at pos, whose column is counted from 1.
func (h *Header) faultAt(b []byte, pos, column int) error {
	return &RecordError{Column: column, Name: h.name(column), Reason: fieldAt(b, pos, h.Delimiter.byte()).fault.String()}
}

// name is the name of a column, counted from 1, or empty if the header is shorter.
func (h *Header) name(column int) string {
	if column > len(h.Names) {
		return ""
	}
	return h.Names[column-1]
}

// Records splits the bytes of a batch of an Index, as ReadBatch gave them, into its records. Raw points into data.
func Records(b Batch, data []byte) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		number, line, delimiter := b.FirstRecord, b.FirstLine, b.delimiter.byte()
		for len(data) > 0 {
			n, _ := frame(data, true, delimiter)
			if n < 0 {
				n = len(data) // cannot be in bytes that Inspect has cut; no byte is dropped all the same
			}
			raw := data[:n:n]
			data = data[n:]
			if !isBlank(raw) {
				if !yield(Record{Number: number, Line: line, Raw: raw}) {
					return
				}
				number++
			}
			line += lines(raw)
		}
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Swallowed returns the physical lines of a record, counted from 0, that look like separate records inside a value, which
// happens if a quote is not closed, or not doubled, and a later one closes it. Such a line has as many fields as the
// header, none of which begins with a space, as in prose after a comma, and its value in column key (from 0; -1 means
// none) has the same form as that of the record.
//
// With a single column every line would match, so it returns none.
func (h *Header) Swallowed(raw []byte, key int) (lines []int) {
	raw = trimLineEnd(raw)
	first, _, more := bytes.Cut(raw, []byte{'\n'})
	if !more || len(h.Names) < 2 {
		return nil
	}
	own := ""
	if key >= 0 {
		if f, ok := h.column(trimLineEnd(first), key); ok {
			own = string(first[f.start:f.end])
		}
	}
	n, counted := 0, 0 // the line in which raw[counted] is
	for pos := 0; pos >= 0; {
		f := fieldAt(raw, pos, h.Delimiter.byte())
		for at := f.start; ; {
			lf := bytes.IndexByte(raw[at:max(at, f.end)], '\n')
			if lf < 0 {
				break
			}
			at += lf + 1
			n += bytes.Count(raw[counted:at], []byte{'\n'})
			counted = at
			line, _, _ := bytes.Cut(raw[at:], []byte{'\n'})
			if h.looksLikeRecord(trimLineEnd(line), f.end-at, own, key) {
				lines = append(lines, n)
			}
		}
		pos = f.next
	}
	return lines
}

// looksLikeRecord reports this for a line whose first bytes are within a value.
func (h *Header) looksLikeRecord(line []byte, within int, own string, key int) bool {
	fields, d := 0, h.Delimiter.byte()
	for pos := 0; pos >= 0; fields++ {
		if fields > 0 && pos < len(line) && line[pos] == ' ' {
			return false
		}
		pos = fieldAt(line, pos, d).next
	}
	if fields != len(h.Names) {
		return false
	}
	f, _ := h.column(line, max(key, 0))
	switch {
	case f.end > within || key == 0 && f.next > within: // the value ends in the line, and its key comes after that
		return false
	case key < 0:
		return fields > 2 && f.next <= within
	}
	return isOfTheKind(string(line[f.start:f.end]), own)
}

// column is a field of a line, from 0.
func (h *Header) column(line []byte, column int) (f field, ok bool) {
	for pos := 0; pos >= 0; column-- {
		if f = fieldAt(line, pos, h.Delimiter.byte()); column == 0 {
			return f, true
		}
		pos = f.next
	}
	return f, false
}

func isOfTheKind(value, own string) bool {
	const digits = "0123456789"
	switch {
	case value == "" || strings.Contains(value, " ") && !strings.Contains(own, " "):
		return false
	case strings.Contains(own, "@"):
		return strings.Contains(value, "@")
	}
	return own == "" || (strings.Trim(own, digits) == "") == (strings.Trim(value, digits) == "")
}
