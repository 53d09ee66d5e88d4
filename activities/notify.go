package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
)

// Types of the errors of Notify.
const (
	// Undelivered: the receiver did not accept the notice, and may later, or this worker stops.
	Undelivered = "Undelivered"
	// GivenUp: the receiver will never take it.
	GivenUp = "GivenUp"
)

// longestRetryAfter bounds the Retry-After of a receiver: the person on call wants to know
// today.
const longestRetryAfter = time.Hour

// NotifyInput is a notice of a run.
type NotifyInput struct {
	Run    `json:"run"`
	Notice notify.Notice `json:"notice"`
}

// Notified says what came of a notice.
type Notified struct {
	// Delivered is false if this process sends no notices.
	Delivered bool `json:"delivered"`
}

// Notify makes one attempt to deliver a notice, with what the folder says of its
// migration. The receiver may get it twice, with the same id, if the worker dies before it
// has reported the delivery.
func (a *Activities) Notify(ctx context.Context, in NotifyInput) (Notified, error) {
	if a.notices == nil {
		return Notified{}, nil
	}
	ctx, done := restartable(ctx)
	defer done()
	// A folder that cannot be read does not stop the notice.
	err := a.takes(in.Run.Folder)
	var spec migration.Spec
	if err == nil {
		spec, err = in.Run.Folder.Migration().Spec()
	}
	switch {
	case err == nil:
		in.Notice.About(spec)
	case !errors.Is(err, migration.ErrAbsent):
		a.log.Warn("a notice lacks the options of its migration, which cannot be read", "error", err)
	}
	err = a.notices.Send(ctx, in.Notice)
	var failure *notify.Failure
	switch {
	case err == nil:
		return Notified{Delivered: true}, nil
	case errors.Is(context.Cause(ctx), errNotSent):
		return Notified{}, temporal.NewApplicationErrorWithOptions("this worker is stopping; the notice is sent again, with the same id", Undelivered,
			temporal.ApplicationErrorOptions{Category: temporal.ApplicationErrorCategoryBenign})
	case errors.As(err, &failure) && failure.Final:
		return Notified{}, temporal.NewNonRetryableApplicationError(err.Error(), GivenUp, nil)
	case errors.As(err, &failure):
		return Notified{}, temporal.NewApplicationErrorWithOptions(err.Error(), Undelivered,
			temporal.ApplicationErrorOptions{NextRetryDelay: min(failure.RetryAfter, longestRetryAfter)})
	}
	return Notified{}, err
}
