package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"durable-dataload/internal/httponce"
)

const (
	// timeout is that of one attempt; the specification has 15 to 30 seconds.
	timeout = 20 * time.Second

	// The key of a secret, in bytes, by the specification.
	shortestKey, longestKey = 24, 64

	secretPrefix = "whsec_"
)

// Options configure the receiver of notices.
type Options struct {
	// URL may hold a token, so it is a secret: errors have its host only. It is
	// https, or http to this machine, or to any with InsecureHTTP.
	URL          string
	InsecureHTTP bool
	// Secret is whsec_ and the key in base64; "" sends notices unsigned.
	Secret string
}

// Sender sends notices to one receiver. It may be used by many goroutines.
type Sender struct {
	url       *url.URL
	key       []byte
	transport *http.Transport
	now       func() time.Time
}

// New checks the options and returns a sender. It does not connect. Its errors
// contain neither the URL nor the secret.
func New(o Options) (*Sender, error) {
	u, err := url.Parse(strings.TrimSpace(o.URL))
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the URL for notices cannot be used; expected the form https://host/path")
	case u.User != nil:
		return nil, fmt.Errorf("the URL for notices (host %s) has a user name or password; expected a token in its path or query, or a signature that the receiver checks", u.Host)
	case u.Scheme == "http" && !o.InsecureHTTP && !httponce.IsLoopback(u.Hostname()):
		return nil, fmt.Errorf("the URL for notices (host %s) is http://, which is readable on the network; expected https://, or --insecure-http to allow it", u.Host)
	}
	u.Fragment = ""
	s := &Sender{url: u, transport: httponce.NewTransport(timeout, 1), now: time.Now}
	s.transport.DisableKeepAlives = true // notices are rare
	if o.Secret == "" {
		return s, nil
	}
	encoded, ok := strings.CutPrefix(strings.TrimSpace(o.Secret), secretPrefix)
	if s.key, err = base64.StdEncoding.DecodeString(encoded); !ok || err != nil || len(s.key) < shortestKey || len(s.key) > longestKey {
		return nil, fmt.Errorf(`the secret for notices cannot be used; expected %s and %d to %d random bytes in base64, as made by: echo "%s$(openssl rand -base64 32)"`,
			secretPrefix, shortestKey, longestKey, secretPrefix)
	}
	return s, nil
}

// Signed reports whether notices are signed.
func (s *Sender) Signed() bool { return s.key != nil }

// Failure is the reason why a notice was not delivered, as far as is known:
// without an answer the receiver may have it. Its text contains only the host of
// the receiver.
type Failure struct {
	// Final means that a retry is useless.
	Final bool
	// RetryAfter is the pause that the receiver asked for; 0 means none.
	RetryAfter time.Duration

	text string
}

func (f *Failure) Error() string { return f.text }

// Send makes one attempt. A notice is delivered when the receiver answers 2xx;
// then the error is nil, else it is a *Failure. Redirects are not
// followed: the notice is not addressed to their target.
func (s *Sender) Send(ctx context.Context, n Notice) error {
	n.Timestamp = n.Timestamp.UTC()
	body, err := json.Marshal(n)
	if err != nil {
		return &Failure{Final: true, text: "the notice cannot be written as JSON: " + err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request := (&http.Request{
		Method: http.MethodPost, URL: s.url, Host: s.url.Host, Header: s.header(n.ID, body),
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}).WithContext(ctx)
	answer, err := s.transport.RoundTrip(request)
	if err != nil {
		text := fmt.Sprintf("%s could not be notified: no answer: %s", s.url.Host, httponce.Reason(ctx, err, "not http"))
		if cause := httponce.SafeCause(err); cause != nil {
			text += ": " + cause.Error()
		}
		return &Failure{text: text}
	}
	_ = answer.Body.Close() // unread: its content is not used
	return s.judge(answer)
}

// judge classifies an answer. A busy or failing receiver may give another one
// later.
func (s *Sender) judge(answer *http.Response) error {
	status := answer.StatusCode
	text := strings.TrimSpace(fmt.Sprintf("%s did not accept the notice: HTTP %d %s", s.url.Host, status, http.StatusText(status)))
	switch {
	case status >= 200 && status < 300:
		return nil
	case status >= 300 && status < 400:
		return &Failure{Final: true, text: text + "; redirects are not followed: give the address that it leads to as --notify-url"}
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		now := s.now()
		date, _ := http.ParseTime(answer.Header.Get("Date"))
		return &Failure{RetryAfter: httponce.RetryAfter(answer.Header.Get("Retry-After"), date, now), text: text}
	}
	return &Failure{Final: true, text: text + "; expected 2xx: check --notify-url and the receiver"}
}

// header has the id, the time of the attempt and the signature, with which the
// receiver detects forged, old and repeated notices.
func (s *Sender) header(id string, body []byte) http.Header {
	at := strconv.FormatInt(s.now().Unix(), 10)
	h := http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {"durable-dataload"},
		"Webhook-Id": {id}, "Webhook-Timestamp": {at},
	}
	if s.Signed() {
		mac := hmac.New(sha256.New, s.key)
		fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
		h.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return h
}
