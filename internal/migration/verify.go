package migration

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

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
