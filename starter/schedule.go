package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/session"
	"durable-dataload/workflows"
)

func scheduleError(id string, err error) error {
	var notFound *serviceerror.NotFound
	if errors.As(err, &notFound) {
		return fmt.Errorf("there is no schedule %s; see starter schedule list", id)
	}
	return fmt.Errorf("the Temporal service rejected the request for the schedule %s: %w", id, err)
}

// The fields of the memo of a schedule. The service stores the cron text in another form.
const (
	memoWhat = "what"
	memoCron = "cron"
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

	*scheduleDetails
}

// scheduleDetails are missing in a list.
type scheduleDetails struct {
	Jitter         string             `json:"jitter"`
	CatchUp        string             `json:"catch_up"`
	PauseOnFailure bool               `json:"pause_on_failure"`
	TaskQueue      string             `json:"task_queue"`
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
	v.What, v.Cron = text(memo, memoWhat), text(memo, memoCron)
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
	v.Paused, v.Note = d.Schedule.State.Paused, d.Schedule.State.Note
	v.scheduleDetails = &scheduleDetails{
		Jitter: d.Schedule.Spec.Jitter.String(), CatchUp: d.Schedule.Policy.CatchupWindow.String(), PauseOnFailure: d.Schedule.Policy.PauseOnFailure,
		TaskQueue: action.TaskQueue, Running: []string{},
		Runs: d.Info.NumActions, Missed: d.Info.NumActionsMissedCatchupWindow, Skipped: d.Info.NumActionsSkippedOverlap,
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
