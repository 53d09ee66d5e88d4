// Package migration defines a migration: its input, target and options, the
// files of its folder, and its results.
package migration

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"durable-dataload/internal/mapping"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
	"durable-dataload/internal/targets"
)

// Spec is a migration, the input of its workflow. It holds names and numbers: no user data
// and no credentials, since Temporal keeps it.
type Spec struct {
	// ID is the workflow id.
	ID string `json:"id"`
	// DataFile, OutputDir and Folder are absolute paths, the same on every
	// machine that runs a worker, or names in a bucket (see package store).
	DataFile  string `json:"data_file"`
	OutputDir string `json:"output_dir"`
	// DataName is the name of the input in messages where DataFile is a staged copy, and
	// DataOrigin the absolute path of the original, if that is a file. A file that is
	// read in place has neither.
	DataName   string `json:"data_name,omitempty"`
	DataOrigin string `json:"data_origin,omitempty"`
	// Delimiter separates the fields of the input (see source.ParseDelimiter);
	// none is the comma.
	Delimiter string `json:"delimiter,omitempty"`
	// Folder is the migration's own state: index, ledger, staged input.
	Folder Folder `json:"folder"`
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
	// Delta says that records which exist already are updated.
	Delta bool `json:"delta,omitempty"`
	// UndoRecipient is the public key of age to which the previous values of
	// updated records are encrypted; "" leaves them readable to the owner.
	UndoRecipient string `json:"undo_recipient,omitempty"`
	// Isolate says that a call which is refused as a whole is halved until the records
	// that cause it are found.
	Isolate bool `json:"isolate,omitempty"`
	// Partitions is how many workflows load a round in parallel, each a range of it, at
	// one pace; 0 = by size.
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
	// Notify says that notices may be configured at the workers.
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
	// Name is that of the platform (see package targets), "" for the Identity Cloud.
	Name string `json:"target,omitempty"`
	// URI is the address in its normal form (see targets.Address): one target is one text.
	URI string `json:"apid_uri"`
	// EntityType is targets.Config.Part: the entity type, identity schema or project.
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

// IsSame reports whether both have the same records: one address, one entity type.
func (t Target) IsSame(other Target) bool {
	return t.Name == other.Name && t.URI == other.URI && t.EntityType == other.EntityType
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
	sum := sha256.Sum256([]byte(strings.Join([]string{sha, t.URI, t.EntityType + t.Name, strconv.FormatInt(startAt, 10)}, "\n")))
	key := hex.EncodeToString(sum[:6])
	if again > 1 {
		key += "-" + strconv.Itoa(again)
	}
	return key
}

// isKey matches what Key gives.
var isKey = regexp.MustCompile(`^[0-9a-f]{12}(-[1-9][0-9]*)?$`)

// KeyOf returns the key at the end of a workflow id.
func KeyOf(workflowID string) (key string, ok bool) {
	for at := range workflowID {
		if workflowID[at] == '-' && isKey.MatchString(workflowID[at+1:]) {
			return workflowID[at+1:], true
		}
	}
	return "", false
}

// WorkflowID is the workflow id of the migration of an input with this name. Workflow ids
// become headers, URLs and task queues, so of the name it has only what is safe in all of them.
func WorkflowID(inputName, key string) string {
	return "migration-" + safetext.Slug(inputName) + "-" + key
}

// Format encodes the records of the migration.
func (s Spec) Format() target.Format {
	return targets.Format(s.Target.Name, s.Target.EntityType, s.Timeout)
}

// Room is the size that the records of one request may have together.
func (s Spec) Room() int64 { return s.Format().Traits().MaxBytes }

// IsBounded reports whether source.EncodedBound holds for the records: they are made by the built-in mapping of the
// Identity Cloud.
func (s Spec) IsBounded() bool { return s.Mapping == "" && targets.IsDefault(s.Target.Name) }

// IndexPlan identifies the options that an index of the input depends on besides batch size and start. cut is that of
// CreateCut.
func (s Spec) IndexPlan(cut int) source.Plan {
	return sha256.Sum256(fmt.Appendf(nil, "%q %q %d %d", s.Mapping+s.Target.Name, s.PrimaryKey, s.Room(), cut))
}

// Encoder encodes the records below a header as the migration sends them.
func (s Spec) Encoder(h *source.Header, m *mapping.Mapping) (*mapping.Encoder, error) {
	return mapping.NewEncoder(h, m, s.PrimaryKey, s.Format())
}
