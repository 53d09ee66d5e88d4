// Command starter migrates user records from a CSV file into an identity
// platform. Without the address of a Temporal service it embeds one, with its
// Web UI and a worker.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	_ "time/tzdata" // of --rate-plan and of schedules, where a machine has no time zones

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"durable-dataload/internal/config"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/output"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/stage"
	"durable-dataload/internal/targets"
	"durable-dataload/internal/version"
)

func main() {
	output.SurvivePipes()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run runs the command line, and gives the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	code := migration.ExitDone
	out := output.New(stdout)
	command := newCommand(out, stderr, &code)
	command.SetArgs(args)
	given, err := command.ExecuteC()
	if err == nil && out.Err() != nil {
		err = fmt.Errorf("the output could not be written: %w; the work itself was done; use an output with free space", out.Err())
	}
	if err == nil {
		return code
	}
	text, code := "starter: "+err.Error(), migration.ExitCannotRun
	var wrong usageError
	if errors.As(err, &wrong) {
		text, code = text+"; see "+given.CommandPath()+" --help", migration.ExitUsage
	}
	fmt.Fprintln(stderr, safetext.Text(text))
	return code
}

func newCommand(stdout, stderr io.Writer, code *int) *cobra.Command {
	var o options
	command := &cobra.Command{
		Use:   "starter --data users.csv [options]",
		Short: "Migrate user records from a CSV file into an identity platform, and never lose track of one",
		Long: `Migrate user records from a CSV file into an identity platform, and never lose track of one.

Rerun the command to resume a migration that was cut off, or to watch one that runs. Several files are migrated one
after the other.

Exit codes, of several files the worst in the order 1, 5, 4, 3, 0:
  0  every record is created, recovered or updated
  1  could not run
  2  wrong usage
  3  done, with failed records
  4  done, with records still unknown
  5  stopped, with records remaining`,
		Example: `  starter --data testdata/users.csv --sandbox
  starter --data users.csv --apid_uri https://example.janraincapture.com \
    --client-id … --client-secret-file secret
  starter --data 'export_*.csv' --delta-migration --rate-limit 10`,
		Version:       version.String("starter"),
		Args:          cobra.ArbitraryArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(command *cobra.Command, args []string) error {
			if err := misspelled(command, args); err != nil {
				return err
			}
			if err := o.complete(command.Flags(), args, os.Getenv); err != nil {
				return err
			}
			if !o.dryRun {
				if err := o.require(); err != nil {
					return err
				}
			}
			c, err := o.migrator(stdout, stderr, os.Getenv)
			if err != nil {
				return err
			}
			warn(stderr, append(o.credentials.Warnings, o.notify.Warnings...))
			if o.dryRun {
				*code, err = c.dryRun(command.Context())
			} else {
				*code, err = c.migrate(command.Context())
			}
			return err
		},
	}
	command.SetOut(stdout)
	command.SetErr(stderr)
	command.SetFlagErrorFunc(flagError)
	command.SetVersionTemplate("{{.Version}}\n")
	command.Flags().SortFlags = false
	o.addFlags(command.Flags())
	command.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveDefault // data files
	}
	groupHelp(command, []commandGroup{
		{"Before a migration", []*cobra.Command{sampleCommand(stdout), sandboxCommand(stdout), newMappingCommand(), validateCommand(stdout, stderr, code)}},
		{"While it runs", append([]*cobra.Command{statusCommand(stdout, stderr, code), listCommand(stdout, stderr)}, steerCommands(stdout, stderr, code)...)},
		{"After it", []*cobra.Command{verifyCommand(stdout, stderr, code), rollbackCommand(stdout, stderr, code)}},
		{"Out of a platform", []*cobra.Command{exportCommand(stdout, stderr, code)}},
		{"Every night", []*cobra.Command{newScheduleCommand(stderr), newServeCommand(stdout, stderr, code)}},
		{"Help", []*cobra.Command{versionCommand(stdout), manualCommand()}},
	})
	addCompletions(command)
	return command
}

// flagWords are the words that flags take, for the completion of shells.
var flagWords = map[string][]string{
	"auth":         {config.AuthBasic, config.AuthSignature},
	"recovered-by": {string(migration.Lookup), string(migration.Refusal)},
	"log-format":   {"text", "json"},
	"log-level":    {"debug", "info", "warn", "error"},
	"encoding":     stage.Encodings,
	"target":       targets.Names(),
}

// addCompletions adds to the completion of shells what the flags of a command and of those below it take: words, folders,
// ids. Cobra prints the scripts, with starter completion.
func addCompletions(command *cobra.Command) {
	command.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		var err error
		switch taken := flagWords[flag.Name]; {
		case flag.Name == "output-dir" || flag.Name == "state-dir":
			err = command.MarkFlagDirname(flag.Name)
		case flag.Name == "migration":
			err = command.RegisterFlagCompletionFunc(flag.Name, command.ValidArgsFunction)
		case flag.Name == "target" && command.Flags().Lookup("migration") != nil:
			err = command.RegisterFlagCompletionFunc(flag.Name, cobra.NoFileCompletions) // an address
		case taken != nil:
			err = command.RegisterFlagCompletionFunc(flag.Name, words(taken...))
		}
		if err != nil {
			panic(err) // it has one already
		}
	})
	for _, below := range command.Commands() {
		addCompletions(below)
	}
}

func words(w ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(w, cobra.ShellCompDirectiveNoFileComp)
}

// warn prints what works, but is not as safe as it could be.
func warn(stderr io.Writer, warnings []string) {
	for _, warning := range warnings {
		fmt.Fprintln(stderr, safetext.Text("Warning: "+warning))
	}
}
