package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
)

// canaryWindow is how many batches of a canary are read back at once. The pace is
// that of the gate.
const canaryWindow = 10

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
	if err := execute(ctx, "how long will the rest take?", a.Forecast, activities.ForecastInput{Run: m.ref, Loaded: m.source.Canary}, &forecast); err == nil {
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
	for batch := 1; batch <= batches && f.waitForRoom(ctx, canaryWindow); batch++ {
		f.start(ctx, func(ctx workflow.Context) {
			r, err := readBack(ctx, fmt.Sprintf("read back batch %d of 1 to %d", batch, batches), activities.VerifyInput{Run: run, Batch: batch, Until: until})
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
