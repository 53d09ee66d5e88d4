package main

import (
	"slices"

	enumspb "go.temporal.io/api/enums/v1"

	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
)

// state is how a migration stands, in a word. Scripts depend on it.
type state string

const (
	stateRunning    state = "running"
	stateDone       state = "done"       // every record was attempted, and none is unknown
	stateUnresolved state = "unresolved" // every record was attempted, some are unknown
	stateStopped    state = "stopped"    // before its time, and was not gone on with
	stateCancelled  state = "cancelled"  // for good
	stateCutOff     state = "cut_off"    // nothing runs, nobody has stopped it, and it had no reason to end
	stateFailed     state = "failed"     // it could not run, or not write its result files
	stateRolledBack state = "rolled_back"
	// A rollback was begun, and has left records as they were.
	stateRolledBackInPart state = "rolled_back_in_part"
)

// text is the state for people, and how it goes on from there.
func (s state) text() (text, next string) {
	switch s {
	case stateUnresolved:
		return "done, with records in unknown state", "; rerun the command to load those again that may be sent again (not records without a unique key)"
	case stateStopped:
		return "stopped", "; the same command goes on"
	case stateCancelled:
		return "cancelled, for good", ""
	case stateCutOff:
		return "cut off", "; the same command goes on"
	case stateFailed:
		return "could not run", ""
	case stateRolledBack:
		return "rolled back", ""
	case stateRolledBackInPart:
		return "rolled back in part", "; starter rollback goes on"
	}
	return string(s), ""
}

// stateNow tells from the service, or from the folder where that knows no more.
// reason is why the last run came to nothing, or ended before its time, where
// nobody asked for that; "" if that is not so, or not known.
func (k known) stateNow() (_ state, reason string) {
	switch k.state {
	case enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW:
		return stateRunning, ""
	}
	if k.folder.IsZero() {
		return k.stateInService(), ""
	}
	if mark, err := k.folder.RolledBack(); err == nil {
		return rolledBack(mark)
	}
	if k.folder.Cancelled() {
		return stateCancelled, ""
	}
	if finished, err := k.folder.Finished(); finished && err == nil {
		return stateDone, ""
	}
	if failure, err := k.folder.Failure(); err == nil && failure.Stopped {
		return stateStopped, failure.Reason
	} else if err == nil {
		return stateFailed, failure.Reason
	}
	summary, err := k.folder.Summary()
	last, ended := k.lastRun()
	switch {
	case k.state == enumspb.WORKFLOW_EXECUTION_STATUS_FAILED:
		return stateFailed, ""
	case k.state == enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED:
		return stateStopped, ""
	case err != nil || !ended && last.At.After(summary.FinishedAt):
		return stateCutOff, ""
	}
	return stateOf(summary), last.Reason
}

// rolledBack tells a rollback that has left nothing from one that has.
func rolledBack(mark migration.RolledBack) (_ state, reason string) {
	switch {
	case !mark.Done:
		return stateRolledBackInPart, "the rollback is not at its end"
	case mark.Failed > 0:
		return stateRolledBackInPart, figures.Count(mark.Failed, "record") + " could not be undone"
	}
	return stateRolledBack, ""
}

func (k known) stateInService() state {
	switch k.state {
	case enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		return stateDone
	case enumspb.WORKFLOW_EXECUTION_STATUS_FAILED:
		return stateFailed
	case enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED:
		return stateStopped
	}
	return stateCutOff
}

// stateOf is the state after a run that came to its end.
func stateOf(s migration.Summary) state {
	if s.Cancelled {
		return stateCancelled
	}
	switch s.Records.ExitCode() {
	case migration.ExitStopped:
		return stateStopped
	case migration.ExitUnknown:
		return stateUnresolved
	}
	return stateDone
}

// lastRun is the last begin or end of a run that was written down.
func (k known) lastRun() (last migration.Event, ended bool) {
	events, err := k.folder.Events()
	if err != nil {
		return last, false
	}
	for _, e := range slices.Backward(events) {
		if e.Kind == migration.EventBegun || e.Kind == migration.EventEnded {
			return e, e.Kind == migration.EventEnded
		}
	}
	return last, false
}
