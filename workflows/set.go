package workflows

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/pace"
)

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
	answer, err := m.change(ctx, "set", func(s *Steering) { s.Control, s.MaxFailed = after.Control, after.MaxFailed }, changes...)
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
			var plan *pace.Plan
			plan, err = pace.ParsePlan(text, time.UTC)
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
