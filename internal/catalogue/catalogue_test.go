package catalogue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/session"
)

const (
	isRunning = enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	hasEnded  = enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
)

func TestWordsNameOneMigration(t *testing.T) {
	several := []Migration{
		{ID: "migration-b.csv-00000000000b-2", Folder: migration.In("state", "00000000000b-2"), Status: isRunning},
		{ID: "migration-b.csv-00000000000b", Folder: migration.In("state", "00000000000b"), Status: hasEnded},
		{ID: "migration-a=1.csv-00000000000a", Status: hasEnded},
		{ID: "migration-c.csv-00000000000c", Status: hasEnded},
		{ID: "migration-c.csv-00000000000d", Status: hasEnded},
		{ID: "migration-Kaufer.csv-00000000000e", Status: hasEnded, Spec: migration.Spec{DataFile: "/data/Käufer.csv"}},
	}
	cases := []struct {
		all   []Migration
		words string
		want  string
		err   []string
	}{
		{several, "migration-b.csv-00000000000b", "migration-b.csv-00000000000b", nil},
		{several, "00000000000b", "migration-b.csv-00000000000b", nil},
		{several, "00000000000b-2", "migration-b.csv-00000000000b-2", nil},
		{several, "00000000000a", "migration-a=1.csv-00000000000a", nil},
		{several, "a=1", "migration-a=1.csv-00000000000a", nil},
		{several, "b.csv", "migration-b.csv-00000000000b-2", nil},
		{several, "c.csv", "", []string{"2 migrations", `"c.csv"`, "migration-c.csv-00000000000c", "migration-c.csv-00000000000d"}},
		{several, "users", "", []string{"no migration", "migration-b.csv-00000000000b-2 (running)", "migration-a=1.csv"}},
		{several, "Käufer.csv", "migration-Kaufer.csv-00000000000e", nil},
		{nil, "users", "", []string{"there are no migrations"}},
	}
	for _, tc := range cases {
		got, err := choose(tc.all, tc.words)
		if got.ID != tc.want || (err != nil) != (tc.err != nil) {
			t.Errorf("%q: %q, %v; want %q", tc.words, got.ID, err, tc.want)
		}
		for _, words := range tc.err {
			if err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("%q: the error %v does not have %q", tc.words, err, words)
			}
		}
	}
	var many []Migration
	for i := range 25 {
		many = append(many, Migration{ID: fmt.Sprintf("migration-%d", i)})
	}
	if _, err := choose(many, "migration"); err == nil || strings.Count(err.Error(), "\n") != 11 || !strings.Contains(err.Error(), "15 more") {
		t.Errorf("the error is %v; want ten of the ids, and how many more there are", err)
	}
}

func TestARunningMigrationIsTheLatest(t *testing.T) {
	all := []Migration{{ID: "new"}, {ID: "old", Status: isRunning}, {ID: "older", Status: isRunning}, {ID: "oldest"}}
	if got, want := ids(runningFirst(all)), "  old (running)\n  older (running)\n  new\n  oldest"; got != want {
		t.Errorf("the latest ones are\n%s\nwant\n%s", got, want)
	}
	if all[0].ID != "new" {
		t.Errorf("the list itself is in another order now: %v", all)
	}
}

func TestTheFolderListsItsMigrationsTheNewestFirst(t *testing.T) {
	dir := t.TempDir()
	begun := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	for i, key := range []string{"00000000000a", "00000000000b", "00000000000c"} {
		folder := migration.In(dir, key)
		if _, err := folder.CreateStart(migration.Start{ID: "migration-" + key, StartedAt: begun.Add(time.Duration(i) * time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := migration.In(dir, "00000000000d").Make(); err != nil { // not started yet
		t.Fatal(err)
	}
	all, err := (&Catalogue{Work: dir}).All(t.Context())
	must(t, err)
	if got, want := ids(all), "  migration-00000000000c\n  migration-00000000000b\n  migration-00000000000a"; got != want {
		t.Errorf("it lists\n%s\nwant\n%s", got, want)
	}
}

func TestOfMigrationsOfOneSecondTheLaterOneComesFirst(t *testing.T) {
	dir := t.TempDir()
	begun := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	for i, key := range []string{"00000000000b", "00000000000c", "00000000000a"} {
		if _, err := migration.In(dir, key).CreateStart(migration.Start{
			ID: "migration-" + key, StartedAt: begun, Began: ledger.Claim{At: begun.Add(time.Duration(i) * time.Millisecond)},
		}); err != nil {
			t.Fatal(err)
		}
	}
	// One that could not start.
	must(t, migration.In(dir, "00000000000d").SaveFailure(migration.Failure{At: begun.Add(time.Millisecond / 2), Spec: migration.Spec{ID: "migration-00000000000d"}}))
	all, err := (&Catalogue{Work: dir}).All(t.Context())
	must(t, err)
	if got, want := ids(all), "  migration-00000000000a\n  migration-00000000000c\n  migration-00000000000d\n  migration-00000000000b"; got != want {
		t.Errorf("it lists\n%s\nwant\n%s", got, want)
	}
}

// forgetful is a service that has no migration any more, and counts its requests.
type forgetful struct {
	client.Client
	listed, described int
}

func (f *forgetful) ListWorkflow(context.Context, *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	f.listed++
	return &workflowservice.ListWorkflowExecutionsResponse{}, nil
}

func (f *forgetful) DescribeWorkflowExecution(context.Context, string, string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	f.described++
	return nil, serviceerror.NewNotFound("no such workflow")
}

// finished makes the folders of n finished migrations, and gives the id of the last one.
func finished(tb testing.TB, work string, n int) (id string) {
	tb.Helper()
	begun := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	for i := range n {
		key := fmt.Sprintf("%012x", i)
		folder := migration.In(work, key)
		id = migration.WorkflowID("users.csv", key)
		spec := migration.Spec{ID: id, DataFile: "/data/users.csv", Folder: folder, Target: migration.Target{URI: "https://a.example", EntityType: "user"}}
		_, err := folder.CreateStart(migration.Start{ID: id, StartedAt: begun.Add(time.Duration(i) * time.Minute)})
		if err := errors.Join(err, folder.SaveSpec(spec), folder.SaveSummary(migration.Summary{WorkflowID: id}), folder.Finish(false)); err != nil {
			tb.Fatal(err)
		}
	}
	return id
}

func TestAnIDIsAskedForDirectly(t *testing.T) {
	work := t.TempDir()
	id := finished(t, work, 3)
	for _, tc := range []struct {
		words, want       string
		listed, described int
	}{
		{id, id, 0, 1},
		{"000000000001", "migration-users.csv-000000000001", 0, 1}, // a key
		{"0001", "migration-users.csv-000000000001", 1, 1},         // a part of an id
		{"00000000000f", "", 1, 1},                                 // there is no such folder
		{"migration-others.csv-000000000001", "", 1, 1},            // the folder is of another one
		{"migration-users.csv-00000000000f", "", 1, 1},             // there is no such folder
	} {
		service := &forgetful{}
		m, err := (&Catalogue{Work: work, Service: &session.Service{Client: service}}).Find(t.Context(), Name{Words: tc.words})
		if m.ID != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%s: found %q, %v; want %q", tc.words, m.ID, err, tc.want)
		}
		if service.listed != tc.listed || service.described != tc.described {
			t.Errorf("%s: the service was asked for %d lists and %d migrations; want %d and %d", tc.words, service.listed, service.described, tc.listed, tc.described)
		}
	}
}

// BenchmarkFind measures what status ID takes among 200 finished migrations.
func BenchmarkFind(b *testing.B) {
	work := b.TempDir()
	id := finished(b, work, 200)
	for _, words := range []string{id, strings.TrimPrefix(id, "migration-")} {
		b.Run(words, func(b *testing.B) {
			for b.Loop() {
				if m, err := (&Catalogue{Work: work, Service: &session.Service{Client: &forgetful{}}}).Find(b.Context(), Name{Words: words}); err != nil || m.ID != id {
					b.Fatal(m.ID, err)
				}
			}
		})
	}
}

func TestTheFolderHasTheState(t *testing.T) {
	begun := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	summary := func(c migration.Counts) func(*testing.T, migration.Folder) {
		return func(t *testing.T, f migration.Folder) {
			must(t, f.AppendEvent(migration.Event{At: begun, Kind: migration.EventBegun}))
			must(t, f.SaveSummary(migration.Summary{StartedAt: begun, FinishedAt: begun.Add(time.Minute), Records: c}))
			must(t, f.AppendEvent(migration.Event{At: begun.Add(time.Minute), Kind: migration.EventEnded}))
		}
	}
	stopped := summary(migration.Counts{Total: 3, Created: 1, Remaining: 2})
	unresolved := summary(migration.Counts{Total: 3, Created: 1, Unknown: 2})
	fails := func(failure migration.Failure) func(*testing.T, migration.Folder) {
		return func(t *testing.T, f migration.Folder) { must(t, f.SaveFailure(failure)) }
	}
	cases := []struct {
		name   string
		make   func(*testing.T, migration.Folder)
		state  enumspb.WorkflowExecutionStatus
		want   State
		reason string
	}{
		{"nothing", func(*testing.T, migration.Folder) {}, 0, CutOff, ""},
		{"the service runs it", stopped, isRunning, Running, ""},
		{"stopped", stopped, 0, Stopped, ""},
		{"stopped, in the service too", stopped, hasEnded, Stopped, ""},
		{"unknown left", unresolved, 0, Unresolved, ""},
		{"resumed and cut off", func(t *testing.T, f migration.Folder) {
			stopped(t, f)
			must(t, f.AppendEvent(migration.Event{At: begun.Add(time.Hour), Kind: migration.EventBegun}))
			must(t, f.AppendEvent(migration.Event{At: begun.Add(time.Hour), Kind: migration.EventChanged}))
		}, 0, CutOff, ""},
		{"done", func(t *testing.T, f migration.Folder) { stopped(t, f); must(t, f.Finish(false)) }, 0, Done, ""},
		{"cancelled", func(t *testing.T, f migration.Folder) { stopped(t, f); must(t, f.Finish(true)) }, 0, Cancelled, ""},
		{"rolled back", func(t *testing.T, f migration.Folder) {
			must(t, f.Finish(false))
			must(t, f.MarkRolledBack(migration.RolledBack{Done: true}))
		}, 0, RolledBack, ""},
		{"rolled back except for some", func(t *testing.T, f migration.Folder) {
			must(t, f.Finish(false))
			must(t, f.MarkRolledBack(migration.RolledBack{Done: true, Failed: 1}))
		}, 0, RolledBackInPart, "1 record could not be undone"},
		{"a rollback that was cut off", func(t *testing.T, f migration.Folder) {
			must(t, f.Finish(false))
			must(t, f.MarkRolledBack(migration.RolledBack{}))
		}, 0, RolledBackInPart, "the rollback has not ended"},
		{"could not run, by the service", stopped, enumspb.WORKFLOW_EXECUTION_STATUS_FAILED, Failed, ""},
		{"could not run", fails(migration.Failure{Reason: "no such entity type"}), 0, Failed, "no such entity type"},
		{"could not run after a stop", func(t *testing.T, f migration.Folder) {
			stopped(t, f)
			fails(migration.Failure{Reason: "connection refused"})(t, f)
		}, enumspb.WORKFLOW_EXECUTION_STATUS_FAILED, Failed, "connection refused"},
		{"a rerun was refused after a stop", func(t *testing.T, f migration.Folder) {
			stopped(t, f)
			fails(migration.Failure{Reason: "started with -m", Began: begun.Add(time.Hour)})(t, f)
		}, enumspb.WORKFLOW_EXECUTION_STATUS_FAILED, Stopped, ""},
		{"a rerun did not reach the target", func(t *testing.T, f migration.Folder) {
			unresolved(t, f)
			must(t, f.AppendEvent(migration.Event{At: begun.Add(time.Hour), Kind: migration.EventBegun}))
			fails(migration.Failure{Reason: "connection refused", Began: begun.Add(time.Hour)})(t, f)
		}, 0, Unresolved, ""},
		{"a rerun was stopped at once", func(t *testing.T, f migration.Folder) {
			unresolved(t, f)
			fails(migration.Failure{Reason: "stopped", Stopped: true, Began: begun.Add(time.Hour)})(t, f)
		}, enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED, Unresolved, ""},
		{"a rerun was refused after one that was cut off", func(t *testing.T, f migration.Folder) {
			stopped(t, f)
			must(t, f.AppendEvent(migration.Event{At: begun.Add(time.Hour), Kind: migration.EventBegun}))
			fails(migration.Failure{Reason: "started with -m", Began: begun.Add(2 * time.Hour)})(t, f)
		}, 0, CutOff, ""},
		{"a rerun was refused after a first run that was cut off", func(t *testing.T, f migration.Folder) {
			must(t, f.AppendEvent(migration.Event{At: begun, Kind: migration.EventBegun}))
			must(t, os.MkdirAll(filepath.Join(f.Ledger(), "0"), 0o700))
			fails(migration.Failure{Reason: "started with -m", Began: begun.Add(time.Hour)})(t, f)
		}, 0, CutOff, ""},
		{"could not run, twice", fails(migration.Failure{Reason: "no such entity type", Began: begun}), 0, Failed, "no such entity type"},
		{"could not run, and runs again", fails(migration.Failure{Reason: "connection refused"}), isRunning, Running, ""},
		{"stopped before anything was sent", fails(migration.Failure{Reason: "stopped", Stopped: true}), 0, Stopped, "stopped"},
		{"ended by an error", func(t *testing.T, f migration.Folder) {
			must(t, f.SaveSummary(migration.Summary{StartedAt: begun, FinishedAt: begun.Add(time.Minute), Records: migration.Counts{Total: 3, Remaining: 3}}))
			must(t, f.AppendEvent(migration.Event{At: begun.Add(time.Minute), Kind: migration.EventEnded, Reason: "the disk is full"}))
		}, 0, Stopped, "the disk is full"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			folder := migration.In(t.TempDir(), "00000000000a")
			must(t, folder.Make())
			tc.make(t, folder)
			k := Migration{Folder: folder, Status: tc.state}
			if got, reason := k.State(); got != tc.want || reason != tc.reason {
				t.Errorf("it is %q (%s), want %q (%s)", got, reason, tc.want, tc.reason)
			}
		})
	}
}

// exported makes the folder of an export that has started.
func exported(t *testing.T, work, output string) (id string, folder migration.ExportFolder) {
	t.Helper()
	id, folder = migration.ExportOf(work, output)
	must(t, folder.SaveOptions(migration.Export{ID: id, Folder: folder, Output: output, Target: migration.Target{URI: "https://a.example", EntityType: "user"}}))
	_, err := folder.CreateStart(migration.Start{ID: id, StartedAt: time.Date(2026, 11, 23, 13, 5, 0, 0, time.UTC)})
	must(t, err)
	return id, folder
}

func TestExportsAreFoundBesideMigrations(t *testing.T) {
	work := t.TempDir()
	loaded := finished(t, work, 1)
	id, folder := exported(t, work, "/data/Käufer.csv")
	exported(t, work, "/data/users.csv")
	_, unbegun := migration.ExportOf(work, "/data/never.csv")
	must(t, unbegun.SaveOptions(migration.Export{}))
	all, err := In(work)
	if err != nil || len(all) != 3 || all[2].ID != loaded || !all[0].IsExport || all[2].IsExport {
		t.Fatalf("found %v, %v; want two exports, and then the migration", all, err)
	}
	key := id[strings.LastIndex(id, "-")+1:]
	for _, tc := range []struct {
		words, want string
		noExports   bool
	}{
		{id, id, false}, {key, id, false}, {"Käufer.csv", id, false}, {key[:8], id, false},
		{id, id, true}, // for a message that says what it is
		{"users.csv", loaded, true}, {"users.csv", "", false}, {"Käufer.csv", "", true}, {"", loaded, true},
	} {
		m, err := (&Catalogue{Work: work, NoExports: tc.noExports}).Find(t.Context(), Name{Words: tc.words})
		if m.ID != tc.want || (err == nil) != (tc.want != "") || m.ID == id && (m.File() != "Käufer.csv" || !m.IsExport || m.Spec.Target.EntityType != "user" || m.Folder.RunFolder != folder.RunFolder) {
			t.Errorf("%s, no exports %t: %+v, %v; want %q", tc.words, tc.noExports, m, err, tc.want)
		}
	}
}

func TestTheFolderHasTheStateOfAnExport(t *testing.T) {
	one := int64(1)
	for name, tc := range map[string]struct {
		make   func(migration.ExportFolder) error
		status enumspb.WorkflowExecutionStatus
		want   State
		reason string
	}{
		"nothing": {func(migration.ExportFolder) error { return nil }, 0, CutOff, ""},
		"runs":    {func(migration.ExportFolder) error { return nil }, isRunning, Running, ""},
		"stopped": {func(f migration.ExportFolder) error { return f.SaveFailure(migration.Failure{Stopped: true}) }, hasEnded, Stopped, ""},
		"failed":  {func(f migration.ExportFolder) error { return f.SaveFailure(migration.Failure{Reason: "refused"}) }, 0, Failed, "refused"},
		"cancelled": {func(f migration.ExportFolder) error {
			return errors.Join(f.SaveFailure(migration.Failure{}), f.Cancel())
		}, hasEnded, Cancelled, ""},
		"done": {func(f migration.ExportFolder) error { return f.SaveSummary(migration.ExportSummary{Records: 3}) }, 0, Done, ""},
		"done, with records missing": {func(f migration.ExportFolder) error {
			return f.SaveSummary(migration.ExportSummary{Counted: &one, Unlisted: 1})
		}, 0, Done, "1 record that the target counts, and does not list, is not in the file"},
	} {
		work := t.TempDir()
		id, folder := exported(t, work, "/data/users.csv")
		must(t, tc.make(folder))
		m, err := (&Catalogue{Work: work}).Find(t.Context(), Name{Words: id})
		must(t, err)
		m.Status = tc.status
		if got, reason := m.State(); got != tc.want || reason != tc.reason {
			t.Errorf("%s: it is %q (%s), want %q (%s)", name, got, reason, tc.want, tc.reason)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
