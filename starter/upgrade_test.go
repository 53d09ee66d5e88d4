package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"durable-dataload/internal/fakeusers"
)

// The database of the embedded engine belongs to one version of it. A migration
// that another version has started resumes from its ledger.
func TestAMigrationResumesUnderAnotherEngine(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t, "--latency", "20ms")
	m := l.migration(s, l.users(fakeusers.Options{Records: 200, Seed: 91}), 5, "--rate-limit", "20", "--retry-backoff", "100ms")
	first := m.startUntil(5)
	first.kill()

	engine := filepath.Join(m.state, "engine")
	files, err := filepath.Glob(filepath.Join(engine, "temporal-*.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no database in %s: %v", engine, err)
	}
	for _, file := range files {
		_, suffix, _ := strings.Cut(filepath.Base(file), ".db")
		must(t, os.Rename(file, filepath.Join(engine, "temporal-0.1.0.db"+suffix)))
	}
	p := m.run(0)
	m.check()
	if said := p.errors(); !strings.Contains(said, "another version") || !strings.Contains(said, "temporal-0.1.0.db ") || strings.Contains(said, ".db-wal") {
		t.Errorf("it said\n%s\nwant the other engine's database named", said)
	}
	if _, err := os.Stat(filepath.Join(engine, "temporal-0.1.0.db")); err != nil {
		t.Errorf("the other engine's database is gone: %v", err)
	}

	again := l.migration(s, l.users(fakeusers.Options{Records: 10, Seed: 92}), 5)
	again.state = m.state
	p = again.run(0)
	if strings.Contains(p.errors(), "another version") {
		t.Errorf("it is said a second time:\n%s", p.errors())
	}
}
