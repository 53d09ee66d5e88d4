package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"durable-dataload/internal/flagtext"
)

const optionsHead = `# Options

` + "`starter COMMAND --help`" + `, ` + "`worker --help`" + ` and ` + "`sandbox --help`" + ` have the same texts. Durations are ` + "`90`" + ` (seconds) or ` + "`1m30s`" + `. A switch is on when it is given;
` + "`--isolate=false`" + ` turns one off.

`

// TestTheOptionsPageHasEveryOptionOnce makes the part of the starter in docs/options.md of the flags, and compares.
func TestTheOptionsPageHasEveryOptionOnce(t *testing.T) {
	must(t, flagtext.Check("starter", optionsHead, optionsPart()))
	data, err := os.ReadFile(flagtext.Page)
	must(t, err)
	page := string(data)
	for _, program := range []string{"worker", "sandbox"} { // which their own tests make
		if !strings.Contains(page, "\n## "+program+"\n") {
			t.Errorf("%s has nothing of %s", flagtext.Page, program)
		}
	}
	rows := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| .*$`).FindAllString(page, -1) {
		if rows[row] && !strings.HasPrefix(row, "| option") && !strings.HasPrefix(row, "| ---") {
			t.Errorf("%s has a row twice: %s", flagtext.Page, row)
		}
		rows[row] = true
	}
}

// optionsPart is the part of the starter: the options of a migration, and what each command has
// that the page did not have before.
func optionsPart() string {
	var b strings.Builder
	shown := map[string]bool{} // names with their texts
	eachCommand(func(c *cobra.Command) {
		own, others := pflag.NewFlagSet("", pflag.ContinueOnError), []string{}
		own.SortFlags = false
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			switch {
			case f.Hidden || f.Name == "help" || f.Name == "version":
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
			b.WriteString(flagtext.Table(h.Flags))
			for _, f := range h.Flags {
				shown[f.Name+" "+f.Usage] = true
			}
		}
		b.WriteString(flagtext.Also(others))
	})
	return b.String()
}
