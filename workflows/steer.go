package workflows

import "durable-dataload/internal/migration"

// The updates by which a migration is steered. Each takes an Order and gives an
// Answer; one that makes no sense is refused with the reason.
const (
	UpdatePause   = "pause"   // no more calls, until resume
	UpdateResume  = "resume"  // go on: after a pause, or after too many failed records
	UpdateSet     = "set"     // change rate, workers, rate-plan, breaker, max-failed
	UpdateStop    = "stop"    // end, with the artifacts; the same command goes on later
	UpdateCancel  = "cancel"  // end for good, with the artifacts
	UpdateApprove = "approve" // the canary is right: load the others
)

// Order is what an operator wants of a migration.
type Order struct {
	By     string `json:"by"`     // who, for people
	Reason string `json:"reason"` // why, for people
	// Set is for UpdateSet: new values by name, as on the command line.
	Set map[string]string `json:"set,omitempty"`
}

// Answer says what came of an order.
type Answer struct {
	// Text is for people: "paused; it was loading".
	Text string `json:"text"`
	// Changes are the settings that have another value now.
	Changes []migration.Event `json:"changes,omitempty"`
}

// Steering is how a migration was steered, as its Progress tells it.
type Steering struct {
	migration.Control
	MaxFailed string `json:"max_failed,omitempty"`
	// Decision is what the migration waits for, for people: "120 records have
	// failed …: resume or stop". "" if it waits for nobody.
	Decision string `json:"decision,omitempty"`
	// Changes are all changes by operators, in order.
	Changes []migration.Event `json:"changes,omitempty"`
}
