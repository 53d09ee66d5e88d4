package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"durable-dataload/internal/proof/check"
	"durable-dataload/internal/proof/program"
)

// programs are built once for all tests.
var programs struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(programs.dir)
	os.Exit(code)
}

func newTestHarness(t *testing.T, o options) (*harness, *bytes.Buffer) {
	t.Helper()
	programs.once.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp(fastFolder(false), folderPrefix); programs.err == nil {
			programs.err = build(context.Background(), programs.dir)
		}
	})
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	dir, err := os.MkdirTemp(fastFolder(false), folderPrefix)
	must(t, err)
	var out bytes.Buffer
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(out.String())
		}
		_ = os.RemoveAll(dir)
	})
	return &harness{options: o, out: &out, dir: dir, bin: programs.dir, figures: newFigures(o.seed)}, &out
}

// The harness itself is proven: after one real migration, with calls of which
// the answers are lost, each kind of damage to its results is found and called
// by the name of the invariant.
func TestEverySabotageIsCalledByItsName(t *testing.T) {
	program.Long(t) // it builds the programs
	h, _ := newTestHarness(t, options{seed: 1})
	p := draw(1, 1, 300)
	p.input.Awkward, p.batch, p.workers, p.rate, p.before, p.faults, p.findLag = true, 20, 0, 60, 0, "", 0
	p.canary, p.maxFailed, p.world = 0, "", world{}
	p.events = []event{{when: trigger{what: onCalls, n: 3}, action: loseAnswers, calls: 2}}
	e := &episode{plan: p, programs: h.bin, dir: filepath.Join(h.dir, "episode"), count: h.figures, underway: map[string]*underway{}, say: t.Logf}
	must(t, os.Mkdir(e.dir, 0o700))
	v, broken, err := e.run(t.Context())
	if err != nil || v == nil || len(broken) > 0 {
		t.Fatalf("the migration went wrong without sabotage: %v, %v", broken, err)
	}
	summary, broken, err := v.check()
	if err != nil || len(broken) > 0 {
		t.Fatalf("found %v, %v without sabotage, want nothing", broken, err)
	}
	if summary.Records.Recovered == 0 || len(v.first) < 4 {
		t.Fatalf("the migration came to %+v with %d tables, want some records recovered and a retry file: this is no test", summary.Records, len(v.first))
	}
	for i, s := range sabotages {
		if s.damage == nil {
			continue
		}
		dir := filepath.Join(h.dir, "copy-"+s.name)
		copyFolder(t, dir, v.dir)
		moved := v.in(dir)
		if i == 0 { // the copy itself is as good as the original
			if _, broken, err := moved.check(); err != nil || len(broken) > 0 {
				t.Fatalf("found %v, %v in a copy without damage, want nothing", broken, err)
			}
		}
		if err := s.damage(moved); err != nil {
			t.Errorf("%s: %v", s.name, err)
			continue
		}
		_, broken, err := moved.check()
		if err != nil || !slices.ContainsFunc(broken, func(b check.Broken) bool { return b.Invariant == s.invariant }) {
			t.Errorf("%s: found %v, %v; want invariant %s among it", s.name, broken, err, s.invariant)
		}
	}
}

// copyFolder keeps the modes of files, as os.CopyFS does not.
func copyFolder(t *testing.T, to, from string) {
	t.Helper()
	err := os.CopyFS(to, os.DirFS(from))
	if err == nil {
		err = filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			return os.Chmod(filepath.Join(to, strings.TrimPrefix(path, from)), info.Mode())
		})
	}
	must(t, err)
}

func TestAHangIsFoundAndShown(t *testing.T) {
	program.Long(t) // as long as it waits for the hang
	h, out := newTestHarness(t, options{seed: 1, sabotage: "hang"})
	must(t, h.runAll(t.Context()))
	for _, want := range []string{"BROKEN: " + comesToItsEnd, "--seed 1 --episode 1", h.dir} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if h.figures.Broken == 0 {
		t.Error("it counts nothing that is broken")
	}
	dumped, err := filepath.Glob(filepath.Join(h.dir, "episode-1", "starter-*.stderr"))
	if err != nil || !slices.ContainsFunc(dumped, func(path string) bool { return strings.Contains(read(path), "goroutine ") }) {
		t.Errorf("none of %q has the goroutines (%v)", dumped, err)
	}
}

func TestTheCommandLine(t *testing.T) {
	cases := []struct {
		args []string
		says string
	}{
		{[]string{"--sabotage", "nothing"}, "expected one of lost-record, "},
		{[]string{"10"}, `unexpected argument "10"`},
		{[]string{"--at-once", "0"}, "impossible"},
		{[]string{"--fleet", "--minutes", "3"}, "--fleet has its own two episodes"},
		{[]string{"--target", "mars"}, "expected sandbox, or without --fleet and --sabotage kratos or identity-platform"},
		{[]string{"--target", "kratos", "--fleet"}, "--target kratos is impossible"},
		{[]string{"--target", "identity-platform", "--sabotage", "hang"}, "--target identity-platform is impossible"},
		{[]string{"--minute", "1"}, "unknown flag"},
	}
	for _, c := range cases {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), c.args, &stdout, &stderr); code != exitCannot || !strings.Contains(stderr.String(), c.says) {
			t.Errorf("%q: exit code %d, %s; want %d and %q", c.args, code, stderr.String(), exitCannot, c.says)
		}
	}
}

func TestFiguresAreReadByMachinesAndPeople(t *testing.T) {
	f := newFigures(5)
	f.add(func(f *figures) { f.Kills["worker"] = 2; f.Kills["engine"] = 1; f.Unknown = 7 })
	h := &harness{figures: f, options: options{json: true}, kept: true}
	var out bytes.Buffer
	h.finish(&out)
	var got struct {
		Kills   map[string]int
		Unknown int `json:"unknown_found"`
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.Kills["worker"] != 2 || got.Unknown != 7 {
		t.Errorf("as JSON: %+v, %v\n%s", got, err, out.String())
	}
	out.Reset()
	h.json = false
	h.finish(&out)
	for _, want := range []string{"3 (engine 1, worker 2)", "7 found after round 0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("for people it does not say %q:\n%s", want, out.String())
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
