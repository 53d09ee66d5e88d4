package httponce

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
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
		{gzip.ErrHeader, "bad gzip"},
		{flate.CorruptInputError(1), "bad gzip"},
		{errors.New("something else"), "other"},
	} {
		if got := Reason(context.Background(), tc.err, "other"); got != tc.want {
			t.Errorf("%v: got %q, want %q", tc.err, got, tc.want)
		}
	}
}

func TestRetryAfterWithoutTheDateOfTheServerUsesTheLocalClock(t *testing.T) {
	now := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
	if d := RetryAfter("Sun, 22 Nov 2026 13:05:00 GMT", time.Time{}, now); d != 5*time.Minute {
		t.Errorf("without the server's date: got %v, want 5m", d)
	}
}
