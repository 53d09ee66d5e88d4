package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"filippo.io/age"
	"go.temporal.io/sdk/client"
	"golang.org/x/term"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/catalogue"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/session"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/terminal"
	"durable-dataload/workflows"
)

// rollbackOperation is the rollback of one migration.
type rollbackOperation struct {
	*session.Session
	catalogue.Migration // zero with --data
	o                   *rollbackOptions
	identities          []age.Identity
	rollback            migration.Rollback
	folder              migration.RollbackFolder
	begun               bool // by an earlier command: its list is kept
	result              workflows.RollbackResult
}

func (r *rollbackOperation) Identify(ctx context.Context) (j session.Job, err error) {
	if err := r.find(ctx); err != nil {
		return j, err
	}
	_, err = r.folder.Start()
	if r.begun = err == nil; !r.begun && !errors.Is(err, migration.ErrAbsent) {
		return j, err
	}
	if !r.begun && !r.o.yes && !term.IsTerminal(int(os.Stdin.Fd())) {
		return j, usage("this deletes records, and there is no terminal to ask on; expected --yes (see what it would do with --dry-run)")
	}
	return session.Job{Work: session.Work{Credentials: r.o.credentials, Identities: r.identities}, Spec: r.rollback.Connection(), Result: &r.result}, nil
}

// find finds out what is to be undone, and refuses what was undone before.
func (r *rollbackOperation) find(ctx context.Context) error {
	r.rollback = migration.Rollback{
		Source: r.ID, Migration: r.Folder, OutputDir: r.o.outputDir, Target: r.Spec.Target, Force: r.o.force,
		Limits: r.o.limits, Timeout: time.Duration(r.o.timeout),
	}
	var err error
	if r.Folder.IsZero() {
		err = r.findSuccessFile(ctx)
	} else {
		err = r.findMigration()
	}
	if err != nil {
		return err
	}
	before, err := r.folder.Options()
	if err == nil && before.OutputDir != r.rollback.OutputDir {
		r.Screen.Say(fmt.Sprintf("This rollback was started with --output-dir %s and keeps it.", before.OutputDir))
		r.rollback.OutputDir = before.OutputDir
	} else if err != nil && !errors.Is(err, migration.ErrAbsent) {
		return err
	}
	summary, err := r.folder.Summary()
	if err == nil && summary.IsDone() && summary.Records.Failed == 0 {
		return fmt.Errorf("%s was rolled back already (%s UTC: %s; see %s)", r.rollback.Source, summary.FinishedAt.Format(time.DateTime),
			figures.Count(summary.Items, "record"), store.Join(r.rollback.OutputDir, summary.Success))
	} else if err != nil && !errors.Is(err, migration.ErrAbsent) {
		return err
	}
	return nil
}

// keepIn names the workflow and its folder.
func (r *rollbackOperation) keepIn(id, key string) {
	r.folder = migration.RollbackIn(r.o.work(), key)
	r.rollback.ID, r.rollback.Folder = id, r.folder
}

// findMigration names the rollback of a migration, and finds the end of that: what
// was changed later is not ours.
func (r *rollbackOperation) findMigration() error {
	r.keepIn("rollback-"+r.ID, store.Base(r.Folder.Path()))
	summary, err := r.Folder.Summary()
	_, unmarked := r.Folder.RolledBack() // else it cannot be resumed
	if errors.Is(err, migration.ErrAbsent) || err == nil && unmarked != nil && r.IsCutOffAfter(summary) {
		return session.NotEnded(r.ID)
	}
	r.rollback.From, r.rollback.Until = summary.StartedAt, summary.FinishedAt
	return err
}

// findSuccessFile is findMigration for a migration of which only the success file is
// known, and the summary beside it.
func (r *rollbackOperation) findSuccessFile(ctx context.Context) error {
	t := r.o.targetOptions.target()
	r.rollback.Source, r.rollback.Target = r.o.success, t
	sha, _, err := source.Digest(ctx, r.o.success)
	if err != nil {
		return err
	}
	key := migration.Key(sha, t, 0, 1) // no migration starts at record 0
	r.keepIn("rollback-"+safetext.Slug(store.Base(r.o.success))+"-"+key, key)

	stamp := strings.TrimSuffix(strings.TrimPrefix(store.Base(r.o.success), "success_"), ".csv")
	path := store.Join(store.Dir(r.o.success), artifacts.SummaryName(stamp))
	data, err := store.Read(path)
	if errors.Is(err, os.ErrNotExist) {
		if r.o.force {
			return nil
		}
		return fmt.Errorf("expected the summary %s beside the success file: it has the end of the migration, and what was changed later is left alone; put it there, or undo changed records too with --force", store.Base(path))
	}
	if err != nil {
		return err
	}
	var summary migration.Summary
	if err := json.Unmarshal(data, &summary); err != nil || summary.FinishedAt.IsZero() {
		return fmt.Errorf("%s is not the summary of a migration; expected JSON with finished_at; put the right file there", path)
	}
	if summary.URI != t.URI || summary.EntityType != t.EntityType {
		return fmt.Errorf("the success file is of a migration into %s (%s), and the target is %s (%s); give the same one", summary.URI, summary.EntityType, t.URI, t.EntityType)
	}
	if summary.Records.Updated > 0 {
		r.Screen.Say(fmt.Sprintf("The migration also updated %s, which are not in the success file and are not undone. To undo them: starter rollback %s", figures.Count(summary.Records.Updated, "record"), summary.WorkflowID))
	}
	r.rollback.From, r.rollback.Until = summary.StartedAt, summary.FinishedAt
	return nil
}

func (r *rollbackOperation) Attach() error { return nil }

func (r *rollbackOperation) Begin() error { return r.folder.SaveOptions(r.rollback) }

func (r *rollbackOperation) IsFinished() (bool, error) {
	summary, err := r.folder.Summary()
	if errors.Is(err, migration.ErrAbsent) {
		return false, nil
	}
	return summary.IsDone(), err
}

func (r *rollbackOperation) Start(ctx context.Context) (client.WorkflowRun, error) {
	summary := workflows.Line("undo %s in %s (%s)", safetext.Name(store.Base(r.rollback.Source)), r.rollback.Target.Host(), r.rollback.Target.EntityType)
	return r.Execute(ctx, "rollback", r.StartOptions(r.rollback.ID, summary), workflows.RollbackWorkflow, workflows.RollbackInput{Rollback: r.rollback})
}

func (r *rollbackOperation) Introduce() {
	r.Screen.Say(fmt.Sprintf("Rolling back %s in %s (%s).", r.rollback.Source, r.rollback.Target.URI, r.rollback.Target.EntityType))
}

func (r *rollbackOperation) Follow() func(context.Context) {
	return lineOf(newView(r.Service, r.rollback.ID, "", r.o.stateDir, r.Screen), func(p workflows.RollbackProgress) terminal.Line {
		c := p.Counts
		return terminal.Line{
			Done: c.Sum(), Total: p.Items, What: fmt.Sprintf("%s %s/%s", p.Phase, figures.Number(c.Sum()), figures.Number(p.Items)),
			Parts: []string{"deleted " + figures.Number(c.Deleted+c.Gone), "restored " + figures.Number(c.Restored+c.Kept), "failed " + figures.Number(c.Failed)},
		}
	})
}

func (r *rollbackOperation) End() int {
	if r.result.Halted != "" {
		r.Screen.Say("starter: the rollback stopped: " + r.result.Halted)
	}
	printRollback(r.Screen, r.result.Summary, r.rollback.OutputDir)
	return r.result.Summary.ExitCode()
}

// printRollback prints the result of a rollback, and where the files are.
func printRollback(s *terminal.Screen, r migration.RollbackSummary, dir string) {
	if s.JSON {
		s.PrintJSON(r)
		return
	}
	printRollbackCounts(s, r.Records)
	if r.Unverified > 0 {
		fmt.Fprintf(s.Stdout, "%s of the undone records were not checked again yet.\n", figures.Number(r.Unverified))
	}
	printReasons(s, r.Reasons)
	fmt.Fprintf(s.Stdout, "\n%s\n%s\n\n", store.Join(dir, r.Success), store.Join(dir, r.Fail))
	switch r.ExitCode() {
	case migration.ExitStopped:
		fmt.Fprintln(s.Stdout, "The rollback was stopped. Rerun the command to resume.")
	case migration.ExitFailed:
		fmt.Fprintf(s.Stdout, "Some records are not as they were before. Their reasons are in %s; rerun the command to retry them.\n", r.Fail)
	default:
		fmt.Fprintln(s.Stdout, "Every record is as it was before the migration.")
	}
}

func printReasons(s *terminal.Screen, reasons map[string]int) {
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(s.Stdout, "%s: %s\n", figures.Number(reasons[reason]), reason)
	}
}

func printRollbackCounts(s *terminal.Screen, c migration.RollbackCounts) {
	w := tabwriter.NewWriter(s.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\ndeleted\t%d\t\ngone already\t%d\t\nrestored\t%d\t\nas before already\t%d\t\nfailed\t%d\t\nleft\t%d\t\ntotal\t%d\t\n\n",
		c.Deleted, c.Gone, c.Restored, c.Kept, c.Failed, c.Left, c.Sum())
	_ = w.Flush()
}
