package workflows

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
)

// The updates by which a migration is steered. Each takes an Order and returns an
// Answer; one that is not possible now is rejected with the reason.
const (
	UpdatePause   = "pause"
	UpdateResume  = "resume"
	UpdateSet     = "set"
	UpdateStop    = "stop"
	UpdateCancel  = "cancel"
	UpdateApprove = "approve"
)

// Order is what an operator wants of a migration.
type Order struct {
	By     string `json:"by"`     // name of the operator
	Reason string `json:"reason"` // for people
	// Set is for UpdateSet: new values by name, as in migration.Settings.
	Set map[string]string `json:"set,omitempty"`
}

// longestText is in characters: the name and the reason are kept in the history of
// the workflow, and shown in a line.
const longestText = 200

// Check says what is wrong with the texts of an order. It does not check the
// settings.
func (o Order) Check() error {
	if err := checkText("the name of the operator", o.By); err != nil {
		return err
	}
	return checkText("the reason", o.Reason)
}

func checkText(what, text string) error {
	switch n := utf8.RuneCountInString(text); {
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return errors.New(what + " has a character that cannot be shown; expected one line of text")
	case n > longestText:
		return fmt.Errorf("%s has %d characters; expected %d at most", what, n, longestText)
	}
	return nil
}

// Answer says what came of an order.
type Answer struct {
	// Text is for people: "paused".
	Text string `json:"text"`
	// Changes are the settings that have another value now.
	Changes []migration.Event `json:"changes,omitempty"`
}

// Steering is how a migration was steered, as its Progress has it.
type Steering struct {
	// Paused says that no call is made; the text says by which operator, when and why.
	Paused     bool   `json:"paused,omitempty"`
	PausedText string `json:"paused_text,omitempty"`
	migration.Limits
	MaxFailed string `json:"max_failed,omitempty"`
	// Decision is the question that the migration waits with, for people, and
	// DecidedBy the update that it waits for, besides stop. "" if it does not wait.
	Decision  string `json:"decision,omitempty"`
	DecidedBy string `json:"decided_by,omitempty"`
	// Ending is the update that ends it, "" if none does.
	Ending string `json:"ending,omitempty"`
	// Orders counts the orders that were given to the limiter.
	Orders int64 `json:"orders,omitempty"`
	// Changes are all changes by operators, in order.
	Changes []migration.Event `json:"changes,omitempty"`
}

// order is an update: what it is for, why it is rejected, and what it does.
type order struct {
	name, description string
	check             func(Order) error
	do                func(workflow.Context, Order) (Answer, error)
}

func (m *migrationRun) orders() []order {
	return []order{
		{UpdatePause, "Make no more calls until resume. Calls in flight end.", m.mayPause, m.pause},
		{UpdateResume, "Resume after a pause, or although too many records have failed.", m.mayResume, m.resume},
		{UpdateSet, `Change settings: {"set": {"rate": "8", "workers": "4"}}. The settings are ` + strings.Join(migration.Settings, ", ") + ".", m.maySet, m.set},
		{UpdateStop, "End now, with the result files. Rerun the command to resume later.", m.mayEnd(UpdateStop), m.end(UpdateStop)},
		{UpdateCancel, "End now and for good, with the result files.", m.mayEnd(UpdateCancel), m.end(UpdateCancel)},
		{UpdateApprove, "Approve the canary: load the other records.", m.mayApprove, m.approve},
	}
}

// listen accepts orders from here on. The context that it returns is cancelled when
// one of them ends the migration.
func (m *migrationRun) listen(ctx workflow.Context) workflow.Context {
	m.ordering = workflow.NewMutex(ctx)
	for _, o := range m.orders() {
		do := func(ctx workflow.Context, order Order) (Answer, error) {
			// An order completes also when the workflow is cancelled. It does not
			// retry an unavailable bucket for long: an operator waits for the answer.
			ctx, _ = workflow.NewDisconnectedContext(withAttempts(withFolder(ctx, m.ref.Folder.Path()), diskAttempts))
			if err := m.ordering.Lock(ctx); err != nil {
				return Answer{}, err
			}
			defer m.ordering.Unlock()
			if err := o.check(order); err != nil {
				return Answer{}, err // it was possible when it came
			}
			return o.do(ctx, order)
		}
		validate := func(order Order) error {
			if err := order.Check(); err != nil {
				return err
			}
			return o.check(order)
		}
		err := workflow.SetUpdateHandlerWithOptions(ctx, o.name, do, workflow.UpdateHandlerOptions{Validator: validate, Description: o.description})
		if err != nil {
			workflow.GetLogger(ctx).Error("cannot accept orders", "order", o.name, "error", err)
		}
	}
	ctx, m.endWork = workflow.WithCancel(ctx)
	return ctx
}

// answerOrders waits until all orders are answered, at the end.
func (m *migrationRun) answerOrders(ctx workflow.Context) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	_ = workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
}

func (m *migrationRun) mayPause(Order) error {
	if m.steering.Paused {
		return errors.New("the migration is paused already: " + m.steering.PausedText)
	}
	return m.mayChange()
}

func (m *migrationRun) pause(ctx workflow.Context, o Order) (Answer, error) {
	text := "by " + o.who() + " at " + workflow.Now(ctx).UTC().Format(time.RFC3339)
	if o.Reason != "" {
		text += ": " + o.Reason
	}
	answer, err := m.change(ctx, "paused; calls in flight end", o, func(s *Steering) { s.Paused, s.PausedText = true, text },
		o.change(ctx, "paused", "no", "yes"))
	if err == nil {
		m.notify(ctx, notify.Notice{Type: notify.Paused, Text: "The migration is paused " + text + ".", Command: notify.Command(UpdateResume, m.spec.ID)})
	}
	return answer, err
}

func (m *migrationRun) mayResume(Order) error {
	switch {
	case m.steering.Paused || m.steering.DecidedBy == UpdateResume:
		return m.mayChange()
	case m.steering.DecidedBy == UpdateApprove:
		return errors.New("the migration waits for the approval of its canary; give starter approve, or starter stop")
	}
	return errors.New("the migration is not paused, and waits for no decision to resume")
}

func (m *migrationRun) resume(ctx workflow.Context, o Order) (Answer, error) {
	var changes []migration.Event
	decided := m.steering.DecidedBy == UpdateResume
	// A resume with more failed records than the limit allows lifts the limit, so that
	// the same question is not asked again. A limit that was raised above them stays.
	most := m.mostFailed()
	anyNumber := decided && most != nil && *most < 0
	if m.steering.Paused {
		changes = append(changes, o.change(ctx, "paused", "yes", "no"))
	}
	if anyNumber {
		changes = append(changes, o.change(ctx, migration.SettingMaxFailed, m.steering.MaxFailed, ""))
	}
	answer, err := m.change(ctx, "resumed", o, func(s *Steering) {
		s.Paused, s.PausedText = false, ""
		if decided {
			s.Decision, s.DecidedBy = "", ""
		}
		if anyNumber {
			s.MaxFailed = ""
		}
	}, changes...)
	if err == nil {
		m.notify(ctx, notify.Notice{Type: notify.Resumed, Text: "The migration has resumed."})
	}
	return answer, err
}

func (m *migrationRun) mayApprove(Order) error {
	if m.steering.DecidedBy != UpdateApprove {
		return errors.New("no canary waits for an approval")
	}
	return m.mayChange()
}

func (m *migrationRun) approve(ctx workflow.Context, o Order) (Answer, error) {
	return m.change(ctx, "approved: the other records are loaded", o, func(s *Steering) { s.Decision, s.DecidedBy = "", "" },
		o.change(ctx, canaryApproved, "no", "yes"))
}

// canaryApproved is the name of an approval in the history of changes.
const canaryApproved = "canary approved"

func (m *migrationRun) mayEnd(how string) func(Order) error {
	return func(Order) error {
		if m.steering.Ending == how || m.steering.Ending == UpdateCancel {
			return errors.New("the migration is already stopping")
		}
		if m.writing {
			return errAtItsEnd
		}
		return nil
	}
}

// end ends all work before the artifacts, which are written next.
func (m *migrationRun) end(how string) func(workflow.Context, Order) (Answer, error) {
	text := "stopping: calls in flight end, then the result files are written; rerun the command to resume"
	if how == UpdateCancel {
		text = "cancelling: calls in flight end, then the result files are written; the migration cannot be resumed"
	}
	return func(ctx workflow.Context, o Order) (Answer, error) {
		m.steering.Ending = how
		m.endWork()
		answer, err := m.change(ctx, text, o, func(*Steering) {}, o.change(ctx, how, "no", "yes"))
		if err != nil { // it ends nevertheless
			answer.Text = text + "; the name of the operator could not be written down"
		}
		return answer, nil
	}
}

var errAtItsEnd = errors.New("the migration is ending: its result files are being written; rerun its command to watch it")

func (m *migrationRun) mayChange() error {
	if m.writing || m.steering.Ending != "" {
		return errAtItsEnd
	}
	return nil
}

// change orders what is new of the limiter, and then changes the steering: if that
// fails, nothing has changed. When it returns, every call keeps to the order.
func (m *migrationRun) change(ctx workflow.Context, text string, by Order, apply func(*Steering), changes ...migration.Event) (Answer, error) {
	next := m.steering
	apply(&next)
	next.Orders++
	in := activities.SteerInput{
		Run: m.ref, Order: next.order(by), Events: changes,
		Approved: slices.ContainsFunc(changes, func(e migration.Event) bool { return e.Name == canaryApproved }),
	}
	m.steering.Orders = next.Orders
	steered, err := m.steer(ctx, in)
	if err != nil { // the limiter may have taken the order before something else failed
		m.steering.Orders++
		if _, err := m.steer(ctx, activities.SteerInput{Run: m.ref, Order: m.steering.order(by)}); err != nil {
			workflow.GetLogger(ctx).Warn("an order that failed could not be taken back", "error", err)
		}
		return Answer{}, err
	}
	apply(&m.steering)
	m.steering.Changes = append(m.steering.Changes, changes...)
	m.enter(ctx, m.progress.Phase)
	if steered.Holds > 0 {
		if err := sleep(ctx, steered.Holds, "calls that were allowed before may still begin"); err != nil {
			return Answer{}, err
		}
	}
	return Answer{Text: text, Changes: changes}, nil
}

func (m *migrationRun) steer(ctx workflow.Context, in activities.SteerInput) (steered activities.Steered, err error) {
	err = execute(ctx, "order and write down what has changed", a.Steer, in, &steered)
	return steered, err
}

// order is what the limiter has to know of the steering.
func (s Steering) order(by Order) *limiter.Order {
	limits := activities.LimitsOf(s.Limits)
	o := &limiter.Order{Number: s.Orders, Limits: &limits, Resume: true, End: s.Ending != "", By: by.who(), Reason: by.Reason}
	if s.Paused {
		o.Pause, o.Resume = "paused "+s.PausedText, false
	}
	return o
}

// who is the operator, for people; never empty.
func (o Order) who() string {
	if o.By == "" {
		return "an unknown operator"
	}
	return o.By
}

func (o Order) change(ctx workflow.Context, name, old, new string) migration.Event {
	return migration.Event{At: workflow.Now(ctx).UTC(), Kind: migration.EventChanged, Who: o.who(), Name: name, Old: old, New: new, Reason: o.Reason}
}

// maySet rejects all settings if one is wrong.
func (m *migrationRun) maySet(o Order) error {
	if len(o.Set) == 0 {
		return errors.New(`expected settings as in {"set": {"rate": "8"}}, found none; there are ` + strings.Join(migration.Settings, ", "))
	}
	changed, err := m.steering.with(o.Set)
	if err != nil {
		return err
	}
	if changed.MaxFailed != m.steering.MaxFailed && len(m.progress.Children) > 1 {
		return fmt.Errorf("expected a migration that loads in one part, found %d, each of which counts its failed records alone; stop the migration, and rerun its command with --max-failed", len(m.progress.Children))
	}
	return m.mayChange()
}

func (m *migrationRun) set(ctx workflow.Context, o Order) (Answer, error) {
	before := m.steering
	after, err := before.with(o.Set)
	if err != nil {
		return Answer{}, err
	}
	var changes []migration.Event
	for _, name := range migration.Settings {
		if old, new := before.setting(name), after.setting(name); old != new {
			changes = append(changes, o.change(ctx, name, old, new))
		}
	}
	if len(changes) == 0 {
		return Answer{Text: "nothing has changed: these values are set already"}, nil
	}
	answer, err := m.change(ctx, "set", o, func(s *Steering) { s.Limits, s.MaxFailed = after.Limits, after.MaxFailed }, changes...)
	if err == nil && before.MaxFailed != after.MaxFailed {
		m.sendMostFailed(ctx)
	}
	return answer, err
}

// with returns the steering with other settings, or says what is wrong with them.
func (s Steering) with(set map[string]string) (Steering, error) {
	for _, name := range workflow.DeterministicKeys(set) {
		var err error
		switch text := set[name]; name {
		case migration.SettingRate:
			s.RateLimit, err = migration.ParseRate(text)
		case migration.SettingRatePlan:
			var plan *limiter.Plan
			plan, err = limiter.ParsePlan(text, time.UTC)
			s.RatePlan = plan.String()
		case migration.SettingWorkers:
			s.Workers, err = migration.ParseWorkers(text)
		case migration.SettingBreaker:
			s.Breaker, err = migration.ParseBreaker(text)
		case migration.SettingMaxFailed:
			s.MaxFailed = strings.TrimSpace(text)
			_, err = migration.ParseMaxFailed(text)
		default:
			err = fmt.Errorf("there is no setting %q; expected one of %s", name, strings.Join(migration.Settings, ", "))
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// setting is a setting as text, "" for one that limits nothing.
func (s Steering) setting(name string) string {
	switch name {
	case migration.SettingRate:
		return strconv.FormatFloat(s.RateLimit, 'g', -1, 64)
	case migration.SettingRatePlan:
		return s.RatePlan
	case migration.SettingWorkers:
		return strconv.Itoa(s.Workers)
	case migration.SettingBreaker:
		return strconv.Itoa(s.Breaker)
	}
	return s.MaxFailed
}
