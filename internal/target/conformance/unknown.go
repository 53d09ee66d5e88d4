package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"durable-dataload/internal/target"
)

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
	ref := target.Ref{ID: x.created(x.record())[0]}
	steps, err := x.adapter.Steps([]target.Change{{Path: x.Value, Value: json.RawMessage(`"x"`)}})
	if err != nil {
		x.Fatal(err)
	}
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
		for _, acts := range [][]action{{act}, {passOn, act}} { // a change may begin with a read
			x.proxy.then(acts...)
			if err = x.adapter.Apply(x.Context(), ref, steps[0]); x.proxy.isThrough() && (!errors.As(err, &e) || e.Class.IsFinal()) {
				x.Errorf("request %d of Apply is answered with %s: %v; want it unknown", len(acts), name, err)
			}
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
