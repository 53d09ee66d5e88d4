package migration

import (
	"crypto/rand"
	"fmt"
	"time"

	"durable-dataload/internal/store"
)

// Owner is the Temporal service that a work URL belongs to.
type Owner struct {
	Service string    `json:"service"` // its identity: see package session
	Name    string    `json:"name"`    // for people: its address and namespace, or the machine of an embedded engine
	Since   time.Time `json:"since"`
}

// ClaimWork makes a work URL one of a Temporal service, or refuses it where it is one of
// another: the limiters of two services do not know of each other's calls.
func ClaimWork(work string, o Owner) error {
	path := store.Join(work, "owner.json")
	held, err := create(path, o)
	if err == nil && held.Service != o.Service {
		err = fmt.Errorf("%s belongs to another Temporal service: expected %s, found %s (since %s); use that one. If it is lost for good, delete %s and rerun the command to resume with this one",
			work, held.Name, o.Name, held.Since.UTC().Format(time.RFC3339), path)
	}
	return err
}

// EngineIdentity is the identity of the embedded engine of a state folder. It outlives
// the engine's database, which a new version of the engine replaces.
func EngineIdentity(stateDir string) (string, error) {
	return create(store.Join(stateDir, "service.json"), rand.Text())
}
