package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/notify"
	"durable-dataload/workflows"
)

// noticeWait is how long this process waits at the end for its notices.
const noticeWait = 10 * time.Second

// awaitNotices waits until the notices of a migration that has ended are delivered,
// if this process sends them, and reports those that are not.
func (s *Session) awaitNotices(ctx context.Context, run client.WorkflowRun) {
	if s.Service.worker == nil {
		return
	}
	waiting, cancel := context.WithTimeout(ctx, noticeWait)
	defer cancel()
	// The last one is asked for by its id: a list may not have it yet.
	last := s.Service.Client.GetWorkflow(waiting, workflows.NoticeID(run.GetID(), run.GetRunID(), notify.Ended, 1), "")
	var failed *temporal.WorkflowExecutionError
	if err := last.Get(waiting, nil); errors.As(err, &failed) {
		s.Screen.Say("The notice of the end was not delivered: " + workflows.Cause(err))
	}
	for {
		open, err := s.openNotices(ctx, run.GetID())
		switch {
		case err != nil:
			s.Log.Warn("cannot see whether all notices are delivered", "error", err)
			return
		case open == 0:
			return
		case waiting.Err() != nil:
			s.Screen.Say(fmt.Sprintf("%d of its notices are not delivered yet. They are retried for a day, whenever a command with --notify-url uses the same state folder, or the same --address.", open))
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// openNotices is how many notices of a migration are not delivered yet.
func (s *Session) openNotices(ctx context.Context, id string) (open int, err error) {
	list, err := s.Service.Client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: 1000, Query: `WorkflowType = "NotifyWorkflow" AND ExecutionStatus = "Running"`,
	})
	if err != nil {
		return 0, err
	}
	for _, e := range list.GetExecutions() {
		if strings.HasPrefix(e.GetExecution().GetWorkflowId(), id+"/") {
			open++
		}
	}
	return open, nil
}
