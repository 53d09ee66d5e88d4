package artifacts

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
)

var update = flag.Bool("update", false, "write the golden files again")

const (
	header = "email,name\r\n"
	stamp  = "Nov_22_2026_13_05_00"
)

var inputHeader = &source.Header{Names: []string{"email", "name"}, Raw: []byte(header)}

// sample has every disposition, and what makes CSV hard.
var sample = []Record{
	{Batch: 1, Line: 2, Email: "created@example.com", Raw: []byte("created@example.com,A\r\n"), Record: ledger.Record{Outcome: ledger.Created, UUID: "uuid-2"}},
	{Batch: 1, Line: 3, Email: `"quoted, name"@example.com`, Raw: []byte(`"""quoted, name""@example.com",B` + "\n"), Record: ledger.Record{Outcome: ledger.Created, UUID: "uuid-3"}},
	{Batch: 1, Line: 4, Email: "recovered@example.com", Raw: []byte("recovered@example.com,\"two\r\nlines\"\r\n"), Record: ledger.Record{Outcome: ledger.Recovered, Round: 1, UUID: "uuid-4"}},
	{Batch: 2, Line: 6, Email: "refused@example.com", Raw: []byte("refused@example.com,C\n"), Record: ledger.Record{Outcome: ledger.Recovered, Round: 2}},
	{Batch: 2, Line: 7, Email: "failed@example.com", Raw: []byte("failed@example.com,a,b,too many\n"), Record: ledger.Record{Outcome: ledger.Failed, Error: "expected 2 fields,\n\"found\" 4"}},
	{Batch: 2, Line: 8, Email: "duplicate@example.com", Raw: []byte("\"duplicate@example.com\",\"ü\"\n"), Record: ledger.Record{Outcome: ledger.Duplicate, Error: "Attempted to update a duplicate value"}},
	{Batch: 3, Line: 9, Email: "", Raw: []byte(",=1+1\n"), Record: ledger.Record{Outcome: ledger.Failed, Round: 1, Error: " leading, \r\ntrailing "}},
	{Batch: 3, Line: 10, Email: "unknown@example.com", Raw: []byte("unknown@example.com,\"\"\"\"\r\n"), Record: ledger.Record{Outcome: ledger.Unknown, Round: 1}},
	{Batch: 4, Line: 11, Email: "remaining@example.com", Raw: []byte("remaining@example.com, space \n"), Record: ledger.Record{Outcome: ledger.None}},
	{Batch: 4, Line: 12, Email: "last@example.com", Raw: []byte("last@example.com,no line end"), Record: ledger.Record{Outcome: ledger.None}},
}

var sampleCounts = migration.Counts{Total: 10, Created: 2, Recovered: 2, Failed: 3, Unknown: 1, Remaining: 2}

func newSet(t *testing.T, dir, unresolved string, retry ...string) *Set {
	t.Helper()
	s, err := NewSet(Options{Dir: dir, Stamp: stamp, Header: inputHeader, Retry: retry, Unresolved: unresolved})
	must(t, err)
	return s
}

func add(t *testing.T, s *Set, records ...Record) {
	t.Helper()
	for _, r := range records {
		if err := s.Add(r); err != nil {
			t.Fatalf("line %d: %v", r.Line, err)
		}
	}
}

// contents are the files of a folder by name.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := os.ReadDir(dir)
	must(t, err)
	all := map[string]string{}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		must(t, err)
		all[f.Name()] = string(data)
	}
	return all
}

func names(files map[string]string) []string { return slices.Sorted(maps.Keys(files)) }

// expectEmpty checks that a folder has no files.
func expectEmpty(t *testing.T, what, dir string) {
	t.Helper()
	if left := names(contents(t, dir)); len(left) != 0 {
		t.Errorf("%s: %q is left, want nothing", what, left)
	}
}

// expectGolden compares with the files of testdata/folder, byte for byte.
func expectGolden(t *testing.T, folder string, got map[string]string) {
	t.Helper()
	folder = filepath.Join("testdata", folder)
	if *update {
		must(t, os.RemoveAll(folder))
		must(t, os.MkdirAll(folder, 0o755))
		for name, text := range got {
			must(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644))
		}
	}
	want := contents(t, folder)
	if !slices.Equal(names(got), names(want)) {
		t.Errorf("files %q, want %q", names(got), names(want))
	}
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s:\n%q\nwant\n%q", name, got[name], text)
		}
	}
}

func TestEveryDispositionHasItsFile(t *testing.T) {
	var before map[string]string
	dir := t.TempDir()
	for round := range 2 { // written twice they have the same bytes
		s := newSet(t, dir, "retry_Nov_22_2026_14_00_00.csv", "retry_Nov_22_2026_13_06_00.csv")
		add(t, s, sample...)
		counts, files, err := s.Commit(t.Context(), len(sample))
		must(t, err)
		if counts != sampleCounts || counts.Sum() != counts.Total {
			t.Errorf("counts %+v, want %+v", counts, sampleCounts)
		}
		summary := summaryOf(counts, files)
		must(t, WriteSummary(dir, stamp, summary, Details{Reasons: s.Reasons()}))
		got := contents(t, dir)
		if round == 0 {
			before = got
			expectGolden(t, "golden", got)
		}
		for name, text := range got {
			if text != before[name] {
				t.Errorf("%s, written again:\n%q\nbefore:\n%q", name, text, before[name])
			}
		}
		if len(got) != len(before) {
			t.Errorf("%q, before: %q", names(got), names(before))
		}
		expectPrivate(t, dir)
	}
}

func summaryOf(counts migration.Counts, files migration.Files) migration.Summary {
	entities := int64(12345)
	return migration.Summary{
		WorkflowID: "migration-users.csv-0123456789ab", DataFile: "users.csv", DataSHA256: strings.Repeat("0123456789abcdef", 4),
		EntityType: "user", URI: "https://name.janraincapture.com",
		StartedAt: time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC), FinishedAt: time.Date(2026, 11, 22, 14, 6, 1, 0, time.UTC),
		Records: counts,
		Rounds: []migration.Round{
			{Round: 0, Batches: 3, Calls: 3, Created: 2, Duplicate: 1, Failed: 1, Unknown: 4, RetryFile: &files.Retry[0]},
			{Round: 1, Batches: 2, Calls: 2, Duplicate: 1, Failed: 1, Unknown: 2},
		},
		Files: files, EntitiesAfter: &entities,
	}
}

// sampleUpdates are those of a delta migration.
var sampleUpdates = []Record{
	{Batch: 1, Line: 2, Email: "a@example.com", Key: "7", Raw: []byte("a@example.com,A\n"), Record: ledger.Record{Outcome: ledger.Updated, ByUpdate: true}},
	{Batch: 1, Line: 3, Email: "b@example.com", Key: `"8", 9`, Raw: []byte("b@example.com,B\n"), Record: ledger.Record{Outcome: ledger.Unchanged, ByUpdate: true}},
	{Batch: 1, Line: 4, Email: "c@example.com", Key: "10", Raw: []byte("c@example.com,C\n"), Record: ledger.Record{Outcome: ledger.Failed, ByUpdate: true, Error: "too \"long\""}},
	{Batch: 1, Line: 5, Email: "d@example.com", Key: "11", Raw: []byte("d@example.com,D\n"), Record: ledger.Record{Outcome: ledger.Failed, Error: "bad"}},
	{Batch: 2, Line: 6, Email: "e@example.com", Key: "12", Raw: []byte("e@example.com,E\n"), Record: ledger.Record{Outcome: ledger.Created, UUID: "uuid-6"}},
}

func newDeltaSet(t *testing.T, dir string) *Set {
	t.Helper()
	s, err := NewSet(Options{Dir: dir, Stamp: stamp, Header: inputHeader, Unresolved: "retry.csv", Updates: "legacyId"})
	must(t, err)
	return s
}

func TestUpdatesHaveSeparateFiles(t *testing.T) {
	dir := t.TempDir()
	s := newDeltaSet(t, dir)
	add(t, s, sampleUpdates...)
	counts, files, err := s.Commit(t.Context(), len(sampleUpdates))
	must(t, err)
	if want := (migration.Counts{Total: 5, Created: 1, Updated: 2, Failed: 2}); counts != want || counts.Sum() != 5 {
		t.Errorf("counts %+v, want %+v", counts, want)
	}
	want := map[string]string{
		"success_" + stamp + ".csv":        "batch,line,uuid,email,round,how\n2,6,uuid-6,e@example.com,0,created\n",
		"fail_" + stamp + ".csv":           "batch,line,email,error\n1,5,d@example.com,bad\n",
		"update_success_" + stamp + ".csv": "batch,line,legacyId,how\n1,2,7,updated\n1,3,\"\"\"8\"\", 9\",unchanged\n",
		"update_fail_" + stamp + ".csv":    "batch,line,email,error\n1,4,c@example.com,\"too \"\"long\"\"\"\n",
		"fail_records_" + stamp + ".csv":   header + "c@example.com,C\nd@example.com,D\n",
	}
	got := contents(t, dir)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("files %q\nwant  %q", got, want)
	}
	if files.UpdateSuccess == nil || files.UpdateFail == nil || got[*files.UpdateSuccess] == "" || got[*files.UpdateFail] == "" {
		t.Errorf("files %+v, want both files of updates named", files)
	}
	expectPrivate(t, dir)

	empty := t.TempDir()
	if _, _, err := newDeltaSet(t, empty).Commit(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, empty)["update_success_"+stamp+".csv"]; got != "batch,line,legacyId,how\n" {
		t.Errorf("without updates: %q, want a header", got)
	}

	plain := newSet(t, t.TempDir(), "")
	defer plain.Discard()
	if err := plain.Add(sampleUpdates[0]); err == nil {
		t.Error("a migration that is no delta migration took an updated record")
	}
}

func TestUpdatesThatDoNotAddUpGetNoName(t *testing.T) {
	for name, tamper := range map[string]func(*Set) (path, old, new string){
		"an update is gone":      func(s *Set) (string, string, string) { return s.updates.TemporaryPath(), "1,2,7,updated\n", "" },
		"an update is in two":    func(s *Set) (string, string, string) { return s.unfit.TemporaryPath(), "1,4,", "1,2," },
		"a failed update is cut": func(s *Set) (string, string, string) { return s.unfit.TemporaryPath(), ",\"too", "" },
	} {
		dir := t.TempDir()
		s := newDeltaSet(t, dir)
		add(t, s, sampleUpdates...)
		must(t, errors.Join(s.updates.flush(), s.unfit.flush()))
		path, old, new := tamper(s)
		data, err := os.ReadFile(path)
		must(t, err)
		if !bytes.Contains(data, []byte(old)) {
			t.Fatalf("%s: %q does not hold %q", name, data, old)
		}
		must(t, os.WriteFile(path, bytes.Replace(data, []byte(old), []byte(new), 1), 0o600))
		if _, _, err := s.Commit(t.Context(), len(sampleUpdates)); !errors.Is(err, ErrDoesNotAddUp) {
			t.Errorf("%s: %v, want %v", name, err, ErrDoesNotAddUp)
		}
		expectEmpty(t, name, dir)
	}
}

func TestEmptyFilesAreNotWritten(t *testing.T) {
	dir := t.TempDir()
	// A run that was stopped earlier has left one.
	stale := filepath.Join(dir, Name("remaining", stamp, "csv"))
	must(t, os.WriteFile(stale, []byte("stale"), 0o600))
	s := newSet(t, dir, "retry_Nov_22_2026_14_00_00.csv")
	add(t, s, sample[0])
	counts, files, err := s.Commit(t.Context(), 1)
	must(t, err)
	got := contents(t, dir)
	want := map[string]string{
		"success_" + stamp + ".csv":      "batch,line,uuid,email,round,how\n1,2,uuid-2,created@example.com,0,created\n",
		"fail_" + stamp + ".csv":         "batch,line,email,error\n",
		"fail_records_" + stamp + ".csv": header,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("files %q\nwant  %q", got, want)
	}
	if files.Unresolved != nil || files.Remaining != nil || len(files.Retry) != 0 || files.Retry == nil || counts.Created != 1 {
		t.Errorf("files %+v, counts %+v; want no unresolved, no remaining, an empty list of retry files", files, counts)
	}
}

// The retry file of a round that was not loaded gets all unknown records, or is removed where
// none is unknown.
func TestARetryFileThatWasNotLoadedBecomesTheUnresolvedOne(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "retry_2.csv")
	for _, unknown := range []bool{true, false} {
		must(t, os.WriteFile(path, []byte("a part of it"), 0o600))
		s := newSet(t, dir, "retry_2.csv", "retry_1.csv")
		record, retry := sample[0], []string{"retry_1.csv"}
		if unknown {
			record, retry = sample[7], append(retry, "retry_2.csv")
		}
		add(t, s, record)
		_, files, err := s.Commit(t.Context(), 1)
		must(t, err)
		if (files.Unresolved != nil) != unknown || unknown && *files.Unresolved != "retry_2.csv" || !slices.Equal(files.Retry, retry) {
			t.Errorf("unknown %v: files %+v, want %q", unknown, files, retry)
		}
		got, err := os.ReadFile(path)
		if want := string(inputHeader.Raw) + string(record.Raw); unknown && string(got) != want || unknown == errors.Is(err, os.ErrNotExist) {
			t.Errorf("unknown %v: retry_2.csv has %q, %v", unknown, got, err)
		}
	}
}

// Files of raw records are a selection of the input: what would make an input suspicious may be all that they hold.
func TestRawFilesMayHoldMalformedRecordsOnly(t *testing.T) {
	for name, raw := range map[string][]string{
		"fields in excess":             {"b@example.com,B,Jr.\n", "c@example.com,C,Sr.\n"},
		"the magic of a tar archive":   {strings.Repeat("x", 257-len(header)) + "ustar\x0000,B\n", "c@example.com,C\n"},
		"bytes like those of UTF-16LE": {strings.Repeat("x\x00", 300) + "\n", strings.Repeat("\x00y", 300) + "\n"},
	} {
		records := make([]Record, len(raw))
		for i := range raw {
			records[i] = Record{Batch: 1, Line: int64(i + 2), Raw: []byte(raw[i])}
		}
		want := header + strings.Join(raw, "")
		for outcome, file := range map[ledger.Outcome]string{
			ledger.Failed: Name("fail_records", stamp, "csv"), ledger.Unknown: "retry.csv", ledger.None: Name("remaining", stamp, "csv"),
		} {
			dir := t.TempDir()
			s := newSet(t, dir, "retry.csv")
			for _, r := range records {
				r.Outcome = outcome
				add(t, s, r)
			}
			if _, _, err := s.Commit(t.Context(), len(records)); err != nil || contents(t, dir)[file] != want {
				t.Errorf("%s: %s has %q, %v; want %q", name, file, contents(t, dir)[file], err, want)
			}
		}
		dir := t.TempDir()
		f, err := NewFailures(dir, stamp, inputHeader)
		must(t, err)
		w, err := NewRetryWriter(dir, "retry.csv", inputHeader)
		must(t, err)
		for _, r := range records {
			must(t, errors.Join(f.Add(r), w.Add(r.Raw)))
		}
		if err := errors.Join(f.Commit(t.Context()), w.Commit(t.Context(), len(records))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := contents(t, dir); got[Name("fail_records", stamp, "csv")] != want || got["retry.csv"] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestAnInputWithoutRecordsHasItsFiles(t *testing.T) {
	dir := t.TempDir()
	counts, _, err := newSet(t, dir, "retry.csv").Commit(t.Context(), 0)
	if err != nil || counts != (migration.Counts{}) {
		t.Errorf("%+v, %v; want zeros", counts, err)
	}
	if got := names(contents(t, dir)); len(got) != 3 {
		t.Errorf("files %q, want success, fail and fail_records", got)
	}
}

func TestASetThatDoesNotAddUpGetsNoName(t *testing.T) {
	replace := func(old, new string) func([]byte) []byte {
		return func(data []byte) []byte { return bytes.Replace(data, []byte(old), []byte(new), 1) }
	}
	cut := func(n int) func([]byte) []byte { return func(data []byte) []byte { return data[:n] } }
	cases := []struct {
		name   string
		kind   string
		tamper func([]byte) []byte
	}{
		{"a row is gone", "success", replace("1,3,uuid-3,\"\"\"quoted, name\"\"@example.com\",0,created\n", "")},
		{"a row is there twice", "success", replace("1,2,uuid-2,created@example.com,0,created\n", "1,2,uuid-2,created@example.com,0,created\n1,2,uuid-2,created@example.com,0,created\n")},
		{"a row is in two files", "fail", replace("2,7,", "1,2,")},
		{"a row is cut short", "success", replace(",0,created", "")},
		{"a line that is no number", "fail", replace("2,7,", "2,x,")},
		{"an open quote", "fail", replace("failed@", "\"failed@")},
		{"nothing is left of a table", "success", cut(0)},
		{"only a header is left of a table", "fail", cut(len("batch,line,email,error\n"))},
		{"a header of one column", "success", replace("batch,line,uuid,email,round,how", "batch")},
		{"a raw record is gone", "fail_records", replace(",=1+1\n", "")},
		{"a raw record is there twice", "retry", replace("unknown@", "a@example.com,x\nunknown@")},
		{"nothing is left of the raw records", "remaining", cut(0)},
		{"the end of the raw records is gone", "remaining", cut(len(header) + 3)},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			s := newSet(t, dir, "retry.csv")
			add(t, s, sample...)
			must(t, errors.Join(s.success.flush(), s.fail.flush(), s.failed.Flush(), s.unknown.Flush(), s.remain.Flush()))
			path := map[string]string{
				"success": s.success.TemporaryPath(), "fail": s.fail.TemporaryPath(), "fail_records": s.failed.TemporaryPath(),
				"retry": s.unknown.TemporaryPath(), "remaining": s.remain.TemporaryPath(),
			}[tc.kind]
			data, err := os.ReadFile(path)
			must(t, err)
			tampered := tc.tamper(bytes.Clone(data))
			if bytes.Equal(data, tampered) {
				t.Fatalf("the test has changed nothing in %q", data)
			}
			must(t, os.WriteFile(path, tampered, 0o600))
			_, _, err = s.Commit(t.Context(), len(sample))
			if !errors.Is(err, ErrDoesNotAddUp) {
				t.Errorf("%s holds %q\nCommit: %v, want %v", tc.kind, tampered, err, ErrDoesNotAddUp)
			} else if isRaw := tc.kind != "success" && tc.kind != "fail"; isRaw && !strings.Contains(err.Error(), tc.kind) {
				t.Errorf("Commit: %v, want the name of the %s file", err, tc.kind)
			}
			expectEmpty(t, "not committed", dir)
		})
	}
}

func TestARecordTooFewOrTooManyDoesNotAddUp(t *testing.T) {
	for _, total := range []int{len(sample) - 1, len(sample) + 1} {
		dir := t.TempDir()
		s := newSet(t, dir, "retry.csv")
		add(t, s, sample...)
		if _, _, err := s.Commit(t.Context(), total); !errors.Is(err, ErrDoesNotAddUp) {
			t.Errorf("%d records of %d: %v, want %v", len(sample), total, err, ErrDoesNotAddUp)
		}
		expectEmpty(t, "not committed", dir)
	}
	s := newSet(t, t.TempDir(), "retry.csv")
	add(t, s, sample[0], sample[0])
	if _, _, err := s.Commit(t.Context(), 2); !errors.Is(err, ErrDoesNotAddUp) {
		t.Errorf("one record twice: %v, want %v", err, ErrDoesNotAddUp)
	}
	s = newSet(t, t.TempDir(), "retry.csv")
	defer s.Discard()
	if err := s.Add(Record{Line: 2, Record: ledger.Record{Outcome: '?'}}); err == nil {
		t.Error("an outcome without a file was taken")
	}
}

func TestAnAbortedCommitLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := newSet(t, dir, "retry.csv")
	add(t, s, sample...)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Commit(ended, len(sample)); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit: %v, want %v", err, context.Canceled)
	}
	expectEmpty(t, "not committed", dir)
	if _, err := NewSet(Options{Dir: filepath.Join(dir, "missing"), Stamp: stamp}); err == nil {
		t.Error("a set was started in a missing folder")
	}
}

func TestARetryFileIsCounted(t *testing.T) {
	for _, records := range []int{2, 1, 3} {
		dir := t.TempDir()
		w, err := NewRetryWriter(dir, "retry.csv", inputHeader)
		must(t, err)
		for _, r := range []Record{sample[2], sample[9]} {
			must(t, w.Add(r.Raw))
		}
		err = w.Commit(t.Context(), records)
		got := contents(t, dir)
		if records == 2 {
			want := header + string(sample[2].Raw) + string(sample[9].Raw)
			if err != nil || got["retry.csv"] != want || len(got) != 1 {
				t.Errorf("%q, %v; want %q", got, err, want)
			}
			expectPrivate(t, dir)
		} else if !errors.Is(err, ErrDoesNotAddUp) || len(got) != 0 {
			t.Errorf("2 records counted as %d: %v, files %q; want %v and none", records, err, names(got), ErrDoesNotAddUp)
		}
	}
}

func expectPrivate(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	must(t, err)
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v (%v), want 0600", f.Name(), info.Mode().Perm(), err)
		}
	}
}

// An apostrophe before a formula would make the address another one.
func TestAValueThatLooksLikeAFormulaIsKept(t *testing.T) {
	s := newSet(t, t.TempDir(), "")
	formulas := []string{"=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"}
	for i, formula := range formulas {
		add(t, s, Record{Batch: 1, Line: int64(2 * i), Email: formula, Raw: []byte("x,y\n"), Record: ledger.Record{Outcome: ledger.Failed, Error: formula}})
	}
	must(t, s.fail.flush())
	f, err := os.Open(s.fail.TemporaryPath())
	must(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != len(formulas)+1 {
		t.Fatalf("%q, error %v", rows, err)
	}
	for i, row := range rows[1:] {
		if row[2] != formulas[i] || row[3] != formulas[i] {
			t.Errorf("%q is written as %q", formulas[i], row)
		}
	}
	s.Discard()
}

func TestTheFilesOfARollbackHoldEveryRecordOnce(t *testing.T) {
	for name, c := range map[string]struct {
		success, fail []int64
		total         int
		ok            bool
	}{
		"all":       {[]int64{2, 5}, []int64{3}, 3, true},
		"none":      {nil, nil, 0, true},
		"too few":   {[]int64{2, 5}, nil, 3, false},
		"too many":  {[]int64{2, 5}, []int64{3}, 2, false},
		"one twice": {[]int64{2, 5}, []int64{5}, 3, false},
	} {
		dir := t.TempDir()
		s, err := NewRollbackSet(dir, "stamp")
		must(t, err)
		for _, line := range c.success {
			must(t, s.Success(1, line, "u", "a@example.com"))
		}
		for _, line := range c.fail {
			must(t, s.Fail(1, line, "a reason"))
		}
		err = s.Commit(t.Context(), c.total)
		if c.ok && err != nil || !c.ok && !errors.Is(err, ErrDoesNotAddUp) {
			t.Errorf("%s: %v, want it to add up: %v", name, err, c.ok)
		}
		files, _ := os.ReadDir(dir)
		if want := map[bool]int{true: 2, false: 0}[c.ok]; len(files) != want {
			t.Errorf("%s: %v, want %d files", name, files, want)
		}
		if name == "all" {
			data, _ := os.ReadFile(filepath.Join(dir, "rollback_success_stamp.csv"))
			if string(data) != "batch,line,uuid,email\n1,2,u,a@example.com\n1,5,u,a@example.com\n" {
				t.Errorf("the file is %q", data)
			}
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
