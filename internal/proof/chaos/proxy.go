package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"durable-dataload/internal/proof/check"
)

// proxy is between a client and a server, at an address that stays the same while the
// server is restarted. It cuts connections, and can refuse them.
type proxy struct {
	address string
	serve   func(*proxy, net.Conn)

	mu       sync.Mutex
	upstream string
	listener net.Listener
	conns    map[net.Conn]bool
	trouble  []*trouble
	arrivals check.Moments
	gated    check.Moments // those among them that wait while no calls may be made
	refused  bool
	expired  bool // the credentials
	closed   bool
}

// trouble is what the next calls meet.
type trouble struct {
	action action
	how    string        // of the event
	calls  int           // that are still to be met
	hold   time.Duration // for delays
	met    func()        // is called for each
	until  time.Time     // calls after that do not meet it
}

// troubleLasts bounds how long trouble waits for its calls. While the breaker is
// open one call at a time is made, with pauses of up to a minute: it would meet
// trouble for as long as the episode may last.
const troubleLasts = 15 * time.Second

// newProxy listens at an address; serve has what is done with a connection.
func newProxy(address string, serve func(*proxy, net.Conn)) (*proxy, error) {
	p := &proxy{address: address, serve: serve, conns: map[net.Conn]bool{}}
	if err := p.listen(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *proxy) listen() error {
	listener, err := net.Listen("tcp", p.address)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.listener = listener
	p.mu.Unlock()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if p.keep(conn) {
				go func() {
					defer p.drop(conn)
					p.serve(p, conn)
				}()
			}
		}
	}()
	return nil
}

func (p *proxy) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.refused {
		reset(conn)
		return false
	}
	p.conns[conn] = true
	return true
}

func (p *proxy) drop(conn net.Conn) {
	p.mu.Lock()
	delete(p.conns, conn)
	p.mu.Unlock()
	_ = conn.Close()
}

// reset closes a connection so that the other side sees a TCP reset.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// to says where the server is now.
func (p *proxy) to(upstream string) {
	p.mu.Lock()
	p.upstream = upstream
	p.mu.Unlock()
}

func (p *proxy) dial() (net.Conn, error) {
	p.mu.Lock()
	upstream := p.upstream
	p.mu.Unlock()
	if upstream == "" {
		return nil, errors.New("the server behind the proxy was never started")
	}
	conn, err := net.DialTimeout("tcp", upstream, 5*time.Second)
	if err != nil {
		return nil, err
	}
	if !p.keep(conn) {
		return nil, errors.New("the proxy is closed")
	}
	return conn, nil
}

// cut resets all connections, and says how many there were.
func (p *proxy) cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		reset(conn)
	}
	return len(p.conns)
}

// refuse stops listening at the address, until listen is called again. Existing
// connections stay.
func (p *proxy) refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = true
	_ = p.listener.Close()
}

// accept ends refuse.
func (p *proxy) accept() error {
	p.mu.Lock()
	was := p.refused && !p.closed
	p.refused = false
	p.mu.Unlock()
	if !was {
		return nil
	}
	return p.listen()
}

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	_ = p.listener.Close()
	p.mu.Unlock()
	p.cut()
}

// give has the next calls meet trouble.
func (p *proxy) give(t *trouble) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.until = time.Now().Add(troubleLasts)
	p.trouble = append(p.trouble, t)
}

// expire has the credentials refused, or taken again.
func (p *proxy) expire(expired bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expired = expired
}

// arrive records a call, and returns its fault, nil for none. expired means that its
// credentials are refused.
func (p *proxy) arrive(kind callKind) (t *trouble, expired bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.arrivals = append(p.arrivals, now)
	if kind != probe {
		p.gated = append(p.gated, now)
	}
	p.trouble = slices.DeleteFunc(p.trouble, func(t *trouble) bool { return now.After(t.until) })
	if p.expired || kind != createCall || len(p.trouble) == 0 {
		return nil, p.expired
	}
	t = p.trouble[0]
	if t.calls--; t.calls == 0 {
		p.trouble = p.trouble[1:]
	}
	t.met()
	return t, false
}

// moments are those at which calls arrived here, before any delay of ours.
func (p *proxy) moments() check.Moments {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(slices.Values(p.arrivals), time.Time.Compare)
}

// gatedMoments are those of them at which calls arrived that wait while no
// calls may be made.
func (p *proxy) gatedMoments() check.Moments {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(slices.Values(p.gated), time.Time.Compare)
}

// serveBytes is for protocols that it does not know.
func serveBytes(p *proxy, client net.Conn) {
	server, err := p.dial()
	if err != nil {
		reset(client)
		return
	}
	defer p.drop(server)
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
}

// serveCalls is for HTTP/1.1: it sees the calls one by one.
func serveCalls(to platform) func(*proxy, net.Conn) {
	return func(p *proxy, client net.Conn) {
		s := &callServer{proxy: p, platform: to, client: client, requests: bufio.NewReader(client)}
		defer s.hangUp()
		for s.serveCall() {
		}
	}
}

type callServer struct {
	proxy    *proxy
	platform platform
	client   net.Conn
	requests *bufio.Reader
	server   net.Conn
	answers  *bufio.Reader
	raw      bytes.Buffer // what came from the server
	status   int          // of its answer
	body     bytes.Buffer
}

func (s *callServer) hangUp() {
	if s.server != nil {
		s.proxy.drop(s.server)
	}
}

// serveCall serves one call, and reports whether the connection stays open.
func (s *callServer) serveCall() bool {
	request, err := http.ReadRequest(s.requests)
	if err != nil {
		return false
	}
	kind := s.platform.kindOf(request)
	t, expired := s.proxy.arrive(kind)
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return false
	}
	if expired {
		_, err := io.WriteString(s.client, s.platform.refusal())
		return err == nil
	}
	answered := func(int, []byte, bool) {}
	if kind == createCall {
		answered = s.platform.creating(body)
	}
	if t != nil && t.action == strangers {
		s.platform.register(body, t.how == namesakes)
		reset(s.client)
		return false
	}
	request.Body = io.NopCloser(bytes.NewReader(body))
	var bytesOfCall bytes.Buffer
	if err := request.Write(&bytesOfCall); err != nil || !s.connect() {
		reset(s.client)
		return false
	}
	if t != nil && t.action == delayCalls {
		time.Sleep(t.hold)
	}
	if t != nil && t.action == cutCalls {
		_, _ = s.server.Write(bytesOfCall.Bytes()[:bytesOfCall.Len()-len(body)/2-1])
		reset(s.client)
		return false
	}
	if _, err := s.server.Write(bytesOfCall.Bytes()); err != nil {
		reset(s.client)
		return false
	}
	whole, gone := s.answer(request)
	delivered := false
	if whole {
		defer func() { answered(s.status, s.body.Bytes(), delivered) }()
	}
	if t != nil {
		switch t.action {
		case loseAnswers:
			reset(s.client)
			return false
		case delayAnswers:
			time.Sleep(t.hold)
		case throttle:
			delivered = s.trickle(t.hold)
			return delivered && whole && !gone
		}
	}
	_, err = s.client.Write(s.raw.Bytes())
	delivered = err == nil
	return delivered && whole && !gone
}

func (s *callServer) connect() bool {
	if s.server != nil {
		return true
	}
	server, err := s.proxy.dial()
	if err != nil {
		return false
	}
	s.server, s.answers = server, bufio.NewReader(io.TeeReader(server, &s.raw))
	return true
}

// answer reads the whole answer. It says whether it was one, and whether the
// connection is of no further use. A client that goes away meanwhile is seen by
// the server, as it would be without a proxy.
func (s *callServer) answer(request *http.Request) (whole, gone bool) {
	s.raw.Reset()
	s.body.Reset()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := s.requests.Peek(1); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			_ = s.server.Close()
		}
	}()
	response, err := http.ReadResponse(s.answers, request) //nolint:bodyclose // closing reads on, which may block: the connection is closed
	if err == nil {
		s.status = response.StatusCode
		_, err = io.Copy(&s.body, response.Body)
		gone = response.Close
	}
	// The reader that waits for the next call ends, and the next call's bytes
	// are not lost.
	_ = s.client.SetReadDeadline(time.Unix(1, 0))
	<-done
	_ = s.client.SetReadDeadline(time.Time{})
	return err == nil, gone
}

// trickle sends the answer in small pieces, over so long a time.
func (s *callServer) trickle(over time.Duration) bool {
	const pieces = 16
	answer := s.raw.Bytes()
	size := max(1, (len(answer)+pieces-1)/pieces)
	for piece := range slices.Chunk(answer, size) {
		if _, err := s.client.Write(piece); err != nil {
			return false
		}
		time.Sleep(over / pieces)
	}
	return true
}
