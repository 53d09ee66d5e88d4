package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
)

// Watcher follows a workflow of ours, and stops it at the first Ctrl-C.
type Watcher struct {
	Process
	Service  *Service
	Attached bool   // the workflow was running already
	Again    string // says how to see the workflow again
}

// ErrReleased says that this process has released the workflow, which runs on or
// waits.
var ErrReleased = errors.New("this process has released the workflow")

// Watch calls update at intervals until the workflow ends, and gives its result. The
// error is that of the workflow, ErrEngineGone, or ErrReleased.
func (w *Watcher) Watch(ctx context.Context, run client.WorkflowRun, result any, update func(context.Context)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- w.wait(ctx, run, result) }()
	gone := w.Service.gone(ctx)
	stop := w.Stop
	ticker := time.NewTicker(w.Screen.Interval())
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			w.Screen.Clear()
			return err
		case <-gone:
			w.Screen.Clear()
			return ErrEngineGone
		case <-stop:
			stop = nil
			if w.interrupt(ctx, run) {
				return ErrReleased
			}
		case <-ticker.C:
			update(ctx)
		}
	}
}

// wait waits for the result of the workflow, however long the service does not answer, or its
// disk is full: the client gives up after a minute.
func (w *Watcher) wait(ctx context.Context, run client.WorkflowRun, result any) error {
	for {
		err := w.Service.lost(run.Get(ctx, result))
		var notFound *serviceerror.NotFound
		if errors.As(err, &notFound) {
			return fmt.Errorf("the Temporal service no longer has this workflow (it was deleted, or the database replaced); rerun the command to resume: %w", err)
		}
		if ctx.Err() != nil || !IsOfService(err) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// interrupt is the first Ctrl-C: no further call is sent, calls in flight end, and
// the result files are written. A process that has attached to the workflow releases
// it instead, if another one works on it.
func (w *Watcher) interrupt(ctx context.Context, run client.WorkflowRun) (released bool) {
	w.Screen.Clear()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if text := w.release(ctx, run); text != "" {
		w.Screen.Say(text + " " + w.Again)
		return true
	}
	w.Screen.Say("Stopping: calls in flight end, then the result files are written. Rerun the command to resume. Ctrl-C again exits at once.")
	if w.Service.activities != nil {
		w.Service.activities.Drain()
	}
	if err := w.Service.Client.CancelWorkflow(ctx, run.GetID(), ""); err != nil {
		w.Log.Warn("cannot stop the workflow", "error", err)
		w.Screen.Say("The Temporal service did not accept the stop (" + err.Error() + "); Ctrl-C again exits at once, and nothing is lost.")
	}
	return false
}

// release says what becomes of the workflow without this process. It gives "" if
// this process has to stop the workflow: it started it, or runs the engine, or runs
// the only worker.
func (w *Watcher) release(ctx context.Context, run client.WorkflowRun) string {
	s := w.Service
	if !w.Attached || s.owner {
		return ""
	}
	queue := s.TaskQueue
	if e, err := s.Execution(ctx, run.GetID()); err == nil {
		queue = e.Queue
	}
	by := ""
	if s.worker != nil && queue == s.TaskQueue {
		pid, err := s.workers.other(s.mark, true)
		if err != nil || pid == 0 {
			return ""
		}
		by = fmt.Sprintf("process %d", pid)
	} else {
		by = s.PolledBy(ctx, queue)
	}
	if by == "" {
		return "No worker polls the task queue " + queue + ": the workflow waits until one does."
	}
	return "It runs on without this terminal, by " + by + "."
}
