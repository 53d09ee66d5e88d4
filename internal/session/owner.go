package session

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.temporal.io/sdk/client"

	"durable-dataload/internal/config"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

// own makes the work URLs of this session those of its Temporal service.
func (s *Service) own(ctx context.Context, o client.Options) error {
	var owner migration.Owner
	for _, work := range s.workLocations {
		if !store.IsURL(work) {
			continue
		}
		if owner.Service == "" {
			var err error
			if s.IsEmbedded() {
				host, _ := os.Hostname()
				owner.Name = fmt.Sprintf("the embedded engine of %s on %s", filepath.Dir(s.engineDir), host)
				owner.Service, err = migration.EngineIdentity(filepath.Dir(s.engineDir))
			} else {
				owner, err = config.OwnerOf(ctx, s.Client, o)
			}
			if err != nil {
				return err
			}
			owner.Since = time.Now()
		}
		if err := migration.ClaimWork(work, owner); err != nil {
			return err
		}
	}
	return nil
}
