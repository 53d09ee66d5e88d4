package program

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"durable-dataload/internal/durablefs"
)

// Cached returns the path of a file or folder in the user's cache folder, which build makes if it is not there: in a folder
// of its own, under the name, complete when it returns nil. Tests of several packages run at the same time: one makes it,
// the others wait.
func Cached(name string, build func(dir string) error) (string, error) {
	caches, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(caches, "durable-dataload")
	if err := durablefs.MkdirAll(dir); err != nil {
		return "", err
	}
	lock, err := durablefs.TakeLock(filepath.Join(dir, name+".lock"))
	if err != nil {
		return "", err
	}
	defer lock.Unlock()
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	unfinished, err := os.MkdirTemp(dir, name+".unfinished-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(unfinished)
	if err := build(unfinished); err != nil {
		return "", err
	}
	return path, os.Rename(filepath.Join(unfinished, name), path)
}

// Unavailable is why a program of others cannot be had on this machine: a registry that is not reachable, or a tool that is
// missing. It is no fault of ours.
type Unavailable struct{ What, Why string }

func (e *Unavailable) Error() string { return e.What + " is not to be had here: " + e.Why }

// Output runs a command in a folder. If it fails, its error has the first line of its output that speaks of an error, or
// else the last one.
func Output(ctx context.Context, dir string, env []string, name string, arguments ...string) error {
	command := exec.CommandContext(ctx, name, arguments...)
	command.Dir, command.Env = dir, append(os.Environ(), env...)
	output, err := command.CombinedOutput()
	if err == nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	line := lines[len(lines)-1]
	if i := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(strings.ToLower(line), "error") }); i >= 0 {
		line = lines[i]
	}
	return fmt.Errorf("%s %s: %w: %s", filepath.Base(name), arguments[0], err, line)
}

const targetsVariable = "DATALOAD_TEST_TARGETS"

// WantsTargets reports whether the environment asks for the tests that need real servers of target platforms.
func WantsTargets() bool { return os.Getenv(targetsVariable) == "1" }

// NoTargets is why such a test is skipped.
const NoTargets = "needs the real server of a target platform; set " + targetsVariable + "=1 to have it built or downloaded, and started"
