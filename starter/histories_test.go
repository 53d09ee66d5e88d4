package main_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"durable-dataload/activities"
	"durable-dataload/internal/config"
	"durable-dataload/internal/engine"
	migrations "durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
	"durable-dataload/internal/rollback"
	"durable-dataload/internal/sandbox"
	"durable-dataload/internal/source"
	"durable-dataload/internal/target"
	"durable-dataload/workflows"
)

// recordHistories is the environment variable that asks for new recordings.
const recordHistories = "RECORD_HISTORIES"

// TestRecordHistories writes testdata/histories, which the replay test of
// package workflows reads: the histories of real migrations on a real service.
// It runs only if the variable asks for it: for all of them, or for those whose names
// begin with its value. From version 1.0.0 on, the histories of a released version
// stay: new ones are added under names of their own.
//
//	RECORD_HISTORIES=1 go test ./starter -run TestRecordHistories -count=1
//	RECORD_HISTORIES=delta go test ./starter -run TestRecordHistories -count=1
func TestRecordHistories(t *testing.T) {
	wanted := os.Getenv(recordHistories)
	if wanted == "" {
		t.Skip("set " + recordHistories + "=1 to record the histories again")
	}
	if wanted == "1" {
		wanted = ""
	}
	dir, err := os.MkdirTemp("/tmp", "histories-") // the path is in the histories
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	e, err := engine.Start(ctx, filepath.Join(dir, "engine"), map[string]enumspb.IndexedValueType{
		workflows.AttributeFile.GetName():    enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		workflows.AttributePhase.GetName():   enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		workflows.AttributeTarget.GetName():  enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		workflows.AttributeFailed.GetName():  enumspb.INDEXED_VALUE_TYPE_INT,
		workflows.AttributeUnknown.GetName(): enumspb.INDEXED_VALUE_TYPE_INT,
	}, 0)
	must(t, err)
	defer e.Stop()
	c := dial(t, e.Address())
	limiters := workflows.NewLimiterWorker(c, engine.Namespace)
	must(t, limiters.Start())
	t.Cleanup(limiters.Stop)
	r := &recorder{t: t, ctx: ctx, client: c, dir: dir, out: filepath.Join("..", "testdata", "histories")}
	old, err := filepath.Glob(filepath.Join(r.out, wanted+"*"))
	must(t, err)
	for _, path := range old {
		must(t, os.Remove(path))
	}
	must(t, os.MkdirAll(r.out, 0o755))

	for _, scene := range []struct {
		name   string
		record func(string)
	}{
		{"retries", r.recordRetries},
		{"many-batches", r.recordManyBatches},
		{"runs", r.recordRuns},
		{"stop-resume", r.recordStopAndResume},
		{"stop-in-backoff", r.recordStopInBackoff},
		{"refused", r.recordRefused},
		{"delta", r.recordDelta},
		{"rollback", r.recordRollback},
		{"verify", r.recordVerify},
		{"export", r.recordExport},
		{"steered", r.recordSteered},
		{"cancelled", r.recordCancelled},
		{"max-failed-retry", r.recordMaxFailedRetry},
		{"canary", r.recordCanary},
		{"notices", r.recordNotices},
		{"breaker-worker", r.recordBreakerWorker},
		{"scheduled", r.recordScheduled},
		{"limiter", r.recordLimiter},
	} {
		if strings.HasPrefix(scene.name, wanted) {
			scene.record(scene.name)
		}
	}
}

type recorder struct {
	t      *testing.T
	ctx    context.Context
	client client.Client
	dir    string
	out    string
}

// scene is one migration, its target and its worker.
type scene struct {
	*recorder
	name    string
	spec    migrations.Spec
	sandbox *sandbox.Server
	worker  worker.Worker
	acts    *activities.Activities
	runs    int
	connect func(target.Adapter) target.Adapter
	notices *notify.Sender
}

func (r *recorder) scene(name string, records int, o sandbox.Options, faults string) *scene {
	r.t.Helper()
	return r.sceneOf(name, inputOf(1, records), o, faults)
}

// inputOf is an input with the records of these numbers.
func inputOf(from, to int) string {
	var input strings.Builder
	input.WriteString("email,birthday\n")
	for i := from; i <= to; i++ {
		birthday := "1/2/1990"
		if i%17 == 0 {
			birthday = "never"
		}
		fmt.Fprintf(&input, "a%d@example.com,%s\n", i, birthday)
	}
	return input.String()
}

func (r *recorder) sceneOf(name, input string, o sandbox.Options, faults string) *scene {
	r.t.Helper()
	dir := filepath.Join(r.dir, name)
	must(r.t, os.MkdirAll(dir, 0o700))
	file := filepath.Join(dir, "users.csv")
	must(r.t, os.WriteFile(file, []byte(input), 0o600))
	sha, _, err := source.Digest(r.ctx, file)
	must(r.t, err)
	o.Faults, err = sandbox.ParseFaults(faults)
	must(r.t, err)
	o.Address, o.StateDir, o.ClientID, o.ClientSecret, o.Seed = "127.0.0.1:0", filepath.Join(dir, "target"), "id", "secret", 7
	s := &scene{recorder: r, name: name}
	s.sandbox, err = sandbox.Start(o)
	must(r.t, err)
	r.t.Cleanup(func() { _ = s.sandbox.Close() })
	into := migrations.Target{URI: s.sandbox.URL(), EntityType: "user", Auth: config.AuthBasic}
	key := migrations.Key(sha, into, 1, 1)
	s.spec = migrations.Spec{
		ID: migrations.WorkflowID(filepath.Base(file), key), DataFile: file, OutputDir: filepath.Join(dir, "out"),
		Folder: migrations.In(filepath.Join(dir, "state"), key), SHA256: sha, Target: into,
		BatchSize: 5, StartAt: 1, Limits: migrations.Limits{Workers: 3}, Timeout: 10 * time.Second, RetryRounds: 3, RetryBackoff: time.Second,
		RecoveredBy: migrations.Lookup, PrimaryKey: "email", SearchAttributes: true,
	}
	s.startWorker()
	return s
}

func (s *scene) startWorker() {
	s.acts = activities.New([]string{filepath.Join(s.dir, s.name, "state")}, func(spec migrations.Spec, hooks target.Hooks) (target.Adapter, error) {
		c, err := (&config.Credentials{ClientID: "id", Secret: "secret"}).Connect(spec, hooks)
		if s.connect != nil && err == nil {
			return s.connect(c), nil
		}
		return c, err
	}, workflows.Limiters(s.client), slog.New(slog.DiscardHandler))
	s.acts.NotifyWith(s.notices)
	s.worker = workflows.NewWorker(s.client, s.name, s.acts, s.spec.Timeout, false)
	must(s.t, s.worker.Start())
	s.t.Cleanup(s.worker.Stop)
}

// run runs the migration to its end and saves its histories.
func (s *scene) run(meanwhile func(client.WorkflowRun)) (result workflows.Result, err error) {
	s.t.Helper()
	must(s.t, s.spec.Folder.Order(s.spec))
	err = s.execute(client.StartWorkflowOptions{
		ID: s.spec.ID, StaticSummary: "users.csv",
		TypedSearchAttributes: temporal.NewSearchAttributes(workflows.AttributeFile.ValueSet("users.csv")),
	}, workflows.MigrationWorkflow, s.spec, meanwhile, &result)
	return result, err
}

// execute runs a workflow to its end and saves its histories.
func (s *scene) execute(o client.StartWorkflowOptions, workflow, input any, meanwhile func(client.WorkflowRun), result any) error {
	s.t.Helper()
	o.TaskQueue = s.name
	run, err := s.client.ExecuteWorkflow(s.ctx, o, workflow, input)
	must(s.t, err)
	first := run.GetRunID() // later it is that of the last
	if meanwhile != nil {
		meanwhile(run)
	}
	err = run.Get(s.ctx, result)
	s.runs++
	s.save(run.GetID(), first, map[string]int{})
	return err
}

// save saves a history and those of its children, and of the runs that it was
// continued as. A notice may outlive what it tells of.
func (s *scene) save(id, run string, saved map[string]int) {
	s.t.Helper()
	_ = s.client.GetWorkflow(s.ctx, id, run).GetWithOptions(s.ctx, nil, client.WorkflowRunGetOptions{DisableFollowingRuns: true})
	history := &historypb.History{}
	events := s.client.GetWorkflowHistory(s.ctx, id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		must(s.t, err)
		history.Events = append(history.Events, event)
	}
	kind := history.Events[0].GetWorkflowExecutionStartedEventAttributes().GetWorkflowType().GetName()
	saved[kind]++
	s.write(fmt.Sprintf("%s-%d-%s-%d.json", s.name, s.runs, kind, saved[kind]), history)
	for _, event := range history.Events {
		if child := event.GetChildWorkflowExecutionStartedEventAttributes().GetWorkflowExecution(); child != nil {
			s.save(child.GetWorkflowId(), child.GetRunId(), saved)
		}
		if next := event.GetWorkflowExecutionContinuedAsNewEventAttributes().GetNewExecutionRunId(); next != "" {
			s.save(id, next, saved)
		}
	}
}

// write writes a history, an event a line; long ones are packed.
func (s *scene) write(name string, history *historypb.History) {
	s.t.Helper()
	var b bytes.Buffer
	b.WriteString("{\"events\":[\n")
	for i, event := range history.Events {
		line, err := temporalproto.CustomJSONMarshalOptions{}.Marshal(event)
		must(s.t, err)
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil { // large numbers are strings
			s.t.Fatal(err)
		}
		withoutNames(fields)
		line, err = json.Marshal(fields)
		must(s.t, err)
		if i > 0 {
			b.WriteString(",\n")
		}
		b.Write(line)
	}
	b.WriteString("\n]}\n")
	data := b.Bytes()
	if len(data) > 200_000 {
		var packed bytes.Buffer
		w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		must(s.t, err)
		if _, err := w.Write(data); err != nil {
			s.t.Fatal(err)
		}
		must(s.t, w.Close())
		name, data = name+".gz", packed.Bytes()
	}
	s.t.Logf("%s: %d events, %d bytes", name, len(history.Events), len(data))
	must(s.t, os.WriteFile(filepath.Join(s.out, name), data, 0o644))
}

// withoutNames takes out the names of machines and processes, at any depth:
// replay does not need them.
func withoutNames(value any) {
	switch v := value.(type) {
	case map[string]any:
		delete(v, "identity")
		if v["kind"] == "TASK_QUEUE_KIND_STICKY" {
			v["name"] = "sticky"
		}
		for _, field := range v {
			withoutNames(field)
		}
	case []any:
		for _, element := range v {
			withoutNames(element)
		}
	}
}

func (r *recorder) expect(name string, result workflows.Result, err error, want func(workflows.Result) bool) {
	r.t.Helper()
	if err != nil || !want(result) {
		r.t.Fatalf("%s: %+v, %v: not the migration to record", name, result, err)
	}
}

// recordRetries is one with two retry rounds, and records that show late.
func (r *recorder) recordRetries(name string) {
	s := r.scene(name, 60, sandbox.Options{HealAfter: 14, FindLag: 2 * time.Second}, "http502-after=40,partial-502=30,reset-before=20")
	result, err := s.run(nil)
	r.expect(s.name, result, err, func(w workflows.Result) bool {
		return len(w.Summary.Rounds) >= 3 && w.Summary.Records.Recovered > 0 && w.Summary.Records.Unknown == 0
	})
}

// recordManyBatches is one that is so long that the load continues as new.
func (r *recorder) recordManyBatches(name string) {
	s := r.scene(name, 650, sandbox.Options{}, "http502-after=1")
	s.spec.BatchSize, s.spec.Workers = 1, 10
	s.spec.MaxFailed = "100%" // each batch is a run of its own
	result, err := s.run(nil)
	r.expect(s.name, result, err, func(w workflows.Result) bool { return w.Summary.Records.Sum() == 650 })
}

// recordRuns is one with runs of many batches.
func (r *recorder) recordRuns(name string) {
	s := r.scene(name, 1500, sandbox.Options{}, "http502-after=1")
	s.spec.BatchSize, s.spec.Workers = 1, 4
	result, err := s.run(nil)
	r.expect(s.name, result, err, func(w workflows.Result) bool { return w.Summary.Records.Sum() == 1500 })
}

// recordStopAndResume is one that is stopped in round 0, and the run that resumes
// it.
func (r *recorder) recordStopAndResume(name string) {
	s := r.scene(name, 150, sandbox.Options{Latency: 50 * time.Millisecond, HealAfter: 20}, "http502-after=20")
	result, err := s.run(func(run client.WorkflowRun) {
		r.eventually("some batches are loaded", func() bool { return r.calls(s) >= 8 })
		must(r.t, r.client.CancelWorkflow(r.ctx, run.GetID(), run.GetRunID()))
	})
	r.expect(s.name, result, err, func(w workflows.Result) bool { return w.Summary.Records.Remaining > 0 })
	result, err = s.run(nil)
	r.expect(s.name, result, err, func(w workflows.Result) bool { return w.Summary.Records.ExitCode() == migrations.ExitFailed })
}

// recordStopInBackoff is one that is stopped while it waits for a round.
func (r *recorder) recordStopInBackoff(name string) {
	s := r.scene(name, 20, sandbox.Options{}, "http502=100")
	s.spec.RetryBackoff = time.Hour
	result, err := s.run(func(run client.WorkflowRun) {
		s.untilBackoff(run)
		must(r.t, r.client.CancelWorkflow(r.ctx, run.GetID(), run.GetRunID()))
	})
	r.expect(s.name, result, err, func(w workflows.Result) bool { return w.Summary.Records.Unknown > 0 && w.Halted == "" })
}

// untilBackoff waits until the migration waits for round 1.
func (s *scene) untilBackoff(run client.WorkflowRun) {
	s.t.Helper()
	s.eventually("the migration waits for round 1", func() bool {
		p, ok := s.progress(run.GetID())
		return ok && p.Phase == workflows.PhaseRetrying && len(p.Children) > 0 && s.hasStartedTimer(p.Children[0])
	})
}

// hasStartedTimer says whether a workflow waits.
func (r *recorder) hasStartedTimer(id string) bool {
	events := r.client.GetWorkflowHistory(r.ctx, id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return false
		}
		if event.GetEventType() == enumspb.EVENT_TYPE_TIMER_STARTED {
			return true
		}
	}
	return false
}

// recordRefused is one that ends before anything is sent.
func (r *recorder) recordRefused(name string) {
	s := r.scene(name, 10, sandbox.Options{}, "")
	s.spec.Target.EntityType = "nobody"
	_, err := s.run(nil)
	var application *temporal.ApplicationError
	if !errors.As(err, &application) || application.Type() != activities.Refused {
		r.t.Fatalf("%s: %v: not the migration to record", s.name, err)
	}
}

// deltaScene is one of a delta migration; of its users every one, or every other
// one, and so on, is there already.
func (r *recorder) deltaScene(name string, records, every int, o sandbox.Options, faults string) *scene {
	r.t.Helper()
	s := r.scene(name, records, o, faults)
	s.spec.Delta = true
	c, err := (&config.Credentials{ClientID: "id", Secret: "secret"}).Connect(s.spec, target.Hooks{})
	must(r.t, err)
	var users []target.Record
	for i := 1; i <= records; i += every {
		user, err := c.Encode(fmt.Appendf(nil, `{"email":"a%d@example.com","created":"2015-12-15 07:36:25"}`, i), "")
		must(r.t, err)
		users = append(users, user)
	}
	_ = c.Create(r.ctx, users) // a fault may lose the answer
	return s
}

// recordDelta is a delta migration with retry rounds, in which duplicates are
// met in all of them.
func (r *recorder) recordDelta(name string) {
	s := r.deltaScene(name, 60, 2, sandbox.Options{HealAfter: 12}, "http502-after=40,reset-after=20")
	result, err := s.run(nil)
	r.expect(s.name, result, err, func(w workflows.Result) bool {
		return w.Summary.Records.Updated > 20 && w.Summary.Records.Recovered > 0 && w.Summary.Records.Unknown == 0
	})
}

// undo rolls the scene's migration back, and saves the history of that. What was
// recorded of the migration is like the other scenes, and is not kept.
func (s *scene) undo() (result workflows.RollbackResult) {
	s.t.Helper()
	folder := s.spec.Folder
	summary, err := folder.Summary()
	must(s.t, err)
	undone := migrations.RollbackIn(filepath.Join(s.dir, s.name, "state"), filepath.Base(s.spec.Folder.Path()))
	spec := migrations.Rollback{
		ID: "rollback-" + s.spec.ID, Source: s.spec.ID, Migration: folder, OutputDir: s.spec.OutputDir, Folder: undone, Target: s.spec.Target,
		Until: summary.FinishedAt, Limits: s.spec.Limits, Timeout: s.spec.Timeout,
	}
	if _, err := rollback.Write(s.ctx, undone, rollback.OfMigration(s.ctx, folder)); err != nil {
		s.t.Fatal(err)
	}
	if _, err := undone.CreateStart(migrations.Start{ID: spec.ID, StartedAt: summary.FinishedAt, Stamp: "stamp"}); err != nil {
		s.t.Fatal(err)
	}
	must(s.t, undone.SaveOptions(spec))
	must(s.t, s.execute(client.StartWorkflowOptions{ID: spec.ID}, workflows.RollbackWorkflow, workflows.RollbackInput{Rollback: spec}, nil, &result))
	return result
}

// migrate is run for a scene whose rollback is to be recorded.
func (s *scene) migrate() {
	s.t.Helper()
	err := s.spec.Folder.Order(s.spec)
	must(s.t, err)
	run, err := s.client.ExecuteWorkflow(s.ctx, client.StartWorkflowOptions{ID: s.spec.ID, TaskQueue: s.name}, workflows.MigrationWorkflow, s.spec)
	if err == nil {
		err = run.Get(s.ctx, nil)
	}
	must(s.t, err)
}

// recordRollback is the rollback of a delta migration.
func (r *recorder) recordRollback(name string) {
	s := r.deltaScene(name, 60, 2, sandbox.Options{}, "delete:http502-after=20,update:reset-before=20")
	s.migrate()
	if result := s.undo(); result.Summary.Records.Deleted < 20 || result.Summary.Records.Restored < 20 || result.Summary.Records.Failed > 0 {
		r.t.Fatalf("%s: %+v: not the rollback to record", name, result)
	}
}

// verify reads the scene's migration back, and saves the history of that.
func (s *scene) verify(stamp string, meanwhile func(client.WorkflowRun)) (summary migrations.VerifySummary) {
	s.t.Helper()
	folder := migrations.VerificationIn(filepath.Join(s.dir, s.name, "state"), filepath.Base(s.spec.Folder.Path()), stamp)
	spec := migrations.Verification{
		ID: "verify-" + s.spec.ID, Source: s.spec.ID, Migration: s.spec.Folder, OutputDir: s.spec.OutputDir, Folder: folder,
		Ended: time.Now().Add(-time.Hour), Limits: s.spec.Limits, Timeout: s.spec.Timeout,
	}
	must(s.t, folder.SaveOptions(spec))
	if _, err := folder.CreateStart(migrations.Start{ID: spec.ID, StartedAt: spec.Ended, Stamp: stamp}); err != nil {
		s.t.Fatal(err)
	}
	must(s.t, s.execute(client.StartWorkflowOptions{ID: spec.ID}, workflows.VerifyWorkflow, workflows.VerifyWorkflowInput{Verification: spec}, meanwhile, &summary))
	return summary
}

// recordVerify is a verification that finds something, and one that is stopped.
func (r *recorder) recordVerify(name string) {
	s := r.scene(name, 60, sandbox.Options{Latency: 50 * time.Millisecond}, "")
	s.migrate()
	c, err := (&config.Credentials{ClientID: "id", Secret: "secret"}).Connect(s.spec, target.Hooks{})
	must(r.t, err)
	by := func(email string) target.Ref {
		return target.Ref{Attribute: "email", Key: email}
	}
	must(r.t, c.Apply(r.ctx, by("a3@example.com"), target.Step{Changes: []target.Change{{Path: "birthday", Value: json.RawMessage(`"1999-09-09"`)}}}))
	must(r.t, c.Delete(r.ctx, by("a40@example.com")))
	if f := s.verify("found", nil).Found; f.Different != 1 || f.Missing != 1 || f.NotLoaded != 3 || f.Equal != 55 {
		r.t.Fatalf("%s: %+v: not the verification to record", name, f)
	}
	finds := r.callsTo(s, "entity.find")
	f := s.verify("stopped", func(run client.WorkflowRun) {
		r.eventually("some records are verified", func() bool { return r.callsTo(s, "entity.find") > finds+3 })
		must(r.t, r.client.CancelWorkflow(r.ctx, run.GetID(), run.GetRunID()))
	}).Found
	if f.Left == 0 || f.Equal == 0 {
		r.t.Fatalf("%s: %+v: not the verification to record", name, f)
	}
}

// recordExport is an export that is paused, resumed and stopped, and the run that resumes it.
func (r *recorder) recordExport(name string) {
	s := r.scene(name, 60, sandbox.Options{Latency: 50 * time.Millisecond}, "")
	s.migrate()
	e := migrations.Export{
		Output: filepath.Join(r.dir, name, "out", "export.csv"), Target: s.spec.Target, PageSize: 3, Lag: time.Second,
		Limits: migrations.Limits{Workers: 1}, Timeout: s.spec.Timeout,
	}
	e.ID, e.Folder = migrations.ExportOf(filepath.Join(r.dir, name, "state"), e.Output)
	must(r.t, e.Folder.SaveOptions(e))
	if _, err := e.Folder.CreateStart(migrations.Start{ID: e.ID, StartedAt: time.Now()}); err != nil {
		r.t.Fatal(err)
	}
	export := func(meanwhile func(client.WorkflowRun)) (result workflows.ExportResult) {
		must(r.t, s.execute(client.StartWorkflowOptions{ID: e.ID}, workflows.ExportWorkflow, workflows.ExportInput{Folder: e.Folder, Steering: workflows.Steering{Limits: e.Limits}}, meanwhile, &result))
		return result
	}
	finds := r.callsTo(s, "entity.find")
	result := export(func(run client.WorkflowRun) {
		r.eventually("some pages are read", func() bool { return r.callsTo(s, "entity.find") > finds+13 })
		s.order(run, workflows.UpdatePause, nil)
		s.order(run, workflows.UpdateSet, map[string]string{"rate": "100"})
		s.order(run, workflows.UpdateResume, nil)
		must(r.t, r.client.CancelWorkflow(r.ctx, run.GetID(), run.GetRunID()))
	})
	if !result.Stopped {
		r.t.Fatalf("%s: %+v: not the export to record", name, result)
	}
	if result = export(nil); result.Stopped || result.Summary.Records != 57 {
		r.t.Fatalf("%s: %+v: not the export to record", name, result)
	}
}

func (r *recorder) calls(s *scene) int { return r.callsTo(s, "entity.bulkCreate") }

func (r *recorder) callsTo(s *scene, endpoint string) (n int) {
	calls, err := sandbox.ReadTruth(filepath.Join(r.dir, s.name, "target"))
	if err != nil {
		return 0
	}
	for _, call := range calls {
		if call.Endpoint == endpoint {
			n++
		}
	}
	return n
}

func (r *recorder) eventually(what string, condition func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited a minute for it: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
