package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/pace"
	"durable-dataload/internal/session"
	"durable-dataload/internal/terminal"
	"durable-dataload/workflows"
)

// view follows a migration through its workflows.
type view struct {
	service  *session.Service
	id       string
	stateDir string
	screen   *terminal.Screen

	shown     int  // rounds whose figures were shown
	twins     bool // were told
	keyless   bool // likewise
	trouble   string
	looked    time.Time   // at what the activities wait for
	gate      *pace.State // as it was found then
	records   terminal.Meter
	condition condition // as it was told
}

func newView(s *session.Service, id, stateDir string, screen *terminal.Screen) *view {
	return &view{service: s, id: id, stateDir: stateDir, screen: screen}
}

// update looks and shows. That nobody answers is no error: the next look may see
// more.
func (v *view) update(ctx context.Context) {
	looking, cancel := context.WithTimeout(ctx, session.AnswerTimeout)
	defer cancel()
	progress, ids, err := v.look(looking)
	if err != nil {
		v.unanswered(ctx, err)
		return
	}
	v.lookForTrouble(looking, ids)
	v.show(progress)
}

// lineOf gives an update that shows the progress P of a workflow, as one line.
func lineOf[P any](v *view, line func(P) string) func(context.Context) {
	return func(ctx context.Context) {
		asking, cancel := context.WithTimeout(ctx, session.AnswerTimeout)
		defer cancel()
		var p P
		if err := v.query(asking, v.id, &p); err != nil {
			v.unanswered(ctx, err)
			return
		}
		v.lookForTrouble(asking, []string{v.id})
		v.screen.Progress(line(p))
	}
}

// query asks a workflow for its progress.
func (v *view) query(ctx context.Context, id string, progress any) error {
	value, err := v.service.Client.QueryWorkflow(ctx, id, "", workflows.QueryProgress)
	if err != nil {
		return err
	}
	return value.Get(progress)
}

// unanswered shows why the workflow does not tell its progress, in the place of
// what it told last: that is over.
func (v *view) unanswered(ctx context.Context, err error) {
	if ctx.Err() != nil || v.probe() {
		return
	}
	v.records = terminal.Meter{}
	silence, _ := v.service.Silence(ctx, v.id, err)
	v.screen.Progress(silence)
}

// show tells what is new, and how far it is.
func (v *view) show(progress workflows.Progress) {
	if progress.DuplicateKeys > 0 && !v.twins {
		v.screen.Say(progress.DuplicateKeysText())
		v.twins = true
	}
	if progress.KeylessNote != "" && !v.keyless {
		v.screen.Say(progress.KeylessNote)
		v.keyless = true
	}
	for _, r := range progress.Rounds[min(v.shown, len(progress.Rounds)):] {
		v.screen.Say(fmt.Sprintf("Round %d: %s.", r.Round, outcomes(r.Round, progress.Delta, r.Counts)))
	}
	v.shown = max(v.shown, len(progress.Rounds))
	now := conditionOf(progress, v.gateNow(progress)).after(v.condition)
	for _, line := range now.news(v.condition, v.id, time.Now()) {
		v.screen.Say(line)
	}
	v.condition = now
	v.screen.Progress(v.line(progress))
}

// probe says whether nothing is to be seen because of the disk of the state, and
// shows that: the engine waits for it without a word.
func (v *view) probe() (full bool) {
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
		v.tell(fmt.Sprintf("cannot write to the state folder %s: %v; make room there, and the migration goes on", v.stateDir, err))
	}
	return err != nil
}

// tell shows trouble, once as long as it is the same.
func (v *view) tell(trouble string) {
	if trouble != "" && trouble != v.trouble {
		v.screen.Say("Trouble, tried again: " + trouble)
	}
	v.trouble = trouble
}

// look asks the migration, then its children, and so on, and joins what they
// say: migration, retry, and the load in its parts.
func (v *view) look(ctx context.Context) (progress workflows.Progress, ids []string, err error) {
	for asked := []string{v.id}; len(asked) > 0; {
		id := asked[0]
		asked = asked[1:]
		var p workflows.Progress
		if err := v.query(ctx, id, &p); err != nil {
			if len(ids) == 0 {
				return progress, ids, err
			}
			continue // it is not there yet, or not any more
		}
		if len(ids) == 0 {
			progress = p
		} else {
			progress.Phase, progress.Round, progress.Waiting = p.Phase, p.Round, p.Waiting
			progress.Rounds = append(progress.Rounds, p.Rounds...)
			progress.Batches += p.Batches
			progress.BatchesDone += p.BatchesDone
			progress.InFlight += p.InFlight
			progress.Loading.Add(p.Loading)
			if p.Pace != nil {
				progress.Pace = p.Pace
			}
			if p.LastCall.After(progress.LastCall) {
				progress.LastCall = p.LastCall
			}
			if p.Phase == workflows.PhaseRetrying {
				progress.Errors = p.Errors
			} else {
				for class, n := range p.Errors {
					if progress.Errors == nil {
						progress.Errors = map[string]int{}
					}
					progress.Errors[class] += n
				}
			}
			if p.ToUpdate > 0 {
				progress.ToUpdate, progress.Updates = p.ToUpdate, p.Updates
			}
		}
		ids = append(ids, id)
		asked = append(asked, p.Children...)
	}
	return progress, ids, nil
}

// lookForTrouble finds activities that fail and are tried again.
func (v *view) lookForTrouble(ctx context.Context, ids []string) {
	if time.Since(v.looked) < 3*time.Second {
		return
	}
	v.tell(v.pending(ctx, ids))
}

// pending looks at the activities that are not done: why one of them failed, and
// how the gate stands, by the latest heartbeat of one that waits in it; nil if
// none does.
func (v *view) pending(ctx context.Context, ids []string) (trouble string) {
	v.looked, v.gate = time.Now(), nil
	var latest time.Time
	for _, id := range ids {
		d, err := v.service.Client.DescribeWorkflowExecution(ctx, id, "")
		if err != nil {
			continue
		}
		for _, a := range d.GetPendingActivities() {
			if a.GetLastFailure() != nil && a.GetAttempt() > 1 {
				trouble = a.GetLastFailure().GetMessage()
			}
			if state, ok := gateOf(a.GetHeartbeatDetails()); ok && a.GetLastHeartbeatTime().AsTime().After(latest) {
				v.gate, latest = &state, a.GetLastHeartbeatTime().AsTime()
			}
		}
	}
	return trouble
}

// gateOf reads the details of a heartbeat, which of other activities are
// something else.
func gateOf(details *commonpb.Payloads) (state pace.State, ok bool) {
	if len(details.GetPayloads()) == 0 {
		return state, false
	}
	err := converter.GetDefaultDataConverter().FromPayloads(details, &state)
	return state, err == nil && state.Places > 0
}

func (v *view) gateNow(p workflows.Progress) *pace.State { return gateIn(p, v.gate) }

// gateIn is how the gate stands: as an activity that waits in it says, or as it
// stood when the last batch was done. Then it was closed, perhaps, and is not:
// nobody waits. A heartbeat may be older than the end of a pause.
func gateIn(p workflows.Progress, waiting *pace.State) *pace.State {
	if c := p.Steering; waiting != nil && waiting.Paused && c != nil && !c.Paused {
		gone := *waiting
		gone.Closed, gone.Since, gone.Paused = "", time.Time{}, false
		return &gone
	}
	if waiting != nil || p.Pace == nil {
		return waiting
	}
	return &pace.State{Limit: p.Pace.Limit, Allowed: p.Pace.Allowed, Places: p.Pace.Places}
}

// callsOf is how many calls the rounds have made.
func callsOf(p workflows.Progress) int {
	calls := p.Loading.Calls
	for _, r := range p.Rounds {
		calls += r.Calls
	}
	return calls
}

// line is one line of progress.
func (v *view) line(p workflows.Progress) string {
	if p.Phase == workflows.PhaseUpdating {
		u := p.Updates
		return fmt.Sprintf("updating: %s/%s, updated %s, unchanged %s, failed %s",
			figures.Number(u.Records()), figures.Number(p.ToUpdate), figures.Number(u.Updated), figures.Number(u.Unchanged), figures.Number(u.Failed)) + v.slowed(p)
	}
	if v.condition.decision != "" {
		return "waiting for a decision …"
	}
	if p.Waiting != "" {
		return string(p.Phase) + ", waits " + p.Waiting
	}
	if p.Phase != workflows.PhaseLoading {
		return string(p.ShownPhase()) + " …"
	}
	c := p.Loading
	if p.Round > 0 {
		return fmt.Sprintf("round %d: batch %d of %d, %s", p.Round, p.BatchesDone, p.Batches, outcomes(p.Round, p.Delta, c)) + v.slowed(p)
	}
	done := c.Records()
	text := fmt.Sprintf("%s/%s, %s", figures.Number(done), figures.Number(p.Records), outcomes(0, p.Delta, c))
	v.records.Add(time.Now(), done)
	if perMinute := 60 * v.records.PerSecond(); perMinute > 0 && !v.condition.rests() && quiet(p, v.gateNow(p), time.Now()) == 0 {
		left := time.Duration(float64(p.Records-done) / perMinute * float64(time.Minute))
		text += fmt.Sprintf(", %s records/min, %s left", figures.Number(int(perMinute)), left.Round(time.Second))
	}
	return text + v.slowed(p)
}

// slowed says how many calls are allowed, where that is less than the limit.
func (v *view) slowed(p workflows.Progress) string {
	if v.condition.rests() {
		return ", no calls now"
	}
	gate := v.gateNow(p)
	if idle := quiet(p, gate, time.Now()); idle > 0 {
		return fmt.Sprintf(", no call has ended for %s", idle.Round(time.Second))
	}
	if gate == nil || gate.Allowed == 0 || gate.Allowed == gate.Limit {
		return ""
	}
	return fmt.Sprintf(", slowed down to %s calls/s", rateText(gate.Allowed))
}

// outcomes are what a round has come to. A duplicate is a failed record in round
// 0, unless it is to be updated; in a later one it may be our own, which is found
// out after the round.
func outcomes(round int, delta bool, c ledger.Counts) string {
	if round == 0 && !delta {
		return fmt.Sprintf("created %s, failed %s, unknown %s", figures.Number(c.Created), figures.Number(c.Failed+c.Duplicate), figures.Number(c.Unknown))
	}
	return fmt.Sprintf("created %s, there already %s, failed %s, unknown %s", figures.Number(c.Created), figures.Number(c.Duplicate), figures.Number(c.Failed), figures.Number(c.Unknown))
}
