package main

import (
	"testing"
	"time"

	"durable-dataload/internal/proof/check"
)

// The window is from second 5 to second 15; the answer to the pause comes half a second later.
func TestThePaceIsMeasuredInWholeIntervals(t *testing.T) {
	begin := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	at := func(seconds float64) time.Time { return begin.Add(time.Duration(seconds * float64(time.Second))) }
	every := func(from, to, step float64) (m check.Moments) {
		for s := from; s < to; s += step {
			m = append(m, at(s))
		}
		return m
	}
	for name, c := range map[string]struct {
		arrivals, requests check.Moments
		want               paced
	}{
		"the limit is used": {
			every(0.125, 15.25, 0.25), every(0, 20, 0.125),
			paced{perSecond: 4, requests: 2, most: 4, lastCall: 125 * time.Millisecond},
		},
		"nothing comes in half of the window": {
			every(0, 10, 0.25), nil,
			paced{perSecond: 2, most: 4},
		},
		"nothing comes after the order": {
			every(0, 15, 0.5), nil,
			paced{perSecond: 2, most: 2},
		},
		"calls come after the answer": {
			every(0, 16.25, 0.5), nil,
			paced{perSecond: 2, most: 2, lastCall: time.Second, late: 1},
		},
	} {
		c.want.answer = 500 * time.Millisecond
		if got := figuresOf(c.arrivals, c.requests, at(5), at(15), at(15.5)); got != c.want {
			t.Errorf("%s: %+v; want %+v", name, got, c.want)
		}
	}
}
