package workflows

import (
	"testing"

	"durable-dataload/activities"
	"durable-dataload/internal/pace"
)

func TestTheProgressOfALoadHasErrorsAndPace(t *testing.T) {
	f := newFake(t, 250)
	f.load = func(in activities.BatchInput, _ int) (activities.BatchResult, error) {
		r := allCreated
		if in.Position%50 == 0 {
			r = allUnknown
			r.Errors = map[string]int{"http 502": 9, "api 500": 1}
		}
		if in.Position > 200 {
			r.Pace = &pace.State{Limit: 4, Allowed: 2, Places: 4}
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
		if slow := p.Pace != nil && p.Pace.Allowed == 2; slow != (runs == 3) {
			t.Errorf("after run %d the pace is %+v", runs, p.Pace)
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
