package migration

import (
	"bytes"
	"encoding/json"
	"time"

	"durable-dataload/internal/store"
)

// Event is something that happened to a migration, for its report, its status and its
// notices. It holds no user data and no secret.
type Event struct {
	At   time.Time `json:"at"`
	Kind EventKind `json:"kind"`
	// Of a change by an operator: who, which setting ("rate", "paused"), its value
	// before and after, and why.
	Who    string `json:"who,omitempty"`
	Name   string `json:"name,omitempty"`
	Old    string `json:"old,omitempty"`
	New    string `json:"new,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Text is for people: "http 503, 5 calls in a row".
	Text string `json:"text,omitempty"`
}

// EventKind says what happened.
type EventKind string

// The kinds of events.
const (
	EventBegun    EventKind = "begun"          // a run of the migration
	EventChanged  EventKind = "changed"        // by an operator
	EventSlowed   EventKind = "slowed"         // New: calls a second allowed from then on
	EventRestored EventKind = "restored"       // the full pace is allowed again
	EventOpened   EventKind = "breaker opened" // Text: why
	EventClosed   EventKind = "breaker closed"
	EventDecision EventKind = "needs decision" // Text: which
	EventEnded    EventKind = "ended"          // a run of the migration; Text: how
)

// AppendEvent appends an event, durably. Any number of processes may do so at once.
func (f RunFolder) AppendEvent(e Event) error {
	e.At = e.At.UTC()
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return store.Append(f.events(), line)
}

func (f RunFolder) events() string { return f.path("events") }

// Events returns the events in the order in which they were appended. An event that was
// appended twice, by a retried activity, is one event; a line that a crash has truncated is
// left out.
func (f RunFolder) Events() ([]Event, error) {
	data, err := store.ReadLog(f.events())
	if err != nil {
		return nil, err
	}
	var events []Event
	seen := map[Event]bool{}
	for line := range bytes.Lines(data) {
		var e Event
		if json.Unmarshal(line, &e) == nil && e.Kind != "" && !seen[e] {
			seen[e] = true
			events = append(events, e)
		}
	}
	return events, nil
}
