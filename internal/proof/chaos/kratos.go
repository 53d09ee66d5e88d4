package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/proof/check"
	"durable-dataload/internal/proof/kratos"
	"durable-dataload/internal/sandbox"
	"durable-dataload/internal/target"
	"durable-dataload/internal/targets"
)

//go:embed kratos.yaml
var kratosMapping []byte

// kratosPlatform is a real Ory Kratos. It writes no log: the log is made of the calls that the proxy has seen, and of the
// identities that there are. An identity is a stranger's if it says so, and else it has to come from a call of a migration.
type kratosPlatform struct {
	e       *episode
	server  *kratos.Server
	client  http.Client
	mapping string

	mu    sync.Mutex
	calls []*creation
	first map[string]identity // all that were ever there, by id, as they were when they were first seen
	last  map[string]identity // and as they were last
	later []logged            // deletions and changes
}

// identity is what the checker compares of one.
type identity struct {
	ID      string
	Created time.Time `json:"created_at"`
	Traits  struct {
		Email string `json:"email,omitempty"`
		Name  struct {
			First string `json:"first,omitempty"`
			Last  string `json:"last,omitempty"`
		} `json:"name"`
	} `json:"traits"`
	Public struct {
		DisplayName string `json:"displayName,omitempty"`
		Stranger    string `json:"stranger,omitempty"` // when a stranger made it
	} `json:"metadata_public"`
	Admin struct {
		Mark string `json:"durable_dataload,omitempty"`
	} `json:"metadata_admin"`
}

// When a stranger has made an identity.
const (
	beforeIt = "before"
	duringIt = "during"
)

// creation is a call that creates records.
type creation struct {
	received time.Time
	keys     []string
	ids      map[string]int // that its answer calls created, with their positions
	answered bool
	tookNone bool
}

// logged is a line of the log.
type logged struct {
	sandbox.Call
	TookNone bool                `json:"took_none"`
	Entities []map[string]string `json:"entities"`
}

func newKratosPlatform(ctx context.Context, e *episode) (_ *kratosPlatform, address string, err error) {
	k := &kratosPlatform{e: e, client: http.Client{Timeout: 20 * time.Second}, mapping: e.path("mapping.yaml"), first: map[string]identity{}, last: map[string]identity{}}
	if k.server, err = kratos.New(ctx, e.kratos, e.path("target")); err != nil {
		return nil, "", err
	}
	return k, strings.TrimPrefix(k.server.Admin, "http://"), os.WriteFile(k.mapping, kratosMapping, 0o600)
}

func (k *kratosPlatform) start(name string) (*process, error) {
	p, err := k.e.launchCommand(name, k.server.Command())
	if err == nil {
		p.isForeign = true
	}
	return p, err
}

func (k *kratosPlatform) ready() error { return k.server.Answers(context.Background()) }

func (k *kratosPlatform) flags(address string) []string {
	return []string{"--target", targets.Kratos, "--target-url", address}
}

// environment has a token, which this Kratos does not look at.
func (k *kratosPlatform) environment() []string {
	return []string{"DATALOAD_TARGET_TOKEN=" + clientSecret}
}

func (k *kratosPlatform) loading() []string { return []string{"--mapping", k.mapping} }

const identities = "/admin/identities"

func (k *kratosPlatform) kindOf(r *http.Request) callKind {
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodPatch && r.URL.Path == identities:
		return createCall
	case strings.Contains(r.URL.Path, "/schemas/"), query.Get("page_size") == "1", query.Get("per_page") == "1":
		return probe
	}
	return otherCall
}

func (k *kratosPlatform) refusal() string {
	return answerOf("401 Unauthorized", `{"error":{"code":401,"status":"Unauthorized","message":"the token has expired"}}`)
}

func (k *kratosPlatform) creations() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.calls)
}

// batch is the body of a call that creates records.
type batch struct {
	Identities []struct{ Create identity }
}

func (k *kratosPlatform) creating(body []byte) (answered func(int, []byte, bool)) {
	c := &creation{received: time.Now().UTC(), keys: []string{}, ids: map[string]int{}}
	var sent batch
	if err := json.Unmarshal(body, &sent); err != nil {
		k.e.tell(check.InputFixed, "a call is not readable: %v", err)
	}
	for _, i := range sent.Identities {
		c.keys = append(c.keys, strings.ToLower(i.Create.Traits.Email))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, c)
	return func(status int, answer []byte, delivered bool) {
		k.mu.Lock()
		defer k.mu.Unlock()
		c.take(status, answer, delivered)
	}
}

// take reads the answer. That nothing was written it means where the whole call is refused, and where one record is a
// duplicate; whether that is so is seen in what there is.
func (c *creation) take(status int, answer []byte, delivered bool) {
	var body struct {
		Error      *struct{ Code int }
		Identities []struct{ Action, Identity string }
	}
	if json.Unmarshal(answer, &body) != nil {
		return
	}
	isRefused := status >= 400 && status <= 499 && body.Error != nil
	for n, i := range body.Identities {
		if i.Action == "create" {
			c.ids[i.Identity] = n
		} else {
			isRefused = true
		}
	}
	c.answered, c.tookNone = status == http.StatusOK || isRefused, isRefused && delivered
}

// seed gives every second user the mark of another migration.
func (k *kratosPlatform) seed(users []map[string]string) error {
	for n, user := range users {
		var i identity
		i.Traits.Email, i.Public.DisplayName, i.Public.Stranger = user["email"], user["displayName"], beforeIt
		if n%2 == 0 {
			i.Admin.Mark = target.NewTag("another migration", int64(n))
		}
		if err := k.make(i); err != nil {
			return err
		}
	}
	return k.update()
}

func (k *kratosPlatform) register(body []byte, namesakes bool) {
	var sent batch
	_ = json.Unmarshal(body, &sent) // creating has told it
	for n := 0; n < len(sent.Identities); n += 3 {
		i := sent.Identities[n].Create
		i.Public.Stranger, i.Admin.Mark = duringIt, ""
		if !namesakes {
			i.Public.DisplayName, i.Traits.Name.First, i.Traits.Name.Last = "A stranger", "", ""
		}
		_ = k.make(i) // what was made is seen in what there is
	}
}

// make makes an identity as somebody else does.
func (k *kratosPlatform) make(i identity) error {
	body, err := json.Marshal(map[string]any{"schema_id": "default", "traits": i.Traits, "metadata_public": i.Public, "metadata_admin": i.Admin})
	if err != nil {
		return err
	}
	response, err := k.client.Post(k.server.Admin+identities, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusCreated {
		text, _ := io.ReadAll(response.Body)
		return fmt.Errorf("Kratos answers %s: %.300s", response.Status, text) //nolint:staticcheck // a name
	}
	return nil
}

var nextPage = regexp.MustCompile(`<([^>]*)>;\s*rel="next"`)

// list returns all identities. The server may be starting.
func (k *kratosPlatform) list() (map[string]identity, error) {
	all := map[string]identity{}
	for page := identities + "?page_size=500"; page != ""; {
		response, err := k.client.Get(k.server.Admin + page)
		if err != nil {
			return nil, err
		}
		var some []identity
		err = json.NewDecoder(response.Body).Decode(&some)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("the identities cannot be listed: %s, %w", response.Status, err)
		}
		for _, i := range some {
			all[i.ID] = i
		}
		page = ""
		if next := nextPage.FindStringSubmatch(strings.Join(response.Header.Values("Link"), ",")); next != nil {
			u, err := url.Parse(next[1])
			if err != nil {
				return nil, err
			}
			page = u.RequestURI()
		}
	}
	return all, nil
}

// update takes in what has changed since, and writes the log.
func (k *kratosPlatform) update() (err error) {
	var all map[string]identity
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if all, err = k.list(); err == nil {
			break
		}
		if time.Now().After(end) {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, i := range all {
		was, isKnown := k.last[id]
		if !isKnown {
			k.first[id] = i
		} else if was != i {
			line := k.line("entity.update", time.Now())
			line.write(0, i)
			k.later = append(k.later, line)
		}
	}
	for id := range k.last {
		if _, isThere := all[id]; !isThere {
			line := k.line("entity.delete", time.Now())
			line.Deleted = []sandbox.Deleted{{UUID: id}}
			k.later = append(k.later, line)
		}
	}
	k.last = all
	return k.write()
}

func (k *kratosPlatform) line(endpoint string, at time.Time) logged {
	return logged{Call: sandbox.Call{Endpoint: endpoint, Received: at.UTC(), Committed: at.UTC()}}
}

// write adds an identity to what a call has written.
func (l *logged) write(index int, i identity) {
	l.Written = append(l.Written, sandbox.Written{Index: index, ID: int64(index), UUID: i.ID, Email: i.Traits.Email})
	l.Entities = append(l.Entities, map[string]string{
		"email": i.Traits.Email, "givenName": i.Traits.Name.First, "familyName": i.Traits.Name.Last, "displayName": i.Public.DisplayName, "mark": i.Admin.Mark,
	})
}

// write writes the log: first what was there before.
func (k *kratosPlatform) write() error {
	var before, during []logged
	written := map[*creation][]identity{}
	for _, id := range slices.Sorted(maps.Keys(k.first)) {
		i := k.first[id]
		switch i.Public.Stranger {
		case beforeIt:
			line := k.line("entity.bulkCreate", i.Created)
			line.write(0, i)
			before = append(before, line)
		case duringIt:
			line := k.line("user.register", i.Created)
			line.write(0, i)
			during = append(during, line)
		default:
			c := k.origin(i)
			written[c] = append(written[c], i)
		}
	}
	for _, c := range append(slices.Clone(k.calls), nil) {
		if c == nil && written[c] == nil {
			continue
		}
		if c == nil {
			c = &creation{} // whatever no call that the proxy has seen can have written is laid at the migration's door
			written[c] = written[nil]
		}
		line := k.line("entity.bulkCreate", c.received)
		line.Keys, line.Records, line.TookNone = c.keys, len(c.keys), c.tookNone
		for n, i := range written[c] {
			line.write(n, i)
		}
		during = append(during, line)
	}
	slices.SortStableFunc(during, func(a, b logged) int { return a.Received.Compare(b.Received) })
	var text bytes.Buffer
	for n, line := range slices.Concat(before, during, k.later) {
		line.Seq = int64(n + 1)
		content, err := json.Marshal(line)
		if err != nil {
			return err
		}
		text.Write(append(content, '\n'))
	}
	return os.WriteFile(k.e.path(truthLog), text.Bytes(), 0o600)
}

// origin is the call that has written an identity: that whose answer says so, or else the last one before with its key and
// without an answer. nil is none.
func (k *kratosPlatform) origin(i identity) (found *creation) {
	for _, c := range k.calls {
		if _, isSaid := c.ids[i.ID]; isSaid {
			return c
		}
		const cut = time.Second // created_at has whole seconds
		if !c.answered && !c.received.After(i.Created.Add(cut)) && slices.Contains(c.keys, strings.ToLower(i.Traits.Email)) {
			found = c
		}
	}
	return found
}

func (k *kratosPlatform) complete(m *check.Migration) error {
	m.Truth = k.e.path(truthLog)
	m.Duplicate = "exists already"
	folder := migration.RunFolder(filepath.Dir(m.Ledger))
	start, err := folder.Start()
	m.Mark = func(number int) string { return target.NewTag(start.Tags, int64(number)) }
	return errors.Join(err, k.update())
}
