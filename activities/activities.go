// Package activities does all I/O of a migration: it reads the input, calls the
// target, and writes the ledger and the artifacts.
//
// Every activity may be run again at any moment, by any worker: after a crash,
// by a retry, after a reset of the workflow. The ledger, not the activity,
// prevents what must not happen twice. Only numbers, names and classes of errors
// go to and from Temporal, never the content of a record.
package activities

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"filippo.io/age"

	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
)

// HeartbeatTimeout is how soon a dead worker is noticed. A live one heartbeats
// several times within it.
const HeartbeatTimeout = 6 * time.Second

const heartbeatInterval = 1500 * time.Millisecond

// Target is the platform that is written to, as far as a load needs it.
type Target interface {
	// Check finds out, before anything is sent, that the target can be used.
	Check(ctx context.Context) error
	// EntityType returns the schema.
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
	work     []string // the state folders and work URLs whose runs it accepts
	connect  Connect
	log      *slog.Logger
	observer Observer
	// identities open the previous values of updated records, where these are
	// encrypted.
	identities []age.Identity
	notices    *notify.Sender // nil: no notices
	drain      chan struct{}
	drained    sync.Once
	firstProbe time.Duration // see pace.Config; 0 is its default

	mu   sync.Mutex
	runs map[Run]*opening
}

// New makes the activities of this process, for the runs in its state folders and work
// URLs.
func New(work []string, connect Connect, log *slog.Logger) *Activities {
	return &Activities{work: work, connect: connect, log: log, observer: noObserver{}, drain: make(chan struct{}), runs: map[Run]*opening{}}
}

// OpenUndo sets the keys to encrypted previous values, for rollbacks. Call it before the
// first activity.
func (a *Activities) OpenUndo(identities []age.Identity) { a.identities = identities }

// NotifyWith sets the sender of notices; nil sends none. Call it before the first
// activity.
func (a *Activities) NotifyWith(s *notify.Sender) { a.notices = s }

// Drain stops this process from starting further calls that load or update records. Calls
// in flight end, and their outcomes are written down.
func (a *Activities) Drain() { a.drained.Do(func() { close(a.drain) }) }

// Close releases the slots of this process for other workers. Call it when no activity
// runs.
func (a *Activities) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	for _, o := range a.openRuns() {
		o.common().gate.Close(ctx)
	}
}
