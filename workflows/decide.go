package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
)

// decide waits until an operator decides, with the update by or with stop, or until
// the timeout (0 = none). It says whether the migration continues.
func (m *migrationRun) decide(ctx workflow.Context, by, question string, timeout time.Duration) bool {
	if ctx.Err() != nil {
		return false // it is already stopping
	}
	question += m.writeFailures(ctx)
	m.steering.Decision, m.steering.DecidedBy = question, by
	defer func() { m.steering.Decision, m.steering.DecidedBy = "", "" }()
	event := migration.Event{At: workflow.Now(ctx), Kind: migration.EventDecision, Text: question}
	if _, err := m.steer(ctx, activities.SteerInput{Run: m.ref, Events: []migration.Event{event}}); err != nil {
		workflow.GetLogger(ctx).Warn("cannot write down an event", "error", err)
	}
	m.enter(ctx, m.progress.Phase)
	m.notify(ctx, notify.Notice{Type: notify.NeedsDecision, Text: question, Command: notify.Command(by, m.spec.ID)})
	decided := func() bool { return m.steering.DecidedBy == "" }
	if timeout == 0 {
		return workflow.Await(ctx, decided) == nil
	}
	ok, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
		Timeout: timeout, TimerOptions: workflow.TimerOptions{Summary: "wait for " + by},
	}, decided)
	if !ok && err == nil {
		// An order that is being carried out came before the timeout.
		err = workflow.Await(ctx, func() bool { return decided() || !m.ordering.IsLocked() })
	}
	return err == nil && decided()
}

// writeFailures writes for the operator the fail file and the reasons so far.
// It says where they are.
func (m *migrationRun) writeFailures(ctx workflow.Context) (text string) {
	var reasons activities.Reasons
	if err := execute(ctx, "write the fail file so far", a.WriteFailures, m.ref, &reasons); err != nil {
		workflow.GetLogger(ctx).Warn("cannot write the fail file so far", "error", err)
		return ""
	}
	m.progress.Errors = errorsOf(reasons)
	if len(reasons.Failed) == 0 {
		return ""
	}
	return " What has failed so far is in " + reasons.File + "."
}

// canaryWindow is how many batches of a canary are read back at once. The pace is
// that of the gate.
const canaryWindow = 10

// mostReadBacks is how many activities read a canary back at most, which bounds the history of
// the migration.
const mostReadBacks = 300

// canary loads the first records, reads them back, and waits for an approval.
func (m *migrationRun) canary(ctx workflow.Context) {
	m.loadBatches(ctx, "canary", m.source.Canary)
	if !m.canContinue() || m.source.Canary == m.source.Batches {
		return
	}
	m.enter(ctx, PhaseVerifying)
	question, timeout := m.canaryText(ctx), m.spec.CanaryTimeout
	if timeout > 0 {
		question += " Without an answer it stops at " + workflow.Now(ctx).Add(timeout).UTC().Format(time.DateTime) + " UTC."
	}
	m.stopped = !m.decide(ctx, UpdateApprove, question, timeout)
	if m.stopped && ctx.Err() == nil {
		m.halted = fmt.Sprintf("the canary was not approved within %s", timeout)
	}
}

// canaryText says what came of the canary, for the operator.
func (m *migrationRun) canaryText(ctx workflow.Context) string {
	c := m.progress.Rounds[0].Counts
	text := fmt.Sprintf("The canary: of %s %d %s created, %d %s there already, %d failed, %d %s unknown. ", figures.Count(c.Records(), "record"),
		c.Created, figures.Plural(c.Created, "was", "were"), c.Duplicate, figures.Plural(c.Duplicate, "was", "were"), c.Failed, c.Unknown, figures.Plural(c.Unknown, "is", "are"))
	found, err := readBackBatches(ctx, m.ref, m.source.Canary)
	text += "Read back: " + found.Text()
	if err != nil {
		text += " Not all could be read back: " + Cause(err) + "."
	}
	var forecast activities.Forecast
	if err := execute(ctx, "how long will the rest take?", a.Forecast, activities.ForecastInput{Run: m.ref, Loaded: m.source.Canary, Limits: m.steering.Limits}, &forecast); err == nil {
		text += " " + forecastText(forecast)
	}
	return text
}

// readBackBatches reads back the first batches of a migration. Records that are
// not there are looked up again for a few minutes. The error says why not all
// were read back; what was found until then comes with it.
func readBackBatches(ctx workflow.Context, run activities.Run, batches int) (found migration.VerifyResult, err error) {
	var f flight
	until := workflow.Now(ctx).Add(invisibleFor)
	each := (batches + mostReadBacks - 1) / mostReadBacks
	for first := 1; first <= batches && f.waitForRoom(ctx, func() int { return canaryWindow }); first += each {
		name, in := fmt.Sprintf("read back batch %d of 1 to %d", first, batches), activities.VerifyInput{Run: run, Batch: first, Until: until}
		if each > 1 {
			in.Last = min(first+each-1, batches)
			name = fmt.Sprintf("read back batches %d to %d of 1 to %d", first, in.Last, batches)
		}
		f.start(ctx, func(ctx workflow.Context) {
			r, err := readBack(ctx, name, in)
			if err != nil {
				f.lose(ctx, err)
				return
			}
			found.Add(r)
		})
	}
	f.drain(ctx)
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case f.halted != "":
		err = temporal.NewApplicationError(f.halted, activities.Unreachable)
	}
	return found, err
}

func forecastText(f activities.Forecast) string {
	if f.Calls == 0 {
		return fmt.Sprintf("%s %s left.", figures.Count(f.Left, "batch"), figures.Plural(f.Left, "is", "are"))
	}
	return fmt.Sprintf("The median call took %s, the longest %s: the %s left %s about %s at the pace that is set.",
		f.Median.Round(time.Millisecond), f.Longest.Round(time.Millisecond), figures.Count(f.Left, "batch"), figures.Plural(f.Left, "takes", "take"), f.Takes.Round(time.Second))
}

// Too many failed records hold a migration (--max-failed). The migration knows the
// limit of the whole, each round how many of its own records may fail.

// signalMostFailed tells a round, while it runs, how many records may fail.
const signalMostFailed = "most-failed"

func receiveMostFailed(ctx workflow.Context, receive func(workflow.Context, *int)) {
	workflow.Go(ctx, func(ctx workflow.Context) {
		for {
			var most *int
			if !workflow.GetSignalChannel(ctx, signalMostFailed).Receive(ctx, &most) {
				return
			}
			receive(ctx, most)
		}
	})
}

func sendMostFailed(ctx workflow.Context, children []string, most func() *int) {
	for _, id := range children {
		_ = workflow.SignalExternalWorkflow(ctx, id, "", signalMostFailed, most()).Get(ctx, nil) // it may have ended just now
	}
}

// sendMostFailed tells the children that run of a new limit.
func (m *migrationRun) sendMostFailed(ctx workflow.Context) {
	if p := m.progress.Phase; p == PhaseLoading || p == PhaseRetrying {
		sendMostFailed(ctx, m.progress.Children, m.mostFailed)
	}
}

// decideOnFailed waits for a decision while too many records have failed, and says
// whether the migration continues. The limit may have been raised since.
func (m *migrationRun) decideOnFailed(ctx workflow.Context) bool {
	if most := m.mostFailed(); most == nil || *most >= 0 {
		return ctx.Err() == nil
	}
	return m.decide(ctx, UpdateResume, fmt.Sprintf("%d of %s %s failed, more than --max-failed %s allows.", m.failed(), figures.Count(m.source.Records, "record"), figures.Plural(m.failed(), "has", "have"), m.steering.MaxFailed), 0)
}

// mostFailed is how many more records may fail; nil is any number.
func (m *migrationRun) mostFailed() *int {
	limit, err := migration.ParseMaxFailed(m.steering.MaxFailed)
	most, limited := limit.Of(m.source.Records)
	if err != nil || !limited {
		return nil
	}
	most -= m.failed()
	return &most
}

// mostFailedAgain is mostFailed for a round that counts what was loaded before
// again: duplicates fail in it that turned out not to have failed.
func (m *migrationRun) mostFailedAgain() *int {
	rounds := m.progress.Rounds
	m.progress.Rounds = nil
	most := m.mostFailed()
	if most != nil && !m.spec.Delta && len(rounds) > 0 && rounds[0].isResolved() {
		*most += rounds[0].Duplicate - rounds[0].Resolved.Failed
	}
	return most
}

// failed is how many records have failed in the rounds that have ended.
func (m *migrationRun) failed() (n int) {
	for _, r := range m.progress.Rounds {
		n += r.failed(m.spec.Delta)
	}
	return n
}
