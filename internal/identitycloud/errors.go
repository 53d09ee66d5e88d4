package identitycloud

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// APIError is an error that the API itself declared, for a whole call or for one record: JSON with stat "error".
//
// Error is safe for logs. The API's words are not, since they may repeat what was sent: they are in Description and
// Words, for the files that hold user data.
type APIError struct {
	// Code is the API's number, not an HTTP status; 0 if none was given.
	Code int
	// Name stands for the code, as unique_violation does for 361.
	Name string
	// Description is error_description, or else message: the API's words, which may hold user data.
	Description string
	// RequestID is request_id, or else request_token, for a question to the support; "" if none was given.
	RequestID string
	// Argument is argument_name, or else attribute_name: what the error is about; "" if none was given.
	Argument string
}

// Error returns the log-safe form: api 361 unique_violation (request geup8cd3gvcvjjnc).
func (e *APIError) Error() string {
	var b strings.Builder
	b.WriteString(e.Reason())
	if isToken(e.Name) {
		b.WriteString(" " + e.Name)
	}
	if isToken(e.RequestID) {
		b.WriteString(" (request " + e.RequestID + ")")
	}
	return b.String()
}

// Reason is the class of the error, as in Answer.Reason: "api 361".
func (e *APIError) Reason() string {
	if e.Code == 0 {
		return "api error without a code"
	}
	return "api " + strconv.Itoa(e.Code)
}

// Words returns what the fail file says of a record with this error: the API's description, as dataload.py writes it,
// or the log-safe form where the API gave none. It may hold user data: not for logs.
func (e *APIError) Words() string {
	if e.Description != "" {
		return e.Description
	}
	return e.Error()
}

// IsDuplicate says that a unique attribute of the record has a value that another record has already:
// "Attempted to update a duplicate value". It does not say which attribute, nor whose record.
func (e *APIError) IsDuplicate() bool { return e.Code == 361 || e.Name == "unique_violation" }

// IsPermission says that the API client lacks the right for the call: code 403, client_permission_error.
func (e *APIError) IsPermission() bool { return e.Code == 403 || e.Name == "client_permission_error" }

// IsNotFound says that there is no record with the address that was given: code 310, record_not_found, or a uuid that
// cannot be one, which is code 200 for the argument uuid.
func (e *APIError) IsNotFound() bool {
	return e.Code == 310 || e.Name == "record_not_found" || e.Code == 200 && e.Argument == "uuid"
}

// IsAboutCall says that the error would be the same for any records: the client, its rights, the entity type, the
// application, an argument of the call, the platform itself. Any other refusal of a call may be due to one record of it.
//
// Source: the groups of the error codes, techdocs.akamai.com/identity-cloud-entity/reference/registration-error-codes:
// 400 to 499 authentication and permission, 500 and above internal.
func (e *APIError) IsAboutCall() bool {
	switch e.Code {
	case 100, 201, 205, 221, 222, 224:
		return true
	case 200:
		return e.Argument != "" && e.Argument != "all_attributes" && e.Argument != "attributes"
	}
	return e.Code >= 400
}

// IsTimestampMismatch says that the record was not last updated when the caller took it to be, and that the call did
// nothing: code 330, timestamp_mismatch.
func (e *APIError) IsTimestampMismatch() bool { return e.Code == 330 || e.Name == "timestamp_mismatch" }

// isToken says that s can be a name or an id and nothing else, so that it is safe in a log.
func isToken(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		if !plain[s[i]] {
			return false
		}
	}
	return true
}

// object is a JSON object. A map, since a struct would accept its keys in any case.
type object map[string]json.RawMessage

func parseObject(raw []byte) object {
	var o object
	if json.Unmarshal(raw, &o) != nil {
		return nil
	}
	return o
}

// text is the first of the keys that holds a string, or "".
func (o object) text(keys ...string) string {
	for _, k := range keys {
		var s string
		if raw, ok := o[k]; ok && json.Unmarshal(raw, &s) == nil && s != "" {
			return s
		}
	}
	return ""
}

// code reads the key code, 0 if it is missing or not a whole number above 0.
func (o object) code() int {
	n, err := strconv.Atoi(strings.Trim(string(o["code"]), `"`))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func newAPIError(o object) *APIError {
	return &APIError{
		Code:        o.code(),
		Name:        o.text("error"),
		Description: o.text("error_description", "message"),
		RequestID:   o.text("request_id", "request_token"),
		Argument:    o.text("argument_name", "attribute_name"),
	}
}

// HTTPError is an HTTP status that says more than the body: the answer came, but not from the API.
type HTTPError struct {
	Status int
}

// Error returns "HTTP 502 Bad Gateway". It holds nothing of the answer's body and is safe for logs.
func (e *HTTPError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("HTTP %d %s", e.Status, http.StatusText(e.Status)))
}

// isAboutCall says that something on the way lets no call through: a redirect, or credentials, an address, a method or a
// proxy that it does not accept. Other calls would fare the same.
func (e *HTTPError) isAboutCall() bool {
	return e.Status >= 300 && e.Status <= 399 || slices.Contains([]int{401, 404, 405, 407}, e.Status)
}

// NoAnswerError says that no answer came, not to its end, or none that can be understood.
type NoAnswerError struct {
	// Reason is a short class: see Answer.Reason. Calls that ask for something add classes of their own for an answer
	// that lacks it, such as "no total_count".
	Reason string
	// Status is the HTTP status if one came, else 0.
	Status int

	cause error // only what httponce.SafeCause lets through
}

// Error returns "no answer: <reason>", with the network's own words where these are known to hold only addresses and
// names of certificates. It is safe for logs.
func (e *NoAnswerError) Error() string {
	text := "no answer: " + e.Reason
	if e.Status != 0 {
		text = fmt.Sprintf("no usable answer: %s (HTTP %d)", e.Reason, e.Status)
	}
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap returns the network's error, for errors.Is and errors.As, if its text is safe for logs, else nil: who
// records an error often records the texts of its causes.
func (e *NoAnswerError) Unwrap() error { return e.cause }
