package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/migration"
)

func TestFindMigration(t *testing.T) {
	dir := t.TempDir()
	begin := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	for i, m := range []struct{ key, id string }{
		{"aaaa00000001", "migration-users.csv-aaaa00000001"},
		{"cccc00000003", "migration-others.csv-cccc00000003"}, // the latest
		{"bbbb00000002", "migration-users.csv-bbbb00000002"},
		{"aaaa00000001-2", "migration-users.csv-aaaa00000001-2"},
	} {
		at := begin.Add(time.Duration(i) * time.Minute)
		if m.key == "cccc00000003" {
			at = begin.Add(time.Hour)
		}
		if _, err := migration.In(dir, m.key).CreateStart(migration.Start{ID: m.id, StartedAt: at, Stamp: "stamp"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(string(migration.In(dir, "never-begun")), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text   string
		latest bool
		want   string // key, or words of the error
	}{
		{"migration-users.csv-aaaa00000001", false, "aaaa00000001"}, // a part of another one as well
		{"aaaa00000001", false, "aaaa00000001"},
		{"aaaa00000001-2", false, "aaaa00000001-2"},
		{"others", false, "cccc00000003"},
		{"", true, "cccc00000003"},
		{"users.csv", false, "3 migrations have \"users.csv\" in their id"},
		{"nobody", false, "has no migration nobody"},
		{"never-begun", false, "has no migration never-begun"},
	} {
		k, err := findMigration(dir, c.text, c.latest)
		if err != nil {
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q: %v, want %q", c.text, err, c.want)
			}
			continue
		}
		if got := k.folder; got != migration.In(dir, c.want) || !strings.Contains(k.start.ID, c.want) {
			t.Errorf("%q, latest %v: %s, %s; want %s", c.text, c.latest, got, k.start.ID, c.want)
		}
	}
	if _, err := findMigration(t.TempDir(), "", true); err == nil || !strings.Contains(err.Error(), "has no migration") {
		t.Errorf("the latest of none: %v", err)
	}
}
