package workflows

import (
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
)

// NoticeQueue is the task queue of notices where each migration has a queue of
// its own, which no worker polls once it has ended: any process of the same
// state folder that has a receiver for notices delivers what is left.
const NoticeQueue = "durable-dataload-notices"

// NotifyWorkflow delivers a notice. The migration neither waits for it nor fails
// with it, and may end before it. It fails when the receiver has not accepted the
// notice for a day, or has rejected it for good.
func NotifyWorkflow(ctx workflow.Context, in activities.NotifyInput) (activities.Notified, error) {
	workflow.SetCurrentDetails(ctx, in.Notice.Text)
	var result activities.Notified
	err := execute(forDelivery(ctx), "tell "+string(in.Notice.Type), a.Notify, in, &result)
	return result, err
}

// startNotice starts the delivery of a notice, and waits only for that start.
// number tells it from others of its type in this run of the migration: it is
// delivered once, whichever workflow starts it, also after a reset. An error does
// not fail the migration.
func startNotice(ctx workflow.Context, run activities.Run, n notify.Notice, number int64) {
	info := workflow.GetInfo(ctx)
	ofMigration, _, _ := strings.Cut(info.WorkflowExecution.ID, "/")
	id := NoticeID(ofMigration, run.ID, n.Type, number)
	n.ID = notify.ID(run.ID, id)
	if n.Timestamp.IsZero() {
		n.Timestamp = workflow.Now(ctx)
	}
	if n.Command == "" && n.Type != notify.Ended {
		n.Command = notify.Command("status", ofMigration)
	}
	options := workflow.ChildWorkflowOptions{
		WorkflowID:            id,
		StaticSummary:         "tell " + string(n.Type),
		WorkflowTaskTimeout:   TaskTimeout,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
	}
	if info.TaskQueueName == ofMigration {
		options.TaskQueue = NoticeQueue
	}
	// A notice may be about the cancellation of this workflow.
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, options), NotifyWorkflow, activities.NotifyInput{Run: run, Notice: n})
	if err := child.GetChildWorkflowExecution().Get(ctx, nil); err != nil && !temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		workflow.GetLogger(ctx).Warn("cannot start the delivery of a notice", "notice", string(n.Type), "error", err)
	}
}

// NoticeID is the workflow id of a notice of the run with this whole id.
func NoticeID(ofMigration, run string, kind notify.Type, number int64) string {
	return fmt.Sprintf("%s/notify-%s-%s-%d", ofMigration, strings.TrimPrefix(string(kind), "migration."), run, number)
}

// notify starts a notice about the migration itself. The notices of each type are
// numbered.
func (m *migrationRun) notify(ctx workflow.Context, n notify.Notice) {
	if !m.spec.Notify {
		return
	}
	n.About(m.spec)
	n.Phase = string(m.progress.Phase)
	if m.notices == nil {
		m.notices = map[notify.Type]int64{}
	}
	m.notices[n.Type]++
	startNotice(ctx, m.ref, n, m.notices[n.Type])
}

func (m *migrationRun) notifyStart(ctx workflow.Context) {
	m.notify(ctx, notify.Notice{
		Type: notify.Started,
		Text: fmt.Sprintf("The migration of %s into %s (%s) has started: %s.", m.fileName(), m.spec.Target.Host(), m.spec.Target.EntityType, figures.Count(m.progress.Records, "record")),
	})
}

// notifyEnd says how the migration ended: the exit code of the starter, and a text.
func (m *migrationRun) notifyEnd(ctx workflow.Context, result Result, err error) {
	n := notify.Notice{Type: notify.Ended}
	text, code := "", migration.ExitCannotRun
	switch {
	case temporal.IsCanceledError(err):
		text, code = "It was stopped before anything was sent. Rerun the command to begin it.", migration.ExitStopped
	case err != nil:
		text = "It could not run: " + Cause(err)
	default:
		c := result.Summary.Records
		n.Records, code = &c, c.ExitCode()
		text = artifacts.Advice(result.Summary)
		if result.Halted != "" {
			text = "It stopped: " + result.Halted + ". " + text
		}
	}
	n.Text = fmt.Sprintf("The migration of %s into %s (%s) has ended. %s", m.fileName(), m.spec.Target.Host(), m.spec.Target.EntityType, text)
	n.ExitCode = &code
	m.notify(ctx, n)
}

// breakerNotice notifies that the breaker has opened, and that it has closed, once
// each however many batches and workflows see it. It is carried over when a
// workflow continues as new.
type breakerNotice struct {
	// Since is when the breaker opened; zero while it is closed. It is the same in
	// every process, so it numbers the notices.
	Since time.Time `json:"since,omitzero"`
	// Probe is when its next probe is made: before that it does not close.
	Probe time.Time `json:"probe,omitzero"`
}

// saw compares the state of the gate when a batch was done with what was notified;
// nil is the state that the options ask for. Call it only where notices are wanted.
func (b *breakerNotice) saw(ctx workflow.Context, run activities.Run, phase Phase, s *limiter.Gate) {
	switch open := s != nil && s.Breaker; {
	case open:
		opened := b.Since.IsZero() || s.Since.After(b.Since)
		if opened {
			b.Since = s.Since
		}
		b.Probe = s.Probe
		if opened {
			startNotice(ctx, run, notify.Notice{Type: notify.BreakerOpened, Phase: string(phase), Timestamp: s.Since,
				Text: "The target does not answer as it should, so only probes are sent: " + s.Closed + ". The migration resumes by itself when the target has recovered."}, s.Since.Unix())
		}
	case b.Since.IsZero():
	case workflow.Now(ctx).Before(b.Probe):
		// A batch that was done before the breaker opened, and reported after.
	default:
		since := b.Since
		*b = breakerNotice{}
		startNotice(ctx, run, notify.Notice{Type: notify.BreakerClosed, Phase: string(phase),
			Text: "The target has recovered: the migration resumes."}, since.Unix())
	}
}
