package main

import (
	"fmt"
	"strings"
	"time"

	"durable-dataload/internal/limiter"
	"durable-dataload/workflows"
)

// condition is what of a migration is reported when it changes.
type condition struct {
	paused              string // by which user, when and why
	decision, decidedBy string
	closed              string // why no calls are made, unless that is a pause
	breaker             bool
	probe               time.Time
}

func conditionOf(c *workflows.Steering, gate *limiter.RunView) (s condition) {
	if c != nil {
		s.decision, s.decidedBy = c.Decision, c.DecidedBy
		if c.Paused {
			s.paused = c.PausedText
		}
	}
	if gate != nil {
		s.breaker, s.probe = gate.Breaker, gate.Probe
		if s.paused == "" {
			s.closed = gate.Closed
		}
	}
	return s
}

// rests reports whether calls are suspended.
func (s condition) rests() bool { return s.paused != "" || s.closed != "" }

// quietAfter is how long no call may end before that is reported. By default a call
// times out after 10 seconds.
const quietAfter = 20 * time.Second

// quiet is for how long no call has ended; 0 if that is expected at the allowed rate, or
// not known.
func quiet(p workflows.Progress, gate *limiter.RunView, now time.Time) time.Duration {
	expected := quietAfter
	if gate != nil && gate.Allowed > 0 {
		expected = max(expected, time.Duration(3*float64(time.Second)/gate.Allowed))
	}
	if idle := now.Sub(p.LastCall); !p.LastCall.IsZero() && idle > expected {
		return idle
	}
	return 0
}

// news are the lines that report the changes.
func (s condition) news(before condition, id string, now time.Time) []string {
	var lines []string
	if s.decision != "" && s.decision != before.decision {
		lines = append(lines, decisionText(s.decision, s.decidedBy, id))
	}
	switch {
	case s.paused == before.paused:
	case s.paused == "":
		lines = append(lines, "It is no longer paused.")
	default:
		lines = append(lines, pausedText(s.paused, id))
	}
	switch {
	case s.closed != "" && (before.closed == "" || s.breaker != before.breaker || s.breaker && s.closed != before.closed):
		lines = append(lines, closedText(s.closed, s.probe, now))
	case before.breaker && !s.breaker:
		lines = append(lines, "The breaker is closed again.")
	}
	return lines
}

// decisionText has the decision that a migration waits for, and the commands that answer it.
func decisionText(decision, by, id string) string {
	return fmt.Sprintf("It waits for a decision: %s.\n  starter %s %s   to continue\n  starter %s %s   to stop",
		strings.TrimSuffix(decision, "."), by, id, workflows.UpdateStop, id)
}

func pausedText(by, id string) string {
	return "Paused " + by + "; resume with: starter " + workflows.UpdateResume + " " + id
}

func closedText(why string, probe, now time.Time) string {
	text := "No calls are made now: " + why
	if left := probe.Sub(now).Round(time.Second); left > 0 {
		text += fmt.Sprintf("; next probe in %s", left)
	}
	return text
}
