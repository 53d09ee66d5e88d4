package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"
	"go.temporal.io/sdk/interceptor"
)

// Telemetry is that of one process. It observes the activities (it is their
// Observer); where neither metrics nor traces are wanted, that costs nothing.
type Telemetry struct {
	*instruments
	meter  metric.Meter
	tracer trace.Tracer
	traced bool

	registry *prometheus.Registry // nil: no metrics
	server   *http.Server
	address  string
	flush    func(context.Context) error

	mu    sync.Mutex
	ready func(context.Context) error
}

const scope = "durable-dataload"

// Start starts what the options and the environment configure. program is the name
// of the process in traces unless OTEL_SERVICE_NAME is set.
func Start(ctx context.Context, o Options, program string, log *slog.Logger) (*Telemetry, error) {
	t := &Telemetry{
		meter: metricnoop.Meter{}, tracer: tracenoop.Tracer{}, flush: func(context.Context) error { return nil },
		ready: func(context.Context) error { return errors.New("it is starting") },
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("telemetry", "error", err) }))
	if o.MetricsAddress != "" {
		if err := t.startMetrics(); err != nil {
			return nil, err
		}
	}
	var err error
	if t.instruments, err = newInstruments(t.meter); err != nil {
		return nil, err
	}
	provider, err := newTracing(ctx, program, os.Getenv)
	if err != nil {
		return nil, err
	}
	if provider != nil {
		t.tracer, t.flush, t.traced = provider.Tracer(scope), provider.Shutdown, true
	}
	if t.registry != nil {
		if err := t.serve(o.MetricsAddress, log); err != nil {
			return nil, errors.Join(err, t.flush(ctx))
		}
	}
	return t, nil
}

func (t *Telemetry) startMetrics() error {
	t.registry = prometheus.NewRegistry()
	t.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reader, err := exporter.New(exporter.WithRegisterer(t.registry), exporter.WithoutScopeInfo(), exporter.WithoutTargetInfo())
	if err != nil {
		return fmt.Errorf("cannot export metrics: %w", err)
	}
	t.meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithView(view)).Meter(scope)
	return nil
}

// seconds are the bounds of histograms. Calls of a slow target and activities
// that wait for a slot are in the last ones.
var seconds = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}

// view sets the bounds of histograms of seconds. The SDK's label task_queue is
// dropped: a process polls one queue, and the name of the embedded engine's queue
// contains the name of the input.
func view(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
	s := sdkmetric.Stream{
		Name: i.Name, Description: i.Description, Unit: i.Unit,
		AttributeFilter: attribute.NewDenyKeysFilter("task_queue"),
	}
	if i.Kind == sdkmetric.InstrumentKindHistogram {
		s.Aggregation = sdkmetric.AggregationExplicitBucketHistogram{Boundaries: seconds}
	}
	return s, true
}

// Instrument makes a client of Temporal, and the workers that use it, show what
// they do as well.
func (t *Telemetry) Instrument(o *client.Options) error {
	if t.registry != nil {
		o.MetricsHandler = opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{
			Meter: t.meter, UseMonotonicCounters: true, OnError: otel.Handle,
		})
	}
	if !t.traced {
		return nil
	}
	// Baggage is what others have put beside a trace: it could be anything.
	i, err := opentelemetry.NewTracingInterceptor(opentelemetry.TracerOptions{Tracer: t.tracer, DisableBaggage: true})
	if err != nil {
		return err
	}
	o.Interceptors = append(o.Interceptors, interceptor.Interceptor(i))
	return nil
}

// flushing is how long the last spans may take on their way.
const flushing = 5 * time.Second

// Close sends the last spans, and stops the server. Call it last.
func (t *Telemetry) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), flushing)
	defer cancel()
	if err := t.flush(ctx); err != nil {
		otel.Handle(err)
	}
	if t.server != nil {
		_ = t.server.Close()
	}
}

// label is a class as a value of a label: "too large" is too_large.
func label(class string) string { return strings.ReplaceAll(class, " ", "_") }
