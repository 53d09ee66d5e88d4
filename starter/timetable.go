package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // zones by name, also on a system without a database of them

	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/server/service/worker/scheduler"
)

// timetable has the times of a schedule, without its jitter.
type timetable struct {
	cron, zone string
	location   *time.Location
	compiled   *scheduler.CompiledSpec
}

var cronWords = []string{"@hourly", "@daily", "@weekly", "@monthly", "@yearly"}

// parseTimetable parses cron text by the rules of the Temporal service, which differ from
// cron in one point: a day of the month and a day of the week must both match if both are
// restricted.
func parseTimetable(cron, zone string) (timetable, error) {
	t := timetable{cron: strings.Join(strings.Fields(cron), " "), zone: zone}
	if len(strings.Fields(cron)) != 5 && !slices.Contains(cronWords, t.cron) || strings.ContainsAny(cron, "=#") {
		return t, fmt.Errorf(`--cron is %q; expected minute, hour, day of the month, month and day of the week, as "0 2 * * *" for every night at two, or one of %s`, cron, strings.Join(cronWords, ", "))
	}
	var err error
	if t.location, err = time.LoadLocation(zone); err != nil || zone == "Local" {
		return t, fmt.Errorf("--time-zone is %q; expected a name of the time zone database, as Europe/Berlin or UTC", zone)
	}
	unlimited := func() int { return 0 }
	t.compiled, err = scheduler.NewSpecBuilder(unlimited, unlimited).NewCompiledSpec(&schedulepb.ScheduleSpec{CronString: []string{t.cron}, TimezoneName: zone})
	if err != nil {
		return t, fmt.Errorf("--cron %q: %w", cron, err)
	}
	if len(t.next(time.Now(), 1)) == 0 {
		return t, fmt.Errorf("--cron %q: %w", cron, errors.New("it never occurs; expected a time in the future"))
	}
	return t, nil
}

// next returns the next n times after a time.
func (t timetable) next(after time.Time, n int) (times []time.Time) {
	for len(times) < n {
		next, err := t.compiled.GetNextTime("", after)
		if err != nil || next.Nominal.IsZero() {
			break
		}
		after = next.Nominal
		times = append(times, after.In(t.location))
	}
	return times
}
