// Package sandbox is a local Identity Cloud: a server with the entity endpoints of the API, close enough to the real one
// for its clients, with faults that can be injected.
//
// Its writes survive kill -9 and power loss, and are logged with the calls that made them, so that a test can compare
// results with what was really written: see truth.go.
//
// Differences from the real API: there is one API client, with all rights; the only unique attribute is email;
// attributes other than those of schema.go are accepted with any value, though entityType does not list them, and exist
// from the first call that names them; hashes of passwords are stored as given, and can be read; a password in plain text
// becomes what looks like its hash, and signs nobody in; the log is never compacted, not even by deletions; a list of
// objects is a plural, and any other list a JSON value.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// maxBody is the size of request body, in bytes and as sent, up to which the API accepts it.
const maxBody = 5 << 20

const (
	bulkCreateEndpoint = "entity.bulkCreate"
	findEndpoint       = "entity.find"
	updateEndpoint     = "entity.update"
	replaceEndpoint    = "entity.replace"
	deleteEndpoint     = "entity.delete"
)

// Options configure a server. Address, StateDir, ClientID and ClientSecret are required.
type Options struct {
	// Address is the host and port to listen on; port 0 takes a free one.
	Address string
	// StateDir is the folder that holds the database. It is created if missing, and belongs to one server at a time.
	StateDir string
	// ClientID and ClientSecret are those of the only API client.
	ClientID, ClientSecret string
	// Faults are the faults to inject, Seed selects the calls: the same seed hits the same calls.
	Faults Faults
	Seed   int64
	// HealAfter ends all faults after so many calls that write (bulkCreate, update, replace and delete together),
	// counted since the state folder was new; 0 means never.
	HealAfter int
	// FindLag is how long a new entity stays invisible to entity.find, and to entity.count with a filter.
	FindLag time.Duration
	// Latency is how long a call takes at least, from its receipt until it takes effect.
	Latency time.Duration
	// Limit is how many calls a second are let through, of all endpoints together; what exceeds it is answered with
	// API error 510. 0 means no limit.
	Limit float64
	// RefuseCalls makes bulkCreate refuse the whole call if the schema refuses one of the records.
	RefuseCalls bool
	// Emails says which emails two entities cannot both have; "" means FoldedEmails.
	Emails EmailRule
	// DateSkew is how far the Date header is ahead of this machine's clock, StampSkew that of the clock that stamps
	// created and lastUpdated. The truth log has this machine's time.
	DateSkew, StampSkew time.Duration
	// Hide are attributes that calls to entity and entity.find do not show, nor take in a filter or an order. "all" are
	// all but email and uuid.
	Hide []string
	// IgnoreCreated makes bulkCreate ignore created: it is always the time at which the entity is created.
	IgnoreCreated bool
	// EntityTypes are the entity types there are; none means "user".
	EntityTypes []string
}

// Server is a running sandbox.
type Server struct {
	options     Options
	credentials credentials
	entities    *entities
	pace        *pace
	listener    net.Listener
	http        *http.Server
	visitors    visitors
	served      chan error    // what http.Serve ended with
	closing     chan struct{} // closed when the server is to end
	closeOnce   sync.Once
	closeErr    error
}

// Start opens the state folder and serves in the background. It returns when calls are accepted; a large state
// folder is read first, for about half a minute for 10 million entities.
//
// Its errors are user-facing: missing or invalid options, an address in use, a state folder that belongs to another
// process or is damaged.
func Start(o Options) (*Server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if len(o.EntityTypes) == 0 {
		o.EntityTypes = []string{"user"}
	}
	listener, err := net.Listen("tcp", o.Address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("the address %s is in use by another program; end that one, or choose another address", o.Address)
	}
	if err != nil {
		return nil, fmt.Errorf("the sandbox cannot listen on %q, expected host:port: %w", o.Address, err)
	}
	entities, err := openEntities(o.StateDir, o.Emails, o.StampSkew)
	if err != nil {
		listener.Close()
		return nil, err
	}
	s := &Server{
		options: o, credentials: credentials{o.ClientID, o.ClientSecret}, entities: entities, pace: newPace(o.Limit),
		listener: listener, served: make(chan error, 1), closing: make(chan struct{}),
	}
	s.http = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // it would report clients that disconnected
	}
	go func() { s.served <- s.http.Serve(listener) }()
	return s, nil
}

func (o Options) check() error {
	switch {
	case o.ClientID == "" || o.ClientSecret == "":
		return errors.New("the sandbox needs a client id and a client secret: choose any, and give the same to its clients")
	case o.StateDir == "":
		return errors.New("the sandbox needs a state folder for its database: name one, it is created if missing")
	case o.Limit < 0 || o.HealAfter < 0 || o.FindLag < 0 || o.Latency < 0:
		return errors.New("a limit, find lag, latency or number of calls until healing cannot be negative")
	case !slices.Contains([]EmailRule{"", FoldedEmails, ExactEmails, SharedEmails}, o.Emails):
		return fmt.Errorf("there is no rule %q for emails: expected %s, %s or %s", o.Emails, FoldedEmails, ExactEmails, SharedEmails)
	}
	for _, name := range o.Hide {
		if name == "uuid" || name == "email" {
			return fmt.Errorf("%s cannot be hidden: no client could find anything", name)
		}
	}
	return nil
}

// URL is the base address for clients, without a slash at the end.
func (s *Server) URL() string {
	host, port, _ := net.SplitHostPort(s.listener.Addr().String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// Close ends the calls in progress, hanging ones without an answer, and releases the address and the state folder. It
// returns the error that stopped the server before, if any; further calls return the same.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		close(s.closing)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err := s.http.Shutdown(ctx)
		if err != nil {
			err = s.http.Close()
		}
		if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		s.closeErr = errors.Join(err, s.entities.log.close())
	})
	return s.closeErr
}

// endpoint is one call of the API.
type endpoint struct {
	name    string
	methods []string
	answer  func(*Server, *request) (map[string]any, *apiError)
}

func (s *Server) handler() http.Handler {
	read, write := []string{http.MethodGet, http.MethodPost}, []string{http.MethodPost}
	mux := http.NewServeMux()
	for _, e := range []endpoint{
		{bulkCreateEndpoint, write, (*Server).bulkCreate},
		{findEndpoint, read, (*Server).find},
		{"entity.count", read, (*Server).count},
		{"entity", read, (*Server).view},
		{updateEndpoint, write, (*Server).update},
		{replaceEndpoint, write, (*Server).replace},
		{deleteEndpoint, write, (*Server).remove},
		{"entityType", read, (*Server).entityType},
	} {
		for _, method := range e.methods {
			mux.HandleFunc(method+" /"+e.name, func(w http.ResponseWriter, r *http.Request) { s.serve(e, w, r) })
		}
	}
	return mux
}

// request is one call on its way through the server.
type request struct {
	params url.Values
	call   *Call // its entry in the truth log
	done   share // how much of it is to be done
}

// serve processes a call: it is counted, its fault is drawn, it is read, executed and logged, and then the client gets
// the answer, or the fault.
func (s *Server) serve(e endpoint, w http.ResponseWriter, r *http.Request) {
	received := time.Now()
	w.Header().Set("Date", received.Add(s.options.DateSkew).UTC().Format(http.TimeFormat))
	number, writes := s.entities.arrive(e.name)
	call := newCall(e.name, number, received)
	fault := s.faultFor(e.name, number, writes)
	if fault != nil && fault.ending == refused {
		call.Fault = fault.name
		_ = s.entities.note(call, nil) // if the log fails here, the next answered call reports it
		fault.end(w, r, nil, s.closing)
		return
	}
	params, refusal := readParams(r)
	if refusal != nil {
		call.Status = refusal.status
		_ = s.entities.note(call, nil)
		refusal.send(w)
		return
	}
	call.TypeName, call.Status = params.Get("type_name"), http.StatusOK
	s.waitUntil(received.Add(s.options.Latency))
	q := &request{params: params, call: call}
	var reply map[string]any
	if s.pace.allow(received) {
		s.usersReturn()
		reply = s.process(e, r, q, fault)
		if fault != nil && e.name == bulkCreateEndpoint {
			s.after(fault, q)
		}
	} else {
		fault = nil
		reply = s.settle(q, nil, newError(510, "the limit of %g calls a second is exceeded", s.options.Limit), nil)
	}
	s.send(w, r, reply, fault)
}

// faultFor draws the fault of a call, nil for none.
func (s *Server) faultFor(endpoint string, number, writes int64) *faultKind {
	if healAfter := int64(s.options.HealAfter); healAfter > 0 && writes > healAfter {
		return nil
	}
	return s.options.Faults.draw(s.options.Seed, endpoint, number)
}

// process executes a call, as far as its fault allows, and returns the answer.
func (s *Server) process(e endpoint, r *http.Request, q *request, fault *faultKind) map[string]any {
	if fault == nil {
		reply, err := s.answer(e, r, q)
		return s.settle(q, reply, err, nil)
	}
	if fault.done == twice {
		first := &request{params: q.params, call: newCall(e.name, q.call.Number, q.call.Received)}
		first.call.TypeName, first.call.Fault = q.call.TypeName, "replayed"
		reply, err := s.answer(e, r, first)
		s.settle(first, reply, err, nil)
	}
	q.call.Fault, q.call.Status, q.done = fault.name, fault.status(), fault.done
	var broken *apiError
	if fault.ending == apiCode {
		q.call.Code = fault.code
		broken = fault.apiError()
	}
	if fault.done == nothing {
		var attributes []string
		if e.name == bulkCreateEndpoint && s.checkType(q) == nil {
			records, _ := q.records()
			attributes = attributePaths(records)
		}
		return s.settle(q, nil, broken, attributes)
	}
	reply, err := s.answer(e, r, q)
	if broken != nil {
		reply, err = nil, broken
	}
	return s.settle(q, reply, err, nil)
}

// answer checks the credentials and the entity type and then calls the endpoint.
func (s *Server) answer(e endpoint, r *http.Request, q *request) (map[string]any, *apiError) {
	if err := s.credentials.check(r, q.params, q.call.Received); err != nil {
		return nil, err
	}
	if err := s.checkType(q); err != nil {
		return nil, err
	}
	return e.answer(s, q)
}

func (s *Server) checkType(q *request) *apiError {
	name := q.call.TypeName
	if name == "" {
		return missingArgument("type_name")
	}
	if !slices.Contains(s.options.EntityTypes, name) {
		return &apiError{222, "unknown entity type: " + name, map[string]any{"type_name": name}}
	}
	return nil
}

// settle ensures that the call is in the truth log, with the attributes that it mentioned, and returns its answer: the
// reply, or the error.
func (s *Server) settle(q *request, reply map[string]any, err *apiError, attributes []string) map[string]any {
	if q.call.Seq == 0 { // it wrote nothing, else it would be there already
		if err != nil {
			q.call.Code = err.code
		}
		if logErr := s.entities.note(q.call, attributes); logErr != nil {
			err = unexpected(logErr)
		}
	}
	if err != nil {
		return err.reply()
	}
	return reply
}

// send sends the client the answer, or the fault.
func (s *Server) send(w http.ResponseWriter, r *http.Request, reply map[string]any, fault *faultKind) {
	if fault != nil {
		fault.spoil(reply)
	}
	body, err := encodeJSON(reply)
	if err != nil {
		panic(fmt.Sprintf("an answer that is not JSON: %v", err)) // it holds what came from JSON
	}
	if fault != nil && fault.end(w, r, body, s.closing) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

// waitUntil waits for a moment, or until the server is to end.
func (s *Server) waitUntil(moment time.Time) {
	left := time.Until(moment)
	if left <= 0 {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.closing:
	}
}

// refusal is the answer to a call that could not be read, as the web server in front of the API gives it.
type refusal struct {
	status int // 0 if the client is gone
	text   string
}

func (f *refusal) send(w http.ResponseWriter) {
	if f.status == 0 {
		hangUp(w, false)
		return
	}
	http.Error(w, f.text, f.status)
}

// readParams reads the parameters of a call, from its query and its form-encoded body.
func readParams(r *http.Request) (url.Values, *refusal) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, &refusal{}
	}
	if len(body) > maxBody {
		// The rest of the request is read, up to a limit: otherwise the client would see a broken connection and
		// not the answer.
		rest, _ := io.Copy(io.Discard, io.LimitReader(r.Body, 16*maxBody))
		size := max(r.ContentLength, int64(len(body))+rest)
		return nil, &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("client intended to send too large body: %d bytes", size)}
	}
	params, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, "the body is not application/x-www-form-urlencoded"}
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, "the query is not application/x-www-form-urlencoded"}
	}
	for name, values := range query {
		params[name] = append(params[name], values...)
	}
	return params, nil
}
