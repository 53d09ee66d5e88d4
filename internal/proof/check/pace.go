package check

import (
	"fmt"
	"math"
	"time"
)

// jitter is how much later than it was made a call may be seen, on a machine
// that is busy: so much closer to the next one it comes.
const jitter = 250 * time.Millisecond

// Over returns the seconds in which more calls arrived than a limit of so many a
// second lets through, and the spans of five seconds, in which jitter counts
// less. 0 is no limit.
func (m Moments) Over(rate float64) (broken []Broken) {
	if rate == 0 {
		return nil
	}
	for _, window := range []time.Duration{time.Second, 5 * time.Second} {
		allowed := int(math.Floor(rate*(window+jitter).Seconds())) + 1
		if most, from := m.Most(window); most > allowed {
			broken = append(broken, Broken{RateHolds, fmt.Sprintf("%d calls within %s from %s on; the limit is %g a second",
				most, window, from.Format(time.RFC3339Nano), rate)})
		}
	}
	return broken
}
