package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"golang.org/x/term"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/engine"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/pace"
	"durable-dataload/workflows"
)

// state is how a migration stands, in a word. Scripts depend on it.
type state string

const (
	stateRunning    state = "running"
	stateDone       state = "done"       // every record was attempted, and none is unknown
	stateUnresolved state = "unresolved" // every record was attempted, some are unknown
	stateStopped    state = "stopped"    // before its time, and was not gone on with
	stateCancelled  state = "cancelled"  // for good
	stateCutOff     state = "cut_off"    // nothing runs, and nobody has stopped it
	stateFailed     state = "failed"     // it could not run
	stateRolledBack state = "rolled_back"
)

// text is the state for people, and how it goes on from there.
func (s state) text() (text, next string) {
	switch s {
	case stateUnresolved:
		return "done, with records in unknown state", "; the same command goes on with them"
	case stateStopped:
		return "stopped", "; the same command goes on"
	case stateCancelled:
		return "cancelled, for good", ""
	case stateCutOff:
		return "cut off", "; the same command goes on"
	case stateFailed:
		return "could not run", ""
	case stateRolledBack:
		return "rolled back", ""
	}
	return string(s), ""
}

// stateNow tells from the service, or from the folder where that knows no more.
func (k known) stateNow() state {
	switch k.state {
	case enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW:
		return stateRunning
	}
	if k.folder == "" {
		return k.stateInService()
	}
	if _, err := k.folder.RolledBack(); err == nil {
		return stateRolledBack
	}
	if k.folder.Cancelled() {
		return stateCancelled
	}
	if k.folder.Finished() {
		return stateDone
	}
	summary, err := k.folder.Summary()
	switch {
	case k.state == enumspb.WORKFLOW_EXECUTION_STATUS_FAILED:
		return stateFailed
	case k.state == enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED:
		return stateStopped
	case err != nil || k.begunSince(summary):
		return stateCutOff
	}
	return stateOf(summary)
}

func (k known) stateInService() state {
	switch k.state {
	case enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		return stateDone
	case enumspb.WORKFLOW_EXECUTION_STATUS_FAILED:
		return stateFailed
	case enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED:
		return stateStopped
	}
	return stateCutOff
}

// stateOf is the state after a run that came to its end.
func stateOf(s migration.Summary) state {
	if s.Cancelled {
		return stateCancelled
	}
	switch s.Records.ExitCode() {
	case migration.ExitStopped:
		return stateStopped
	case migration.ExitUnknown:
		return stateUnresolved
	}
	return stateDone
}

// begunSince says whether a run has begun and not ended after the one that the
// summary is of.
func (k known) begunSince(s migration.Summary) bool {
	events, err := k.folder.Events()
	if err != nil {
		return false
	}
	for _, e := range slices.Backward(events) {
		switch e.Kind {
		case migration.EventEnded:
			return false
		case migration.EventBegun:
			return e.At.After(s.FinishedAt)
		}
	}
	return false
}

// status is what is known of a migration. Scripts depend on its JSON
// (docs/operate.md).
type status struct {
	ID         string          `json:"id"`
	File       string          `json:"file"`
	URI        string          `json:"apid_uri"`
	EntityType string          `json:"entity_type"`
	State      state           `json:"state"`
	Phase      workflows.Phase `json:"phase,omitempty"`
	StartedAt  time.Time       `json:"started_at,omitzero"`
	FinishedAt time.Time       `json:"finished_at,omitzero"`
	ExitCode   *int            `json:"exit_code"` // null until it has ended

	Records migration.Counts `json:"records"`
	Rounds  []roundStatus    `json:"rounds"`

	// Of a migration that runs.
	Paused      string         `json:"paused,omitempty"` // who and why
	Decision    string         `json:"decision,omitempty"`
	DecidedBy   string         `json:"decided_by,omitempty"` // the command that answers it, beside stop
	Ending      string         `json:"ending,omitempty"`     // stop or cancel, once it was ordered
	MaxFailed   string         `json:"max_failed,omitempty"`
	Pace        *paceStatus    `json:"pace,omitempty"`
	Errors      map[string]int `json:"errors,omitempty"` // records by class of reason, of the round that runs
	SecondsLeft float64        `json:"seconds_left,omitempty"`
	Trouble     string         `json:"trouble,omitempty"`
	WebUI       string         `json:"web_ui,omitempty"`

	Events []migration.Event `json:"events"`

	outputDir string
	advice    string
}

// roundStatus is what a round came to, or has come to so far.
type roundStatus struct {
	Round int `json:"round"`
	ledger.Counts
	Recovered *int `json:"recovered"` // null: not told by round
	// Of the round that runs.
	Running     bool `json:"running,omitempty"`
	Batches     int  `json:"batches,omitempty"`
	BatchesDone int  `json:"batches_done,omitempty"`
}

// paceStatus is how fast it goes, and may go. 0 is no limit.
type paceStatus struct {
	CallsASecond float64 `json:"calls_per_second"` // as measured
	Allowed      float64 `json:"allowed"`
	Limit        float64 `json:"limit"`
	RatePlan     string  `json:"rate_plan,omitempty"`
	Workers      int     `json:"workers"`       // calls in flight at most
	BatchesBegun int     `json:"batches_begun"` // also those that wait for their turn
	Breaker      int     `json:"breaker,omitempty"`

	Closed      string    `json:"closed,omitempty"` // why no calls are made now
	Since       time.Time `json:"closed_since,omitzero"`
	BreakerOpen bool      `json:"breaker_open,omitempty"`
	Probe       time.Time `json:"next_probe,omitzero"`
}

// statusCommand shows one migration.
func statusCommand(stdout, stderr io.Writer, code *int) *cobra.Command {
	var o statusOptions
	command := &cobra.Command{
		Use:   "status [ID | --latest]",
		Short: "Tell what a migration does, and what it has come to",
		Long: `Tell what a migration does, and what it has come to.

ID is the id of the migration, the key at its end, or a part that only it has. Without it: the migration that began last,
of those that run if any does. Where nothing runs, the state folder tells.

Exit codes: 0 it was told; 1 it could not be told; 2 wrong usage. With --watch that of the migration when it ends:
0, 3, 4 or 5 as starter --help has them, 1 if it failed.`,
		Example: "  starter status\n  starter status --latest --watch\n  starter status migration-users.csv-0123456789ab --json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && o.latest {
				return operateUsage("status", "expected one migration: its id, or --latest")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) (err error) {
			o.id = strings.Join(args, "")
			*code, err = o.run(context.Background(), stdout, stderr)
			return err
		},
		ValidArgsFunction: o.place.complete,
	}
	f := command.Flags()
	f.SortFlags = false
	f.BoolVar(&o.latest, "latest", false, "the migration that began last, of those that run; as without an id")
	f.BoolVar(&o.watch, "watch", false, "look every second until the migration ends")
	f.BoolVar(&o.json, "json", false, "print it as JSON; with --watch an object a line")
	o.addFlags(f)
	return command
}

type statusOptions struct {
	place
	id     string
	latest bool
	watch  bool
	json   bool
}

const (
	// lookTimeout is how long the service, and through it a worker, may take to
	// answer.
	lookTimeout = 5 * time.Second

	// measureFor is between the two looks by which the pace is measured.
	measureFor = 2 * time.Second
)

func (o *statusOptions) run(ctx context.Context, stdout, stderr io.Writer) (int, error) {
	if err := o.open(ctx, os.Getenv); err != nil {
		return 0, err
	}
	defer o.close()
	k, err := o.find(ctx, o.id)
	if err != nil {
		return 0, err
	}
	screen := newScreen(stdout, stderr, options{json: o.json})
	l := newLooker(&o.place, k, screen)
	if o.watch {
		return o.follow(ctx, l, screen)
	}
	s, err := l.look(ctx)
	if err == nil && s.State == stateRunning && s.Trouble == "" {
		time.Sleep(measureFor)
		s, err = l.look(ctx)
	}
	if err != nil {
		return 0, err
	}
	if o.json {
		screen.printJSON(s)
		return migration.ExitDone, nil
	}
	return migration.ExitDone, s.print(stdout, true)
}

// follow looks until the migration ends. It gives the migration's exit code.
func (o *statusOptions) follow(ctx context.Context, l *looker, screen *screen) (int, error) {
	interrupted, release := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer release()
	out, terminal := screen.stdout.(*os.File)
	terminal = terminal && term.IsTerminal(int(out.Fd())) && !o.json
	for {
		s, err := l.look(ctx)
		switch {
		case err != nil:
			// It answered when this began: it may again.
			l.view.tell(err.Error())
		case o.json:
			line, err := json.Marshal(s)
			if err != nil {
				return 0, err
			}
			if _, err := fmt.Fprintf(screen.stdout, "%s\n", line); err != nil {
				return 0, err
			}
		case terminal:
			if err := redraw(screen.stdout, s); err != nil {
				return 0, err
			}
		case s.ExitCode == nil && s.Phase == "":
			l.view.tell(s.Trouble)
		case s.ExitCode == nil:
			l.view.tell(s.Trouble)
			l.view.show(l.progress)
		default:
			if err := s.print(screen.stdout, true); err != nil {
				return 0, err
			}
		}
		if s.ExitCode != nil {
			return *s.ExitCode, nil
		}
		select {
		case <-interrupted.Done():
			return migration.ExitStopped, nil
		case <-time.After(time.Second):
		}
	}
}

// redraw puts the status in the place of the one before.
func redraw(w io.Writer, s status) error {
	var b bytes.Buffer
	if err := s.print(&b, false); err != nil {
		return err
	}
	page := strings.ReplaceAll(b.String(), "\n", "\x1b[K\n")
	_, err := io.WriteString(w, "\x1b[H"+page+"\x1b[J")
	return err
}

// looker looks at one migration, again and again.
type looker struct {
	place    *place
	known    known
	view     *view
	progress workflows.Progress // of the last look

	calls, batches, updates meter
}

func newLooker(p *place, k known, screen *screen) *looker {
	l := &looker{place: p, known: k}
	if p.service != nil {
		l.view = newView(p.service.client, k.id, p.stateDir, screen)
	}
	return l
}

// look gives the status.
func (l *looker) look(ctx context.Context) (status, error) {
	p := l.place
	if s := p.service; s != nil && s.engineDir != "" && engine.IsFree(s.engineDir) {
		p.ends()
	}
	if err := p.look(ctx, &l.known); err != nil {
		return status{}, err
	}
	s := l.known.status()
	if p.service != nil && p.service.ui != "" && l.known.run != "" {
		s.WebUI = p.service.ui + "/namespaces/" + engine.Namespace + "/workflows/" + url.PathEscape(l.known.id) + "/" + l.known.run
	}
	if s.State != stateRunning || p.service == nil {
		return s, l.addEnd(ctx, &s)
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	progress, ids, ok := l.view.look(ctx)
	if !ok {
		s.Trouble = "no worker answers; the command that began the migration goes on with it, or a worker of the task queue " + l.known.queue
		return s, nil
	}
	l.progress = progress
	trouble, gate := l.view.pending(ctx, ids)
	s.Trouble = trouble
	s.addProgress(progress)
	s.addPace(progress, gateIn(progress, gate), l.known.spec.Control())
	l.measure(&s, progress)
	return s, nil
}

// measure adds what follows from this look and those before.
func (l *looker) measure(s *status, p workflows.Progress) {
	l.calls.add(callsOf(p))
	s.Pace.CallsASecond = math.Round(100*l.calls.perSecond()) / 100
	left, rate := p.Batches-p.BatchesDone, 0.0
	if p.Phase == workflows.PhaseUpdating {
		l.updates.add(p.Updates.Records())
		left, rate = p.ToUpdate-p.Updates.Records(), l.updates.perSecond()
	} else {
		l.batches.add(p.BatchesDone)
		rate = l.batches.perSecond()
	}
	if rate > 0 {
		s.SecondsLeft = math.Round(float64(left) / rate)
	}
}

// status is what the folder and the options tell.
func (k known) status() status {
	s := status{
		ID: k.id, File: k.spec.InputName(), URI: k.spec.Target.URI, EntityType: k.spec.Target.EntityType,
		State: k.stateNow(), StartedAt: k.begun, outputDir: k.spec.OutputDir, Rounds: []roundStatus{}, Events: []migration.Event{},
	}
	if k.folder != "" {
		if events, err := k.folder.Events(); err == nil && events != nil {
			s.Events = events
		}
	}
	return s
}

// addEnd adds what the last run came to.
func (l *looker) addEnd(ctx context.Context, s *status) error {
	summary, err := l.known.summary(ctx, l.place.service)
	code := migration.ExitStopped // something is left, as far as is known
	if err == nil {
		s.addSummary(summary)
		code = summary.Records.ExitCode()
	}
	switch s.State {
	case stateFailed:
		code = migration.ExitCannotRun
		if l.place.service != nil {
			if err := l.place.service.client.GetWorkflow(ctx, s.ID, l.known.run).Get(ctx, nil); err != nil {
				s.Trouble = workflows.Cause(err)
			}
		}
	case stateCutOff:
		code = migration.ExitStopped
	}
	s.ExitCode = &code
	return nil
}

// summary gives that of the last run that came to its end.
func (k known) summary(ctx context.Context, s *service) (migration.Summary, error) {
	if k.folder != "" {
		return k.folder.Summary()
	}
	if s == nil || k.state != enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED {
		return migration.Summary{}, migration.ErrAbsent
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var result workflows.Result
	err := s.client.GetWorkflow(ctx, k.id, k.run).Get(ctx, &result)
	return result.Summary, err
}

func (s *status) addSummary(sum migration.Summary) {
	s.Records, s.StartedAt = sum.Records, sum.StartedAt
	if s.State != stateCutOff {
		s.FinishedAt = sum.FinishedAt
		s.advice = artifacts.Advice(sum)
	}
	if s.State == stateDone {
		s.State = stateOf(sum)
	}
	for _, r := range sum.Rounds {
		s.Rounds = append(s.Rounds, roundStatus{Round: r.Round, Counts: ledger.Counts{
			Created: r.Created, Duplicate: r.Duplicate, Failed: r.Failed, Unknown: r.Unknown, Calls: r.Calls,
		}})
	}
}

// addProgress adds how far a migration is that runs.
func (s *status) addProgress(p workflows.Progress) {
	s.Phase = p.Phase
	s.Errors = p.Errors
	for _, r := range p.Rounds {
		s.Rounds = append(s.Rounds, roundStatus{Round: r.Round, Counts: r.Counts, Recovered: &r.Resolved.Recovered})
	}
	if p.Batches > 0 {
		s.Rounds = append(s.Rounds, roundStatus{Round: p.Round, Counts: p.Loading, Running: true, Batches: p.Batches, BatchesDone: p.BatchesDone})
	}
	s.Records = dispositions(p)
	if c := p.Steering; c != nil {
		if c.Paused {
			s.Paused = c.PausedText
		}
		s.Decision, s.DecidedBy, s.Ending, s.MaxFailed = c.Decision, c.DecidedBy, c.Ending, c.MaxFailed
		if len(s.Events) == 0 && len(c.Changes) > 0 {
			s.Events = c.Changes
		}
	}
}

// dispositions are where the records stand so far. Those of a delta migration
// that wait for their update are remaining; what else has been attempted and
// not come to an end is unknown.
func dispositions(p workflows.Progress) migration.Counts {
	if p.Counts != nil {
		return *p.Counts
	}
	c := migration.Counts{Total: p.Records, Updated: p.Updates.Updated + p.Updates.Unchanged, Failed: p.Updates.Failed}
	attempted, toUpdate := 0, -p.Updates.Records()
	count := func(round int, r ledger.Counts) {
		c.Created += r.Created
		c.Failed += r.Failed
		if round > 0 {
			return // whose its duplicates are is found out after it
		}
		attempted += r.Records()
		if p.Delta {
			toUpdate += r.Duplicate
		} else {
			c.Failed += r.Duplicate
		}
	}
	for _, r := range p.Rounds {
		count(r.Round, r.Counts)
		c.Recovered += r.Resolved.Recovered
		c.Failed += r.Resolved.Failed
		toUpdate += r.Resolved.Duplicate
	}
	count(p.Round, p.Loading)
	c.Remaining = c.Total - attempted + toUpdate
	c.Unknown = c.Total - c.Created - c.Recovered - c.Updated - c.Failed - c.Remaining
	return c
}

// addPace adds what is set and how the gate stands, as far as that is known.
func (s *status) addPace(p workflows.Progress, gate *pace.State, set migration.Control) {
	if p.Steering != nil {
		set = p.Steering.Control
	}
	s.Pace = &paceStatus{
		Allowed: set.RateLimit, Limit: set.RateLimit, RatePlan: set.RatePlan, Workers: set.Workers, Breaker: set.Breaker, BatchesBegun: p.InFlight,
	}
	if gate == nil {
		return
	}
	s.Pace.Allowed, s.Pace.Limit = gate.Allowed, gate.Limit
	s.Pace.Closed, s.Pace.Since = gate.Closed, gate.Since
	s.Pace.BreakerOpen, s.Pace.Probe = gate.Breaker, gate.Probe
}

// shownEvents is how many events a person sees, the last ones; JSON has all.
const (
	shownEvents   = 20
	redrawnEvents = 8
)

// print shows the status to a person.
func (s status) print(w io.Writer, all bool) error {
	p := &errWriter{w: w}
	p.line("%s", s.ID)
	p.line("%s → %s (%s)%s", s.File, s.URI, s.EntityType, since("; begun (all times are UTC) ", s.StartedAt))
	p.line("%s", s.headline())
	for _, line := range s.waits(time.Now()) {
		p.line("%s", line)
	}
	if s.Pace != nil {
		p.line("%s", s.Pace.text())
	}
	p.table(s.Rounds)
	c := s.Records
	if c.Total > 0 {
		p.line("\n%s", c)
	}
	if len(s.Errors) > 0 {
		p.line("\nFailed or unknown in this round, by reason:")
		byCount := slices.SortedFunc(maps.Keys(s.Errors), func(a, b string) int {
			return cmp.Or(s.Errors[b]-s.Errors[a], strings.Compare(a, b))
		})
		for _, class := range byCount {
			p.line("  %s: %s", number(s.Errors[class]), class)
		}
	}
	if len(s.Events) > 0 {
		shown := shownEvents
		if !all {
			shown = redrawnEvents
		}
		p.line("\nWhat happened:")
		if more := len(s.Events) - shown; more > 0 {
			p.line("  %d more before that; --json has them", more)
		}
		for _, e := range s.Events[max(0, len(s.Events)-shown):] {
			p.line("  %s  %s", moment(e.At), eventText(e))
		}
	}
	if s.advice != "" {
		p.line("\n%s", s.advice)
	}
	if s.WebUI != "" {
		p.line("\nWeb UI:  %s", s.WebUI)
	}
	return p.err
}

// headline is the state in a line.
func (s status) headline() string {
	if s.State != stateRunning {
		text, next := s.State.text()
		return text + since(", at ", s.FinishedAt) + next + trouble(s.Trouble)
	}
	text := "running"
	if s.Ending != "" {
		text += " (" + s.Ending + " is ordered)"
	}
	if s.Phase != "" {
		text += ": " + string(s.Phase)
	}
	if n := len(s.Rounds); n > 0 && s.Rounds[n-1].Running {
		r := s.Rounds[n-1]
		text += fmt.Sprintf(", round %d, batch %s of %s", r.Round, number(r.BatchesDone), number(r.Batches))
	}
	if s.SecondsLeft > 0 {
		text += fmt.Sprintf(", about %s left", time.Duration(s.SecondsLeft)*time.Second)
	}
	return text + trouble(s.Trouble)
}

func trouble(text string) string {
	if text == "" {
		return ""
	}
	return "\nTrouble: " + text
}

// waits says what a migration waits for, and how it goes on.
func (s status) waits(now time.Time) []string {
	var lines []string
	if s.Decision != "" {
		lines = append(lines, decisionText(s.Decision, s.DecidedBy, s.ID))
	}
	if s.Paused != "" {
		lines = append(lines, pausedText(s.Paused, s.ID))
	}
	if s.Pace != nil && s.Pace.Closed != "" && s.Paused == "" {
		lines = append(lines, closedText(s.Pace.Closed, s.Pace.Probe, now)+since("; since ", s.Pace.Since))
	}
	return lines
}

func (p paceStatus) text() string {
	text := fmt.Sprintf("%.1f calls a second now", p.CallsASecond)
	switch {
	case p.Allowed > 0 && p.Allowed != p.Limit:
		text += fmt.Sprintf("; %s allowed by the target's answers, of %s", rateText(p.Allowed), rateText(p.Limit))
	default:
		text += "; " + rateText(p.Limit) + " allowed"
	}
	text += fmt.Sprintf("; %d in flight at most, %d batches begun", p.Workers, p.BatchesBegun)
	if p.RatePlan != "" {
		text += "; timetable: " + p.RatePlan
	}
	return text
}

// rateText is a rate limit for people.
func rateText(perSecond float64) string {
	if perSecond == 0 {
		return "any number"
	}
	return fmt.Sprintf("%.3g", perSecond)
}

// eventText is an event in a line.
func eventText(e migration.Event) string {
	text := string(e.Kind)
	if e.Kind == migration.EventChanged {
		text = change(e)
	} else if e.New != "" {
		text += " " + e.New
	}
	if e.Text != "" {
		text += ": " + e.Text
	}
	if e.Who != "" {
		text += ", by " + e.Who
	}
	if e.Reason != "" {
		text += " (" + e.Reason + ")"
	}
	return text
}

// moment is a time for people, in UTC as in the summary.
func moment(t time.Time) string { return t.UTC().Format(time.DateTime) }

// since is a time with words before it, or nothing.
func since(words string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return words + moment(t)
}

// errWriter keeps the first error.
type errWriter struct {
	w   io.Writer
	err error
}

func (p *errWriter) line(format string, args ...any) {
	_, err := fmt.Fprintf(p.w, format+"\n", args...)
	p.err = errors.Join(p.err, err)
}

func (p *errWriter) table(rounds []roundStatus) {
	if len(rounds) == 0 {
		return
	}
	recovered := slices.ContainsFunc(rounds, func(r roundStatus) bool { return r.Recovered != nil })
	w := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', tabwriter.AlignRight)
	header := "\nround\tcalls\tcreated\tduplicate\tfailed\tunknown\t"
	if recovered {
		header += "recovered\t"
	}
	fmt.Fprintln(w, header)
	for _, r := range rounds {
		row := fmt.Sprintf("%d\t%d\t%d\t%d\t%d\t%d\t", r.Round, r.Calls, r.Created, r.Duplicate, r.Failed, r.Unknown)
		switch {
		case !recovered:
		case r.Recovered != nil:
			row += fmt.Sprintf("%d\t", *r.Recovered)
		default:
			row += "…\t"
		}
		fmt.Fprintln(w, row)
	}
	p.err = errors.Join(p.err, w.Flush())
}
