package catalogue

import (
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
)

// State is the status of a migration or an export, in a word. Scripts depend on it.
type State string

const (
	Running    State = "running"
	Done       State = "done"       // every record was attempted, and none is unknown
	Unresolved State = "unresolved" // every record was attempted, some are unknown
	Stopped    State = "stopped"    // early, and was not resumed
	Cancelled  State = "cancelled"  // for good
	CutOff     State = "cut_off"    // nothing runs it, and it was not stopped
	Failed     State = "failed"     // it could not run, or not write its result files
	RolledBack State = "rolled_back"
	// A rollback was started, and some records are not undone.
	RolledBackInPart State = "rolled_back_in_part"
)

// Text is the state as text, and what to do next.
func (s State) Text() (text, next string) {
	switch s {
	case Unresolved:
		return "done, with records in unknown state", "; rerun the command to load those again that may be sent again (not records without a unique key), or end it with starter cancel"
	case Stopped:
		return "stopped", "; rerun the command to resume"
	case Cancelled:
		return "cancelled, for good", ""
	case CutOff:
		return "cut off", "; rerun the command to resume"
	case Failed:
		return "could not run", ""
	case RolledBack:
		return "rolled back", ""
	case RolledBackInPart:
		return "rolled back in part", "; rerun starter rollback to resume"
	}
	return string(s), ""
}

// State is that of the service, or of the folder where the service does not have the
// migration any more. reason is why the last run failed or ended early without an order;
// "" otherwise, or if it is not known.
func (m Migration) State() (_ State, reason string) {
	switch m.Status {
	case enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW:
		return Running, ""
	}
	if m.Folder.IsZero() {
		return m.stateInService(), ""
	}
	if m.IsExport {
		return m.stateOfExport()
	}
	if mark, err := m.Folder.RolledBack(); err == nil {
		return rolledBack(mark)
	}
	if m.Folder.Cancelled() {
		return Cancelled, ""
	}
	if finished, err := m.Folder.Finished(); finished && err == nil {
		return Done, ""
	}
	rerun, without := m.WithoutResult()
	if failure, err := m.Folder.Failure(); err == nil && !without && failure.Stopped {
		return Stopped, failure.Reason
	} else if err == nil && !without {
		return Failed, failure.Reason
	}
	summary, err := m.Folder.Summary()
	switch {
	case m.Status == enumspb.WORKFLOW_EXECUTION_STATUS_FAILED && !without:
		return Failed, ""
	case m.Status == enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED && !without:
		return Stopped, ""
	case err != nil || m.IsCutOffAfter(summary):
		return CutOff, ""
	}
	last, _ := m.lastRun(rerun.Began)
	return StateAfter(summary), last.Reason
}

// WithoutResult returns the last run, if it ended before its first call and an earlier run
// has a result or has sent something: the state is then that of the earlier one.
func (m Migration) WithoutResult() (rerun migration.Failure, ok bool) {
	rerun, err := m.Folder.Failure()
	if err != nil || rerun.Began.IsZero() {
		return migration.Failure{}, false
	}
	if _, err := m.Folder.Summary(); err == nil {
		return rerun, true
	}
	claimed, err := m.Folder.Claimed()
	if !claimed || err != nil {
		return migration.Failure{}, false
	}
	return rerun, true
}

// IsCutOffAfter reports whether the last run may have sent something and has no result: the
// summary is that of an earlier one.
func (m Migration) IsCutOffAfter(summary migration.Summary) bool {
	rerun, _ := m.WithoutResult()
	last, ended := m.lastRun(rerun.Began)
	return !ended && last.At.After(summary.FinishedAt)
}

// rolledBack is the state of a migration with a rollback.
func rolledBack(mark migration.RolledBack) (_ State, reason string) {
	switch {
	case !mark.Done:
		return RolledBackInPart, "the rollback has not ended"
	case mark.Failed > 0:
		return RolledBackInPart, figures.Count(mark.Failed, "record") + " could not be undone"
	}
	return RolledBack, ""
}

// stateOfExport is that of the folder of an export.
func (m Migration) stateOfExport() (_ State, reason string) {
	folder := m.Folder.Export()
	if summary, err := folder.Summary(); err == nil {
		return Done, summary.Missing()
	}
	if folder.Cancelled() {
		return Cancelled, ""
	}
	failure, err := folder.Failure()
	switch {
	case err != nil:
		return CutOff, ""
	case failure.Stopped:
		return Stopped, failure.Reason
	}
	return Failed, failure.Reason
}

func (m Migration) stateInService() State {
	switch m.Status {
	case enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		return Done
	case enumspb.WORKFLOW_EXECUTION_STATUS_FAILED:
		return Failed
	case enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED:
		return Stopped
	}
	return CutOff
}

// StateAfter is the state after a run that has ended.
func StateAfter(s migration.Summary) State {
	if s.Cancelled {
		return Cancelled
	}
	switch s.Records.ExitCode() {
	case migration.ExitStopped:
		return Stopped
	case migration.ExitUnknown:
		return Unresolved
	}
	return Done
}

// lastRun is the last recorded begin or end of a run; before a moment, unless that is zero.
func (m Migration) lastRun(before time.Time) (last migration.Event, ended bool) {
	events, err := m.Folder.Events()
	if err != nil {
		return last, false
	}
	for _, e := range slices.Backward(events) {
		if !before.IsZero() && !e.At.Before(before) {
			continue
		}
		if e.Kind == migration.EventBegun || e.Kind == migration.EventEnded {
			return e, e.Kind == migration.EventEnded
		}
	}
	return last, false
}
