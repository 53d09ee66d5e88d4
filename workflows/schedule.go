package workflows

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
)

// ScheduledInput is a run of a schedule, and how far it is.
type ScheduledInput struct {
	Schedule migration.Schedule `json:"schedule"`

	// What the runs before this one have done. After is the path of their last file.
	After string              `json:"after,omitempty"`
	So    migration.Scheduled `json:"so,omitzero"`
}

// FilesLeft is the type of the error of a run that leaves files which need attention,
// or that migrated none because of trouble. Its text becomes the note of a schedule
// that pauses; scheduled_*.json has all files.
const FilesLeft = "FilesLeft"

// filesARun bounds the history of a run of the workflow, which then continues as new: a file costs about 20 events.
const filesARun = 100

// resultRoom bounds the results that are carried along, in bytes: Temporal accepts 2 MB, and those of filesARun files with the
// longest paths have less than half of that. The others are left to the next run of the schedule.
const resultRoom = 1 << 20

// ScheduledMigrationWorkflow migrates the new files, one after the other, each as a
// child with the workflow id that the command for the file would give it, and moves
// them away. A file is new by its content, not by its name. One that changes between
// two listings is left to the next run.
//
// It fails with FilesLeft if a file was not migrated, or not completely, so that the
// schedule may pause. Failed records alone are no failure: their file is done. It can
// be cancelled at any time: the migration that runs is stopped, and the next run
// resumes it.
func ScheduledMigrationWorkflow(ctx workflow.Context, in ScheduledInput) (migration.Scheduled, error) {
	// It does not retry an unavailable bucket for long: the schedule starts the next run.
	ctx = withAttempts(withFolder(ctx, in.Schedule.StateDir), diskAttempts)
	s := &scheduledRun{in: in, so: in.So}
	if s.so.StartedAt.IsZero() {
		s.so = migration.Scheduled{
			Schedule: in.Schedule.ID, WorkflowID: workflow.GetInfo(ctx).WorkflowExecution.ID,
			StartedAt: workflow.Now(ctx).UTC().Truncate(time.Second), Files: []migration.ScheduledFile{},
		}
	}
	err := workflow.SetQueryHandlerWithOptions(ctx, QueryProgress, func() (migration.Scheduled, error) { return s.so, nil },
		workflow.QueryHandlerOptions{Description: "The result of each file so far."})
	if err != nil {
		return s.so, err
	}
	return s.run(ctx)
}

type scheduledRun struct {
	in ScheduledInput
	so migration.Scheduled
	at string // path of the file that is being migrated
}

func (s *scheduledRun) run(ctx workflow.Context) (migration.Scheduled, error) {
	s.show(ctx)
	found, settled, err := s.find(ctx)
	if err != nil && ctx.Err() == nil {
		s.so.Halted = Cause(err)
	}
	for _, file := range found.Files {
		if s.so.Halted != "" || ctx.Err() != nil {
			break
		}
		if file.Problem != "" {
			s.note(ctx, migration.ScheduledFile{File: file.Path, Result: migration.FileRefused, Reason: file.Problem})
			continue
		}
		if !settled[file.Path] {
			s.note(ctx, migration.ScheduledFile{File: file.Path, Result: migration.FileGrowing, Reason: "it is still being written; the next run checks it again"})
			continue
		}
		s.file(ctx, file)
	}
	if ctx.Err() == nil && s.so.Halted == "" && found.More {
		if s.hasRoom() {
			return s.so, workflow.NewContinueAsNewError(ctx, ScheduledMigrationWorkflow, ScheduledInput{
				Schedule: s.in.Schedule, After: found.Files[len(found.Files)-1].Path, So: s.so,
			})
		}
		s.so.More = true
	}
	return s.end(ctx)
}

// hasRoom reports whether the results of more files can be carried along.
func (s *scheduledRun) hasRoom() bool {
	const others = 300 // bytes: the names of the fields, the counts
	size := 0
	for _, f := range s.so.Files {
		size += len(f.File) + len(f.WorkflowID) + len(f.MovedTo) + len(f.Reason) + others
	}
	return size < resultRoom
}

// find lists the files twice, and says which of them were not written in between.
func (s *scheduledRun) find(ctx workflow.Context) (found activities.Found, settled map[string]bool, err error) {
	first, err := s.list(ctx, "which files are there?")
	if err != nil || len(first.Files) == 0 {
		return first, nil, err
	}
	if err := sleep(ctx, s.in.Schedule.Settle, "is any of them still being written?"); err != nil {
		return first, nil, err
	}
	if found, err = s.list(ctx, "have they changed?"); err != nil {
		return found, nil, err
	}
	before := map[string]migration.FoundFile{}
	for _, f := range first.Files {
		before[f.Path] = f
	}
	settled = map[string]bool{}
	for _, f := range found.Files {
		settled[f.Path] = f.Same(before[f.Path])
	}
	return found, settled, nil
}

func (s *scheduledRun) list(ctx workflow.Context, summary string) (found activities.Found, err error) {
	err = execute(ctx, summary, a.FindFiles, activities.FindInput{Schedule: s.in.Schedule, After: s.in.After, Limit: filesARun}, &found)
	return found, err
}

// file handles one file.
func (s *scheduledRun) file(ctx workflow.Context, file migration.FoundFile) {
	name := shownBase(file.Path)
	s.at = file.Path
	defer func() { s.at = "" }()
	s.show(ctx)
	var p activities.Prepared
	if err := execute(ctx, "is "+name+" new?", a.PrepareFile, activities.PrepareInput{Schedule: s.in.Schedule, File: file}, &p); err != nil {
		s.notRun(ctx, migration.ScheduledFile{File: file.Path}, err)
		return
	}
	done := p.Instead
	if done == nil {
		done = s.migrate(ctx, file, p.Spec)
	}
	if done == nil {
		return
	}
	s.putAway(ctx, file, p.Staged, done)
	s.note(ctx, *done)
}

// migrate runs the migration of a file. It returns nil if the result is noted already
// and the file stays.
func (s *scheduledRun) migrate(ctx workflow.Context, file migration.FoundFile, spec migration.Spec) *migration.ScheduledFile {
	done := &migration.ScheduledFile{File: file.Path, WorkflowID: spec.ID}
	options := childOptions(spec.ID, Summary(spec))
	options.StaticDetails = Details(spec, file.Path)
	if spec.SearchAttributes {
		options.TypedSearchAttributes = Attributes(spec)
	}
	var result Result
	err := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, options), MigrationWorkflow, spec).Get(ctx, &result)
	switch {
	case temporal.IsWorkflowExecutionAlreadyStartedError(err):
		done.Result, done.Reason = migration.FileElsewhere, "its migration is already running, started by another command; the next run checks it again"
	case isOfTheInput(err):
		done.Result, done.Reason = migration.FileRefused, Cause(err)
	case err != nil:
		s.notRun(ctx, *done, err)
		return nil
	default:
		c := result.Summary.Records
		done.Records, done.Result = &c, migration.ResultOf(c)
		if done.Result == migration.FileUnfinished {
			done.Reason = artifacts.Advice(result.Summary)
		}
		if result.Halted != "" {
			done.Reason, s.so.Halted = result.Halted, result.Halted
		}
	}
	return done
}

// isOfTheInput reports whether a migration was refused because of its input, and not of
// the target or the worker.
func isOfTheInput(err error) bool {
	var application *temporal.ApplicationError
	var activity *temporal.ActivityError
	return errors.As(err, &application) && (application.Type() == activities.Refused || application.Type() == activities.Damaged) &&
		errors.As(err, &activity) && activity.ActivityType().GetName() == "InspectSource"
}

// putAway moves a file that is done.
func (s *scheduledRun) putAway(ctx workflow.Context, file migration.FoundFile, staged string, done *migration.ScheduledFile) {
	folder := ""
	if !s.in.Schedule.KeepFiles {
		folder = folderFor(done)
	}
	if folder == "" && staged == "" {
		return
	}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	summary := "move " + shownBase(file.Path) + " into " + folder
	if folder == "" {
		summary = "remove the plain copy of " + shownBase(file.Path)
	}
	err := execute(ctx, summary, a.PutAway, activities.PutAwayInput{
		Schedule: s.in.Schedule, File: file, Folder: folder, Staged: staged,
	}, &done.MovedTo)
	switch {
	case err != nil:
		done.Reason = join(done.Reason, "it could not be moved: "+Cause(err))
		s.so.Halted = done.Reason
	case folder != "" && done.MovedTo == "":
		done.Reason = join(done.Reason, "the file has changed since and was not moved; the next run checks it")
	}
}

// folderFor is where a file goes, "" where it stays.
func folderFor(done *migration.ScheduledFile) string {
	result := done.Result
	if result == migration.FileKnown {
		result = migration.ResultOf(*done.Records)
	}
	switch result {
	case migration.FileMigrated:
		return activities.DoneFolder
	case migration.FileFailed, migration.FileRefused:
		return activities.FailedFolder
	}
	return ""
}

func join(one, two string) string {
	if one == "" {
		return two
	}
	return one + "; " + two
}

// notRun is for an error that is not about the file: the files after it would get the
// same.
func (s *scheduledRun) notRun(ctx workflow.Context, done migration.ScheduledFile, err error) {
	done.Result, done.Reason = migration.FileNotRun, Cause(err)
	if ctx.Err() != nil {
		done.Reason = "stopped"
	}
	s.so.Halted = done.Reason
	s.note(ctx, done)
}

// note keeps the result of a file.
func (s *scheduledRun) note(ctx workflow.Context, done migration.ScheduledFile) {
	workflow.GetLogger(ctx).Info("a file of the schedule", "schedule", s.in.Schedule.ID, "file", done.File, "result", done.Result, "reason", done.Reason)
	if done.Result == migration.FileKnown {
		s.so.Known++
	}
	if done.Result != migration.FileKnown || done.MovedTo != "" {
		s.so.Files = append(s.so.Files, done)
	}
	s.at = ""
	s.show(ctx)
}

// end writes the summary, also of a run that was cancelled.
func (s *scheduledRun) end(ctx workflow.Context) (migration.Scheduled, error) {
	if ctx.Err() != nil {
		s.so.Halted = "stopped"
	}
	free, _ := workflow.NewDisconnectedContext(ctx)
	s.so.FinishedAt = workflow.Now(ctx).UTC().Truncate(time.Second)
	var name string
	err := execute(free, "write the results of the files", a.WriteScheduled, activities.WriteScheduledInput{
		Schedule: s.in.Schedule, Scheduled: s.so,
	}, &name)
	if err != nil {
		reason := join(s.left(), "the summary could not be written: "+Cause(err))
		return s.so, temporal.NewNonRetryableApplicationError(reason, FilesLeft, nil)
	}
	workflow.GetLogger(ctx).Info("a run of the schedule has ended", "schedule", s.in.Schedule.ID, "summary", name)
	if ctx.Err() != nil {
		return s.so, temporal.NewCanceledError("stopped; see " + filepath.Join(s.in.Schedule.Options.OutputDir, name))
	}
	if left := s.left(); left != "" {
		return s.so, temporal.NewNonRetryableApplicationError(left+"; see "+filepath.Join(s.in.Schedule.Options.OutputDir, name), FilesLeft, nil)
	}
	return s.so, nil
}

// left says which files need attention, "" for none.
func (s *scheduledRun) left() string {
	var left []string
	for _, f := range s.so.Files {
		if f.Result.NeedsAttention() {
			left = append(left, fmt.Sprintf("%s (%s)", shownBase(f.File), f.Result))
		}
	}
	const shown = 5
	switch {
	case len(left) > shown:
		return fmt.Sprintf("%s need attention: %s and %d more", figures.Count(len(left), "file"), strings.Join(left[:shown], ", "), len(left)-shown)
	case len(left) > 0:
		return fmt.Sprintf("%s %s attention: %s", figures.Count(len(left), "file"), figures.Plural(len(left), "needs", "need"), strings.Join(left, ", "))
	}
	return s.so.Halted
}

// shownBase is the name of a file, without its folder, as people see it.
func shownBase(path string) string { return safetext.Name(filepath.Base(path)) }

// show writes the current details for the Web UI.
func (s *scheduledRun) show(ctx workflow.Context) {
	text := "Files of " + safetext.Code(strings.Join(s.in.Schedule.Patterns, ", "))
	if s.at != "" {
		text += ", now " + safetext.Code(filepath.Base(s.at))
	}
	if s.so.Known > 0 {
		text += fmt.Sprintf("; %d %s migrated before", s.so.Known, figures.Plural(s.so.Known, "was", "were"))
	}
	const shown = 20 // the details are kept with each change
	files := s.so.Files
	if len(files) > shown {
		text += fmt.Sprintf("\n\nThe last %d of %d:", shown, len(files))
		files = files[len(files)-shown:]
	}
	if len(files) > 0 {
		text += "\n\n| file | result | records | failed | unknown | remaining |\n|:--|:--|--:|--:|--:|--:|\n"
		for _, f := range files {
			var c migration.Counts
			if f.Records != nil {
				c = *f.Records
			}
			text += fmt.Sprintf("| %s | %s | %d | %d | %d | %d |\n", safetext.Code(filepath.Base(f.File)), f.Result, c.Total, c.Failed, c.Unknown, c.Remaining)
		}
	}
	workflow.SetCurrentDetails(ctx, text)
}
