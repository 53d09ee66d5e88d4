package mapping

import (
	"errors"
	"slices"
	"strings"
	"unicode"

	"durable-dataload/internal/source"
	"durable-dataload/internal/target"
)

// Unsendable is the reason why a record cannot be sent: it fails, and the others of its batch do not. Its text contains no
// value of the record.
type Unsendable struct {
	Fault  Fault
	Reason string
	Size   int64 // in a request, of one that is too large; else 0
}

// Fault is a class of reasons.
type Fault int

// What can be wrong with a record.
const (
	BadFields   Fault = iota // it cannot be split into the header's columns
	NoValue                  // no column has a value
	HeaderAgain              // it is the header once more
	NotMapped                // the mapping cannot be applied to it
	TooLarge                 // it exceeds the size of a request
	NotTaken                 // the target does not take it in this form
)

func (e *Unsendable) Error() string { return e.Reason }

// Appender converts the fields of a record into the JSON object to send. Its errors name columns and contain no value.
type Appender interface {
	AppendJSON(dst []byte, fields []string) ([]byte, error)
}

// Encode appends the JSON of a record with these fields in columns of these names, which the format of the target can encode,
// and returns its size in a request. The error is an *Unsendable, and dst is then returned unchanged.
func Encode(dst []byte, a Appender, format target.Format, names, fields []string) (json []byte, size int64, err error) {
	switch {
	case isEmpty(fields):
		return dst, 0, &Unsendable{Fault: NoValue, Reason: "no column has a value; expected a record; remove the line"}
	case isHeader(names, fields):
		return dst, 0, &Unsendable{Fault: HeaderAgain, Reason: "the line repeats the header, as where files were joined; expected a record; remove the line"}
	}
	json, err = a.AppendJSON(dst, fields)
	if err != nil {
		return dst, 0, &Unsendable{Fault: NotMapped, Reason: err.Error()}
	}
	size, err = format.Measure(json[len(dst):])
	switch {
	case err == nil:
		return json, size, nil
	case target.Is(err, target.TooLarge):
		return dst, 0, &Unsendable{Fault: TooLarge, Size: size, Reason: err.Error()}
	}
	return dst, 0, &Unsendable{Fault: NotTaken, Reason: err.Error()}
}

// isEmpty reports whether no field has a visible value: a spreadsheet writes such rows below its table.
func isEmpty(fields []string) bool {
	isVisible := func(r rune) bool { return !unicode.IsSpace(r) && !unicode.In(r, unicode.Cc, unicode.Cf) }
	for _, field := range fields {
		if strings.ContainsFunc(field, isVisible) {
			return false
		}
	}
	return true
}

// isHeader reports whether the fields are the names of their columns. A file that was appended to another may begin with a byte
// order mark.
func isHeader(names, fields []string) bool {
	return strings.TrimPrefix(fields[0], "\uFEFF") == names[0] && slices.Equal(fields[1:], names[1:])
}

// Encoder encodes, measures and names the records of one file. It is safe for concurrent use.
type Encoder struct {
	*Records
	header *source.Header
	key    string // attribute
	format target.Format
}

// NewEncoder compiles the mapping for a header. key is the primary key, format that of the target.
func NewEncoder(h *source.Header, m *Mapping, key string, format target.Format) (*Encoder, error) {
	records, err := m.Compile(h.Names)
	if err != nil {
		return nil, err
	}
	return &Encoder{Records: records, header: h, key: key, format: format}, nil
}

// Append is Encode for the bytes of a record of the file.
func (e *Encoder) Append(dst, raw []byte) ([]byte, error) {
	json, _, err := e.encode(dst, raw)
	return json, err
}

func (e *Encoder) encode(dst, raw []byte) (json []byte, size int64, err error) {
	fields, err := e.header.Fields(raw)
	if err != nil {
		return dst, 0, &Unsendable{Fault: BadFields, Reason: err.Error()}
	}
	return Encode(dst, e.Records, e.format, e.header.Names, fields)
}

// Size is the size of a record in a request, with its separator; 0 if it cannot be sent, unless it is too large.
func (e *Encoder) Size(raw []byte) int64 {
	_, size, err := e.encode(make([]byte, 0, 2*len(raw)), raw)
	var unsendable *Unsendable
	if errors.As(err, &unsendable) {
		return unsendable.Size
	}
	return size
}

// IsKeyless reports whether the record is sent without a usable value of the primary key.
func (e *Encoder) IsKeyless(raw []byte) bool {
	fields, err := e.header.Fields(raw)
	if err != nil || !e.Keyless(e.key, fields) {
		return false
	}
	_, _, err = Encode(nil, e.Records, e.format, e.header.Names, fields)
	return err == nil
}

// KeyOf returns the text of the primary key of a record as it is sent: see KeyValue.
func (e *Encoder) KeyOf(raw []byte) string {
	fields, err := e.header.Fields(raw)
	if err != nil {
		return ""
	}
	return e.KeyValue(e.key, fields)
}

// Label identifies a record in result files: its email as in the input or, if no column is the email, as it is sent;
// without an email, its key; "" if it has neither.
func (e *Encoder) Label(raw []byte) string {
	if column, ok := e.Key(email); ok {
		value, err := e.header.Value(raw, column)
		if err != nil {
			return ""
		}
		return value
	}
	fields, err := e.header.Fields(raw)
	if err != nil {
		return ""
	}
	return e.First(fields, email, e.key)
}

const email = "email"
