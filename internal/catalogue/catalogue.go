// Package catalogue finds migrations and exports: in the work location that has their folders, and in
// the Temporal service that runs them.
package catalogue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/session"
	"durable-dataload/internal/store"
	"durable-dataload/workflows"
)

// Catalogue has the migrations and exports of a work location and of a Temporal service.
type Catalogue struct {
	Work  string // the state folder, or the URL of a folder of a bucket
	Where string // the same in words, with the service if it is the user's own

	Service *session.Service // nil: none runs, and only the folders are read

	// NoExports leaves the exports out, except one that is named by its id.
	NoExports bool
}

const (
	// mostListed is how many executions a service is asked for.
	mostListed = 200

	migrations = "MigrationWorkflow"
	exports    = "ExportWorkflow"
)

// Migration is one that the work location or the service knows, or an export.
type Migration struct {
	ID    string
	Begun time.Time // zero: not known
	// began is the same by the clock of the worker that began it, with parts of a second. It
	// orders those of one second.
	began time.Time

	Folder migration.Folder // zero if it is not available here
	Spec   migration.Spec   // of its last run, as far as that is known; of an export the connection

	IsExport bool
	Output   string // the file of an export, "" if that is not known

	// Of its newest run in the service; Run is "" where the service does not have it.
	Run    string
	Status enumspb.WorkflowExecutionStatus
	Queue  string
	// Pending are its activities that are not done, if Refresh found the run.
	Pending []*workflowpb.PendingActivityInfo

	Problem string // why something could not be read, or ""
}

// IsRunning reports whether the service runs it.
func (m Migration) IsRunning() bool { return m.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING }

// File is the name of its input, or of what it exports into.
func (m Migration) File() string {
	switch {
	case !m.IsExport:
		return m.Spec.InputName()
	case m.Output == "":
		return ""
	}
	return store.Base(m.Output)
}

// takeExport takes the options of an export.
func (m *Migration) takeExport(e migration.Export) { m.Spec, m.Output = e.Connection(), e.Output }

// Key is the end of the id, and the name of the folder.
func (m Migration) Key() string {
	if !m.Folder.IsZero() {
		return store.Base(m.Folder.Path())
	}
	return m.ID[strings.LastIndex(m.ID, "-")+1:]
}

// All returns the migrations and exports, the newest first.
func (c *Catalogue) All(ctx context.Context) ([]Migration, error) {
	found, err := In(c.Work)
	if err != nil {
		return nil, err
	}
	if c.Service != nil {
		joined, err := c.join(ctx, found)
		switch {
		case err == nil:
			found = joined
		case !c.Disconnected():
			return nil, err
		}
	}
	if c.NoExports {
		found = slices.DeleteFunc(found, func(m Migration) bool { return m.IsExport })
	}
	newestFirst(found)
	return found, nil
}

func newestFirst(all []Migration) {
	slices.SortStableFunc(all, func(a, b Migration) int {
		return cmp.Or(b.second().Compare(a.second()), b.exactly().Compare(a.exactly()), strings.Compare(a.ID, b.ID))
	})
}

// second is when the migration began, in whole seconds, as a folder keeps it. Begun has parts of
// a second where the migration could not start, or only the service knows it.
func (m Migration) second() time.Time { return m.Begun.Truncate(time.Second) }

// exactly is when it began, as precisely as that is known.
func (m Migration) exactly() time.Time { return cmp.Or(m.began, m.Begun) }

// In returns the migrations and exports of a work location, the newest first.
func In(work string) ([]Migration, error) {
	folders, err := migration.All(work)
	var exports []migration.ExportFolder
	if err == nil {
		exports, err = migration.Exports(work)
	}
	if store.IsOutage(err) {
		return nil, fmt.Errorf("cannot list the migrations: %w; %s", err, store.Advice(err))
	}
	if err != nil {
		return nil, err
	}
	all := make([]Migration, len(folders)+len(exports))
	Concurrently(len(all), func(i int) {
		if i < len(folders) {
			all[i] = read(folders[i])
		} else {
			all[i] = readExport(exports[i-len(folders)])
		}
	})
	found := slices.DeleteFunc(all, func(m Migration) bool { return m.ID == "" }) // not started
	newestFirst(found)
	return found, nil
}

// read reads the migration of a folder; without an id it has not started. If the folder
// cannot be read, the migration has its problem, and the name of the folder as its id unless
// the options have the id.
func read(folder migration.Folder) Migration {
	m := Migration{Folder: folder}
	start, err := folder.Start()
	spec, specErr := folder.Spec()
	if specErr == nil {
		m.Spec = spec
	}
	switch {
	case err == nil:
		m.ID, m.Begun, m.began = start.ID, start.StartedAt, start.Began.At
		err = specErr
	case errors.Is(err, migration.ErrAbsent):
		// It has not started. Perhaps it could not.
		failure, failureErr := folder.Failure()
		if err = failureErr; err == nil {
			m.ID, m.Begun, m.Spec = failure.Spec.ID, failure.At, failure.Spec
		} else if !errors.Is(err, migration.ErrAbsent) {
			m.ID = m.Key()
		}
	default:
		m.ID = cmp.Or(m.Spec.ID, m.Key())
	}
	if err != nil && !errors.Is(err, migration.ErrAbsent) {
		m.Problem = err.Error()
	}
	return m
}

// readExport is read for an export.
func readExport(folder migration.ExportFolder) Migration {
	m := Migration{Folder: folder.Migration(), IsExport: true}
	start, err := folder.Start()
	options, optionsErr := folder.Options()
	if optionsErr == nil {
		m.takeExport(options)
	}
	switch {
	case errors.Is(err, migration.ErrAbsent):
		return m
	case err == nil:
		m.ID, m.Begun, m.began = start.ID, start.StartedAt, start.StartedAt
		err = optionsErr
	default:
		m.ID = cmp.Or(m.Spec.ID, m.Key())
	}
	if err != nil {
		m.Problem = err.Error()
	}
	return m
}

// Concurrently does something for each of n, 16 at once: in a bucket each takes a request.
func Concurrently(n int, do func(i int)) {
	slots := make(chan struct{}, 16)
	var all sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			do(i)
			<-slots
		})
	}
	all.Wait()
}

// join adds what the service lists.
func (c *Catalogue) join(ctx context.Context, found []Migration) ([]Migration, error) {
	found = slices.Clone(found)
	at, ofKey := map[string]int{}, map[string]int{}
	for i, m := range found {
		at[m.ID] = i
		if m.Problem != "" && m.ID == m.Key() {
			ofKey[m.ID] = i // its folder has no readable id, the service has it
		}
	}
	ctx, cancel := context.WithTimeout(ctx, session.AnswerTimeout)
	defer cancel()
	var token []byte
	for n := 0; n < mostListed; {
		page, err := c.Service.Client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Query: "WorkflowType = '" + migrations + "' OR WorkflowType = '" + exports + "'", PageSize: mostListed, NextPageToken: token,
		})
		if err != nil {
			return nil, fmt.Errorf("the Temporal service does not list its migrations: %w", err)
		}
		for _, e := range page.GetExecutions() {
			id := e.GetExecution().GetWorkflowId()
			i, ok := at[id]
			if n, named := ofKey[Migration{ID: id}.Key()]; named && !ok {
				i, ok, at[id], found[n].ID = n, true, n, id
			}
			if !ok {
				i = len(found)
				found, at[id] = append(found, Migration{ID: id, IsExport: e.GetType().GetName() == exports}), i
			}
			if m := &found[i]; m.Run == "" { // the newest run comes first
				m.Run, m.Status, m.Queue = e.GetExecution().GetRunId(), e.GetStatus(), e.GetTaskQueue()
				if m.Begun.IsZero() {
					m.Begun = e.GetStartTime().AsTime()
				}
			}
		}
		n += len(page.GetExecutions())
		if token = page.GetNextPageToken(); len(token) == 0 {
			break
		}
	}
	return found, nil
}

// Find returns the migration that a name means, as it is now.
func (c *Catalogue) Find(ctx context.Context, n Name) (Migration, error) {
	if n.Words == "" {
		return c.latest(ctx)
	}
	if m, found, err := c.byID(ctx, n.Words); found || err != nil {
		return m, err
	}
	all, err := c.All(ctx)
	if err != nil {
		return Migration{}, err
	}
	m, err := choose(all, n.Words)
	if err != nil {
		return m, fmt.Errorf("%w\n(searched: %s)", err, c.Where)
	}
	err = c.Refresh(ctx, &m)
	return m, err
}

// byID returns the migration or export with this very id, from its folder and from the service, or
// with this very key, if the work location has its folder. A folder without a readable id
// is not found.
func (c *Catalogue) byID(ctx context.Context, words string) (m Migration, found bool, err error) {
	key, ok := migration.KeyOf("-" + words)
	if !ok {
		return m, false, nil
	}
	m = read(migration.In(c.Work, key))
	if m.ID == "" || words != key && words != m.ID {
		m = readExport(migration.ExportIn(c.Work, key))
	}
	if !strings.HasSuffix(m.ID, "-"+key) || words != key && words != m.ID {
		m = Migration{ID: words}
	}
	err = c.Refresh(ctx, &m)
	return m, !m.Folder.IsZero() || m.Run != "", err
}

// latest returns the migration that began last, of those that run if any does.
func (c *Catalogue) latest(ctx context.Context) (Migration, error) {
	all, err := c.All(ctx)
	if err != nil {
		return Migration{}, err
	}
	if len(all) == 0 {
		return Migration{}, fmt.Errorf("no migration%s was found in %s; give the --state-dir, --work-url or --address of the one that is meant", c.orExport(), c.Where)
	}
	var first error
	for _, m := range runningFirst(all) {
		err := c.Refresh(ctx, &m)
		if err == nil || session.IsOfService(err) {
			return m, err
		}
		first = cmp.Or(first, err) // another one can be read
	}
	return Migration{}, first
}

// runningFirst puts those that run before the others, and keeps the order of both.
func runningFirst(newest []Migration) []Migration {
	running := slices.DeleteFunc(slices.Clone(newest), func(m Migration) bool { return !m.IsRunning() })
	return append(running, slices.DeleteFunc(slices.Clone(newest), Migration.IsRunning)...)
}

// Refresh asks the service for the status of a migration; its list lags behind.
func (c *Catalogue) Refresh(ctx context.Context, m *Migration) error {
	before := m.Run
	m.Run, m.Status, m.Pending = "", enumspb.WORKFLOW_EXECUTION_STATUS_UNSPECIFIED, nil
	if c.Service == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, session.AnswerTimeout)
	defer cancel()
	d, err := c.Service.Client.DescribeWorkflowExecution(ctx, m.ID, "")
	var notFound *serviceerror.NotFound
	switch {
	case errors.As(err, &notFound):
		return nil // another service has it, or this one has forgotten it
	case err != nil && c.Disconnected():
		return nil
	case err != nil:
		return fmt.Errorf("the Temporal service does not answer: %w", err)
	}
	info := d.GetWorkflowExecutionInfo()
	switch info.GetType().GetName() {
	case migrations:
	case exports:
		m.IsExport = true
	default:
		return nil
	}
	m.Run, m.Status, m.Queue = info.GetExecution().GetRunId(), info.GetStatus(), info.GetTaskQueue()
	m.Pending = d.GetPendingActivities()
	if m.Begun.IsZero() {
		m.Begun = info.GetStartTime().AsTime()
	}
	if !m.Folder.IsZero() {
		return nil
	}
	if m.IsExport {
		return c.refreshExport(ctx, m)
	}
	if m.Run != before || m.Spec.ID == "" {
		if err := c.input(ctx, m.ID, m.Run, &m.Spec); err != nil {
			return err
		}
	}
	if start, err := m.Spec.Folder.Start(); err == nil && start.ID == m.ID {
		m.Folder = m.Spec.Folder
	}
	return nil
}

// Disconnected reports whether the embedded engine, which does not answer any more, stops.
// Then only the folders are read.
func (c *Catalogue) Disconnected() bool {
	if !c.Service.Ends() {
		return false
	}
	c.Service.Close()
	c.Service = nil
	return true
}

// refreshExport reads the folder of an export that only the service knows, if it is available here.
func (c *Catalogue) refreshExport(ctx context.Context, m *Migration) error {
	var in workflows.ExportInput
	if err := c.input(ctx, m.ID, m.Run, &in); err != nil {
		return err
	}
	if found := readExport(in.Folder); found.ID == m.ID {
		m.Folder, m.Spec, m.Output, m.Problem = found.Folder, found.Spec, found.Output, found.Problem
	}
	return nil
}

// input is what a run was started with.
func (c *Catalogue) input(ctx context.Context, id, run string, in any) error {
	events := c.Service.Client.GetWorkflowHistory(ctx, id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	if !events.HasNext() {
		return fmt.Errorf("the Temporal service has no history of %s", id)
	}
	event, err := events.Next()
	if err != nil {
		return fmt.Errorf("the Temporal service does not show the history of %s: %w", id, err)
	}
	return converter.GetDefaultDataConverter().FromPayloads(event.GetWorkflowExecutionStartedEventAttributes().GetInput(), in)
}

// orExport adds exports to what was looked for, for people.
func (c *Catalogue) orExport() string {
	if c.NoExports {
		return ""
	}
	return " or export"
}
