package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const optionsHead = `# Options

` + "`starter COMMAND --help`" + ` has the same texts. Durations are ` + "`90`" + ` (seconds) or ` + "`1m30s`" + `. A switch is on when it is given;
` + "`--isolate=false`" + ` turns one off.

`

// TestTheOptionsPageHasEveryOptionOnce makes docs/options.md of the flags, and compares.
func TestTheOptionsPageHasEveryOptionOnce(t *testing.T) {
	const path = "../docs/options.md"
	page := optionsPage()
	if os.Getenv("UPDATE_DOCS") != "" {
		must(t, os.WriteFile(path, []byte(page), 0o644))
	}
	got, err := os.ReadFile(path)
	must(t, err)
	if string(got) != page {
		t.Errorf("%s is not made of the flags; make it with UPDATE_DOCS=1 go test ./starter -run TestTheOptionsPage", path)
	}
	rows := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| .*$`).FindAllString(page, -1) {
		if rows[row] && !strings.HasPrefix(row, "| option") && !strings.HasPrefix(row, "| ---") {
			t.Errorf("%s has a row twice: %s", path, row)
		}
		rows[row] = true
	}
}

// optionsPage is the text of the page: the options of a migration, and what each command has
// that the page did not have before.
func optionsPage() string {
	var b strings.Builder
	b.WriteString(optionsHead)
	shown := map[string]bool{} // names with their texts
	eachCommand(func(c *cobra.Command) {
		own, others := pflag.NewFlagSet("", pflag.ContinueOnError), []string{}
		own.SortFlags = false
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			switch {
			case f.Name == "help" || f.Name == "version":
			case shown[f.Name+" "+f.Usage]:
				others = append(others, "`--"+f.Name+"`")
			default:
				own.AddFlag(f)
			}
		})
		if !c.Runnable() || c.Name() == "help" || len(others) == 0 && !own.HasFlags() {
			return
		}
		b.WriteString("## " + c.CommandPath() + "\n\n")
		if c.HasParent() {
			b.WriteString(c.Short + ".\n\n")
		}
		for _, h := range flagHeadings(own) {
			if h.Title != "Options" {
				b.WriteString("### " + h.Title + "\n\n")
			}
			b.WriteString("| option | meaning | default |\n| --- | --- | --- |\n")
			for _, f := range h.Flags {
				b.WriteString(optionRow(f))
				shown[f.Name+" "+f.Usage] = true
			}
			b.WriteString("\n")
		}
		if len(others) > 0 {
			b.WriteString("Also, as above: " + strings.Join(others, ", ") + ".\n\n")
		}
	})
	return strings.TrimSpace(b.String()) + "\n"
}

// optionRow is the row of an option.
func optionRow(f *pflag.Flag) string {
	kind, text := pflag.UnquoteUsage(f)
	name := "`--" + f.Name
	if f.Shorthand != "" {
		name = "`-" + f.Shorthand + " --" + f.Name
	}
	if kind != "" {
		name += " " + kind
	}
	normal := flagDefault(f)
	if normal != "" {
		normal = "`" + normal + "`"
	}
	text = strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(text)
	text = regexp.MustCompile(`docs/([a-z-]+\.md)`).ReplaceAllString(text, "[$1]($1)")
	return "| " + name + "` | " + text + " | " + normal + " |\n"
}
