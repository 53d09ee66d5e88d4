package migration

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The names of the settings that can be changed while a migration runs, as on
// its command line.
const (
	SettingRate      = "rate"
	SettingRatePlan  = "rate-plan"
	SettingWorkers   = "workers"
	SettingBreaker   = "breaker"
	SettingMaxFailed = "max-failed"
)

// Settings are the names, in the order in which they are shown.
var Settings = []string{SettingRate, SettingRatePlan, SettingWorkers, SettingBreaker, SettingMaxFailed}

// MaxFailed is how many records may fail: a number, or a share of all.
type MaxFailed struct {
	records int
	percent float64 // counts unless it is 0
	none    bool    // any number may fail
}

// ParseMaxFailed reads "120", "2%" (of the records that are loaded) or "", which
// is any number.
func ParseMaxFailed(text string) (MaxFailed, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return MaxFailed{none: true}, nil
	}
	if number, ok := strings.CutSuffix(text, "%"); ok {
		percent, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(percent >= 0 && percent <= 100) {
			return MaxFailed{}, fmt.Errorf("the most records that may fail are %q; expected 0%% to 100%%", text)
		}
		return MaxFailed{percent: percent}, nil
	}
	records, err := strconv.Atoi(text)
	if err != nil || records < 0 {
		return MaxFailed{}, fmt.Errorf("the most records that may fail are %q; expected a number, or a part of all records as in 2%%", text)
	}
	return MaxFailed{records: records}, nil
}

// Of returns how many of so many records may fail; limited is false where any
// number may.
func (m MaxFailed) Of(records int) (most int, limited bool) {
	switch {
	case m.none:
		return 0, false
	case m.percent > 0:
		return int(m.percent * float64(records) / 100 * (1 + 1e-14)), true // 2.01 % of 10,000 are 201, and 200.99999999999997 by floats
	}
	return m.records, true
}

// Limits bound the calls of a run into its target.
type Limits struct {
	RateLimit float64 `json:"rate_limit"`          // calls a second, 0 = no limit
	RatePlan  string  `json:"rate_plan,omitempty"` // a timetable of the rate, which holds beside RateLimit: see limiter.ParsePlan
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
