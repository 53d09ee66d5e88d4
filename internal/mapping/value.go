package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// appendValue appends the JSON of one value. Its error never contains the value.
type appendValue func(dst []byte, value string) ([]byte, error)

var errNotUTF8 = errors.New("the value is not UTF-8")

// appendText is the conversion for a column without a rule.
func appendText(dst []byte, value string) ([]byte, error) {
	if value == "" {
		return appendNull(dst), nil
	}
	return appendString(dst, value)
}

// isBlank reports whether s is only space, as defined by str.isspace of Python, which has four more separators than Go.
func isBlank(s string) bool {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || (r >= 0x1C && r <= 0x1F) }) == ""
}

// fold returns the lower case of s, in buf if s is short and ASCII: a table look-up then needs no allocation.
func fold(buf *[32]byte, s string) []byte {
	if len(s) > len(buf) {
		return []byte(strings.ToLower(s))
	}
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			return []byte(strings.ToLower(s))
		}
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	return buf[:len(s)]
}

const jsonSpace = " \t\r\n"

// appendJSONText appends JSON from a value, without the space between its parts. Numbers keep their digits, and
// duplicate keys are kept; readers take the last one, as Python does.
func appendJSONText(dst []byte, text string) ([]byte, error) {
	if !utf8.ValidString(text) {
		return nil, errNotUTF8
	}
	if fast, ok := compact(dst, text); ok {
		return fast, nil
	}
	out := bytes.NewBuffer(dst)
	if err := json.Compact(out, []byte(text)); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func appendNull(dst []byte) []byte { return append(dst, "null"...) }

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, errNotUTF8
	}
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xF])
		}
	}
	return append(append(dst, s[from:]...), '"'), nil
}
