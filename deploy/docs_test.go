package deploy_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are all pages for people.
func pages(t *testing.T) []string {
	t.Helper()
	all := []string{"README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"}
	docs, err := filepath.Glob(filepath.Join(top, "docs", "*.md"))
	must(t, err)
	if len(docs) < 20 {
		t.Fatalf("docs has %d pages; the test looks in the wrong place", len(docs))
	}
	for _, page := range docs {
		all = append(all, "docs/"+filepath.Base(page))
	}
	return all
}

func TestTheReadmeIsShort(t *testing.T) {
	if n := len(readFile(t, "README.md")); n > 8000 {
		t.Errorf("README.md has %d bytes; expected 8000 at most: what is for later goes to docs", n)
	}
}

func TestPagesNameWhatIsThere(t *testing.T) {
	tests := map[string]bool{}
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, match := range regexp.MustCompile(`(?m)^func (Test\w+|Fuzz\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			tests[match[1]] = true
		}
		return err
	})
	must(t, err)
	for _, page := range pages(t) {
		text := readFile(t, page)
		for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`).FindAllString(text, -1) {
			if !tests[name] {
				t.Errorf("%s names %s, and there is no such test", page, name)
			}
		}
		for _, match := range regexp.MustCompile(`\]\(([^)#:\s]+)?(#[^)\s]+)?\)`).FindAllStringSubmatch(text, -1) {
			file := page
			if match[1] != "" {
				file = filepath.Join(filepath.Dir(page), match[1])
			}
			if _, err := os.Stat(filepath.Join(top, file)); err != nil {
				t.Errorf("%s links to %s: %v", page, match[1], err)
			} else if match[2] != "" && !headings(readFile(t, file))[match[2][1:]] {
				t.Errorf("%s links to %s%s, which has no such heading", page, match[1], match[2])
			}
		}
		for _, path := range regexp.MustCompile("`((?:deploy|internal|docs|\\.ci)/[\\w./-]+|\\.goreleaser\\.yaml)`").FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(top, path[1])); err != nil {
				t.Errorf("%s names %s: %v", page, path[1], err)
			}
		}
	}
}

func TestEveryPackageIsOnTheMap(t *testing.T) {
	_, part, _ := strings.Cut(readFile(t, "CONTRIBUTING.md"), "\n| package | holds |\n")
	table, _, _ := strings.Cut(part, "\n\n")
	found := map[string]int{}
	for _, match := range regexp.MustCompile("`([\\w/]+)`").FindAllStringSubmatch(table, -1) {
		found[match[1]]++
	}
	command := exec.Command("go", "list", "./...")
	command.Dir = top
	output, err := command.Output()
	must(t, err)
	packages := strings.Fields(string(output))
	if len(packages) < 30 {
		t.Fatalf("go list names %d packages; the test looks in the wrong place", len(packages))
	}
	for _, path := range packages {
		if name := strings.TrimPrefix(path, "durable-dataload/"); found[name] != 1 {
			t.Errorf("the map of CONTRIBUTING.md names the package %s %d times, want once", name, found[name])
		}
	}
}

// What SECURITY.md says of who can do what is tried, line by line.
func TestEachLineOfWhoCanDoWhatNamesItsTests(t *testing.T) {
	_, section, _ := strings.Cut(readFile(t, "SECURITY.md"), "\n## Who can do what\n")
	lines := regexp.MustCompile(`(?m)^\| [^|]+ \| [^|]+ \|(.*)\|$`).FindAllStringSubmatch(section[:strings.Index(section, "\n## ")], -1)
	if len(lines) < 10 {
		t.Fatalf("%d lines were found; the test looks in the wrong place", len(lines))
	}
	for _, line := range lines[2:] { // without the head of the table
		if !strings.Contains(line[1], "`Test") {
			t.Errorf("no test tries: %s", line[0])
		}
	}
}

// headings gives the anchors of a page, as forges make them.
func headings(page string) map[string]bool {
	found := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(page, -1) {
		plain := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(match[1]), "")
		found[strings.ReplaceAll(plain, " ", "-")] = true
	}
	return found
}

func TestTheDeployPageNamesSettingsThatAreRead(t *testing.T) {
	text := readFile(t, "docs/deploy.md")
	worker := ours(t, "worker")
	_, cloud, _ := strings.Cut(text, "\n## Temporal Cloud\n")
	flags := regexp.MustCompile("`--([a-z-]+)`").FindAllStringSubmatch(cloud, -1)
	if len(flags) < 10 {
		t.Errorf("%d flags under Temporal Cloud, want all of them", len(flags))
	}
	for _, match := range flags {
		if !worker.flags[match[1]] {
			t.Errorf("docs/deploy.md names --%s, which the worker does not have", match[1])
		}
	}
	variables := regexp.MustCompile(`\b(?:TEMPORAL|CAPTURE)_[A-Z_]+`).FindAllString(text, -1)
	if len(variables) < 15 {
		t.Errorf("%d variables on the page", len(variables))
	}
	for _, name := range variables {
		if !worker.variables[name] {
			t.Errorf("docs/deploy.md names %s, which the worker does not read", name)
		}
	}
}
