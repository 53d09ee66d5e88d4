package workflows

import (
	"errors"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/store"
)

// a stands for the activities of whichever worker runs them.
var a *activities.Activities

const (
	// No activity takes longer than this unless its worker is dead, which the
	// missing heartbeat shows long before.
	longestActivity = 24 * time.Hour

	// Reading and writing a folder is retried for about a minute: somebody may
	// free space on a full disk. Then the workflow ends with the reason, and
	// rerunning the command resumes it.
	diskAttempts = 8
	// A bucket comes back by itself: it is retried for half an hour, and longer
	// where requests time out.
	bucketAttempts = 180
	longestPause   = 10 * time.Second

	// At the start a target that does not answer is retried for about a quarter
	// of a minute before the workflow refuses to begin.
	checkAttempts = 5
	countAttempts = 3

	// Calls for a batch that may be repeated are retried for a few minutes.
	// Then the workflow halts, and rerunning the command resumes it.
	callAttempts     = 10
	longestCallPause = 30 * time.Second

	// A notice is retried for this long; later it is no news.
	deliverFor           = 24 * time.Hour
	longestDeliveryPause = 15 * time.Minute
)

// withFolder sets the options of the activities of a workflow whose files are in
// this folder: those of activities that may be repeated as they are, since they
// read, or write what is a function of the ledger.
func withFolder(ctx workflow.Context, folder string) workflow.Context {
	attempts := int32(diskAttempts)
	if store.IsURL(folder) {
		attempts = bucketAttempts
	}
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: longestActivity,
		HeartbeatTimeout:    activities.HeartbeatTimeout,
		WaitForCancellation: true,
		RetryPolicy:         bounded(attempts, longestPause),
	})
}

// withAttempts is for activities that are retried less often.
func withAttempts(ctx workflow.Context, attempts int32) workflow.Context {
	return workflow.WithRetryPolicy(ctx, *bounded(attempts, longestPause))
}

// withCallRetries is for activities that call the target and may be repeated as
// they are.
func withCallRetries(ctx workflow.Context) workflow.Context {
	return workflow.WithRetryPolicy(ctx, *bounded(callAttempts, longestCallPause))
}

// forDelivery is for Notify.
func forDelivery(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		ScheduleToCloseTimeout: deliverFor,
		StartToCloseTimeout:    time.Minute, // an attempt ends long before
		HeartbeatTimeout:       activities.HeartbeatTimeout,
		RetryPolicy:            retries(longestDeliveryPause),
	})
}

// retries makes a policy with any number of attempts. The pauses between them begin
// with a second and double.
func retries(longest time.Duration) *temporal.RetryPolicy {
	return &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: longest}
}

// bounded is retries with so many attempts. An activity whose worker died is given back to
// its workflow.
func bounded(attempts int32, longest time.Duration) *temporal.RetryPolicy {
	policy := retries(longest)
	policy.MaximumAttempts = attempts
	policy.NonRetryableErrorTypes = []string{"TemporalTimeout:StartToClose", "TemporalTimeout:Heartbeat"}
	return policy
}

// execute runs an activity and gets its result, where one is wanted. The summary
// is what the Web UI calls it.
//
// What isNoAttempt may happen any number of times. Other workers that die on it count
// on their own, as many as its retry policy has attempts: an attempt of Temporal would
// count those that died while the gate was closed too.
func execute(ctx workflow.Context, summary string, activity any, input any, result any) error {
	most := int(workflow.GetActivityOptions(ctx).RetryPolicy.MaximumAttempts)
	for deaths := 0; ; {
		err := attempt(ctx, summary, activity, input, result)
		switch {
		case err == nil, ctx.Err() != nil:
			return err
		case isNoAttempt(ctx, err):
		case temporal.IsTimeoutError(err) && deaths+1 < most:
			deaths++
		default:
			return err
		}
	}
}

// attempt is execute for one worker: that it died is the result.
func attempt(ctx workflow.Context, summary string, activity any, input any, result any) error {
	options := workflow.GetActivityOptions(ctx)
	options.Summary = Line("%s", summary)
	return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), activity, input).Get(ctx, result)
}

// isNoAttempt reports whether an activity failed for no fault of its own: its worker was
// shutting down, or died while the gate was closed. It pauses where the same worker might
// take the activity again.
func isNoAttempt(ctx workflow.Context, err error) bool {
	if activities.IsUnbegun(err) {
		return sleep(ctx, time.Second, "wait for a worker that is not shutting down") == nil
	}
	return activities.Waited(err)
}

// sleep is a timer with a summary for the Web UI.
func sleep(ctx workflow.Context, d time.Duration, summary string) error {
	return workflow.NewTimerWithOptions(ctx, d, workflow.TimerOptions{Summary: summary}).Get(ctx, nil)
}

// TaskTimeout is after what time a workflow task goes to another worker. A task
// takes milliseconds; until that of a dead worker times out, the whole migration
// waits.
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
		return "a worker died or was cut off, and did not come back: " + timeout.Error()
	}
	return err.Error()
}
