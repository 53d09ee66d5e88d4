package main_test

import (
	"strings"
	"syscall"
	"testing"

	"durable-dataload/internal/fakeusers"
)

func (l *lab) writeText(name, text string) string { return l.write(name, []byte(text)) }

func TestAMappingIsProposedTriedAndFollowed(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	input := l.writeText("users.csv", "E-Mail,First name,DOB,Sex\n Ada@example.com,Ada,31.12.1999,F\nbob@example.com,B\u009bob,1.2.2001,M\n")
	file := l.path("mapping.yaml")
	starter := func(want int, env []string, args ...string) *process {
		t.Helper()
		p := l.start("starter", env, append([]string{"mapping"}, args...)...).ends(want)
		return p
	}

	if p := starter(0, nil, "default"); !strings.Contains(p.output(), "optIn.status:") {
		t.Errorf("the built-in mapping is\n%s", p.output())
	}
	starter(0, append(s.credentials(), "CAPTURE_APID_URI="+s.uri()), "init", "--data", input, "-o", file)
	proposal := readAll(file)
	hasAll(t, proposal, "to: email", "type: date", `layouts: ["D.M.YYYY"]`)
	oneError(t, starter(1, nil, "init", "--data", input, "-o", file), file, "already")
	if readAll(file) != proposal {
		t.Error("the second proposal has replaced the first")
	}
	oneError(t, starter(1, nil, "init", "--data", input, "--apid_uri", s.uri()), "credentials")
	refused(t, starter(2, nil, "preview", "--data", input, "--mapping", file), 2, "--force-output")
	refused(t, starter(2, nil, "preview", "--force-output"), 2, "--data")
	refused(t, starter(1, nil, "preview", "now", "--force-output"), 1, "no such file")
	p := starter(0, nil, "preview", "--data", input, "--mapping", file, "-n", "2", "--force-output")
	hasAll(t, p.output(), "record 2, line 3\n", `E-Mail      " Ada@example.com"`, `{"email":"Ada@example.com","givenName":"Ada","birthday":"1999-12-31 00:00:00","gender":"female"}`, `"B\u009bob"`)
	if strings.Contains(p.output(), "\u009b") {
		t.Errorf("the preview sends a control character to the terminal:\n%q", p.output())
	}

	m := l.migration(s, input, 10, "--mapping", file)
	m.run(0)
	hasAll(t, readAll(s.truth()), `"email":"Ada@example.com"`, `"birthday":"1999-12-31"`)
}

func TestAMigrationKeepsItsMapping(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	input := l.users(fakeusers.Options{Records: 200, Seed: 91})
	first := l.writeText("first.yaml", "columns:\n  givenName: {case: upper}\n")
	other := l.writeText("other.yaml", "columns:\n  givenName: {case: lower}\n")
	wrong := l.writeText("wrong.yaml", "columns:\n  givnName: displayName\n")
	m := l.migration(s, input, 5, "--rate-limit", "8")
	with := func(mapping ...string) *migration {
		c := *m
		c.flags = append(append([]string{}, m.flags...), mapping...)
		return &c
	}

	refused(t, with("--mapping", wrong).start(), 1, "wrong.yaml, line 2", `did you mean column 2?`)
	refused(t, with("--mapping", l.path("none.yaml")).start(), 1, "none.yaml", "no such file")

	p := with("--mapping", first).start()
	until(t, "some calls", func() bool { return s.calls() >= 4 })
	refused(t, with("--mapping", other).start(), 1, "started with the mapping first.yaml", "other.yaml")
	p.signal(syscall.SIGINT)
	p.ends(5)

	calls := s.calls()
	refused(t, with("--mapping", other).start(), 1, "started with the mapping first.yaml", "other.yaml", "its copy is")
	refused(t, with().start(), 1, "started with the mapping first.yaml", "built-in")
	s.wantCalls(calls)
	with("--mapping", first, "--rate-limit", "0").run(0)
	m.wantRecords(map[string]int{"created": 200})
}
