package workflows

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/migration"
)

// fakeFiles has the activities of a schedule.
type fakeFiles struct {
	listings []activities.Found // of one FindFiles after the other; the last one stays
	prepare  map[string]activities.Prepared
	finds    error // of FindFiles
	moving   error // of PutAway
	gone     bool  // the files have changed when they are to be moved

	asked   []activities.FindInput
	moved   []string
	dropped []string
	written []migration.Scheduled
}

func (f *fakeFiles) FindFiles(_ context.Context, in activities.FindInput) (activities.Found, error) {
	f.asked = append(f.asked, in)
	return f.listings[min(len(f.asked), len(f.listings))-1], f.finds
}

func (f *fakeFiles) PrepareFile(_ context.Context, in activities.PrepareInput) (activities.Prepared, error) {
	name := filepath.Base(in.File.Path)
	p, ok := f.prepare[name]
	if !ok {
		p.Spec = typicalSpec()
		p.Spec.ID, p.Spec.DataFile = "migration-"+name, in.File.Path
	}
	if p.Instead != nil {
		p.Instead.File = in.File.Path
	}
	return p, nil
}

func (f *fakeFiles) PutAway(_ context.Context, in activities.PutAwayInput) (string, error) {
	if in.Staged != "" {
		f.dropped = append(f.dropped, in.Staged)
	}
	if f.moving != nil || in.Folder == "" || f.gone {
		return "", f.moving
	}
	path := filepath.Join(filepath.Dir(in.File.Path), in.Folder, filepath.Base(in.File.Path))
	f.moved = append(f.moved, in.Folder+"/"+filepath.Base(in.File.Path))
	return path, nil
}

func (f *fakeFiles) WriteScheduled(_ context.Context, in activities.WriteScheduledInput) (string, error) {
	f.written = append(f.written, in.Scheduled)
	return "scheduled_Nov_22_2026_13_05_00.json", nil
}

var written = time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)

// files are found files, as in the first listing.
func files(names ...string) (found activities.Found) {
	for _, name := range names {
		found.Files = append(found.Files, migration.FoundFile{Path: "/data/incoming/" + name, Size: 1000, ModTime: written})
	}
	return found
}

// scheduled is a run of a schedule over these files, with what becomes of the
// migration of each. Without one, its migration creates ten records.
type scheduled struct {
	*environment
	files *fakeFiles
	in    ScheduledInput
}

func newScheduled(t *testing.T, f *fakeFiles, children map[string]func() (Result, error)) *scheduled {
	t.Helper()
	s := &scheduled{environment: newEnvironment(t, newFake(t, 1)), files: f}
	for _, activity := range []any{f.FindFiles, f.PrepareFile, f.PutAway, f.WriteScheduled} {
		s.RegisterActivity(activity)
	}
	if children != nil {
		s.migrations(func(_ workflow.Context, spec migration.Spec) (Result, error) {
			if child := children[spec.InputName()]; child != nil {
				return child()
			}
			return came(migration.Counts{Total: 10, Created: 10})()
		})
	}
	s.in = ScheduledInput{Schedule: migration.Schedule{
		ID: "nightly", Patterns: []string{"/data/incoming/*.csv"}, StateDir: "/state", Settle: 10 * time.Second, Options: typicalSpec(),
	}}
	return s
}

// migrations replaces the MigrationWorkflow.
func (s *scheduled) migrations(f func(workflow.Context, migration.Spec) (Result, error)) {
	s.RegisterWorkflowWithOptions(f, workflow.RegisterOptions{Name: "MigrationWorkflow", DisableAlreadyRegisteredCheck: true})
}

// came is a migration with this result.
func came(c migration.Counts) func() (Result, error) {
	return func() (Result, error) {
		name := "retry_x.csv"
		return Result{Summary: migration.Summary{Records: c, Files: migration.Files{Unresolved: &name}}}, nil
	}
}

// run returns the summary that was written, and the error.
func (s *scheduled) run() (migration.Scheduled, error) {
	t := s.fake.t
	t.Helper()
	s.ExecuteWorkflow(ScheduledMigrationWorkflow, s.in)
	if !s.IsWorkflowCompleted() {
		t.Fatal("the workflow has not ended")
	}
	if len(s.files.written) == 0 {
		return migration.Scheduled{}, s.GetWorkflowError()
	}
	return s.files.written[len(s.files.written)-1], s.GetWorkflowError()
}

// results are the results of the files of a run: "one.csv migrated".
func results(so migration.Scheduled) (lines []string) {
	for _, f := range so.Files {
		lines = append(lines, filepath.Base(f.File)+" "+string(f.Result))
	}
	return lines
}

func isFilesLeft(err error, words ...string) error {
	var application *temporal.ApplicationError
	if !errors.As(err, &application) || application.Type() != FilesLeft {
		return fmt.Errorf("the run ended with %v; want %s", err, FilesLeft)
	}
	for _, word := range append(words, "scheduled_Nov_22_2026_13_05_00.json") {
		if !strings.Contains(application.Message(), word) {
			return fmt.Errorf("found %q, want %q in it", application.Message(), word)
		}
	}
	return nil
}

func TestAScheduleMigratesNewFilesAndMovesThem(t *testing.T) {
	known := func(c migration.Counts) activities.Prepared {
		return activities.Prepared{Instead: &migration.ScheduledFile{Result: migration.FileKnown, WorkflowID: "migration-before", Records: &c}}
	}
	for name, tc := range map[string]struct {
		prepared activities.Prepared
		child    func() (Result, error)
		keep     bool
		moved    []string
		results  []string
		known    int
		children int
		left     bool
	}{
		"all created":       {child: came(migration.Counts{Total: 3, Created: 2, Recovered: 1}), moved: []string{"done/a.csv"}, results: []string{"a.csv migrated"}, children: 1},
		"kept":              {child: came(migration.Counts{Total: 3, Created: 3}), keep: true, results: []string{"a.csv migrated"}, children: 1},
		"failed records":    {child: came(migration.Counts{Total: 3, Created: 2, Failed: 1}), moved: []string{"failed/a.csv"}, results: []string{"a.csv failed records"}, children: 1},
		"unknown records":   {child: came(migration.Counts{Total: 3, Failed: 1, Unknown: 2}), results: []string{"a.csv unfinished"}, children: 1, left: true},
		"remaining records": {child: came(migration.Counts{Total: 3, Created: 1, Remaining: 2}), results: []string{"a.csv unfinished"}, children: 1, left: true},
		"known, done":       {prepared: known(migration.Counts{Total: 3, Created: 3}), moved: []string{"done/a.csv"}, results: []string{"a.csv known"}, known: 1},
		"known, failed":     {prepared: known(migration.Counts{Total: 3, Failed: 3}), moved: []string{"failed/a.csv"}, results: []string{"a.csv known"}, known: 1},
		"known, kept":       {prepared: known(migration.Counts{Total: 3, Created: 3}), keep: true, known: 1},
		"refused": {prepared: activities.Prepared{Instead: &migration.ScheduledFile{Result: migration.FileRefused, Reason: "damaged"}},
			moved: []string{"failed/a.csv"}, results: []string{"a.csv refused"}, left: true},
		"rewritten since": {prepared: activities.Prepared{Instead: &migration.ScheduledFile{Result: migration.FileGrowing}}, results: []string{"a.csv growing"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeFiles{listings: []activities.Found{files("a.csv")}, prepare: map[string]activities.Prepared{}}
			if tc.prepared.Instead != nil {
				f.prepare["a.csv"] = tc.prepared
			}
			s := newScheduled(t, f, map[string]func() (Result, error){"a.csv": tc.child})
			s.in.Schedule.KeepFiles = tc.keep
			so, err := s.run()
			if tc.left {
				if err := isFilesLeft(err, "a.csv"); err != nil {
					t.Error(err)
				}
			} else if err != nil {
				t.Error(err)
			}
			expect(t, "moved", f.moved, tc.moved)
			expect(t, "results", results(so), tc.results)
			expect(t, "known", so.Known, tc.known)
			expect(t, "children", len(s.child), tc.children)
			if tc.children > 0 && s.child[0] != "MigrationWorkflow migration-a.csv" {
				t.Errorf("the child is %s; want the workflow id of the migration", s.child[0])
			}
			for _, file := range so.Files {
				if len(tc.moved) > 0 && file.MovedTo != "/data/incoming/"+tc.moved[0] {
					t.Errorf("the file was moved to %q; want %s", file.MovedTo, tc.moved[0])
				}
			}
		})
	}
}

func TestAFileThatChangesBetweenTwoListingsWaits(t *testing.T) {
	longer, touched := files("longer.csv"), files("touched.csv")
	longer.Files[0].Size++
	touched.Files[0].ModTime = written.Add(time.Nanosecond)
	second := files("still.csv")
	second.Files = append(append(second.Files, longer.Files...), touched.Files...)
	second.Files = append(second.Files, files("came.csv").Files...)
	f := &fakeFiles{listings: []activities.Found{files("longer.csv", "still.csv", "touched.csv", "vanished.csv"), second}}
	s := newScheduled(t, f, map[string]func() (Result, error){})
	so, err := s.run()
	if err != nil {
		t.Error(err)
	}
	expect(t, "results", results(so), []string{"still.csv migrated", "longer.csv growing", "touched.csv growing", "came.csv growing"})
	expect(t, "timers", s.timers, []time.Duration{10 * time.Second})
	expect(t, "moved", f.moved, []string{"done/still.csv"})
}

func TestAFileThatAnotherCommandMigratesStays(t *testing.T) {
	f := &fakeFiles{listings: []activities.Found{files("a.csv", "b.csv")}, prepare: map[string]activities.Prepared{}}
	s := newScheduled(t, f, map[string]func() (Result, error){})
	taken := typicalSpec()
	taken.ID = "default-test-workflow-id" // that of the run itself in this environment
	f.prepare["a.csv"] = activities.Prepared{Spec: taken}
	so, err := s.run()
	if err != nil {
		t.Error(err)
	}
	expect(t, "results", results(so), []string{"a.csv elsewhere", "b.csv migrated"})
	expect(t, "moved", f.moved, []string{"done/b.csv"})
}

func TestARunWithoutFilesEndsAtOnce(t *testing.T) {
	s := newScheduled(t, &fakeFiles{listings: []activities.Found{{}}}, nil)
	so, err := s.run()
	if err != nil || len(so.Files) != 0 || len(s.timers) != 0 || len(s.files.written) != 1 {
		t.Errorf("%+v, %v, timers %v; want an empty summary, and no timer", so, err, s.timers)
	}
}

// The child is the real one here: it depends on which of its activities refused.
func TestARefusedOrDamagedFileDoesNotStopTheNext(t *testing.T) {
	for kind, reason := range map[string]string{activities.Refused: "a.csv, line 3: not UTF-8", activities.Damaged: "spec.json is damaged"} {
		f := &fakeFiles{listings: []activities.Found{files("a.csv", "b.csv")}}
		s := newScheduled(t, f, nil)
		s.fake.inspect = func() error {
			if s.fake.count("InspectSource") == 1 {
				return temporal.NewNonRetryableApplicationError(reason, kind, nil)
			}
			return nil
		}
		so, err := s.run()
		if err := isFilesLeft(err, "a.csv (refused)"); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		expect(t, kind+": results", results(so), []string{"a.csv refused", "b.csv migrated"})
		expect(t, kind+": moved", f.moved, []string{"failed/a.csv", "done/b.csv"})
		expect(t, kind+": reason", so.Files[0].Reason, reason)
	}
}

func TestAFileThatCannotBePreparedIsReportedAndTheNextIsMigrated(t *testing.T) {
	found := files("\uFFFD.csv", "b.csv", "c.csv")
	found.Files[0].Problem = `the name "\xff.csv" is not UTF-8`
	f := &fakeFiles{listings: []activities.Found{found}, prepare: map[string]activities.Prepared{"b.csv": {Instead: &migration.ScheduledFile{Result: migration.FileRefused, Reason: "its folder is damaged"}}}}
	so, err := newScheduled(t, f, map[string]func() (Result, error){}).run()
	if err := isFilesLeft(err, "(refused)", "b.csv (refused)"); err != nil {
		t.Error(err)
	}
	expect(t, "results", results(so), []string{"\uFFFD.csv refused", "b.csv refused", "c.csv migrated"})
	expect(t, "moved", f.moved, []string{"failed/b.csv", "done/c.csv"})
	expect(t, "reason", so.Files[0].Reason, found.Files[0].Problem)
}

func TestTroubleWithTheTargetLeavesTheFiles(t *testing.T) {
	f := &fakeFiles{listings: []activities.Found{files("a.csv", "b.csv")}}
	s := newScheduled(t, f, nil)
	s.fake.check = func(int) error {
		return temporal.NewNonRetryableApplicationError("wrong client id", activities.Refused, nil)
	}
	so, err := s.run()
	if err := isFilesLeft(err, "a.csv (not run)"); err != nil {
		t.Error(err)
	}
	expect(t, "results", results(so), []string{"a.csv not run"})
	expect(t, "halted", so.Halted, "wrong client id")
	if len(f.moved) > 0 || s.fake.count("InspectSource") != 1 {
		t.Errorf("moved %q, %d migrations; want none moved and one", f.moved, s.fake.count("InspectSource"))
	}
}

func TestAWorkerOfOtherFoldersLeavesTheFiles(t *testing.T) {
	f := &fakeFiles{listings: []activities.Found{files("a.csv", "b.csv")}}
	s := newScheduled(t, f, nil)
	s.fake.inspect = func() error {
		return temporal.NewNonRetryableApplicationError("in no state folder of worker 1@a", activities.Unfit, nil)
	}
	so, err := s.run()
	if err := isFilesLeft(err, "a.csv (not run)"); err != nil {
		t.Error(err)
	}
	expect(t, "results", results(so), []string{"a.csv not run"})
	expect(t, "moved", f.moved, nil)
}

func TestAMigrationThatWasHaltedEndsTheRun(t *testing.T) {
	f := &fakeFiles{listings: []activities.Found{files("a.csv", "b.csv")}}
	s := newScheduled(t, f, map[string]func() (Result, error){"a.csv": func() (Result, error) {
		r, err := came(migration.Counts{Total: 3, Created: 1, Remaining: 2})()
		r.Halted = "the disk is full"
		return r, err
	}})
	so, err := s.run()
	if err := isFilesLeft(err, "a.csv (unfinished)"); err != nil {
		t.Error(err)
	}
	expect(t, "results", results(so), []string{"a.csv unfinished"})
	expect(t, "reason", so.Files[0].Reason, "the disk is full")
}

func TestARunThatFindsNothingToReadSaysWhy(t *testing.T) {
	f := &fakeFiles{listings: []activities.Found{{}}, finds: temporal.NewNonRetryableApplicationError("cannot write to the output folder", activities.Refused, nil)}
	so, err := newScheduled(t, f, nil).run()
	if err := isFilesLeft(err, "cannot write to the output folder"); err != nil {
		t.Error(err)
	}
	expect(t, "halted", so.Halted, "cannot write to the output folder")
}

func TestAFileThatCannotBeMovedEndsTheRun(t *testing.T) {
	f := &fakeFiles{listings: []activities.Found{files("a.csv", "b.csv")}, moving: temporal.NewNonRetryableApplicationError("read-only file system", activities.Storage, nil)}
	so, err := newScheduled(t, f, map[string]func() (Result, error){}).run()
	if err := isFilesLeft(err, "read-only file system"); err != nil {
		t.Error(err)
	}
	expect(t, "results", results(so), []string{"a.csv migrated"})
}

func TestAFileThatWasReplacedDuringItsMigrationStays(t *testing.T) {
	f := &fakeFiles{listings: []activities.Found{files("a.csv")}, gone: true}
	so, err := newScheduled(t, f, map[string]func() (Result, error){}).run()
	if err != nil || so.Files[0].MovedTo != "" || !strings.Contains(so.Files[0].Reason, "has changed since") {
		t.Errorf("%+v, %v; want a file that stays, and the reason", so.Files, err)
	}
}

func TestAPlainCopyIsRemovedAlsoWhenTheFileStays(t *testing.T) {
	spec := typicalSpec()
	f := &fakeFiles{listings: []activities.Found{files("a.csv.gz")}, prepare: map[string]activities.Prepared{
		"a.csv.gz": {Spec: spec, Staged: "/state/inputs/abc.csv"},
	}}
	s := newScheduled(t, f, map[string]func() (Result, error){})
	s.in.Schedule.KeepFiles = true
	if _, err := s.run(); err != nil {
		t.Error(err)
	}
	expect(t, "dropped", f.dropped, []string{"/state/inputs/abc.csv"})
	expect(t, "moved", f.moved, []string(nil))
}

func TestMoreFilesContinueAsNewAfterTheLast(t *testing.T) {
	found := files("a.csv", "b.csv")
	found.More = true
	f := &fakeFiles{listings: []activities.Found{found}}
	s := newScheduled(t, f, map[string]func() (Result, error){"b.csv": came(migration.Counts{Total: 2, Unknown: 2})})
	_, err := s.run()
	next := nextInput[ScheduledInput](t, err)
	expect(t, "after", next.After, "/data/incoming/b.csv")
	expect(t, "results so far", results(next.So), []string{"a.csv migrated", "b.csv unfinished"})

	f = &fakeFiles{listings: []activities.Found{files("c.csv")}}
	s = newScheduled(t, f, map[string]func() (Result, error){})
	s.in = next
	so, err := s.run()
	if err := isFilesLeft(err, "b.csv (unfinished)"); err != nil {
		t.Error(err)
	}
	expect(t, "results at the end", results(so), []string{"a.csv migrated", "b.csv unfinished", "c.csv migrated"})
	expect(t, "asked for the files after", f.asked[0].After, "/data/incoming/b.csv")
	if !so.StartedAt.Equal(next.So.StartedAt) {
		t.Errorf("it started at %s; want %s, the start of its first run", so.StartedAt, next.So.StartedAt)
	}
}

func TestARunLeavesToTheNextOneWhatItCannotReportOn(t *testing.T) {
	found := files("z.csv")
	found.More = true
	f := &fakeFiles{listings: []activities.Found{found}}
	s := newScheduled(t, f, map[string]func() (Result, error){})
	for range 3000 {
		s.in.So.Files = append(s.in.So.Files, migration.ScheduledFile{File: typicalSpec().DataFile, Result: migration.FileMigrated, MovedTo: typicalSpec().DataFile, Reason: strings.Repeat("r", 250)})
	}
	s.in.So.StartedAt = time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)
	so, err := s.run()
	if err != nil || !so.More || len(so.Files) != 3001 {
		t.Errorf("%d files, more: %t, %v; want 3001, and that there are more, which pauses no schedule", len(so.Files), so.More, err)
	}
	expect(t, "written", len(f.written), 1)
}

func TestACancelledRunStopsItsMigrationAndWritesItsSummary(t *testing.T) {
	f := &fakeFiles{listings: []activities.Found{files("a.csv", "b.csv")}}
	s := newScheduled(t, f, nil)
	s.migrations(func(ctx workflow.Context, _ migration.Spec) (Result, error) {
		s.CancelWorkflow()
		ctx.Done().Receive(ctx, nil)
		return came(migration.Counts{Total: 3, Created: 1, Remaining: 2})()
	})
	so, err := s.run()
	if !temporal.IsCanceledError(err) {
		t.Errorf("the run ended with %v; want it cancelled, which pauses no schedule", err)
	}
	expect(t, "results", results(so), []string{"a.csv unfinished"})
	expect(t, "halted", so.Halted, "stopped")
	expect(t, "moved", f.moved, []string(nil))
}

func TestAFileOfAScheduleNeedsLittleHistory(t *testing.T) {
	in := ScheduledInput{Schedule: migration.Schedule{ID: "nightly", Patterns: []string{"/data/incoming/*.csv"}, StateDir: "/state", Options: typicalSpec()}}
	if n := size(t, in); n > 2000 {
		t.Errorf("the input of a schedule has %d bytes; Temporal keeps it with each activity: want at most 2000", n)
	}
	c := migration.Counts{Total: 100_000, Created: 99_000, Failed: 1000}
	done := migration.ScheduledFile{File: typicalSpec().DataFile, Result: migration.FileFailed, WorkflowID: typicalSpec().ID, Records: &c, MovedTo: typicalSpec().DataFile + "-done"}
	if n := size(t, done); n*filesARun > 100_000 {
		t.Errorf("%d files have %d bytes; continuing as new carries them: want at most 100,000", filesARun, n*filesARun)
	}
}
