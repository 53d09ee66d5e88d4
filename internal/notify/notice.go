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

// Type is the type of an event.
type Type string

// The types of notices. Receivers depend on them.
const (
	Started       Type = "migration.started"        // the target is checked, the first record is next
	Paused        Type = "migration.paused"         // no calls are made until it is resumed
	Resumed       Type = "migration.resumed"        // after a pause
	BreakerOpened Type = "migration.breaker_opened" // the target does not answer; it is probed
	BreakerClosed Type = "migration.breaker_closed" // the target answers again
	NeedsDecision Type = "migration.needs_decision" // it waits for a decision
	Ended         Type = "migration.ended"          // for any reason: see the exit code
)

// Notice is the JSON for the receiver; docs/notify.md describes it. It passes
// through Temporal, so it contains no user data and no secret.
type Notice struct {
	// ID is the same in each delivery of this notice.
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
	// Records are the dispositions and ExitCode is that of the starter, both only
	// at the end. A migration that could not run has no records.
	Records  *migration.Counts `json:"records,omitempty"`
	ExitCode *int              `json:"exit_code,omitempty"`
	// Command is the command to run next.
	Command string `json:"command,omitempty"`
}

// About sets fields from the options of a migration, unless they are set already.
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

// ID derives the id of a notice from its unique parts. It contains no user-given
// name, so that it has no full stop, as the specification requires of signed
// content.
func ID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return "msg_" + hex.EncodeToString(sum[:16])
}

// Command returns a command line: "starter resume <workflow id>".
func Command(verb, workflowID string) string {
	if !plain.MatchString(workflowID) {
		workflowID = "'" + strings.ReplaceAll(workflowID, "'", `'\''`) + "'"
	}
	return "starter " + verb + " " + workflowID
}

// plain matches text without a special meaning in a shell.
var plain = regexp.MustCompile(`^[\pL\pN_.,:/@%+=-]+$`)
