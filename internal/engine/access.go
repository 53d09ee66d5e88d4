package engine

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The Web UI can be reached by every user of the machine, and by every page in
// the owner's browser. So it shows nothing without a cookie, which is random for
// each start. A browser gets it through a link with a one-time code. A code is
// signed with the key of this start, which is in the folder: read access to that
// file is enough to create codes, so a second process of the owner can print a
// working link without asking the first one.
const codeParameter = "code"

// LinkLife is how long an unopened link of the Web UI is valid.
const LinkLife = time.Hour

// access gives only the owner's browser access to the Web UI.
type access struct {
	next    http.Handler
	key     []byte
	cookie  string // its name; one for each port, since cookies are not bound to ports
	session string // its value

	mu   sync.Mutex
	used map[string]time.Time // codes, until they would expire anyway
}

func newAccess(next http.Handler, key []byte, port string) *access {
	return &access{next: next, key: key, cookie: "durable-dataload-" + port, session: rand.Text(), used: map[string]time.Time{}}
}

func (a *access) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch {
	case !fromHere(r):
		// A foreign name that resolves to this machine, or a foreign page.
		http.Error(w, "Forbidden.", http.StatusForbidden)
	case r.Method == http.MethodGet && r.URL.Query().Has(codeParameter):
		a.enter(w, r)
	case !a.hasCookie(r):
		refuse(w, r)
	default:
		a.next.ServeHTTP(w, r)
	}
}

// enter takes a code, and sends the browser to the page without it.
func (a *access) enter(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if purpose := r.Header.Get("Sec-Purpose") + r.Header.Get("Purpose"); strings.Contains(purpose, "prefetch") {
		refuse(w, r) // does not use the link up
		return
	}
	query := r.URL.Query()
	if !a.hasCookie(r) {
		if !a.take(query.Get(codeParameter), time.Now()) {
			refuse(w, r)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: a.cookie, Value: a.session, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	}
	query.Del(codeParameter)
	// One slash: "//host" would be another host.
	to := "/" + strings.TrimLeft(r.URL.EscapedPath(), "/")
	if rest := query.Encode(); rest != "" {
		to += "?" + rest
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

func (a *access) hasCookie(r *http.Request) bool {
	for _, c := range r.CookiesNamed(a.cookie) {
		if subtle.ConstantTimeCompare([]byte(c.Value), []byte(a.session)) == 1 {
			return true
		}
	}
	return false
}

// fromHere reports whether the request names this machine by its own name or
// address, not by a foreign name that resolves to it, and does not come from a
// foreign page. The port may differ: it can be that of a tunnel.
func fromHere(r *http.Request) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	switch strings.ToLower(host) {
	case loopback, "localhost", "::1", "[::1]":
	default:
		return false
	}
	for _, origin := range r.Header.Values("Origin") {
		if origin != "http://"+r.Host {
			return false
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		// A link may be followed from anywhere, since the browser does not send
		// our cookie then.
		return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	}
	return true
}

// refuse explains how to get access, and shows nothing else.
func refuse(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, refusal)
	if r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		// The browser does not send the cookie when a page of another site leads
		// here, but does when this page does.
		_, _ = io.WriteString(w, `<meta http-equiv="refresh" content="0">`)
	}
}

const refusal = `<!doctype html>
<meta charset="utf-8">
<title>durable-dataload</title>
<p>This page needs a link that works once. <code>starter serve</code> prints one when it starts,
and <code>starter status</code> and <code>starter list</code> print a new one.</p>
`

// A code is its expiry, a unique number, and the signature of both.
const (
	codeSize  = 8 + 16
	codeTotal = codeSize + sha256.Size
)

// newCode makes a code that is valid for LinkLife.
func newCode(key []byte, now time.Time) string {
	code := binary.BigEndian.AppendUint64(nil, uint64(now.Add(LinkLife).Unix()))
	code = append(code, make([]byte, codeSize-len(code))...)
	_, _ = rand.Read(code[8:]) // never fails
	return base64.RawURLEncoding.EncodeToString(append(code, sign(key, code)...))
}

// take reports whether a code is valid, and uses it up.
func (a *access) take(text string, now time.Time) bool {
	code, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(code) != codeTotal || !hmac.Equal(code[codeSize:], sign(a.key, code[:codeSize])) {
		return false
	}
	end := time.Unix(int64(binary.BigEndian.Uint64(code)), 0)
	if !now.Before(end) {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for other, end := range a.used {
		if !now.Before(end) {
			delete(a.used, other)
		}
	}
	_, again := a.used[text]
	a.used[text] = end
	return !again
}

func sign(key, message []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(message)
	return mac.Sum(nil)
}
