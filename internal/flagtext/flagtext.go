// Package flagtext writes flags as text: their defaults for --help, and docs/options.md. Each
// program has a part of that page, which its own test makes.
package flagtext

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/pflag"
)

// Page is docs/options.md as the tests of the programs see it.
const Page = "../docs/options.md"

// Check compares the part of a program, and what is before the first part if head is not "".
// With UPDATE_DOCS=1 in the environment it writes them.
func Check(program, head, text string) error {
	data, err := os.ReadFile(Page)
	if err != nil {
		return err
	}
	before, part, after := split(string(data), program)
	if head == "" {
		head = before
	}
	page := head + begin(program) + "\n" + strings.TrimSpace(text) + "\n" + after
	if page == before+part+after {
		return nil
	}
	if os.Getenv("UPDATE_DOCS") == "" {
		return fmt.Errorf("%s is not made of the flags of %s; make it with UPDATE_DOCS=1 go test ./starter ./worker ./sandbox -run TheOptionsPage", Page, program)
	}
	return os.WriteFile(Page, []byte(page), 0o644)
}

// Program is the part of a program without commands. Rows that the page has before it are
// only named.
func Program(program, about string, flags *pflag.FlagSet) (string, error) {
	data, err := os.ReadFile(Page)
	if err != nil {
		return "", err
	}
	before, _, _ := split(string(data), program)
	var own []*pflag.Flag
	var others []string
	flags.VisitAll(func(f *pflag.Flag) {
		switch {
		case f.Name == "help" || f.Name == "version":
		case strings.Contains(before, "\n"+row(f)):
			others = append(others, "`--"+f.Name+"`")
		default:
			own = append(own, f)
		}
	})
	return "## " + program + "\n\n" + about + "\n\n" + Table(own) + Also(others), nil
}

// Table has a row for each flag.
func Table(flags []*pflag.Flag) string {
	var b strings.Builder
	b.WriteString("| option | meaning | default |\n| --- | --- | --- |\n")
	for _, f := range flags {
		b.WriteString(row(f))
	}
	return b.String() + "\n"
}

// Also names flags that the page has before; "" for none.
func Also(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "Also, as above: " + strings.Join(names, ", ") + ".\n\n"
}

// Default is the default of a flag, "" if that is nothing.
func Default(flag *pflag.Flag) string {
	switch flag.DefValue {
	case "", "0", "0s", "false", "[]":
		return ""
	}
	return flag.DefValue
}

func begin(program string) string { return "<!-- made of the flags of " + program + " -->" }

// split returns what is before the part of a program, the part, and what is behind it. A page
// without the part gets it at its end.
func split(page, program string) (before, part, after string) {
	from := strings.Index(page, begin(program))
	if from < 0 {
		return strings.TrimSpace(page) + "\n\n", "", ""
	}
	before, part = page[:from], page[from:]
	if next := strings.Index(part[1:], "\n<!-- made of"); next >= 0 {
		part, after = part[:next+1], part[next+1:]
	}
	return before, part, after
}

func row(f *pflag.Flag) string {
	kind, text := pflag.UnquoteUsage(f)
	name := "`--" + f.Name
	if f.Shorthand != "" {
		name = "`-" + f.Shorthand + " --" + f.Name
	}
	if kind != "" {
		name += " " + kind
	}
	normal := Default(f)
	if normal != "" {
		normal = "`" + normal + "`"
	}
	text = strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(text)
	text = regexp.MustCompile(`docs/([a-z-]+\.md)`).ReplaceAllString(text, "[$1]($1)")
	return "| " + name + "` | " + text + " | " + normal + " |\n"
}
