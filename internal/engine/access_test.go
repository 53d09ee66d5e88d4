package engine

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const here = "127.0.0.1:8233"

// page is what the tests guard.
const page = "names of files"

func guarded(t *testing.T) (*access, Address) {
	t.Helper()
	address := Address{UI: "http://" + here, dir: t.TempDir()}
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, page) })
	return newAccess(next, address.links(), "8233", func(_ context.Context, page string) string { return page }), address
}

// ask sends a request with some headers to a Web UI.
func ask(a http.Handler, method, url string, cookies []*http.Cookie, headers ...string) *http.Response {
	r := httptest.NewRequest(method, url, nil)
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		} else {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(r.Body)
	must(t, err)
	return string(text)
}

// enter follows a link, and gives the cookies that it sets.
func enter(t *testing.T, a http.Handler, link string) []*http.Cookie {
	t.Helper()
	r := ask(a, http.MethodGet, link, nil)
	if r.StatusCode != http.StatusSeeOther {
		t.Fatalf("%s: %s; want to be sent on", link, r.Status)
	}
	return r.Cookies()
}

func TestALinkOfTheWebUIWorksOnce(t *testing.T) {
	a, address := guarded(t)
	link := address.Link("/namespaces/default/workflows/a%2Fb/run")
	first := ask(a, http.MethodGet, link, nil)
	if got := first.Header.Get("Location"); first.StatusCode != http.StatusSeeOther || got != "/namespaces/default/workflows/a%2Fb/run" {
		t.Fatalf("the first time: %s to %q; want to be sent to the page without the code", first.Status, got)
	}
	cookies := first.Cookies()
	if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode || cookies[0].MaxAge != 0 || !cookies[0].Expires.IsZero() {
		t.Fatalf("cookies %+v; want one of this session, HttpOnly and SameSite=Strict", cookies)
	}
	if strings.Contains(link, cookies[0].Value) {
		t.Error("the link has the cookie in it")
	}
	second := ask(a, http.MethodGet, link, nil)
	if second.StatusCode != http.StatusUnauthorized || len(second.Cookies()) != 0 {
		t.Errorf("the second time: %s with %d cookies; want no way in", second.Status, len(second.Cookies()))
	}
	if again := ask(a, http.MethodGet, link, cookies); again.StatusCode != http.StatusSeeOther {
		t.Errorf("in the browser that has the cookie: %s; want to be sent to the page", again.Status)
	}
	if r := ask(a, http.MethodGet, address.UI+"/", cookies); r.StatusCode != http.StatusOK || body(t, r) != page {
		t.Errorf("with the cookie: %s", r.Status)
	}
	if r := ask(a, http.MethodGet, address.Link(""), nil); r.StatusCode != http.StatusSeeOther || r.Cookies()[0].Value != cookies[0].Value {
		t.Errorf("another browser with a link of its own: %s", r.Status)
	}
}

func TestOfManyThatFollowALinkOneGetsIn(t *testing.T) {
	a, address := guarded(t)
	link := address.Link("")
	var in atomic.Int32
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if ask(a, http.MethodGet, link, nil).StatusCode == http.StatusSeeOther {
				in.Add(1)
			}
		})
	}
	all.Wait()
	if in.Load() != 1 {
		t.Errorf("%d got in; want 1", in.Load())
	}
}

func TestALinkThatNobodyHasOpenedStaysGood(t *testing.T) {
	for name, try := range map[string]func(a *access, link string) *http.Response{
		"HEAD": func(a *access, link string) *http.Response { return ask(a, http.MethodHead, link, nil) },
		"prefetch": func(a *access, link string) *http.Response {
			return ask(a, http.MethodGet, link, nil, "Sec-Purpose", "prefetch;prerender")
		},
		"old prefetch": func(a *access, link string) *http.Response {
			return ask(a, http.MethodGet, link, nil, "Purpose", "prefetch")
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, address := guarded(t)
			link := address.Link("")
			if r := try(a, link); r.StatusCode != http.StatusUnauthorized || len(r.Cookies()) != 0 {
				t.Errorf("%s with %d cookies; want no way in", r.Status, len(r.Cookies()))
			}
			enter(t, a, link)
		})
	}
}

func TestACodeThatIsNotGoodGetsNobodyIn(t *testing.T) {
	a, address := guarded(t)
	good, err := address.links().keep("/x", time.Now())
	must(t, err)
	expired, err := address.links().keep("/x", time.Now())
	must(t, err)
	before := time.Now().Add(-LinkLife - time.Second)
	must(t, os.Chtimes(filepath.Join(address.dir, "links", expired), before, before))
	used, err := address.links().keep("/x", time.Now())
	must(t, err)
	enter(t, a, address.UI+"/?code="+used)
	_, elsewhere := guarded(t)
	other, err := elsewhere.links().keep("/x", time.Now())
	must(t, err)
	must(t, os.WriteFile(filepath.Join(address.dir, "SECRET"), []byte("secret"), 0o600))
	for name, code := range map[string]string{
		"empty":              "",
		"of another folder":  other,
		"expired":            expired,
		"used":               used,
		"used, by its name":  used + opened,
		"cut short":          good[:len(good)-1],
		"with something":     good + "A",
		"in small letters":   strings.ToLower(good),
		"a path":             "../SECRET",
		"a folder":           ".",
		"a very long string": strings.Repeat("A", 100_000),
	} {
		r := ask(a, http.MethodGet, address.UI+"/?code="+url.QueryEscape(code), nil)
		if r.StatusCode != http.StatusUnauthorized || len(r.Cookies()) != 0 || strings.Contains(body(t, r), "secret") {
			t.Errorf("%s: %s with %d cookies; want no way in", name, r.Status, len(r.Cookies()))
		}
	}
	enter(t, a, address.UI+"/?code="+good)
}

func TestLinksAreKeptAsLongAsTheyWouldHold(t *testing.T) {
	_, address := guarded(t)
	for range 10 {
		_, err := address.links().keep("/x", time.Now())
		must(t, err)
	}
	_, err := address.links().keep("/x", time.Now().Add(LinkLife+time.Second))
	must(t, err)
	if files, err := os.ReadDir(filepath.Join(address.dir, "links")); err != nil || len(files) != 1 {
		t.Errorf("%d links are kept after they have expired, %v; want the new one only", len(files), err)
	}
}

func TestALinkLeadsToThisHostOnly(t *testing.T) {
	a, address := guarded(t)
	for _, path := range []string{"//evil.example/x", "///evil.example"} {
		r := ask(a, http.MethodGet, address.Link(path), nil)
		to := r.Header.Get("Location")
		if r.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.Contains(to, "code=") {
			t.Errorf("%s: %s to %q; want a page of this host, without the code", path, r.Status, to)
		}
	}
}

// What another user of the machine, or a page of somebody else, may try.
func TestTheWebUIShowsNothingToStrangers(t *testing.T) {
	a, address := guarded(t)
	cookies := enter(t, a, address.Link(""))
	forged := []*http.Cookie{{Name: cookies[0].Name, Value: strings.Repeat("A", len(cookies[0].Value))}}
	for _, tc := range []struct {
		name    string
		method  string
		cookies []*http.Cookie
		headers []string
		want    int
	}{
		{"no cookie", http.MethodGet, nil, nil, http.StatusUnauthorized},
		{"no cookie, a command", http.MethodPost, nil, nil, http.StatusUnauthorized},
		{"a forged cookie", http.MethodGet, forged, nil, http.StatusUnauthorized},
		{"an empty cookie", http.MethodGet, []*http.Cookie{{Name: cookies[0].Name}}, nil, http.StatusUnauthorized},
		{"the Authorization header", http.MethodPost, nil, []string{"Authorization", "Bearer x"}, http.StatusUnauthorized},
		{"a stream", http.MethodGet, nil, []string{"Upgrade", "websocket", "Connection", "Upgrade"}, http.StatusUnauthorized},
		{"a foreign Host", http.MethodGet, cookies, []string{"Host", "evil.example:8233"}, http.StatusForbidden},
		{"a foreign Host that looks like ours", http.MethodGet, cookies, []string{"Host", "127.0.0.1.evil.example"}, http.StatusForbidden},
		{"a foreign Host in a subdomain", http.MethodGet, cookies, []string{"Host", "evil.localhost.example:8233"}, http.StatusForbidden},
		{"no Host", http.MethodGet, cookies, []string{"Host", ""}, http.StatusForbidden},
		{"a foreign Origin", http.MethodPost, cookies, []string{"Origin", "http://evil.example"}, http.StatusForbidden},
		{"an Origin at another port", http.MethodPost, cookies, []string{"Origin", "http://127.0.0.1:9999"}, http.StatusForbidden},
		{"an Origin of another scheme", http.MethodPost, cookies, []string{"Origin", "https://" + here}, http.StatusForbidden},
		{"an Origin without a name", http.MethodPost, cookies, []string{"Origin", "null"}, http.StatusForbidden},
		{"a script of another site", http.MethodGet, cookies, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script"}, http.StatusForbidden},
		{"a fetch from another port", http.MethodGet, cookies, []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}, http.StatusForbidden},
		{"a frame of another site", http.MethodGet, cookies, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, http.StatusForbidden},
		{"a form of another site", http.MethodPost, cookies, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, http.StatusForbidden},
		{"a link of another site, without the cookie", http.MethodGet, nil, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, http.StatusUnauthorized},

		{"the owner", http.MethodGet, cookies, nil, http.StatusOK},
		{"the owner by name", http.MethodGet, cookies, []string{"Host", "localhost:8233"}, http.StatusOK},
		{"the owner through a tunnel", http.MethodGet, cookies, []string{"Host", "localhost:18233", "Origin", "http://localhost:18233"}, http.StatusOK},
		{"the owner's own page", http.MethodPost, cookies, []string{"Origin", "http://" + here, "Sec-Fetch-Site", "same-origin"}, http.StatusOK},
	} {
		for _, path := range []string{"/", "/api/v1/namespaces/default/workflows/x/run/y/history.json", "/_app/x.js"} {
			r := ask(a, tc.method, address.UI+path, tc.cookies, tc.headers...)
			text := body(t, r)
			if r.StatusCode != tc.want || strings.Contains(text, page) != (tc.want == http.StatusOK) || tc.want != http.StatusOK && len(r.Cookies()) != 0 {
				t.Errorf("%s, %s: %s with %d cookies, %q; want %d", tc.name, path, r.Status, len(r.Cookies()), text, tc.want)
			}
		}
	}
}

func TestWithoutTheCookieThePageSaysHowToGetALink(t *testing.T) {
	a, address := guarded(t)
	r := ask(a, http.MethodGet, address.UI+"/namespaces/default/workflows", nil)
	text := body(t, r)
	if !strings.Contains(text, "starter serve") || !strings.Contains(text, "starter status") || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%q; want it to name the commands that print a link", text)
	}
}
