package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"durable-dataload/activities"
	"durable-dataload/internal/engine"
)

// historyCommand counts what the migrations of a state folder cost in Temporal:
// events of each type, runs, and the actions that Temporal Cloud would bill.
//
// Actions as of https://docs.temporal.io/cloud/pricing#action: a workflow that
// is started, reset or continued as new, each attempt of an activity, a timer,
// a query, a heartbeat that reaches the service, search attributes upserted.
// Heartbeats and queries leave no events, so they are not in the figure.
func historyCommand(args []string, out io.Writer) error {
	var stateDir string
	f := pflag.NewFlagSet("bench history", pflag.ContinueOnError)
	f.StringVar(&stateDir, "state-dir", "", "state folder whose embedded engine is asked; nothing may run there")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	e, err := engine.Start(ctx, filepath.Join(stateDir, "engine"), nil, 0)
	if err != nil {
		return err
	}
	defer e.Stop()
	options, err := e.Address().ClientOptions()
	if err != nil {
		return err
	}
	c, err := client.Dial(options)
	if err != nil {
		return err
	}
	defer c.Close()
	var t tally
	if err := t.read(ctx, c); err != nil {
		return err
	}
	t.print(out)
	return nil
}

// tally counts events over all runs.
type tally struct {
	runs, events, longest int
	byType                map[enumspb.EventType]int
	batches               int                        // that LoadBatches has loaded
	took                  map[string][]time.Duration // by activity type, from start to end
}

func (t *tally) read(ctx context.Context, c client.Client) error {
	t.byType, t.took = map[enumspb.EventType]int{}, map[string][]time.Duration{}
	var page []byte
	for {
		list, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: engine.Namespace, PageSize: 1000, NextPageToken: page})
		if err != nil {
			return err
		}
		for _, w := range list.GetExecutions() {
			if err := t.readRun(ctx, c, w.GetExecution().GetWorkflowId(), w.GetExecution().GetRunId()); err != nil {
				return err
			}
		}
		if page = list.GetNextPageToken(); len(page) == 0 {
			return nil
		}
	}
}

func (t *tally) readRun(ctx context.Context, c client.Client, id, run string) error {
	events := 0
	names, starts := map[int64]string{}, map[int64]time.Time{} // of activities, by the event that scheduled them
	history := c.GetWorkflowHistory(ctx, id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		e, err := history.Next()
		if err != nil {
			return err
		}
		events++
		t.byType[e.GetEventType()]++
		switch e.GetEventType() {
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
			names[e.GetEventId()] = e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName()
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:
			starts[e.GetActivityTaskStartedEventAttributes().GetScheduledEventId()] = e.GetEventTime().AsTime()
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
			scheduled := e.GetActivityTaskCompletedEventAttributes().GetScheduledEventId()
			t.took[names[scheduled]] = append(t.took[names[scheduled]], e.GetEventTime().AsTime().Sub(starts[scheduled]))
			if names[scheduled] == "LoadBatches" {
				var r activities.BatchesResult
				if err := converter.GetDefaultDataConverter().FromPayloads(e.GetActivityTaskCompletedEventAttributes().GetResult(), &r); err != nil {
					return err
				}
				t.batches += r.Done
			}
		}
	}
	t.runs++
	t.events += events
	t.longest = max(t.longest, events)
	return nil
}

func (t *tally) print(out io.Writer) {
	actions := t.byType[enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED] + t.byType[enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED] +
		t.byType[enumspb.EVENT_TYPE_TIMER_STARTED] + t.byType[enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES]
	fmt.Fprintf(out, "runs %d, events %d, in the longest run %d\n", t.runs, t.events, t.longest)
	if t.batches > 0 {
		fmt.Fprintf(out, "batches %d, events a batch %.2f, workflow tasks a batch %.2f, actions a batch %.3f\n", t.batches,
			float64(t.events)/float64(t.batches), float64(t.byType[enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED])/float64(t.batches), float64(actions)/float64(t.batches))
	}
	types := slices.Collect(maps.Keys(t.byType))
	slices.SortFunc(types, func(a, b enumspb.EventType) int { return t.byType[b] - t.byType[a] })
	for _, kind := range types {
		fmt.Fprintf(out, "%8d %s\n", t.byType[kind], kind)
	}
	for _, name := range slices.Sorted(maps.Keys(t.took)) {
		d := t.took[name]
		slices.Sort(d)
		fmt.Fprintf(out, "%8d %-18s median %s, longest %s\n", len(d), name, d[len(d)/2].Round(time.Millisecond), d[len(d)-1].Round(time.Millisecond))
	}
}
