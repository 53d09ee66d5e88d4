// Package identitycloud is a client for the Entity API of Akamai Identity Cloud (formerly Janrain Capture).
//
// It never misreports a call whose outcome is unknown. A call is sent once: no redirect is followed, no request is
// replayed, not even by net/http itself. Answers are classified in one place (see Answer), and a batch counts as known
// only if the API itself said what it did.
//
// Error texts of this package are safe for logs and for workflow histories: they contain codes, names, request ids,
// host names and reasons, never the client secret and never text that may repeat user data. The API's own words,
// which may repeat it, are in APIError.Words and Answer.Words, and belong only in files that hold user data.
package identitycloud

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"durable-dataload/internal/httponce"
)

// Defaults of Config. The first two are those of dataload.py (--timeout, --workers).
const (
	DefaultTimeout        = 10 * time.Second
	DefaultMaxConnections = 10
	DefaultEntityType     = "user"
	DefaultMaxAnswer      = 64 << 20
)

// Config says which Identity Cloud to talk to, and how.
type Config struct {
	// BaseURL is the address of the API, https://<name>.janraincapture.com. A host name without a scheme gets
	// https://. Plain http is accepted for loopback hosts, for others only with InsecureHTTP. A path is kept as a
	// prefix of every call.
	BaseURL string

	// ClientID and ClientSecret are the API client's. The documentation asks for a client with the feature
	// direct_access.
	ClientID, ClientSecret string

	// Auth is how calls are authenticated; the zero value is Basic.
	Auth Auth

	// Renew, if not nil, returns the secret that is valid now. It is called after a call was refused for its credentials; ""
	// keeps the current secret.
	Renew func() string

	// EntityType is sent as type_name with every call; "" means user.
	EntityType string

	// Timeout limits one call, from the start of dialling to the last byte of the answer; 0 means DefaultTimeout. Waiting
	// for a free connection and for BeforeCall does not count. As in dataload.py, its whole seconds (at least 1) are sent to
	// the API as the parameter timeout, so that the API stops as well.
	Timeout time.Duration

	// InsecureHTTP allows plain http to any host. Credentials and user data are then readable on the network.
	InsecureHTTP bool

	// MaxConnections is the largest number of concurrent calls, and so of connections; further calls wait before their
	// deadline starts. 0 means DefaultMaxConnections.
	MaxConnections int

	// MaxAnswer is the largest size of a decompressed answer in bytes; a larger one counts as no answer. 0 means
	// DefaultMaxAnswer.
	MaxAnswer int64

	// Unknown holds the codes after which the outcome of a call is unknown. A nil list means the default (see
	// DefaultUnknownCodes), an empty list means none.
	Unknown UnknownCodes

	// BeforeCall, if not nil, is called before each HTTP request of every kind, and may block: a pacer hooks in here. release,
	// unless nil, is called when the answer was read or the call has failed. If BeforeCall fails, nothing is sent; a batch
	// is then NotSent.
	BeforeCall func(ctx context.Context) (release func(), err error)

	// Answered, if not nil, is called after each answer that carries a date: the server's Date header, in whole
	// seconds, and when the call was sent and its answer received by the local clock.
	Answered func(serverDate, sent, received time.Time)

	// Judged, if not nil, is called after each call of every kind, with its context, its endpoint ("/entity.bulkCreate") and
	// its result. The content of the answer to a read is not checked yet.
	Judged func(ctx context.Context, endpoint string, a Answer)
}

// Client calls the Entity API. It may be used by many goroutines at once.
type Client struct {
	config       Config                 // completed
	base         string                 // scheme, host and path prefix, without a slash at the end
	host         string                 // for messages
	clientSecret atomic.Pointer[string] // the one that is valid now
	slots        chan struct{}          // one for each call in flight
	sender       httponce.Sender
	common       []byte // type_name and timeout, encoded: every body starts with them
}

// New checks the configuration and returns a client. It does not connect: see Client.Check.
//
// Its errors are meant for the author of the configuration: what was expected, what was found, what to do. They never
// contain the secret.
func New(cfg Config) (*Client, error) {
	base, err := baseURL(cfg.BaseURL, cfg.InsecureHTTP)
	if err != nil {
		return nil, err
	}
	if cfg, err = cfg.complete(); err != nil {
		return nil, err
	}
	c := &Client{
		config: cfg,
		base:   base.String(),
		host:   base.Host,
		slots:  make(chan struct{}, cfg.MaxConnections),
		common: common(cfg.EntityType, cfg.Timeout),
		sender: httponce.Sender{
			Transport: httponce.NewTransport(cfg.Timeout, cfg.MaxConnections), Timeout: cfg.Timeout, MaxAnswer: cfg.MaxAnswer,
			BeforeCall: cfg.BeforeCall, Answered: cfg.Answered,
		},
	}
	c.clientSecret.Store(&cfg.ClientSecret)
	return c, nil
}

// complete sets the defaults and checks the configuration except the address.
func (cfg Config) complete() (_ Config, err error) {
	if err := checkCredentials(cfg.ClientID, cfg.ClientSecret, cfg.Auth); err != nil {
		return cfg, err
	}
	cfg.EntityType = cmp.Or(cfg.EntityType, DefaultEntityType)
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultTimeout)
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, DefaultMaxConnections)
	cfg.MaxAnswer = cmp.Or(cfg.MaxAnswer, DefaultMaxAnswer)
	switch {
	case cfg.Timeout < 0:
		return cfg, fmt.Errorf("the timeout of a call must be more than 0, not %s", cfg.Timeout)
	case cfg.MaxConnections < 0:
		return cfg, fmt.Errorf("the number of calls at the same time must be at least 1, not %d", cfg.MaxConnections)
	case cfg.MaxAnswer < 0:
		return cfg, fmt.Errorf("the size limit of an answer must be at least 1 byte, not %d", cfg.MaxAnswer)
	}
	cfg.Unknown, err = cfg.Unknown.checked()
	return cfg, err
}

// Close closes idle connections. Calls in flight continue, and the client stays usable.
func (c *Client) Close() { c.sender.Transport.CloseIdleConnections() }

// baseURL parses an API address as documented at Config.BaseURL.
func baseURL(s string, insecureHTTP bool) (*url.URL, error) {
	u, err := parseAddress(s)
	if err == nil && u.Scheme == "http" && !insecureHTTP && !httponce.IsLoopback(u.Hostname()) {
		err = fmt.Errorf("the address of the API is http://%s: without TLS the secret and the user data are readable on the network; use https://%s",
			u.Host, u.Host)
	}
	return u, err
}

// call waits for a slot and for BeforeCall, and then sends one POST, once.
func (c *Client) call(ctx context.Context, endpoint string, form []byte) httponce.Reply {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return httponce.Reply{NotSent: context.Cause(ctx)}
	}
	return c.sender.Send(ctx, http.MethodPost, c.base+endpoint, form, func(h http.Header, at time.Time) error {
		h.Set("Content-Type", "application/x-www-form-urlencoded")
		c.authorize(h, endpoint, form, at)
		return nil
	})
}
