package activities

import (
	"context"

	"durable-dataload/internal/migration"
)

// SteerInput is what operators have changed.
type SteerInput struct {
	Run Run `json:"run"`
	// Control holds from now on, unless it is null.
	Control *migration.Control `json:"control,omitempty"`
	// Events are written down.
	Events []migration.Event `json:"events,omitempty"`
	// Approved says that the canary was approved.
	Approved bool `json:"approved,omitempty"`
}

// Steer lets all workers know what operators have changed, and writes it down.
// Once it has returned, no call begins that the control forbids: each looks at it
// last of all. Apart are calls that were through with that look at that moment,
// and those of CheckTarget and CountEntities, which do not wait at a closed gate.
func (a *Activities) Steer(_ context.Context, in SteerInput) error {
	return storageError(in.steer())
}

func (in SteerInput) steer() error {
	folder := in.Run.Folder
	if in.Control != nil {
		if err := folder.SaveControl(in.Run.ID, *in.Control); err != nil {
			return err
		}
	}
	if in.Approved {
		if err := folder.Approve(); err != nil {
			return err
		}
	}
	for _, e := range in.Events {
		if err := folder.AppendEvent(e); err != nil {
			return err
		}
	}
	return nil
}
