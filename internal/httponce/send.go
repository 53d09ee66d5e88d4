package httponce

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// Sender sends requests, each once.
type Sender struct {
	Transport *http.Transport // of NewTransport
	// Timeout limits one request, from dialling to the last byte of the answer. What BeforeCall waits does not count.
	Timeout time.Duration
	// MaxAnswer is the largest size of an answer in bytes; a larger one counts as no answer.
	MaxAnswer int64
	// BeforeCall and Answered are those of target.Hooks.
	BeforeCall func(ctx context.Context) (release func(), err error)
	Answered   func(serverDate, sent, received time.Time)
}

// Reply is the result of one request, not yet judged.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
	// NotSent is why nothing was sent: the error of BeforeCall, of the context or of what completes the header.
	NotSent error
	// Failure is the class of the failure if there is no answer, or not a complete one, and Cause its SafeCause.
	Failure string
	Cause   error

	ServerDate, Sent, Received time.Time
	RetryAfter                 time.Duration
}

// Send sends one request and reads the whole answer. A body of nil is none. complete adds to the header what depends on the
// time at which it is sent.
func (s *Sender) Send(ctx context.Context, method, url string, body []byte, complete func(h http.Header, at time.Time) error) (r Reply) {
	if ctx.Err() != nil {
		return Reply{NotSent: context.Cause(ctx)}
	}
	if s.BeforeCall != nil {
		release, err := s.BeforeCall(ctx)
		if err != nil {
			return Reply{NotSent: err}
		}
		if release != nil {
			defer release()
		}
		if ctx.Err() != nil {
			return Reply{NotSent: context.Cause(ctx)}
		}
	}
	r.Sent = time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return Reply{NotSent: errors.New("the request could not be built")}
	}
	// Set here and not by NewRequest, which would add GetBody: with that, net/http sends a request again on a new connection
	// if an idle one breaks early. So it does with a GET that has no body, and not with one whose body is empty.
	req.Body = io.NopCloser(bytes.NewReader(body))
	req.ContentLength = int64(len(body))
	req.Header.Set("User-Agent", "durable-dataload")
	if err := complete(req.Header, r.Sent); err != nil {
		return Reply{NotSent: err, Sent: r.Sent}
	}
	// The transport, not an http.Client: that would follow redirects, and a 307 sends a body again.
	resp, err := s.Transport.RoundTrip(req)
	if err != nil {
		r.Received = time.Now()
		r.Failure, r.Cause = Reason(ctx, err, "not http"), SafeCause(err)
		return r
	}
	defer resp.Body.Close()
	r.Status, r.Header = resp.StatusCode, resp.Header
	if r.Status == http.StatusSwitchingProtocols { // its body is the connection, without an end, and the deadline does not close it
		r.Received, r.Failure = time.Now(), "not http"
		return r
	}
	r.Body, err = io.ReadAll(io.LimitReader(resp.Body, s.MaxAnswer+1))
	r.Received = time.Now()
	r.ServerDate, _ = http.ParseTime(r.Header.Get("Date"))
	r.RetryAfter = RetryAfter(r.Header.Get("Retry-After"), r.ServerDate, r.Received)
	if s.Answered != nil && !r.ServerDate.IsZero() {
		s.Answered(r.ServerDate, r.Sent, r.Received)
	}
	switch {
	case err != nil:
		r.Failure, r.Cause = Reason(ctx, err, "cut short"), SafeCause(err)
	case int64(len(r.Body)) > s.MaxAnswer:
		r.Failure = "answer too long"
	}
	return r
}
