package main_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/fakeusers"
)

// summaryKeys are all keys of summary_*.json and the types that their values
// can have, as DESIGN.md, section 6, has them. Scripts depend on them.
var summaryKeys = map[string]string{
	"workflow_id": "string", "data_file": "string", "data_sha256": "string", "entity_type": "string", "apid_uri": "string",
	"started_at": "time", "finished_at": "time", "entities_after": "number or null",

	"records": "object", "records.total": "number", "records.created": "number", "records.recovered": "number", "records.updated": "number",
	"records.failed": "number", "records.unknown": "number", "records.remaining": "number",

	"rounds": "list", "rounds[]": "object", "rounds[].round": "number", "rounds[].batches": "number", "rounds[].calls": "number",
	"rounds[].created": "number", "rounds[].duplicate": "number", "rounds[].failed": "number", "rounds[].unknown": "number",
	"rounds[].retry_file": "string or null",

	"files": "object", "files.success": "string", "files.fail": "string", "files.fail_records": "string",
	"files.retry": "list", "files.retry[]": "string", "files.unresolved": "string or null", "files.remaining": "string or null",
	"files.update_success": "string or null", "files.update_fail": "string or null", "files.report": "string",
}

// keysOf gives each key of a value, and the types found there.
func keysOf(at string, value any, found map[string][]string) {
	add := func(kind string) {
		if at != "" && !slices.Contains(found[at], kind) {
			found[at] = append(found[at], kind)
		}
	}
	switch v := value.(type) {
	case map[string]any:
		add("object")
		for key, inner := range v {
			keysOf(strings.TrimPrefix(at+"."+key, "."), inner, found)
		}
	case []any:
		add("list")
		for _, inner := range v {
			keysOf(at+"[]", inner, found)
		}
	case string:
		if _, err := time.Parse("2006-01-02T15:04:05Z", v); err == nil {
			add("time")
		} else {
			add("string")
		}
	case float64:
		add("number")
	case nil:
		add("null")
	default:
		add(fmt.Sprintf("%T", v))
	}
}

func TestTheSummaryHasExactlyTheDocumentedKeys(t *testing.T) {
	t.Parallel()
	found := map[string][]string{}
	for _, c := range []struct {
		name   string
		faults string
		flags  []string
		code   int
	}{
		{"all is well", "", nil, 0},
		{"something is unknown", "reset-after=40", []string{"--retry-rounds", "1", "--retry-backoff", "0"}, 4},
	} {
		l, s := labWithSandbox(t, "--faults", c.faults, "--seed", "6")
		m := l.migration(s, l.users(fakeusers.Options{Records: 100, Seed: 81}), 5, append(c.flags, "--rate-limit", "0", "--json")...).shared()
		p := m.run(c.code)
		m.check()
		if got, want := p.output(), readAll(m.summary()); got != want {
			t.Errorf("%s: --json printed\n%s\nthe summary is\n%s", c.name, got, want)
		}
		keysOf("", decoded[any](t, p.output()), found)
	}
	for _, key := range slices.Sorted(maps.Keys(summaryKeys)) {
		if found[key] == nil {
			t.Errorf("the summary has no %s", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(found)) {
		for _, kind := range found[key] {
			if !slices.Contains(strings.Split(summaryKeys[key], " or "), kind) {
				t.Errorf("%s is a %s; want %q", key, kind, summaryKeys[key])
			}
		}
	}
}

func TestArtifactsAreNamedWithOneDatetime(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 60, Seed: 82, Awkward: true}), 10, "--rate-limit", "0").shared()
	p := m.run(3)
	m.check()
	stamp := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(m.summary()), "summary_"), ".json")
	if _, err := time.Parse("Jan_02_2006_15_04_05", stamp); err != nil {
		t.Errorf("the datetime is %q, want one like Nov_22_2026_13_05_00", stamp)
	}
	var got []string
	for name := range m.snapshot() {
		got = append(got, strings.Replace(name, stamp, "DATETIME", 1))
		if !strings.Contains(p.output(), filepath.Join(m.out, name)) {
			t.Errorf("the end of the run does not name %s:\n%s", name, p.output())
		}
	}
	slices.Sort(got)
	want := []string{"fail_DATETIME.csv", "fail_records_DATETIME.csv", "report_DATETIME.html", "success_DATETIME.csv", "summary_DATETIME.json"}
	if !slices.Equal(got, want) {
		t.Errorf("the files are %q, want %q", got, want)
	}
}
