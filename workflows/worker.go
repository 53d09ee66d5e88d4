package workflows

import (
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"

	"durable-dataload/activities"
	"durable-dataload/internal/version"
)

// TaskQueue is the task queue that separate workers poll.
const TaskQueue = "durable-dataload"

// LongestCall is how long a worker for any migration waits for calls in flight when
// it shuts down. A call takes --timeout at most; the worker exits as soon as the last
// one has ended.
const LongestCall = time.Hour

// mostActivities is how many activities a worker runs at once. Batches that wait at a
// closed gate keep their slots, so there are more slots than batches in flight of one
// migration: the order that opens the gate is an activity too.
const mostActivities = 5000

// registered are the workflows of a worker for migrations.
var registered = []any{
	MigrationWorkflow, LoadWorkflow, RetryWorkflow, UpdateWorkflow, RollbackWorkflow, VerifyWorkflow, ExportWorkflow, NotifyWorkflow, ScheduledMigrationWorkflow,
}

// The SDK would hash the whole program at the start of the first worker, which may be one of the embedded engine, to tell
// builds apart.
func init() { worker.SetBinaryChecksum(version.Build()) }

// NewWorker makes a worker for migrations. When it shuts down it waits for calls that
// take up to timeout, and writes down their answers. alone says that no other worker
// polls its task queue.
func NewWorker(c client.Client, taskQueue string, a *activities.Activities, timeout time.Duration, alone bool) worker.Worker {
	w := worker.New(c, taskQueue, worker.Options{
		Interceptors: []interceptor.WorkerInterceptor{a.Interceptor()},
		// Longer than a call and the writing of its answer. (The default of 0 would
		// abort calls.)
		WorkerStopTimeout: timeout + 15*time.Second,
		// Batches wait for their start time inside the activity, at the cost of a
		// goroutine: the pace decides how many call.
		MaxConcurrentActivityExecutionSize: mostActivities,
		// A waiting poller gets a batch at once; without one the service writes it to
		// a queue and reads it again.
		MaxConcurrentActivityTaskPollers: 10,
		MaxConcurrentWorkflowTaskPollers: 4,
		// With eager activities the worker that runs the workflow would get most of its
		// batches: when it dies, few are left with the others. Without others they save
		// the service a third of its work.
		DisableEagerActivities: !alone,
		// A batch learns of its cancellation by a heartbeat.
		MaxHeartbeatThrottleInterval: 1500 * time.Millisecond,
		// After a crash a workflow that was cached in the dead process moves to another
		// worker after this time.
		StickyScheduleToStartTimeout: 2 * time.Second,
	})
	for _, workflow := range registered {
		w.RegisterWorkflow(workflow)
	}
	for _, activity := range []any{
		a.InspectSource, a.CheckTarget, a.Steer, a.PlanBatches, a.LoadBatches, a.HoldLoad, a.SettleBatches,
		a.WriteRetryFile, a.ResolveDuplicates, a.PlanUpdates, a.UpdateBatch, a.CountEntities, a.WriteArtifacts, a.KeepFailure, a.CountReasons, a.WriteFailures,
		a.BeginRollback, a.PlanRollback, a.RollBackBatch, a.VerifyRollback, a.WriteRollback,
		a.Forecast, a.PlanVerify, a.VerifyBatch, a.WriteVerify,
		a.BeginExport, a.ReadExportPages, a.CutExport, a.ReconcileExport, a.PublishExport, a.EndExport,
		a.FindFiles, a.PrepareFile, a.PutAway, a.WriteScheduled, a.Notify,
	} {
		w.RegisterActivity(activity)
	}
	return w
}

// NewNoticeWorker makes a worker that only delivers the notices of NoticeQueue.
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
