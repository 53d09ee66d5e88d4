// Package conformance tests an adapter against a server, real or fake: everything that package target promises and that the
// rest of the program relies upon. An adapter that passes can load, recover, update, verify and roll back.
//
// The server must show at once what was written; it may have records already. A proxy in front of it drops answers after
// the commit and answers in its place, so a fake needs no faults of its own.
package conformance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"durable-dataload/internal/target"
)

// Subject is an adapter and the server that it is tested with.
type Subject struct {
	// URL is the address of the server. Connect makes an adapter for it, or for that of a proxy in front of it.
	URL     string
	Connect func(t *testing.T, url string, hooks target.Hooks) target.Adapter

	// Key is the path of the primary key, and Record makes a record with a key, as a mapping does. All of its attributes
	// are shown by the target, except those of Traits.Hidden. A key has the form name@example.com.
	Key    string
	Record func(key string) string
	// Value is the path of a text attribute that can be changed, and List that of a plural; "" if there is none.
	Value, List string
	// Elements are two values of List.
	Elements [2]string

	// Refused makes a record that can be encoded, and that the server refuses; nil if there is none.
	Refused func(key string) string
	// Unsendable are records that cannot be encoded.
	Unsendable []string
	// Denied connects with wrong credentials; nil if the server has none.
	Denied func(t *testing.T, hooks target.Hooks) target.Adapter
	// Apart makes a record that cannot travel with those of Record in one call, though it is good; nil if all can.
	Apart func(key string) string
	// InternalError is the platform's own answer when something broke in it: after it nothing is known. Status is its HTTP
	// status.
	InternalError struct {
		Status int
		Body   string
	}
}

// Run runs the suite.
func Run(t *testing.T, s Subject) {
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"records are created and shown as they were sent", (*suite).create},
		{"a key exists once, however it is spelled", (*suite).duplicate},
		{"a refused record does not hide the fate of the others", (*suite).refused},
		{"what cannot be encoded fails without a call", (*suite).unsendable},
		{"records that cannot travel together are left for another call", (*suite).apart},
		{"a lost answer is unknown, and the records prove what happened", (*suite).lostAnswer},
		{"what did not come from the platform tells nothing", (*suite).strangeAnswers},
		{"a call that was never begun wrote nothing", (*suite).notSent},
		{"a busy target is heard", (*suite).busy},
		{"a request that is too large can be cut", (*suite).tooLarge},
		{"records are found by key and by id", (*suite).find},
		{"pages hold every record once", (*suite).list},
		{"changes set values, remove them, and can be repeated", (*suite).apply},
		{"a changed record is not overwritten", (*suite).conflict},
		{"a deleted record is gone", (*suite).remove},
		{"schema, count and check", (*suite).check},
		{"wrong credentials stop everything", (*suite).denied},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := &suite{T: t, Subject: s}
			x.direct = s.Connect(t, s.URL, target.Hooks{})
			t.Cleanup(x.direct.Close)
			x.traits = x.direct.Traits()
			x.proxy = newProxy(t, s.URL)
			x.adapter = s.Connect(t, x.proxy.url, target.Hooks{
				BeforeCall: func(context.Context) (func(), error) {
					if x.refuse != nil {
						return nil, x.refuse
					}
					x.note(func() { x.begun++ })
					return func() { x.note(func() { x.ended++ }) }, nil
				},
				Judged: func(_ context.Context, call target.Call) { x.note(func() { x.calls = append(x.calls, call) }) },
			})
			t.Cleanup(x.adapter.Close)
			test.run(x)
			if x.begun != x.ended || x.begun != len(x.calls) {
				t.Errorf("the hooks were told of %d calls that began, %d that ended and %d that were judged; want the same number", x.begun, x.ended, len(x.calls))
			}
			if requests, _ := x.proxy.counts(); requests > x.begun {
				t.Errorf("%d requests were sent and %d passed the hooks; want all of them", requests, x.begun)
			}
		})
	}
}

type suite struct {
	*testing.T
	Subject
	traits  target.Traits
	direct  target.Adapter // straight to the server
	adapter target.Adapter // by way of the proxy
	proxy   *proxy
	refuse  error // of BeforeCall

	mu           sync.Mutex
	calls        []target.Call
	begun, ended int
}

func (x *suite) note(do func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	do()
}

// since returns the calls that were judged after the first n.
func (x *suite) since(n int) []target.Call {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.calls[n:])
}

// names makes the keys of this process distinct; run is that of NewTag.
var names struct {
	sync.Mutex
	n int64
}

var run = fmt.Sprintf("conformance %d", time.Now().UnixNano())

// sent is a record of a test.
type sent struct {
	key  string
	json []byte
	target.Record
}

func newNumber() int64 {
	names.Lock()
	defer names.Unlock()
	names.n++
	return names.n
}

func newKey(number int64) string {
	return fmt.Sprintf("user%d.%x@example.com", number, time.Now().UnixNano()&0xffffff)
}

// record makes a record with a new key.
func (x *suite) record() sent { return x.with(newKey(newNumber()), x.Record) }

// with makes a record with a key, and encodes it with a tag of its own.
func (x *suite) with(key string, make func(string) string) sent {
	x.Helper()
	s := sent{key: key, json: []byte(make(key))}
	var err error
	if s.Record, err = x.adapter.Encode(s.json, target.NewTag(run, newNumber())); err != nil {
		x.Fatalf("Encode %s: %v", s.json, err)
	}
	if int64(len(s.Body)) > s.Size || s.Size > x.traits.MaxBytes {
		x.Errorf("Encode: %d bytes have the size %d; want at least as much, and at most %d", len(s.Body), s.Size, x.traits.MaxBytes)
	}
	if x.traits.Marks != (s.Mark != "") {
		x.Errorf("Encode gives the mark %q; Traits.Marks is %t", s.Mark, x.traits.Marks)
	}
	return s
}

func (x *suite) records(n int) []sent {
	all := make([]sent, n)
	for i := range all {
		all[i] = x.record()
	}
	return all
}

// several is a number of records for one call, at most n.
func (x *suite) several(n int) int {
	if x.traits.MaxRecords > 0 {
		return min(n, x.traits.MaxRecords)
	}
	return n
}

// send is Create, and checks what holds for every answer.
func (x *suite) send(all ...sent) target.Answer {
	x.Helper()
	records := make([]target.Record, len(all))
	for i, s := range all {
		records[i] = s.Record
	}
	x.mu.Lock()
	before := len(x.calls)
	x.mu.Unlock()
	answer := x.adapter.Create(x.Context(), records)
	writes := 0
	for _, call := range x.since(before) {
		switch call.Kind {
		case target.Creates:
			writes++
			if !call.Sent.Equal(answer.Sent) || !call.Received.Equal(answer.Received) || answer.Received.Before(answer.Sent) {
				x.Errorf("Create was sent from %v to %v, and judged as from %v to %v", answer.Sent, answer.Received, call.Sent, call.Received)
			}
		case target.Reads:
		default:
			x.Errorf("Create made a call of the kind %d", call.Kind)
		}
	}
	if writes > 1 {
		x.Errorf("Create made %d calls that write; want one", writes)
	}
	var e *target.Error
	switch {
	case answer.Err == nil && len(answer.Results) != len(all):
		x.Fatalf("Create: %d results for %d records", len(answer.Results), len(all))
	case answer.Err != nil && answer.Results != nil:
		x.Errorf("Create: results besides the error %v", answer.Err)
	case errors.As(answer.Err, &e):
		x.isSafe(e, all...)
	}
	for i, r := range answer.Results {
		if (r.ID != "") == (r.Err != nil) {
			x.Errorf("record %d: the id %q and the error %v; want one of them", i, r.ID, r.Err)
		}
		if r.Err != nil {
			x.isSafe(r.Err, all...)
		}
	}
	return answer
}

// isSafe checks that an error can be logged.
func (x *suite) isSafe(e *target.Error, all ...sent) {
	x.Helper()
	if e.Reason == "" || len(e.Reason) > 60 {
		x.Errorf("the error %q has the reason %q; want a short class", e, e.Reason)
	}
	for _, s := range all {
		name, _, _ := strings.Cut(s.key, "@")
		if text := e.Error() + e.Reason; strings.Contains(strings.ToLower(text), strings.ToLower(name)) {
			x.Errorf("the error %q contains the key of a record", text)
		}
	}
}

// created sends records, and fails the test unless all were created.
func (x *suite) created(all ...sent) []string {
	x.Helper()
	var ids []string
	for part := range slices.Chunk(all, x.several(len(all))) {
		answer := x.send(part...)
		if answer.Err != nil {
			x.Fatalf("Create: %v (%s)", answer.Err, answer.Words())
		}
		for i, r := range answer.Results {
			if r.Err != nil {
				x.Fatalf("record %d of %d: %v: %v (%s)", i, len(part), r.Err.Class, r.Err, r.Err.Words)
			}
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// at returns the records that the server has with a key.
func (x *suite) at(key string) []target.Entity {
	x.Helper()
	found, err := x.direct.Find(x.Context(), x.Key, []string{key})
	if err != nil {
		x.Fatalf("Find: %v", err)
	}
	return found
}

// isThere checks whether the server has exactly this record, and no other with its key.
func (x *suite) isThere(s sent, want bool) {
	x.Helper()
	found := x.at(s.key)
	switch {
	case !want && len(found) > 0:
		x.Errorf("%d records have the key %s, want none", len(found), s.key)
	case want && len(found) != 1:
		x.Errorf("%d records have the key %s, want one", len(found), s.key)
	case want && found[0].Mark != s.Mark:
		x.Errorf("the record with the key %s has the mark %q, want %q", s.key, found[0].Mark, s.Mark)
	}
}

func (x *suite) create() {
	all := x.records(x.several(7))
	before := time.Now()
	ids := x.created(all...)
	after := time.Now()
	if len(slices.Compact(slices.Sorted(slices.Values(ids)))) != len(ids) {
		x.Fatalf("the ids %v are not distinct", ids)
	}
	for i, s := range all {
		found, err := x.adapter.Get(x.Context(), target.Ref{ID: ids[i]})
		if err != nil {
			x.Fatalf("Get: %v", err)
		}
		byKey, err := x.adapter.Get(x.Context(), target.Ref{Attribute: x.Key, Key: s.key})
		if err != nil || byKey.ID != ids[i] {
			x.Errorf("Get by key: %q, %v; want %q", byKey.ID, err, ids[i])
		}
		if found.ID != ids[i] || found.Mark != s.Mark || found.Version == "" {
			x.Errorf("Get: id %q, mark %q, version %q; want %q, %q and a version", found.ID, found.Mark, found.Version, ids[i], s.Mark)
		}
		x.shows(found, s.json)
		for name, stamp := range map[string]struct {
			target.Moment
			shown bool
		}{"created": {found.Created, x.traits.ShowsCreated}, "updated": {found.Updated, x.traits.ShowsUpdated}} {
			if stamp.shown == stamp.IsZero() {
				x.Errorf("%s is %v; the traits say that it is shown: %t", name, stamp.Earliest, stamp.shown)
			}
			// The clocks are those of one machine.
			if stamp.shown && (stamp.Latest.Before(before.Add(-time.Second)) || stamp.Earliest.After(after.Add(time.Second))) {
				x.Errorf("%s is %v, want between %v and %v", name, stamp.Earliest, before, after)
			}
		}
	}
}

// shows checks that an entity has what was sent.
func (x *suite) shows(found target.Entity, record []byte) {
	x.Helper()
	var want map[string]any
	if err := json.Unmarshal(record, &want); err != nil {
		x.Fatal(err)
	}
	got, err := target.Marshal(found.Attributes)
	if err != nil {
		x.Fatal(err)
	}
	var there map[string]any
	if err := json.Unmarshal(got, &there); err != nil {
		x.Fatal(err)
	}
	for _, path := range x.missing("", want, there) {
		x.Errorf("the attribute %s is not shown as it was sent; sent %s, got %s", path, record, got)
	}
}

// missing returns the paths of values that are not there.
func (x *suite) missing(path string, want, there any) (paths []string) {
	if slices.Contains(x.traits.Hidden, path) {
		return nil
	}
	switch want := want.(type) {
	case map[string]any:
		members, ok := there.(map[string]any)
		if !ok {
			return []string{path}
		}
		for name, value := range want {
			paths = append(paths, x.missing(strings.TrimPrefix(path+"."+name, "."), value, members[name])...)
		}
		return paths
	case []any:
		list, ok := there.([]any)
		if !ok || len(list) != len(want) {
			return []string{path}
		}
		for i, value := range want {
			paths = append(paths, x.missing(path, value, list[i])...)
		}
		return paths
	case string:
		if text, ok := there.(string); ok && path == x.Key && x.traits.Fold(text) == x.traits.Fold(want) {
			return nil
		}
	}
	if want != there {
		return []string{path}
	}
	return nil
}

// fates checks each result of an answer against the truth.
func (x *suite) fates(answer target.Answer, all []sent) {
	x.Helper()
	if answer.Err != nil {
		for _, s := range all {
			if answer.NothingWritten {
				x.hasNot(s)
			}
		}
		return
	}
	for i, r := range answer.Results {
		if r.Err == nil {
			x.isThere(all[i], true)
			continue
		}
		if r.Err.Class.IsFinal() || r.Err.Class == target.Unwritten {
			x.hasNot(all[i])
		}
	}
}

// hasNot checks that a record was not written; another with its key may be there.
func (x *suite) hasNot(s sent) {
	x.Helper()
	for _, found := range x.at(s.key) {
		if x.traits.Marks && found.Mark == s.Mark {
			x.Errorf("the record with the key %s was written; the answer says that it was not", s.key)
		}
	}
}

func (x *suite) duplicate() {
	first := x.record()
	ids := x.created(first)
	name, domain, _ := strings.Cut(first.key, "@")
	spellings := []string{first.key}
	if upper := strings.ToUpper(name) + "@" + domain; x.traits.Fold(upper) == x.traits.Fold(first.key) {
		spellings = append(spellings, upper)
	}
	for _, spelling := range spellings {
		all := x.records(x.several(3))
		all[len(all)/2] = x.with(spelling, x.Record)
		answer := x.send(all...)
		x.fates(answer, all)
		if answer.Err != nil && len(all) > 1 {
			x.Errorf("Create with a duplicate: %v; want a result for each record, so that the others need not be cut out", answer.Err)
			continue
		}
		class := target.Unknown
		if answer.Err != nil {
			var e *target.Error
			errors.As(answer.Err, &e)
			class = e.Class
		} else if r := answer.Results[len(all)/2]; r.Err != nil {
			class = r.Err.Class
		}
		if class != target.Duplicate {
			x.Errorf("a record with the key %s, which exists: %v; want %v", spelling, class, target.Duplicate)
		}
		for i, r := range answer.Results {
			if i != len(all)/2 && r.Err != nil && r.Err.Class != target.Unwritten {
				x.Errorf("a good record beside a duplicate: %v; want created, or %v", r.Err.Class, target.Unwritten)
			}
		}
		x.resend(answer, all)
		if found := x.at(spelling); len(found) != 1 || found[0].ID != ids[0] {
			x.Errorf("%d records have the key %s, want the first one", len(found), spelling)
		}
	}
	// A key twice in one call.
	if x.several(2) < 2 {
		return
	}
	twin := x.record()
	all := []sent{twin, x.with(twin.key, x.Record), x.record()}
	answer := x.send(all...)
	x.fates(answer, all)
	for range all { // what is left unwritten is sent again, until nothing is
		answer, all = x.again(answer, all)
		if len(all) == 0 {
			break
		}
		x.fates(answer, all)
	}
	if found := x.at(twin.key); len(found) != 1 {
		x.Errorf("%d records have a key that was sent twice in a call, want one", len(found))
	}
}

// again sends what an answer left unwritten: none if there is nothing.
func (x *suite) again(answer target.Answer, all []sent) (target.Answer, []sent) {
	var left []sent
	for i, r := range answer.Results {
		if r.Err != nil && r.Err.Class == target.Unwritten {
			left = append(left, all[i])
		}
	}
	if len(left) == 0 {
		return answer, nil
	}
	return x.send(left...), left
}

// resend sends what an answer left unwritten, and checks that it is created.
func (x *suite) resend(answer target.Answer, all []sent) {
	x.Helper()
	answer, left := x.again(answer, all)
	for i, s := range left {
		if answer.Err != nil || answer.Results[i].Err != nil {
			x.Errorf("a record that was unwritten is sent again: %v, %v; want it created", answer.Err, answer.Results)
			return
		}
		x.isThere(s, true)
	}
}

func (x *suite) refused() {
	if x.Refused == nil {
		x.Skip("the server refuses nothing that can be encoded")
	}
	all := x.records(x.several(4))
	bad := len(all) - 1
	all[bad] = x.with(newKey(newNumber()), x.Refused)
	answer := x.send(all...)
	x.fates(answer, all)
	x.isThere(all[bad], false)
	if answer.Err != nil {
		if !target.Is(answer.Err, target.Refused) || !answer.NothingWritten || target.IsFault(answer.Err) {
			x.Errorf("Create with a record that the server refuses: %v, nothing written: %t; want it refused", answer.Err, answer.NothingWritten)
		}
		if len(all) > 1 && !x.traits.RefusesTogether {
			x.Error("one bad record refused the whole call; Traits.RefusesTogether says that it does not")
		}
		if len(all) > 1 {
			x.created(all[:bad]...)
		}
		answer = x.send(all[bad])
		if answer.Err == nil && (answer.Results[0].Err == nil || answer.Results[0].Err.Class != target.Refused) ||
			answer.Err != nil && !target.Is(answer.Err, target.Refused) {
			x.Errorf("the bad record alone: %v, %v; want it refused", answer.Err, answer.Results)
		}
		return
	}
	if e := answer.Results[bad].Err; e == nil || e.Class != target.Refused || e.Words == "" {
		x.Errorf("a record that the server refuses: %v; want it refused, with the server's words", e)
	}
	x.resend(answer, all)
}

func (x *suite) unsendable() {
	for _, record := range append([]string{`[]`, `{"a":1},{"b":2}`, `{`, ``, `"text"`, "{\"\xff\":1}"}, x.Unsendable...) {
		encoded, err := x.adapter.Encode([]byte(record), target.NewTag(run, newNumber()))
		var e *target.Error
		if !errors.As(err, &e) || e.Class != target.Refused && e.Class != target.TooLarge || e.Reason == "" {
			x.Errorf("Encode %q: %q, %v; want an error", record, encoded.Body, err)
		}
	}
	large := x.Record(newKey(newNumber()))
	name, _ := json.Marshal(strings.Repeat("x", int(x.traits.MaxBytes)))
	step := target.Step{Changes: []target.Change{{Path: x.Value, Value: name}}}
	nested, err := step.Nested()
	if err != nil {
		x.Fatal(err)
	}
	if _, err := x.adapter.Encode(merged(x.T, large, string(nested)), target.NewTag(run, newNumber())); !target.Is(err, target.TooLarge) {
		x.Errorf("Encode of a record of %d bytes: %v; want %v", x.traits.MaxBytes, err, target.TooLarge)
	}
}

// merged adds the members of b to those of a, object by object.
func merged(t *testing.T, a, b string) []byte {
	t.Helper()
	var to, from map[string]any
	if err := errors.Join(json.Unmarshal([]byte(a), &to), json.Unmarshal([]byte(b), &from)); err != nil {
		t.Fatal(err)
	}
	merge(to, from)
	out, err := target.Marshal(to)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func merge(to, from map[string]any) {
	for name, value := range from {
		inner, isObject := value.(map[string]any)
		there, isThere := to[name].(map[string]any)
		if isObject && isThere {
			merge(there, inner)
		} else {
			to[name] = value
		}
	}
}

func (x *suite) apart() {
	if x.Apart == nil {
		x.Skip("all records can travel together")
	}
	all := x.records(x.several(4))
	all[1] = x.with(newKey(newNumber()), x.Apart)
	answer := x.send(all...)
	x.fates(answer, all)
	if answer.Err != nil {
		x.Fatalf("Create: %v", answer.Err)
	}
	_, left := x.again(answer, all)
	if len(left) == 0 {
		x.Errorf("no record was left for another call: %v", answer.Results)
	}
	for _, s := range all {
		x.isThere(s, true)
	}
}

func (x *suite) lostAnswer() {
	for name, drop := range map[string]action{"unread": dropAnswer, "cut": cutAnswer, "replaced by a gateway's": afterwards(http.StatusGatewayTimeout, "<html>upstream timed out</html>")} {
		all := x.records(x.several(3))
		x.proxy.then(drop)
		answer := x.send(all...)
		var e *target.Error
		if !errors.As(answer.Err, &e) || e.Class.IsFinal() || e.Fault || answer.NothingWritten {
			x.Errorf("an answer that was %s: %v, nothing written: %t; want it unknown", name, answer.Err, answer.NothingWritten)
		}
		for _, s := range all { // the proof of recovery
			x.isThere(s, true)
		}
		if call := x.since(0); !call[len(call)-1].Unknown {
			x.Errorf("an answer that was %s is not judged as unknown", name)
		}
		// A later round sends them again: nothing may be doubled.
		answer = x.send(all...)
		if answer.Err != nil && !target.Is(answer.Err, target.Duplicate) {
			x.Errorf("records that exist are sent again: %v; want duplicates", answer.Err)
		}
		for i, r := range answer.Results {
			if r.Err == nil || r.Err.Class != target.Duplicate {
				x.Errorf("record %d exists and is sent again: %v; want a duplicate", i, r.Err)
			}
		}
		for _, s := range all {
			x.isThere(s, true)
		}
	}
	// The mark is refused whatever the other attributes are.
	if !x.traits.RefusesMark {
		return
	}
	number := newNumber()
	first, other := newKey(number), newKey(newNumber())
	for i, key := range []string{first, other} {
		record, err := x.adapter.Encode([]byte(x.Record(key)), target.NewTag(run, number))
		if err != nil {
			x.Fatal(err)
		}
		answer := x.send(sent{key: key, Record: record})
		if i == 0 && (answer.Err != nil || answer.Results[0].Err != nil) {
			x.Fatalf("Create: %v, %v", answer.Err, answer.Results)
		}
		if i == 1 && !target.Is(answer.Err, target.Duplicate) && (answer.Err != nil || !target.Is(answer.Results[0].Err, target.Duplicate)) {
			x.Errorf("a record with the mark of another one: %v, %v; want a duplicate", answer.Err, answer.Results)
		}
	}
}

func (x *suite) strangeAnswers() {
	for name, act := range map[string]action{
		"no answer":            dropRequest,
		"a gateway's page":     instead(http.StatusBadGateway, nil, "<html>Bad Gateway</html>"),
		"a page":               instead(http.StatusOK, nil, "<html>Welcome</html>"),
		"nothing":              instead(http.StatusOK, nil, ""),
		"JSON":                 instead(http.StatusOK, nil, `{"message":"hello"}`),
		"a list":               instead(http.StatusOK, nil, `[17]`),
		"a page with a 4xx":    instead(http.StatusConflict, nil, "<html>Conflict</html>"),
		"JSON of a gateway":    instead(http.StatusBadRequest, nil, `{"message":"no route"}`),
		"a redirect":           instead(http.StatusTemporaryRedirect, http.Header{"Location": {"/elsewhere"}}, ""),
		"a wall of a firewall": instead(http.StatusForbidden, nil, "<html>blocked</html>"),
		"an internal error":    instead(x.InternalError.Status, http.Header{"Content-Type": {"application/json"}}, x.InternalError.Body),
	} {
		all := x.records(x.several(2))
		x.proxy.then(act)
		_, before := x.proxy.counts()
		answer := x.send(all...)
		if _, after := x.proxy.counts(); after != before {
			x.Errorf("%s: the call was sent again", name)
		}
		var e *target.Error
		if !errors.As(answer.Err, &e) || e.Class.IsFinal() || answer.NothingWritten {
			x.Errorf("Create is answered with %s: %v, nothing written: %t; want it unknown", name, answer.Err, answer.NothingWritten)
		}
		x.proxy.then(act)
		_, err := x.adapter.Find(x.Context(), x.Key, []string{all[0].key})
		if !errors.As(err, &e) || e.Class.IsFinal() {
			x.Errorf("Find is answered with %s: %v; want it unknown", name, err)
		}
		x.proxy.then(act)
		if _, err = x.adapter.Get(x.Context(), target.Ref{Attribute: x.Key, Key: all[0].key}); !errors.As(err, &e) || e.Class.IsFinal() {
			x.Errorf("Get is answered with %s: %v; want it unknown", name, err)
		}
		x.proxy.then(act)
		if err = x.adapter.Delete(x.Context(), target.Ref{ID: target.NewTag(run, newNumber())}); !errors.As(err, &e) || e.Class.IsFinal() {
			x.Errorf("Delete is answered with %s: %v; want it unknown", name, err)
		}
		x.proxy.then(act)
		if err := x.adapter.Check(x.Context()); err == nil {
			x.Errorf("Check is answered with %s: all is well; want an error", name)
		}
		x.proxy.then() // of calls that were not made
	}
}

func (x *suite) notSent() {
	s := x.record()
	x.refuse = errors.New("the run was over")
	answer := x.send(s)
	if !errors.Is(answer.Err, x.refuse) || !answer.NothingWritten || answer.Reason() != "not sent" {
		x.Errorf("Create: %v (%s), nothing written: %t; want the error of BeforeCall", answer.Err, answer.Reason(), answer.NothingWritten)
	}
	ref := target.Ref{ID: target.NewTag(run, newNumber())}
	steps, err := x.adapter.Steps([]target.Change{{Path: x.Value, Value: json.RawMessage(`"x"`)}})
	if err != nil {
		x.Fatal(err)
	}
	_, getErr := x.adapter.Get(x.Context(), ref)
	_, findErr := x.adapter.Find(x.Context(), x.Key, []string{s.key})
	_, _, listErr := x.adapter.List(x.Context(), target.Page{Most: 1})
	for name, err := range map[string]error{
		"Get": getErr, "Find": findErr, "List": listErr,
		"Apply": x.adapter.Apply(x.Context(), ref, steps[0]), "Delete": x.adapter.Delete(x.Context(), ref),
	} {
		var e *target.Error
		if !errors.Is(err, x.refuse) || errors.As(err, &e) {
			x.Errorf("%s: %v; want the error of BeforeCall", name, err)
		}
	}
	x.refuse = nil
	x.isThere(s, false)
	ctx, cancel := context.WithCancel(x.Context())
	cancel()
	if answer := x.direct.Create(ctx, []target.Record{s.Record}); !errors.Is(answer.Err, context.Canceled) || !answer.NothingWritten {
		x.Errorf("Create with a context that has ended: %v", answer.Err)
	}
	x.isThere(s, false)
}

func (x *suite) busy() {
	s := x.record()
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		x.proxy.then(instead(status, http.Header{"Retry-After": {"7"}}, "<html>slow down</html>"))
		before := len(x.since(0))
		answer := x.send(s)
		calls := x.since(before)
		if !target.Is(answer.Err, target.Throttled) || answer.RetryAfter != 7*time.Second {
			x.Errorf("HTTP %d: %v, retry after %v; want %v after 7 seconds", status, answer.Err, answer.RetryAfter, target.Throttled)
		}
		if len(calls) != 1 || !calls[0].Busy || calls[0].RetryAfter != 7*time.Second {
			x.Errorf("HTTP %d: judged as %+v; want busy, with 7 seconds", status, calls)
		}
	}
	x.isThere(s, false)
}

func (x *suite) tooLarge() {
	s := x.record()
	for _, act := range []action{instead(http.StatusRequestEntityTooLarge, nil, "<html>Request Entity Too Large</html>"), afterwards(http.StatusRequestEntityTooLarge, "<html>Request Entity Too Large</html>")} {
		x.proxy.then(act)
		if answer := x.send(s); !target.Is(answer.Err, target.TooLarge) || answer.NothingWritten {
			x.Errorf("Create is answered with HTTP 413: %v, nothing written: %t; want %v, and nothing known", answer.Err, answer.NothingWritten, target.TooLarge)
		}
	}
	x.isThere(s, true)
}

func (x *suite) find() {
	all := x.records(5)
	odd := x.with("o'brien+"+strings.TrimPrefix(newKey(newNumber()), "user"), x.Record)
	all = append(all, odd)
	ids := x.created(all...)
	keys := []string{"", "nobody." + all[0].key}
	for _, s := range all {
		keys = append(keys, s.key, s.key)
	}
	found, err := x.adapter.Find(x.Context(), x.Key, keys)
	if err != nil || len(found) != len(all) {
		x.Fatalf("Find: %d records, %v; want %d, each once", len(found), err, len(all))
	}
	byID, err := x.adapter.Find(x.Context(), target.ByID, append([]string{target.NewTag(run, newNumber())}, ids...))
	if err != nil || len(byID) != len(all) {
		x.Fatalf("Find by id: %d records, %v; want %d", len(byID), err, len(all))
	}
	for i, s := range all {
		for _, list := range [][]target.Entity{found, byID} {
			at := slices.IndexFunc(list, func(e target.Entity) bool { return e.ID == ids[i] })
			if at < 0 {
				x.Errorf("the record %s was not found", s.key)
				continue
			}
			if got := list[at].Text(x.Key); x.traits.Fold(got) != x.traits.Fold(s.key) || list[at].Mark != s.Mark || list[at].Version == "" {
				x.Errorf("found %q with the mark %q, want %q with %q", got, list[at].Mark, s.key, s.Mark)
			}
			x.shows(list[at], s.json)
		}
	}
	if upper := strings.ToUpper(all[0].key); x.traits.Fold(upper) == x.traits.Fold(all[0].key) {
		if found, err := x.adapter.Find(x.Context(), x.Key, []string{upper}); err != nil || len(found) != 1 {
			x.Errorf("Find in upper case: %d records, %v; want one", len(found), err)
		}
	}
	if found, err := x.adapter.Find(x.Context(), x.Key, nil); err != nil || len(found) != 0 {
		x.Errorf("Find without keys: %d records, %v", len(found), err)
	}
}

func (x *suite) list() {
	began := time.Now()
	ids := x.created(x.records(5)...)
	seen := map[string]int{}
	page := target.Page{Most: 2}
	for pages := 0; ; pages++ {
		found, next, err := x.adapter.List(x.Context(), page)
		if err != nil {
			x.Fatalf("List: %v", err)
		}
		for _, e := range found {
			seen[e.ID]++
		}
		if next == "" {
			break
		}
		if pages > 10000 {
			x.Fatal("List does not end")
		}
		page.After = next
	}
	for _, id := range ids {
		if seen[id] != 1 {
			x.Errorf("the pages have the record %s %d times, want once", id, seen[id])
		}
	}
	if !x.traits.ListsSince {
		return
	}
	changed := target.Ref{ID: ids[0]}
	if err := x.change(changed, target.Change{Path: x.Value, Value: json.RawMessage(`"x"`)}); err != nil {
		x.Fatal(err)
	}
	e, err := x.adapter.Get(x.Context(), changed)
	if err != nil || !e.Created.Latest.Before(e.Updated.Earliest) {
		x.Fatalf("a record that was changed: created %v, updated %v, %v", e.Created.Latest, e.Updated.Earliest, err)
	}
	for stamp, want := range map[target.Stamp]bool{target.Created: false, target.Updated: true} {
		found, _, err := x.adapter.List(x.Context(), target.Page{Most: x.traits.MaxPage, Since: e.Updated.Earliest, Stamp: stamp})
		if got := slices.ContainsFunc(found, func(e target.Entity) bool { return e.ID == changed.ID }); err != nil || got != want {
			x.Errorf("List by stamp %d since a record was changed has it: %t, %v; want %t", stamp, got, err, want)
		}
	}
	for stamp, name := range map[target.Stamp]string{target.Created: "created", target.Updated: "updated"} {
		for since, want := range map[time.Time]int{began.Add(-time.Second): len(ids), time.Now().Add(time.Hour): 0} {
			found, _, err := x.adapter.List(x.Context(), target.Page{Most: x.traits.MaxPage, Since: since, Stamp: stamp})
			n := 0
			for _, e := range found {
				if slices.Contains(ids, e.ID) {
					n++
				}
			}
			if err != nil || n != want {
				x.Errorf("List of what was %s since %v: %d of our records, %v; want %d", name, since, n, err, want)
			}
		}
	}
}

// change makes all steps of changes.
func (x *suite) change(ref target.Ref, changes ...target.Change) error {
	x.Helper()
	steps, err := x.adapter.Steps(changes)
	if err != nil {
		x.Fatalf("Steps: %v", err)
	}
	n := 0
	for _, step := range steps {
		n += len(step.Changes)
		if err := x.adapter.Apply(x.Context(), ref, step); err != nil {
			return err
		}
	}
	if n != len(changes) {
		x.Errorf("Steps has %d changes of %d", n, len(changes))
	}
	return nil
}

func (x *suite) apply() {
	s := x.record()
	ref := target.Ref{ID: x.created(s)[0]}
	before, err := x.adapter.Get(x.Context(), ref)
	if err != nil {
		x.Fatal(err)
	}
	changes := []target.Change{{Path: x.Value, Value: json.RawMessage(`"Grüße & <x>"`)}}
	if x.List != "" {
		changes = append(changes, target.Change{Path: x.List, Value: json.RawMessage(x.Elements[0])})
	}
	for range 2 { // the second time they change nothing
		if err := x.change(ref, changes...); err != nil {
			x.Fatalf("Apply: %v", err)
		}
		after, err := x.adapter.Get(x.Context(), ref)
		if err != nil {
			x.Fatal(err)
		}
		if got := after.Text(x.Value); got != "Grüße & <x>" {
			x.Errorf("%s is %q after the change", x.Value, got)
		}
		if after.Version == before.Version || after.Mark != s.Mark {
			x.Errorf("the version %q of a changed record is that of before, or its mark %q is not %q", after.Version, after.Mark, s.Mark)
		}
		if x.List != "" {
			x.hasList(after, x.Elements[0])
		}
		// Everything else is as it was.
		rest := map[string]any{}
		if err := json.Unmarshal(s.json, &rest); err != nil {
			x.Fatal(err)
		}
		without(rest, x.Value)
		if x.List != "" {
			without(rest, x.List)
		}
		kept, err := target.Marshal(rest)
		if err != nil {
			x.Fatal(err)
		}
		x.shows(after, kept)
	}
	if x.List != "" {
		if err := x.change(ref, target.Change{Path: x.List, Value: json.RawMessage(x.Elements[1])}); err != nil {
			x.Fatalf("Apply: %v", err)
		}
		after, err := x.adapter.Get(x.Context(), ref)
		if err != nil {
			x.Fatal(err)
		}
		x.hasList(after, x.Elements[1])
	}
	for range 2 {
		if err := x.change(ref, target.Change{Path: x.Value, Value: json.RawMessage("null")}); err != nil {
			x.Fatalf("Apply of null: %v", err)
		}
	}
	after, err := x.adapter.Get(x.Context(), ref)
	if err != nil || after.Text(x.Value) != "" {
		x.Errorf("%s is %q after it was removed, %v", x.Value, after.Text(x.Value), err)
	}
	if err := x.change(target.Ref{ID: x.gone()}, changes[0]); !target.Is(err, target.NotFound) {
		x.Errorf("Apply to a record that is gone: %v; want %v", err, target.NotFound)
	}
}

func (x *suite) hasList(e target.Entity, want string) {
	x.Helper()
	var there, wanted any
	raw := e.Attributes
	names := strings.Split(x.List, ".")
	for _, name := range names[:len(names)-1] {
		var inner map[string]json.RawMessage
		_ = json.Unmarshal(raw[name], &inner)
		raw = inner
	}
	got := raw[names[len(names)-1]]
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		x.Fatal(err)
	}
	if json.Unmarshal(got, &there) != nil || len(x.missing(x.List, wanted, there)) > 0 {
		x.Errorf("%s is %s, want %s", x.List, got, want)
	}
}

func without(attributes map[string]any, path string) {
	name, rest, deeper := strings.Cut(path, ".")
	if inner, ok := attributes[name].(map[string]any); deeper && ok {
		without(inner, rest)
		return
	}
	delete(attributes, name)
}

// gone is the id of a record that was deleted.
func (x *suite) gone() string {
	x.Helper()
	id := x.created(x.record())[0]
	if err := x.adapter.Delete(x.Context(), target.Ref{ID: id}); err != nil {
		x.Fatalf("Delete: %v", err)
	}
	return id
}

func (x *suite) conflict() {
	id := x.created(x.record())[0]
	before, err := x.adapter.Get(x.Context(), target.Ref{ID: id})
	if err != nil {
		x.Fatal(err)
	}
	mine := target.Change{Path: x.Value, Value: json.RawMessage(`"mine"`)}
	ref := target.Ref{ID: id, Version: before.Version}
	if err := x.change(ref, mine); err != nil {
		x.Fatalf("Apply to the version that was read: %v", err)
	}
	if err := x.change(ref, target.Change{Path: x.Value, Value: json.RawMessage(`"theirs"`)}); !target.Is(err, target.Conflict) {
		x.Errorf("Apply to a version that is no more: %v; want %v", err, target.Conflict)
	}
	if err := x.adapter.Delete(x.Context(), ref); !target.Is(err, target.Conflict) {
		x.Errorf("Delete of a version that is no more: %v; want %v", err, target.Conflict)
	}
	after, err := x.adapter.Get(x.Context(), ref)
	if err != nil || after.Text(x.Value) != "mine" {
		x.Fatalf("%s is %q, %v; want it unchanged", x.Value, after.Text(x.Value), err)
	}
	if err := x.adapter.Delete(x.Context(), target.Ref{ID: id, Version: after.Version}); err != nil {
		x.Errorf("Delete of the version that was read: %v", err)
	}
}

func (x *suite) remove() {
	s := x.record()
	id := x.created(s)[0]
	x.proxy.then(dropAnswer)
	if err := x.adapter.Delete(x.Context(), target.Ref{ID: id}); err == nil || target.IsFault(err) {
		x.Errorf("Delete without an answer: %v; want it unknown", err)
	} else if _, refused := target.Refusal(err); refused {
		x.Errorf("Delete without an answer is refused: %v; want it unknown", err)
	}
	if err := x.adapter.Delete(x.Context(), target.Ref{ID: id}); !target.Is(err, target.NotFound) {
		x.Errorf("Delete again: %v; want %v", err, target.NotFound)
	}
	if _, err := x.adapter.Get(x.Context(), target.Ref{ID: id}); !target.Is(err, target.NotFound) {
		x.Errorf("Get by id: %v; want %v", err, target.NotFound)
	}
	if _, err := x.adapter.Get(x.Context(), target.Ref{Attribute: x.Key, Key: s.key}); !target.Is(err, target.NotFound) {
		x.Errorf("Get by key: %v; want %v", err, target.NotFound)
	}
	x.isThere(s, false)
}

func (x *suite) check() {
	if err := x.adapter.Check(x.Context()); err != nil {
		x.Errorf("Check: %v", err)
	}
	schema, err := x.adapter.Schema(x.Context())
	if err != nil || schema.Name == "" {
		x.Fatalf("Schema: %q, %v", schema.Name, err)
	}
	if !slices.Contains(schema.Unique(), x.Key) {
		x.Errorf("Schema calls %v unique, not %s", schema.Unique(), x.Key)
	}
	for _, path := range []string{x.Value, cmp.Or(x.List, x.Value)} {
		if _, ok := schema.At(path); !ok {
			x.Errorf("Schema has no attribute %s", path)
		}
	}
	before, err := x.adapter.Count(x.Context())
	if target.Is(err, target.Forbidden) {
		return // the platform does not count
	}
	if err != nil {
		x.Fatalf("Count: %v", err)
	}
	x.created(x.records(2)...)
	if after, err := x.adapter.Count(x.Context()); err != nil || after != before+2 {
		x.Errorf("Count: %d, %v; want %d", after, err, before+2)
	}
}

func (x *suite) denied() {
	if x.Denied == nil {
		x.Skip("the server asks for no credentials")
	}
	var calls []target.Call
	a := x.Denied(x.T, target.Hooks{Judged: func(_ context.Context, call target.Call) { calls = append(calls, call) }})
	defer a.Close()
	if err := a.Check(x.Context()); !target.Is(err, target.Unusable) || !target.IsFault(err) {
		x.Errorf("Check: %v; want %v, a fault", err, target.Unusable)
	}
	s := x.record()
	answer := a.Create(x.Context(), []target.Record{s.Record})
	if !target.IsFault(answer.Err) {
		x.Errorf("Create: %v; want a fault", answer.Err)
	}
	if last := calls[len(calls)-1]; last.Fault == "" || last.Kind != target.Creates {
		x.Errorf("Create is judged as %+v; want a fault", last)
	}
	if _, err := a.Get(x.Context(), target.Ref{Attribute: x.Key, Key: s.key}); !target.IsFault(err) {
		x.Errorf("Get: %v; want a fault", err)
	}
	x.isThere(s, false)
}
