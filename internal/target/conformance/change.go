package conformance

import (
	"encoding/json"
	"strings"

	"durable-dataload/internal/target"
)

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
		if x.traits.ShowsUpdated && after.Updated == before.Updated {
			x.Errorf("a changed record was updated at %v, as before; the traits say that the time of a change is shown", after.Updated.Earliest)
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
