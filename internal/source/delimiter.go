package source

import (
	"fmt"
	"strings"
)

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
