package conformance

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"durable-dataload/internal/target"
	"durable-dataload/internal/target/jsonapi"
)

// A platform of another shape than the others passes the suite: PingOne's API, as its documentation describes it, has no
// bulk call, so a call has one record; the user name is unique; an id of another system, externalId, is shown and not
// unique. The server is a fake, and the adapter is complete enough for the suite only.
func TestAPlatformWithoutABulkCall(t *testing.T) {
	fake := &pingOne{users: map[string]map[string]any{}}
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	connect := func(t *testing.T, url, token string, hooks target.Hooks) target.Adapter {
		t.Helper()
		client, err := jsonapi.New(jsonapi.Config{BaseURL: url, Token: func() (string, error) { return token, nil }}, hooks)
		if err != nil {
			t.Fatal(err)
		}
		return &oneByOne{client}
	}
	s := Subject{
		URL: server.URL,
		Connect: func(t *testing.T, url string, hooks target.Hooks) target.Adapter {
			return connect(t, url, "token", hooks)
		},
		Denied: func(t *testing.T, hooks target.Hooks) target.Adapter { return connect(t, server.URL, "expired", hooks) },
		Key:    "username",
		Record: func(key string) string {
			return fmt.Sprintf(`{"username":%q,"email":%q,"name":{"given":"Ann","family":"Lee"},"roles":["a"],"enabled":true}`, key, key)
		},
		Value: "name.given", List: "roles", Elements: [2]string{`["x","y"]`, `[]`},
		Refused: func(key string) string { return fmt.Sprintf(`{"username":%q,"email":"none"}`, key) },
	}
	s.InternalError.Status, s.InternalError.Body = http.StatusInternalServerError, `{"id":"1","code":"UNEXPECTED_ERROR","message":"?"}`
	Run(t, s)
}

// pingOne is the server.
type pingOne struct {
	mu    sync.Mutex
	users map[string]map[string]any
	last  int
	clock time.Time
}

func (p *pingOne) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fail := func(status int, code, detail string) {
		w.WriteHeader(status)
		details := ""
		if detail != "" {
			details = fmt.Sprintf(`,"details":[{"code":%q,"target":"username","message":"is unique"}]`, detail)
		}
		fmt.Fprintf(w, `{"id":"7f","code":%q,"message":"The request could not be completed."%s}`, code, details)
	}
	if r.Header.Get("Authorization") != "Bearer token" {
		fail(http.StatusUnauthorized, "INVALID_TOKEN", "")
		return
	}
	show := func(status int, value any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(value)
	}
	id, isOne := strings.CutPrefix(r.URL.Path, "/users/")
	if isOne && p.users[id] == nil {
		fail(http.StatusNotFound, "NOT_FOUND", "")
		return
	}
	var body map[string]any
	if r.Method == http.MethodPost || r.Method == http.MethodPatch {
		if json.NewDecoder(r.Body).Decode(&body) != nil {
			fail(http.StatusBadRequest, "INVALID_REQUEST", "")
			return
		}
		if email, ok := body["email"].(string); ok && !strings.Contains(email, "@") {
			fail(http.StatusBadRequest, "INVALID_DATA", "INVALID_VALUE")
			return
		}
		for other, user := range p.users {
			if name, ok := body["username"].(string); ok && other != id && strings.EqualFold(name, user["username"].(string)) {
				fail(http.StatusBadRequest, "INVALID_DATA", "UNIQUENESS_VIOLATION")
				return
			}
		}
	}
	switch {
	case r.Method == http.MethodPost:
		p.last++
		id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", p.last)
		body["id"], body["createdAt"], body["updatedAt"] = id, p.now(), p.now()
		p.users[id] = body
		show(http.StatusCreated, body)
	case r.Method == http.MethodPatch:
		patch(p.users[id], body)
		p.users[id]["updatedAt"] = p.now()
		show(http.StatusOK, p.users[id])
	case r.Method == http.MethodDelete:
		delete(p.users, id)
		w.WriteHeader(http.StatusNoContent)
	case isOne:
		show(http.StatusOK, p.users[id])
	default:
		filter := regexp.MustCompile(`^username eq "(.*)"$`).FindStringSubmatch(r.URL.Query().Get("filter"))
		after, limit := r.URL.Query().Get("cursor"), 100
		if n, err := strconv.Atoi(r.URL.Query().Get("limit")); err == nil {
			limit = n
		}
		page, count := []any{}, 0
		next := ""
		for _, id := range slices.Sorted(maps.Keys(p.users)) {
			if filter != nil && !strings.EqualFold(strings.ReplaceAll(filter[1], `\"`, `"`), p.users[id]["username"].(string)) {
				continue
			}
			if count++; id <= after {
				continue
			}
			if len(page) == limit {
				next = page[limit-1].(map[string]any)["id"].(string)
				continue
			}
			page = append(page, p.users[id])
		}
		show(http.StatusOK, map[string]any{"_embedded": map[string]any{"users": page}, "count": count, "cursor": next})
	}
}

// now gives every change a time of its own.
func (p *pingOne) now() string {
	p.clock = time.UnixMicro(max(time.Now().UnixMicro(), p.clock.UnixMicro()+1))
	return p.clock.UTC().Format("2006-01-02T15:04:05.000000Z")
}

func patch(to, from map[string]any) {
	for name, value := range from {
		inner, isObject := value.(map[string]any)
		there, isThere := to[name].(map[string]any)
		switch {
		case isObject && isThere:
			patch(there, inner)
		case value == nil:
			delete(to, name)
		default:
			to[name] = value
		}
	}
}

// oneByOne is the adapter.
type oneByOne struct{ *jsonapi.Client }

func (oneByOne) Traits() target.Traits {
	return target.Traits{
		Name: "ping-one", MaxRecords: 1, MaxBytes: 100_000, Marks: true, ShowsCreated: true, ShowsUpdated: true, FindKeys: 1, MaxPage: 100,
		System: []string{"id", "createdAt", "updatedAt"}, DefaultKey: "username", Fold: strings.ToLower,
	}
}

func (o oneByOne) Measure(record []byte) (int64, error) { return target.MeasureEncoded(o, record) }

func (o oneByOne) Encode(record []byte, tag string) (target.Record, error) {
	user, ok := jsonapi.Object(record)
	if !ok {
		return target.Record{}, target.Unsendable("not an object", "the record is not one JSON object in UTF-8")
	}
	user["externalId"] = json.RawMessage(strconv.Quote(tag))
	body, err := target.Marshal(user)
	if err != nil {
		return target.Record{}, err
	}
	if size, most := int64(len(body)), o.Traits().MaxBytes; size > most {
		return target.Record{}, target.Oversized(size, most)
	}
	return target.Record{Body: body, Size: int64(len(body)), Mark: tag}, nil
}

func (oneByOne) Steps(changes []target.Change) ([]target.Step, error) {
	return []target.Step{{Changes: changes}}, nil
}

// do makes a call that is answered with a status.
func (o oneByOne) do(ctx context.Context, kind target.Kind, method, path string, body []byte, want int, into any) (jsonapi.Reply, error) {
	r := o.Send(ctx, method, path, body)
	err := r.Error()
	switch {
	case err != nil:
	case r.Status != want:
		err = o.judge(r)
	case into != nil && json.Unmarshal(r.Body, into) != nil:
		err = r.Failed(target.Unknown, "not json", "")
	}
	o.Judged(ctx, kind, r, err)
	return r, err
}

func (o oneByOne) judge(r jsonapi.Reply) *target.Error {
	var body struct {
		Code, Message string
		Details       []struct{ Code string }
	}
	isOwn := json.Unmarshal(r.Body, &body) == nil && body.Code != ""
	switch {
	case r.Status == http.StatusTooManyRequests, r.Status == http.StatusServiceUnavailable:
		return r.Failed(target.Throttled, "", "")
	case r.Status == http.StatusRequestEntityTooLarge:
		return r.Failed(target.TooLarge, "too large", body.Message)
	case r.Status == http.StatusUnauthorized:
		e := r.Failed(target.Unusable, body.Code, "")
		e.Fault = true
		return e
	case !isOwn || r.Status >= 500:
		e := r.Failed(target.Unknown, body.Code, "")
		e.Fault = r.Status >= 300 && r.Status <= 399
		return e
	case r.Status == http.StatusNotFound:
		return r.Failed(target.NotFound, body.Code, body.Message)
	case len(body.Details) > 0 && body.Details[0].Code == "UNIQUENESS_VIOLATION":
		return r.Failed(target.Duplicate, body.Code, body.Message)
	}
	return r.Failed(target.Refused, body.Code, body.Message)
}

func (o oneByOne) Create(ctx context.Context, records []target.Record) target.Answer {
	var user struct{ ID string }
	r, err := o.do(ctx, target.Creates, http.MethodPost, "/users", records[0].Body, http.StatusCreated, &user)
	answer := r.Answer()
	var e *target.Error
	switch {
	case err == nil && user.ID != "":
		answer.Results = []target.Result{{ID: user.ID}}
	case err == nil:
		answer.Err = r.Failed(target.Unknown, "no id", "")
	default:
		answer.Err = err
		answer.NothingWritten = answer.NothingWritten || errors.As(err, &e) && e.Class.IsFinal() && e.Class != target.TooLarge
	}
	return answer.Of(1)
}

func (o oneByOne) entity(user map[string]json.RawMessage) (target.Entity, error) {
	e := target.Entity{Attributes: user}
	e.ID, e.Mark, e.Version = e.Text("id"), e.Text("externalId"), e.Text("updatedAt")
	e.Created, _ = target.ParseMoment(e.Text("createdAt"))
	e.Updated, _ = target.ParseMoment(e.Version)
	delete(user, "externalId")
	if e.ID == "" {
		return e, &target.Error{Reason: "no id"}
	}
	return e, nil
}

func (o oneByOne) page(ctx context.Context, kind target.Kind, query url.Values) (all []target.Entity, next string, count int64, err error) {
	var answer struct {
		Embedded *struct{ Users []map[string]json.RawMessage } `json:"_embedded"`
		Cursor   string
		Count    int64
	}
	r, err := o.do(ctx, kind, http.MethodGet, "/users?"+query.Encode(), nil, http.StatusOK, &answer)
	if err == nil && answer.Embedded == nil {
		err = r.Failed(target.Unknown, "no users", "")
	}
	if err != nil {
		return nil, "", 0, err
	}
	for _, user := range answer.Embedded.Users {
		e, err := o.entity(user)
		if err != nil {
			return nil, "", 0, err
		}
		all = append(all, e)
	}
	return all, answer.Cursor, answer.Count, nil
}

func (o oneByOne) Find(ctx context.Context, attribute string, keys []string) (all []target.Entity, err error) {
	seen := map[string]bool{"": true}
	for _, key := range keys {
		if seen[strings.ToLower(key)] {
			continue
		}
		seen[strings.ToLower(key)] = true
		var found []target.Entity
		if attribute == target.ByID {
			var e target.Entity
			if e, err = o.Get(ctx, target.Ref{ID: key}); target.Is(err, target.NotFound) {
				continue
			}
			found = []target.Entity{e}
		} else {
			found, _, _, err = o.page(ctx, target.Reads, url.Values{"filter": {attribute + ` eq "` + strings.ReplaceAll(key, `"`, `\"`) + `"`}})
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (o oneByOne) Get(ctx context.Context, ref target.Ref) (target.Entity, error) {
	if ref.ID == "" {
		found, err := o.Find(ctx, ref.Attribute, []string{ref.Key})
		if err == nil && len(found) == 0 {
			err = &target.Error{Class: target.NotFound, Reason: "not found"}
		}
		if err != nil {
			return target.Entity{}, err
		}
		return found[0], nil
	}
	var user map[string]json.RawMessage
	if _, err := o.do(ctx, target.Reads, http.MethodGet, "/users/"+url.PathEscape(ref.ID), nil, http.StatusOK, &user); err != nil {
		return target.Entity{}, err
	}
	return o.entity(user)
}

func (o oneByOne) List(ctx context.Context, page target.Page) ([]target.Entity, string, error) {
	all, next, _, err := o.page(ctx, target.Reads, url.Values{"limit": {strconv.Itoa(page.Most)}, "cursor": {page.After}})
	return all, next, err
}

func (o oneByOne) Count(ctx context.Context) (int64, error) {
	_, _, count, err := o.page(ctx, target.Checks, url.Values{"limit": {"1"}})
	return count, err
}

func (o oneByOne) Check(ctx context.Context) error {
	_, err := o.Count(ctx)
	return err
}

func (oneByOne) Schema(context.Context) (target.Schema, error) {
	return target.Schema{Name: "user", Attributes: []target.Attribute{
		{Name: "username", Type: "string", CaseSensitive: new(bool), Constraints: []string{"unique"}}, {Name: "email", Type: "string"}, {Name: "roles", Type: "plural"},
		{Name: "name", Type: "object", Attributes: []target.Attribute{{Name: "given", Type: "string"}, {Name: "family", Type: "string"}}},
	}}, nil
}

// unchanged reads the record of a change, which must have the version of the reference.
func (o oneByOne) unchanged(ctx context.Context, ref target.Ref) (string, error) {
	if ref.ID != "" && ref.Version == "" {
		return ref.ID, nil
	}
	e, err := o.Get(ctx, ref)
	if err == nil && e.Version != cmp.Or(ref.Version, e.Version) {
		err = &target.Error{Class: target.Conflict, Reason: "changed since"}
	}
	return e.ID, err
}

func (o oneByOne) Apply(ctx context.Context, ref target.Ref, step target.Step) error {
	body, err := step.Nested()
	if err != nil {
		return err
	}
	id, err := o.unchanged(ctx, ref)
	if err != nil {
		return err
	}
	var user map[string]json.RawMessage
	if _, err = o.do(ctx, target.Changes, http.MethodPatch, "/users/"+id, bytes.TrimSpace(body), http.StatusOK, &user); err == nil {
		_, err = o.entity(user)
	}
	return err
}

func (o oneByOne) Delete(ctx context.Context, ref target.Ref) error {
	id, err := o.unchanged(ctx, ref)
	if err != nil {
		return err
	}
	_, err = o.do(ctx, target.Changes, http.MethodDelete, "/users/"+url.PathEscape(id), nil, http.StatusNoContent, nil)
	return err
}
