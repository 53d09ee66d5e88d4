package main_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// documented are the names that docs/state.md gives the files of a state folder
// and of an output folder, as patterns of whole paths.
var documented = sync.OnceValue(func() (files struct{ state, output []*regexp.Regexp }) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "state.md"))
	if err != nil {
		panic(err)
	}
	_, tree, _ := strings.Cut(string(page), "\n```\nstate/\n")
	state, rest, _ := strings.Cut(tree, "\n```\n")
	_, output, _ := strings.Cut(rest, "\n```\noutput/\n")
	output, _, _ = strings.Cut(output, "\n```\n")
	files.state, files.output = patterns(state), patterns(output)
	return files
})

var treeLine = regexp.MustCompile(`^(│ {3})?[├└]── (.+?)(?: {2,}|$)`)

// patterns reads a tree, a line a file or several, with commas: <x> is any part of a
// name, … anything below, and a folder of which nothing is listed may hold anything.
func patterns(tree string) (all []*regexp.Regexp) {
	lines := strings.Split(tree, "\n")
	parent := ""
	for i, line := range lines {
		match := treeLine.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		name := match[2]
		if match[1] == "" {
			parent = ""
		}
		if strings.HasSuffix(name, "/") && match[1] == "" && i+1 < len(lines) && strings.HasPrefix(lines[i+1], "│   ") {
			parent = name
			continue
		}
		names := strings.Split(name, ", ")
		for _, n := range names {
			if strings.HasPrefix(n, ".") && len(names) > 1 { // of the first, with this extension
				n = strings.TrimSuffix(names[0], filepath.Ext(names[0])) + n
			}
			if strings.HasSuffix(n, "/") {
				n += "…"
			}
			p := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(regexp.QuoteMeta(parent+n), `[^/]+`)
			all = append(all, regexp.MustCompile("^"+strings.ReplaceAll(p, "…", ".+")+"$"))
		}
	}
	return all
}

// writingName is that of a file before it is there: its process was killed.
var writingName = regexp.MustCompile(`^\..*\.tmp-`)

// checkNames holds that docs/state.md names every file that the programs of the
// test have written into their state folders and output folders.
func (l *lab) checkNames() {
	l.t.Helper()
	checked := map[string]bool{}
	for _, p := range l.processes {
		for i, arg := range p.cmd.Args[:len(p.cmd.Args)-1] {
			dir := p.cmd.Args[i+1]
			if arg != "--state-dir" && arg != "--output-dir" || checked[dir] || !filepath.IsAbs(dir) || strings.HasPrefix(p.name, "sandbox") {
				continue
			}
			checked[dir] = true
			if arg == "--state-dir" {
				l.undocumented(dir, documented().state)
			} else {
				l.undocumented(dir, documented().output)
			}
		}
	}
}

// undocumented does not count what the test has put there itself.
func (l *lab) undocumented(dir string, known []*regexp.Regexp) {
	l.t.Helper()
	if len(known) < 5 {
		l.t.Fatalf("docs/state.md names %d files; the test reads it wrongly", len(known))
	}
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || writingName.MatchString(entry.Name()) {
			return nil //nolint:nilerr // a folder that is gone, or a file, has no files
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || path == dir || l.written[path] {
			return err
		}
		for _, k := range known {
			if k.MatchString(filepath.ToSlash(name)) {
				return nil
			}
		}
		l.t.Errorf("docs/state.md does not name %s, which is in %s", name, dir)
		return nil
	})
}

func TestPatternsOfATree(t *testing.T) {
	t.Parallel()
	known := patterns("├── a/<key>/        some\n│   ├── b-<n>.json, .list    two\n│   └── c/…\n├── d/<x>\n├── e/\n└── f.db, .db-wal, g.csv   three")
	for name, want := range map[string]bool{
		"a/1/b-2.json": true, "a/1/b-2.list": true, "a/1/c/x/y": true, "d/1": true, "e/x/y": true, "f.db": true, "f.db-wal": true, "g.csv": true,
		"a/1/x": false, "a/1/2/b-2.json": false, "b-2.json": false, "d/1/2": false, "e": false, "h": false,
	} {
		found := false
		for _, k := range known {
			found = found || k.MatchString(name)
		}
		if found != want {
			t.Errorf("%s: %v, want %v", name, found, want)
		}
	}
}
