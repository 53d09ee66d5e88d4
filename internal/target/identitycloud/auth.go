package identitycloud

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Auth is a way to authenticate a call.
type Auth int

const (
	// Basic is HTTP Basic authentication (RFC 7617), which the documentation recommends.
	Basic Auth = iota
	// Signature is the scheme janrain-signed, which dataload.py uses: an HMAC-SHA1 over the endpoint, the time and
	// all parameters. The secret is not sent; the local clock must be right.
	Signature
)

func checkCredentials(id, secret string, auth Auth) error {
	switch {
	case auth != Basic && auth != Signature:
		return fmt.Errorf("authentication is %d: expected Basic (%d) or Signature (%d)", auth, Basic, Signature)
	case id == "":
		return errors.New("the client id is missing: give the id of an API client that has the feature direct_access")
	case secret == "":
		return errors.New("the client secret is missing: give the secret of the API client")
	case strings.TrimSpace(secret) != secret:
		return errors.New("the client secret starts or ends with white space: remove it; a copied line break is the most common cause")
	}
	for i := range len(id) {
		// A colon would end the id in both schemes; the other characters are invalid in a header.
		if id[i] <= ' ' || id[i] > '~' || id[i] == ':' {
			return errors.New("the client id contains a blank, a colon or another character that is not allowed in one: copy it again")
		}
	}
	return nil
}

// renewSecret reads the secret again if an answer refuses the current one.
func (c *Client) renewSecret(a Answer) {
	if c.config.Renew == nil || !errors.Is(a.Fault, ErrCredentials) {
		return
	}
	if secret := c.config.Renew(); checkCredentials(c.config.ClientID, secret, c.config.Auth) == nil {
		c.clientSecret.Store(&secret)
	}
}

// authorize sets the authentication headers of a call with this body, made at this time.
func (c *Client) authorize(h http.Header, endpoint string, form []byte, at time.Time) {
	secret := *c.clientSecret.Load()
	if c.config.Auth == Basic {
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.config.ClientID+":"+secret)))
		return
	}
	// The scheme requires this format, not that of RFC 9110, and UTC.
	date := at.UTC().Format("2006-01-02 15:04:05")
	h.Set("Date", date)
	h.Set("Authorization", "Signature "+c.config.ClientID+":"+signature(secret, endpoint, date, form))
}

// signature computes the signature of the scheme janrain-signed: over the endpoint, the date and the sorted "key=value"
// strings with decoded values, each followed by a line feed. It reads the body itself, so that exactly what is sent is
// signed.
//
// Source: the Python client (janrain-python-api, janrain/capture/api.py, generate_signature).
func signature(secret, endpoint, date string, form []byte) string {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(endpoint + "\n" + date + "\n"))
	if len(form) > 0 {
		// The order of the encoded parameters is that of the decoded ones: names are distinct, need no encoding and end
		// with "=", so no comparison reaches a value.
		parameters := bytes.Split(form, []byte("&"))
		slices.SortFunc(parameters, bytes.Compare)
		for _, p := range parameters {
			writeDecoded(mac, p)
			mac.Write([]byte("\n"))
		}
	}
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// writeDecoded reverses appendEncoded, in chunks, since a body may be large.
func writeDecoded(mac hash.Hash, encoded []byte) {
	var piece [512]byte
	n := 0
	for i := 0; i < len(encoded); i++ {
		b := encoded[i]
		switch b {
		case '+':
			b = ' '
		case '%':
			b = unhex(encoded[i+1])<<4 | unhex(encoded[i+2])
			i += 2
		}
		piece[n] = b
		if n++; n == len(piece) {
			mac.Write(piece[:])
			n = 0
		}
	}
	mac.Write(piece[:n])
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c - 'A' + 10
}
