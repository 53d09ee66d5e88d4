package artifacts

import (
	"math"
	"strconv"
	"time"

	"durable-dataload/internal/figures"
)

func round1(f float64) float64 { return math.Round(f*10) / 10 }

func clock(t time.Time) string { return t.UTC().Format("2 Jan 15:04:05") }

func number1(f float64) string { return strconv.FormatFloat(round1(f), 'f', -1, 64) }

func records(f float64) string {
	if text := figures.Figure(f); text != "1" {
		return text + " records"
	}
	return "1 record"
}

// brief is a duration for people, to two digits.
func brief(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return strconv.FormatInt(d.Microseconds(), 10) + " µs"
	case d < time.Second:
		return strconv.FormatFloat(float64(d)/1e6, 'f', digitsBehind(float64(d)/1e6), 64) + " ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', digitsBehind(d.Seconds()), 64) + " s"
}

func digitsBehind(f float64) int {
	if f < 10 && f != math.Trunc(f) {
		return 1
	}
	return 0
}
