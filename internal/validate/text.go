package validate

import (
	"fmt"
	"io"
	"strings"
	"time"

	"durable-dataload/internal/figures"
	"durable-dataload/internal/safetext"
)

// Text writes the report as text. Names from the schema are printed unchanged.
func (r *Report) Text(out io.Writer) {
	w := &strings.Builder{}
	defer func() { _, _ = io.WriteString(out, safetext.Text(w.String())) }()
	fmt.Fprintf(w, "%s: %s, %d bytes; %d would be sent, in %s.\n", r.File, figures.Count(r.Records, "record"), r.Bytes, r.Sent, figures.Count(r.Forecast.Calls, "call"))
	for _, severity := range []Severity{Error, Warning} {
		title := figures.Count(int64(r.count(severity)), "kind") + " of " + string(severity) + "s:"
		for _, f := range r.Findings {
			if f.Severity != severity {
				continue
			}
			if title != "" {
				fmt.Fprintf(w, "\n%s\n", title)
				title = ""
			}
			fmt.Fprintf(w, "  %s\n", f.Line())
			if where := f.Where(); where != "" {
				fmt.Fprintf(w, "      %s\n", where)
			}
		}
	}
	if len(r.Findings) == 0 {
		fmt.Fprint(w, "\nNo faults were found.\n")
	}
	if r.Sent > 0 {
		fmt.Fprintf(w, "\nLargest record: %d bytes (line %d). Largest call: %d bytes of at most %d (from line %d).\n",
			r.LargestRecord.Bytes, r.LargestRecord.Line, r.LargestBatch.Bytes, r.Limit, r.LargestBatch.Line)
		fmt.Fprintln(w, r.Forecast)
	}
	for _, n := range r.NotChecked {
		fmt.Fprintf(w, "Not checked: %s.\n", n)
	}
}

func (r *Report) count(s Severity) int {
	if s == Error {
		return r.Errors()
	}
	return r.Warnings()
}

// Line is the finding without its places: count, attribute and message.
func (f Finding) Line() string {
	var b strings.Builder
	if f.Count > 0 {
		fmt.Fprintf(&b, "%d × ", f.Count)
	}
	if f.Attribute != "" {
		b.WriteString(f.Attribute + ": ")
	}
	b.WriteString(f.Message)
	return b.String()
}

// Where lists the places of the finding; it is empty if there are none.
func (f Finding) Where() string {
	var lines []string
	for _, p := range f.Places {
		switch {
		case p.Line == 0: // the file as a whole
		case p.FirstLine > 0:
			lines = append(lines, fmt.Sprintf("%d (first in %d)", p.Line, p.FirstLine))
		default:
			lines = append(lines, fmt.Sprint(p.Line))
		}
	}
	if len(lines) == 0 {
		return ""
	}
	if int64(len(f.Places)) < f.Count {
		lines = append(lines, "…")
	}
	if f.Count == 1 {
		return "line " + lines[0]
	}
	return "lines " + strings.Join(lines, ", ")
}

// String returns the forecast as text.
func (f Forecast) String() string {
	from, to, delta := f.AtLeast.text(), f.AtMost.text(), f.Delta.text()
	measured := ""
	if f.CallTime > 0 {
		measured = fmt.Sprintf("; a harmless call took %s", max(f.CallTime.duration(), time.Millisecond).Round(time.Millisecond))
	}
	if f.AtLeast == 0 {
		return fmt.Sprintf("Time: at most %s, if every call takes the whole timeout%s. A delta migration: at most %s more, one call a record.", to, measured, delta)
	}
	return fmt.Sprintf("Time: from %s, if the target is fast, to %s, if every call takes the whole timeout%s. A delta migration: at most %s more, one call a record.", from, to, measured, delta)
}

func (s Seconds) text() string {
	d := s.duration()
	if d < time.Second {
		return "1s"
	}
	return d.Round(time.Second).String()
}
