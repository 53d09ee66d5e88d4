package identitycloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Errors of Check, for errors.Is. The error of Check also wraps the *APIError, *HTTPError or *NoAnswerError that caused it.
var (
	// ErrCredentials: the client id or secret is wrong, or with Signature the local clock.
	ErrCredentials = errors.New("the API does not accept the client id and secret")
	// ErrEntityType: there is no such entity type.
	ErrEntityType = errors.New("the entity type does not exist")
	// ErrForbidden: the front end blocks calls from this address. Not the API's 403, which Check accepts.
	ErrForbidden = errors.New("the API's front end forbids calls from here")
	// ErrUnreachable: the host does not exist, does not listen, closes the connection or does not answer in time. It may be temporary.
	ErrUnreachable = errors.New("the API cannot be reached")
	// ErrTLS: the secure connection failed; usually the certificate does not match.
	ErrTLS = errors.New("no secure connection to the API")
	// ErrBusy: the API or its front end is overloaded. It is temporary.
	ErrBusy = errors.New("the API is overloaded or temporarily unavailable")
	// ErrNotIdentityCloud: another server answers, not the Entity API.
	ErrNotIdentityCloud = errors.New("the server is not the Entity API")
)

// Count returns the number of records of the entity type (entity.count). The number is not consistent
// with single records: new ones may be missing. The documentation names in three different ways the clients that may count:
// expect an *APIError for which IsPermission is true.
func (c *Client) Count(ctx context.Context) (int64, error) {
	count, answer := c.count(ctx)
	return count, answer.Err
}

func (c *Client) count(ctx context.Context) (int64, Answer) { return c.countWhere(ctx, "") }

// countWhere counts the records that fit a filter; "" is none.
func (c *Client) countWhere(ctx context.Context, filter string) (int64, Answer) {
	form := c.common
	if filter != "" {
		form = appendParameter(slices.Clone(form), "filter", filter)
	}
	answer, result := c.ask(ctx, "/entity.count", form)
	if answer.Verdict != Answered {
		return 0, answer
	}
	count, err := strconv.ParseInt(string(result["total_count"]), 10, 64)
	if err != nil || count < 0 {
		answer.unusable("no total_count")
		return 0, answer
	}
	return count, answer
}

// Check verifies the address, the credentials and the entity type before anything is written. It makes one harmless call,
// entity.count. It returns nil if all is well, and also if the client may not count (API code 403): it may be allowed to
// create all the same.
//
// Its error wraps one of the errors of this file, with a text that says what to do, or for any other answer of the API an
// *APIError. ErrUnreachable and ErrBusy may be temporary, the others are not.
//
// If Config.Renew returns another secret after the first was refused, Check tries that one as well.
func (c *Client) Check(ctx context.Context) error {
	before := c.clientSecret.Load()
	_, answer := c.count(ctx)
	if errors.Is(answer.Fault, ErrCredentials) && *c.clientSecret.Load() != *before {
		_, answer = c.count(ctx)
	}
	var (
		api  *APIError
		http *HTTPError
		none *NoAnswerError
	)
	switch {
	case answer.Err == nil:
		return nil
	case answer.Verdict == NotSent:
		return answer.Err
	case errors.As(answer.Err, &api):
		return c.checkAPI(api, answer)
	case errors.As(answer.Err, &http):
		return c.checkHTTP(http, answer)
	case errors.As(answer.Err, &none):
		return c.checkNone(none, ctx)
	}
	return answer.Err
}

func (c *Client) checkAPI(e *APIError, a Answer) error {
	// The call contained no user data, so the API's words contain none. The secret is masked in them.
	words := ""
	if e.Description != "" {
		words = ", in its words: " + strings.ReplaceAll(e.Description, *c.clientSecret.Load(), "***")
	}
	switch {
	case e.IsPermission():
		return nil
	case c.isCredentials(e), containsFold([]byte(e.Description), "malformed", "not a valid id"):
		// The phrases come from the vendor's data library. In a call with user data they may refer to that data.
		return c.wrongCredentials(e, a)
	case e.Code == 222:
		return c.noEntityType(e)
	case slices.Contains([]int{480, 500, 504, 510, 540}, e.Code):
		return c.found(ErrBusy, c.host, "try again later", e)
	}
	return fmt.Errorf("the API at %s refuses entity.count for the entity type %q: %w%s", c.host, c.config.EntityType, e, words)
}

// isCredentials reports whether the error concerns the credentials. 402 is invalid_client_credentials. The vendor's data
// library (janrain-python-datalib) also accepts 431. The error for a signature with a wrong time is not documented; a
// missing or invalid argument (1xx, 200) named date can mean nothing else, while 223 and others name attributes.
func (c *Client) isCredentials(e *APIError) bool {
	argument := e.Code >= 100 && e.Code <= 200
	return e.Code == 402 || e.Code == 431 ||
		argument && slices.Contains([]string{"client_id", "client_secret"}, e.Argument) ||
		argument && c.config.Auth == Signature && strings.EqualFold(e.Argument, "date")
}

// wrongCredentials explains err, of the answer a, to an operator.
func (c *Client) wrongCredentials(err error, a Answer) error {
	advice := "check the id and the secret, and that they belong to this address"
	if c.config.Auth == Signature {
		advice += "; calls are signed with the time, and this machine's clock " + clock(a)
	}
	return c.found(ErrCredentials, "client "+c.config.ClientID, advice, err)
}

func (c *Client) noEntityType(e *APIError) error {
	return c.found(ErrEntityType, strconv.Quote(c.config.EntityType), "check the name, and that the address is that of the right environment", e)
}

// clock describes this machine's clock, compared with the server's.
func clock(a Answer) string {
	if a.ServerDate.IsZero() {
		return "could not be compared with the server's"
	}
	off := a.Received.Sub(a.ServerDate).Round(time.Second)
	switch {
	case off > 2*time.Second:
		return fmt.Sprintf("is %s ahead of the server's", off)
	case off < -2*time.Second:
		return fmt.Sprintf("is %s behind the server's", -off)
	}
	return "agrees with the server's"
}

func (c *Client) checkHTTP(e *HTTPError, a Answer) error {
	switch {
	case e.Status == 401:
		return c.wrongCredentials(e, a)
	case e.Status == 403:
		return c.found(ErrForbidden, c.host, "check that this machine's address is on the allow list of the API client", e)
	case e.Status == 408, e.Status == 429, e.Status >= 500:
		return c.found(ErrBusy, c.host, "try again later", e)
	case e.Status >= 300 && e.Status < 400:
		return c.found(ErrNotIdentityCloud, c.host, "it redirects, which is not followed: give the address that it redirects to", e)
	}
	return c.found(ErrNotIdentityCloud, c.host, "check the address: expected https://<name>.janraincapture.com", e)
}

func (c *Client) checkNone(e *NoAnswerError, ctx context.Context) error {
	switch e.Reason {
	case "canceled":
		return context.Cause(ctx)
	case "tls":
		return c.found(ErrTLS, c.host, "check the address, and the certificates that this machine trusts", e)
	case "dns":
		return c.found(ErrUnreachable, c.host, "check the spelling of the host name", e)
	case "proxy":
		return c.found(ErrUnreachable, c.host, "check the proxy in the environment (HTTPS_PROXY, NO_PROXY)", e)
	case "not http", "bad gzip", "answer too long", "not json", "no stat", "no total_count":
		return c.found(ErrNotIdentityCloud, c.host, "check the address: expected https://<name>.janraincapture.com", e)
	}
	return c.found(ErrUnreachable, c.host, "check the address, the network and a firewall in between", e)
}

// found composes an error for an operator: what is wrong, where, what to do, and the cause.
func (c *Client) found(what error, about, advice string, cause error) error {
	return fmt.Errorf("%w (%s): %s [%w]", what, about, advice, cause)
}
