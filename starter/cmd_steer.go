package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/catalogue"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/session"
	"durable-dataload/internal/suggest"
	"durable-dataload/internal/terminal"
	"durable-dataload/workflows"
)

// steering is one of the commands that change a running migration.
type steering struct {
	update  string
	short   string
	long    string
	example string
	ends    bool // the migration ends, and the command waits for that
	// forTarget says that it can be ordered for all that call a target.
	forTarget bool
}

var steerings = []steering{
	{
		update: workflows.UpdatePause, forTarget: true, short: "Pause a migration or an export: no more calls until resume",
		long: "Calls in flight finish, and no more begin until starter resume, also after a restart: none begins after this command\nhas answered. With --target it is for all that call a target, and starter resume --target ends it.",
	},
	{
		update: workflows.UpdateResume, forTarget: true, short: "Resume after a pause, or after too many failures",
		long: "It also resumes one that waits for a decision because too many records have failed. It continues where it was, at the pace that is set.",
	},
	{
		update: workflows.UpdateSet, short: "Change the limits of a migration or an export that runs",
		long: "It takes effect at once, for this run. An export has rate and rate-plan.\n\n" +
			"  rate=8          calls a second at most; 0 = no limit\n" +
			"  rate-plan=…     a timetable of the rate, as --rate-plan has it; empty = none\n" +
			"  workers=4       calls in flight at most\n" +
			"  breaker=5       unknown calls in a row that open the breaker; 0 = none do\n" +
			"  max-failed=2%   failed records until it waits for a decision; empty = any",
		example: `  starter set --latest rate=8 workers=4 --reason "the platform is quiet now"
  starter set --latest 'rate-plan=mon-fri 08:00-18:00 2/s; else 10/s'`,
	},
	{
		update: workflows.UpdateStop, short: "Stop for now: calls in flight finish, result files are written",
		long: "What was not attempted is in remaining_*.csv; an export keeps what it has read. Rerun the command that started it to resume.",
		ends: true,
	},
	{
		update: workflows.UpdateCancel, short: "Stop for good: calls in flight finish, result files are written",
		long: "What was not attempted is in remaining_*.csv, what is unknown in the last retry_*.csv; of an export what was read is removed.\nIt cannot be resumed. It also ends one that does not run: one that was stopped, or that has left records in unknown state.",
		ends: true,
	},
	{
		update: workflows.UpdateApprove, short: "Load the other records after a canary",
		long: "The result of the canary is in starter status.",
	},
}

// steerCommands are pause, resume, set, stop, cancel and approve. code is where
// they put the exit code.
func steerCommands(stdout, stderr io.Writer, code *int) []*cobra.Command {
	var commands []*cobra.Command
	for _, s := range steerings {
		commands = append(commands, steerCommand(s, stdout, stderr, code))
	}
	return commands
}

// steerOptions are the command line of one of them.
type steerOptions struct {
	lookup
	name   catalogue.Name
	target string // pause and resume: all runs that call it
	reason string
	json   bool
	set    map[string]string
}

func steerCommand(s steering, stdout, stderr io.Writer, code *int) *cobra.Command {
	var o steerOptions
	use, example := s.update+" ID | --latest", s.example
	if s.forTarget {
		use += " | --target HOST"
	}
	if s.update == workflows.UpdateSet {
		use += " NAME=VALUE …"
	}
	if example == "" {
		example = fmt.Sprintf("  starter %s migration-users.csv-0123456789ab --reason \"as agreed\"\n  starter %[1]s --latest", s.update)
	}
	command := &cobra.Command{
		Use:     use,
		Short:   s.short,
		Long:    s.short + ".\n\n" + s.long + "\n\n" + catalogue.Help + "\n\nExit codes: 0 it is done; 1 it could not be done, or was refused; 2 wrong usage.",
		Example: example,
		Args: func(_ *cobra.Command, args []string) error {
			return o.take(s, args)
		},
		RunE: func(*cobra.Command, []string) error {
			screen := terminal.New(stdout, stderr, terminal.Options{JSON: o.json})
			var err error
			*code, err = o.run(context.Background(), s, screen)
			return err
		},
		ValidArgsFunction: o.completeID,
	}
	switch s.update {
	case workflows.UpdateSet:
		command.ValidArgsFunction = o.completeSetting
	case workflows.UpdateApprove:
		command.ValidArgsFunction = o.completeMigration
	}
	f := command.Flags()
	f.SortFlags = false
	o.name.AddFlags(f)
	if s.forTarget {
		f.StringVar(&o.target, "target", "", "instead of a migration: all migrations, exports, rollbacks and verifications that call this target (its address or host)")
	}
	f.StringVar(&o.reason, "reason", "", "why; it is recorded with the change")
	f.BoolVar(&o.json, "json", false, "print the answer as JSON on stdout; after a stop the summary")
	o.addFlags(f)
	return command
}

// take takes the arguments: the id, and the settings.
func (o *steerOptions) take(s steering, args []string) error {
	for _, arg := range args {
		name, value, isSetting := strings.Cut(arg, "=")
		switch {
		case s.update == workflows.UpdateSet && isSetting && !strings.HasPrefix(arg, "migration-") && !strings.HasPrefix(arg, "export-"):
			if err := o.takeSetting(name, value); err != nil {
				return err
			}
		default:
			if err := o.name.Take(arg); err != nil {
				return usage("%w", err)
			}
		}
	}
	if err := o.checkName(); err != nil {
		return usage("%w", err)
	}
	if s.update == workflows.UpdateSet && len(o.set) == 0 {
		return usage("expected what to set, as in rate=8; there are %s", strings.Join(migration.Settings, ", "))
	}
	if err := (workflows.Order{Reason: o.reason}).Check(); err != nil {
		return usage("%w", err)
	}
	return nil
}

// checkName checks that one migration is named, or a target.
func (o *steerOptions) checkName() error {
	if o.target == "" {
		return o.name.Check()
	}
	if o.name.Check() == nil {
		return errors.New("expected a migration or --target, found both")
	}
	return nil
}

func (o *steerOptions) takeSetting(name, value string) error {
	if !slices.Contains(migration.Settings, name) {
		hint := ""
		if meant := suggest.Name(name, migration.Settings); meant != "" {
			hint = "; did you mean " + meant + "?"
		}
		return usage("there is no setting %q; expected one of %s%s", name, strings.Join(migration.Settings, ", "), hint)
	}
	if _, twice := o.set[name]; twice {
		return usage("%s is set twice", name)
	}
	if o.set == nil {
		o.set = map[string]string{}
	}
	o.set[name] = value
	return nil
}

// completeSetting offers the id of a migration to the shell, and then what can be set.
func (o *steerOptions) completeSetting(command *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 && !o.name.IsGiven() {
		return o.completeID(command, args, begun)
	}
	var names []string
	for _, name := range migration.Settings {
		names = append(names, name+"=")
	}
	return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// operator names the user that gives the order.
func operator() string {
	name := "unknown"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}

func (o *steerOptions) run(ctx context.Context, s steering, screen *terminal.Screen) (int, error) {
	if err := o.open(ctx, os.Getenv); err != nil {
		return 0, err
	}
	defer o.close()
	if o.target != "" {
		return o.orderTarget(ctx, s, screen)
	}
	k, err := o.Find(ctx, o.name)
	if err != nil {
		return 0, err
	}
	if k.IsExport && s.update == workflows.UpdateApprove {
		return 0, fmt.Errorf("%s is an export, which has no canary to approve; expected a migration (starter list has them)", k.ID)
	}
	if s.update == workflows.UpdateCancel && mayBeCancelled(k) {
		return migration.ExitDone, o.cancelEnded(k, screen)
	}
	if err := o.checkRunning(s, k); err != nil {
		return 0, err
	}
	before, _ := k.Folder.Summary() // of an earlier run, if there was one
	answer, err := o.send(ctx, s, k)
	if err != nil {
		return 0, err
	}
	if !s.ends {
		if screen.JSON {
			screen.PrintJSON(answer)
		} else {
			fmt.Fprint(screen.Stdout, answerText(answer))
		}
		return migration.ExitDone, nil
	}
	screen.Say(answer.Text)
	return o.waitForEnd(k, before, screen)
}

// orderTarget pauses or resumes all calls into a target, and returns when every call keeps
// to that.
func (o *steerOptions) orderTarget(ctx context.Context, s steering, screen *terminal.Screen) (int, error) {
	host := strings.ToLower(migration.Target{URI: o.target}.Host())
	if o.Service == nil {
		return 0, fmt.Errorf("no process runs the engine of the state folder %s, so nothing calls %s from there (if migrations run on a Temporal service, give its --address)", o.stateDir, host)
	}
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	order := limiter.Order{By: operator(), Reason: o.reason}
	answer := workflows.Answer{Text: "resumed: calls into " + host + " may begin, where the migration itself is not paused"}
	if order.Resume = s.update == workflows.UpdateResume; !order.Resume {
		order.Pause = fmt.Sprintf("all calls into %s are paused by %s at %s", host, order.By, time.Now().UTC().Format(time.RFC3339))
		if o.reason != "" {
			order.Pause += ": " + o.reason
		}
		answer.Text = "paused: no call into " + host + " begins until starter resume --target " + host
	}
	l := workflows.NewLimiterClient(o.Service.Client, host)
	holds, err := l.Order(ctx, rand.Text(), order)
	if err != nil {
		return 0, fmt.Errorf("the limiter of %s did not take the order: %w; check that a worker runs, and repeat the order", host, err)
	}
	time.Sleep(holds)
	if view, err := l.View(ctx); err == nil && len(view.Runs) == 0 {
		answer.Text += " (nothing calls it now: check the name)"
	}
	if screen.JSON {
		screen.PrintJSON(answer)
	} else {
		fmt.Fprintln(screen.Stdout, answer.Text)
	}
	return migration.ExitDone, nil
}

// mayBeCancelled reports whether the last run of a migration has ended with a result, or that of an export without one, and a
// rerun would resume it.
func mayBeCancelled(k catalogue.Migration) bool {
	if k.Folder.IsZero() {
		return false
	}
	state, _ := k.State()
	if k.IsExport {
		return state == catalogue.Stopped || state == catalogue.Failed
	}
	summary, err := k.Folder.Summary()
	switch state {
	case catalogue.Stopped, catalogue.Unresolved:
		return err == nil
	case catalogue.Cancelled: // and that was interrupted
		return err == nil && !summary.Cancelled
	}
	return false
}

// cancelEnded cancels a migration whose last run has ended, and shows its result. No process
// needs to run for that.
func (o *steerOptions) cancelEnded(k catalogue.Migration, screen *terminal.Screen) error {
	order := migration.Event{
		At: time.Now(), Kind: migration.EventChanged, Who: operator(), Name: workflows.UpdateCancel, Old: "no", New: "yes", Reason: o.reason,
	}
	if k.IsExport {
		if err := errors.Join(k.Folder.Export().Cancel(), k.Folder.AppendEvent(order)); err != nil {
			return fmt.Errorf("cannot cancel %s: %w; repeat the command", k.ID, err)
		}
		newView(nil, k.ID, "", o.stateDir, screen).endExport(migration.Export{}, workflows.ExportResult{Cancelled: true})
		return nil
	}
	summary, err := k.Folder.Cancel(order)
	if err != nil {
		return fmt.Errorf("cannot cancel %s: %w; repeat the command", k.ID, err)
	}
	start, err := k.Folder.Start()
	if err == nil {
		err = artifacts.MarkCancelled(k.Spec.OutputDir, start.Stamp, summary)
	}
	if err != nil {
		screen.Say(fmt.Sprintf("The migration is cancelled, and its summary and report in %s do not say so: %v", k.Spec.OutputDir, err))
	}
	if k.Spec.DataName != "" {
		if err := migration.DropInput(o.work(), k.Spec.DataFile); err != nil {
			screen.Say("The copy of the input could not be removed: " + err.Error())
		}
	}
	o.printResult(screen, endedIn(k.Folder, workflows.Result{Summary: summary}), false)
	return nil
}

// checkRunning refuses a migration that does not run, and says what to do.
func (o *steerOptions) checkRunning(s steering, k catalogue.Migration) error {
	if k.IsRunning() {
		return nil
	}
	state, reason := k.State()
	text, next := state.Text()
	if reason != "" {
		text += " (" + reason + ")"
	}
	isOver := state == catalogue.Done || state == catalogue.Cancelled || state == catalogue.RolledBack || state == catalogue.RolledBackInPart
	switch {
	case isOver:
	case s.update == workflows.UpdateCancel && k.IsExport && !k.Folder.IsZero():
		return fmt.Errorf("%s does not run: %s. Rerun the command that started it, end that with Ctrl-C, and repeat starter cancel", k.ID, text)
	case s.update == workflows.UpdateCancel && !k.Folder.IsZero():
		if claimed, err := k.Folder.Claimed(); !claimed && err == nil {
			return fmt.Errorf("%s has sent nothing (%s): there is nothing to cancel", k.ID, text)
		}
		return fmt.Errorf("%s does not run, and its last run has no result: %s. Rerun the command that started it, end that with Ctrl-C, which writes the result files, and repeat starter cancel; what is unknown is then in retry_*.csv, what was not attempted in remaining_*.csv", k.ID, text)
	case o.Service == nil:
		return fmt.Errorf("no process runs the engine of the state folder %s, so %s cannot be changed; rerun the command that started it to resume it (if it runs on a Temporal service, give its --address)", o.stateDir, k.ID)
	}
	return fmt.Errorf("%s does not run: %s%s; expected one that runs (starter list has them)", k.ID, text, next)
}

// orderTimeout is how long an order may take. The service notices after seconds that a
// worker has died, and gives its work to another one.
const orderTimeout = 30 * time.Second

// send sends the order, and waits for the answer.
func (o *steerOptions) send(ctx context.Context, s steering, k catalogue.Migration) (workflows.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	var answer workflows.Answer
	handle, err := o.Service.Client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: k.ID, RunID: k.Run, UpdateName: s.update,
		Args:         []any{workflows.Order{By: operator(), Reason: o.reason, Set: o.set}},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = handle.Get(ctx, &answer)
	}
	if err != nil {
		return answer, o.explain(s, k, err)
	}
	return answer, nil
}

// explain makes an error that says why an order was not carried out.
func (o *steerOptions) explain(s steering, k catalogue.Migration, err error) error {
	var refused *temporal.ApplicationError
	var gone *serviceerror.NotFound
	var late *client.WorkflowUpdateServiceTimeoutOrCanceledError
	switch {
	case errors.As(err, &refused):
		return errors.New("refused: " + refused.Message())
	case errors.As(err, &gone):
		return fmt.Errorf("%s has ended meanwhile; see starter status %s", k.ID, k.ID)
	case errors.As(err, &late) || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no worker answered within %s; the order may still be carried out once one polls. Start one (rerun the command that started the migration, or start the worker of its task queue %s), check with starter status %s, and repeat the order if needed", orderTimeout, k.Queue, k.ID)
	}
	return fmt.Errorf("the Temporal service did not take the order: %w", err)
}

// answerText is the result of an order, for people.
func answerText(a workflows.Answer) string {
	var b strings.Builder
	if a.Text != "" {
		b.WriteString(a.Text + "\n")
	}
	for _, e := range a.Changes {
		if e.Kind == migration.EventChanged {
			b.WriteString("  " + change(e) + "\n")
		}
	}
	return b.String()
}

// waitForEnd shows the end of a migration and its result. Another process stops it:
// Ctrl-C ends only this command.
func (o *steerOptions) waitForEnd(k catalogue.Migration, before migration.Summary, screen *terminal.Screen) (int, error) {
	interrupted, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer release()
	ctx := context.Background()
	w := session.Watcher{Process: session.Process{Screen: screen, Stop: interrupted.Done()}, Service: o.Service, Attached: true, Again: "starter status " + k.ID + " shows it again."}
	v := newView(o.Service, k.ID, k.Spec.Target.Host(), o.stateDir, screen)
	var result workflows.Result
	var exported workflows.ExportResult
	into, update := any(&result), v.update
	if k.IsExport {
		into, update = &exported, updateOf(v, v.showExport)
	}
	err := w.Watch(ctx, o.Service.Client.GetWorkflow(ctx, k.ID, k.Run), into, update)
	var failed *temporal.WorkflowExecutionError
	switch {
	case err == nil:
	case errors.Is(err, session.ErrReleased):
		return migration.ExitStopped, nil
	case temporal.IsCanceledError(err):
		screen.Say(session.StoppedEarly)
		return migration.ExitDone, nil
	case errors.As(err, &failed):
		return 0, errors.New(workflows.Cause(err))
	case k.IsExport: // as below
		if exported, err = exportResult(ctx, k, nil); err != nil {
			return 0, fmt.Errorf("the process that ran %s ended before the export did; rerun the command that started it to resume it", k.ID)
		}
	default:
		// The process with the engine may end together with the migration, before it
		// answers. The folder has the result.
		if result.Summary, err = k.Folder.Summary(); err != nil || !result.Summary.FinishedAt.After(before.FinishedAt) {
			return 0, fmt.Errorf("the process that ran %s ended before the result files were written; rerun the command that started it to resume it", k.ID)
		}
	}
	if k.IsExport {
		e, _ := k.Folder.Export().Options() // which says where the file is, if it has one
		v.endExport(e, exported)
		return migration.ExitDone, nil
	}
	o.printResult(screen, endedIn(k.Folder, result), false)
	return migration.ExitDone, nil
}
