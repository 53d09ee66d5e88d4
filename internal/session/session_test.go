package session

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"durable-dataload/internal/config"
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

// A folder stands for a lock that may be read and not written, and a link to itself for one that cannot be opened: both hold
// for root too.
func TestAStateFolderIsReadWithoutWriting(t *testing.T) {
	for name, c := range map[string]struct {
		make func(lock string) error
		want string
	}{
		"read-only":   {func(lock string) error { return os.Mkdir(lock, 0o700) }, errNothingRuns.Error()},
		"not ours":    {func(lock string) error { return os.Symlink(lock, lock) }, "run this as the owner of the folder"},
		"not started": {func(string) error { return nil }, errNothingRuns.Error()},
	} {
		dir := t.TempDir()
		if err := c.make(filepath.Join(dir, "lock")); err != nil {
			t.Fatal(err)
		}
		if _, err := runningEngine(t.Context(), dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestOptionsOfAServiceWithoutAnAddressAreRefused(t *testing.T) {
	t.Setenv("TEMPORAL_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	if _, err := (Options{Temporal: config.Temporal{Namespace: "production"}}).IsRemote(); err == nil || !strings.Contains(err.Error(), "no address") {
		t.Errorf("--namespace alone: %v, want it refused", err)
	}
	if remote, err := (Options{}).IsRemote(); remote || err != nil {
		t.Errorf("no options: %t, %v; want the embedded service", remote, err)
	}
	if remote, err := (Options{Temporal: config.Temporal{Namespace: "production", Address: "127.0.0.1:7233"}}).IsRemote(); !remote || err != nil {
		t.Errorf("with an address: %t, %v; want that service", remote, err)
	}
}
