package identitycloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestReasonsOfTheNetwork(t *testing.T) {
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	for _, tc := range []struct {
		err  error
		want string
	}{
		{dial(syscall.ECONNREFUSED), "connection refused"},
		{dial(syscall.ENETUNREACH), "unreachable"},
		{dial(syscall.EHOSTUNREACH), "unreachable"},
		{dial(syscall.ETIMEDOUT), "timeout"},
		{dial(syscall.EMFILE), "unreachable"},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}, "dns"},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "i/o timeout", IsTimeout: true}}, "timeout"},
		{&net.OpError{Op: "proxyconnect", Err: dial(syscall.ECONNREFUSED)}, "proxy"},
		{&net.OpError{Op: "write", Err: syscall.EPIPE}, "reset"},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, "reset"},
		{&net.OpError{Op: "read", Err: syscall.EIO}, "network"},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, "tls"},
		{fmt.Errorf("transport connection broken: %w", io.ErrUnexpectedEOF), "cut short"},
		{io.EOF, "closed"},
		{errors.New("http: server closed idle connection"), "closed"},
		{errors.New("something else"), "other"},
	} {
		if got := reasonOf(context.Background(), tc.err, "other"); got != tc.want {
			t.Errorf("%v: got %q, want %q", tc.err, got, tc.want)
		}
	}
}

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
		{&NoAnswerError{Reason: "not http", cause: safeCause(errors.New(`malformed HTTP response "` + user + `"`))}, "no answer: not http"},
		{&NoAnswerError{Reason: "proxy", cause: safeCause(&net.OpError{Op: "proxyconnect", Err: errors.New(user)})}, "no answer: proxy"},
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
		err := error(&NoAnswerError{Reason: "x", cause: safeCause(fmt.Errorf("x: %w", &net.OpError{Op: "read", Err: want}))})
		if !errors.Is(err, want) {
			t.Errorf("%v is not %v", err, want)
		}
	}
}
