package migration

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/store"
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
	EventEnded    EventKind = "ended"          // a run of the migration; Text: how
)

// AppendEvent writes an event down. Any number of processes may do so at once.
func (f RunFolder) AppendEvent(e Event) error {
	e.At = e.At.UTC()
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if store.IsURL(string(f)) {
		// Nothing can be appended to an object: each event is one. Its name puts
		// it in its place.
		name := fmt.Sprintf("%020d-%s.json", time.Now().UnixNano(), rand.Text())
		return store.Create(store.Join(f.path(eventsFolder), name), line)
	}
	file, err := durablefs.OpenLog(f.path(eventsFile))
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if isCut(file) {
		line = append([]byte{'\n'}, line...)
	}
	_, err = file.Write(line) // one append is one moment for all processes
	return errors.Join(err, file.Sync(), file.Close())
}

// isCut says whether the last line of a file has no end: who wrote it has
// crashed.
func isCut(file *os.File) bool {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	var last [1]byte
	_, err = file.ReadAt(last[:], info.Size()-1)
	return err == nil && last[0] != '\n'
}

// Events gives what happened, in the order in which it was written down. What was
// written twice, because its activity was run again, happened once; a line that
// a crash has cut is left out.
func (f RunFolder) Events() ([]Event, error) {
	data, err := f.readEvents()
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

// readEvents gives the events, a line each.
func (f RunFolder) readEvents() ([]byte, error) {
	if !store.IsURL(string(f)) {
		data, err := os.ReadFile(f.path(eventsFile))
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return data, err
	}
	names, err := store.List(f.path(eventsFolder))
	if err != nil {
		return nil, err
	}
	var all []byte
	err = store.Ahead(context.Background(), string(f), len(names), func(_ context.Context, n int) ([]byte, error) {
		return store.Read(store.Join(f.path(eventsFolder), names[n]))
	}, func(line []byte) error {
		all = append(append(all, line...), '\n')
		return nil
	})
	return all, err
}

const (
	eventsFile   = "events.jsonl" // of a folder of a disk
	eventsFolder = "events"       // of a bucket
)
