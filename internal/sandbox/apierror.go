package sandbox

import (
	"crypto/rand"
	"fmt"
	"maps"
)

// apiError is an error in the API's own words: of a whole call, or of one record of a bulk call.
type apiError struct {
	code        int
	description string
	extra       map[string]any // further fields that the API gives with this code
}

// errorNames are one to one with the codes. The vendor's names of 350, 485 and 504 are not public: 485 is not used,
// and 504, 501 and 550 have descriptive ones here.
var errorNames = map[int]string{
	100: "missing_argument",
	200: "invalid_argument",
	201: "duplicate_argument",
	205: "invalid_auth_method",
	222: "unknown_entity_type",
	223: "unknown_attribute",
	234: "reserved_attribute",
	310: "record_not_found",
	320: "id_in_new_record",
	330: "timestamp_mismatch",
	340: "invalid_data_format",
	341: "invalid_json_type",
	342: "invalid_date_time",
	361: "unique_violation",
	363: "length_violation",
	402: "invalid_client_credentials",
	403: "client_permission_error",
	500: "unexpected_error",
	501: "not_implemented",
	504: "api_call_timeout",
	510: "api_limit_error",
	550: "service_unavailable",
}

func newError(code int, format string, args ...any) *apiError {
	return &apiError{code: code, description: fmt.Sprintf(format, args...)}
}

func missingArgument(name string) *apiError {
	return &apiError{100, "missing argument: " + name, map[string]any{"argument_name": name}}
}

func invalidArgument(name, format string, args ...any) *apiError {
	return &apiError{
		200, name + " was not valid for the following reason: " + fmt.Sprintf(format, args...),
		map[string]any{"argument_name": name},
	}
}

func reservedAttribute(name string) *apiError {
	return &apiError{234, "Attempted to write a reserved attribute: " + name, map[string]any{"attribute_name": name}}
}

// unexpected is an error of the server itself, such as a full disk.
func unexpected(err error) *apiError {
	return newError(500, "unexpected internal error: %v", err)
}

// object is the error in the form of a record's result.
func (e *apiError) object() map[string]any {
	object := map[string]any{
		"stat": "error", "code": e.code, "error": errorNames[e.code], "error_description": e.description,
	}
	maps.Copy(object, e.extra)
	return object
}

// reply is the error as the answer to a call.
func (e *apiError) reply() map[string]any {
	object := e.object()
	object["request_id"] = requestID()
	return object
}

func requestID() string {
	const letters = "abcdefghjkmnpqrstuvwxyz23456789x" // 32, so that a byte picks without bias
	id := make([]byte, 16)
	rand.Read(id)
	for i, b := range id {
		id[i] = letters[b%32]
	}
	return string(id)
}
