package main

import (
	"errors"
	"strings"
	"testing"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/rollback"
)

func TestRollbackAsksForTheNumber(t *testing.T) {
	totals := rollback.Totals{Deletes: 1200, Restores: 34, Impossible: 5}
	r := migration.Rollback{Source: "migration-users.csv-00000000000a", Target: migration.Target{URI: "https://example.com", EntityType: "user"}}
	for answer, want := range map[string]bool{
		"1234\n": true, "1,234\n": true, " 1234 \r\n": true, "1234": true,
		"": false, "\n": false, "yes\n": false, "1200\n": false, "1239\n": false, "01234\n": false,
	} {
		var out strings.Builder
		err := confirm(strings.NewReader(answer), &out, totals, r)
		var usage usageError
		if want != (err == nil) || !want && !errors.As(err, &usage) {
			t.Errorf("%q: %v; want yes: %v", answer, err, want)
		}
		if text := out.String(); !strings.HasPrefix(text, "Rollback of migration-users.csv-00000000000a:\nDelete 1,200 records and restore 34 from example.com (user)?") || !strings.Contains(text, "1,234") {
			t.Errorf("it asks %q", text)
		}
	}
}
