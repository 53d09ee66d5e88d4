package migration

import (
	"fmt"
	"strconv"
	"strings"
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
		return int(m.percent / 100 * float64(records)), true
	}
	return m.records, true
}
