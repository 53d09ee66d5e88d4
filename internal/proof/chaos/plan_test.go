package main

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/sandbox"
)

func TestASeedDrawsTheSameEpisodes(t *testing.T) {
	for number := 1; number <= 20; number++ {
		if first, second := draw(7, number, 0), draw(7, number, 0); !reflect.DeepEqual(first, second) {
			t.Errorf("episode %d is\n%v\nand then\n%v", number, first.String(), second.String())
		}
	}
	first, second := draw(7, 1, 0), draw(8, 1, 0)
	if first.String() == second.String() {
		t.Errorf("two seeds draw the same episode: %v", first.String())
	}
}

// What a run of some hours can meet.
func TestEveryKindOfTroubleIsDrawn(t *testing.T) {
	drawn := map[string]int{}
	const episodes = 500
	for number := 1; number <= episodes; number++ {
		p := draw(3, number, 0)
		for _, e := range p.events {
			name, _, _ := strings.Cut(e.target, " ")
			drawn[strings.TrimSpace(string(e.action)+" "+name)]++
			drawn["until "+e.until]++
			drawn["at "+e.when.what]++
			how, _, _ := strings.Cut(e.how, "=")
			drawn[string(e.action)+" "+how]++
			if e.when.n < 0 || e.action != change && e.lasts == 0 && e.calls == 0 && e.target == "" && e.how == "" {
				t.Errorf("episode %d: %v makes no sense", number, e)
			}
			if e.target == theEngine && p.workers == 0 || strings.HasPrefix(e.target, aWorker) && e.target > aWorker+" "+string(rune('0'+p.workers)) {
				t.Errorf("episode %d has %d workers, and the event %v", number, p.workers, e)
			}
		}
		if p.has(change) && p.has(kill, stop, interrupt, fill, delayCalls, expire, order) {
			t.Errorf("episode %d changes the input, and more happens than can be told apart: %v", number, p.events)
		}
		if p.canary%p.batch > 0 {
			t.Errorf("episode %d has a canary of %d, in batches of %d", number, p.canary, p.batch)
		}
		if p.canary > 0 {
			drawn["canary"]++
		}
		if p.maxFailed != "" {
			drawn["max-failed"]++
		}
		for _, name := range p.met {
			drawn[name]++
		}
		for _, kind := range p.kinds() {
			drawn[kind]++
		}
		if p.keyless > 0 {
			drawn["keyless"]++
		}
		if p.undo {
			drawn["undone"]++
		}
		if p.has(change) && !reflect.DeepEqual(p.world, world{}) {
			t.Errorf("episode %d changes the input, and is also met by %s", number, p.world.String())
		}
		if _, err := sandbox.ParseFaults(p.faults); err != nil {
			t.Errorf("episode %d: %v", number, err)
		}
		drawn[fmt.Sprintf("breaker %d", p.breaker)]++
		if p.workers == 0 {
			drawn["embedded"]++
		}
		if p.before > 0 {
			drawn["some there before"]++
		}
		if p.input.Awkward {
			drawn["awkward"]++
		}
	}
	for _, want := range append(often,
		"Date skewed", "stamps skewed", "created hidden", "lastUpdated hidden", "all hidden", "created ignored", "emails exact", "emails shared", "keyless", "undone",
		"kill starter", "kill target", "kill engine", "kill worker", "kill everything", "stop starter", "stop target", "stop engine", "stop worker",
		"interrupt starter", "cut target", "cut engine", "refuse", "lose-answers", "cut-calls", "delay-calls", "delay-answers", "throttle", "fill",
		"change", "change cut-off", "change longer", "change gone", "change a-byte", "until "+untilSettled, "until "+untilEnd,
		"at "+onCalls, "at "+onClaims, "at "+onOutcomes, "at "+onFiles, "at "+onMillis, "embedded", "some there before", "awkward",
		"order pause", "order set rate", "order set workers", "order set breaker", "order stop", "order status", "expire",
		"at "+onPauses, "at "+onDecisions, "canary", "max-failed", "breaker 0", "breaker 3", "breaker 5",
	) {
		if drawn[want] < 5 {
			t.Errorf("%q was drawn %d times in %d episodes, want some", want, drawn[want], episodes)
		}
	}
	t.Log(drawn)
}

func TestRecordsAreFixedOnDemand(t *testing.T) {
	p := draw(1, 1, 123)
	if p.input.Records != 123 {
		t.Errorf("%d records, want 123", p.input.Records)
	}
	q := draw(1, 1, 0)
	if p.batch != q.batch || p.workers != q.workers {
		t.Errorf("the number of records changes the shape: %v, without it %v", p.String(), q.String())
	}
}

func TestAFleetMeetsEverything(t *testing.T) {
	first, again := drawFleet(7, 0, false), drawFleet(7, 0, false)
	killed := map[string]int{}
	for i, p := range first {
		if p.String() != again[i].String() {
			t.Errorf("the same seed draws %v and %v", p.String(), again[i].String())
		}
		for _, e := range p.events {
			if e.action == kill {
				killed[e.target]++
			}
			if e.when.n < 1 || e.when.n > p.batches() {
				t.Errorf("%v comes never: there are %d batches", e, p.batches())
			}
		}
	}
	for _, want := range []string{theStarter, theTarget, theEngine, theBase, theStore, "worker 1", "worker 2", "worker 3"} {
		if killed[want] == 0 {
			t.Errorf("nothing kills %s: %v", want, killed)
		}
	}
	if bulk := first[0]; bulk.input.Records != 100_000 || drawFleet(7, 500, false)[0].input.Records != 500 {
		t.Errorf("%d records, want 100000, and as many as are asked for", bulk.input.Records)
	}
	for i, p := range drawFleet(7, 0, true) {
		if p.bucket || !first[i].bucket {
			t.Errorf("%v; want a bucket, and on demand a folder", p.String())
		}
		for _, e := range p.events {
			if e.target == theStore {
				t.Errorf("%v: there is no store", e)
			}
		}
	}
	if paced := first[1]; paced.rate == 0 || !paced.scheduled || !paced.has(pauseIt) || !paced.has(setRate) {
		t.Errorf("%v; want a rate, a schedule and orders", paced.String())
	}
}

// An episode on a real target has no faults of the sandbox. The rest of it is drawn as others are. A server that forgets its
// users is not killed.
func TestOnARealTargetStrangersComeAndItIsKilled(t *testing.T) {
	for name, real := range realTargets {
		drawn := map[string]int{}
		const episodes = 300
		for number := 1; number <= episodes; number++ {
			p := drawOn(real, 3, number, 0)
			if again := drawOn(real, 3, number, 0); !reflect.DeepEqual(p, again) {
				t.Errorf("%s: episode %d is\n%v\nand then\n%v", name, number, p.String(), again.String())
			}
			if p.faults != "" || p.latency+p.findLag > 0 || p.isBlind() || len(p.met) > 0 || p.into != real || p.input.Records > 1000 {
				t.Errorf("%s: episode %d is not one on it: %v", name, number, p.String())
			}
			for _, e := range p.events {
				drawn[strings.TrimSpace(string(e.action)+" "+e.how)]++
				drawn[string(e.action)+" "+e.target]++
				if (e.action == strangers || e.action == loseAnswers) && e.calls == 0 {
					t.Errorf("%s: episode %d: no call meets %v", name, number, e)
				}
			}
			if p.has(change) && p.has(kill, strangers) {
				t.Errorf("%s: episode %d changes the input, and more happens than can be told apart: %v", name, number, p.events)
			}
			drawn[fmt.Sprintf("before %d", p.before)]++
			drawn[fmt.Sprintf("keyless %t", p.keyless > 0)]++
			drawn[fmt.Sprintf("undone %t", p.undo)]++
		}
		for _, want := range []string{"strangers", "strangers namesakes", "stop target", "kill starter", "kill worker 1", "lose-answers", "cut-calls", "before 19", "keyless true", "undone true"} {
			if drawn[want] < 20 {
				t.Errorf("%s: %q was drawn %d times in %d episodes, want some", name, want, drawn[want], episodes)
			}
		}
		if n := drawn["kill target"]; real.forgets && n > 0 || !real.forgets && n < 20 {
			t.Errorf("%s: its server is killed %d times in %d episodes; that it forgets its users: %t", name, n, episodes, real.forgets)
		}
		if n := drawOn(real, 1, 1, 123).input.Records; n != 123 {
			t.Errorf("%s: %d records, want 123", name, n)
		}
	}
}

// The log of a target that writes none says which call has written a user: that whose answer says so, or else one without an
// answer that has sent it.
func TestUsersComeFromTheCallThatHasWrittenThem(t *testing.T) {
	s := &emulatorService{}
	calls := make([]*creation, 4)
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for i, marks := range [][]string{{"a", "b"}, {"a", "b", "c"}, {"c", "d"}, {"d", "e"}} {
		calls[i] = &creation{received: at.Add(time.Duration(i) * time.Minute), marks: marks, ids: map[string]bool{}}
	}
	s.take(calls[1], 200, []byte(`{"kind":"x","error":[{"message":"a is there"},{"index":2,"message":"c is not valid"}]}`))
	s.take(calls[3], 400, []byte(`{"error":{"code":400,"message":"no"}}`))
	if calls[0].answered || !calls[1].answered || calls[1].tookNone || calls[2].answered || !calls[3].answered || !calls[3].tookNone {
		t.Errorf("answered, and took none: %+v, %+v, %+v, %+v", *calls[0], *calls[1], *calls[2], *calls[3])
	}
	o := &observed{calls: calls}
	for id, want := range map[string]*creation{"a": calls[0], "b": calls[1], "c": calls[2], "d": calls[2], "e": nil, "x": nil} {
		if got := o.origin(user{id: id, mark: id, created: at.Add(time.Hour)}); got != want {
			t.Errorf("%s is said to come from %+v, want %+v", id, got, want)
		}
	}
	if got := o.origin(user{id: "c", mark: "c", created: at}); got != nil {
		t.Errorf("a user comes from a call that was made later: %+v", got)
	}
}
