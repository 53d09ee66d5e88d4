package migration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"time"

	"durable-dataload/internal/private"
)

// Event is something that happened to a migration, for its report, its status
// and whoever is on call. It holds no user data and no secret.
type Event struct {
	At   time.Time `json:"at"`
	Kind EventKind `json:"kind"`
	// Of a change by a person: who, which setting ("rate", "paused"), its value
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
	EventChanged  EventKind = "changed"        // by a person
	EventSlowed   EventKind = "slowed"         // New: calls a second allowed from then on
	EventRestored EventKind = "restored"       // the full pace is allowed again
	EventOpened   EventKind = "breaker opened" // Text: why
	EventClosed   EventKind = "breaker closed"
	EventDecision EventKind = "needs decision" // Text: which
	EventCanary   EventKind = "canary"         // Text: what it found
	EventEnded    EventKind = "ended"          // a run of the migration; Text: how
)

// AppendEvent writes an event down. Any number of processes may do so at once.
func (f Folder) AppendEvent(e Event) error {
	e.At = e.At.UTC()
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	file, err := private.OpenLog(f.path(eventsFile))
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n')) // one append is one moment for all processes
	return errors.Join(err, file.Sync(), file.Close())
}

// Events gives what happened, in the order in which it was written down. What was
// written twice, because its activity was run again, happened once; a line that
// a crash has cut is left out.
func (f Folder) Events() ([]Event, error) {
	data, err := os.ReadFile(f.path(eventsFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var events []Event
	seen := map[Event]bool{}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		var e Event
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Kind != "" && !seen[e] {
			seen[e] = true
			events = append(events, e)
		}
	}
	return events, nil
}

const eventsFile = "events.jsonl"
