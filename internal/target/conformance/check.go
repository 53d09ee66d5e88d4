package conformance

import (
	"cmp"
	"context"
	"slices"

	"durable-dataload/internal/target"
)

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
