package workflows

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/migration"
)

// environment runs workflows, and records what they ask for.
type environment struct {
	*testsuite.TestWorkflowEnvironment
	t       *testing.T
	journal *journal
	fake    *fake  // of a migration
	run     string // the run id; "" is one that all tests share

	mu     sync.Mutex
	asked  []asked         // activities
	timers []time.Duration // in order
	slept  []string        // summaries of the timers
	child  []string        // workflow ids

	attributes map[string]any // search attributes, as they were set last

	children []workflow.ChildWorkflowOptions

	ending sync.Once
	ends   chan struct{}

	over    bool           // the workflow has ended
	running sync.WaitGroup // activities

	handsBack map[string]bool  // activities, by name: the service does not repeat one whose worker died
	died      map[string]error // of those, by activity id
}

// endsNow is closed once the workflow has seen its cancellation, or that an activity
// has failed. This environment delivers both with a delay, in which activities that
// take no time start and end.
func (e *environment) endsNow() chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ends == nil {
		e.ends = make(chan struct{})
	}
	return e.ends
}

func (e *environment) seesItsEnd() { e.ending.Do(func() { close(e.endsNow()) }) }

type asked struct {
	activity, summary string
	input             any
	options           workflow.ActivityOptions
}

// newEnvironment is one for a migration.
func newEnvironment(t *testing.T, f *fake) *environment {
	t.Helper()
	e := environmentOf(t, &f.journal,
		f.InspectSource, f.CheckTarget, f.KeepFailure, f.CountReasons, f.WriteFailures, f.Steer, f.PlanBatches, f.LoadBatches, f.HoldLoad, f.SettleBatches,
		f.WriteRetryFile, f.ResolveDuplicates, f.PlanUpdates, f.UpdateBatch, f.CountEntities, f.WriteArtifacts, f.Notify,
		f.VerifyBatch, f.Forecast)
	e.fake, f.held = f, make(chan struct{})
	return e
}

// generous bounds waits on a busy machine.
const generous = time.Minute

// environmentOf has all workflows, and these activities.
func environmentOf(t *testing.T, j *journal, activities ...any) *environment {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	e := &environment{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), t: t, journal: j, handsBack: map[string]bool{}, died: map[string]error{}}
	e.SetTestTimeout(generous)
	e.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{&listener{e: e}}, DeadlockDetectionTimeout: generous})
	for _, w := range registered {
		e.RegisterWorkflow(w)
	}
	for _, activity := range activities {
		e.RegisterActivity(activity)
	}
	return e
}

// ExecuteWorkflow returns when no activity runs any more. In this environment the
// activities of a cancelled workflow outlive it, and would use what the test changes.
func (e *environment) ExecuteWorkflow(workflow any, args ...any) {
	e.TestWorkflowEnvironment.ExecuteWorkflow(workflow, args...)
	e.seesItsEnd()
	e.mu.Lock()
	e.over = true
	e.mu.Unlock()
	e.running.Wait()
}

// runToEnd runs a workflow to its end.
func runToEnd[R any](e *environment, workflow, in any) (result R, err error) {
	e.t.Helper()
	e.ExecuteWorkflow(workflow, in)
	if !e.IsWorkflowCompleted() {
		e.t.Fatalf("the workflow has not ended; so far: %s", e.journal.story())
	}
	if err := e.GetWorkflowError(); err != nil {
		return result, err
	}
	return result, e.GetWorkflowResult(&result)
}

// migrate runs a MigrationWorkflow to its end.
func (e *environment) migrate(change func(*migration.Spec)) (Result, error) {
	e.t.Helper()
	spec := typicalSpec()
	if change != nil {
		change(&spec)
	}
	return runToEnd[Result](e, MigrationWorkflow, spec)
}

// migrated is migrate, where no error is expected.
func (e *environment) migrated(change func(*migration.Spec)) Result {
	e.t.Helper()
	result, err := e.migrate(change)
	if err != nil {
		e.t.Fatal(err)
	}
	return result
}

// nextInput is the input of the run that a workflow continued as.
func nextInput[I any](t *testing.T, err error) (in I) {
	t.Helper()
	var next *workflow.ContinueAsNewError
	if !errors.As(err, &next) {
		t.Fatalf("the workflow ended with %v, want it to continue as new", err)
	}
	if err := converter.GetDefaultDataConverter().FromPayloads(next.Input, &in); err != nil {
		t.Fatal(err)
	}
	return in
}

// progressOf asks a workflow for its progress; no id is the one that runs.
func progressOf[P any](e *environment, id ...string) (p P) {
	e.t.Helper()
	value, err := e.QueryWorkflow(QueryProgress)
	if len(id) > 0 {
		value, err = e.QueryWorkflowByID(id[0], QueryProgress)
	}
	if err == nil {
		err = value.Get(&p)
	}
	if err != nil {
		e.t.Error(err)
	}
	return p
}

func (e *environment) progress() Progress {
	e.t.Helper()
	return progressOf[Progress](e)
}

// typicalSpec has paths of a typical length.
func typicalSpec() migration.Spec {
	const folder = "/home/somebody/projects/identity/migration-2026"
	key := "0123456789ab"
	file := folder + "/exports/production/users-complete-2026-11-22.csv"
	return migration.Spec{
		ID: migration.WorkflowID(path.Base(file), key), DataFile: file, OutputDir: folder + "/results/production",
		Folder: migration.In("/home/somebody/.local/state/durable-dataload", key), SHA256: strings.Repeat("0123456789abcdef", 4),
		Target:    migration.Target{URI: "https://some-company-production.eu.janraincapture.com", EntityType: "user", Auth: "signature"},
		BatchSize: 100, StartAt: 1, Limits: migration.Limits{RateLimit: 4, Workers: 10}, Timeout: 10 * time.Second, RetryRounds: 3, RetryBackoff: 30 * time.Second,
		UnknownAPI: [][2]int{{403, 403}, {500, 999}}, UnknownHTTP: [][2]int{{300, 599}},
		RecoveredBy: migration.Lookup, PrimaryKey: "email", SearchAttributes: false,
	}
}

// summaries are those of the activities with this name, in order.
func (e *environment) summaries(activity string) (all []string) {
	for _, a := range e.asked {
		if a.activity == activity {
			all = append(all, a.summary)
		}
	}
	return all
}

// listener records what workflows ask for.
type listener struct {
	interceptor.WorkerInterceptorBase
	e *environment
}

func (l *listener) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	in := &inbound{e: l.e}
	in.Next = next
	return in
}

func (l *listener) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	a := &activityInbound{e: l.e}
	a.Next = next
	return a
}

type activityInbound struct {
	interceptor.ActivityInboundInterceptorBase
	e *environment
}

func (a *activityInbound) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	info := activity.GetInfo(ctx)
	a.e.mu.Lock()
	over, died := a.e.over, a.e.died[info.ActivityID]
	if !over {
		a.e.running.Add(1)
	}
	a.e.mu.Unlock()
	if over {
		return nil, context.Canceled
	}
	defer a.e.running.Done()
	if died != nil { // this environment repeats it, whatever its policy is
		return nil, died
	}
	result, err := a.Next.ExecuteActivity(ctx, in)
	a.e.mu.Lock()
	defer a.e.mu.Unlock()
	if temporal.IsTimeoutError(err) && a.e.handsBack[info.ActivityType.Name] {
		a.e.died[info.ActivityID] = err
	}
	return result, err
}

type inbound struct {
	interceptor.WorkflowInboundInterceptorBase
	e *environment
}

func (i *inbound) Init(out interceptor.WorkflowOutboundInterceptor) error {
	o := &outbound{e: i.e}
	o.Next = out
	return i.Next.Init(o)
}

func (i *inbound) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	workflow.Go(ctx, func(ctx workflow.Context) {
		ctx.Done().Receive(ctx, nil)
		i.e.seesItsEnd()
	})
	return i.Next.ExecuteWorkflow(ctx, in)
}

type outbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	e *environment
}

func (o *outbound) ExecuteActivity(ctx workflow.Context, activity string, args ...any) workflow.Future {
	o.e.mu.Lock()
	options := workflow.GetActivityOptions(ctx)
	o.e.asked = append(o.e.asked, asked{activity, options.Summary, args[0], options})
	if policy := options.RetryPolicy; policy != nil {
		o.e.handsBack[activity] = slices.Contains(policy.NonRetryableErrorTypes, "TemporalTimeout:Heartbeat")
	}
	o.e.mu.Unlock()
	future := o.Next.ExecuteActivity(ctx, activity, args...)
	workflow.Go(ctx, func(ctx workflow.Context) {
		if err := future.Get(ctx, nil); err != nil {
			o.e.seesItsEnd()
		}
	})
	return future
}

func (o *outbound) NewTimerWithOptions(ctx workflow.Context, d time.Duration, options workflow.TimerOptions) workflow.Future {
	o.e.mu.Lock()
	o.e.timers, o.e.slept = append(o.e.timers, d), append(o.e.slept, options.Summary)
	o.e.mu.Unlock()
	return o.Next.NewTimerWithOptions(ctx, d, options)
}

func (o *outbound) ExecuteChildWorkflow(ctx workflow.Context, child string, args ...any) workflow.ChildWorkflowFuture {
	o.e.mu.Lock()
	options := workflow.GetChildWorkflowOptions(ctx)
	for _, arg := range args {
		if in, ok := arg.(activities.NotifyInput); ok {
			o.e.fake.mu.Lock()
			o.e.fake.started = append(o.e.fake.started, in.Notice.ID)
			o.e.fake.mu.Unlock()
		}
	}
	o.e.child, o.e.children = append(o.e.child, child+" "+options.WorkflowID), append(o.e.children, options)
	o.e.mu.Unlock()
	return o.Next.ExecuteChildWorkflow(ctx, child, args...)
}

// UpsertTypedSearchAttributes needs a mock in this environment.
//
//workflowcheck:ignore
func (o *outbound) UpsertTypedSearchAttributes(_ workflow.Context, attributes ...temporal.SearchAttributeUpdate) error {
	o.e.mu.Lock()
	defer o.e.mu.Unlock()
	if o.e.attributes == nil {
		o.e.attributes = map[string]any{}
	}
	for key, value := range temporal.NewSearchAttributes(attributes...).GetUntypedValues() {
		o.e.attributes[key.GetName()] = value
	}
	return nil
}

// GetInfo adds what a service has and this environment does not.
func (o *outbound) GetInfo(ctx workflow.Context) *workflow.Info {
	info := *o.Next.GetInfo(ctx)
	info.OriginalRunID = cmp.Or(o.e.run, "01234567-89ab-cdef-0123-456789abcdef")
	info.FirstRunID = "first run of " + info.WorkflowExecution.ID
	return &info
}

// size is how many bytes the history keeps of a value.
func size(t *testing.T, v any) int {
	t.Helper()
	p, err := converter.GetDefaultDataConverter().ToPayload(v)
	if err != nil {
		t.Fatal(err)
	}
	return p.Size()
}

func expect[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if string(g) != string(w) {
		t.Errorf("%s:\n%s\nwant\n%s", what, g, w)
	}
}

var quiet = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
