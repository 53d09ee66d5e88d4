package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"durable-dataload/internal/config"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/session"
	"durable-dataload/internal/store"
	"durable-dataload/internal/targets"
	"durable-dataload/internal/tilde"
)

// exportOptions are the command line of starter export.
type exportOptions struct {
	runOptions
	output     string
	since      string
	filter     string
	attributes []string
	pageSize   int
	lag        seconds
}

// exportCommand reads the users of a target into a file. It puts the exit code into code.
func exportCommand(stdout, stderr io.Writer, code *int) *cobra.Command {
	var o exportOptions
	command := &cobra.Command{
		Use:   "export --output users.csv",
		Short: "Read all users into a CSV file that starter --data takes",
		Long: `Read all users of an entity type into a CSV file that starter --data takes.

Each user is in the file once, in a version no older than AS OF in the summary. With --since, only users that were
changed since an earlier export are, and a second file lists who was deleted. Nothing is changed in the platform.
The file appears when it is complete. Rerun the command to resume an export that was cut off.

Exit codes: 0 the file is complete; 1 could not run; 2 wrong usage; 4 the file is written, but the platform counts
more users than it lists; 5 stopped, no file yet.`,
		Example: `  starter export --output users.csv --apid_uri https://example.janraincapture.com
  starter export --output users.csv.gz --attributes email,password,profiles \
      --filter "created > '2020-01-01'"
  starter export --output changes.csv --since users.csv`,
		Args: noArguments("give the file with --output"),
		RunE: func(command *cobra.Command, _ []string) error {
			if err := o.complete(command.Flags(), os.Getenv); err != nil {
				return err
			}
			return o.attendOne(command.Context(), stdout, stderr, code, func(ctx context.Context, p session.Process) (int, error) {
				return o.withSession(p, func(s *session.Session) (int, error) {
					x := &exportOperation{Session: s, o: &o}
					code, err := s.Run(ctx, x)
					if err == nil && code == migration.ExitDone { // also of an export that was finished before
						code = x.result.Summary.ExitCode()
					}
					return code, err
				})
			})
		},
	}
	command.Flags().SortFlags = false
	o.addFlags(command.Flags())
	return command
}

func (o *exportOptions) addFlags(f *pflag.FlagSet) {
	tilde.Var(f, &o.output, "output", "CSV file to write, compressed if it ends in .gz, or the URL of one in a bucket; a file of this name must not exist")
	f.StringSliceVar(&o.attributes, "attributes", nil, "attributes to export, separated by commas, with dots in objects; default: all of the schema")
	f.StringVar(&o.filter, "filter", "", "export only users that fit this filter of the platform: \"gender = 'female'\"")
	tilde.Var(f, &o.since, "since", "file of an earlier export: export what was changed since, and list who was deleted")
	f.IntVar(&o.pageSize, "page-size", 0, "users read in one call; 0 = as many as the platform gives")
	f.Var(&o.lag, "lag", "how long a change can be invisible to searches of the platform; default: 5m, and 0 with --sandbox")
	o.targetOptions.addFlags(f, "export from the local Identity Cloud")
	o.paceOptions.addRateFlags(f)
	o.addJSONFlag(f)
	o.addLocationFlags(f, "folder for the state: what was read so far, and embedded engine")
	o.serviceOptions.addFlags(f)
}

// complete checks the command line, and adds what is not on it.
func (o *exportOptions) complete(f *pflag.FlagSet, getenv func(string) string) (err error) {
	if o.output == "" {
		return usage("expected a file to write: --output users.csv")
	}
	o.limits.Workers = 1
	if err := o.completeRun(f, getenv); err != nil {
		return err
	}
	if traits := targets.Format(o.credentials.Name(), o.target().EntityType, 0).Traits(); !traits.ListsSince {
		return usage("--target %s: its users cannot be exported, since it does not list them by the time of their last change; expected --target %s", traits.Name, targets.Names()[0])
	} else if !f.Changed("lag") && !o.sandbox {
		o.lag = seconds(traits.Lag)
	}
	if err := o.require(); err != nil {
		return err
	}
	if err := migration.CheckFilter(o.filter); err != nil {
		return usage("--filter: %w", err)
	}
	for i, name := range o.attributes {
		if o.attributes[i] = strings.TrimSpace(name); o.attributes[i] == "" {
			return usage("--attributes has an empty name; expected names as email,primaryAddress.city")
		}
	}
	if err := checkRanges([]optionRange{
		{"page-size", float64(o.pageSize), 0, 1e6},
		{"lag", time.Duration(o.lag).Seconds(), 0, 24 * 3600},
	}); err != nil {
		return err
	}
	if o.output, err = completeFile("output", o.output); err != nil {
		return err
	}
	if o.since != "" {
		if o.since, err = completeFile("since", o.since); err != nil {
			return err
		}
	}
	if o.since == o.output {
		return usage("--since and --output name one file; expected a new file for what was changed")
	}
	return nil
}

// completeFile is the normal form of a file on the command line, which may be in a bucket.
func completeFile(option, path string) (string, error) {
	if !store.IsURL(path) {
		if strings.HasSuffix(path, string(filepath.Separator)) {
			return "", usage("--%s %s names a folder; expected a file, as users.csv", option, path)
		}
		return config.Absolute(option, path)
	}
	url, err := checkURL(option, path, "its path")
	if err == nil && store.Join(url) == store.Dir(url) {
		err = usage("--%s %s names no file in the bucket; expected s3://BUCKET/FOLDER/users.csv", option, path)
	}
	return url, err
}

// prepare finds the export into the file: a new one, or one that was begun.
func (o *exportOptions) prepare() (e migration.Export, begun bool, err error) {
	e = migration.Export{
		Output: o.output, Target: o.target(), Filter: o.filter, Attributes: o.attributes, PageSize: o.pageSize,
		Lag: time.Duration(o.lag), Limits: o.limits, Timeout: time.Duration(o.timeout),
	}
	e.ID, e.Folder = migration.ExportOf(o.work(), o.output)
	if o.since != "" {
		if err := o.takeEarlier(&e); err != nil {
			return e, false, err
		}
	}
	before, err := e.Folder.Options()
	switch {
	case errors.Is(err, migration.ErrAbsent):
		return e, false, o.refuseFiles(e)
	case err != nil:
		return e, false, err
	case e.Folder.Cancelled():
		return e, false, fmt.Errorf("the export into %s was cancelled for good; expected another --output for a new one", o.output)
	case !before.IsSame(e):
		return e, false, fmt.Errorf("%s was begun as an export with another target, --filter, --attributes or --since; expected the same to resume it, or another --output", o.output)
	}
	return e, true, nil
}

// takeEarlier takes from an earlier export what this one has in common with it.
func (o *exportOptions) takeEarlier(e *migration.Export) error {
	_, folder := migration.ExportOf(o.work(), o.since)
	if _, err := folder.Summary(); errors.Is(err, migration.ErrAbsent) {
		return fmt.Errorf("--since %s: %s knows no finished export into this file; expected the path that its --output had, and its state folder", o.since, o.locations.text())
	} else if err != nil {
		return err
	}
	earlier, err := folder.Options()
	if err != nil {
		return err
	}
	if !earlier.Target.IsSame(e.Target) {
		return fmt.Errorf("--since %s is an export of %s (%s), and the target is %s (%s); expected the same", o.since, earlier.Target.URI, earlier.Target.EntityType, e.Target.URI, e.Target.EntityType)
	}
	if e.Filter != "" && e.Filter != earlier.Filter {
		return fmt.Errorf("--since %s was made with another --filter; expected the same, or none", o.since)
	}
	if len(e.Attributes) > 0 && !slices.Equal(e.Attributes, earlier.Attributes) {
		return fmt.Errorf("--since %s was made with other --attributes; expected the same, or none", o.since)
	}
	e.Since, e.Filter, e.Attributes = folder, earlier.Filter, earlier.Attributes
	return nil
}

// refuseFiles refuses to write files that exist.
func (o *exportOptions) refuseFiles(e migration.Export) error {
	files := []string{e.Output, e.SummaryFile()}
	if !e.Since.IsZero() {
		files = append(files, e.DeletedFile())
	}
	for _, file := range files {
		if there, err := store.Exists(file); err != nil {
			return fmt.Errorf("--output: %w; expected a file in a folder that can be written", err)
		} else if there {
			return fmt.Errorf("%s exists already; expected no file of this name: an export replaces none, so give another --output or move it away", file)
		}
	}
	return nil
}
