package identitycloud

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"

	"durable-dataload/internal/httponce"
)

func TestErrorTextsAreSafeForLogs(t *testing.T) {
	const user = "ann@example.com"
	for _, tc := range []struct {
		err  error
		want string
	}{
		{&APIError{Code: 361, Name: "unique_violation", Description: user, RequestID: "abc"}, "api 361 unique_violation (request abc)"},
		{&APIError{Code: 361, Description: user}, "api 361"},
		{&APIError{Code: 361, Name: user, RequestID: user, Argument: user}, "api 361"},
		{&APIError{Code: 361, Name: strings.Repeat("a", 65), RequestID: "a\nb"}, "api 361"},
		{&APIError{Description: user}, "api error without a code"},
		{&HTTPError{Status: 502}, "HTTP 502 Bad Gateway"},
		{&NoAnswerError{Reason: "not http", cause: httponce.SafeCause(errors.New(`malformed HTTP response "` + user + `"`))}, "no answer: not http"},
		{&NoAnswerError{Reason: "proxy", cause: httponce.SafeCause(&net.OpError{Op: "proxyconnect", Err: errors.New(user)})}, "no answer: proxy"},
		{&NoAnswerError{Reason: "cut short", Status: 200}, "no usable answer: cut short (HTTP 200)"},
	} {
		if got := tc.err.Error(); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
		if got := fmt.Sprintf("%v %+v %v", tc.err, tc.err, errors.Unwrap(tc.err)); strings.Contains(got, user) {
			t.Errorf("%q holds user data", got)
		}
	}
}

func TestDuplicatesAndPermissions(t *testing.T) {
	for _, tc := range []struct {
		err                   APIError
		duplicate, permission bool
	}{
		{APIError{Code: 361}, true, false},
		{APIError{Name: "unique_violation"}, true, false},
		{APIError{Code: 360, Name: "constraint_violation"}, false, false},
		{APIError{Code: 403}, false, true},
		{APIError{Name: "client_permission_error"}, false, true},
		{APIError{}, false, false},
	} {
		if tc.err.IsDuplicate() != tc.duplicate || tc.err.IsPermission() != tc.permission {
			t.Errorf("%+v: duplicate %t, permission %t", tc.err, tc.err.IsDuplicate(), tc.err.IsPermission())
		}
	}
}

func TestWordsOfARecordAreTheAPIs(t *testing.T) {
	if got := (&APIError{Code: 361, Description: "Attempted to update a duplicate value"}).Words(); got != "Attempted to update a duplicate value" {
		t.Errorf("got %q", got)
	}
	if got := (&APIError{Code: 361, Name: "unique_violation"}).Words(); got != "api 361 unique_violation" {
		t.Errorf("got %q", got)
	}
}

func TestTheCauseOfANoAnswerErrorIsKept(t *testing.T) {
	for _, want := range []error{syscall.ECONNRESET, context.Canceled, context.DeadlineExceeded} {
		err := error(&NoAnswerError{Reason: "x", cause: httponce.SafeCause(fmt.Errorf("x: %w", &net.OpError{Op: "read", Err: want}))})
		if !errors.Is(err, want) {
			t.Errorf("%v is not %v", err, want)
		}
	}
}

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

func TestParseCodes(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want string // the codes, or ! and a part of the error
	}{
		{"", "403,500,510"},
		{"  ", "403,500,510"},
		{"none", "none"},
		{"503", "503"},
		{"504, 503 ,506", "503-504,506"},
		{"+503", "403,500,503,510"},
		{"-500", "403,510"},
		{"+503,-403,-500,-510", "503"},
		{"-403,-500,-510", "none"},
		{"+500", "403,500,510"},
		{"+503,-503", "403,500,510"},
		{"503,+504", "!mixes codes with changes"},
		{"+503,504", "!mixes codes with changes"},
		{"none,503", `!"none" in "none,503" is not a code`},
		{"-501", "!removes 501, which is not on the list 403,500,510"},
		{"99", "!expected 100 to 999"},
		{"+1000", "!expected 100 to 999"},
		{"-1", "!expected 100 to 999"},
		{"99999999999", "!is not a code"},
		{"+-503", "!is not a code"},
		{"++503", "!is not a code"},
		{"+", "!is not a code"},
		{"503,", "!is not a code"},
		{",", "!is not a code"},
		{"5xx", "!is not a code"},
		{"503;504", "!is not a code"},
		{"500-510", "500-510"},
		{"501,500,400-402,402-404", "400-404,500-501"},
		{"+501-509", "403,500-510"},
		{"+400-600,-501-509", "400-500,510-600"},
		{"-500-501", "!removes 501, which is not on the list 403,510"},
		{"510-500", "!expected 100 to 999"},
		{"500-1000", "!expected 100 to 999"},
		{"500-", "!is not a code"},
		{"500-510-520", "!is not a code"},
	} {
		defaults := Codes{{403, 403}, {500, 500}, {510, 510}}
		got, err := ParseCodes(defaults, tc.in)
		if part, isError := strings.CutPrefix(tc.want, "!"); isError {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%q: got %v, %v, want an error with %q", tc.in, got, err, part)
			}
			continue
		}
		want := tc.want
		if err != nil || got.String() != want || got == nil {
			t.Errorf("%q: got %v, %v, want %s", tc.in, got, err, want)
		}
		if !slices.Equal(defaults, Codes{{403, 403}, {500, 500}, {510, 510}}) {
			t.Errorf("%q changed the defaults: %v", tc.in, defaults)
		}
	}
}

func TestDefaultCodesAreTheAPIsOwnErrorsAndEveryStatus(t *testing.T) {
	if d := DefaultUnknownCodes(); d.API.String() != "403,500-999" || d.HTTP.String() != "300-599" {
		t.Errorf("got %v", d)
	}
}

func FuzzParseCodes(f *testing.F) {
	for _, s := range []string{"", "none", "403,500", "+503,-501", "+ 3", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		codes, err := ParseCodes(Codes{{403, 403}}, s)
		if err != nil {
			return
		}
		before := 98
		for _, r := range codes {
			if r[0] <= before+1 || r[1] < r[0] || r[1] > 999 {
				t.Errorf("%q: got %v", s, codes)
			}
			before = r[1]
		}
		if again, err := ParseCodes(nil, codes.String()); codes == nil || err != nil || !slices.Equal(again, codes) {
			t.Errorf("%q: %v does not read as itself: %v, %v", s, codes, again, err)
		}
	})
}
