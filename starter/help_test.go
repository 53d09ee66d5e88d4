package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"durable-dataload/internal/migration"
)

func TestHelpSortsFlagsAndCommandsByUse(t *testing.T) {
	var help bytes.Buffer
	if code := run([]string{"--help"}, &help, io.Discard); code != migration.ExitDone {
		t.Fatalf("--help ends with %d", code)
	}
	var code int
	root := newCommand(io.Discard, io.Discard, &code)
	root.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Annotations[headingKey] == nil {
			t.Errorf("--%s has no heading in --help; expected one, see under", f.Name)
		}
		lines := regexp.MustCompile(`(?m)^ {2}(?:-.,| {3}) --`+f.Name+`[ \n]`).FindAllString(help.String(), -1)
		if len(lines) != 1 {
			t.Errorf("--%s is %d times in --help; expected once", f.Name, len(lines))
		}
	})
	for _, c := range root.Commands() {
		if !root.ContainsGroup(c.GroupID) {
			t.Errorf("the command %s has no heading in --help", c.Name())
		}
	}
	in := help.String()
	for _, heading := range []string{"Before a migration:", "  sample ", "  validate ", "While it runs:", "  status ", "  approve ", "After it:", "Input:", "Target:", "Pace:", "Other:", "--version"} {
		_, after, found := strings.Cut(in, heading)
		if !found {
			t.Fatalf("--help has no %q after what comes before it:\n%s", heading, help.String())
		}
		in = after
	}
}

func TestHelpBeginsWithASentence(t *testing.T) {
	eachCommand(func(c *cobra.Command) {
		var help bytes.Buffer
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		if code := run(args, &help, io.Discard); code != migration.ExitDone {
			t.Errorf("%q: exit code %d", args, code)
		}
		if first, _, _ := strings.Cut(help.String(), "\n\n"); !strings.HasSuffix(first, ".") && !strings.HasSuffix(first, ":") {
			t.Errorf("%q begins with %q; want a sentence", args, first)
		}
	})
}

// TestEveryOptionIsDocumented searches each option of each command in the
// README or in a page of docs.
func TestEveryOptionIsDocumented(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages in docs: %v", err)
	}
	var text bytes.Buffer
	for _, page := range append(pages, "../README.md") {
		data, err := os.ReadFile(page)
		must(t, err)
		text.Write(data)
	}
	documented := map[string]bool{"help": true, "version": true, "no-descriptions": true} // cobra's own
	for _, match := range regexp.MustCompile(`--([a-z][a-z_-]+)`).FindAllSubmatch(text.Bytes(), -1) {
		documented[string(match[1])] = true
	}
	eachCommand(func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !documented[f.Name] {
				t.Errorf("%s has --%s, which neither the README nor a page of docs names", c.CommandPath(), f.Name)
			}
		})
	})
}

// TestHelpFitsATerminal reads --help of each command.
func TestHelpFitsATerminal(t *testing.T) {
	eachCommand(func(c *cobra.Command) {
		var help bytes.Buffer
		c.SetOut(&help)
		must(t, c.Help())
		for line := range strings.Lines(help.String()) {
			if n := utf8.RuneCountInString(strings.TrimSpace(line)); n > helpWidth && strings.Contains(strings.TrimSpace(line), " ") {
				t.Errorf("%s --help has a line of %d characters; expected %d at most: %s", c.CommandPath(), n, helpWidth, line)
			}
		}
		if strings.Contains(help.String(), "true|false") {
			t.Errorf("%s --help shows the values of a switch", c.CommandPath())
		}
	})
}

func TestAMistypedNameIsAnsweredWithTheNameThatWasMeant(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"statu", `there is no command "statu", and no file of this name; did you mean starter status?; see starter --help`},
		{"--dat users.csv", "unknown flag: --dat; did you mean --data?; see starter --help"},
		{"status --lates", "unknown flag: --lates; did you mean --latest?; see starter status --help"},
		{"set --latest rat=8", `did you mean rate?`},
		{"schedule lst", `there is no command "starter schedule lst"; did you mean starter schedule list?; see starter schedule --help`},
	} {
		var stderr bytes.Buffer
		if code := run(strings.Fields(c.args), io.Discard, &stderr); code != migration.ExitUsage || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("starter %s: exit code %d, %q; want %d and %q", c.args, code, stderr.String(), migration.ExitUsage, c.want)
		}
	}
}

func TestTheManualHasAPageForEachCommand(t *testing.T) {
	dir := t.TempDir()
	if code, _, stderr := starter("manual", dir); code != migration.ExitDone {
		t.Fatalf("starter manual: %d, %s", code, stderr)
	}
	eachCommand(func(c *cobra.Command) {
		if !c.IsAvailableCommand() || c.Name() == "help" {
			return
		}
		page, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"))
		if err != nil {
			t.Error(err)
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(string(page), `--`+f.Name) {
				t.Errorf("the manual of %s does not have --%s", c.CommandPath(), f.Name)
			}
		})
	})
}
