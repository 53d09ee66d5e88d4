package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"durable-dataload/internal/catalogue"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
)

// shownEvents is how many events are printed, the last ones; JSON has all.
const (
	shownEvents   = 20
	redrawnEvents = 8
)

// print writes the status as text.
func (s status) print(w io.Writer, all bool) error {
	p := &errWriter{w: w}
	p.line("%s", s.ID)
	from, to := safetext.Name(s.File), fmt.Sprintf("%s (%s)", s.URI, s.EntityType)
	if s.Kind == kindExport {
		from, to = to, from
	}
	p.line("%s → %s%s", from, to, since("; started (all times are UTC) ", s.StartedAt))
	p.line("%s", s.headline())
	if s.Rerun != "" {
		p.line("The last %s.", s.Rerun)
	}
	if s.Rollback != nil {
		p.line("%s", s.Rollback.text())
		if !s.FinishedAt.IsZero() {
			p.line("\nBefore the rollback, at %s:", moment(s.FinishedAt))
		}
	}
	for _, line := range s.waits(time.Now()) {
		p.line("%s", line)
	}
	if s.Pace != nil {
		p.line("%s", s.Pace.text(s.Kind)+since("; the last call ended ", s.Pace.LastCall))
	}
	p.table(s.Rounds)
	c := s.Records
	if c.Total > 0 {
		p.line("\n%s%s", c, since("; as of ", s.RecordsAsOf))
	}
	if len(s.Errors) > 0 {
		p.line("\nFailed or unknown, by reason:")
		byCount := slices.SortedFunc(maps.Keys(s.Errors), func(a, b string) int {
			return cmp.Or(s.Errors[b]-s.Errors[a], strings.Compare(a, b))
		})
		for _, class := range byCount {
			p.line("  %s: %s", figures.Number(s.Errors[class]), class)
		}
	}
	if len(s.Events) > 0 {
		shown := shownEvents
		if !all {
			shown = redrawnEvents
		}
		p.line("\nEvents:")
		if more := len(s.Events) - shown; more > 0 {
			p.line("  %d earlier ones; --json has them", more)
		}
		for _, e := range s.Events[max(0, len(s.Events)-shown):] {
			p.line("  %s  %s", moment(e.At), eventText(e))
		}
	}
	if s.advice != "" {
		p.line("\n%s", s.advice)
	}
	if s.WebUI != "" {
		p.line("\nWeb UI:  %s", s.WebUI)
	}
	return p.err
}

// headline is the first line: the state.
func (s status) headline() string {
	if s.State != catalogue.Running {
		text, next := s.State.Text()
		if s.Rollback != nil {
			text += since(", at ", s.Rollback.FinishedAt)
		} else {
			text += since(", at ", s.FinishedAt)
		}
		if s.Reason != "" {
			text += ": " + strings.TrimSuffix(s.Reason, ".")
		}
		return text + next + trouble(s.Trouble)
	}
	text := "running"
	if s.Ending != "" {
		text += " (" + s.Ending + " is requested)"
	}
	if s.Export != nil {
		text += ": " + s.Export.text + s.Export.pages()
	} else if s.Phase != "" {
		text += ": " + string(s.Phase)
	}
	if s.Waiting != "" {
		text += ", waits " + s.Waiting
	}
	if n := len(s.Rounds); n > 0 && s.Rounds[n-1].Running {
		r := s.Rounds[n-1]
		text += fmt.Sprintf(", round %d, batch %s of %s", r.Round, figures.Number(r.BatchesDone), figures.Number(r.Batches))
	}
	if s.SecondsLeft > 0 {
		text += fmt.Sprintf(", about %s left", time.Duration(s.SecondsLeft)*time.Second)
	}
	return text + trouble(s.Trouble)
}

func (r rollbackStatus) text() string {
	c := r.Records
	if r.FinishedAt.IsZero() {
		return "Rollback " + r.ID
	}
	text := fmt.Sprintf("Rollback %s: %s deleted, %s restored", r.ID, figures.Number(c.Deleted+c.Gone), figures.Number(c.Restored+c.Kept))
	for _, part := range []struct {
		records int
		what    string
	}{{c.Failed, "failed"}, {c.Left, "left"}} {
		if part.records > 0 {
			text += ", " + figures.Number(part.records) + " " + part.what
		}
	}
	return text
}

// advice says what to do next.
func (r rollbackStatus) advice() string {
	switch {
	case r.FinishedAt.IsZero() || r.Records.Left > 0:
		return "" // the state says it
	case r.Records.Failed > 0:
		return "Why records could not be undone is in " + r.fail + "."
	}
	return "To load the file again, rerun its command with --again."
}

func trouble(text string) string {
	if text == "" {
		return ""
	}
	return "\nTrouble: " + text
}

// waits has what a migration waits for, and how to continue.
func (s status) waits(now time.Time) []string {
	var lines []string
	if s.Decision != "" {
		lines = append(lines, decisionText(s.Decision, s.DecidedBy, s.ID))
	}
	if s.Paused != "" {
		lines = append(lines, pausedText(s.Paused, s.ID))
	}
	if s.Pace != nil && s.Pace.Closed != "" && s.Paused == "" {
		lines = append(lines, closedText(s.Pace.Closed, s.Pace.Probe, now)+since("; since ", s.Pace.Since))
	}
	return lines
}

// pages has how many pages were read, for people.
func (e exportStatus) pages() string {
	if e.Pages == 0 {
		return ""
	}
	return " on " + figures.Count(e.Pages, "page")
}

func (p paceStatus) text(of kind) string {
	text := fmt.Sprintf("%.1f calls a second now", p.CallsASecond)
	switch {
	case p.Allowed > 0 && p.Allowed != p.Limit:
		text += fmt.Sprintf("; %s allowed by the target's answers, of %s", rateText(p.Allowed), rateText(p.Limit))
	default:
		text += "; " + rateText(p.Limit) + " allowed"
	}
	if of != kindExport { // an export makes one call at a time
		text += fmt.Sprintf("; %d in flight at most, %s started", p.Workers, figures.Count(p.BatchesBegun, "batch"))
	}
	if p.RatePlan != "" {
		text += "; timetable: " + p.RatePlan
	}
	return text
}

// rateText is a rate limit as text.
func rateText(perSecond float64) string {
	if perSecond == 0 {
		return "any number"
	}
	return figures.Figure(perSecond)
}

// eventText is an event as a line.
func eventText(e migration.Event) string {
	text := string(e.Kind)
	if e.Kind == migration.EventChanged {
		text = change(e)
	} else if e.New != "" {
		text += " " + e.New
	}
	if e.Text != "" {
		text += ": " + e.Text
	}
	if e.Who != "" {
		text += ", by " + e.Who
	}
	if e.Reason != "" {
		text += " (" + e.Reason + ")"
	}
	return text
}

// moment is a time as text, in UTC as in the summary.
func moment(t time.Time) string { return t.UTC().Format(time.DateTime) }

// since is a time after some words; "" for no time.
func since(words string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return words + moment(t)
}

// errWriter keeps the first error.
type errWriter struct {
	w   io.Writer
	err error
}

func (p *errWriter) line(format string, args ...any) {
	_, err := fmt.Fprintln(p.w, safetext.Text(fmt.Sprintf(format, args...)))
	p.err = errors.Join(p.err, err)
}

func (p *errWriter) table(rounds []roundStatus) {
	if len(rounds) == 0 {
		return
	}
	recovered := slices.ContainsFunc(rounds, func(r roundStatus) bool { return r.Recovered != nil })
	w := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', tabwriter.AlignRight)
	header := "\nround\tcalls\tcreated\tduplicate\tfailed\tunknown\t"
	if recovered {
		header += "recovered\t"
	}
	fmt.Fprintln(w, header)
	for _, r := range rounds {
		row := fmt.Sprintf("%d\t%d\t%d\t%d\t%d\t%d\t", r.Round, r.Calls, r.Created, r.Duplicate, r.Failed, r.Unknown)
		switch {
		case !recovered:
		case r.Recovered != nil:
			row += fmt.Sprintf("%d\t", *r.Recovered)
		default:
			row += "…\t"
		}
		fmt.Fprintln(w, row)
	}
	p.err = errors.Join(p.err, w.Flush())
}

// change is a change of a setting, as a line.
func change(e migration.Event) string {
	text := e.Name
	if e.Old != "" || e.New != "" {
		text += fmt.Sprintf(": %s → %s", orNone(e.Old), orNone(e.New))
	}
	return text
}

func orNone(value string) string {
	if value == "" {
		return "none"
	}
	return value
}
