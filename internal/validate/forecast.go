package validate

import (
	"time"

	"durable-dataload/internal/migration"
)

// Pace is how fast calls may be made.
type Pace struct {
	migration.Limits
	Timeout time.Duration // of a call
}

// forecast says how long calls take. A call that loads records takes longer than a harmless one, which took callTime
// (0 if it was not measured), and at most the timeout.
func (p Pace) forecast(calls, records int64, callTime time.Duration) Forecast {
	return Forecast{
		Calls:    calls,
		AtLeast:  seconds(p.Time(calls, callTime)),
		AtMost:   seconds(p.Time(calls, p.Timeout)),
		Delta:    seconds(p.Time(records, p.Timeout)),
		CallTime: seconds(callTime),
	}
}
