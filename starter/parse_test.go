package main

import (
	"fmt"
	"io"
	"strings"
)

// ParseCommand parses a command line of starter as the program does, and runs nothing. One that is not whole may lack arguments.
func ParseCommand(arguments []string, whole bool) error {
	root := newCommand(io.Discard, io.Discard, new(int))
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	command, rest, err := root.Find(arguments)
	if err != nil {
		return err
	}
	command.InitDefaultHelpFlag()
	command.InitDefaultVersionFlag()
	if err := command.ParseFlags(rest); err != nil {
		return err
	}
	names := command.Flags().Args()
	switch {
	case command.HasSubCommands() && len(names) > 0 && !strings.ContainsAny(names[0], `./*…`):
		return fmt.Errorf("%s has no command %s", command.CommandPath(), names[0])
	case !whole || strings.Contains(strings.Join(names, " "), "…"):
		return nil
	}
	return command.ValidateArgs(names)
}
