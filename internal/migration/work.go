package migration

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"durable-dataload/internal/store"
)

// Owner is the Temporal service that uses a work URL.
type Owner struct {
	Service string    `json:"service"` // its identity: see package session
	Name    string    `json:"name"`    // for people: its address and namespace, or the machine of an embedded engine
	Since   time.Time `json:"since"`
	// Engine is the folder of an embedded engine, and PID its process, on a machine with this
	// name and boot (see evidence.ThisClock).
	Engine string `json:"engine,omitempty"`
	PID    int    `json:"pid,omitempty"`
	Host   string `json:"host,omitempty"`
	Boot   string `json:"boot,omitempty"`
}

func ownerFile(work string) string { return store.Join(work, "owner.json") }

// ClaimWork makes a work URL that of a Temporal service, or refuses it where another one
// uses it: the limiters of two services do not know of each other's calls. isDead says
// that the one that has it is known to have ended.
func ClaimWork(work string, o Owner, isDead func(Owner) bool) error {
	for {
		held, err := create(ownerFile(work), o)
		if err != nil || held.Service == o.Service {
			return err
		}
		if !isDead(held) {
			return fmt.Errorf("%s belongs to another Temporal service: expected %s, found %s (since %s); use that one, or end it. If it is lost for good, delete %s and rerun the command to resume with this one",
				work, o.Name, held.Name, held.Since.UTC().Format(time.RFC3339), ownerFile(work))
		}
		// Of several that find it dead one removes it: another one's would be removed else.
		err = store.Create(store.Join(work, "owner-"+ShortDigest(held.Service+held.Since.String())+".ended"), nil)
		if err == nil {
			err = store.Remove(ownerFile(work))
		}
		if err != nil && !errors.Is(err, store.ErrExists) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// ReleaseWork gives a work URL back, where it is of this service.
func ReleaseWork(work string, o Owner) error {
	held, err := load[Owner](ownerFile(work))
	if err != nil || held.Service != o.Service {
		return err
	}
	return store.Remove(ownerFile(work))
}

// EngineIdentity is the identity of the embedded engine of a state folder. It outlives
// the engine's database, which a new version of the engine replaces.
func EngineIdentity(stateDir string) (string, error) {
	return create(store.Join(stateDir, "service.json"), rand.Text())
}
