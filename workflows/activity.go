package workflows

import (
	"errors"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

// a stands for the activities of whichever worker runs them.
var a *activities.Activities

// execute runs an activity and gets its result, where one is wanted.
func execute(ctx workflow.Context, activity any, input any, result any) error {
	return workflow.ExecuteActivity(ctx, activity, input).Get(ctx, result)
}

// withActivity is for activities that may be run again as they are: they read,
// or write what is a function of the ledger.
func withActivity(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: longest,
		HeartbeatTimeout:    activities.HeartbeatTimeout,
		WaitForCancellation: true,
		Summary:             Line("%s", summary),
		RetryPolicy:         storageRetries(ctx),
	})
}

type patience struct{}

// onStore is for a workflow whose files are there: it waits longer for a bucket,
// which comes back by itself, than for a disk, which somebody has to clear.
func onStore(ctx workflow.Context, folder migration.Folder) workflow.Context {
	if store.IsURL(string(folder)) {
		return workflow.WithValue(ctx, patience{}, bucketAttempts)
	}
	return ctx
}

func storageRetries(ctx workflow.Context) *temporal.RetryPolicy {
	if attempts, ok := ctx.Value(patience{}).(int); ok {
		return retries(int32(attempts))
	}
	return retries(storageAttempts)
}

func withRetries(ctx workflow.Context, attempts int32) workflow.Context {
	options := workflow.GetActivityOptions(ctx)
	options.RetryPolicy = retries(attempts)
	return workflow.WithActivityOptions(ctx, options)
}

func retries(attempts int32) *temporal.RetryPolicy {
	return &temporal.RetryPolicy{
		InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 10 * time.Second, MaximumAttempts: attempts,
	}
}

// onlyWaited says that a batch came to nothing because its worker stopped, or
// died while the gate was closed: so often it may be begun again. It pauses where
// the same worker might take it up.
func onlyWaited(ctx workflow.Context, err error) bool {
	if activities.IsUnbegun(err) {
		return sleep(ctx, time.Second, "wait for a worker that stays") == nil
	}
	return activities.Waited(err)
}

// TaskTimeout is after what time a step of a workflow that was given to a worker
// is given to another one. A step takes milliseconds; while that of a dead
// worker is waited for, the whole migration waits.
const TaskTimeout = 3 * time.Second

// childOptions are those of every child: it ends before its parent does.
func childOptions(id, summary string) workflow.ChildWorkflowOptions {
	return workflow.ChildWorkflowOptions{
		WorkflowID:          id,
		StaticSummary:       Line("%s", summary),
		WorkflowTaskTimeout: TaskTimeout,
		WaitForCancellation: true,
		ParentClosePolicy:   enumspb.PARENT_CLOSE_POLICY_TERMINATE,
	}
}

// Cause is the message at the bottom of an error of Temporal: what a person
// needs to know.
func Cause(err error) string {
	var application *temporal.ApplicationError
	if errors.As(err, &application) {
		return application.Message()
	}
	var timeout *temporal.TimeoutError
	if errors.As(err, &timeout) {
		return "a worker died, or was cut off, and did not come back: " + timeout.Error()
	}
	return err.Error()
}
