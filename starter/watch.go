package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"
)

// watcher follows a workflow of ours, and takes its stop.
type watcher struct {
	service  *service
	screen   *screen
	log      *slog.Logger
	stop     <-chan struct{} // closed at the first Ctrl-C
	attached bool            // the workflow was running already
}

// errLeft says that the workflow goes on without this terminal.
var errLeft = errors.New("it goes on without this terminal")

// watch calls look now and then until the workflow ends, and gives its result.
// The error is that of the workflow, errEngineGone, or errLeft.
func (w *watcher) watch(ctx context.Context, run client.WorkflowRun, result any, look func(context.Context)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- run.Get(ctx, result) }()
	gone := w.service.gone(ctx)
	stop := w.stop
	ticker := time.NewTicker(w.screen.interval())
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			w.screen.clear()
			return err
		case <-gone:
			w.screen.clear()
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
// and the artifacts are written. Who only watches leaves it alone.
func (w *watcher) interrupt(ctx context.Context, run client.WorkflowRun) (left bool) {
	w.screen.clear()
	if w.attached && !w.service.owner {
		w.screen.say("It goes on without this terminal; the same command watches it again.")
		return true
	}
	w.screen.say("Stopping: calls in flight come to their end, then the result files are written. The same command goes on. Ctrl-C again: out at once.")
	if w.service.activities != nil {
		w.service.activities.Drain()
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := w.service.client.CancelWorkflow(ctx, run.GetID(), ""); err != nil {
		w.log.Warn("cannot stop the workflow", "error", err)
		w.screen.say("The Temporal service does not take the stop (" + err.Error() + "); Ctrl-C again leaves at once, and nothing is lost.")
	}
	return false
}
