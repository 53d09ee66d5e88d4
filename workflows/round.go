package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

// round is one pass over a set of batches, loaded by one LoadWorkflow, or by several
// in parallel, each a range of them, at one pace.
type round struct {
	run        activities.Run
	number     int
	batches    int
	limits     migration.Limits
	partitions int    // LoadWorkflows, 0 = by size
	id         string // of the child; several begin with it
	summary    string

	mostFailed     *int // records that may fail; nil is any number
	duplicatesFail bool // they count too
	notify         bool // notices of the breaker may be wanted
}

const (
	// One workflow handles some hundred batches a second; several workflows are of
	// no use below that rate.
	slowestPartedRate = 100 // calls a second
	batchesAPart      = 25_000
	mostParts         = 8
)

// parts is how many LoadWorkflows load the round.
func (r round) parts() int {
	switch {
	case r.partitions > 0 && r.mostFailed == nil:
		return max(1, min(r.partitions, r.batches))
	case r.limits.RateLimit > 0 && r.limits.RateLimit < slowestPartedRate, r.mostFailed != nil: // they would count each on its own
		return 1
	}
	return min(1+r.batches/batchesAPart, mostParts)
}

// window is how many runs of batches are in flight at most: those that call, and half as many
// more, which begin, end, or wait for the heartbeat timeout of their dead worker. So when one
// of three workers dies, the others have as many runs as there are calls. There are more as
// long as each batch is a run of its own, since the service takes longer to dispatch it and to
// record its result than a quick call takes (with two for each call the machine was idle for a
// quarter of the time, docs/performance.md), and where what belongs to a batch is read from
// and written to a bucket, beside the calls. With a rate
// limit those of a second are enough: each that waits at the gate costs the service a
// heartbeat every second or two.
func (r round) window() int {
	if store.IsURL(r.run.Folder.Path()) {
		return r.atFirst()
	}
	return r.limits.Workers + r.ahead((r.limits.Workers+1)/2)
}

// atFirst is the window as long as each batch is a run of its own.
func (r round) atFirst() int { return r.limits.Workers + r.ahead(3*r.limits.Workers) }

// ahead is how many more runs than calls are in flight, at most n.
func (r round) ahead(n int) int {
	n = min(n, mostAhead)
	if r.limits.RateLimit > 0 {
		n = min(n, int(r.limits.RateLimit))
	}
	return n
}

// mostAhead is how many runs of batches more than calls are in flight at most. The service
// handles some hundred batches a second.
const mostAhead = 100

// inputs are those of the round's LoadWorkflows, in order.
func (r round) inputs() []LoadInput {
	parts := r.parts()
	inputs := make([]LoadInput, parts)
	for i := range inputs {
		inputs[i] = LoadInput{
			Run: r.run, Round: r.number, Limits: r.limits,
			Window: (r.window() + parts - 1) / parts, AtFirst: (r.atFirst() + parts - 1) / parts,
			After: i * r.batches / parts, To: (i + 1) * r.batches / parts,
			MostFailed: r.mostFailed, DuplicatesFail: r.duplicatesFail, Notify: r.notify,
		}
	}
	return inputs
}

// ids are the workflow ids of the round's LoadWorkflows.
func (r round) ids() []string {
	parts := r.parts()
	if parts == 1 {
		return []string{r.id}
	}
	ids := make([]string, parts)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-part-%d", r.id, i+1)
	}
	return ids
}

// load loads the round until it is done or stops. A part that halts does not end the
// others: unless the cause is in its own batches, they will halt as well.
func (r round) load(ctx workflow.Context) (LoadResult, error) {
	ids, inputs := r.ids(), r.inputs()
	running := make([]workflow.ChildWorkflowFuture, len(ids))
	for i, id := range ids {
		summary := r.summary
		if len(ids) > 1 {
			summary = fmt.Sprintf("%s, part %d of %d", r.summary, i+1, len(ids))
		}
		running[i] = workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, childOptions(id, summary)), LoadWorkflow, inputs[i])
	}
	var sum LoadResult
	var failure error
	for _, child := range running {
		var part LoadResult
		if err := child.Get(ctx, &part); err != nil {
			if failure == nil {
				failure = err
			}
			continue
		}
		sum.add(part)
	}
	return sum, failure
}

func (r *LoadResult) add(part LoadResult) {
	r.Counts.Add(part.Counts)
	ledger.AddClasses(&r.Errors, part.Errors)
	r.Stopped = r.Stopped || part.Stopped
	r.TooManyFailed = r.TooManyFailed || part.TooManyFailed
	if r.Halted == "" {
		r.Halted = part.Halted
	}
}
