package telemetry

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/target"
)

// instruments are the project's own metrics. The exporter adds the unit to
// their names, and _total to those of counters.
type instruments struct {
	records, batches, calls, requests metric.Int64Counter
	duration                          metric.Float64Histogram
	inFlight                          metric.Int64UpDownCounter

	runs, paused, closed, breaker, round, unknown metric.Int64ObservableGauge
	limit, allowed, oldest                        metric.Float64ObservableGauge

	mu       sync.Mutex
	statuses func(visit func(migration.RunStatus, limiter.Gate))
}

func newInstruments(m metric.Meter) (*instruments, error) {
	i := &instruments{statuses: func(func(migration.RunStatus, limiter.Gate)) {}}
	for _, c := range []struct {
		to                *metric.Int64Counter
		name, unit, about string
	}{
		{&i.records, "dataload_records", "{record}", "Outcomes of records that this process has decided. A record has one in every round that it is in."},
		{&i.batches, "dataload_batches", "{batch}", "Batches that this process has decided, in all rounds."},
		{&i.calls, "dataload_calls", "{call}", "Calls that load records, by what is known after them."},
		{&i.requests, "dataload_requests", "{request}", "HTTP requests into the target, of every kind: these are what the rate limit counts."},
	} {
		var err error
		if *c.to, err = m.Int64Counter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.about)); err != nil {
			return nil, err
		}
	}
	var err error
	if i.duration, err = m.Float64Histogram("dataload_call_duration", metric.WithUnit("s"),
		metric.WithDescription("Time of a call that loads records, from dialling to the last byte of the answer.")); err != nil {
		return nil, err
	}
	if i.inFlight, err = m.Int64UpDownCounter("dataload_requests_in_flight", metric.WithUnit("{request}"),
		metric.WithDescription("HTTP requests into the target that this process waits for.")); err != nil {
		return nil, err
	}
	for _, g := range []struct {
		to                *metric.Int64ObservableGauge
		name, unit, about string
	}{
		{&i.runs, "dataload_runs", "{run}", "Runs of migrations and rollbacks that this process has worked for and that are not over."},
		{&i.paused, "dataload_paused", "", "1 while a run is paused."},
		{&i.closed, "dataload_gate_closed", "", "1 while no calls are made: by a pause, the timetable, the target's wish, or the breaker."},
		{&i.breaker, "dataload_breaker_open", "", "1 while the breaker is open: only single probes are sent."},
		{&i.round, "dataload_round", "{round}", "The last round that was started; 0 is the input, n the n-th retry file."},
		{&i.unknown, "dataload_records_unknown", "{record}", "Records that this process has left unknown and that no later round has decided yet."},
	} {
		if *g.to, err = m.Int64ObservableGauge(g.name, metric.WithUnit(g.unit), metric.WithDescription(g.about)); err != nil {
			return nil, err
		}
	}
	for _, g := range []struct {
		to                *metric.Float64ObservableGauge
		name, unit, about string
	}{
		{&i.limit, "dataload_rate_limit", "{call}/s", "Calls a second that are set, or planned for now; 0 is no limit."},
		{&i.allowed, "dataload_rate_allowed", "{call}/s", "What is left of the limit after what the target's answers asked for; 0 is no limit."},
		{&i.oldest, "dataload_oldest_unknown_age", "s", "Time since the first attempt at the oldest of dataload_records_unknown; 0 without any."},
	} {
		if *g.to, err = m.Float64ObservableGauge(g.name, metric.WithUnit(g.unit), metric.WithDescription(g.about)); err != nil {
			return nil, err
		}
	}
	_, err = m.RegisterCallback(i.observe, i.runs, i.paused, i.closed, i.breaker, i.round, i.unknown, i.limit, i.allowed, i.oldest)
	return i, err
}

// Watch makes the gauges show these runs instead of others. The function is
// called at each scrape.
func (i *instruments) Watch(statuses func(visit func(migration.RunStatus, limiter.Gate))) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.statuses = statuses
}

// together is the combined state of the runs into one target.
type together struct {
	runs, paused, closed, breaker, round, unknown int64
	limit, allowed                                float64
	since                                         time.Time
}

// observe sets the gauges of a target for all its runs: sums of numbers, the
// highest round, the lowest rate.
func (i *instruments) observe(_ context.Context, o metric.Observer) error {
	i.mu.Lock()
	statuses := i.statuses
	i.mu.Unlock()
	targets := map[string]*together{}
	statuses(func(s migration.RunStatus, p limiter.Gate) {
		t := targets[s.Target]
		if t == nil {
			t = &together{}
			targets[s.Target] = t
		}
		t.runs++
		t.paused = max(t.paused, number(s.Paused))
		t.closed = max(t.closed, number(p.Closed != ""))
		t.breaker = max(t.breaker, number(p.Breaker))
		t.round = max(t.round, int64(s.Round))
		t.unknown += int64(s.Unknown)
		t.limit, t.allowed = slower(t.limit, p.Limit), slower(t.allowed, p.Allowed)
		if s.Unknown > 0 && (t.since.IsZero() || s.UnknownSince.Before(t.since)) {
			t.since = s.UnknownSince
		}
	})
	for target, t := range targets {
		at := metric.WithAttributes(attribute.String("target", target))
		o.ObserveInt64(i.runs, t.runs, at)
		o.ObserveInt64(i.paused, t.paused, at)
		o.ObserveInt64(i.closed, t.closed, at)
		o.ObserveInt64(i.breaker, t.breaker, at)
		o.ObserveInt64(i.round, t.round, at)
		o.ObserveInt64(i.unknown, t.unknown, at)
		o.ObserveFloat64(i.limit, t.limit, at)
		o.ObserveFloat64(i.allowed, t.allowed, at)
		age := 0.0
		if !t.since.IsZero() {
			age = time.Since(t.since).Seconds()
		}
		o.ObserveFloat64(i.oldest, age, at)
	}
	return nil
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// slower is the lower of two rates, where 0 means no limit.
func slower(a, b float64) float64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// Request counts a request, and counts it as in flight until it is done.
func (i *instruments) Request(target string) (done func()) {
	at := metric.WithAttributes(attribute.String("target", target))
	i.requests.Add(context.Background(), 1, at)
	i.inFlight.Add(context.Background(), 1, at)
	return func() { i.inFlight.Add(context.Background(), -1, at) }
}

// Batch counts a batch.
func (i *instruments) Batch(target string) {
	i.batches.Add(context.Background(), 1, metric.WithAttributes(attribute.String("target", target)))
}

// outcomes are the names of the ledger's letters.
var outcomes = map[ledger.Outcome]string{
	ledger.Created: "created", ledger.Duplicate: "duplicate", ledger.Failed: "failed", ledger.Unknown: "unknown",
	ledger.Recovered: "recovered", ledger.Updated: "updated", ledger.Unchanged: "unchanged",
	ledger.Deleted: "deleted", ledger.Gone: "gone", ledger.Restored: "restored", ledger.Kept: "kept",
}

// Records counts records with an outcome.
func (i *instruments) Records(target string, outcome ledger.Outcome, n int) {
	i.records.Add(context.Background(), int64(n), metric.WithAttributes(
		attribute.String("target", target), attribute.String("outcome", outcomes[outcome])))
}

// Called counts a call with its answer and creates its span. A call that was not
// sent is not counted.
func (t *Telemetry) Called(ctx context.Context, host string, key ledger.Key, records int, answer target.Answer) {
	if answer.Verdict() == "not sent" {
		return
	}
	verdict := attribute.String("verdict", label(answer.Verdict()))
	class := metric.WithAttributes(attribute.String("target", host), verdict, attribute.String("reason", answer.Reason()))
	//nolint:contextcheck // a call counts also when its activity was cancelled
	t.calls.Add(context.Background(), 1, class)
	//nolint:contextcheck // the same
	t.duration.Record(context.Background(), answer.Received.Sub(answer.Sent).Seconds(),
		metric.WithAttributes(attribute.String("target", host), verdict))
	// The span is created afterwards: nothing of the trace goes to the target, and
	// waiting for the start is not included.
	_, span := t.tracer.Start(ctx, "create", trace.WithTimestamp(answer.Sent), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(
			attribute.String("server.address", host), attribute.Int("dataload.round", key.Round), attribute.Int("dataload.batch", key.Batch),
			attribute.String("dataload.part", key.Part), attribute.Int("dataload.records", records),
			attribute.String("dataload.verdict", label(answer.Verdict())), attribute.String("dataload.reason", answer.Reason())))
	if answer.Err != nil {
		span.SetStatus(codes.Error, answer.Reason())
	}
	span.End(trace.WithTimestamp(answer.Received))
}
