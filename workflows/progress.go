package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
)

// Phase is what a migration does now.
type Phase string

// The phases, in their order.
const (
	PhaseInspecting Phase = "inspecting"
	PhaseLoading    Phase = "loading"
	PhaseRetrying   Phase = "retrying"
	PhaseUpdating   Phase = "updating"
	PhaseWriting    Phase = "writing artifacts"
	PhaseDone       Phase = "done"

	// Those of a rollback, before PhaseWriting. A canary is verified too.
	PhaseRollingBack Phase = "rolling back"
	PhaseVerifying   Phase = "verifying"

	// What is shown instead while it waits for an operator.
	PhasePaused   Phase = "paused"
	PhaseDeciding Phase = "waiting for a decision"

	// What is shown instead of PhaseDone, where records remain or it was cancelled.
	PhaseStopped   Phase = "stopped"
	PhaseCancelled Phase = "cancelled"
)

// QueryProgress asks each of the workflows for its Progress.
const QueryProgress = "progress"

// The search attributes of a migration, where the service has them.
var (
	AttributeFile    = temporal.NewSearchAttributeKeyKeyword("MigrationFile")
	AttributePhase   = temporal.NewSearchAttributeKeyKeyword("MigrationPhase")
	AttributeTarget  = temporal.NewSearchAttributeKeyKeyword("MigrationTarget")
	AttributeFailed  = temporal.NewSearchAttributeKeyInt64("RecordsFailed")
	AttributeUnknown = temporal.NewSearchAttributeKeyInt64("RecordsUnknown")
)

// Progress is how far a workflow is. Numbers only.
type Progress struct {
	Phase   Phase `json:"phase"`
	Records int   `json:"records,omitempty"` // of the input
	// Delta says that duplicates are updated; DuplicateKeys is the number of records
	// that are not sent then, because an earlier record of the input has their key.
	Delta         bool `json:"delta,omitempty"`
	DuplicateKeys int  `json:"twins,omitempty"`
	// KeylessNote is what people should know of keyless records (see
	// migration.Keyless), and Aside is how many of them are unknown and are not
	// loaded again.
	KeylessNote string `json:"keyless_note,omitempty"`
	Aside       int    `json:"aside,omitempty"`
	// Rounds are those that have ended.
	Rounds []RoundProgress `json:"rounds,omitempty"`
	// Round is the one that runs, and Children are the workflows that run it.
	Round    int      `json:"round"`
	Children []string `json:"children,omitempty"`
	// Waiting is what it waits for now, and until when, for people.
	Waiting string `json:"waiting,omitempty"`

	// Of the round that runs, from the LoadWorkflow itself.
	Batches     int           `json:"batches,omitempty"`
	BatchesDone int           `json:"batches_done,omitempty"`
	InFlight    int           `json:"in_flight,omitempty"`
	Loading     ledger.Counts `json:"loading"`
	// LastCall is when the last batch that made a call was done; zero: not known.
	LastCall time.Time `json:"last_call,omitzero"`

	// What became of the ToUpdate records that are to be updated.
	ToUpdate int            `json:"to_update,omitempty"`
	Updates  ledger.Updates `json:"updates,omitzero"`

	// Steering is the migration's own, not its children's.
	Steering *Steering `json:"steering,omitempty"`
	// Errors are how many records failed or are unknown for which class of
	// reason: of the rounds that have ended, of the migration and the RetryWorkflow;
	// of the round that runs, of the LoadWorkflow. The RetryWorkflow knows those of
	// the migration as well.
	Errors map[string]int `json:"errors,omitempty"`

	// Counts are the dispositions, at the end.
	Counts *migration.Counts `json:"counts,omitempty"`
}

// RoundProgress is the result of a round.
type RoundProgress struct {
	Round int `json:"round"`
	ledger.Counts
	Resolved activities.Resolved `json:"resolved"` // the duplicates
	// Aside are the unknown records of earlier rounds that it did not load.
	Aside int `json:"aside,omitempty"`
}

// failed is how many of its records failed. Until it is known whose the duplicates
// are, those of round 0 count, unless they are to be updated.
func (r RoundProgress) failed(delta bool) int {
	n := r.Failed + r.Resolved.Failed
	if r.Round == 0 && !delta && !r.isResolved() {
		n += r.Duplicate
	}
	return n
}

func (r RoundProgress) isResolved() bool { return r.Resolved != activities.Resolved{} }

// unknown is how many records are unknown after it: their answer was lost, or they
// are duplicates of which it cannot be told whose they are.
func (r RoundProgress) unknown() int {
	return r.Unknown + r.Resolved.Unknown + r.Resolved.Invisible + r.Aside
}

// ShownPhase is the phase for people: a pause or a decision comes first.
func (p *Progress) ShownPhase() Phase {
	switch {
	case p.Steering == nil || p.Phase == PhaseWriting:
		return p.Phase
	case p.Phase == PhaseDone && p.Steering.Ending == UpdateCancel:
		return PhaseCancelled
	case p.Phase == PhaseDone && p.Counts != nil && p.Counts.Remaining > 0:
		return PhaseStopped
	case p.Phase == PhaseDone:
		return PhaseDone
	case p.Steering.Paused:
		return PhasePaused
	case p.Steering.Decision != "":
		return PhaseDeciding
	}
	return p.Phase
}

// steeringText says what an operator can do about a migration that waits.
func (p *Progress) steeringText() (text string) {
	if p.Steering == nil {
		return ""
	}
	if p.Steering.Paused {
		text += fmt.Sprintf("\n\nPaused %s. `%s` resumes it.", p.Steering.PausedText, UpdateResume)
	}
	if p.Steering.Decision != "" {
		text += fmt.Sprintf("\n\n%s `%s` resumes it, `%s` ends it.", p.Steering.Decision, p.Steering.DecidedBy, UpdateStop)
	}
	if text != "" {
		text += " (Updates of this workflow, here or as commands of starter.)"
	}
	return text
}

// serve answers queries, and shows the state in the Web UI.
func (p *Progress) serve(ctx workflow.Context) {
	err := workflow.SetQueryHandlerWithOptions(ctx, QueryProgress, func() (Progress, error) { return *p, nil },
		workflow.QueryHandlerOptions{Description: "Progress. Query the children for the round that runs."})
	if err != nil {
		workflow.GetLogger(ctx).Error("cannot answer queries", "error", err)
	}
	p.show(ctx)
}

// next says which command of starter a person may want next. A child leaves that to its parent.
func (p *Progress) next(id string) string {
	command := "status"
	switch phase := p.ShownPhase(); {
	case p.Steering == nil || phase == PhaseCancelled:
		return ""
	case phase == PhaseStopped || phase == PhaseDone && p.Counts != nil && p.Counts.Unknown > 0:
		return "\n\nNext: rerun the command that started it, to resume.\n"
	case phase == PhaseDone:
		command = "verify"
	case phase == PhasePaused:
		command = UpdateResume
	case phase == PhaseDeciding:
		command = p.Steering.DecidedBy
	}
	return "\n\nNext: `starter " + command + " " + id + "`\n"
}

// show writes the current details for the Web UI.
func (p *Progress) show(ctx workflow.Context) {
	workflow.SetCurrentDetails(ctx, p.details(workflow.GetInfo(ctx).WorkflowExecution.ID))
}

// details are what the workflow does, with its table, as Markdown.
func (p *Progress) details(id string) string {
	text := "**" + string(p.ShownPhase()) + "**"
	if p.Records > 0 {
		text += ", " + figures.Count(p.Records, "record")
	}
	if p.Waiting != "" {
		text += ", waits " + p.Waiting
	}
	if len(p.Children) > 0 {
		text += "; more in `" + strings.Join(p.Children, "`, `") + "` (see Relationships)"
	}
	text += p.steeringText()
	if len(p.Rounds) > 0 {
		text += "\n\n| round | calls | created | duplicate | failed | unknown | recovered |\n|--:|--:|--:|--:|--:|--:|--:|\n"
		for _, r := range p.Rounds {
			text += fmt.Sprintf("| %d | %d | %d | %d | %d | %d | %d |\n", r.Round, r.Calls, r.Created, r.Duplicate, r.Failed, r.Unknown, r.Resolved.Recovered)
		}
	}
	if p.DuplicateKeys > 0 {
		text += fmt.Sprintf("\n%s\n", p.DuplicateKeysText())
	}
	if p.KeylessNote != "" {
		text += "\n" + p.KeylessNote + "\n"
	}
	if p.Aside > 0 {
		text += fmt.Sprintf("\n%d keyless records are unknown, and are not sent again.\n", p.Aside)
	}
	if p.ToUpdate > 0 {
		text += fmt.Sprintf("\n%s %s there already\n\n%s", figures.Count(p.ToUpdate, "record"), figures.Plural(p.ToUpdate, "was", "were"), updatesTable(p.Updates))
	}
	if c := p.Counts; c != nil {
		text += "\n" + c.String() + "\n"
	}
	return text + p.next(id)
}

// DuplicateKeysText says, for people, what becomes of the records with duplicate keys.
func (p *Progress) DuplicateKeysText() string {
	return fmt.Sprintf("%s %s a key that an earlier record has: only the first with each key is loaded, the others fail.", figures.Count(p.DuplicateKeys, "record"), figures.Plural(p.DuplicateKeys, "has", "have"))
}

func (p *Progress) endRound(round int, counts ledger.Counts) {
	p.Rounds = append(p.Rounds, RoundProgress{Round: round, Counts: counts, Aside: p.Aside})
}

func (p *Progress) resolved(round int, r activities.Resolved) {
	for i := range p.Rounds {
		if p.Rounds[i].Round == round {
			p.Rounds[i].Resolved = r
		}
	}
}

// merge takes over what the RetryWorkflow knows.
func (p *Progress) merge(retry Progress) {
	p.Rounds, p.Aside = append(p.Rounds, retry.Rounds...), retry.Aside
	p.Errors = retry.Errors
}

// errorsOf adds up failed and unknown records.
func errorsOf(r activities.Reasons) (sum map[string]int) {
	ledger.AddClasses(&sum, r.Failed)
	ledger.AddClasses(&sum, r.Unknown)
	return sum
}

// Summary describes a migration in a list of workflows.
func Summary(spec migration.Spec) string {
	return Line("%s → %s (%s)", spec.ShownName(), spec.Target.Host(), spec.Target.EntityType)
}

// Line is one line for a list of workflows, within the limit of the service.
func Line(format string, args ...any) string {
	return safetext.Cut(fmt.Sprintf(format, args...), mostLine)
}

const (
	mostLine    = 350   // bytes; the service rejects more than 400
	mostDetails = 15000 // bytes, of 20,000
)

// Details are the options of a migration. shown is the name of the input for people.
func Details(spec migration.Spec, shown string) string {
	rate := "no rate limit"
	if spec.RateLimit > 0 {
		rate = figures.Rate(spec.RateLimit) + " at most"
	}
	text := fmt.Sprintf("Input %s, SHA-256 `%s`. Results in %s. As it began: %s a call, %s in flight, %s, %s.",
		safetext.Code(shown), spec.SHA256, safetext.Code(spec.OutputDir), figures.Count(spec.BatchSize, "record"), figures.Count(spec.Workers, "call"), rate, figures.Count(spec.RetryRounds, "retry round"))
	if spec.RatePlan != "" {
		text += fmt.Sprintf(" Timetable: %s.", safetext.Code(spec.RatePlan))
	}
	return safetext.Cut(text, mostDetails)
}

// Attributes are the search attributes with which a migration starts.
func Attributes(spec migration.Spec) temporal.SearchAttributes {
	return temporal.NewSearchAttributes(
		AttributeFile.ValueSet(spec.InputName()),
		AttributeTarget.ValueSet(spec.Target.Host()),
		AttributePhase.ValueSet(string(PhaseInspecting)),
	)
}
