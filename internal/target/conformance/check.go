package conformance

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"durable-dataload/internal/target"
)

func (x *suite) check() {
	t := x.traits
	if t.Name == "" || t.MaxBytes <= 0 || t.Overhead < 0 || t.MaxRecords < 0 || t.FindKeys <= 0 || t.MaxPage <= 0 || t.DefaultKey == "" || t.Fold == nil {
		x.Errorf("the traits are not complete: %+v", t)
	}
	for _, name := range t.Givable {
		if !slices.Contains(t.System, name) {
			x.Errorf("%s is givable, and not one of the system's attributes", name)
		}
	}
	record := []byte(x.Record(newKey(newNumber())))
	a, errA := x.adapter.Encode(record, target.NewTag(run, newNumber()))
	b, errB := x.adapter.Encode(record, target.NewTag(run, newNumber()))
	if errA != nil || errB != nil || a.Size != b.Size { // it is measured before the tag is known
		x.Errorf("with two tags the record has the sizes %d and %d, %v, %v; want one", a.Size, b.Size, errA, errB)
	}
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
	key, _ := schema.At(x.Key)
	if folds := t.Fold("A@x") == t.Fold("a@x"); key.CaseSensitive != nil && *key.CaseSensitive == folds {
		x.Errorf("Traits.Fold ignores case: %t; Schema does not agree: %+v", folds, key)
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

func (x *suite) atOnce() {
	const workers = 6
	sets := make([][]sent, workers)
	for i := range sets {
		sets[i] = x.records(x.several(3))
	}
	var working sync.WaitGroup
	for _, all := range sets {
		working.Go(func() {
			records := make([]target.Record, len(all))
			for i, s := range all {
				records[i] = s.Record
			}
			answer := x.adapter.Create(x.Context(), records)
			if answer.Err != nil {
				x.Errorf("Create: %v", answer.Err)
				return
			}
			found, err := x.adapter.Find(x.Context(), x.Key, []string{all[0].key})
			if err != nil || len(found) != 1 || found[0].ID != answer.Results[0].ID {
				x.Errorf("Find: %d records, %v; want the one that was created, %s", len(found), err, answer.Results[0].ID)
				return
			}
			if err := x.adapter.Delete(x.Context(), target.Ref{ID: found[0].ID}); err != nil {
				x.Errorf("Delete: %v", err)
			}
		})
	}
	working.Wait()
	for _, all := range sets {
		x.isThere(all[0], false)
		for _, s := range all[1:] {
			x.isThere(s, true)
		}
	}
}
