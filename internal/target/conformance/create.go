package conformance

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/target"
)

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
		if answer.Err != nil {
			x.Errorf("Create with a duplicate: %v; want a result for each record, so that the others need not be cut out", answer.Err)
			continue
		}
		if r := answer.Results[len(all)/2]; r.Err == nil || r.Err.Class != target.Duplicate {
			x.Errorf("a record with the key %s, which exists: %v; want %v", spelling, r.Err, target.Duplicate)
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
		if answer.Err != nil || answer.Results[0].Err == nil || answer.Results[0].Err.Class != target.Refused {
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
