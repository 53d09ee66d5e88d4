package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"golang.org/x/term"

	"durable-dataload/activities"
	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/config"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/rollback"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/source"
	"durable-dataload/internal/stage"
	"durable-dataload/internal/store"
	"durable-dataload/internal/tilde"
	"durable-dataload/internal/undo"
	"durable-dataload/workflows"
)

// rollbackOptions are the command line of starter rollback.
type rollbackOptions struct {
	options
	migration string // workflow id
	success   string // file
	identity  string
	yes       bool
	force     bool

	identities []age.Identity
	of         migration.Folder // of the migration, "" with --data
	target     migration.Target
}

// rollbackCommand undoes a migration. code is where it puts its exit code.
func rollbackCommand(stdout, stderr io.Writer, code *int) *cobra.Command {
	var o rollbackOptions
	command := &cobra.Command{
		Use:   "rollback --migration WORKFLOW_ID | --data success_….csv",
		Short: "Delete what a migration created, and restore what it updated",
		Long: `Delete what a migration created, and restore what it updated.

Deleted records are gone for good. A record that was changed since the migration is left alone.
The same command again goes on with a rollback that was cut off, or tries again what failed.

Exit codes: 0 all is undone; 1 could not run; 2 wrong usage; 3 done, with failed records;
5 stopped, with records left.`,
		Example: `  starter rollback --migration migration-users.csv-0123456789ab --dry-run
  starter rollback --migration migration-users.csv-0123456789ab
  starter rollback --data success_Nov_22_2026_13_05_00.csv --apid_uri https://example.janraincapture.com`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("expected no arguments, found %d; the file is named with --data", len(args))
			}
			return nil
		},
		RunE: func(command *cobra.Command, _ []string) error {
			if err := o.complete(command.Flags(), os.Getenv); err != nil {
				return err
			}
			return attendSession(command.Context(), &o.options, stdout, stderr, code, func(ctx context.Context, screen *screen, logger *slog.Logger, stop <-chan struct{}) (int, error) {
				return (&rollbackSession{o: o, screen: screen, log: logger, stop: stop}).run(ctx)
			})
		},
	}
	command.Flags().SortFlags = false
	o.addFlags(command.Flags())
	return command
}

func (o *rollbackOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.migration, "migration", "", "workflow id of the migration to undo, as its summary has it; it is found where it keeps its work")
	tilde.Var(f, &o.success, "data", "success file of a migration whose state is not at hand, that of dataload.py too; updates are not undone then")
	o.credentials.AddFlags(f)
	f.StringVarP(&o.entityType, "type-name", "t", "user", "entity type; with --migration that of the migration")
	o.addPaceFlags(f)
	f.StringVar(&o.auth, "auth", config.AuthBasic, "how calls are authenticated: basic or signature")
	config.AddInsecureHTTP(f, &o.insecureHTTP)
	f.BoolVar(&o.yes, "yes", false, "do not ask before anything is deleted")
	f.BoolVar(&o.force, "force", false, "undo also what was changed since the migration")
	f.BoolVarP(&o.dryRun, "dry-run", "x", false, "look at all records and count what would be done; change nothing")
	tilde.Var(f, &o.identity, "undo-identity", "file with the private key of age, where the previous values are encrypted (UNDO_IDENTITY)")
	o.addOutputDirFlag(f)
	o.addHomeFlags(f, "folder for the state, that of the migration")
	f.BoolVar(&o.sandbox, "sandbox", false, "undo a migration into the local Identity Cloud")
	f.BoolVar(&o.json, "json", false, "print the summary as JSON on stdout")
	o.addWorkFlags(f)
	o.watched.AddFlags(f)
}

// complete checks the command line and adds what is not on it.
func (o *rollbackOptions) complete(f *pflag.FlagSet, getenv func(string) string) (err error) {
	if (o.migration == "") == (o.success == "") {
		return usage("expected one of --migration WORKFLOW_ID and --data success_….csv")
	}
	if err := o.checkPace(); err != nil {
		return err
	}
	if name := namesTarget(f); o.sandbox && name != "" {
		return usage("--sandbox brings its own target; expected no --%s with it", name)
	}
	if o.identity == "" {
		if o.identity, err = tilde.Path(getenv("UNDO_IDENTITY")); err != nil {
			return err
		}
	}
	if o.identities, err = undo.ReadIdentities(o.identity); err != nil {
		return fmt.Errorf("cannot use --undo-identity: %w", err)
	}
	if err := o.completeHome(getenv); err != nil {
		return err
	}
	if err := o.completeOutputDir(); err != nil {
		return err
	}
	if o.success != "" {
		in := input{Input: stage.Input{Path: o.success}}
		if err := in.locate(); err != nil {
			return err
		}
		o.success = in.Path
	}
	if !o.sandbox {
		if err := o.credentials.Complete(getenv); err != nil {
			return err
		}
	}
	if o.success != "" {
		if o.credentials.URI == "" && !o.sandbox {
			return usage("expected a target: --apid_uri https://… (or CAPTURE_APID_URI)")
		}
		return nil
	}
	return o.completeFromMigration(f)
}

// completeFromMigration takes the target that the migration went to.
func (o *rollbackOptions) completeFromMigration(f *pflag.FlagSet) error {
	all, err := migrationsIn(o.work())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(k known) bool { return k.id == o.migration })
	if i < 0 {
		return fmt.Errorf("%s has no migration %s; expected a workflow id, as the summary of the migration has it; give its --state-dir or --work-url, or its success file with --data", o.text(), o.migration)
	}
	o.of = all[i].folder
	spec, err := o.of.Spec()
	if errors.Is(err, migration.ErrAbsent) {
		return fmt.Errorf("the migration %s has sent nothing; there is nothing to undo", o.migration)
	}
	if err != nil {
		return err
	}
	if err := o.takeTarget(o.migration, spec.Target); err != nil {
		return err
	}
	if f.Changed("type-name") && o.entityType != spec.Target.EntityType {
		return usage("the migration %s went to the type %s, and --type-name is %s; expected the same, or none", o.migration, spec.Target.EntityType, o.entityType)
	}
	o.target = spec.Target
	return nil
}

// rollbackSession is a rollback seen through one Temporal service.
type rollbackSession struct {
	o      rollbackOptions
	screen *screen
	log    *slog.Logger
	stop   <-chan struct{} // closed at the first Ctrl-C

	rollback migration.Rollback
	folder   migration.Folder
	service  *service
}

func (s *rollbackSession) run(ctx context.Context) (_ int, err error) {
	closeTarget, err := s.o.openTarget()
	if err != nil {
		return 0, err
	}
	defer closeTarget()
	if err := s.identify(ctx); err != nil {
		return 0, err
	}
	if s.o.dryRun {
		return s.dryRun(ctx)
	}
	begun, err := s.isBegun()
	if err != nil {
		return 0, err
	}
	if !begun && !s.o.yes && !term.IsTerminal(int(os.Stdin.Fd())) {
		return 0, usage("this deletes records, and there is no terminal to ask on; expected --yes (see what it would do with --dry-run)")
	}
	if s.service, err = openService(ctx, s.o.options, s.rollback.Connection(), s.log); err != nil {
		return 0, err
	}
	defer func() {
		err = s.service.lost(err)
		s.service.close()
	}()
	for _, note := range s.service.notes {
		s.screen.say(note)
	}
	if !begun {
		if answer, err := s.prepare(ctx); err != nil || !answer {
			return migration.ExitDone, err
		}
	}
	return s.roll(ctx)
}

// identify finds out what is to be undone.
func (s *rollbackSession) identify(ctx context.Context) error {
	s.rollback = migration.Rollback{
		Source: s.o.migration, Migration: s.o.of, OutputDir: s.o.outputDir, Target: s.o.target, Force: s.o.force,
		Limits: s.o.limits, Timeout: time.Duration(s.o.timeout),
	}
	key := ""
	if s.o.of == "" {
		s.rollback.Source = s.o.success
		s.rollback.Target = migration.Target{URI: s.o.credentials.URI, EntityType: s.o.entityType, Auth: s.o.auth, InsecureHTTP: s.o.insecureHTTP}
		sha, _, err := source.Digest(ctx, s.o.success)
		if err != nil {
			return err
		}
		// No migration begins with record 0.
		key = migration.Key(sha, s.rollback.Target, 0, 1)
		s.rollback.ID = "rollback-" + safetext.Slug(store.Base(s.o.success)) + "-" + key
	} else {
		key = store.Base(string(s.o.of))
		s.rollback.ID = "rollback-" + s.o.migration
	}
	s.folder = migration.RollbackIn(s.o.work(), key)
	s.rollback.Folder = string(s.folder)
	before, err := s.folder.Rollback()
	if err == nil && before.OutputDir != s.rollback.OutputDir {
		s.screen.say(fmt.Sprintf("This rollback was begun with --output-dir %s and goes on there.", before.OutputDir))
		s.rollback.OutputDir = before.OutputDir
	} else if err != nil && !errors.Is(err, migration.ErrAbsent) {
		return err
	}
	summary, err := s.folder.RollbackSummary()
	if err == nil && summary.IsDone() && summary.Records.Failed == 0 {
		return fmt.Errorf("%s was rolled back already (%s UTC: %s; see %s)", s.rollback.Source, summary.FinishedAt.Format(time.DateTime),
			figures.Count(summary.Items, "record"), store.Join(s.rollback.OutputDir, summary.Success))
	} else if err != nil && !errors.Is(err, migration.ErrAbsent) {
		return err
	}
	return s.findEnd()
}

// findEnd finds out when the migration ended: what was changed later is not ours.
func (s *rollbackSession) findEnd() error {
	if s.o.of != "" {
		summary, err := s.o.of.Summary()
		if errors.Is(err, migration.ErrAbsent) {
			return s.notAtItsEnd()
		}
		s.rollback.From, s.rollback.Until = summary.StartedAt, summary.FinishedAt
		return err
	}
	stamp := strings.TrimSuffix(strings.TrimPrefix(store.Base(s.o.success), "success_"), ".csv")
	path := store.Join(store.Dir(s.o.success), artifacts.SummaryName(stamp))
	data, err := store.Read(path)
	if errors.Is(err, os.ErrNotExist) {
		if s.o.force {
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
	if t := s.rollback.Target; summary.URI != t.URI || summary.EntityType != t.EntityType {
		return fmt.Errorf("the success file is of a migration into %s (%s), and the target that is given is %s (%s); give that one", summary.URI, summary.EntityType, t.URI, t.EntityType)
	}
	if summary.Records.Updated > 0 {
		s.screen.say(fmt.Sprintf("The migration updated %s as well, which the success file does not have: that is not undone. For it: starter rollback --migration %s", figures.Count(summary.Records.Updated, "record"), summary.WorkflowID))
	}
	s.rollback.From, s.rollback.Until = summary.StartedAt, summary.FinishedAt
	return nil
}

func (s *rollbackSession) notAtItsEnd() error {
	return fmt.Errorf("the migration %s is not at its end; give its command again and let it end, or stop it there with Ctrl-C, and roll it back then", s.o.migration)
}

// isBegun says whether the rollback was begun before: then its list stands.
func (s *rollbackSession) isBegun() (bool, error) {
	_, err := s.folder.Start()
	if errors.Is(err, migration.ErrAbsent) {
		return false, nil
	}
	return err == nil, err
}

// items are what there is to undo.
func (s *rollbackSession) items(ctx context.Context) func(func(rollback.Item) error) error {
	if s.o.of != "" {
		return rollback.OfMigration(ctx, s.o.of)
	}
	return rollback.OfSuccessFile(ctx, s.o.success)
}

// prepare makes the list, asks, and begins. false: nothing is to be done.
//
// While somebody thinks about the answer the migration may be gone on with. So
// it is marked after the answer, which ends that, and the list is made again.
func (s *rollbackSession) prepare(ctx context.Context) (bool, error) {
	if err := s.refuseRunning(ctx); err != nil {
		return false, err
	}
	totals, err := rollback.Write(ctx, s.folder, s.items(ctx))
	if err != nil {
		return false, err
	}
	if totals.Items() == 0 {
		s.dropList()
		s.screen.say("There is nothing to undo: " + s.rollback.Source + " has created and updated nothing.")
		return false, nil
	}
	if !s.o.yes {
		if err := s.ask(totals); err != nil {
			s.dropList()
			return false, err
		}
	}
	if s.o.of != "" {
		if err := s.o.of.MarkRolledBack(migration.RolledBack{Rollback: s.rollback.ID}); err != nil {
			return false, err
		}
		if err := s.listAgain(ctx, totals); err != nil {
			return false, errors.Join(err, s.o.of.DropRolledBack())
		}
	}
	if err := artifacts.CheckFolder(s.rollback.OutputDir); err != nil {
		return false, err
	}
	if err := s.folder.SaveRollback(s.rollback); err != nil {
		return false, err
	}
	now := time.Now()
	owner, err := s.folder.Owner()
	if err != nil {
		return false, err
	}
	stamp, err := artifacts.ReserveStamp(s.rollback.OutputDir, owner, "rollback", now)
	if err != nil {
		return false, err
	}
	_, err = s.folder.CreateStart(migration.Start{ID: s.rollback.ID, StartedAt: now.UTC().Truncate(time.Second), Stamp: stamp})
	return err == nil, err
}

// listAgain makes the list once more, of a migration that cannot be gone on with
// any more, and holds that it is the one that was asked for.
func (s *rollbackSession) listAgain(ctx context.Context, asked rollback.Totals) error {
	if err := s.refuseRunning(ctx); err != nil {
		return err
	}
	totals, err := rollback.Write(ctx, s.folder, s.items(ctx))
	if err == nil && totals != asked {
		err = fmt.Errorf("the migration was gone on with meanwhile: it was asked for %s, and %s would be undone; give the same command again", figures.Count(asked.Items(), "record"), figures.Number(totals.Items()))
	}
	return err
}

func (s *rollbackSession) refuseRunning(ctx context.Context) error {
	if s.o.of == "" {
		return nil
	}
	running, _, err := s.service.isRunning(ctx, s.o.migration)
	if err == nil && running {
		err = s.notAtItsEnd()
	}
	return err
}

// dropList removes the list of a rollback that is not begun: it is user data.
func (s *rollbackSession) dropList() { _ = store.RemoveAll(s.rollback.Folder) }

// ask asks on the terminal, until the first Ctrl-C.
func (s *rollbackSession) ask(totals rollback.Totals) error {
	answered := make(chan error, 1)
	go func() { answered <- confirm(os.Stdin, s.screen.stderr, totals, s.rollback.Target) }()
	select {
	case err := <-answered:
		return err
	case <-s.stop:
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

// roll starts the workflow, or attaches to it, and follows it to its end.
func (s *rollbackSession) roll(ctx context.Context) (int, error) {
	if err := s.service.work(s.rollback.Connection(), s.o.credentials, s.o.identities, nil, s.log); err != nil {
		return 0, err
	}
	run, attached, ending, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	if ending && s.service.worksAlone(ctx) {
		s.screen.say("This rollback was being stopped; that comes to its end first.")
		_ = run.Get(ctx, nil)
		if summary, err := s.folder.RollbackSummary(); err == nil && summary.IsDone() {
			return s.end(workflows.RollbackResult{Summary: summary}, nil)
		}
		if run, attached, _, err = s.begin(ctx); err != nil {
			return 0, err
		}
	}
	s.screen.say(fmt.Sprintf("Rolling back %s in %s (%s).", s.rollback.Source, s.rollback.Target.URI, s.rollback.Target.EntityType))
	s.service.introduce(ctx, run, s.screen)
	w := watcher{service: s.service, screen: s.screen, log: s.log, stop: s.stop, attached: attached, again: "The same command"}
	view := rollbackView{newView(s.service, run.GetID(), s.o.stateDir, s.screen)}
	var result workflows.RollbackResult
	err = w.watch(ctx, run, &result, view.update)
	switch {
	case errors.Is(err, errEngineGone):
		return 0, err
	case errors.Is(err, errLeft):
		return migration.ExitStopped, nil
	}
	return s.end(result, err)
}

func (s *rollbackSession) begin(ctx context.Context) (run client.WorkflowRun, attached, ending bool, err error) {
	if attached, ending, err = s.service.isRunning(ctx, s.rollback.ID); err != nil {
		return nil, false, false, err
	}
	if !attached {
		if err := s.folder.SaveRollback(s.rollback); err != nil {
			return nil, false, false, err
		}
	}
	run, err = s.service.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                       s.rollback.ID,
		TaskQueue:                s.service.taskQueue,
		WorkflowTaskTimeout:      workflows.TaskTimeout,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            workflows.Line("undo %s in %s (%s)", safetext.Name(store.Base(s.rollback.Source)), s.rollback.Target.Host(), s.rollback.Target.EntityType),
	}, workflows.RollbackWorkflow, workflows.RollbackInput{Rollback: s.rollback})
	if err != nil {
		err = fmt.Errorf("the Temporal service did not start the rollback: %w", err)
	}
	return run, attached, ending, err
}

// end shows what the rollback came to.
func (s *rollbackSession) end(result workflows.RollbackResult, err error) (int, error) {
	switch {
	case temporal.IsCanceledError(err):
		s.screen.say("Stopped before anything was undone. The same command begins again.")
		return migration.ExitStopped, nil
	case err != nil:
		return 0, errors.New(workflows.Cause(err))
	}
	if result.Halted != "" {
		s.screen.say("starter: the rollback stopped: " + result.Halted)
	}
	s.screen.rollback(result.Summary, s.rollback.OutputDir)
	return result.Summary.ExitCode(), nil
}

// rollback prints what a rollback came to, and where the files are.
func (s *screen) rollback(r migration.RollbackSummary, dir string) {
	if s.json {
		s.printJSON(r)
		return
	}
	s.rollbackCounts(r.Records)
	if r.Unverified > 0 {
		fmt.Fprintf(s.stdout, "%s of the undone records were not looked at again yet.\n", figures.Number(r.Unverified))
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Reasons)) {
		fmt.Fprintf(s.stdout, "%s: %s\n", figures.Number(r.Reasons[reason]), reason)
	}
	fmt.Fprintf(s.stdout, "\n%s\n%s\n\n", store.Join(dir, r.Success), store.Join(dir, r.Fail))
	switch r.ExitCode() {
	case migration.ExitStopped:
		fmt.Fprintln(s.stdout, "The rollback was stopped. The same command goes on.")
	case migration.ExitFailed:
		fmt.Fprintf(s.stdout, "Some records are not as they were before. Their reasons are in %s; the same command tries them again.\n", r.Fail)
	default:
		fmt.Fprintln(s.stdout, "Every record is as it was before the migration.")
	}
}

func (s *screen) rollbackCounts(c migration.RollbackCounts) {
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\ndeleted\t%d\t\ngone already\t%d\t\nrestored\t%d\t\nas before already\t%d\t\nfailed\t%d\t\nleft\t%d\t\ntotal\t%d\t\n\n",
		c.Deleted, c.Gone, c.Restored, c.Kept, c.Failed, c.Left, c.Sum())
	_ = w.Flush()
}

// dryRun counts what would be done, in this process. It keeps nothing.
func (s *rollbackSession) dryRun(ctx context.Context) (int, error) {
	if err := s.o.credentials.Check(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	s.folder = migration.RollbackIn(s.o.work(), "dry-run-"+rand.Text())
	s.rollback.Folder = string(s.folder)
	defer s.dropDryRun()
	totals, err := rollback.Write(ctx, s.folder, s.items(ctx))
	if err != nil {
		return 0, err
	}
	s.screen.say(fmt.Sprintf("Looking at %s in %s (%s). Nothing is changed.", figures.Count(totals.Items(), "record"), s.rollback.Target.URI, s.rollback.Target.EntityType))
	a := activities.New(s.o.places(), func(spec migration.Spec, with func(*identitycloud.Config)) (activities.Target, error) {
		return s.o.credentials.Connect(spec, with)
	}, s.log)
	a.OpenUndo(s.o.identities)
	counts, err := a.DryRun(ctx, s.rollback, func(c migration.RollbackCounts) {
		if s.screen.terminal {
			s.screen.progress(fmt.Sprintf("%s/%s", figures.Number(c.Sum()), figures.Number(totals.Items())))
		}
	})
	s.screen.clear()
	if ctx.Err() != nil {
		s.screen.say("Stopped. Nothing was changed.")
		return migration.ExitStopped, nil
	}
	if err != nil {
		return 0, err
	}
	if s.o.json {
		s.screen.printJSON(counts)
		return migration.ExitDone, nil
	}
	fmt.Fprintln(s.screen.stdout, "What would be done:")
	s.screen.rollbackCounts(counts)
	return migration.ExitDone, nil
}

// dropDryRun removes what a dry run has kept. In a bucket the places for its calls
// are given back a moment after the last one, which is written down once more: a
// small object without user data, that may stay where the store is slow.
func (s *rollbackSession) dropDryRun() {
	s.dropList()
	if store.IsURL(s.rollback.Folder) {
		time.Sleep(time.Second)
		s.dropList()
	}
}

// rollbackView follows a rollback.
type rollbackView struct{ *view }

func (v rollbackView) update(ctx context.Context) {
	looking, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var p workflows.RollbackProgress
	if err := v.query(looking, v.id, &p); err != nil {
		v.unanswered(ctx, err)
		return
	}
	v.lookForTrouble(looking, []string{v.id})
	if !v.isTimeToPrint() {
		return
	}
	c := p.Counts
	v.screen.progress(fmt.Sprintf("%s: %s/%s, deleted %s, restored %s, failed %s",
		p.Phase, figures.Number(c.Sum()), figures.Number(p.Items), figures.Number(c.Deleted+c.Gone), figures.Number(c.Restored+c.Kept), figures.Number(c.Failed)))
}
