package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.temporal.io/sdk/client"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/catalogue"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/session"
	"durable-dataload/internal/store"
	"durable-dataload/internal/terminal"
	"durable-dataload/workflows"
)

// verifyOptions are the command line of starter verify.
type verifyOptions struct {
	runOptions
	name   catalogue.Name
	sample int
	all    bool

	of   catalogue.Migration
	spec migration.Spec // of the migration
}

// usualSample is how many records are looked at unless somebody says otherwise.
const usualSample = 1000

// verifyCommand reads back what a migration has written. code is where it puts
// its exit code.
func verifyCommand(stdout, stderr io.Writer, code *int) *cobra.Command {
	var o verifyOptions
	command := &cobra.Command{
		Use:   "verify ID | --latest",
		Short: "Read back what a migration has written, and compare it with the input",
		Long: `Read back what a migration has written, and compare it with the input.

Nothing is changed in the target. The differences are listed by line and name of the attribute, without a value.

Exit codes: 0 all records that were looked at are as they should be; 1 could not run; 2 wrong usage;
3 some differ or are missing; 4 some could not be looked at; 5 stopped, with records left.`,
		Example: `  starter verify --latest
  starter verify migration-users.csv-0123456789ab --all`,
		Args: oneMigration(&o.name, true),
		RunE: func(command *cobra.Command, _ []string) error {
			if err := o.complete(command.Flags(), os.Getenv); err != nil {
				return err
			}
			return o.attendOne(command.Context(), stdout, stderr, code, func(ctx context.Context, p session.Process) (int, error) {
				return o.withSession(p, func(s *session.Session) (int, error) {
					return s.Run(ctx, &verifyOperation{Session: s, o: &o})
				})
			})
		},
	}
	command.ValidArgsFunction = o.completeID
	command.Flags().SortFlags = false
	o.addFlags(command.Flags())
	return command
}

func (o *verifyOptions) addFlags(f *pflag.FlagSet) {
	o.name.AddFlags(f)
	f.IntVar(&o.sample, "sample", usualSample, "records to look at, spread over the file: the same ones each time")
	f.BoolVar(&o.all, "all", false, "look at all records")
	o.credentials.AddFlags(f)
	o.addSandboxFlag(f, "verify a migration into the local Identity Cloud")
	o.paceOptions.addFlags(f)
	o.outputOptions.addFlags(f)
	f.Lookup("output-dir").Usage = "folder for the result files, or the URL of one; default: that of the migration"
	o.addHomeFlags(f, "folder for the state, that of the migration")
	o.serviceOptions.addFlags(f)
}

// complete checks the command line and adds what is not on it.
func (o *verifyOptions) complete(f *pflag.FlagSet, getenv func(string) string) (err error) {
	if o.all && f.Changed("sample") {
		return usage("expected one of --sample and --all")
	}
	if o.sample < 1 {
		return usage("--sample is %d; expected a number of records, or --all", o.sample)
	}
	if o.all {
		o.sample = 0
	}
	if err := o.paceOptions.complete(); err != nil {
		return err
	}
	if err := o.targetOptions.complete(f, getenv); err != nil {
		return err
	}
	if err := o.home.complete(getenv); err != nil {
		return err
	}
	known := o.home.catalogue()
	if o.of, err = known.Find(context.Background(), o.name); err != nil {
		return err
	}
	if o.spec, err = o.of.Folder.Spec(); errors.Is(err, migration.ErrAbsent) {
		return fmt.Errorf("the migration %s has sent nothing; there is nothing to verify", o.of.ID)
	} else if err != nil {
		return err
	}
	if o.outputDir == "" {
		o.outputDir = o.spec.OutputDir
	}
	if err := o.outputOptions.complete(o.workURL); err != nil || o.sandbox {
		return err
	}
	return o.requireOf(o.of.ID, o.spec.Target)
}

// verifyOperation is the verification of one migration.
type verifyOperation struct {
	*session.Session
	o            *verifyOptions
	verification migration.Verification
	summary      migration.VerifySummary
}

// identify finds out what is to be read back.
func (v *verifyOperation) Identify(context.Context) (j session.Job, err error) {
	id := v.o.of.ID
	mark, err := v.o.of.Folder.RolledBack()
	if err == nil {
		return j, fmt.Errorf("the migration %s was rolled back, or that was begun (%s); there is nothing to verify", id, mark.Rollback)
	}
	if !errors.Is(err, migration.ErrAbsent) {
		return j, err
	}
	summary, err := v.o.of.Folder.Summary()
	if errors.Is(err, migration.ErrAbsent) {
		return j, session.NotEnded(id)
	}
	v.verification = migration.Verification{
		ID: "verify-" + id, Source: id, Migration: v.o.of.Folder, OutputDir: v.o.outputDir, Sample: v.o.sample, Ended: summary.FinishedAt,
		Limits: v.o.limits, Timeout: time.Duration(v.o.timeout),
	}
	return session.Job{Work: session.Work{Credentials: v.o.credentials}, Spec: v.verification.Spec(v.o.spec), Result: &v.summary}, err
}

func (v *verifyOperation) Prepare(ctx context.Context) error { return v.RefuseRunning(ctx, v.o.of.ID) }

func (v *verifyOperation) Attach() error { return nil }

// IsFinished is false: a verification begins at the first record each time.
func (v *verifyOperation) IsFinished() (bool, error) { return false, nil }

func (v *verifyOperation) Start(ctx context.Context) (client.WorkflowRun, error) {
	summary := workflows.Line("read back %s in %s (%s)", v.o.spec.ShownName(), v.o.spec.Target.Host(), v.o.spec.Target.EntityType)
	run, err := v.Service.Client.ExecuteWorkflow(ctx, v.StartOptions(v.verification.ID, summary), workflows.VerifyWorkflow, workflows.VerifyWorkflowInput{Verification: v.verification})
	if err != nil {
		err = fmt.Errorf("the Temporal service did not start the verification: %w", err)
	}
	return run, err
}

// begin makes the folder of a new verification.
func (v *verifyOperation) Begin() error {
	if err := artifacts.CheckFolder(v.verification.OutputDir); err != nil {
		return err
	}
	now := time.Now()
	owner, err := v.o.of.Folder.Owner()
	if err != nil {
		return err
	}
	stamp, err := artifacts.ReserveStamp(v.verification.OutputDir, owner, "verification", now)
	if err != nil {
		return err
	}
	folder := migration.VerificationIn(v.o.work(), store.Base(v.o.of.Folder.Path()), stamp)
	v.verification.Folder = folder
	if err := folder.SaveOptions(v.verification); err != nil {
		return err
	}
	if _, err := folder.CreateStart(migration.Start{ID: v.verification.ID, StartedAt: now.UTC().Truncate(time.Second), Stamp: stamp}); err != nil {
		return err
	}
	return nil
}

func (v *verifyOperation) Introduce() {
	if v.Attached {
		v.Screen.Say("This migration is being verified already; this is how far it is.")
		return
	}
	what := "all records"
	if v.verification.Sample > 0 {
		what = figures.Count(v.verification.Sample, "record") + " at most, spread over the file (all of them with --all)"
	}
	v.Screen.Say(fmt.Sprintf("Verifying %s in %s (%s): %s. Nothing is changed.", v.o.spec.ShownName(), v.o.spec.Target.URI, v.o.spec.Target.EntityType, what))
	if until := workflows.RetriesMissingUntil(v.verification); until.After(time.Now()) {
		v.Screen.Say(fmt.Sprintf("The migration has just ended, and new records can stay invisible for minutes: one that is missing is looked for again until %s UTC.", until.UTC().Format(time.TimeOnly)))
	}
}

func (v *verifyOperation) Follow() func(context.Context) {
	return verifyView{newView(v.Service, v.verification.ID, v.o.stateDir, v.Screen)}.update
}

func (v *verifyOperation) End() int {
	printVerified(v.Screen, v.summary)
	return v.summary.ExitCode()
}

// printVerified prints what a verification has found, and where the files are.
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
		fmt.Fprintf(s.Stdout, "\nThis was a sample of %s of %s; --all looks at every one.\n", figures.Number(v.Sample), figures.Count(v.Records, "record"))
	}
}

// verifyView follows a verification.
type verifyView struct{ *view }

func (v verifyView) update(ctx context.Context) {
	looking, cancel := context.WithTimeout(ctx, session.AnswerTimeout)
	defer cancel()
	var p workflows.VerifyProgress
	if err := v.query(looking, v.id, &p); err != nil {
		v.unanswered(ctx, err)
		return
	}
	v.lookForTrouble(looking, []string{v.id})
	c := p.Found
	v.screen.Progress(fmt.Sprintf("%s: %s/%s, as they should be %s, different %s, missing %s",
		p.Phase, figures.Number(c.Sum()), figures.Number(p.Records), figures.Number(c.Equal), figures.Number(c.Different), figures.Number(c.Missing)))
}
