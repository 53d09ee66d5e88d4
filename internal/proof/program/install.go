// Package program has the common parts of the external programs that tests and
// the harness run: building them from their modules, their addresses, and ending
// them with the process that started them.
package program

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

// Install builds a program of a module into a folder, under a name, at a version
// of the module and with the dependencies of the module itself: ours does not
// have what only the program needs.
func Install(ctx context.Context, dir, source, version, name string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, "go", "install", source+"@"+version)
	command.Dir, command.Env = dir, append(os.Environ(), "GOBIN="+dir)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build %s %s: go install: %w\n%s", name, version, err, output)
	}
	return os.Rename(filepath.Join(dir, path.Base(source)), filepath.Join(dir, name))
}
