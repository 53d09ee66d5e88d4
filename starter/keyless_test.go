package main_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// keylessInput has n people, of whom every third has no email. It gives the input
// and the part of it that has none.
func keylessInput(n int) (input, keyless string) {
	const header = "email,givenName,mobileNumber\n"
	input, keyless = header, header
	for i := range n {
		email := fmt.Sprintf("k%d@example.com", i)
		if i%3 == 0 {
			email = ""
		}
		row := fmt.Sprintf("%s,Name%d,+155501%05d\n", email, i, i)
		input += row
		if email == "" {
			keyless += row
		}
	}
	return input, keyless
}

// lastRetryFile is the content of the file with the records that are unknown.
func (m *migration) lastRetryFile() string {
	m.lab.t.Helper()
	unresolved := m.figures().Files.Unresolved
	if unresolved == nil {
		m.lab.t.Fatal("no retry file holds the unknown records")
	}
	return readAll(filepath.Join(m.out, *unresolved))
}

// A record that the target cannot refuse as a duplicate exists once, if at all,
// whatever is done with its migration afterwards.
func TestKeylessRecordsExistOnceIfAtAll(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t, "--faults", "reset-after=100", "--heal-after", "1")
	input, keyless := keylessInput(30)
	m := l.migration(s, l.write("keyless.csv", []byte(input)), 30, "--retry-backoff", "100ms", "--rate-limit", "0").shared()
	p := m.run(4)
	m.check()
	if f := m.figures(); f.Records["recovered"] != 20 || f.Records["unknown"] != 10 || len(f.Rounds) != 2 {
		t.Errorf("%+v, want 20 recovered, 10 unknown, one retry round", f)
	}
	if got := m.lastRetryFile(); got != keyless {
		t.Errorf("the last retry file:\n%s\nwant\n%s", got, keyless)
	}
	for stream, text := range map[string]string{p.errors(): "10 × email: no value, and it is the primary key", p.output(): "of these keyless  10\n"} {
		hasAll(t, stream, text)
	}
	if accounts := len(s.content()); accounts != 30 {
		t.Errorf("%d accounts of 30 records", accounts)
	}
	calls := s.calls()
	for _, flags := range [][]string{nil, {"--again"}, {"--recovered-by", "refusal"}, {"--retry-rounds", "9"}} {
		again := *m
		again.flags = append(again.flags[:len(again.flags):len(again.flags)], flags...)
		again.run(4)
		if s.calls() != calls {
			t.Errorf("%q: %d calls more", flags, s.calls()-calls)
		}
		if got := m.lastRetryFile(); got != keyless {
			t.Errorf("%q: the last retry file:\n%s", flags, got)
		}
	}
	m.check()

	// By hand they can be loaded; what follows is said before.
	hand := l.write("by hand.csv", []byte(keyless))
	v := l.start("starter", m.env, "validate", "--data", hand, "-u", s.uri(), "--state-dir", l.path("hand")).ends(0)
	hasAll(t, v.output(), "10 × email: no value, and it is the primary key", "is created a second time", "lines 2, 3")
}

// Where the schema does not call the primary key unique, no record is sent again.
func TestWithoutAUniqueKeyEveryRecordIsKeyless(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t, "--emails", "shared", "--faults", "reset-after=100", "--heal-after", "3")
	var input bytes.Buffer
	input.WriteString("email,givenName\n")
	for i := range 30 {
		fmt.Fprintf(&input, "k%d@example.com,Name%d\n", i, i)
	}
	m := l.migration(s, l.write("shared.csv", input.Bytes()), 10, "--retry-backoff", "1h", "--rate-limit", "0", "--workers", "1", "--no-validate").shared()
	p := m.run(4) // and not for the hour before a round
	m.check()
	if f := m.figures(); f.Records["unknown"] != 30 || len(f.Rounds) != 1 {
		t.Errorf("%+v, want 30 unknown, and no retry round", f)
	}
	if got, want := m.lastRetryFile(), input.String(); got != want {
		t.Errorf("the last retry file:\n%s\nwant\n%s", got, want)
	}
	if said := p.errors(); strings.Count(said, "All records are keyless: the schema does not call the primary key email unique") != 1 {
		t.Errorf("it said\n%s\nwant it told once that the key is not unique", said)
	}
	if accounts := len(s.content()); accounts != 30 {
		t.Errorf("%d accounts of 30 records", accounts)
	}
}
