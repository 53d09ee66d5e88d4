package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/catalogue"
	"durable-dataload/internal/config"
	"durable-dataload/internal/session"
	"durable-dataload/internal/store"
	"durable-dataload/internal/tilde"
)

// locations has the locations of state: the state folder, on this machine, has the
// embedded engine, the sandbox and the log; the work location has the folders of the
// migrations. The work location is the state folder as well, or a folder of a bucket.
type locations struct {
	stateDir string // absolute
	workURL  string // "": migrations keep their work in the state folder
}

// addLocationFlags adds the options for both.
func (l *locations) addLocationFlags(f *pflag.FlagSet, stateDir string) {
	l.addStateDirFlag(f, stateDir)
	f.StringVar(&l.workURL, "work-url", "", "folder of a bucket in which migrations keep their work, instead of the state folder: s3://bucket/dataload ("+config.WorkVariable+", docs/object-storage.md)")
}

// addStateDirFlag adds that of the state folder, for commands that read no migration.
func (l *locations) addStateDirFlag(f *pflag.FlagSet, usage string) {
	tilde.Var(f, &l.stateDir, "state-dir", usage+"; default: the user's state folder")
}

// work is the path or the URL of the work location.
func (l locations) work() string { return cmp.Or(l.workURL, l.stateDir) }

// text names the work location in a message.
func (l locations) text() string {
	if l.workURL != "" {
		return "the work location " + l.workURL
	}
	return "the state folder " + l.stateDir
}

// workLocations are those whose migrations a worker in this process takes.
func (l locations) workLocations() []string {
	if l.workURL != "" {
		return []string{l.stateDir, l.workURL}
	}
	return []string{l.stateDir}
}

func (l *locations) complete(getenv func(string) string) (err error) {
	if err := l.completeStateDir(getenv); err != nil {
		return err
	}
	if l.workURL, err = config.WorkURL(l.workURL, getenv); err != nil {
		return usage("%w", err)
	}
	return nil
}

// completeStateDir makes the state folder absolute; the default is that of the user.
func (l *locations) completeStateDir(getenv func(string) string) (err error) {
	l.stateDir, err = config.StateDir(l.stateDir, getenv)
	return err
}

// checkURL is config.CheckURL with a usage error.
func checkURL(flag, url, local string) (string, error) {
	url, err := config.CheckURL(flag, url, local)
	if err != nil {
		return "", usage("%w", err)
	}
	return url, nil
}

// prove checks before the work begins that the work location can be used. A state folder
// is checked by opening its log.
func (l locations) prove() error {
	if l.workURL == "" {
		return nil
	}
	if err := store.Prove(l.workURL); err != nil {
		return fmt.Errorf("cannot keep the work of migrations in %s: %w; %s", l.workURL, err, store.Advice(err))
	}
	return nil
}

// prove checks the work location, and the folder of the results if that is in a bucket of
// its own.
func (o *runOptions) prove() error {
	if err := o.locations.prove(); err != nil || !store.IsURL(o.outputDir) || o.workURL != "" && store.Dir(o.outputDir) == o.workURL {
		return err
	}
	if err := artifacts.CheckFolder(o.outputDir); err != nil {
		return fmt.Errorf("%w; %s", err, store.Advice(err))
	}
	return nil
}

// lookup finds the migrations of a command: in their work location, and in a Temporal
// service that another process runs. The command starts nothing there.
type lookup struct {
	locations
	temporal config.Temporal

	catalogue.Catalogue
}

func (l *lookup) addFlags(f *pflag.FlagSet) {
	l.addLocationFlags(f, "state folder of the migration")
	l.temporal.AddFlags(f)
}

// open finds the service. If none runs, the folders have what is known.
func (l *lookup) open(ctx context.Context, getenv func(string) string) (err error) {
	if err := l.locations.complete(getenv); err != nil {
		return err
	}
	l.Catalogue = l.locations.catalogue()
	l.Service, err = session.Find(ctx, session.Process{Log: slog.New(slog.DiscardHandler)}, session.Options{Temporal: l.temporal, StateDir: l.stateDir})
	if l.Service != nil && !l.Service.IsEmbedded() {
		l.Where = "the Temporal service and " + l.Where
	}
	return err
}

// catalogue is that of a work location, without a service.
func (l locations) catalogue() catalogue.Catalogue {
	return catalogue.Catalogue{Work: l.work(), Where: l.text()}
}

func (l *lookup) close() {
	if l.Service != nil {
		l.Service.Close()
	}
}

// completeID offers the ids of the work location to the shell.
func (l *locations) completeID(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return l.ids(func(catalogue.Migration) bool { return true })
}

// completeMigration offers those of migrations only.
func (l *locations) completeMigration(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return l.ids(func(m catalogue.Migration) bool { return !m.IsExport })
}

func (l *locations) ids(fits func(catalogue.Migration) bool) (words []string, _ cobra.ShellCompDirective) {
	if l.complete(os.Getenv) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	found, _ := catalogue.In(l.work())
	for _, m := range found {
		if fits(m) {
			words = append(words, m.ID)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// oneMigration takes the migration that a command is about as its argument. required
// says that there is no default.
func oneMigration(n *catalogue.Name, required bool) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		for _, arg := range args {
			if err := n.Take(arg); err != nil {
				return usage("%w", err)
			}
		}
		if !required && !n.IsGiven() {
			return nil
		}
		if err := n.Check(); err != nil {
			return usage("%w", err)
		}
		return nil
	}
}
