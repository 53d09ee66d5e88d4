package terminal

import (
	"testing"
	"time"
)

func TestTheMeterTakesTheLastHalfMinute(t *testing.T) {
	var m Meter
	now := time.Now()
	m.Add(now.Add(-40*time.Second), 0)
	m.Add(now.Add(-20*time.Second), 100)
	m.Add(now, 200)
	if got := m.PerSecond(); got < 4.9 || got > 5.1 || len(m.samples) != 2 {
		t.Errorf("%v a second of %d samples, want 5 of the last 2", got, len(m.samples))
	}
	m.Add(now, 3) // another round
	if got := m.PerSecond(); got != 0 {
		t.Errorf("%v a second after the first sample of a round, want 0", got)
	}
}
