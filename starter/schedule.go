package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/server/service/worker/scheduler"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/session"
	"durable-dataload/workflows"
)

// scheduleError is the error for what the service answers to a request; nil stays nil.
func scheduleError(id string, err error) error {
	var notFound *serviceerror.NotFound
	switch {
	case err == nil:
		return nil
	case errors.As(err, &notFound):
		return fmt.Errorf("there is no schedule %s; see starter schedule list", id)
	}
	return fmt.Errorf("the Temporal service rejected the request for the schedule %s: %w", id, err)
}

// The fields of the memo of a schedule. The service stores the cron text in another form.
const (
	memoWhat  = "what"
	memoCron  = "cron"
	memoQueue = "task_queue"
)

// scheduleView is a schedule as it is shown and as scripts read it.
type scheduleView struct {
	ID       string      `json:"id"`
	What     string      `json:"what"`
	Cron     string      `json:"cron"`
	TimeZone string      `json:"time_zone"`
	Paused   bool        `json:"paused"`
	Note     string      `json:"note"`
	Next     []time.Time `json:"next"` // as if it were not paused
	Last     *lastRun    `json:"last"`

	TaskQueue string `json:"task_queue"`
	Unpolled  string `json:"unpolled_task_queue,omitempty"` // the same, if no worker polls it

	*scheduleDetails
}

// scheduleDetails are missing in a list.
type scheduleDetails struct {
	Jitter         string             `json:"jitter"`
	CatchUp        string             `json:"catch_up"`
	PauseOnFailure bool               `json:"pause_on_failure"`
	Running        []string           `json:"running"` // workflow ids
	Runs           int                `json:"runs"`
	Missed         int                `json:"missed"`  // by more than catch_up
	Skipped        int                `json:"skipped"` // because the previous run had not ended
	Schedule       migration.Schedule `json:"schedule"`
}

// lastRun is the run that was started last.
type lastRun struct {
	At         time.Time `json:"at"`
	WorkflowID string    `json:"workflow_id"`
}

const shownTimes = 5

func (v *scheduleView) complete(memo *commonpb.Memo, spec *client.ScheduleSpec, recent []client.ScheduleActionResult) {
	v.What, v.Cron, v.TaskQueue = text(memo, memoWhat), text(memo, memoCron), text(memo, memoQueue)
	v.TimeZone, v.Next = spec.TimeZoneName, []time.Time{}
	if v.TimeZone == "" {
		v.TimeZone = "UTC"
	}
	if times, err := parseTimetable(v.Cron, v.TimeZone); err == nil {
		v.Next = times.next(time.Now(), shownTimes)
	}
	if n := len(recent); n > 0 {
		last := recent[n-1]
		v.Last = &lastRun{At: last.ActualTime, WorkflowID: last.StartWorkflowResult.WorkflowID}
	}
}

func text(memo *commonpb.Memo, name string) (value string) {
	_ = converter.GetDefaultDataConverter().FromPayload(memo.GetFields()[name], &value)
	return value
}

func describeSchedule(ctx context.Context, handle client.ScheduleHandle) (scheduleView, error) {
	v := scheduleView{ID: handle.GetID()}
	d, err := handle.Describe(ctx)
	if err != nil {
		return v, scheduleError(v.ID, err)
	}
	action, ok := d.Schedule.Action.(*client.ScheduleWorkflowAction)
	if !ok || action.Workflow != "ScheduledMigrationWorkflow" {
		return v, fmt.Errorf("the schedule %s is not of this program; expected one that starter schedule create has made", v.ID)
	}
	v.complete(d.Memo, d.Schedule.Spec, d.Info.RecentActions)
	v.Paused, v.Note, v.TaskQueue = d.Schedule.State.Paused, d.Schedule.State.Note, action.TaskQueue
	v.scheduleDetails = &scheduleDetails{
		Jitter: d.Schedule.Spec.Jitter.String(), CatchUp: d.Schedule.Policy.CatchupWindow.String(), PauseOnFailure: d.Schedule.Policy.PauseOnFailure,
		Running: []string{},
		Runs:    d.Info.NumActions, Missed: d.Info.NumActionsMissedCatchupWindow, Skipped: d.Info.NumActionsSkippedOverlap,
	}
	for _, w := range d.Info.RunningWorkflows {
		v.Running = append(v.Running, w.WorkflowID)
	}
	var in workflows.ScheduledInput
	if payload, ok := action.Args[0].(*commonpb.Payload); ok {
		if err := converter.GetDefaultDataConverter().FromPayload(payload, &in); err != nil {
			return v, fmt.Errorf("the schedule %s was made by another version of this program (%w); delete it and create it again", v.ID, err)
		}
	}
	v.Schedule = in.Schedule
	return v, nil
}

// listSchedules returns the schedules of this program, by name.
func listSchedules(ctx context.Context, s *session.Service) ([]scheduleView, error) {
	views := []scheduleView{}
	list, err := s.Client.ScheduleClient().List(ctx, client.ScheduleListOptions{})
	if err != nil {
		return nil, fmt.Errorf("the Temporal service does not list its schedules: %w", err)
	}
	for list.HasNext() {
		e, err := list.Next()
		if err != nil {
			return nil, fmt.Errorf("the Temporal service does not list its schedules: %w", err)
		}
		if e.WorkflowType.Name != "ScheduledMigrationWorkflow" {
			continue
		}
		v := scheduleView{ID: e.ID, Paused: e.Paused, Note: e.Note}
		v.complete(e.Memo, e.Spec, e.RecentActions)
		views = append(views, v)
	}
	slices.SortFunc(views, func(a, b scheduleView) int { return strings.Compare(a.ID, b.ID) })
	return views, nil
}

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

func (v scheduleView) text(w io.Writer, s *session.Service) error {
	var times []string
	for _, t := range v.Next {
		times = append(times, clockTime(t))
	}
	lines := [][2]string{{"schedule", v.ID}, {"takes", v.What}, {"results", v.Schedule.Options.OutputDir}, {"when", v.Cron + " " + v.TimeZone}, {"task queue", v.TaskQueue}}
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
		at := v.Last.At.UTC()
		if zone, err := time.LoadLocation(v.TimeZone); err == nil {
			at = at.In(zone)
		}
		lines = append(lines, [2]string{"last run", clockTime(at) + "  " + v.Last.WorkflowID})
	}
	for _, id := range v.Running {
		lines = append(lines, [2]string{"runs now", id})
	}
	lines = append(lines, [2]string{"runs", fmt.Sprintf("%d started, %d missed while no service ran, %d skipped because the previous one still ran", v.Runs, v.Missed, v.Skipped)})
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		fmt.Fprintf(t, "%s\t%s\n", l[0], l[1])
	}
	return errors.Join(t.Flush(), writeUnpolled(w, s, []scheduleView{v}))
}

// writeUnpolled says which schedules wait for a worker, a line each.
func writeUnpolled(w io.Writer, s *session.Service, views []scheduleView) error {
	var err error
	for _, v := range views {
		if v.Unpolled != "" {
			_, writeErr := fmt.Fprintln(w, v.unpolledText(s))
			err = errors.Join(err, writeErr)
		}
	}
	return err
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
