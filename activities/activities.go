// Package activities does all I/O of a migration: it reads the input, calls the
// target, and writes the ledger and the artifacts.
//
// Every activity may be run again at any moment, by any worker: after a crash,
// by a retry, after a reset of the workflow. What must not happen twice is held
// by the ledger, not by the activity. What goes to and from Temporal are
// numbers, names and classes of errors, never what stands in a record.
package activities

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"filippo.io/age"
	"go.temporal.io/sdk/activity"

	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/mapping"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
	"durable-dataload/internal/pace"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/validate"
)

// HeartbeatTimeout is how soon a dead worker is noticed. A live one heartbeats
// several times within it.
const HeartbeatTimeout = 6 * time.Second

const heartbeatInterval = 1500 * time.Millisecond

// Target is the platform that is written to, as far as a load needs it.
type Target interface {
	// Check finds out, before anything is sent, that the target can be used.
	Check(ctx context.Context) error
	// EntityType gives the schema.
	EntityType(ctx context.Context) (identitycloud.Schema, error)
	// NewBody encodes a batch, CreateBatch sends it, once.
	NewBody(records [][]byte) (identitycloud.Body, error)
	CreateBatch(ctx context.Context, body identitycloud.Body) identitycloud.Answer
	// FindEntities looks whole records up by an attribute, FindWritten by when they
	// were written, and View gives one.
	FindWritten(ctx context.Context, w identitycloud.Written, after int64, most int) ([]identitycloud.Entity, error)
	FindEntities(ctx context.Context, attribute string, keys []string) ([]identitycloud.Entity, error)
	View(ctx context.Context, ref identitycloud.Ref) (identitycloud.Entity, error)
	// Update sets some attributes of a record, Replace one plural. Both may be
	// repeated.
	Update(ctx context.Context, ref identitycloud.Ref, attributes []byte) error
	Replace(ctx context.Context, ref identitycloud.Ref, attribute string, value []byte) error
	// Delete removes a record. By uuid it may be repeated.
	Delete(ctx context.Context, ref identitycloud.Ref) error
	// Count counts all entities of the type.
	Count(ctx context.Context) (int64, error)
}

var _ Target = (*identitycloud.Client)(nil)

// Connect makes a target, with credentials that this process has, and with the
// hooks that the activities need around its calls.
type Connect func(spec migration.Spec, with func(*identitycloud.Config)) (Target, error)

// Activities are the activities of one worker process.
type Activities struct {
	work     []string // the work places whose folders it takes
	connect  Connect
	log      *slog.Logger
	observer Observer
	// identities open the previous values of updated records, where these are
	// encrypted.
	identities []age.Identity
	notices    *notify.Sender // nil: nobody is to be notified
	drain      chan struct{}
	drained    sync.Once
	firstProbe time.Duration // see pace.Config; 0 = as it is there

	mu   sync.Mutex
	runs map[Run]*opening
}

// New makes the activities of this process, for the migrations of its work places:
// state folders and URLs in buckets.
func New(work []string, connect Connect, log *slog.Logger) *Activities {
	return &Activities{work: work, connect: connect, log: log, observer: nobody{}, drain: make(chan struct{}), runs: map[Run]*opening{}}
}

// OpenUndo gives this process the keys to previous values that are encrypted, for
// rollbacks. Call it before the first activity.
func (a *Activities) OpenUndo(identities []age.Identity) { a.identities = identities }

// NotifyWith gives this process somebody to notify; nil is nobody. Call it before
// the first activity.
func (a *Activities) NotifyWith(s *notify.Sender) { a.notices = s }

// Drain stops this process from starting any further call that loads or updates
// records.
// Calls in flight end, and their outcomes are written down.
func (a *Activities) Drain() { a.drained.Do(func() { close(a.drain) }) }

// Close gives other workers what this process does not need any more. Call it when
// no activity runs.
func (a *Activities) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	for _, o := range a.openRuns() {
		o.gate.Close(ctx)
	}
}

// Run names one run of a migration. Everything else about it is in its folder,
// so that the history stays small.
type Run struct {
	Folder migration.Folder `json:"folder"`
	// ID is the run id of the MigrationWorkflow.
	ID string `json:"run"`
}

// opened is what the activities of one run share in this process.
type opened struct {
	run      Run
	spec     migration.Spec
	start    migration.Start
	folder   migration.Folder
	index    *source.Index
	staged   store.Pieces
	ledger   *ledger.Ledger
	gate     *pace.Gate
	target   Target
	encoder  *mapping.Encoder
	clock    clock
	observer Observer
	lost     lost
	failures failures
	twins    *validate.Twins     // of a delta migration, else nil
	rollback *migration.Rollback // nil: a migration. Then index and staged are of the items.
	// verification is nil unless a migration is read back; of is the folder of
	// that migration then, of which all is but the gate.
	verification *migration.Verification
	of           migration.Folder
	listing      sync.Mutex
	lists        map[int]*roundList // of retry rounds, as they are needed
	originMu     sync.Mutex
	originOf     *origin // of a rollback, when it is needed
	schemaMu     sync.Mutex
	schemaOf     *identitycloud.Schema // nil until the target has told it
	keys         *migration.Keys       // likewise

	// prepared bounds the batches that are in memory, encoded: those in flight
	// and as many that wait for their turn.
	prepared *pace.Seats
}

// opening is a run that is opened once. In a bucket that takes long, and other
// runs do not wait for it.
type opening struct {
	mu   sync.Mutex
	done atomic.Pointer[opened]
}

// open gives what a run needs. The first call in a process reads the folder.
func (a *Activities) open(run Run) (*opened, error) {
	r := a.opening(run)
	r.mu.Lock()
	defer r.mu.Unlock()
	if o := r.done.Load(); o != nil {
		return o, nil
	}
	o, err := a.openFolder(run)
	if err != nil {
		return nil, storageError(err)
	}
	r.done.Store(o)
	return o, nil
}

func (a *Activities) opening(run Run) *opening {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r, ok := a.runs[run]; ok {
		return r
	}
	// A process works for few runs; those of other runs are over, mostly. One
	// that is not has its files still: they are closed when nobody has them any
	// more (see os.File), and not here under somebody's hands.
	const keep = 8
	for other := range a.runs {
		if len(a.runs) < keep {
			break
		}
		delete(a.runs, other)
	}
	r := &opening{}
	a.runs[run] = r
	return r
}

// openRuns are those that are open.
func (a *Activities) openRuns() []*opened {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []*opened
	for _, r := range a.runs {
		if o := r.done.Load(); o != nil {
			all = append(all, o)
		}
	}
	return all
}

func (a *Activities) openFolder(run Run) (_ *opened, err error) {
	folder := run.Folder
	o := &opened{run: run, folder: folder, of: folder}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	rollback, err := folder.Rollback()
	if err == nil && rollback.Migration != "" {
		if err := a.takes(rollback.Migration); err != nil {
			return nil, err
		}
	}
	if err == nil {
		if o.start, err = folder.Start(); err != nil {
			return nil, err
		}
		if err := o.openLedger(); err != nil {
			return nil, err
		}
		return o, a.openRollback(o, rollback)
	}
	if !errors.Is(err, migration.ErrAbsent) {
		return nil, err
	}
	verification, err := folder.Verification()
	if err == nil {
		if err := a.takes(verification.Migration); err != nil {
			return nil, err
		}
		o.verification, o.of = &verification, verification.Migration
	} else if !errors.Is(err, migration.ErrAbsent) {
		return nil, err
	}
	if o.spec, err = o.of.Spec(); err != nil {
		return nil, err
	}
	if o.start, err = folder.Start(); err != nil {
		return nil, err
	}
	if o.index, err = source.OpenIndex(o.of.Index()); err != nil {
		return nil, err
	}
	if o.staged, err = store.OpenPieces(o.of.Staged()); err != nil {
		return nil, err
	}
	m, err := o.of.ReadMapping(o.spec)
	if err != nil {
		return nil, err
	}
	if o.encoder, err = o.spec.Encoder(o.index.Header(), m); err != nil {
		return nil, err
	}
	if o.spec.Delta {
		if o.twins, err = validate.OpenTwins(o.of.Twins()); err != nil {
			return nil, err
		}
	}
	if o.verification != nil {
		o.spec = verification.Spec(o.spec)
	}
	if err := o.openLedger(); err != nil {
		return nil, err
	}
	return o, a.connectTarget(o)
}

// openLedger opens the ledger, or gives ledger.ErrGone.
func (o *opened) openLedger() error {
	entries, err := ledger.OpenFolder(o.of.Ledger())
	if err == nil {
		o.ledger = ledger.New(entries)
	}
	return err
}

// openRollback is openFolder for a rollback; it leaves out the ledger.
func (a *Activities) openRollback(o *opened, r migration.Rollback) (err error) {
	o.rollback, o.spec = &r, r.Connection()
	if o.index, err = source.OpenIndex(o.folder.Index()); err != nil {
		return err
	}
	if o.staged, err = store.OpenPieces(o.folder.Items()); err != nil {
		return err
	}
	return a.connectTarget(o)
}

// connectTarget is what all calls of a run share.
func (a *Activities) connectTarget(o *opened) (err error) {
	o.observer = a.observer
	if o.gate, err = a.newGate(o); err != nil {
		return err
	}
	o.prepared = pace.NewSeats()
	o.target, err = a.connect(o.spec, func(cfg *identitycloud.Config) {
		cfg.BeforeCall = o.observed(o.gate.BeforeCall)
		cfg.Answered = o.clock.saw
		cfg.Judged = a.judged(o.gate)
	})
	return err
}

func (o *opened) close() {
	if o.index != nil {
		_ = o.index.Close()
	}
	if o.staged != nil {
		_ = o.staged.Close()
	}
	if o.twins != nil {
		_ = o.twins.Close()
	}
	if o.originOf != nil {
		o.originOf.close()
	}
	for _, list := range o.lists {
		list.close()
	}
}

// batchRecords reads a batch from the copy of the input and gives its records.
func (o *opened) batchRecords(batch int) (source.Batch, []source.Record, error) {
	b, err := o.index.Batch(batch)
	if err != nil {
		return b, nil, err
	}
	data, err := source.ReadBatch(o.staged, b)
	if err != nil {
		return b, nil, fmt.Errorf("the migration's own copy of the input is damaged: %w", err)
	}
	return b, records(b, data), nil
}

func records(b source.Batch, data []byte) []source.Record {
	all := make([]source.Record, 0, b.Records)
	for r := range source.Records(b, data) {
		all = append(all, r)
	}
	return all
}

// roundBatch is the batch that stands at a position (from 1) of a round.
func (o *opened) roundBatch(round, position int) (int, error) {
	if round == 0 {
		return position, nil
	}
	list, err := o.roundList(round)
	if err != nil {
		return 0, err
	}
	return list.batch(position)
}

// roundLength is the number of batches of a round.
func (o *opened) roundLength(round int) (int, error) {
	if round == 0 {
		return o.index.Batches(), nil
	}
	r, err := o.folder.RetryFile(round)
	return r.Batches, err
}

// heartbeat tells Temporal that this worker lives, until stop is called.
func heartbeat(ctx context.Context) (stop func()) {
	return beat(ctx, func() { activity.RecordHeartbeat(ctx) })
}

func beat(ctx context.Context, record func()) (stop func()) {
	done := make(chan struct{})
	var once sync.Once
	go func() {
		ticker := time.NewTicker(heartbeatInterval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-ticker.C:
				record()
			}
		}
	}()
	return func() { once.Do(func() { close(done) }) }
}

// restartable is for activities that only read, or write what is a function of
// the ledger: when the worker stops they end at once, and another worker begins
// them anew. It heartbeats until done is called.
func restartable(ctx context.Context) (_ context.Context, done func()) {
	stop := heartbeat(ctx)
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-ctx.Done():
		case <-activity.GetWorkerStopChannel(ctx):
			cancel(errNotSent)
		}
	}()
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// ended gives the error of an activity that is restartable.
func ended(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errNotSent) {
		return storageError(errNotSent)
	}
	return storageError(err)
}

// workerStop is closed when the worker of an activity stops; nil, which never
// is, where ctx is not that of an activity.
func workerStop(ctx context.Context) <-chan struct{} {
	if !activity.IsActivity(ctx) {
		return nil
	}
	return activity.GetWorkerStopChannel(ctx)
}

// stopping says whether this process must not begin anything new.
func (a *Activities) stopping(ctx context.Context) error {
	select {
	case <-a.drain:
		return errNotSent
	case <-workerStop(ctx):
		return errNotSent
	default:
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}

// untilStopping gives a context that ends when this process must not begin
// anything new.
func (a *Activities) untilStopping(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-ctx.Done():
		case <-a.drain:
		case <-workerStop(ctx):
		}
		cancel(errNotSent)
	}()
	return ctx, func() { cancel(nil) }
}

// errNotSent says that this worker stops: nothing was sent.
var errNotSent = errors.New("this worker is stopping; nothing was sent")
