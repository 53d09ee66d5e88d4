package stage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// Encoding is the character encoding of an input.
type Encoding string

const (
	UTF8        Encoding = "" // not converted; internal/source validates it
	Windows1252 Encoding = "windows-1252"
	Latin1      Encoding = "latin-1"
	UTF16       Encoding = "utf-16" // the byte order mark decides, and is required
	UTF16LE     Encoding = "utf-16le"
	UTF16BE     Encoding = "utf-16be"
)

// Encodings are their names on the command line.
var Encodings = []string{"utf-8", string(Windows1252), string(Latin1), string(UTF16), string(UTF16LE), string(UTF16BE)}

// ParseEncoding accepts the common names of the encodings.
func ParseEncoding(name string) (Encoding, error) {
	switch strings.ToLower(name) {
	case "", "utf-8", "utf8":
		return UTF8, nil
	case "windows-1252", "cp1252":
		return Windows1252, nil
	case "latin-1", "latin1", "iso-8859-1":
		return Latin1, nil
	case "utf-16", "utf16":
		return UTF16, nil
	case "utf-16le", "utf-16be":
		return Encoding(strings.ToLower(name)), nil
	}
	return "", fmt.Errorf("the encoding is %q; expected utf-8, windows-1252, latin-1 (iso-8859-1), utf-16, utf-16le or utf-16be", name)
}

// decoder appends text to dst in UTF-8 and returns the number of bytes of src that it used: all except an incomplete
// character at the end. At the end of the input there is none. The error is an *Error without file and line: the rest
// of src is invalid.
type decoder func(dst, src []byte, end bool) (text []byte, used int, err error)

// meaningless is the error of a decoder for invalid bytes.
func meaningless(format string, args ...any) error {
	return &Error{Reason: fmt.Sprintf(format, args...)}
}

// errIsUTF8 is the error of a decoder for the input as a whole.
var errIsUTF8 = errors.New("all characters of the file beyond ASCII are UTF-8")

// copy converts r to UTF-8. The error is an *Error if that is not possible.
func (e Encoding) copy(out *output, r io.Reader) error {
	decode := e.decoder()
	in, text := make([]byte, chunkSize), []byte(nil)
	have := 0
	for {
		n, err := r.Read(in[have:])
		have += n
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return err
		}
		var used int
		text, used, err = decode(text[:0], in[:have], end)
		if _, err := out.Write(text); err != nil {
			return err
		}
		var wrong *Error
		switch {
		case errors.Is(err, errIsUTF8):
			return &Error{Reason: fmt.Sprintf("%v; expected %s; leave --encoding out", err, e)}
		case errors.As(err, &wrong):
			wrong.Line = out.lines + 1
			return wrong
		}
		have = copy(in, in[used:have])
		if end {
			return nil
		}
	}
}

func (e Encoding) decoder() decoder {
	switch e {
	case Windows1252:
		return singleBytes(charmap.Windows1252, "windows-1252; expected text in that encoding; say with --encoding what it is")
	case Latin1:
		return singleBytes(charmap.ISO8859_1, "latin-1; expected text in that encoding; it may be --encoding windows-1252")
	case UTF16, UTF16LE, UTF16BE:
		return (&utf16Decoder{encoding: e}).decode
	}
	return func(dst, src []byte, _ bool) ([]byte, int, error) { return append(dst, src...), len(src), nil }
}

// singleBytes decodes an encoding with one byte per character. Bytes for the control characters U+0080 to U+009F are
// invalid: ISO 8859-1 does not assign them, and in Windows-1252 they are the five unassigned ones.
//
// UTF-8 is valid in any such encoding and would become two or three wrong letters for each right one. So a file that is
// UTF-8 throughout, and not only ASCII, is refused.
func singleBytes(table *charmap.Charmap, encoding string) decoder {
	var asUTF8 utf8Watch
	return func(dst, src []byte, end bool) ([]byte, int, error) {
		asUTF8.see(src)
		if end && asUTF8.isUTF8() {
			return dst, 0, errIsUTF8
		}
		for i := 0; i < len(src); i++ {
			ascii := asciiPrefix(src[i:])
			dst = append(dst, src[i:i+ascii]...)
			if i += ascii; i == len(src) {
				break
			}
			r := table.DecodeByte(src[i])
			if r == utf8.RuneError || r < 0xA0 && r >= 0x80 {
				return dst, i, meaningless("the byte 0x%02X has no meaning in %s", src[i], encoding)
			}
			dst = utf8.AppendRune(dst, r)
		}
		return dst, len(src), nil
	}
}

// utf8Watch detects UTF-8 with characters beyond ASCII.
type utf8Watch struct {
	rest            []byte // the start of an incomplete character
	beyond, invalid bool
}

func (w *utf8Watch) see(p []byte) {
	if w.invalid {
		return
	}
	w.rest = append(w.rest, p...)
	p = w.rest
	for {
		if p = p[asciiPrefix(p):]; len(p) == 0 {
			break
		}
		r, size := utf8.DecodeRune(p)
		if r == utf8.RuneError && size == 1 {
			w.invalid = utf8.FullRune(p)
			break
		}
		w.beyond = true
		p = p[size:]
	}
	w.rest = w.rest[:copy(w.rest, p)]
}

func (w *utf8Watch) isUTF8() bool { return w.beyond && !w.invalid && len(w.rest) == 0 }

// asciiPrefix is the number of bytes before the first that is not ASCII.
func asciiPrefix(b []byte) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		if binary.LittleEndian.Uint64(b[i:])&0x8080808080808080 != 0 {
			break
		}
	}
	for i < len(b) && b[i] < utf8.RuneSelf {
		i++
	}
	return i
}

// utf16Decoder decodes UTF-16. A byte order mark is not part of the text.
type utf16Decoder struct {
	encoding Encoding // UTF16 until the order is known
	started  bool
}

func (d *utf16Decoder) decode(dst, src []byte, end bool) ([]byte, int, error) {
	pos := 0
	if !d.started && len(src) >= 2 {
		d.started = true
		var err error
		if pos, err = d.start(src); err != nil {
			return dst, 0, err
		}
	}
	for len(src)-pos >= 2 {
		r, size := d.unit(src[pos:]), 2
		if utf16.IsSurrogate(r) {
			if len(src)-pos < 4 && !end {
				return dst, pos, nil
			}
			if len(src)-pos >= 4 {
				r, size = utf16.DecodeRune(r, d.unit(src[pos+2:])), 4
			} else {
				r = utf8.RuneError
			}
			if r == utf8.RuneError {
				return dst, pos, meaningless("an incomplete character (a lone surrogate) is not UTF-16; expected UTF-16; fix the export, or name the encoding with --encoding")
			}
		}
		dst = utf8.AppendRune(dst, r)
		pos += size
	}
	if end && pos < len(src) {
		return dst, pos, meaningless("the last character is cut off; expected two bytes a character, as UTF-16 has them; make or fetch the file again")
	}
	return dst, pos, nil
}

// start determines the byte order and returns the length of its mark.
func (d *utf16Decoder) start(src []byte) (mark int, err error) {
	found := Encoding("")
	switch {
	case bytes.HasPrefix(src, []byte{0xFF, 0xFE}):
		found = UTF16LE
	case bytes.HasPrefix(src, []byte{0xFE, 0xFF}):
		found = UTF16BE
	}
	switch {
	case found == "" && d.encoding == UTF16:
		return 0, meaningless("there is no byte order mark; expected one with --encoding utf-16; give utf-16le (as Windows writes it) or utf-16be, or say what else it is")
	case found == "":
		return 0, nil
	case d.encoding != UTF16 && d.encoding != found:
		return 0, meaningless("the byte order mark is that of %s; expected %s; give --encoding utf-16", found, d.encoding)
	}
	d.encoding = found
	return 2, nil
}

func (d *utf16Decoder) unit(b []byte) rune {
	if d.encoding == UTF16BE {
		return rune(b[0])<<8 | rune(b[1])
	}
	return rune(b[1])<<8 | rune(b[0])
}
