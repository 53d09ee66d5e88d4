package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"durable-dataload/internal/config"
	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/mapping"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/output"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/session"
	"durable-dataload/internal/source"
	"durable-dataload/internal/target"
	"durable-dataload/internal/targets"
	"durable-dataload/internal/terminal"
	"durable-dataload/internal/tilde"
)

// newMappingCommand groups the commands for mapping files.
func newMappingCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "mapping",
		Short: "Write and try a mapping file: what becomes of each column",
		Args:  noArguments(""),
		RunE:  func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(newMappingInit(), newMappingPreview(), newMappingDefault())
	return command
}

func newMappingDefault() *cobra.Command {
	var name string
	command := &cobra.Command{
		Use:   "default [--target kratos]",
		Short: "Print the built-in mapping of a target",
		Args:  noArguments(""),
		RunE: func(command *cobra.Command, _ []string) error {
			if err := targets.Check(name); err != nil {
				return usage("--target: %w", err)
			}
			text := targets.DefaultMapping(name)
			if text == nil {
				text = mapping.Default()
			}
			_, err := command.OutOrStdout().Write(text)
			return err
		},
	}
	addTargetName(command.Flags(), &name)
	return command
}

// addTargetName adds the one option of the target that a command without calls needs.
func addTargetName(f *pflag.FlagSet, name *string) {
	f.StringVar(name, "target", targets.Names()[0], "target whose built-in mapping is meant: "+strings.Join(targets.Names(), ", "))
}

// sampleSize is how many records a proposal reads.
const sampleSize = 1000

func newMappingInit() *cobra.Command {
	var in inputOptions
	var to targetOptions
	var output string
	command := &cobra.Command{
		Use:   "init --data users.csv [-o mapping.yaml]",
		Short: "Propose a mapping file from an input and the target's schema",
		Args:  cobra.ArbitraryArgs,
		RunE: func(command *cobra.Command, args []string) error {
			if err := in.complete(args); err != nil {
				return err
			}
			if err := to.complete(command.Flags(), os.Getenv); err != nil {
				return err
			}
			warn(command.ErrOrStderr(), to.credentials.Warnings)
			header, sample, err := in.head(command.Context(), command.ErrOrStderr(), sampleSize)
			if err != nil {
				return err
			}
			var schema *target.Schema
			if to.credentials.URI != "" {
				if schema, err = readSchema(command.Context(), &to.credentials, to.target()); err != nil {
					return err
				}
			}
			var values [][]string
			for _, r := range sample {
				if fields, err := header.Fields(r.Raw); err == nil {
					values = append(values, fields)
				}
			}
			return writeNew(command.OutOrStdout(), output, mapping.Propose(header.Names, values, schema, migration.Spec{Target: to.target()}.Format().Traits()))
		},
	}
	f := command.Flags()
	f.SortFlags = false
	in.addFlags(f)
	tilde.VarP(f, &output, "output", "o", "file to write, which must not exist; default: the terminal")
	to.addAPIFlags(f)
	return command
}

// head reads the first n records of the one input. An unpacked or converted copy is removed
// afterwards.
func (o *inputOptions) head(ctx context.Context, stderr io.Writer, n int) (*source.Header, []source.Record, error) {
	inputs, _, err := o.find()
	if err != nil {
		return nil, nil, err
	}
	if len(inputs) > 1 {
		return nil, nil, usage("expected one data file, found %d; a mapping is proposed for one of them", len(inputs))
	}
	delimiter, err := source.ParseDelimiter(o.delimiter)
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "durable-dataload-")
	if err != nil {
		return nil, nil, durablefs.TemporaryError(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	file, err := plainFile(ctx, session.Process{Screen: terminal.New(io.Discard, stderr, terminal.Options{JSON: false})}, locations{stateDir: dir}, inputs[0])
	if err != nil {
		return nil, nil, err
	}
	return source.Head(ctx, file.near(), n, source.InspectOptions{Delimiter: delimiter, Name: file.inputName(), StartAt: o.startAt})
}

// schemaTimeout is the timeout of the one call for the schema.
const schemaTimeout = 30 * time.Second

func readSchema(ctx context.Context, credentials *config.Credentials, from migration.Target) (*target.Schema, error) {
	if err := credentials.Check(); err != nil {
		return nil, err
	}
	adapter, err := credentials.Connect(migration.Spec{Target: from, Timeout: schemaTimeout}, target.Hooks{})
	if err != nil {
		return nil, err
	}
	defer adapter.Close()
	schema, err := adapter.Schema(ctx)
	if err != nil {
		return nil, fmt.Errorf("the schema of %s cannot be read: %w; omit the credentials to do without it", from.EntityType, err)
	}
	return &schema, nil
}

// writeNew writes a new file, or to stdout.
func writeNew(stdout io.Writer, path string, text []byte) error {
	if path == "" {
		_, err := stdout.Write(text)
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists already; expected a new name for the proposal; remove the file, or give another -o", path)
	}
	if err != nil {
		return fmt.Errorf("cannot write the proposal: %w; give another -o", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path) // it is incomplete
	}
	return err
}

func newMappingPreview() *cobra.Command {
	var in inputOptions
	var file, name string
	var records int
	var force bool
	command := &cobra.Command{
		Use:   "preview --data users.csv [--mapping mapping.yaml] [-n 5]",
		Short: "Show records before and after; on a terminal only",
		Args:  cobra.ArbitraryArgs,
		RunE: func(command *cobra.Command, args []string) error {
			stdout := command.OutOrStdout()
			if !force && !output.IsTerminal(stdout) {
				return usage("a preview shows user data, and the output is no terminal; expected a terminal, so that none stays in a file or a log; --force-output shows it all the same")
			}
			if err := in.complete(args); err != nil {
				return err
			}
			if records < 1 {
				return usage("-n is %d; expected at least 1", records)
			}
			if err := targets.Check(name); err != nil {
				return usage("--target: %w", err)
			}
			m, _, err := readMappingFile(file, name)
			if err != nil {
				return err
			}
			header, head, err := in.head(command.Context(), command.ErrOrStderr(), records)
			if err != nil {
				return err
			}
			compiled, err := m.Compile(header.Names)
			if err != nil {
				return err
			}
			_, err = io.WriteString(stdout, preview(header, head, compiled, targets.Format(name, "", 0)))
			return err
		},
	}
	f := command.Flags()
	f.SortFlags = false
	in.addFlags(f)
	tilde.Var(f, &file, "mapping", "mapping file; default: the built-in mapping")
	f.IntVarP(&records, "records", "n", 5, "records to show")
	f.BoolVar(&force, "force-output", false, "also where the output is no terminal")
	addTargetName(f, &name)
	return command
}

// preview shows each record as it is in the input and as it would be sent.
func preview(header *source.Header, head []source.Record, compiled *mapping.Records, format target.Format) string {
	width := 0
	for _, name := range header.Names {
		width = max(width, len([]rune(name)))
	}
	var b strings.Builder
	for _, r := range head {
		fmt.Fprintf(&b, "record %d, line %d\n", r.Number, r.Line)
		fields, err := header.Fields(r.Raw)
		for i, value := range fields {
			if i < len(header.Names) {
				fmt.Fprintf(&b, "  %-*s  %q\n", width, header.Names[i], value)
			}
		}
		var object []byte
		if err == nil {
			object, _, err = mapping.Encode(nil, compiled, format, header.Names, fields)
		}
		if err != nil {
			fmt.Fprintf(&b, "  cannot be sent: %s\n\n", err)
			continue
		}
		fmt.Fprintf(&b, "  %s\n\n", safetext.JSON(object))
	}
	return b.String()
}

// readMappingFile reads a mapping file, and gives its text too; "" is the built-in mapping of the target.
func readMappingFile(path, name string) (*mapping.Mapping, []byte, error) {
	if path == "" {
		m, err := migration.DefaultMapping(name)
		return m, nil, err
	}
	text, err := durablefs.ReadFile(path, mapping.MaxSize)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s: there is no such file; expected a mapping file; starter mapping init writes one", path)
	}
	if err != nil {
		return nil, nil, err
	}
	m, err := mapping.Parse(filepath.Base(path), text)
	return m, text, err
}

// checkMapping refuses a mapping that does not fit the input's header, before anything is started. The inspection
// reports what is wrong with the input itself.
func (m *migrateOperation) checkMapping(ctx context.Context) error {
	if m.c.o.mapping == "" {
		return nil
	}
	delimiter, err := source.ParseDelimiter(m.c.o.delimiter)
	if err != nil {
		return err
	}
	header, _, err := source.Head(ctx, m.file.near(), 0, source.InspectOptions{Delimiter: delimiter})
	if err != nil {
		return nil //nolint:nilerr // the inspection reports it
	}
	_, err = m.c.mapping.Compile(header.Names)
	return err
}
