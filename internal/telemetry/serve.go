package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
)

// serve listens for scrapes and probes.
func (t *Telemetry) serve(address string, log *slog.Logger) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("cannot listen at --metrics-address %s: %w; give another port (0 is any free one), or leave the option out", address, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := t.isReady(r.Context()); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	t.address = listener.Addr().String()
	t.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	log.Info("metrics, health and readiness", "address", "http://"+t.address)
	go func() { _ = t.server.Serve(listener) }()
	return nil
}

// Address is the address of metrics, health and readiness, "" if they are off.
func (t *Telemetry) Address() string { return t.address }

// readyTimeout is the time limit for the Temporal service to confirm that it sees
// this process.
const readyTimeout = 2 * time.Second

func (t *Telemetry) isReady(ctx context.Context) error {
	t.mu.Lock()
	ready := t.ready
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return ready(ctx)
}

func (t *Telemetry) setReady(ready func(context.Context) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ready = ready
}

// Working sets the identity and the task queue of a worker. The process is ready
// while the Temporal service sees it polling that queue.
func (t *Telemetry) Working(c client.Client, taskQueue, identity string) {
	t.setReady(func(ctx context.Context) error { return isPolling(ctx, c, taskQueue, identity) })
}

// Draining marks the process as not ready: it starts nothing new.
func (t *Telemetry) Draining() {
	t.setReady(func(context.Context) error { return errors.New("it is stopping") })
}

// isPolling returns an error if the service does not see that worker. A poll waits up to a
// minute for work, and the service records when each began. Polls for activities do
// not count: a worker at its limit does not poll for more.
func isPolling(ctx context.Context, c client.Client, taskQueue, identity string) error {
	d, err := c.DescribeTaskQueue(ctx, taskQueue, enumspb.TASK_QUEUE_TYPE_WORKFLOW)
	if err != nil {
		return errors.New("the Temporal service does not answer")
	}
	for _, p := range d.GetPollers() {
		if p.GetIdentity() == identity && time.Since(p.GetLastAccessTime().AsTime()) < lastPoll {
			return nil
		}
	}
	return errors.New("the Temporal service does not see this worker")
}

// lastPoll is how long ago a worker that lives can have asked for work, clocks
// apart.
const lastPoll = 2 * time.Minute
