package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	workflowpb "go.temporal.io/api/workflow/v1"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/session"
	"durable-dataload/internal/terminal"
	"durable-dataload/workflows"
)

// view follows a migration through its workflows.
type view struct {
	service  *session.Service
	id       string
	target   string // the host of the target, "" if the gate is not shown
	stateDir string
	screen   *terminal.Screen

	shown         int  // rounds whose figures were shown
	duplicateKeys bool // were shown
	keyless       bool // likewise
	notShown      bool // likewise, see sayNotShown
	trouble       string
	polled        time.Time        // the pending activities
	gate          *limiter.RunView // of the limiter, nil if it is not known
	records       terminal.Meter
	condition     condition // as it was shown
}

func newView(s *session.Service, id, target, stateDir string, screen *terminal.Screen) *view {
	return &view{service: s, id: id, target: target, stateDir: stateDir, screen: screen}
}

// update polls the progress and shows it. Without an answer it shows why: the next
// poll may have one.
func (v *view) update(ctx context.Context) {
	polling, cancel := context.WithTimeout(ctx, session.AnswerTimeout)
	defer cancel()
	progress, ids, err := v.poll(polling)
	if err != nil {
		v.unanswered(ctx, err)
		return
	}
	if v.checkActivities(polling, ids) {
		v.readGate(polling)
	}
	v.show(progress)
}

// lineOf returns an update that shows the progress P of a workflow, as one line.
func lineOf[P any](v *view, line func(P) terminal.Line) func(context.Context) {
	return updateOf(v, func(p P) { v.screen.Progress(line(p)) })
}

// updateOf returns an update that shows the progress P of a workflow.
func updateOf[P any](v *view, show func(P)) func(context.Context) {
	return func(ctx context.Context) {
		polling, cancel := context.WithTimeout(ctx, session.AnswerTimeout)
		defer cancel()
		var p P
		if err := v.query(polling, v.id, &p); err != nil {
			v.unanswered(ctx, err)
			return
		}
		if v.checkActivities(polling, []string{v.id}) && v.target != "" {
			v.readGate(polling)
		}
		show(p)
	}
}

// unanswered shows why the workflow does not answer, in the place of the progress
// that it had last.
func (v *view) unanswered(ctx context.Context, err error) {
	if ctx.Err() != nil || v.probe() {
		return
	}
	v.records = terminal.Meter{}
	silence, _ := v.service.Silence(ctx, v.id, err)
	v.screen.Progress(terminal.Line{What: silence})
}

// show says what is new, and shows the progress.
func (v *view) show(progress workflows.Progress) {
	if progress.DuplicateKeys > 0 && !v.duplicateKeys {
		v.screen.Say(progress.DuplicateKeysText())
		v.duplicateKeys = true
	}
	if progress.KeylessNote != "" && !v.keyless {
		v.screen.Say(progress.KeylessNote)
		v.keyless = true
	}
	for _, r := range progress.Rounds[min(v.shown, len(progress.Rounds)):] {
		v.screen.Say(fmt.Sprintf("Round %d: %s.", r.Round, strings.Join(outcomes(r.Counts), ", ")))
	}
	v.shown = max(v.shown, len(progress.Rounds))
	v.sayNews(progress.Steering)
	v.screen.Progress(v.line(progress))
}

// sayNews says what operators and the limiter have changed.
func (v *view) sayNews(s *workflows.Steering) {
	now := conditionOf(s, v.gate)
	for _, line := range now.news(v.condition, v.id, time.Now()) {
		v.screen.Say(line)
	}
	v.condition = now
}

// probe reports whether the disk of the state folder is full or fails, and shows that:
// an embedded engine waits for it in silence.
func (v *view) probe() (full bool) {
	if !v.service.IsEmbedded() {
		return false
	}
	w, err := durablefs.NewWriter(filepath.Join(v.stateDir, "probe"))
	if err == nil {
		_, err = w.Write(make([]byte, 64<<10))
		err = errors.Join(err, w.Flush())
		w.Discard()
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err // its file has another name each time
	}
	if err != nil {
		v.sayTrouble(fmt.Sprintf("cannot write to the state folder %s: %v; make room there, and the migration continues", v.stateDir, err))
	}
	return err != nil
}

// sayTrouble shows trouble once, as long as it is the same.
func (v *view) sayTrouble(trouble string) {
	if trouble != "" && trouble != v.trouble {
		v.screen.Say("Trouble, retrying: " + trouble)
	}
	v.trouble = trouble
}

// line is one line of progress.
func (v *view) line(p workflows.Progress) terminal.Line {
	if p.Phase == workflows.PhaseUpdating {
		u := p.Updates
		return terminal.Line{
			Done: u.Records(), Total: p.ToUpdate, What: "updating " + figures.Number(u.Records()) + "/" + figures.Number(p.ToUpdate),
			Parts: append(v.slowed(p), "updated "+figures.Number(u.Updated), "unchanged "+figures.Number(u.Unchanged), "failed "+figures.Number(u.Failed)),
		}
	}
	if v.condition.decision != "" {
		return terminal.Line{What: "waiting for a decision …"}
	}
	if p.Waiting != "" {
		return terminal.Line{What: string(p.Phase) + ", waits " + p.Waiting}
	}
	if p.Phase != workflows.PhaseLoading {
		return terminal.Line{What: string(p.ShownPhase()) + " …"}
	}
	parts := append(v.slowed(p), outcomes(p.Loading)...)
	if p.Round > 0 {
		return terminal.Line{Done: p.BatchesDone, Total: p.Batches, What: fmt.Sprintf("round %d: batch %d of %d", p.Round, p.BatchesDone, p.Batches), Parts: parts}
	}
	done := p.Loading.Records()
	line := terminal.Line{Done: done, Total: p.Records, What: figures.Number(done) + "/" + figures.Number(p.Records), Parts: parts}
	v.records.Add(time.Now(), done)
	if perMinute := 60 * v.records.PerSecond(); perMinute > 0 && !v.condition.rests() && quiet(p, v.gate, time.Now()) == 0 {
		left := time.Duration(float64(p.Records-done) / perMinute * float64(time.Minute))
		line.Parts = append(line.Parts, figures.Number(int(perMinute))+" records/min")
		line.Left = left.Round(time.Second).String() + " left"
	}
	return line
}

// slowed says that fewer calls are made than the limit allows.
func (v *view) slowed(p workflows.Progress) []string {
	if v.condition.rests() {
		return []string{"no calls now"}
	}
	gate := v.gate
	if idle := quiet(p, gate, time.Now()); idle > 0 {
		return []string{fmt.Sprintf("no call has ended for %s", idle.Round(time.Second))}
	}
	if gate == nil || gate.Allowed == 0 || gate.Allowed == gate.Limit {
		return nil
	}
	return []string{"slowed down to " + rateText(gate.Allowed) + " calls/s"}
}

// outcomes are the counts of a round. One of its duplicates may be ours, which is found out
// after the round.
func outcomes(c ledger.Counts) []string {
	parts := []string{"created " + figures.Number(c.Created)}
	if c.Duplicate > 0 {
		parts = append(parts, "duplicate "+figures.Number(c.Duplicate))
	}
	return append(parts, "failed "+figures.Number(c.Failed), "unknown "+figures.Number(c.Unknown))
}

// query asks a workflow for its progress.
func (v *view) query(ctx context.Context, id string, progress any) error {
	value, err := v.service.Client.QueryWorkflow(ctx, id, "", workflows.QueryProgress)
	if err != nil {
		return err
	}
	return value.Get(progress)
}

// poll queries the migration and its children, level by level, and joins their
// progress.
func (v *view) poll(ctx context.Context) (progress workflows.Progress, ids []string, err error) {
	for queue := []string{v.id}; len(queue) > 0; queue = queue[1:] {
		id := queue[0]
		var p workflows.Progress
		if err := v.query(ctx, id, &p); err != nil {
			if len(ids) == 0 {
				return progress, ids, err
			}
			continue // the child has not started, or has ended
		}
		if len(ids) == 0 {
			progress = p
		} else {
			join(&progress, p)
		}
		ids = append(ids, id)
		queue = append(queue, p.Children...)
	}
	return progress, ids, nil
}

// join adds the progress of a child.
func join(progress *workflows.Progress, p workflows.Progress) {
	progress.Phase, progress.Round, progress.Waiting = p.Phase, p.Round, p.Waiting
	progress.Rounds = append(progress.Rounds, p.Rounds...)
	progress.Batches += p.Batches
	progress.BatchesDone += p.BatchesDone
	progress.InFlight += p.InFlight
	progress.Loading.Add(p.Loading)
	if p.LastCall.After(progress.LastCall) {
		progress.LastCall = p.LastCall
	}
	if p.Phase == workflows.PhaseRetrying {
		progress.Errors = nil // it knows those of the migration as well
	}
	ledger.AddClasses(&progress.Errors, p.Errors)
	if p.ToUpdate > 0 {
		progress.ToUpdate, progress.Updates = p.ToUpdate, p.Updates
	}
}

// checkActivities shows why activities fail and are retried. It says whether it was time
// to: it asks the service every few seconds.
func (v *view) checkActivities(ctx context.Context, ids []string) bool {
	if time.Since(v.polled) < 3*time.Second {
		return false
	}
	v.polled = time.Now()
	v.sayTrouble(troubleOf(v.pending(ctx, ids)))
	return true
}

// pending returns the activities of workflows that are not done.
func (v *view) pending(ctx context.Context, ids []string) (all []*workflowpb.PendingActivityInfo) {
	for _, id := range ids {
		if d, err := v.service.Client.DescribeWorkflowExecution(ctx, id, ""); err == nil {
			all = append(all, d.GetPendingActivities()...)
		}
	}
	return all
}

// troubleOf is why one of the activities failed, "" if none did.
func troubleOf(pending []*workflowpb.PendingActivityInfo) (trouble string) {
	for _, a := range pending {
		if a.GetLastFailure() != nil && a.GetAttempt() > 1 {
			trouble = a.GetLastFailure().GetMessage()
		}
	}
	return trouble
}

// readGate asks the limiter how it stands. If it does not answer soon, what it said last
// holds.
func (v *view) readGate(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if all, err := workflows.NewLimiterClient(v.service.Client, v.target).View(ctx); err == nil {
		v.gate = gateIn(all, v.id, v.gate)
	}
}

// gateIn is how the limiter stands for a migration. It forgets a run for which no worker
// has asked for a while, but not its breaker, which is that of all runs.
func gateIn(all limiter.View, id string, before *limiter.RunView) *limiter.RunView {
	gate := all.Of(id)
	if gate == nil && before != nil && before.Breaker && all.Breaker {
		return before
	}
	return gate
}
