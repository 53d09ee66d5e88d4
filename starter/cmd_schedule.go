package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/session"
	"durable-dataload/internal/stage"
	"durable-dataload/internal/store"
	"durable-dataload/internal/telemetry"
	"durable-dataload/internal/terminal"
	"durable-dataload/workflows"
)

// catchUp is how late a run may begin that was due while no service ran.
const catchUp = time.Hour

// newScheduleCommand has what makes and keeps schedules.
func newScheduleCommand(stderr io.Writer) *cobra.Command {
	command := &cobra.Command{
		Use:   "schedule",
		Short: "Migrate the files that are new, night by night",
		Long: `Migrate the files that are new, night by night.

A schedule fires while starter serve runs on the same state folder, or where --address names a Temporal service.`,
		Args: noArguments(""),
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(
		newScheduleCreate(stderr), newScheduleList(), newScheduleDescribe(), newSchedulePause(), newScheduleUnpause(),
		newScheduleTrigger(), newScheduleBackfill(), newScheduleDelete(),
	)
	return command
}

// oneID takes the name of the schedule as the only argument.
func oneID(_ *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usage("expected the name of one schedule, found %s", figures.Count(len(args), "argument"))
	}
	if !safetext.IsID(args[0]) {
		return usage("%q cannot be the name of a schedule; expected letters from a to z, digits, and . _ - : / after the first of them", args[0])
	}
	return nil
}

// withSchedules opens the service for a command, and closes it again.
func withSchedules(ctx context.Context, h home, o serviceOptions, watched telemetry.Options, run func(context.Context, *session.Service) error) error {
	logger, closeLog, err := session.OpenLog(h.stateDir, watched)
	if err != nil {
		return err
	}
	defer closeLog()
	s, err := session.Open(ctx, session.Process{Log: logger}, o.session(h))
	if err != nil {
		return err
	}
	defer s.Close()
	return run(ctx, s)
}

// schedulesOptions say which service has the schedules.
type schedulesOptions struct {
	home
	serviceOptions
}

func (o *schedulesOptions) addFlags(f *pflag.FlagSet) {
	o.addStateDirFlag(f, "folder for the state: ledger and embedded engine")
	o.temporal.AddFlags(f)
}

// newOnSchedule makes a command that does something with one schedule that is
// there, and says in a sentence what has come of it.
func newOnSchedule(use, short string, flags func(*pflag.FlagSet), do func(context.Context, *session.Service, client.ScheduleHandle, scheduleView) (string, error)) *cobra.Command {
	var o schedulesOptions
	command := &cobra.Command{
		Use: use + " ID", Short: short, Args: oneID,
		RunE: func(command *cobra.Command, args []string) error {
			if err := o.completeStateDir(os.Getenv); err != nil {
				return err
			}
			return withSchedules(command.Context(), o.home, o.serviceOptions, telemetry.Options{}, func(ctx context.Context, s *session.Service) error {
				handle := s.Client.ScheduleClient().GetHandle(ctx, args[0])
				view, err := describeSchedule(ctx, handle)
				if err != nil {
					return err
				}
				text, err := do(ctx, s, handle, view)
				if err != nil {
					return scheduleError(args[0], err)
				}
				fmt.Fprintln(command.OutOrStdout(), text)
				return nil
			})
		},
	}
	command.Flags().SortFlags = false
	if flags != nil {
		flags(command.Flags())
	}
	o.addFlags(command.Flags())
	return command
}

func scheduleError(id string, err error) error {
	var notFound *serviceerror.NotFound
	if errors.As(err, &notFound) {
		return fmt.Errorf("there is no schedule %s; see starter schedule list", id)
	}
	return fmt.Errorf("the Temporal service does not do that with the schedule %s: %w", id, err)
}

// reasonFlag adds the option that says why, for those who look at the schedule
// later.
func reasonFlag(reason *string) func(*pflag.FlagSet) {
	return func(f *pflag.FlagSet) {
		f.StringVar(reason, "reason", "", "why; it is shown with the schedule")
	}
}

func noteOf(what, reason string) string {
	if reason == "" {
		return what
	}
	return what + ": " + reason
}

func newSchedulePause() *cobra.Command {
	var reason string
	return newOnSchedule("pause", "Let a schedule rest; a run that goes on comes to its end", reasonFlag(&reason),
		func(ctx context.Context, _ *session.Service, handle client.ScheduleHandle, v scheduleView) (string, error) {
			return fmt.Sprintf("The schedule %s is paused.", v.ID), handle.Pause(ctx, client.SchedulePauseOptions{Note: noteOf("paused", reason)})
		})
}

func newScheduleUnpause() *cobra.Command {
	var reason string
	return newOnSchedule("unpause", "Let a schedule that rests go on", reasonFlag(&reason),
		func(ctx context.Context, _ *session.Service, handle client.ScheduleHandle, v scheduleView) (string, error) {
			return fmt.Sprintf("The schedule %s goes on; the next time is %s.", v.ID, v.nextTime()), handle.Unpause(ctx, client.ScheduleUnpauseOptions{Note: noteOf("unpaused", reason)})
		})
}

func newScheduleTrigger() *cobra.Command {
	return newOnSchedule("trigger", "Run a schedule once, now", nil,
		func(ctx context.Context, s *session.Service, handle client.ScheduleHandle, v scheduleView) (string, error) {
			if err := handle.Trigger(ctx, client.ScheduleTriggerOptions{Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE}); err != nil {
				return "", err
			}
			if len(v.Running) > 0 {
				return fmt.Sprintf("The schedule %s runs once more when %s has ended.", v.ID, v.Running[0]), nil
			}
			return fmt.Sprintf("The schedule %s runs.%s", v.ID, waitsForWorker(ctx, s, v.TaskQueue)), nil
		})
}

// waitsForWorker says so where nobody works for the schedules.
func waitsForWorker(ctx context.Context, s *session.Service, taskQueue string) string {
	if s.PolledBy(ctx, taskQueue) != "" {
		return ""
	}
	return " No worker polls its task queue " + taskQueue + ": it waits for starter serve."
}

func newScheduleBackfill() *cobra.Command {
	var from, to string
	return newOnSchedule("backfill", "Run a schedule for the times that have passed, one run after the other", func(f *pflag.FlagSet) {
		f.StringVar(&from, "from", "", "first time: a date, or as 2026-11-22T02:00:00Z; a date counts in the zone of the schedule")
		f.StringVar(&to, "to", "", "last time; of a date, its end")
	}, func(ctx context.Context, s *session.Service, handle client.ScheduleHandle, v scheduleView) (string, error) {
		times, err := parseTimetable(v.Cron, v.TimeZone)
		if err != nil {
			return "", err
		}
		start, _, err := parseTime("from", from, times.location)
		if err != nil {
			return "", err
		}
		end, isDate, err := parseTime("to", to, times.location)
		if err != nil {
			return "", err
		}
		if isDate {
			end = end.AddDate(0, 0, 1).Add(-time.Second)
		}
		due := len(slices.DeleteFunc(times.next(start.Add(-time.Second), maxBackfill+1), func(t time.Time) bool { return t.After(end) }))
		if due == 0 || due > maxBackfill {
			return "", usage("the schedule has %s from %s to %s; expected 1 to %d (each run takes all files that are new, so one is enough: starter schedule trigger)", figures.Count(due, "time"), from, to, maxBackfill)
		}
		// The service takes the times after the first one.
		err = handle.Backfill(ctx, client.ScheduleBackfillOptions{Backfill: []client.ScheduleBackfill{
			{Start: start.Add(-time.Second), End: end, Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL},
		}})
		return fmt.Sprintf("The schedule %s runs %s, one run after the other.%s", v.ID, figures.Count(due, "time"), waitsForWorker(ctx, s, v.TaskQueue)), err
	})
}

// maxBackfill bounds the runs of one command.
const maxBackfill = 100

func parseTime(flag, text string, zone *time.Location) (t time.Time, isDate bool, err error) {
	if t, err = time.ParseInLocation(time.DateOnly, text, zone); err == nil {
		return t, true, nil
	}
	if t, err = time.Parse(time.RFC3339, text); err == nil {
		return t, false, nil
	}
	return t, false, usage("--%s is %q; expected a date as 2026-11-22, or a time as 2026-11-22T02:00:00Z", flag, text)
}

func newScheduleDelete() *cobra.Command {
	return newOnSchedule("delete", "Delete a schedule; a run that goes on comes to its end, and migrations stay", nil,
		func(ctx context.Context, _ *session.Service, handle client.ScheduleHandle, v scheduleView) (string, error) {
			if err := handle.Delete(ctx); err != nil {
				return "", err
			}
			return fmt.Sprintf("The schedule %s is deleted.", v.ID), v.Schedule.DropOrder()
		})
}

// createOptions are the command line of starter schedule create.
type createOptions struct {
	options
	cron, zone, note string
	jitter, settle   time.Duration
	pauseOnFailure   bool
	keepFiles        bool
}

// newSchedule is a schedule that is to be created.
type newSchedule struct {
	createOptions
	times       timetable
	mappingText []byte
}

func newScheduleCreate(stderr io.Writer) *cobra.Command {
	var o createOptions
	command := &cobra.Command{
		Use:   `create ID --cron "0 2 * * *" --data "incoming/*.csv" [options of the migration]`,
		Short: "Create a schedule",
		Long: `Create a schedule. Each run migrates the files that are new, one after the other, with the options that are given
here. What is new their content says. Files that are still being written wait for the next run.

A file of which every record is in the target is moved to the folder done beside it; one with failed records, or one
that cannot be migrated, to the folder failed. One that is not at its end stays, and the next run goes on.

Credentials are no part of a schedule: starter serve, or the worker, has them.`,
		Example: `  starter schedule create nightly --cron "0 2 * * *" --time-zone Europe/Berlin --data "incoming/*.csv" --output-dir results --apid_uri https://example.janraincapture.com
  starter serve`,
		Args: oneID,
		RunE: func(command *cobra.Command, args []string) error {
			schedule, err := o.complete(command.Flags(), os.Getenv)
			if err != nil {
				return err
			}
			warn(stderr, schedule.credentials.Warnings)
			return withSchedules(command.Context(), schedule.home, schedule.serviceOptions, schedule.watched, func(ctx context.Context, s *session.Service) error {
				if err := schedule.create(ctx, s, args[0]); err != nil {
					return err
				}
				view, err := describeSchedule(ctx, s.Client.ScheduleClient().GetHandle(ctx, args[0]))
				if err != nil {
					return err
				}
				return view.text(command.OutOrStdout())
			})
		},
	}
	f := command.Flags()
	f.SortFlags = false
	f.StringVar(&o.cron, "cron", "", `when, as cron has it: minute, hour, day of the month, month, day of the week; or @daily`)
	f.StringVar(&o.zone, "time-zone", "UTC", "zone that these times are of, as Europe/Berlin")
	f.DurationVar(&o.jitter, "jitter", 0, "begin up to so much later, by chance")
	f.DurationVar(&o.settle, "settle", 10*time.Second, "how long a file must not have changed before it is taken")
	f.BoolVar(&o.keepFiles, "keep-files", false, "leave the files where they are; their content tells that they were migrated")
	f.BoolVar(&o.pauseOnFailure, "pause-on-failure", true, "pause the schedule when a file was not migrated, or not to its end; failed records alone do not count")
	f.StringVar(&o.note, "note", "", "what the schedule is for, in words")
	under(f, "Schedule")
	o.addFlags(f)
	for _, name := range notScheduled {
		if err := f.MarkHidden(name); err != nil {
			panic(err) // there is no such flag
		}
	}
	return command
}

// notScheduled are options of a migration that somebody watches, and of the
// process that works for it: starter serve has those.
var notScheduled = []string{"again", "dry-run", "no-validate", "json", "with-worker", "notify-url", "notify-secret-file", "metrics-address"}

func (o createOptions) complete(f *pflag.FlagSet, getenv func(string) string) (s newSchedule, err error) {
	for _, name := range notScheduled {
		if f.Changed(name) {
			return s, usage("--%s is not for a schedule", name)
		}
	}
	if s.times, err = parseTimetable(o.cron, o.zone); err != nil {
		return s, usage("%w", err)
	}
	if slices.Contains(o.data, stage.Stdin) {
		return s, usage("--data - is standard input; expected files, or a pattern in quotes")
	}
	const day = 24 * 3600
	if err := checkRanges([]optionRange{{"jitter", o.jitter.Seconds(), 0, day}, {"settle", o.settle.Seconds(), 0.1, day}}); err != nil {
		return s, err
	}
	if i := slices.IndexFunc(o.data, store.IsURL); i >= 0 {
		return s, usage("--data %s is a URL, and a schedule looks into folders of the machine that its worker runs on; expected a path; files of a bucket are migrated with starter --data", o.data[i])
	}
	if store.IsURL(o.outputDir) {
		return s, usage("--output-dir %s is a URL, and a schedule keeps its results on the machine that its worker runs on; expected a path", o.outputDir)
	}
	if o.outputDir == "" {
		o.outputDir = "." // on the machine of the worker, also with --work-url
	}
	if err := o.options.complete(f, nil, getenv); err != nil {
		return s, err
	}
	if err := o.require(); err != nil {
		return s, err
	}
	if _, s.mappingText, err = readMappingFile(o.mapping); err != nil {
		return s, err
	}
	for i, pattern := range o.data {
		if o.data[i], err = absolutePattern(pattern); err != nil {
			return s, err
		}
	}
	s.createOptions = o
	return s, nil
}

// absolutePattern is a pattern of files in a folder that is there.
func absolutePattern(pattern string) (string, error) {
	path, err := filepath.Abs(pattern)
	if err != nil {
		return "", err
	}
	if _, err := filepath.Match(path, ""); err != nil {
		return "", usage("--data %s: %w; expected a file, or a pattern with * and ?", pattern, err)
	}
	folder := filepath.Dir(path)
	if info, err := os.Stat(folder); !strings.ContainsAny(folder, `*?[`) && (err != nil || !info.IsDir()) {
		return "", fmt.Errorf("--data %s: there is no folder %s; expected the one that the files come to", pattern, folder)
	}
	return path, nil
}

func (o *newSchedule) create(ctx context.Context, s *session.Service, id string) error {
	if err := o.prove(); err != nil {
		return err
	}
	closeTarget, err := o.openTarget() // a sandbox gets its address at its first start
	if err != nil {
		return err
	}
	closeTarget()
	schedule := migration.Schedule{
		ID: id, Patterns: o.data, Encoding: o.encodingName, StateDir: o.work(), Settle: o.settle, KeepFiles: o.keepFiles, Options: o.spec(o.mappingText),
	}
	schedule.Options.SearchAttributes = s.Attributes
	schedule.Options.Notify = true // who serves it knows whom
	target := fmt.Sprintf("%s (%s)", schedule.Options.Target.Host(), schedule.Options.Target.EntityType)
	what := fmt.Sprintf("%s → %s", safetext.Name(strings.Join(o.data, ", ")), target)
	if err := schedule.Order(); err != nil {
		return fmt.Errorf("cannot keep the options of the schedule: %w", err)
	}
	taskQueue := s.TaskQueue
	if taskQueue == "" {
		taskQueue = workflows.TaskQueue
	}
	_, err = s.Client.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:   id,
		Spec: client.ScheduleSpec{CronExpressions: []string{o.times.cron}, TimeZoneName: o.times.zone, Jitter: o.jitter},
		Action: &client.ScheduleWorkflowAction{
			ID: "scheduled-" + id, Workflow: workflows.ScheduledMigrationWorkflow, Args: []any{workflows.ScheduledInput{Schedule: schedule}},
			TaskQueue: taskQueue, WorkflowTaskTimeout: workflows.TaskTimeout,
			StaticSummary: workflows.Line("%s", what), StaticDetails: fmt.Sprintf("A run of the schedule `%s` (%s %s).", id, o.times.cron, o.times.zone),
		},
		Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP, CatchupWindow: catchUp, PauseOnFailure: o.pauseOnFailure, Note: o.note,
		Memo: map[string]any{memoWhat: what, memoCron: o.times.cron},
	})
	if errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return fmt.Errorf("there is a schedule %s already; delete it, or take another name", id)
	}
	if err != nil {
		return scheduleError(id, err)
	}
	return nil
}

// The memo of a schedule. The service keeps the times of cron in another form.
const (
	memoWhat = "what"
	memoCron = "cron"
)

// scheduleView is a schedule as people and scripts see it.
type scheduleView struct {
	ID       string      `json:"id"`
	What     string      `json:"what"`
	Cron     string      `json:"cron"`
	TimeZone string      `json:"time_zone"`
	Paused   bool        `json:"paused"`
	Note     string      `json:"note"`
	Next     []time.Time `json:"next"` // those that it would have if it were not paused
	Last     *lastRun    `json:"last"`

	*scheduleDetails
}

// scheduleDetails are what a list does not tell.
type scheduleDetails struct {
	Jitter         string             `json:"jitter"`
	CatchUp        string             `json:"catch_up"`
	PauseOnFailure bool               `json:"pause_on_failure"`
	TaskQueue      string             `json:"task_queue"`
	Running        []string           `json:"running"` // workflow ids
	Runs           int                `json:"runs"`
	Missed         int                `json:"missed"`  // by more than catch_up
	Skipped        int                `json:"skipped"` // because the one before still ran
	Schedule       migration.Schedule `json:"schedule"`
}

// lastRun is the last run that was begun.
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

// listSchedules gives the schedules of this program, by name.
func listSchedules(ctx context.Context, s *session.Service) ([]scheduleView, error) {
	views := []scheduleView{}
	list, err := s.Client.ScheduleClient().List(ctx, client.ScheduleListOptions{})
	if err != nil {
		return nil, fmt.Errorf("the Temporal service does not tell its schedules: %w", err)
	}
	for list.HasNext() {
		e, err := list.Next()
		if err != nil {
			return nil, fmt.Errorf("the Temporal service does not tell its schedules: %w", err)
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

// nextTime is the next time, for people.
func (v scheduleView) nextTime() string {
	if len(v.Next) == 0 {
		return "unknown"
	}
	return clockTime(v.Next[0])
}

func clockTime(t time.Time) string { return t.Format("Mon 2006-01-02 15:04 MST") }

// state says whether a schedule fires, and when.
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
		lines = append(lines, [2]string{"state", "paused; starter schedule unpause " + v.ID + " lets it go on"})
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
	lines = append(lines, [2]string{"runs", fmt.Sprintf("%d begun, %d missed while no service ran, %d skipped because the one before still ran", v.Runs, v.Missed, v.Skipped)})
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		fmt.Fprintf(t, "%s\t%s\n", l[0], l[1])
	}
	return t.Flush()
}

// newScheduleLook makes a command that looks at schedules.
func newScheduleLook(use, short string, args cobra.PositionalArgs, look func(context.Context, *session.Service, []string) (any, func(io.Writer) error, error)) *cobra.Command {
	var o schedulesOptions
	var asJSON bool
	command := &cobra.Command{
		Use: use, Short: short, Args: args,
		RunE: func(command *cobra.Command, args []string) error {
			if err := o.completeStateDir(os.Getenv); err != nil {
				return err
			}
			return withSchedules(command.Context(), o.home, o.serviceOptions, telemetry.Options{}, func(ctx context.Context, s *session.Service) error {
				value, text, err := look(ctx, s, args)
				if err != nil {
					return err
				}
				if asJSON {
					return terminal.WriteJSON(command.OutOrStdout(), value)
				}
				return text(command.OutOrStdout())
			})
		},
	}
	command.Flags().SortFlags = false
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	o.addFlags(command.Flags())
	return command
}

func newScheduleList() *cobra.Command {
	return newScheduleLook("list", "List the schedules", noArguments(""), func(ctx context.Context, s *session.Service, _ []string) (any, func(io.Writer) error, error) {
		views, err := listSchedules(ctx, s)
		return views, func(w io.Writer) error { return writeSchedules(w, views) }, err
	})
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

func newScheduleDescribe() *cobra.Command {
	return newScheduleLook("describe ID", "Tell everything about a schedule", oneID, func(ctx context.Context, s *session.Service, args []string) (any, func(io.Writer) error, error) {
		view, err := describeSchedule(ctx, s.Client.ScheduleClient().GetHandle(ctx, args[0]))
		return view, view.text, err
	})
}
