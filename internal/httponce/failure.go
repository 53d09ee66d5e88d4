package httponce

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// SafeCause is the part of a failure of net/http whose text is safe for logs, nil if there is none. Other errors quote the
// answer ("malformed HTTP response …") or the proxy's address, which may hold a password.
func SafeCause(err error) error {
	var (
		verify  *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		refusal proxyRefusal
		dns     *net.DNSError
		op      *net.OpError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.As(err, &verify):
		return verify
	case errors.As(err, &record):
		return record
	case errors.As(err, &refusal):
		return refusal
	case errors.As(err, &dns):
		return dns
	case !errors.As(err, &op):
		return nil
	case op.Op == "proxyconnect":
		return SafeCause(op.Err)
	}
	return op
}

// proxyRefusal is the HTTP status with which a proxy refuses to connect.
type proxyRefusal int

func (p proxyRefusal) Error() string {
	return fmt.Sprintf("the proxy answers HTTP %d %s", int(p), http.StatusText(int(p)))
}

// Reason is the class of a failure of net/http, or other for one that is not the network's.
func Reason(ctx context.Context, err error, other string) string {
	var (
		dns     *net.DNSError
		op      *net.OpError
		verify  *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		alert   tls.AlertError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		timeout net.Error
	)
	isOp := errors.As(err, &op)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return "canceled"
	case ctx.Err() != nil:
		return "timeout"
	case isOp && op.Op == "proxyconnect":
		return "proxy"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &dns):
		return "dns"
	case errors.As(err, &verify), errors.As(err, &record), errors.As(err, &alert), errors.As(err, &unknown),
		errors.As(err, &host), errors.As(err, &invalid), isOp && (op.Op == "remote error" || op.Op == "local error"):
		return "tls"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return "reset"
	case isOp && op.Op == "dial":
		return "unreachable"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "cut short"
	case errors.Is(err, io.EOF), strings.Contains(err.Error(), "server closed idle connection"):
		return "closed"
	case isOp:
		return "network"
	}
	return other
}
