package transform

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

var errNotUTF8 = errors.New("the value is not UTF-8")

// appendText is what happens to a column without a transformation.
func appendText(dst []byte, value string) ([]byte, error) {
	if value == "" {
		return appendNull(dst), nil
	}
	return appendString(dst, value)
}

// appendPassword is transform_password: JSON becomes what it says, anything else is plain text for the platform to
// hash. A JSON string is its content: the way to write a plain-text password that starts with a bracket. JSON null is
// null, because exports write it for "none".
func appendPassword(dst []byte, value string) ([]byte, error) {
	if value == "" {
		return appendNull(dst), nil
	}
	text := strings.Trim(value, jsonSpace)
	switch {
	case text == "null":
		return appendNull(dst), nil
	case text == "" || strings.IndexByte(`{["`, text[0]) < 0:
		return appendString(dst, value)
	}
	out, err := appendJSONText(dst, text)
	if err != nil && text[0] == '"' {
		return appendString(dst, value)
	}
	if err != nil {
		return nil, errors.New(`the value starts like JSON and is not JSON; expected {"type": …, "value": …} or plain text; write plain text that starts with a bracket as a JSON string, in quotes`)
	}
	return out, nil
}

// appendPlural is transform_plural.
func appendPlural(dst []byte, value string) ([]byte, error) {
	if value == "" {
		return append(dst, "[]"...), nil
	}
	out, err := appendJSONText(dst, value)
	if err != nil {
		return nil, errors.New(`the value is not JSON; expected a list, as [{"clientId": …}]`)
	}
	return out, nil
}

// appendDate is transform_date: month/day/year to what the platform reads as a date, midnight UTC.
func appendDate(dst []byte, value string) ([]byte, error) {
	if value == "" {
		return appendNull(dst), nil
	}
	month, rest, _ := strings.Cut(value, "/")
	day, year, _ := strings.Cut(rest, "/")
	// %d of Python's strptime takes a space for the leading zero, %m does not.
	if len(day) == 2 && day[0] == ' ' && day[1] != '0' {
		day = day[1:]
	}
	if len(year) == 4 && year != "0000" && digits(month) && digits(day) && digits(year) {
		if t, err := time.Parse("1/2/2006", month+"/"+day+"/"+year); err == nil {
			return t.AppendFormat(dst, `"2006-01-02 15:04:05"`), nil
		}
	}
	return nil, errors.New("the value is not a date; expected month/day/year, as 12/31/1999")
}

// digits says that s is a number of one digit or more, in ASCII.
func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// appendBoolean is transform_boolean. What it does not know is null, as dataload's README says.
func appendBoolean(dst []byte, value string) ([]byte, error) {
	switch lowerASCII(value) {
	case "true", "t", "1":
		return append(dst, "true"...), nil
	case "false", "f", "0":
		return append(dst, "false"...), nil
	}
	return appendNull(dst), nil
}

// appendGender is transform_gender. Spaces around a word make it an unknown one.
func appendGender(dst []byte, value string) ([]byte, error) {
	switch lowerASCII(value) {
	case "male", "m":
		return append(dst, `"male"`...), nil
	case "female", "f":
		return append(dst, `"female"`...), nil
	case "other", "o":
		return append(dst, `"other"`...), nil
	}
	if strings.TrimFunc(value, isPythonSpace) == "" {
		return appendNull(dst), nil
	}
	return append(dst, `"not specified"`...), nil
}

// isPythonSpace is str.isspace of Python, which has four separators more than Go.
func isPythonSpace(r rune) bool {
	return unicode.IsSpace(r) || (r >= 0x1C && r <= 0x1F)
}

// lowerASCII leaves other letters alone: in none of the words of dataload.py does Python's lower() make an ASCII
// letter out of one, where Go's would make i out of İ.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

const jsonSpace = " \t\r\n"

// appendJSONText appends JSON that stands in a value, without the space between its parts. Numbers keep their digits,
// and a key that is there twice stays so; readers take the last one, as Python does.
func appendJSONText(dst []byte, text string) ([]byte, error) {
	if !utf8.ValidString(text) {
		return nil, errNotUTF8
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
