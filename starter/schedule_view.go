package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// nextTime is the next time as text.
func (v scheduleView) nextTime() string {
	if len(v.Next) == 0 {
		return "unknown"
	}
	return clockTime(v.Next[0])
}

func clockTime(t time.Time) string { return t.Format("Mon 2006-01-02 15:04 MST") }

// state is the next time, or that the schedule is paused.
func (v scheduleView) state() string {
	if v.Paused {
		return "paused"
	}
	return v.nextTime()
}

func (v scheduleView) text(w io.Writer) error {
	var times []string
	for _, t := range v.Next {
		times = append(times, clockTime(t))
	}
	lines := [][2]string{{"schedule", v.ID}, {"takes", v.What}, {"results", v.Schedule.Options.OutputDir}, {"when", v.Cron + " " + v.TimeZone}}
	if v.Jitter != "0s" {
		lines = append(lines, [2]string{"jitter", v.Jitter})
	}
	if v.Paused {
		lines = append(lines, [2]string{"state", "paused; starter schedule unpause " + v.ID + " resumes it"})
	} else {
		lines = append(lines, [2]string{"state", "active"})
	}
	if v.Note != "" {
		lines = append(lines, [2]string{"note", v.Note})
	}
	lines = append(lines, [2]string{"next", strings.Join(times, "\n\t")})
	if v.Last != nil {
		lines = append(lines, [2]string{"last run", clockTime(v.Last.At.UTC()) + "  " + v.Last.WorkflowID})
	}
	for _, id := range v.Running {
		lines = append(lines, [2]string{"runs now", id})
	}
	lines = append(lines, [2]string{"runs", fmt.Sprintf("%d started, %d missed while no service ran, %d skipped because the previous one still ran", v.Runs, v.Missed, v.Skipped)})
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		fmt.Fprintf(t, "%s\t%s\n", l[0], l[1])
	}
	return t.Flush()
}

func writeSchedules(w io.Writer, views []scheduleView) error {
	if len(views) == 0 {
		_, err := fmt.Fprintln(w, "There are no schedules; starter schedule create makes one.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "schedule\twhen\tnext\ttakes\tnote\n")
	for _, v := range views {
		fmt.Fprintf(t, "%s\t%s %s\t%s\t%s\t%s\n", v.ID, v.Cron, v.TimeZone, v.state(), v.What, v.Note)
	}
	return t.Flush()
}
