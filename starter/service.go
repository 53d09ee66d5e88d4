package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"filippo.io/age"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"durable-dataload/activities"
	"durable-dataload/internal/config"
	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/engine"
	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/machine"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
	"durable-dataload/internal/telemetry"
	"durable-dataload/internal/terminal"
	"durable-dataload/workflows"
)

// searchAttributes are those that a migration is found by in the Web UI.
var searchAttributes = map[string]enumspb.IndexedValueType{
	workflows.AttributeFile.GetName():    enumspb.INDEXED_VALUE_TYPE_KEYWORD,
	workflows.AttributePhase.GetName():   enumspb.INDEXED_VALUE_TYPE_KEYWORD,
	workflows.AttributeTarget.GetName():  enumspb.INDEXED_VALUE_TYPE_KEYWORD,
	workflows.AttributeFailed.GetName():  enumspb.INDEXED_VALUE_TYPE_INT,
	workflows.AttributeUnknown.GetName(): enumspb.INDEXED_VALUE_TYPE_INT,
}

// service is the Temporal service that this process uses, and what it runs
// itself of it.
type service struct {
	client     client.Client
	taskQueue  string
	telemetry  *telemetry.Telemetry // nil: nobody looks
	attributes bool                 // the search attributes are known
	// owner says that the migration depends on this process: it runs the
	// engine, or a worker on somebody's service.
	owner bool
	// places are the work places of this process; see home.places.
	places []string

	engineDir  string
	address    engine.Address  // of the engine; zero with a service of the user's own
	workers    workers         // of the task queue, where the engine is embedded
	mark       *durablefs.Lock // of this process among them
	notes      []string        // for the person, about the service
	engine     *engine.Engine
	worker     worker.Worker
	notices    worker.Worker // delivers notices, where the engine is embedded
	activities *activities.Activities
}

// errEngineGone says that the process whose engine this one used has ended.
var errEngineGone = errors.New("the process that ran the engine has ended")

// openService uses the Temporal service that the options name, or embeds one.
func openService(ctx context.Context, o runOptions, p process, spec migration.Spec) (*service, error) {
	_, given, err := o.temporal.ClientOptions()
	if err != nil {
		return nil, err
	}
	if !given || o.withWorker {
		if err := o.credentials.Check(); err != nil {
			return nil, err
		}
		if _, err := o.credentials.Connect(spec, nil); err != nil {
			return nil, err
		}
	} else if o.sandbox {
		return nil, usage("--sandbox needs a worker that knows its credentials; give --with-worker as well")
	}
	return connect(ctx, o.home, o.serviceOptions, p)
}

// connect is openService for who needs no target.
func connect(ctx context.Context, h home, o serviceOptions, p process) (*service, error) {
	clientOptions, given, err := o.temporal.ClientOptions()
	if err != nil {
		return nil, err
	}
	if !given {
		return openEmbedded(ctx, h, p)
	}
	s := &service{taskQueue: o.taskQueue, owner: o.withWorker, places: h.places(), telemetry: p.telemetry}
	if err := s.dial(ctx, clientOptions, p.log); err != nil {
		return nil, err
	}
	s.attributes = s.registerAttributes(ctx, clientOptions.Namespace)
	return s, nil
}

// engineStart is how long an engine may take until it answers.
const engineStart = 15 * time.Second

// openEmbedded starts the engine of the state folder, or uses the one that
// another starter runs there.
func openEmbedded(ctx context.Context, h home, p process) (*service, error) {
	s := &service{engineDir: filepath.Join(h.stateDir, "engine"), attributes: true, places: h.places(), telemetry: p.telemetry}
	ctx, cancel := context.WithTimeout(ctx, engineStart)
	defer cancel()
	// Else the engine exports spans of its own, over gRPC alone, and does not
	// start where another protocol is asked for. What this process exports was
	// decided before.
	if err := os.Unsetenv("OTEL_TRACES_EXPORTER"); err != nil {
		return nil, err
	}
	if err := machine.Claim(h.stateDir); err != nil {
		return nil, err
	}
	e, address, err := engineOf(ctx, s.engineDir)
	if err != nil {
		return nil, err
	}
	if e != nil {
		s.engine, s.owner = e, true
		spareCollector()
		if left := e.Left(); len(left) > 0 {
			s.notes = append(s.notes, fmt.Sprintf("The embedded engine is of another version than the one before, and begins a database of its own: %s stays as it is, for the program of that version. What a migration has done stands in its ledger: the command of one that was cut off goes on with it.", strings.Join(left, ", ")))
		}
	}
	s.address = address
	clientOptions, err := address.ClientOptions()
	if err == nil {
		err = s.dial(ctx, clientOptions, p.log)
	}
	if err != nil {
		s.close()
		if e == nil && engine.WaitUntilFree(s.engineDir, engineStart) {
			err = errEngineGone
		}
		return nil, err
	}
	return s, nil
}

// engineOf starts the engine of a folder, or gives nil and the address of the
// one that another process runs there. One that comes to its end just now is
// waited for: the same command may follow at once.
func engineOf(ctx context.Context, dir string) (*engine.Engine, engine.Address, error) {
	for {
		e, err := engine.Start(ctx, dir, searchAttributes)
		if err == nil {
			return e, e.Address(), nil
		}
		if !errors.Is(err, engine.ErrOwned) {
			return nil, engine.Address{}, err
		}
		address, err := runningEngine(ctx, dir)
		if err == nil {
			return nil, address, nil
		}
		if !errors.Is(err, errNothingRuns) || ctx.Err() != nil {
			return nil, address, fmt.Errorf("the state folder %s belongs to another process: %w; end that one, or give another --state-dir", filepath.Dir(dir), err)
		}
	}
}

// dial connects to the service.
func (s *service) dial(ctx context.Context, o client.Options, logger *slog.Logger) (err error) {
	o.Identity = config.WorkerIdentity()
	if s.telemetry != nil {
		if err := s.telemetry.Instrument(&o); err != nil {
			return err
		}
	}
	s.client, err = config.Dial(ctx, o, logger)
	return err
}

// spareCollector gives the memory that an engine may have to the collector of
// garbage, which took a tenth of the time. Who has set GOGC or GOMEMLIMIT knows
// better.
func spareCollector() {
	const limit = 350 << 20
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(300)
		debug.SetMemoryLimit(limit)
	}
}

// registerAttributes tells the service our search attributes, where it lets us.
func (s *service) registerAttributes(ctx context.Context, namespace string) bool {
	if namespace == "" {
		namespace = client.DefaultNamespace
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	known := func() bool {
		list, err := s.client.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
		if err != nil {
			return false
		}
		for name, kind := range searchAttributes {
			if list.GetCustomAttributes()[name] != kind {
				return false
			}
		}
		return true
	}
	if known() {
		return true
	}
	_, err := s.client.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: namespace, SearchAttributes: searchAttributes,
	})
	return err == nil && known()
}

// execution is what the service says of the workflow with an id.
type execution struct {
	running bool
	ending  bool // a running one has been asked to stop
	queue   string
}

func (s *service) execution(ctx context.Context, id string) (execution, error) {
	d, err := s.client.DescribeWorkflowExecution(ctx, id, "")
	var notFound *serviceerror.NotFound
	if errors.As(err, &notFound) {
		return execution{}, nil
	}
	if err != nil {
		return execution{}, fmt.Errorf("the Temporal service does not answer: %w", err)
	}
	running := d.GetWorkflowExecutionInfo().GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	return execution{
		running: running, ending: running && d.GetWorkflowExtendedInfo().GetCancelRequested(),
		queue: d.GetExecutionConfig().GetTaskQueue().GetName(),
	}, nil
}

// refuseServed refuses a running workflow of a schedule where this process runs
// the engine: no worker polls its task queue. The worker of starter serve has the
// credentials of its schedules, and this process does not.
func (s *service) refuseServed(id string, e execution) error {
	if s.engine == nil || e.queue == s.taskQueue {
		return nil
	}
	return fmt.Errorf("the migration %s was started by a schedule, and resumes with starter serve, which does not run on this state folder; start that", id)
}

// link is a page of the Web UI, for a browser that has not been there, or "" where
// the Web UI is not ours. It works once.
func (s *service) link(page string) string {
	if s.address.UI == "" {
		return ""
	}
	return s.address.Link(page)
}

// workflowPage is the page of a run of a workflow in the Web UI.
func workflowPage(id, run string) string {
	return "/namespaces/" + engine.Namespace + "/workflows/" + url.PathEscape(id) + "/" + run
}

// introduce says where a workflow can be seen, and whether anybody works on it.
func (s *service) introduce(ctx context.Context, run client.WorkflowRun, screen *terminal.Screen) {
	if link := s.link(workflowPage(run.GetID(), run.GetRunID())); link != "" {
		screen.Say("Web UI:  " + link)
	} else {
		screen.Say("Workflow: " + run.GetID())
	}
	if s.worker == nil && s.polledBy(ctx, s.taskQueue) == "" {
		screen.Say(fmt.Sprintf("No worker polls the task queue %s: the migration waits until one does. Start one with the command worker.", s.taskQueue))
	}
}

// longestPoll is how long ago a worker that lives can have begun its last poll of
// a task queue: a poll lasts a minute. The service remembers polls for longer.
const longestPoll = 70 * time.Second

// polledBy names a worker that polls a task queue, for people; "" if none does,
// or if the service does not tell. This process does not count.
//
// For an embedded engine the answer is exact. Another service is asked for the
// polls: a worker that was killed counts until its last poll is longestPoll ago.
func (s *service) polledBy(ctx context.Context, taskQueue string) string {
	if s.engineDir != "" {
		if pid, err := workersOf(filepath.Dir(s.engineDir), taskQueue).other(s.mark, false); err == nil && pid != 0 {
			return fmt.Sprintf("process %d", pid)
		}
		return ""
	}
	// Polls for activities are no sign: a worker that is busy makes none.
	d, err := s.client.DescribeTaskQueue(ctx, taskQueue, enumspb.TASK_QUEUE_TYPE_WORKFLOW)
	if err != nil {
		return ""
	}
	for _, p := range d.GetPollers() {
		if p.GetIdentity() != config.WorkerIdentity() && time.Since(p.GetLastAccessTime().AsTime()) < longestPoll {
			return "worker " + p.GetIdentity()
		}
	}
	return ""
}

// silence says why a workflow did not answer a query, for people, with the task
// queue if no worker polls that.
func (s *service) silence(ctx context.Context, id string, err error) (text, unpolled string) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	d, describeErr := s.client.DescribeWorkflowExecution(ctx, id, "")
	if describeErr != nil {
		return "the Temporal service does not answer: " + describeErr.Error(), ""
	}
	queue := d.GetExecutionConfig().GetTaskQueue().GetName()
	by := s.polledBy(ctx, queue)
	if s.worker != nil && queue == s.taskQueue {
		by = "this process"
	}
	// The service has seen no poll for 20 seconds.
	var noPoll *serviceerror.FailedPrecondition
	if by == "" || s.engineDir == "" && errors.As(err, &noPoll) {
		return "no worker polls the task queue " + queue + "; it waits until one does", queue
	}
	return fmt.Sprintf("no worker of the task queue %s has answered for %s (%s polls it)", queue, lookTimeout, by), ""
}

// work runs a worker in this process, for one migration where the engine is
// embedded: the credentials of this command are for that one only. identities
// are for rollbacks, notices may be nil.
func (s *service) work(spec migration.Spec, credentials config.Credentials, identities []age.Identity, notices *notify.Sender, logger *slog.Logger) error {
	if s.taskQueue == "" {
		s.taskQueue = spec.ID
	} else if !s.owner {
		return nil // separate workers do it
	}
	return s.startWorker(credentials, identities, notices, spec.Timeout, logger)
}

// startWorker runs a worker in this process, whose calls take up to longest.
func (s *service) startWorker(credentials config.Credentials, identities []age.Identity, notices *notify.Sender, longest time.Duration, logger *slog.Logger) error {
	s.activities = activities.New(s.places, func(spec migration.Spec, with func(*identitycloud.Config)) (activities.Target, error) {
		return credentials.Connect(spec, with)
	}, logger)
	s.activities.OpenUndo(identities)
	s.activities.NotifyWith(notices)
	if notices != nil && s.engineDir != "" {
		s.notices = workflows.NewNoticeWorker(s.client, s.activities)
		if err := s.notices.Start(); err != nil {
			return err
		}
	}
	if s.telemetry != nil {
		s.activities.Observe(s.telemetry)
		s.telemetry.Watch(s.activities.Standings)
	}
	if s.engineDir != "" {
		var err error
		s.workers = workersOf(filepath.Dir(s.engineDir), s.taskQueue)
		if s.mark, err = s.workers.enter(); err != nil {
			return fmt.Errorf("cannot use the state folder: %w", err)
		}
	}
	s.worker = workflows.NewWorker(s.client, s.taskQueue, s.activities, longest, s.engine != nil)
	if err := s.worker.Start(); err != nil {
		return err
	}
	if s.telemetry != nil {
		s.telemetry.Working(s.client, s.taskQueue, config.WorkerIdentity())
	}
	return nil
}

// worksAlone says that nobody else brings a workflow of this task queue to its
// end.
func (s *service) worksAlone(ctx context.Context) bool {
	return s.owner || s.worker != nil && s.polledBy(ctx, s.taskQueue) == ""
}

// lost gives errEngineGone in the place of an error of the service if the process
// that ran the engine has ended, or is about to.
func (s *service) lost(err error) error {
	var unavailable *serviceerror.Unavailable
	if s == nil || s.engine != nil || s.engineDir == "" || !errors.As(err, &unavailable) || !engine.WaitUntilFree(s.engineDir, engineStart) {
		return err
	}
	return errEngineGone
}

// gone gives a channel that is closed when the engine of another process, that
// this one uses, is gone.
func (s *service) gone(ctx context.Context) <-chan struct{} {
	gone := make(chan struct{})
	if s.engine != nil || s.engineDir == "" {
		return gone
	}
	go func() {
		for ctx.Err() == nil {
			if engine.IsFree(s.engineDir) {
				close(gone)
				return
			}
			time.Sleep(500 * time.Millisecond)
		}
	}()
	return gone
}

// close stops what this process runs. Calls in flight come to their end.
func (s *service) close() {
	unmark(s.mark)
	if s.notices != nil {
		s.notices.Stop()
	}
	if s.worker != nil {
		if s.telemetry != nil {
			s.telemetry.Draining()
		}
		s.worker.Stop()
		s.activities.Close()
	}
	if s.client != nil {
		s.client.Close()
	}
	if s.engine != nil {
		s.engine.Stop()
	}
}

// openLog is where this process writes what nobody needs to see on a terminal.
func openLog(stateDir string, o telemetry.Options) (*slog.Logger, func(), error) {
	dir := filepath.Join(stateDir, "logs")
	if err := durablefs.MkdirAll(dir); err != nil {
		return nil, nil, fmt.Errorf("cannot use the state folder: %w; give another --state-dir", err)
	}
	f, err := durablefs.OpenLog(filepath.Join(dir, "starter.log"))
	if err != nil {
		return nil, nil, fmt.Errorf("cannot use the state folder: %w; give another --state-dir", err)
	}
	logger, err := o.Logger(f)
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return logger, func() { _ = f.Close() }, nil
}
