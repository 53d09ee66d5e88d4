package migration

import "time"

// Schedule is the input of each run of a schedule. Temporal keeps it: names and
// numbers, no user data and no credentials.
type Schedule struct {
	ID       string   `json:"id"`
	Patterns []string `json:"patterns"` // of the files, absolute
	Encoding string   `json:"encoding"` // of the files, see stage.ParseEncoding
	StateDir string   `json:"state_dir"`
	// Settle is how long a file must be unchanged before it is migrated.
	Settle time.Duration `json:"settle"`
	// KeepFiles says that files stay where they are after their migration.
	KeepFiles bool `json:"keep_files,omitempty"`
	// Options are those of each migration, see Spec.Of.
	Options Spec `json:"options"`
}

// FoundFile is a file as one poll of its folder found it.
type FoundFile struct {
	Path    string    `json:"path"`
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mod_time"`
	// Problem says why the file cannot be migrated; "" where it can.
	Problem string `json:"problem,omitempty"`
}

// Same reports whether the file has not changed since another poll.
func (f FoundFile) Same(g FoundFile) bool {
	return f.Path == g.Path && f.Size == g.Size && f.ModTime.Equal(g.ModTime)
}

// Scheduled is the result of a run of a schedule: scheduled_*.json. Scripts
// depend on it.
type Scheduled struct {
	Schedule   string          `json:"schedule"`
	WorkflowID string          `json:"workflow_id"`
	StartedAt  time.Time       `json:"started_at"`
	FinishedAt time.Time       `json:"finished_at"`
	Files      []ScheduledFile `json:"files"`
	// Known is how many files have content that was migrated before. Those of them
	// that stay where they are are not in Files.
	Known int `json:"known"`
	// More says that there are more files than one run can report on: the next run takes the others.
	More bool `json:"more,omitempty"`
	// Halted says why the run ended before its last file, for people.
	Halted string `json:"halted,omitempty"`
}

// ScheduledFile is the result of one file. Its records are those of its
// migration, which may be of an earlier run.
type ScheduledFile struct {
	File       string     `json:"file"` // absolute
	Result     FileResult `json:"result"`
	WorkflowID string     `json:"workflow_id,omitempty"`
	Records    *Counts    `json:"records,omitempty"`
	MovedTo    string     `json:"moved_to,omitempty"` // absolute; "" where it was not moved
	Reason     string     `json:"reason,omitempty"`   // for people
}

// FileResult is the result of a file in a word.
type FileResult string

// The results of a file of a schedule.
const (
	FileMigrated   FileResult = "migrated"       // every record is in the target
	FileFailed     FileResult = "failed records" // all were tried, some failed
	FileUnfinished FileResult = "unfinished"     // records are unknown or remaining: the next run resumes
	FileRefused    FileResult = "refused"        // it cannot be migrated as it is; nothing was sent
	FileKnown      FileResult = "known"          // its content was migrated before
	FileGrowing    FileResult = "growing"        // it is being written: the next run checks again
	FileElsewhere  FileResult = "elsewhere"      // another command is migrating it
	FileNotRun     FileResult = "not run"        // it failed for another reason: the next run retries
)

// NeedsAttention reports whether a person has to attend to the file.
func (r FileResult) NeedsAttention() bool {
	return r == FileUnfinished || r == FileRefused || r == FileNotRun
}

// ResultOf is the result of a migration with these records.
func ResultOf(c Counts) FileResult {
	switch c.ExitCode() {
	case ExitDone:
		return FileMigrated
	case ExitFailed:
		return FileFailed
	}
	return FileUnfinished
}
