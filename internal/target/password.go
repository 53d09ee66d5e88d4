package target

import (
	"encoding/json"
	"errors"
	"regexp"
)

// Password is the value of the attribute password: Plain, or a hash with its type and, for some types, its salt.
type Password struct {
	Plain             string
	Type, Value, Salt string
}

// ParsePassword parses the value of the attribute password; ok is false where there is none. Its error contains nothing of
// the value.
func ParsePassword(raw json.RawMessage) (p Password, ok bool, err error) {
	if len(raw) == 0 || string(raw) == "null" {
		return p, false, nil
	}
	if json.Unmarshal(raw, &p.Plain) == nil {
		return p, p.Plain != "", nil
	}
	var hash struct{ Type, Value, Salt string }
	if err := json.Unmarshal(raw, &hash); err != nil || hash.Type == "" || hash.Value == "" {
		return p, false, errors.New(`the password is neither a text nor {"type": …, "value": …}`)
	}
	return Password{Type: hash.Type, Value: hash.Value, Salt: hash.Salt}, true, nil
}

var isType = regexp.MustCompile(`^[a-z][a-z0-9-]{1,60}$`)

// Kind is the type of a hash for people and counts; it is safe for logs.
func (p Password) Kind() string {
	if isType.MatchString(p.Type) {
		return p.Type
	}
	return "unknown"
}

// Unsendable is an error of Encode. reason and text contain nothing of the record.
func Unsendable(reason, text string) *Error {
	return &Error{Class: Refused, Reason: reason, Err: errors.New(text)}
}
