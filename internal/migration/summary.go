package migration

import (
	"fmt"
	"time"
)

// Counts are the dispositions of the records.
type Counts struct {
	Total     int `json:"total"`
	Created   int `json:"created"`
	Recovered int `json:"recovered"`
	Updated   int `json:"updated"`
	Failed    int `json:"failed"`
	Unknown   int `json:"unknown"`
	Remaining int `json:"remaining"`
}

// Sum is what the dispositions add up to; it must be Total.
func (c Counts) Sum() int {
	return c.Created + c.Recovered + c.Updated + c.Failed + c.Unknown + c.Remaining
}

// String adds them up, for people.
func (c Counts) String() string {
	return fmt.Sprintf("%d created + %d recovered + %d updated + %d failed + %d unknown + %d remaining = %d",
		c.Created, c.Recovered, c.Updated, c.Failed, c.Unknown, c.Remaining, c.Total)
}

// Exit codes of the starter.
const (
	ExitDone      = 0 // every record is created, recovered or updated
	ExitCannotRun = 1
	ExitUsage     = 2
	ExitFailed    = 3 // done, with failed records
	ExitUnknown   = 4 // done, with records still unknown
	ExitStopped   = 5 // stopped, with records remaining
)

// ExitCode tells the dispositions to a script.
func (c Counts) ExitCode() int {
	switch {
	case c.Remaining > 0:
		return ExitStopped
	case c.Unknown > 0:
		return ExitUnknown
	case c.Failed > 0:
		return ExitFailed
	}
	return ExitDone
}

// Round is the result of one round, by the target's answers.
type Round struct {
	Round     int `json:"round"`
	Batches   int `json:"batches"`
	Calls     int `json:"calls"`
	Created   int `json:"created"`
	Duplicate int `json:"duplicate"`
	Failed    int `json:"failed"`
	Unknown   int `json:"unknown"`
	// RetryFile holds the records that the next round loads; after the last round,
	// all unknown records.
	RetryFile *string `json:"retry_file"`
}

// Files are the names of the artifacts, relative to the output folder; null
// where there is none.
type Files struct {
	Success       string   `json:"success"`
	Fail          string   `json:"fail"`
	FailRecords   string   `json:"fail_records"`
	Retry         []string `json:"retry"`
	Unresolved    *string  `json:"unresolved"`
	Remaining     *string  `json:"remaining"`
	UpdateSuccess *string  `json:"update_success"`
	UpdateFail    *string  `json:"update_fail"`
	Report        string   `json:"report"`
	// UpdateFailRecords is how many records are in UpdateFail.
	UpdateFailRecords int `json:"update_fail_records,omitempty"`
}

// Breakdown divides counts of a summary further, for people. It holds no value of a record.
type Breakdown struct {
	Duplicate int `json:"duplicate,omitempty"` // failed, because they were in the target before
	Unchanged int `json:"unchanged,omitempty"` // updated, and had the values of the input already
	// Reasons are the most frequent ones of failed records.
	Reasons []Reason `json:"reasons,omitempty"`
}

// Reason is why records failed.
type Reason struct {
	Words     string `json:"words"`
	Records   int    `json:"records"`
	Line      int64  `json:"line"` // of the first of them
	Update    bool   `json:"update,omitempty"`
	Duplicate bool   `json:"duplicate,omitempty"`
}

// Summary is summary_*.json. Scripts depend on it.
type Summary struct {
	WorkflowID    string    `json:"workflow_id"`
	DataFile      string    `json:"data_file"`
	DataSHA256    string    `json:"data_sha256"`
	EntityType    string    `json:"entity_type"`
	URI           string    `json:"apid_uri"`
	Target        string    `json:"target,omitempty"` // missing for an Identity Cloud
	StartedAt     time.Time `json:"started_at"`
	FinishedAt    time.Time `json:"finished_at"`
	Records       Counts    `json:"records"`
	Rounds        []Round   `json:"rounds"`
	Files         Files     `json:"files"`
	EntitiesAfter *int64    `json:"entities_after"` // null when the client may not count
	// Cancelled says that the migration was cancelled: rerunning the command does not
	// resume it.
	Cancelled bool `json:"cancelled,omitempty"`
	// Keyless is missing where every record has a key by which the target would refuse a
	// duplicate.
	Keyless *Keyless `json:"keyless,omitempty"`
}

func (s Summary) names() []string {
	f := s.Files
	names := append([]string{f.Success, f.Fail, f.FailRecords, f.Report}, f.Retry...)
	for _, name := range []*string{f.Unresolved, f.Remaining, f.UpdateSuccess, f.UpdateFail} {
		if name != nil {
			names = append(names, *name)
		}
	}
	return names
}
