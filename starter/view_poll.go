package main

import (
	"context"
	"maps"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/converter"

	"durable-dataload/internal/pace"
	"durable-dataload/workflows"
)

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
	if p.Pace != nil {
		progress.Pace = p.Pace
	}
	if p.LastCall.After(progress.LastCall) {
		progress.LastCall = p.LastCall
	}
	if p.Phase == workflows.PhaseRetrying || progress.Errors == nil {
		progress.Errors = maps.Clone(p.Errors)
	} else {
		for class, n := range p.Errors {
			progress.Errors[class] += n
		}
	}
	if p.ToUpdate > 0 {
		progress.ToUpdate, progress.Updates = p.ToUpdate, p.Updates
	}
}

// checkActivities shows why activities fail and are retried.
func (v *view) checkActivities(ctx context.Context, ids []string) {
	if time.Since(v.polled) < 3*time.Second {
		return
	}
	v.polled = time.Now()
	trouble, gate := reported(v.pending(ctx, ids))
	v.gate = gate
	v.sayTrouble(trouble)
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

// reported returns why one of the activities failed, and the state of the gate by the
// latest heartbeat of one that waits in it; nil if none does.
func reported(pending []*workflowpb.PendingActivityInfo) (trouble string, gate *pace.State) {
	var latest time.Time
	for _, a := range pending {
		if a.GetLastFailure() != nil && a.GetAttempt() > 1 {
			trouble = a.GetLastFailure().GetMessage()
		}
		if state, ok := gateOf(a.GetHeartbeatDetails()); ok && a.GetLastHeartbeatTime().AsTime().After(latest) {
			gate, latest = &state, a.GetLastHeartbeatTime().AsTime()
		}
	}
	return trouble, gate
}

// gateOf reads the details of a heartbeat; those of other activities have no state of
// a gate.
func gateOf(details *commonpb.Payloads) (state pace.State, ok bool) {
	if len(details.GetPayloads()) == 0 {
		return state, false
	}
	err := converter.GetDefaultDataConverter().FromPayloads(details, &state)
	return state, err == nil && state.Places > 0
}

// gateIn is the state of the gate: as an activity that waits in it reports, or, if
// none waits, as it was when the last batch was done, and open. A heartbeat may be
// older than the end of a pause.
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
