package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"durable-dataload/internal/config"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/session"
	"durable-dataload/internal/store"
)

// place is where migrations are looked for: the place of their work, and a
// Temporal service that another process runs. Nothing is started there.
type place struct {
	home
	temporal config.Temporal

	service *session.Service // nil: nothing runs the engine of the state folder
}

func (p *place) addFlags(f *pflag.FlagSet) {
	p.addHomeFlags(f, "state folder of the migration")
	p.temporal.AddFlags(f)
}

// open finds the service. That none runs is no error: the work place tells.
func (p *place) open(ctx context.Context, getenv func(string) string) error {
	if err := p.home.complete(getenv); err != nil {
		return err
	}
	var err error
	p.service, err = session.Find(ctx, session.Process{Log: slog.New(slog.DiscardHandler)}, session.Options{Temporal: p.temporal, StateDir: p.stateDir})
	return err
}

func (p *place) close() {
	if p.service != nil {
		p.service.Close()
	}
}

// known is a migration that the state folder or the service knows.
type known struct {
	id    string
	begun time.Time // zero: not known

	folder migration.Folder // "" where it is not at hand
	spec   migration.Spec   // of its last run, as far as that is known

	// Of its newest run in the service; run is "" where that does not know it.
	run   string
	state enumspb.WorkflowExecutionStatus
	queue string

	problem string // why not all of it can be told; "" where it can
}

func (k known) isRunning() bool { return k.state == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING }

// key is the end of the id, and the name of the folder.
func (k known) key() string {
	if !k.folder.IsZero() {
		return store.Base(k.folder.Path())
	}
	return k.id[strings.LastIndex(k.id, "-")+1:]
}

// mostListed is how many migrations a service is asked for.
const mostListed = 200

// all gives the migrations, the newest first.
func (p *place) all(ctx context.Context) ([]known, error) {
	found, err := migrationsIn(p.work())
	if err != nil {
		return nil, err
	}
	if p.service != nil {
		joined, err := join(ctx, p.service, found)
		switch {
		case err == nil:
			found = joined
		case !p.ends():
			return nil, err
		}
	}
	newestFirst(found)
	return found, nil
}

func newestFirst(all []known) {
	slices.SortStableFunc(all, func(a, b known) int {
		return cmp.Or(b.begun.Compare(a.begun), strings.Compare(a.id, b.id))
	})
}

// migrationsIn gives the migrations of a work place, the newest first.
func migrationsIn(work string) ([]known, error) {
	folders, err := migration.All(work)
	if err != nil {
		return nil, lookError(work, err)
	}
	all := make([]known, len(folders))
	someAtOnce(len(folders), func(i int) { all[i] = knownIn(folders[i]) })
	found := slices.DeleteFunc(all, func(k known) bool { return k.id == "" }) // it has not begun
	newestFirst(found)
	return found, nil
}

// knownIn gives the migration of a folder; one without an id has not begun. A folder that cannot be
// read is told with its problem: its key is its id then, unless its options tell.
func knownIn(folder migration.Folder) known {
	k := known{folder: folder}
	start, err := folder.Start()
	spec, specErr := folder.Spec()
	if specErr == nil {
		k.spec = spec
	}
	switch {
	case err == nil:
		k.id, k.begun = start.ID, start.StartedAt
		err = specErr
	case errors.Is(err, migration.ErrAbsent):
		// It has not begun. Perhaps it could not.
		failure, failureErr := folder.Failure()
		if err = failureErr; err == nil {
			k.id, k.begun, k.spec = failure.Spec.ID, failure.At, failure.Spec
		} else if !errors.Is(err, migration.ErrAbsent) {
			k.id = k.key()
		}
	default:
		k.id = cmp.Or(k.spec.ID, k.key())
	}
	if err != nil && !errors.Is(err, migration.ErrAbsent) {
		k.problem = err.Error()
	}
	return k
}

func lookError(work string, err error) error {
	if !store.IsURL(work) {
		return err
	}
	return fmt.Errorf("cannot look for migrations: %w; %s", err, bucketAdvice(err))
}

// someAtOnce does something for each of n. In a bucket each look takes a request.
func someAtOnce(n int, do func(i int)) {
	const atOnce = 16
	places := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i := range n {
		places <- struct{}{}
		all.Go(func() {
			do(i)
			<-places
		})
	}
	all.Wait()
}

// join adds what the service knows.
func join(ctx context.Context, s *session.Service, found []known) ([]known, error) {
	found = slices.Clone(found)
	at, ofKey := map[string]int{}, map[string]int{}
	for i, k := range found {
		at[k.id] = i
		if k.problem != "" && k.id == k.key() {
			ofKey[k.id] = i // its folder does not tell its id, the service does
		}
	}
	ctx, cancel := context.WithTimeout(ctx, session.AnswerTimeout)
	defer cancel()
	var token []byte
	for n := 0; n < mostListed; {
		page, err := s.Client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Query: "WorkflowType = 'MigrationWorkflow'", PageSize: mostListed, NextPageToken: token,
		})
		if err != nil {
			return nil, fmt.Errorf("the Temporal service does not list its migrations: %w", err)
		}
		for _, e := range page.GetExecutions() {
			id := e.GetExecution().GetWorkflowId()
			i, ok := at[id]
			if n, named := ofKey[id[strings.LastIndex(id, "-")+1:]]; named && !ok {
				i, ok, at[id], found[n].id = n, true, n, id
			}
			if !ok {
				i = len(found)
				found, at[id] = append(found, known{id: id}), i
			}
			if k := &found[i]; k.run == "" { // the newest run comes first
				k.run, k.state, k.queue = e.GetExecution().GetRunId(), e.GetStatus(), e.GetTaskQueue()
				if k.begun.IsZero() {
					k.begun = e.GetStartTime().AsTime()
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

// latestFirst puts those that run before the others; of both, the one that began last comes first.
func latestFirst(newest []known) []known {
	return slices.SortedStableFunc(slices.Values(newest), func(a, b known) int {
		switch {
		case a.isRunning() == b.isRunning():
			return 0
		case a.isRunning():
			return -1
		}
		return 1
	})
}

// choose gives the one migration that the words mean: its id, the key at its
// end, or a part that no other one has. A part that several have means the one
// of them that runs.
func choose(all []known, words string) (known, error) {
	for _, is := range []func(known) bool{
		func(k known) bool { return k.id == words },
		func(k known) bool { return k.key() == words },
		func(k known) bool { return strings.Contains(k.id, words) },
		func(k known) bool { return strings.Contains(k.spec.InputName(), words) }, // of which the id has a part only
	} {
		var fit, running []known
		for _, k := range all {
			if is(k) {
				fit = append(fit, k)
				if k.isRunning() {
					running = append(running, k)
				}
			}
		}
		switch {
		case len(fit) == 1:
			return fit[0], nil
		case len(running) == 1:
			return running[0], nil
		case len(fit) > 1:
			return known{}, fmt.Errorf("%d migrations have %q in their id; expected one of\n%s", len(fit), words, ids(fit))
		}
	}
	if len(all) == 0 {
		return known{}, fmt.Errorf("no migration is known, so none is %q", words)
	}
	return known{}, fmt.Errorf("no migration has %q in its id; expected one of\n%s", words, ids(all))
}

// ids lists some for a person to choose from.
func ids(all []known) string {
	const most = 10
	var b strings.Builder
	for _, k := range all[:min(most, len(all))] {
		b.WriteString("  " + k.id)
		if k.isRunning() {
			b.WriteString(" (running)")
		}
		b.WriteByte('\n')
	}
	if more := len(all) - most; more > 0 {
		fmt.Fprintf(&b, "  and %d more; starter list has them all\n", more)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// find gives the migration that the command line means. Without words it is
// the latest one.
func (p *place) find(ctx context.Context, words string) (known, error) {
	all, err := p.all(ctx)
	if err != nil {
		return known{}, err
	}
	if words != "" {
		k, err := choose(all, words)
		if err != nil {
			return k, fmt.Errorf("%w\n(looked for in %s)", err, p.text())
		}
		err = p.look(ctx, &k)
		return k, err
	}
	if len(all) == 0 {
		return known{}, fmt.Errorf("no migration was found in %s; give the --state-dir, --work-url or --address of the one that is meant", p.text())
	}
	var first error
	for _, k := range latestFirst(all) {
		err := p.look(ctx, &k)
		if err == nil || isOfService(err) {
			return k, err
		}
		first = cmp.Or(first, err) // another one is well
	}
	return known{}, first
}

// isOfService says whether an error has to do with the service, not with the one workflow that was
// asked for.
func isOfService(err error) bool {
	var unavailable *serviceerror.Unavailable
	var late *serviceerror.DeadlineExceeded
	return errors.As(err, &unavailable) || errors.As(err, &late) || errors.Is(err, context.DeadlineExceeded)
}

// look asks the service how a migration stands; its list lags behind.
func (p *place) look(ctx context.Context, k *known) error {
	if p.service == nil {
		k.run, k.state = "", enumspb.WORKFLOW_EXECUTION_STATUS_UNSPECIFIED
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, session.AnswerTimeout)
	defer cancel()
	d, err := p.service.Client.DescribeWorkflowExecution(ctx, k.id, "")
	var notFound *serviceerror.NotFound
	if errors.As(err, &notFound) {
		// Another service has it, or this one has forgotten it.
		k.run, k.state = "", enumspb.WORKFLOW_EXECUTION_STATUS_UNSPECIFIED
		return nil
	}
	if err != nil && p.ends() {
		return p.look(ctx, k)
	}
	if err != nil {
		return fmt.Errorf("the Temporal service does not answer: %w", err)
	}
	info := d.GetWorkflowExecutionInfo()
	k.run, k.state, k.queue = info.GetExecution().GetRunId(), info.GetStatus(), info.GetTaskQueue()
	if k.folder.IsZero() {
		if k.spec, err = specOf(ctx, p.service, k.id, k.run); err != nil {
			return err
		}
		folder := k.spec.Folder
		if start, err := folder.Start(); err == nil && start.ID == k.id {
			k.folder = folder
		}
	}
	return nil
}

// ends says whether the engine of the state folder, which does not answer any
// more, comes to its end. Then the folder tells what is known.
func (p *place) ends() bool {
	if !p.service.Ends() {
		return false
	}
	p.close()
	p.service = nil
	return true
}

// specOf gives the options that a run of a migration was begun with.
func specOf(ctx context.Context, s *session.Service, id, run string) (spec migration.Spec, err error) {
	events := s.Client.GetWorkflowHistory(ctx, id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	if !events.HasNext() {
		return spec, fmt.Errorf("the Temporal service has no history of %s", id)
	}
	event, err := events.Next()
	if err != nil {
		return spec, fmt.Errorf("the Temporal service does not show the history of %s: %w", id, err)
	}
	err = converter.GetDefaultDataConverter().FromPayloads(event.GetWorkflowExecutionStartedEventAttributes().GetInput(), &spec)
	return spec, err
}

// text says where was looked.
func (p *place) text() string {
	if p.service != nil && !p.service.IsEmbedded() {
		return "the Temporal service and " + p.home.text()
	}
	return p.home.text()
}

// complete offers the ids of the work place to the shell.
func (p *place) complete(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	if p.home.complete(os.Getenv) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	found, _ := migrationsIn(p.work())
	var words []string
	for _, k := range found {
		words = append(words, k.id)
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}
