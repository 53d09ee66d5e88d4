package identitycloud

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// APIError is an error in the API's own JSON, with stat "error", for a whole call or for one record.
//
// Error is safe for logs. The API's words are not, since they may contain user data: they are in Description and Words, and
// belong only in files that contain user data anyway.
type APIError struct {
	// Code is the API's number, not an HTTP status; 0 if none was given.
	Code int
	// Name stands for the code, as unique_violation does for 361.
	Name string
	// Description is error_description, or else message: the API's words, which may contain user data.
	Description string
	// RequestID is request_id, or else request_token, for a support request; "" if none was given.
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

// Words returns the text in the fail file for a record with this error: the API's description, as in dataload.py, or the
// log-safe form if there is none. It may contain user data and must not be logged.
func (e *APIError) Words() string {
	if e.Description != "" {
		return e.Description
	}
	return e.Error()
}

// IsDuplicate reports whether another record already has the value of a unique attribute of this one: "Attempted to update a
// duplicate value". The error does not tell which attribute, nor which record.
func (e *APIError) IsDuplicate() bool { return e.Code == 361 || e.Name == "unique_violation" }

// IsPermission reports whether the API client lacks the permission for the call: code 403, client_permission_error.
func (e *APIError) IsPermission() bool { return e.Code == 403 || e.Name == "client_permission_error" }

// IsNotFound reports whether there is no record with this address: code 310, record_not_found, or code 200 for the argument
// uuid, which is the answer to an invalid uuid.
func (e *APIError) IsNotFound() bool {
	return e.Code == 310 || e.Name == "record_not_found" || e.Code == 200 && e.Argument == "uuid"
}

// IsAboutCall reports whether the error would be the same for any records: it concerns the client, its permissions, the
// entity type, the application, an argument of the call, or the platform itself. Any other refusal of a call may be caused
// by one record of it.
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

// IsTimestampMismatch reports whether the call did nothing because the record was last updated at another time than
// expected: code 330, timestamp_mismatch.
func (e *APIError) IsTimestampMismatch() bool { return e.Code == 330 || e.Name == "timestamp_mismatch" }

// isToken reports whether s can only be a name or an id, so that it is safe in a log.
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

// object is a JSON object. It is a map because a struct would match its keys without regard to case.
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

// lists reports whether the key holds a list with something in it.
func (o object) lists(key string) bool {
	var entries []json.RawMessage
	return json.Unmarshal(o[key], &entries) == nil && len(entries) > 0
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

// HTTPError is an answer that does not come from the API, known only by its HTTP status.
type HTTPError struct {
	Status int
}

// Error returns "HTTP 502 Bad Gateway". It contains nothing of the body and is safe for logs.
func (e *HTTPError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("HTTP %d %s", e.Status, http.StatusText(e.Status)))
}

// isAboutCall reports whether a hop on the way blocks every call: a redirect, or refused credentials, address, method or
// proxy authentication.
func (e *HTTPError) isAboutCall() bool {
	return e.Status >= 300 && e.Status <= 399 || slices.Contains([]int{401, 404, 405, 407}, e.Status)
}

// NoAnswerError is a missing, incomplete or unreadable answer.
type NoAnswerError struct {
	// Reason is a short class: see Answer.Reason. Reads add classes for an answer without the expected content, such as
	// "no total_count".
	Reason string
	// Status is the HTTP status, 0 if there was none.
	Status int

	cause error // only what httponce.SafeCause lets through
}

// Error returns "no answer: <reason>", with the text of the network error if that contains only addresses and names of
// certificates. It is safe for logs.
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

// Unwrap returns the network error, for errors.Is and errors.As, if its text is safe for logs, else nil: code that records
// an error often records the texts of its causes.
func (e *NoAnswerError) Unwrap() error { return e.cause }

// UnknownCodes are the codes after which the outcome of a call, or of one record of it, is unknown: something may have been
// written. API codes are the numbers in the API's JSON, HTTP codes those of the status line. The HTTP codes apply only if
// the answer contains no JSON of the API.
type UnknownCodes struct {
	API, HTTP Codes
}

// DefaultUnknownCodes are the API codes for which dataload.py repeats a call (403, 500, 504, 510), all other internal errors
// of the API (500 and above), and every HTTP status: a page is not from the API, whatever its status.
func DefaultUnknownCodes() UnknownCodes {
	return UnknownCodes{API: Codes{{403, 403}, {500, highestCode}}, HTTP: Codes{{lowestHTTP, highestHTTP}}}
}

// Codes is a set of codes: ranges, each with its first and its last code, in order and with a gap between any two.
// In a configuration, nil means the default and an empty list no code.
type Codes [][2]int

// Contains reports whether the code is in one of the ranges.
func (c Codes) Contains(code int) bool {
	return slices.ContainsFunc(c, func(r [2]int) bool { return r[0] <= code && code <= r[1] })
}

// String returns the codes as ParseCodes reads them: "403,500-999", or "none".
func (c Codes) String() string {
	if len(c) == 0 {
		return "none"
	}
	texts := make([]string, len(c))
	for i, r := range c {
		texts[i] = strconv.Itoa(r[0])
		if r[1] > r[0] {
			texts[i] += "-" + strconv.Itoa(r[1])
		}
	}
	return strings.Join(texts, ",")
}

// checked replaces nil lists with the defaults, and checks the ranges.
func (u UnknownCodes) checked() (UnknownCodes, error) {
	d := DefaultUnknownCodes()
	if u.API == nil {
		u.API = d.API
	}
	if u.HTTP == nil {
		u.HTTP = d.HTTP
	}
	for _, r := range u.API {
		if r[0] < lowestCode || r[1] > highestCode || r[0] > r[1] {
			return u, fmt.Errorf("%s are not API codes: expected %d to %d", Codes{r}, lowestCode, highestCode)
		}
	}
	for _, r := range u.HTTP {
		if r[0] < lowestHTTP || r[1] > highestHTTP || r[0] > r[1] {
			return u, fmt.Errorf("%s are not HTTP codes of errors: expected %d to %d", Codes{r}, lowestHTTP, highestHTTP)
		}
	}
	return u, nil
}

const (
	lowestCode, highestCode = 100, 999
	lowestHTTP, highestHTTP = 300, 599
)

// ParseCodes parses a list of codes from the command line:
//
//	""             the defaults
//	"none"         an empty list
//	"403,500-599"  these codes instead of the defaults
//	"+503,-501"    the defaults with 503 and without 501
//
// The result is never nil. The forms cannot be mixed, codes are from 100 to 999, and only a code that is on the list can be
// removed.
func ParseCodes(defaults Codes, s string) (Codes, error) {
	s = strings.TrimSpace(s)
	switch s {
	case "":
		return append(Codes{}, defaults...), nil
	case "none":
		return Codes{}, nil
	}
	var has [highestCode + 1]bool
	changes := s[0] == '+' || s[0] == '-'
	if changes {
		for code := range has {
			has[code] = defaults.Contains(code)
		}
	}
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		sign, digits := "", item
		if item != "" && (item[0] == '+' || item[0] == '-') {
			sign, digits = item[:1], item[1:]
		}
		firstText, lastText, isRange := strings.Cut(digits, "-")
		if !isRange {
			lastText = firstText
		}
		first, err := strconv.ParseUint(firstText, 10, 31)
		last, err2 := strconv.ParseUint(lastText, 10, 31)
		switch {
		case err != nil || err2 != nil:
			return nil, fmt.Errorf("%q in %q is not a code: expected codes like 403,500-599 or changes like +503,-501", item, s)
		case first < lowestCode || last > highestCode || first > last:
			return nil, fmt.Errorf("%s in %q is not a code: expected %d to %d", digits, s, lowestCode, highestCode)
		case (sign != "") != changes:
			return nil, fmt.Errorf("%q mixes codes with changes: give either all codes (403,500-599) or only changes to the default (+503,-501)", s)
		}
		for code := first; code <= last; code++ {
			if sign == "-" && !has[code] {
				return nil, fmt.Errorf("%q removes %d, which is not on the list %s", s, code, codesOf(has[:]))
			}
			has[code] = sign != "-"
		}
	}
	return codesOf(has[:]), nil
}

// codesOf returns the codes for which has is true.
func codesOf(has []bool) Codes {
	codes := Codes{}
	for code, is := range has {
		switch last := len(codes) - 1; {
		case !is:
		case last >= 0 && codes[last][1] == code-1:
			codes[last][1] = code
		default:
			codes = append(codes, [2]int{code, code})
		}
	}
	return codes
}
