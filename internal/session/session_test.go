package session

import (
	"context"
	"io"
	"testing"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/terminal"
)

// reading is an operation that reads a large file to find out what it is.
type reading struct{ Operation }

func (reading) Identify(ctx context.Context) (Job, error) {
	<-ctx.Done()
	return Job{}, context.Cause(ctx)
}

func TestACtrlCEndsTheReadingOfTheInput(t *testing.T) {
	stop := make(chan struct{})
	s := &Session{Process: Process{Screen: terminal.New(io.Discard, io.Discard, terminal.Options{}), Stop: stop}}
	close(stop)
	if code, err := s.Run(t.Context(), reading{}); code != migration.ExitStopped || err != nil {
		t.Errorf("the exit code is %d (%v), want %d", code, err, migration.ExitStopped)
	}
}
