package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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

// helpWidth is the width of --help, in characters.
const helpWidth = 110

// flagsByHeading are the flags of --help, in the order of their headings. Flags without
// one come last.
func flagsByHeading(all *pflag.FlagSet) string {
	var headings []string
	sets := map[string]*pflag.FlagSet{}
	all.VisitAll(func(flag *pflag.Flag) {
		heading := "Flags"
		if h := flag.Annotations[headingKey]; h != nil {
			heading = h[0]
		}
		if sets[heading] == nil {
			sets[heading] = pflag.NewFlagSet("", pflag.ContinueOnError)
			sets[heading].SortFlags = false
			headings = append(headings, heading)
		}
		sets[heading].AddFlag(flag)
	})
	if len(headings) > 1 && sets["Flags"] != nil {
		sets["Other"] = sets["Flags"]
		headings = append(headings, "Other")
		delete(sets, "Flags")
	}
	var text strings.Builder
	for _, heading := range headings {
		if set := sets[heading]; set != nil && set.HasAvailableFlags() {
			text.WriteString("\n" + heading + ":\n" + set.FlagUsagesWrapped(helpWidth))
		}
	}
	return strings.Trim(text.String(), "\n")
}

// Both are global in cobra, so they are set once.
func init() {
	cobra.EnableCommandSorting = false
	cobra.AddTemplateFunc("flagsByHeading", flagsByHeading)
}

// groupHelp groups the commands of --help as given, and the flags by their headings.
func groupHelp(root *cobra.Command, groups []commandGroup) {
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(),
		"Flags:\n{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}", "{{flagsByHeading .LocalFlags}}", 1))
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
