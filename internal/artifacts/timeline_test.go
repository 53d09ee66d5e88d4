package artifacts

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
)

var begin = time.Date(2026, 11, 22, 13, 5, 7, 0, time.UTC)

// call is one that was answered for n records.
func call(at time.Time, took time.Duration, n int) ledger.Outcomes {
	return ledger.Outcomes{Sent: true, Letters: strings.Repeat("c", n), UUIDs: make([]string, n), At: at, Took: took}
}

func TestATimelineIsBounded(t *testing.T) {
	for _, length := range []time.Duration{
		0, time.Millisecond, time.Second, 119 * time.Second, 120 * time.Second, time.Hour, 26 * time.Hour, 119 * 24 * time.Hour, 10 * 365 * 24 * time.Hour, -time.Hour,
	} {
		c := NewTimeline(begin, begin.Add(length))
		if n := len(c.intervals); n < 1 || n > maxIntervals {
			t.Errorf("%v: %d intervals of %v, want at most %d", length, n, c.width, maxIntervals)
		}
		if length >= time.Minute && len(c.intervals) < maxIntervals/3 {
			t.Errorf("%v: %d intervals of %v, want more", length, len(c.intervals), c.width)
		}
		sum := 0.0
		for i := range c.intervals {
			sum += c.seconds(i)
		}
		if want := max(0, length.Seconds()); sum < want-0.01 || sum > want+2 {
			t.Errorf("%v: the intervals have %v s together", length, sum)
		}
		// Times of a wrong clock count as well.
		for _, at := range []time.Duration{-1000 * time.Hour, 0, length, length + 1000*time.Hour} {
			c.Call(0, call(begin.Add(at), time.Second, 1))
			c.Updated(begin.Add(at))
		}
		calls := 0
		for _, s := range c.intervals {
			calls += s.calls()
		}
		if calls != 4 || c.rounds[0].first.Before(c.start) || c.rounds[0].last.After(c.end) {
			t.Errorf("%v: %d calls from %v to %v, want 4 within it", length, calls, c.rounds[0].first, c.rounds[0].last)
		}
	}
}

func TestACallCountsByItsOutcome(t *testing.T) {
	at, took := begin.Add(90*time.Second), 40*time.Millisecond
	cases := []struct {
		name   string
		entry  ledger.Outcomes
		want   interval // without latencies
		reason callReason
		count  callCount
	}{
		{"answered", ledger.Outcomes{Sent: true, Letters: "cdf-", UUIDs: []string{"1"}, Errors: []string{"", ""}}, interval{answered: 1, settled: 3}, callReason{}, callCount{}},
		{"refused", ledger.Outcomes{Sent: true, Letters: "ff", Errors: []string{"", ""}, Reason: "api 200"}, interval{refused: 1, settled: 2}, callReason{"api 200", callRefused}, callCount{1, 2}},
		{"halved", ledger.Outcomes{Sent: true, Split: true, Reason: "too large"}, interval{refused: 1}, callReason{"too large", callSplit}, callCount{1, 0}},
		{"unknown", ledger.Outcomes{Sent: true, Letters: "uuf", Errors: []string{""}, Reason: "http 502"}, interval{unknown: 1, settled: 1}, callReason{"http 502", callUnknown}, callCount{1, 2}},
		{"one is unknown", ledger.Outcomes{Sent: true, Letters: "cu", UUIDs: []string{"1"}, Reason: "no result for a record"}, interval{unknown: 1, settled: 1}, callReason{"no result for a record", callUnknown}, callCount{1, 1}},
		{"not sent", ledger.Outcomes{Letters: "f", Errors: []string{""}}, interval{}, callReason{}, callCount{}},
	}
	for _, tc := range cases {
		c := NewTimeline(begin, begin.Add(time.Hour))
		tc.entry.At, tc.entry.Took = at, took
		c.Call(2, tc.entry)
		got := *c.interval(at)
		if got.took = (latencies{}); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
		if tc.reason.reason == "" && len(c.reasons) > 0 || tc.reason.reason != "" && (c.reasons[tc.reason] == nil || *c.reasons[tc.reason] != tc.count) {
			t.Errorf("%s: the reasons are %v, want %v of %v", tc.name, c.reasons, tc.count, tc.reason)
		}
		if r := c.rounds[2]; tc.entry.Sent && (r.first != at.Add(-took) || r.last != at || r.took.count != 1) {
			t.Errorf("%s: the round is %+v, want from %v to %v", tc.name, r, at.Add(-took), at)
		}
	}
	c := NewTimeline(begin, begin.Add(time.Hour))
	c.Call(0, call(time.Time{}, 0, 1))
	c.Call(0, call(at, 0, 1))
	if c.untimed != 1 || c.unmeasured != 1 || c.all.count != 0 || c.interval(at).answered != 1 {
		t.Errorf("%d calls without a time, %d without a latency, %d with one; want 1, 1 and 0", c.untimed, c.unmeasured, c.all.count)
	}
}

func TestTheOrderOfCallsDoesNotMatter(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var entries []ledger.Outcomes
	for range 500 {
		entries = append(entries, call(begin.Add(time.Duration(random.Int64N(int64(time.Hour)))), time.Duration(random.Int64N(int64(time.Second))), random.IntN(3)))
	}
	page := func() string {
		c := NewTimeline(begin, begin.Add(time.Hour))
		for i, e := range entries {
			c.Call(e.Counts().Created%2, e)
			c.Updated(entries[i].At)
		}
		return fmt.Sprintf("%+v", drawn(c, Details{}))
	}
	want := page()
	random.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	if got := page(); got != want {
		t.Errorf("in another order:\n%s\nwant\n%s", got, want)
	}
}

func TestLatenciesAreRightToFourPercent(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, most := range []time.Duration{10 * time.Microsecond, time.Millisecond, time.Second, time.Hour} {
		var l latencies
		var all []time.Duration
		for range 1000 {
			took := time.Duration(random.Int64N(int64(most))).Truncate(time.Microsecond)
			all = append(all, took)
			l.add(took)
		}
		slices.Sort(all)
		for _, share := range []float64{.01, .5, .95, 1} {
			got, want := l.quantile(share), all[int(share*1000)-1]
			if diff := (got - want).Abs(); float64(diff) > .04*float64(want) {
				t.Errorf("up to %v: %v of the calls took %v or less, want %v", most, share, got, want)
			}
		}
		if l.longest != all[999] || l.count != 1000 {
			t.Errorf("up to %v: the longest of %d is %v, want %v of 1000", most, l.count, l.longest, all[999])
		}
	}
	var l latencies
	l.add(100 * time.Hour)
	if l.quantile(.5) > 100*time.Hour || (&latencies{}).quantile(.5) != 0 {
		t.Error("a time beyond all classes, or none")
	}
}

func TestTheAllowedRate(t *testing.T) {
	at := func(minute int) time.Time { return begin.Add(time.Duration(minute) * time.Minute) }
	set := func(minute int, name, old, new string) migration.Event {
		return migration.Event{At: at(minute), Kind: migration.EventChanged, Name: name, Old: old, New: new}
	}
	slowed := func(minute int, new string) migration.Event {
		return migration.Event{At: at(minute), Kind: migration.EventSlowed, New: new}
	}
	restored := migration.Event{At: at(9), Kind: migration.EventRestored}
	cases := []struct {
		name   string
		plan   string
		events []migration.Event
		want   string // minute:rate …, or minute:rate-rate where it grows
	}{
		{"nothing happens", "", nil, "0:4"},
		{"changes", "", []migration.Event{set(2, "rate", "8", "2"), set(3, "workers", "1", "9"), set(4, "rate", "2", "0")}, "0:8 2:2 4:0"},
		{"slowed", "", []migration.Event{slowed(2, "2"), slowed(3, "1/s"), restored}, "0:4 2:2-4 2.4:4 3:1-4 3.6:4"},
		{"slowed again while it grows", "", []migration.Event{slowed(2, "2"), {At: at(2).Add(10 * time.Second), Kind: migration.EventSlowed, New: "1.4/s"}}, "0:4 2:2-2.8 2.2:1.4-4 2.7:4"},
		{"slowed without a limit", "", []migration.Event{set(1, "rate", "0", "0"), slowed(2, "2,000/s"), restored}, "0:0 2:2000 9:0"},
		{"slowed and changed", "", []migration.Event{slowed(2, "2"), set(3, "rate", "4", "8"), set(4, "rate", "8", "1"), restored}, "0:4 2:2-4 2.4:4 3:8 4:1"},
		{"changed while it grows", "", []migration.Event{slowed(2, "2"), {At: at(2).Add(10 * time.Second), Kind: migration.EventChanged, Name: "rate", Old: "4", New: "8"}}, "0:4 2:2-2.8 2.2:5.6-8 2.4:8"},
		{"slowed to what cannot be read", "", []migration.Event{slowed(2, "half")}, "0:4"},
		{"a timetable", "else 4/s", nil, ""},
		{"a timetable comes", "", []migration.Event{set(2, "rate-plan", "", "else 4/s")}, ""},
	}
	for _, tc := range cases {
		var got []string
		for _, s := range allowedRate(Details{Spec: migration.Spec{Limits: migration.Limits{RateLimit: 4, RatePlan: tc.plan}}, Events: tc.events}, NewTimeline(begin, at(10))) {
			text := fmt.Sprintf("%.2g:%v", s.from.Sub(begin).Minutes(), s.rate)
			if s.to != s.rate {
				text += fmt.Sprintf("-%.3g", s.to)
			}
			got = append(got, text)
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
	// What is far above the drawing is not in it, and moves it down no further.
	c := NewTimeline(begin, at(10))
	a := axis{at(0), at(10)}
	if got, want := allowedLine(a, scale{4}, []step{{at(0), 100, 100}, {at(5), 2, 2}, {at(6), 1, 3}, {at(7), 0, 0}, {at(8), 2, 6}, {at(9), 4, 4}}), "M500 50H600V75L700 25M800 50L850 0M900 0H1000"; got != want {
		t.Errorf("the line is %q, want %q", got, want)
	}
	c.Call(0, call(at(1), time.Second, 1))
	if got := c.outcomes(a, []step{{begin, 1000, 1000}}).Scale[2].Text; got == "1,000" {
		t.Errorf("the scale goes to %s, want to the calls", got)
	}
}

func TestIntervalsAreBetweenTheirEvents(t *testing.T) {
	at := func(minute int) time.Time { return begin.Add(time.Duration(minute) * time.Minute) }
	event := func(minute int, kind migration.EventKind) migration.Event {
		return migration.Event{At: at(minute), Kind: kind}
	}
	paused := func(minute int, new string) migration.Event {
		return migration.Event{At: at(minute), Kind: migration.EventChanged, Name: "paused", New: new}
	}
	cases := []struct {
		name   string
		events []migration.Event
		want   string // kind minute-minute …
	}{
		{"nothing", nil, ""},
		{"a pause", []migration.Event{paused(1, "true"), paused(2, "true"), paused(3, "false")}, "paused 1-3"},
		{"a pause until the run is ended", []migration.Event{paused(1, "yes"), event(3, migration.EventEnded), event(5, migration.EventBegun)}, "paused 1-3 no run 3-5"},
		{"a pause that lasts", []migration.Event{paused(4, "true")}, "paused 4-10"},
		{"the end is no gap", []migration.Event{event(0, migration.EventBegun), event(10, migration.EventEnded)}, ""},
		{"slow, and open", []migration.Event{event(1, migration.EventSlowed), event(2, migration.EventOpened), event(3, migration.EventSlowed), event(4, migration.EventClosed), event(5, migration.EventRestored)}, "slowed 1-5 breaker 2-4"},
	}
	for _, tc := range cases {
		var got []string
		for name, periods := range historyOf(tc.events, NewTimeline(begin, at(10))).each {
			for _, p := range periods {
				got = append(got, fmt.Sprintf("%s %v-%v", name, p.first.Sub(begin).Minutes(), p.last.Sub(begin).Minutes()))
			}
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestTheAxisHasRoundTimes(t *testing.T) {
	for _, tc := range []struct {
		length time.Duration
		want   string
	}{
		{3 * time.Second, "13:05:07 13:05:08 13:05:09"},
		{time.Hour, "13:10 13:20 13:30 13:40 13:50 14:00"},
		{11 * time.Hour, "14:00 16:00 18:00 20:00 22:00"},
		{30 * time.Hour, "23 Nov 00:00 23 Nov 12:00"},
		{60 * 24 * time.Hour, "3 Dec 19 Dec 4 Jan"},
	} {
		c := NewTimeline(begin, begin.Add(tc.length))
		var got []string
		for _, tick := range (axis{c.start, c.end}).ticks() {
			got = append(got, tick.Text)
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%v: %q, want %q", tc.length, got, tc.want)
		}
	}
}

func TestBriefDurations(t *testing.T) {
	for got, want := range map[string]string{
		brief(0): "0 µs", brief(1500 * time.Microsecond): "1.5 ms", brief(100 * time.Millisecond): "100 ms", brief(2500 * time.Millisecond): "2.5 s", brief(12 * time.Second): "12 s",
		records(1): "1 record", records(0): "0 records", records(1234.5): "1,235 records",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestProgram(t *testing.T) {
	info := &debug.BuildInfo{
		GoVersion: "go1.26.8", Main: debug.Module{Path: "durable-dataload", Version: "(devel)"},
		Deps:     []*debug.Module{{Path: "go.temporal.io/api", Version: "v9"}, {Path: "go.temporal.io/sdk", Version: "v1.50.0"}},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}},
	}
	if got, want := programOf(info), "durable-dataload devel, revision abc with changes, go1.26.8, Temporal SDK v1.50.0"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Ten million records in batches of a hundred.
func BenchmarkTimeline(b *testing.B) {
	c := NewTimeline(begin, begin.Add(10*time.Hour))
	entry := call(begin, 80*time.Millisecond, 100)
	for i := range b.N {
		entry.At = begin.Add(time.Duration(i) * 360 * time.Millisecond)
		c.Call(0, entry)
	}
}
