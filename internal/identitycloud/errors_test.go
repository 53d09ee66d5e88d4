package identitycloud

import (
	"context"
	"errors"
	"fmt"
	"net"
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
