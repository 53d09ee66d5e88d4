package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/config"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/sandbox"
	"durable-dataload/internal/store"
)

// TestMigrationsInABucket goes through the commands in this process, where a
// bucket in memory is seen by all of them. That several machines can share one
// the tests over a server of S3 show.
func TestMigrationsInABucket(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir) // results come here where no bucket is named
	s, err := sandbox.Start(sandbox.Options{Address: "127.0.0.1:0", StateDir: filepath.Join(dir, "target"), ClientID: "me", ClientSecret: "invented-secret"})
	must(t, err)
	defer s.Close()
	work := inMemory(t, "work")
	for name, value := range map[string]string{
		"CAPTURE_APID_URI": s.URL(), "CAPTURE_CLIENT_ID": "me", "CAPTURE_CLIENT_SECRET": "invented-secret", config.WorkVariable: work,
	} {
		t.Setenv(name, value)
	}
	inResults, _, _ := strings.Cut(store.Join(work, "artifacts"), "?")
	inResults += "/"
	put := func(name, content string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	files := func(folder string) []string {
		names, err := store.List(store.Join(work, folder))
		must(t, err)
		return names
	}
	starter := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(append(args, "--state-dir", filepath.Join(dir, "state")), &out, &errs); code != want {
			t.Fatalf("%q ends with %d; want %d\n%s%s", args, code, want, out.String(), errs.String())
		}
		return out.String(), errs.String()
	}

	// A local file, with a mapping of which the workers get a copy.
	local := put("users.csv", "mail\nann@example.com\nbob@example.com\n")
	mapping := put("mapping.yaml", "columns:\n  mail: email\n")
	migrate := []string{"--data", local, "--mapping", mapping, "--rate-limit", "0"}
	out, _ := starter(migration.ExitDone, migrate...)
	results := files("artifacts")
	for _, name := range results {
		hasAll(t, out, store.Join(work, "artifacts", name)+"\n")
	}
	if n := len(slices.DeleteFunc(slices.Clone(results), artifacts.IsArtifact)); n > 0 || len(results) < 5 {
		t.Errorf("the results are %q", results)
	}
	keys := files("migrations")
	if len(keys) != 1 || files("inputs") != nil {
		t.Fatalf("migrations %q, staged inputs %q; want one, and none when it is done", keys, files("inputs"))
	}
	folder := migration.In(work, keys[0])
	spec, err := folder.Spec()
	if err != nil || spec.DataName != "users.csv" || spec.DataOrigin != local || !strings.HasPrefix(spec.DataFile, "mem://") {
		t.Errorf("the spec has the input %s, called %s, of %s (%v); want a copy in the bucket of %s", spec.DataFile, spec.DataName, spec.DataOrigin, err, local)
	}
	if _, err := folder.Mapping(spec.Mapping); err != nil {
		t.Errorf("the migration has no copy of its mapping: %v", err)
	}
	_, text := starter(migration.ExitCannotRun, migrate...)
	hasAll(t, text, "was migrated already", inResults+"summary_", "--again")

	if files("inputs") != nil {
		t.Error("a file that was migrated already was brought into the work location again")
	}
	out, _ = starter(migration.ExitDone, "--data", local, "--mapping", mapping, "--dry-run")
	hasAll(t, out, "would be sent", filepath.Join(dir, "dry_run_"))
	if names := files(""); slices.Contains(names, "inputs") {
		t.Errorf("a dry run left %q in the work location", names)
	}

	// Files that are in a bucket, one of them packed.
	for name, content := range map[string]string{"a.csv": "email\neve@example.com\n", "b.csv": "email\nmallory@example.com\nann@example.com\n"} {
		must(t, store.Write(inMemory(t, "incoming", name), []byte(content)))
	}
	out, _ = starter(migration.ExitFailed, "--data", inMemory(t, "incoming", "*.csv"), "--rate-limit", "0", "--json")
	var summaries []migration.Summary
	if err := json.Unmarshal([]byte(out), &summaries); err != nil || len(summaries) != 2 || summaries[0].DataFile != "a.csv" || summaries[1].Records.Failed != 1 {
		t.Errorf("the summaries are %s, %v; want those of a.csv and b.csv, which has one that failed", out, err)
	}
	for _, name := range []string{"a.csv", "b.csv"} {
		if has, err := store.Exists(inMemory(t, "incoming", name)); !has {
			t.Errorf("the input %s is gone (%v)", name, err)
		}
	}

	// The commands that read them, and one that undoes one.
	out, _ = starter(migration.ExitDone, "list")
	hasAll(t, out, "migration-users.csv-"+keys[0], "migration-a.csv-", "migration-b.csv-")
	out, _ = starter(migration.ExitDone, "status", keys[0])
	hasAll(t, out, "2 created", "ended")
	t.Setenv(config.WorkVariable, "")
	_, text = starter(migration.ExitDone, "list")
	hasAll(t, text, "No migration or export was found in the state folder")
	out, _ = starter(migration.ExitDone, "verify", "--migration", keys[0], "--rate-limit", "0", "--work-url", work)
	hasAll(t, out, "2 of 2 records", inResults+"verify_")
	out, _ = starter(migration.ExitDone, "rollback", "--migration", spec.ID, "--rate-limit", "0", "--work-url", work, "--dry-run")
	hasAll(t, out, "What would be done")
	out, _ = starter(migration.ExitDone, "rollback", "--migration", spec.ID, "--rate-limit", "0", "--work-url", work, "--yes")
	hasAll(t, out, "Every record is as it was", inResults+"rollback_success_")
	if names := files("rollbacks"); len(names) != 1 {
		t.Errorf("the rollbacks are %q; want one, and nothing of the dry run", names)
	}
	success := store.Join(work, "artifacts", summaries[0].Files.Success)
	out, _ = starter(migration.ExitDone, "rollback", "--data", success, "--rate-limit", "0", "--yes")
	hasAll(t, out, "Every record is as it was", filepath.Join(dir, "rollback_success_"))
	if _, err := os.Stat("mem:"); err == nil {
		t.Error("something took a URL for the name of a folder of the disk")
	}
}
