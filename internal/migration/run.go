package migration

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/store"
)

// Start is when and under which id an operation started. It is written once, and holds for
// every later run of the same operation.
type Start struct {
	ID        string    `json:"id"`
	StartedAt time.Time `json:"started_at"`
	// Began is when a migration started by the clock of the worker that started it: before
	// any of its calls.
	Began ledger.Claim `json:"began,omitzero"`
	// Stamp is in the names of the artifacts.
	Stamp string `json:"stamp"`
	// Tags is random: the tags of the records are made of it (see target.NewTag). "" where the
	// target shows none.
	Tags string `json:"tags,omitempty"`
}

// RunFolder is the state of one operation: of a migration, a rollback, a verification or an export. It
// has what these have in common; Folder, RollbackFolder, VerifyFolder and ExportFolder have the rest. User
// data: modes 0700 and 0600. In JSON it is its path.
type RunFolder string

// Migration is the folder as that of a migration.
func (f RunFolder) Migration() Folder { return Folder{f} }

// Rollback is the folder as that of a rollback.
func (f RunFolder) Rollback() RollbackFolder { return RollbackFolder{f} }

// Verification is the folder as that of a verification.
func (f RunFolder) Verification() VerifyFolder { return VerifyFolder{f} }

// Path is the full name of the folder (see package store).
func (f RunFolder) Path() string { return string(f) }

// String is Path, for people.
func (f RunFolder) String() string { return string(f) }

// IsZero reports whether no folder is meant.
func (f RunFolder) IsZero() bool { return f == "" }

// MarshalText makes the types that embed a RunFolder texts in JSON, as it is one.
func (f RunFolder) MarshalText() ([]byte, error) { return []byte(f), nil }

// UnmarshalText is the inverse of MarshalText.
func (f *RunFolder) UnmarshalText(text []byte) error {
	*f = RunFolder(text)
	return nil
}

// Index is the path of the source's index.
func (f RunFolder) Index() string { return f.path("index") }

// Ledger is the path of the ledger's folder.
func (f RunFolder) Ledger() string { return f.path("ledger") }

// Owner returns a text that no other folder has, of any state folder: it marks what this folder
// has reserved elsewhere.
func (f RunFolder) Owner() (string, error) { return create(f.path("owner.json"), rand.Text()) }

// ShortDigest names something in a folder: 32 hexadecimal digits.
func ShortDigest(of string) string {
	sum := sha256.Sum256([]byte(of))
	return hex.EncodeToString(sum[:16])
}

// Work is the state folder or work URL that this folder is in, with those of other
// migrations.
func (f RunFolder) Work() string { return store.Dir(store.Dir(string(f))) }

// IsOf reports whether the folder is one of a work location: of a migration, a rollback,
// a verification or an export.
func (f RunFolder) IsOf(work string) bool {
	name := store.Base(string(f))
	return store.IsBase(name) && slices.ContainsFunc([]string{"migrations", "rollbacks", "verifications", "exports"}, func(kind string) bool {
		return string(f) == store.Join(work, kind, name)
	})
}

func (f RunFolder) path(name string) string { return store.Join(string(f), name) }

// Make makes the folder.
func (f RunFolder) Make() error { return store.MkdirAll(string(f)) }

// ErrAbsent says that the folder does not have the file that was asked for.
var ErrAbsent = errors.New("not there yet")

// ErrDamaged says that a file of the folder does not hold what this program writes into it.
// Other folders of the work location are not concerned.
var ErrDamaged = errors.New("is damaged")

// CreateStart writes the start unless it is there, and gives the one that holds. The ledger
// is there from then on, and never created a second time: see CheckLedger.
func (f RunFolder) CreateStart(s Start) (Start, error) {
	if start, err := f.Start(); !errors.Is(err, ErrAbsent) {
		return start, err
	}
	if err := ledger.BeginFolder(f.Ledger()); err != nil {
		return s, err
	}
	return create(f.path("start.json"), s)
}

// CheckLedger returns ledger.ErrGone where the ledger of a migration that has begun is gone.
func (f RunFolder) CheckLedger() error {
	if _, err := f.Start(); err != nil {
		if errors.Is(err, ErrAbsent) {
			return nil
		}
		return err
	}
	_, err := ledger.OpenFolder(f.Ledger())
	return err
}

// Start returns the start, or ErrAbsent.
func (f RunFolder) Start() (Start, error) { return load[Start](f.path("start.json")) }

// Claimed reports whether anything may have been sent: whether the ledger has an entry.
func (f RunFolder) Claimed() (bool, error) {
	entries, err := store.List(f.Ledger())
	return slices.ContainsFunc(entries, func(name string) bool { return name != ledger.Begun }), err
}

// Enter registers that the run with this id works on the migration.
func (f RunFolder) Enter(run string) error { return f.save(runPrefix+run, struct{}{}) }

// SealOthers seals all runs that have entered, but this one.
func (f RunFolder) SealOthers(run string) error {
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

// Seal ends the run with this id: no worker sends for it any more. A worker that wakes up
// late finds the seal, which it checks after each claim.
func (f RunFolder) Seal(run string) error { return f.save("sealed-"+run, struct{}{}) }

// Sealed reports whether the run with this id is over.
func (f RunFolder) Sealed(run string) (bool, error) {
	return store.Exists(f.path("sealed-" + run))
}

// KeepWritten keeps that the artifacts of the run with this id are written, those of its
// end at this moment.
func (f RunFolder) KeepWritten(run string, finishedAt time.Time) error {
	return f.save(writtenPrefix+run, finishedAt)
}

// Written reports whether the artifacts of the run with this id are written, those of its
// end at this moment: a run that was reset may end again.
func (f RunFolder) Written(run string, finishedAt time.Time) (bool, error) {
	at, err := load[time.Time](f.path(writtenPrefix + run))
	if errors.Is(err, ErrAbsent) {
		return false, nil
	}
	return err == nil && at.Equal(finishedAt), err
}

const writtenPrefix = "written-"

// finish is what finished.json says.
type finish struct {
	Cancelled bool `json:"cancelled,omitempty"`
}

// Finish marks a migration as done, or an export as cancelled: it is not resumed. cancelled says that records were
// left unattempted on purpose.
func (f RunFolder) Finish(cancelled bool) error { return f.save("finished.json", finish{cancelled}) }

// Cancelled reports whether it was cancelled: it is finished, and not every record
// was attempted.
func (f RunFolder) Cancelled() bool {
	end, err := load[finish](f.path("finished.json"))
	return err == nil && end.Cancelled
}

// Finished reports whether Finish was called.
func (f RunFolder) Finished() (bool, error) {
	return store.Exists(f.path("finished.json"))
}

// Failure is why the last run of a migration or an export has no result: it could not run, was stopped
// before anything was sent, or ended without its result files. The folder keeps it for
// status, since the Temporal service may be gone by then.
type Failure struct {
	At     time.Time `json:"at"`
	Reason string    `json:"reason"` // for people
	// Stopped says that an operator stopped it.
	Stopped bool `json:"stopped,omitempty"`
	// Began is when the run began, if it ended before its first call; zero if it may have
	// sent something.
	Began time.Time `json:"began,omitzero"`
	// Spec are the options of that run of a migration: one that could not start has no
	// spec.json.
	Spec Spec `json:"spec"`
}

const failureFile = "failure.json"

// SaveFailure keeps why a run has no result.
func (f RunFolder) SaveFailure(failure Failure) error { return f.save(failureFile, failure) }

// Failure returns why the last run has no result, or ErrAbsent where it has one or is still
// running.
func (f RunFolder) Failure() (Failure, error) { return load[Failure](f.path(failureFile)) }

// DropFailure is for a run that has started.
func (f RunFolder) DropFailure() error { return store.Remove(f.path(failureFile)) }

func (f RunFolder) save(name string, value any) error {
	data, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		return err
	}
	if err := f.Make(); err != nil {
		return err
	}
	return store.Write(f.path(name), data)
}

// create writes a value down unless its name is taken, and gives the one that holds.
func create[T any](path string, value T) (T, error) {
	data, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		return value, err
	}
	if err := store.MkdirAll(store.Dir(path)); err != nil {
		return value, err
	}
	err = store.Create(path, data)
	if errors.Is(err, store.ErrExists) {
		return load[T](path)
	}
	return value, err
}

// load reads a value, or gives ErrAbsent.
func load[T any](path string) (value T, err error) {
	data, err := store.Read(path)
	if errors.Is(err, os.ErrNotExist) {
		return value, fmt.Errorf("%s: %w", path, ErrAbsent)
	}
	if err != nil {
		return value, err
	}
	if err := json.Unmarshal(data, &value); err != nil {
		return value, fmt.Errorf("%s %w; expected JSON of this program; restore it from a backup: %w", path, ErrDamaged, err)
	}
	for _, n := range namesIn(value) {
		if n != "" && !store.IsBase(n) {
			return value, fmt.Errorf("%s %w: it names a file %q in another folder; expected a name without a path, restore it from a backup", path, ErrDamaged, n)
		}
	}
	return value, nil
}

// namesIn returns the names of files in what a folder holds.
func namesIn(value any) []string {
	switch v := value.(type) {
	case string: // what is kept as a bare string is a name
		return []string{v}
	case interface{ names() []string }:
		return v.names()
	}
	return nil
}

func (s Start) names() []string { return []string{s.Stamp} }

// RunStatus is the state of a run that is not over, as one worker process knows it, for
// metrics.
type RunStatus struct {
	Target string // the host
	Paused bool   // until it is resumed
	Round  int    // the last one that was begun
	// Unknown is how many records this process has left unknown that no later
	// round has decided; the first attempt at the oldest of them was at
	// UnknownSince. It starts from 0 when the process is restarted.
	Unknown      int
	UnknownSince time.Time
}
