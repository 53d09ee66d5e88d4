package activities

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	_ "gocloud.dev/blob/memblob"

	"durable-dataload/internal/config"
	"durable-dataload/internal/gate"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/proof/program"
	"durable-dataload/internal/sandbox"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

// patience is how long something may take that should happen at once. It only
// ends tests that have failed.
const patience = 30 * time.Second

var now = time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)

// rig is one migration into a sandbox, with the activities of one process. The hooks can
// change the result of a call, after the sandbox has made it.
type rig struct {
	t       *testing.T
	acts    *Activities
	spec    migration.Spec
	run     Run
	sandbox *sandbox.Server
	limiter *gate.Local // of all processes
	state   string      // folder of the sandbox

	mu    sync.Mutex
	sends int // calls that LoadBatches made, lost and too large ones too

	loaded ledger.Counts // by loadsAll

	refusesTogether bool // see target.Traits

	notUnique bool                                         // the target refuses no record by its primary key
	schema    func(context.Context) (target.Schema, error) // that the target gives
	instead   func(send int) (answer *target.Answer)       // of the target, which does not see the n-th call

	lose   func(send int) bool // the answer to the n-th call, from 1, does not arrive
	before func(send int)      // happens before the n-th call
	// A call with more records, or bytes, than this is refused as too large,
	// unseen.
	tooLarge     int
	tooManyBytes int64
	sizeByAPI    bool                 // the API itself refuses the size, and nothing before it
	answered     func(*target.Answer) // changes what a call is answered
	// findOutcome changes what a look-up by key gives.
	findOutcome func([]target.Entity, error) ([]target.Entity, error)

	changes int      // calls of Apply and Delete
	bodies  []string // of Apply, of values that are no lists
	// change makes the n-th of them, from 1, or does not.
	change  func(n int, call func() error) error
	viewed  func(*target.Entity)    // changes what Get gives
	viewing func(*target.Ref) error // changes what Get asks for, or fails it
	// listed changes what a page of List gives.
	listed func([]target.Entity) []target.Entity
	// hidden records do not show in Find.
	hidden       bool
	findEntities func() error // comes before Find; its error fails it

	// selecting comes before the n-th call of Select, from 1; selected changes what it gives.
	selecting func(n int, page target.Page) error
	selected  func([]target.Entity) []target.Entity
	selects   int
}

type option func(*rig, *sandbox.Options)

// faults are those of every call.
func faults(list string) option {
	return func(r *rig, o *sandbox.Options) {
		var err error
		if o.Faults, err = sandbox.ParseFaults(list); err != nil {
			r.t.Fatal(err)
		}
	}
}

func withSpec(change func(*migration.Spec)) option {
	return func(r *rig, _ *sandbox.Options) { change(&r.spec) }
}

func batchSize(n int) option { return withSpec(func(s *migration.Spec) { s.BatchSize = n }) }

// newRig has an input, and has inspected nothing yet.
func newRig(t *testing.T, input string, options ...option) *rig {
	t.Helper()
	dir := workPlace(t)
	r := &rig{t: t, state: filepath.Join(t.TempDir(), "sandbox"), limiter: new(gate.Local)}
	r.spec = migration.Spec{
		ID: "migration-users.csv-key", DataFile: store.Join(dir, "users.csv"), OutputDir: store.Join(dir, "out"),
		Target:    migration.Target{EntityType: "user", Auth: config.AuthBasic},
		BatchSize: 4, StartAt: 1, Limits: migration.Limits{Workers: 4}, Timeout: 20 * time.Second, RecoveredBy: migration.Lookup, PrimaryKey: "email",
	}
	server := sandbox.Options{Address: "127.0.0.1:0", StateDir: r.state, ClientID: "id", ClientSecret: "secret"}
	for _, option := range options {
		option(r, &server)
	}
	r.writeInput(input)
	var err error
	r.spec.SHA256 = digestOf(t, r.spec.DataFile)
	if r.sandbox, err = sandbox.Start(server); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.sandbox.Close() })
	r.spec.Target.URI = r.sandbox.URL()
	r.spec.Folder = migration.In(store.Join(dir, "state"), "key")
	r.run = Run{Folder: r.spec.Folder.RunFolder, ID: "run-1"}
	r.restart()
	return r
}

// workPlace is a folder, or with DATALOAD_TEST_BUCKET=1 one of a bucket in memory, which
// must pass the same tests.
func workPlace(t *testing.T) string {
	if !inBucket() {
		return t.TempDir()
	}
	return "mem://" + strings.ToLower(rand.Text()) + "/work"
}

// inBucket reads the environment while a test runs, so that the test cache keeps the two
// kinds of results apart.
func inBucket() bool { return os.Getenv("DATALOAD_TEST_BUCKET") != "" }

// onDisk skips a test that is about what only disks have: modes, folders,
// files that are damaged while they are open.
func onDisk(t *testing.T) {
	if inBucket() {
		t.Skip("only disks have this")
	}
}

// inspected is newRig, with the inspection done.
func inspected(t *testing.T, input string, options ...option) *rig {
	t.Helper()
	r := newRig(t, input, options...)
	r.inspect()
	return r
}

// restart is a new process with the same folders.
func (r *rig) restart() {
	acts := New([]string{r.spec.Folder.Work()}, func(spec migration.Spec, hooks target.Hooks) (target.Adapter, error) {
		c, err := (&config.Credentials{ClientID: "id", Secret: "secret"}).Connect(spec, hooks)
		return hooked{c, r}, err
	}, func(migration.Target) Limiter { return r.limiter }, slog.New(slog.DiscardHandler))
	r.acts = acts
	r.t.Cleanup(acts.Close)
}

func digestOf(t *testing.T, path string) string {
	t.Helper()
	digest, _, err := source.Digest(t.Context(), path)
	noError(t, err)
	return digest
}

func (r *rig) writeInput(input string) {
	r.t.Helper()
	noError(r.t, store.Write(r.spec.DataFile, []byte(input)))
}

// hooked is the real adapter with the rig's hooks.
type hooked struct {
	target.Adapter
	rig *rig
}

func (c hooked) Traits() target.Traits {
	t := c.Adapter.Traits()
	t.RefusesTogether = t.RefusesTogether || c.rig.refusesTogether
	return t
}

func (c hooked) Create(ctx context.Context, records []target.Record) target.Answer {
	r := c.rig
	r.mu.Lock()
	r.sends++
	send := r.sends
	r.mu.Unlock()
	if r.before != nil {
		r.before(send)
	}
	if r.instead != nil {
		if answer := r.instead(send); answer != nil {
			return *answer
		}
	}
	size := c.Traits().Overhead
	for _, record := range records {
		size += record.Size
	}
	if r.tooLarge > 0 && len(records) > r.tooLarge || r.tooManyBytes > 0 && size > r.tooManyBytes {
		answer := tooLargeForAGateway(target.Answer{Sent: time.Now(), Received: time.Now()})
		if r.sizeByAPI {
			answer.Err, answer.NothingWritten = &target.Error{Class: target.TooLarge, Reason: "too large", Words: "API Error 200: the body is too large"}, true
		}
		return answer
	}
	answer := c.Adapter.Create(ctx, records)
	if answer.Verdict() == "not sent" { // then it was none
		r.mu.Lock()
		r.sends--
		r.mu.Unlock()
		return answer
	}
	if r.answered != nil {
		r.answered(&answer)
	}
	if r.lose != nil && r.lose(send) {
		return target.Answer{Err: errLost, Sent: answer.Sent, Received: answer.Received}
	}
	return answer
}

// tooLargeForAGateway is an answer that came at the same time.
func tooLargeForAGateway(a target.Answer) target.Answer {
	e := httpError(http.StatusRequestEntityTooLarge)
	e.Class, e.Reason = target.TooLarge, "too large"
	return target.Answer{Err: e, Sent: a.Sent, Received: a.Received}
}

// Errors of the target.
var (
	errLost        = &target.Error{Reason: "reset", Err: errors.New("no answer: reset")}
	errForbidden   = &target.Error{Class: target.Forbidden, Reason: "api 403", Words: "a1@example.com", Err: errors.New("api 403 client_permission_error")}
	errCredentials = &target.Error{Class: target.Unusable, Fault: true, Reason: "api 402", Err: errors.New("the API does not accept the client id and secret: check them")}
)

func refusal(code int, words string) *target.Error {
	reason := fmt.Sprintf("api %d", code)
	return &target.Error{Class: target.Refused, Reason: reason, Words: words, Err: errors.New(reason)}
}

func httpError(status int) *target.Error {
	return &target.Error{Reason: fmt.Sprintf("http %d", status), Err: fmt.Errorf("HTTP %d %s", status, http.StatusText(status))}
}

func (c hooked) Schema(ctx context.Context) (target.Schema, error) {
	if c.rig.schema != nil {
		return c.rig.schema(ctx)
	}
	return c.Adapter.Schema(ctx)
}

func (c hooked) Find(ctx context.Context, attribute string, keys []string) ([]target.Entity, error) {
	if c.rig.hidden {
		return nil, nil
	}
	if c.rig.findEntities != nil {
		if err := c.rig.findEntities(); err != nil {
			return nil, err
		}
	}
	found, err := c.Adapter.Find(ctx, attribute, keys)
	if c.rig.findOutcome != nil && attribute == c.rig.spec.PrimaryKey {
		return c.rig.findOutcome(found, err)
	}
	return found, err
}

func (c hooked) List(ctx context.Context, page target.Page) ([]target.Entity, string, error) {
	entities, next, err := c.Adapter.List(ctx, page)
	if c.rig.listed != nil {
		entities = c.rig.listed(entities)
	}
	return entities, next, err
}

func (c hooked) Get(ctx context.Context, ref target.Ref) (target.Entity, error) {
	if c.rig.viewing != nil {
		if err := c.rig.viewing(&ref); err != nil {
			return target.Entity{}, err
		}
	}
	e, err := c.Adapter.Get(ctx, ref)
	if c.rig.viewed != nil {
		c.rig.viewed(&e)
	}
	return e, err
}

func (c hooked) Apply(ctx context.Context, ref target.Ref, step target.Step) error {
	if !step.Changes[0].IsList() {
		body, err := step.Nested()
		if err != nil {
			return err
		}
		c.rig.mu.Lock()
		c.rig.bodies = append(c.rig.bodies, string(body))
		c.rig.mu.Unlock()
	}
	return c.rig.changed(func() error { return c.Adapter.Apply(ctx, ref, step) })
}

func (c hooked) Delete(ctx context.Context, ref target.Ref) error {
	return c.rig.changed(func() error { return c.Adapter.Delete(ctx, ref) })
}

func (c hooked) IDAttribute() string { return c.Adapter.(target.Exporter).IDAttribute() }

func (c hooked) Select(ctx context.Context, s target.Selection, page target.Page) ([]target.Entity, string, error) {
	c.rig.selects++
	if c.rig.selecting != nil {
		if err := c.rig.selecting(c.rig.selects, page); err != nil {
			return nil, "", err
		}
	}
	entities, next, err := c.Adapter.(target.Exporter).Select(ctx, s, page)
	if c.rig.selected != nil {
		entities = c.rig.selected(entities)
	}
	return entities, next, err
}

func (c hooked) CountSelected(ctx context.Context, s target.Selection, before time.Time) (int64, error) {
	return c.Adapter.(target.Exporter).CountSelected(ctx, s, before)
}

func (c hooked) Shows(ctx context.Context, s target.Selection, attribute string) (bool, error) {
	return c.Adapter.(target.Exporter).Shows(ctx, s, attribute)
}

func (r *rig) changed(call func() error) error {
	r.mu.Lock()
	r.changes++
	n := r.changes
	r.mu.Unlock()
	if r.change != nil {
		return r.change(n, call)
	}
	err := call()
	if errors.Is(err, errRunOver) { // it was not made
		r.mu.Lock()
		r.changes--
		r.mu.Unlock()
	}
	return err
}

func (r *rig) sent() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sends
}

// run runs one activity, as a worker with these options.
func run[T any](r *rig, options worker.Options, stop chan struct{}, activity, input any) (result T, err error) {
	r.t.Helper()
	env := newEnvironment()
	env.SetWorkerOptions(options)
	if stop != nil {
		env.SetWorkerStopChannel(stop)
	}
	env.RegisterActivity(activity)
	value, err := env.ExecuteActivity(activity, input)
	if err != nil || !value.HasValue() {
		return result, err
	}
	noError(r.t, value.Get(&result))
	return result, nil
}

func newEnvironment() *testsuite.TestActivityEnvironment {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestActivityEnvironment()
	env.SetTestTimeout(2 * patience)
	return env
}

// onHeartbeat calls told with what heartbeats say.
func onHeartbeat(env *testsuite.TestActivityEnvironment, told func(heartbeatDetails)) {
	env.SetOnActivityHeartbeatListener(func(_ *activity.Info, details converter.EncodedValues) {
		var d heartbeatDetails
		if details.HasValues() && details.Get(&d) == nil {
			told(d)
		}
	})
}

var quiet = log.NewStructuredLogger(slog.New(slog.DiscardHandler))

// must is run, where no error is expected.
func must[T any](r *rig, activity, input any) T {
	r.t.Helper()
	result, err := run[T](r, worker.Options{}, nil, activity, input)
	if err != nil {
		r.t.Fatalf("%+v: %v", input, err)
	}
	return result
}

// inspect is what happens before anything is sent: InspectSource, and CheckTarget with a
// schema in which the primary key is unique.
func (r *rig) inspect() Inspected {
	r.t.Helper()
	inspected := must[Inspected](r, r.acts.InspectSource, InspectInput{Spec: r.spec, Run: r.run, Now: now})
	if _, err := r.spec.Folder.CreateKeys(migration.Keys{Attribute: r.spec.PrimaryKey, Unique: !r.notUnique}); err != nil {
		r.t.Fatal(err)
	}
	return inspected
}

// opened is the run as this process has it.
func (r *rig) opened() *migrationRun {
	r.t.Helper()
	m, err := r.acts.migration(r.run)
	noError(r.t, err)
	return m
}

func (r *rig) batch(round, position int) BatchesInput { return r.batches(round, position, position) }

func (r *rig) batches(round, first, last int) BatchesInput {
	return BatchesInput{Run: r.run, Round: round, First: first, Last: last}
}

// load loads a batch as its workflow does: a claim of another attempt is settled.
func (r *rig) load(round, position int) BatchesResult {
	r.t.Helper()
	result := must[BatchesResult](r, r.acts.LoadBatches, r.batch(round, position))
	if result.Claimed {
		return r.settle(round, position)
	}
	return asOne(result)
}

func (r *rig) settle(round, position int) BatchesResult {
	r.t.Helper()
	return asOne(must[BatchesResult](r, r.acts.SettleBatches, r.batch(round, position)))
}

// asOne is the result of a run of one batch.
func asOne(r BatchesResult) BatchesResult {
	r.Unsent = r.Done == 0
	return r
}

// loadAll loads a round; of the input, it resolves the duplicates as well.
func (r *rig) loadAll(round int) (sum ledger.Counts) {
	r.t.Helper()
	plan := r.plan(round, 0, 1000)
	for _, b := range plan.Batches {
		sum.Add(r.load(round, b.Position()).Counts)
	}
	if round == 0 && sum.Duplicate > 0 {
		r.resolve(0, true)
	}
	return sum
}

func (r *rig) plan(round, after, limit int) Plan {
	r.t.Helper()
	return must[Plan](r, r.acts.PlanBatches, PlanInput{Run: r.run, Round: round, After: after, Limit: limit})
}

func (r *rig) retryFile(round int) migration.RetryFile {
	r.t.Helper()
	return must[migration.RetryFile](r, r.acts.WriteRetryFile, RetryFileInput{Run: r.run, Round: round, Now: now.Add(time.Duration(round) * time.Minute)})
}

func (r *rig) resolve(round int, last bool) Resolved {
	r.t.Helper()
	return must[Resolved](r, r.acts.ResolveDuplicates, ResolveInput{Run: r.run, Round: round, Last: last})
}

// retryRound does a retry round, with the resolution of its duplicates.
func (r *rig) retryRound(round int) {
	r.t.Helper()
	r.retryFile(round)
	r.loadAll(round)
	r.resolve(round, true)
}

// nextRun is a later run of the same migration, in another process.
func (r *rig) nextRun(id string) {
	r.run.ID = id
	r.restart()
}

// resume is a new process that runs the migration again, without lost answers.
func (r *rig) resume() {
	r.t.Helper()
	r.nextRun("run-2")
	r.lose = nil
	r.inspect()
}

func (r *rig) artifacts(stopped bool) migration.Summary {
	r.t.Helper()
	return must[migration.Summary](r, r.acts.WriteArtifacts, ArtifactsInput{Run: r.run, FinishedAt: now.Add(time.Hour), Stopped: stopped})
}

// truth is what the sandbox says of its bulkCreate calls.
func (r *rig) truth() (calls []sandbox.Call) {
	r.t.Helper()
	all, err := sandbox.ReadTruth(r.state)
	noError(r.t, err)
	return slices.DeleteFunc(all, func(c sandbox.Call) bool { return c.Endpoint != "entity.bulkCreate" })
}

// uuids are those of the records in the sandbox, by email.
func (r *rig) uuids() map[string]string {
	r.t.Helper()
	uuids := map[string]string{}
	for _, call := range r.truth() {
		for _, w := range call.Written {
			uuids[w.Email] = w.UUID
		}
	}
	return uuids
}

// client is another client of the sandbox.
func (r *rig) client() target.Adapter {
	r.t.Helper()
	c, err := (&config.Credentials{ClientID: "id", Secret: "secret"}).Connect(r.spec, target.Hooks{})
	noError(r.t, err)
	return c
}

// stranger creates a record in the sandbox that was there long before the migration.
func (r *rig) stranger(record string) {
	r.t.Helper()
	if !strings.Contains(record, `"created"`) {
		record = strings.TrimSuffix(record, "}") + `,"created":"2015-12-15 07:36:25 +0000"}`
	}
	r.registers(record)
}

// registers creates a record in the sandbox, now.
func (r *rig) registers(record string) {
	r.t.Helper()
	if a := r.creates(record); a.Err != nil || a.Results[0].Err != nil {
		r.t.Fatalf("the stranger %s was not created: %+v", record, a)
	}
}

// creates creates records as another client.
func (r *rig) creates(all ...string) target.Answer {
	r.t.Helper()
	c := r.client()
	records := make([]target.Record, len(all))
	for i, record := range all {
		var err error
		records[i], err = c.Encode([]byte(record), "")
		noError(r.t, err)
	}
	return c.Create(r.t.Context(), records)
}

// by addresses a record.
func by(email string) target.Ref { return target.Ref{Attribute: "email", Key: email} }

// edit changes a record as another client would: lists grow.
func (r *rig) edit(email, attributes string) {
	r.t.Helper()
	var members map[string]json.RawMessage
	noError(r.t, json.Unmarshal([]byte(attributes), &members))
	var step target.Step
	for _, name := range slices.Sorted(maps.Keys(members)) {
		step.Changes = append(step.Changes, target.Change{Path: name, Value: members[name]})
	}
	noError(r.t, r.client().Apply(r.t.Context(), by(email), step))
}

// entity gives a record of the sandbox.
func (r *rig) entity(email string) map[string]any {
	r.t.Helper()
	e, err := r.client().Get(r.t.Context(), by(email))
	noError(r.t, err)
	all := map[string]any{}
	for name, raw := range e.Attributes {
		var value any
		noError(r.t, json.Unmarshal(raw, &value))
		all[name] = value
	}
	return all
}

// known is what the ledger knows after a round: a letter for each record, batches
// apart, as "ccu c".
func (r *rig) known(round int) string {
	r.t.Helper()
	var batches []string
	for _, b := range r.records(round) {
		letters := ""
		for _, record := range b {
			letters += string(rune(record.Outcome))
		}
		batches = append(batches, letters)
	}
	return strings.Join(batches, " ")
}

func (r *rig) records(round int) (batches [][]ledger.Record) {
	r.t.Helper()
	o := r.opened()
	for n := 1; n <= o.index.Batches(); n++ {
		_, records, err := o.after(r.t.Context(), round, n)
		noError(r.t, err)
		batches = append(batches, records)
	}
	return batches
}

func (r *rig) ledger() *ledger.Ledger {
	return ledger.New(ledger.NewFolder(r.run.Folder.Ledger()))
}

func (r *rig) claim(key ledger.Key) {
	r.t.Helper()
	noError(r.t, r.ledger().Claim(r.t.Context(), key, ledger.Claim{At: time.Now(), Clock: "another"}))
}

// decide writes down what a call came to.
func (r *rig) decide(key ledger.Key, outcomes ledger.Outcomes) {
	r.t.Helper()
	_, _, err := r.ledger().Decide(r.t.Context(), ledger.ByCall, key, outcomes)
	noError(r.t, err)
}

func (r *rig) isClaimed(key ledger.Key) bool {
	r.t.Helper()
	_, err := r.ledger().ClaimOf(r.t.Context(), key)
	if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		r.t.Fatal(err)
	}
	return err == nil
}

// output reads a file of the output folder.
func (r *rig) output(name string) string {
	r.t.Helper()
	data, err := store.Read(store.Join(r.spec.OutputDir, name))
	noError(r.t, err)
	return string(data)
}

// outputs are the files of the output folder.
func (r *rig) outputs() map[string]string {
	r.t.Helper()
	names, err := store.List(r.spec.OutputDir)
	noError(r.t, err)
	all := map[string]string{}
	ended := slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "summary_") })
	for _, name := range names {
		if ended || !strings.HasPrefix(name, ".reserved_") { // which a migration may leave until its end
			all[name] = r.output(name)
		}
	}
	return all
}

// expectType checks the type of an error, whether it is retryable, and that it quotes no
// record.
func expectType(t *testing.T, err error, kind string, retryable bool, words ...string) {
	t.Helper()
	var application *temporal.ApplicationError
	if !errors.As(err, &application) {
		t.Errorf("the error is %v, want one of type %s", err, kind)
		return
	}
	if application.Type() != kind || application.NonRetryable() == retryable {
		t.Errorf("the error has type %q, retryable: %v; want %s, %v: %v", application.Type(), !application.NonRetryable(), kind, retryable, err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error is %q, want it to hold %q", err, word)
		}
	}
	if strings.Contains(err.Error(), "example.com") {
		t.Errorf("the error quotes a record: %q", err)
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func expect[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if string(g) != string(w) {
		t.Errorf("%s:\n%s\nwant\n%s", what, g, w)
	}
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for it: %s", patience, what)
		}
		time.Sleep(time.Millisecond)
	}
}

// people is an input with n records, a1@example.com and so on.
func people(n int) string {
	var b strings.Builder
	b.WriteString("email,givenName\n")
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "a%d@example.com,Name %d\n", i, i)
	}
	return b.String()
}

// isFinished says whether the migration is marked as done.
func (r *rig) isFinished() bool {
	r.t.Helper()
	finished, err := r.spec.Folder.Finished()
	noError(r.t, err)
	return finished
}

// The ledger is fsynced thousands of times in these tests.
func TestMain(m *testing.M) {
	program.UseMemory()
	os.Exit(m.Run())
}
