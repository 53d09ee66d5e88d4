package main_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"durable-dataload/internal/fakeusers"
	starter "durable-dataload/starter"
)

// page is a page for people, with its blocks of code.
type page struct {
	name   string
	text   string
	blocks []block
}

// block is what stands between two fences. Its kind is the info string: "sh" is parsed, "sh run" is run too; with "exit=3"
// after it the last command ends so. "output" is what the last block that was run prints; in "output about" numbers may differ.
type block struct {
	line   int
	kind   []string
	before string // what the comment <!-- before: … --> above it has: run first, and not shown
	text   string
}

func (b block) is(kinds ...string) bool {
	return len(b.kind) >= len(kinds) && slices.Equal(b.kind[:len(kinds)], kinds)
}

var (
	fenced = regexp.MustCompile("(?ms)^(?:<!-- before: ([^\n]*) -->\n)?^```([^\n]*)\n(.*?)^```$")
	inline = regexp.MustCompile("`(starter [^`\n]+)`")
	asUser = regexp.MustCompile(`^sudo -u \S+ (?:env )?`)
)

func readPages(t *testing.T) (all []page) {
	t.Helper()
	names, err := filepath.Glob("../docs/*.md")
	must(t, err)
	for _, name := range append(names, "../README.md", "../SECURITY.md", "../CONTRIBUTING.md") {
		data, err := os.ReadFile(name)
		must(t, err)
		p := page{name: strings.TrimPrefix(name, "../"), text: string(data)}
		for _, m := range fenced.FindAllStringSubmatchIndex(p.text, -1) {
			b := block{line: 1 + strings.Count(p.text[:m[6]], "\n"), kind: strings.Fields(p.text[m[4]:m[5]]), text: p.text[m[6]:m[7]]}
			if m[2] >= 0 {
				b.before = p.text[m[2]:m[3]]
			}
			p.blocks = append(p.blocks, b)
		}
		all = append(all, p)
	}
	compose, err := os.ReadFile("../docker-compose.yml")
	must(t, err)
	header, _, _ := strings.Cut(string(compose), "\nname:")
	commented := strings.Join(regexp.MustCompile(`(?m)^#   .*$`).FindAllString(header, -1), "\n")
	return append(all, page{name: "docker-compose.yml", blocks: []block{{line: 1, kind: []string{"sh"}, text: strings.ReplaceAll(commented, "#   ", "")}}})
}

// TestThePagesNameCommandsAndOptionsThatExist parses each command of ours in a shell block, whether it can run here or not,
// and each `starter …` in the text.
func TestThePagesNameCommandsAndOptionsThatExist(t *testing.T) {
	t.Parallel()
	parsed := 0
	for _, p := range readPages(t) {
		if i := slices.IndexFunc(p.blocks, func(b block) bool { return b.is("sh") }); i >= 0 && p.blocks[i].line > 60 && strings.HasPrefix(p.name, "docs/") {
			t.Errorf("%s has its first command in line %d; want it within two screens", p.name, p.blocks[i].line)
		}
		for _, b := range p.blocks {
			if !b.is("sh") {
				continue
			}
			for _, command := range commands(b.text) {
				parsed++
				checkCommand(t, p, b.line, command, true)
			}
		}
		for _, m := range inline.FindAllStringSubmatchIndex(p.text, -1) {
			if command := p.text[m[2]:m[3]]; !regexp.MustCompile(`\b(?:COMMAND|NAME=VALUE)\b`).MatchString(command) {
				parsed++
				checkCommand(t, p, 1+strings.Count(p.text[:m[2]], "\n"), words(command), false)
			}
		}
	}
	if parsed < 100 {
		t.Errorf("%d commands were found on the pages; the test reads them wrongly", parsed)
	}
}

// checkCommand parses a command; in a text it may be there by its name only.
func checkCommand(t *testing.T, p page, line int, command []string, whole bool) {
	t.Helper()
	var err error
	if command[0] == "starter" {
		if !whole && strings.HasPrefix(command[len(command)-1], "--") {
			command = append(command, "…") // an option by its name
		}
		err = starter.ParseCommand(command[1:], whole)
	} else if help := newLab(t).start(command[0], nil, append(command[1:], "--help")...); help.wait() != 0 {
		err = errors.New(help.errors())
	}
	if err != nil {
		t.Errorf("%s:%d: %q: %v", p.name, line, command, err)
	}
}

// commands are the calls of our programs in a shell script, each as its words, from the name of the program on. However it is
// called (go run ./starter, docker compose run --rm starter, durable-dataload), that name is starter, worker or sandbox.
func commands(script string) (all [][]string) {
	ours := map[string]string{"starter": "starter", "bin/starter": "starter", "./starter": "starter", "durable-dataload": "starter", "worker": "worker", "sandbox": "sandbox"}
	for line := range strings.Lines(strings.ReplaceAll(script, "\\\n", " ")) {
		for _, command := range regexp.MustCompile(`\s(?:\||&&|;)\s`).Split(strings.TrimSpace(line), -1) {
			w := words(asUser.ReplaceAllString(command, ""))
			i := slices.IndexFunc(w, func(word string) bool { return !strings.Contains(word, "=") })
			for launcher, verb := range map[string]string{"go": "run", "docker": "run"} {
				if at := slices.Index(w, verb); i >= 0 && w[i] == launcher && at > 0 {
					i = at + 1 + slices.IndexFunc(w[at+1:], func(word string) bool { return ours[word] != "" })
				}
			}
			if i >= 0 && ours[w[i]] != "" {
				all = append(all, append([]string{ours[w[i]]}, w[i+1:]...))
			}
		}
	}
	return all
}

// words are those of a simple command, without quotes, a redirection and a comment.
func words(command string) (all []string) {
	for _, w := range regexp.MustCompile(`(?:"[^"]*"|'[^']*'|[^\s"'])+`).FindAllString(command, -1) {
		if strings.HasPrefix(w, "#") || strings.HasPrefix(w, ">") {
			break
		}
		all = append(all, strings.NewReplacer(`"`, "", `'`, "").Replace(w))
	}
	return all
}

// TestThePagesShowWhatHappens runs the blocks of each page that can be run, in a folder with users.csv and the repository's
// testdata, with a sandbox as the target, and compares what they print with what the page shows.
func TestThePagesShowWhatHappens(t *testing.T) {
	t.Parallel()
	ran := 0
	for _, p := range readPages(t) {
		if !slices.ContainsFunc(p.blocks, func(b block) bool { return b.is("sh", "run") }) {
			continue
		}
		ran++
		t.Run(filepath.Base(p.name), func(t *testing.T) {
			t.Parallel()
			runPage(t, p)
		})
	}
	if ran < 5 {
		t.Errorf("%d pages have blocks that run; the test reads them wrongly", ran)
	}
}

func runPage(t *testing.T, p page) {
	l, s := labWithSandbox(t)
	l.copyTestdata()
	l.users(fakeusers.Options{Records: 60, Seed: 41})
	bin, err := filepath.Abs(programs.dir)
	must(t, err)
	environment := append(s.credentials(), "CAPTURE_APID_URI="+s.uri(), "XDG_STATE_HOME="+l.path("states"), "PATH="+bin+":"+os.Getenv("PATH"))
	t.Cleanup(func() { // what a block that failed has left in the background
		for range 5 {
			if l.start("starter", environment, "stop", "--latest").wait() != 0 {
				return // none runs
			}
		}
	})
	printed := ""
	for _, b := range p.blocks {
		if b.is("output") {
			compareOutput(t, p, b, printed)
		}
		if !b.is("sh", "run") {
			continue
		}
		want := "0"
		if len(b.kind) > 2 {
			want = strings.TrimPrefix(b.kind[2], "exit=")
		}
		// An id stands for the reader's own, and the reader has a terminal.
		text := strings.NewReplacer("go run ./starter", "starter", "migration-users.csv-0123456789ab", "--latest", "mapping preview", "mapping preview --force-output").Replace(b.text)
		must(t, os.WriteFile(l.path("script"), []byte(b.before+"\nset -e\n"+text), 0o600))
		process := l.start("/bin/sh", environment, l.path("script"))
		if code := process.wait(); want != strconv.Itoa(code) {
			t.Errorf("%s:%d ends with exit code %d, the page says %s:\n%s\n%s%s", p.name, b.line, code, want, text, process.output(), process.errors())
		}
		printed = process.output()
	}
}

// compareOutput looks for the lines that a page shows, in their order. Durations depend on the machine.
func compareOutput(t *testing.T, p page, shown block, got string) {
	t.Helper()
	changing := regexp.MustCompile(`\b(?:\d+(?:\.\d+)?(?:µs|ms|h|m|s))+\b`)
	if shown.is("output", "about") {
		changing = regexp.MustCompile(`[\d,]+`)
	}
	normal := func(line string) string {
		return strings.Join(strings.Fields(changing.ReplaceAllString(line, "…")), " ")
	}
	rest, before := strings.Split(got, "\n"), ""
	for line := range strings.Lines(shown.text) {
		if shown.is("output", "about") && normal(line) == normal(before) {
			continue // another row: there may be fewer
		}
		before = line
		at := slices.IndexFunc(rest, func(l string) bool { return normal(l) == normal(line) })
		if at < 0 {
			t.Errorf("%s:%d shows a line that the command does not print, or not there: %sit prints\n%s", p.name, shown.line, line, got)
			return
		}
		rest = rest[at+1:]
	}
}
