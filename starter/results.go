package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/config"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/store"
	"durable-dataload/internal/targets"
	"durable-dataload/internal/terminal"
	"durable-dataload/workflows"
)

// ended is a run of a migration that has ended, as it is printed.
type ended struct {
	workflows.Result
	spec     migration.Spec
	parts    migration.Breakdown
	relative bool // names of files are shown as they are in the working folder
}

// endedIn adds to the result of a migration what its folder has.
func endedIn(folder migration.Folder, r workflows.Result) ended {
	e := ended{Result: r}
	// Without them less is printed.
	e.spec, _ = folder.Spec()
	e.parts, _ = folder.Breakdown()
	return e
}

// printResult prints the table that adds up, where the files are, and what to do next. Of
// several migrations --json prints the summaries together at the end.
func (l locations) printResult(s *terminal.Screen, e ended, several bool) {
	summary := e.Summary
	if e.Halted != "" {
		s.Say("starter: the migration stopped: " + e.Halted)
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
	row := func(name string, n int, shown bool) {
		if shown {
			fmt.Fprintf(w, "%s\t%d\t\n", name, n)
		}
	}
	keyless := 0
	if summary.Keyless != nil {
		keyless = summary.Keyless.Unknown
	}
	fmt.Fprintln(w)
	row("created", c.Created, true)
	row("recovered", c.Recovered, true)
	row("updated", c.Updated, true)
	row("of these unchanged", e.parts.Unchanged, e.parts.Unchanged > 0)
	row("failed", c.Failed, true)
	row("of these duplicate", e.parts.Duplicate, e.parts.Duplicate > 0)
	row("unknown", c.Unknown, true)
	row("of these keyless", keyless, keyless > 0)
	row("remaining", c.Remaining, true)
	row("total", c.Total, true)
	_ = w.Flush()
	if len(e.parts.Reasons) > 0 {
		fmt.Fprintln(s.Stdout, "\n"+e.reasons())
	}
	fmt.Fprintln(s.Stdout)
	for _, name := range fileNames(summary) {
		fmt.Fprintln(s.Stdout, safetext.Name(e.near(store.Join(e.spec.OutputDir, name))))
	}
	advice := l.nextCommands(e)
	if advice == "" {
		advice = artifacts.Advice(summary)
	}
	fmt.Fprintln(s.Stdout, "\n"+safetext.Text(advice))
}

// near is a path as it is written in the working folder, if it is in there.
func (e ended) near(path string) string {
	if !e.relative {
		return path
	}
	here, err := os.Getwd()
	if err != nil || !filepath.IsAbs(path) {
		return path
	}
	if relative, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(relative) {
		return relative
	}
	return path
}

// reasons are the most frequent reasons of the records that failed, a line each.
func (e ended) reasons() string {
	lines, left := []string{"Why records failed:"}, e.Summary.Records.Failed
	for _, r := range e.parts.Reasons {
		left -= r.Records
		words := r.Words
		switch {
		case r.Duplicate:
			words = "already in the target, or twice in the file"
		case r.Update:
			words = "update: " + words
		}
		lines = append(lines, fmt.Sprintf("  %d: %s (line %d%s)", r.Records, words, r.Line, figures.Plural(r.Records, "", ", …")))
	}
	if left > 0 {
		lines = append(lines, fmt.Sprintf("  %d: other reasons", left))
	}
	return safetext.Text(strings.Join(lines, "\n"))
}

// nextCommands are the commands that load the failed records; "" if that is not what to do
// next.
func (l locations) nextCommands(e ended) string {
	c := e.Summary.Records
	if e.spec.ID == "" || c.Failed == 0 || c.ExitCode() != migration.ExitFailed {
		return ""
	}
	file := e.near(store.Join(e.spec.OutputDir, e.Summary.Files.FailRecords))
	var lines []string
	if duplicates := e.parts.Duplicate; duplicates > 0 && !e.spec.Delta {
		lines = append(lines, "To update the "+figures.Count(duplicates, "duplicate")+", if "+figures.Plural(duplicates, "it is the same person", "they are the same people")+" as in the target:",
			"  "+l.loads(file, e)+" -m")
	}
	if others := c.Failed - e.parts.Duplicate; others > 0 || e.spec.Delta {
		lines = append(lines, "After fixing the records:", "  "+l.loads(file, e))
	}
	return strings.Join(lines, "\n")
}

// loads is the command line that loads a file of raw records as a migration was loaded, with the
// same place for its state: a sandbox is that of a state folder. It has no credentials.
func (l locations) loads(file string, e ended) string {
	spec := e.spec
	words := []string{"starter", "--data", file}
	add := func(name, value, normal string) {
		if value != normal && value != "" {
			words = append(words, name, value)
		}
	}
	to := spec.Target
	part := targets.DefaultPart(to.Name)
	switch {
	case l.isSandbox(to):
		words = append(words, "--sandbox")
		add("--type-name", to.EntityType, part)
	case to.Name == targets.Kratos:
		words = append(words, "--target", to.Name, "--target-url", to.URI)
		add("--target-schema", to.EntityType, part)
	case to.Name == targets.IdentityPlatform:
		words = append(words, "--target", to.Name)
		add("--target-url", to.URI, targets.DefaultURL(to.Name))
		add("--target-project", to.EntityType, part)
	default:
		add("--apid_uri", to.URI, "")
		add("--type-name", to.EntityType, part)
		add("--auth", to.Auth, config.AuthBasic)
	}
	if to.InsecureHTTP {
		words = append(words, "--insecure-http")
	}
	normal, _ := config.StateDir("", os.Getenv) // "" where there is none
	add("--state-dir", l.stateDir, normal)
	add("--work-url", l.workURL, "")
	add("--delimiter", spec.Delimiter, ",")
	add("--mapping", e.near(spec.MappingFile), "")
	add("--primary-key", spec.PrimaryKey, targets.Format(to.Name, to.EntityType, spec.Timeout).Traits().DefaultKey)
	if spec.Delta {
		words = append(words, "--delta-migration")
	}
	for i, word := range words {
		words[i] = shellWord(word)
	}
	return strings.Join(words, " ")
}

// shellWord quotes a word for a POSIX shell, where that is needed.
func shellWord(word string) string {
	isPlain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !isPlain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(safetext.Text(word), "'", `'\''`) + "'"
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
		counts := strings.Repeat("-\t", 7)
		if o.summary != nil {
			c := o.summary.Records
			counts = fmt.Sprintf("%d\t%d\t%d\t%d\t%d\t%d\t%d\t", c.Total, c.Created, c.Recovered, c.Updated, c.Failed, c.Unknown, c.Remaining)
		}
		fmt.Fprintf(w, "%s\t%s%s\n", safetext.Name(o.input.given), counts, o.result)
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
