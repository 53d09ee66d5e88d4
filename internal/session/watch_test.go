package session

import (
	"context"
	"io"
	"strings"
	"testing"

	"durable-dataload/internal/terminal"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
)

// interrupted is a run whose service does not answer at first.
type interrupted struct {
	client.WorkflowRun
	errors []error
}

func (i *interrupted) Get(context.Context, any) error {
	err := i.errors[0]
	i.errors = i.errors[1:]
	return err
}

// The workflow runs on while the service is away, and so does the command that shows it.
func TestAWatcherWaitsForAServiceThatDoesNotAnswer(t *testing.T) {
	w := Watcher{
		Process: Process{Screen: terminal.New(io.Discard, io.Discard, terminal.Options{})},
		Service: &Service{},
	}
	run := &interrupted{errors: []error{serviceerror.NewUnavailable("down"), context.DeadlineExceeded, nil}}
	if err := w.Watch(t.Context(), run, nil, func(context.Context) {}); err != nil || len(run.errors) != 0 {
		t.Errorf("%v, and %d answers were not awaited; want the result of the workflow", err, len(run.errors))
	}
	gone := &interrupted{errors: []error{serviceerror.NewNotFound("no such workflow")}}
	if err := w.Watch(t.Context(), gone, nil, func(context.Context) {}); err == nil || !strings.Contains(err.Error(), "rerun the command") {
		t.Errorf("%v, want what to do about a workflow that is gone", err)
	}
}
