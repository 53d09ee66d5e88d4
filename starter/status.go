package main

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"durable-dataload/activities"
	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/catalogue"
	"durable-dataload/internal/engine"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/session"
	"durable-dataload/internal/store"
	"durable-dataload/internal/tally"
	"durable-dataload/workflows"
)

// status is the status of a migration or an export. Scripts depend on its JSON (docs/operate.md).
type status struct {
	ID         string          `json:"id"`
	Kind       kind            `json:"kind"`
	File       string          `json:"file"`
	URI        string          `json:"apid_uri"`
	EntityType string          `json:"entity_type"`
	State      catalogue.State `json:"state"`
	Phase      workflows.Phase `json:"phase,omitempty"`
	StartedAt  time.Time       `json:"started_at,omitzero"`
	FinishedAt time.Time       `json:"finished_at,omitzero"`
	ExitCode   *int            `json:"exit_code"`        // null until it has ended
	Reason     string          `json:"reason,omitempty"` // why it could not run, or ended early
	Rerun      string          `json:"rerun,omitempty"`  // what came of a later run that sent nothing

	Records migration.Counts `json:"records"`
	// RecordsAsOf is the time of the counts if they are older: the ledger takes too long
	// to count.
	RecordsAsOf time.Time     `json:"records_as_of,omitzero"`
	Rounds      []roundStatus `json:"rounds"`
	Export      *exportStatus `json:"export,omitempty"` // instead of Records and Rounds

	// While it runs.
	Paused      string         `json:"paused,omitempty"`  // by which user, and why
	Waiting     string         `json:"waiting,omitempty"` // for what, and until when
	Decision    string         `json:"decision,omitempty"`
	DecidedBy   string         `json:"decided_by,omitempty"` // the command that answers it, beside stop
	Ending      string         `json:"ending,omitempty"`     // stop or cancel, once requested
	MaxFailed   string         `json:"max_failed,omitempty"`
	Pace        *paceStatus    `json:"pace,omitempty"`
	Errors      map[string]int `json:"errors,omitempty"` // records by class of reason, of the current round
	SecondsLeft float64        `json:"seconds_left,omitempty"`
	Trouble     string         `json:"trouble,omitempty"`
	Unpolled    string         `json:"unpolled_task_queue,omitempty"` // no worker polls it, and the migration waits for one
	WebUI       string         `json:"web_ui,omitempty"`

	Events []migration.Event `json:"events"`

	Rollback *rollbackStatus `json:"rollback,omitempty"` // nil: none was started

	outputDir string
	advice    string
	exported  *migration.ExportSummary // of an export that is done
}

// rollbackStatus is what the last run of a rollback came to; without a time if none has ended.
type rollbackStatus struct {
	ID         string                   `json:"id"`
	FinishedAt time.Time                `json:"finished_at,omitzero"`
	Records    migration.RollbackCounts `json:"records"`
	fail       string                   // path of the file with the reasons
}

// rollbackOf returns the rollback of a migration, or nil.
func rollbackOf(k catalogue.Migration) *rollbackStatus {
	mark, err := k.Folder.RolledBack()
	if err != nil {
		return nil
	}
	r := rollbackStatus{ID: mark.Rollback}
	folder := migration.RollbackIn(k.Folder.Work(), k.Key())
	if summary, err := folder.Summary(); err == nil {
		r.FinishedAt, r.Records, r.fail = summary.FinishedAt, summary.Records, summary.Fail
		if options, err := folder.Options(); err == nil {
			r.fail = store.Join(options.OutputDir, r.fail)
		}
	}
	return &r
}

// roundStatus has the counts of a round, so far.
type roundStatus struct {
	Round int `json:"round"`
	ledger.Counts
	Recovered *int `json:"recovered"` // null: not known by round
	// Of the current round.
	Running     bool `json:"running,omitempty"`
	Batches     int  `json:"batches,omitempty"`
	BatchesDone int  `json:"batches_done,omitempty"`
}

// paceStatus has the counted and the allowed rate. 0 is no limit.
type paceStatus struct {
	CallsASecond float64 `json:"calls_per_second"` // in the last ten seconds
	Allowed      float64 `json:"allowed"`
	Limit        float64 `json:"limit"`
	RatePlan     string  `json:"rate_plan,omitempty"`
	Workers      int     `json:"workers"`       // calls in flight at most
	BatchesBegun int     `json:"batches_begun"` // also those that wait for a slot
	Breaker      int     `json:"breaker,omitempty"`

	Closed      string    `json:"closed,omitempty"` // why no calls are made now
	Since       time.Time `json:"closed_since,omitzero"`
	BreakerOpen bool      `json:"breaker_open,omitempty"`
	Probe       time.Time `json:"next_probe,omitzero"`
	LastCall    time.Time `json:"last_call,omitzero"` // when it ended
}

// kind is what an id means.
type kind string

const (
	kindMigration kind = "migration"
	kindExport    kind = "export"
)

func kindOf(k catalogue.Migration) kind {
	if k.IsExport {
		return kindExport
	}
	return kindMigration
}

// exportStatus has the counts of an export: of its phase while it runs, and then of its file.
type exportStatus struct {
	Pages    int        `json:"pages,omitempty"`
	Records  int        `json:"records"`
	Expected int        `json:"expected,omitempty"` // in this phase; 0: not known
	Until    *time.Time `json:"waits_until,omitempty"`
	text     string     // the phase with its figures, for people
}

// statusOf returns what the folder and the options have.
func statusOf(k catalogue.Migration) status {
	s := status{
		ID: k.ID, Kind: kindOf(k), File: k.File(), URI: k.Spec.Target.URI, EntityType: k.Spec.Target.EntityType,
		StartedAt: k.Begun, outputDir: k.Spec.OutputDir, Rounds: []roundStatus{}, Events: []migration.Event{},
	}
	s.State, s.Reason = k.State()
	s.Reason = cmp.Or(k.Problem, s.Reason)
	if s.State != catalogue.Running {
		s.Rerun = rerunText(k)
	}
	if !k.Folder.IsZero() {
		if events, err := k.Folder.Events(); err == nil && events != nil {
			s.Events = events
		}
		s.Rollback = rollbackOf(k)
	}
	return s
}

// rerunText says what came of the last run if it sent nothing, and the state is that of an
// earlier one; "" otherwise.
func rerunText(k catalogue.Migration) string {
	if k.Folder.IsZero() {
		return ""
	}
	rerun, ok := k.WithoutResult()
	switch {
	case !ok:
		return ""
	case rerun.Stopped:
		return "rerun, at " + moment(rerun.At) + ", was " + rerun.Reason
	}
	return "rerun, at " + moment(rerun.At) + ", could not start: " + strings.TrimSuffix(rerun.Reason, ".")
}

// tallyFor is how long counting a ledger may take. A million records on a disk take one to
// three seconds.
const tallyFor = 5 * time.Second

// addCounts adds the dispositions of the records. The summary has them for a run that has
// ended, and the ledger for one that was cut off: its summary, if any, is that of an
// earlier run, and is shown with its time only if the ledger takes too long.
func (l *lookup) addCounts(ctx context.Context, k catalogue.Migration, s *status) {
	if k.IsExport {
		s.addExported(exportResult(ctx, k, l.Service))
		return
	}
	summary, err := summaryOf(ctx, k, l.Service)
	ended := s.State != catalogue.CutOff && s.State != catalogue.Failed && err == nil
	switch {
	case ended:
		s.addSummary(summary)
	case s.addTally(ctx, k):
	case err == nil:
		s.Records, s.RecordsAsOf = summary.Records, summary.FinishedAt
		s.addRounds(summary)
	}
}

// addTally adds the counts of the ledger, and says whether they came in time.
func (s *status) addTally(ctx context.Context, k catalogue.Migration) bool {
	if k.Folder.IsZero() || k.IsExport {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, tallyFor)
	defer cancel()
	t, err := tally.Of(ctx, k.Folder)
	if err != nil {
		return false
	}
	s.Records, s.Errors, s.Rounds = t.Records, t.Errors(), []roundStatus{}
	for i := range t.Rounds {
		s.Rounds = append(s.Rounds, roundStatus{Round: i, Counts: t.Rounds[i].Counts, Recovered: &t.Rounds[i].Recovered})
	}
	return true
}

// addReason asks the service why a migration could not run, if the folder does not have
// the reason.
func (l *lookup) addReason(ctx context.Context, k catalogue.Migration, s *status) {
	if s.State != catalogue.Failed || s.Reason != "" || l.Service == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, session.AnswerTimeout)
	defer cancel()
	if err := l.Service.Client.GetWorkflow(ctx, k.ID, k.Run).Get(ctx, nil); err != nil {
		s.Reason = workflows.Cause(err)
	}
}

// summaryOf returns the summary of the last run that has ended.
func summaryOf(ctx context.Context, k catalogue.Migration, s *session.Service) (migration.Summary, error) {
	if !k.Folder.IsZero() {
		return k.Folder.Summary()
	}
	if s == nil || k.Status != enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED {
		return migration.Summary{}, migration.ErrAbsent
	}
	ctx, cancel := context.WithTimeout(ctx, session.AnswerTimeout)
	defer cancel()
	var result workflows.Result
	err := s.Client.GetWorkflow(ctx, k.ID, k.Run).Get(ctx, &result)
	return result.Summary, err
}

// exportResult returns the result of an export that has ended, or an error.
func exportResult(ctx context.Context, k catalogue.Migration, s *session.Service) (result workflows.ExportResult, err error) {
	if folder := k.Folder.Export(); !k.Folder.IsZero() {
		if result.Summary, err = folder.Summary(); !errors.Is(err, migration.ErrAbsent) {
			return result, err
		}
		result.Cancelled = folder.Cancelled()
		failure, err := folder.Failure()
		if result.Stopped = result.Cancelled || err == nil && failure.Stopped; result.Stopped {
			return result, nil
		}
		return result, migration.ErrAbsent
	}
	if s == nil || k.Status != enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED {
		return result, migration.ErrAbsent
	}
	ctx, cancel := context.WithTimeout(ctx, session.AnswerTimeout)
	defer cancel()
	err = s.Client.GetWorkflow(ctx, k.ID, k.Run).Get(ctx, &result)
	return result, err
}

// addExported adds the result of an export that has ended.
func (s *status) addExported(result workflows.ExportResult, err error) {
	switch {
	case err != nil:
	case result.Cancelled:
		s.State = catalogue.Cancelled
	case result.Stopped:
		s.State = catalogue.Stopped
	default:
		sum := result.Summary
		s.FinishedAt, s.Export, s.advice = sum.FinishedAt, &exportStatus{Records: sum.Records}, sum.Text()+" As of "+sum.AsOf.Format(time.RFC3339)+"."
		s.exported = &sum
	}
}

// addExportProgress adds the progress of a running export.
func (s *status) addExportProgress(p workflows.ExportProgress) {
	s.Phase = p.Phase
	s.Export = &exportStatus{Pages: p.Pages, Records: p.Records, Expected: exportTotal(p), text: exportPhase(p)}
	if !p.Until.IsZero() {
		s.Export.Until = &p.Until
	}
	s.addSteering(p.Steering)
}

func (s *status) addSummary(sum migration.Summary) {
	s.Records, s.StartedAt, s.FinishedAt = sum.Records, sum.StartedAt, sum.FinishedAt
	if s.Rollback == nil {
		s.advice = artifacts.Advice(sum)
	} else {
		s.advice = s.Rollback.advice()
	}
	if s.State == catalogue.Done {
		s.State = catalogue.StateAfter(sum)
	}
	s.addRounds(sum)
}

func (s *status) addRounds(sum migration.Summary) {
	for _, r := range sum.Rounds {
		s.Rounds = append(s.Rounds, roundStatus{Round: r.Round, Counts: ledger.Counts{
			Created: r.Created, Duplicate: r.Duplicate, Failed: r.Failed, Unknown: r.Unknown, Calls: r.Calls,
		}})
	}
}

// addProgress adds the progress of a running migration.
func (s *status) addProgress(p workflows.Progress) {
	s.Phase, s.Waiting = p.Phase, p.Waiting
	s.Errors = p.Errors
	for _, r := range p.Rounds {
		s.Rounds = append(s.Rounds, roundStatus{Round: r.Round, Counts: r.Counts, Recovered: &r.Resolved.Recovered})
	}
	if p.Batches > 0 {
		s.Rounds = append(s.Rounds, roundStatus{Round: p.Round, Counts: p.Loading, Running: true, Batches: p.Batches, BatchesDone: p.BatchesDone})
	}
	s.Records = dispositions(p)
	s.addSteering(p.Steering)
}

// addSteering adds what operators have ordered.
func (s *status) addSteering(c *workflows.Steering) {
	if c == nil {
		return
	}
	if c.Paused {
		s.Paused = c.PausedText
	}
	s.Decision, s.DecidedBy, s.Ending, s.MaxFailed = c.Decision, c.DecidedBy, c.Ending, c.MaxFailed
	if len(s.Events) == 0 && len(c.Changes) > 0 {
		s.Events = c.Changes
	}
}

// counts reports whether the progress has counts. Those of a migration that has just started
// or resumed are only in the ledger.
func counts(p workflows.Progress) bool {
	return p.Counts != nil || len(p.Rounds) > 0 || p.Batches > 0
}

// dispositions are those of the records so far. Records of a delta migration that wait for
// their update are remaining; others that were attempted and are not settled are unknown.
func dispositions(p workflows.Progress) migration.Counts {
	if p.Counts != nil {
		return *p.Counts
	}
	c := migration.Counts{Total: p.Records, Updated: p.Updates.Updated + p.Updates.Unchanged, Failed: p.Updates.Failed}
	attempted, toUpdate := 0, -p.Updates.Records()
	count := func(round int, r ledger.Counts, resolved activities.Resolved) {
		c.Created += r.Created
		c.Failed += r.Failed
		if round > 0 {
			return // its duplicates are resolved after the round
		}
		attempted += r.Records()
		switch {
		case resolved != activities.Resolved{}:
		case p.Delta: // most duplicates of the input existed before
			toUpdate += r.Duplicate
		default:
			c.Failed += r.Duplicate
		}
	}
	for _, r := range p.Rounds {
		count(r.Round, r.Counts, r.Resolved)
		c.Recovered += r.Resolved.Recovered
		c.Failed += r.Resolved.Failed
		toUpdate += r.Resolved.Duplicate
	}
	count(p.Round, p.Loading, activities.Resolved{})
	c.Remaining = c.Total - attempted + toUpdate
	c.Unknown = c.Total - c.Created - c.Recovered - c.Updated - c.Failed - c.Remaining
	return c
}

// addPace adds the limits, and the state of the gate if that is known.
func (s *status) addPace(p workflows.Progress, gate *limiter.RunView, set migration.Limits) {
	if p.Steering != nil {
		set = p.Steering.Limits
	}
	s.Pace = &paceStatus{
		Allowed: set.RateLimit, Limit: set.RateLimit, RatePlan: set.RatePlan, Workers: set.Workers, Breaker: set.Breaker, BatchesBegun: p.InFlight, LastCall: p.LastCall,
	}
	if gate == nil {
		return
	}
	s.Pace.Allowed, s.Pace.Limit = gate.Allowed, gate.Limit
	s.Pace.Closed, s.Pace.Since = gate.Closed, gate.Since
	s.Pace.BreakerOpen, s.Pace.Probe = gate.Breaker, gate.Probe
}

// poller polls the status of one migration.
type poller struct {
	lookup   *lookup
	known    catalogue.Migration
	view     *view
	progress workflows.Progress // of the last poll
	export   workflows.ExportProgress
	linkTo   string // see link
	linked   time.Time
}

// pollAgain returns the status after a refresh of the migration.
func (l *poller) pollAgain(ctx context.Context) (status, error) {
	if s := l.lookup.Service; s != nil && !s.HasEngine() {
		l.lookup.Disconnected()
	}
	if err := l.lookup.Refresh(ctx, &l.known); err != nil {
		return status{}, err
	}
	return l.poll(ctx), nil
}

// poll returns the status of the migration as the last refresh found it.
func (l *poller) poll(ctx context.Context) status {
	p := l.lookup
	s := statusOf(l.known)
	if p.Service != nil && l.known.Run != "" {
		s.WebUI = l.link()
	}
	if s.State != catalogue.Running || p.Service == nil {
		l.addEnd(ctx, &s)
		return s
	}
	asking, cancel := context.WithTimeout(ctx, session.AnswerTimeout)
	defer cancel()
	if l.known.IsExport {
		l.pollExport(asking, &s)
		return s
	}
	progress, ids, err := l.view.poll(asking)
	if err != nil {
		s.Trouble, s.Unpolled = p.Service.Silence(ctx, l.known.ID, err)
		s.addTally(ctx, l.known)
		return s
	}
	l.progress = progress
	s.Trouble = troubleOf(slices.Concat(l.known.Pending, l.view.pending(asking, ids[1:])))
	l.view.readGate(asking)
	s.addProgress(progress)
	if !counts(progress) {
		s.addTally(ctx, l.known)
	}
	gate := l.view.gate
	s.addPace(progress, gate, l.known.Spec.Limits)
	if gate != nil && s.Paused == "" && s.Decision == "" && s.Pace.Closed == "" && quiet(progress, gate, time.Now()) == 0 {
		s.addRate(callsLeft(progress), gate.Used)
	}
	return s
}

// pollExport adds how far a running export is.
func (l *poller) pollExport(ctx context.Context, s *status) {
	var p workflows.ExportProgress
	if err := l.view.query(ctx, l.known.ID, &p); err != nil {
		s.Trouble, s.Unpolled = l.lookup.Service.Silence(ctx, l.known.ID, err)
		return
	}
	l.export = p
	s.Trouble = troubleOf(l.known.Pending)
	l.view.readGate(ctx)
	s.addExportProgress(p)
	gate := l.view.gate
	s.addPace(workflows.Progress{Steering: p.Steering}, gate, l.known.Spec.Limits)
	if gate != nil && s.Paused == "" && s.Pace.Closed == "" && s.Export.Until == nil {
		s.addRate(pagesLeft(p), gate.Used)
	}
}

// link is its page in the Web UI. It is renewed only when half of its life
// has passed, so that it can be copied from a screen that is redrawn.
func (l *poller) link() string {
	if time.Since(l.linked) > engine.LinkLife/2 {
		l.linkTo, l.linked = l.lookup.Service.LinkToRun(l.known.ID, l.known.Run), time.Now()
	}
	return l.linkTo
}

// callsLeft is how many calls the current round takes yet. An update is one call a record.
func callsLeft(p workflows.Progress) int {
	if p.Phase == workflows.PhaseUpdating {
		return p.ToUpdate - p.Updates.Records()
	}
	return p.Batches - p.BatchesDone
}

// pagesLeft is how many calls the current phase of an export takes yet, 0 if that is not known.
func pagesLeft(p workflows.ExportProgress) int {
	left := exportTotal(p) - p.Records
	if left <= 0 || p.Records == 0 {
		return 0
	}
	return int(math.Ceil(float64(left) * float64(p.Pages) / float64(p.Records)))
}

// addRate adds the calls a second that the limiter has counted, and how long those that are left take at that rate.
func (s *status) addRate(left int, perSecond float64) {
	s.Pace.CallsASecond = math.Round(100*perSecond) / 100
	if perSecond > 0 && left > 0 {
		s.SecondsLeft = math.Round(float64(left) / perSecond)
	}
}

// addEnd adds the result of a migration that does not run.
func (l *poller) addEnd(ctx context.Context, s *status) {
	l.lookup.addCounts(ctx, l.known, s)
	code := migration.ExitStopped // records remain, as far as is known
	switch s.State {
	case catalogue.Failed:
		code = migration.ExitCannotRun
	case catalogue.CutOff:
	default:
		if s.exported != nil {
			code = s.exported.ExitCode()
		} else if s.Records.Total > 0 || !s.FinishedAt.IsZero() {
			code = s.Records.ExitCode()
		}
	}
	s.ExitCode = &code
	l.lookup.addReason(ctx, l.known, s)
}
