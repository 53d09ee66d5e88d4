package config

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// checkProxy refuses proxy addresses that net/http cannot parse: it would ignore them, and send user data directly.
// warning reports a variable that is not used. Neither contains an address, which may include a password.
func checkProxy(getenv func(string) string) (warning string, err error) {
	// In the order, and with the preference, of net/http.
	for _, names := range [][]string{{"HTTPS_PROXY", "https_proxy"}, {"HTTP_PROXY", "http_proxy"}} {
		for _, name := range names {
			value := getenv(name)
			if value == "" {
				continue
			}
			if wrong := wrongProxy(value); wrong != "" {
				return "", fmt.Errorf("%s is not the address of a proxy: %s; expected http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with every special character of the password as %% and two digits; nothing was sent", name, wrong)
			}
			break
		}
	}
	for _, name := range []string{"ALL_PROXY", "all_proxy"} {
		if getenv(name) != "" && getenv("HTTPS_PROXY") == "" && getenv("https_proxy") == "" {
			return name + " is set, and is not used: calls go the direct way; if they should go through the proxy, set HTTPS_PROXY", nil
		}
	}
	return "", nil
}

// wrongProxy returns why a value is not a proxy address, or "".
func wrongProxy(value string) string {
	if strings.TrimSpace(value) != value {
		return "there is a space or a line end around it"
	}
	if strings.ContainsAny(value[:1], "\"'`“”‘’") {
		return "there are quotes around it"
	}
	if !strings.Contains(value, "://") {
		value = "http://" + value // as net/http does
	}
	u, err := url.Parse(value)
	switch {
	case err != nil:
		return "it cannot be read" // the error contains the address
	case !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme):
		return "its scheme is not http, https, socks5 or socks5h"
	case u.Hostname() == "":
		return "it has no host"
	case u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return "there is text after its host"
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return "its port is invalid"
		}
	}
	return ""
}
