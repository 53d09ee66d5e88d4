package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"durable-dataload/internal/catalogue"
	"durable-dataload/internal/config"
	"durable-dataload/internal/session"
)

// place is where a command finds migrations: the place of their work, and a Temporal
// service that another process runs. The command starts nothing there.
type place struct {
	locations
	temporal config.Temporal

	catalogue.Catalogue
}

func (p *place) addFlags(f *pflag.FlagSet) {
	p.addLocationFlags(f, "state folder of the migration")
	p.temporal.AddFlags(f)
}

// open finds the service. If none runs, the folders have what is known.
func (p *place) open(ctx context.Context, getenv func(string) string) error {
	if err := p.locations.complete(getenv); err != nil {
		return err
	}
	p.Catalogue = p.locations.catalogue()
	var err error
	p.Service, err = session.Find(ctx, session.Process{Log: slog.New(slog.DiscardHandler)}, session.Options{Temporal: p.temporal, StateDir: p.stateDir})
	if p.Service != nil && !p.Service.IsEmbedded() {
		p.Where = "the Temporal service and " + p.Where
	}
	return err
}

// catalogue is that of a work location, without a service.
func (l locations) catalogue() catalogue.Catalogue {
	return catalogue.Catalogue{Work: l.work(), Where: l.text()}
}

func (p *place) close() {
	if p.Service != nil {
		p.Service.Close()
	}
}

// completeID offers the ids of the work location to the shell.
func (l *locations) completeID(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	if l.complete(os.Getenv) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	found, _ := catalogue.In(l.work())
	var words []string
	for _, m := range found {
		words = append(words, m.ID)
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
