package engine

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"durable-dataload/internal/durablefs"
)

// The Web UI can be reached by every user of the machine, and by every page in the owner's
// browser. So it shows nothing without a cookie, which is random for each start. A browser
// gets it through a link with a one-time code: the name of a file in the engine's folder,
// which has the page. So whoever can write in the folder can make a link, a second process of
// the owner too, and nobody else.
const codeParameter = "code"

// LinkLife is how long an unopened link of the Web UI is valid.
const LinkLife = time.Hour

// access gives only the owner's browser access to the Web UI.
type access struct {
	next    http.Handler
	links   links
	cookie  string // its name; one for each port, since cookies are not bound to ports
	session string // its value
	// details is the page that is shown for a page, which may be a part of it.
	details func(ctx context.Context, page string) string
}

func newAccess(next http.Handler, of links, port string, details func(context.Context, string) string) *access {
	return &access{next: next, links: of, cookie: "durable-dataload-" + port, session: rand.Text(), details: details}
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
	page, isNew := a.links.take(r.URL.Query().Get(codeParameter), time.Now())
	if !a.hasCookie(r) {
		if !isNew {
			refuse(w, r)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: a.cookie, Value: a.session, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	}
	// One slash: "//host" would be another host.
	w.Header().Set("Location", "/"+strings.TrimLeft(a.details(r.Context(), page), "/"))
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

// links is the folder of the links, unopened or opened.
type links string

// opened is the end of the name of a link that was opened.
const opened = ".opened"

// keep makes the code of a link to a page.
func (l links) keep(page string, now time.Time) (code string, err error) {
	if err := durablefs.MkdirAll(string(l)); err != nil {
		return "", err
	}
	files, err := os.ReadDir(string(l))
	if err != nil {
		return "", err
	}
	for _, f := range files {
		if info, err := f.Info(); err == nil && now.Sub(info.ModTime()) >= LinkLife {
			_ = os.Remove(filepath.Join(string(l), f.Name()))
		}
	}
	code = rand.Text()
	return code, os.WriteFile(filepath.Join(string(l), code), []byte(page), 0o600)
}

// take gives the page of a link, "" if there is none, and says whether it was opened for the
// first time.
func (l links) take(code string, now time.Time) (page string, isNew bool) {
	if code == "" || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return "", false // it could name another file
	}
	path := filepath.Join(string(l), code)
	if info, err := os.Stat(path); err == nil && now.Sub(info.ModTime()) < LinkLife {
		isNew = os.Rename(path, path+opened) == nil // one of several is the first
	}
	data, err := os.ReadFile(path + opened)
	return string(data), isNew && err == nil
}
