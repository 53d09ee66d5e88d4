package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/proof/check"
	"durable-dataload/internal/sandbox"
	"durable-dataload/internal/target"
	"durable-dataload/internal/targets"
)

// realTarget is a platform with a real server.
type realTarget struct {
	name      string // of the server
	place     string // in the description of an episode
	install   func(context.Context) (string, error)
	connect   func(context.Context, *episode) (_ service, address string, err error)
	mapping   []byte
	part      []string // flags that say which part of it is loaded
	duplicate string   // is in what it says of a record that it has already
	// asksForKey says that it refuses a record without an email, forgets that its users are in memory, so that its server
	// is not killed, and lowers that it keeps emails in lower case.
	asksForKey, forgets, lowers bool
}

// realTargets are those there are, by the name of --target.
var realTargets = map[string]*realTarget{targets.Kratos: onKratos, targets.IdentityPlatform: onIdentityPlatform}

// service is what differs between real servers.
type service interface {
	start(name string) (*process, error)
	ready() error
	flags(address string) []string
	environment() []string
	kindOf(*http.Request) callKind
	refusal() string
	// sent are the users in the body of a call that creates them. take reads its answer.
	sent(body []byte) ([]user, error)
	take(c *creation, status int, answer []byte)
	// make makes a user as somebody else does, and list returns all. The server may be starting.
	make(user) error
	list() ([]user, error)
}

// observed is a platform with a real server, which writes no log: the log is made of the calls that the proxy has seen, and
// of the users that there are. A user is a stranger's if it says so, and else it has to come from a call of a migration.
type observed struct {
	service
	e *episode

	mu    sync.Mutex
	calls []*creation
	first map[string]user // all that were ever there, by id, as they were when they were first seen
	last  map[string]user // and as they were last
	later []logged        // deletions and changes
}

// user is what the checker compares of one.
type user struct {
	id, email, first, last, displayName string

	mark     string // of the migration that made it
	stranger string // when a stranger made it
	created  time.Time
}

// When a stranger has made a user.
const (
	beforeIt = "before"
	duringIt = "during"
)

// creation is a call that creates records.
type creation struct {
	received time.Time
	keys     []string
	marks    []string
	ids      map[string]bool // that its answer calls created
	answered bool
	tookNone bool // its answer, which was delivered, says so
}

// logged is a line of the log.
type logged struct {
	sandbox.Call
	TookNone bool                `json:"took_none"`
	Entities []map[string]string `json:"entities"`
}

func newObserved(ctx context.Context, e *episode) (_ *observed, address string, err error) {
	o := &observed{e: e, first: map[string]user{}, last: map[string]user{}}
	if o.service, address, err = e.into.connect(ctx, e); err != nil {
		return nil, "", err
	}
	return o, address, os.WriteFile(e.path(mappingFile), e.into.mapping, 0o600)
}

const mappingFile = "mapping.yaml"

func (o *observed) loading() []string {
	return append([]string{"--mapping", o.e.path(mappingFile)}, o.e.into.part...)
}

func (o *observed) creations() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.calls)
}

func (o *observed) creating(body []byte) (answered func(int, []byte, bool)) {
	c := &creation{received: time.Now().UTC(), keys: []string{}, ids: map[string]bool{}}
	sent, err := o.sent(body)
	if err != nil {
		o.e.tell(check.InputFixed, "a call is not readable: %v", err)
	}
	for _, u := range sent {
		c.keys, c.marks = append(c.keys, strings.ToLower(u.email)), append(c.marks, u.mark)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, c)
	return func(status int, answer []byte, delivered bool) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.take(c, status, answer)
		c.tookNone = c.tookNone && delivered
	}
}

// seed gives every second user the mark of another migration.
func (o *observed) seed(users []map[string]string) error {
	for n, given := range users {
		u := user{email: given["email"], displayName: given["displayName"], stranger: beforeIt}
		if n%2 == 0 {
			u.mark = target.NewTag("another migration", int64(n))
		}
		if err := o.make(u); err != nil {
			return err
		}
	}
	return o.update()
}

func (o *observed) register(body []byte, namesakes bool) {
	sent, _ := o.sent(body) // creating has told it
	for n := 0; n < len(sent); n += 3 {
		u := sent[n]
		u.stranger, u.mark = duringIt, ""
		if !namesakes {
			u.displayName, u.first, u.last = "A stranger", "", ""
		}
		_ = o.make(u) // what was made is seen in what there is
	}
}

// update takes in what has changed since, and writes the log.
func (o *observed) update() (err error) {
	var all []user
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if all, err = o.list(); err == nil {
			break
		}
		if time.Now().After(end) {
			return err
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	there := map[string]user{}
	for _, u := range all {
		there[u.id] = u
		was, isKnown := o.last[u.id]
		if !isKnown {
			o.first[u.id] = u
		} else if was != u {
			line := newLine("entity.update", time.Now())
			line.write(0, u)
			o.later = append(o.later, line)
		}
	}
	for id := range o.last {
		if _, isThere := there[id]; !isThere {
			line := newLine("entity.delete", time.Now())
			line.Deleted = []sandbox.Deleted{{UUID: id}}
			o.later = append(o.later, line)
		}
	}
	o.last = there
	return o.write()
}

func newLine(endpoint string, at time.Time) logged {
	return logged{Call: sandbox.Call{Endpoint: endpoint, Received: at.UTC(), Committed: at.UTC()}}
}

// write adds a user to what a call has written.
func (l *logged) write(index int, u user) {
	l.Written = append(l.Written, sandbox.Written{Index: index, ID: int64(index), UUID: u.id, Email: u.email})
	l.Entities = append(l.Entities, map[string]string{
		"email": u.email, "givenName": u.first, "familyName": u.last, "displayName": u.displayName, "mark": u.mark,
	})
}

// write writes the log: first what was there before.
func (o *observed) write() error {
	var before, during []logged
	written := map[*creation][]user{}
	for _, id := range slices.Sorted(maps.Keys(o.first)) {
		u := o.first[id]
		switch u.stranger {
		case beforeIt:
			line := newLine("entity.bulkCreate", u.created)
			line.write(0, u)
			before = append(before, line)
		case duringIt:
			line := newLine("user.register", u.created)
			line.write(0, u)
			during = append(during, line)
		default:
			c := o.origin(u)
			written[c] = append(written[c], u)
		}
	}
	for _, c := range append(slices.Clone(o.calls), nil) {
		if c == nil && written[c] == nil {
			continue
		}
		if c == nil {
			c = &creation{} // whatever no call that the proxy has seen can have written is laid at the migration's door
			written[c] = written[nil]
		}
		line := newLine("entity.bulkCreate", c.received)
		line.Keys, line.Records, line.TookNone = c.keys, len(c.keys), c.tookNone
		for n, u := range written[c] {
			line.write(n, u)
		}
		during = append(during, line)
	}
	slices.SortStableFunc(during, func(a, b logged) int { return a.Received.Compare(b.Received) })
	var text bytes.Buffer
	for n, line := range slices.Concat(before, during, o.later) {
		line.Seq = int64(n + 1)
		content, err := json.Marshal(line)
		if err != nil {
			return err
		}
		text.Write(append(content, '\n'))
	}
	return os.WriteFile(o.e.path(truthLog), text.Bytes(), 0o600)
}

// origin is the call that has written a user: that whose answer says so, or else the last one before with its mark and
// without an answer. nil is none.
func (o *observed) origin(u user) (found *creation) {
	for _, c := range o.calls {
		if c.ids[u.id] {
			return c
		}
		const cut = time.Second // a server may show whole seconds
		if !c.answered && !c.received.After(u.created.Add(cut)) && slices.Contains(c.marks, u.mark) {
			found = c
		}
	}
	return found
}

func (o *observed) complete(m *check.Migration) error {
	m.Truth, m.Duplicate, m.LowerCase = o.e.path(truthLog), o.e.into.duplicate, o.e.into.lowers
	folder := migration.RunFolder(filepath.Dir(m.Ledger))
	start, err := folder.Start()
	m.Mark = func(number int) string { return target.NewTag(start.Tags, int64(number)) }
	return errors.Join(err, o.update())
}

// api is a server as others than the migration use it.
type api struct {
	client            http.Client
	name, base, token string
}

func newAPI(r *realTarget, base, token string) api {
	return api{client: http.Client{Timeout: 20 * time.Second}, name: r.name, base: base, token: token}
}

// call sends a request, with JSON if there is a body, and decodes the answer into what is not nil.
func (a *api) call(method, path string, body, into any) (http.Header, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, a.base+path, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	response, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode < 200 || response.StatusCode > 299) {
		err = fmt.Errorf("%s answers %s: %.300s", a.name, response.Status, answer)
	}
	if err != nil {
		return nil, err
	}
	if into == nil {
		return response.Header, nil
	}
	return response.Header, json.Unmarshal(answer, into)
}
