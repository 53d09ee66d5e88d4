package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"

	"durable-dataload/internal/terminal"
)

// watcher follows a workflow of ours, and takes its stop.
type watcher struct {
	service  *service
	screen   *terminal.Screen
	log      *slog.Logger
	stop     <-chan struct{} // closed at the first Ctrl-C
	attached bool            // the workflow was running already
	again    string          // what shows the workflow again, for people
}

// errLeft says that the workflow runs on, or waits, without this terminal.
var errLeft = errors.New("this terminal has left")

// watch calls look now and then until the workflow ends, and gives its result.
// The error is that of the workflow, errEngineGone, or errLeft.
func (w *watcher) watch(ctx context.Context, run client.WorkflowRun, result any, look func(context.Context)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- run.Get(ctx, result) }()
	gone := w.service.gone(ctx)
	stop := w.stop
	ticker := time.NewTicker(w.screen.Interval())
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			w.screen.Clear()
			return w.service.lost(err)
		case <-gone:
			w.screen.Clear()
			return errEngineGone
		case <-stop:
			stop = nil
			if w.interrupt(ctx, run) {
				return errLeft
			}
		case <-ticker.C:
			look(ctx)
		}
	}
}

// interrupt is the first Ctrl-C: nothing more is sent, what is in flight ends,
// and the artifacts are written. A process that came later than the workflow
// leaves it to another one that works for it, if there is one.
func (w *watcher) interrupt(ctx context.Context, run client.WorkflowRun) (left bool) {
	w.screen.Clear()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if text := w.leave(ctx, run); text != "" {
		w.screen.Say(text + " " + w.again + " shows it again.")
		return true
	}
	w.screen.Say("Stopping: calls in flight come to their end, then the result files are written. The same command goes on. Ctrl-C again: out at once.")
	if w.service.activities != nil {
		w.service.activities.Drain()
	}
	if err := w.service.client.CancelWorkflow(ctx, run.GetID(), ""); err != nil {
		w.log.Warn("cannot stop the workflow", "error", err)
		w.screen.Say("The Temporal service does not take the stop (" + err.Error() + "); Ctrl-C again leaves at once, and nothing is lost.")
	}
	return false
}

// leave says what becomes of the workflow without this process; "" if it is for
// this process to stop it: it began the workflow, or runs the engine, or nobody
// else works for it.
func (w *watcher) leave(ctx context.Context, run client.WorkflowRun) string {
	s := w.service
	if !w.attached || s.owner {
		return ""
	}
	queue := s.taskQueue
	if d, err := s.client.DescribeWorkflowExecution(ctx, run.GetID(), ""); err == nil {
		queue = d.GetExecutionConfig().GetTaskQueue().GetName()
	}
	mine := s.worker != nil && queue == s.taskQueue
	by := ""
	if mine {
		pid, err := s.workers.other(s.mark, true)
		if err != nil || pid == 0 {
			return ""
		}
		by = fmt.Sprintf("process %d", pid)
	} else {
		by = s.polledBy(ctx, queue)
	}
	if by == "" {
		return "No worker polls the task queue " + queue + ": it waits until one does."
	}
	return "It runs on without this terminal, by " + by + "."
}
