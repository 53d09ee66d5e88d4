package conformance

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"durable-dataload/internal/target"
)

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
