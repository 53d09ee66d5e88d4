package identitycloud

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestCheckExplainsAnswers(t *testing.T) {
	sentinels := []error{ErrCredentials, ErrEntityType, ErrForbidden, ErrUnreachable, ErrTLS, ErrBusy, ErrNotIdentityCloud}
	type handler = http.HandlerFunc
	says := func(status int, body string, headers ...string) handler {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/entity.count" || r.Method != "POST" || r.FormValue("type_name") != "user" {
				t.Errorf("got %s %s %v", r.Method, r.URL, r.Form)
			}
			for i := 0; i < len(headers); i += 2 {
				w.Header()[headers[i]] = []string{headers[i+1]}
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	early := time.Now().Add(-10 * time.Minute).UTC().Format(http.TimeFormat)
	late := time.Now().Add(10 * time.Minute).UTC().Format(http.TimeFormat)
	for _, tc := range []struct {
		name string
		do   handler
		auth Auth
		want error  // one of the sentinels, or nil for none of them
		text string // "" if the check passes
	}{
		{"all is well", says(200, `{"stat":"ok","total_count":15}`), Basic, nil, ""},
		{"may not count", says(200, apiError(403, "client_permission_error")), Basic, nil, ""},
		{"may not count, by name", says(200, `{"stat":"error","code":400,"error":"client_permission_error"}`), Basic, nil, ""},
		{"wrong secret", says(200, apiError(402, "bad "+testSecret)), Basic, ErrCredentials, "client " + testID},
		{"malformed id", says(200, apiError(200, "client4711 is not a valid id")), Basic, ErrCredentials, "check the id and the secret"},
		{"about the id", says(200, `{"stat":"error","code":200,"argument_name":"client_id"}`), Basic, ErrCredentials, "check the id and the secret"},
		{"wrong secret, signed, clock right", says(200, apiError(402, "x")), Signature, ErrCredentials, "clock agrees with the server's"},
		{"stale date, clock ahead", says(200, `{"stat":"error","code":200,"argument_name":"Date"}`, "Date", early), Signature, ErrCredentials, "clock is 10m"},
		{"stale date, clock behind", says(200, `{"stat":"error","code":200,"argument_name":"Date"}`, "Date", late), Signature, ErrCredentials, "behind the server's"},
		{"stale date, no server clock", says(200, `{"stat":"error","code":402}`, "Date", ""), Signature, ErrCredentials, "could not be compared"},
		{"HTTP 401", says(401, "who?"), Basic, ErrCredentials, "HTTP 401"},
		{"unknown entity type", says(200, apiError(222, "no such type")), Basic, ErrEntityType, `"user"`},
		{"HTTP 403", says(403, "no"), Basic, ErrForbidden, "allow list"},
		{"API busy", says(200, apiError(510, "busy")), Basic, ErrBusy, "api 510"},
		{"API maintenance", says(200, apiError(480, "back soon")), Basic, ErrBusy, "try again later"},
		{"HTTP 503", says(503, ""), Basic, ErrBusy, "HTTP 503"},
		{"HTTP 429", says(429, ""), Basic, ErrBusy, "HTTP 429"},
		{"HTTP 404", says(404, "nginx"), Basic, ErrNotIdentityCloud, "check the address"},
		{"a redirect", says(301, "", "Location", "https://example.com/"), Basic, ErrNotIdentityCloud, "redirects"},
		{"a page", says(200, "<html>"), Basic, ErrNotIdentityCloud, "not json"},
		{"other JSON", says(200, `{}`), Basic, ErrNotIdentityCloud, "no stat"},
		{"no count", says(200, `{"stat":"ok"}`), Basic, ErrNotIdentityCloud, "no total_count"},
		{"another API error", says(200, apiError(224, "no application here, "+testSecret)), Basic, nil, "no application here, ***"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url, _ := serve(t, tc.do)
			err := newClient(t, url, func(cfg *Config) { cfg.Auth = tc.auth }).Check(context.Background())
			if (err == nil) != (tc.text == "") || err != nil && !strings.Contains(err.Error(), tc.text) {
				t.Fatalf("got %v, want %q", err, tc.text)
			}
			for _, s := range sentinels {
				if errors.Is(err, s) != (s == tc.want) {
					t.Errorf("got %v, which is %q: %t", err, s, errors.Is(err, s))
				}
			}
			if err != nil && strings.Contains(err.Error(), testSecret) {
				t.Errorf("the error holds the secret: %v", err)
			}
			var api *APIError
			var http *HTTPError
			var none *NoAnswerError
			if err != nil && !errors.As(err, &api) && !errors.As(err, &http) && !errors.As(err, &none) {
				t.Errorf("nothing stands behind %v", err)
			}
		})
	}
}

func TestCheckExplainsFailedConnections(t *testing.T) {
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = quiet
	untrusted.StartTLS()
	defer untrusted.Close()
	plainHTTP, _ := serve(t, func(http.ResponseWriter, *http.Request) {})
	silent := serveRaw(t, func(c rawConn) { _, _ = io.Copy(io.Discard, c.r) })
	notTLS := serveRaw(t, func(c rawConn) { c.say("220 smtp.example.com\r\n"); _, _ = c.r.ReadByte() })
	hangsUp := serveRaw(t, func(c rawConn) { _, _ = c.r.ReadByte() })
	secure := func(url string) string { return strings.Replace(url, "http://", "https://", 1) }

	for _, tc := range []struct {
		name, url string
		timeout   time.Duration
		dial      error
		want      error
		text      string
	}{
		{"nobody listens", "http://" + refusing(t), patience, nil, ErrUnreachable, "refused"},
		{"unknown certificate", untrusted.URL, patience, nil, ErrTLS, "certificate"},
		{"TLS to a plain server", secure(plainHTTP), patience, nil, ErrTLS, "tls"},
		{"TLS to a mail server", secure(notTLS), patience, nil, ErrTLS, "does not look like a TLS handshake"},
		{"TLS to a silent server", secure(silent), impatience, nil, ErrUnreachable, "timeout"},
		{"a silent server", silent, impatience, nil, ErrUnreachable, "timeout"},
		{"hangs up in the handshake", secure(hangsUp), patience, nil, ErrUnreachable, "no answer: "},
		{"no such host", "https://nowhere.example.com", patience,
			&net.OpError{Op: "dial", Err: &net.DNSError{Name: "nowhere.example.com", Err: "no such host", IsNotFound: true}}, ErrUnreachable, "spelling"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClient(t, tc.url, func(cfg *Config) { cfg.Timeout = tc.timeout })
			if tc.dial != nil {
				c.sender.Transport.Proxy = nil
				c.sender.Transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, tc.dial }
			}
			err := c.Check(context.Background())
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want %v with %q", err, tc.want, tc.text)
			}
		})
	}
}

func TestCheckExplainsProxyErrors(t *testing.T) {
	refuses := serveRaw(t, func(c rawConn) { c.request(); c.say("HTTP/1.1 407 ann@example.com\r\n\r\n") })
	for address, want := range map[string]string{
		strings.Replace(refuses, "http://", "http://me:hunter2@", 1): "the proxy answers HTTP 407 Proxy Authentication Required",
		"http://me:hunter2@" + refusing(t):                           "refused",
	} {
		c := newClient(t, "https://api.example.com")
		proxy, err := url.Parse(address)
		must(t, err)
		c.sender.Transport.Proxy = http.ProxyURL(proxy)
		err = c.Check(context.Background())
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "HTTPS_PROXY") {
			t.Errorf("got %v, want %v with %q", err, ErrUnreachable, want)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "ann@")) {
			t.Errorf("the error holds what it must not: %v", err)
		}
	}
}

func TestACanceledCheckReturnsItsCause(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	url := serveRaw(t, func(c rawConn) { c.request(); cancel(); _, _ = c.r.ReadByte() })
	if err := newClient(t, url).Check(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestCount(t *testing.T) {
	for body, want := range map[string]int64{
		`{"total_count":15,"stat":"ok"}`:            15,
		`{"total_count":0,"stat":"ok"}`:             0,
		`{"total_count":9007199254740993}`:          -1,
		`{"total_count":-4,"stat":"ok"}`:            -1,
		`{"total_count":"15","stat":"ok"}`:          -1,
		`{"stat":"ok"}`:                             -1,
		apiError(403, "no"):                         -1,
		`{"total_count":123456789012,"stat":"ok"} `: 123456789012,
	} {
		url, _ := serve(t, says(200, body))
		got, err := newClient(t, url).Count(context.Background())
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%s: got %d, %v, want %d", body, got, err, want)
		}
	}
}
