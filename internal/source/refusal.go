package source

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// Refusal is the error for a whole file that is unusable, found before anything is sent. Its text says where, what was
// found, what was expected and what to do, and contains no value of a record. It gives numbers of columns of the header,
// not names: in a file without a header, a name is a value.
type Refusal struct {
	File   string // name without its folder
	Line   int64  // physical line; 0 if the file as a whole is meant
	Reason string
	Kind   RefusalKind
}

// RefusalKind classifies refusals.
type RefusalKind uint8

// Kinds of refusals. A file can have many of NotUTF8 and OpenQuote, at most one of the others.
const (
	NotUsable RefusalKind = iota // the file as a whole, or its header
	NotUTF8
	OpenQuote
	NotInFile // what the options ask for, see CheckSelection
)

func (r *Refusal) Error() string {
	if r.Line == 0 {
		return fmt.Sprintf("%s: %s", r.File, r.Reason)
	}
	return fmt.Sprintf("%s, line %d: %s", r.File, r.Line, r.Reason)
}

// badUTF8 finds the first byte in b that is not UTF-8: its line, counted from that of b, and its position in that
// line, counted from 1. A character that is truncated at the end of b is invalid too.
func badUTF8(b []byte, line int64) (badLine int64, column int, bad bool) {
	if utf8.Valid(b) {
		return 0, 0, false
	}
	pos := 0
	for pos < len(b) {
		r, size := utf8.DecodeRune(b[pos:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		pos += size
	}
	return line + lines(b[:pos]), pos - bytes.LastIndexByte(b[:pos], '\n'), true
}

// CheckSelection refuses options for which a file with this number of records is too short: a first record after the last
// one, or a canary (0 means none) that leaves no records. A file without records is valid, unless a record is selected.
// The error is a *Refusal of the kind NotInFile.
func CheckSelection(file string, records, startAt int64, canary int) error {
	refuse := func(reason string) error { return &Refusal{File: file, Reason: reason, Kind: NotInFile} }
	selected := records - max(startAt, 1) + 1
	switch {
	case startAt > 1 && records == 0:
		return refuse(fmt.Sprintf("--start-at is %d, and the file has no records; leave --start-at out, or check the export", startAt))
	case startAt > 1 && selected < 1:
		return refuse(fmt.Sprintf("--start-at is %d, and the last record of the file is %d; expected 1 to %d", startAt, records, records))
	case canary == 0 || selected < 1 || int64(canary) < selected:
		return nil
	case selected == 1:
		return refuse(fmt.Sprintf("--canary is %d, and there is one record to load; leave --canary out", canary))
	}
	return refuse(fmt.Sprintf("--canary is %d, and there are %d records to load: all would be loaded before the approval; expected 1 to %d, or leave --canary out", canary, selected, selected-1))
}
