package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
)

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
