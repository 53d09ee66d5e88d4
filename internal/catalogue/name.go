package catalogue

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// Name says which migration a command means: by words, or the latest one.
type Name struct {
	Words  string // its id, or any unique part of its id or file name
	Latest bool
}

// Help explains a name in the help of a command.
const Help = `ID is the id of the migration, or any unique part of its id or file name. --migration ID is equivalent.`

// ErrNoName says that a command line names no migration, or names it in several ways.
var ErrNoName = errors.New("expected one migration: its ID, --migration ID or --latest (starter list has them)")

// AddFlags adds the options that name a migration, besides the argument.
func (n *Name) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&n.Words, "migration", "", "the migration: its id, or any unique part of its id or file name; as the argument ID")
	f.BoolVar(&n.Latest, "latest", false, "the migration that was started last, of those that run if any does")
}

// Take takes an argument.
func (n *Name) Take(arg string) error {
	if n.Words != "" {
		return fmt.Errorf("expected one migration, found %q and %q", n.Words, arg)
	}
	n.Words = arg
	return nil
}

// IsGiven reports whether the command line names a migration.
func (n Name) IsGiven() bool { return n.Words != "" || n.Latest }

// Check refuses a name in two ways, and no name.
func (n Name) Check() error {
	if (n.Words != "") == n.Latest {
		return ErrNoName
	}
	return nil
}

// choose returns the one migration that the words mean: its id, the key at its end, or a
// part that no other one has. A part that several have means the one of them that runs.
func choose(all []Migration, words string) (Migration, error) {
	for _, is := range []func(Migration) bool{
		func(m Migration) bool { return m.ID == words },
		func(m Migration) bool { return m.Key() == words },
		func(m Migration) bool { return strings.Contains(m.ID, words) },
		func(m Migration) bool { return strings.Contains(m.File(), words) }, // of which the id has a part only
	} {
		var fit, running []Migration
		for _, m := range all {
			if is(m) {
				fit = append(fit, m)
				if m.IsRunning() {
					running = append(running, m)
				}
			}
		}
		switch {
		case len(fit) == 1:
			return fit[0], nil
		case len(running) == 1:
			return running[0], nil
		case len(fit) > 1:
			return Migration{}, fmt.Errorf("%d migrations or exports have %q in their id; expected one of\n%s", len(fit), words, ids(fit))
		}
	}
	if len(all) == 0 {
		return Migration{}, fmt.Errorf("there are no migrations and exports, so none is %q", words)
	}
	return Migration{}, fmt.Errorf("no migration or export has %q in its id; expected one of\n%s", words, ids(all))
}

// ids lists some to choose from.
func ids(all []Migration) string {
	const most = 10
	var b strings.Builder
	for _, m := range all[:min(most, len(all))] {
		b.WriteString("  " + m.ID)
		if m.IsRunning() {
			b.WriteString(" (running)")
		}
		b.WriteByte('\n')
	}
	if more := len(all) - most; more > 0 {
		fmt.Fprintf(&b, "  and %d more; starter list has them all\n", more)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
