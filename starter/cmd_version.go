package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"durable-dataload/internal/version"
)

// versionCommand prints what --version prints.
func versionCommand(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, its commit and its date",
		Args:  noArguments(""),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(stdout, version.String("starter"))
			return err
		},
	}
}
