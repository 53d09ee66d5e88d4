package jsonapi

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/httponce"
	"durable-dataload/internal/target"
)

func TestAddressesThatAreSafe(t *testing.T) {
	for address, want := range map[string]string{
		"https://example.com/":            "https://example.com",
		"https://example.com/api/":        "https://example.com/api",
		"http://127.0.0.1:4434":           "http://127.0.0.1:4434",
		"http://[::1]:4434":               "http://[::1]:4434",
		"http://example.com":              "",
		"https://user:secret@example.com": "",
		"https://example.com?key=secret":  "",
		"example.com":                     "",
		"ftp://example.com":               "",
		"":                                "",
		"http://exa mple.com/secret":      "",
	} {
		c, err := New(Config{BaseURL: address}, target.Hooks{})
		got := ""
		if err == nil {
			got = c.base
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error for %q contains the secret: %v", address, err)
		}
		if got != want {
			t.Errorf("the address %q is %q, %v; want %q", address, got, err, want)
		}
	}
	if _, err := New(Config{BaseURL: "http://example.com", InsecureHTTP: true}, target.Hooks{}); err != nil {
		t.Errorf("plain http that is allowed: %v", err)
	}
}

// A token is fetched while the call may not start yet: else it starts later than the gate knows, and together with others.
func TestTheTokenIsFetchedBeforeACallMayStart(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
	}))
	defer server.Close()
	token, fetched := "", 0
	c, err := New(Config{BaseURL: server.URL, Token: func() (string, error) {
		if token == "" {
			token, fetched = "first", fetched+1
		}
		return token, nil
	}}, target.Hooks{BeforeCall: func(context.Context) (func(), error) {
		if fetched != 1 {
			t.Errorf("a call may start after %d tokens were fetched; want one", fetched)
		}
		if len(got) == 1 {
			token = "second" // the first one ended meanwhile
		}
		return nil, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r := c.Send(t.Context(), http.MethodGet, "/", nil); r.Error() != nil {
			t.Fatal(r.Error())
		}
	}
	if want := "Bearer first|Bearer second"; strings.Join(got, "|") != want {
		t.Errorf("the tokens were %q, want %q", got, want)
	}
}

func TestACallThatTakesTooLongIsLost(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	c, err := New(Config{BaseURL: server.URL, Timeout: 20 * time.Millisecond}, target.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	if r := c.Send(t.Context(), http.MethodGet, "/", nil); r.Lost == nil || r.Lost.Reason != "timeout" || r.NotSent != nil {
		t.Errorf("after the timeout: %+v, want it lost", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	c.sender.Timeout = time.Minute
	if r := c.Send(ctx, http.MethodGet, "/", nil); r.Lost == nil || r.Lost.Reason != "canceled" {
		t.Errorf("after the context has ended: %+v, want it lost", r)
	}
}

func TestALongAnswerIsNoAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("0123456789")) }))
	defer server.Close()
	for most, want := range map[int64]string{9: "answer too long", 10: ""} {
		c, err := New(Config{BaseURL: server.URL, MaxAnswer: most}, target.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		r := c.Send(t.Context(), http.MethodGet, "/", nil)
		got := ""
		if r.Lost != nil {
			got = r.Lost.Reason
		}
		if got != want {
			t.Errorf("10 bytes where %d are allowed: %q, want %q", most, got, want)
		}
	}
}

func TestWithoutATokenNothingIsSent(t *testing.T) {
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests++ }))
	defer server.Close()
	var judged []target.Call
	c, err := New(Config{BaseURL: server.URL, Token: func() (string, error) { return "", errors.New("invalid_grant") }},
		target.Hooks{Judged: func(_ context.Context, call target.Call) { judged = append(judged, call) }})
	if err != nil {
		t.Fatal(err)
	}
	r := c.Send(t.Context(), http.MethodPost, "/", []byte("{}"))
	c.Judged(t.Context(), target.Creates, r, r.Error())
	if a := r.Answer(); requests > 0 || !a.NothingWritten || !target.IsFault(a.Err) || !strings.Contains(a.Err.Error(), "invalid_grant") {
		t.Errorf("%d requests, %v, nothing written: %t; want a fault, and no request", requests, a.Err, a.NothingWritten)
	}
	if len(judged) != 1 || judged[0].Fault == "" || judged[0].Sent.IsZero() || judged[0].Received.Before(judged[0].Sent) {
		t.Errorf("judged as %+v, want a fault", judged)
	}
}

func TestAnAnswerThatLeavesEverythingUnknownIsNone(t *testing.T) {
	var judged target.Call
	c, err := New(Config{BaseURL: "http://127.0.0.1:1"}, target.Hooks{Judged: func(_ context.Context, call target.Call) { judged = call }})
	if err != nil {
		t.Fatal(err)
	}
	lost, left := target.Result{Err: &target.Error{Reason: "code 500"}}, target.Result{Err: &target.Error{Class: target.Unwritten}}
	for _, tc := range []struct {
		results []target.Result
		reason  string
	}{
		{[]target.Result{lost, left, lost}, "code 500"},
		{[]target.Result{lost, {ID: "a"}}, ""},
		{[]target.Result{left}, ""},
		{nil, ""},
	} {
		c.JudgedAnswer(t.Context(), Reply{Reply: httponce.Reply{Status: http.StatusOK}}, target.Answer{Results: tc.results})
		if judged.Unknown != (tc.reason != "") || judged.Reason != tc.reason || judged.Kind != target.Creates {
			t.Errorf("%v is judged as %+v; want the reason %q", tc.results, judged, tc.reason)
		}
	}
}
