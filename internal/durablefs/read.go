package durablefs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// NotRegularError says that a path names something that cannot be read to its end, or only once.
type NotRegularError struct {
	Path string
	mode fs.FileMode
}

func (e *NotRegularError) Error() string {
	what := "not a regular file"
	switch {
	case e.mode.IsDir():
		what = "a folder"
	case e.mode&fs.ModeNamedPipe != 0:
		what = "a pipe"
	case e.mode&fs.ModeSocket != 0:
		what = "a socket"
	case e.mode&fs.ModeDevice != 0:
		what = "a device"
	}
	return fmt.Sprintf("%s is %s; expected a file on a disk, which can be read again", e.Path, what)
}

// CheckRegular refuses a path that is no regular file with a *NotRegularError.
func CheckRegular(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return &NotRegularError{path, info.Mode()}
	}
	return nil
}

// Open opens a regular file to read it. Anything else is a *NotRegularError: opening a pipe would wait for its writer, and
// a device may have no end.
func Open(path string) (*os.File, error) {
	if err := CheckRegular(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // even if it is a pipe by now, this does not block
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = f.Close()
		if err != nil {
			return nil, err
		}
		return nil, &NotRegularError{path, info.Mode()}
	}
	return f, nil
}

// ReadFile reads a regular file, as Open opens it, of at most limit bytes.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s has more than %d bytes; expected fewer; check that it is the right file", path, limit)
	}
	return data, err
}

// maxSecret is the largest file with a secret, in bytes.
const maxSecret = 64 << 10

// ReadSecret returns the secret in a regular file, as an editor or a shell writes it: in UTF-8 or, with a byte order mark, in
// UTF-16; see CleanSecret. The error says what is wrong, and contains nothing of the secret.
func ReadSecret(path string) (string, error) {
	data, err := ReadFile(path, maxSecret)
	if err != nil {
		return "", err
	}
	text, err := decoded(data)
	if err == nil {
		text, err = CleanSecret(text)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if text == "" {
		return "", fmt.Errorf("%s is empty; expected the secret in it", path)
	}
	return text, nil
}

var errNotText = errors.New("this is no text in UTF-8; expected the secret alone, as text; save it as UTF-8")

// decoded returns text from UTF-8, or from UTF-16 with a byte order mark.
func decoded(data []byte) (string, error) {
	big := bytes.HasPrefix(data, []byte{0xFE, 0xFF})
	if !big && !bytes.HasPrefix(data, []byte{0xFF, 0xFE}) {
		return string(data), nil
	}
	if data = data[2:]; len(data)%2 != 0 {
		return "", errNotText
	}
	units := make([]uint16, len(data)/2)
	for i := range units {
		low, high := data[2*i], data[2*i+1]
		if big {
			low, high = high, low
		}
		units[i] = uint16(high)<<8 | uint16(low)
	}
	return string(utf16.Decode(units)), nil
}

var assignment = regexp.MustCompile(`(?i)^(export\s+)?[a-z_-]*(secret|password|key)["']?\s*[=:]\s*\S`)

// CleanSecret removes what is copied with a secret by mistake: a byte order mark, surrounding white space and line ends, and
// one pair of quotes. "" is no secret. The rest must be one line of visible characters; the error says what it is instead,
// and contains nothing of it.
func CleanSecret(text string) (string, error) {
	text = strings.TrimSpace(strings.TrimPrefix(text, "\ufeff"))
	if n := len(text); n > 1 && text[0] == text[n-1] && (text[0] == '"' || text[0] == '\'') {
		text = strings.TrimSpace(text[1 : n-1])
	}
	switch {
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return "", errNotText
	case strings.ContainsAny(text, "\r\n"):
		return "", fmt.Errorf("there are %d lines; expected the secret alone, on one", strings.Count(text, "\n")+1)
	case assignment.MatchString(text):
		return "", errors.New("there is a name before the secret; expected the secret alone")
	case strings.HasPrefix(text, "{") && strings.HasSuffix(text, "}"):
		return "", errors.New("this is JSON; expected the secret alone")
	case strings.ContainsAny(text, "“”„‘’«»"):
		return "", errors.New("there are typographic quotes; expected the secret alone")
	}
	for _, r := range text {
		if unicode.IsSpace(r) && r != ' ' || !unicode.IsGraphic(r) {
			return "", fmt.Errorf("there is a character that is not seen in it, U+%04X; expected the secret alone; copy it again", r)
		}
	}
	return text, nil
}
