package migration

import (
	"errors"
	"time"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/store"
)

// Rollback is the undoing of a migration, the input of its workflow: names and numbers, as
// Spec.
type Rollback struct {
	// ID is the workflow id.
	ID string `json:"id"`
	// Source is what is undone, for people: the id of a migration, or the path
	// of a success file.
	Source string `json:"source"`
	// Migration is the folder of the migration that is undone; "" where all
	// that is known of it is a success file.
	Migration Folder `json:"migration,omitzero"`
	OutputDir string `json:"output_dir"`
	// Folder is the rollback's own state: items, ledger, summary.
	Folder RollbackFolder `json:"folder"`
	Target Target         `json:"target"`
	// Until is the end of the migration: a record that was last updated later
	// was changed since. Zero: not known, which requires Force.
	Until time.Time `json:"until,omitzero"`
	// From is when the migration began. Zero: not known.
	From time.Time `json:"from,omitzero"`
	// Force also undoes what was changed since.
	Force bool `json:"force,omitempty"`

	Limits
	Timeout time.Duration `json:"timeout"`
}

// Connection is the spec of a migration into the same target, at the same pace.
func (r Rollback) Connection() Spec {
	return Spec{ID: r.ID, Folder: r.Folder.Migration(), OutputDir: r.OutputDir, Target: r.Target, Limits: r.Limits, Timeout: r.Timeout}
}

// RollbackCounts are the results of the records that were to be undone.
type RollbackCounts struct {
	Deleted  int `json:"deleted"`
	Gone     int `json:"gone"` // had been deleted already
	Restored int `json:"restored"`
	Kept     int `json:"kept"` // had their previous values already
	Failed   int `json:"failed"`
	// Left are those that were not attempted, or may not have been.
	Left int `json:"left"`
}

// Add adds other to c.
func (c *RollbackCounts) Add(other RollbackCounts) { ledger.AddFields(c, other) }

// Undone is the number of records that are as they were before the migration.
func (c RollbackCounts) Undone() int { return c.Deleted + c.Gone + c.Restored + c.Kept }

// Sum is the number of records counted.
func (c RollbackCounts) Sum() int { return c.Undone() + c.Failed + c.Left }

// DryRollback is what a rollback would come to.
type DryRollback struct {
	RollbackCounts
	Reasons map[string]int `json:"failed_by_reason"`
}

// RollbackSummary is the result of a rollback. Scripts depend on it.
type RollbackSummary struct {
	WorkflowID string         `json:"workflow_id"`
	Source     string         `json:"source"`
	EntityType string         `json:"entity_type"`
	URI        string         `json:"apid_uri"`
	StartedAt  time.Time      `json:"started_at"`
	FinishedAt time.Time      `json:"finished_at"`
	Items      int            `json:"items"`
	Records    RollbackCounts `json:"records"`
	// Unverified are those undone records that were not read back yet.
	Unverified int            `json:"unverified"`
	Reasons    map[string]int `json:"failed_by_reason"`
	Success    string         `json:"rollback_success"` // file names
	Fail       string         `json:"rollback_fail"`
}

func (s RollbackSummary) names() []string { return []string{s.Success, s.Fail} }

// IsDone reports whether nothing is left to be undone or read back, though records may have
// failed.
func (s RollbackSummary) IsDone() bool { return s.Records.Left == 0 && s.Unverified == 0 }

// ExitCode tells the counts to a script.
func (s RollbackSummary) ExitCode() int {
	switch {
	case !s.IsDone():
		return ExitStopped
	case s.Records.Failed > 0:
		return ExitFailed
	}
	return ExitDone
}

// RollbackFolder is the state of a rollback.
type RollbackFolder struct{ RunFolder }

// RollbackIn returns the folder of a rollback in a work location.
func RollbackIn(work, key string) RollbackFolder {
	return RunFolder(store.Join(work, "rollbacks", key)).Rollback()
}

// Items is the path of the list of what the rollback undoes.
func (f RollbackFolder) Items() string { return f.path("items.csv") }

// SaveOptions keeps the options of the present run.
func (f RollbackFolder) SaveOptions(r Rollback) error { return f.save("rollback.json", r) }

// Options returns the options of the last run, or ErrAbsent.
func (f RollbackFolder) Options() (Rollback, error) { return load[Rollback](f.path("rollback.json")) }

// SaveRound says which round is the present one.
func (f RollbackFolder) SaveRound(round int) error { return f.save("round.json", round) }

// Round returns the present round: 0 unless there was one more.
func (f RollbackFolder) Round() (int, error) {
	round, err := load[int](f.path("round.json"))
	if errors.Is(err, ErrAbsent) {
		return 0, nil
	}
	return round, err
}

// SaveSummary keeps the last summary.
func (f RollbackFolder) SaveSummary(s RollbackSummary) error { return f.save("summary.json", s) }

// Summary returns the last summary, or ErrAbsent.
func (f RollbackFolder) Summary() (RollbackSummary, error) {
	return load[RollbackSummary](f.path("summary.json"))
}

// RolledBack marks a migration whose rollback was started: from then on it is not resumed.
type RolledBack struct {
	Rollback string `json:"rollback"` // workflow id
	// Done says that the rollback has finished, and Failed how many records it could not
	// undo.
	Done   bool `json:"done"`
	Failed int  `json:"failed,omitempty"`
}

// MarkRolledBack marks a migration, which keeps new runs from beginning, and seals those that
// there were: a worker that slept through the end of its run sends nothing after the rollback.
func (f Folder) MarkRolledBack(m RolledBack) error {
	return errors.Join(f.save("rolled_back.json", m), f.SealOthers(""))
}

// DropRolledBack removes the mark of a rollback that was not started after all.
func (f Folder) DropRolledBack() error { return store.Remove(f.path("rolled_back.json")) }

// RolledBack returns the mark, or ErrAbsent.
func (f Folder) RolledBack() (RolledBack, error) { return load[RolledBack](f.path("rolled_back.json")) }
