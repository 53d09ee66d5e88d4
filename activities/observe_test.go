package activities

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	tracecollector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"google.golang.org/protobuf/proto"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/telemetry"
)

// watched has the metrics of the rig's process.
func watched(r *rig) *telemetry.Telemetry {
	r.t.Helper()
	t, err := telemetry.Start(r.t.Context(), telemetry.Options{MetricsAddress: "127.0.0.1:0"}, "worker", slog.New(slog.DiscardHandler))
	noError(r.t, err)
	r.t.Cleanup(t.Close)
	r.acts.Observe(t)
	t.Watch(r.acts.Statuses)
	return t
}

func scrape(r *rig, m *telemetry.Telemetry) string {
	r.t.Helper()
	response, err := http.Get("http://" + m.Address() + "/metrics")
	noError(r.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	noError(r.t, err)
	return string(text)
}

// expectMetrics checks that a scrape has these samples, whose target is the
// sandbox.
func expectMetrics(r *rig, text string, samples ...string) {
	r.t.Helper()
	for _, sample := range samples {
		sample = strings.Replace(sample, "@", `target="`+r.spec.Target.Host()+`"`, 1)
		if !strings.Contains("\n"+text, "\n"+sample+"\n") {
			r.t.Errorf("there is no sample %s in:\n%s", sample, strings.Join(regexp.MustCompile(`(?m)^dataload_.*`).FindAllString(text, -1), "\n"))
		}
	}
}

// A batch is lost in round 0 and written nevertheless, one record cannot be
// read, one is a stranger's.
func TestMetricsAreWhatTheLedgerSays(t *testing.T) {
	t.Parallel()
	input := people(11) + "a12@example.com\n"
	r := newRig(t, input)
	m := watched(r)
	r.stranger(`{"email":"a9@example.com"}`)
	r.inspect()
	r.lose = func(send int) bool { return send == 2 }
	r.loadAll(0)
	text := scrape(r, m)
	expectMetrics(r, text,
		`dataload_records_total{outcome="created",@} 6`,
		`dataload_records_total{outcome="duplicate",@} 1`,
		`dataload_records_total{outcome="failed",@} 2`, // the duplicate as well
		`dataload_records_total{outcome="unknown",@} 4`,
		`dataload_batches_total{@} 3`,
		`dataload_calls_total{reason="",@,verdict="answered"} 2`,
		`dataload_calls_total{reason="reset",@,verdict="unknown"} 1`,
		`dataload_call_duration_seconds_count{@,verdict="answered"} 2`,
		`dataload_requests_total{@} 6`, // the duplicate by its key, a few records of ours, the schema
		`dataload_requests_in_flight{@} 0`,
		`dataload_runs{@} 1`,
		`dataload_paused{@} 0`,
		`dataload_round{@} 0`,
		`dataload_records_unknown{@} 4`,
	)
	var since time.Time
	r.acts.Statuses(func(s migration.RunStatus, _ limiter.Gate) { since = s.UnknownSince })
	if claim, err := r.ledger().ClaimOf(t.Context(), ledger.Key{Batch: 2}); err != nil || !since.Equal(claim.At) {
		t.Errorf("the oldest unknown record is so since %v, want the time of its claim, %v (%v)", since, claim.At, err)
	}

	r.order(limiter.Order{Number: 1, Pause: "paused"})
	waiting, leave := context.WithCancel(t.Context())
	go func() { _, _ = r.gate().Enter(waiting) }()
	eventually(t, "a call waits", func() bool { return r.gate().State().Paused })
	leave()
	r.retryFile(1)
	expectMetrics(r, scrape(r, m), `dataload_paused{@} 1`, `dataload_round{@} 1`, `dataload_records_unknown{@} 4`)

	// Another process loads the retry round: this one sees it nevertheless.
	mine := r.acts
	r.restart()
	r.order(limiter.Order{Number: 2, Resume: true})
	r.loadAll(1)
	theirs := r.acts
	r.acts = mine
	expectMetrics(r, scrape(r, m), `dataload_records_unknown{@} 0`, `dataload_oldest_unknown_age_seconds{@} 0`, `dataload_batches_total{@} 3`)

	r.resolve(1, true)
	expectMetrics(r, scrape(r, m), `dataload_records_total{outcome="recovered",@} 4`, `dataload_records_total{outcome="duplicate",@} 1`)
	r.acts = theirs
	r.artifacts(false)
	text = scrape(r, m)
	if strings.Contains(text, "dataload_runs{") {
		t.Error("a run that is over still shows as one that is not")
	}
	for _, private := range []string{"example.com", "Name 1", "secret", "users.csv", r.run.Folder.Path()} {
		if strings.Contains(text, private) {
			t.Errorf("the metrics hold %q", private)
		}
	}
}

// The stranger's record is a duplicate in the retry round, stays one when that
// is resolved, and is updated.
func TestUpdatesAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, people(2), withSpec(func(s *migration.Spec) { s.Delta = true }))
	m := watched(r)
	r.stranger(`{"email":"a1@example.com","givenName":"Old","created":"2020-01-02 03:04:05 +0000"}`)
	r.inspect()
	r.lose = func(send int) bool { return send == 1 }
	r.loadAll(0)
	r.retryRound(1)
	must[any](r, r.acts.UpdateBatch, UpdateInput{Run: r.run, Round: 1, Batch: 1})
	expectMetrics(r, scrape(r, m),
		`dataload_records_total{outcome="unknown",@} 2`,
		`dataload_records_total{outcome="duplicate",@} 2`,
		`dataload_records_total{outcome="recovered",@} 1`,
		`dataload_records_total{outcome="updated",@} 1`,
		`dataload_batches_total{@} 2`,
	)
}

func TestABatchInPartsIsOneBatch(t *testing.T) {
	t.Parallel()
	r := inspected(t, people(4))
	m := watched(r)
	r.tooLarge = 2
	r.lose = func(send int) bool { return send == 2 || send == 3 }
	r.loadAll(0)
	expectMetrics(r, scrape(r, m),
		`dataload_records_total{outcome="unknown",@} 4`,
		`dataload_records_unknown{@} 4`,
		`dataload_batches_total{@} 1`,
		`dataload_calls_total{reason="too large",@,verdict="too_large"} 1`,
		`dataload_calls_total{reason="reset",@,verdict="unknown"} 2`,
	)
	r.load(0, 1) // finds what is decided
	expectMetrics(r, scrape(r, m), `dataload_batches_total{@} 1`, `dataload_records_unknown{@} 4`)
}

// Two processes have the batch: the one whose answer comes late has decided
// nothing.
func TestALateAnswerIsNotCounted(t *testing.T) {
	t.Parallel()
	r := inspected(t, people(4))
	m := watched(r)
	r.before = func(int) {
		mine := r.acts
		r.restart()
		r.settle(0, 1)
		r.acts = mine
	}
	r.loadAll(0)
	text := scrape(r, m)
	expectMetrics(r, text, `dataload_calls_total{reason="",@,verdict="answered"} 1`)
	if strings.Contains(text, "dataload_records_total{") || strings.Contains(text, "dataload_batches_total{") {
		t.Error("a late answer is counted as decided")
	}
}

func TestRollbacksAreCounted(t *testing.T) {
	t.Parallel()
	r := toUndo(t, people(3), []string{`{"email":"a2@example.com","givenName":"Old"}`})
	m := watched(r)
	r.begin()
	r.undoBatch(0)
	expectMetrics(r, scrape(r, m),
		`dataload_records_total{outcome="deleted",@} 2`,
		`dataload_records_total{outcome="restored",@} 1`,
		`dataload_runs{@} 1`,
	)
	r.writeRollback(0)
	if strings.Contains(scrape(r, m), "dataload_runs{") {
		t.Error("a rollback that is over still shows as one that is not")
	}
}

// The span of a call is in that of its activity, and the target does not hear of
// either.
func TestTracesOfABatch(t *testing.T) {
	var mu sync.Mutex
	var exported []byte
	spans := map[string]*tracepb.Span{}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		var request tracecollector.ExportTraceServiceRequest
		if err = errors.Join(err, proto.Unmarshal(body, &request)); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		exported = append(exported, body...)
		for _, s := range request.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans() {
			spans[s.GetName()] = s
		}
	}))
	defer collector.Close()
	var headers []http.Header
	faulty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		headers = append(headers, q.Header)
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer faulty.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	r := newRig(t, people(4), withSpec(func(s *migration.Spec) { s.UnknownHTTP = [][2]int{{502, 502}} }))
	m := watched(r)
	var o client.Options
	noError(t, m.Instrument(&o))
	var options worker.Options
	for _, i := range o.Interceptors {
		options.Interceptors = append(options.Interceptors, i.(interceptor.WorkerInterceptor))
	}
	r.spec.Target.URI = faulty.URL
	r.inspect()
	result, err := run[BatchesResult](r, options, nil, r.acts.LoadBatches, r.batch(0, 1))
	if err != nil || result.Unknown != 4 || len(headers) != 1 {
		t.Fatalf("%+v, %v, %d requests; want 4 unknown records of one", result, err, len(headers))
	}
	for _, name := range []string{"traceparent", "tracestate", "baggage"} {
		if value := headers[0].Get(name); value != "" {
			t.Errorf("the target hears of the trace: %s: %s", name, value)
		}
	}
	m.Close()
	activity, call := spans["RunActivity:LoadBatches"], spans["create"]
	if activity == nil || call == nil || !bytes.Equal(call.GetParentSpanId(), activity.GetSpanId()) {
		t.Errorf("the spans are %v; want that of a call in that of its activity", spans)
	}
	if !bytes.Contains(exported, []byte("http 502")) {
		t.Error("the spans do not say what came of the call")
	}
	for _, private := range []string{"example.com", "Name 1", "secret", "users.csv"} {
		if bytes.Contains(exported, []byte(private)) {
			t.Errorf("the spans hold %q", private)
		}
	}
}
