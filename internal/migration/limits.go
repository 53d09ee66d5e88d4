package migration

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Limits bound the calls of a run into its target.
type Limits struct {
	RateLimit float64 `json:"rate_limit"`          // calls a second, 0 = no limit
	RatePlan  string  `json:"rate_plan,omitempty"` // a timetable of the rate, which holds beside RateLimit: see pace.ParsePlan
	Workers   int     `json:"workers"`             // calls in flight at most
	Breaker   int     `json:"breaker,omitempty"`   // calls of unknown outcome in a row that open the breaker, 0 = none do
}

// The bounds of the limits and of the records in a call. A rate of 0 is no limit.
const (
	MinRate      = 0.001 // calls a second
	MaxRate      = 100_000
	MaxWorkers   = 1000
	MaxBreaker   = 1000
	MaxBatchSize = 100_000
)

// Time is how long so many calls take, each of this duration: the rate bounds them, or the calls in flight.
func (l Limits) Time(calls int64, each time.Duration) time.Duration {
	total := float64(calls) * each.Seconds() / float64(max(1, l.Workers))
	if l.RateLimit > 0 {
		total = max(total, float64(calls)/l.RateLimit)
	}
	return time.Duration(min(total*float64(time.Second), math.MaxInt64/2))
}

// CheckRate says why a rate limit cannot be used.
func CheckRate(perSecond float64) error {
	if perSecond == 0 || perSecond >= MinRate && perSecond <= MaxRate {
		return nil
	}
	return fmt.Errorf("the rate limit is %v; expected %v to %d calls a second, or 0 for no limit", perSecond, MinRate, MaxRate)
}

// ParseRate reads a rate limit: calls a second, 0 for no limit.
func ParseRate(text string) (float64, error) {
	perSecond, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		return 0, fmt.Errorf("the rate limit is %q; expected a number of calls a second", text)
	}
	return perSecond, CheckRate(perSecond)
}

// ParseWorkers reads how many calls may be in flight.
func ParseWorkers(text string) (int, error) {
	return parseWhole("the number of workers", text, 1, MaxWorkers)
}

// ParseBreaker reads how many calls of unknown outcome in a row open the
// breaker; 0 is none.
func ParseBreaker(text string) (int, error) {
	return parseWhole("the breaker", text, 0, MaxBreaker)
}

func parseWhole(what, text string, low, high int) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%s is %q; expected %d to %d", what, text, low, high)
	}
	return n, nil
}
