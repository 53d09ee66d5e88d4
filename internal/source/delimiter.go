package source

import (
	"fmt"
	"strings"
)

// Delimiter is the one byte that separates the fields of a record. The comma is the zero value.
type Delimiter byte

const comma Delimiter = 0

// ParseDelimiter reads a delimiter as a person writes it: one character of ASCII, or \t for the tab. Nothing is the
// comma. What stands in attribute names and e-mail addresses (letters, digits, dot, underscore, @), the space and what
// CSV has another use for (the quote, line ends) would cut values apart, so it is refused, and so is the zero byte.
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

// String is what ParseDelimiter reads.
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

// separators are what that exports are made with, and how messages call them.
var separators = []struct {
	is   Delimiter
	name string
}{{comma, "commas"}, {';', "semicolons"}, {'\t', "tabs"}, {'|', "bars"}}

// plural is how messages call it.
func (d Delimiter) plural() string {
	for _, s := range separators {
		if s.is == d {
			return s.name
		}
	}
	return fmt.Sprintf("%q", d.String())
}
