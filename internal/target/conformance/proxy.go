package conformance

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// proxy stands between an adapter and its server, and can be told what happens to the next request.
type proxy struct {
	url string

	mu        sync.Mutex
	next      []action
	requests  int // that arrived
	forwarded int // that the server has answered
}

// action handles one request instead of passing it on.
type action func(w http.ResponseWriter, forward func(http.ResponseWriter))

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	to, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{}
	behind := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: to.Scheme, Host: to.Host})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		forward := func(w http.ResponseWriter) {
			behind.ServeHTTP(w, r)
			p.mu.Lock()
			p.forwarded++
			p.mu.Unlock()
		}
		if act := p.take(); act != nil {
			// What arrived in full was sent in full, whatever the answer is.
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			act(w, forward)
			return
		}
		forward(w)
	}))
	t.Cleanup(front.Close)
	p.url = front.URL + to.Path
	return p
}

func (p *proxy) take() action {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests++
	if len(p.next) == 0 {
		return nil
	}
	act := p.next[0]
	p.next = p.next[1:]
	return act
}

// then sets what happens to the next requests, one each.
func (p *proxy) then(actions ...action) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = actions
}

// isThrough reports whether all that then has set has happened.
func (p *proxy) isThrough() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.next) == 0
}

// counts returns the number of requests that arrived, and of those that were answered by the server.
func (p *proxy) counts() (requests, forwarded int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests, p.forwarded
}

// passOn does nothing.
func passOn(w http.ResponseWriter, forward func(http.ResponseWriter)) { forward(w) }

// dropAnswer lets the server do what was asked, and breaks the connection instead of answering.
func dropAnswer(_ http.ResponseWriter, forward func(http.ResponseWriter)) {
	forward(httptest.NewRecorder())
	panic(http.ErrAbortHandler)
}

// cutAnswer is dropAnswer after half of the answer.
func cutAnswer(w http.ResponseWriter, forward func(http.ResponseWriter)) {
	answer := httptest.NewRecorder()
	forward(answer)
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
	panic(http.ErrAbortHandler)
}

// dropRequest breaks the connection before the server hears of it.
func dropRequest(http.ResponseWriter, func(http.ResponseWriter)) { panic(http.ErrAbortHandler) }

// instead answers for the server, which does not hear of the request.
func instead(status int, header http.Header, body string) action {
	return func(w http.ResponseWriter, _ func(http.ResponseWriter)) {
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// afterwards is instead, but the server has done what was asked.
func afterwards(status int, body string) action {
	return func(w http.ResponseWriter, forward func(http.ResponseWriter)) {
		forward(httptest.NewRecorder())
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}
