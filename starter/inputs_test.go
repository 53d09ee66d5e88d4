package main_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/program"
)

func gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	must(t, w.Close())
	return b.Bytes()
}

func zstandard(t *testing.T, content []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	must(t, err)
	return w.EncodeAll(content, nil)
}

func inUTF16(content []byte) []byte {
	b := []byte{0xFF, 0xFE}
	for _, unit := range utf16.Encode([]rune(string(content))) {
		b = append(b, byte(unit), byte(unit>>8))
	}
	return b
}

// write puts a file into the lab.
func (l *lab) write(name string, content []byte) string {
	l.t.Helper()
	path := l.path(name)
	must(l.t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(l.t, os.WriteFile(path, content, 0o600))
	l.written[path] = true
	return path
}

// people are the rows of synthetic users.
func people(t *testing.T, o fakeusers.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, fakeusers.Write(&b, o))
	return b.Bytes()
}

// staged are the inputs that were staged and are still there.
func (m *migration) staged() []string {
	m.lab.t.Helper()
	found, err := filepath.Glob(filepath.Join(m.state, "inputs", "*.csv"))
	must(m.lab.t, err)
	return found
}

func TestInputsAreMigratedAsTheirPlainFile(t *testing.T) {
	t.Parallel()
	plain := people(t, fakeusers.Options{Records: 60, Seed: 101, Awkward: true})
	western := "email,displayName\r\nann@example.com,Zürich – €\r\nbob@example.com,é\r\n"
	for _, c := range []struct {
		name          string
		file          string // or - for standard input
		content, want []byte
		flags         []string
		data          string // name in the summary
		code          int
	}{
		{"gzip", "users.csv.gz", gzipped(t, plain), plain, nil, "users.csv", 3},
		{"zstd on standard input", "-", zstandard(t, plain), plain, nil, "stdin", 3},
		{"plain on standard input", "-", plain, plain, nil, "stdin", 3},
		{"Excel", "users.txt", inUTF16(bytes.ReplaceAll([]byte(western), []byte(","), []byte("\t"))), bytes.ReplaceAll([]byte(western), []byte(","), []byte("\t")), []string{"--encoding", "utf-16", "--delimiter", `\t`}, "users.txt", 0},
		{"Windows-1252", "users.csv", []byte("email,displayName\r\nann@example.com,Z\xfcrich \x96 \x80\r\nbob@example.com,\xe9\r\n"), []byte(western), []string{"--encoding", "windows-1252"}, "users.csv", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, s := labWithSandbox(t)
			m := l.migration(s, c.file, 10, append(c.flags, "--rate-limit", "0")...).shared()
			if c.file == "-" {
				l.stdin = bytes.NewReader(c.content)
			} else {
				m.input = l.write(c.file, c.content)
			}
			m.run(c.code)
			e := m.evidence()
			e.Input = l.write("plain/"+c.data, c.want)
			if bytes.ContainsRune(c.want[:20], '\t') {
				e.Comma = '\t'
			}
			verify(t, e)
			if summary := m.figures(); summary.Data != c.data || !strings.HasPrefix(summary.ID, "migration-"+c.data+"-") || summary.SHA256 != fmt.Sprintf("%x", sha256.Sum256(c.want)) {
				t.Errorf("the summary has %+v; want the name %s and the digest of the plain file", summary, c.data)
			}
			if found := m.staged(); len(found) > 0 {
				t.Errorf("%q is left of a migration that is done", found)
			}
			// The same content again, whatever its wrapping.
			calls := s.calls()
			l.stdin = bytes.NewReader(c.content)
			refused(t, m.start(), 1, "migrated already", "--again")
			if s.calls() != calls || len(m.staged()) > 0 {
				t.Errorf("%d calls more, staged %q; want none", s.calls()-calls, m.staged())
			}
		})
	}
}

func TestStagedInputsAreResumedAfterAKillAndAStop(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t)
	plain := people(t, fakeusers.Options{Records: 200, Seed: 102})
	input := l.write("users.csv.gz", gzipped(t, plain))
	m := l.migration(s, input, 5, "--rate-limit", "10")
	p := m.startUntil(5)
	p.kill()
	calls := s.calls()
	p = m.start()
	until(t, "some calls more", func() bool { return s.calls() >= calls+5 })
	p.signal(syscall.SIGINT)
	p.ends(5)
	if len(m.staged()) != 1 {
		t.Errorf("staged are %q; want one, which is needed", m.staged())
	}
	l.write("users.csv.gz", gzipped(t, people(t, fakeusers.Options{Records: 10, Seed: 103})))
	calls = s.calls()
	refused(t, m.start(), 1, "users.csv.gz", "changed", "restore the file")
	if s.calls() != calls || len(m.staged()) != 1 {
		t.Errorf("%d calls with another file, staged %q; want none, and the first file", s.calls()-calls, m.staged())
	}
	l.write("users.csv.gz", gzipped(t, plain))
	m.run(0)
	e := m.evidence()
	e.Input = l.write("plain.csv", plain)
	verify(t, e)
	if len(m.staged()) > 0 {
		t.Errorf("%q is left of a migration that is done", m.staged())
	}
}

func TestInputsWithADelimiterKeepItInWhatIsLoadedAgain(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t, "--faults", "reset-before=50", "--seed", "5")
	var b strings.Builder
	b.WriteString("email;displayName;givenName\r\n")
	for i := range 60 {
		fmt.Fprintf(&b, "user%d@example.com;\"a;b,\n%d\";x,y\r\n", i, i)
	}
	b.WriteString("short@example.com;too few\r\n")
	m := l.migration(s, l.write("users.csv", []byte(b.String())), 5, "--rate-limit", "0", "--retry-rounds", "0", "--delimiter", ";")
	m.run(4)
	e := m.evidence()
	e.Comma = ';'
	verify(t, e)
	f := m.figures()
	if f.Records["unknown"] == 0 || f.Records["failed"] != 1 {
		t.Fatalf("the records are %v; want some unknown, 1 failed", f.Records)
	}
	// By hand, as with dataload.py: the same options and the retry file.
	byHand := *m
	byHand.input, byHand.out = filepath.Join(m.out, *f.Files.Unresolved), l.path("by hand")
	s.runAgain()
	byHand.run(0)
	if got := byHand.figures(); got.Records["created"] != f.Records["unknown"] {
		t.Errorf("the retry file has %v; want %d created", got.Records, f.Records["unknown"])
	}
}

func TestInputsThatAreSeveral(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	l.write("in/b.csv", people(t, fakeusers.Options{Records: 20, Seed: 105}))
	l.write("in/a.csv.gz", gzipped(t, []byte("email\na1@example.org\na2@example.org\n")))
	bad := l.write("in/c.csv", []byte("email,email\n"))
	m := l.migration(s, l.path("in", "*.csv*"), 10, "--rate-limit", "0")
	m.out = l.path("in") // the result files match the pattern too
	p := m.run(1)
	lines := func(p *process, name string) (found []string) {
		for line := range strings.Lines(p.output()) {
			if fields := strings.Fields(line); len(fields) > 8 && fields[0] == l.path("in", name) {
				found = append(found, strings.Join(fields[1:], " "))
			}
		}
		return found
	}
	wantLines := func(p *process, want map[string]string) {
		t.Helper()
		for name, line := range want {
			if got := lines(p, name); len(got) != 1 || got[0] != line {
				t.Errorf("%s: the table says %q of %s, want %q", p.name, got, name, line)
			}
		}
	}
	wantLines(p, map[string]string{
		"a.csv.gz": "2 2 0 0 0 0 0 done", "b.csv": "20 20 0 0 0 0 0 done", "c.csv": "- - - - - - - could not run",
	})
	if text := p.errors(); !strings.Contains(text, "c.csv, line 1: columns 1 and 2 have the same name") || strings.Index(text, "a.csv.gz into") > strings.Index(text, "b.csv into") {
		t.Errorf("it says\n%s\nwant what is wrong with c.csv, and a.csv.gz before b.csv", text)
	}

	// Again, with one fixed and one new: what is done is not repeated, and no result file is loaded.
	calls := s.calls()
	must(t, os.WriteFile(bad, []byte("email\na1@example.org\nc@example.org\n"), 0o600))
	again := m.run(3)
	wantLines(again, map[string]string{
		"a.csv.gz": "2 2 0 0 0 0 0 done already", "b.csv": "20 20 0 0 0 0 0 done already", "c.csv": "2 1 0 0 1 0 0 done, with failed records",
	})
	if s.calls() != calls+1 || strings.Count(again.errors(), "is skipped") == 0 {
		t.Errorf("%d calls more, and it says\n%s\nwant one call, and that result files are skipped", s.calls()-calls, again.errors())
	}

	m.flags = append(m.flags, "--json")
	summaries := m.run(3)
	var list []struct {
		Data string `json:"data_file"`
	}
	if err := json.Unmarshal([]byte(summaries.output()), &list); err != nil || len(list) != 3 || list[0].Data != "a.csv" || list[2].Data != "c.csv" {
		t.Errorf("--json prints\n%s\nerror %v; want three summaries", summaries.output(), err)
	}
	if s.calls() != calls+1 || len(m.staged()) > 0 {
		t.Errorf("%d calls more, staged %q; want none", s.calls()-calls-1, m.staged())
	}
}

func TestInputsAfterAStopAreNotBegun(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	first := l.write("first.csv", people(t, fakeusers.Options{Records: 200, Seed: 106}))
	second := l.write("second.csv", []byte("email\nlast@example.org\n"))
	m := l.migration(s, first, 5, "--rate-limit", "10", second)
	p := m.startUntil(3)
	p.signal(syscall.SIGINT)
	p.ends(5)
	hasAll(t, p.output(), "not started", "stopped")
	m.flags = append(m.flags, "--rate-limit", "0")
	m.run(0)
	if got := len(s.emails()); got != 201 {
		t.Errorf("%d users were written, want 201", got)
	}
}

func TestInputsOnAStandardInputThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	reader, writer, err := os.Pipe()
	must(t, err)
	defer writer.Close()
	l.stdin = reader
	m := l.migration(s, "-", 5)
	p := m.start()
	reader.Close()
	if _, err := io.WriteString(writer, "email\nann@example.com\n"); err != nil {
		t.Fatal(err)
	}
	until(t, "it reads", func() bool {
		found, _ := filepath.Glob(filepath.Join(m.state, "inputs", "*.lock"))
		return len(found) > 0
	})
	p.signal(syscall.SIGINT)
	p.ends(5)
	if s.calls() > 0 || len(m.staged()) > 0 {
		t.Errorf("%d calls, staged %q; want none", s.calls(), m.staged())
	}
}

func TestInputsThatCannotBeStagedAreRefused(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	whole := gzipped(t, people(t, fakeusers.Options{Records: 100, Seed: 107}))
	for _, c := range []struct {
		name    string
		content []byte
		flags   []string
		says    []string
	}{
		{"users.csv.gz", whole[:len(whole)/2], nil, []string{"users.csv.gz", "end too early", "fetch it again"}},
		{"users.csv.gz", []byte("email\n"), nil, []string{"users.csv.gz", "not compressed with gzip", "rename"}},
		{"users.csv", whole, nil, []string{"users.csv, line 1", "compressed with gzip", ".gz"}},
		{"users.csv", []byte("email,city\na@example.com,\x81\n"), []string{"--encoding", "windows-1252"}, []string{"users.csv, line 2", "0x81"}},
		{"users.csv.gz", gzipped(t, []byte("email,email\n")), nil, []string{"users.csv, line 1", "have the same name"}},
		{"users.csv", []byte("email;city\n"), nil, []string{"--delimiter ';'"}},
	} {
		m := l.migration(s, l.write(c.name, c.content), 10, c.flags...)
		refused(t, m.start(), 1, c.says...)
		if s.calls() > 0 || len(m.staged()) > 0 || len(m.artifacts("*.csv")) > 0 {
			t.Errorf("%s: %d calls, staged %q, results %q; want none", c.name, s.calls(), m.staged(), m.artifacts("*"))
		}
	}
}

var restoreAdvice = regexp.MustCompile("restore (it|the file)")

func TestAnInputThatChangesUnderARunStopsIt(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		long   bool
		damage func(path string, content []byte) error
		says   string
	}{
		{"a byte near its end is another", false, func(path string, content []byte) error {
			at := bytes.LastIndexByte(content, '@')
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte{'x'}, int64(at-1))
			return err
		}, "changed"},
		{"it is cut off", true, func(path string, content []byte) error { return os.Truncate(path, int64(len(content)/2)) }, "bytes, expected"},
		{"it is longer", true, func(path string, content []byte) error {
			return os.WriteFile(path, append(bytes.Clone(content), "one@more.test\n"...), 0o600)
		}, "bytes, expected"},
		{"it is gone", false, func(path string, _ []byte) error { return os.Remove(path) }, "is missing"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.long {
				program.Long(t)
			}
			t.Parallel()
			l, s := labWithSandbox(t)
			input := l.users(fakeusers.Options{Records: 200, Seed: 41})
			content := []byte(readAll(input))
			original := l.path("original.csv")
			must(t, os.WriteFile(original, content, 0o600))
			m := l.migration(s, input, 5, "--rate-limit", "8")
			p := m.startUntil(6)
			must(t, c.damage(input, content))
			p.ends(5)
			if text := p.errors(); !strings.Contains(text, c.says) || !strings.Contains(text, "users.csv") || !restoreAdvice.MatchString(text) {
				t.Errorf("it says:\n%s\nwant users.csv, %q and what to do", text, c.says)
			}
			e := m.evidence()
			e.Input = original
			verify(t, e)
			if f := m.figures(); f.Records["remaining"] == 0 || f.Records["created"] == 0 || f.Records["unknown"]+f.Records["failed"] > 0 {
				t.Errorf("the records are %v; want some created, the rest remaining", f.Records)
			}
			calls := s.calls()
			refused(t, m.start(), 1, "users.csv")
			s.wantCalls(calls)
			must(t, os.WriteFile(input, content, 0o600))
			m.run(0)
			m.check()
			if f := m.figures(); f.Records["created"] != 200 || len(m.artifacts("remaining_*")) > 0 {
				t.Errorf("the records are %v, remaining files %q; want 200 created and none", f.Records, m.artifacts("remaining_*"))
			}
		})
	}
}
