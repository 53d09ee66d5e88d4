package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
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
	if err := m.write(ctx, activities.SteerInput{Run: m.ref, Events: []migration.Event{event}}); err != nil {
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
