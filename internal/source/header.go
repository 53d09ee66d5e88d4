package source

import (
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
	for pos := 0; pos >= 0; {
		f := fieldAt(b, pos, d.byte())
		switch f.fault {
		case 0:
		case faultCR:
			return nil, "the header holds a carriage return that is not followed by a line feed; expected LF or CRLF line ends; convert the line ends (old Macintosh programs write CR alone)"
		default:
			return nil, fmt.Sprintf("column %d of the header has %s; fix the header", len(h.Names)+1, f.fault)
		}
		var name strings.Builder
		f.writeTo(&name, b)
		h.Names = append(h.Names, name.String())
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
