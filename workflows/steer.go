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

// steered is a workflow that operators steer: a migration or an export.
type steered struct {
	ref      activities.Run
	steering Steering
	words    steeredWords
	settings []string               // that can be set
	shown    func(workflow.Context) // shows the steering, after a change

	prepared bool                // its folder has what an order to the limiter takes; until then no call is made
	ordering workflow.Mutex      // held while an order is carried out
	endWork  workflow.CancelFunc // ends everything before the results are written
	writing  bool                // the results
}

// steeredWords are its words, for people.
type steeredWords struct {
	what       string // "migration"
	writing    string // "its result files are being written"
	stopping   string
	cancelling string
}

func (m *migrationRun) orders() []order {
	return []order{
		m.pausing(m.pause),
		m.resuming(m.resume),
		m.setting(m.maySet, m.set),
		m.stopping(),
		m.cancelling(m.mayCancel),
		{UpdateApprove, "Approve the canary: load the other records.", m.mayApprove, m.approve},
	}
}

// The orders that all take, with what they do.

func (s *steered) pausing(do func(workflow.Context, Order) (Answer, error)) order {
	return order{UpdatePause, "Make no more calls until resume. Calls in flight end.", s.mayPause, do}
}

func (s *steered) resuming(do func(workflow.Context, Order) (Answer, error)) order {
	return order{UpdateResume, "Resume after a pause, or although too many records have failed.", s.mayResume, do}
}

func (s *steered) setting(may func(Order) error, do func(workflow.Context, Order) (Answer, error)) order {
	return order{UpdateSet, `Change settings: {"set": {"rate": "8"}}. The settings are ` + strings.Join(s.settings, ", ") + ".", may, do}
}

func (s *steered) stopping() order {
	return order{UpdateStop, "End now. Rerun the command to resume later.", s.mayEnd(UpdateStop), s.end(UpdateStop, s.words.stopping)}
}

func (s *steered) cancelling(may func(Order) error) order {
	return order{UpdateCancel, "End now and for good.", may, s.end(UpdateCancel, s.words.cancelling)}
}

// mayCancel refuses to cancel a run that has sent nothing: it has no result that could say so for good.
func (m *migrationRun) mayCancel(o Order) error {
	if m.progress.Phase == PhaseInspecting && !m.writing {
		return errors.New("the migration has sent nothing in this run; give starter stop, and then starter cancel if an earlier run has")
	}
	return m.mayEnd(UpdateCancel)(o)
}

// listen accepts orders from here on. The context that it returns is cancelled when
// one of them ends the workflow.
func (s *steered) listen(ctx workflow.Context, orders []order) workflow.Context {
	s.ordering = workflow.NewMutex(ctx)
	for _, o := range orders {
		do := func(ctx workflow.Context, order Order) (Answer, error) {
			// An order completes also when the workflow is cancelled. It does not
			// retry an unavailable bucket for long: an operator waits for the answer.
			ctx, _ = workflow.NewDisconnectedContext(withAttempts(withFolder(ctx, s.ref.Folder.Path()), diskAttempts))
			ends := o.name == UpdateStop || o.name == UpdateCancel
			if ends { // also while another order is carried out, or waits for a limiter that does not answer
				s.steering.Ending = o.name
				s.endWork()
			}
			if err := workflow.Await(ctx, func() bool { return s.prepared || s.writing || s.steering.Ending != "" }); err != nil {
				return Answer{}, err
			}
			if err := s.ordering.Lock(ctx); err != nil {
				return Answer{}, err
			}
			defer s.ordering.Unlock()
			if !ends {
				if err := o.check(order); err != nil {
					return Answer{}, err // it was possible when it came
				}
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
	ctx, s.endWork = workflow.WithCancel(ctx)
	return ctx
}

// answerOrders waits until all orders are answered, at the end.
func (s *steered) answerOrders(ctx workflow.Context) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	_ = workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
}

func (s *steered) mayPause(Order) error {
	if s.steering.Paused {
		return fmt.Errorf("the %s is paused already: %s", s.words.what, s.steering.PausedText)
	}
	return s.mayChange()
}

func (s *steered) pause(ctx workflow.Context, o Order) (Answer, error) {
	text := "by " + o.who() + " at " + workflow.Now(ctx).UTC().Format(time.RFC3339)
	if o.Reason != "" {
		text += ": " + o.Reason
	}
	return s.change(ctx, "paused; calls in flight end", o, func(s *Steering) { s.Paused, s.PausedText = true, text },
		o.change(ctx, "paused", "no", "yes"))
}

func (m *migrationRun) pause(ctx workflow.Context, o Order) (Answer, error) {
	answer, err := m.steered.pause(ctx, o)
	if err == nil {
		m.notify(ctx, notify.Notice{Type: notify.Paused, Text: "The migration is paused " + m.steering.PausedText + ".", Command: notify.Command(UpdateResume, m.spec.ID)})
	}
	return answer, err
}

func (s *steered) mayResume(Order) error {
	switch {
	case s.steering.Paused || s.steering.DecidedBy == UpdateResume:
		return s.mayChange()
	case s.steering.DecidedBy == UpdateApprove:
		return fmt.Errorf("the %s waits for the approval of its canary; give starter approve, or starter stop", s.words.what)
	}
	return fmt.Errorf("the %s is not paused, and waits for no decision to resume", s.words.what)
}

func (s *steered) resume(ctx workflow.Context, o Order) (Answer, error) {
	return s.resumeWithout(ctx, o, false)
}

// resumeWithout resumes, and can lift the limit of failed records.
func (s *steered) resumeWithout(ctx workflow.Context, o Order, limit bool) (Answer, error) {
	var changes []migration.Event
	decided := s.steering.DecidedBy == UpdateResume
	if s.steering.Paused {
		changes = append(changes, o.change(ctx, "paused", "yes", "no"))
	}
	if limit {
		changes = append(changes, o.change(ctx, migration.SettingMaxFailed, s.steering.MaxFailed, ""))
	}
	return s.change(ctx, "resumed", o, func(s *Steering) {
		s.Paused, s.PausedText = false, ""
		if decided {
			s.Decision, s.DecidedBy = "", ""
		}
		if limit {
			s.MaxFailed = ""
		}
	}, changes...)
}

func (m *migrationRun) resume(ctx workflow.Context, o Order) (Answer, error) {
	// A resume with more failed records than the limit allows lifts the limit, so that
	// the same question is not asked again. A limit that was raised above them stays.
	most := m.mostFailed()
	answer, err := m.resumeWithout(ctx, o, m.steering.DecidedBy == UpdateResume && most != nil && *most < 0)
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

func (s *steered) mayEnd(how string) func(Order) error {
	return func(Order) error {
		if s.steering.Ending == how || s.steering.Ending == UpdateCancel {
			return fmt.Errorf("the %s is already stopping", s.words.what)
		}
		if s.writing {
			return s.atItsEnd()
		}
		return nil
	}
}

// end is for an order that has ended all work before the results, which are written next.
func (s *steered) end(how, text string) func(workflow.Context, Order) (Answer, error) {
	return func(ctx workflow.Context, o Order) (Answer, error) {
		answer, err := s.change(ctx, text, o, func(*Steering) {}, o.change(ctx, how, "no", "yes"))
		if err != nil { // it ends nevertheless
			answer.Text = text + "; the name of the operator could not be written down"
		}
		return answer, nil
	}
}

func (s *steered) atItsEnd() error {
	return fmt.Errorf("the %s is ending: %s; rerun its command to watch it", s.words.what, s.words.writing)
}

func (s *steered) mayChange() error {
	if s.writing || s.steering.Ending != "" {
		return s.atItsEnd()
	}
	return nil
}

// change orders what is new of the limiter, and then changes the steering: if that
// fails, nothing has changed. When it returns, every call keeps to the order.
func (s *steered) change(ctx workflow.Context, text string, by Order, apply func(*Steering), changes ...migration.Event) (Answer, error) {
	next := s.steering
	apply(&next)
	next.Orders++
	in := activities.SteerInput{
		Run: s.ref, Events: changes,
		Approved: slices.ContainsFunc(changes, func(e migration.Event) bool { return e.Name == canaryApproved }),
	}
	if s.prepared {
		in.Order = next.order(by)
	}
	s.steering.Orders = next.Orders
	steered, err := s.steer(ctx, in)
	if err != nil && in.Order == nil {
		return Answer{}, err
	}
	if err != nil { // the limiter may have taken the order before something else failed
		s.steering.Orders++
		if _, err := s.steer(ctx, activities.SteerInput{Run: s.ref, Order: s.steering.order(by)}); err != nil {
			workflow.GetLogger(ctx).Warn("an order that failed could not be taken back", "error", err)
		}
		return Answer{}, err
	}
	apply(&s.steering)
	s.steering.Changes = append(s.steering.Changes, changes...)
	s.shown(ctx)
	if steered.Holds > 0 {
		if err := sleep(ctx, steered.Holds, "calls that were allowed before may still begin"); err != nil {
			return Answer{}, err
		}
	}
	return Answer{Text: text, Changes: changes}, nil
}

func (s *steered) steer(ctx workflow.Context, in activities.SteerInput) (steered activities.Steered, err error) {
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
func (s *steered) maySet(o Order) error {
	if len(o.Set) == 0 {
		return errors.New(`expected settings as in {"set": {"rate": "8"}}, found none; there are ` + strings.Join(s.settings, ", "))
	}
	for _, name := range workflow.DeterministicKeys(o.Set) {
		if !slices.Contains(s.settings, name) {
			return fmt.Errorf("a running %s has no setting %q; expected one of %s", s.words.what, name, strings.Join(s.settings, ", "))
		}
	}
	if _, err := s.steering.with(o.Set); err != nil {
		return err
	}
	return s.mayChange()
}

func (m *migrationRun) maySet(o Order) error {
	if err := m.steered.maySet(o); err != nil {
		return err
	}
	changed, err := m.steering.with(o.Set)
	if err == nil && changed.MaxFailed != m.steering.MaxFailed && len(m.progress.Children) > 1 {
		err = fmt.Errorf("expected a migration that loads in one part, found %d, each of which counts its failed records alone; stop the migration, and rerun its command with --max-failed", len(m.progress.Children))
	}
	return err
}

func (s *steered) set(ctx workflow.Context, o Order) (Answer, error) {
	before := s.steering
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
	return s.change(ctx, "set", o, func(s *Steering) { s.Limits, s.MaxFailed = after.Limits, after.MaxFailed }, changes...)
}

func (m *migrationRun) set(ctx workflow.Context, o Order) (Answer, error) {
	before := m.steering.MaxFailed
	answer, err := m.steered.set(ctx, o)
	if err == nil && m.steering.MaxFailed != before {
		m.sendMostFailed(ctx)
	}
	return answer, err
}

// with returns the steering with other settings of those that can be set, or says what is wrong with them.
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
