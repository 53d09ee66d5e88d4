// Package httponce sends HTTP requests once: no redirect is followed and no request is repeated, not even by net/http
// itself. Its descriptions of failures contain nothing of requests and answers.
package httponce

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// idleTimeout is how long an idle connection is kept. It is shorter than the 60 to 75 seconds after which common front ends
// close one: a call on a connection that is being closed has an unknown outcome.
const idleTimeout = 20 * time.Second

// net/http writes to the standard logger what a server sends behind an answer ("Unsolicited response received …"): user data,
// where a length is wrong. No other way turns that off, and these programs do not use that logger.
func init() { log.SetOutput(io.Discard) }

// NewTransport returns a transport that sends a request once: use it without an http.Client, which would follow redirects,
// and with a body, also an empty one, without GetBody: else it would be sent again. Reason and SafeCause tell its failures.
func NewTransport(timeout time.Duration, connections int) *http.Transport {
	// HTTP/1.1 only: an HTTP/2 connection that ends may make net/http send a request again.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment, // never for loopback hosts
		DialContext:            (&net.Dialer{Timeout: timeout}).DialContext,
		TLSHandshakeTimeout:    timeout,
		Protocols:              &protocols,
		MaxIdleConnsPerHost:    connections,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: 1 << 20,
		WriteBufferSize:        64 << 10,
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
			if answer.StatusCode != http.StatusOK {
				return &net.OpError{Op: "proxyconnect", Net: "tcp", Err: proxyRefusal(answer.StatusCode)}
			}
			return nil
		},
	}
}

// IsLoopback reports whether a host name or address is that of this machine, so that data sent there stays on it.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// RetryAfter reads a Retry-After header: seconds, or a date, which is compared with the server's own clock if that is known.
// It is a day at most, and 0 where the header says nothing.
func RetryAfter(value string, serverDate, received time.Time) time.Duration {
	const longest = 24 * time.Hour
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(longest/time.Second))) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if serverDate.IsZero() {
		serverDate = received
	}
	return min(max(0, date.Sub(serverDate)), longest)
}

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
		corrupt flate.CorruptInputError
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
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, &corrupt):
		return "bad gzip"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "cut short"
	case errors.Is(err, io.EOF), strings.Contains(err.Error(), "server closed idle connection"):
		return "closed"
	case isOp:
		return "network"
	}
	return other
}
