package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/catalogue"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/rollback"
	"durable-dataload/workflows"
)

func TestAFolderThatIsDamagedIsListedWithItsProblem(t *testing.T) {
	state := t.TempDir()
	write := func(key, file, text string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Join(state, "migrations", key), 0o700))
		must(t, os.WriteFile(filepath.Join(state, "migrations", key, file), []byte(text), 0o600))
	}
	const start = `{"id": "migration-users.csv-%s", "started_at": "2026-11-22T13:0%d:00Z", "stamp": "Nov_22_2026_13_00_00"}`
	const spec = `{"id": "migration-users.csv-%[1]s", "data_file": "/data/users.csv", "target": {"apid_uri": "https://a.example"}}`
	whole, noStart, noSpec, nothing := "00000000000a", "00000000000b", "00000000000c", "00000000000d"
	write(whole, "start.json", fmt.Sprintf(start, whole, 1))
	write(whole, "spec.json", fmt.Sprintf(spec, whole))
	write(noStart, "start.json", "{")
	write(noStart, "spec.json", fmt.Sprintf(spec, noStart))
	write(noSpec, "start.json", fmt.Sprintf(start, noSpec, 2))
	write(noSpec, "spec.json", "\x00\x00")
	write(nothing, "start.json", "")
	write("lost+found", "start.json", "{") // of other programs
	must(t, os.WriteFile(filepath.Join(state, "migrations", ".DS_Store"), []byte("x"), 0o600))
	p := lookup{locations: locations{stateDir: state}}
	p.Catalogue = p.locations.catalogue()
	rows, err := p.list(context.Background())
	must(t, err)
	reasons := map[string]string{}
	for _, r := range rows {
		reasons[r.ID] = r.Reason
	}
	for id, file := range map[string]string{"migration-users.csv-" + noStart: noStart + "/start.json", "migration-users.csv-" + noSpec: noSpec + "/spec.json", nothing: nothing + "/start.json"} {
		hasAll(t, reasons[id], file+" is damaged")
	}
	if reason, listed := reasons["migration-users.csv-"+whole]; len(rows) != 4 || !listed || reason != "" {
		t.Errorf("listed are %+v; want four, of which one has no problem", rows)
	}
	if k, err := p.Find(context.Background(), catalogue.Name{}); err != nil || k.Key() != noSpec {
		t.Errorf("the latest is %s, %v; want the one that began last", k.ID, err)
	}
	if k, err := p.Find(context.Background(), catalogue.Name{Words: nothing}); err != nil || k.Problem == "" {
		t.Errorf("by its key: %+v, %v; want the folder with its problem", k, err)
	}
}

func TestSteeringArguments(t *testing.T) {
	set := steering{update: workflows.UpdateSet}
	pause := steering{update: workflows.UpdatePause}
	cases := []struct {
		s      steering
		o      steerOptions
		args   string // with | between
		id     string
		set    string
		refuse string
	}{
		{s: pause, args: "users", id: "users"},
		{s: pause, o: steerOptions{name: catalogue.Name{Latest: true}}},
		{s: pause, args: "a=b", id: "a=b"},
		{s: pause, refuse: "expected one migration"},
		{s: pause, o: steerOptions{name: catalogue.Name{Words: "users"}}, id: "users"}, // --migration
		{s: pause, o: steerOptions{name: catalogue.Name{Words: "users"}}, args: "others", refuse: `found "users" and "others"`},
		{s: pause, o: steerOptions{name: catalogue.Name{Latest: true}}, args: "users", refuse: "expected one migration"},
		{s: pause, args: "users|others", refuse: `found "users" and "others"`},
		{s: pause, o: steerOptions{reason: "two\nlines"}, args: "users", refuse: "the reason has a character"},
		{s: pause, o: steerOptions{reason: "\x1b[31m"}, args: "users", refuse: "the reason has a character"},
		{s: pause, o: steerOptions{reason: "\xff"}, args: "users", refuse: "the reason has a character"},
		{s: pause, o: steerOptions{reason: strings.Repeat("ä", 200)}, args: "users", id: "users"},
		{s: pause, o: steerOptions{reason: strings.Repeat("ä", 201)}, args: "users", refuse: "201 characters; expected 200"},
		{s: set, args: "users|rate=8|workers=4", id: "users", set: "map[rate:8 workers:4]"},
		{s: set, o: steerOptions{name: catalogue.Name{Latest: true}}, args: "max-failed=|rate-plan=else 1/s", set: "map[max-failed: rate-plan:else 1/s]"},
		{s: set, args: "migration-rate=1.csv-00000000000a|breaker=0", id: "migration-rate=1.csv-00000000000a", set: "map[breaker:0]"},
		{s: set, args: "users", refuse: "expected what to set"},
		{s: set, args: "users|rat=8", refuse: "did you mean rate?"},
		{s: set, args: "users|rate=8|rate=9", refuse: "rate is set twice"},
	}
	for _, tc := range cases {
		var args []string
		if tc.args != "" {
			args = strings.Split(tc.args, "|")
		}
		err := tc.o.take(tc.s, args)
		var usage usageError
		switch {
		case tc.refuse != "":
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), tc.refuse) {
				t.Errorf("%q: %v; want a usage error with %q", tc.args, err, tc.refuse)
			}
		case err != nil || tc.o.name.Words != tc.id || tc.set != "" && fmt.Sprint(tc.o.set) != tc.set:
			t.Errorf("%q: %q, %v, %v; want %q and %s", tc.args, tc.o.name.Words, tc.o.set, err, tc.id, tc.set)
		}
	}
}

// TestEveryCommandNamesAMigrationInTheSameWay parses the command lines of all commands that
// are about one migration.
func TestEveryCommandNamesAMigrationInTheSameWay(t *testing.T) {
	var names []string
	eachCommand(func(c *cobra.Command) {
		if c.Flags().Lookup("latest") != nil {
			names = append(names, c.Name())
		}
	})
	if got := strings.Join(names, " "); got != "status pause resume set stop cancel approve verify rollback" {
		t.Errorf("the commands about one migration are %s", got)
	}
	for _, name := range names {
		for _, tc := range []struct {
			args []string
			good bool
		}{
			{[]string{"users"}, true}, {[]string{"--migration", "users"}, true}, {[]string{"--latest"}, true}, {nil, name == "status"},
			{[]string{"users", "others"}, false}, {[]string{"users", "--migration", "others"}, false},
			{[]string{"users", "--latest"}, false}, {[]string{"--migration", "users", "--latest"}, false},
		} {
			if name == "set" {
				tc.args = append(tc.args, "rate=8")
			}
			c, rest, err := newCommand(&bytes.Buffer{}, &bytes.Buffer{}, new(int)).Find(append([]string{name}, tc.args...))
			if err == nil {
				err = c.ParseFlags(rest)
			}
			if err == nil {
				err = c.ValidateArgs(c.Flags().Args())
			}
			var wrong usageError
			if (err == nil) != tc.good || err != nil && !errors.As(err, &wrong) {
				t.Errorf("%s %q: %v; want it to be taken: %t", name, tc.args, err, tc.good)
			}
		}
	}
}

func TestAnOrderThatWasNotTakenIsExplained(t *testing.T) {
	o := steerOptions{}
	k := catalogue.Migration{ID: "migration-users.csv-00000000000a", Queue: "the-queue"}
	for _, tc := range []struct {
		err  error
		want []string
	}{
		{temporal.NewApplicationError("the rate limit is 0.0001; expected more", "x"), []string{"refused: the rate limit is 0.0001"}},
		{serviceerror.NewNotFound("workflow execution already completed"), []string{"ended meanwhile", "starter status " + k.ID}},
		{client.NewWorkflowUpdateServiceTimeoutOrCanceledError(errors.New("deadline")), []string{"no worker", "the-queue", "starter status " + k.ID}},
		{serviceerror.NewUnavailable("no"), []string{"did not take the order"}},
	} {
		got := o.explain(steering{update: workflows.UpdatePause}, k, tc.err).Error()
		hasAll(t, got, tc.want...)
	}
}

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
