// Package httponce sends HTTP requests once: no redirect is followed and no request is repeated, not even by net/http
// itself. Its descriptions of failures contain nothing of requests and answers.
package httponce

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// idleTimeout is how long an idle connection is kept. It is shorter than the 60 to 75 seconds after which common front ends
// close one: a call on a connection that is being closed has an unknown outcome.
const idleTimeout = 20 * time.Second

// NewTransport returns a transport that sends a request once: use it without an http.Client, which would follow redirects,
// and with a body without GetBody, which would be sent again. Reason and SafeCause tell its failures.
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
