package identitycloud

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"durable-dataload/internal/target"
)

const (
	testID     = "client4711"
	testSecret = "s3cret/+=\u00e9"
	// patience is a timeout that a test never reaches, impatience one that it is meant to reach.
	patience   = 10 * time.Second
	impatience = 60 * time.Millisecond
)

// newClient returns a client for the address with the credentials of the tests.
func newClient(t testing.TB, url string, change ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{BaseURL: url, ClientID: testID, ClientSecret: testSecret, Timeout: patience}
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatalf("New(%q): %v", url, err)
	}
	t.Cleanup(c.Close)
	return c
}

// quiet discards the log of a test server, which would report the connections that it breaks on purpose.
var quiet = log.New(io.Discard, "", 0)

func hasty(cfg *Config) { cfg.Timeout = impatience }

// serve starts an HTTP server that counts its requests.
func serve(t testing.TB, h http.HandlerFunc) (url string, requests *atomic.Int32) {
	t.Helper()
	requests = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

// says answers each request with a status and a body.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// rawConn is a connection on which the server controls each byte.
type rawConn struct {
	*net.TCPConn
	r *bufio.Reader
}

// request reads one whole HTTP request.
func (c rawConn) request() bool {
	req, err := http.ReadRequest(c.r)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, req.Body)
	return err == nil
}

func (c rawConn) say(s string) { _, _ = io.WriteString(c, s) }

// reset closes the connection with an RST.
func (c rawConn) reset() { _ = c.SetLinger(0) }

// serveRaw starts a server that passes each connection to handle and then closes it.
func serveRaw(t testing.TB, handle func(rawConn)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(rawConn{c.(*net.TCPConn), bufio.NewReader(c)})
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// refusing returns the address of a port that nobody listens on.
func refusing(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, l.Close())
	return l.Addr().String()
}

func batch(t testing.TB, c *Client, n int) Body {
	t.Helper()
	records := make([][]byte, n)
	for i := range records {
		records[i] = []byte(`{"email":"ann@example.com"}`)
	}
	return bodyOf(t, c, records...)
}

// bodyOf encodes records as an adapter does.
func bodyOf(t testing.TB, c *Client, records ...[]byte) Body {
	t.Helper()
	encoded := make([]target.Record, len(records))
	for i, r := range records {
		encoded[i] = target.Record{Body: appendEncoded(nil, r), Size: EncodedSize(r)}
	}
	return c.join(encoded)
}

func TestNewExplainsFaults(t *testing.T) {
	good := Config{BaseURL: "https://example.janraincapture.com", ClientID: testID, ClientSecret: testSecret}
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   string // "" if the configuration is valid
	}{
		{"https", func(c *Config) {}, ""},
		{"a host name alone", func(c *Config) { c.BaseURL = "example.janraincapture.com" }, ""},
		{"a host name and a port", func(c *Config) { c.BaseURL = "localhost:8443" }, ""},
		{"capitals", func(c *Config) { c.BaseURL = "HTTPS://Example.janraincapture.com/" }, ""},
		{"http on loopback", func(c *Config) { c.BaseURL = "http://127.0.0.1:8080" }, ""},
		{"http on loopback, IPv6", func(c *Config) { c.BaseURL = "http://[::1]:8080" }, ""},
		{"http on localhost", func(c *Config) { c.BaseURL = "http://localhost:8080/" }, ""},
		{"http elsewhere", func(c *Config) { c.BaseURL = "http://example.com" }, "use https://example.com"},
		{"http on a host that only looks like loopback", func(c *Config) { c.BaseURL = "http://localhost.example.com" }, "use https://"},
		{"http elsewhere, allowed", func(c *Config) { c.BaseURL, c.InsecureHTTP = "http://example.com", true }, ""},
		{"no address", func(c *Config) { c.BaseURL = " " }, "address of the API is missing"},
		{"another scheme", func(c *Config) { c.BaseURL = "ftp://example.com" }, "expected https://"},
		{"no host", func(c *Config) { c.BaseURL = "https://" }, "has no host name"},
		{"a password in the address", func(c *Config) { c.BaseURL = "https://me:hunter2@example.com" }, "must not hold a user name"},
		{"a password in an unreadable address", func(c *Config) { c.BaseURL = "https://me:hunter2@exa mple.com:x" }, "cannot be read"},
		{"a query", func(c *Config) { c.BaseURL = "https://example.com/?a=b" }, "remove what starts with ?"},
		{"no id", func(c *Config) { c.ClientID = "" }, "client id is missing"},
		{"an id with a colon", func(c *Config) { c.ClientID = "a:b" }, "copy it again"},
		{"an id with a line break", func(c *Config) { c.ClientID = "a\n" }, "copy it again"},
		{"no secret", func(c *Config) { c.ClientSecret = "" }, "client secret is missing"},
		{"a secret with a line break", func(c *Config) { c.ClientSecret = testSecret + "\n" }, "white space"},
		{"an unknown scheme", func(c *Config) { c.Auth = 7 }, "expected Basic"},
		{"a negative timeout", func(c *Config) { c.Timeout = -1 }, "timeout"},
		{"a negative number of calls", func(c *Config) { c.MaxConnections = -1 }, "at least 1"},
		{"a negative answer limit", func(c *Config) { c.MaxAnswer = -1 }, "at least 1 byte"},
		{"an API code that is none", func(c *Config) { c.Unknown.API = Codes{{0, 5}} }, "0-5 are not API codes"},
		{"success on the HTTP list", func(c *Config) { c.Unknown.HTTP = Codes{{200, 200}} }, "200 are not HTTP codes of errors"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := good
			tc.change(&cfg)
			_, err := New(cfg)
			if tc.want == "" {
				if err != nil {
					t.Fatalf("got error %q, want none", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got error %v, want one with %q", err, tc.want)
			}
			if strings.Contains(err.Error(), testSecret) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
}

func TestNewReadsAddresses(t *testing.T) {
	for given, want := range map[string]string{
		"example.com":            "https://example.com",
		"https://example.com///": "https://example.com",
		" HTTPS://example.com ":  "https://example.com",
		"https://example.com/a/": "https://example.com/a",
		"localhost:8443":         "https://localhost:8443",
	} {
		if c := newClient(t, given); c.base != want {
			t.Errorf("address %q: got %q, want %q", given, c.base, want)
		}
	}
}

func TestCallsAreFormPostsOverHTTP1(t *testing.T) {
	const want = "type_name=visitor&timeout=12&all_attributes=" +
		"%5B%7B%22email%22%3A%22ann%40example.com%22%7D%2C%7B%22email%22%3A%22ann%40example.com%22%7D%5D"
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		if r.ProtoMajor != 1 || r.Method != "POST" || r.URL.String() != "/entity.bulkCreate" || id != testID || secret != testSecret ||
			r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.Header.Get("Idempotency-Key") != "" {
			t.Errorf("got %s %s %s with headers %v", r.Proto, r.Method, r.URL, r.Header)
		}
		if got, _ := io.ReadAll(r.Body); string(got) != want || r.ContentLength != int64(len(want)) {
			t.Errorf("got body %s of length %d, want %s", got, r.ContentLength, want)
		}
		io.WriteString(w, `{"stat":"ok","results":[1,2],"uuid_results":["`+uuid1+`","`+uuid2+`"]}`)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	c := newClient(t, s.URL, func(cfg *Config) { cfg.EntityType, cfg.Timeout = "visitor", 12900*time.Millisecond })
	c.sender.Transport.TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	c.sender.Transport.TLSClientConfig.NextProtos = nil
	b := batch(t, c, 2)
	if a := c.CreateBatch(context.Background(), b); a.Verdict != Answered || a.Records[1].UUID != uuid2 {
		t.Errorf("got %+v, want two uuids", a)
	}
	if b.Size() != int64(len(want)) {
		t.Errorf("size %d, want %d", b.Size(), len(want))
	}
}

func TestConnectionsAreReused(t *testing.T) {
	var connections atomic.Int32
	url := serveRaw(t, func(c rawConn) {
		connections.Add(1)
		for c.request() {
			c.say("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n" + `{"stat":"ok","total_count":15}`)
		}
	})
	c := newClient(t, url)
	for range 5 {
		if n, err := c.Count(context.Background()); n != 15 || err != nil {
			t.Fatalf("got %d, %v", n, err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for 5 calls, want 1", n)
	}
}

// net/http would send a request again, if it could, when the server closes an idle connection as the next request arrives.
func TestPostIsNotReplayedOnABrokenConnection(t *testing.T) {
	for name, end := range map[string]func(rawConn){
		"closed after the request": func(c rawConn) { c.request() },
		"closed in the request":    func(c rawConn) { _, _ = c.r.ReadByte() },
		"reset in the request":     func(c rawConn) { _, _ = c.r.ReadByte(); c.reset() },
	} {
		t.Run(name, func(t *testing.T) {
			var connections atomic.Int32
			url := serveRaw(t, func(c rawConn) {
				connections.Add(1)
				c.request()
				c.say("HTTP/1.1 200 OK\r\nContent-Length: 37\r\n\r\n" + `{"stat":"ok","uuid_results":["u0"]}  `)
				end(c)
			})
			c := newClient(t, url)
			if a := c.CreateBatch(context.Background(), batch(t, c, 1)); a.Verdict != Answered {
				t.Fatalf("first call: %+v", a)
			}
			a := c.CreateBatch(context.Background(), batch(t, c, 1))
			if a.Verdict != Unknown || a.Reason != "closed" && a.Reason != "reset" {
				t.Errorf("second call: got %s, %q, want unknown, closed or reset", a.Verdict, a.Reason)
			}
			// A replay would have needed a second connection.
			if n := connections.Load(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		url, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/entity.count", status)
		})
		c := newClient(t, url)
		a := c.CreateBatch(context.Background(), batch(t, c, 1))
		var e *HTTPError
		if a.Verdict != Unknown || !errors.As(a.Err, &e) || e.Status != status || requests.Load() != 1 {
			t.Errorf("HTTP %d: got %s, %v after %d requests, want unknown after 1", status, a.Verdict, a.Err, requests.Load())
		}
	}
}

func TestBeforeCallWrapsEachRequest(t *testing.T) {
	inCall := false
	url, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !inCall {
			t.Errorf("%s came outside of BeforeCall and release", r.URL)
		}
		switch r.URL.Path {
		case "/entity.bulkCreate":
			io.WriteString(w, `{"stat":"ok","uuid_results":["`+uuid1+`"]}`)
		case "/entity.count":
			io.WriteString(w, `{"stat":"ok","total_count":1}`)
		case "/entity.find":
			io.WriteString(w, `{"stat":"ok","results":[]}`)
		case "/entity":
			io.WriteString(w, `{"stat":"error","code":310,"error":"record_not_found"}`)
		}
	})
	before, after := 0, 0
	c := newClient(t, url, func(cfg *Config) {
		cfg.BeforeCall = func(ctx context.Context) (func(), error) {
			if _, ok := ctx.Deadline(); ok {
				t.Error("the call's deadline runs while BeforeCall waits")
			}
			before++
			inCall = true
			return func() { after++; inCall = false }, nil
		}
	})
	ctx := context.Background()
	if a := c.CreateBatch(ctx, batch(t, c, 1)); a.Verdict != Answered {
		t.Errorf("got %+v", a)
	}
	if _, err := c.Count(ctx); err != nil {
		t.Error(err)
	}
	if err := c.Check(ctx); err != nil {
		t.Error(err)
	}
	if _, err := c.FindEntities(ctx, "email", []string{"a", "o'b"}); err != nil {
		t.Error(err)
	}
	if n := int(requests.Load()); n != 5 || before != n || after != n {
		t.Errorf("%d requests, %d times before, %d times after; want 5 of each", n, before, after)
	}
}

func TestNothingIsSentIfBeforeCallFails(t *testing.T) {
	url, requests := serve(t, func(http.ResponseWriter, *http.Request) {})
	stop := errors.New("the breaker is open")
	c := newClient(t, url, func(cfg *Config) {
		cfg.BeforeCall = func(context.Context) (func(), error) { return nil, stop }
	})
	ctx := context.Background()
	a := c.CreateBatch(ctx, batch(t, c, 1))
	if a.Verdict != NotSent || a.Err != stop || a.Reason != "not sent" || !a.Sent.IsZero() {
		t.Errorf("got %+v, want not sent, with the error of BeforeCall", a)
	}
	if _, err := c.FindEntities(ctx, "email", []string{"a"}); err != stop {
		t.Errorf("find: got %v, want %v", err, stop)
	}
	if err := c.Check(ctx); err != stop {
		t.Errorf("check: got %v, want %v", err, stop)
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}

func TestNothingIsSentAfterTheContextEnded(t *testing.T) {
	url, requests := serve(t, func(http.ResponseWriter, *http.Request) {})
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("the operator stopped it")
	c := newClient(t, url, func(cfg *Config) {
		cfg.BeforeCall = func(context.Context) (func(), error) { cancel(why); return nil, nil }
	})
	if a := c.CreateBatch(ctx, batch(t, c, 1)); a.Verdict != NotSent || a.Err != why {
		t.Errorf("got %+v, want not sent", a)
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}

func TestABodyWithoutRecordsIsNotSent(t *testing.T) {
	url, requests := serve(t, func(http.ResponseWriter, *http.Request) {})
	a := newClient(t, url).CreateBatch(context.Background(), Body{})
	if a.Verdict != NotSent || a.Err == nil || requests.Load() != 0 {
		t.Errorf("got %+v after %d requests, want not sent after none", a, requests.Load())
	}
}

func TestCallsBeyondTheLimitWaitUnsent(t *testing.T) {
	arrived, leave := make(chan struct{}), make(chan struct{})
	url, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-leave
		io.WriteString(w, `{"stat":"ok","uuid_results":["`+uuid1+`"]}`)
	})
	c := newClient(t, url, func(cfg *Config) { cfg.MaxConnections = 1 })
	first := make(chan Answer)
	go func() { first <- c.CreateBatch(context.Background(), batch(t, c, 1)) }()
	<-arrived
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if a := c.CreateBatch(ctx, batch(t, c, 1)); a.Verdict != NotSent {
		t.Errorf("second call: got %+v, want not sent", a)
	}
	close(leave)
	if a := <-first; a.Verdict != Answered {
		t.Errorf("first call: got %+v, want answered", a)
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
