package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/store"
	"durable-dataload/workflows"
)

// screen is what a person sees. Progress goes to stderr, the result to stdout.
type screen struct {
	stdout, stderr io.Writer
	json           bool
	several        bool // migrations: --json prints them together at the end
	terminal       bool
	width          int

	mu   sync.Mutex
	line bool // a progress line stands on the terminal
}

func newScreen(stdout, stderr io.Writer, o options) *screen {
	s := &screen{stdout: stdout, stderr: stderr, json: o.json, several: o.several, width: 80}
	if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.terminal = true
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 20 {
			s.width = w
		}
	}
	return s
}

// interval is how often progress is looked at.
func (s *screen) interval() time.Duration {
	if s.terminal {
		return 500 * time.Millisecond
	}
	return time.Second
}

// plainInterval is how often a line is printed where there is no terminal.
const plainInterval = 10 * time.Second

// say prints a line that stays. What is in it of others cannot steer the terminal.
func (s *screen) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
	fmt.Fprintln(s.stderr, safetext.Text(text))
}

// progress shows a line that the next one replaces, on a terminal.
func (s *screen) progress(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text = safetext.Text(text)
	if !s.terminal {
		fmt.Fprintln(s.stderr, text)
		return
	}
	s.wipe()
	if runes := []rune(text); len(runes) >= s.width {
		text = string(runes[:s.width-2]) + "…"
	}
	fmt.Fprint(s.stderr, text)
	s.line = true
}

// readProgress shows how much of a file was read, now and then.
func (s *screen) readProgress(what string) func(bytes int64) {
	shown := time.Now()
	return func(bytes int64) {
		every := plainInterval
		if s.terminal {
			every = s.interval()
		}
		if time.Since(shown) >= every {
			shown = time.Now()
			s.progress(fmt.Sprintf("%s: %s KiB", what, figures.Number(int(bytes>>10))))
		}
	}
}

func (s *screen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
}

func (s *screen) wipe() {
	if s.line {
		fmt.Fprint(s.stderr, "\r\x1b[K")
		s.line = false
	}
}

// result prints the table that adds up, and where the files are.
func (s *screen) result(r workflows.Result, dir string) {
	summary := r.Summary
	if r.Halted != "" {
		s.say("starter: the migration stopped: " + r.Halted)
	}
	if s.json {
		if s.several {
			return
		}
		if data, err := artifacts.MarshalSummary(summary); err == nil {
			_, _ = s.stdout.Write(data)
		}
		return
	}
	c := summary.Records
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\nround\tcalls\tcreated\tduplicate\tfailed\tunknown\t\n")
	for _, round := range summary.Rounds {
		fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t\n", round.Round, round.Calls, round.Created, round.Duplicate, round.Failed, round.Unknown)
	}
	_ = w.Flush()
	w = tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\ncreated\t%d\t\nrecovered\t%d\t\nupdated\t%d\t\nfailed\t%d\t\nunknown\t%d\t\n", c.Created, c.Recovered, c.Updated, c.Failed, c.Unknown)
	if k := summary.Keyless; k != nil && k.Unknown > 0 {
		fmt.Fprintf(w, "of these keyless\t%d\t\n", k.Unknown)
	}
	fmt.Fprintf(w, "remaining\t%d\t\ntotal\t%d\t\n\n", c.Remaining, c.Total)
	_ = w.Flush()
	for _, name := range fileNames(summary) {
		fmt.Fprintln(s.stdout, safetext.Name(store.Join(dir, name)))
	}
	fmt.Fprintln(s.stdout, "\n"+safetext.Text(artifacts.Advice(summary)))
}

// outcomes prints what became of several migrations: a line each, or their
// summaries as a list.
func (s *screen) outcomes(all []outcome) error {
	if s.json {
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
		_, err = s.stdout.Write(append(data, '\n'))
		return err
	}
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
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

// printJSON prints a value for scripts.
func (s *screen) printJSON(value any) { _ = writeJSON(s.stdout, value) }

// writeJSON writes a value for scripts, in the form of the summary files.
func writeJSON(w io.Writer, value any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(value); err != nil {
		return err
	}
	_, err := w.Write(safetext.JSON(b.Bytes()))
	return err
}
