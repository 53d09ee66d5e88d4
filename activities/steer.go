package activities

import (
	"context"

	"durable-dataload/internal/migration"
)

// SteerInput is what operators have changed.
type SteerInput struct {
	Run `json:"run"`
	// Control is in force from now on, unless it is null.
	Control *migration.Control `json:"control,omitempty"`
	// Events are written down.
	Events []migration.Event `json:"events,omitempty"`
	// Approved says that the canary was approved.
	Approved bool `json:"approved,omitempty"`
}

// Steer publishes what operators have changed to all workers, and writes it down. Once it
// has returned, no call begins that the control forbids: each call checks it last of all.
// Exceptions are calls that were past that check at that moment, or could not make it
// because a bucket did not answer, and those of CheckTarget and CountEntities, which do not
// wait at a closed gate.
//
// It heartbeats, so that no second attempt begins while this one waits for a slow bucket:
// a late write of the first one would override later orders.
func (a *Activities) Steer(ctx context.Context, in SteerInput) error {
	ctx, done := restartable(ctx)
	defer done()
	return ended(ctx, in.steer(ctx))
}

func (in SteerInput) steer(ctx context.Context) error {
	folder := in.Run.Folder.Migration()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
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
