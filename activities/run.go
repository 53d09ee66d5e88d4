package activities

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"durable-dataload/internal/dupkeys"
	"durable-dataload/internal/evidence"
	"durable-dataload/internal/gate"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/rollback"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

// Run names one run of a migration, a rollback, a verification or an export. Everything else
// about it is in its folder, so that the history stays small.
type Run struct {
	Folder migration.RunFolder `json:"folder"`
	// ID is the run id of its workflow.
	ID string `json:"run"`
}

// core is what every kind of run has in this process: its folder, its gate and its
// target.
type core struct {
	activities *Activities
	run        Run
	folder     migration.RunFolder
	spec       migration.Spec
	start      migration.Start
	limiter    limited
	gate       *gate.Gate
	target     target.Adapter
	traits     target.Traits
	clock      evidence.DateClock

	schemaMu    sync.Mutex
	schemaKnown *target.Schema // nil until the target has told it
}

// openCore opens the part of a run that makes calls.
func (a *Activities) openCore(run Run, spec migration.Spec, start migration.Start) (_ *core, err error) {
	c := &core{activities: a, run: run, folder: run.Folder, spec: spec, start: start, limiter: a.limiterOf(spec.Target)}
	c.gate = c.newGate()
	c.target, err = a.connect(spec, target.Hooks{BeforeCall: c.observed(c.gate.BeforeCall), Answered: c.clock.Saw, Judged: judged(c.gate)})
	if err != nil {
		return nil, err
	}
	c.traits = c.target.Traits()
	return c, nil
}

func (c *core) common() *core { return c }

// migrationRun is a run that loads and updates records.
type migrationRun struct {
	*core
	*dataset
	lost          lost
	failures      failures
	duplicateKeys *dupkeys.List // of a delta migration, else nil
	prepared      room

	listing sync.Mutex
	lists   map[int]*roundList // of retry rounds, as they are needed
	keys    *migration.Keys    // nil until they are needed
}

func (a *Activities) openMigration(run Run) (_ *migrationRun, err error) {
	folder := run.Folder.Migration()
	spec, err := folder.Spec()
	if err != nil {
		return nil, err
	}
	m := &migrationRun{}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	start, err := run.Folder.Start()
	if err != nil {
		return nil, err
	}
	if m.dataset, err = openDataset(folder, spec); err != nil {
		return nil, err
	}
	if spec.Delta {
		if m.duplicateKeys, err = dupkeys.Open(folder.DuplicateKeys()); err != nil {
			return nil, err
		}
	}
	if m.ledger, err = openLedger(run.Folder); err != nil {
		return nil, err
	}
	m.core, err = a.openCore(run, spec, start)
	return m, err
}

func (m *migrationRun) close() {
	if m.dataset != nil {
		m.dataset.close()
	}
	if m.duplicateKeys != nil {
		_ = m.duplicateKeys.Close()
	}
	for _, list := range m.lists {
		list.close()
	}
}

// verificationRun is a run that reads the records of a migration back. For the
// canary it is the migration's own run, with the zero Verification: all records.
type verificationRun struct {
	*core
	*dataset
	verification migration.Verification
}

func (a *Activities) openVerification(run Run, v migration.Verification) (_ *verificationRun, err error) {
	if err := a.takes(v.Migration.RunFolder); err != nil {
		return nil, err
	}
	spec, err := v.Migration.Spec()
	if err != nil {
		return nil, err
	}
	start, err := run.Folder.Start()
	if err != nil {
		return nil, err
	}
	o := &verificationRun{verification: v}
	if o.dataset, err = openDataset(v.Migration, spec); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	if o.ledger, err = openLedger(v.Migration.RunFolder); err != nil {
		return nil, err
	}
	o.core, err = a.openCore(run, v.Spec(spec), start)
	return o, err
}

// rollbackRun is a run that undoes a migration, item by item.
type rollbackRun struct {
	*core
	rollback migration.Rollback
	index    *source.Index // of the items
	items    store.RandomReader
	ledger   *ledger.Ledger         // of the items
	origin   atomic.Pointer[origin] // nil until it is needed
	opening  sync.Mutex             // of origin
}

func (a *Activities) openBegunRollback(run Run, r migration.Rollback) (*rollbackRun, error) {
	if !r.Migration.IsZero() {
		if err := a.takes(r.Migration.RunFolder); err != nil {
			return nil, err
		}
	}
	start, err := run.Folder.Start()
	if err != nil {
		return nil, err
	}
	entries, err := openLedger(run.Folder)
	if err != nil {
		return nil, err
	}
	return a.openRollback(run, r, start, entries)
}

func (a *Activities) openRollback(run Run, r migration.Rollback, start migration.Start, entries *ledger.Ledger) (_ *rollbackRun, err error) {
	o := &rollbackRun{rollback: r, ledger: entries}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	if o.index, err = source.OpenIndex(run.Folder.Index()); err != nil {
		return nil, err
	}
	if o.items, err = store.OpenRandom(run.Folder.Rollback().Items()); err != nil {
		return nil, err
	}
	o.core, err = a.openCore(run, r.Connection(), start)
	return o, err
}

func (r *rollbackRun) readItems(batch int) ([]rollback.Item, error) {
	return rollback.Read(r.items, r.index, batch)
}

func (r *rollbackRun) close() {
	if r.index != nil {
		_ = r.index.Close()
	}
	if r.items != nil {
		_ = r.items.Close()
	}
	if m := r.origin.Load(); m != nil {
		m.close()
	}
}

// openLedger opens the ledger of a folder that has begun, which must be there: else
// the error is ledger.ErrGone.
func openLedger(folder migration.RunFolder) (*ledger.Ledger, error) {
	entries, err := ledger.OpenFolder(folder.Ledger())
	return ledger.New(entries), err
}

// opened is a *migrationRun, a *verificationRun, a *rollbackRun or an *exportRun.
type opened interface {
	common() *core
}

// opening is a run that is opened once. In a bucket that takes long, and other
// runs do not wait for it.
type opening struct {
	used int64 // the higher, the later; under Activities.mu
	mu   sync.Mutex
	done atomic.Pointer[opened]
}

// open opens a run, whatever its kind. The first call in a process reads the folder.
func (a *Activities) open(run Run) (opened, error) {
	r := a.opening(run)
	r.mu.Lock()
	defer r.mu.Unlock()
	if o := r.done.Load(); o != nil {
		return *o, nil
	}
	o, err := a.openFolder(run)
	if err != nil {
		return nil, storageError(err)
	}
	r.done.Store(&o)
	return o, nil
}

// openFolder finds out of which kind a run is: its folder has a file that says so.
func (a *Activities) openFolder(run Run) (opened, error) {
	r, err := run.Folder.Rollback().Options()
	if err == nil {
		return a.openBegunRollback(run, r)
	}
	if !errors.Is(err, migration.ErrAbsent) {
		return nil, err
	}
	v, err := run.Folder.Verification().Options()
	if err == nil {
		return a.openVerification(run, v)
	}
	if !errors.Is(err, migration.ErrAbsent) {
		return nil, err
	}
	e, err := run.Folder.Export().Options()
	switch {
	case err == nil:
		return a.openExport(run, e)
	case errors.Is(err, migration.ErrAbsent):
		return a.openMigration(run)
	}
	return nil, err
}

// openAs opens a run of one kind.
func openAs[T opened](a *Activities, run Run) (of T, err error) {
	o, err := a.open(run)
	if err != nil {
		return of, err
	}
	of, ok := o.(T)
	if !ok {
		return of, refused(fmt.Errorf("%s belongs to another operation (migration, rollback, verification or export) than its workflow; put the state folder back as it was", run.Folder))
	}
	return of, nil
}

func (a *Activities) migration(run Run) (*migrationRun, error) { return openAs[*migrationRun](a, run) }

func (a *Activities) rollback(run Run) (*rollbackRun, error) { return openAs[*rollbackRun](a, run) }

func (a *Activities) verification(run Run) (*verificationRun, error) {
	return openAs[*verificationRun](a, run)
}

// readBack opens a run to read records back: a verification, or a migration for its
// canary.
func (a *Activities) readBack(run Run) (*verificationRun, error) {
	o, err := a.open(run)
	if m, ok := o.(*migrationRun); ok {
		return &verificationRun{core: m.core, dataset: m.dataset}, nil
	}
	if err != nil {
		return nil, err
	}
	return a.verification(run)
}

func (a *Activities) opening(run Run) *opening {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.runs[run]
	if !ok {
		r = &opening{}
		a.runs[run] = r
	}
	a.uses++
	r.used = a.uses
	// Most others are over. A run that is dropped here and still at work keeps its files:
	// they are closed once nothing refers to them any more (see os.File).
	const keep = 8
	if len(a.runs) > keep {
		delete(a.runs, slices.MinFunc(slices.Collect(maps.Keys(a.runs)), func(x, y Run) int { return cmp.Compare(a.runs[x].used, a.runs[y].used) }))
	}
	return r
}

// openRuns are those that are open.
func (a *Activities) openRuns() []opened {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []opened
	for _, r := range a.runs {
		if o := r.done.Load(); o != nil {
			all = append(all, *o)
		}
	}
	return all
}
