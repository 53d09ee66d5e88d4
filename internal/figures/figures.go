// Package figures formats numbers for people: every printed count, rate and
// share goes through it.
package figures

import (
	"math"
	"strconv"
	"strings"
)

type integer interface{ ~int | ~int64 }

// Number formats n with separators of thousands: "8,000".
func Number[N integer](n N) string {
	digits, sign := strconv.FormatInt(int64(n), 10), ""
	if n < 0 {
		digits, sign = digits[1:], "-"
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// Count formats a number with its noun, whose plural ends in s or, after ch, in es: "1 record", "8,000 records", "2 batches".
func Count[N integer](n N, noun string) string {
	many := noun + "s"
	if strings.HasSuffix(noun, "ch") {
		many = noun + "es"
	}
	return Number(n) + " " + Plural(n, noun, many)
}

// Plural returns the first word for 1 and the second for any other number.
func Plural[N integer](n N, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// Figure formats a number with three significant digits, or all digits before the point: "0.25", "2", "12.5",
// "100,000,000". A positive number below 0.01 is "< 0.01".
func Figure(f float64) string {
	switch {
	case f > 0 && f < 0.01:
		return "< 0.01"
	case f >= 100:
		return Number(int64(math.Round(f)))
	case f >= 10:
		return trimmed(f, 1)
	}
	return trimmed(f, 2)
}

// Rate formats calls a second: "1 call a second", "2.5 calls a second".
func Rate(perSecond float64) string {
	text := Figure(perSecond)
	if text == "1" {
		return "1 call a second"
	}
	return text + " calls a second"
}

func trimmed(f float64, digits int) string {
	text := strconv.FormatFloat(f, 'f', digits, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	}
	return text
}
