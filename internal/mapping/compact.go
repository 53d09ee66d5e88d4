package mapping

import "strings"

// compact appends JSON without the space between its parts, as json.Compact does, which takes several times as long. It
// reports false for what it leaves to that: text that is not JSON, and the rare parts of JSON.
func compact(dst []byte, text string) ([]byte, bool) {
	dst, rest, ok := compactValue(dst, text, mostNested)
	return dst, ok && skipSpace(rest) == ""
}

const mostNested = 16

// compactValue appends the first value of a text and returns what follows it.
func compactValue(dst []byte, s string, nested int) (_ []byte, rest string, ok bool) {
	s = skipSpace(s)
	if s == "" || nested == 0 {
		return dst, s, false
	}
	switch s[0] {
	case '"':
		return compactString(dst, s)
	case '{':
		return compactParts(dst, s, '}', func(dst []byte, s string) ([]byte, string, bool) {
			dst, s, ok := compactString(dst, s)
			s = skipSpace(s)
			if !ok || s == "" || s[0] != ':' {
				return dst, s, false
			}
			return compactValue(append(dst, ':'), s[1:], nested-1)
		})
	case '[':
		return compactParts(dst, s, ']', func(dst []byte, s string) ([]byte, string, bool) {
			return compactValue(dst, s, nested-1)
		})
	}
	for _, word := range []string{"true", "false", "null"} {
		if rest, ok := strings.CutPrefix(s, word); ok {
			return append(dst, word...), rest, true
		}
	}
	return compactInteger(dst, s)
}

// compactParts appends an object or an array.
func compactParts(dst []byte, s string, end byte, part func(dst []byte, s string) ([]byte, string, bool)) (_ []byte, rest string, ok bool) {
	dst, s = append(dst, s[0]), skipSpace(s[1:])
	if s != "" && s[0] == end {
		return append(dst, end), s[1:], true
	}
	for {
		if dst, s, ok = part(dst, skipSpace(s)); !ok {
			return dst, s, false
		}
		s = skipSpace(s)
		switch {
		case s != "" && s[0] == end:
			return append(dst, end), s[1:], true
		case s == "" || s[0] != ',':
			return dst, s, false
		}
		dst, s = append(dst, ','), s[1:]
	}
}

// compactString appends a string without escapes.
func compactString(dst []byte, s string) (_ []byte, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return dst, s, false
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return append(dst, s[:i+1]...), s[i+1:], true
		case c == '\\' || c < ' ':
			return dst, s, false
		}
	}
	return dst, s, false
}

// compactInteger appends an integer.
func compactInteger(dst []byte, s string) (_ []byte, rest string, ok bool) {
	n := 0
	if s[0] == '-' {
		n = 1
	}
	first := n
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	if n == first || s[first] == '0' && n > first+1 || n < len(s) && strings.IndexByte(".eE", s[n]) >= 0 {
		return dst, s, false
	}
	return append(dst, s[:n]...), s[n:], true
}

// skipSpace is strings.TrimLeft, which makes a set of the characters at each call.
func skipSpace(s string) string {
	for s != "" && s[0] <= ' ' && strings.IndexByte(jsonSpace, s[0]) >= 0 {
		s = s[1:]
	}
	return s
}
