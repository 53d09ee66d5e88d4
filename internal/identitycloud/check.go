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

// What Check can find, for errors.Is. The error that Check returns also wraps the *APIError, *HTTPError or
// *NoAnswerError behind it.
var (
	// ErrCredentials: the client id or secret is wrong, or with Signature the local clock.
	ErrCredentials = errors.New("the API does not accept the client id and secret")
	// ErrEntityType: there is no such entity type.
	ErrEntityType = errors.New("the entity type does not exist")
	// ErrForbidden: the front end lets nobody through from here. Not the API's 403, which Check accepts.
	ErrForbidden = errors.New("the API's front end forbids calls from here")
	// ErrUnreachable: the host does not exist, does not listen, hangs up or does not answer in time. It may pass.
	ErrUnreachable = errors.New("the API cannot be reached")
	// ErrTLS: the secure connection failed; mostly a certificate that does not fit.
	ErrTLS = errors.New("no secure connection to the API")
	// ErrBusy: the API or its front end cannot serve now. It passes.
	ErrBusy = errors.New("the API is there but cannot serve now")
	// ErrNotIdentityCloud: something answers, but not as the Entity API does.
	ErrNotIdentityCloud = errors.New("what answers is not the Entity API")
)

// Count returns the number of records of the entity type (entity.count). The number does not take part in the
// consistency of single records: new ones may show late. Which clients may count is documented in three different
// ways: expect an *APIError for which IsPermission is true.
func (c *Client) Count(ctx context.Context) (int64, error) {
	count, answer := c.count(ctx)
	return count, answer.Err
}

func (c *Client) count(ctx context.Context) (int64, Answer) {
	answer, result := c.ask(ctx, "/entity.count", c.common)
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

// Check finds out, before anything is written, whether the address, the credentials and the entity type are right. It is
// one harmless call, entity.count. It returns nil if all is well, and also if the client may not count (API code 403):
// that alone does not say that it may not create.
//
// Its errors are one of this file's, which errors.Is finds, with a text that says what to do; for anything else that
// the API answers an *APIError is wrapped. ErrUnreachable and ErrBusy may pass by themselves, the others will not.
//
// Where Config.Renew has another secret after the first was refused, that one is tried as well.
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
	// The call held no user data, so the API's words repeat none. They are not trusted with the secret.
	words := ""
	if e.Description != "" {
		words = ", in its words: " + strings.ReplaceAll(e.Description, *c.clientSecret.Load(), "***")
	}
	switch {
	case e.IsPermission():
		return nil
	case c.isCredentials(e), containsFold([]byte(e.Description), "malformed", "not a valid id"):
		// The phrases are the vendor's data library's. In a call with user data they may be about that.
		return c.wrongCredentials(e, a)
	case e.Code == 222:
		return c.noEntityType(e)
	case slices.Contains([]int{480, 500, 504, 510, 540}, e.Code):
		return c.found(ErrBusy, c.host, "try again later", e)
	}
	return fmt.Errorf("the API at %s refuses entity.count for the entity type %q: %w%s", c.host, c.entityType, e, words)
}

// isCredentials says that the error is about who calls. 402 is invalid_client_credentials. The vendor's data library
// (janrain-python-datalib) also takes 431. How a signature with a wrong time is refused is not documented; an argument
// that is missing or invalid (1xx, 200) and is called date can mean nothing else, while 223 and others name attributes.
func (c *Client) isCredentials(e *APIError) bool {
	argument := e.Code >= 100 && e.Code <= 200
	return e.Code == 402 || e.Code == 431 ||
		argument && slices.Contains([]string{"client_id", "client_secret"}, e.Argument) ||
		argument && c.auth == Signature && strings.EqualFold(e.Argument, "date")
}

// wrongCredentials is the error for people behind which is err, of the answer a.
func (c *Client) wrongCredentials(err error, a Answer) error {
	advice := "check the id and the secret, and that they belong to this address"
	if c.auth == Signature {
		advice += "; calls are signed with the time, and this machine's clock " + clock(a)
	}
	return c.found(ErrCredentials, "client "+c.clientID, advice, err)
}

func (c *Client) noEntityType(e *APIError) error {
	return c.found(ErrEntityType, strconv.Quote(c.entityType), "check the name, and that the address is that of the right environment", e)
}

// clock compares this machine's clock with the server's.
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

// found composes an error for people: what is wrong, what it is about, what to do, and what stands behind it.
func (c *Client) found(what error, about, advice string, cause error) error {
	return fmt.Errorf("%w (%s): %s [%w]", what, about, advice, cause)
}
