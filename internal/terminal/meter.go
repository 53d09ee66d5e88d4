package terminal

import "time"

// Meter measures how fast a number grows.
type Meter struct{ samples []sample }

// sample is how many were done at a time.
type sample struct {
	at   time.Time
	done int
}

// rateWindow is over which time the speed is taken.
const rateWindow = 30 * time.Second

// Add says how many are done now. A lower number than before begins again.
func (m *Meter) Add(now time.Time, done int) {
	if n := len(m.samples); n > 0 && done < m.samples[n-1].done {
		m.samples = nil
	}
	m.samples = append(m.samples, sample{now, done})
	for len(m.samples) > 2 && now.Sub(m.samples[0].at) > rateWindow {
		m.samples = m.samples[1:]
	}
}

// PerSecond is the speed over the last samples, 0 while they span less than a second.
func (m *Meter) PerSecond() float64 {
	if len(m.samples) == 0 {
		return 0
	}
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	if last.at.Sub(first.at) < time.Second {
		return 0
	}
	return float64(last.done-first.done) / last.at.Sub(first.at).Seconds()
}
