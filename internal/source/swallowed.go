package source

import (
	"bytes"
	"strings"
)

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
