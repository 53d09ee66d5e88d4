package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	tracecollector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/target"
)

var quiet = slog.New(slog.DiscardHandler)

func start(t *testing.T, o Options) *Telemetry {
	t.Helper()
	watched, err := Start(t.Context(), o, "worker", quiet)
	must(t, err)
	t.Cleanup(watched.Close)
	return watched
}

func get(t *testing.T, watched *Telemetry, path string) (int, string) {
	t.Helper()
	response, err := http.Get("http://" + watched.Address() + path)
	must(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, string(body)
}

func TestInvalidOptionsAreRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		o    Options
		want string // "" for none
	}{
		{Options{}, ""},
		{Options{LogFormat: "json", LogLevel: "debug", MetricsAddress: ":9464"}, ""},
		{Options{LogFormat: "xml"}, `--log-format is "xml"; expected text or json`},
		{Options{LogLevel: "loud"}, `--log-level is "loud"; expected debug, info, warn or error`},
		{Options{MetricsAddress: "9464"}, `--metrics-address is "9464"; expected host:port, as 127.0.0.1:9464`},
	} {
		err := tc.o.Check()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || err.Error() != tc.want) {
			t.Errorf("%+v: %v; want %q", tc.o, err, tc.want)
		}
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		o    Options
		want string
	}{
		{Options{}, `level=INFO msg=hello batch=7` + "\n"},
		{Options{LogFormat: "json", LogLevel: "warn"}, ""},
		{Options{LogFormat: "json", LogLevel: "debug"}, `"level":"INFO","msg":"hello","batch":7}` + "\n"},
	} {
		var b bytes.Buffer
		log, err := tc.o.Logger(&b)
		must(t, err)
		log.Info("hello", "batch", 7)
		if !strings.HasSuffix(b.String(), tc.want) || tc.want == "" && b.Len() > 0 {
			t.Errorf("%+v: %q, want it to end with %q", tc.o, b.String(), tc.want)
		}
		if tc.o.LogFormat == "json" && b.Len() > 0 && !json.Valid(b.Bytes()) {
			t.Errorf("%q is not JSON", b.String())
		}
	}
}

func TestNothingListensByDefault(t *testing.T) {
	t.Parallel()
	watched := start(t, Options{})
	var o client.Options
	if err := watched.Instrument(&o); err != nil || watched.Address() != "" || o.MetricsHandler != nil || o.Interceptors != nil {
		t.Errorf("address %q, client options %+v, %v; want none of it", watched.Address(), o, err)
	}
	drive(watched) // without an error
}

func TestAnAddressInUseIsReported(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	address := listener.Addr().String()
	_, err = Start(t.Context(), Options{MetricsAddress: address}, "worker", quiet)
	if err == nil || !strings.Contains(err.Error(), "--metrics-address "+address) || !strings.Contains(err.Error(), "give another port") {
		t.Errorf("%v; want an error that names the option, the address, and what to do", err)
	}
}

// temporalService is the service that isPolling queries.
type temporalService struct {
	client.Client
	err     error
	pollers []*taskqueuepb.PollerInfo
}

func (s *temporalService) DescribeTaskQueue(_ context.Context, queue string, kind enumspb.TaskQueueType) (*workflowservice.DescribeTaskQueueResponse, error) {
	if queue != "queue" || kind != enumspb.TASK_QUEUE_TYPE_WORKFLOW {
		return nil, fmt.Errorf("asked for %s, %v", queue, kind)
	}
	return &workflowservice.DescribeTaskQueueResponse{Pollers: s.pollers}, s.err
}

func poller(identity string, ago time.Duration) []*taskqueuepb.PollerInfo {
	return []*taskqueuepb.PollerInfo{{Identity: identity, LastAccessTime: timestamppb.New(time.Now().Add(-ago))}}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	watched := start(t, Options{MetricsAddress: "127.0.0.1:0"})
	expect := func(wantStatus int, want string) {
		t.Helper()
		status, body := get(t, watched, "/readyz")
		if status != wantStatus || body != want+"\n" {
			t.Errorf("/readyz: %d %q; want %d %q", status, body, wantStatus, want)
		}
		if status, body := get(t, watched, "/healthz"); status != 200 || body != "ok\n" {
			t.Errorf("/healthz: %d %q; want 200 whatever the readiness is", status, body)
		}
	}
	expect(503, "not ready: it is starting")
	service := &temporalService{pollers: poller("1@me", time.Minute)}
	watched.Working(service, "queue", "1@me")
	expect(200, "ok")
	service.pollers = poller("2@another", 0)
	expect(503, "not ready: the Temporal service does not see this worker")
	service.pollers = poller("1@me", time.Hour)
	expect(503, "not ready: the Temporal service does not see this worker")
	service.err = errors.New("dial tcp: some address")
	expect(503, "not ready: the Temporal service does not answer")
	service.err, service.pollers = nil, poller("1@me", 0)
	expect(200, "ok")
	watched.Draining()
	expect(503, "not ready: it is stopping")
}

// collector receives exported spans.
type collector struct {
	*httptest.Server
	mu      sync.Mutex
	raw     []byte
	spans   []*tracepb.Span
	service string
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			unpacked, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			body = unpacked
		}
		data, err := io.ReadAll(body)
		var request tracecollector.ExportTraceServiceRequest
		if err = errors.Join(err, proto.Unmarshal(data, &request)); err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.raw = append(c.raw, data...)
		for _, rs := range request.GetResourceSpans() {
			for _, a := range rs.GetResource().GetAttributes() {
				if a.GetKey() == "service.name" {
					c.service = a.GetValue().GetStringValue()
				}
			}
			for _, ss := range rs.GetScopeSpans() {
				c.spans = append(c.spans, ss.GetSpans()...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func TestACallIsASpan(t *testing.T) {
	collector := newCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	watched, err := Start(t.Context(), Options{}, "worker", quiet)
	must(t, err)
	sent := time.Now().Add(-time.Minute)
	ctx, parent := watched.tracer.Start(t.Context(), "RunActivity:LoadBatches")
	watched.Called(ctx, "one.example.com", ledger.Key{Round: 2, Batch: 7, Part: "01"}, 50, target.Answer{
		Err:  &target.Error{Class: target.TooLarge, Reason: "too large", Words: "the words of the target about ann@example.com"},
		Sent: sent, Received: sent.Add(1500 * time.Millisecond),
	})
	watched.Called(ctx, "one.example.com", ledger.Key{}, 50, target.Answer{Err: errors.New("not sent")})
	parent.End()
	watched.Close()
	if len(collector.spans) != 2 || collector.service != "durable-dataload-worker" {
		t.Fatalf("%d spans of %q; want 2 of durable-dataload-worker", len(collector.spans), collector.service)
	}
	span := collector.spans[0]
	attributes := map[string]string{}
	for _, a := range span.GetAttributes() {
		attributes[a.GetKey()] = a.GetValue().GetStringValue()
		if n := a.GetValue().GetIntValue(); n != 0 {
			attributes[a.GetKey()] = fmt.Sprint(n)
		}
	}
	want := map[string]string{"server.address": "one.example.com", "dataload.round": "2", "dataload.batch": "7", "dataload.part": "01",
		"dataload.records": "50", "dataload.verdict": "too_large", "dataload.reason": "too large"}
	if fmt.Sprint(attributes) != fmt.Sprint(want) || span.GetName() != "create" {
		t.Errorf("%s has %v; want create with %v", span.GetName(), attributes, want)
	}
	if took := time.Duration(span.GetEndTimeUnixNano() - span.GetStartTimeUnixNano()); took != 1500*time.Millisecond {
		t.Errorf("the span lasts %v, want as long as the call did, 1.5s", took)
	}
	if !bytes.Equal(span.GetParentSpanId(), collector.spans[1].GetSpanId()) {
		t.Error("the span is not in that of its activity")
	}
	if bytes.Contains(collector.raw, []byte("ann@")) {
		t.Error("the spans hold the target's words")
	}
}

func TestTracesAreConfiguredByTheEnvironment(t *testing.T) {
	for _, name := range os.Environ() {
		if key, _, _ := strings.Cut(name, "="); strings.HasPrefix(key, "OTEL_") {
			t.Setenv(key, "")
		}
	}
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	for _, tc := range []struct {
		environment map[string]string
		on          bool
		err         string
	}{
		{nil, false, ""},
		{map[string]string{endpoint: "http://127.0.0.1:1"}, true, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}, true, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, true, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "none", endpoint: "http://127.0.0.1:1"}, false, ""},
		{map[string]string{"OTEL_SDK_DISABLED": "TRUE", endpoint: "http://127.0.0.1:1"}, false, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, false, `OTEL_TRACES_EXPORTER is "zipkin"; expected otlp or none`},
		{map[string]string{endpoint: "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, false, `OTEL_EXPORTER_OTLP_PROTOCOL is "http/json"; expected http/protobuf or grpc`},
	} {
		provider, err := newTracing(t.Context(), "worker", func(name string) string { return tc.environment[name] })
		if (provider != nil) != tc.on || tc.err == "" && err != nil || tc.err != "" && (err == nil || err.Error() != tc.err) {
			t.Errorf("%v: on: %t, %v; want %t, %q", tc.environment, provider != nil, err, tc.on, tc.err)
		}
		if provider != nil {
			_ = provider.Shutdown(t.Context())
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
