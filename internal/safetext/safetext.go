// Package safetext converts names given by users, and messages of other programs, into
// text that is safe in protocols, terminals and log lines. An external name is data: it
// is displayed, and never used as an identifier.
package safetext

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// slugLength is the maximum length of a slug in bytes, so that an id stays readable in a list.
const slugLength = 60

// Slug returns the readable part of an id: at most 60 letters and digits of ASCII, dots,
// underscores and hyphens, and never empty. It begins and ends with a letter, a digit or
// an underscore. Accents are dropped, and all other non-ASCII characters become
// hyphens. Different names can have the same slug, so an id needs something besides it.
func Slug(name string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(name) {
		switch {
		case r < utf8.RuneSelf && (isAlphanumeric(r) || r == '.' || r == '_'):
			b.WriteRune(r)
		case unicode.Is(unicode.Mn, r):
		case !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	slug := strings.Trim(b.String(), "-.")
	if len(slug) > slugLength {
		// The end is more informative than the middle: it has the extension, and often a date.
		const head, tail = 29, 30
		slug = strings.Trim(slug[:head], "-.") + "-" + strings.Trim(slug[len(slug)-tail:], "-.")
	}
	if slug == "" {
		return "unnamed"
	}
	return slug
}

// IsID reports whether a user-given name can be a Temporal identifier unchanged: 1 to 200 letters and digits of ASCII, dots, underscores, hyphens, colons and
// slashes, of which the first is a letter or a digit.
func IsID(name string) bool {
	if name == "" || len(name) > 200 || !isAlphanumeric(rune(name[0])) {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return !isAlphanumeric(r) && !strings.ContainsRune("._-:/", r) })
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// Name returns a name for display in one line: unchanged, or quoted with escapes as in Go
// if it has a character that is not printable (a line break, a bidirectional override, a
// byte that is not UTF-8).
func Name(name string) string {
	if IsPrintable(name) {
		return name
	}
	return strconv.Quote(name)
}

// UTF8 returns a name that is valid in JSON: unchanged, or in the form of Name if it is not UTF-8.
func UTF8(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return Name(name)
}

// IsPrintable reports whether a text is UTF-8 of printable characters only.
func IsPrintable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) })
}

// Text returns a text with an escape for every character that is neither printable nor a
// line break nor a tab, so that it can neither control a terminal nor change the direction of the
// following text. The result is UTF-8.
func Text(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, isUnsafe) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if r == utf8.RuneError && size == 1 || isUnsafe(r) {
			quoted := strconv.Quote(text[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteString(text[:size])
		}
		text = text[size:]
	}
	return b.String()
}

func isUnsafe(r rune) bool { return !strconv.IsPrint(r) && r != '\n' && r != '\t' }

// JSON returns JSON with an escape for every control or invisible character: the value is
// the same.
func JSON(data []byte) []byte {
	if !bytes.ContainsFunc(data, isUnsafe) {
		return data
	}
	var b []byte
	for _, r := range string(data) {
		switch {
		case !isUnsafe(r):
			b = utf8.AppendRune(b, r)
		case r <= 0xFFFF:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		}
	}
	return b
}

// Cut shortens a text to at most so many bytes of a JSON string: the middle is omitted,
// since the start and the end of a name identify it. Workflows call it: it is deterministic.
//
//workflowcheck:ignore
func Cut(text string, most int) string {
	text = Text(text)
	runes := []rune(text)
	for size := len(runes); ; size = size * 7 / 8 {
		if size < len(runes) {
			text = string(runes[:(size+1)/2]) + "…" + string(runes[len(runes)-size/2:])
		}
		if data, err := json.Marshal(text); err == nil && len(data)-len(`""`) <= most || size == 0 {
			return text
		}
	}
}

// Code returns a name as code in Markdown, also in the cell of a table. A backquote in it
// becomes an apostrophe.
func Code(name string) string {
	return "`" + strings.NewReplacer("`", "'", "|", `\|`).Replace(Name(name)) + "`"
}

// Pattern turns a path into a pattern of filepath.Glob that matches only this path.
func Pattern(path string) string {
	return strings.NewReplacer("[", `\[`, "*", `\*`, "?", `\?`, `\`, `\\`).Replace(path)
}
