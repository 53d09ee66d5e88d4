package source

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	saveAsUTF8 = `save it as "CSV UTF-8"`
	exportCSV  = "export the users as CSV"
)

// signatures are the first bytes of files that are not CSV. The first match is used.
var signatures = []struct{ magic, what, advice string }{
	{"\xFF\xFE\x00\x00", "UTF-32 text", saveAsUTF8},
	{"\x00\x00\xFE\xFF", "UTF-32 text", saveAsUTF8},
	{"\xFF\xFE", "UTF-16 text", saveAsUTF8 + ", or give --encoding utf-16"},
	{"\xFE\xFF", "UTF-16 text", saveAsUTF8 + ", or give --encoding utf-16"},
	{"PK\x03\x04", "an Excel workbook or a ZIP archive", saveAsUTF8 + ", or unpack it"},
	{"PK\x05\x06", "an empty ZIP archive", exportCSV},
	{"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "an old Excel workbook (.xls) or another Office file", saveAsUTF8},
	{"\x1F\x8B", "compressed with gzip", "unpack it, or give it a name that ends in .gz"},
	{"\x28\xB5\x2F\xFD", "compressed with zstd", "unpack it, or give it a name that ends in .zst"},
	{"\xFD7zXZ\x00", "compressed with xz", "unpack it"},
	{"\x04\x22\x4D\x18", "compressed with lz4", "unpack it"},
	{"\x1F\x9D", "compressed with compress", "unpack it"},
	{"\xFF\x06\x00\x00sNaPpY", "compressed with snappy", "unpack it"},
	{"7z\xBC\xAF\x27\x1C", "a 7-Zip archive", "unpack it"},
	{"Rar!\x1A\x07", "a RAR archive", "unpack it"},
	{"%PDF-", "a PDF document", exportCSV},
	{"%!PS", "a PostScript document", exportCSV},
	{`{\rtf`, "a rich text document", exportCSV},
	{"SQLite format 3\x00", "an SQLite database", exportCSV},
	{"PAR1\x15", "a Parquet file", exportCSV},
	{"Obj\x01", "an Avro file", exportCSV},
	{"ARROW1\x00", "an Arrow file", exportCSV},
	{"\x89HDF", "an HDF5 file", exportCSV},
	{"PGDMP\x01", "a PostgreSQL dump", exportCSV},
	{"PGCOPY\n\xFF", "a binary PostgreSQL export", exportCSV},
	{"\x00\x01\x00\x00Standard ", "an Access database", exportCSV},
	{"\x89PNG", "a picture", exportCSV},
	{"\xFF\xD8\xFF", "a picture", exportCSV},
	{"\x7FELF", "a program", "give the data file"},
	{"age-encryption.org/", "encrypted with age", "decrypt it"},
	{"-----BEGIN PGP MESSAGE", "encrypted with PGP", "decrypt it"},
	{"-----BEGIN PGP ", "a PGP key or signature", "give the data file"},
	{"-----BEGIN ", "a certificate or a key (PEM)", "give the data file"},
	{"---- BEGIN SSH2 ", "an SSH key", "give the data file"},
	{"version https://git-lfs.github.com/", "a pointer of Git LFS and not the file itself", "fetch it with git lfs pull"},
}

// textForms match text that is not CSV: its first line that is not blank, and the one after that. The first match is
// used. No header of attribute names matches any of them.
var textForms = []struct {
	first, second *regexp.Regexp // second may be nil
	what, advice  string
}{
	{regexp.MustCompile(`(?i)^<(!doctype html|html|head|body)\b`), nil, "a web page (HTML), as a sign-in or an error page is", "download the file again, signed in"},
	{regexp.MustCompile(`^<\?php`), nil, "a program", "give the data file"},
	{regexp.MustCompile(`^<[?!/A-Za-z]`), nil, "XML or HTML, as the error of a download is", "download the file again, or " + exportCSV},
	{regexp.MustCompile(`^HTTP/[0-9.]+ [0-9]{3}`), nil, "the answer of a web server", "save its body only"},
	{regexp.MustCompile(`^\{\s*(["'}]|$)`), nil, "JSON", exportCSV},
	{regexp.MustCompile(`^\[\s*([\]\["'{0-9-]|$)`), nil, "JSON", exportCSV},
	{regexp.MustCompile(`^\[[^\],;|\t]*\]$`), regexp.MustCompile(`^[\w.-]+\s*=|^[#;\[]`), "a settings file (INI)", "give the data file"},
	{regexp.MustCompile(`(?i)^BEGIN:(VCARD|VCALENDAR)`), nil, "a vCard or a calendar", exportCSV},
	{regexp.MustCompile(`(?i)^(dn:|# extended LDIF|version: 1$|# LDIF)`), nil, "an LDIF export of a directory", exportCSV},
	{regexp.MustCompile(`(?i)^(Return-Path|Received|Delivered-To|MIME-Version|Message-ID|Content-Type|X-[a-z-]+):|^From \S+ +(Mon|Tue|Wed|Thu|Fri|Sat|Sun) `), nil, "an e-mail message", "save the file that is attached to it"},
	{regexp.MustCompile(`(?i)^((INSERT\s+INTO|REPLACE\s+INTO|CREATE\s+(TABLE|DATABASE|SCHEMA|USER)|(DROP|ALTER)\s+TABLE|LOCK\s+TABLES|DELETE\s+FROM)\s+[^\s,;]|(UPDATE\s+\S+\s+SET|BEGIN\s+TRANSACTION)\b|(COPY|SELECT)\s.*\bFROM\s.*;$)|^(COPY|SELECT)\s.*\bFROM\s|^(?i)(PRAGMA\s+\w+|USE\s+\S+|SET\s+\S+\s*=?.*);$`), nil, "SQL", exportCSV},
	{regexp.MustCompile(`^(-- |--$|/\*)`), nil, "SQL, as a database dump is", exportCSV},
	{regexp.MustCompile(`^(---|%YAML\b.*)$|^- \S|^--- `), nil, "YAML", exportCSV},
	{regexp.MustCompile(`^[\w.-]+:\s*$`), regexp.MustCompile(`^\s*(- )?\S+:|^\s*- `), "YAML", exportCSV},
	{regexp.MustCompile(`^[\w.-]+: `), regexp.MustCompile(`^[\w.-]+:( |$)`), "lines of name: value, as YAML or LDIF has them", exportCSV},
	{regexp.MustCompile(`^[\w.-]+\s*=`), regexp.MustCompile(`^[\w.-]+\s*=`), "lines of name = value", exportCSV},
	{regexp.MustCompile(`^#!`), nil, "a program", "give the data file"},
	{regexp.MustCompile(`^(diff --git |commit [0-9a-f]{40}|Index: )`), nil, "a patch", "give the data file"},
	{regexp.MustCompile(`^[+|][-=+]{3,}[-=+|]*$|^\|.*\|$`), nil, "a table drawn with lines, as database programs print it", exportCSV},
	{regexp.MustCompile(`\|`), regexp.MustCompile(`^[-+|: ]*-{2,}[-+|: ]*$`), "a table drawn with lines, as database programs print it", exportCSV},
	{regexp.MustCompile(`^\[?(\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d|\d\d/[A-Z][a-z]{2}/\d{4}:)|^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d |^\S+ \S+ \S+ \[\d\d/[A-Z][a-z]{2}/\d{4}:|^(time|ts|level)=\S+ `), nil, "a log, or records without a header", exportCSV + " with the attribute names on the first line"},
}

// looksLike recognizes a file that is not CSV in UTF-8 by its start, and returns the reason to refuse it, or "". The
// reason repeats nothing of the file.
func looksLike(start []byte) string {
	reason := func(what, advice string) string {
		return fmt.Sprintf("the file is %s; expected CSV in UTF-8; %s", what, advice)
	}
	for _, s := range signatures {
		if bytes.HasPrefix(start, []byte(s.magic)) {
			return reason(s.what, s.advice)
		}
	}
	switch {
	case IsSkippableFrame(start):
		return reason("compressed with zstd", "unpack it, or give it a name that ends in .zst")
	case bytes.HasPrefix(start, []byte("BZh")) && len(start) > 10 && string(start[4:10]) == "1AY&SY":
		return reason("compressed with bzip2", "unpack it")
	case isTar(start):
		return reason("a tar archive", "unpack it")
	case bytes.HasPrefix(start, []byte("GIF8")) && !isText(start):
		return reason("a picture", exportCSV)
	case bytes.HasPrefix(start, []byte("Salted__")) && !isText(start):
		return reason("encrypted with OpenSSL", "decrypt it")
	}
	if order := utf16Order(start); order != "" {
		return reason("UTF-16 text without a byte order mark", saveAsUTF8+", or give --encoding utf-16"+order)
	}
	first, rest := firstLine(start)
	if bytes.ContainsFunc(first, isBinary) {
		return reason("binary, and no text", exportCSV+", or decrypt or unpack the file")
	}
	second, _ := firstLine(rest)
	for _, f := range textForms {
		if f.first.Match(first) && (f.second == nil || f.second.Match(second)) {
			return "the file looks like " + f.what + "; expected CSV in UTF-8; " + f.advice
		}
	}
	return ""
}

// isTar reports whether there is the magic of a tar archive, of POSIX or of GNU, with its bytes that text does not have: a
// value such as "mustard" may stand at its place.
func isTar(start []byte) bool {
	if len(start) < 265 {
		return false
	}
	magic := string(start[257:265])
	return strings.HasPrefix(magic, "ustar\x00") || magic == "ustar  \x00"
}

// isText reports whether the first 512 bytes are text. A header may begin with letters that are also the magic of a format.
func isText(start []byte) bool {
	start = start[:min(len(start), 512)]
	for len(start) > 0 {
		r, n := utf8.DecodeRune(start)
		if isBinary(r) || r == utf8.RuneError && n == 1 && utf8.FullRune(start) {
			return false
		}
		start = start[n:]
	}
	return true
}

// IsSkippableFrame reports whether b starts with a skippable frame of zstd: pzstd writes one before the data.
func IsSkippableFrame(b []byte) bool {
	return len(b) >= 4 && b[0]&0xF0 == 0x50 && b[1] == 0x2A && b[2] == 0x4D && b[3] == 0x18
}

// utf16Order recognizes UTF-16 without its mark by the zero bytes of Latin letters: "le", "be", or "" for other text.
func utf16Order(start []byte) string {
	start = start[:min(len(start), 512)&^1]
	var zeros [2]int
	for i, b := range start {
		if b == 0 {
			zeros[i&1]++
		}
	}
	half := len(start) / 2
	switch {
	case half < 2:
	case zeros[1] > half*2/3 && zeros[0] == 0:
		return "le"
	case zeros[0] > half*2/3 && zeros[1] == 0:
		return "be"
	}
	return ""
}

// firstLine is the first line that is not blank, without the space around it and cut after 4 KiB, and what follows it.
func firstLine(b []byte) (line, rest []byte) {
	b = bytes.TrimLeft(b, " \t\r\n\f\v")
	line, rest, _ = bytes.Cut(b, []byte{'\n'})
	return bytes.TrimSpace(line[:min(len(line), 4096)]), rest
}

// isBinary reports whether a character never occurs in text.
func isBinary(r rune) bool {
	return r < ' ' && !strings.ContainsRune("\t\r\n\f\v\x1A", r) || r == 0x7F || r == 0xFFFE || r == 0xFFFF
}

// sepLine matches the first line of a spreadsheet's CSV that declares the separator, also in quotes, and with separators
// after it if another program has saved it again.
var sepLine = regexp.MustCompile(`(?i)^"?sep=([^\r\n]?)"?[,;|\t]*$`)

// refuseSepLine returns the reason to refuse such a line, "" for any other.
func refuseSepLine(raw []byte, d Delimiter) string {
	found := sepLine.FindSubmatch(trimLineEnd(raw))
	if found == nil {
		return ""
	}
	const what = `the line says how the fields are separated ("sep="), as some spreadsheets write it; expected the header; remove the line`
	if asked, err := ParseDelimiter(string(found[1])); err == nil && asked.byte() != d.byte() {
		return fmt.Sprintf("%s, and give --delimiter '%s'", what, asked)
	}
	return what
}

// isInvisible reports whether a character is invisible in a name.
func isInvisible(r rune) bool {
	return !unicode.IsGraphic(r) || r != ' ' && unicode.Is(unicode.Zs, r) || r == utf8.RuneError
}
