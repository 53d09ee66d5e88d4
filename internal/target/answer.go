package target

import (
	"errors"
	"time"
)

// Answer is the result of Create, which is known only where the platform itself said so, in its own form. The page of a
// front end, a gateway or a proxy does not tell what was written, whatever its status, and neither does an internal error of
// the platform. It is to be read in this order:
//
//	Err is nil                    Results says what became of each record
//	Err is no *Error              no byte was sent: the error is that of Hooks.BeforeCall or of the context
//	Err has Error.Fault           unknown; an operator must act
//	the class TooLarge            halves may succeed; without NothingWritten something may have been written
//	any class that is final       several records were refused together, and nothing was written; parts may succeed
//	anything else                 unknown: all, some or none of the records may exist, unless NothingWritten
type Answer struct {
	// Results has one entry for each record sent, in order, if Err is nil; else it is nil.
	Results []Result
	Err     error
	// NothingWritten is true if none of the records was written: the platform refused the call, or nothing was sent. False
	// means unknown.
	NothingWritten bool
	// ServerDate is the answer's Date header, zero if there was none. Sent is the local time just before dialling, Received
	// that of the last byte or of the failure, of the call that writes; both are zero if nothing was sent. RetryAfter is how
	// long the target asks to wait.
	ServerDate     time.Time
	Sent, Received time.Time
	RetryAfter     time.Duration
}

// Result is what became of one record: it was created with an ID, or Err says what else: the class Duplicate (another record
// has the value of a unique attribute, or the mark), Unwritten, any final class (the record has failed), else unknown.
type Result struct {
	ID  string
	Err *Error
}

// Reason is the class of the failure of a call, safe for logs and as a metric's label: "" if the target answered, "not sent"
// if no byte was sent, else the Reason of the *Error, such as "http 502", "timeout", "reset", "not json", "too large", or a
// code of the platform.
func (a Answer) Reason() string {
	var e *Error
	switch {
	case a.Err == nil:
		return ""
	case errors.As(a.Err, &e):
		return e.Reason
	}
	return "not sent"
}

// Words is the text for the fail file of each record of a call that failed as a whole. It may contain user data.
func (a Answer) Words() string {
	var e *Error
	switch {
	case a.Err == nil:
		return ""
	case errors.As(a.Err, &e):
		return e.Text()
	}
	return a.Err.Error()
}

// Verdict is what is known of a call, as a metric's label: "answered", "refused", "too large", "unknown" or "not sent".
func (a Answer) Verdict() string {
	var e *Error
	switch {
	case a.Err == nil:
		return "answered"
	case !errors.As(a.Err, &e):
		return "not sent"
	case e.Class == TooLarge:
		return "too large"
	case a.NothingWritten:
		return "refused"
	}
	return "unknown"
}

// Unknown counts the records of which the answer does not tell what became of them, and returns the reason of the last.
func (a Answer) Unknown() (n int, reason string) {
	for _, r := range a.Results {
		if r.Err != nil && !r.Err.Class.IsFinal() && r.Err.Class != Unwritten {
			n++
			reason = r.Err.Reason
		}
	}
	return n, reason
}

// Of is the answer to a call of so many records: a refusal of the only one is its result. Every adapter ends Create with it.
func (a Answer) Of(records int) Answer {
	var e *Error
	if records == 1 && a.NothingWritten && errors.As(a.Err, &e) && e.Class.IsFinal() && e.Class != TooLarge && !e.Fault {
		a.Results, a.Err = []Result{{Err: e}}, nil
	}
	return a
}
