package workflows

import (
	"strings"
	"testing"
	"time"

	"durable-dataload/activities"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
)

func TestAPauseBetweenRoundsSaysUntilWhen(t *testing.T) {
	f := newFake(t, 1)
	f.load = byRound(allUnknown, allCreated)
	e := newEnvironment(t, f)
	began := e.Now()
	var waiting Progress
	e.RegisterDelayedCallback(func() { waiting = progressOf[Progress](e, e.progress().Children[0]) }, time.Hour)
	result, err := e.migrate(func(s *migration.Spec) { s.RetryBackoff = 24 * time.Hour })
	if err != nil || result.Summary.Records.Unknown != 0 {
		t.Fatalf("%+v, %v", result, err)
	}
	until := began.Add(24 * time.Hour).UTC()
	first, second := until.Format(time.DateTime), until.Add(time.Second).Format(time.DateTime)
	if want := "before round 1, until "; waiting.Waiting != want+first+" UTC" && waiting.Waiting != want+second+" UTC" {
		t.Errorf("it shows %q, want %q", waiting.Waiting, want+first+" UTC")
	}
}

func TestTheShownPhaseSaysHowItEnded(t *testing.T) {
	left := &migration.Counts{Total: 2, Created: 1, Remaining: 1}
	for want, p := range map[Phase]*Progress{
		PhaseDone:      {Phase: PhaseDone, Steering: &Steering{}, Counts: &migration.Counts{Total: 2, Created: 1, Failed: 1}},
		PhaseStopped:   {Phase: PhaseDone, Steering: &Steering{}, Counts: left},
		PhaseCancelled: {Phase: PhaseDone, Steering: &Steering{Ending: UpdateCancel}, Counts: left},
		PhaseWriting:   {Phase: PhaseWriting, Steering: &Steering{Ending: UpdateCancel}},
	} {
		if got := p.ShownPhase(); got != want {
			t.Errorf("%+v is shown as %q, want %q", p, got, want)
		}
	}
}

func TestTheDetailsHaveTheTableTheChildrenTheWaitAndTheNextCommand(t *testing.T) {
	round := []RoundProgress{{Round: 0, Counts: ledger.Counts{Calls: 7, Created: 60, Unknown: 10}}}
	for want, p := range map[string]*Progress{
		"Next: `starter status migration-a`":  {Phase: PhaseRetrying, Waiting: "before round 1, until noon", Children: []string{"migration-a/retry"}, Rounds: round, Steering: &Steering{}},
		"Next: `starter resume migration-a`":  {Phase: PhaseLoading, Steering: &Steering{Paused: true, PausedText: "by anna"}},
		"Next: `starter approve migration-a`": {Phase: PhaseLoading, Steering: &Steering{Decision: "The canary.", DecidedBy: UpdateApprove}},
		"Next: `starter verify migration-a`":  {Phase: PhaseDone, Steering: &Steering{}, Counts: &migration.Counts{Total: 1, Created: 1}},
		"Next: rerun the command":             {Phase: PhaseDone, Steering: &Steering{}, Counts: &migration.Counts{Total: 1, Remaining: 1}},
		"rerun the command that started it":   {Phase: PhaseDone, Steering: &Steering{}, Counts: &migration.Counts{Total: 1, Unknown: 1}},
	} {
		if got := p.details("migration-a"); !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
		if got := p.details("migration-a"); p.Rounds != nil {
			for _, want := range []string{"**retrying**", "waits before round 1, until noon", "`migration-a/retry`", "| 0 | 7 | 60 | 0 | 0 | 10 | 0 |"} {
				if !strings.Contains(got, want) {
					t.Errorf("%q lacks %q", got, want)
				}
			}
		}
	}
	for _, p := range []*Progress{{Phase: PhaseLoading}, {Phase: PhaseDone, Steering: &Steering{Ending: UpdateCancel}}} {
		if got := p.details("migration-a"); strings.Contains(got, "Next") {
			t.Errorf("%q has a next command", got)
		}
	}
}

func TestSearchAttributesShowFailedRecordsWhileItRuns(t *testing.T) {
	f := failing(t, 20, 4)
	e := newEnvironment(t, f)
	var phase, failed any
	e.RegisterDelayedCallback(func() {
		phase, failed = e.attributes[AttributePhase.GetName()], e.attributes[AttributeFailed.GetName()]
	}, time.Hour)
	e.at(2*time.Hour, UpdateStop, anna)
	e.migrated(func(s *migration.Spec) { s.Workers, s.RateLimit = 1, 0.5; s.MaxFailed = "0"; s.SearchAttributes = true })
	if phase != string(PhaseDeciding) || failed != int64(10) {
		t.Errorf("while it waits the attributes have %v and %v failed; want %s and 10", phase, failed, PhaseDeciding)
	}
}

func TestTheProgressOfALoadHasErrors(t *testing.T) {
	f := newFake(t, 250)
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		r := allCreated
		if in.Position%50 == 0 {
			r = allUnknown
			r.Errors = map[string]int{"http 502": 9, "api 500": 1}
		}
		return r, nil
	}
	in := loadInput()
	for runs := 1; ; runs++ {
		e := newEnvironment(t, f)
		e.SetCurrentHistoryLength(eventsARun)
		_, err := e.loadRound(in)
		p := e.progress()
		faults := min(2*runs, 5)
		if p.Errors["http 502"] != 9*faults || p.Errors["api 500"] != faults || len(p.Errors) != 2 {
			t.Errorf("after run %d the errors are %v, want those of %d batches", runs, p.Errors, faults)
		}
		if err == nil {
			if runs != 3 {
				t.Errorf("%d runs, want 3", runs)
			}
			return
		}
		in = nextInput[LoadInput](t, err)
	}
}
