package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.temporal.io/sdk/client"

	"durable-dataload/internal/config"
	"durable-dataload/internal/engine"
	"durable-dataload/internal/evidence"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

// own makes the work URLs of this session those of its Temporal service. That of an engine
// which has ended can be taken over on its machine.
func (s *Service) own(ctx context.Context, o client.Options) (err error) {
	for _, work := range s.workLocations {
		if !store.IsURL(work) {
			continue
		}
		if s.owned.Service == "" {
			if s.owned, err = s.identity(ctx, o); err != nil {
				return err
			}
		}
		if err := migration.ClaimWork(ctx, work, s.owned, s.isDead); err != nil {
			return err
		}
	}
	return nil
}

// isDead reports whether the engine that owns a work URL is known to have ended. Of one on
// another machine, or in another container, nothing is known. Only where its folder cannot be
// opened its process counts: another one may run the engine by now.
func (s *Service) isDead(o migration.Owner) bool {
	if !s.IsEmbedded() || o.Engine == "" || o.Host != s.owned.Host || o.Boot != s.owned.Boot {
		return false
	}
	if o.Engine == s.engineDir {
		return true
	}
	if owned, err := engine.IsOwned(o.Engine); err == nil {
		return !owned
	}
	p, err := os.FindProcess(o.PID)
	return o.PID == os.Getpid() || err == nil && errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}

// identity is this service as the owner of a work URL.
func (s *Service) identity(ctx context.Context, o client.Options) (owner migration.Owner, err error) {
	if !s.IsEmbedded() {
		return config.OwnerOf(ctx, s.Client, o)
	}
	host, _ := os.Hostname()
	owner = migration.Owner{
		Name: fmt.Sprintf("the embedded engine of %s on %s", filepath.Dir(s.engineDir), host), Since: time.Now(),
		Engine: s.engineDir, PID: s.address.PID, Host: host, Boot: evidence.ThisClock(),
	}
	owner.Service, err = migration.EngineIdentity(filepath.Dir(s.engineDir))
	return owner, err
}

// disown gives the work URLs back, where the engine ends with this process.
func (s *Service) disown() {
	for _, work := range s.workLocations {
		if s.engine == nil || s.owned.Service == "" || !store.IsURL(work) {
			continue
		}
		if err := migration.ReleaseWork(work, s.owned); err != nil {
			s.process.Log.Warn("the work URL was not given back", "error", err.Error())
		}
	}
}
