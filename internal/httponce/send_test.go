package httponce

import (
	"io"
	"net/http"
	"net/http/httptest"
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
