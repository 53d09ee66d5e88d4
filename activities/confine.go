package activities

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/config"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/store"
)

// Temporal does not authorize: anyone with write access to the namespace can have a worker
// run any activity with any input. So a worker accepts only runs in its own state folders
// and work URLs, which only their owner can write to, and reads from there what is to be
// done. Inputs and output folders may be anywhere; the owner has ordered them (see Order in
// package migration).

// confined is the input of an activity. Each type says what must be checked before the
// activity runs.
type confined interface {
	// confine returns the reason why this process does not accept the input: Unfit, or
	// an error of the storage.
	confine(a *Activities) error
}

// unfit makes the error of an activity that is not for this process.
func unfit(err error) error {
	return temporal.NewNonRetryableApplicationError(safetext.Text(err.Error()), Unfit, nil)
}

// Interceptor refuses inputs that are not for this process. Without it a worker would
// run whatever the namespace holds.
func (a *Activities) Interceptor() interceptor.WorkerInterceptor { return &confining{a: a} }

type confining struct {
	interceptor.WorkerInterceptorBase
	interceptor.ActivityInboundInterceptorBase
	a *Activities
}

func (c *confining) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	i := &confining{a: c.a}
	i.Next = next
	return i
}

func (c *confining) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	for _, arg := range in.Args {
		input, ok := arg.(confined)
		if !ok {
			return nil, unfit(fmt.Errorf("an activity with an input of the type %T; expected one that names the folder it works in", arg))
		}
		if err := input.confine(c.a); err != nil {
			c.a.log.Warn("an activity was refused", "error", err)
			return nil, err
		}
	}
	return c.Next.ExecuteActivity(ctx, in)
}

func (r Run) confine(a *Activities) error {
	if !store.IsBase(r.ID) {
		return unfit(fmt.Errorf("%q is not the id of a run", r.ID))
	}
	return a.takes(r.Folder)
}

// takes returns the reason why a folder is not accepted. Another worker may accept it: one with wrong options does not end
// what the others work on.
func (a *Activities) takes(folder migration.RunFolder) error {
	if a.has(folder) {
		return nil
	}
	return temporal.NewApplicationError(safetext.Text(a.notHere(string(folder)).Error()), Unfit)
}

func (a *Activities) has(folder migration.RunFolder) bool {
	return slices.ContainsFunc(a.work, folder.IsOf)
}

func (a *Activities) notHere(path string) error {
	return fmt.Errorf("%s is in no state folder or work URL of worker %s (%s); give it the --state-dir or --work-url of the starter, or another --task-queue",
		path, config.WorkerIdentity(), strings.Join(a.work, ", "))
}

func (in InspectInput) confine(a *Activities) error { return a.ordered(in.Run, in.Spec) }

func (in FailureInput) confine(a *Activities) error { return a.ordered(in.Run, in.Failure.Spec) }

// ordered returns the reason why a migration is not accepted. Nothing is sent before: it ends at once.
func (a *Activities) ordered(run Run, spec migration.Spec) error {
	if !a.has(run.Folder) {
		return unfit(a.notHere(string(run.Folder)))
	}
	if err := run.confine(a); err != nil {
		return err
	}
	if spec.Folder.RunFolder == run.Folder {
		if ordered, err := spec.Folder.IsOrdered(spec); ordered || err != nil {
			return storageError(err)
		}
	}
	return unfit(fmt.Errorf("no migration with these options was ordered in %s; start it with a starter of the same version as worker %s", run.Folder, config.WorkerIdentity()))
}

// confine accepts every notice: without a folder of ours it only says less.
func (in NotifyInput) confine(*Activities) error { return nil }

// scheduled returns the reason why a schedule is not accepted.
func (a *Activities) scheduled(s migration.Schedule) error {
	if !slices.Contains(a.work, s.StateDir) {
		return unfit(a.notHere(s.StateDir))
	}
	if ordered, err := s.IsOrdered(); ordered || err != nil {
		return storageError(err)
	}
	return unfit(fmt.Errorf("the schedule %s was not created with starter schedule create on %s; delete it and create it again there", s.ID, s.StateDir))
}

// scheduledFile is scheduled for a file that the schedule has found.
func (a *Activities) scheduledFile(s migration.Schedule, path string) error {
	if err := a.scheduled(s); err != nil {
		return err
	}
	if !isOfSchedule(s, path) {
		return unfit(fmt.Errorf("%s is not a file of the schedule %s", path, s.ID))
	}
	return nil
}

func isOfSchedule(s migration.Schedule, path string) bool {
	return filepath.Clean(path) == path && !leftOut(path) && slices.ContainsFunc(s.Patterns, func(pattern string) bool {
		ok, err := filepath.Match(pattern, path)
		return ok && err == nil
	})
}

// leftOut reports whether schedules ignore a path, whatever their patterns are.
func leftOut(path string) bool {
	name := filepath.Base(path)
	return isUnready(name) || artifacts.IsArtifact(name) || isPutAway(path)
}

func (in FindInput) confine(a *Activities) error { return a.scheduled(in.Schedule) }

func (in PrepareInput) confine(a *Activities) error {
	return a.scheduledFile(in.Schedule, in.File.Path)
}

func (in PutAwayInput) confine(a *Activities) error {
	if err := a.scheduledFile(in.Schedule, in.File.Path); err != nil {
		return err
	}
	if in.Folder != "" && in.Folder != DoneFolder && in.Folder != FailedFolder {
		return unfit(fmt.Errorf("%q is not %s or %s, the folders for files that are put away", in.Folder, DoneFolder, FailedFolder))
	}
	if in.Staged != "" && store.Dir(in.Staged) != migration.Inputs(in.Schedule.StateDir) {
		return unfit(a.notHere(in.Staged))
	}
	return nil
}

func (in WriteScheduledInput) confine(a *Activities) error { return a.scheduled(in.Schedule) }
