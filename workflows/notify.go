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
	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
	"durable-dataload/internal/pace"
)

// NoticeQueue is the task queue of notices where each migration has a queue of
// its own, which nobody looks at once it has ended: any process of the same
// state folder that has somebody to notify delivers what is left.
const NoticeQueue = "durable-dataload-notices"

// NotifyWorkflow delivers a notice. It is apart from the migration, which
// neither waits for it nor fails by it, and it may outlive it. It fails where
// the receiver did not take the notice for a day, or never will.
func NotifyWorkflow(ctx workflow.Context, in activities.NotifyInput) (activities.Notified, error) {
	workflow.SetCurrentDetails(ctx, in.Notice.Text)
	var result activities.Notified
	err := execute(forDelivery(ctx), "tell "+string(in.Notice.Type), a.Notify, in, &result)
	return result, err
}

// tell has a notice delivered, and waits only until that is begun. number tells
// it from others of its type in this run of the migration: a notice that was
// told before is not told again, whichever workflow does it, also after a
// reset. What goes wrong is no trouble of the migration's.
func tell(ctx workflow.Context, run activities.Run, n notify.Notice, number int64) {
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
	// A migration that is stopped has something to tell.
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, options), NotifyWorkflow, activities.NotifyInput{Run: run, Notice: n})
	if err := child.GetChildWorkflowExecution().Get(ctx, nil); err != nil && !temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		workflow.GetLogger(ctx).Warn("cannot notify anybody", "notice", string(n.Type), "error", err)
	}
}

// NoticeID is the workflow id of a notice of the run with this whole id.
func NoticeID(ofMigration, run string, kind notify.Type, number int64) string {
	return fmt.Sprintf("%s/notify-%s-%s-%d", ofMigration, strings.TrimPrefix(string(kind), "migration."), run, number)
}

// tell is for what happens to the migration itself. Each type of notice counts
// for itself.
func (m *migrationRun) tell(ctx workflow.Context, n notify.Notice) {
	if !m.spec.Notify {
		return
	}
	n.About(m.spec)
	n.Phase = string(m.progress.Phase)
	if m.told == nil {
		m.told = map[notify.Type]int64{}
	}
	m.told[n.Type]++
	tell(ctx, m.ref, n, m.told[n.Type])
}

func (m *migrationRun) tellStart(ctx workflow.Context) {
	m.tell(ctx, notify.Notice{
		Type: notify.Started,
		Text: fmt.Sprintf("The migration of %s into %s (%s) has started: %s.", m.fileName(), m.spec.Target.Host(), m.spec.Target.EntityType, figures.Count(m.progress.Records, "record")),
	})
}

// tellEnd says how the migration ended: by the exit code of the starter, and in
// words.
func (m *migrationRun) tellEnd(ctx workflow.Context, result Result, err error) {
	n := notify.Notice{Type: notify.Ended}
	text, code := "", migration.ExitCannotRun
	switch {
	case temporal.IsCanceledError(err):
		text, code = "It was stopped before anything was sent. The same command begins again.", migration.ExitStopped
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
	m.tell(ctx, n)
}

// breakerNotice tells that the breaker has opened, and that it has closed, once
// each however many batches and workflows see it. It can be carried over when
// a workflow continues as new.
type breakerNotice struct {
	// Since is when the breaker opened that is open, zero if none is. It is the
	// same in every process, so it numbers the notices.
	Since time.Time `json:"since,omitzero"`
	// Probe is when its next probe is made: before that it does not close.
	Probe time.Time `json:"probe,omitzero"`
}

// saw takes into account how the gate stood when a batch was done; nil is as
// the options have it. Call it where the input says that somebody may be
// notified.
func (b *breakerNotice) saw(ctx workflow.Context, run activities.Run, phase Phase, s *pace.State) {
	switch open := s != nil && s.Breaker; {
	case open:
		opened := b.Since.IsZero() || s.Since.After(b.Since)
		if opened {
			b.Since = s.Since
		}
		b.Probe = s.Probe
		if opened {
			tell(ctx, run, notify.Notice{Type: notify.BreakerOpened, Phase: string(phase), Timestamp: s.Since,
				Text: "The target does not answer as it should, so no calls are made but probes: " + s.Closed + ". The migration goes on by itself when it is well again."}, s.Since.Unix())
		}
	case b.Since.IsZero():
	case workflow.Now(ctx).Before(b.Probe):
		// A batch that was done before the breaker opened, and told after.
	default:
		since := b.Since
		*b = breakerNotice{}
		tell(ctx, run, notify.Notice{Type: notify.BreakerClosed, Phase: string(phase),
			Text: "The target is well again: the migration goes on."}, since.Unix())
	}
}
