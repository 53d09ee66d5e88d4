package main_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/program"
)

// refused holds that a process could not run, and said in one line why.
func refused(t *testing.T, p *process, want int, words ...string) {
	t.Helper()
	exitCode(t, p, want)
	oneError(t, p, words...)
	if out := p.output(); out != "" {
		t.Errorf("stdout has %q, want nothing", out)
	}
}

// oneError holds that stderr ends in the one line that says what is wrong.
func oneError(t *testing.T, p *process, words ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(p.errors(), "\n"), "\n")
	errors := 0
	for _, line := range lines {
		if strings.HasPrefix(line, "starter: ") {
			errors++
		}
	}
	last := lines[len(lines)-1]
	if errors != 1 || !strings.HasPrefix(last, "starter: ") {
		t.Errorf("stderr is:\n%s\nwant it to end in one line of error", p.errors())
	}
	hasAll(t, last, words...)
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	input := l.users(fakeusers.Options{Records: 5, Seed: 1})
	cases := []struct {
		name string
		args []string
		says string
	}{
		{"an unknown flag", []string{"--data", input, "--sandbox", "--nope"}, "--nope"},
		{"standard input twice", []string{"--sandbox", "--data", "-", "-"}, "given 2 times"},
		{"a delimiter of two characters", []string{"--sandbox", input, "--delimiter", ";;"}, "--delimiter"},
		{"a delimiter that is a letter", []string{"--sandbox", input, "--delimiter", "x"}, "--delimiter"},
		{"an unknown encoding", []string{"--sandbox", input, "--encoding", "ebcdic"}, "--encoding"},
		{"no pattern", []string{"--sandbox", "--data", "users[.csv"}, "pattern"},
		{"no file", []string{"--sandbox"}, "--data"},
		{"no target", []string{"--data", input}, "--apid_uri"},
		{"a recipient without -m", []string{"--data", input, "--sandbox", "--undo-recipient", "age104q7cg4d6e9lxjx5ermxnhm82maa2gqydv942uwy4feve0yz8fks7xe8qn"}, "--delta-migration"},
		{"a recipient that is none", []string{"--data", input, "--sandbox", "-m", "--undo-recipient", "somebody"}, "age1"},
		{"a sandbox and a client of the file", []string{"--data", input, "--sandbox", "-k", "key"}, "no --config-key"},
		{"a sandbox and the default client", []string{"--data", input, "--sandbox", "-d"}, "no --default-client"},
		{"a batch of none", []string{"--data", input, "--sandbox", "-b", "0"}, "--batch-size"},
		{"a rate below 0", []string{"--data", input, "--sandbox", "-r", "-1"}, "--rate-limit"},
		{"no number", []string{"--data", input, "--sandbox", "-w", "many"}, "--workers"},
		{"an unknown authentication", []string{"--data", input, "--sandbox", "--auth", "hope"}, "--auth"},
		{"a sandbox and a target", []string{"--data", input, "--sandbox", "-u", "https://x.test"}, "no --apid_uri"},
		{"codes that are none", []string{"--data", input, "--sandbox", "--unknown-http-codes", "5x"}, "--unknown-http-codes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			refused(t, l.start("starter", nil, append(c.args, "--state-dir", l.path("state"))...), 2, c.says)
			if exists(l.path("state")) {
				t.Error("a state folder was made")
			}
		})
	}
}

func TestWhatCannotBeLoadedIsRefusedWithFileLineAndReason(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	cases := []struct {
		name, content string
		says          []string
	}{
		{"not UTF-8", "email,givenName\na@x.test,A\nb@x.test,Ren\xe9\n", []string{"line 3", "UTF-8"}},
		{"an unclosed quote", "email,givenName\na@x.test,A\nb@x.test,\"B\nc@x.test,C\n", []string{"line 3", "quote"}},
		{"a repeated name in the header", "email,givenName,email\na@x.test,A,b@x.test\n", []string{"line 1", "columns 1 and 3"}},
		{"a missing name in the header", "email,,familyName\na@x.test,A,B\n", []string{"line 1", "column 2"}},
		{"an empty file", "", []string{"empty"}},
		{"only empty lines", "\n\r\n\n", []string{"empty"}},
		{"a JSON export", "[{\"mail\": \"a\"},\n{\"mail\": \"b\"}]\n", []string{"line 1", "JSON"}},
		{"the key in another case", "E-Mail,givenName\na,A\n", []string{"did you mean email?"}},
		{"no attribute of the target", "Jane,Doe\nJohn,Doe\n", []string{"no column is an attribute of the target's"}},
		{"UTF-16", "\xff\xfee\x00m\x00", []string{"line 1", "UTF-16"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			input := l.path("bad.csv")
			must(t, os.WriteFile(input, []byte(c.content), 0o600))
			m := l.migration(s, input, 10).shared()
			refused(t, m.start(), 1, append(c.says, "bad.csv")...)
			if found := m.artifacts("*"); s.calls() > 0 || len(found) > 0 {
				t.Errorf("%d calls were made, and the output folder has %q", s.calls(), found)
			}
		})
	}
}

func TestWhatIsWrongAroundIsSaidInOneLine(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	input := l.users(fakeusers.Options{Records: 30, Seed: 61})
	nobody := freeAddress(t) // nobody listens there
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close() // accepts in the kernel, and never says a word
	cases := []struct {
		name  string
		env   []string
		flags []string
		says  []string
	}{
		{"a wrong secret", []string{"CAPTURE_CLIENT_SECRET=wrong"}, nil, []string{"client id and secret", "check"}},
		{"no credentials", []string{"CAPTURE_CLIENT_ID=", "CAPTURE_CLIENT_SECRET="}, nil, []string{"CAPTURE_CLIENT_ID"}},
		{"an unknown entity type", nil, []string{"-t", "martian"}, []string{"entity type", `"martian"`}},
		{"a target that is not there", nil, []string{"-u", "http://" + nobody}, []string{nobody, "check the address"}},
		{"a target that is silent", nil, []string{"-u", "http://" + silent.Addr().String(), "-o", "1"}, []string{silent.Addr().String(), "check the address"}},
		{"a target over plain HTTP", nil, []string{"-u", "http://identity.test"}, []string{"use https://identity.test"}},
		{"no Temporal service", nil, []string{"--address", nobody}, []string{"Temporal", nobody, "--address"}},
		{"no such file", nil, []string{"--data", l.path("nothing.csv")}, []string{"nothing.csv", "no such file"}},
		{"a folder for a file", nil, []string{"--data", l.dir}, []string{"is not a file"}},
		{"a state folder that is a file", nil, []string{"--state-dir", input}, []string{"--state-dir"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			own := newLab(t)
			m := own.migration(s, input, 10, c.flags...)
			m.env = append(m.env, c.env...)
			p := m.start()
			refused(t, p, 1, c.says...)
			if strings.Contains(p.errors(), s.secret) {
				t.Error("the error holds the secret")
			}
			if found := m.artifacts("*"); len(found) > 0 {
				t.Errorf("the output folder has %q", found)
			}
		})
	}
	t.Cleanup(func() {
		s.wantCalls(0)
	})
}

func TestAStateFolderOfAnotherProcessIsLeftAlone(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 30, Seed: 62}), 10)
	dir := filepath.Join(m.state, "engine")
	must(t, os.MkdirAll(dir, 0o700))
	lock, err := os.Create(filepath.Join(dir, "lock"))
	must(t, err)
	defer lock.Close()
	must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	refused(t, m.start(), 1, m.state, "another process", "--state-dir")
	s.wantCalls(0)
}

func TestThePortOfTheSandboxIsTaken(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	input := l.users(fakeusers.Options{Records: 20, Seed: 63})
	out := l.path("out")
	args := []string{"--data", input, "--sandbox", "--rate-limit", "0", "--timeout", "1", "--retry-rounds", "12", "--retry-backoff", "100ms", "--state-dir", l.path("state"), "--output-dir", out}
	l.start("starter", nil, args...).ends(0)
	m := &migration{lab: l, out: out}
	address := strings.TrimPrefix(m.figures().URI, "http://")
	other, err := net.Listen("tcp", address)
	must(t, err)
	defer other.Close()
	refused(t, l.start("starter", nil, append(args, "--again")...), 1, address, "in use", "--state-dir")
}

func TestOneBadRecordDoesNotFailItsBatch(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t, "--refuse-calls", "--faults", "reset-after=10", "--seed", "5")
	input := l.write("users.csv", []byte("email,givenName\n"+goodAndBad(60, 17, 18, 44)))
	m := l.migration(s, input, 20, "--rate-limit", "0", "--retry-backoff", "100ms", "--retry-rounds", "9").shared()
	m.run(3)
	m.check()
	f := m.figures()
	if f.Records["failed"] != 3 || f.Records["created"]+f.Records["recovered"] != 57 {
		t.Errorf("%+v, want three failed and the others in", f.Records)
	}
	for _, row := range rows(t, m.artifacts("fail_[A-Z]*.csv")[0]) {
		hasAll(t, row[3], "email is not an email address")
	}
}

// goodAndBad are n people, of whom those named have no usable address.
func goodAndBad(n int, bad ...int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		at := "@"
		if slices.Contains(bad, i) {
			at = "."
		}
		fmt.Fprintf(&b, "a%d%sexample.com,Name %d\n", i, at, i)
	}
	return b.String()
}

func TestWhatCouldNotRunSaysWhyAfterItsProcessHasEnded(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 10, Seed: 76}), 5)
	closed := l.migration(s, m.input, 5)
	closed.target = &sandboxTarget{lab: l, address: freeAddress(t), dir: s.dir, id: s.id, secret: s.secret}
	latin := l.path("latin.csv")
	must(t, os.WriteFile(latin, []byte("email\nj\xf6rg@example.com\n"), 0o600))
	for _, c := range []struct {
		name   string
		m      *migration
		input  string
		flags  []string
		reason string
	}{
		{"a wrong entity type", m, m.input, []string{"--type-name", "users"}, "users"},
		{"a wrong port", closed, m.input, nil, "connection refused"},
		{"an input that is refused", m, latin, nil, "not UTF-8"},
	} {
		run := *c.m
		run.input, run.flags = c.input, append(slices.Clone(c.m.flags), c.flags...)
		run.run(1)
		status, list := m.status(), m.ordered("list")
		if status.State != "failed" || status.ExitCode == nil || *status.ExitCode != 1 || !strings.Contains(status.Reason, c.reason) {
			t.Errorf("%s: the status is %+v; want failed, %q and exit code 1", c.name, status, c.reason)
		}
		if text := m.ordered("status"); !strings.Contains(text, "could not run") || !strings.Contains(text, c.reason) || strings.Contains(text, "cut off") {
			t.Errorf("%s: the status is\n%s", c.name, text)
		}
		if !strings.Contains(list, "could not run") || !strings.Contains(list, c.reason) || strings.Contains(list, "cut off") {
			t.Errorf("%s: the list is\n%s", c.name, list)
		}
	}
	m.run(0)
	if status := m.status(); status.State != "done" {
		t.Errorf("after the right command it is %+v", status)
	}
}

func TestValidateBeforeANewMigrationOnly(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	input := l.path("users.csv")
	must(t, os.WriteFile(input, []byte("email,givenname\na@example.com,A\nb@example.com,B\nB@example.com,C\n"), 0o600))
	const found = "error: 3 × givenname"
	m := l.migration(s, input, 10)
	p := m.run(3)
	hasAll(t, p.errors(), found, "error: 3 × givenname: the schema does not have this attribute; did you mean givenName?", "(line 4 (first in 3))")
	if strings.Contains(p.errors(), "example.com") {
		t.Errorf("a value is on the screen:\n%s", p.errors())
	}

	m = l.migration(s, input, 10, "--again", "--no-validate")
	p = m.run(3)
	if strings.Contains(p.errors(), found) {
		t.Errorf("it was validated in spite of --no-validate:\n%s", p.errors())
	}
}
