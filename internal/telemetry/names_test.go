package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.yaml.in/yaml/v3"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/target"
)

// drive records a sample of each metric of the project.
func drive(t *Telemetry) {
	const host = "one.example.com"
	t.Request(host)()
	t.Batch(host)
	for outcome := range outcomes {
		t.Records(host, outcome, 1)
	}
	now := time.Now()
	failed := func(class target.Class) error { return &target.Error{Class: class, Reason: "http 503"} }
	for _, answer := range []target.Answer{
		{}, {Err: errors.New("not sent")}, {Err: failed(target.Unknown)}, {Err: failed(target.TooLarge)}, {Err: failed(target.Refused), NothingWritten: true},
	} {
		answer.Sent, answer.Received = now.Add(-time.Second), now
		t.Called(context.Background(), host, ledger.Key{Batch: 1}, 10, answer)
	}
	t.Watch(func(visit func(migration.RunStatus, limiter.Gate)) {
		visit(migration.RunStatus{Target: host, Paused: true, Round: 1, Unknown: 10, UnknownSince: now.Add(-time.Hour)},
			limiter.Gate{Limit: 10, Allowed: 5, Closed: "paused", Breaker: true})
		visit(migration.RunStatus{Target: host, Round: 2, Unknown: 5, UnknownSince: now.Add(-2 * time.Hour)}, limiter.Gate{Limit: 4, Allowed: 4})
		visit(migration.RunStatus{Target: "two.example.com"}, limiter.Gate{})
	})
}

// family is a metric as it is exported.
type family struct {
	kind   string
	labels []string
}

// exported are the metrics of a live process.
func exported(t *testing.T) map[string]family {
	t.Helper()
	watched := start(t, Options{MetricsAddress: "127.0.0.1:0"})
	drive(watched)
	gathered, err := watched.registry.Gather()
	must(t, err)
	all := map[string]family{}
	for _, f := range gathered {
		labels := map[string]bool{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = true
			}
		}
		all[f.GetName()] = family{strings.ToLower(f.GetType().String()), slices.Sorted(maps.Keys(labels))}
	}
	return all
}

func own(all map[string]family) (names []string) {
	for name := range all {
		if strings.HasPrefix(name, "dataload_") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestGaugesOfRunsIntoOneTarget(t *testing.T) {
	t.Parallel()
	watched := start(t, Options{MetricsAddress: "127.0.0.1:0"})
	drive(watched)
	_, text := get(t, watched, "/metrics")
	for _, want := range []string{
		`dataload_runs{target="one.example.com"} 2`,
		`dataload_paused{target="one.example.com"} 1`,
		`dataload_gate_closed{target="one.example.com"} 1`,
		`dataload_breaker_open{target="one.example.com"} 1`,
		`dataload_round{target="one.example.com"} 2`,
		`dataload_records_unknown{target="one.example.com"} 15`,
		`dataload_rate_limit{target="one.example.com"} 4`,
		`dataload_rate_allowed{target="one.example.com"} 4`,
		`dataload_rate_limit{target="two.example.com"} 0`,
		`dataload_breaker_open{target="two.example.com"} 0`,
		`dataload_oldest_unknown_age_seconds{target="two.example.com"} 0`,
		`dataload_call_duration_seconds_bucket{target="one.example.com",verdict="answered",le="0.5"} 0`,
		`dataload_call_duration_seconds_bucket{target="one.example.com",verdict="answered",le="1"} 1`,
		`dataload_calls_total{reason="http 503",target="one.example.com",verdict="too_large"} 1`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("there is no sample %s in:\n%s", want, regexp.MustCompile(`(?m)^dataload_.*`).FindAllString(text, -1))
		}
	}
	if strings.Contains(text, "not_sent") {
		t.Error("a call that was not sent is counted")
	}
	if age := regexp.MustCompile(`dataload_oldest_unknown_age_seconds\{target="one.example.com"\} 72\d\d`); !age.MatchString(text) {
		t.Error("the oldest unknown record is not two hours old")
	}
}

// The task queue of the Temporal SDK contains the name of the input if the engine
// is embedded.
func TestTheSDKsMetricsComeWithoutTheTaskQueue(t *testing.T) {
	t.Parallel()
	watched := start(t, Options{MetricsAddress: "127.0.0.1:0"})
	h := sdkHandler(t, watched).WithTags(map[string]string{"task_queue": "migration-users.csv-key", "operation": "Poll"})
	h.Counter("temporal_request").Inc(2)
	h.Gauge("temporal_num_pollers").Update(3)
	h.Timer("temporal_request_latency").Record(300 * time.Millisecond)
	_, text := get(t, watched, "/metrics")
	for _, want := range []string{
		`temporal_request_total{operation="Poll"} 2`, `temporal_num_pollers{operation="Poll"} 3`,
		`temporal_request_latency_seconds_bucket{operation="Poll",le="0.25"} 0`, `temporal_request_latency_seconds_bucket{operation="Poll",le="0.5"} 1`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("there is no sample %s", want)
		}
	}
	if strings.Contains(text, "users.csv") {
		t.Error("the metrics hold the name of the input")
	}
}

func TestEachMetricIsDocumented(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile("../../docs/telemetry.md")
	must(t, err)
	all := exported(t)
	rows := map[string]family{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(dataload_\\w+)` \\| (\\w+) \\| [^|]+ \\| ([^|]+) \\| [^|]+ \\|$").FindAllStringSubmatch(string(docs), -1) {
		labels := strings.Split(row[3], ", ")
		slices.Sort(labels)
		rows[row[1]] = family{row[2], labels}
	}
	for _, name := range own(all) {
		if got, want := rows[name], all[name]; got.kind != want.kind || !slices.Equal(got.labels, want.labels) {
			t.Errorf("docs/telemetry.md has %s as %v; it is %v", name, got, want)
		}
		delete(rows, name)
	}
	for name := range rows {
		t.Errorf("docs/telemetry.md has %s, which is not exported", name)
	}
}

// sdkNames are the metrics that the Temporal SDK knows.
func sdkNames(t *testing.T) map[string]bool {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "go.temporal.io/sdk").Output()
	must(t, err)
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "internal/common/metrics/constants.go"))
	must(t, err)
	names := map[string]bool{}
	for _, m := range regexp.MustCompile(`TemporalMetricsPrefix \+ "(\w+)"`).FindAllStringSubmatch(string(text), -1) {
		names["temporal_"+m[1]] = true
	}
	for _, m := range regexp.MustCompile(`(Temporal\w*Request) \+ "(\w+)"`).FindAllStringSubmatch(string(text), -1) {
		names[map[string]string{"TemporalRequest": "temporal_request", "TemporalLongRequest": "temporal_long_request"}[m[1]]+m[2]] = true
	}
	if len(names) < 30 {
		t.Fatalf("only %d names found in the SDK: what this test looks for has another form now", len(names))
	}
	return names
}

// expressions are the queries of a file in deploy, by their purpose.
func expressions(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../deploy", path))
	must(t, err)
	all := map[string]string{}
	if strings.HasSuffix(path, ".yml") {
		var rules struct {
			Groups []struct {
				Rules []struct {
					Alert, Expr string
					Annotations map[string]string
				}
			}
		}
		must(t, yaml.Unmarshal(text, &rules))
		for _, g := range rules.Groups {
			for _, r := range g.Rules {
				all[r.Alert] = r.Expr
				if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
					t.Errorf("%s says not what it is about and what to do", r.Alert)
				}
			}
		}
		return all
	}
	var dashboard struct {
		Panels []struct {
			Type, Title, Description string
			Targets                  []struct{ Expr string }
			FieldConfig              struct{ Defaults struct{ Unit string } }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	must(t, json.Unmarshal(text, &dashboard))
	for _, p := range dashboard.Panels {
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || p.FieldConfig.Defaults.Unit == "" {
			t.Errorf("the panel %q has no description or no unit", p.Title)
		}
		for _, target := range p.Targets {
			all[p.Title] += target.Expr + "\n"
		}
	}
	for _, v := range dashboard.Templating.List {
		all["variable "+v.Name] = v.Definition
	}
	return all
}

var (
	metricName = regexp.MustCompile(`\b(?:dataload|temporal|go|process)_\w+|\bup\b`)
	ownLabel   = regexp.MustCompile(`\b(?:target|outcome|verdict|reason)\b`)
	selector   = regexp.MustCompile(`(\w+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	quoted     = regexp.MustCompile(`"[^"]*"`)
	ending     = regexp.MustCompile(`_(bucket|sum|count)$`)
)

func TestDashboardAndAlertsUseExistingMetrics(t *testing.T) {
	t.Parallel()
	all := exported(t)
	sdk := sdkNames(t)
	used := map[string]bool{}
	for _, file := range []string{"grafana/durable-dataload.json", "prometheus/alerts.yml"} {
		found := expressions(t, file)
		if len(found) < 7 {
			t.Errorf("%s has only %d queries", file, len(found))
		}
		for title, expr := range found {
			bare := quoted.ReplaceAllString(expr, `""`)
			if strings.Count(bare, "(") != strings.Count(bare, ")") || strings.Count(bare, "{") != strings.Count(bare, "}") {
				t.Errorf("%s, %s: the brackets of %s do not match", file, title, expr)
			}
			for _, name := range metricName.FindAllString(bare, -1) {
				metric := name
				if f, ok := all[ending.ReplaceAllString(name, "")]; ok && f.kind == "histogram" {
					metric = ending.ReplaceAllString(name, "")
				}
				used[metric] = true
				_, ok := all[metric]
				base := strings.TrimSuffix(strings.TrimSuffix(ending.ReplaceAllString(name, ""), "_total"), "_seconds")
				if !ok && name != "up" && !sdk[base] {
					t.Errorf("%s, %s uses %s, which nobody exports", file, title, name)
				}
			}
			for _, s := range selector.FindAllStringSubmatch(bare, -1) {
				f, ok := all[ending.ReplaceAllString(s[1], "")]
				for _, l := range matcher.FindAllStringSubmatch(s[2], -1) {
					if ok && l[1] != "job" && !slices.Contains(f.labels, l[1]) {
						t.Errorf("%s, %s: %s has no label %s", file, title, s[1], l[1])
					}
				}
			}
			if strings.HasPrefix(title, "variable") || !strings.Contains(bare, "dataload_") {
				continue
			}
			if file == "prometheus/alerts.yml" && !ownLabel.MatchString(bare) {
				t.Errorf("%s does not say for which target", title)
			}
		}
		if file == "grafana/durable-dataload.json" {
			for _, name := range own(all) {
				if !used[name] {
					t.Errorf("%s is not on the dashboard", name)
				}
			}
		}
	}
}

func TestTheSampleOfPrometheusScrapesTheJobOfTheAlerts(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/prometheus/prometheus.yml")
	must(t, err)
	var config struct {
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			JobName string `yaml:"job_name"`
		} `yaml:"scrape_configs"`
	}
	must(t, yaml.Unmarshal(text, &config))
	job := regexp.MustCompile(`job="([^"]+)"`)
	for _, file := range []string{"grafana/durable-dataload.json", "prometheus/alerts.yml"} {
		jobs := 0
		for title, expr := range expressions(t, file) {
			for _, m := range job.FindAllStringSubmatch(expr, -1) {
				if jobs++; len(config.ScrapeConfigs) != 1 || m[1] != config.ScrapeConfigs[0].JobName {
					t.Errorf("%s: %s asks for the job %s; prometheus.yml has %+v", file, title, m[1], config.ScrapeConfigs)
				}
			}
		}
		if jobs == 0 {
			t.Errorf("%s asks for no job: this was no test", file)
		}
	}
	for _, file := range config.RuleFiles {
		if _, err := os.Stat(filepath.Join("../../deploy/prometheus", file)); err != nil {
			t.Error(err)
		}
	}
}

// sdkHandler is the metrics handler of the Temporal SDK.
func sdkHandler(t *testing.T, watched *Telemetry) client.MetricsHandler {
	t.Helper()
	var o client.Options
	if err := watched.Instrument(&o); err != nil || o.MetricsHandler == nil {
		t.Fatalf("the client has the handler %v, %v; want one", o.MetricsHandler, err)
	}
	return o.MetricsHandler
}
