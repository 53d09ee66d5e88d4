package main_test

import (
	"context"
	"testing"
	"time"

	"go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"durable-dataload/internal/engine"
	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/program"
)

// An operator can reset a workflow in Temporal at any time: it runs again from
// an earlier point, and all its activities with it.
func TestAResetOfAWorkflowSendsNothingTwice(t *testing.T) {
	program.Long(t)
	t.Parallel()
	for _, which := range []string{"the migration", "the load"} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			l, s := labWithSandbox(t, "--latency", "900ms")
			m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 27}), 5, "--rate-limit", "0", "--timeout", "3", "--retry-backoff", "20ms").remote()
			m.worker()
			p := m.startUntil(12)
			reset(t, m, which == "the load")
			if which == "the migration" {
				// What it watched was terminated by the reset. A rerun
				// of the command finds the run that replaced it, which may stop
				// because of the load that the first has started, and resumes.
				p.ends(1)
				for again := 0; p.wait() != 0 && again < 4; again++ {
					p = m.start()
				}
			}
			p.ends(0)
			m.check()
			if f := m.figures(); f.Records["created"]+f.Records["recovered"] != 300 {
				t.Errorf("the records came to %v; want 300 created or, where a call was in flight at the reset, recovered", f.Records)
			}
		})
	}
}

// reset runs a workflow of a remote migration again from its start.
func reset(t *testing.T, m *migration, load bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c := dial(t, serviceOf(t))
	kind := "MigrationWorkflow"
	if load {
		kind = "LoadWorkflow"
	}
	found := m.find(c, kind)
	history := c.GetWorkflowHistory(ctx, found.GetWorkflowId(), found.GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		event, err := history.Next()
		must(t, err)
		if event.GetEventType() != enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
			continue
		}
		_, err = c.ResetWorkflowExecution(ctx, &workflowservice.ResetWorkflowExecutionRequest{
			Namespace: engine.Namespace, WorkflowExecution: found, Reason: "a test", WorkflowTaskFinishEventId: event.GetEventId(), RequestId: "reset-" + found.GetRunId(),
		})
		must(t, err)
		return
	}
	t.Fatal("the workflow has no task that was completed")
}

// find gives the one workflow of this kind that runs for a remote migration.
func (m *migration) find(c client.Client, kind string) (found *common.WorkflowExecution) {
	m.lab.t.Helper()
	until(m.lab.t, "the service lists the workflow", func() bool {
		list, err := c.ListWorkflow(context.Background(), &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: engine.Namespace, Query: "WorkflowType = '" + kind + "' AND TaskQueue = '" + m.queue() + "' AND ExecutionStatus = 'Running'",
		})
		must(m.lab.t, err)
		if len(list.GetExecutions()) == 1 {
			found = list.GetExecutions()[0].GetExecution()
		}
		return found != nil
	})
	return found
}
