// Package telemetry exports the state of a process: logs, metrics for
// Prometheus, traces by OpenTelemetry, health and readiness. None of it contains
// user data or a secret, only names of hosts, numbers, and classes of reasons.
// docs/telemetry.md lists the metrics.
package telemetry

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"net"

	"github.com/spf13/pflag"
)

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
