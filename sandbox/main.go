// Command sandbox runs a local Identity Cloud for trials: the entity endpoints of the API over a database in a folder,
// with injectable faults.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/output"
	"durable-dataload/internal/sandbox"
	"durable-dataload/internal/tilde"
	"durable-dataload/internal/version"
)

const (
	exitOK    = 0
	exitError = 1 // it could not run
	exitUsage = 2 // wrong usage
)

func main() {
	output.SurvivePipes()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run serves until the context ends, and gives the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	fail := func(code int, err error) int {
		fmt.Fprintf(stderr, "sandbox: %v\n", err)
		return code
	}
	out := output.New(stdout)
	options, err := parseOptions(args, getenv, out)
	if out.Err() != nil {
		return fail(exitError, fmt.Errorf("the output cannot be written: %w", out.Err()))
	}
	if errors.Is(err, pflag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		return fail(exitUsage, fmt.Errorf("%w (see --help)", err))
	}
	server, err := sandbox.Start(options)
	if err != nil {
		return fail(exitError, err)
	}
	fmt.Fprintf(out, "Identity Cloud sandbox listens on %s, state in %s\n", server.URL(), options.StateDir)
	if out.Err() != nil { // its address would be unknown
		_ = server.Close()
		return fail(exitError, fmt.Errorf("the output cannot be written: %w", out.Err()))
	}
	<-ctx.Done()
	if err := server.Close(); err != nil {
		return fail(exitError, err)
	}
	return exitOK
}

// options are those of the command line.
type options struct {
	sandbox.Options
	faults, secretFile string
	showVersion        bool
}

func (o *options) flags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("sandbox", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.StringVar(&o.Address, "address", "127.0.0.1:9700", "`host:port` to listen on; port 0 takes a free one")
	tilde.Var(flags, &o.StateDir, "state-dir", "`folder` of the database, created if missing (required)")
	flags.StringVar(&o.ClientID, "client-id", "", "client id of the only API client (or CAPTURE_CLIENT_ID)")
	flags.StringVar(&o.ClientSecret, "client-secret", "", "its secret (or CAPTURE_CLIENT_SECRET)")
	tilde.Var(flags, &o.secretFile, "client-secret-file", "`file` with that secret")
	flags.StringSliceVar(&o.EntityTypes, "entity-types", []string{"user"}, "entity types of the sandbox")
	flags.StringVar(&o.faults, "faults", "", "faults and their percent of calls, such as http502=2,reset-after=1")
	flags.Int64Var(&o.Seed, "seed", 0, "selects the calls that the faults hit")
	flags.IntVar(&o.HealAfter, "heal-after", 0, "no faults after this number of calls that write (0 = never)")
	flags.DurationVar(&o.FindLag, "find-lag", 0, "how long new entities stay invisible to entity.find")
	flags.DurationVar(&o.Latency, "latency", 0, "minimum duration of a call")
	flags.DurationVar(&o.DateSkew, "date-skew", 0, "how far the Date header is ahead of this machine's clock")
	flags.DurationVar(&o.StampSkew, "stamp-skew", 0, "how far the clock for created and lastUpdated is ahead")
	flags.StringSliceVar(&o.Hide, "hide", nil, "`attributes` to hide, such as created,lastUpdated; all = all except uuid and email")
	flags.BoolVar(&o.IgnoreCreated, "ignore-created", false, "ignore created in records")
	flags.StringVar((*string)(&o.Emails), "emails", "folded", "which emails are duplicates: folded (ignoring case), exact, or shared (none: email is not unique)")
	flags.BoolVar(&o.RefuseCalls, "refuse-calls", false, "refuse a whole bulkCreate if the schema refuses one record")
	flags.Float64Var(&o.Limit, "limit", 0, "calls a second, above which API error 510 is returned (0 = no limit)")
	flags.BoolVar(&o.showVersion, "version", false, "print the version")
	return flags
}

func parseOptions(args []string, getenv func(string) string, help io.Writer) (sandbox.Options, error) {
	var o options
	flags := o.flags()
	flags.SetOutput(io.Discard)
	flags.Usage = func() { printHelp(help, flags) }
	if err := flags.Parse(args); err != nil {
		return o.Options, err
	}
	if flags.NArg() > 0 {
		return o.Options, fmt.Errorf("unexpected argument %q: expected only flags", flags.Arg(0))
	}
	if o.showVersion {
		fmt.Fprintln(help, version.String("sandbox"))
		return o.Options, pflag.ErrHelp
	}
	if err := completeCredentials(&o.Options, o.secretFile, getenv); err != nil {
		return o.Options, err
	}
	if o.StateDir == "" {
		return o.Options, errors.New("the folder of the database is missing: give --state-dir, it is created if it does not exist")
	}
	var err error
	o.Faults, err = sandbox.ParseFaults(o.faults)
	return o.Options, err
}

func printHelp(help io.Writer, flags *pflag.FlagSet) {
	fmt.Fprintf(help, "A local Identity Cloud for trials.\n\n  sandbox --state-dir DIR --client-id ID --client-secret SECRET\n\n%s", flags.FlagUsages())
	fmt.Fprintf(help, "\nFaults: all, or %s.\nA fault hits entity.bulkCreate. With one of %s before its name it hits\nentity.find, entity.update, entity.replace or entity.delete instead, as in update:reset-after=2.\n"+
		"-after: everything is written before. all: each kind that leaves the client in doubt, not http413-after, replay and wrong-order.\n"+
		"stranger, namesake, sign-in: the connection is reset; then a user registers with the address of every third\nrecord (a namesake with all of its data), or its user signs in. Some change their profile at the next call.\n",
		sandbox.FaultNames(), sandbox.FaultPrefixes())
}

// completeCredentials takes what the command line does not give from a file or the
// environment.
func completeCredentials(o *sandbox.Options, secretFile string, getenv func(string) string) error {
	if secretFile != "" {
		if o.ClientSecret != "" {
			return errors.New("both --client-secret and --client-secret-file are given; expected one of them")
		}
		var err error
		if o.ClientSecret, err = durablefs.ReadSecret(secretFile); err != nil {
			return fmt.Errorf("cannot use --client-secret-file: %w", err)
		}
	}
	// Not defaults of the flags, so that --help does not print them.
	if o.ClientID == "" {
		o.ClientID = getenv("CAPTURE_CLIENT_ID")
	}
	if o.ClientSecret == "" {
		o.ClientSecret = getenv("CAPTURE_CLIENT_SECRET")
	}
	if o.ClientID == "" || o.ClientSecret == "" {
		return errors.New("the client's credentials are missing: give --client-id and --client-secret (or --client-secret-file), or set CAPTURE_CLIENT_ID and CAPTURE_CLIENT_SECRET; choose any, and give the same to its clients")
	}
	return nil
}
