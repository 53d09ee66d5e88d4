package source

import (
	"bytes"
	"strings"
)

// Swallowed gives the physical lines of a record, counted from its first one, which is 0, that look like records of
// their own: they have as many fields as the header and begin none with a space, as prose does after its commas, and
// their value in column key (from 0; -1 is none) is of the kind that the record has there. So it is where a quote is not
// closed, or not doubled, and a later one closes it: the lines between them are part of one value.
//
// With a single column every line would do, and nothing is given.
func (h *Header) Swallowed(raw []byte, key int) (lines []int) {
	raw = trimLineEnd(raw)
	first, rest, more := bytes.Cut(raw, []byte{'\n'})
	if !more || len(h.Names) < 2 || bytes.IndexByte(raw, '"') < 0 {
		return nil
	}
	own := ""
	if key >= 0 {
		own = h.valueIn(trimLineEnd(first), key)
	}
	for n := 1; more; n++ {
		var line []byte
		line, rest, more = bytes.Cut(rest, []byte{'\n'})
		if line = trimLineEnd(line); h.looksLikeRecord(line, own, key) {
			lines = append(lines, n)
		}
	}
	return lines
}

func (h *Header) looksLikeRecord(line []byte, own string, key int) bool {
	fields, d := 0, h.Delimiter.byte()
	for pos := 0; pos >= 0; fields++ {
		if fields > 0 && pos < len(line) && line[pos] == ' ' {
			return false
		}
		pos = fieldAt(line, pos, d).next
	}
	switch {
	case fields != len(h.Names):
		return false
	case key < 0:
		return fields > 2
	}
	return isOfTheKind(h.valueIn(line, key), own)
}

// valueIn is the value of a column in a line, as it stands, without quotes.
func (h *Header) valueIn(line []byte, column int) string {
	pos := 0
	for range column {
		if pos = fieldAt(line, pos, h.Delimiter.byte()).next; pos < 0 {
			return ""
		}
	}
	f := fieldAt(line, pos, h.Delimiter.byte())
	return string(line[f.start:f.end])
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
