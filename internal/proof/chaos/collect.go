package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/proof/check"
	"durable-dataload/internal/proof/s3server"
)

// wake resumes the workers that were suspended until the end, and waits until they
// have noticed it.
func (e *episode) wake() {
	for _, p := range e.sleepers {
		if p.hasEnded() {
			continue
		}
		text := p.errors()
		p.signal(syscall.SIGCONT)
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end) && p.errors() == text; {
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// collect writes the artifacts a second time, ends everything, and returns the
// evidence to check.
func (e *episode) collect(code int) (*evidence, error) {
	summary, err := e.summary()
	if err != nil {
		e.tell(check.OneDisposition, "the migration is done: %v", err)
		return nil, nil
	}
	first, err := check.Tables(e.out)
	if err != nil {
		return nil, err
	}
	// It may have changed so late, or where so little was left to load, that
	// nothing came of it.
	if err := e.restoreInput(); err != nil {
		return nil, err
	}
	// What stays unknown is tried again by every further run.
	if code != migration.ExitUnknown && !e.writeAgain(code) {
		return nil, nil
	}
	second, err := check.Tables(e.out)
	if err != nil {
		return nil, err
	}
	arrivals, gated, spans := between(e.target.moments(), e.begun, time.Time{}), e.target.gatedMoments(), e.ordered()
	if _, err := e.migration(summary); err != nil { // what there is before a rollback
		return nil, err
	}
	verified, undone := e.lookBack() // at its own pace
	m, err := e.migration(summary)
	if err != nil {
		return nil, err
	}
	e.stopWorkers()
	for _, s := range []*slot{e.server, e.engine, e.store} {
		if s != nil {
			s.close().kill()
		}
	}
	if err := e.stopDatabase(); err != nil {
		return nil, err
	}
	e.count.add(func(f *figures) {
		f.Decisions += e.times(isDecision)
		f.Opened += e.times(isOpened)
	})
	if e.fleet {
		e.fleetHolds(arrivals)
	}
	return &evidence{
		spans: spans, gated: gated, flight: e.flight,
		dir: e.dir, migration: m, witness: e.witness, state: e.work, first: first, second: second,
		search: e.search(), arrivals: arrivals, rate: e.rate, code: code, wantFailed: e.wantFailed,
		world: e.world, verified: verified, undone: undone,
	}, nil
}

// stopWorkers has the workers end in order.
func (e *episode) stopWorkers() {
	for _, w := range e.workers {
		p := w.close()
		p.signal(syscall.SIGTERM)
		if !p.endsIn(20 * time.Second) {
			p.dump()
			e.tell(comesToItsEnd, "%s did not exit within 20s of a SIGTERM: %s", p.name, lastLines(p.errors(), 30))
		}
	}
}

// stopDatabase has the database of a fleet write what it has in memory.
func (e *episode) stopDatabase() error {
	if e.database == nil {
		return nil
	}
	p := e.database.close()
	p.signal(syscall.SIGINT)
	if !p.endsIn(time.Minute) {
		return fmt.Errorf("%s did not exit within a minute of an interrupt: %s", p.name, lastLines(p.errors(), 3))
	}
	return nil
}

// search is where no secret and no user data may be found.
func (e *episode) search() check.Search {
	search := check.Search{Input: e.original, Secrets: []string{clientSecret, basicAuth()}, Holds: []string{"LoadBatches", "WriteArtifacts"}}
	if e.database != nil {
		search.Places = append(search.Places, e.real.Data())
	}
	if e.bucket != nil {
		search.Secrets = append(search.Secrets, s3server.SecretKey)
	}
	for _, path := range []string{
		filepath.Join(e.state, "engine"), filepath.Join(e.state, "logs"), filepath.Join(e.work, "names"),
		e.path("engine"), e.path(machines),
	} {
		if _, err := os.Stat(path); err == nil {
			search.Places = append(search.Places, path)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.all {
		if p.isForeign {
			continue
		}
		search.Places = append(search.Places, p.stdout, p.stderr)
	}
	return search
}

// writeAgain has a later run of the same migration write the artifacts once
// more: it finds nothing to load. (Without the mark that the migration is done:
// a file that is done is refused.)
func (e *episode) writeAgain(code int) bool {
	marks, err := filepath.Glob(filepath.Join(e.work, "migrations", "*", "finished.json"))
	if err != nil || len(marks) != 1 {
		e.tell(comesToItsEnd, "the migration is done, and %d migrations are marked so (%v)", len(marks), err)
		return false
	}
	if err := os.Remove(marks[0]); err != nil {
		e.tell(comesToItsEnd, "%v", err)
		return false
	}
	calls := e.platform.creations()
	var p *process
	for again := true; again; {
		began := time.Now()
		if p, err = e.command(); err != nil {
			e.tell(comesToItsEnd, "%v", err)
			return false
		}
		if !p.endsIn(time.Minute) {
			e.hang(p)
			return false
		}
		// What was killed last may not be there again yet.
		again = p.code() == migration.ExitCannotRun && !e.unexplained(began.Add(-10*time.Second))
	}
	if p.code() != code {
		e.tell(check.SameBytes, "written again, it ends with exit code %d, the first time with %d: %s", p.code(), code, lastLines(p.errors(), 5))
	}
	if now := e.platform.creations(); now != calls {
		e.tell(check.NoBlindRepeat, "%d calls were made when there was nothing to load", now-calls)
	}
	return true
}
