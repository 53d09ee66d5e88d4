package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"durable-dataload/internal/migration"
)

// starter runs the command in this process.
func starter(args ...string) (code int, stdout, stderr string) {
	var out, errors bytes.Buffer
	code = run(args, &out, &errors)
	return code, out.String(), errors.String()
}

func TestSampleMakesTheTestdata(t *testing.T) {
	for file, args := range map[string][]string{
		"users.csv":   {"-n", "500", "--seed", "1", "--awkward"},
		"awkward.csv": {"--sample-size", "100", "--seed", "2", "--awkward"},
	} {
		want, err := os.ReadFile(filepath.Join("..", "testdata", file))
		must(t, err)
		code, stdout, stderr := starter(append([]string{"sample", "--output", "-"}, args...)...)
		if code != 0 || stdout != string(want) || stderr != "" {
			t.Errorf("starter sample %v gives code %d, %d bytes and %q; want 0, the %d bytes of testdata/%s and nothing", args, code, len(stdout), stderr, len(want), file)
		}
	}
}

func TestSampleMakesANewFileOnly(t *testing.T) {
	t.Chdir(t.TempDir())
	code, stdout, stderr := starter("sample", "-n", "50", "--seed", "7", "--awkward", "-o", "a.csv")
	if want := "a.csv: 50 records\nrecords 10, 20, 30, 35, 40, 45 are made to fail, the others are good\n"; code != 0 || stdout != want || stderr != "" {
		t.Errorf("code %d, %q, %q; want 0 and %q", code, stdout, stderr, want)
	}
	before, err := os.ReadFile("a.csv")
	must(t, err)
	if info, err := os.Stat("a.csv"); err != nil || info.Mode() != 0o600 {
		t.Errorf("a.csv: %v, %v; want mode 0600", info, err)
	}
	code, _, stderr = starter("sample", "-o", "a.csv")
	if after, err := os.ReadFile("a.csv"); code != 1 || !strings.Contains(stderr, "a.csv exists; expected a new name") || err != nil || !bytes.Equal(after, before) {
		t.Errorf("once more: code %d, %q, error %v; want 1, that a.csv exists, and the file as it was", code, stderr, err)
	}
	if code, stdout, stderr = starter("sample"); code != 0 || !regexp.MustCompile(`^sample_records_[A-Z][a-z]{2}_\d\d_20\d\d_\d\d_\d\d_\d\d\.csv: 1 record \(--seed \d+ makes them again\)\n$`).MatchString(stdout) {
		t.Errorf("code %d, %q, %q; want 0 and the file's name", code, stdout, stderr)
	}
	if code, stdout, _ = starter("sample", "-o", "no/such/folder.csv"); code != 1 || stdout != "" {
		t.Errorf("code %d, %q; want 1 and nothing", code, stdout)
	}
	files, err := os.ReadDir(".")
	if err != nil || len(files) != 2 {
		t.Errorf("files %v, error %v; want two, and none that is temporary", files, err)
	}
}

func TestSamplesWithoutASeedHaveOtherUsers(t *testing.T) {
	first, second := "", ""
	for _, into := range []*string{&first, &second} {
		code, stdout, stderr := starter("sample", "-n", "20", "-o", "-")
		if *into = stdout; code != 0 || stderr != "" {
			t.Fatalf("code %d, %q", code, stderr)
		}
	}
	if first == second {
		t.Error("two samples have the same users")
	}
}

func TestSampleTakesAConfiguration(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"good.json": `{"sample": {"file": {"filename_pattern": "mine.csv"}, "fields": [
			{"name": "email", "type": "string", "required": 1, "format": "e{index}@example.com"},
			{"name": "city", "type": "string", "required": 0, "min_length": 4, "max_length": 4}]}}`,
		"bad.json": `{"sample": {"fields": [{"name": "age", "type": "animal", "required": 1}]}}`,
	} {
		must(t, os.WriteFile(name, []byte(text), 0o600))
	}
	code, _, stderr := starter("sample", "--config", "good.json", "-n", "2", "-r")
	if got, err := os.ReadFile("mine.csv"); code != 0 || err != nil || string(got) != "email,city\ne0@example.com,\ne1@example.com,\n" {
		t.Errorf("code %d, %q, %q, error %v; want 0 and two addresses", code, stderr, got, err)
	}
	for _, c := range []struct {
		code int
		args []string
		says string
	}{
		{1, []string{"--config", "bad.json"}, `bad.json: field 1, "age": the type is "animal"`},
		{1, []string{"--config", "none.json"}, "none.json"},
		{2, []string{"-n", "-1"}, "--sample-size is -1; expected 0"},
		{2, []string{"-n", "many"}, "many"},
		{2, []string{"users.csv"}, `expected no arguments, found "users.csv"`},
		{2, []string{"--sandbox"}, "--sandbox"},
	} {
		if code, stdout, stderr := starter(append([]string{"sample"}, c.args...)...); code != c.code || stdout != "" || !strings.Contains(stderr, c.says) {
			t.Errorf("%v: code %d, %q, %q; want %d, nothing, and %q", c.args, code, stdout, stderr, c.code, c.says)
		}
	}
}

// All in one style: a phrase without a full stop.
func TestEveryFlagSaysWhatItIs(t *testing.T) {
	style := regexp.MustCompile(`^([a-z]|API |CSV |HTTP )\S* ?\S.*[^.\s]$`)
	commands := 0
	eachCommand(func(c *cobra.Command) {
		commands++
		if c.Short == "" {
			t.Errorf("%s does not say what it is", c.CommandPath())
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if _, text := pflag.UnquoteUsage(f); !style.MatchString(text) {
				t.Errorf("%s --%s: %q; want words without a full stop", c.CommandPath(), f.Name, text)
			}
		})
	})
	if commands < 2 {
		t.Errorf("%d commands were checked; want the command and its subcommands", commands)
	}
}

func TestShellsCompleteTheCommandLine(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, stdout, stderr := starter("completion", shell); code != 0 || !strings.Contains(stdout, "__complete") || stderr != "" {
			t.Errorf("%s: code %d, %d bytes, %q; want 0 and a script", shell, code, len(stdout), stderr)
		}
	}
	state := t.TempDir()
	folder := migration.In(state, "0123456789ab")
	must(t, os.MkdirAll(folder.Path(), 0o700))
	must(t, folder.SaveFailure(migration.Failure{Spec: migration.Spec{ID: "migration-users.csv-0123456789ab"}}))
	for _, id := range []string{"weekly", "nightly"} {
		must(t, migration.Schedule{ID: id, StateDir: state}.Order())
	}
	for _, c := range []struct {
		args []string
		want string // with Cobra's directive: 0 and then files, 4 no files, 6 no space either, 16 folders
	}{
		{[]string{"--au"}, "--auth\thow calls are authenticated: basic or signature\n:4\n"},
		{[]string{"--auth", ""}, "basic\nsignature\n:4\n"},
		{[]string{"--recovered-by", ""}, "lookup\nrefusal\n:4\n"},
		{[]string{"--output-dir", ""}, ":16\n"},
		{[]string{"--data", ""}, ":0\n"},
		{[]string{"us"}, ":0\n"},
		{[]string{"sam"}, "sample\tMake a CSV file of invented users, to try a migration on\n:0\n"},
		{[]string{"sample", "--se"}, "--seed\tthe same seed gives the same users; default: other users each time\n:4\n"},
		{[]string{"validate", "--encoding", ""}, "utf-8\nwindows-1252\nlatin-1\nutf-16\nutf-16le\nutf-16be\n:4\n"},
		{[]string{"mapping", "init", "--target", ""}, "identity-cloud\nkratos\nidentity-platform\n:4\n"},
		{[]string{"pause", "--target", ""}, ":4\n"},
		{[]string{"verify", "--state-dir", ""}, ":16\n"},
		{[]string{"status", "--state-dir", state, ""}, "migration-users.csv-0123456789ab\n:4\n"},
		{[]string{"set", "--state-dir", state, ""}, "migration-users.csv-0123456789ab\n:4\n"},
		{[]string{"rollback", "--state-dir", state, "--migration", ""}, "migration-users.csv-0123456789ab\n:4\n"},
		{[]string{"schedule", "pause", "--state-dir", state, ""}, "nightly\nweekly\n:4\n"},
		{[]string{"schedule", "describe", "--state-dir", state, ""}, "nightly\nweekly\n:4\n"},
		{[]string{"schedule", "describe", "--state-dir", state, "nightly", ""}, ":4\n"},
		{[]string{"set", "--latest", ""}, "rate=\nrate-plan=\nworkers=\nbreaker=\nmax-failed=\n:6\n"},
	} {
		if code, stdout, _ := starter(append([]string{"__complete"}, c.args...)...); code != 0 || stdout != c.want {
			t.Errorf("%q: code %d, %q; want 0 and %q", c.args, code, stdout, c.want)
		}
	}
}
