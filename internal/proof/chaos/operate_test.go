package main

import (
	"testing"
	"time"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/proof/check"
)

func TestWhatAMigrationWaitsFor(t *testing.T) {
	changed := func(name, old, new string) migration.Event {
		return migration.Event{Kind: migration.EventChanged, Name: name, Old: old, New: new}
	}
	canary := migration.Event{Kind: migration.EventDecision, Text: "The canary: of 10 records 10 were created."}
	failed := migration.Event{Kind: migration.EventDecision, Text: "3 of 100 records have failed."}
	begun := migration.Event{Kind: migration.EventBegun}
	for _, c := range []struct {
		name    string
		events  []migration.Event
		pausers int
		want    string
	}{
		{"nothing", []migration.Event{begun}, 0, ""},
		{"a pause", []migration.Event{begun, changed("paused", "no", "yes")}, 0, "resume"},
		{"a pause that has its end", []migration.Event{begun, changed("paused", "no", "yes")}, 1, ""},
		{"resumed", []migration.Event{begun, changed("paused", "no", "yes"), changed("paused", "yes", "no")}, 0, ""},
		{"a canary", []migration.Event{begun, canary}, 0, "approve"},
		{"a canary, paused", []migration.Event{begun, canary, changed("paused", "no", "yes")}, 1, "approve"},
		{"approved", []migration.Event{begun, canary, changed("canary approved", "no", "yes")}, 0, ""},
		{"too many failed", []migration.Event{begun, failed}, 0, "resume"},
		{"and it resumes", []migration.Event{begun, failed, changed("max-failed", "2", "")}, 0, ""},
		{"stopped", []migration.Event{begun, canary, changed("stop", "no", "yes")}, 0, ""},
		{"another run", []migration.Event{begun, failed, {Kind: migration.EventEnded}, begun}, 0, ""},
	} {
		e := &episode{work: t.TempDir(), pausers: c.pausers}
		folder := migration.In(e.work, "key")
		must(t, folder.Make())
		for i, ev := range c.events {
			ev.At = time.Unix(int64(i), 0)
			must(t, folder.AppendEvent(ev))
		}
		if got := e.waitsFor(); got != c.want {
			t.Errorf("%s: it waits for %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAnOrderHoldsUntilTheNextOne(t *testing.T) {
	e := &episode{work: t.TempDir()}
	begin := time.Now()
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	e.holds(span{from: at(-60), paused: true})
	e.holds(span{from: at(-50), rate: 8})
	e.lift("set")
	e.holds(span{from: at(-20), rate: 4})
	folder := migration.In(e.work, "key")
	must(t, folder.Make())
	for _, seconds := range []int{-90, -30} { // another run begins as its options say
		must(t, folder.AppendEvent(migration.Event{At: at(seconds), Kind: migration.EventBegun}))
	}
	spans := e.ordered()
	if len(spans) != 3 || !spans[0].to.Equal(at(-30)) || !spans[1].to.Equal(at(-30)) || spans[2].to.Before(begin) {
		t.Errorf("%+v, want the first two to end at %v and the last one now", spans, at(-30))
	}
}

func TestCallsThatGoAgainstAnOrder(t *testing.T) {
	begin := time.Now()
	at := func(millis int) time.Time { return begin.Add(time.Duration(millis) * time.Millisecond) }
	pause := span{from: begin, to: at(5000), paused: true}
	for _, c := range []struct {
		name  string
		v     evidence
		found bool
	}{
		{"a call just after the answer", evidence{spans: []span{pause}, gated: check.Moments{at(100)}}, false},
		{"a call in the pause", evidence{spans: []span{pause}, gated: check.Moments{at(-10), at(1000), at(6000)}}, true},
		{"a count in the pause", evidence{spans: []span{pause}, arrivals: check.Moments{at(1000)}}, false},
		{"a call of who was stopped", evidence{spans: []span{pause}, gated: check.Moments{at(1000)}, flight: 1, migration: check.Migration{Late: true}}, false},
		{"more than that", evidence{spans: []span{pause}, gated: check.Moments{at(1000), at(1001)}, flight: 1, migration: check.Migration{Late: true}}, true},
		{"as fast as it was set", evidence{spans: []span{{from: begin, to: at(3000), rate: 1}}, arrivals: check.Moments{at(400), at(1400), at(2400)}}, false},
		{"faster", evidence{spans: []span{{from: begin, to: at(3000), rate: 1}}, arrivals: check.Moments{at(400), at(600), at(700), at(800)}}, true},
	} {
		if broken := c.v.steered(); (len(broken) > 0) != c.found {
			t.Errorf("%s: found %v", c.name, broken)
		}
	}
}

func TestOfOrdersAtTheSameTimeNoneHolds(t *testing.T) {
	e := &episode{underway: map[string]*underway{}}
	set, first := e.begins(orderSet), e.begins(orderPause)
	second := e.begins(orderPause)
	if first() || second() {
		t.Error("a pause holds, and another order was underway")
	}
	if !set() || !e.begins(orderPause)() {
		t.Error("an order holds nothing, and no other one of its kind was underway")
	}
}
