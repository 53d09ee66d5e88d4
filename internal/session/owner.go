package session

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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
		err := migration.ClaimWork(work, s.owned, func(o migration.Owner) bool {
			return o.Engine != "" && o.Clock == evidence.ThisClock() && (o.Engine == s.engineDir || engine.IsFree(o.Engine))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// identity is this service as the owner of a work URL.
func (s *Service) identity(ctx context.Context, o client.Options) (owner migration.Owner, err error) {
	if !s.IsEmbedded() {
		return config.OwnerOf(ctx, s.Client, o)
	}
	host, _ := os.Hostname()
	owner = migration.Owner{
		Name: fmt.Sprintf("the embedded engine of %s on %s", filepath.Dir(s.engineDir), host), Since: time.Now(),
		Engine: s.engineDir, Clock: evidence.ThisClock(),
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
