package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestATimetableIsWhatTheServiceMakesOfCron(t *testing.T) {
	after := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC) // a Sunday
	for _, c := range []struct {
		cron, zone string
		want       []string
	}{
		{"0 2 * * *", "Europe/Berlin", []string{"2026-11-23T02:00:00+01:00", "2026-11-24T02:00:00+01:00"}},
		{"0 2 * * *", "UTC", []string{"2026-11-23T02:00:00Z", "2026-11-24T02:00:00Z"}},
		{"  */30   9-17 * * MON-FRI ", "UTC", []string{"2026-11-23T09:00:00Z", "2026-11-23T09:30:00Z"}},
		{"@daily", "America/New_York", []string{"2026-11-23T00:00:00-05:00", "2026-11-24T00:00:00-05:00"}},
		{"@weekly", "UTC", []string{"2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"}},
		// Unlike cron: both must hold.
		{"0 0 13 * 5", "UTC", []string{"2027-08-13T00:00:00Z", "2028-10-13T00:00:00Z"}},
		{"0 0 29 2 *", "UTC", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
	} {
		times, err := parseTimetable(c.cron, c.zone)
		if err != nil {
			t.Errorf("%q %s: %v", c.cron, c.zone, err)
			continue
		}
		var got []string
		for _, next := range times.next(after, 2) {
			got = append(got, next.Format(time.RFC3339))
		}
		if strings.Join(got, " ") != strings.Join(c.want, " ") {
			t.Errorf("%q %s comes at %q; want %q", c.cron, c.zone, got, c.want)
		}
	}
}

func TestATimetableThatCannotBeIsRefused(t *testing.T) {
	for _, c := range []struct{ cron, zone, word string }{
		{"", "UTC", "expected minute, hour"},
		{"0 2 * *", "UTC", "expected minute, hour"},
		{"0 0 2 * * *", "UTC", "expected minute, hour"},
		{"@nightly", "UTC", "@daily"},
		{"@every 5m", "UTC", "@daily"},
		{"CRON_TZ=UTC 0 2 * *", "UTC", "expected minute, hour"},
		{"0 2 * * #", "UTC", "expected minute, hour"},
		{"60 2 * * *", "UTC", "Minute"},
		{"0 2 * * Sumday", "UTC", "DayOfWeek"},
		{"0 2 30 2 *", "UTC", "never occurs"},
		{"0 2 * * *", "Berlin", "Europe/Berlin"},
		{"0 2 * * *", "Local", "Europe/Berlin"},
	} {
		if _, err := parseTimetable(c.cron, c.zone); err == nil || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%q %s: the error is %v; want one with %q", c.cron, c.zone, err, c.word)
		}
	}
}

func TestARelativePatternIsThatOfThisFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop [1]*")
	must(t, os.MkdirAll(filepath.Join(dir, "incoming"), 0o700))
	file := filepath.Join(dir, "incoming", "users.csv")
	must(t, os.WriteFile(file, nil, 0o600))
	t.Chdir(dir)
	pattern, err := absolutePattern("./incoming/*.csv")
	must(t, err)
	if found, err := filepath.Glob(pattern); len(found) != 1 || found[0] != file || err != nil {
		t.Errorf("%s matches %q (%v), want %s", pattern, found, err, file)
	}
}
