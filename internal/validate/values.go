package validate

import (
	"net/netip"
	"strings"
	"time"

	"durable-dataload/internal/identitycloud"
)

// passwordTypes are the types that the current documentation lists for imports ("Transform user passwords").
var passwordTypes = set(
	"password-bcrypt", "password-crypt-sha256", "password-crypt-sha512", "password-crypt-des",
	"password-pbkdf2-sha1", "password-pbkdf2-sha256", "password-pbkdf2-sha512",
	"password-phpass-sha512-truncated-55", "password-netforum", "password-sha-256", "password-sha-512",
)

// olderPasswordTypes are further types that an earlier edition listed.
var olderPasswordTypes = set(
	"password-md5", "password-crypt-md5", "password-md5-salted-left-base64", "password-md5-salted-right-base64",
	"password-phpass-md5",
)

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// Dates outside of these years are implausible: a birthday in 0019, an expiry in 9999.
const (
	earliestYear = 1900
	latestYear   = 2100
)

// yearOf returns the year of a date or dateTime in the documented formats of the platform.
func yearOf(s []byte) (year int, ok bool) {
	if year, ok := plainYear(s); ok {
		return year, true
	}
	if m, ok := identitycloud.ParseMoment(string(s)); ok {
		return m.Earliest.Year(), true
	}
	t, err := time.Parse("20060102", string(s))
	return t.Year(), err == nil
}

// plainYear is a fast path for the two most frequent formats, 2006-01-02 and 2006-01-02 15:04:05.
func plainYear(s []byte) (year int, ok bool) {
	const form = "0000-00-00 00:00:00"
	if len(s) != len("0000-00-00") && len(s) != len(form) {
		return 0, false
	}
	for i, c := range s {
		if digit := c >= '0' && c <= '9'; digit != (form[i] == '0') || !digit && c != form[i] {
			return 0, false
		}
	}
	two := func(i int) int { return int(s[i]-'0')*10 + int(s[i+1]-'0') }
	year, month, day := two(0)*100+two(2), two(5), two(8)
	if month < 1 || month > 12 || day < 1 || day > time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day() {
		return 0, false
	}
	if len(s) == len(form) && (two(11) > 23 || two(14) > 59 || two(17) > 59) {
		return 0, false
	}
	return year, true
}

// isEmail reports whether s looks like an address. The platform does not document its exact rule.
func isEmail(s string) bool {
	name, domain, ok := strings.Cut(s, "@")
	return ok && name != "" && domain != "" && !strings.ContainsAny(s, " \t\r\n") && !strings.Contains(domain, "@")
}

func isIPAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}
