package migration

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"durable-dataload/internal/figures"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/store"
)

// Verification is the reading back of what a migration has written, the input of its
// workflow: names and numbers, as Spec.
type Verification struct {
	// ID is the workflow id.
	ID string `json:"id"`
	// Source is the workflow id of the migration, and Migration its folder.
	Source    string `json:"source"`
	Migration Folder `json:"migration"`
	OutputDir string `json:"output_dir"`
	// Folder is the verification's own state: its findings.
	Folder VerifyFolder `json:"folder"`
	// Sample is how many records of the input are read back; 0 = all.
	Sample int `json:"sample,omitempty"`
	// Ended is when the migration ended. A missing record is polled for some minutes after
	// that.
	Ended time.Time `json:"ended"`

	Limits
	Timeout time.Duration `json:"timeout"`
}

// Spec is the spec of the migration with the limits of the verification.
func (v Verification) Spec(of Spec) Spec {
	of.ID, of.Folder, of.OutputDir = v.ID, v.Folder.Migration(), v.OutputDir
	of.Limits, of.Timeout = v.Limits, v.Timeout
	return of
}

// VerifySummary is verify_*.json. Scripts depend on it.
type VerifySummary struct {
	WorkflowID string    `json:"workflow_id"`
	Migration  string    `json:"migration"` // workflow id
	DataFile   string    `json:"data_file"`
	EntityType string    `json:"entity_type"`
	URI        string    `json:"apid_uri"`
	StartedAt  time.Time `json:"started_at"`
	FinishedAt time.Time `json:"finished_at"`
	// Records is the number of records of the input, Sample how many of them were
	// to be read back.
	Records int          `json:"records"`
	Sample  int          `json:"sample"`
	Found   VerifyResult `json:"found"`
	// Halted says why it ended early, where that was an error.
	Halted string `json:"halted,omitempty"`
	// File is the name of the list of differences; it is in OutputDir, as this is.
	File      string `json:"verify"`
	OutputDir string `json:"output_dir"`
}

// ExitCode tells the counts to a script.
func (s VerifySummary) ExitCode() int {
	switch {
	case s.Found.Left > 0 && s.Halted == "":
		return ExitStopped
	case s.Found.Left > 0, s.Found.Unseen > 0:
		return ExitUnknown
	case !s.Found.IsAsItShouldBe():
		return ExitFailed
	}
	return ExitDone
}

// VerifyFolder is the state of a verification.
type VerifyFolder struct{ RunFolder }

// VerificationIn returns the folder of a verification in a work location.
func VerificationIn(work, key, stamp string) VerifyFolder {
	return RunFolder(store.Join(work, "verifications", key+"-"+stamp)).Verification()
}

// SaveOptions keeps the options.
func (f VerifyFolder) SaveOptions(v Verification) error { return f.save("verification.json", v) }

// Options returns the options, or ErrAbsent.
func (f VerifyFolder) Options() (Verification, error) {
	return load[Verification](f.path("verification.json"))
}

// SaveSummary keeps the summary, and removes the findings of each batch.
func (f VerifyFolder) SaveSummary(run string, s VerifySummary) error {
	if err := f.save("summary.json", s); err != nil {
		return err
	}
	return store.RemoveAll(f.Found(run))
}

// Summary returns the summary, or ErrAbsent.
func (f VerifyFolder) Summary() (VerifySummary, error) {
	return load[VerifySummary](f.path("summary.json"))
}

// Found is the path of the folder of the findings of a run.
func (f VerifyFolder) Found(run string) string { return f.path("found-" + run) }

// Sampled returns those positions (from 0) of a batch that are in a sample of n of total
// records. The batch has that many records from first (from 0) on. The sample has one record
// of each of n equal parts of the file, chosen by the id of the migration: so it is the same
// each time. 0, or more than there are, is all.
func Sampled(id string, n, total, first, records int) []int {
	var positions []int
	if n <= 0 || n >= total {
		for i := range records {
			positions = append(positions, i)
		}
		return positions
	}
	start := func(part int) int { return int(int64(part) * int64(total) / int64(n)) }
	for part := int(int64(first) * int64(n) / int64(total)); part < n && start(part) < first+records; part++ {
		digest := sha256.Sum256(fmt.Appendf(nil, "%s\n%d\n%d", id, n, part))
		from, to := start(part), start(part+1)
		at := from + int(binary.BigEndian.Uint64(digest[:8])%uint64(to-from)) - first
		if at >= 0 && at < records {
			positions = append(positions, at)
		}
	}
	return positions
}

// VerifyCounts are the results of the records that were to be read back.
type VerifyCounts struct {
	Equal     int `json:"equal"`     // as the migration was to write them
	Different int `json:"different"` // there, and not so
	Missing   int `json:"missing"`   // not there
	// Unseen are those that the target does not show for another reason.
	Unseen int `json:"unseen"`
	// NotLoaded are those that the migration has not written, as far as is known:
	// failed, unknown or remaining. There is nothing to compare.
	NotLoaded int `json:"not_loaded"`
	// Left are those that were not read: the verification was stopped.
	Left int `json:"left"`
	// ChangedSince are those of Different that were updated in the target after
	// the migration had ended, by the target's clock.
	ChangedSince int `json:"changed_since"`
}

// Add adds other to c.
func (c *VerifyCounts) Add(other VerifyCounts) { ledger.AddFields(c, other) }

// Checked is the number of records that were compared.
func (c VerifyCounts) Checked() int { return c.Equal + c.Different + c.Missing }

// Sum is the number of records counted.
func (c VerifyCounts) Sum() int { return c.Checked() + c.Unseen + c.NotLoaded + c.Left }

// Difference is an attribute in which a record of the target is not as expected. It holds
// no value.
type Difference struct {
	Line      int64  `json:"line"`
	Attribute string `json:"attribute,omitempty"` // "" is the whole record
	What      string `json:"what"`                // for people: "missing", "different", "2 elements, expected 3"
}

// firstDifferences is how many differences a VerifyResult names.
const firstDifferences = 5

// VerifyResult is the result of reading records back: numbers, lines and names of
// attributes, never a value.
type VerifyResult struct {
	VerifyCounts
	// Attributes are how many records differ in which attribute, NotCompared how
	// many have a value that the target does not show.
	Attributes  map[string]int `json:"by_attribute,omitempty"`
	NotCompared map[string]int `json:"not_compared,omitempty"`
	// First are the first few differences, by line.
	First []Difference `json:"first,omitempty"`
}

// Add adds other to r.
func (r *VerifyResult) Add(other VerifyResult) {
	r.VerifyCounts.Add(other.VerifyCounts)
	ledger.AddClasses(&r.Attributes, other.Attributes)
	ledger.AddClasses(&r.NotCompared, other.NotCompared)
	r.Note(other.First...)
}

// Note adds differences to the first ones, if they are among them.
func (r *VerifyResult) Note(differences ...Difference) {
	if len(differences) == 0 {
		return
	}
	all := slices.Concat(r.First, differences)
	slices.SortStableFunc(all, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Attribute, b.Attribute))
	})
	r.First = slices.Clip(all[:min(len(all), firstDifferences)])
}

// IsAsItShouldBe reports whether every record that was to be read back is in the target as the
// migration was to write it, except those that it has not written.
func (r VerifyResult) IsAsItShouldBe() bool {
	return r.Different == 0 && r.Missing == 0 && r.Unseen == 0 && r.Left == 0
}

// Text is the result in a few sentences: "9 of 10 records are in the
// target as they should be. 1 differs: givenName in 1. First: line 5, givenName:
// different."
func (r VerifyResult) Text() string {
	text := fmt.Sprintf("%d of %s %s in the target as %s should be.", r.Equal, figures.Count(r.Sum()-r.NotLoaded, "record"), figures.Plural(r.Equal, "is", "are"), figures.Plural(r.Equal, "it", "they"))
	if r.Missing > 0 {
		text += fmt.Sprintf(" %s missing.", are(r.Missing))
	}
	if r.Different > 0 {
		verb := "differ"
		if r.Different == 1 {
			verb = "differs"
		}
		text += fmt.Sprintf(" %d %s: %s.", r.Different, verb, ByAttribute(r.Attributes))
	}
	if r.ChangedSince > 0 {
		text += fmt.Sprintf(" Of these %d changed in the target after the migration.", r.ChangedSince)
	}
	if r.Unseen > 0 {
		text += fmt.Sprintf(" The target does not show %d.", r.Unseen)
	}
	if r.Left > 0 {
		text += fmt.Sprintf(" %s not read.", were(r.Left))
	}
	if len(r.First) > 0 {
		var first []string
		for _, d := range r.First {
			first = append(first, d.String())
		}
		text += " First: " + strings.Join(first, "; ") + "."
	}
	if r.NotLoaded > 0 {
		text += fmt.Sprintf(" %s not loaded, so there is nothing to compare.", were(r.NotLoaded))
	}
	if len(r.NotCompared) > 0 {
		text += fmt.Sprintf(" Not compared, since the target does not show it: %s.", ByAttribute(r.NotCompared))
	}
	return text
}

func (d Difference) String() string {
	if d.Attribute == "" {
		return fmt.Sprintf("line %d: %s", d.Line, d.What)
	}
	return fmt.Sprintf("line %d, %s: %s", d.Line, d.Attribute, d.What)
}

// ByAttribute is a count by attribute, for people: "clients in 2, givenName in 1".
//
//workflowcheck:ignore
func ByAttribute(counts map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) { // in one order, also in a workflow
		parts = append(parts, fmt.Sprintf("%s in %d", name, counts[name]))
	}
	return strings.Join(parts, ", ")
}

func are(n int) string {
	if n == 1 {
		return "1 is"
	}
	return fmt.Sprintf("%d are", n)
}

func were(n int) string {
	if n == 1 {
		return "1 was"
	}
	return fmt.Sprintf("%d were", n)
}
