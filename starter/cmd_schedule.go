package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/session"
	"durable-dataload/internal/telemetry"
	"durable-dataload/internal/terminal"
)

// newScheduleCommand groups the commands for schedules.
func newScheduleCommand(stderr io.Writer) *cobra.Command {
	command := &cobra.Command{
		Use:   "schedule",
		Short: "Migrate the files that are new, night by night",
		Long: `Migrate the files that are new, night by night.

A schedule fires while starter serve runs on the same state folder. With --address the Temporal service fires it, and
starter serve or a worker must run there.`,
		Example: `  starter schedule create nightly --cron "0 2 * * *" --data "incoming/*.csv" \
      --apid_uri https://example.janraincapture.com
  starter schedule describe nightly
  starter schedule trigger nightly`,
		Args: noArguments(""),
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(
		newScheduleCreate(stderr), newScheduleList(), newScheduleDescribe(), newSchedulePause(), newScheduleUnpause(),
		newScheduleTrigger(), newScheduleBackfill(), newScheduleDelete(),
	)
	return command
}

// scheduleExits is the end of the help of each command for schedules.
const scheduleExits = "\n\nExit codes: 0 done; 1 could not be done; 2 wrong usage."

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

// schedulesOptions name the service that has the schedules.
type schedulesOptions struct {
	locations
	serviceOptions
}

func (o *schedulesOptions) addFlags(f *pflag.FlagSet) {
	o.addStateDirFlag(f, "folder for the state: ledger and embedded engine")
	o.temporal.AddFlags(f)
}

// completeSchedule offers the names of the schedules that were created with the state folder to
// the shell.
func (o *schedulesOptions) completeSchedule(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 || o.completeStateDir(os.Getenv) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, _ := migration.ScheduleNames(o.stateDir)
	return names, cobra.ShellCompDirectiveNoFileComp
}

// withSchedules opens the service for a command, and closes it again.
func withSchedules(ctx context.Context, h locations, o serviceOptions, watched telemetry.Options, run func(context.Context, *session.Service) error) error {
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
	err = s.While(ctx, func(ctx context.Context) error { return run(ctx, s) })
	if errors.Is(err, session.ErrEngineGone) {
		err = fmt.Errorf("%w meanwhile; repeat the command", err)
	}
	return err
}

// newOnSchedule makes a command that changes one existing schedule, and prints the result
// in a sentence. example are the options of its example.
func newOnSchedule(use, short, example string, flags func(*pflag.FlagSet), do func(context.Context, *session.Service, client.ScheduleHandle, scheduleView) (string, error)) *cobra.Command {
	var o schedulesOptions
	command := &cobra.Command{
		Use: use + " ID", Short: short, Long: short + "." + scheduleExits, Example: "  starter schedule " + use + " nightly" + example,
		Args: oneID, ValidArgsFunction: o.completeSchedule,
		RunE: func(command *cobra.Command, args []string) error {
			if err := o.completeStateDir(os.Getenv); err != nil {
				return err
			}
			return withSchedules(command.Context(), o.locations, o.serviceOptions, telemetry.Options{}, func(ctx context.Context, s *session.Service) error {
				handle := s.Client.ScheduleClient().GetHandle(ctx, args[0])
				view, err := describeSchedule(ctx, handle)
				if err != nil {
					return err
				}
				text, err := do(ctx, s, handle, view)
				if err == nil {
					fmt.Fprintln(command.OutOrStdout(), text)
				}
				return err
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

// reasonFlag adds the option for the reason, which the schedule shows later.
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
	return newOnSchedule("pause", "Pause a schedule; a run in progress finishes", ` --reason "release at noon"`, reasonFlag(&reason),
		func(ctx context.Context, _ *session.Service, handle client.ScheduleHandle, v scheduleView) (string, error) {
			return fmt.Sprintf("The schedule %s is paused.", v.ID), scheduleError(v.ID, handle.Pause(ctx, client.SchedulePauseOptions{Note: noteOf("paused", reason)}))
		})
}

func newScheduleUnpause() *cobra.Command {
	var reason string
	return newOnSchedule("unpause", "Resume a paused schedule", ` --reason "file fixed"`, reasonFlag(&reason),
		func(ctx context.Context, _ *session.Service, handle client.ScheduleHandle, v scheduleView) (string, error) {
			return fmt.Sprintf("The schedule %s is active again; the next time is %s.", v.ID, v.nextTime()), scheduleError(v.ID, handle.Unpause(ctx, client.ScheduleUnpauseOptions{Note: noteOf("unpaused", reason)}))
		})
}

func newScheduleTrigger() *cobra.Command {
	return newOnSchedule("trigger", "Run a schedule once, now", "", nil,
		func(ctx context.Context, s *session.Service, handle client.ScheduleHandle, v scheduleView) (string, error) {
			if err := handle.Trigger(ctx, client.ScheduleTriggerOptions{Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE}); err != nil {
				return "", scheduleError(v.ID, err)
			}
			if len(v.Running) > 0 {
				return fmt.Sprintf("The schedule %s runs once more when %s has ended.", v.ID, v.Running[0]), nil
			}
			return fmt.Sprintf("The schedule %s runs.%s", v.ID, waitsForWorker(ctx, s, v)), nil
		})
}

// waitsForWorker says if no worker polls the task queue of a schedule, after another
// sentence.
func waitsForWorker(ctx context.Context, s *session.Service, v scheduleView) string {
	if v.findPoller(ctx, s); v.Unpolled == "" {
		return ""
	}
	return " " + v.unpolledText(s)
}

// findPoller sets Unpolled.
func (v *scheduleView) findPoller(ctx context.Context, s *session.Service) {
	if v.TaskQueue != "" && s.PolledBy(ctx, v.TaskQueue) == "" {
		v.Unpolled = v.TaskQueue
	}
}

// unpolledText is what to do where no worker polls the task queue.
func (v scheduleView) unpolledText(s *session.Service) string {
	text := fmt.Sprintf("No worker polls the task queue %s: the schedule %s waits for starter serve", v.Unpolled, v.ID)
	if !s.IsEmbedded() {
		text += ", or a worker with --task-queue " + v.Unpolled
	}
	return text + "."
}

func newScheduleBackfill() *cobra.Command {
	var from, to string
	return newOnSchedule("backfill", "Run a schedule for past times, one run after the other", " --from 2026-11-01 --to 2026-11-05", func(f *pflag.FlagSet) {
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
		// The service excludes the start.
		err = handle.Backfill(ctx, client.ScheduleBackfillOptions{Backfill: []client.ScheduleBackfill{
			{Start: start.Add(-time.Second), End: end, Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL},
		}})
		return fmt.Sprintf("The schedule %s runs %s, one run after the other.%s", v.ID, figures.Count(due, "time"), waitsForWorker(ctx, s, v)), scheduleError(v.ID, err)
	})
}

// maxBackfill is the most runs of one backfill.
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
	return newOnSchedule("delete", "Delete a schedule; a run in progress finishes, and migrations stay", "", nil,
		func(ctx context.Context, s *session.Service, handle client.ScheduleHandle, v scheduleView) (string, error) {
			if err := handle.Delete(ctx); err != nil {
				return "", scheduleError(v.ID, err)
			}
			// First: the run may end now.
			if err := v.Schedule.DropOrderAfterRun(); err != nil {
				return "", err
			}
			for _, id := range v.Running {
				if e, err := s.Execution(ctx, id); err != nil {
					return "", err
				} else if e.Running {
					return fmt.Sprintf("The schedule %s is deleted; its run %s finishes.", v.ID, id), nil
				}
			}
			return fmt.Sprintf("The schedule %s is deleted.", v.ID), v.Schedule.DropOrder()
		})
}

// newScheduleRead makes a command that shows schedules.
func newScheduleRead(use, short string, args cobra.PositionalArgs, read func(context.Context, *session.Service, []string) (any, func(io.Writer) error, error)) *cobra.Command {
	var o schedulesOptions
	var asJSON bool
	command := &cobra.Command{
		Use: use, Short: short, Long: short + "." + scheduleExits, Example: "  starter schedule " + strings.Replace(use, "ID", "nightly", 1), Args: args,
		RunE: func(command *cobra.Command, args []string) error {
			if err := o.completeStateDir(os.Getenv); err != nil {
				return err
			}
			return withSchedules(command.Context(), o.locations, o.serviceOptions, telemetry.Options{}, func(ctx context.Context, s *session.Service) error {
				value, text, err := read(ctx, s, args)
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
	if strings.Contains(use, " ID") {
		command.ValidArgsFunction = o.completeSchedule
	}
	command.Flags().SortFlags = false
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	o.addFlags(command.Flags())
	return command
}

func newScheduleList() *cobra.Command {
	return newScheduleRead("list", "List the schedules", noArguments(""), func(ctx context.Context, s *session.Service, _ []string) (any, func(io.Writer) error, error) {
		views, err := listSchedules(ctx, s)
		for i := range views {
			views[i].findPoller(ctx, s)
		}
		return views, func(w io.Writer) error { return errors.Join(writeSchedules(w, views), writeUnpolled(w, s, views)) }, err
	})
}

func newScheduleDescribe() *cobra.Command {
	return newScheduleRead("describe ID", "Show all about a schedule", oneID, func(ctx context.Context, s *session.Service, args []string) (any, func(io.Writer) error, error) {
		view, err := describeSchedule(ctx, s.Client.ScheduleClient().GetHandle(ctx, args[0]))
		view.findPoller(ctx, s)
		return view, func(w io.Writer) error { return view.text(w, s) }, err
	})
}
