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
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/session"
	"durable-dataload/internal/stage"
	"durable-dataload/internal/store"
	"durable-dataload/workflows"
)

// createOptions are the command line of starter schedule create.
type createOptions struct {
	options
	cron, zone, note string
	jitter, settle   time.Duration
	pauseOnFailure   bool
	keepFiles        bool
}

func newScheduleCreate(stderr io.Writer) *cobra.Command {
	var o createOptions
	command := &cobra.Command{
		Use:   `create ID --cron "0 2 * * *" --data "incoming/*.csv" [options]`,
		Short: "Create a schedule",
		Long: `Create a schedule. Each run migrates the files that are new, one after the other, with the options that are given
here. A file is new if its content was not migrated before. Files that are still being written wait for the next run.

A file of which every record is in the target is moved to the folder done beside it; one with failed records, or one
that cannot be migrated, to the folder failed. One that is not finished stays, and the next run resumes it.

Credentials are no part of a schedule: starter serve, or the worker, has them.` + scheduleExits,
		Example: `  starter schedule create nightly --cron "0 2 * * *" --time-zone Europe/Berlin \
      --data "incoming/*.csv" --output-dir results \
      --apid_uri https://example.janraincapture.com
  starter serve`,
		Args: oneID,
		RunE: func(command *cobra.Command, args []string) error {
			schedule, err := o.complete(command.Flags(), os.Getenv)
			if err != nil {
				return err
			}
			warn(stderr, schedule.credentials.Warnings)
			return withSchedules(command.Context(), schedule.locations, schedule.serviceOptions, schedule.watched, func(ctx context.Context, s *session.Service) error {
				if err := schedule.create(ctx, s, args[0]); err != nil {
					return err
				}
				view, err := describeSchedule(ctx, s.Client.ScheduleClient().GetHandle(ctx, args[0]))
				if err != nil {
					return err
				}
				view.findPoller(ctx, s)
				return view.text(command.OutOrStdout(), s)
			})
		},
	}
	f := command.Flags()
	f.SortFlags = false
	f.StringVar(&o.cron, "cron", "", `when, as cron has it: minute, hour, day of the month, month, day of the week; or @daily`)
	f.StringVar(&o.zone, "time-zone", "UTC", "time zone of these times, as Europe/Berlin")
	f.DurationVar(&o.jitter, "jitter", 0, "random delay of each start, up to this")
	f.DurationVar(&o.settle, "settle", 10*time.Second, "how long a file must not have changed before it is taken")
	f.BoolVar(&o.keepFiles, "keep-files", false, "leave the files where they are; a migrated file is recognized by its content")
	f.BoolVar(&o.pauseOnFailure, "pause-on-failure", true, "pause the schedule when a file was not migrated completely; failed records alone do not count")
	f.StringVar(&o.note, "note", "", "what the schedule is for")
	under(f, "Schedule")
	o.addFlags(f)
	for _, name := range notScheduled {
		if err := f.MarkHidden(name); err != nil {
			panic(err) // there is no such flag
		}
	}
	return command
}

// notScheduled are options for a migration on a terminal, and for the process with the
// worker: starter serve has those.
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
		return s, usage("--data %s is a URL, and a schedule reads folders of the machine that its worker runs on; expected a path; files of a bucket are migrated with starter --data", o.data[i])
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
	if _, s.mappingText, err = readMappingFile(o.mapping, o.credentials.Name()); err != nil {
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

// absolutePattern returns the absolute form of a pattern; its folder has to exist.
func absolutePattern(pattern string) (string, error) {
	path := filepath.Clean(pattern)
	if !filepath.IsAbs(path) {
		here, err := os.Getwd()
		if err != nil {
			return "", err
		}
		path = filepath.Join(safetext.Pattern(here), path)
	}
	if _, err := filepath.Match(path, ""); err != nil {
		return "", usage("--data %s: %w; expected a file, or a pattern with * and ?", pattern, err)
	}
	folder := filepath.Dir(path)
	if info, err := os.Stat(folder); !strings.ContainsAny(folder, `*?[\`) && (err != nil || !info.IsDir()) {
		return "", fmt.Errorf("--data %s: there is no folder %s; expected the folder in which the files arrive", pattern, folder)
	}
	return path, nil
}

// newSchedule is a schedule to create.
type newSchedule struct {
	createOptions
	times       timetable
	mappingText []byte
}

// catchUp is how late a run may start that was due while no service ran.
const catchUp = time.Hour

func (o *newSchedule) create(ctx context.Context, s *session.Service, id string) error {
	if err := o.prove(); err != nil {
		return err
	}
	closeTarget, err := o.openTarget(o.stateDir) // a sandbox has its address from its first start on
	if err != nil {
		return err
	}
	closeTarget()
	schedule := migration.Schedule{
		ID: id, Patterns: o.data, Encoding: o.encodingName, StateDir: o.work(), Settle: o.settle, KeepFiles: o.keepFiles, Options: o.spec(o.mappingText),
	}
	schedule.Options.SearchAttributes = s.Attributes
	schedule.Options.Notify = true // the process that serves it has the webhook, or none
	target := fmt.Sprintf("%s (%s)", schedule.Options.Target.Host(), schedule.Options.Target.EntityType)
	what := fmt.Sprintf("%s → %s", safetext.Name(strings.Join(o.data, ", ")), target)
	isOrdered, err := schedule.IsOrdered() // of an equal one that exists
	if err != nil {
		return err
	}
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
		Memo: map[string]any{memoWhat: what, memoCron: o.times.cron, memoQueue: taskQueue},
	})
	if errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		err = fmt.Errorf("there is a schedule %s already; delete it, or take another name", id)
		if !isOrdered {
			err = errors.Join(err, schedule.DropOrder())
		}
		return err
	}
	return scheduleError(id, err)
}
