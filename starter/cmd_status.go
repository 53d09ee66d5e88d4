package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"durable-dataload/internal/catalogue"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/output"
	"durable-dataload/internal/terminal"
)

// statusCommand shows one migration.
func statusCommand(stdout, stderr io.Writer, code *int) *cobra.Command {
	var o statusOptions
	command := &cobra.Command{
		Use:   "status [ID | --latest]",
		Short: "Show the status of a migration or an export",
		Long: `Show the status of a migration or an export.

` + catalogue.Help + ` Of an export likewise.
Without it: --latest. If nothing runs, the status is read from the state folder.

Exit codes: 0 it is shown; 1 it could not be read; 2 wrong usage. With --watch that of the migration when it ends:
0, 3, 4 or 5 as starter --help (or starter export --help) has them, 1 if it failed.`,
		Example: "  starter status\n  starter status --latest --watch\n  starter status migration-users.csv-0123456789ab --json",
		Args:    oneMigration(&o.name, false),
		RunE: func(*cobra.Command, []string) (err error) {
			*code, err = o.run(context.Background(), stdout, stderr)
			return err
		},
		ValidArgsFunction: o.completeID,
	}
	f := command.Flags()
	f.SortFlags = false
	o.name.AddFlags(f)
	f.BoolVar(&o.watch, "watch", false, "poll every second until the migration ends")
	f.BoolVar(&o.json, "json", false, "print it as JSON; with --watch an object a line")
	o.addFlags(f)
	return command
}

type statusOptions struct {
	lookup
	name  catalogue.Name
	watch bool
	json  bool
}

func (o *statusOptions) run(ctx context.Context, stdout, stderr io.Writer) (int, error) {
	if err := o.open(ctx, os.Getenv); err != nil {
		return 0, err
	}
	defer o.close()
	k, err := o.Find(ctx, o.name)
	if err != nil {
		return 0, err
	}
	screen := terminal.New(stdout, stderr, terminal.Options{JSON: o.json})
	l := &poller{lookup: &o.lookup, known: k, view: newView(o.Service, k.ID, k.Spec.Target.Host(), o.stateDir, screen)}
	if o.watch {
		return o.follow(ctx, l, screen)
	}
	s := l.poll(ctx)
	if o.json {
		screen.PrintJSON(s)
		return migration.ExitDone, nil
	}
	return migration.ExitDone, s.print(stdout, true)
}

// follow polls until the migration ends. It gives the migration's exit code.
func (o *statusOptions) follow(ctx context.Context, l *poller, screen *terminal.Screen) (int, error) {
	interrupted, release := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer release()
	redraws := output.IsTerminal(screen.Stdout) && !o.json
	var err error
	for s := l.poll(ctx); ; s, err = l.pollAgain(ctx) {
		switch {
		case err != nil:
			// The service answered before, and may answer again.
			l.view.sayTrouble(err.Error())
		case o.json:
			line, err := json.Marshal(s)
			if err != nil {
				return 0, err
			}
			if _, err := fmt.Fprintf(screen.Stdout, "%s\n", line); err != nil {
				return 0, err
			}
		case redraws:
			if err := redraw(screen.Stdout, s); err != nil {
				return 0, err
			}
		case s.ExitCode == nil && s.Phase == "":
			screen.Progress(terminal.Line{What: s.Trouble})
		case s.ExitCode == nil && s.Export != nil:
			l.view.sayTrouble(s.Trouble)
			l.view.showExport(l.export)
		case s.ExitCode == nil:
			l.view.sayTrouble(s.Trouble)
			l.view.show(l.progress)
		default:
			if err := s.print(screen.Stdout, true); err != nil {
				return 0, err
			}
		}
		switch {
		case s.ExitCode != nil:
			return *s.ExitCode, nil
		case output.IsUnread(screen.Stdout):
			return migration.ExitDone, nil
		}
		select {
		case <-interrupted.Done():
			return migration.ExitStopped, nil
		case <-time.After(time.Second):
		}
	}
}

// redraw replaces the status on the terminal.
func redraw(w io.Writer, s status) error {
	var b bytes.Buffer
	if err := s.print(&b, false); err != nil {
		return err
	}
	page := strings.ReplaceAll(b.String(), "\n", "\x1b[K\n")
	_, err := io.WriteString(w, "\x1b[H"+page+"\x1b[J")
	return err
}
