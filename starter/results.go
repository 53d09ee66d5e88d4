package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/store"
	"durable-dataload/internal/terminal"
	"durable-dataload/workflows"
)

// printResult prints the table that adds up, and where the files are. Of several
// migrations --json prints the summaries together at the end.
func printResult(s *terminal.Screen, r workflows.Result, dir string, several bool) {
	summary := r.Summary
	if r.Halted != "" {
		s.Say("starter: the migration stopped: " + r.Halted)
	}
	if s.JSON {
		if several {
			return
		}
		if data, err := artifacts.MarshalSummary(summary); err == nil {
			_, _ = s.Stdout.Write(data)
		}
		return
	}
	c := summary.Records
	w := tabwriter.NewWriter(s.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\nround\tcalls\tcreated\tduplicate\tfailed\tunknown\t\n")
	for _, round := range summary.Rounds {
		fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t\n", round.Round, round.Calls, round.Created, round.Duplicate, round.Failed, round.Unknown)
	}
	_ = w.Flush()
	w = tabwriter.NewWriter(s.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\ncreated\t%d\t\nrecovered\t%d\t\nupdated\t%d\t\nfailed\t%d\t\nunknown\t%d\t\n", c.Created, c.Recovered, c.Updated, c.Failed, c.Unknown)
	if k := summary.Keyless; k != nil && k.Unknown > 0 {
		fmt.Fprintf(w, "of these keyless\t%d\t\n", k.Unknown)
	}
	fmt.Fprintf(w, "remaining\t%d\t\ntotal\t%d\t\n\n", c.Remaining, c.Total)
	_ = w.Flush()
	for _, name := range fileNames(summary) {
		fmt.Fprintln(s.Stdout, safetext.Name(store.Join(dir, name)))
	}
	fmt.Fprintln(s.Stdout, "\n"+safetext.Text(artifacts.Advice(summary)))
}

// printOutcomes prints what became of several migrations: a line each, or their
// summaries as a list.
func printOutcomes(s *terminal.Screen, all []outcome) error {
	if s.JSON {
		summaries := []json.RawMessage{}
		for _, o := range all {
			if o.summary != nil {
				data, err := artifacts.MarshalSummary(*o.summary)
				if err != nil {
					return err
				}
				summaries = append(summaries, data)
			}
		}
		data, err := json.MarshalIndent(summaries, "", "  ")
		if err != nil {
			return err
		}
		_, err = s.Stdout.Write(append(data, '\n'))
		return err
	}
	w := tabwriter.NewWriter(s.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\nfile\ttotal\tcreated\trecovered\tupdated\tfailed\tunknown\tremaining\tresult\n")
	for _, o := range all {
		figures := strings.Repeat("-\t", 7)
		if o.summary != nil {
			c := o.summary.Records
			figures = fmt.Sprintf("%d\t%d\t%d\t%d\t%d\t%d\t%d\t", c.Total, c.Created, c.Recovered, c.Updated, c.Failed, c.Unknown, c.Remaining)
		}
		fmt.Fprintf(w, "%s\t%s%s\n", safetext.Name(o.input.given), figures, o.result)
	}
	return w.Flush()
}

// fileNames are the artifacts, the summary first.
func fileNames(s migration.Summary) []string {
	stamp := strings.TrimSuffix(strings.TrimPrefix(s.Files.Success, "success_"), ".csv")
	files := []string{artifacts.SummaryName(stamp), s.Files.Success, s.Files.Fail, s.Files.FailRecords}
	files = append(files, s.Files.Retry...)
	for _, optional := range []*string{s.Files.Remaining, s.Files.UpdateSuccess, s.Files.UpdateFail} {
		if optional != nil {
			files = append(files, *optional)
		}
	}
	return append(files, s.Files.Report)
}

// outcome is the result of one of several inputs.
type outcome struct {
	input   input
	code    int
	summary *migration.Summary
	result  string // in a few words
}

// all runs the migrations of several inputs, one after the other, and gives the worst exit
// code.
func (c *migrator) all(ctx context.Context) (int, error) {
	var outcomes []outcome
	for _, in := range c.inputs {
		switch {
		case in.left:
			c.Screen.Say(fmt.Sprintf("%s is skipped: its name is that of a result file; give it alone to load it.", in.given))
			continue
		case c.IsStopped():
			outcomes = append(outcomes, outcome{in, migration.ExitStopped, nil, "not started"})
			continue
		}
		o, err := c.next(ctx, in)
		if err != nil {
			return 0, err
		}
		outcomes = append(outcomes, o)
	}
	if err := printOutcomes(c.Screen, outcomes); err != nil {
		return 0, err
	}
	return worst(outcomes), nil
}

// next runs one of several migrations. After an error the next one still runs; a usage
// error ends the command.
func (c *migrator) next(ctx context.Context, in input) (outcome, error) {
	code, summary, err := c.one(ctx, in)
	var done *doneError
	var wrong usageError
	switch {
	case errors.As(err, &done):
		c.Screen.Say(fmt.Sprintf("%s was done already, %s UTC.", in.given, done.summary.FinishedAt.Format(time.DateTime)))
		return outcome{in, done.summary.Records.ExitCode(), &done.summary, "done already"}, nil //nolint:nilerr // it was reported
	case errors.As(err, &wrong):
		return outcome{}, err
	case err != nil:
		c.Screen.Say("starter: " + err.Error())
		return outcome{in, migration.ExitCannotRun, nil, "could not run"}, nil //nolint:nilerr // it was reported
	}
	result := map[int]string{
		migration.ExitDone: "done", migration.ExitFailed: "done, with failed records", migration.ExitUnknown: "records still unknown", migration.ExitStopped: "stopped",
	}[code]
	return outcome{in, code, summary, result}, nil
}

// worst is the most severe exit code.
func worst(outcomes []outcome) int {
	for _, code := range []int{migration.ExitCannotRun, migration.ExitStopped, migration.ExitUnknown, migration.ExitFailed} {
		if slices.ContainsFunc(outcomes, func(o outcome) bool { return o.code == code }) {
			return code
		}
	}
	return migration.ExitDone
}
