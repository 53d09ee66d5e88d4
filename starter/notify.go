package main

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

// awaitNotices lets the notices of a migration that has ended arrive, where it
// is this process that sends them, and says what became of those that do not.
func (s *session) awaitNotices(ctx context.Context, run client.WorkflowRun) {
	if s.service.worker == nil {
		return
	}
	waiting, cancel := context.WithTimeout(ctx, noticeWait)
	defer cancel()
	// The last one is asked for by its name: a list may not have it yet.
	last := s.service.client.GetWorkflow(waiting, workflows.NoticeID(run.GetID(), run.GetRunID(), notify.Ended, 1), "")
	var failed *temporal.WorkflowExecutionError
	if err := last.Get(waiting, nil); errors.As(err, &failed) {
		s.screen.Say("Nobody could be told of the end: " + workflows.Cause(err))
	}
	for {
		open, err := s.openNotices(ctx, run.GetID())
		switch {
		case err != nil:
			s.log.Warn("cannot see whether all notices are delivered", "error", err)
			return
		case open == 0:
			return
		case waiting.Err() != nil:
			s.screen.Say(fmt.Sprintf("%d of its notices are not delivered yet. They are tried again, for a day, whenever a command with --notify-url uses the same state folder, or the same --address.", open))
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// openNotices is how many notices of a migration are on their way.
func (s *session) openNotices(ctx context.Context, id string) (open int, err error) {
	list, err := s.service.client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
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
