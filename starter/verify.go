package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"go.temporal.io/sdk/client"

	"durable-dataload/internal/catalogue"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/session"
	"durable-dataload/internal/store"
	"durable-dataload/internal/terminal"
	"durable-dataload/workflows"
)

// verifyOperation is the verification of one migration.
type verifyOperation struct {
	*session.Session
	catalogue.Migration
	o            *verifyOptions
	verification migration.Verification
	summary      migration.VerifySummary
}

// Identify finds out what is to be read back.
func (v *verifyOperation) Identify(context.Context) (j session.Job, err error) {
	id := v.ID
	mark, err := v.Folder.RolledBack()
	if err == nil {
		return j, fmt.Errorf("the migration %s was rolled back, in full or in part (%s); there is nothing to verify", id, mark.Rollback)
	}
	if !errors.Is(err, migration.ErrAbsent) {
		return j, err
	}
	summary, err := v.Folder.Summary()
	if errors.Is(err, migration.ErrAbsent) {
		return j, session.NotEnded(id)
	}
	v.verification = migration.Verification{
		ID: "verify-" + id, Source: id, Migration: v.Folder, OutputDir: v.o.outputDir, Sample: v.o.sample, Ended: summary.FinishedAt,
		Limits: v.o.limits, Timeout: time.Duration(v.o.timeout),
	}
	return session.Job{Work: session.Work{Credentials: v.o.credentials}, Spec: v.verification.Spec(v.Spec), Result: &v.summary}, err
}

func (v *verifyOperation) Prepare(ctx context.Context) error { return v.RefuseRunning(ctx, v.ID) }

func (v *verifyOperation) Attach() error { return nil }

// IsFinished is false: a verification begins at the first record each time.
func (v *verifyOperation) IsFinished() (bool, error) { return false, nil }

func (v *verifyOperation) Start(ctx context.Context) (client.WorkflowRun, error) {
	summary := workflows.Line("read back %s in %s (%s)", v.Spec.ShownName(), v.Spec.Target.Host(), v.Spec.Target.EntityType)
	return v.Execute(ctx, "verification", v.StartOptions(v.verification.ID, summary), workflows.VerifyWorkflow, workflows.VerifyWorkflowInput{Verification: v.verification})
}

// Begin makes the folder of a new verification.
func (v *verifyOperation) Begin() error {
	start, err := reserveStart(v.verification.ID, v.verification.OutputDir, "verification", v.Folder.Owner)
	if err != nil {
		return err
	}
	folder, err := v.newFolder(start.Stamp)
	if err != nil {
		return err
	}
	v.verification.Folder = folder
	if err := folder.SaveOptions(v.verification); err != nil {
		return err
	}
	_, err = folder.CreateStart(start)
	return err
}

// newFolder is a folder that no verification has: two that begin in one second have one stamp,
// if their results go to different folders.
func (v *verifyOperation) newFolder(stamp string) (migration.VerifyFolder, error) {
	for n := 1; ; n++ {
		name := stamp
		if n > 1 {
			name = fmt.Sprintf("%s-%d", stamp, n)
		}
		folder := migration.VerificationIn(v.o.work(), store.Base(v.Folder.Path()), name)
		if has, err := store.HasFolder(folder.Path()); err != nil || !has {
			return folder, err
		}
	}
}

func (v *verifyOperation) Introduce() {
	if v.Attached {
		v.Screen.Say("This migration is being verified already. Its progress:")
		return
	}
	what := "all records"
	if v.verification.Sample > 0 {
		what = figures.Count(v.verification.Sample, "record") + " at most, spread over the file (all of them with --all)"
	}
	v.Screen.Say(fmt.Sprintf("Verifying %s in %s (%s): %s. Nothing is changed.", v.Spec.ShownName(), v.Spec.Target.URI, v.Spec.Target.EntityType, what))
	if until := workflows.RetriesMissingUntil(v.verification); until.After(time.Now()) {
		v.Screen.Say(fmt.Sprintf("The migration has just ended, and new records can stay invisible for minutes: missing records are polled for until %s UTC.", until.UTC().Format(time.TimeOnly)))
	}
}

func (v *verifyOperation) Follow() func(context.Context) {
	return lineOf(newView(v.Service, v.verification.ID, "", v.o.stateDir, v.Screen), func(p workflows.VerifyProgress) terminal.Line {
		c := p.Found
		return terminal.Line{
			Done: c.Sum(), Total: p.Records, What: fmt.Sprintf("%s %s/%s", p.Phase, figures.Number(c.Sum()), figures.Number(p.Records)),
			Parts: []string{"as they should be " + figures.Number(c.Equal), "different " + figures.Number(c.Different), "missing " + figures.Number(c.Missing)},
		}
	})
}

func (v *verifyOperation) End() int {
	printVerified(v.Screen, v.summary)
	return v.summary.ExitCode()
}

// printVerified prints the result of a verification, and where the files are.
func printVerified(s *terminal.Screen, v migration.VerifySummary) {
	if v.Halted != "" {
		s.Say("starter: the verification stopped: " + v.Halted)
	}
	if s.JSON {
		s.PrintJSON(v)
		return
	}
	c := v.Found
	w := tabwriter.NewWriter(s.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\nas they should be\t%d\t\ndifferent\t%d\t\nmissing\t%d\t\nnot shown\t%d\t\nnot loaded\t%d\t\nleft\t%d\t\ntotal\t%d\t\n\n",
		c.Equal, c.Different, c.Missing, c.Unseen, c.NotLoaded, c.Left, c.Sum())
	_ = w.Flush()
	summary := strings.TrimSuffix(v.File, ".csv") + ".json"
	fmt.Fprintf(s.Stdout, "%s\n\n%s\n%s\n", c.Text(), store.Join(v.OutputDir, summary), store.Join(v.OutputDir, v.File))
	if v.Sample < v.Records {
		fmt.Fprintf(s.Stdout, "\nThis was a sample of %s of %s; --all reads every one.\n", figures.Number(v.Sample), figures.Count(v.Records, "record"))
	}
}
