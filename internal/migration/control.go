package migration

import "errors"

// Control is what operators have set for a run of a migration. The workflow decides it, the
// folder holds it, and every gate reads it before a call.
type Control struct {
	// Paused says that no call is made; the text says who paused it and why.
	Paused     bool   `json:"paused,omitempty"`
	PausedText string `json:"paused_text,omitempty"`

	Limits
}

// SaveControl sets the control of a run.
func (f RunFolder) SaveControl(run string, c Control) error { return f.save(controlPrefix+run, c) }

// Control returns the control of a run: that of the spec unless it was changed.
func (f RunFolder) Control(run string, s Spec) (Control, error) {
	c, err := load[Control](f.path(controlPrefix + run))
	if errors.Is(err, ErrAbsent) {
		return Control{Limits: s.Limits}, nil
	}
	return c, err
}

const controlPrefix = "control-"
