package migration

import (
	"time"

	"durable-dataload/internal/store"
)

// Failure is why the last run of a migration came to nothing: it could not run,
// or was stopped before anything was sent, or ended without its result files.
// The folder keeps it, since the Temporal service may be gone when somebody asks.
type Failure struct {
	At     time.Time `json:"at"`
	Reason string    `json:"reason"` // for people
	// Stopped says that a person stopped it.
	Stopped bool `json:"stopped,omitempty"`
	// Spec are the options of that run. A migration that could not begin has no
	// others.
	Spec Spec `json:"spec"`
}

const failureFile = "failure.json"

// SaveFailure keeps why a run came to nothing.
func (f Folder) SaveFailure(failure Failure) error { return f.save(failureFile, failure) }

// Failure gives why the last run came to nothing. It gives ErrAbsent if it did
// not, or runs still.
func (f Folder) Failure() (Failure, error) { return load[Failure](f.path(failureFile)) }

// DropFailure is for a run that has begun.
func (f Folder) DropFailure() error { return store.Remove(f.path(failureFile)) }
