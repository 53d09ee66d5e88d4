package sandbox

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	// signedDate is the form of the Date header of a signed call, in UTC. It is not that of RFC 9110.
	signedDate = "2006-01-02 15:04:05"
	// maxClockSkew is how old or new a signed call may be. The vendor does not publish its own window.
	maxClockSkew = 10 * time.Minute
)

// credentials are those of the one API client that the server knows. It may do everything.
type credentials struct {
	id, secret string
}

// check verifies a call's Authorization header: Basic, or a signature over the endpoint, the Date header and all
// parameters.
func (c credentials) check(r *http.Request, params url.Values, now time.Time) *apiError {
	header := r.Header.Get("Authorization")
	scheme, value, _ := strings.Cut(header, " ")
	switch {
	case header == "":
		return newError(402, "the Authorization header is missing: expected Basic or Signature")
	case strings.EqualFold(scheme, "Basic"):
		id, secret, ok := r.BasicAuth()
		if !ok {
			return newError(402, "the Basic credentials are malformed: expected base64(client_id:client_secret)")
		}
		if !same(id, c.id) || !same(secret, c.secret) {
			return newError(402, "unknown client_id, or wrong client_secret")
		}
		return nil
	case strings.EqualFold(scheme, "Signature"):
		return c.checkSignature(r, value, params, now)
	default:
		return newError(205, "the authentication method is not one of those expected: Basic or Signature")
	}
}

func (c credentials) checkSignature(r *http.Request, value string, params url.Values, now time.Time) *apiError {
	id, signature, ok := strings.Cut(value, ":")
	if !ok {
		return newError(402, "the signature is malformed: expected Signature client_id:base64(hmac-sha1)")
	}
	date := r.Header.Get("Date")
	signed, err := time.Parse(signedDate, date)
	if err != nil {
		return newError(402, "the Date header of a signed call must be YYYY-MM-DD HH:MM:SS, in UTC")
	}
	if skew := now.Sub(signed).Abs(); skew > maxClockSkew {
		return newError(402, "the Date header is off by %s, allowed are %s: set the client's clock", skew.Round(time.Second), maxClockSkew)
	}
	pairs := signedPairs(params)
	want := []string{c.sign(r.URL.Path, date, pairs)}
	if len(pairs) == 0 { // clients differ here: some sign an empty line then
		want = append(want, c.sign(r.URL.Path, date, []string{""}))
	}
	if !same(id, c.id) || !slices.ContainsFunc(want, func(w string) bool { return same(signature, w) }) {
		return newError(402, "unknown client_id, or the signature does not match")
	}
	return nil
}

// signedPairs are the parameters as they are signed: name=value in order, values as before percent-encoding.
func signedPairs(params url.Values) []string {
	var pairs []string
	for name, values := range params {
		for _, value := range values {
			pairs = append(pairs, name+"="+value)
		}
	}
	slices.Sort(pairs)
	return pairs
}

func (c credentials) sign(path, date string, pairs []string) string {
	mac := hmac.New(sha1.New, []byte(c.secret))
	mac.Write([]byte(path + "\n" + date + "\n"))
	for _, pair := range pairs {
		mac.Write([]byte(pair + "\n"))
	}
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func same(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}
