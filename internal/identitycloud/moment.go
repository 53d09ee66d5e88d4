package identitycloud

import (
	"strings"
	"time"
)

// Moment is a time with the precision of its text: a value without a fraction means its whole second, a date its whole day.
// This assumes that the rest was cut off, not rounded. The zero Moment means no time.
type Moment struct {
	// Earliest and Latest are the first and the last nanosecond that the value may mean, in UTC.
	Earliest, Latest time.Time
}

// IsZero reports whether there is no time: the attribute was missing, null, or in a format that ParseMoment does not know.
func (m Moment) IsZero() bool { return m.Earliest.IsZero() }

// Overlaps reports whether both may mean the same time, as "2015-12-15 07:36:25" and "2015-12-15 07:36:25.120000 +0000" do.
// A zero Moment overlaps nothing.
func (m Moment) Overlaps(o Moment) bool {
	return !m.IsZero() && !o.IsZero() && !m.Earliest.After(o.Latest) && !o.Earliest.After(m.Latest)
}

// ParseMoment parses a date or dateTime in the documented formats of Identity Cloud: "2012-06-13 18:02:56.012122 +0000", also
// without the fraction or the zone (then UTC), with T for the blank, with Z for the zone, and the date alone.
func ParseMoment(s string) (Moment, bool) {
	for _, layout := range []string{
		"2006-01-02 15:04:05 -0700",
		"2006-01-02 15:04:05",
		"2006-01-02 15:04:05Z07:00",
		"2006-01-02T15:04:05Z07:00",
		"2006-01-02T15:04:05-0700",
		"2006-01-02T15:04:05",
		time.DateOnly,
	} {
		t, err := time.Parse(layout, s) // which accepts a fraction after the seconds in every layout
		if err != nil {
			continue
		}
		width := time.Second
		if layout == time.DateOnly {
			width = 24 * time.Hour
		}
		if at := strings.IndexAny(s, ".,"); at >= 0 {
			for i := at + 1; i < len(s) && s[i] >= '0' && s[i] <= '9' && width > 1; i++ {
				width /= 10
			}
		}
		t = t.UTC()
		return Moment{Earliest: t, Latest: t.Add(width - 1)}, true
	}
	return Moment{}, false
}
