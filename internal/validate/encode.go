package validate

import (
	"fmt"
	"unicode"

	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/source"
)

// Encoder makes the JSON object that is sent of the fields of a record. Its errors name columns and hold no value.
type Encoder interface {
	AppendJSON(dst []byte, fields []string) ([]byte, error)
	// Keyless says that the record is sent without a usable value of the attribute.
	Keyless(attribute string, fields []string) bool
}

// Records is an Encoder that knows what it makes of what.
type Records interface {
	Encoder
	Making
	// Reads says whether anything is made of a column, from 0.
	Reads(column int) bool
	// Replaced tells the attributes that get something else than their cells say, and what is expected there.
	Replaced(fields []string, tell func(attribute, expected string))
}

// Unsendable is the reason why a record cannot be sent: it fails, and the others of its batch do not. Its text holds no
// value of the record.
type Unsendable struct {
	Kind   Kind // KindFields, KindEmptyRecord, KindTransform or KindTooLarge
	Reason string
	Size   int64 // in a request, of one that is too large; else 0
}

func (e *Unsendable) Error() string { return e.Reason }

// Encode appends what is sent of a record, whose bytes are raw. Its size in a request may be room at most: see
// identitycloud.EncodedSize. The error is an *Unsendable, and dst is then returned as it was.
func Encode(dst []byte, h *source.Header, e Encoder, room int64, raw []byte) ([]byte, error) {
	fields, err := h.Fields(raw)
	if err != nil {
		return dst, &Unsendable{Kind: KindFields, Reason: err.Error()}
	}
	if isEmpty(fields) {
		return dst, &Unsendable{Kind: KindEmptyRecord, Reason: "no column has a value; expected a record; remove the line"}
	}
	json, err := e.AppendJSON(dst, fields)
	if err != nil {
		return dst, &Unsendable{Kind: KindTransform, Reason: err.Error()}
	}
	if size := identitycloud.EncodedSize(json[len(dst):]); size > room {
		return dst, &Unsendable{
			Kind: KindTooLarge, Size: size,
			Reason: fmt.Sprintf("the record is too large: %d bytes in a request, at most %d are allowed", size, room),
		}
	}
	return json, nil
}

// isEmpty says that no field has a value that can be seen: a spreadsheet writes such rows below its table.
func isEmpty(fields []string) bool {
	for _, field := range fields {
		for _, r := range field {
			if !unicode.IsSpace(r) && !unicode.In(r, unicode.Cc, unicode.Cf) {
				return false
			}
		}
	}
	return true
}
