package identitycloud

import (
	"strings"
	"testing"
)

func TestSpellingsOfAnAddressAreOneTarget(t *testing.T) {
	for want, spellings := range map[string][]string{
		"https://a.example": {"a.example", "A.Example", "https://a.example", "HTTPS://A.EXAMPLE/", " https://a.example// ", "https://a.example.", "https://a.example:443", "https://a.example:0443/",
			"https://a.example:", "https://a.example/.", "https://a.example/x/..", "https://ａ.example", "https://a。example"},
		"http://127.0.0.1:9700":           {"http://127.0.0.1:9700", "HTTP://127.0.0.1:9700/", "http://127.0.0.1.:9700", "http://[::ffff:127.0.0.1]:9700", "http://[::FFFF:7f00:1]:09700"},
		"http://127.0.0.1":                {"http://127.0.0.1:80", "http://127.0.0.1/"},
		"http://[::1]:8080":               {"http://[::1]:8080", "http://[0:0:0:0:0:0:0:1]:8080/", "HTTP://[::0001]:8080"},
		"https://[2001:db8::a]":           {"https://[2001:DB8::A]", "https://[2001:0db8:0::000a]:443"},
		"https://xn--mnchen-3ya.example":  {"https://münchen.example", "https://MÜNCHEN.example.", "https://xn--mnchen-3ya.example", "https://XN--MNCHEN-3YA.example/", "https://mu\u0308nchen.example"},
		"https://a.example/Path":          {"https://a.example/Path", "https://A.example:443/Path/", "https://a.example//Path", "https://a.example/./x/../Path"},
		"https://a.example/~x":            {"https://a.example/%7Ex", "https://a.example/~x/"},
		"https://a_b.example":             {"https://A_B.example"},
		"https://a.example:8443":          {"a.example:8443"},
		"https://localhost":               {"localhost", "LOCALHOST."},
		"https://a.example/path%2Fwithin": {"https://a.example/path%2Fwithin", "https://a.example/path%2fwithin/", "https://a.example/x/%2E%2E/path%2fwithin"},
	} {
		for _, given := range spellings {
			if got, err := NormalAddress(given); err != nil || got != want {
				t.Errorf("%q: %q, %v; want %q", given, got, err, want)
			}
		}
		if again, err := NormalAddress(want); err != nil || again != want {
			t.Errorf("%q: %q, %v; want the normal form to be its own", want, again, err)
		}
	}
	// Another path, port or scheme is another target.
	for _, different := range [][2]string{{"https://a.example/Path", "https://a.example/path"}, {"https://a.example:80", "https://a.example"}, {"http://a.example", "https://a.example"}, {"https://a.example", "https://b.example"}} {
		one, _ := NormalAddress(different[0])
		two, _ := NormalAddress(different[1])
		if one == two {
			t.Errorf("%q and %q are both %q; want two targets", different[0], different[1], one)
		}
	}
}

func TestInvalidAddressesAreRefused(t *testing.T) {
	for given, want := range map[string]string{
		"": "missing", "https://": "no host name", "https://.": "cannot be read", "https:///path": "no host name", "https:a.example": "cannot be read", "ftp://a.example": "expected https://",
		"https://me:hunter2@a.example": "must not hold a user name", "https://me:hunter2@exa mple": "cannot be read", "https://a.example/?x=1": "remove what starts with ?", "https://a.example#": "remove what starts with ?",
		"https://a.example:0": "expected 1 to 65535", "https://a.example:65536": "expected 1 to 65535", "https://a.example:https": "cannot be read", "https://a\\b.example": "cannot be read",
		"https://a\u202eb.example": "cannot be read", "https://%ff.example": "cannot be read", "https://%61.example": "cannot be read", "https://a\nb.example": "cannot be read", "https://a%00.example": "cannot be read", "https://a..example": "cannot be read", "https://a.example..": "cannot be read",
	} {
		got, err := NormalAddress(given)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %q, %v; want an error with %q and without a password", given, got, err, want)
		}
	}
}

func FuzzTheNormalFormOfAnAddressIsItsOwn(f *testing.F) {
	for _, given := range []string{"a.example", "HTTPS://A.EXAMPLE.:443//x/../y/", "http://[::ffff:1.2.3.4]:80", "https://münchen.example", "https://a/%2F/", "https://[fe80::1%25eth0]/", "https://a/%"} {
		f.Add(given)
	}
	f.Fuzz(func(t *testing.T, given string) {
		normal, err := NormalAddress(given)
		if err != nil {
			return
		}
		if again, err := NormalAddress(normal); err != nil || again != normal {
			t.Errorf("%q is %q, and that %q, %v; want the normal form to be its own", given, normal, again, err)
		}
	})
}
