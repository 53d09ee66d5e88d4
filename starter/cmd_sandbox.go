package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"durable-dataload/internal/durablefs"
)

// sandboxCommand has what there is to do with the sandbox of a state folder, beside loading
// into it.
func sandboxCommand(stdout io.Writer) *cobra.Command {
	command := &cobra.Command{
		Use:   "sandbox",
		Short: "Empty the local Identity Cloud that --sandbox loads into",
		Args:  noArguments(""),
		RunE:  func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(sandboxReset(stdout))
	return command
}

func sandboxReset(stdout io.Writer) *cobra.Command {
	var l locations
	command := &cobra.Command{
		Use:   "reset",
		Short: "Remove all records of the sandbox",
		Long: `Remove all records of the sandbox of a state folder. Its address stays, and migrations into it stay listed: load a
file once more with --again.

Exit codes: 0 it is empty; 1 it is in use, or could not be removed; 2 wrong usage.`,
		Args: noArguments(""),
		RunE: func(*cobra.Command, []string) error {
			if err := l.completeStateDir(os.Getenv); err != nil {
				return err
			}
			return resetSandbox(stdout, l.stateDir)
		},
	}
	l.addStateDirFlag(command.Flags(), "folder whose sandbox is emptied")
	return command
}

// resetSandbox removes the records of the sandbox, unless a process runs it.
func resetSandbox(stdout io.Writer, stateDir string) error {
	dir := sandboxDir(stateDir)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		_, err := fmt.Fprintf(stdout, "%s has no sandbox.\n", stateDir)
		return err
	}
	lock, err := lockSandbox(stateDir)
	if errors.Is(err, durablefs.ErrLocked) {
		return fmt.Errorf("a process runs the sandbox of %s; end it, and try again", stateDir)
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := os.RemoveAll(sandboxRecords(dir)); err != nil {
		return fmt.Errorf("cannot empty the sandbox: %w", err)
	}
	_, err = fmt.Fprintln(stdout, "The sandbox is empty.")
	return err
}
