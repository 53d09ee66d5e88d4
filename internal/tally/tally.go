// Package tally counts the outcomes in the ledger of a migration for status
// output while no workflow answers: after a kill, or if the last run could not
// start. It only reads.
package tally

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
)

// Tally is the state of the records of a migration by its ledger. Records of a
// delta migration that wait for their update are remaining, as while it runs.
type Tally struct {
	Records migration.Counts
	Rounds  []Round // 0…
	// Failed and Unknown are numbers of records by the class of their reason:
	// "api 361", "http 502".
	Failed, Unknown map[string]int
}

// Round is the result of one round.
type Round struct {
	ledger.Counts
	Recovered int
}

// Of counts a migration. One whose input was not indexed has no records.
//
// It takes one or two reads per batch, many in parallel: 10,000 batches, a million
// records at the default batch size, are counted in one or two seconds on a disk, and
// somewhat more in a bucket. It returns the error of ctx if that ends first.
func Of(ctx context.Context, folder migration.Folder) (Tally, error) {
	index, err := source.OpenIndex(folder.Index())
	if errors.Is(err, fs.ErrNotExist) {
		return Tally{}, nil
	}
	if err != nil {
		return Tally{}, err
	}
	defer func() { _ = index.Close() }()
	spec, err := folder.Spec()
	if errors.Is(err, migration.ErrAbsent) {
		return Tally{}, nil // it was refused after it was indexed
	}
	if err != nil {
		return Tally{}, err
	}
	lastRound, err := folder.LastRound()
	if err != nil {
		return Tally{}, err
	}
	c := counting{store: ledger.NewFolder(folder.Ledger()), index: index, delta: spec.Delta, lastRound: lastRound}
	return c.all(ctx, 4*store.Readers(folder.Path()))
}

type counting struct {
	store     ledger.Store
	index     *source.Index
	delta     bool
	lastRound int
}

// all counts all batches. Their order does not matter.
func (c counting) all(ctx context.Context, readers int) (Tally, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	parts := make([]Tally, readers)
	var next atomic.Int64
	var reading sync.WaitGroup
	for i := range parts {
		parts[i] = newTally(c.lastRound)
		reading.Go(func() {
			for n := int(next.Add(1)); n <= c.index.Batches() && ctx.Err() == nil; n = int(next.Add(1)) {
				if err := c.batch(ctx, n, &parts[i]); err != nil {
					cancel(err)
				}
				// A reader whose files are in memory never waits. Without this, it keeps its
				// processor for ten milliseconds at a time from the heartbeats of this process.
				runtime.Gosched()
			}
		})
	}
	reading.Wait()
	if err := context.Cause(ctx); err != nil {
		return Tally{}, err
	}
	sum := newTally(c.lastRound)
	for _, part := range parts {
		sum.add(part)
	}
	return sum, nil
}

func newTally(lastRound int) Tally {
	return Tally{Rounds: make([]Round, lastRound+1), Failed: map[string]int{}, Unknown: map[string]int{}}
}

func (c counting) batch(ctx context.Context, n int, t *Tally) error {
	b, err := c.index.Batch(n)
	if err != nil {
		return err
	}
	l := ledger.New(remembered{c.store, map[string]got{}})
	records, err := l.After(ctx, c.lastRound, n, b.Records)
	if err != nil {
		return err
	}
	if err := markClaimed(ctx, l, n, records); err != nil {
		return err
	}
	rounds := 0 // the last one that the batch was in
	for _, r := range records {
		t.count(r, c.delta)
		if rounds = max(rounds, r.Round); r.Outcome == ledger.Unknown {
			rounds = c.lastRound
		}
	}
	for round := 0; round <= rounds; round++ {
		_, counts, _, err := l.Round(ctx, round, n, b.Records)
		if err != nil {
			return err
		}
		t.Rounds[round].Add(counts)
	}
	return nil
}

// markClaimed counts records as unknown that were claimed in round 0 and have no
// outcome. In a later round they are unknown anyway.
func markClaimed(ctx context.Context, l *ledger.Ledger, batch int, records []ledger.Record) error {
	positions := make([]int, len(records))
	open := false
	for i, r := range records {
		positions[i], open = i, open || r.Outcome == ledger.None
	}
	if !open {
		return nil
	}
	return l.Visit(ctx, ledger.Key{Batch: batch}, positions, func(ledger.Key, ledger.Outcomes) {}, func(positions []int, claimed bool) {
		for _, i := range positions {
			if claimed {
				records[i] = ledger.Record{Outcome: ledger.Unknown, Reason: ledger.Abandoned}
			}
		}
	})
}

func (t *Tally) count(r ledger.Record, delta bool) {
	t.Records.Total++
	switch {
	case r.Outcome == ledger.Created:
		t.Records.Created++
	case r.Outcome == ledger.Recovered:
		t.Records.Recovered++
		t.Rounds[r.Round].Recovered++
	case r.Outcome == ledger.Updated, r.Outcome == ledger.Unchanged:
		t.Records.Updated++
	case r.Outcome == ledger.Unknown:
		t.Records.Unknown++
		t.Unknown[r.Class()]++
	case r.Outcome == ledger.None, r.Outcome == ledger.Duplicate && delta:
		t.Records.Remaining++
	default:
		t.Records.Failed++
		t.Failed[r.Class()]++
	}
}

func (t *Tally) add(other Tally) {
	ledger.AddFields(&t.Records, other.Records)
	for i, r := range other.Rounds {
		t.Rounds[i].Add(r.Counts)
		t.Rounds[i].Recovered += r.Recovered
	}
	ledger.AddClasses(&t.Failed, other.Failed)
	ledger.AddClasses(&t.Unknown, other.Unknown)
}

// Errors are the numbers of failed and unknown records by class of reason.
func (t Tally) Errors() map[string]int {
	sum := maps.Clone(t.Failed)
	ledger.AddClasses(&sum, t.Unknown)
	return sum
}

// remembered is a store that reads each entry once: the ledger requests those of a
// batch several times.
type remembered struct {
	ledger.Store
	entries map[string]got
}

type got struct {
	value []byte
	err   error
}

// Get implements ledger.Store.
func (r remembered) Get(ctx context.Context, name string) ([]byte, error) {
	if g, ok := r.entries[name]; ok {
		return g.value, g.err
	}
	value, err := r.Store.Get(ctx, name)
	r.entries[name] = got{value, err}
	return value, err
}
