package sandbox

import "time"

// dateLayouts are the forms in which the API takes a date: blank or T between date and time, with or without a
// fraction (Go's parser takes one anywhere after the seconds) and a zone.
var dateLayouts = []string{
	"2006-01-02 15:04:05",
	"2006-01-02 15:04:05 -0700",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05-0700",
	"2006-01-02 15:04:05 Z07:00",
	"2006-01-02T15:04:05Z07:00",
	"2006-01-02T15:04:05",
	"2006-01-02T15:04:05-0700",
	"2006-01-02T15:04:05 -0700",
	"2006-01-02",
	"20060102",
}

// parseDate reads a date without a zone as UTC, and cuts it to the API's microseconds.
func parseDate(s string) (time.Time, bool) {
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC().Truncate(time.Microsecond), true
		}
	}
	return time.Time{}, false
}

// formatTime prints a dateTime as the API does: 2012-06-13 18:02:56.012122 +0000, without a fraction if it is zero.
func formatTime(t time.Time) string {
	t = t.UTC()
	if t.Nanosecond() == 0 {
		return t.Format("2006-01-02 15:04:05 -0700")
	}
	return t.Format("2006-01-02 15:04:05.000000 -0700")
}

// formatDate prints a date as the API does.
func formatDate(t time.Time) string {
	return t.UTC().Format("2006-01-02")
}
