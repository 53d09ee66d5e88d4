// Package notify sends the events of a migration to an HTTP endpoint, a webhook.
//
// A notice follows the Standard Webhooks specification 1.0.0: its headers, its
// signature, and the fields type and timestamp of its body
// (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md).
// Any library for that specification can receive it.
package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"time"

	"durable-dataload/internal/migration"
)

// Type says what happened.
type Type string

// The types of notices. Receivers depend on them.
const (
	Started       Type = "migration.started"        // the target is right, the first record is next
	Paused        Type = "migration.paused"         // no calls are made until somebody resumes
	Resumed       Type = "migration.resumed"        // after that
	BreakerOpened Type = "migration.breaker_opened" // the target does not answer; it is probed
	BreakerClosed Type = "migration.breaker_closed" // after that, by itself
	NeedsDecision Type = "migration.needs_decision" // it waits for a person
	Ended         Type = "migration.ended"          // however: see the exit code
)

// Notice is what the receiver gets, as JSON; docs/notify.md describes it. It
// goes through Temporal, so it holds no user data and no secret.
type Notice struct {
	// ID is the same each time that this notice is sent.
	ID        string    `json:"id"`
	Type      Type      `json:"type"`
	Timestamp time.Time `json:"timestamp"` // when it happened

	WorkflowID string `json:"workflow_id"`
	DataFile   string `json:"data_file"`
	Target     string `json:"target"` // its host
	EntityType string `json:"entity_type"`
	Phase      string `json:"phase"`
	// Text is for people.
	Text string `json:"text"`
	// Records are the dispositions and ExitCode is that of the starter, both at
	// the end. Of a migration that could not run there are no records.
	Records  *migration.Counts `json:"records,omitempty"`
	ExitCode *int              `json:"exit_code,omitempty"`
	// Command is what a person may do, or look at, next.
	Command string `json:"command,omitempty"`
}

// About sets what the options of a migration say, unless it is set already.
func (n *Notice) About(s migration.Spec) {
	for _, field := range []struct {
		to    *string
		value string
	}{{&n.WorkflowID, s.ID}, {&n.DataFile, s.InputName()}, {&n.Target, s.Target.Host()}, {&n.EntityType, s.Target.EntityType}} {
		if *field.to == "" {
			*field.to = field.value
		}
	}
}

// ID makes the id of a notice from what tells it from all others. It holds
// nothing that a user has named, so that no full stop is in it: the
// specification wants that of what is signed.
func ID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return "msg_" + hex.EncodeToString(sum[:16])
}

// Command is what a person may type: "starter resume <workflow id>".
func Command(verb, workflowID string) string {
	if !plain.MatchString(workflowID) {
		workflowID = "'" + strings.ReplaceAll(workflowID, "'", `'\''`) + "'"
	}
	return "starter " + verb + " " + workflowID
}

// plain is what no shell takes for more than it is.
var plain = regexp.MustCompile(`^[\pL\pN_.,:/@%+=-]+$`)
