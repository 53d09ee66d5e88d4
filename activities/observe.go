package activities

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/target"
)

// Observer receives what this process does, for metrics and traces: names of hosts,
// numbers and classes of reasons, and nothing of a record. It is called concurrently, and
// its callers wait for it.
type Observer interface {
	// Request is called before each HTTP request to a target, of every kind; done, when
	// the request has ended.
	Request(target string) (done func())
	// Called is called after a call that loaded a part of a batch. ctx is that of the
	// activity.
	Called(ctx context.Context, target string, key ledger.Key, records int, answer target.Answer)
	// Batch is called for each batch that a round has decided.
	Batch(target string)
	// Records receives how many records of a batch got an outcome. A record gets one in
	// every round that it is in.
	Records(target string, outcome ledger.Outcome, n int)
}

// Observe sets the observer of this process. Call it before the first activity.
func (a *Activities) Observe(o Observer) { a.observer = o }

// noObserver is the Observer of a process without metrics.
type noObserver struct{}

func (noObserver) Request(string) func() { return func() {} }
func (noObserver) Called(context.Context, string, ledger.Key, int, target.Answer) {
}
func (noObserver) Batch(string)                        {}
func (noObserver) Records(string, ledger.Outcome, int) {}

// observed adds the observer to a hook before a call.
func (c *core) observed(before func(context.Context) (func(), error)) func(context.Context) (func(), error) {
	host := c.spec.Target.Host()
	return func(ctx context.Context) (func(), error) {
		release, err := before(ctx)
		if err != nil {
			return nil, err
		}
		done := c.activities.observer.Request(host)
		return func() {
			done()
			if release != nil {
				release()
			}
		}, nil
	}
}

// observeOutcomes reports outcomes that this process has decided to the observer.
// Records with the outcome before have it since an earlier decision.
func (c *core) observeOutcomes(outcomes ledger.Outcomes, before ledger.Outcome) {
	n := map[ledger.Outcome]int{}
	for i := range len(outcomes.Letters) {
		n[ledger.Outcome(outcomes.Letters[i])]++
	}
	delete(n, ledger.None)
	delete(n, before)
	for outcome, records := range n {
		c.activities.observer.Records(c.spec.Target.Host(), outcome, records)
	}
}

// observeBatch is observeOutcomes, and remembers the batch if it is left unknown.
func (m *migrationRun) observeBatch(ctx context.Context, key ledger.Key, outcomes ledger.Outcomes, before ledger.Outcome) {
	m.observeOutcomes(outcomes, before)
	if unknown := strings.Count(outcomes.Letters, string(rune(ledger.Unknown))); unknown > 0 && before != ledger.Unknown {
		since := time.Now()
		if first, err := m.ledger.ClaimOf(ctx, ledger.Key{Batch: key.Batch}); err == nil {
			since = first.At
		}
		m.lost.add(key, unknown, since)
	}
}

// lost are the batches of a run that this process has left unknown.
type lost struct {
	mu      sync.Mutex
	batches map[int]lostBatch
}

type lostBatch struct {
	round, records int
	since          time.Time // the first attempt at it
}

func (l *lost) add(key ledger.Key, records int, since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.batches == nil {
		l.batches = map[int]lostBatch{}
	}
	b := l.batches[key.Batch]
	if b.round != key.Round {
		b = lostBatch{}
	}
	l.batches[key.Batch] = lostBatch{round: key.Round, records: b.records + records, since: since}
}

// count counts the records that are still unknown, and says since when the oldest is. A
// batch that a later round has decided, in any process, is forgotten. The lock is not
// held while decided reads the ledger.
func (l *lost) count(lastRound int, decided func(ledger.Key) bool) (records int, since time.Time) {
	l.mu.Lock()
	batches := maps.Clone(l.batches)
	l.mu.Unlock()
	for batch, b := range batches {
		if b.isDecided(batch, lastRound, decided) {
			l.forget(batch, b)
			continue
		}
		records += b.records
		if since.IsZero() || b.since.Before(since) {
			since = b.since
		}
	}
	return records, since
}

func (b lostBatch) isDecided(batch, lastRound int, decided func(ledger.Key) bool) bool {
	for round := b.round + 1; round <= lastRound; round++ {
		if decided(ledger.Key{Round: round, Batch: batch}) {
			return true
		}
	}
	return false
}

// forget forgets a batch, unless it was changed meanwhile.
func (l *lost) forget(batch int, b lostBatch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.batches[batch] == b {
		delete(l.batches, batch)
	}
}

// Statuses visits the runs that this process has worked for and that are not over: their
// status, and the state of their gates. A run that cannot be read is left out.
func (a *Activities) Statuses(visit func(migration.RunStatus, limiter.Gate)) {
	for _, o := range a.openRuns() {
		c := o.common()
		if sealed, err := c.folder.Sealed(c.run.ID); err != nil || sealed {
			continue
		}
		gate := c.gate.State()
		s := migration.RunStatus{Target: c.spec.Target.Host(), Paused: gate.Paused}
		if m, ok := o.(*migrationRun); ok {
			var err error
			if s.Round, err = m.of.LastRound(); err != nil {
				continue
			}
			s.Unknown, s.UnknownSince = m.lost.count(s.Round, func(key ledger.Key) bool {
				_, err := m.ledger.Decided(context.Background(), ledger.ByCall, key)
				return err == nil
			})
		}
		visit(s, gate)
	}
}
