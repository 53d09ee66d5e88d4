package main

import (
	"time"
)

// meter measures how fast a number grows.
type meter struct{ samples []sample }

// sample is how many were done at a time.
type sample struct {
	at   time.Time
	done int
}

// rateWindow is over which time the speed is taken.
const rateWindow = 30 * time.Second

func (m *meter) add(done int) {
	now := time.Now()
	if n := len(m.samples); n > 0 && done < m.samples[n-1].done {
		m.samples = nil // another round
	}
	m.samples = append(m.samples, sample{now, done})
	for len(m.samples) > 2 && now.Sub(m.samples[0].at) > rateWindow {
		m.samples = m.samples[1:]
	}
}

// perSecond is 0 where there is nothing to tell yet.
func (m *meter) perSecond() float64 {
	if len(m.samples) == 0 {
		return 0
	}
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	if last.at.Sub(first.at) < time.Second {
		return 0
	}
	return float64(last.done-first.done) / last.at.Sub(first.at).Seconds()
}
