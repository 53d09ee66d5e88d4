package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	mathrand "math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/output"
	"durable-dataload/internal/tilde"
)

// sampleOptions are the command line of starter sample, with the names, letters
// and defaults of dataload's sample_generator.py.
type sampleOptions struct {
	fakeusers.Options
	config  string
	output  string
	anySeed bool // none was given
}

// sampleCommand makes a file of invented users. stdout gets the name of the file, or the
// file itself.
func sampleCommand(stdout io.Writer) *cobra.Command {
	o := sampleOptions{Options: fakeusers.Options{Created: true}}
	command := &cobra.Command{
		Use:   "sample",
		Short: "Make a CSV file of invented users, to try a migration on",
		Long: `Make a CSV file of invented users, to try a migration on.

The same options with the same --seed give the same bytes on any machine. The users in the file are fictitious.

Exit codes: 0 the file is written; 1 could not run; 2 wrong usage.`,
		Example: `  starter sample -n 500
  starter sample -n 100 --awkward -o awkward.csv
  starter sample -n 100 --config sample_config.json -o - | head`,
		Args: noArguments("the file is named with --output"),
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(command.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if !command.Flags().Changed("seed") {
				o.Seed, o.anySeed = uint64(mathrand.Uint32()), true
			}
			return o.run(ctx, stdout, time.Now())
		},
	}
	f := command.Flags()
	f.SortFlags = false
	f.Int64VarP(&o.Records, "sample-size", "n", 1, "number of records")
	f.BoolVarP(&o.OnlyRequired, "only-required", "r", false, "leave the columns that are not required empty")
	tilde.Var(f, &o.config, "config", "file with the columns, in the form of dataload's sample_config.json; default: those of dataload")
	f.Uint64Var(&o.Seed, "seed", 0, "the same seed gives the same users; default: other users each time")
	f.BoolVar(&o.Awkward, "awkward", false, "add what importers often get wrong, and from 50 records on some that fail")
	tilde.VarP(f, &o.output, "output", "o", "file to make, which must not exist; - is stdout; default: sample_records_<datetime>.csv")
	return command
}

// run makes the file, complete or not at all except on stdout.
func (o *sampleOptions) run(ctx context.Context, stdout io.Writer, now time.Time) error {
	if o.Records < 0 {
		return usage("--sample-size is %d; expected 0 to %d", o.Records, int64(math.MaxInt64))
	}
	name := artifacts.Name("sample_records", artifacts.Stamp(now), "csv")
	if o.config != "" {
		text, err := durablefs.ReadFile(o.config, 1<<20)
		if err != nil {
			return fmt.Errorf("cannot read the configuration: %w", err)
		}
		if o.Config, err = fakeusers.ParseConfig(text); err != nil {
			return fmt.Errorf("%s: %w", o.config, err)
		}
		name = o.Config.FileName(now)
	}
	if o.output == "-" {
		err := fakeusers.Write(untilDone{ctx, stdout}, o.Options)
		if errors.Is(err, errUnread) {
			return nil
		}
		return err
	}
	if o.output != "" {
		name = o.output
	}
	if err := o.create(ctx, name); err != nil {
		return err
	}
	again := ""
	if o.anySeed {
		again = fmt.Sprintf(" (--seed %d makes them again)", o.Seed)
	}
	fmt.Fprintf(stdout, "%s: %s%s\n", name, figures.Count(o.Records, "record"), again)
	if failing := o.Flaws().Failing(); len(failing) > 0 {
		numbers := strings.Trim(strings.ReplaceAll(fmt.Sprint(failing), " ", ", "), "[]")
		fmt.Fprintf(stdout, "records %s are made to fail, the others are good\n", numbers)
	}
	return nil
}

func (o *sampleOptions) create(ctx context.Context, name string) error {
	exists := fmt.Errorf("%s exists; expected a new name, so that nothing is overwritten; remove the file, or give another name with --output", name)
	// CommitNew decides; this check saves the work.
	if _, err := os.Lstat(name); err == nil {
		return exists
	}
	file, err := durablefs.NewWriter(name)
	if err != nil {
		return fmt.Errorf("cannot make %s: %w", name, err)
	}
	defer file.Discard()
	if err := fakeusers.Write(untilDone{ctx, file}, o.Options); err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	if err := file.CommitNew(); errors.Is(err, durablefs.ErrExists) {
		return exists
	} else if err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	return nil
}

// untilDone is a writer that fails when its context has ended.
type untilDone struct {
	ctx context.Context
	io.Writer
}

func (u untilDone) Write(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, fmt.Errorf("interrupted: %w", context.Cause(u.ctx))
	}
	if output.IsUnread(u.Writer) {
		return 0, errUnread
	}
	return u.Writer.Write(p)
}

// errUnread ends a sample whose pipe was closed by its reader.
var errUnread = errors.New("the reader of the sample has exited")
