package workflows

import (
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"

	"durable-dataload/activities"
)

// TaskQueue is where separate workers look for work.
const TaskQueue = "durable-dataload"

// LongestCall is how long a worker for any migration, told to stop, waits for
// calls in flight. A call takes as long as --timeout says, at most; the worker
// ends as soon as the last one has ended.
const LongestCall = time.Hour

// mostActivities is how many activities a worker has in work at once. Batches that
// wait at a closed gate keep their places, so there are more of these than one
// migration may begin batches: the order that opens the gate is an activity too.
const mostActivities = 5000

// registered are the workflows of a worker for migrations.
var registered = []any{
	MigrationWorkflow, LoadWorkflow, RetryWorkflow, UpdateWorkflow, RollbackWorkflow, VerifyWorkflow, NotifyWorkflow, ScheduledMigrationWorkflow,
}

// NewWorker makes a worker for migrations. Stopped, it lets calls that take up
// to timeout come to an end, and writes down what they say. alone says that no
// other worker shares its task queue.
func NewWorker(c client.Client, taskQueue string, a *activities.Activities, timeout time.Duration, alone bool) worker.Worker {
	w := worker.New(c, taskQueue, worker.Options{
		Interceptors: []interceptor.WorkerInterceptor{a.Interceptor()},
		// Longer than a call and the writing down of its answer. (The default of
		// 0 would cut calls off.)
		WorkerStopTimeout: timeout + 15*time.Second,
		// Batches wait inside the activity for their turn, at the cost of a
		// goroutine: the pace decides how many call.
		MaxConcurrentActivityExecutionSize: mostActivities,
		// Who polls takes a batch at once; without one it is written to a queue
		// and read again.
		MaxConcurrentActivityTaskPollers: 10,
		MaxConcurrentWorkflowTaskPollers: 4,
		// A worker that answers for the workflow would get most of its batches,
		// beside the queue: when that one dies, few are left with the others.
		// With no others it saves the service a third of its work.
		DisableEagerActivities: !alone,
		// Heartbeats are how a batch hears that it is not wanted any more.
		MaxHeartbeatThrottleInterval: 1500 * time.Millisecond,
		// After a crash the service gives a workflow that was cached in the dead
		// process to another one after this time.
		StickyScheduleToStartTimeout: 2 * time.Second,
	})
	for _, workflow := range registered {
		w.RegisterWorkflow(workflow)
	}
	for _, activity := range []any{
		a.InspectSource, a.CheckTarget, a.Steer, a.PlanBatches, a.LoadBatch, a.HoldLoad, a.SettleBatch,
		a.WriteRetryFile, a.ResolveDuplicates, a.PlanUpdates, a.UpdateBatch, a.CountEntities, a.WriteArtifacts, a.KeepFailure, a.CountReasons, a.WriteFailures,
		a.BeginRollback, a.PlanRollback, a.RollBackBatch, a.VerifyRollback, a.WriteRollback,
		a.Forecast, a.PlanVerify, a.VerifyBatch, a.WriteVerify,
		a.FindFiles, a.PrepareFile, a.PutAway, a.WriteScheduled, a.Notify,
	} {
		w.RegisterActivity(activity)
	}
	return w
}

// NewNoticeWorker makes a worker that only delivers notices of NoticeQueue.
func NewNoticeWorker(c client.Client, a *activities.Activities) worker.Worker {
	w := worker.New(c, NoticeQueue, worker.Options{
		Interceptors:                     []interceptor.WorkerInterceptor{a.Interceptor()},
		WorkerStopTimeout:                5 * time.Second, // an attempt ends at once
		MaxConcurrentActivityTaskPollers: 2,
		MaxConcurrentWorkflowTaskPollers: 2,
		MaxHeartbeatThrottleInterval:     1500 * time.Millisecond,
		StickyScheduleToStartTimeout:     2 * time.Second,
	})
	w.RegisterWorkflow(NotifyWorkflow)
	w.RegisterActivity(a.Notify)
	return w
}
