package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/client"

	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/session"
	"durable-dataload/internal/store"
	"durable-dataload/internal/terminal"
	"durable-dataload/workflows"
)

// exportOperation is the export into one file.
type exportOperation struct {
	*session.Session
	o       *exportOptions
	export  migration.Export
	resumed bool // by an earlier command
	result  workflows.ExportResult
	view    *view
}

// Identify finds the export.
func (x *exportOperation) Identify(context.Context) (j session.Job, err error) {
	if x.export, x.resumed, err = x.o.prepare(); err != nil {
		return j, err
	}
	return session.Job{Work: session.Work{Credentials: x.o.credentials}, Spec: x.export.Connection(), Result: &x.result}, nil
}

// Prepare shows an export that is finished.
func (x *exportOperation) Prepare(context.Context) error {
	x.view = newView(x.Service, x.export.ID, x.export.Target.Host(), x.o.stateDir, x.Screen)
	summary, err := x.export.Folder.Summary()
	switch {
	case errors.Is(err, migration.ErrAbsent):
		return nil
	case err != nil:
		return err
	}
	if there, err := store.Exists(x.export.Output); err != nil {
		return err
	} else if !there {
		return fmt.Errorf("%s was exported already (as of %s), and is not there any more; expected another --output for a new export", x.export.Output, summary.AsOf.Format(time.RFC3339))
	}
	x.Screen.Say(fmt.Sprintf("%s was exported already, as of %s; give another --output for a new export.", x.export.Output, summary.AsOf.Format(time.RFC3339)))
	x.result.Summary = summary
	x.End()
	return session.ErrNothingToDo
}

func (x *exportOperation) Attach() error { return nil }

func (x *exportOperation) IsFinished() (bool, error) {
	_, err := x.export.Folder.Summary()
	if errors.Is(err, migration.ErrAbsent) {
		return x.export.Folder.Finished()
	}
	return err == nil, err
}

// Begin makes the folder of a new export, and keeps the options of this run.
func (x *exportOperation) Begin() error {
	if err := proveOutput(x.export.Output); err != nil {
		return err
	}
	if err := x.export.Folder.SaveOptions(x.export); err != nil {
		return err
	}
	_, err := x.export.Folder.CreateStart(migration.Start{ID: x.export.ID, StartedAt: time.Now().UTC().Truncate(time.Second)})
	return err
}

// proveOutput shows that the file can be made in the end. On a disk it gets its name by a hard link, which replaces no file.
func proveOutput(output string) error {
	dir := store.Dir(output)
	err := store.Prove(dir)
	switch {
	case err != nil && store.IsURL(output):
		return fmt.Errorf("cannot write to the folder of --output, %s: %w; %s", dir, err, store.Advice(err))
	case err != nil:
		return fmt.Errorf("cannot write to the folder of --output, %s: %w; make it writable, or give another one", dir, err)
	case store.IsURL(output):
		return nil
	}
	probe := store.Join(dir, ".export-probe-"+rand.Text())
	if err := errors.Join(store.Create(probe, nil), store.Remove(probe)); err != nil {
		return fmt.Errorf("cannot make a hard link in the folder of --output, %s: %w; expected a folder of a file system that has them", dir, err)
	}
	return nil
}

func (x *exportOperation) Start(ctx context.Context) (client.WorkflowRun, error) {
	summary := workflows.Line("export from %s (%s)", x.export.Target.Host(), x.export.Target.EntityType)
	return x.Execute(ctx, "export", x.StartOptions(x.export.ID, summary), workflows.ExportWorkflow, workflows.ExportInput{
		Folder: x.export.Folder, Steering: workflows.Steering{Limits: x.export.Limits},
	})
}

func (x *exportOperation) Introduce() {
	if x.Attached {
		x.Screen.Say("This export runs already. Its progress:")
		return
	}
	again, what := "", "all users"
	if x.resumed {
		again = ", resuming"
	}
	if !x.export.Since.IsZero() {
		what = "what changed since " + x.o.since
	}
	if x.export.Filter != "" {
		what += " that fit the filter"
	}
	x.Screen.Say(fmt.Sprintf("Exporting from %s (%s) to %s%s: %s. Nothing is changed.", x.export.Target.URI, x.export.Target.EntityType, x.export.Output, again, what))
}

func (x *exportOperation) Follow() func(context.Context) { return updateOf(x.view, x.view.showExport) }

func (x *exportOperation) End() int { return x.view.endExport(x.export, x.result) }

// showExport shows how far an export is.
func (v *view) showExport(p workflows.ExportProgress) {
	v.sayNotShown(p.NotShown)
	v.sayNews(p.Steering)
	line := terminal.Line{What: exportPhase(p), Parts: v.slowed(workflows.Progress{})}
	if p.Phase == workflows.PhaseReading || p.Phase == workflows.PhaseListing {
		line.Done, line.Total = p.Records, exportTotal(p)
	}
	v.screen.Progress(line)
}

// exportTotal is how many records a phase reads, 0 if that is not known.
func exportTotal(p workflows.ExportProgress) int {
	switch {
	case p.Phase == workflows.PhaseReading && p.Total > 0, p.Phase == workflows.PhaseListing:
		return int(max(p.Total, int64(p.Records)))
	}
	return 0
}

// exportPhase is the phase with its figures, for people.
func exportPhase(p workflows.ExportProgress) string {
	switch p.Phase {
	case workflows.PhaseReading, workflows.PhaseChanges, workflows.PhaseListing:
		text := fmt.Sprintf("%s %s", p.Phase, figures.Number(p.Records))
		if total := exportTotal(p); total > 0 {
			text += "/" + figures.Number(total)
		}
		return text
	case workflows.PhaseWaiting:
		return fmt.Sprintf("%s, until %s UTC", p.Phase, p.Until.UTC().Format(time.TimeOnly))
	}
	return string(p.Phase) + " …"
}

// sayNotShown says once which passwords are not exported.
func (v *view) sayNotShown(columns []string) {
	if len(columns) > 0 && !v.notShown {
		v.screen.Say(migration.HiddenText(columns))
		v.notShown = true
	}
}

// endExport shows the result of an export, and gives the exit code.
func (v *view) endExport(e migration.Export, result workflows.ExportResult) int {
	switch {
	case result.Cancelled:
		v.screen.Say("Cancelled for good: what was read is removed, and there is no file. Give another --output for a new export.")
		return migration.ExitStopped
	case result.Stopped:
		v.screen.Say("Stopped before the file was complete. Rerun the command to resume.")
		return migration.ExitStopped
	}
	s := result.Summary
	v.sayNotShown(s.NotShown)
	if v.screen.JSON {
		v.screen.PrintJSON(s)
		return s.ExitCode()
	}
	fmt.Fprintf(v.screen.Stdout, "\n%s As of %s.\n\n%s\n%s\n", s.Text(), s.AsOf.Format(time.RFC3339), e.Output, e.SummaryFile())
	if s.DeletedFile != "" {
		fmt.Fprintln(v.screen.Stdout, e.DeletedFile())
	}
	return s.ExitCode()
}
