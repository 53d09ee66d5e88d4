// Package migration defines a migration: its input, target and options, the
// files of its folder, and its results.
package migration

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/mapping"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
)

// Spec is one migration, as its workflow is told. It holds names and numbers:
// no user data and no credentials, since Temporal keeps it.
type Spec struct {
	// ID is the workflow id.
	ID string `json:"id"`
	// DataFile, OutputDir and Folder are absolute paths, the same on every
	// machine that runs a worker, or names in a bucket (see package store).
	DataFile  string `json:"data_file"`
	OutputDir string `json:"output_dir"`
	// DataName is what people call the input where DataFile is a staged copy,
	// and DataOrigin the absolute path that it was made of, if it was made of
	// a file. A file that is read where it is has neither.
	DataName   string `json:"data_name,omitempty"`
	DataOrigin string `json:"data_origin,omitempty"`
	// Delimiter separates the fields of the input (see source.ParseDelimiter);
	// none is the comma.
	Delimiter string `json:"delimiter,omitempty"`
	// Folder is the migration's own state: index, ledger, staged input.
	Folder string `json:"folder"`
	SHA256 string `json:"sha256"` // of the input, hex
	Target Target `json:"target"`

	BatchSize int   `json:"batch_size"`
	StartAt   int64 `json:"start_at"` // record number of the first record that is loaded
	Limits
	Timeout      time.Duration `json:"timeout"` // of one call
	RetryRounds  int           `json:"retry_rounds"`
	RetryBackoff time.Duration `json:"retry_backoff"` // before the first retry round, doubling
	// Codes after which records are unknown: ranges, each with its first and its last code.
	UnknownAPI  [][2]int    `json:"unknown_api_codes"`
	UnknownHTTP [][2]int    `json:"unknown_http_codes"`
	RecoveredBy RecoveredBy `json:"recovered_by"`
	PrimaryKey  string      `json:"primary_key"`
	// Delta says that records which are there already are updated.
	Delta bool `json:"delta,omitempty"`
	// UndoRecipient is the public key of age to which the previous values of
	// updated records are encrypted; "" leaves them readable to the owner.
	UndoRecipient string `json:"undo_recipient,omitempty"`
	// Isolate says that a call which is refused as a whole is halved until the
	// records are found that it is refused for.
	Isolate bool `json:"isolate,omitempty"`
	// Partitions is how many workflows load a round beside each other, each a
	// range of it, at one pace; 0 = by size.
	Partitions int `json:"partitions,omitempty"`
	// Mapping is the SHA-256 of the mapping file, hex; "" is the built-in
	// mapping. MappingFile is its absolute path: it is read once, when the
	// migration begins, and the folder's copy from then on.
	Mapping     string `json:"mapping,omitempty"`
	MappingFile string `json:"mapping_file,omitempty"`
	// MaxFailed is how many records may fail, "120", or "2%" of the records that
	// are loaded, until the migration waits for a decision; "" is any number.
	MaxFailed string `json:"max_failed,omitempty"`
	// Canary is how many records are loaded and read back before the others wait
	// for an approval, at most CanaryTimeout long (0 = as long as it takes).
	Canary        int           `json:"canary,omitempty"`
	CanaryTimeout time.Duration `json:"canary_timeout,omitempty"`
	// Notify says that the workers may have somebody to notify.
	Notify bool `json:"notify,omitempty"`
	// SearchAttributes says that the service knows the search attributes.
	SearchAttributes bool `json:"search_attributes,omitempty"`
}

// InputName is what the summary and the search attributes call the input: its name without
// the folder, whatever system the path is of. It can hold any character.
func (s Spec) InputName() string {
	if s.DataName != "" {
		return s.DataName
	}
	return path.Base(strings.ReplaceAll(store.Base(s.DataFile), `\`, "/"))
}

// ShownName is InputName for people, in one line of printable characters.
func (s Spec) ShownName() string { return safetext.Name(s.InputName()) }

// Target is the platform that is written to.
type Target struct {
	// URI is the address in its normal form (see identitycloud.NormalAddress): one target is
	// one text.
	URI          string `json:"apid_uri"`
	EntityType   string `json:"entity_type"`
	Auth         string `json:"auth"`                    // "basic" or "signature"
	InsecureHTTP bool   `json:"insecure_http,omitempty"` // plain HTTP to another machine is allowed
}

// Host is the host of the target, for people.
func (t Target) Host() string {
	if u, err := url.Parse(t.URI); err == nil && u.Host != "" {
		return u.Host
	}
	return t.URI
}

// IsSame says that both have the same records: one address, one entity type.
func (t Target) IsSame(other Target) bool {
	return t.URI == other.URI && t.EntityType == other.EntityType
}

// RecoveredBy is the evidence that a duplicate of a retry round is our own.
type RecoveredBy string

const (
	// Lookup looks the record up in the target.
	Lookup RecoveredBy = "lookup"
	// Refusal takes the target's refusal itself for it, as Akamai's page on
	// retrying failed migrations does.
	Refusal RecoveredBy = "refusal"
)

// Key identifies a migration: the content of the input, the target, the first
// record, and how often the same was asked for again (1 = the first time). The
// name of the file is not in it.
func Key(sha string, t Target, startAt int64, again int) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{sha, t.URI, t.EntityType, strconv.FormatInt(startAt, 10)}, "\n")))
	key := hex.EncodeToString(sum[:6])
	if again > 1 {
		key += "-" + strconv.Itoa(again)
	}
	return key
}

// isKey matches what Key gives.
var isKey = regexp.MustCompile(`^[0-9a-f]{12}(-[1-9][0-9]*)?$`)

// WorkflowID is the workflow id of the migration of an input with this name. Workflow ids
// become headers, URLs and task queues, so of the name it has only what is safe in all of them.
func WorkflowID(inputName, key string) string {
	return "migration-" + safetext.Slug(inputName) + "-" + key
}

// Room is the size that the records of one request may have together.
func (s Spec) Room() int64 { return identitycloud.Room(s.Target.EntityType, s.Timeout) }

// Encoder encodes the records below a header as the migration sends them.
func (s Spec) Encoder(h *source.Header, m *mapping.Mapping) (*mapping.Encoder, error) {
	return mapping.NewEncoder(h, m, s.PrimaryKey, s.Room())
}

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

// Round is what one round came to, as the target's answers had it.
type Round struct {
	Round     int `json:"round"`
	Batches   int `json:"batches"`
	Calls     int `json:"calls"`
	Created   int `json:"created"`
	Duplicate int `json:"duplicate"`
	Failed    int `json:"failed"`
	Unknown   int `json:"unknown"`
	// RetryFile holds the records that the next round loads; that of the last
	// round all that are unknown.
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

// Summary is summary_*.json. Scripts depend on it.
type Summary struct {
	WorkflowID    string    `json:"workflow_id"`
	DataFile      string    `json:"data_file"`
	DataSHA256    string    `json:"data_sha256"`
	EntityType    string    `json:"entity_type"`
	URI           string    `json:"apid_uri"`
	StartedAt     time.Time `json:"started_at"`
	FinishedAt    time.Time `json:"finished_at"`
	Records       Counts    `json:"records"`
	Rounds        []Round   `json:"rounds"`
	Files         Files     `json:"files"`
	EntitiesAfter *int64    `json:"entities_after"` // null when the client may not count
	// Cancelled says that the migration was given up: the same command does not
	// go on.
	Cancelled bool `json:"cancelled,omitempty"`
	// Keyless is missing where every record has a key by which the target would
	// refuse a second one.
	Keyless *Keyless `json:"keyless,omitempty"`
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

// Start is when and under which name a migration began. It is written once, and
// every later run of the same migration goes on under it.
type Start struct {
	ID        string    `json:"id"`
	StartedAt time.Time `json:"started_at"`
	// Began is when a migration began by the clock of the worker that began it: before
	// any of its calls.
	Began ledger.Claim `json:"began,omitzero"`
	// Stamp is in the names of the artifacts.
	Stamp string `json:"stamp"`
}

// RetryFile is what a retry round loads: of what the round before left unknown
// the records that may be sent again.
type RetryFile struct {
	Round   int    `json:"round"` // the round that will load it
	Name    string `json:"name"`
	Batches int    `json:"batches"`
	Records int    `json:"records"`
	// Aside are those that the round before left unknown and that no round loads.
	Aside int `json:"aside,omitempty"`
	// List is the name of the list of its batches, where that is not the usual one.
	// In a bucket each attempt to begin the round writes a list of its own, so that
	// a late one does not change what holds; on a disk the late one fails.
	List string `json:"list,omitempty"`
}

// Folder is a migration's own state folder. User data: modes 0700 and 0600.
type Folder string

// Index is the path of the source's index.
func (f Folder) Index() string { return f.path("index") }

// Staged is the path of the copy of the input that the artifacts are made of,
// whatever becomes of the input.
func (f Folder) Staged() string { return f.path("input.csv") }

// Ledger is the path of the ledger's folder.
func (f Folder) Ledger() string { return f.path("ledger") }

// Undo is the path of the folder of what updated records were before.
func (f Folder) Undo() string { return f.path("undo") }

// Twins is the path of the list of records of a delta migration whose key
// stands in the input before them.
func (f Folder) Twins() string { return f.path("twins") }

// Places is the path of the folder that limits the calls in flight.
func (f Folder) Places() string { return f.path("places") }

// StartTimes is the path of the file that limits the calls a second into a
// target, for all migrations of this state folder.
func (f Folder) StartTimes(t Target) string {
	sum := sha256.Sum256([]byte(t.Host()))
	return store.Join(f.Work(), "pace", hex.EncodeToString(sum[:6]))
}

// Owner gives a text that no other folder has, in whatever state folder: what this one reserves
// elsewhere is known by it.
func (f Folder) Owner() (string, error) { return create(f, "owner.json", rand.Text()) }

// Recovered is the path of the folder that says which migration recovered a record of a
// target, for all migrations of this state folder.
func (f Folder) Recovered(t Target) string {
	return store.Join(f.Work(), "recovered", ShortDigest(t.URI+"\n"+t.EntityType))
}

// ShortDigest names something in a folder: 32 hexadecimal digits.
func ShortDigest(of string) string {
	sum := sha256.Sum256([]byte(of))
	return hex.EncodeToString(sum[:16])
}

// Work is the state folder or work URL that this folder is in, with those of other
// migrations.
func (f Folder) Work() string { return store.Dir(store.Dir(string(f))) }

// In gives the folder of a migration in a work place: a state folder, or one in a
// bucket.
func In(work, key string) Folder { return Folder(store.Join(work, "migrations", key)) }

// IsOf says whether the folder is one of a work place: of a migration, a rollback
// or a verification.
func (f Folder) IsOf(work string) bool {
	name := store.Base(string(f))
	return store.IsBase(name) && slices.ContainsFunc([]string{"migrations", "rollbacks", "verifications"}, func(kind string) bool {
		return string(f) == store.Join(work, kind, name)
	})
}

// All gives the folders of all migrations in a work place.
func All(work string) ([]Folder, error) {
	entries, err := store.List(store.Join(work, "migrations"))
	if err != nil {
		return nil, err
	}
	var folders []Folder
	for _, name := range entries {
		if isKey.MatchString(name) { // other programs put files of their own into folders
			folders = append(folders, In(work, name))
		}
	}
	return folders, nil
}

// CutOff says whether records of the migration were never attempted, as far as
// is known.
func (f Folder) CutOff() (bool, error) {
	if finished, err := f.Finished(); finished || err != nil {
		return false, err
	}
	summary, err := f.Summary()
	if errors.Is(err, ErrAbsent) {
		return true, nil
	}
	return summary.Records.Remaining > 0, err
}

// RoundList is the path of the list of batches of a retry round.
func (f Folder) RoundList(r RetryFile) string {
	return f.path(cmp.Or(r.List, fmt.Sprintf("round-%d.list", r.Round)))
}

func (f Folder) path(name string) string { return store.Join(string(f), name) }

// Make makes the folder.
func (f Folder) Make() error { return store.MkdirAll(string(f)) }

// DropIndex removes what the inspection found, of an input that is not the one
// that was meant, or that is to be sent in another way.
func (f Folder) DropIndex() error {
	return errors.Join(store.Remove(f.Index()), store.Remove(f.Staged()), store.Remove(f.Twins()))
}

// ErrAbsent says that the folder does not have the file that was asked for.
var ErrAbsent = errors.New("not there yet")

// ErrDamaged says that a file of the folder has not what this program writes into it. The other
// folders of the work place have nothing to do with that.
var ErrDamaged = errors.New("is damaged")

// isOnly says whether an error of reading the folder has to do with this folder only, so that
// others can be used all the same: where it lies in a bucket, the bucket may be away.
func (f Folder) isOnly(err error) bool {
	return errors.Is(err, ErrDamaged) || !store.IsURL(string(f))
}

// SaveSpec keeps the options of the present run.
func (f Folder) SaveSpec(s Spec) error { return f.save("spec.json", s) }

// Spec gives the options of the last run, or ErrAbsent.
func (f Folder) Spec() (Spec, error) { return load[Spec](f, "spec.json") }

// SaveMapping keeps the bytes of a mapping file, under their digest.
func (f Folder) SaveMapping(text []byte) error {
	if err := f.Make(); err != nil {
		return err
	}
	return store.Write(f.mapping(MappingDigest(text)), text)
}

// Mapping gives the mapping file with this digest, or ErrAbsent.
func (f Folder) Mapping(digest string) ([]byte, error) {
	path := f.mapping(digest)
	text, err := store.Read(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", path, ErrAbsent)
	case err != nil:
		return nil, err
	case MappingDigest(text) != digest:
		return nil, fmt.Errorf("%s is damaged; expected the mapping file with SHA-256 %.12s…, restore it from a backup", path, digest)
	}
	return text, nil
}

// ReadMapping gives the mapping of a migration that has begun: the built-in one,
// or the folder's copy of the file.
func (f Folder) ReadMapping(s Spec) (*mapping.Mapping, error) {
	if s.Mapping == "" {
		return mapping.BuiltIn(), nil
	}
	text, err := f.Mapping(s.Mapping)
	if err != nil {
		return nil, err
	}
	return mapping.Parse(store.Base(s.MappingFile), text)
}

// CheckBegun says why the migration cannot go on with the mapping or the primary
// key of these options: it has begun to send records with another one.
func (f Folder) CheckBegun(s Spec) error {
	before, err := f.Spec()
	if errors.Is(err, ErrAbsent) || err == nil && before.Mapping == s.Mapping && before.PrimaryKey == s.PrimaryKey {
		return nil
	}
	if err != nil {
		return err
	}
	if claimed, err := f.Claimed(); err != nil || !claimed {
		return err
	}
	if before.PrimaryKey != s.PrimaryKey {
		return refusal("this migration was begun with --primary-key %s and cannot go on with %s; give the same again", before.PrimaryKey, s.PrimaryKey)
	}
	return f.OtherMapping(before, s)
}

// OtherMapping is the error that two sets of options have different mappings.
func (f Folder) OtherMapping(begun, asked Spec) error {
	advice := "leave --mapping out"
	if begun.Mapping != "" {
		advice = "give the same file again; its copy is " + f.mapping(begun.Mapping)
	}
	return refusal("this migration was begun with %s and cannot go on with %s; %s", begun.mapping(), asked.mapping(), advice)
}

func (s Spec) mapping() string {
	if s.Mapping == "" {
		return "the built-in mapping"
	}
	return fmt.Sprintf("the mapping %s (SHA-256 %.12s…)", store.Base(s.MappingFile), s.Mapping)
}

func (f Folder) mapping(digest string) string { return f.path("mapping-" + digest + ".yaml") }

// MappingDigest is what Spec.Mapping says of a mapping file with these bytes.
func MappingDigest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// CreateStart writes the start down unless it is there, and gives the one that
// holds. The ledger is there from then on, and never made again: see CheckLedger.
func (f Folder) CreateStart(s Start) (Start, error) {
	if start, err := f.Start(); !errors.Is(err, ErrAbsent) {
		return start, err
	}
	if err := ledger.BeginFolder(f.Ledger()); err != nil {
		return s, err
	}
	return create(f, "start.json", s)
}

// CheckLedger gives ledger.ErrGone where the ledger of a migration that has begun is gone.
func (f Folder) CheckLedger() error {
	if _, err := f.Start(); err != nil {
		if errors.Is(err, ErrAbsent) {
			return nil
		}
		return err
	}
	_, err := ledger.OpenFolder(f.Ledger())
	return err
}

// Start gives the start, or ErrAbsent.
func (f Folder) Start() (Start, error) { return load[Start](f, "start.json") }

// CreateRetryFile writes down what a retry round loads, unless it is there,
// and gives what holds.
func (f Folder) CreateRetryFile(r RetryFile) (RetryFile, error) {
	return create(f, retryFileName(r.Round), r)
}

// RetryFile gives what a retry round loads, or ErrAbsent.
func (f Folder) RetryFile(round int) (RetryFile, error) {
	return load[RetryFile](f, retryFileName(round))
}

// LastRound is the last round of which there is a retry file, 0 without one.
func (f Folder) LastRound() (int, error) {
	for round := 1; ; round++ {
		_, err := f.RetryFile(round)
		if errors.Is(err, ErrAbsent) {
			return round - 1, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

func retryFileName(round int) string { return fmt.Sprintf("round-%d.json", round) }

// CreateUnresolved writes down the name of the retry file that a run leaves
// when it ends, unless there is one, and gives the one that holds.
func (f Folder) CreateUnresolved(run, name string) (string, error) {
	return create(f, unresolvedPrefix+run, name)
}

// Unresolved gives the names that CreateUnresolved has kept, by run.
func (f Folder) Unresolved() (map[string]string, error) {
	files, err := store.List(string(f))
	if err != nil {
		return nil, err
	}
	left := map[string]string{}
	for _, file := range files {
		run, ok := strings.CutPrefix(file, unresolvedPrefix)
		if !ok {
			continue
		}
		if left[run], err = load[string](f, file); err != nil {
			return nil, err
		}
	}
	return left, nil
}

const unresolvedPrefix = "unresolved-"

// CreateCut writes down after how many records the first batches end (see
// source.InspectOptions), unless it is there, and gives what holds: a later run
// must cut the input in the same way.
func (f Folder) CreateCut(records int) (int, error) { return create(f, "cut.json", records) }

// Approve writes down that the canary was approved.
func (f Folder) Approve() error { return f.save("approved.json", struct{}{}) }

// Approved says whether the canary was approved, by this run or one before.
func (f Folder) Approved() (bool, error) {
	return store.Exists(f.path("approved.json"))
}

// SaveSummary keeps the last summary; Finish says that it is the last of all.
func (f Folder) SaveSummary(s Summary) error { return f.save("summary.json", s) }

// Summary gives the last summary, or ErrAbsent.
func (f Folder) Summary() (Summary, error) { return load[Summary](f, "summary.json") }

// finish is what finished.json says.
type finish struct {
	Cancelled bool `json:"cancelled,omitempty"`
}

// Finish marks the migration as done: it is not run again. cancelled says that
// it was given up.
func (f Folder) Finish(cancelled bool) error { return f.save("finished.json", finish{cancelled}) }

// Cancelled says whether the migration was given up: it is finished, and not
// everything was attempted.
func (f Folder) Cancelled() bool {
	end, err := load[finish](f, "finished.json")
	return err == nil && end.Cancelled
}

// Finished says whether the migration is done.
func (f Folder) Finished() (bool, error) {
	return store.Exists(f.path("finished.json"))
}

// Enter writes down that the run with this id works on the migration.
func (f Folder) Enter(run string) error { return f.save(runPrefix+run, struct{}{}) }

// SealOthers seals all runs that have entered, but this one.
func (f Folder) SealOthers(run string) error {
	files, err := store.List(string(f))
	if err != nil {
		return err
	}
	for _, file := range files {
		if other, ok := strings.CutPrefix(file, runPrefix); ok && other != run {
			if err := f.Seal(other); err != nil {
				return err
			}
		}
	}
	return nil
}

const runPrefix = "run-"

// Claimed says whether anything was sent, or may have been: whether the ledger
// has an entry.
func (f Folder) Claimed() (bool, error) {
	entries, err := store.List(f.Ledger())
	return slices.ContainsFunc(entries, func(name string) bool { return name != ledger.Begun }), err
}

// Seal says that the run with this id will not send any more. A worker of that
// run that wakes later must not send either; it looks after it has claimed.
func (f Folder) Seal(run string) error { return f.save("sealed-"+run, struct{}{}) }

// Sealed says whether the run with this id is over.
func (f Folder) Sealed(run string) (bool, error) {
	return store.Exists(f.path("sealed-" + run))
}

// Hold keeps the batches of a load that were not sent from being sent, for good.
func (f Folder) Hold(load string) error { return f.save(heldName(load), struct{}{}) }

// Held says whether Hold was called for the load.
func (f Folder) Held(load string) (bool, error) { return store.Exists(f.path(heldName(load))) }

func heldName(load string) string { return "held-" + load }

func (f Folder) save(name string, value any) error {
	data, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		return err
	}
	if err := f.Make(); err != nil {
		return err
	}
	return store.Write(f.path(name), data)
}

func create[T any](f Folder, name string, value T) (T, error) {
	data, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		return value, err
	}
	if err := f.Make(); err != nil {
		return value, err
	}
	err = store.Create(f.path(name), data)
	if errors.Is(err, store.ErrExists) {
		return load[T](f, name)
	}
	return value, err
}

func load[T any](f Folder, name string) (value T, err error) {
	data, err := store.Read(f.path(name))
	if errors.Is(err, os.ErrNotExist) {
		return value, fmt.Errorf("%s: %w", f.path(name), ErrAbsent)
	}
	if err != nil {
		return value, err
	}
	if err := json.Unmarshal(data, &value); err != nil {
		return value, fmt.Errorf("%s %w; expected JSON as this program writes it, restore it from a backup: %w", f.path(name), ErrDamaged, err)
	}
	for _, n := range namesIn(value) {
		if n != "" && !store.IsBase(n) {
			return value, fmt.Errorf("%s %w: it names a file %q in another folder; expected a name without a path, restore it from a backup", f.path(name), ErrDamaged, n)
		}
	}
	return value, nil
}

// namesIn gives the names of files in what a folder holds.
func namesIn(value any) []string {
	switch v := value.(type) {
	case string: // what is kept as a bare string is a name
		return []string{v}
	case interface{ names() []string }:
		return v.names()
	}
	return nil
}

func (s Start) names() []string     { return []string{s.Stamp} }
func (r RetryFile) names() []string { return []string{r.Name, r.List} }

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
