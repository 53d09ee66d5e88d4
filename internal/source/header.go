package source

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Header is the first line of the file that is not empty: the names of the attributes, in the order of the columns.
type Header struct {
	Names []string
	Raw   []byte // its original bytes, with the line end and without a byte order mark

	Delimiter Delimiter // of the whole file
}

// parseHeader splits the header and checks its names. The error is a reason for a Refusal.
func parseHeader(raw []byte, d Delimiter) (*Header, string) {
	h := &Header{Raw: slices.Clone(raw), Delimiter: d}
	b := trimLineEnd(raw)
	line := string(b)
	for pos := 0; pos >= 0; {
		f := fieldAt(b, pos, d.byte())
		switch f.fault {
		case 0:
		case faultCR:
			return nil, "the header holds a carriage return that is not followed by a line feed; expected LF or CRLF line ends; convert the line ends (old Macintosh programs write CR alone)"
		default:
			return nil, fmt.Sprintf("column %d of the header has %s; fix the header", len(h.Names)+1, f.fault)
		}
		name := line[f.start:f.end]
		if f.escaped {
			name = strings.ReplaceAll(name, `""`, `"`)
		}
		h.Names = append(h.Names, name)
		pos = f.next
	}
	if reason := refuseSepLine(raw, d); reason != "" {
		return nil, reason
	}
	if reason := checkNames(h.Names, d); reason != "" {
		return nil, reason
	}
	return h, ""
}

// checkNames returns what makes names unusable as attributes, or "". Names that are certainly invalid are found here,
// because the API would refuse whole calls for them, after the first ones have been sent.
func checkNames(names []string, d Delimiter) string {
	if len(names) == 1 {
		for _, s := range separators {
			if strings.IndexByte(names[0], s.is.byte()) >= 0 {
				return fmt.Sprintf("the header is separated by %s; expected %s; set --delimiter '%s', or export the file again", s.name, d.plural(), s.is)
			}
		}
	}
	for i, name := range names {
		// First of all, and without the name: if the file has no header, these are the values of a record.
		if strings.Contains(name, "@") {
			return fmt.Sprintf("column %d of the header contains an @, like an email address; expected attribute names; put a header on the first line", i+1)
		}
	}
	columns := make(map[string]int, len(names)) // by name
	for i, name := range names {
		column := i + 1
		switch {
		case name == "":
			return fmt.Sprintf("column %d has no name; expected an attribute name in every column of the header; name the column or remove it", column)
		case len(name) > maxName:
			return fmt.Sprintf("the name of column %d has %d bytes; expected an attribute name of at most %d; put a header on the first line, and check its quotes", column, len(name), maxName)
		case strings.ContainsFunc(name, isInvisible):
			// A second byte order mark, the zero bytes of UTF-16, a line break between stray quotes, a no-break space.
			return fmt.Sprintf("the name of column %d contains an invisible character; expected an attribute name; check that the file is UTF-8 and the header's quotes are right", column)
		case strings.TrimSpace(name) != name:
			return fmt.Sprintf("the name of column %d has a space around it; expected an attribute name; remove the space", column)
		case strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, ".."):
			return fmt.Sprintf("the name of column %d has a dot without a name on both sides; expected object.attribute; fix the name", column)
		}
		if first, ok := columns[name]; ok {
			return fmt.Sprintf("columns %d and %d have the same name; expected each name once; remove one of them", first, column)
		}
		columns[name] = column
	}
	objects := make(map[string]int) // by path, the first column that is below it
	for i, name := range names {
		for dot, c := range name {
			if c != '.' {
				continue
			}
			if _, ok := objects[name[:dot]]; !ok {
				objects[name[:dot]] = i + 1
			}
		}
	}
	for i, name := range names {
		if member, ok := objects[name]; ok {
			return fmt.Sprintf("the name of column %d is a value, and the name of column %d makes it an object; expected one of the two; rename or remove one of them", i+1, member)
		}
	}
	return ""
}

// maxName is the maximum length of a column name in bytes. Anything longer is a sentence, or the quotes are wrong.
const maxName = 1000

// shorten limits the length of an invalid name on the screen.
func shorten(name string) string {
	const limit = 60
	if utf8.RuneCountInString(name) <= limit {
		return name
	}
	return string([]rune(name)[:limit]) + "…"
}

// Delimiter is the one byte that separates the fields of a record. The comma is the zero value.
type Delimiter byte

const comma Delimiter = 0

// ParseDelimiter parses a delimiter: one ASCII character, or \t for the tab. Empty means the comma. Characters of
// attribute names and email addresses (letters, digits, dot, underscore, @), the space and characters with another
// meaning in CSV (the quote, line ends) would split values, so they are refused, and so is the zero byte.
func ParseDelimiter(text string) (Delimiter, error) {
	switch text {
	case "", ",":
		return comma, nil
	case `\t`:
		return '\t', nil
	}
	c := text[0]
	switch {
	case len(text) > 1 || c >= 0x80:
		return 0, fmt.Errorf(`the delimiter is %q; expected one character: a comma, a semicolon, a bar, a tab (\t), or another one of ASCII`, text)
	case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', strings.IndexByte("\"\r\n\x00 ._@", c) >= 0:
		return 0, fmt.Errorf(`the delimiter is %q, which stands in values or has another meaning in CSV; expected a comma, a semicolon, a bar, a tab (\t), or the like`, text)
	}
	return Delimiter(c), nil
}

// String is the form that ParseDelimiter accepts.
func (d Delimiter) String() string {
	if d.byte() == '\t' {
		return `\t`
	}
	return string(rune(d.byte()))
}

// byte is the byte itself.
func (d Delimiter) byte() byte {
	if d == comma {
		return ','
	}
	return byte(d)
}

// separators are the delimiters of common exports, with their names in messages.
var separators = []struct {
	is   Delimiter
	name string
}{{comma, "commas"}, {';', "semicolons"}, {'\t', "tabs"}, {'|', "bars"}}

// plural is its name in messages.
func (d Delimiter) plural() string {
	for _, s := range separators {
		if s.is == d {
			return s.name
		}
	}
	return fmt.Sprintf("%q", d.String())
}

// shapes checks whether the records have as many fields as the header. If all differ from it in the same way the header is
// wrong and not the records: there is a title above it, or it has lost a column. A single record is no evidence.
type shapes struct {
	fields  int // of each record so far
	records int64
	mixed   bool // some record is like the header, or unlike the others: the header may be right
	others  bool // the first record has another usual delimiter in it
}

func (s *shapes) see(h *Header, raw []byte) {
	if s.mixed {
		return
	}
	fields, b, d := 0, trimLineEnd(raw), h.Delimiter.byte()
	for pos := 0; pos >= 0; fields++ {
		pos = fieldAt(b, pos, d).next
	}
	if s.records == 0 {
		s.fields = fields
		for _, separator := range separators {
			s.others = s.others || separator.is != h.Delimiter && bytes.IndexByte(b, separator.is.byte()) >= 0
		}
	}
	s.records++
	s.mixed = fields == len(h.Names) || fields != s.fields
}

// refuse returns the Refusal at the end of the file, or nil.
func (s *shapes) refuse(i *inspection) error {
	if s.mixed || s.records < 2 {
		return nil
	}
	advice := "if there is a title or a note above the header, remove it, else name every column"
	if s.fields == 1 && s.others {
		advice = "the records seem to be separated by another character than the header; export the file again"
	}
	return i.refuse(i.headerLine, fmt.Sprintf("the header has %s, and each of the %d records has %d; expected a name for each field; %s",
		plural(len(i.header.Names), "field"), s.records, s.fields, advice))
}
