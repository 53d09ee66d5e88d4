package identitycloud

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// NormalAddress returns the canonical form of the address of an API, which identifies a target: a lower-case scheme, https
// if none is given; a lower-case host without a trailing dot, in ASCII (IDNA 2008, as in browsers), or an IP address in its
// shortest form; a port only if it is not the default of the scheme; a path without dot segments and trailing slash. It
// does not resolve the host: two names of one machine are two targets.
//
// The error never contains a user name or a password.
func NormalAddress(address string) (string, error) {
	u, err := parseAddress(address)
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

func parseAddress(s string) (*url.URL, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return nil, errors.New("the address of the API is missing: give it as https://<name>.janraincapture.com")
	}
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s) // makes the scheme lower case
	if err != nil {
		// The error of url.Parse contains its input, which may contain a password.
		return nil, errUnreadable
	}
	switch {
	case u.User != nil:
		return nil, fmt.Errorf("the address of the API (host %q) must not hold a user name or password: "+
			"give the client id and secret on their own", u.Host)
	case u.Hostname() == "":
		return nil, errors.New("the address of the API has no host name: expected the form https://<name>.janraincapture.com")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(s, "#"):
		return nil, fmt.Errorf("the address of the API (host %q) must end with the host or a path: remove what starts with ? or #", u.Host)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("the address of the API starts with %s://: expected https://", u.Scheme)
	}
	if u.Host, err = normalHost(u); err != nil {
		return nil, err
	}
	u.RawPath = normalPath(u.EscapedPath())
	if u.Path, err = url.PathUnescape(u.RawPath); err != nil {
		return nil, errUnreadable
	}
	return u, nil
}

// normalPath normalizes an escaped path: no dot segments, no trailing slash, escapes in upper case and only where they are
// needed (RFC 3986, section 6.2.2).
func normalPath(escaped string) string {
	escaped = percentEncoded.ReplaceAllStringFunc(escaped, func(escape string) string {
		if b, err := strconv.ParseUint(escape[1:], 16, 8); err == nil && (isLetterOrDigit(rune(b)) || strings.ContainsRune("-._~", rune(b))) {
			return string(rune(b))
		}
		return strings.ToUpper(escape)
	})
	return strings.TrimRight(path.Clean("/"+escaped), "/")
}

var percentEncoded = regexp.MustCompile(`%[0-9a-fA-F]{2}`)

func isLetterOrDigit(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

var errUnreadable = errors.New("the address of the API cannot be read: expected the form https://<name>.janraincapture.com")

// normalHost returns the normalized host and port of an address.
func normalHost(u *url.URL) (string, error) {
	host, err := normalHostname(u.Hostname())
	if err != nil {
		return "", err
	}
	if u.Port() == "" {
		return host, nil
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil || port < 1 || port > 65535 {
		return "", fmt.Errorf("the address of the API (host %q) has the port %s: expected 1 to 65535", host, u.Port())
	}
	if u.Scheme == "https" && port == 443 || u.Scheme == "http" && port == 80 {
		return host, nil
	}
	return host + ":" + strconv.Itoa(port), nil
}

func normalHostname(host string) (string, error) {
	if ip, err := netip.ParseAddr(strings.TrimSuffix(host, ".")); err == nil {
		if ip = ip.Unmap(); ip.Is6() {
			return "[" + ip.String() + "]", nil
		}
		return ip.String(), nil
	}
	ascii, err := lookup.ToASCII(host)
	if ascii = strings.TrimSuffix(ascii, "."); err != nil || !utf8.ValidString(host) || strings.Contains("."+ascii+".", "..") || strings.ContainsFunc(ascii, notInHost) {
		return "", errUnreadable
	}
	return ascii, nil
}

// lookup is the IDNA profile for lookups, but with underscores, which internal host names may contain.
var lookup = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false))

func notInHost(r rune) bool {
	return !isLetterOrDigit(r) && !strings.ContainsRune("-._", r)
}
