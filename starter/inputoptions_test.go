package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/stage"
)

// eachCommand visits all commands of the program.
func eachCommand(visit func(*cobra.Command)) {
	var all func(*cobra.Command)
	all = func(c *cobra.Command) {
		visit(c)
		for _, below := range c.Commands() {
			all(below)
		}
	}
	all(newCommand(&bytes.Buffer{}, &bytes.Buffer{}, new(int)))
}

func TestEveryCommandThatReadsDataFilesTakesTheSameOptions(t *testing.T) {
	want := pflag.NewFlagSet("", pflag.ContinueOnError)
	(&inputOptions{}).addFlags(want)
	var commands []string
	eachCommand(func(c *cobra.Command) {
		if c.Flags().Lookup("data") == nil || c.Name() == "rollback" { // it reads a success file
			return
		}
		commands = append(commands, c.CommandPath())
		want.VisitAll(func(w *pflag.Flag) {
			f := c.Flags().Lookup(w.Name)
			if f == nil || f.Usage != w.Usage || f.DefValue != w.DefValue || f.Shorthand != w.Shorthand || f.Hidden {
				t.Errorf("%s has --%s as %+v; want it as the others have it", c.CommandPath(), w.Name, f)
			}
		})
	})
	if got := strings.Join(commands, ", "); got != "starter, starter mapping init, starter mapping preview, starter validate, starter schedule create" {
		t.Errorf("the commands with --data are %s", got)
	}
}

func TestARefusalNamesTheHelpOfItsOwnCommand(t *testing.T) {
	withoutTarget(t)
	says := func(path string, args ...string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		code := run(append(strings.Fields(path)[1:], args...), &stdout, &stderr)
		if want := "; see " + path + " --help\n"; code != migration.ExitUsage || !strings.HasSuffix(stderr.String(), want) || strings.Count(stderr.String(), "--help") != 1 {
			t.Errorf("%s %q: exit code %d, %q; want it to end with %q", path, args, code, stderr.String(), want)
		}
	}
	eachCommand(func(c *cobra.Command) {
		path := c.CommandPath()
		if strings.Contains(path, "completion") || c.Name() == "help" {
			return
		}
		says(path, "--no-such-option")
		if c.Flags().Lookup("encoding") == nil {
			return
		}
		flags := []string{"--data", "users.csv"}
		switch c.Name() {
		case "create":
			flags = append(flags, "nightly", "--cron", "@daily")
		case "preview":
			flags = append(flags, "--force-output")
		}
		says(path, append(flags, "--encoding", "ebcdic")...)
		says(path, append(flags, "--delimiter", ";;")...)
		says(path, append(flags, "--start-at", "0")...)
		says(path, append(flags, "--start-at", "-5")...)
		says(path, append(flags, "--start-at", "1e99")...)
	})
	says("starter rollback")
	says("starter verify")
	says("starter sample", "-n", "-1")
	says("starter pause", "a", "b")
	says("starter set", "a", "speed=9")
	says("starter list", "a")
	says("starter schedule pause")
	says("starter mapping default", "a")
	says("starter validate", "--data", "users.csv", "--lines", "0")
	says("starter validate", "--data", "users.csv", "-b", "0")
}

// A mapping is tried on the file that will be migrated, as it is.
func TestAPreviewReadsAnInputAsAMigrationDoes(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", filepath.Join(dir, "tmp"))
	must(t, os.Mkdir(filepath.Join(dir, "tmp"), 0o700))
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	fmt.Fprint(w, "email;displayName\nann@example.com;Z\xfcrich\nbob@example.com;\xc9va\n")
	must(t, w.Close())
	data := filepath.Join(dir, "users.csv.gz")
	must(t, os.WriteFile(data, packed.Bytes(), 0o600))
	format := []string{"--delimiter", ";", "--encoding", "windows-1252"}
	for command, want := range map[string]string{
		"preview --force-output --start-at 2": `record 2, line 3`,
		"preview --force-output -n 9":         `"displayName":"Zürich"`,
		"init":                                "email",
	} {
		for _, named := range [][]string{{"--data", data}, {data}} {
			var stdout, stderr bytes.Buffer
			code := run(append(append(append([]string{"mapping"}, strings.Fields(command)...), format...), named...), &stdout, &stderr)
			if code != 0 || !strings.Contains(stdout.String(), want) {
				t.Errorf("mapping %s: exit code %d, %s, and\n%s\nwant %q", command, code, stderr.String(), stdout.String(), want)
			}
			if strings.Contains(command, "--start-at 2") && strings.Contains(stdout.String(), "record 1,") {
				t.Errorf("mapping %s shows the records before\n%s", command, stdout.String())
			}
		}
	}
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) > 0 {
		t.Errorf("%v are left in the folder for temporary files (%v), with user data", left, err)
	}
	var stderr bytes.Buffer
	if code := run([]string{"mapping", "init", data, data + "x"}, &bytes.Buffer{}, &stderr); code != 1 {
		t.Errorf("exit code %d for a file that is not there: %s", code, stderr.String())
	}
}

// A migration of the same content may be about to use the copy in the state folder.
func TestAValidationKeepsTheStagedInputOfAMigration(t *testing.T) {
	dir := t.TempDir()
	const content = "email\nann@example.com\n"
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	fmt.Fprint(w, content)
	must(t, w.Close())
	data, state := filepath.Join(dir, "users.csv.gz"), filepath.Join(dir, "state")
	must(t, os.WriteFile(data, packed.Bytes(), 0o600))
	staged := stage.Path(migration.Inputs(state), fmt.Sprintf("%x", sha256.Sum256([]byte(content))))
	must(t, os.MkdirAll(filepath.Dir(staged), 0o700))
	must(t, os.WriteFile(staged, []byte(content), 0o600))
	var stdout, stderr bytes.Buffer
	if code := run([]string{"validate", "--offline", "--state-dir", state, data}, &stdout, &stderr); code != 0 {
		t.Errorf("exit code %d: %s%s", code, stdout.String(), stderr.String())
	}
	if _, err := os.Stat(staged); err != nil {
		t.Errorf("%v; want it kept", err)
	}
}

const tenUsers = "email\n0@x.test\n1@x.test\n2@x.test\n3@x.test\n4@x.test\n5@x.test\n6@x.test\n7@x.test\n8@x.test\n9@x.test\n"

// What a file is too short for is refused before anything starts, and not a
// migration of nothing.
func TestOptionsThatAFileIsTooShortForAreRefused(t *testing.T) {
	withoutTarget(t)
	for _, tc := range []struct {
		content, options, want string
	}{
		{tenUsers, "--start-at 11", "users.csv: --start-at is 11, and the last record of the file is 10; expected 1 to 10"},
		{tenUsers, "-a 999998", "--start-at is 999998"},
		{tenUsers, "-a 999998 --delta-migration --canary 2 --max-failed 1 --retry-rounds 0", "--start-at is 999998"},
		{"email\n", "--start-at 2", "the file has no records"},
		{tenUsers, "--canary 10", "--canary is 10, and there are 10 records to load: all would be loaded before the approval; expected 1 to 9"},
		{tenUsers, "--canary 4 --start-at 8", "--canary is 4, and there are 3 records to load"},
		{tenUsers, "--canary 1 --start-at 10", "there is one record to load; leave --canary out"},
	} {
		options := strings.Fields(tc.options)
		for _, how := range []string{"--sandbox", "--sandbox --no-validate", "--dry-run"} {
			code, stdout, stderr, dir := inFolder(t, tc.content, append(strings.Fields(how), options...)...)
			if code != migration.ExitCannotRun || stdout != "" || !strings.Contains(stderr, tc.want) {
				t.Errorf("%s %s: exit code %d, %s%s; want %q", how, tc.options, code, stdout, stderr, tc.want)
			}
			for _, begun := range []string{"state/migrations", "state/inputs", "out"} {
				if left, _ := os.ReadDir(filepath.Join(dir, begun)); len(left) > 0 {
					t.Errorf("%s %s has started something: %v in %s", how, tc.options, left, begun)
				}
			}
		}
		code, stdout, stderr, _ := inFolder(t, tc.content, append([]string{"validate", "--offline"}, options...)...)
		if code != migration.ExitFailed || !strings.Contains(stdout, strings.TrimPrefix(tc.want, "users.csv: ")) {
			t.Errorf("validate %s: exit code %d, %s%s; want %q", tc.options, code, stdout, stderr, tc.want)
		}
		if !strings.HasPrefix(tc.options, "-") || !strings.Contains(tc.want, "--start-at is") {
			continue
		}
		var errors bytes.Buffer
		data := filepath.Join(t.TempDir(), "users.csv")
		must(t, os.WriteFile(data, []byte(tc.content), 0o600))
		if code := run([]string{"mapping", "preview", "--force-output", data, options[0], options[1]}, &bytes.Buffer{}, &errors); code != migration.ExitCannotRun || !strings.Contains(errors.String(), tc.want) {
			t.Errorf("preview %s: exit code %d, %s; want %q", tc.options, code, errors.String(), tc.want)
		}
	}
}

// A header without records is a file of nothing: there is nothing to refuse, and
// nothing to claim.
func TestAFileWithoutRecordsIsReported(t *testing.T) {
	withoutTarget(t)
	code, stdout, stderr, _ := inFolder(t, "email\n", "validate", "--offline")
	if code != migration.ExitDone || !strings.Contains(stdout, "a header and no records") {
		t.Errorf("validate: exit code %d, %s%s; want a warning", code, stdout, stderr)
	}
	code, stdout, stderr, _ = inFolder(t, "email\n", "--dry-run")
	if code != migration.ExitDone {
		t.Errorf("dry run: exit code %d, %s%s", code, stdout, stderr)
	}
}
