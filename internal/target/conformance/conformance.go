// Package conformance tests an adapter against a server, real or fake: everything that package target promises and that the
// rest of the program relies upon. An adapter that passes can load, recover, update, verify and roll back.
//
// The server must show at once what was written; it may have records already. A proxy in front of it drops answers after
// the commit and answers in its place, so a fake needs no faults of its own.
package conformance

import (
	"context"
	"errors"
	"fmt"
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
		{"traits are complete, and schema, count and check agree with them", (*suite).check},
		{"many calls can be made at once", (*suite).atOnce},
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
	if size, err := x.adapter.Measure(s.json); err != nil || size != s.Size {
		x.Errorf("Measure: %d, %v; Encode gives the size %d", size, err, s.Size)
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
		if len(all) == 1 && e.Class.IsFinal() && e.Class != target.TooLarge && !e.Fault {
			x.Errorf("a call of one record is refused: %v (%v); want it as the result of the record", e.Class, e)
		}
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
