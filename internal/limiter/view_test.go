package limiter

import (
	"testing"
	"time"
)

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
