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

// Options say where notices go.
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

// New checks the options and makes a sender. It does not connect. Its errors
// hold neither the URL nor the secret.
func New(o Options) (*Sender, error) {
	u, err := url.Parse(strings.TrimSpace(o.URL))
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the URL for notices cannot be used; expected the form https://host/path")
	case u.User != nil:
		return nil, fmt.Errorf("the URL for notices (host %s) has a user name or password; expected a token in its path or query, or a signature that the receiver checks", u.Host)
	case u.Scheme == "http" && !o.InsecureHTTP && !httponce.IsLoopback(u.Hostname()):
		return nil, fmt.Errorf("the URL for notices (host %s) is http://, so that others could read it on the way; expected https://, or --insecure-http to allow it", u.Host)
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

// Signed says whether receivers can tell our notices from those of others.
func (s *Sender) Signed() bool { return s.key != nil }

// Failure says why a notice was not delivered, as far as is known: where no
// answer came the receiver may have it. Its text is for people, and has the
// host of the receiver only.
type Failure struct {
	// Final says that sending it again is of no use.
	Final bool
	// RetryAfter is how long the receiver wants to be left alone; 0 = it did
	// not say.
	RetryAfter time.Duration

	text string
}

func (f *Failure) Error() string { return f.text }

// Send makes one attempt. A notice is delivered when the receiver answers 2xx;
// then the error is nil, else it is a *Failure. Redirects are not followed: who
// they lead to is not who the notice is for.
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
	_ = answer.Body.Close() // unread: what is in it, and how long it is, means nothing
	return s.judge(answer)
}

// judge says what an answer means. That of a receiver that is busy, or not
// well, may be another one later.
func (s *Sender) judge(answer *http.Response) error {
	status := answer.StatusCode
	text := strings.TrimSpace(fmt.Sprintf("%s did not take the notice: HTTP %d %s", s.url.Host, status, http.StatusText(status)))
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
	return &Failure{Final: true, text: text + "; expected 2xx: look at --notify-url and at the receiver"}
}

// header has what the receiver needs to tell whether the notice is ours, is
// new, and was seen before. The time is that of the attempt.
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
