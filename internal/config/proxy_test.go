package config

import (
	"strings"
	"testing"
)

func TestABrokenProxyIsRefusedWithoutItsPassword(t *testing.T) {
	for value, wrong := range map[string]string{
		"http://proxy.example.com:3128": "", "proxy.example.com:3128": "", "proxy": "", "https://proxy.example.com/": "", "http://user:p%40ss@proxy:80": "", "socks5://[::1]:1080": "", "socks5h://proxy": "",
		"http://user:pa%ss@proxy:80": "cannot be read", "user:pa%ss@proxy:80": "cannot be read", "http://user:pass@proxy:port": "cannot be read", "http://user:pa/ss@proxy:80": "cannot be read", "http://[::1:80": "cannot be read", "http://pro xy:80": "cannot be read",
		"http://user:pa#ss@proxy:80": "cannot be read", "http://user:1#pass@proxy:80": "after its host", "http://user:1?pass@proxy:80": "after its host", "http://proxy:80/path": "after its host",
		"ftp://proxy:80": "scheme", "socks4://user:pass@proxy:80": "scheme", "htpp://proxy": "scheme", "http://": "no host", "http://:80": "no host", "http://user:pass@": "no host",
		"http://proxy:0": "port", "http://proxy:99999": "port", " http://user:pass@proxy:80": "space", "http://user:pass@proxy:80\r\n": "space", `"http://user:pass@proxy:80"`: "quotes", `'proxy:80'`: "quotes",
	} {
		for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
			c := Credentials{URI: "https://x.example.com", ClientID: "id", Secret: "s"}
			err := c.Complete(func(n string) string { return map[string]string{name: value}[n] })
			if wrong == "" && err != nil || wrong != "" && (err == nil || !strings.Contains(err.Error(), name+" is not the address of a proxy") || !strings.Contains(err.Error(), wrong)) {
				t.Errorf("%s=%s: error %v, want %q", name, value, err, wrong)
			}
			if err != nil && (strings.Contains(err.Error(), "pa%ss") || strings.Contains(err.Error(), "pass@") || strings.Contains(err.Error(), "proxy:80")) {
				t.Errorf("%s=%s: the error holds the address: %v", name, value, err)
			}
		}
	}
	// Only the variable that net/http reads counts.
	set := map[string]string{"HTTPS_PROXY": "proxy:80", "https_proxy": "http://pa%ss"}
	if _, err := checkProxy(func(n string) string { return set[n] }); err != nil {
		t.Error(err)
	}
	set = map[string]string{"all_proxy": "socks5://proxy"}
	if warning, err := checkProxy(func(n string) string { return set[n] }); err != nil || !strings.Contains(warning, "all_proxy is set, and is not used") {
		t.Errorf("a proxy for all: %q, %v", warning, err)
	}
}
