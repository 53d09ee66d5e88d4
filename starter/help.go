package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"durable-dataload/internal/flagtext"
	"durable-dataload/internal/suggest"
	"durable-dataload/internal/terminal"
)

// headingKey annotates a flag with its heading in --help.
const headingKey = "heading"

// under puts the flags that were added since the last heading under this one.
func under(f *pflag.FlagSet, heading string) {
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Annotations[headingKey] != nil {
			return
		}
		if err := f.SetAnnotation(flag.Name, headingKey, []string{heading}); err != nil {
			panic(err) // there is no such flag
		}
	})
}

const (
	helpWidth  = 80 // of --help, in characters
	flagColumn = 28 // where the text of a flag begins
)

// flagHeading is flags of --help under one heading.
type flagHeading struct {
	Title string
	Flags []*pflag.Flag
}

// flagHeadings are the flags of --help, in the order of their headings. Flags without one come
// last.
func flagHeadings(all *pflag.FlagSet) (headings []flagHeading) {
	var others []*pflag.Flag
	all.VisitAll(func(flag *pflag.Flag) {
		h := flag.Annotations[headingKey]
		switch {
		case flag.Hidden:
		case h == nil:
			others = append(others, flag)
		case len(headings) == 0 || headings[len(headings)-1].Title != h[0]:
			headings = append(headings, flagHeading{h[0], []*pflag.Flag{flag}})
		default:
			last := &headings[len(headings)-1]
			last.Flags = append(last.Flags, flag)
		}
	})
	switch {
	case len(others) == 0:
	case len(headings) == 0:
		headings = append(headings, flagHeading{"Options", others})
	default:
		headings = append(headings, flagHeading{"Other", others})
	}
	return headings
}

// flagsByHeading are the flags as --help has them.
func flagsByHeading(all *pflag.FlagSet) string {
	var b strings.Builder
	for _, h := range flagHeadings(all) {
		b.WriteString("\n" + h.Title + ":\n")
		for _, flag := range h.Flags {
			b.WriteString(flagText(flag))
		}
	}
	return strings.Trim(b.String(), "\n")
}

// flagText is a flag and its text.
func flagText(flag *pflag.Flag) string {
	name := "      --" + flag.Name
	if flag.Shorthand != "" {
		name = "  -" + flag.Shorthand + ", --" + flag.Name
	}
	kind, text := pflag.UnquoteUsage(flag)
	if kind != "" {
		name += " " + kind
	}
	if normal := flagtext.Default(flag); normal != "" {
		text += " (default " + normal + ")"
	}
	indent := strings.Repeat(" ", flagColumn)
	lines := strings.Split(terminal.Wrap(text, helpWidth-flagColumn), "\n")
	if len(name)+2 > flagColumn {
		name += "\n" + indent
	} else {
		name += strings.Repeat(" ", flagColumn-len(name))
	}
	return name + strings.Join(lines, "\n"+indent) + "\n"
}

// fill breaks the paragraphs of a text for --help. Lines that begin with a space stay.
func fill(text string) string {
	var out []string
	paragraph := ""
	flush := func() {
		if paragraph != "" {
			out = append(out, terminal.Wrap(paragraph, helpWidth))
		}
		paragraph = ""
	}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		switch {
		case line == "" || strings.HasPrefix(line, " "):
			flush()
			out = append(out, line)
		case paragraph == "":
			paragraph = line
		default:
			paragraph += " " + line
		}
	}
	flush()
	return strings.Join(out, "\n")
}

// usageTemplate is what --help has behind the text of a command.
const usageTemplate = `{{if .HasExample}}Examples:
{{.Example}}

{{end}}Usage:{{if .Runnable}}
  {{useLine .}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND{{end}}
{{if .HasAvailableSubCommands}}{{$commands := .Commands}}{{range $group := .Groups}}
{{.Title}}{{range $commands}}{{if and (eq .GroupID $group.ID) (or .IsAvailableCommand (eq .Name "help"))}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{end}}{{if not .AllChildCommandsHaveGroup}}
Commands:{{range $commands}}{{if and (eq .GroupID "") (or .IsAvailableCommand (eq .Name "help"))}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{end}}{{end}}{{if .HasAvailableLocalFlags}}
{{flagsByHeading .LocalFlags}}
{{end}}{{if .HasAvailableInheritedFlags}}
{{flagsByHeading .InheritedFlags}}
{{end}}{{if .HasAvailableSubCommands}}
"{{.CommandPath}} COMMAND --help" has more about a command.
{{end}}`

// Both are global in cobra, so they are set once.
func init() {
	cobra.EnableCommandSorting = false
	cobra.AddTemplateFuncs(map[string]any{
		"flagsByHeading": flagsByHeading, "fill": fill,
		"useLine": func(c *cobra.Command) string { return strings.TrimSuffix(c.UseLine(), " [flags]") },
	})
}

// groupHelp groups the commands of --help as given, and the flags by their headings.
func groupHelp(root *cobra.Command, groups []commandGroup) {
	root.SetHelpTemplate("{{with .Long}}{{fill .}}\n\n{{else}}{{with .Short}}{{fill .}}.\n\n{{end}}{{end}}{{if or .Runnable .HasSubCommands}}{{.UsageString}}{{end}}")
	root.SetUsageTemplate(usageTemplate)
	for _, group := range groups {
		root.AddGroup(&cobra.Group{ID: group.title, Title: group.title + ":"})
		for _, command := range group.commands {
			command.GroupID = group.title
			root.AddCommand(command)
		}
	}
	last := groups[len(groups)-1].title
	root.SetHelpCommandGroupID(last)
	root.SetCompletionCommandGroupID(last)
}

// commandGroup is a group of commands in --help.
type commandGroup struct {
	title    string
	commands []*cobra.Command
}

// flagError is a mistake in the options of a command. It names the option that was most likely
// meant.
func flagError(command *cobra.Command, err error) error {
	var missing *pflag.NotExistError
	if errors.As(err, &missing) && len(missing.GetSpecifiedName()) > 1 {
		var names []string
		command.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if meant := suggest.Name(missing.GetSpecifiedName(), names); meant != "" {
			err = fmt.Errorf("%w; did you mean --%s?", err, meant)
		}
	}
	return usage("%w", err)
}

// misspelled refuses arguments of which the first is no file, and nearly the name of a command.
func misspelled(command *cobra.Command, args []string) error {
	if len(args) == 0 || strings.ContainsAny(args[0], `./\:*?[`) {
		return nil
	}
	if _, err := os.Lstat(args[0]); err == nil {
		return nil
	}
	if meant := meantCommand(command, args[0]); meant != "" {
		return usage("there is no command %q, and no file of this name; did you mean starter %s?", args[0], meant)
	}
	return nil
}

// noCommand refuses a word after a command that needs one of its subcommands.
func noCommand(command *cobra.Command, word string) error {
	hint := ""
	if meant := meantCommand(command, word); meant != "" {
		hint = fmt.Sprintf("; did you mean %s %s?", command.CommandPath(), meant)
	}
	return usage("there is no command \"%s %s\"%s", command.CommandPath(), word, hint)
}

// meantCommand is the name of the command below another one that was most likely meant, or "".
func meantCommand(command *cobra.Command, word string) string {
	var names []string
	for _, c := range command.Commands() {
		names = append(names, c.Name())
	}
	return suggest.Name(word, names)
}
