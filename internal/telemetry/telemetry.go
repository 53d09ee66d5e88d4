// Package telemetry exports the state of a process: logs, metrics for
// Prometheus, traces by OpenTelemetry, health and readiness. None of it contains
// user data or a secret, only names of hosts, numbers, and classes of reasons.
// docs/telemetry.md lists the metrics.
package telemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/pflag"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
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

// Options are the telemetry options of a process. The zero value means text logs
// from level info, and no metrics.
type Options struct {
	LogFormat string
	LogLevel  string
	// MetricsAddress is the host:port of metrics, health and readiness; "" is
	// off.
	MetricsAddress string
}

// AddFlags adds them.
func (o *Options) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.LogFormat, "log-format", "text", "format of the log: text or json")
	f.StringVar(&o.LogLevel, "log-level", "info", "lowest level that is logged: debug, info, warn or error")
	f.StringVar(&o.MetricsAddress, "metrics-address", "", "host:port for /metrics, /healthz and /readyz, such as 127.0.0.1:9464; without authentication, so use an address of this machine or a private network; default: off")
}

// Check returns an error for invalid options.
func (o Options) Check() error {
	if _, err := o.Logger(io.Discard); err != nil {
		return err
	}
	if o.MetricsAddress != "" {
		if _, _, err := net.SplitHostPort(o.MetricsAddress); err != nil {
			return fmt.Errorf("--metrics-address is %q; expected host:port, as 127.0.0.1:9464", o.MetricsAddress)
		}
	}
	return nil
}

// Logger writes structured logs, including those of the Temporal SDK. They contain
// names and numbers only, no user data.
func (o Options) Logger(w io.Writer) (*slog.Logger, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, ok := levels[cmp.Or(o.LogLevel, "info")]
	if !ok {
		return nil, fmt.Errorf("--log-level is %q; expected debug, info, warn or error", o.LogLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	switch cmp.Or(o.LogFormat, "text") {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, fmt.Errorf("--log-format is %q; expected text or json", o.LogFormat)
}

// newTracing makes what exports spans as the standard environment variables
// ask for it, or nil where they do not. Those that are not read here the
// exporter and the SDK read themselves (headers, sampler, resource, …).
//
// Unlike the standard, no variable means no traces, and not a collector on this
// machine.
//
// Source: opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables
// and opentelemetry.io/docs/specs/otel/protocol/exporter.
func newTracing(ctx context.Context, program string, getenv func(string) string) (*sdktrace.TracerProvider, error) {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return nil, nil
	}
	switch kind := getenv("OTEL_TRACES_EXPORTER"); {
	case kind == "none":
		return nil, nil
	case kind == "" && getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "":
		return nil, nil
	case kind != "" && kind != "otlp":
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER is %q; expected otlp or none", kind)
	}
	var (
		exporter sdktrace.SpanExporter
		err      error
	)
	switch protocol := cmp.Or(getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf"); protocol {
	case "http/protobuf":
		exporter, err = otlptracehttp.New(ctx)
	case "grpc":
		exporter, err = otlptracegrpc.New(ctx)
	default:
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q; expected http/protobuf or grpc", protocol)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot export traces: %w", err)
	}
	host, _ := os.Hostname()
	// The environment comes last and takes precedence.
	about, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "durable-dataload-"+program),
			attribute.String("service.instance.id", fmt.Sprintf("%s-%d", host, os.Getpid()))),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("cannot read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about)), nil
}
