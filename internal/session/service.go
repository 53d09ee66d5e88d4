package session

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"durable-dataload/activities"
	"durable-dataload/internal/config"
	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/engine"
	"durable-dataload/internal/migration"
	"durable-dataload/workflows"
)

// Options are what a session needs to know of the command line.
type Options struct {
	Temporal      config.Temporal
	TaskQueue     string   // of a Temporal service of the user's own
	WithWorker    bool     // this process runs a worker for that as well
	StateDir      string   // has the embedded engine
	UIPort        int      // of the embedded Web UI; 0 is any
	WorkLocations []string // whose migrations the worker of this process takes
}

// clientOptions are those of a client of the Temporal service of the user's own that the options name, if they name one.
func (o Options) clientOptions() (options client.Options, given bool, err error) {
	options, given, err = o.Temporal.ClientOptions()
	if err == nil && !given && o.Temporal != (config.Temporal{}) {
		err = errors.New("there are options of a Temporal service (as --namespace), and no address of one; expected --address, TEMPORAL_ADDRESS, or a profile with an address; the embedded service takes none of these options")
	}
	return options, given, err
}

// IsRemote reports whether the options name a Temporal service of the user's own.
func (o Options) IsRemote() (bool, error) {
	_, given, err := o.clientOptions()
	return given, err
}

// Service is the Temporal service that this process uses, and the parts of it that
// this process runs itself.
type Service struct {
	Client     client.Client
	TaskQueue  string   // "": each workflow has its own, see Job
	Attributes bool     // the service has the search attributes of a migration
	Notes      []string // for the person, about the service

	process       Process
	workLocations []string
	// owner says that the workflows depend on this process: it runs the engine, or
	// was asked for a worker on a service of the user's own.
	owner bool

	engineDir  string          // "" with a service of the user's own
	address    engine.Address  // of the engine
	workers    workers         // of the task queue, where the engine is embedded
	mark       *durablefs.Lock // of this process among them
	engine     *engine.Engine
	worker     worker.Worker
	notices    worker.Worker   // delivers notices, where the engine is embedded
	limiters   worker.Worker   // runs the limiters of targets
	owned      migration.Owner // of its work URLs
	activities *activities.Activities
}

// ErrEngineGone says that the process whose engine this one used has ended.
var ErrEngineGone = errors.New("the process that ran the engine has ended")

// AnswerTimeout is how long the service, and through it a worker, may take to
// answer.
const AnswerTimeout = 5 * time.Second

// Open connects to the service that the options name, or embeds one.
func Open(ctx context.Context, p Process, o Options) (*Service, error) {
	clientOptions, given, err := o.clientOptions()
	if err != nil {
		return nil, err
	}
	if !given {
		return openEmbedded(ctx, p, o)
	}
	s := &Service{TaskQueue: o.TaskQueue, owner: o.WithWorker, workLocations: o.WorkLocations, process: p}
	if err := s.dial(ctx, clientOptions); err != nil {
		return nil, err
	}
	s.Attributes = s.registerAttributes(ctx, clientOptions.Namespace)
	err = s.own(ctx, clientOptions)
	if err == nil && s.owner {
		err = s.runLimiters(clientOptions.Namespace)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Find connects to the service that the options name, or to the engine that another
// process runs on the state folder. It starts nothing: where nothing runs it gives
// nil.
func Find(ctx context.Context, p Process, o Options) (*Service, error) {
	clientOptions, given, err := o.clientOptions()
	if err != nil {
		return nil, err
	}
	s := &Service{process: p}
	if !given {
		s.engineDir = engineDir(o.StateDir)
		s.address, err = runningEngine(ctx, s.engineDir)
		if errors.Is(err, errNothingRuns) {
			return nil, nil
		}
		if err == nil {
			clientOptions, err = s.address.ClientOptions()
		}
		if err != nil {
			return nil, err
		}
	}
	if s.Client, err = config.Dial(ctx, clientOptions, p.Log); err != nil {
		return nil, err
	}
	return s, nil
}

func engineDir(stateDir string) string { return filepath.Join(stateDir, "engine") }

// dial connects to the service, as a worker and with telemetry.
func (s *Service) dial(ctx context.Context, o client.Options) (err error) {
	o.Identity = config.WorkerIdentity()
	if s.process.Telemetry != nil {
		if err := s.process.Telemetry.Instrument(&o); err != nil {
			return err
		}
	}
	s.Client, err = config.Dial(ctx, o, s.process.Log)
	return err
}

// searchAttributes are those by which a migration is found in the Web UI.
var searchAttributes = map[string]enumspb.IndexedValueType{
	workflows.AttributeFile.GetName():    enumspb.INDEXED_VALUE_TYPE_KEYWORD,
	workflows.AttributePhase.GetName():   enumspb.INDEXED_VALUE_TYPE_KEYWORD,
	workflows.AttributeTarget.GetName():  enumspb.INDEXED_VALUE_TYPE_KEYWORD,
	workflows.AttributeFailed.GetName():  enumspb.INDEXED_VALUE_TYPE_INT,
	workflows.AttributeUnknown.GetName(): enumspb.INDEXED_VALUE_TYPE_INT,
}

// registerAttributes adds our search attributes to the service, where it allows
// that, and says whether it has them.
func (s *Service) registerAttributes(ctx context.Context, namespace string) bool {
	if namespace == "" {
		namespace = client.DefaultNamespace
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	known := func() bool {
		list, err := s.Client.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
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
	_, err := s.Client.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: namespace, SearchAttributes: searchAttributes,
	})
	return err == nil && known()
}

// IsEmbedded reports whether the service is an engine on a state folder, of this
// process or of another one.
func (s *Service) IsEmbedded() bool { return s.engineDir != "" }

// IsOfService reports whether an error has to do with the service, and not with the one
// workflow that was asked for.
func IsOfService(err error) bool {
	var unavailable *serviceerror.Unavailable
	var late *serviceerror.DeadlineExceeded
	return errors.As(err, &unavailable) || errors.As(err, &late) || errors.Is(err, context.DeadlineExceeded)
}

// Execution is what the service tells of the workflow with an id.
type Execution struct {
	Running bool
	Ending  bool // it was asked to stop, and runs
	Queue   string
}

// Execution is zero where the service has no such workflow.
func (s *Service) Execution(ctx context.Context, id string) (Execution, error) {
	d, err := s.Client.DescribeWorkflowExecution(ctx, id, "")
	var notFound *serviceerror.NotFound
	if errors.As(err, &notFound) {
		return Execution{}, nil
	}
	if err != nil {
		return Execution{}, fmt.Errorf("the Temporal service does not answer: %w", err)
	}
	running := d.GetWorkflowExecutionInfo().GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	return Execution{
		Running: running, Ending: running && d.GetWorkflowExtendedInfo().GetCancelRequested(),
		Queue: d.GetExecutionConfig().GetTaskQueue().GetName(),
	}, nil
}

// refuseServed refuses a running workflow of a schedule where this process runs the
// engine: no worker polls its task queue. The worker of starter serve has the
// credentials of its schedules, and this process does not.
func (s *Service) refuseServed(id string, e Execution) error {
	if s.engine == nil || e.Queue == s.TaskQueue {
		return nil
	}
	return fmt.Errorf("the migration %s was started by a schedule, and resumes with starter serve, which does not run on this state folder; start that", id)
}

// Link is a page of the Web UI, for a browser that has not been there, or "" where
// the Web UI is not ours. It works once.
func (s *Service) Link(page string) string {
	if s.address.UI == "" {
		return ""
	}
	return s.address.Link(page)
}

// LinkToRun is Link to the page of a run of a workflow.
func (s *Service) LinkToRun(id, run string) string {
	return s.Link(engine.WorkflowPage(id, run))
}

// introduce says where a workflow can be seen, and whether a worker polls for it.
func (s *Service) introduce(ctx context.Context, run client.WorkflowRun) {
	if link := s.LinkToRun(run.GetID(), run.GetRunID()); link != "" {
		s.process.Screen.Say("Web UI:  " + link)
	} else {
		s.process.Screen.Say("Workflow: " + run.GetID())
	}
	if s.worker == nil && s.PolledBy(ctx, s.TaskQueue) == "" {
		s.process.Screen.Say(fmt.Sprintf("No worker polls the task queue %s: the migration waits until one does. Start one with the command worker.", s.TaskQueue))
	}
}

// longestPoll is the greatest age of the last poll of a worker that lives: a poll
// lasts a minute. The service remembers polls for longer.
const longestPoll = 70 * time.Second

// PolledBy names a worker other than this process that polls a task queue, for
// people; "" if there is none, or the service does not tell.
//
// For an embedded engine the answer is exact. Another service is asked for the
// polls: a worker that was killed counts until its last poll is longestPoll ago.
func (s *Service) PolledBy(ctx context.Context, taskQueue string) string {
	if s.IsEmbedded() {
		if pid, err := workersOf(filepath.Dir(s.engineDir), taskQueue).other(s.mark, false); err == nil && pid != 0 {
			return fmt.Sprintf("process %d", pid)
		}
		return ""
	}
	// A busy worker does not poll for activities, so those polls are no sign.
	d, err := s.Client.DescribeTaskQueue(ctx, taskQueue, enumspb.TASK_QUEUE_TYPE_WORKFLOW)
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

// Silence says why a workflow did not answer a query, for people, and the task queue
// if no worker polls that.
func (s *Service) Silence(ctx context.Context, id string, err error) (text, unpolled string) {
	ctx, cancel := context.WithTimeout(ctx, AnswerTimeout)
	defer cancel()
	e, describeErr := s.Execution(ctx, id)
	if describeErr != nil {
		return describeErr.Error(), ""
	}
	by := s.PolledBy(ctx, e.Queue)
	if s.worker != nil && e.Queue == s.TaskQueue {
		by = "this process"
	}
	// The service has seen no poll for 20 seconds.
	var noPoll *serviceerror.FailedPrecondition
	if by == "" || !s.IsEmbedded() && errors.As(err, &noPoll) {
		return "no worker polls the task queue " + e.Queue + "; it waits until one does", e.Queue
	}
	return fmt.Sprintf("no worker of the task queue %s has answered for %s (%s polls it)", e.Queue, AnswerTimeout, by), ""
}

// worksAlone reports whether no other process works on the workflows of the task queue.
func (s *Service) worksAlone(ctx context.Context) bool {
	return s.owner || s.worker != nil && s.PolledBy(ctx, s.TaskQueue) == ""
}

// Close stops what this process runs. Calls in flight end first.
func (s *Service) Close() {
	unmark(s.mark)
	if s.notices != nil {
		s.notices.Stop()
	}
	if s.worker != nil {
		if s.process.Telemetry != nil {
			s.process.Telemetry.Draining()
		}
		s.worker.Stop()
		s.activities.Close()
	}
	if s.limiters != nil { // last, since the activities give their leases back
		s.limiters.Stop()
	}
	if s.Client != nil {
		s.Client.Close()
	}
	s.disown()
	if s.engine != nil {
		s.engine.Stop()
	}
}
