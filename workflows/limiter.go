package workflows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/gate"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
)

// LimiterQueue is the task queue of limiters. Every process that works polls it,
// whatever its own task queue is.
const LimiterQueue = "durable-dataload-limiter"

// The updates of a limiter. Their handlers never block.
const (
	UpdateLease  = "lease"  // takes a limiter.Request, gives a limiter.Answer
	UpdateOrder  = "order"  // takes a limiter.Order, gives a LimiterOrdered
	UpdateRevoke = "revoke" // takes the name of a process that is dead
)

// QueryLimiter gives a limiter.View.
const QueryLimiter = "view"

// LimiterInput is what a run of a limiter begins with.
type LimiterInput struct {
	// Target is the host of the target and its tenant, for people.
	Target string        `json:"target"`
	State  limiter.State `json:"state,omitzero"`
	// Before is the run that continued as this one: it is deleted, since its history
	// tells nothing that State does not.
	Before string `json:"before,omitempty"`
}

// LimiterOrdered says from when on an order holds for every call.
type LimiterOrdered struct {
	Holds time.Duration `json:"holds"` // from the moment of the order
}

const (
	// leasesARun bounds a run's history: an update is five events.
	leasesARun = 380
	// limiterTaskTimeout is after what time a task of a limiter goes to another worker. With the
	// time that a sticky task waits for a dead one, it fits between the renewal of a lease and its
	// end: when the process that ran the limiter is killed, the others do not stand still.
	limiterTaskTimeout = time.Second
	// limiterIdle is how often a limiter looks whether it may end.
	limiterIdle = time.Minute
	// detailsEvery is how often the page in the Web UI changes.
	detailsEvery = 2 * time.Second
)

// LimiterWorkflow hands out permission to call a target, to all workers of all
// migrations into it (see internal/limiter). It ends when no worker has asked for some
// time and nothing is pending; the next request starts it again.
func LimiterWorkflow(ctx workflow.Context, in LimiterInput) error {
	l := &limiterRun{LimiterInput: in}
	if err := l.listen(ctx); err != nil {
		return err
	}
	l.forget(ctx)
	for !l.shouldContinueAsNew(ctx) {
		if ok, err := workflow.AwaitWithTimeout(ctx, limiterIdle, func() bool { return l.shouldContinueAsNew(ctx) }); err != nil {
			return err
		} else if !ok && l.State.IsIdle(workflow.Now(ctx)) {
			return nil
		}
	}
	l.Before = workflow.GetInfo(ctx).WorkflowExecution.RunID
	return workflow.NewContinueAsNewError(ctx, LimiterWorkflow, l.LimiterInput)
}

type limiterRun struct {
	LimiterInput
	served int
	shown  time.Time // when the page in the Web UI was changed
}

func (l *limiterRun) listen(ctx workflow.Context) error {
	lease := func(ctx workflow.Context, r limiter.Request) (limiter.Answer, error) {
		l.served++
		answer := l.State.Ask(workflow.Now(ctx), r)
		l.show(ctx, false)
		return answer, nil
	}
	order := func(ctx workflow.Context, o limiter.Order) (LimiterOrdered, error) {
		l.served++
		now := workflow.Now(ctx)
		holds := l.State.Order(now, o)
		l.show(ctx, true)
		return LimiterOrdered{Holds: holds.Sub(now)}, nil
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateLease, lease, workflow.UpdateHandlerOptions{Description: "Grant a worker start times and slots."}); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateOrder, order, workflow.UpdateHandlerOptions{Description: "Change what holds for a run, or for all."}); err != nil {
		return err
	}
	revoke := func(_ workflow.Context, process string) error {
		l.served++
		l.State.Revoke(gate.WorkersOf(process))
		return nil
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateRevoke, revoke, workflow.UpdateHandlerOptions{Description: "End the leases of a process that is dead."}); err != nil {
		return err
	}
	return workflow.SetQueryHandler(ctx, QueryLimiter, func() (limiter.View, error) { return l.State.View(workflow.Now(ctx)), nil })
}

func (l *limiterRun) shouldContinueAsNew(ctx workflow.Context) bool {
	return l.served >= leasesARun || isHistoryLong(ctx)
}

// show tells on the page in the Web UI how the limiter stands.
func (l *limiterRun) show(ctx workflow.Context, now bool) {
	at := workflow.Now(ctx)
	if !now && at.Sub(l.shown) < detailsEvery {
		return
	}
	l.shown = at
	workflow.SetCurrentDetails(ctx, l.details(at))
}

// details is in Markdown, as the Web UI shows it.
func (l *limiterRun) details(now time.Time) string {
	var b strings.Builder
	v := l.State.View(now)
	b.WriteString(fmt.Sprintf("**Calls into %s**\n\n", l.Target))
	b.WriteString(fmt.Sprintf("%s a second in the last ten seconds.\n\n", figures.Figure(v.Used)))
	if v.Paused != "" {
		b.WriteString(fmt.Sprintf("No calls: %s.\n\n", v.Paused))
	}
	for _, run := range v.Runs {
		b.WriteString(fmt.Sprintf("- %s: %s of %s allowed, %d of %d slots in use", run.Run, figures.Figure(run.Used), limiter.PerSecond(run.Allowed), run.InUse, run.Slots))
		if run.Closed != "" {
			b.WriteString(fmt.Sprintf("; no calls since %s: %s", run.Since.UTC().Format(time.RFC3339), run.Closed))
		}
		if run.IsProbed() {
			b.WriteString(fmt.Sprintf("; the next probe of the breaker is due at %s", run.Probe.UTC().Format(time.RFC3339)))
		}
		b.WriteString("\n")
	}
	for _, w := range v.Workers {
		b.WriteString(fmt.Sprintf("- worker %s: %s\n", w.ID, figures.Count(w.Slots, "slot")))
	}
	if len(v.Changes) > 0 {
		b.WriteString("\nLast changes:\n\n")
	}
	for _, c := range v.Changes {
		b.WriteString("- " + strings.Join(slices.DeleteFunc([]string{c.At.UTC().Format(time.RFC3339), string(c.Kind), c.Run, c.Text, c.By, c.Reason}, func(s string) bool { return s == "" }), ", ") + "\n")
	}
	return b.String()
}

// forget deletes the run that continued as this one.
func (l *limiterRun) forget(ctx workflow.Context) {
	if l.Before == "" {
		return
	}
	run := workflow.Execution{ID: workflow.GetInfo(ctx).WorkflowExecution.ID, RunID: l.Before}
	l.Before = ""
	workflow.Go(ctx, func(ctx workflow.Context) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: 10 * time.Second, Summary: "delete the run before", RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 3},
		})
		if err := workflow.ExecuteActivity(ctx, deleteRun, run).Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Warn("a closed run of the limiter was not deleted", "error", err)
		}
	})
}

// deleteRun is the name of the activity that deletes a closed run.
const deleteRun = "DeleteRun"

// NewLimiterWorker makes a worker for limiters.
func NewLimiterWorker(c client.Client, namespace string) worker.Worker {
	w := worker.New(c, LimiterQueue, worker.Options{
		MaxConcurrentActivityTaskPollers: 1,
		MaxConcurrentWorkflowTaskPollers: 2,
		StickyScheduleToStartTimeout:     limiterTaskTimeout,
	})
	w.RegisterWorkflow(LimiterWorkflow)
	w.RegisterActivityWithOptions(func(ctx context.Context, run workflow.Execution) error {
		_, err := c.WorkflowService().DeleteWorkflowExecution(ctx, &workflowservice.DeleteWorkflowExecutionRequest{
			Namespace: namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: run.ID, RunId: run.RunID},
		})
		var gone *serviceerror.NotFound
		if errors.As(err, &gone) {
			return nil
		}
		return err
	}, activity.RegisterOptions{Name: deleteRun})
	return w
}

// limiterPrefix is how the workflow ids of limiters begin.
const limiterPrefix = "limiter-"

// LimitedHost is the host of the target whose limiter has this workflow id.
func LimitedHost(workflowID string) (host string, ok bool) {
	return strings.CutPrefix(workflowID, limiterPrefix)
}

// Limiters gives the limiter of each target, by its host.
func Limiters(c client.Client) func(migration.Target) activities.Limiter {
	return func(t migration.Target) activities.Limiter { return NewLimiterClient(c, t.Host()) }
}

// LimiterClient takes requests to the limiter of a target, which it starts where none
// runs.
type LimiterClient struct {
	Client client.Client
	ID     string // of the workflow
	Target string // its host, for people
}

// NewLimiterClient makes a client of the limiter of a target, by its host.
func NewLimiterClient(c client.Client, host string) *LimiterClient {
	return &LimiterClient{Client: c, ID: limiterPrefix + host, Target: host}
}

// Ask repeats a request until it is answered or ctx ends.
func (l *LimiterClient) Ask(ctx context.Context, r limiter.Request) (answer limiter.Answer, err error) {
	err = l.update(ctx, UpdateLease, fmt.Sprint(r.Worker, "-", r.Seq), r, &answer)
	return answer, err
}

// Order changes what holds, and says how long it takes until every call keeps to it. It
// is given once, however often it is repeated with the same id.
func (l *LimiterClient) Order(ctx context.Context, id string, o limiter.Order) (holds time.Duration, err error) {
	var ordered LimiterOrdered
	err = l.update(ctx, UpdateOrder, id, o, &ordered)
	return ordered.Holds, err
}

// View gives how the limiter stands; the zero value if none runs.
func (l *LimiterClient) View(ctx context.Context) (v limiter.View, err error) {
	answer, err := l.Client.QueryWorkflowWithOptions(ctx, &client.QueryWorkflowWithOptionsRequest{
		WorkflowID: l.ID, QueryType: QueryLimiter, QueryRejectCondition: enumspb.QUERY_REJECT_CONDITION_NOT_OPEN,
	})
	var none *serviceerror.NotFound
	if errors.As(err, &none) || err == nil && answer.QueryRejected != nil {
		return v, nil
	}
	if err == nil {
		err = answer.QueryResult.Get(&v)
	}
	return v, err
}

// Revoke ends the leases of a process that is dead.
func (l *LimiterClient) Revoke(ctx context.Context, process string) error {
	return l.update(ctx, UpdateRevoke, "revoke-"+process, process, nil)
}

func (l *LimiterClient) update(ctx context.Context, name, id string, arg, result any) error {
	for {
		h, err := l.Client.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
			StartWorkflowOperation: l.Client.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
				ID: l.ID, TaskQueue: LimiterQueue, WorkflowTaskTimeout: limiterTaskTimeout,
				WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
				StaticSummary:            "calls into " + l.Target,
			}, LimiterWorkflow, LimiterInput{Target: l.Target}),
			UpdateOptions: client.UpdateWorkflowOptions{
				UpdateID: id, WorkflowID: l.ID, UpdateName: name, Args: []any{arg}, WaitForStage: client.WorkflowUpdateStageCompleted,
			},
		})
		if err == nil {
			err = h.Get(ctx, result)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		// The run may just have ended or continued as a new one.
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
