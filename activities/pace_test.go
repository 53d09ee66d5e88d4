package activities

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"durable-dataload/internal/gate"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
)

// front is a proxy of the sandbox that can answer instead of it.
type front struct {
	mu     sync.Mutex
	answer func(w http.ResponseWriter, endpoint string) bool // says whether it did
	calls  map[string]int
	begun  []time.Time // of bulkCreate
}

// behind is a rig whose target is behind a front, inspected.
func behind(t *testing.T, input string, options ...option) (*rig, *front) {
	t.Helper()
	r := newRig(t, input, options...)
	to, err := url.Parse(r.sandbox.URL())
	noError(t, err)
	f := &front{calls: map[string]int{}}
	proxy := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		endpoint := path.Base(req.URL.Path)
		f.mu.Lock()
		f.calls[endpoint]++
		if endpoint == "entity.bulkCreate" {
			f.begun = append(f.begun, time.Now())
		}
		answer := f.answer
		f.mu.Unlock()
		if answer != nil && answer(w, endpoint) {
			_, _ = io.Copy(io.Discard, req.Body)
			return
		}
		proxy.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	r.spec.Target.URI = server.URL
	r.inspect()
	return r, f
}

func (f *front) set(answer func(w http.ResponseWriter, endpoint string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *front) count(endpoint string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[endpoint]
}

func says(status int, body string, header ...string) func(http.ResponseWriter, string) bool {
	return func(w http.ResponseWriter, _ string) bool {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	}
}

const revoked = `{"stat":"error","code":402,"error":"invalid_client_credentials","error_description":"no such client"}`

// loadsAll loads all batches, as many at once as workers and some more that wait.
// The counts are in loaded when done is closed.
func (r *rig) loadsAll(batches int) (done <-chan struct{}) {
	r.t.Helper()
	finished := make(chan struct{})
	var mu sync.Mutex
	var all sync.WaitGroup
	window := make(chan struct{}, 2*r.spec.Workers)
	go func() {
		defer close(finished)
		for n := 1; n <= batches; n++ {
			window <- struct{}{}
			all.Go(func() {
				defer func() { <-window }()
				result, err := run[BatchesResult](r, worker.Options{}, nil, r.acts.LoadBatches, r.batch(0, n))
				if err != nil {
					r.t.Errorf("batch %d: %v", n, err)
				}
				mu.Lock()
				defer mu.Unlock()
				r.loaded.Add(result.Counts)
			})
		}
		all.Wait()
	}()
	return finished
}

// gate is that of the run.
func (r *rig) gate() *gate.Gate {
	r.t.Helper()
	o := r.opened()
	return o.gate
}

// order orders something of the run's limiter, as Steer does.
func (r *rig) order(o limiter.Order) {
	r.t.Helper()
	o.Run = r.opened().limitedRun()
	_, err := r.limiter.Order(r.t.Context(), "", o)
	noError(r.t, err)
}

// events are those after the beginning.
func (r *rig) events() (kinds []migration.EventKind) {
	r.t.Helper()
	events, err := r.run.Folder.Events()
	noError(r.t, err)
	for _, e := range events {
		if e.Kind != migration.EventBegun {
			kinds = append(kinds, e.Kind)
		}
	}
	return kinds
}

func TestAnOutageCostsTheCallsInFlightAndNotTheFile(t *testing.T) {
	t.Parallel()
	const batches, workers, breaker = 40, 4, 3
	// A good answer from before may come in between, and starts the count again.
	const row = 2*breaker + workers
	for name, c := range map[string]struct {
		outage func(http.ResponseWriter, string) bool
		most   int    // batches that it may cost
		closed string // says why
	}{
		"down":              {says(502, "<html>Bad Gateway</html>"), row, "http 502, "},
		"hangs up":          {func(w http.ResponseWriter, _ string) bool { panic(http.ErrAbortHandler) }, row, "calls in a row"},
		"credentials":       {says(200, revoked), workers, "the API does not accept the client id and secret"},
		"HTTP 401":          {says(401, ""), workers, "the API does not accept the client id and secret"},
		"entity type":       {says(200, `{"stat":"error","code":222}`), workers, "the entity type does not exist"},
		"another address":   {says(404, "nothing here"), workers, "the server is not the Entity API"},
		"the front forbids": {says(403, "no"), row, "http 403, "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, f := behind(t, people(2*batches), batchSize(2), withSpec(func(s *migration.Spec) { s.Workers, s.Breaker = workers, breaker }))
			var begun atomic.Int32
			f.set(func(w http.ResponseWriter, endpoint string) bool {
				if endpoint == "entity.bulkCreate" && begun.Add(1) == 10 {
					go f.set(c.outage)
				}
				return false
			})
			done := r.loadsAll(batches)
			eventually(t, "the breaker opens", func() bool { return r.gate().State().Breaker })
			if closed := r.gate().State().Closed; !strings.Contains(closed, c.closed) {
				t.Errorf("closed: %q, want it to say %q", closed, c.closed)
			}
			probes := f.count("entity.count")
			calls := f.count("entity.bulkCreate")
			eventually(t, "some probes", func() bool { return f.count("entity.count") >= probes+2 })
			if late := f.count("entity.bulkCreate") - calls; late > workers {
				t.Errorf("%d calls while the breaker is open, want none but those in flight", late)
			}
			f.set(nil)
			<-done
			counts := r.loaded
			if counts.Failed != 0 || counts.Created+counts.Unknown != 2*batches || counts.Unknown > 2*c.most || counts.Unknown == 0 {
				t.Errorf("%+v; want none failed, and at most %d batches of two unknown", counts, c.most)
			}
			expect(t, "events", r.events(), []migration.EventKind{migration.EventOpened, migration.EventClosed})
		})
	}
}

// A target that counts and does not create costs a batch for each probe.
func TestAProbeThatIsAnsweredLetsOneBatchThrough(t *testing.T) {
	t.Parallel()
	const batches, workers = 40, 4
	r, f := behind(t, people(batches), batchSize(1), withSpec(func(s *migration.Spec) { s.Workers, s.Breaker = workers, 3 }))
	down := says(502, "")
	f.set(func(w http.ResponseWriter, endpoint string) bool {
		return endpoint == "entity.bulkCreate" && down(w, endpoint)
	})
	done := r.loadsAll(batches)
	eventually(t, "some probes", func() bool { return f.count("entity.count") >= 2 })
	if calls, probes := f.count("entity.bulkCreate"), f.count("entity.count"); calls > 3+workers-1+probes {
		t.Errorf("%d calls and %d probes; want one call for each, besides those that opened the breaker", calls, probes)
	}
	f.set(nil)
	<-done
	expect(t, "events", r.events(), []migration.EventKind{migration.EventOpened, migration.EventClosed})
	if r.loaded.Failed != 0 || r.loaded.Created == 0 {
		t.Errorf("%+v, want none failed", r.loaded)
	}
}

func TestRetryAfterIsKeptByAll(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]func() []string{
		"seconds": func() []string { return []string{"Retry-After", "1"} },
		"a date": func() []string {
			now := time.Now().UTC().Truncate(time.Second)
			return []string{"Date", now.Format(http.TimeFormat), "Retry-After", now.Add(time.Second).Format(http.TimeFormat)}
		},
	} {
		for _, status := range []int{429, 503} {
			t.Run(fmt.Sprintf("%s, %d", name, status), func(t *testing.T) {
				t.Parallel()
				r, f := behind(t, people(4), batchSize(2), withSpec(func(s *migration.Spec) { s.RateLimit = 50 }))
				f.set(says(status, "", header()...))
				if got := r.load(0, 1); got.Unknown != 2 || got.Pace == nil || got.Pace.Allowed > 26 || !strings.Contains(got.Pace.Closed, "asks to wait") || got.Errors[fmt.Sprintf("http %d", status)] != 2 {
					t.Errorf("%+v, %+v; want two unknown, and a target that asks to wait", got, got.Pace)
				}
				f.set(nil)
				if got := r.load(0, 2); got.Created != 2 {
					t.Errorf("%+v, want two created", got)
				}
				if waited := f.begun[1].Sub(f.begun[0]); waited < time.Second {
					t.Errorf("the next call came %v after it, want a second", waited)
				}
				expect(t, "events", r.events(), []migration.EventKind{migration.EventSlowed})
			})
		}
	}
}

// The workflow must be able to tell a worker that died in a pause from one that died at work.
func TestActivitiesThatWaitAtAClosedGateSayThatTheyDo(t *testing.T) {
	t.Parallel()
	exported, undone := toExport(t, 30, nil), toUndo(t, mixed, []string{same, named, ohara})
	exported.beginExport()
	undone.begin()
	for name, c := range map[string]struct {
		r            *rig
		activity, in any
	}{
		"export":   {exported, exported.acts.ReadExportPages, ExportPagesInput{Run: exported.run, Pass: PassAll}},
		"rollback": {undone, undone.acts.RollBackBatch, RollbackInput{Run: undone.run, Batch: 1}},
	} {
		o, err := c.r.acts.open(c.r.run)
		noError(t, err)
		holds, err := c.r.limiter.Order(t.Context(), "", limiter.Order{Number: 1, Run: o.common().limitedRun(), Pause: "paused by anna: lunch"})
		noError(t, err)
		time.Sleep(holds) // what was granted before has ended
		env := newEnvironment()
		stop := make(chan struct{})
		env.SetWorkerStopChannel(stop)
		var closed sync.Once
		onHeartbeat(env, func(d heartbeatDetails) {
			if d.Gate != nil && d.Closed == "paused by anna: lunch" {
				closed.Do(func() { close(stop) })
			}
		})
		env.RegisterActivity(c.activity)
		if _, err = env.ExecuteActivity(c.activity, c.in); !IsUnbegun(err) {
			t.Errorf("%s: %v; want it to wait, say so, and end with its worker", name, err)
		}
	}
}

func TestBatchesThatHaveBegunObeyOperators(t *testing.T) {
	t.Parallel()
	r := inspected(t, people(8), batchSize(2))
	limits := LimitsOf(r.spec.Limits)
	r.order(limiter.Order{Number: 1, Limits: &limits, Pause: "paused by anna: lunch"})
	done := r.loadsAll(3)
	eventually(t, "the gate is closed", func() bool { return r.gate().State().Closed == "paused by anna: lunch" })
	select {
	case <-done:
		t.Fatal("batches are loaded in a pause")
	case <-time.After(500 * time.Millisecond):
	}
	if r.sent() != 0 {
		t.Errorf("%d calls in a pause, want none", r.sent())
	}

	// A worker that stops has not started its batch: no attempt is consumed.
	stop := make(chan struct{})
	time.AfterFunc(100*time.Millisecond, func() { close(stop) })
	_, err := run[BatchesResult](r, worker.Options{}, stop, r.acts.LoadBatches, r.batch(0, 4))
	if !IsUnbegun(err) || r.isClaimed(ledger.Key{Batch: 4}) {
		t.Errorf("a worker that stops in a pause: %v, claimed %v; want the batch back", err, r.isClaimed(ledger.Key{Batch: 4}))
	}

	r.order(limiter.Order{Number: 2, Limits: &limiter.Limits{Rate: 100, Workers: 7, Plan: "zone UTC; daily 50/s"}, Resume: true})
	r.order(limiter.Order{Number: 1, Limits: &limits, Pause: "an order that comes late"})
	<-done
	if r.loaded.Created != 6 {
		t.Errorf("%+v, want 6 created", r.loaded)
	}
	got := r.load(0, 4)
	if got.Pace == nil || got.Pace.Limit != 50 || got.Pace.Slots != 7 {
		t.Errorf("%+v, want 50 calls a second and 7 slots", got.Pace)
	}
}

func TestUpdatesWaitForCredentialsAndResume(t *testing.T) {
	t.Parallel()
	r, f := behind(t, "email,givenName\na1@example.com,New 1\na2@example.com,New 2\n", withSpec(func(s *migration.Spec) { s.Delta = true }))
	r.stranger(`{"email":"a1@example.com","givenName":"Old"}`)
	r.stranger(`{"email":"a2@example.com","givenName":"Old"}`)
	if got := r.loadAll(0); got.Duplicate != 2 {
		t.Fatalf("%+v, want two duplicates", got)
	}
	f.set(says(200, revoked))
	type ended struct {
		ledger.Updates
		err error
	}
	updated := make(chan ended, 1)
	go func() {
		u, err := run[ledger.Updates](r, worker.Options{}, nil, r.acts.UpdateBatch, UpdateInput{Run: r.run, Batch: 1})
		updated <- ended{u, err}
	}()
	eventually(t, "the breaker opens", func() bool { return r.gate().State().Breaker })
	eventually(t, "some probes", func() bool { return f.count("entity.count") >= 3 })
	f.set(nil)
	if u := <-updated; u.err != nil || u.Updates != (ledger.Updates{Updated: 2}) {
		t.Errorf("%+v, %v; want two updated", u.Updates, u.err)
	}
}

func TestAStartWithWrongCredentialsIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	r, f := behind(t, people(2))
	f.set(says(200, revoked))
	_, err := run[any](r, worker.Options{}, nil, r.acts.CheckTarget, r.run)
	expectType(t, err, Refused, false, "client id and secret")
	if s := r.gate().State(); s.Closed != "" {
		t.Errorf("%+v, want the gate open: nothing was lost", s)
	}
	// Nor does the begin or the end of a migration wait for an open breaker.
	r.gate().Ended(t.Context(), gate.Report{Fault: "it is down"})
	if _, err := run[any](r, worker.Options{}, nil, r.acts.CheckTarget, r.run); err == nil {
		t.Error("CheckTarget passes, want what the target says")
	}
	if n, err := run[*int64](r, worker.Options{}, nil, r.acts.CountEntities, r.run); err == nil {
		t.Errorf("CountEntities gives %v, want an error", n)
	}
}

func TestAPermissionErrorOnAReadIsNoOutage(t *testing.T) {
	t.Parallel()
	r, f := behind(t, people(2), withSpec(func(s *migration.Spec) { s.Breaker = 1 }))
	f.set(says(200, `{"stat":"error","code":403,"error":"client_permission_error"}`))
	o := r.opened()
	if _, err := o.target.Find(t.Context(), "email", []string{"a1@example.com"}); err == nil {
		t.Fatal("the look-up passes, want a refusal")
	}
	if s := o.gate.State(); s.Closed != "" {
		t.Errorf("%+v, want it open", s)
	}
	if got := r.load(0, 1); got.Unknown != 2 || got.Pace == nil || !got.Pace.Breaker {
		t.Errorf("%+v, %+v; want a bulkCreate that is refused so to be unknown", got, got.Pace)
	}
}

func TestOnlyAnUnstartedBatchIsUnbegun(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{ended(t.Context(), errNotSent), true},
		{storageError(errNotSent), true},
		{ended(t.Context(), errors.New("the disk")), false},
		{refused(errors.New("x")), false},
	} {
		if got := IsUnbegun(c.err); got != c.want {
			t.Errorf("%v: unbegun %v, want %v", c.err, got, c.want)
		}
	}
}

func TestABatchWhoseHeartbeatsWereNotAcceptedIsUnbegun(t *testing.T) {
	busy := errors.New("the service did not answer in time")
	for name, c := range map[string]struct {
		cause error
		want  bool
	}{
		"the service is busy":  {busy, true},
		"the workflow cancels": {temporal.NewCanceledError(), false},
		"the process cancels":  {context.Canceled, false},
		"it was not ended":     {nil, false},
		"the worker stops":     {errNotSent, true},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		errs := []error{busy}
		if c.cause != nil {
			cancel(c.cause)
			errs = []error{context.Cause(ctx), fmt.Errorf("call: %w", ctx.Err())}
		}
		for _, err := range errs {
			if got := ended(ctx, err); IsUnbegun(got) != c.want {
				t.Errorf("%s, %v: %v, given back: %t, want %t", name, err, got, IsUnbegun(got), c.want)
			}
		}
		cancel(nil)
	}
}
