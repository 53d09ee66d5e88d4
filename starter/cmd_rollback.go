package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"durable-dataload/internal/catalogue"
	"durable-dataload/internal/session"
	"durable-dataload/internal/stage"
	"durable-dataload/internal/tilde"
	"durable-dataload/internal/undo"
)

// rollbackOptions are the command line of starter rollback.
type rollbackOptions struct {
	runOptions
	name     catalogue.Name
	success  string // file
	identity string
	yes      bool
	force    bool
	dryRun   bool
}

// rollbackCommand undoes a migration. It puts the exit code into code.
func rollbackCommand(stdout, stderr io.Writer, code *int) *cobra.Command {
	var o rollbackOptions
	command := &cobra.Command{
		Use:   "rollback ID | --latest | --data success_….csv",
		Short: "Delete what a migration created, and restore what it updated",
		Long: `Delete what a migration created, and restore what it updated.

` + catalogue.Help + `
Deleted records are gone for good. A record that was changed since the migration is left alone.
Rerun the command to resume a rollback that was cut off, or to retry what failed.

Exit codes: 0 all is undone; 1 could not run; 2 wrong usage; 3 done, with failed records;
5 stopped, with records left.`,
		Example: `  starter rollback migration-users.csv-0123456789ab --dry-run
  starter rollback migration-users.csv-0123456789ab
  starter rollback --data success_Nov_22_2026_13_05_00.csv \
      --apid_uri https://example.janraincapture.com`,
		Args: func(command *cobra.Command, args []string) error {
			if err := oneMigration(&o.name, o.success == "")(command, args); err != nil {
				return fmt.Errorf("%w; or --data success_….csv", err)
			}
			if o.name.IsGiven() && o.success != "" {
				return usage("expected a migration or --data success_….csv, found both")
			}
			return nil
		},
		RunE: func(command *cobra.Command, _ []string) error {
			if err := o.complete(command.Flags(), os.Getenv); err != nil {
				return err
			}
			r := rollbackOperation{o: &o}
			var err error
			if r.identities, err = undo.ReadIdentities(o.identity); err != nil {
				return fmt.Errorf("cannot use --undo-identity: %w", err)
			}
			if r.Migration, err = o.subject(command.Flags()); err != nil {
				return err
			}
			return o.attendOne(command.Context(), stdout, stderr, code, func(ctx context.Context, p session.Process) (int, error) {
				if o.dryRun {
					r.Session = &session.Session{Process: p}
					return r.dryRun(ctx)
				}
				return o.withSession(p, func(s *session.Session) (int, error) {
					again := r // from the start, where an engine is gone
					again.Session = s
					return s.Run(ctx, &again)
				})
			})
		},
	}
	command.ValidArgsFunction = o.completeMigration
	command.Flags().SortFlags = false
	o.addFlags(command.Flags())
	return command
}

func (o *rollbackOptions) addFlags(f *pflag.FlagSet) {
	o.name.AddFlags(f)
	f.Lookup("latest").Usage = "the migration that was started last"
	tilde.Var(f, &o.success, "data", "success file of a migration, if its state folder is not available, also one of dataload.py; updates are not undone then")
	o.targetOptions.addFlags(f, "undo a migration into the local Identity Cloud")
	f.Lookup("type-name").Usage = "entity type; without --data that of the migration"
	o.paceOptions.addFlags(f)
	f.BoolVar(&o.yes, "yes", false, "do not ask before anything is deleted")
	f.BoolVar(&o.force, "force", false, "also undo records that were changed since the migration")
	f.BoolVarP(&o.dryRun, "dry-run", "x", false, "read all records and count what would be done; change nothing")
	tilde.Var(f, &o.identity, "undo-identity", "file with the private key of age, if the previous values are encrypted (UNDO_IDENTITY)")
	o.outputOptions.addFlags(f)
	o.addLocationFlags(f, "folder for the state, that of the migration")
	o.serviceOptions.addFlags(f)
	o.watched.AddFlags(f)
}

// complete checks the command line and adds what is not on it.
func (o *rollbackOptions) complete(f *pflag.FlagSet, getenv func(string) string) (err error) {
	if err := o.completeRun(f, getenv); err != nil {
		return err
	}
	if err := o.watched.Check(); err != nil {
		return usage("%w", err)
	}
	if o.identity == "" {
		if o.identity, err = tilde.Path(getenv("UNDO_IDENTITY")); err != nil {
			return err
		}
	}
	if err := o.outputOptions.complete(o.workURL); err != nil || o.success == "" {
		return err
	}
	in := input{Input: stage.Input{Path: o.success}}
	if err := in.locate(); err != nil {
		return err
	}
	o.success = in.Path
	return o.require()
}

// subject finds the migration, and takes its target; with --data there is none.
func (o *rollbackOptions) subject(f *pflag.FlagSet) (of catalogue.Migration, err error) {
	if o.success != "" {
		return of, nil
	}
	if of, err = o.find(o.name, "undo"); err != nil {
		return of, fmt.Errorf("%w; without its state folder, give its success file with --data", err)
	}
	if err := o.requireOf(of.ID, of.Spec.Target); err != nil {
		return of, err
	}
	if f.Changed("type-name") && o.entityType != of.Spec.Target.EntityType {
		return of, usage("the migration %s went to the type %s, and --type-name is %s; expected the same, or none", of.ID, of.Spec.Target.EntityType, o.entityType)
	}
	return of, nil
}
