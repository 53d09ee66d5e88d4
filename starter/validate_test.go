package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"durable-dataload/internal/config"
	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/sandbox"
	"durable-dataload/internal/validate"
)

// inFolder runs the command with a state folder and an output folder of its
// own, on a data file with this content.
func inFolder(t *testing.T, content string, args ...string) (code int, stdout, stderr, dir string) {
	t.Helper()
	dir = t.TempDir()
	data := filepath.Join(dir, "users.csv")
	must(t, os.WriteFile(data, []byte(content), 0o600))
	var out, errors bytes.Buffer
	code = run(append(args, "--data", data, "--state-dir", filepath.Join(dir, "state"), "--output-dir", filepath.Join(dir, "out")), &out, &errors)
	return code, out.String(), errors.String(), dir
}

// withoutTarget keeps the environment of the machine out.
func withoutTarget(t *testing.T) {
	for _, name := range []string{"CAPTURE_APID_URI", "CAPTURE_CLIENT_ID", "CAPTURE_CLIENT_SECRET", config.WorkVariable} {
		t.Setenv(name, "")
	}
}

func hasAll(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in\n%s", w, text)
		}
	}
}

func TestValidateAgainstALiveTarget(t *testing.T) {
	state := t.TempDir()
	s, err := sandbox.Start(sandbox.Options{Address: "127.0.0.1:0", StateDir: state, ClientID: "me", ClientSecret: "invented-secret"})
	must(t, err)
	defer s.Close()
	t.Setenv("CAPTURE_APID_URI", s.URL())
	t.Setenv("CAPTURE_CLIENT_ID", "me")
	t.Setenv("CAPTURE_CLIENT_SECRET", "invented-secret")
	const content = "email,givenname\na@example.com,A\nA@example.com,B\n"

	code, stdout, stderr, dir := inFolder(t, content, "validate", "--rate-limit", "0")
	if code != 3 {
		t.Errorf("exit code %d, want 3; stderr:\n%s", code, stderr)
	}
	hasAll(t, stdout, "2 × givenname: the schema does not have this attribute; did you mean givenName?", "3 (first in 2)", "a harmless call took", "whether the client may create records")

	code, stdout, _, _ = inFolder(t, content, "validate", "--rate-limit", "0", "--json", "--lines", "1")
	var report validate.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != 3 {
		t.Fatalf("exit code %d, %v:\n%s", code, err, stdout)
	}
	if len(report.Findings) != 2 || report.Findings[0].Kind != validate.KindUnknown || report.Findings[0].Count != 2 || len(report.Findings[0].Places) != 1 {
		t.Errorf("findings %+v", report.Findings)
	}

	t.Setenv("CAPTURE_CLIENT_SECRET", "another")
	code, stdout, _, _ = inFolder(t, "email\na@example.com\n", "validate", "--rate-limit", "0")
	hasAll(t, stdout, "the API does not accept the client id and secret", "the schema is not known")
	if code != 3 {
		t.Errorf("exit code %d with a wrong secret, want 3", code)
	}

	truth, err := os.ReadFile(filepath.Join(state, "truth.jsonl"))
	if err != nil || bytes.Contains(truth, []byte("bulkCreate")) {
		t.Errorf("%v; the target was written to:\n%s", err, truth)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "out", "*")); err != nil || len(left) > 0 {
		t.Errorf("%v; the output folder has %q", err, left)
	}
}

func TestValidateWithoutATarget(t *testing.T) {
	withoutTarget(t)
	code, stdout, stderr, _ := inFolder(t, "email,any\na@example.com,1\n", "validate")
	if code != 0 {
		t.Errorf("exit code %d, want 0; stderr:\n%s", code, stderr)
	}
	hasAll(t, stdout, "1 record", "No faults were found.", "Not checked: address, credentials, entity type and clock: no --apid_uri is given", "the schema is not known")

	t.Setenv("CAPTURE_APID_URI", "https://nobody.invalid")
	_, stdout, _, _ = inFolder(t, "email\na@example.com\n", "validate", "--offline")
	hasAll(t, stdout, "clock: --offline")
}

func TestValidateOfSeveralFilesWithADelimiter(t *testing.T) {
	withoutTarget(t)
	dir := t.TempDir()
	for name, content := range map[string]string{"a.csv": "email;x\na@example.com;1,2\n", "b.csv": "email;x\nb@example.com\n"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	var out, errors bytes.Buffer
	code := run([]string{"validate", filepath.Join(dir, "*.csv"), "--delimiter", ";", "--json", "--state-dir", dir}, &out, &errors)
	var reports []validate.Report
	if err := json.Unmarshal(out.Bytes(), &reports); err != nil || code != 3 || len(reports) != 2 {
		t.Fatalf("exit code %d, %d reports, %v; stderr:\n%s", code, len(reports), err, errors.String())
	}
	if reports[0].File != "a.csv" || len(reports[0].Findings) != 0 || len(reports[1].Findings) != 1 || reports[1].Findings[0].Kind != validate.KindFields {
		t.Errorf("reports %+v", reports)
	}
}

func TestDryRunWritesWhatWouldBeSent(t *testing.T) {
	withoutTarget(t)
	o := fakeusers.Options{Records: 500, Seed: 1, Awkward: true}
	var content bytes.Buffer
	must(t, fakeusers.Write(&content, o))
	code, stdout, stderr, dir := inFolder(t, content.String(), "-x", "-b", "30", "--start-at", "11")
	if code != 3 {
		t.Fatalf("exit code %d, want 3; stderr:\n%s", code, stderr)
	}
	hasAll(t, stdout, "would be sent", "487", "490")
	if _, err := os.Stat(filepath.Join(dir, "state")); !os.IsNotExist(err) {
		t.Errorf("a state folder was made: %v", err)
	}

	var line struct {
		Batch, Line int
		Record      struct{ Email *string }
	}
	lines := bytes.Split(bytes.TrimSpace(only(t, dir, "dry_run_[A-Z]*.jsonl")), []byte("\n"))
	if len(lines) != 487 {
		t.Errorf("%d lines, want 487", len(lines))
	}
	batches, last := map[int]int{}, 0
	for _, l := range lines {
		if err := json.Unmarshal(l, &line); err != nil || line.Line <= last || line.Record.Email == nil {
			t.Fatalf("%v, behind line %d: %s", err, last, l)
		}
		last = line.Line
		batches[line.Batch]++
	}
	if len(batches) != 17 || batches[1] != 30 || batches[17] != 10 {
		t.Errorf("records in batches: %v; want 30 each, and 10 in the last of 17", batches)
	}

	rows, err := csv.NewReader(bytes.NewReader(only(t, dir, "dry_run_fail_*.csv"))).ReadAll()
	if err != nil || len(rows) != 4 || !slices.Equal(rows[0], []string{"batch", "line", "email", "error"}) {
		t.Fatalf("the fail file is %q, %v; want a header and 3 records", rows, err)
	}
	for i, flaw := range []int64{o.Flaws().TooFew, o.Flaws().TooMany, o.Flaws().BadBirthday} {
		if want := strconv.FormatInt((flaw-11)/30+1, 10); rows[i+1][0] != want {
			t.Errorf("record %d is in batch %s, want %s", flaw, rows[i+1][0], want)
		}
	}
	hasAll(t, rows[1][3]+rows[2][3]+rows[3][3], "14 fields", "18 fields", "birthday")
}

// only is the content of the one file of the output folder that has such a
// name, readable to its owner only.
func only(t *testing.T, dir, pattern string) []byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "out", pattern))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %q, %v; want one", files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, mode %v; want 0600", err, info.Mode())
	}
	content, err := os.ReadFile(files[0])
	must(t, err)
	return content
}

func TestDryRunRefusesWhatAMigrationRefuses(t *testing.T) {
	withoutTarget(t)
	code, stdout, stderr, dir := inFolder(t, "email\na@example.com\n\xff\n", "--dry-run")
	if code != 1 || stdout != "" {
		t.Errorf("exit code %d, stdout %q; want 1 and nothing", code, stdout)
	}
	hasAll(t, stderr, "users.csv, line 3", "not UTF-8")
	if left, err := filepath.Glob(filepath.Join(dir, "out", "*")); err != nil || len(left) > 0 {
		t.Errorf("%v; the output folder has %q", err, left)
	}
}

func TestDryRunOfGoodRecords(t *testing.T) {
	withoutTarget(t)
	code, stdout, stderr, dir := inFolder(t, "email\na@example.com\nb@example.com\n", "--dry-run", "--json")
	var got struct {
		Total, Failed, Calls int
		WouldBeSent          int    `json:"would_be_sent"`
		Fail                 string `json:"fail_file"`
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || got.Total != 2 || got.WouldBeSent != 2 || got.Calls != 1 {
		t.Errorf("exit code %d, %v, stdout:\n%s\nstderr:\n%s", code, err, stdout, stderr)
	}
	if content := only(t, dir, "dry_run_fail_*.csv"); string(content) != "batch,line,email,error\n" {
		t.Errorf("the fail file is %q, want the header alone", content)
	}
}

func TestDryRunsOfOneMomentWriteFilesOfTheirOwn(t *testing.T) {
	withoutTarget(t)
	out := t.TempDir()
	input := filepath.Join(t.TempDir(), "users.csv")
	must(t, os.WriteFile(input, []byte("email\na@example.com\n"), 0o600))
	const n = 6
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if code, _, stderr := starter("--dry-run", "--data", input, "--output-dir", out); code != 0 {
				t.Errorf("code %d, %s", code, stderr)
			}
		})
	}
	all.Wait()
	files, err := os.ReadDir(out)
	must(t, err)
	if len(files) != 2*n {
		t.Errorf("there are %d files, want the %d of %d dry runs: %v", len(files), 2*n, n, files)
	}
}
