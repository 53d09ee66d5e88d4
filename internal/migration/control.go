package migration

import "errors"

// Control is what operators have set for a run of a migration. The workflow
// decides it, the folder holds it, and every gate looks at it before a call.
type Control struct {
	// Paused says that no call is made; the text says who and why, for people.
	Paused     bool   `json:"paused,omitempty"`
	PausedText string `json:"paused_text,omitempty"`

	RateLimit float64 `json:"rate_limit"`          // calls a second, 0 = no limit
	RatePlan  string  `json:"rate_plan,omitempty"` // see pace.ParsePlan; it holds beside RateLimit
	Workers   int     `json:"workers"`             // calls in flight at most
	Breaker   int     `json:"breaker"`             // calls of unknown outcome in a row that open the breaker, 0 = none do
}

// Control is what the options say.
func (s Spec) Control() Control {
	return Control{RateLimit: s.RateLimit, RatePlan: s.RatePlan, Workers: s.Workers, Breaker: s.Breaker}
}

// SaveControl sets the control of a run.
func (f Folder) SaveControl(run string, c Control) error { return f.save(controlPrefix+run, c) }

// Control gives the control of a run: that of the spec unless it was changed.
func (f Folder) Control(run string, s Spec) (Control, error) {
	c, err := load[Control](f, controlPrefix+run)
	if errors.Is(err, ErrAbsent) {
		return s.Control(), nil
	}
	return c, err
}

const controlPrefix = "control-"
