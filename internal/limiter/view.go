package limiter

import (
	"strings"
	"time"

	"durable-dataload/internal/figures"
)

// View is how the limiter stands, for people.
type View struct {
	Used    float64      `json:"used"`              // calls a second, of the last ten
	Paused  string       `json:"paused,omitempty"`  // for all runs, with the text for people
	Breaker bool         `json:"breaker,omitempty"` // it is open, for all runs
	Runs    []RunView    `json:"runs"`
	Workers []WorkerView `json:"workers"`
	Changes []Change     `json:"changes"`
}

// RunView is how the limiter stands for one run.
type RunView struct {
	Run   string  `json:"run"`
	Used  float64 `json:"used"`   // calls a second, of the last ten
	InUse int     `json:"in_use"` // slots that workers hold
	Gate
}

// WorkerView is what a worker holds.
type WorkerView struct {
	ID    string    `json:"id"`
	Slots int       `json:"slots"`
	Until time.Time `json:"until"` // when its lease has ended
}

// Of is the view of the run of a workflow, nil if there is none.
func (v View) Of(workflowID string) *RunView {
	for _, run := range v.Runs {
		if strings.HasPrefix(run.Run, workflowID+"/") {
			return &run
		}
	}
	return nil
}

// View gives how the limiter stands at a moment, in a fixed order.
func (s *State) View(now time.Time) View {
	v := View{Used: s.rate(now), Paused: s.Paused, Breaker: s.Health.Breaker.Open, Changes: s.Changes}
	for _, id := range sorted(s.Runs) {
		if s.Runs[id].Ended {
			continue
		}
		run := RunView{Run: id, Used: s.Runs[id].used(now), Gate: s.gate(now, s.Runs[id])}
		for _, worker := range sorted(s.Workers) {
			run.InUse += s.Workers[worker].Slots[id]
		}
		v.Runs = append(v.Runs, run)
	}
	for _, id := range sorted(s.Workers) {
		w := WorkerView{ID: id, Until: s.Workers[id].Until}
		for _, run := range sorted(s.Workers[id].Slots) {
			w.Slots += s.Workers[id].Slots[run]
		}
		v.Workers = append(v.Workers, w)
	}
	return v
}

// PerSecond is a rate for people: "2/s".
func PerSecond(calls float64) string {
	if calls == 0 {
		return "no limit"
	}
	return figures.Figure(calls) + "/s"
}
