package migration

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
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

// takeoverLimit is how long one process may take to take a work URL over: it sends two requests.
const takeoverLimit = 20 * time.Second

// ClaimWork makes a work URL that of a Temporal service, or refuses it where another one
// uses it: the limiters of two services do not know of each other's calls. isDead says
// that the one that has it is known to have ended. If the service has it already, and this
// process runs its engine now, that is recorded.
func ClaimWork(ctx context.Context, work string, o Owner, isDead func(Owner) bool) error {
	for end := time.Now().Add(takeoverLimit); ; {
		held, err := create(ownerFile(work), o)
		switch {
		case errors.Is(err, ErrAbsent): // removed since
		case err != nil:
			return err
		case held.Service == o.Service:
			err = held.resume(work, o)
		case isDead(held):
			if err = held.remove(work, isDead); err == nil {
				continue
			}
		default:
			return fmt.Errorf("%s belongs to another Temporal service: expected %s, found %s (since %s); use that one, or end it. If it is lost for good, delete %s and rerun the command to resume with this one",
				work, o.Name, held.Name, held.Since.UTC().Format(time.RFC3339), ownerFile(work))
		}
		if !errors.Is(err, store.ErrExists) && !errors.Is(err, ErrAbsent) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s is being taken over from %s, and that does not end: found %s and %s; if no other command is starting on it, delete both and rerun the command",
				work, held.Name, ownerFile(work), held.endedFile(work))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// endedFile says that an owner is about to be removed. A process that removes the owner writes
// the file and then looks once more whether the owner runs; an owner that resumes runs first
// and then looks for the file. So at least one of them sees the other, and gives up.
func (o Owner) endedFile(work string) string {
	return store.Join(work, "owner-"+ShortDigest(o.Service+o.Since.UTC().Format(time.RFC3339Nano))+".ended")
}

// remove removes an owner that is dead, unless it resumes. Of several that find it dead one
// does so, and the others get store.ErrExists: otherwise they would remove the next owner.
func (o Owner) remove(work string, isDead func(Owner) bool) error {
	if err := store.Create(o.endedFile(work), nil); err != nil {
		return err
	}
	if !isDead(o) {
		return store.Remove(o.endedFile(work))
	}
	return store.Remove(ownerFile(work))
}

// resume records that the owner's engine runs in this process now. The error is store.ErrExists
// while another service removes the owner.
func (o Owner) resume(work string, now Owner) error {
	now.Since = o.Since
	if now.PID != os.Getpid() || now == o {
		return nil
	}
	if removed, err := store.Exists(o.endedFile(work)); err != nil {
		return err
	} else if removed {
		return store.ErrExists
	}
	data, err := json.MarshalIndent(now, "", " ")
	if err != nil {
		return err
	}
	return store.Write(ownerFile(work), data)
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
