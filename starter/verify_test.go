package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/program"
)

// verify gives the command that reads a migration back.
func (m *migration) verify(flags ...string) *process {
	m.lab.t.Helper()
	return m.lab.start("starter", m.env, slices.Concat([]string{"verify"}, m.locations(), flags)...)
}

type verifyFigures struct {
	Records, Sample int
	Found           struct {
		Equal, Different, Missing, Unseen, Left int
		NotLoaded                               int            `json:"not_loaded"`
		Since                                   int            `json:"changed_since"`
		Attributes                              map[string]int `json:"by_attribute"`
	}
	File      string `json:"verify"`
	OutputDir string `json:"output_dir"`
}

func (s *sandboxTarget) remove(uuid string) {
	s.lab.t.Helper()
	body := s.post("/entity.delete", url.Values{"type_name": {"user"}, "uuid": {uuid}})
	if !bytes.Contains(body, []byte(`"stat":"ok"`)) {
		s.lab.t.Fatalf("the record was not deleted: %s", body)
	}
}

func TestVerifyFindsTheDifferences(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 50, Seed: 61}), 7, "--rate-limit", "0")
	m.run(0)
	p := m.verify("--migration", m.figures().ID, "--all", "--rate-limit", "0", "--output-dir", l.path("first")).ends(0)
	if !strings.Contains(p.output(), "50 of 50 records are in the target as they should be.") || !strings.Contains(p.errors(), "polled for until") {
		t.Errorf("it says\n%s%s", p.errors(), p.output())
	}
	m.endedAnHourAgo()

	// batch, line, uuid, email …
	loaded := rows(t, filepath.Join(m.out, m.figures().Files.Success))
	const strange = "Zanzibar-Quux"
	s.edit(loaded[4][2], `{"givenName":"`+strange+`"}`)
	s.edit(loaded[23][2], `{"familyName":"`+strange+`","middleName":"`+strange+`"}`)
	s.remove(loaded[40][2])
	want := [][]string{
		{loaded[4][0], loaded[4][1], "givenName", "different"}, {loaded[23][0], loaded[23][1], "familyName", "different"},
		{loaded[40][0], loaded[40][1], "", "missing"},
	}
	content := s.content()
	p = m.verify("--migration", m.figures().ID, "--all", "--rate-limit", "0", "--json").ends(3)
	f := decoded[verifyFigures](t, p.output())
	if f.Records != 50 || f.Sample != 50 || f.Found.Equal != 47 || f.Found.Different != 2 || f.Found.Missing != 1 || f.Found.Since != 2 || f.OutputDir != m.out {
		t.Errorf("it came to %+v", f)
	}
	if got := rows(t, filepath.Join(f.OutputDir, f.File)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the differences are %q, want %q", got, want)
	}
	if file := readAll(filepath.Join(f.OutputDir, strings.TrimSuffix(f.File, ".csv")+".json")); file != p.output() {
		t.Errorf("the file is\n%s\nand on the screen is\n%s", file, p.output())
	}

	var samples [2]string
	for i := range samples {
		p = m.verify("--latest", "--sample", "10", "--rate-limit", "0", "--json").ends(0, 3)
		f := decoded[verifyFigures](t, p.output())
		if f.Sample != 10 || f.Found.Equal+f.Found.Different+f.Found.Missing != 10 {
			t.Errorf("the sample came to %+v", f)
		}
		samples[i] = fmt.Sprint(f.Found, rows(t, filepath.Join(f.OutputDir, f.File)))
	}
	if samples[0] != samples[1] {
		t.Errorf("the same sample is %s and then %s", samples[0], samples[1])
	}

	sameContent(t, s.content(), content)
	m.noValuesOf(append(s.emails(), strange))
}

// endedAnHourAgo makes the end of the migration be long ago, so that nothing is
// invisible just because it is new.
func (m *migration) endedAnHourAgo() {
	m.lab.t.Helper()
	paths, err := filepath.Glob(filepath.Join(m.state, "migrations", "*", "summary.json"))
	if err != nil || len(paths) != 1 {
		m.lab.t.Fatalf("summaries: %q, %v", paths, err)
	}
	summary := decoded[map[string]any](m.lab.t, readAll(paths[0]))
	summary["finished_at"] = time.Now().Add(-time.Hour)
	data, err := json.Marshal(summary)
	if err == nil {
		err = os.WriteFile(paths[0], data, 0o600)
	}
	must(m.lab.t, err)
}

// noValuesOf checks that Temporal, the log and the screen have none of these.
func (m *migration) noValuesOf(values []string) {
	t := m.lab.t
	t.Helper()
	e := m.traces("engine", "logs", "verifications")
	for _, path := range m.artifacts("verify_*") {
		e.add(path, []byte(readAll(path)))
	}
	e.mustHold(t, "VerifyWorkflow", "VerifyBatch", "givenName", "familyName", "verify batch 2 of 8", "missing")
	secrets := map[string]string{}
	for _, value := range values {
		secrets[value] = "a value"
	}
	e.mustNotHold(t, secrets)
	ownerOnly(t, filepath.Join(m.state, "verifications"))
}

// TestAStoppedVerificationStartsAgain is with workers of a service, and records that
// were updated.
func TestAStoppedVerificationStartsAgain(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t)
	input := l.users(fakeusers.Options{Records: 60, Seed: 62})
	s.seed(emails(t, input)[:20])
	s.runAgain("--latency", "300ms")
	m := l.migration(s, input, 5, "-m", "--rate-limit", "0").remote()
	m.worker()
	p := m.run(0)
	flags := serviceFlags(t, "--latest", "--all", "--json", "--rate-limit", "0", "--workers", "1", "--task-queue", m.queue())
	finds := s.count("entity.find")
	p = m.verify(flags...)
	until(t, "some are looked at", func() bool { return s.count("entity.find") > finds+3 || p.hasEnded() })
	p.kill() // the workers of the service continue
	p = m.verify(flags...)
	until(t, "it is watched again", func() bool { return strings.Contains(p.errors(), "verified already") || p.hasEnded() })
	p.ends(0)
	if f := decoded[verifyFigures](t, p.output()); f.Found.Equal != 60 {
		t.Errorf("it came to %+v, want 60 as they should be", f)
	}

	flags = append(flags, "--with-worker")
	m.lab.processes[slices.IndexFunc(m.lab.processes, func(p *process) bool { return strings.HasPrefix(p.name, "worker") })].kill()
	finds = s.count("entity.find")
	p = m.verify(flags...)
	until(t, "some are looked at", func() bool { return s.count("entity.find") > finds+3 || p.hasEnded() })
	p.signal(os.Interrupt)
	p.ends(5)
	if f := decoded[verifyFigures](t, p.output()); f.Found.Left == 0 || f.Found.Equal == 0 || f.Found.Left+f.Found.Equal != 60 {
		t.Errorf("stopped: %+v; want some as they should be, and the others left", f)
	}
}

func TestVerifyRefusesUnclearOptions(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	state := l.path("state")
	for says, flags := range map[string][]string{
		"expected one migration: ":    {},
		"expected one migration:":     {"--migration", "x", "--latest"},
		"there are no migrations":     {"--migration", "x"},
		"no migration was found":      {"--latest"},
		"expected one of --sample":    {"--latest", "--sample", "3", "--all"},
		"--sample is 0":               {"--latest", "--sample", "0"},
		"expected no --client-secret": {"--latest", "--sandbox", "--client-secret", "secret"},
		`none is "users.csv"`:         {"users.csv"},
	} {
		p := l.start("starter", nil, append([]string{"verify", "--state-dir", state}, flags...)...)
		if code := p.wait(); code != 1 && code != 2 || !strings.Contains(p.errors(), strings.TrimSpace(says)) {
			t.Errorf("%q: exit code %d, %s; want %q", flags, code, p.errors(), says)
		}
	}

	m := l.migration(s, l.users(fakeusers.Options{Records: 20, Seed: 63}), 1, "--rate-limit", "2")
	p := m.startUntil(4)
	p.kill()
	refused(t, m.verify("--latest"), 1, "has not ended")
	p = m.start()
	calls := s.calls()
	until(t, "more calls", func() bool { return s.calls() > calls || p.hasEnded() })
	p.signal(os.Interrupt)
	p.ends(5)

	// What was stopped can be verified, as far as it was loaded; by a part of its id.
	p = m.verify("--migration", "migration-", "--all", "--json", "--rate-limit", "0").ends(0)
	if f := decoded[verifyFigures](t, p.output()); f.Found.Equal < 3 || f.Found.NotLoaded == 0 || strconv.Itoa(f.Found.Equal+f.Found.NotLoaded) != "20" {
		t.Errorf("it came to %+v, want what was loaded to be as it should be", f)
	}
	p = m.rollback("--yes", "--rate-limit", "0")
	_ = p.wait()
	refused(t, m.verify("--latest"), 1, "rolled back")
}
