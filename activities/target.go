package activities

import (
	"context"
	"errors"

	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/identitycloud"
)

// Checked is what CheckTarget found out for a migration.
type Checked struct {
	// KeylessNote is migration.Keys.Note.
	KeylessNote string `json:"keyless_note,omitempty"`
}

// CheckTarget finds out with harmless calls, before anything is sent, whether address,
// credentials and entity type are right, and for a migration what the target refuses as a
// duplicate. It fails with Refused where the migration cannot work with these options, and
// with Unreachable where the target is busy or does not answer.
func (a *Activities) CheckTarget(ctx context.Context, run Run) (Checked, error) {
	ctx, done := restartable(ctx)
	defer done()
	o, err := a.open(run)
	if err != nil {
		return Checked{}, err
	}
	var checked Checked
	var application *temporal.ApplicationError
	c := o.common()
	err = c.target.Check(c.gate.AtOnce(ctx))
	if m, ok := o.(*migrationRun); ok && err == nil {
		checked, err = m.checkKeys(ctx)
	}
	switch {
	case err == nil:
		return checked, nil
	case errors.Is(err, identitycloud.ErrCredentials), errors.Is(err, identitycloud.ErrEntityType):
		return checked, refused(err)
	case errors.As(err, &application):
		return checked, err
	case ctx.Err() != nil:
		return checked, ended(ctx, ctx.Err())
	}
	// Any other error may be temporary.
	return checked, temporal.NewApplicationError(err.Error()+"; nothing was sent", Unreachable)
}

// CountEntities counts all entities of the target's type, for the summary; null if the
// client may not count. It does not wait while the gate is closed: the end of a paused
// migration does not depend on a number.
func (a *Activities) CountEntities(ctx context.Context, run Run) (*int64, error) {
	ctx, done := restartable(ctx)
	defer done()
	o, err := a.open(run)
	if err != nil {
		return nil, err
	}
	c := o.common()
	n, err := c.target.Count(c.gate.AtOnce(ctx))
	var api *identitycloud.APIError
	if errors.As(err, &api) && api.IsPermission() {
		return nil, nil
	}
	if err != nil {
		return nil, temporal.NewApplicationError(err.Error(), Unreachable)
	}
	return &n, nil
}
