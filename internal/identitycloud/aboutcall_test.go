package identitycloud

import "testing"

func TestIsAboutCall(t *testing.T) {
	for _, tc := range []struct {
		err  APIError
		call bool
	}{
		{APIError{Code: 100}, true}, {APIError{Code: 222}, true}, {APIError{Code: 402}, true}, {APIError{Code: 403}, true},
		{APIError{Code: 480}, true}, {APIError{Code: 500}, true}, {APIError{Code: 510}, true},
		{APIError{Code: 200, Argument: "type_name"}, true}, {APIError{Code: 200, Argument: "timeout"}, true},
		{APIError{Code: 200, Argument: "all_attributes"}, false}, {APIError{Code: 200}, false},
		{APIError{Code: 223, Argument: "nick"}, false}, {APIError{Code: 234}, false}, {APIError{Code: 320}, false},
		{APIError{Code: 341}, false}, {APIError{Code: 361}, false}, {APIError{Code: 0}, false},
	} {
		if got := tc.err.IsAboutCall(); got != tc.call {
			t.Errorf("%+v: about the call %t, want %t", tc.err, got, tc.call)
		}
	}
}
