package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.temporal.io/sdk/client"
	"golang.org/x/term"

	"durable-dataload/activities"
	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/catalogue"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/rollback"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/session"
	"durable-dataload/internal/source"
	"durable-dataload/internal/stage"
	"durable-dataload/internal/store"
	"durable-dataload/internal/terminal"
	"durable-dataload/internal/tilde"
	"durable-dataload/internal/undo"
	"durable-dataload/workflows"
)

// rollbackOptions are the command line of starter rollback.
type rollbackOptions struct {
	runOptions
	name     catalogue.Name
	success  string // file
	identity string
	yes      bool
	force    bool
	dryRun   bool

	identities []age.Identity
	migration  string           // its workflow id, "" with --data
	of         migration.Folder // of the migration, zero with --data
	target     migration.Target
}

// rollbackCommand undoes a migration. code is where it puts its exit code.
func rollbackCommand(stdout, stderr io.Writer, code *int) *cobra.Command {
	var o rollbackOptions
	command := &cobra.Command{
		Use:   "rollback ID | --latest | --data success_….csv",
		Short: "Delete what a migration created, and restore what it updated",
		Long: `Delete what a migration created, and restore what it updated.

Deleted records are gone for good. A record that was changed since the migration is left alone.
The same command again goes on with a rollback that was cut off, or tries again what failed.

Exit codes: 0 all is undone; 1 could not run; 2 wrong usage; 3 done, with failed records;
5 stopped, with records left.`,
		Example: `  starter rollback migration-users.csv-0123456789ab --dry-run
  starter rollback migration-users.csv-0123456789ab
  starter rollback --data success_Nov_22_2026_13_05_00.csv --apid_uri https://example.janraincapture.com`,
		Args: func(command *cobra.Command, args []string) error {
			if err := oneMigration(&o.name, o.success == "")(command, args); err != nil {
				return fmt.Errorf("%w; or --data success_….csv", err)
			}
			if o.name.IsGiven() && o.success != "" {
				return usage("expected a migration or --data success_….csv, found both")
			}
			return nil
		},
		RunE: func(command *cobra.Command, _ []string) error {
			if err := o.complete(command.Flags(), os.Getenv); err != nil {
				return err
			}
			return o.attendOne(command.Context(), stdout, stderr, code, func(ctx context.Context, p session.Process) (int, error) {
				if o.dryRun {
					return (&rollbackOperation{Session: &session.Session{Process: p}, o: &o}).dryRun(ctx)
				}
				return o.withSession(p, func(s *session.Session) (int, error) {
					return s.Run(ctx, &rollbackOperation{Session: s, o: &o})
				})
			})
		},
	}
	command.ValidArgsFunction = o.completeID
	command.Flags().SortFlags = false
	o.addFlags(command.Flags())
	return command
}

func (o *rollbackOptions) addFlags(f *pflag.FlagSet) {
	o.name.AddFlags(f)
	tilde.Var(f, &o.success, "data", "success file of a migration whose state is not at hand, that of dataload.py too; updates are not undone then")
	o.targetOptions.addFlags(f, "undo a migration into the local Identity Cloud")
	f.Lookup("type-name").Usage = "entity type; without --data that of the migration"
	o.paceOptions.addFlags(f)
	f.BoolVar(&o.yes, "yes", false, "do not ask before anything is deleted")
	f.BoolVar(&o.force, "force", false, "undo also what was changed since the migration")
	f.BoolVarP(&o.dryRun, "dry-run", "x", false, "look at all records and count what would be done; change nothing")
	tilde.Var(f, &o.identity, "undo-identity", "file with the private key of age, where the previous values are encrypted (UNDO_IDENTITY)")
	o.outputOptions.addFlags(f)
	o.addHomeFlags(f, "folder for the state, that of the migration")
	o.serviceOptions.addFlags(f)
	o.watched.AddFlags(f)
}

// complete checks the command line and adds what is not on it.
func (o *rollbackOptions) complete(f *pflag.FlagSet, getenv func(string) string) (err error) {
	if err := o.paceOptions.complete(); err != nil {
		return err
	}
	if err := o.watched.Check(); err != nil {
		return usage("%w", err)
	}
	if err := o.targetOptions.complete(f, getenv); err != nil {
		return err
	}
	if o.identity == "" {
		if o.identity, err = tilde.Path(getenv("UNDO_IDENTITY")); err != nil {
			return err
		}
	}
	if o.identities, err = undo.ReadIdentities(o.identity); err != nil {
		return fmt.Errorf("cannot use --undo-identity: %w", err)
	}
	if err := o.home.complete(getenv); err != nil {
		return err
	}
	if err := o.outputOptions.complete(o.workURL); err != nil {
		return err
	}
	if o.success == "" {
		return o.completeFromMigration(f)
	}
	in := input{Input: stage.Input{Path: o.success}}
	if err := in.locate(); err != nil {
		return err
	}
	o.success = in.Path
	return o.require()
}

// completeFromMigration takes the target that the migration went to.
func (o *rollbackOptions) completeFromMigration(f *pflag.FlagSet) error {
	known := o.home.catalogue()
	found, err := known.Find(context.Background(), o.name)
	if err != nil {
		return fmt.Errorf("%w; without its state folder, give its success file with --data", err)
	}
	o.migration, o.of = found.ID, found.Folder
	spec, err := o.of.Spec()
	if errors.Is(err, migration.ErrAbsent) {
		return fmt.Errorf("the migration %s has sent nothing; there is nothing to undo", o.migration)
	}
	if err != nil {
		return err
	}
	if err := o.requireOf(o.migration, spec.Target); err != nil {
		return err
	}
	if f.Changed("type-name") && o.entityType != spec.Target.EntityType {
		return usage("the migration %s went to the type %s, and --type-name is %s; expected the same, or none", o.migration, spec.Target.EntityType, o.entityType)
	}
	o.target = spec.Target
	return nil
}

// rollbackOperation is the rollback of one migration.
type rollbackOperation struct {
	*session.Session
	o        *rollbackOptions
	rollback migration.Rollback
	folder   migration.RollbackFolder
	begun    bool // before: then its list stands
	result   workflows.RollbackResult
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
	return session.Job{Work: session.Work{Credentials: r.o.credentials, Identities: r.o.identities}, Spec: r.rollback.Connection(), Result: &r.result}, nil
}

// find finds out what is to be undone, and refuses what was.
func (r *rollbackOperation) find(ctx context.Context) error {
	r.rollback = migration.Rollback{
		Source: r.o.migration, Migration: r.o.of, OutputDir: r.o.outputDir, Target: r.o.target, Force: r.o.force,
		Limits: r.o.limits, Timeout: time.Duration(r.o.timeout),
	}
	key := ""
	if r.o.of.IsZero() {
		r.rollback.Source = r.o.success
		r.rollback.Target = r.o.targetOptions.target()
		sha, _, err := source.Digest(ctx, r.o.success)
		if err != nil {
			return err
		}
		// No migration begins with record 0.
		key = migration.Key(sha, r.rollback.Target, 0, 1)
		r.rollback.ID = "rollback-" + safetext.Slug(store.Base(r.o.success)) + "-" + key
	} else {
		key = store.Base(r.o.of.Path())
		r.rollback.ID = "rollback-" + r.o.migration
	}
	r.folder = migration.RollbackIn(r.o.work(), key)
	r.rollback.Folder = r.folder
	before, err := r.folder.Options()
	if err == nil && before.OutputDir != r.rollback.OutputDir {
		r.Screen.Say(fmt.Sprintf("This rollback was begun with --output-dir %s and goes on there.", before.OutputDir))
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
	return r.findEnd()
}

// findEnd finds out when the migration ended: what was changed later is not ours.
func (r *rollbackOperation) findEnd() error {
	if !r.o.of.IsZero() {
		summary, err := r.o.of.Summary()
		if errors.Is(err, migration.ErrAbsent) {
			return session.NotEnded(r.o.migration)
		}
		r.rollback.From, r.rollback.Until = summary.StartedAt, summary.FinishedAt
		return err
	}
	stamp := strings.TrimSuffix(strings.TrimPrefix(store.Base(r.o.success), "success_"), ".csv")
	path := store.Join(store.Dir(r.o.success), artifacts.SummaryName(stamp))
	data, err := store.Read(path)
	if errors.Is(err, os.ErrNotExist) {
		if r.o.force {
			return nil
		}
		return fmt.Errorf("there is no %s beside the success file, so when the migration ended is not known, nor what was changed since; put the summary beside it, or undo all the same with --force", store.Base(path))
	}
	if err != nil {
		return err
	}
	var summary migration.Summary
	if err := json.Unmarshal(data, &summary); err != nil || summary.FinishedAt.IsZero() {
		return fmt.Errorf("%s is not the summary of a migration; expected JSON with finished_at; put the right one beside the success file", path)
	}
	if t := r.rollback.Target; summary.URI != t.URI || summary.EntityType != t.EntityType {
		return fmt.Errorf("the success file is of a migration into %s (%s), and the target that is given is %s (%s); give that one", summary.URI, summary.EntityType, t.URI, t.EntityType)
	}
	if summary.Records.Updated > 0 {
		r.Screen.Say(fmt.Sprintf("The migration updated %s as well, which the success file does not have: that is not undone. For it: starter rollback --migration %s", figures.Count(summary.Records.Updated, "record"), summary.WorkflowID))
	}
	r.rollback.From, r.rollback.Until = summary.StartedAt, summary.FinishedAt
	return nil
}

// items are what there is to undo.
func (r *rollbackOperation) items(ctx context.Context) func(func(rollback.Item) error) error {
	if !r.o.of.IsZero() {
		return rollback.OfMigration(ctx, r.o.of)
	}
	return rollback.OfSuccessFile(ctx, r.o.success)
}

// prepare makes the list of a new rollback, asks, and begins.
//
// While somebody thinks about the answer the migration may be gone on with. So
// it is marked after the answer, which ends that, and the list is made again.
func (r *rollbackOperation) Prepare(ctx context.Context) error {
	if r.begun {
		return nil
	}
	if err := r.refuseRunning(ctx); err != nil {
		return err
	}
	totals, err := rollback.Write(ctx, r.folder, r.items(ctx))
	if err != nil {
		return err
	}
	if totals.Items() == 0 {
		r.dropList()
		r.Screen.Say("There is nothing to undo: " + r.rollback.Source + " has created and updated nothing.")
		return session.ErrNothingToDo
	}
	if !r.o.yes {
		if err := r.ask(totals); err != nil {
			r.dropList()
			return err
		}
	}
	if !r.o.of.IsZero() {
		if err := r.o.of.MarkRolledBack(migration.RolledBack{Rollback: r.rollback.ID}); err != nil {
			return err
		}
		if err := r.listAgain(ctx, totals); err != nil {
			return errors.Join(err, r.o.of.DropRolledBack())
		}
	}
	if err := artifacts.CheckFolder(r.rollback.OutputDir); err != nil {
		return err
	}
	if err := r.folder.SaveOptions(r.rollback); err != nil {
		return err
	}
	now := time.Now()
	owner, err := r.folder.Owner()
	if err != nil {
		return err
	}
	stamp, err := artifacts.ReserveStamp(r.rollback.OutputDir, owner, "rollback", now)
	if err != nil {
		return err
	}
	_, err = r.folder.CreateStart(migration.Start{ID: r.rollback.ID, StartedAt: now.UTC().Truncate(time.Second), Stamp: stamp})
	return err
}

// listAgain makes the list once more, of a migration that cannot be gone on with
// any more, and holds that it is the one that was asked for.
func (r *rollbackOperation) listAgain(ctx context.Context, asked rollback.Totals) error {
	if err := r.refuseRunning(ctx); err != nil {
		return err
	}
	totals, err := rollback.Write(ctx, r.folder, r.items(ctx))
	if err == nil && totals != asked {
		err = fmt.Errorf("the migration was gone on with meanwhile: it was asked for %s, and %s would be undone; give the same command again", figures.Count(asked.Items(), "record"), figures.Number(totals.Items()))
	}
	return err
}

// refuseRunning refuses the rollback of a migration that runs.
func (r *rollbackOperation) refuseRunning(ctx context.Context) error {
	if r.o.of.IsZero() {
		return nil
	}
	return r.RefuseRunning(ctx, r.o.migration)
}

// dropList removes the list of a rollback that is not begun: it is user data.
func (r *rollbackOperation) dropList() { _ = store.RemoveAll(r.rollback.Folder.Path()) }

// ask asks on the terminal, until the first Ctrl-C.
func (r *rollbackOperation) ask(totals rollback.Totals) error {
	answered := make(chan error, 1)
	go func() { answered <- confirm(os.Stdin, r.Screen.Stderr, totals, r.rollback.Target) }()
	select {
	case err := <-answered:
		return err
	case <-r.Stop:
		return errors.New("stopped; nothing was changed")
	}
}

// confirm asks whether it is meant. nil is yes.
func confirm(in io.Reader, out io.Writer, totals rollback.Totals, t migration.Target) error {
	what := "Delete " + figures.Count(totals.Deletes, "record")
	if totals.Restores > 0 {
		what += fmt.Sprintf(" and restore %s", figures.Number(totals.Restores))
	}
	expected := totals.Deletes + totals.Restores
	fmt.Fprintf(out, "%s from %s (%s)? Deleted records are gone for good. Type the number of records, %s, to go on: ", what, t.Host(), t.EntityType, figures.Number(expected))
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	answer = strings.TrimSpace(answer)
	if answer != figures.Number(expected) && answer != strings.ReplaceAll(figures.Number(expected), ",", "") {
		return usage("nothing was changed: expected the number %d as the answer", expected)
	}
	return nil
}

func (r *rollbackOperation) Attach() error { return nil }

func (r *rollbackOperation) Begin() error { return r.folder.SaveOptions(r.rollback) }

func (r *rollbackOperation) IsFinished() (bool, error) { return r.result.Summary.IsDone(), nil }

func (r *rollbackOperation) Start(ctx context.Context) (client.WorkflowRun, error) {
	summary := workflows.Line("undo %s in %s (%s)", safetext.Name(store.Base(r.rollback.Source)), r.rollback.Target.Host(), r.rollback.Target.EntityType)
	run, err := r.Service.Client.ExecuteWorkflow(ctx, r.StartOptions(r.rollback.ID, summary), workflows.RollbackWorkflow, workflows.RollbackInput{Rollback: r.rollback})
	if err != nil {
		err = fmt.Errorf("the Temporal service did not start the rollback: %w", err)
	}
	return run, err
}

func (r *rollbackOperation) Introduce() {
	r.Screen.Say(fmt.Sprintf("Rolling back %s in %s (%s).", r.rollback.Source, r.rollback.Target.URI, r.rollback.Target.EntityType))
}

func (r *rollbackOperation) Follow() func(context.Context) {
	return rollbackView{newView(r.Service, r.rollback.ID, r.o.stateDir, r.Screen)}.update
}

func (r *rollbackOperation) End() int {
	if r.result.Halted != "" {
		r.Screen.Say("starter: the rollback stopped: " + r.result.Halted)
	}
	printRollback(r.Screen, r.result.Summary, r.rollback.OutputDir)
	return r.result.Summary.ExitCode()
}

// printRollback prints what a rollback came to, and where the files are.
func printRollback(s *terminal.Screen, r migration.RollbackSummary, dir string) {
	if s.JSON {
		s.PrintJSON(r)
		return
	}
	printRollbackCounts(s, r.Records)
	if r.Unverified > 0 {
		fmt.Fprintf(s.Stdout, "%s of the undone records were not looked at again yet.\n", figures.Number(r.Unverified))
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Reasons)) {
		fmt.Fprintf(s.Stdout, "%s: %s\n", figures.Number(r.Reasons[reason]), reason)
	}
	fmt.Fprintf(s.Stdout, "\n%s\n%s\n\n", store.Join(dir, r.Success), store.Join(dir, r.Fail))
	switch r.ExitCode() {
	case migration.ExitStopped:
		fmt.Fprintln(s.Stdout, "The rollback was stopped. The same command goes on.")
	case migration.ExitFailed:
		fmt.Fprintf(s.Stdout, "Some records are not as they were before. Their reasons are in %s; the same command tries them again.\n", r.Fail)
	default:
		fmt.Fprintln(s.Stdout, "Every record is as it was before the migration.")
	}
}

func printRollbackCounts(s *terminal.Screen, c migration.RollbackCounts) {
	w := tabwriter.NewWriter(s.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\ndeleted\t%d\t\ngone already\t%d\t\nrestored\t%d\t\nas before already\t%d\t\nfailed\t%d\t\nleft\t%d\t\ntotal\t%d\t\n\n",
		c.Deleted, c.Gone, c.Restored, c.Kept, c.Failed, c.Left, c.Sum())
	_ = w.Flush()
}

// dryRun counts what would be done, in this process. It keeps nothing.
func (r *rollbackOperation) dryRun(ctx context.Context) (int, error) {
	closeTarget, err := r.o.openTarget()
	if err != nil {
		return 0, err
	}
	defer closeTarget()
	if err := r.find(ctx); err != nil {
		return 0, err
	}
	if err := r.o.credentials.Check(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-r.Stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	r.folder = migration.RollbackIn(r.o.work(), "dry-run-"+rand.Text())
	r.rollback.Folder = r.folder
	defer r.dropDryRun()
	totals, err := rollback.Write(ctx, r.folder, r.items(ctx))
	if err != nil {
		return 0, err
	}
	r.Screen.Say(fmt.Sprintf("Looking at %s in %s (%s). Nothing is changed.", figures.Count(totals.Items(), "record"), r.rollback.Target.URI, r.rollback.Target.EntityType))
	a := activities.New(r.o.places(), func(spec migration.Spec, with func(*identitycloud.Config)) (activities.Target, error) {
		return r.o.credentials.Connect(spec, with)
	}, r.Log)
	a.OpenUndo(r.o.identities)
	counts, err := a.DryRun(ctx, r.rollback, func(c migration.RollbackCounts) {
		r.Screen.Progress(fmt.Sprintf("%s/%s", figures.Number(c.Sum()), figures.Number(totals.Items())))
	})
	r.Screen.Clear()
	if ctx.Err() != nil {
		r.Screen.Say("Stopped. Nothing was changed.")
		return migration.ExitStopped, nil
	}
	if err != nil {
		return 0, err
	}
	if r.o.json {
		r.Screen.PrintJSON(counts)
		return migration.ExitDone, nil
	}
	fmt.Fprintln(r.Screen.Stdout, "What would be done:")
	printRollbackCounts(r.Screen, counts)
	return migration.ExitDone, nil
}

// dropDryRun removes what a dry run has kept. In a bucket the places for its calls
// are given back a moment after the last one, which is written down once more: a
// small object without user data, that may stay where the store is slow.
func (r *rollbackOperation) dropDryRun() {
	r.dropList()
	if store.IsURL(r.rollback.Folder.Path()) {
		time.Sleep(time.Second)
		r.dropList()
	}
}

// rollbackView follows a rollback.
type rollbackView struct{ *view }

func (v rollbackView) update(ctx context.Context) {
	looking, cancel := context.WithTimeout(ctx, session.AnswerTimeout)
	defer cancel()
	var p workflows.RollbackProgress
	if err := v.query(looking, v.id, &p); err != nil {
		v.unanswered(ctx, err)
		return
	}
	v.lookForTrouble(looking, []string{v.id})
	c := p.Counts
	v.screen.Progress(fmt.Sprintf("%s: %s/%s, deleted %s, restored %s, failed %s",
		p.Phase, figures.Number(c.Sum()), figures.Number(p.Items), figures.Number(c.Deleted+c.Gone), figures.Number(c.Restored+c.Kept), figures.Number(c.Failed)))
}
