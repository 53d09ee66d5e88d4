package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"durable-dataload/internal/catalogue"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/session"
	"durable-dataload/internal/terminal"
	"durable-dataload/workflows"
)

// listed is a line of the list. Scripts depend on its JSON (docs/operate.md).
type listed struct {
	ID         string           `json:"id"`
	Kind       kind             `json:"kind"`
	File       string           `json:"file"`
	Target     string           `json:"target"` // host
	EntityType string           `json:"entity_type"`
	State      catalogue.State  `json:"state"`
	Phase      workflows.Phase  `json:"phase,omitempty"`
	Paused     bool             `json:"paused,omitempty"`
	Decision   string           `json:"decision,omitempty"`
	Records    migration.Counts `json:"records"`
	Export     *exportStatus    `json:"export,omitempty"` // instead of Records
	// RecordsAsOf is that of the status.
	RecordsAsOf time.Time `json:"records_as_of,omitzero"`
	StartedAt   time.Time `json:"started_at,omitzero"`
	FinishedAt  time.Time `json:"finished_at,omitzero"`
	// Reason is why it could not run, ended early, or makes no progress.
	Reason string `json:"reason,omitempty"`
	// Rerun is that of the status.
	Rerun string `json:"rerun,omitempty"`
}

// listCommand shows all migrations and exports.
func listCommand(stdout, stderr io.Writer) *cobra.Command {
	var l lookup
	var asJSON bool
	command := &cobra.Command{
		Use:   "list",
		Short: "List the migrations and exports, the newest first",
		Long: `List the migrations and exports that the state folder has, or the --work-url, and those that the Temporal service has, the newest first.

Exit codes: 0 they are listed; 1 they could not be read; 2 wrong usage.`,
		Args: noArguments(""),
		RunE: func(*cobra.Command, []string) error {
			ctx := context.Background()
			if err := l.open(ctx, os.Getenv); err != nil {
				return err
			}
			defer l.close()
			rows, err := l.list(ctx)
			if err != nil {
				return err
			}
			screen := terminal.New(stdout, stderr, terminal.Options{JSON: asJSON})
			if asJSON {
				screen.PrintJSON(rows)
				return nil
			}
			if l.Service != nil {
				if link := l.Service.Link(""); link != "" {
					screen.Say("Web UI:  " + link)
				}
			}
			if len(rows) == 0 {
				screen.Say("No migration or export was found in " + l.Where + ".")
				return nil
			}
			return printList(stdout, rows)
		},
	}
	f := command.Flags()
	f.SortFlags = false
	f.BoolVar(&asJSON, "json", false, "print them as a JSON list")
	l.addFlags(f)
	return command
}

// list returns a line for each migration.
func (l *lookup) list(ctx context.Context) ([]listed, error) {
	all, err := l.All(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if k := &all[i]; k.Folder.IsZero() || k.IsRunning() {
			err := l.Refresh(ctx, k)
			if err != nil && session.IsOfService(err) {
				return nil, err
			}
			if err != nil {
				k.Problem = err.Error()
			}
		}
	}
	counting, cancel := context.WithTimeout(ctx, tallyFor)
	defer cancel()
	rows := make([]listed, len(all))
	catalogue.Concurrently(len(all), func(i int) { rows[i] = l.row(ctx, counting, all[i]) })
	return rows, nil
}

// row returns one line. counting is the context of counting the ledgers of all.
func (l *lookup) row(ctx, counting context.Context, k catalogue.Migration) listed {
	s := statusOf(k)
	row := listed{ID: k.ID, Kind: s.Kind, File: s.File, Target: k.Spec.Target.Host(), EntityType: s.EntityType, State: s.State, StartedAt: s.StartedAt, Rerun: s.Rerun}
	if s.State != catalogue.Running {
		l.addCounts(counting, k, &s)
		l.addReason(ctx, k, &s)
		row.State, row.Records, row.Export, row.RecordsAsOf, row.FinishedAt, row.Reason = s.State, s.Records, s.Export, s.RecordsAsOf, s.FinishedAt, s.Reason
	} else if l.Service != nil && k.IsExport {
		l.addExportProgress(ctx, &row, &s)
	} else if l.Service != nil && !l.addProgress(ctx, &row) && s.addTally(counting, k) { // it may have ended since the refresh
		row.Records = s.Records
	}
	if k.Problem != "" {
		row.Reason = k.Problem
	}
	return row
}

// addProgress queries a running migration, and says whether it has counts. Without a
// worker it does not answer.
func (l *lookup) addProgress(ctx context.Context, row *listed) bool {
	asking, cancel := context.WithTimeout(ctx, session.AnswerTimeout)
	defer cancel()
	progress, _, err := newView(l.Service, row.ID, "", l.stateDir, nil).poll(asking)
	if err != nil {
		row.Reason, _ = l.Service.Silence(ctx, row.ID, err)
		return false
	}
	row.Phase, row.Records = progress.Phase, dispositions(progress)
	if c := progress.Steering; c != nil {
		row.Paused, row.Decision = c.Paused, c.Decision
	}
	return counts(progress)
}

// addExportProgress queries a running export.
func (l *lookup) addExportProgress(ctx context.Context, row *listed, s *status) {
	asking, cancel := context.WithTimeout(ctx, session.AnswerTimeout)
	defer cancel()
	var p workflows.ExportProgress
	if err := newView(l.Service, row.ID, "", l.stateDir, nil).query(asking, row.ID, &p); err != nil {
		row.Reason, _ = l.Service.Silence(ctx, row.ID, err)
		return
	}
	s.addExportProgress(p)
	row.Phase, row.Export, row.Paused = s.Phase, s.Export, s.Paused != ""
}

// text is the state with its details, for people.
func (l listed) text() string {
	switch {
	case l.State == catalogue.Failed:
		return "could not run"
	case l.State != catalogue.Running:
		return strings.ReplaceAll(string(l.State), "_", " ")
	case l.Decision != "":
		return "waits for a decision"
	case l.Paused:
		return "paused"
	case l.Phase != "":
		return string(l.Phase)
	}
	return "running, no worker answers"
}

func printList(w io.Writer, rows []listed) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "id\tfile\ttarget\tstate\trecords\tdone\tfailed\tunknown\tstarted (UTC)\tended\treason")
	for _, r := range rows {
		figures := strings.Repeat("-\t", 4) // not known
		if e := r.Export; e != nil {
			total := "-"
			if n := max(e.Expected, e.Records); r.State != catalogue.Running || e.Expected > 0 {
				total = strconv.Itoa(n)
			}
			figures = fmt.Sprintf("%s\t%d\t-\t-\t", total, e.Records)
		} else if c := r.Records; c.Total > 0 {
			figures = fmt.Sprintf("%d\t%d\t%d\t%d\t", c.Total, c.Created+c.Recovered+c.Updated, c.Failed, c.Unknown)
		}
		fmt.Fprintf(table, "%s\t%s\t%s (%s)\t%s\t%s%s\t%s\t%s\n", r.ID, safetext.Name(r.File), r.Target, r.EntityType, r.text(), figures,
			since("", r.StartedAt), since("", r.FinishedAt), strings.TrimSpace(safetext.Name(cmp.Or(r.Reason, r.Rerun))+since(" counts as of ", r.RecordsAsOf)))
	}
	return table.Flush()
}
