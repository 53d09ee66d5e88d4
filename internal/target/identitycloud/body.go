package identitycloud

import (
	"bytes"
	"cmp"
	"strconv"
	"time"
	"unicode/utf8"
)

// MaxBody is the size in bytes up to which a body is safe to send.
//
// The documentation says "5 MB" and does not say whether that is 5,000,000 or 5,242,880 bytes, nor whether it is
// counted before or after percent-encoding. This is the smaller figure, for the encoded body, which is what a front
// end counts; the error text that the documentation prints is of a body of 6,291,456 bytes.
const MaxBody = 5_000_000

const (
	openList  = "%5B" // [
	closeList = "%5D" // ]
	separator = "%2C" // ,
)

// Body is the encoded body of one entity.bulkCreate call. It is immutable: see Client.join.
type Body struct {
	encoded []byte
	records int
}

// Size is the exact number of bytes of the request's body.
func (b Body) Size() int64 { return int64(len(b.encoded)) }

// Records is the number of records in the body.
func (b Body) Records() int { return b.records }

// isOneObject reports whether the first bracket closes with the last byte and not earlier. It scans brackets and strings
// only: parsing everything again would cost as much as encoding did.
func isOneObject(record []byte) bool {
	record = bytes.TrimSpace(record)
	if len(record) == 0 || record[0] != '{' || !utf8.Valid(record) {
		return false
	}
	depth := 0
	for i := 0; i < len(record); i++ {
		switch record[i] {
		case '"':
			for i++; i < len(record) && record[i] != '"'; i++ {
				if record[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i == len(record)-1
			}
		}
	}
	return false
}

// Room is the total size of records that fits into one body of MaxBody. For one record or more,
//
//	Body.Size = MaxBody - Room + the sum of EncodedSize over the records
func Room(entityType string, timeout time.Duration) int64 {
	return MaxBody - overhead(common(entityType, timeout))
}

// common encodes the parameters of every call.
func common(entityType string, timeout time.Duration) []byte {
	seconds := max(1, int64(cmp.Or(timeout, DefaultTimeout)/time.Second))
	form := appendParameter(nil, "type_name", cmp.Or(entityType, DefaultEntityType))
	return appendParameter(form, "timeout", strconv.FormatInt(seconds, 10))
}

// overhead is the part of a body's size that does not depend on its records.
func overhead(common []byte) int64 {
	// Of n records n-1 are followed by a separator, and EncodedSize counts one for each.
	return int64(len(common) + len("&all_attributes="+openList+closeList) - len(separator))
}

// EncodedSize is the number of bytes that one record adds to a body, its separator included.
func EncodedSize[T []byte | string](json T) int64 {
	n := int64(len(json) + len(separator))
	for i := range len(json) {
		n += int64(more[json[i]])
	}
	return n
}

// more is how many bytes a byte grows by when it is encoded.
var more = func() (t [256]uint8) {
	for b := range t {
		if !plain[b] && b != ' ' {
			t[b] = 2
		}
	}
	return t
}()

// appendParameter adds one parameter to a form. The key must need no encoding.
func appendParameter(form []byte, key, value string) []byte {
	if len(form) > 0 {
		form = append(form, '&')
	}
	form = append(form, key...)
	form = append(form, '=')
	return appendEncoded(form, value)
}

// appendEncoded adds value, percent-encoded for a form (a blank becomes "+"), like url.QueryEscape and the Python client's
// urlencode.
func appendEncoded[T []byte | string](dst []byte, value T) []byte {
	const hex = "0123456789ABCDEF"
	start := 0 // of the bytes that need no encoding
	for i := range len(value) {
		b := value[i]
		if plain[b] {
			continue
		}
		dst = append(dst, value[start:i]...)
		start = i + 1
		if b == ' ' {
			dst = append(dst, '+')
		} else {
			dst = append(dst, '%', hex[b>>4], hex[b&15])
		}
	}
	return append(dst, value[start:]...)
}

// plain holds the bytes that need no encoding: the unreserved ones of RFC 3986.
var plain = func() (t [256]bool) {
	for _, b := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~") {
		t[b] = true
	}
	return t
}()
