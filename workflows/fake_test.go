package workflows

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
)

const recordsABatch = 10

// journal keeps what was asked of those who stand for activities.
type journal struct {
	mu       sync.Mutex
	calls    []string // in order: "LoadBatch 0/3"
	inFlight int
	most     int // that were in flight at once
}

// note keeps that an activity was called, and says which attempt this is.
func (j *journal) note(call string) (attempt int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls = append(j.calls, call)
	for _, c := range j.calls {
		if c == call {
			attempt++
		}
	}
	return attempt
}

// story is what was called, in order.
func (j *journal) story() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.calls, ", ")
}

func (j *journal) count(prefix string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, call := range j.calls {
		if strings.HasPrefix(call, prefix) {
			n++
		}
	}
	return n
}

// mostAtOnce is how many batches were in work at the same time.
func (j *journal) mostAtOnce() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.most
}

// fake stands for the activities: it knows batches by number, and what became
// of them, without any file. Each of its functions can be replaced by a test.
type fake struct {
	t       *testing.T
	batches int // of the input

	journal
	settled map[int]map[int]counts // by round and position
	planned map[string]int         // errors of what is settled when it is planned
	rounds  map[int]int            // batches of a retry round

	load    func(in activities.BatchInput, attempt int) (activities.BatchResult, error)
	settle  func(in activities.BatchInput) (activities.BatchResult, error)
	resolve func(in activities.ResolveInput) (activities.Resolved, error)
	inspect func() error
	keyless int
	checked activities.Checked
	check   func(attempt int) error
	plan    func() error
	write   func(in activities.RetryFileInput) error
	finish  func(in activities.ArtifactsInput) error

	entities func() (*int64, error)

	updated map[int]ledger.Updates // by batch
	update  func(in activities.UpdateInput, attempt int) (ledger.Updates, error)
	delta   bool
	twins   int

	steered []activities.SteerInput
	steer   func() error
	verify  func()
	canary  int                                                // batches
	deliver func(in activities.NotifyInput, attempt int) error // a notice
	notices []notify.Notice                                    // delivered, in the order of telling
	telling []string                                           // ids of notices: each is delivered by a workflow of its own, in any order

	holding func()
	hold    sync.Once
	held    chan struct{} // closed by the first HoldLoad

	failures []migration.Failure       // that were kept
	reasons  activities.Reasons        // of the records that are failed or unknown
	asking   func()                    // before each decision
	artifact activities.ArtifactsInput // that was asked for last
	summary  migration.Counts          // that the artifacts come to; zero: all are created
}

type counts = ledger.Counts

var (
	allCreated   = activities.BatchResult{Counts: counts{Created: recordsABatch, Calls: 1}}
	allUnknown   = activities.BatchResult{Counts: counts{Unknown: recordsABatch, Calls: 1}, Reason: "http 502"}
	allUpdated   = ledger.Updates{Updated: recordsABatch}
	allDuplicate = activities.BatchResult{Counts: counts{Duplicate: recordsABatch, Calls: 1}}
)

func newFake(t *testing.T, batches int) *fake {
	f := &fake{
		t: t, batches: batches, settled: map[int]map[int]counts{}, rounds: map[int]int{}, updated: map[int]ledger.Updates{},
		load: func(activities.BatchInput, int) (activities.BatchResult, error) { return allCreated, nil },
		settle: func(activities.BatchInput) (activities.BatchResult, error) {
			return activities.BatchResult{}, fmt.Errorf("nothing is to be settled")
		},
		update: func(activities.UpdateInput, int) (ledger.Updates, error) { return allUpdated, nil },
	}
	f.resolve = func(in activities.ResolveInput) (activities.Resolved, error) {
		if in.Round > 0 {
			return activities.Resolved{}, nil
		}
		return f.strangers(), nil
	}
	return f
}

// strangers is what the duplicates of the input mostly are: somebody else's.
func (f *fake) strangers() (r activities.Resolved) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.settled[0] {
		if f.delta {
			r.Duplicate += c.Duplicate
		} else {
			r.Failed += c.Duplicate
		}
	}
	return r
}

func (f *fake) nowInFlight() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inFlight
}

func (f *fake) length(round int) int {
	if round == 0 {
		return f.batches
	}
	return f.rounds[round]
}

func (f *fake) keep(in activities.BatchInput, c counts) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.settled[in.Round] == nil {
		f.settled[in.Round] = map[int]counts{}
	}
	f.settled[in.Round][in.Position] = c
}

func (f *fake) InspectSource(_ context.Context, in activities.InspectInput) (activities.Inspected, error) {
	f.note("InspectSource")
	if in.Run.ID == "" || in.Run.Folder != in.Spec.Folder.RunFolder || in.Now.IsZero() {
		f.t.Errorf("InspectSource is told %+v", in)
	}
	if f.inspect != nil {
		if err := f.inspect(); err != nil {
			return activities.Inspected{}, err
		}
	}
	return activities.Inspected{Records: f.batches * recordsABatch, Batches: f.batches, Twins: f.twins, Canary: f.canary}, nil
}

func (f *fake) KeepFailure(_ context.Context, in activities.FailureInput) error {
	f.note("KeepFailure")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, in.Failure)
	return nil
}

// CountReasons is asked so often that it is no part of a story.
func (f *fake) CountReasons(context.Context, activities.Run) (activities.Reasons, error) {
	return f.reasons, nil
}

func (f *fake) WriteFailures(context.Context, activities.Run) (activities.Reasons, error) {
	f.note("WriteFailures")
	if f.asking != nil {
		f.asking()
	}
	return f.reasons, nil
}

func (f *fake) VerifyBatch(_ context.Context, in activities.VerifyInput) (migration.VerifyResult, error) {
	f.note(fmt.Sprintf("VerifyBatch %d", in.Batch))
	if f.verify != nil {
		f.verify()
	}
	return equal(recordsABatch), nil
}

func (f *fake) Forecast(_ context.Context, in activities.ForecastInput) (activities.Forecast, error) {
	f.note(fmt.Sprintf("Forecast after %d", in.Loaded))
	return activities.Forecast{Calls: in.Loaded, Median: 120 * time.Millisecond, Longest: time.Second, Left: f.batches - in.Loaded, Takes: time.Hour}, nil
}

func (f *fake) Steer(_ context.Context, in activities.SteerInput) error {
	f.note("Steer")
	if f.steer != nil {
		if err := f.steer(); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steered = append(f.steered, in)
	return nil
}

func (f *fake) CheckTarget(context.Context, activities.Run) (activities.Checked, error) {
	attempt := f.note("CheckTarget")
	if f.check != nil {
		return activities.Checked{}, f.check(attempt)
	}
	return f.checked, nil
}

func (f *fake) PlanBatches(_ context.Context, in activities.PlanInput) (activities.Plan, error) {
	f.note(fmt.Sprintf("PlanBatches %d", in.Round))
	if f.plan != nil {
		if err := f.plan(); err != nil {
			return activities.Plan{}, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := activities.Plan{After: in.After, Total: f.length(in.Round)}
	to := p.Total
	if in.To > 0 {
		to = in.To
	}
	for p.After < to && len(p.Batches) < in.Limit {
		p.After++
		if c, ok := f.settled[in.Round][p.After]; ok {
			p.Settled.Add(c)
			p.Errors = f.planned
			continue
		}
		first := 2 + (p.After-1)*recordsABatch
		p.Batches = append(p.Batches, activities.PlannedBatch{p.After, first, first + recordsABatch - 1})
	}
	return p, nil
}

func (f *fake) LoadBatch(_ context.Context, in activities.BatchInput) (activities.BatchResult, error) {
	attempt := f.note(fmt.Sprintf("LoadBatch %d/%d", in.Round, in.Position))
	f.mu.Lock()
	f.inFlight++
	f.most = max(f.most, f.inFlight)
	f.mu.Unlock()
	r, err := f.load(in, attempt)
	f.mu.Lock()
	f.inFlight--
	f.mu.Unlock()
	if err == nil && !r.Unsent {
		f.keep(in, r.Counts)
	}
	return r, err
}

func (f *fake) HoldLoad(_ context.Context, in activities.HoldInput) error {
	f.note("HoldLoad " + in.Load)
	if f.holding != nil {
		f.holding()
	}
	f.hold.Do(func() { close(f.held) })
	return nil
}

func (f *fake) SettleBatch(_ context.Context, in activities.BatchInput) (activities.BatchResult, error) {
	f.note(fmt.Sprintf("SettleBatch %d/%d", in.Round, in.Position))
	r, err := f.settle(in)
	if err == nil && !r.Unsent {
		f.keep(in, r.Counts)
	}
	return r, err
}

// WriteRetryFile lists the batches that are unknown after the round before, or
// duplicates that are not resolved. Of those that round 0 left unknown in a batch,
// up to keyless are set aside.
func (f *fake) WriteRetryFile(_ context.Context, in activities.RetryFileInput) (migration.RetryFile, error) {
	f.note(fmt.Sprintf("WriteRetryFile %d", in.Round))
	if f.write != nil {
		if err := f.write(in); err != nil {
			return migration.RetryFile{}, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	file := migration.RetryFile{Round: in.Round}
	for _, c := range f.settled[in.Round-1] {
		again := c.Unknown
		if in.Round == 1 {
			again -= min(f.keyless, again)
			file.Aside += c.Unknown - again
		}
		if again > 0 {
			file.Batches++
			file.Records += again
		}
	}
	if file.Records > 0 {
		file.Name = fmt.Sprintf("retry_%d.csv", in.Round)
		f.rounds[in.Round] = file.Batches
	}
	return file, nil
}

func (f *fake) ResolveDuplicates(_ context.Context, in activities.ResolveInput) (activities.Resolved, error) {
	call := fmt.Sprintf("ResolveDuplicates %d", in.Round)
	if in.Last {
		call += " last"
	}
	f.note(call)
	return f.resolve(in)
}

// PlanUpdates plans the batches that have duplicates of round 0.
func (f *fake) PlanUpdates(_ context.Context, in activities.UpdatePlanInput) (activities.UpdatePlan, error) {
	f.note("PlanUpdates")
	f.mu.Lock()
	defer f.mu.Unlock()
	p := activities.UpdatePlan{After: in.After, Total: f.batches, Round: len(f.rounds)}
	for p.After < p.Total && len(p.Batches) < in.Limit {
		p.After++
		if u, ok := f.updated[p.After]; ok {
			p.Settled.Add(u)
		} else if f.settled[0][p.After].Duplicate > 0 {
			p.Batches = append(p.Batches, activities.PlannedBatch{p.After, 2, 3})
		}
	}
	return p, nil
}

func (f *fake) UpdateBatch(_ context.Context, in activities.UpdateInput) (ledger.Updates, error) {
	attempt := f.note(fmt.Sprintf("UpdateBatch %d/%d", in.Round, in.Batch))
	f.mu.Lock()
	f.inFlight++
	f.most = max(f.most, f.inFlight)
	f.mu.Unlock()
	u, err := f.update(in, attempt)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inFlight--
	if err == nil {
		f.updated[in.Batch] = u
	}
	return u, err
}

func (f *fake) CountEntities(context.Context, activities.Run) (*int64, error) {
	f.note("CountEntities")
	if f.entities != nil {
		return f.entities()
	}
	n := int64(77)
	return &n, nil
}

func (f *fake) WriteArtifacts(_ context.Context, in activities.ArtifactsInput) (migration.Summary, error) {
	f.note("WriteArtifacts")
	f.mu.Lock()
	f.artifact = in
	f.mu.Unlock()
	if f.finish != nil {
		if err := f.finish(in); err != nil {
			return migration.Summary{}, err
		}
	}
	records := f.summary
	if records.Total == 0 {
		records = migration.Counts{Total: f.batches * recordsABatch, Created: f.batches * recordsABatch}
	}
	return migration.Summary{Records: records, EntitiesAfter: in.EntitiesAfter}, nil
}

func (f *fake) Notify(_ context.Context, in activities.NotifyInput) (activities.Notified, error) {
	attempt := f.note("Notify " + in.Notice.ID)
	if f.deliver != nil {
		if err := f.deliver(in, attempt); err != nil {
			return activities.Notified{}, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.notices = append(f.notices, in.Notice)
	slices.SortStableFunc(f.notices, func(a, b notify.Notice) int {
		return slices.Index(f.telling, a.ID) - slices.Index(f.telling, b.ID)
	})
	return activities.Notified{Delivered: true}, nil
}

// environment runs workflows with a fake, and listens to what they ask for.
type environment struct {
	*testsuite.TestWorkflowEnvironment
	fake *fake
	run  string // the run id; "" is one that all tests share

	mu     sync.Mutex
	asked  []asked         // activities
	timers []time.Duration // in order
	slept  []string        // summaries of the timers
	child  []string        // workflow ids

	attributes map[string]any // search attributes, as they were set last

	children []workflow.ChildWorkflowOptions

	ending sync.Once
	ends   chan struct{}
}

// endsNow is closed once the workflow has seen that it is cancelled, or that an
// activity has failed. This environment tells it some time after it happened,
// while activities that take no time come and go.
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

func newEnvironment(t *testing.T, f *fake) *environment {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet{})
	e := &environment{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), fake: f}
	e.SetTestTimeout(30 * time.Second)
	e.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{&listener{e: e}}})
	e.RegisterWorkflow(MigrationWorkflow)
	e.RegisterWorkflow(LoadWorkflow)
	e.RegisterWorkflow(RetryWorkflow)
	e.RegisterWorkflow(UpdateWorkflow)
	e.RegisterWorkflow(NotifyWorkflow)
	f.held = make(chan struct{})
	for _, activity := range []any{
		f.InspectSource, f.CheckTarget, f.KeepFailure, f.CountReasons, f.WriteFailures, f.Steer, f.PlanBatches, f.LoadBatch, f.HoldLoad, f.SettleBatch,
		f.WriteRetryFile, f.ResolveDuplicates, f.PlanUpdates, f.UpdateBatch, f.CountEntities, f.WriteArtifacts, f.Notify,
		f.VerifyBatch, f.Forecast,
	} {
		e.RegisterActivity(activity)
	}
	return e
}

// migrate runs a MigrationWorkflow to its end.
func (e *environment) migrate(change func(*migration.Spec)) (result Result, err error) {
	e.fake.t.Helper()
	spec := typicalSpec()
	if change != nil {
		change(&spec)
	}
	e.ExecuteWorkflow(MigrationWorkflow, spec)
	if !e.IsWorkflowCompleted() {
		e.fake.t.Fatalf("the workflow has not ended; so far: %s", e.fake.story())
	}
	if err := e.GetWorkflowError(); err != nil {
		return result, err
	}
	return result, e.GetWorkflowResult(&result)
}

// typicalSpec has paths as people have them.
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

// listener hears what workflows ask for.
type listener struct {
	interceptor.WorkerInterceptorBase
	e *environment
}

func (l *listener) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	in := &inbound{e: l.e}
	in.Next = next
	return in
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
	o.e.asked = append(o.e.asked, asked{activity, workflow.GetActivityOptions(ctx).Summary, args[0], workflow.GetActivityOptions(ctx)})
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
			o.e.fake.telling = append(o.e.fake.telling, in.Notice.ID)
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

// GetInfo adds what a service tells and this environment does not.
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

type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}
