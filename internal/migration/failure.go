package migration

import (
	"time"

	"durable-dataload/internal/store"
)

// Failure is why the last run of a migration has no result: it could not run, was stopped
// before anything was sent, or ended without its result files. The folder keeps it for
// status, since the Temporal service may be gone by then.
type Failure struct {
	At     time.Time `json:"at"`
	Reason string    `json:"reason"` // for people
	// Stopped says that an operator stopped it.
	Stopped bool `json:"stopped,omitempty"`
	// Spec are the options of that run; a migration that could not start has no
	// spec.json.
	Spec Spec `json:"spec"`
}

const failureFile = "failure.json"

// SaveFailure keeps why a run has no result.
func (f Folder) SaveFailure(failure Failure) error { return f.save(failureFile, failure) }

// Failure returns why the last run has no result, or ErrAbsent where it has one or is still
// running.
func (f Folder) Failure() (Failure, error) { return load[Failure](f.path(failureFile)) }

// DropFailure is for a run that has started.
func (f Folder) DropFailure() error { return store.Remove(f.path(failureFile)) }
