package httponce

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// net/http would send a request again, if it could, when the server closes an idle connection as the next request arrives.
func TestNoRequestIsSentAgainOnABrokenConnection(t *testing.T) {
	for _, tc := range []struct {
		method string
		body   []byte
	}{{http.MethodGet, nil}, {http.MethodDelete, nil}, {http.MethodPost, []byte("{}")}, {http.MethodPatch, []byte("{}")}} {
		var requests atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if requests.Add(1) == 2 {
				panic(http.ErrAbortHandler)
			}
			body, _ := io.ReadAll(r.Body)
			if string(body) != string(tc.body) || r.ContentLength != int64(len(tc.body)) || len(r.TransferEncoding) > 0 {
				t.Errorf("%s arrives with the body %q, the length %d and the encoding %q; want %q", tc.method, body, r.ContentLength, r.TransferEncoding, tc.body)
			}
		}))
		defer server.Close()
		s := &Sender{Transport: NewTransport(10*time.Second, 1), Timeout: 10 * time.Second, MaxAnswer: 10}
		defer s.Transport.CloseIdleConnections()
		for n, want := range []string{"", "closed"} {
			r := s.Send(t.Context(), tc.method, server.URL, tc.body, func(http.Header, time.Time) error { return nil })
			if r.Failure != want || requests.Load() != int32(n+1) {
				t.Errorf("%s: after call %d there were %d requests, and the failure %q; want one a call, and %q", tc.method, n+1, requests.Load(), r.Failure, want)
			}
		}
	}
}

// The logger of net/http writes to standard error, so the test runs itself again and reads what it writes.
func TestNothingOfAnAnswerIsLogged(t *testing.T) {
	const child = "TEST_SENDS_TO"
	if url := os.Getenv(child); url != "" {
		s := &Sender{Transport: NewTransport(10*time.Second, 1), Timeout: 10 * time.Second, MaxAnswer: 10}
		r := s.Send(t.Context(), http.MethodGet, url, nil, func(http.Header, time.Time) error { return nil })
		t.Logf("the answer is %q %s", r.Body, r.Failure)
		time.Sleep(100 * time.Millisecond) // for what comes behind the answer
		return
	}
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		c, err := server.Accept()
		if err != nil {
			return
		}
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"+`{"email":"ann@example.com"}`)
		}
	}()
	again := exec.Command(os.Args[0], "-test.run=^TestNothingOfAnAnswerIsLogged$", "-test.v")
	again.Env = append(os.Environ(), child+"=http://"+server.Addr().String())
	out, err := again.CombinedOutput()
	if err != nil || !strings.Contains(string(out), `the answer is "{}"`) || strings.Contains(string(out), "ann@example.com") {
		t.Errorf("%v, with the output\n%s\nwant the answer, and nothing behind it", err, out)
	}
}

// net/http leaves the connection to who has asked for another protocol, without a deadline.
func TestAnAnswerInAnotherProtocolIsNone(t *testing.T) {
	held := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		<-held
	}))
	defer server.Close()
	defer close(held)
	s := &Sender{Transport: NewTransport(10*time.Second, 1), Timeout: 10 * time.Second, MaxAnswer: 10}
	answers := make(chan Reply, 1)
	go func() {
		answers <- s.Send(t.Context(), http.MethodGet, server.URL, nil, func(http.Header, time.Time) error { return nil })
	}()
	select {
	case r := <-answers:
		if r.Failure != "not http" || r.Status != http.StatusSwitchingProtocols || r.Received.Before(r.Sent) {
			t.Errorf("HTTP 101: %+v; want no answer", r)
		}
	case <-time.After(time.Minute):
		t.Fatal("HTTP 101 is waited for without an end")
	}
}
