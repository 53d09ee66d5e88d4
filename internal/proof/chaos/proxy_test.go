package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"durable-dataload/internal/proof/program"
)

// watched is a platform that records what the proxy tells it.
type watched struct {
	sandboxPlatform
	mu         sync.Mutex
	told       []string
	registered string
}

func (w *watched) creating(body []byte) func(int, []byte, bool) {
	return func(status int, answer []byte, delivered bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told = append(w.told, fmt.Sprintf("%s: %d %s, delivered %t", body, status, answer, delivered))
	}
}

func (w *watched) heard() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.told, "; ")
}

func (w *watched) register(body []byte, namesakes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.registered = fmt.Sprintf("%s, namesakes %t", body, namesakes)
}

func (w *watched) whoRegistered() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.registered
}

// behind is a server that counts the calls that came whole, behind a proxy.
type behind struct {
	proxy    *proxy
	platform watched
	client   *http.Client
	whole    atomic.Int64
	half     atomic.Int64
	gone     chan struct{} // of each client that went away before its answer
}

func newBehind(t *testing.T) *behind {
	t.Helper()
	b := &behind{client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}, gone: make(chan struct{}, 1)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			b.half.Add(1)
			return
		}
		b.whole.Add(1)
		switch r.URL.Path {
		case "/hang":
			<-r.Context().Done()
			b.gone <- struct{}{}
		case "/truncated":
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write(body)
		default:
			_, _ = fmt.Fprintf(w, "answer to %s", body)
		}
	}))
	t.Cleanup(server.Close)
	addresses, err := program.FreeAddresses(1)
	must(t, err)
	if b.proxy, err = newProxy(addresses[0], serveCalls(&b.platform)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.proxy.close)
	t.Cleanup(b.client.CloseIdleConnections)
	b.proxy.to(server.Listener.Addr().String())
	return b
}

func (b *behind) call(path string) (string, error) {
	response, err := b.client.Post("http://"+b.proxy.address+path, "text/plain", strings.NewReader("a call"))
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func TestTheProxyMakesTrouble(t *testing.T) {
	const long = 300 * time.Millisecond
	cases := []struct {
		trouble     trouble
		answered    bool
		told        string // to the platform, of the answer
		whole, half int64
		takes       time.Duration
	}{
		{trouble{action: loseAnswers}, false, "a call: 200 answer to a call, delivered false", 1, 0, 0},
		{trouble{action: cutCalls}, false, "", 0, 1, 0},
		{trouble{action: strangers, how: namesakes}, false, "", 0, 0, 0},
		{trouble{action: delayCalls, hold: long}, true, "a call: 200 answer to a call, delivered true", 1, 0, long},
		{trouble{action: delayAnswers, hold: long}, true, "a call: 200 answer to a call, delivered true", 1, 0, long},
		{trouble{action: throttle, hold: long}, true, "a call: 200 answer to a call, delivered true", 1, 0, long / 2},
	}
	for _, c := range cases {
		t.Run(string(c.trouble.action), func(t *testing.T) {
			b := newBehind(t)
			var met atomic.Int64
			c.trouble.calls, c.trouble.met = 1, func() { met.Add(1) }
			b.proxy.give(&c.trouble)
			if answer, err := b.call("/entity.find"); err != nil || answer != "answer to a call" || met.Load() > 0 {
				t.Fatalf("a call that is none of bulkCreate: %q, %v, trouble met %d times; want its answer and none", answer, err, met.Load())
			}
			b.whole.Store(0)
			began := time.Now()
			answer, err := b.call("/entity.bulkCreate")
			if (err == nil) != c.answered || c.answered && answer != "answer to a call" {
				t.Errorf("%q, %v; want an answer: %v", answer, err, c.answered)
			}
			if took := time.Since(began); took < c.takes {
				t.Errorf("it took %v, want %v at least", took, c.takes)
			}
			for end := time.Now().Add(5 * time.Second); b.half.Load() < c.half && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			if whole, half := b.whole.Load(), b.half.Load(); whole != c.whole || half != c.half || met.Load() != 1 {
				t.Errorf("%d whole calls and %d halves reached the server, trouble met %d times; want %d, %d and once", whole, half, met.Load(), c.whole, c.half)
			}
			for end := time.Now().Add(5 * time.Second); b.platform.heard() != c.told && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			if told := b.platform.heard(); told != c.told {
				t.Errorf("the platform is told %q, want %q", told, c.told)
			}
			registered := b.platform.whoRegistered()
			if isMet := registered == "a call, namesakes true"; isMet != (c.trouble.action == strangers) {
				t.Errorf("users register with %q", registered)
			}
			if answer, err := b.call("/entity.bulkCreate"); err != nil || answer != "answer to a call" {
				t.Errorf("the call after it: %q, %v; want its answer", answer, err)
			}
			if n := len(b.proxy.moments()); n != 3 {
				t.Errorf("%d calls were seen, want 3", n)
			}
		})
	}
}

func TestTheProxyKeepsConnections(t *testing.T) {
	b := newBehind(t)
	for i := range 20 {
		if answer, err := b.call("/entity.bulkCreate"); err != nil || answer != "answer to a call" {
			t.Fatalf("call %d: %q, %v", i, answer, err)
		}
	}
	b.proxy.mu.Lock()
	conns := len(b.proxy.conns)
	b.proxy.mu.Unlock()
	if conns != 2 {
		t.Errorf("%d connections are open after 20 calls one after the other, want one on each side", conns)
	}
}

func TestTheProxyPassesOnWhatTheServerDoes(t *testing.T) {
	b := newBehind(t)
	if answer, err := b.call("/truncated"); err == nil || answer != "a call" {
		t.Errorf("an answer that is cut short: %q, %v; want what there is of it, and an error", answer, err)
	}
	b.client.Timeout = 100 * time.Millisecond
	if _, err := b.call("/hang"); err == nil {
		t.Error("a call that hangs was answered")
	}
	select {
	case <-b.gone:
	case <-time.After(5 * time.Second):
		t.Error("the server does not see that its client went away")
	}
}

func TestTheProxyRefusesForATime(t *testing.T) {
	b := newBehind(t)
	b.proxy.refuse()
	if _, err := b.call("/"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("while it refuses: %v, want connection refused", err)
	}
	must(t, b.proxy.accept())
	if answer, err := b.call("/"); err != nil {
		t.Errorf("afterwards: %q, %v", answer, err)
	}
	if n := b.proxy.cut(); n != 2 {
		t.Errorf("%d connections were cut, want one on each side", n)
	}
	if answer, err := b.call("/"); err != nil && !strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "EOF") {
		t.Errorf("after the cut: %q, %v", answer, err)
	}
}

func TestTheProxyRefusesCredentials(t *testing.T) {
	b := newBehind(t)
	for _, c := range []struct {
		path    string
		expired bool
		says    string
		gated   int
	}{
		{"/entity.bulkCreate", true, `"code":402`, 1},
		{"/entity.count", true, `"code":402`, 1},
		{"/entity.bulkCreate", false, "answer to a call", 2},
	} {
		b.proxy.expire(c.expired)
		text, err := b.call(c.path)
		if err != nil || !strings.Contains(text, c.says) {
			t.Errorf("%s, expired %t: %q, %v; want %q", c.path, c.expired, text, err, c.says)
		}
		if n := len(b.proxy.gatedMoments()); n != c.gated {
			t.Errorf("%s: %d calls that wait at the gate, want %d", c.path, n, c.gated)
		}
	}
	if n := b.whole.Load(); n != 1 {
		t.Errorf("%d calls came to the target, want 1: those that were refused did not", n)
	}
}

func TestTroubleThatNobodyMeetsIsOver(t *testing.T) {
	b := newBehind(t)
	b.proxy.give(&trouble{action: loseAnswers, calls: 2, met: func() { t.Error("a call met it") }})
	b.proxy.trouble[0].until = time.Now().Add(-time.Second)
	if text, err := b.call("/entity.bulkCreate"); err != nil || text != "answer to a call" {
		t.Errorf("%q, %v; want an answer", text, err)
	}
}

func TestAnAddressThatIsTakenIsAnErrorAndNoProxy(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	if p, err := newProxy(taken.Addr().String(), serveBytes); err == nil || p != nil {
		t.Errorf("proxy %v, error %v; want no proxy, for the episode that closes it, and an error", p, err)
	}
}
