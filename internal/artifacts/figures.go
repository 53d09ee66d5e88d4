package artifacts

import (
	"math"
	"strconv"
	"time"
)

func round1(f float64) float64 { return math.Round(f*10) / 10 }

func clock(t time.Time) string { return t.UTC().Format("2 Jan 15:04:05") }

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return number(n) + " " + what
}

func number1(f float64) string { return strconv.FormatFloat(round1(f), 'f', -1, 64) }

// figure is a number for people: three digits, or all before the point.
func figure(f float64) string {
	switch {
	case f >= 100:
		return number(int(math.Round(f)))
	case f >= 10 || f == 0:
		return number1(f)
	}
	return strconv.FormatFloat(f, 'g', 2, 64)
}

func records(f float64) string {
	if text := figure(f); text != "1" {
		return text + " records"
	}
	return "1 record"
}

// number has its thousands apart.
func number(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// brief is a time for people: two digits.
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
