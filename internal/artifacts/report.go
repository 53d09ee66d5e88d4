package artifacts

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/targets"
)

//go:embed report.html
var reportPage string

// reportScript shows times in the reader's time zone too.
//
//go:embed report.js
var reportScript string

// reportPolicy lets the page run its own script only, and load nothing.
func reportPolicy() string {
	sum := sha256.Sum256([]byte(reportScript))
	return "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

var reportTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"number": figures.Number[int],
	"count":  func(n int, noun string) string { return figures.Count(n, noun) + figures.Plural(n, " is", " are") },
	"next":   func(i int) int { return i + 1 },
	"policy": reportPolicy,
	"script": func() template.JS { return template.JS(reportScript) }, //nolint:gosec // our own file
	"top":    func(all []reasonRow) []reasonRow { return all[:min(len(all), topReasons)] },
	"rest":   func(all []reasonRow) []reasonRow { return all[min(len(all), topReasons):] },
	"further": func(rest []reasonRow) string {
		return figures.Count(len(rest), "further reason")
	},
	"time": timeText,
}).Parse(reportPage))

func timeText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

// Details are the parts of the report that are not in the summary.
type Details struct {
	Spec     migration.Spec    // of the last run
	Events   []migration.Event // until its end, in any order
	Timeline *Timeline         // nil if not known
	Reasons  *Reasons          // nil if not known
	Program  string            // see Program
}

// page is the input of the template.
type page struct {
	migration.Summary
	Status, Advice string
	Ticket         string // the outcome as plain text
	Facts          []fact
	Dispositions   []disposition
	Charts         *charts
	Latencies      []latencyRow
	Reasons        []reasonRow
	MoreReasons    string
	Calls          []callRow
	MoreCalls      int
	Changes        []migration.Event
	MoreChanges    int
	Events         []eventRow
	MoreEvents     int
	Settings       []fact
	Artifacts      []artifact
}

type fact struct{ Name, Value string }

type disposition struct {
	Name    string
	Records int
	Share   string
	Meaning string
}

type latencyRow struct {
	Round                 int
	First, Last           time.Time
	Median, Most, Longest string
}

type reasonRow struct {
	Words   string
	Records int
	Lines   string
}

type callRow struct {
	Outcome, Reason string
	Calls, Records  int
}

type artifact struct{ Kind, Name, Link, Holds string }

const (
	topReasons       = 5 // before the others are folded
	shownCallReasons = 50
	shownEvents      = 200 // of each kind
)

// report renders the summary and the details for people: one page, no script, no network.
// It is a function of these.
func report(stamp string, s migration.Summary, d Details) ([]byte, error) {
	d.Events = slices.Clone(d.Events)
	slices.SortStableFunc(d.Events, func(a, b migration.Event) int { return a.At.Compare(b.At) })
	p := page{
		Summary: s, Status: statusOf(s.Records), Advice: Advice(s), Facts: facts(s, d),
		Dispositions: dispositions(s), Charts: drawn(d.Timeline, d), Latencies: latencyRows(d.Timeline),
		Settings: settings(d), Artifacts: artifactsOf(stamp, s.Files),
	}
	p.Reasons, p.MoreReasons = d.Reasons.rows()
	p.Calls, p.MoreCalls = callRows(d.Timeline)
	p.Ticket = ticket(p)
	p.Changes = shownChanges(d.Events)
	p.MoreChanges = changes(d.Events) - len(p.Changes)
	p.Events, p.MoreEvents = eventRows(d.Events)
	var b bytes.Buffer
	err := reportTemplate.Execute(&b, p)
	return b.Bytes(), err
}

// inReport is a text as a report has it.
func inReport(text string) []byte {
	var b bytes.Buffer
	_ = textTemplate.Execute(&b, text) // a Buffer takes everything
	return b.Bytes()
}

var textTemplate = template.Must(template.New("text").Parse("{{.}}"))

// Advice says in one sentence what to do next.
func Advice(s migration.Summary) string {
	if left := s.Records.Remaining + s.Records.Unknown; s.Cancelled && left > 0 {
		var parts []string
		if n := s.Records.Unknown; n > 0 {
			parts = append(parts, fmt.Sprintf("%s in an unknown state %s in %s", figures.Count(n, "record"), figures.Plural(n, "is", "are"), *s.Files.Unresolved))
		}
		if n := s.Records.Remaining; n > 0 {
			parts = append(parts, fmt.Sprintf("%s that %s never sent in %s", figures.Count(n, "record"), figures.Plural(n, "was", "were"), *s.Files.Remaining))
		}
		return "The migration was cancelled: " + strings.Join(parts, ", ") + ". Rerunning the command does not resume it; --again loads the file as a new migration."
	}
	switch s.Records.ExitCode() {
	case migration.ExitStopped:
		return "The migration was stopped. Rerun the command to load the remaining records."
	case migration.ExitUnknown:
		return unknownAdvice(s)
	case migration.ExitFailed:
		var reasons []string // of the files with records in them
		if s.Records.Failed > s.Files.UpdateFailRecords {
			reasons = append(reasons, s.Files.Fail)
		}
		if s.Files.UpdateFailRecords > 0 {
			reasons = append(reasons, *s.Files.UpdateFail)
		}
		return "Some records failed. Their reasons are in " + strings.Join(reasons, " and ") + "; fix the records in " + s.Files.FailRecords + " and load that file."
	}
	if s.Records.Total == 0 {
		return "The file has no records: nothing was sent."
	}
	return "Every record is in the target."
}

// unknownAdvice says what to do about unknown records. Rerunning the command loads those
// again that have a key.
func unknownAdvice(s migration.Summary) string {
	aside := 0
	if s.Keyless != nil {
		aside = s.Keyless.Unknown
	}
	again := ""
	switch left := s.Records.Unknown - aside; {
	case left == 0:
	case aside == 0:
		return "Some records are still in an unknown state: those of " + *s.Files.Unresolved + ". When the target has recovered, rerun the command to load them again. Those that stay unknown are refused as duplicates, and nothing proves whose the records in the target are: see docs/answers.md."
	default:
		again = fmt.Sprintf(" When the target has recovered, rerun the command to load the other %s of that file again.", figures.Count(left, "unknown record"))
	}
	return fmt.Sprintf("The answer for %s without a unique %s was lost, so %s never sent again by this program: check which of them exist in the target, and load the others of %s by hand.",
		figures.Count(aside, "record"), s.Keyless.PrimaryKey, figures.Plural(aside, "it is", "they are"), *s.Files.Unresolved) + again
}

// ticket is what a ticket or a mail needs, as plain text.
func ticket(p page) string {
	lines := []string{fmt.Sprintf("Migration of %s into %s (%s): %s", p.DataFile, p.URI, p.EntityType, p.Status)}
	var parts []string
	for _, d := range p.Dispositions {
		if d.Records > 0 {
			parts = append(parts, figures.Number(d.Records)+" "+d.Name)
		}
	}
	lines = append(lines, strings.TrimSuffix(figures.Count(p.Records.Total, "record")+": "+strings.Join(parts, ", "), ": "))
	for _, r := range p.Reasons[:min(len(p.Reasons), mostReasons)] {
		lines = append(lines, fmt.Sprintf("%s failed: %s (%s %s)", figures.Number(r.Records), r.Words, figures.Plural(r.Records, "line", "lines"), r.Lines))
	}
	return strings.Join(append(lines, timeText(p.StartedAt)+" to "+timeText(p.FinishedAt)+", in "+figures.Count(len(p.Rounds), "round"), p.WorkflowID), "\n")
}

func statusOf(c migration.Counts) string {
	switch c.ExitCode() {
	case migration.ExitStopped:
		return "Stopped"
	case migration.ExitUnknown:
		return "Done, with records in an unknown state"
	case migration.ExitFailed:
		return "Done, with failed records"
	}
	return "Done"
}

// facts are the figures at the top.
func facts(s migration.Summary, d Details) []fact {
	all := []fact{{"records", figures.Number(s.Records.Total)}, {"from start to end", s.FinishedAt.Sub(s.StartedAt).Round(time.Second).String()}}
	made := 0
	for _, r := range s.Rounds {
		made += r.Calls
	}
	all = append(all, fact{"calls", figures.Number(made)})
	if c := d.Timeline; c != nil && c.all.count > 0 {
		all = append(all, fact{"median of a call", brief(c.all.quantile(.5))})
	}
	return all
}

func dispositions(s migration.Summary) []disposition {
	c := s.Records
	all := []disposition{
		{"created", c.Created, "", "written by a call that was answered"},
		{"recovered", c.Recovered, "", "written by a call whose answer was lost, and found later"},
		{"updated", c.Updated, "", "existed before, and has the values of the file now"},
		{"failed", c.Failed, "", "not in the target as in the file; the reasons are below"},
		{"unknown", c.Unknown, "", "sent; not known whether it was written"},
		{"remaining", c.Remaining, "", "never sent"},
	}
	if k := s.Keyless; k != nil && k.Unknown > 0 {
		all = slices.Insert(all, 5, disposition{"of these keyless", k.Unknown, "",
			"sent once and not again: without a unique " + k.PrimaryKey + " the target cannot refuse a duplicate; check the target, then load them by hand"})
	}
	for i := range all {
		all[i].Share = share(all[i].Records, c.Total)
	}
	return all
}

// share is a part in percent. A part that is not empty is never 0 %, and one that is not
// the whole never 100 %.
func share(part, whole int) string {
	switch {
	case part == 0:
		return "0 %"
	case part == whole:
		return "100 %"
	}
	percent := min(max(float64(part)/float64(whole)*100, 0.1), 99.9)
	if part*1000 < whole {
		return "< 0.1 %"
	}
	if (whole-part)*1000 < whole {
		return "> 99.9 %"
	}
	return strconv.FormatFloat(percent, 'f', 1, 64) + " %"
}

func latencyRows(c *Timeline) (rows []latencyRow) {
	if c == nil {
		return nil
	}
	for _, n := range c.roundNumbers() {
		r := c.rounds[n]
		row := latencyRow{Round: n, First: r.first, Last: r.last, Median: "–", Most: "–", Longest: "–"}
		if r.took.count > 0 {
			row.Median, row.Most, row.Longest = brief(r.took.quantile(.5)), brief(r.took.quantile(.95)), brief(r.took.longest)
		}
		rows = append(rows, row)
	}
	return rows
}

func callRows(c *Timeline) (rows []callRow, more int) {
	if c == nil {
		return nil, 0
	}
	all := c.reasonsBySize()
	for _, r := range all[:min(len(all), shownCallReasons)] {
		rows = append(rows, callRow{r.outcome, cmp.Or(r.reason, "no reason was given"), c.reasons[r].calls, c.reasons[r].records})
	}
	return rows, len(all) - len(rows)
}

// rows are the reasons as the page shows them.
func (r *Reasons) rows() (rows []reasonRow, more string) {
	if r == nil {
		return nil, ""
	}
	shown, groups, left := r.bySize()
	for _, key := range shown {
		g := r.groups[key]
		row := reasonRow{Words: g.text, Records: g.records}
		if key.byUpdate {
			row.Words = "update: " + row.Words
		}
		var lines []string
		for _, line := range g.lines {
			lines = append(lines, strconv.FormatInt(line, 10))
		}
		row.Lines = strings.Join(lines, ", ")
		if g.records > len(g.lines) {
			row.Lines += ", …"
		}
		rows = append(rows, row)
	}
	switch {
	case left == 0:
		return rows, ""
	case r.others > 0:
		return rows, fmt.Sprintf("More than %s, of %s, are not shown.", figures.Count(groups, "other reason"), figures.Count(left, "record"))
	}
	return rows, fmt.Sprintf("%s, of %s, %s not shown.", figures.Count(groups, "other reason"), figures.Count(left, "record"), figures.Plural(groups, "is", "are"))
}

// settings are the options of the last run by their names on the command line, and the
// program.
func settings(d Details) (all []fact) {
	s := d.Spec
	if s.ID == "" {
		return nil
	}
	add := func(name, value string, there bool) {
		if there {
			all = append(all, fact{name, value})
		}
	}
	rate := "none"
	if s.RateLimit > 0 {
		rate = figures.Rate(s.RateLimit)
	}
	add("--batch-size", figures.Number(s.BatchSize), true)
	add("--start-at", strconv.FormatInt(s.StartAt, 10), s.StartAt > 1)
	add("--workers", figures.Number(s.Workers), true)
	add("--timeout", s.Timeout.String(), true)
	add("--rate-limit", rate, true)
	add("--rate-plan", s.RatePlan, s.RatePlan != "")
	add("--breaker", figures.Count(s.Breaker, "call")+" in a row", s.Breaker > 0)
	add("--max-failed", s.MaxFailed, s.MaxFailed != "")
	add("--canary", figures.Count(s.Canary, "record"), s.Canary > 0)
	add("--canary-timeout", s.CanaryTimeout.String(), s.Canary > 0 && s.CanaryTimeout > 0)
	add("--retry-rounds", figures.Number(s.RetryRounds), true)
	add("--retry-backoff", s.RetryBackoff.String(), true)
	isDefault := targets.IsDefault(s.Target.Name)
	add("--target", s.Target.Name, !isDefault)
	add("--unknown-api-codes", codes(s.UnknownAPI), isDefault)
	add("--unknown-http-codes", codes(s.UnknownHTTP), isDefault)
	add("--recovered-by", string(s.RecoveredBy), true)
	add("--primary-key", s.PrimaryKey, true)
	add("--delta-migration", "yes", s.Delta)
	add("--undo-recipient", s.UndoRecipient, s.UndoRecipient != "")
	add("--isolate", strconv.FormatBool(s.Isolate), true)
	add("--delimiter", s.Delimiter, s.Delimiter != "")
	add("--mapping", fmt.Sprintf("%s, SHA-256 %.12s…", path.Base(strings.ReplaceAll(s.MappingFile, `\`, "/")), s.Mapping), s.Mapping != "")
	add("program", d.Program, d.Program != "")
	return all
}

func codes(ranges [][2]int) string { return targets.Codes(ranges).String() }

// artifactsOf are the files beside the report. A name that is not one of an artifact is
// text, not a link.
func artifactsOf(stamp string, f migration.Files) (all []artifact) {
	add := func(kind, name, holds string) {
		a := artifact{Kind: kind, Name: name, Holds: holds}
		if IsArtifact(name) {
			a.Link = name
		}
		all = append(all, a)
	}
	addIf := func(kind string, name *string, holds string) {
		if name != nil {
			add(kind, *name, holds)
		}
	}
	add("success", f.Success, "created and recovered records, with their uuids")
	addIf("updated", f.UpdateSuccess, "records that were updated")
	add("fail", f.Fail, "failed records, with their reasons")
	addIf("failed updates", f.UpdateFail, "records whose update failed, with their reasons")
	add("failed records", f.FailRecords, "failed records as in the input: fix and load them")
	for _, name := range f.Retry {
		add("retry", name, "records that were in an unknown state after a round")
	}
	addIf("still unknown", f.Unresolved, "records that are in an unknown state now")
	addIf("remaining", f.Remaining, "records that were never sent")
	if stamp != "" {
		add("summary", SummaryName(stamp), "all figures, for scripts")
	}
	return all
}

// Program identifies this program in the report: its version, the revision of its source if
// the build has recorded it, and its toolchain.
func Program() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return programOf(info)
}

func programOf(info *debug.BuildInfo) string {
	parts := []string{strings.TrimSpace(info.Main.Path + " " + strings.Trim(info.Main.Version, "()"))}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if revision := settings["vcs.revision"]; revision != "" {
		if settings["vcs.modified"] == "true" {
			revision += " with changes"
		}
		parts = append(parts, "revision "+revision)
	}
	parts = append(parts, info.GoVersion)
	for _, d := range info.Deps {
		if d.Path == "go.temporal.io/sdk" {
			parts = append(parts, "Temporal SDK "+d.Version)
		}
	}
	return strings.Join(parts, ", ")
}
