package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	_ "gocloud.dev/blob/memblob"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/session"
	"durable-dataload/internal/store"
	"durable-dataload/internal/terminal"
)

// inMemory gives a folder of a bucket that is in memory.
func inMemory(t *testing.T, elements ...string) string {
	return store.Join("mem://"+strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))+"/?nomd5=true", elements...)
}

func TestLocationsOfWorkStateAndResults(t *testing.T) {
	here, err := os.Getwd()
	must(t, err)
	for _, c := range []struct {
		name, workURL, variable, outputDir string
		dryRun, schedule                   bool
		work, results                      string
	}{
		{name: "nothing is given", work: "/state", results: here},
		{name: "a work location", workURL: "s3://bucket/dataload/", work: "s3://bucket/dataload", results: "s3://bucket/dataload/artifacts"},
		{name: "with options", workURL: "mem://bucket?nomd5=true", work: "mem://bucket?nomd5=true", results: "mem://bucket/artifacts?nomd5=true"},
		{name: "by the environment", variable: "gs://bucket/dataload", work: "gs://bucket/dataload", results: "gs://bucket/dataload/artifacts"},
		{name: "by both", workURL: "s3://bucket/a", variable: "s3://bucket/b", work: "s3://bucket/a", results: "s3://bucket/a/artifacts"},
		{name: "results in a folder", workURL: "s3://bucket/a", outputDir: "out", work: "s3://bucket/a", results: filepath.Join(here, "out")},
		{name: "results in another bucket", workURL: "s3://bucket/a", outputDir: "azblob://results//x/", work: "s3://bucket/a", results: "azblob://results/x"},
		{name: "results alone in a bucket", outputDir: "s3://results/x", work: "/state", results: "s3://results/x"},
		{name: "a dry run", variable: "s3://bucket/a", dryRun: true, work: "/state", results: here},
		{name: "a schedule", workURL: "s3://bucket/a", schedule: true, work: "s3://bucket/a", results: here},
	} {
		var o createOptions
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		o.addFlags(f)
		o.zone, o.cron, o.settle = "UTC", "@daily", time.Second
		o.stateDir, o.workURL, o.outputDir, o.dryRun, o.sandbox, o.data = "/state", c.workURL, c.outputDir, c.dryRun, true, []string{"*.csv"}
		getenv := func(name string) string { return map[string]string{"DATALOAD_WORK_URL": c.variable}[name] }
		if c.schedule {
			schedule, err := o.complete(f, getenv)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			o = schedule.createOptions
		} else if err := o.options.complete(f, nil, getenv); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if o.work() != c.work || o.stateDir != "/state" || o.outputDir != c.results {
			t.Errorf("%s: the work is in %s, the state in %s, the results in %s; want %s, /state, %s", c.name, o.work(), o.stateDir, o.outputDir, c.work, c.results)
		}
	}
}

func TestURLsThatAreRefused(t *testing.T) {
	withoutTarget(t)
	data := filepath.Join(t.TempDir(), "users.csv")
	must(t, os.WriteFile(data, []byte("email\na@example.com\n"), 0o600))
	schedule := []string{"schedule", "create", "nightly", "--cron", "@daily", "--sandbox"}
	for _, c := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"--data", data, "--sandbox", "--work-url", "file:///var/lib/dataload"}, 2, []string{"--work-url", "expected s3://", "--state-dir"}},
		{[]string{"--data", data, "--sandbox", "--work-url", "/var/lib/dataload"}, 2, []string{`"/var/lib/dataload"`, "s3://BUCKET/FOLDER", "--state-dir"}},
		{[]string{"status", "--work-url", "ftp://bucket/x"}, 2, []string{"ftp://", "expected s3://"}},
		{[]string{"list", "--work-url", "s3://me:invented-secret@bucket/x"}, 2, []string{"a user or a password"}},
		{[]string{"--data", data, "--sandbox", "--output-dir", "file:///out"}, 2, []string{"--output-dir", "its path"}},
		{[]string{"--data", "file:///users.csv", "--sandbox"}, 2, []string{"--data", "its path"}},
		{[]string{"--data", "s3://bucket", "--sandbox"}, 2, []string{"names no file"}},
		{[]string{"--data", "s3://bucket/*/users.csv", "--sandbox"}, 2, []string{"in its last part"}},
		{[]string{"--data", "mem://bucket/users-[.csv", "--sandbox"}, 1, []string{"no file matches"}},
		{[]string{"--data", "mem://bucket/users-*.csv", "--sandbox"}, 1, []string{"no file matches"}},
		{[]string{"--data", "mem://bucket/users.csv", "--sandbox"}, 1, []string{"mem://bucket/users.csv: there is no such file"}},
		{append(schedule, "--data", "s3://bucket/incoming/*.csv"), 2, []string{"s3://bucket/incoming/*.csv is a URL", "expected a path"}},
		{append(schedule, "--data", data, "--output-dir", "s3://bucket/out"), 2, []string{"s3://bucket/out is a URL", "expected a path"}},
	} {
		state := t.TempDir()
		var out, errs bytes.Buffer
		if code := run(append(slices.Clone(c.args), "--state-dir", state), &out, &errs); code != c.code {
			t.Errorf("%q ends with %d, and says %s; want %d", c.args, code, errs.String(), c.code)
		}
		hasAll(t, errs.String(), c.want...)
		if strings.Contains(errs.String(), "invented-secret") {
			t.Errorf("%q shows the secret: %s", c.args, errs.String())
		}
		if entries, err := os.ReadDir(state); err != nil || len(entries) > 0 {
			t.Errorf("%q: the state folder has %v, %v; want nothing", c.args, entries, err)
		}
	}
}

func TestAWorkPlaceThatCannotBeUsed(t *testing.T) {
	withoutTarget(t)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "invented", "AWS_SECRET_ACCESS_KEY": "invented-secret", "AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "AWS_MAX_ATTEMPTS": "1",
	} {
		t.Setenv(name, value)
	}
	// Nobody listens at port 1.
	const nowhere = "s3://bucket/dataload?region=us-east-1&endpoint=http://127.0.0.1:1"
	code, _, text, dir := inFolder(t, "email\na@example.com\n", "--sandbox", "--work-url", nowhere)
	if code != migration.ExitCannotRun {
		t.Errorf("it ends with %d; want %d", code, migration.ExitCannotRun)
	}
	hasAll(t, text, "cannot keep the work of migrations in s3://bucket/dataload?", "connection refused", "expected a bucket that answers", "docs/object-storage.md")
	for _, name := range []string{"engine", "sandbox", "inputs"} {
		if _, err := os.Stat(filepath.Join(dir, "state", name)); err == nil {
			t.Errorf("%s was created", name)
		}
	}
	var out, errs bytes.Buffer
	if code := run([]string{"list", "--work-url", nowhere, "--state-dir", filepath.Join(dir, "state")}, &out, &errs); code != migration.ExitCannotRun {
		t.Errorf("list ends with %d; want %d", code, migration.ExitCannotRun)
	}
	hasAll(t, errs.String(), "cannot list the migrations: ", "connection refused", "expected a bucket that answers")
}

func TestInputsOfABucket(t *testing.T) {
	folder := inMemory(t, "incoming")
	for _, name := range []string{"b.csv", "a.csv", "a.csv.gz", "[1].csv", "success_Nov_22_2026_13_05_00.csv", "x.csv/inside.csv", "notes.txt"} {
		must(t, store.Write(store.Join(folder, name), []byte("email\n")))
	}
	in := func(names ...string) (urls []string) {
		for _, name := range names {
			urls = append(urls, store.Join(folder, name))
		}
		return urls
	}
	for _, c := range []struct {
		data, want, left []string
		several          bool
	}{
		{in("a.csv"), in("a.csv"), nil, false},
		{in("[1].csv"), in("[1].csv"), nil, false},
		{in("b.csv", "a.csv", "b.csv"), in("b.csv", "a.csv"), nil, true},
		{in("[ab].csv"), in("a.csv", "b.csv"), nil, true},
		{in("a*"), in("a.csv", "a.csv.gz"), nil, true},
		{in("n*"), in("notes.txt"), nil, true},
		{in("*.csv"), in("[1].csv", "a.csv", "b.csv", "success_Nov_22_2026_13_05_00.csv"), in("success_Nov_22_2026_13_05_00.csv"), true},
	} {
		o := inputOptions{data: c.data}
		inputs, several, err := o.find()
		if err != nil {
			t.Errorf("%q: %v", c.data, err)
			continue
		}
		var found, left []string
		for _, in := range inputs {
			found = append(found, in.Path)
			if in.left {
				left = append(left, in.Path)
			}
		}
		if !slices.Equal(found, c.want) || !slices.Equal(left, c.left) || several != c.several {
			t.Errorf("%q: %q, left out %q, several: %t; want %q, %q, %t", c.data, found, left, several, c.want, c.left, c.several)
		}
	}
}

func TestWhatIsBroughtIntoTheWorkPlace(t *testing.T) {
	const content = "email\na@example.com\n"
	local := filepath.Join(t.TempDir(), "users.csv")
	must(t, os.WriteFile(local, []byte(content), 0o600))
	there := inMemory(t, "incoming", "users.csv")
	must(t, store.Write(there, []byte(content)))
	work := inMemory(t, "work")
	var nowhere bytes.Buffer
	for _, c := range []struct {
		work, path string
		brought    bool
	}{{work, local, true}, {work, there, false}, {"", local, false}, {"", there, false}} {
		var o options
		o.stateDir, o.workURL, o.data = t.TempDir(), c.work, []string{c.path}
		inputs, _, err := o.find()
		must(t, err)
		cmd := &migrator{Process: session.Process{Screen: terminal.New(&nowhere, &nowhere, terminal.Options{JSON: false})}, o: o}
		f, err := plainFile(t.Context(), cmd.Process, o.locations, inputs[0])
		must(t, err)
		if has, err := store.Exists(f.path); err != nil || has == c.brought {
			t.Errorf("%s with %s: it is there before its migration begins: %t, %v", c.path, o.text(), has, err)
		}
		for range 2 { // the second time it is there
			must(t, (&migrateOperation{Session: &session.Session{Process: cmd.Process}, c: cmd, file: f}).bring(t.Context()))
		}
		if brought := f.path != c.path; brought != c.brought || brought && store.Dir(f.path) != store.Join(c.work, "inputs") {
			t.Errorf("%s with %s: it is read from %s; brought: %t", c.path, o.text(), f.path, c.brought)
		}
		if f.shown != c.path || f.inputName() != "users.csv" || f.near() != c.path {
			t.Errorf("%s with %s: it is called %s and %s, and read here from %s; want its own name", c.path, o.text(), f.shown, f.inputName(), f.near())
		}
		if got, err := store.Read(f.path); err != nil || string(got) != content {
			t.Errorf("%s has %q, %v; want %q", f.path, got, err, content)
		}
		if err := f.drop(o.locations); err != nil {
			t.Error(err)
		}
		if has, err := store.Exists(f.path); err != nil || has == c.brought {
			t.Errorf("%s with %s: it is there: %t, %v; want only copies removed that no migration needs", c.path, o.text(), has, err)
		}
	}
}

func TestAFileThatChangesIsNotBrought(t *testing.T) {
	local := filepath.Join(t.TempDir(), "users.csv")
	var nowhere bytes.Buffer
	write := func(content string) {
		must(t, os.WriteFile(local, []byte(content), 0o600))
	}
	write("email\na@example.com\n")
	var o options
	o.workURL, o.data = inMemory(t, "work"), []string{local}
	inputs, _, err := o.find()
	must(t, err)
	cmd := &migrator{Process: session.Process{Screen: terminal.New(&nowhere, &nowhere, terminal.Options{JSON: false})}, o: o}
	s := &migrateOperation{Session: &session.Session{Process: cmd.Process}, c: cmd}
	s.file, err = plainFile(t.Context(), cmd.Process, o.locations, inputs[0])
	must(t, err)
	write("email\nb@example.com\n")
	if err := s.bring(t.Context()); err == nil || !strings.Contains(err.Error(), "users.csv: the file changed while it was read") {
		t.Errorf("error %v; want that the file has changed", err)
	}
	if names, err := store.List(migration.Inputs(o.work())); err != nil || len(names) > 0 {
		t.Errorf("%q is left, %v", names, err)
	}
}
