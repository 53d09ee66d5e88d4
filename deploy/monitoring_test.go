package deploy_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	proof "durable-dataload/internal/proof/program"
)

// promtool is the checker of Prometheus: that of the machine, or that of Debian's package, which is not installed.
func promtool(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("promtool"); err == nil {
		return path
	}
	path, err := proof.Cached("promtool", func(dir string) error {
		for _, tool := range []string{"apt-get", "dpkg-deb"} {
			if _, err := exec.LookPath(tool); err != nil {
				return &proof.Unavailable{What: "promtool", Why: "it is not installed, and this is no Debian"}
			}
		}
		if err := proof.Output(t.Context(), dir, nil, "apt-get", "download", "prometheus"); err != nil {
			return &proof.Unavailable{What: "promtool", Why: err.Error()}
		}
		packages, err := filepath.Glob(filepath.Join(dir, "prometheus_*.deb"))
		if err != nil || len(packages) != 1 {
			return errors.Join(err, errors.New("apt-get download has left no package"))
		}
		if err := proof.Output(t.Context(), dir, nil, "dpkg-deb", "--extract", packages[0], dir); err != nil {
			return err
		}
		return os.Rename(filepath.Join(dir, "usr", "bin", "promtool"), filepath.Join(dir, "promtool"))
	})
	var unavailable *proof.Unavailable
	if errors.As(err, &unavailable) {
		t.Skip(err)
	}
	must(t, err)
	return path
}

func TestTheAlertsFireWhenTheyAreTo(t *testing.T) {
	proof.Long(t)
	tool := promtool(t)
	for _, arguments := range [][]string{
		{"check", "config", "--syntax-only", "prometheus.yml"}, {"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"},
		{"check", "config", "--syntax-only", "../compose/prometheus.yml"},
	} {
		command := exec.CommandContext(t.Context(), tool, arguments...)
		command.Dir = filepath.Join(top, "deploy", "prometheus")
		if output, err := command.CombinedOutput(); err != nil {
			t.Errorf("promtool %q: %v\n%s", arguments, err, output)
		}
	}
}

// TestTheDashboardIsOneOfGrafana parses it with Grafana's own types, which know each field of a dashboard and of its panels.
func TestTheDashboardIsOneOfGrafana(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	var d dashboard.Dashboard //nolint:staticcheck // the later form is of Grafana 12 and newer
	err := d.UnmarshalJSONStrict([]byte(readFile(t, "deploy/grafana/durable-dataload.json")))
	if err != nil && err.Error() != "" { // it is an empty list of errors where there are none
		t.Errorf("the dashboard is none of Grafana: %v", err)
	}
	if len(d.Panels) < 20 {
		t.Errorf("%d panels; the test reads it wrongly", len(d.Panels))
	}
}
