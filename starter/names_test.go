package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/program"
)

// shownSafely holds that what a process has printed has no character that a terminal obeys, or
// does not show.
func shownSafely(t *testing.T, p *process) {
	t.Helper()
	for _, printed := range []string{p.output(), p.errors()} {
		for _, r := range printed {
			if !strconv.IsPrint(r) && r != '\n' && r != '\t' || r == utf8.RuneError {
				t.Fatalf("%q was printed in %q; want it escaped", r, printed)
			}
		}
	}
}

func TestAFileMayBeCalledAnything(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t)
	names := []string{"München.csv", "客户 😀.csv", "users\u202evsc.\ncsv", "-50%41 `x`|<b>.csv", "\xff.csv", strings.Repeat("ä", 125) + ".csv"}
	m := l.migration(s, "", 10, "--rate-limit", "0")
	for i, name := range names {
		m.input = l.write(name, people(t, fakeusers.Options{Records: 10, Seed: uint64(400 + i)}))
		p := m.run(0)
		shownSafely(t, p)
		if f := m.status("--latest"); f.State != "done" || f.Records["created"] != 10 || strings.ContainsFunc(f.ID, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q: %+v; want its ten records created, under an id of ASCII", name, f)
		}
	}
	if n := len(s.emails()); n != 10*len(names) {
		t.Errorf("%d users were written, want %d", n, 10*len(names))
	}
	p := m.operate("list").ends(0)
	shownSafely(t, p)
	hasAll(t, p.output(), "München.csv", "客户 😀.csv", `"users\u202evsc.\ncsv"`)
	var listed []struct{ File string }
	if err := json.Unmarshal([]byte(m.ordered("list", "--json")), &listed); err != nil || len(listed) != len(names) {
		t.Fatalf("%v, %+v; want a list of all", err, listed)
	}
	for i, name := range names { // the newest first
		if f := listed[len(names)-1-i].File; f != name && utf8.ValidString(name) {
			t.Errorf("the file is called %q in the list, want %q", f, name)
		}
	}

	// One target, however it is spelled.
	for _, spelled := range []string{"HTTP://" + s.address, s.uri() + "/", "http://" + strings.Replace(s.address, ":", ".:", 1)} {
		m.flags = []string{"--batch-size", "10", "--apid_uri", spelled}
		refused(t, m.start(), 1, "was migrated already")
	}

	// A copy of the state folder.
	original := m.state
	m.state = l.path("copy")
	if out, err := exec.Command("cp", "-pR", original, m.state).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m.input = l.write("more.csv", people(t, fakeusers.Options{Records: 10, Seed: 450}))
	mark := filepath.Join(m.state, "machine.json")
	refused(t, m.start(), 1, "is a copy", "remove "+mark, "docs/state.md")
	must(t, os.Remove(mark))
	m.run(0)
}

func TestAScheduleReportsTheFileThatItCannotTakeAndTakesTheNext(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	n := l.nightly(s, nil, "--rate-limit", "0")
	serving := n.serve()
	for i, name := range []string{"a\xff.csv", "München\u202e\n.csv", "one.csv"} {
		n.put(name, people(t, fakeusers.Options{Records: 10, Seed: uint64(460 + i)}))
	}
	n.schedule("trigger", "nightly")
	first := n.next()
	sameLines(t, first.results(), []string{"München\u202e\n.csv: migrated, done", "a\uFFFD.csv: refused", "one.csv: migrated, done"})
	if f := first.Files[1]; !strings.Contains(f.Reason, `"a\xff.csv" is not UTF-8`) || !strings.Contains(f.Reason, "rename") {
		t.Errorf("the reason is %q; want what is wrong, and what to do", f.Reason)
	}
	if n := len(s.emails()); n != 20 {
		t.Errorf("%d users were written, want 20", n)
	}
	for _, command := range [][]string{{"list"}, {"status", "--latest"}} {
		p := l.start("starter", nil, append(command, "--state-dir", l.path("state"))...).ends(0)
		shownSafely(t, p)
	}
	refused(t, l.start("starter", nil, "schedule", "describe", "Nächte", "--state-dir", l.path("state")), 2, "cannot be the name of a schedule")
	serving.signal(os.Interrupt)
	serving.ends(0)
}
