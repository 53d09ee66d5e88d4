package limiter

import (
	"encoding/json"
	"testing"
	"time"
)

// A query shows the state at any time, and a replay asks no queries.
func TestAViewChangesNothing(t *testing.T) {
	begin := time.Date(2026, 11, 23, 7, 59, 0, 0, time.UTC)
	var s State
	s.Ask(begin, Request{Worker: "w", Seq: 1, Clock: "c", Needs: []Need{{Run: "r", Limits: Limits{Plan: "08:00-18:00 off", Workers: 1}}}})
	before, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	closed := begin.Add(10 * time.Minute)
	if v := s.View(closed); v.Runs[0].Closed == "" || !v.Runs[0].Since.Equal(closed) {
		t.Errorf("the view is %+v; want the run closed, since this moment as far as is known", v.Runs[0])
	}
	if after, _ := json.Marshal(s); string(after) != string(before) {
		t.Errorf("the state was %s, and is %s", before, after)
	}
}

func TestARunIsClosedSinceItsLastPause(t *testing.T) {
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	var s State
	s.Ask(now, Request{Worker: "w", Seq: 1, Clock: "c", Needs: []Need{{Run: "r", Limits: Limits{Workers: 1}}}})
	s.Health.Breaker = Breaker{Open: true, Since: now, Next: now.Add(time.Hour)} // beside the pauses
	for _, o := range []Order{{Run: "r", Pause: "paused"}, {Run: "r", Resume: true}, {Run: "r", Pause: "paused"}} {
		now = now.Add(time.Minute)
		s.Order(now, o)
	}
	if v := s.View(now.Add(time.Minute)).Runs[0]; !v.Since.Equal(now) {
		t.Errorf("paused at %v, and closed since %v", now, v.Since)
	}
}

func TestCallsAreCountedForTheLastTenSeconds(t *testing.T) {
	begin := time.Unix(1_000_000, 0)
	run := &Run{}
	for second := range int64(20) {
		run.Used = append(run.Used, Used{begin.Unix() + second, 4})
	}
	for _, c := range []struct {
		name  string
		used  []Used
		after time.Duration
		want  float64
	}{
		{"none", nil, 5 * time.Second, 0},
		{"within the first second", run.Used[:1], 500 * time.Millisecond, 4},
		{"since the first call", run.Used[:5], 5 * time.Second, 4},
		{"in the middle of a second", run.Used[:2], 2500 * time.Millisecond, 3.2},
		{"for long", run.Used, 20 * time.Second, 4},
		{"they have ended", run.Used, 60 * time.Second, 0},
	} {
		if got := (&Run{Used: c.used}).used(begin.Add(c.after)); got != c.want {
			t.Errorf("%s: %v calls a second; want %v", c.name, got, c.want)
		}
	}
}
