package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/proof/check"
)

var (
	wasMigrated   = regexp.MustCompile("was migrated already")
	restoreAdvice = regexp.MustCompile("restore (it|the file)")
)

// migrate reruns the command until the migration is done. It returns the last exit
// code, and false if it was not completed.
func (e *episode) migrate(ctx context.Context) (code int, done bool) {
	e.begun = time.Now()
	deadline := time.After(e.limit)
	for calm := 0; ; {
		began := time.Now()
		p, err := e.command()
		if err != nil {
			e.tell(comesToItsEnd, "%v", err)
			return 0, false
		}
		e.mu.Lock()
		e.starter = p
		e.mu.Unlock()
		select {
		case <-p.done:
		case <-ctx.Done():
			return 0, false
		case <-deadline:
			e.hang(p)
			return 0, false
		}
		code = p.code()
		e.say("%s ended with exit code %d after %s (%d calls so far)", p.name, code, time.Since(began).Round(10*time.Millisecond), e.platform.creations())
		if code > 0 && code != migration.ExitFailed {
			e.say("%s", lastLines(p.errors(), 2))
		}
		switch {
		case p.killed.Load():
			e.mu.Lock()
			pause := e.pause
			e.mu.Unlock()
			time.Sleep(pause)
			continue
		case code == migration.ExitDone || code == migration.ExitFailed:
			return code, true
		case code == migration.ExitCannotRun && wasMigrated.MatchString(p.errors()):
			// It was killed after its last step.
			return e.summaryCode()
		case e.isChanged():
			if !e.restoreAdvice(ctx, p) {
				return code, false
			}
			continue
		case e.unexplained(began.Add(-10 * time.Second)):
			// Only records that stay unknown through all rounds need no cause.
			calm++
			if code == migration.ExitUnknown && calm >= e.calmUnknown() && e.leavesUnknown() {
				return code, true
			}
			if code != migration.ExitUnknown || calm > 3 {
				e.tell(comesToItsEnd, "%s ended with exit code %d, and nothing had happened to it: %s", p.name, code, lastLines(p.errors(), 5))
				return code, false
			}
		}
		if code == migration.ExitStopped || code == migration.ExitUnknown {
			e.checkBetween(p)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// summaryCode is the exit code that follows from the last summary.
func (e *episode) summaryCode() (int, bool) {
	path, err := e.summary()
	var s migration.Summary
	if err == nil {
		err = json.Unmarshal([]byte(read(path)), &s)
	}
	if err != nil {
		e.tell(comesToItsEnd, "the migration is done, and its summary cannot be read: %v", err)
		return 0, false
	}
	return s.Records.ExitCode(), true
}

func (e *episode) summary() (string, error) {
	found, err := filepath.Glob(filepath.Join(e.out, "summary_*.json"))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("expected one summary in %s, found %d", e.out, len(found))
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}

// checkBetween verifies that a stopped migration, too, has one disposition for every
// record. It skips the check while a worker is suspended.
func (e *episode) checkBetween(p *process) {
	e.mu.Lock()
	asleep := len(e.sleepers) > 0 || e.active > 0
	e.mu.Unlock()
	summary, err := e.summary()
	if asleep || err != nil {
		return
	}
	m, err := e.migration(summary)
	if err != nil {
		e.tell(comesToItsEnd, "%v", err)
		return
	}
	broken, err := check.Check(m)
	if err != nil {
		e.tell(check.OneDisposition, "after %s: %v", p.name, err)
	}
	for _, b := range broken {
		e.tell(b.Invariant, "after %s, which was stopped: %s", p.name, b.What)
	}
	e.count.add(func(f *figures) { f.Between++ })
}

// migration is what the checker is to know, with the log of the target up to date.
func (e *episode) migration(summary string) (check.Migration, error) {
	ledgers, _ := filepath.Glob(filepath.Join(e.work, "migrations", "*", "ledger"))
	m := check.Migration{
		Input: e.original, Summary: summary, Before: e.before, BatchSize: e.batch,
		Late: e.has(stop, delayCalls), Emails: e.emails,
	}
	if len(ledgers) == 1 {
		m.Ledger = ledgers[0]
	}
	return m, e.platform.complete(&m)
}

// hang reports the state of all processes if the migration does not end.
func (e *episode) hang(starter *process) {
	e.tell(comesToItsEnd, "it did not end within %s; see %s", e.limit.Round(time.Second), e.dir)
	e.mu.Lock()
	all := append([]*process(nil), e.all...)
	e.mu.Unlock()
	for _, p := range all {
		if p.hasEnded() {
			continue
		}
		p.dump()
		text := p.errors()
		before, goroutines, _ := strings.Cut(text, "SIGQUIT: quit")
		e.say("--- %s\n%s\n%s", p.name, lastLines(before, 10), firstLines(goroutines, 40))
	}
	e.say("--- %d calls, %d claims, %d outcomes; the starter was %s", e.platform.creations(), e.witness.Claims(), e.witness.Outcomes(), starter.name)
	for _, dir := range slices.Compact([]string{e.state, e.work, e.out}) {
		_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err != nil || strings.Contains(path, "/ledger/") {
				return nil //nolint:nilerr // files come and go meanwhile
			}
			if info, err := entry.Info(); err == nil && !entry.IsDir() {
				e.say("%s %d bytes, %s", path, info.Size(), info.ModTime().Format(time.TimeOnly))
			}
			return nil
		})
	}
}

func firstLines(text string, n int) string {
	lines := strings.SplitN(text, "\n", n+1)
	return strings.Join(lines[:min(n, len(lines))], "\n")
}

// truthCounter counts the calls in the truth log without reading twice.
type truthCounter struct {
	path   string
	mu     sync.Mutex
	offset int64
	n      int
}

func (c *truthCounter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, err := os.Open(c.path)
	if err != nil {
		return c.n
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(c.offset, io.SeekStart); err != nil {
		return c.n
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return c.n
	}
	end := bytes.LastIndexByte(data, '\n') + 1
	c.offset += int64(end)
	c.n += bytes.Count(data[:end], []byte(`"endpoint":"entity.bulkCreate"`))
	return c.n
}
