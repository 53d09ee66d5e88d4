package activities

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"durable-dataload/internal/config"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

// asked runs an activity as a worker does, with an input from anyone with write access to
// the namespace.
func asked(r *rig, name string, input any) error {
	r.t.Helper()
	env := newEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{r.acts.Interceptor()}})
	method := reflect.ValueOf(r.acts).MethodByName(name)
	env.RegisterActivityWithOptions(method.Interface(), activity.RegisterOptions{Name: name})
	_, err := env.ExecuteActivity(name, input)
	return err
}

// isUnfit checks that an activity is refused before it does anything, since it is not for
// this process, and that the error says why.
func isUnfit(t *testing.T, what string, err error, says ...string) {
	t.Helper()
	isOfType(t, Unfit, what, err, says...)
}

// isRefused checks that a migration is refused, and that the error says why.
func isRefused(t *testing.T, what string, err error, says ...string) {
	t.Helper()
	isOfType(t, Refused, what, err, says...)
}

func isOfType(t *testing.T, want, what string, err error, says ...string) {
	t.Helper()
	var application *temporal.ApplicationError
	if !errors.As(err, &application) || application.Type() != want {
		t.Errorf("%s: %v; want the type %s", what, err, want)
		return
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v; want it to say %q", what, err, text)
		}
	}
}

// inputs are the input types of all activities, by name.
func inputs() map[string]reflect.Type {
	all := map[string]reflect.Type{}
	kind := reflect.TypeFor[*Activities]()
	for i := range kind.NumMethod() {
		m := kind.Method(i)
		if m.Type.NumIn() == 3 && m.Type.In(1) == reflect.TypeFor[context.Context]() {
			all[m.Name] = m.Type.In(2)
		}
	}
	return all
}

func TestEveryActivitySaysWhereItWorks(t *testing.T) {
	all := inputs()
	if len(all) < 20 {
		t.Fatalf("%d activities were found; expected all of Activities", len(all))
	}
	for name, input := range all {
		if !input.Implements(reflect.TypeFor[confined]()) {
			t.Errorf("%s takes a %s, which does not say where it works", name, input)
		}
	}
}

// An input can name any folder.
func TestAWorkerRefusesAForeignFolder(t *testing.T) {
	r := inspected(t, people(9))
	state := r.spec.Folder.Work()
	r.acts.work = []string{state}
	foreign := t.TempDir()
	for name, input := range inputs() {
		in := reflect.New(input).Elem()
		run, ok := in.Interface().(Run)
		if !ok {
			field := in.FieldByName("Run")
			if !field.IsValid() || name == "Notify" {
				continue // of a schedule: below; a notice only says less
			}
			run, _ = field.Interface().(Run)
		}
		for what, folder := range map[string]migration.RunFolder{
			"another folder":               migration.In(foreign, "key").RunFolder,
			"none":                         "",
			"the state folder itself":      migration.RunFolder(state),
			"another folder of its own":    migration.RunFolder(store.Join(state, "inputs", "key")),
			"a folder below a migration's": migration.RunFolder(store.Join(state, "migrations", "key", "ledger")),
			"a way out":                    migration.RunFolder(state + "/migrations/../../" + filepath.Base(foreign)),
			"a way out at the end":         migration.RunFolder(state + "/migrations/.."),
			"another spelling":             migration.RunFolder(state + "/migrations//key"),
			"another bucket":               "s3://elsewhere/migrations/key",
		} {
			run.Folder, run.ID = folder, "run-1"
			set(in, run)
			err := asked(r, name, in.Interface())
			isUnfit(t, name+", "+what, err, "in no state folder or work URL of worker "+config.WorkerIdentity(), state, "--state-dir")
			// Another worker may do it; only before anything was sent this is the end.
			var application *temporal.ApplicationError
			if first := name == "InspectSource" || name == "KeepFailure"; errors.As(err, &application) && application.NonRetryable() != first {
				t.Errorf("%s: not retried: %t, want %t", name, application.NonRetryable(), first)
			}
		}
		for _, id := range []string{"", "..", "../../x", "a/b", `a\b`, "a\nb"} {
			run.Folder, run.ID = r.run.Folder, id
			set(in, run)
			isUnfit(t, name+", the run "+id, asked(r, name, in.Interface()))
		}
	}
	if entries, err := os.ReadDir(foreign); err != nil || len(entries) != 0 {
		t.Errorf("%d entries in the foreign folder, %v; want nothing written there", len(entries), err)
	}
}

// set puts the run into the input of an activity.
func set(in reflect.Value, run Run) {
	if in.Type() == reflect.TypeFor[Run]() {
		in.Set(reflect.ValueOf(run))
		return
	}
	in.FieldByName("Run").Set(reflect.ValueOf(run))
}

// A spec that was not ordered would have the worker read any file of its
// owner, and write anywhere.
func TestAWorkerTakesOnlyWhatItsOwnerHasAskedFor(t *testing.T) {
	r := newRig(t, people(9))
	secret := filepath.Join(t.TempDir(), "secret")
	noError(t, os.WriteFile(secret, []byte("email\nsecret@example.com\n"), 0o600))
	in := InspectInput{Spec: r.spec, Run: r.run, Now: now}
	isUnfit(t, "before it was ordered", asked(r, "InspectSource", in), "was ordered", "starter")
	noError(t, r.spec.Folder.Order(r.spec))
	for name, change := range map[string]func(*migration.Spec){
		"another input":   func(s *migration.Spec) { s.DataFile = secret },
		"another output":  func(s *migration.Spec) { s.OutputDir = t.TempDir() },
		"another bucket":  func(s *migration.Spec) { s.OutputDir = "s3://elsewhere/x" },
		"another mapping": func(s *migration.Spec) { s.Mapping, s.MappingFile = "x", secret },
		"another target":  func(s *migration.Spec) { s.Target.URI = "https://elsewhere.example" },
		"another pace":    func(s *migration.Spec) { s.RateLimit = 1000 },
		"another folder":  func(s *migration.Spec) { s.Folder = migration.In(s.Folder.Work(), "other") },
	} {
		forged := in
		change(&forged.Spec)
		isUnfit(t, name, asked(r, "InspectSource", forged))
		isUnfit(t, name+", its failure", asked(r, "KeepFailure", FailureInput{Run: in.Run, Failure: migration.Failure{Spec: forged.Spec}}))
	}
	if has, err := store.Exists(r.run.Folder.Index()); has || err != nil {
		t.Errorf("an index is there (%v, %v); want nothing read", has, err)
	}
	if err := asked(r, "InspectSource", in); err != nil {
		t.Errorf("what was asked for: %v", err)
	}
}

func TestAWorkerRefusesARollbackThatLeadsOutOfItsFolder(t *testing.T) {
	r := newRig(t, people(1))
	state := r.spec.Folder.Work()
	folder := migration.RollbackIn(state, "key")
	noError(t, folder.SaveOptions(migration.Rollback{Migration: migration.In(t.TempDir(), "key")}))
	if _, err := folder.CreateStart(migration.Start{ID: "x", Stamp: "y"}); err != nil {
		t.Fatal(err)
	}
	isUnfit(t, "the migration", asked(r, "BeginRollback", Run{Folder: folder.RunFolder, ID: "run-1"}), "in no state folder or work URL of worker "+config.WorkerIdentity())
}

func TestNamesInAFolderLeadNowhereElse(t *testing.T) {
	folder := migration.In(workPlace(t), "key")
	for name, content := range map[string]string{
		"start.json":     `{"id":"x","stamp":"../../x"}`,
		"round-1.json":   `{"round":1,"name":"../retry.csv","batches":1,"records":1}`,
		"round-2.json":   `{"round":2,"name":"retry.csv","list":"/etc/passwd","batches":1,"records":1}`,
		"summary.json":   `{"files":{"success":"..","retry":[]}}`,
		"unresolved-run": `"../retry.csv"`,
	} {
		noError(t, folder.Make())
		noError(t, store.Write(store.Join(folder.Path(), name), []byte(content)))
	}
	var errs [5]error
	_, errs[0] = folder.Start()
	_, errs[1] = folder.RetryFile(1)
	_, errs[2] = folder.RetryFile(2)
	_, errs[3] = folder.Summary()
	_, errs[4] = folder.Unresolved()
	for i, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "without a path") {
			t.Errorf("%d: %v; want it refused", i, err)
		}
	}
}

func TestAWorkerRunsOnlySchedulesThatWereCreated(t *testing.T) {
	i := newIncoming(t)
	r := i.rig
	file := i.put("a.csv", people(1))
	secret := filepath.Join(t.TempDir(), "secret.csv")
	noError(t, os.WriteFile(secret, []byte("email\nsecret@example.com\n"), 0o600))
	activities := map[string]func(migration.Schedule) any{
		"FindFiles":   func(s migration.Schedule) any { return FindInput{Schedule: s, Limit: 9} },
		"PrepareFile": func(s migration.Schedule) any { return PrepareInput{Schedule: s, File: file} },
		"PutAway":     func(s migration.Schedule) any { return PutAwayInput{Schedule: s, File: file, Folder: FailedFolder} },
		"WriteScheduled": func(s migration.Schedule) any {
			return WriteScheduledInput{Schedule: s, Scheduled: migration.Scheduled{StartedAt: now}}
		},
	}
	for name, input := range activities {
		isUnfit(t, name+" before it was created", asked(r, name, input(i.schedule)), "nightly", "starter schedule create")
	}
	noError(t, i.schedule.Order())
	for what, change := range map[string]func(*migration.Schedule){
		"other files":       func(s *migration.Schedule) { s.Patterns = []string{secret} },
		"another output":    func(s *migration.Schedule) { s.Options.OutputDir = t.TempDir() },
		"another folder":    func(s *migration.Schedule) { s.StateDir = t.TempDir() },
		"the folder's name": func(s *migration.Schedule) { s.StateDir += "/" },
	} {
		for name, input := range activities {
			forged := i.schedule
			change(&forged)
			isUnfit(t, name+" with "+what, asked(r, name, input(forged)))
		}
	}
	found, err := stat(secret)
	noError(t, err)
	out := found
	out.Path = i.dir + "/../" + filepath.Base(filepath.Dir(secret)) + "/secret.csv"
	for what, f := range map[string]migration.FoundFile{"a file of others": found, "a way out": out} {
		isUnfit(t, "PrepareFile of "+what, asked(r, "PrepareFile", PrepareInput{Schedule: i.schedule, File: f}), "not a file of the schedule")
		isUnfit(t, "PutAway of "+what, asked(r, "PutAway", PutAwayInput{Schedule: i.schedule, File: f, Folder: DoneFolder}), "not a file of the schedule")
	}
	for _, folder := range []string{"..", "../x", "other"} {
		isUnfit(t, "PutAway into "+folder, asked(r, "PutAway", PutAwayInput{Schedule: i.schedule, File: file, Folder: folder}))
	}
	isUnfit(t, "dropping another file", asked(r, "PutAway", PutAwayInput{Schedule: i.schedule, File: file, Staged: secret}))
	if _, err := os.Stat(secret); err != nil {
		t.Errorf("the file of others: %v; want it untouched", err)
	}
	for _, name := range []string{"FindFiles", "PrepareFile", "WriteScheduled", "PutAway"} {
		if err := asked(r, name, activities[name](i.schedule)); err != nil {
			t.Errorf("%s of the schedule that was created: %v", name, err)
		}
	}
	noError(t, i.schedule.DropOrderAfterRun())
	noError(t, i.schedule.Order()) // created again
	noError(t, asked(r, "WriteScheduled", activities["WriteScheduled"](i.schedule)))
	noError(t, i.schedule.DropOrderAfterRun())
	for _, name := range []string{"FindFiles", "PrepareFile", "PutAway", "WriteScheduled"} {
		if err := asked(r, name, activities[name](i.schedule)); err != nil {
			t.Errorf("%s of a run that was in progress when the schedule was deleted: %v", name, err)
		}
	}
	for name, input := range activities {
		isUnfit(t, name+" after that", asked(r, name, input(i.schedule)))
	}
	noError(t, i.schedule.Order())
	noError(t, i.schedule.DropOrder())
	isUnfit(t, "after it was deleted", asked(r, "FindFiles", activities["FindFiles"](i.schedule)))
}

// What PrepareFile orders counts as ordered by the owner, as the schedule is.
func TestTheMigrationOfAScheduleIsTaken(t *testing.T) {
	i := newIncoming(t)
	noError(t, i.schedule.Order())
	p := i.prepare(i.put("a.csv", people(3)))
	in := InspectInput{Spec: p.Spec, Run: Run{Folder: p.Spec.Folder.RunFolder, ID: "run-1"}, Now: now}
	if err := asked(i.rig, "InspectSource", in); err != nil {
		t.Errorf("%v; want it taken", err)
	}
}
