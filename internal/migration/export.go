package migration

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"durable-dataload/internal/figures"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/store"
)

// Export is the reading of records out of a target into a CSV file. Unlike other operations it is kept in its folder only, and
// not in Temporal: a filter can hold user data.
type Export struct {
	// ID is the workflow id.
	ID     string       `json:"id"`
	Folder ExportFolder `json:"folder"`
	// Output is the file: an absolute path or a name in a bucket. One that ends in .gz is compressed.
	Output string `json:"output"`
	Target Target `json:"target"`
	// Filter and Attributes are those of target.Selection; the attributes are paths, none means all.
	Filter     string   `json:"filter,omitempty"`
	Attributes []string `json:"attributes,omitempty"`
	// Since is the export whose later changes are exported; the zero folder means all records.
	Since ExportFolder `json:"since,omitzero"`
	// PageSize is how many records are read in a call; 0 = as many as the target gives.
	PageSize int `json:"page_size,omitempty"`
	// Lag is how long a change can be invisible to searches.
	Lag time.Duration `json:"lag"`

	Limits
	Timeout time.Duration `json:"timeout"`
}

// ExportOf names the export into a file: one file is one export, and rerunning its command resumes it.
func ExportOf(work, output string) (id string, folder ExportFolder) {
	key := ShortDigest(output)[:12]
	return "export-" + safetext.Slug(store.Base(output)) + "-" + key, ExportIn(work, key)
}

// Exports returns the folders of all exports in a work location.
func Exports(work string) ([]ExportFolder, error) {
	keys, err := keysIn(work, "exports")
	folders := make([]ExportFolder, len(keys))
	for i, key := range keys {
		folders[i] = ExportIn(work, key)
	}
	return folders, err
}

// ExportIn returns the folder of an export in a work location.
func ExportIn(work, key string) ExportFolder {
	return RunFolder(store.Join(work, "exports", key)).Export()
}

// Connection is the spec of a migration into the same target, at the same pace.
func (e Export) Connection() Spec {
	return Spec{ID: e.ID, Folder: e.Folder.Migration(), OutputDir: store.Dir(e.Output), Target: e.Target, Limits: e.Limits, Timeout: e.Timeout}
}

// IsSame reports whether both select the same records and attributes of one target.
func (e Export) IsSame(other Export) bool {
	return e.Target.IsSame(other.Target) && e.Filter == other.Filter && e.Since == other.Since && slices.Equal(e.Attributes, other.Attributes)
}

// SummaryFile and DeletedFile are the names of the files beside the output. They do not end in .csv, since a pattern of data
// files must not match them: the deleted records are not to be loaded.
func (e Export) SummaryFile() string { return beside(e.Output, ".json") }

// DeletedFile is the list of deleted records, of an export with Since.
func (e Export) DeletedFile() string { return beside(e.Output, ".deleted") }

func beside(output, ending string) string {
	return store.Join(store.Dir(output), store.Base(output)+ending)
}

var hostile = regexp.MustCompile(`[\x00-\x1f\x7f]`)

// CheckFilter says why a filter cannot be passed on.
func CheckFilter(filter string) error {
	switch {
	case hostile.MatchString(filter):
		return errors.New("the filter has a control character in it; expected an expression in one line")
	case len(filter) > 16<<10:
		return fmt.Errorf("the filter has %d bytes; expected at most %d", len(filter), 16<<10)
	}
	return nil
}

// ExportSummary is the summary file of an export. Scripts depend on it.
type ExportSummary struct {
	WorkflowID string    `json:"workflow_id"`
	Output     string    `json:"output"` // name; it is in the folder of the summary
	EntityType string    `json:"entity_type"`
	URI        string    `json:"apid_uri"`
	StartedAt  time.Time `json:"started_at"`
	FinishedAt time.Time `json:"finished_at"`
	// Since is the file of the earlier export, "" for an export of all records.
	Since string `json:"since,omitempty"`
	// AsOf is the time of which the file has every record, or of later; an export since this one begins there.
	AsOf time.Time `json:"as_of"`
	// Records is how many are in the file, which has this digest.
	Records int      `json:"records"`
	SHA256  string   `json:"sha256"` // hex
	Columns []string `json:"columns"`
	// NotShown are the columns of passwords that are empty because the target shows no hashes to this client.
	NotShown []string `json:"not_shown,omitempty"`
	// Deleted is how many records of the earlier export are gone; of an export of all, how many were deleted while it ran.
	Deleted     int    `json:"deleted"`
	DeletedFile string `json:"deleted_file,omitempty"` // name
	// Left is how many records exist, and do not fit the filter any more.
	Left int `json:"left_filter,omitempty"`
	// Listed is how many records the target listed in the end, and Counted how many of those created before AsOf it
	// counted; null if it did not count. Unlisted is how many more it counted than listed.
	Listed   int    `json:"listed"`
	Counted  *int64 `json:"counted"`
	Unlisted int64  `json:"unlisted"`
}

// ExitCode tells the result to a script.
func (s ExportSummary) ExitCode() int {
	if s.Unlisted > 0 {
		return ExitUnknown
	}
	return ExitDone
}

// Text is the result in a few sentences.
func (s ExportSummary) Text() string {
	text := fmt.Sprintf("%s exported.", figures.Count(s.Records, "record"))
	if s.Since != "" {
		text = fmt.Sprintf("%s changed since %s; %d deleted.", figures.Count(s.Records, "record"), s.Since, s.Deleted)
	}
	if len(s.NotShown) > 0 {
		text += " " + HiddenText(s.NotShown)
	}
	switch {
	case s.Counted == nil:
		text += " The target did not tell the number of its records, so nothing was compared with it."
	case s.Unlisted > 0:
		text += " " + s.Missing() + "."
	}
	return text
}

// Missing says that records are missing in the file; "" if none are known to be.
func (s ExportSummary) Missing() string {
	if s.Unlisted == 0 {
		return ""
	}
	return fmt.Sprintf("%s that the target counts, and does not list, %s not in the file", figures.Count(int(s.Unlisted), "record"), figures.Plural(int(s.Unlisted), "is", "are"))
}

// HiddenText says that passwords are not exported.
func HiddenText(columns []string) string {
	return fmt.Sprintf("The target shows no password hash in %s to this API client (or no record has one): the file is without passwords, and its users would have to set new ones.", strings.Join(columns, ", "))
}

// ExportFolder is the state of an export.
type ExportFolder struct{ RunFolder }

// Export is the folder as that of an export.
func (f RunFolder) Export() ExportFolder { return ExportFolder{f} }

// SaveOptions keeps the options of the present run.
func (f ExportFolder) SaveOptions(e Export) error { return f.save("export.json", e) }

// Options returns the options of the last run, or ErrAbsent.
func (f ExportFolder) Options() (Export, error) { return load[Export](f.path("export.json")) }

// Save keeps a value under a name.
func (f ExportFolder) Save(name string, value any) error { return f.save(name, value) }

// Mark writes a value down under a name unless there is one, and gives the one that holds.
func Mark[T any](f ExportFolder, name string, value T) (T, error) { return create(f.path(name), value) }

// Marked returns the value of Mark or Save, or ErrAbsent.
func Marked[T any](f ExportFolder, name string) (T, error) { return load[T](f.path(name)) }

// Pages is the path of the folder of the pages of a pass.
func (f ExportFolder) Pages(pass string) string { return store.Join(f.path("pages"), pass) }

// Roster is the path of the list of the records that the target had: id, key and version of each, for an export since this
// one.
func (f ExportFolder) Roster() string { return f.path("roster.csv") }

// SaveSummary keeps the summary, and removes what was read.
func (f ExportFolder) SaveSummary(s ExportSummary) error {
	if err := f.save("summary.json", s); err != nil {
		return err
	}
	return store.RemoveAll(f.path("pages"))
}

// Cancel marks the export as cancelled for good, and removes what was read.
func (f ExportFolder) Cancel() error {
	if err := f.Finish(true); err != nil {
		return err
	}
	return store.RemoveAll(f.path("pages"))
}

// Summary returns the summary, or ErrAbsent.
func (f ExportFolder) Summary() (ExportSummary, error) {
	return load[ExportSummary](f.path("summary.json"))
}
