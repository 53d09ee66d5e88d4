package activities

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.temporal.io/sdk/interceptor"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

// What Temporal carries is no order: whoever may write to the namespace can have a
// worker run any activity, with any input. So a worker takes only folders of its
// own work places, which their owner alone can write to, and reads what is to be
// done from there. Inputs and output folders, which may be anywhere, are those
// that the owner has asked for (see migration.Folder.Order).

// confined is the input of an activity. Every one has to say what the worker must
// have checked before it is run.
type confined interface {
	// confine gives the reason why this process does not take the input: Refused,
	// or an error of the storage.
	confine(a *Activities) error
}

// Interceptor refuses inputs that are not for this process. A worker without it
// would do what anybody asks for.
func (a *Activities) Interceptor() interceptor.WorkerInterceptor { return &gatekeeper{a: a} }

type gatekeeper struct {
	interceptor.WorkerInterceptorBase
	a *Activities
}

func (g *gatekeeper) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	i := &gate{a: g.a}
	i.Next = next
	return i
}

type gate struct {
	interceptor.ActivityInboundInterceptorBase
	a *Activities
}

func (g *gate) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	for _, arg := range in.Args {
		c, ok := arg.(confined)
		if !ok {
			return nil, refused(fmt.Errorf("an activity with an input of the type %T, which says nothing of where it works", arg))
		}
		if err := c.confine(g.a); err != nil {
			g.a.log.Warn("an activity was refused", "error", err)
			return nil, err
		}
	}
	return g.Next.ExecuteActivity(ctx, in)
}

func (r Run) confine(a *Activities) error {
	if !store.IsBase(r.ID) {
		return refused(fmt.Errorf("%q is no id of a run", r.ID))
	}
	return a.takes(r.Folder)
}

// takes says why a folder is not one of this process.
func (a *Activities) takes(folder migration.RunFolder) error {
	for _, work := range a.work {
		if folder.IsOf(work) {
			return nil
		}
	}
	return a.notHere(string(folder))
}

func (a *Activities) notHere(path string) error {
	return refused(fmt.Errorf("%s is in no work place of this worker (%s), so it is not taken; give the worker the --state-dir or --work-url of the starter",
		path, strings.Join(a.work, ", ")))
}

func (in InspectInput) confine(a *Activities) error { return a.ordered(in.Run, in.Spec) }

func (in FailureInput) confine(a *Activities) error { return a.ordered(in.Run, in.Failure.Spec) }

// ordered says why this process does not take a migration.
func (a *Activities) ordered(run Run, spec migration.Spec) error {
	if err := run.confine(a); err != nil {
		return err
	}
	if spec.Folder.RunFolder == run.Folder {
		if ordered, err := spec.Folder.IsOrdered(spec); ordered || err != nil {
			return storageError(err)
		}
	}
	return refused(fmt.Errorf("nobody has asked for a migration with these options in %s; begin it with starter, of the same version as this worker", run.Folder))
}

// confine lets a notice through: without a folder of ours it only says less.
func (in NotifyInput) confine(*Activities) error { return nil }

// scheduled says why this process does not take a schedule.
func (a *Activities) scheduled(s migration.Schedule) error {
	if !slices.Contains(a.work, s.StateDir) {
		return a.notHere(s.StateDir)
	}
	if ordered, err := s.IsOrdered(); ordered || err != nil {
		return storageError(err)
	}
	return refused(fmt.Errorf("the schedule %s was not created with starter schedule create on %s, so it is not run; delete it there, and create it again", s.ID, s.StateDir))
}

// scheduledFile is scheduled, for one file that the schedule has found.
func (a *Activities) scheduledFile(s migration.Schedule, path string) error {
	if err := a.scheduled(s); err != nil {
		return err
	}
	if !isOfSchedule(s, path) {
		return refused(fmt.Errorf("%s is no file of the schedule %s", path, s.ID))
	}
	return nil
}

func isOfSchedule(s migration.Schedule, path string) bool {
	return filepath.Clean(path) == path && !leftOut(path) && slices.ContainsFunc(s.Patterns, func(pattern string) bool {
		ok, err := filepath.Match(pattern, path)
		return ok && err == nil
	})
}

// leftOut says whether a schedule leaves a path out, whatever its patterns are.
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
		return refused(fmt.Errorf("%q is no folder for files that are put away", in.Folder))
	}
	if in.Staged != "" && store.Dir(in.Staged) != migration.Inputs(in.Schedule.StateDir) {
		return a.notHere(in.Staged)
	}
	return nil
}

func (in WriteScheduledInput) confine(a *Activities) error { return a.scheduled(in.Schedule) }
