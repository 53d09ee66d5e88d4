package evidence

import (
	"testing"
	"time"
)

var now = time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)

func TestTheTargetsClockIsKnownFromItsAnswers(t *testing.T) {
	at := func(seconds float64) time.Time { return now.Add(time.Duration(seconds * float64(time.Second))) }
	type answer struct{ date, sent, received float64 }
	cases := []struct {
		name    string
		answers []answer
		want    float64 // how far it is ahead of ours at least
	}{
		// The date says 10, so its clock is in [10, 11) at some moment of [9.8, 10.4].
		{"one answer", []answer{{10, 9.8, 10.4}}, -0.4},
		{"a slow answer tells less", []answer{{10, 9.8, 10.4}, {20, 15, 25}}, -0.4},
		{"a quick one tells more", []answer{{10, 9.8, 10.4}, {20, 20, 20.1}}, -0.1},
		{"ahead by 100", []answer{{110, 9.8, 10.4}}, 99.6},
		{"behind by 100", []answer{{-90, 9.8, 10.4}}, -100.4},
		{"many seconds narrow it", []answer{{10, 10.0, 10.05}, {11, 11.7, 11.75}, {12, 12.95, 12.99}}, -0.05},
		{"a clock that was set: the last answer counts", []answer{{10, 10, 10.1}, {120, 20, 20.1}}, 99.9},
		{"set back", []answer{{120, 20, 20.1}, {10, 30, 30.1}}, -20.1},
	}
	for _, tc := range cases {
		var c DateClock
		for _, a := range tc.answers {
			c.Saw(at(a.date), at(a.sent), at(a.received))
		}
		want := at(tc.want).Sub(now)
		if got := c.Skew(); (got.Low - want).Abs() > time.Millisecond {
			t.Errorf("%s: %v: ahead by %v at least, want %v", tc.name, tc.answers, got.Low, want)
		}
	}
}

func TestAnAnswerWithoutADateDoesNotCount(t *testing.T) {
	var c DateClock
	c.Saw(time.Time{}, now, now)
	c.Saw(now, time.Time{}, now)
	c.Saw(now, now, time.Time{})
	if got := c.Skew(); got != nil {
		t.Errorf("%+v, want nothing", got)
	}
	if got := c.Latest(now); !got.Equal(now.Add(wellSet)) {
		t.Errorf("the latest is %v, want %v", got, now.Add(wellSet))
	}
}

// TestTheBoundsOfTheDateHeaderHoldTheTruth tries various clock differences and answer
// times.
func TestTheBoundsOfTheDateHeaderHoldTheTruth(t *testing.T) {
	for ahead := -3 * time.Second; ahead <= 3*time.Second; ahead += 170 * time.Millisecond {
		var c DateClock
		ours := now
		for i := range 200 {
			sent := ours
			served := sent.Add(time.Duration(i%7) * 90 * time.Millisecond)
			received := served.Add(time.Duration(i%5) * 110 * time.Millisecond)
			c.Saw(served.Add(ahead).Truncate(time.Second), sent, received)
			ours = received.Add(time.Duration(i%11) * 37 * time.Millisecond)
			if got := c.Skew(); got.Low > ahead || got.High < ahead {
				t.Fatalf("ahead by %v, after %d answers: %+v", ahead, i+1, got)
			}
		}
		if got := c.Skew(); ahead-got.Low > 500*time.Millisecond {
			t.Errorf("ahead by %v: after 200 answers %+v, want it closer", ahead, got)
		}
	}
}
