// Package jsonapi sends the calls of adapters whose platforms speak JSON over HTTP: each once, with the hooks of package
// target. It does not judge answers; an adapter does.
package jsonapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"durable-dataload/internal/httponce"
	"durable-dataload/internal/target"
)

// Defaults of Config.
const (
	DefaultTimeout     = 10 * time.Second
	DefaultConnections = 10
	DefaultMaxAnswer   = 64 << 20
)

// Config says where the platform is, and how to call it.
type Config struct {
	// BaseURL is the address of the API, with a path if there is one. Plain http is accepted for loopback hosts, for others
	// only with InsecureHTTP.
	BaseURL      string
	InsecureHTTP bool
	// Token returns the bearer token that is valid now, and fetches one if it has none; nil or "" sends none. It is asked
	// before Hooks.BeforeCall, so that no call that may start waits for it, and for what is sent after that. The text of
	// its error is safe for logs.
	Token func() (string, error)
	// Timeout limits one call, from dialling to the last byte of the answer; 0 means DefaultTimeout.
	Timeout time.Duration
	// Connections is the largest number of idle connections; 0 means DefaultConnections. MaxAnswer is the largest size of an
	// answer in bytes; a larger one counts as no answer. 0 means DefaultMaxAnswer.
	Connections int
	MaxAnswer   int64
}

// Client sends calls.
type Client struct {
	token  func() (string, error)
	hooks  target.Hooks
	base   string
	host   string
	sender httponce.Sender
}

// New checks the configuration. Its errors never contain the token.
func New(cfg Config, hooks target.Hooks) (*Client, error) {
	u, err := url.Parse(strings.TrimRight(strings.TrimSpace(cfg.BaseURL), "/"))
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("the address of the target cannot be read: expected the form https://host or http://host:port")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the address of the target (host %q) must not hold a user name, a password, a query or a fragment", u.Host)
	case u.Scheme == "http" && !cfg.InsecureHTTP && !httponce.IsLoopback(u.Hostname()):
		return nil, fmt.Errorf("the address of the target is http://%s: without TLS the token and the user data are readable on the network; use https://%s", u.Host, u.Host)
	case cfg.Timeout < 0 || cfg.Connections < 0 || cfg.MaxAnswer < 0:
		return nil, errors.New("the timeout, the connections and the size of an answer must be more than 0")
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultTimeout)
	cfg.Connections = cmp.Or(cfg.Connections, DefaultConnections)
	cfg.MaxAnswer = cmp.Or(cfg.MaxAnswer, DefaultMaxAnswer)
	return &Client{token: cfg.Token, hooks: hooks, base: u.String(), host: u.Host, sender: httponce.Sender{
		Transport: httponce.NewTransport(cfg.Timeout, cfg.Connections), Timeout: cfg.Timeout, MaxAnswer: cfg.MaxAnswer,
		BeforeCall: hooks.BeforeCall, Answered: hooks.Answered,
	}}, nil
}

// Host is the host of the target, for messages.
func (c *Client) Host() string { return c.host }

// Close closes idle connections.
func (c *Client) Close() { c.sender.Transport.CloseIdleConnections() }

// Reply is the result of one request, not yet judged.
type Reply struct {
	httponce.Reply
	// Lost is why there is no answer, or not a complete one.
	Lost *target.Error
	// unsent says that there is no answer because nothing was sent.
	unsent bool
}

// Error returns why there is no answer: Lost, NotSent or nil.
func (r Reply) Error() error {
	if r.Lost != nil {
		return r.Lost
	}
	return r.NotSent
}

// Answer is an answer to Create with the times of the reply.
func (r Reply) Answer() target.Answer {
	return target.Answer{
		Err: r.Error(), NothingWritten: r.NotSent != nil || r.unsent,
		ServerDate: r.ServerDate, Sent: r.Sent, Received: r.Received, RetryAfter: r.RetryAfter,
	}
}

// Failed is an error about a reply. The reason is "http 502" unless another is given.
func (r Reply) Failed(class target.Class, reason, words string) *target.Error {
	text := strings.TrimSpace(fmt.Sprintf("HTTP %d %s", r.Status, http.StatusText(r.Status)))
	e := &target.Error{Class: class, Reason: "http " + strconv.Itoa(r.Status), Words: words}
	if reason != "" {
		e.Reason = reason
		text = reason + " (" + text + ")"
	}
	e.Err = errors.New(text)
	return e
}

// Send sends one request, once. Whatever it returns is to be passed to Judged. body, unless nil, is JSON.
func (c *Client) Send(ctx context.Context, method, path string, body []byte) Reply {
	if c.token != nil {
		_, _ = c.token() // an error is that of the call, below
	}
	var noToken error
	r := Reply{Reply: c.sender.Send(ctx, method, c.base+path, body, func(h http.Header, _ time.Time) error {
		if body != nil {
			h.Set("Content-Type", "application/json")
		}
		h.Set("Accept", "application/json")
		if c.token == nil {
			return nil
		}
		var token string
		if token, noToken = c.token(); token != "" {
			h.Set("Authorization", "Bearer "+token)
		}
		return noToken
	})}
	switch {
	case noToken != nil:
		r.NotSent, r.Received, r.unsent = nil, time.Now(), true
		r.Lost = &target.Error{Reason: "no token", Fault: true, Err: fmt.Errorf("there is no token for %s: %w", c.host, noToken)}
	case r.Failure != "":
		r.Lost = lost(r.Reply)
	}
	return r
}

// lost is the error of a missing answer. With "tls" no call can succeed.
func lost(r httponce.Reply) *target.Error {
	text := "no answer: " + r.Failure
	if r.Status != 0 {
		text = fmt.Sprintf("no usable answer: %s (HTTP %d)", r.Failure, r.Status)
	}
	e := &target.Error{Reason: r.Failure, Fault: r.Failure == "tls", Err: errors.New(text)}
	if r.Cause != nil {
		e.Err = fmt.Errorf("%s: %w", text, r.Cause)
	}
	return e
}

// Judged calls the hook of this name with what an error, nil or the one that was made of the reply, says about the target.
func (c *Client) Judged(ctx context.Context, kind target.Kind, r Reply, err error) {
	if c.hooks.Judged == nil || r.NotSent != nil {
		return
	}
	call := target.Call{Kind: kind, Sent: r.Sent, Received: r.Received, RetryAfter: r.RetryAfter}
	var e *target.Error
	if errors.As(err, &e) {
		call.Reason = e.Reason
		call.Busy = e.Class == target.Throttled
		call.Unknown = !e.Class.IsFinal() && e.Class != target.Unusable && e.Reason != "canceled" &&
			(e.Class != target.Forbidden || kind == target.Creates)
		if e.Fault && kind != target.Checks {
			call.Fault = e.Error()
		}
	}
	c.hooks.Judged(ctx, call)
}

// JudgedAnswer is Judged for Create: an answer that leaves every record unknown that was sent is no answer.
func (c *Client) JudgedAnswer(ctx context.Context, r Reply, a target.Answer) {
	err := a.Err
	if unknown, reason := a.Unknown(); unknown > 0 {
		sent := 0
		for _, result := range a.Results {
			if result.Err == nil || result.Err.Class != target.Unwritten {
				sent++
			}
		}
		if unknown == sent {
			err = &target.Error{Reason: reason}
		}
	}
	c.Judged(ctx, target.Creates, r, err)
}
