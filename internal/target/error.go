package target

import (
	"errors"
	"fmt"
	"strconv"
)

// Class says what to do about an error.
type Class int

const (
	// Unknown: there was no answer, or none that can be relied upon: it is not known whether the call did anything. It may
	// pass. It is the zero value, so that an error that was never judged does not count as known.
	Unknown Class = iota
	// Throttled: the target is overloaded or asks for fewer calls. It may pass. Unless Answer.NothingWritten, it is not known
	// whether the call did anything.
	Throttled
	// Forbidden: the client lacks the permission for this call, which an operator can give, or the platform has no such call.
	// Some platforms answer so in passing trouble as well, so a repeated call may succeed.
	Forbidden
	// Unusable: the credentials are wrong, or the type, schema or project does not exist. It does not pass.
	Unusable
	// Unwritten, of a Result only: the record was not written, and there is nothing wrong with it. The platform rolled it
	// back because of another record, or it cannot travel with the others. It is to be sent again, in a part of the call
	// without the records that have another result.
	Unwritten

	// The classes from here on are final: a repeated call would fail in the same way. Nothing was changed.

	// Refused: the platform refuses the record or its new values.
	Refused
	// Duplicate: another record has the value of a unique attribute, or the mark.
	Duplicate
	// NotFound: there is no record with this address.
	NotFound
	// Conflict: the record was changed since Ref.Version.
	Conflict
	// TooLarge: the request is too large for the target, or for a hop on the way.
	TooLarge
)

func (c Class) String() string {
	names := [...]string{"unknown", "throttled", "forbidden", "unusable", "unwritten", "refused", "duplicate", "not found", "conflict", "too large"}
	if c < 0 || int(c) >= len(names) {
		return "class " + strconv.Itoa(int(c))
	}
	return names[c]
}

// IsFinal reports whether a repeated call would fail in the same way: the platform itself has refused this record.
func (c Class) IsFinal() bool { return c >= Refused }

// Error is a failed call, or what became of one record of a call.
type Error struct {
	Class Class
	// Reason is a short class, safe for logs and as a metric's label: see Answer.Reason.
	Reason string
	// Words are the platform's own, "" if it has none. They may contain user data, and belong only in files that do so.
	Words string
	// Fault: the call is at fault and not a record, and no other call can succeed until an operator has acted: wrong
	// credentials, a wrong address, no secure connection, another server.
	Fault bool
	// Err is the text for people, and the cause; nil if Reason says it all. It is safe for logs: it contains codes, host
	// names, request ids and advice, never a secret, and nothing of a record.
	Err error
}

// Error returns the text of Err, or else the reason.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return e.Reason
}

func (e *Error) Unwrap() error { return e.Err }

// Text is what a fail file says of a record with this error: the platform's words, or else the text of the error. It may
// contain user data.
func (e *Error) Text() string {
	if e.Words != "" {
		return e.Words
	}
	return e.Error()
}

// Is reports whether an error is an *Error of a class.
func Is(err error, class Class) bool {
	var e *Error
	return errors.As(err, &e) && e.Class == class
}

// IsFault reports whether an error has Error.Fault.
func IsFault(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Fault
}

// Refusal returns the words with which the platform refuses a call for this record; ok is false for any other error. The
// words may contain user data.
func Refusal(err error) (words string, ok bool) {
	var e *Error
	if !errors.As(err, &e) || !e.Class.IsFinal() || e.Fault {
		return "", false
	}
	return e.Text(), true
}

// Oversized is the error of Encode for a record of a size that exceeds Traits.MaxBytes.
func Oversized(size, most int64) *Error {
	return &Error{Class: TooLarge, Reason: "too large", Err: fmt.Errorf("the record is too large: %d bytes in a request, at most %d are allowed", size, most)}
}
