package migration

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestAKeyIdentifiesContentTargetAndStart(t *testing.T) {
	target := Target{URI: "https://a.example", EntityType: "user"}
	key := Key("abc", target, 1, 1)
	if key != Key("abc", target, 1, 0) || key != Key("abc", Target{URI: "https://a.example", EntityType: "user", Auth: "signature", InsecureHTTP: true}, 1, 1) {
		t.Error("the same migration has two keys: the way to authenticate, or the first time of asking changes it")
	}
	others := map[string]string{
		"another content":     Key("abd", target, 1, 1),
		"another host":        Key("abc", Target{URI: "https://b.example", EntityType: "user"}, 1, 1),
		"another entity type": Key("abc", Target{URI: "https://a.example", EntityType: "users"}, 1, 1),
		"another start":       Key("abc", target, 2, 1),
		"a second time":       Key("abc", target, 1, 2),
		"a third time":        Key("abc", target, 1, 3),
		"moved boundaries":    Key("abc", Target{URI: "https://a.example\nuser", EntityType: ""}, 1, 1),
	}
	seen := map[string]string{key: "the migration itself"}
	for what, other := range others {
		if same, ok := seen[other]; ok {
			t.Errorf("%s has the key of %s: %s", what, same, other)
		}
		seen[other] = what
	}
	// The name of the file is in the workflow id alone.
	one, two := WorkflowID("users.csv", key), WorkflowID("Kopie von Käufer\u202e.csv", key)
	if one != "migration-users.csv-"+key || two != "migration-Kopie-von-Kaufer-.csv-"+key {
		t.Errorf("workflow ids %q and %q, want the slug of the file's name and the key %s", one, two, key)
	}
}

func TestExitCodes(t *testing.T) {
	cases := []struct {
		counts Counts
		want   int
	}{
		{Counts{}, ExitDone},
		{Counts{Total: 3, Created: 1, Recovered: 1, Updated: 1}, ExitDone},
		{Counts{Total: 2, Created: 1, Failed: 1}, ExitFailed},
		{Counts{Total: 2, Unknown: 1, Failed: 1}, ExitUnknown},
		{Counts{Total: 3, Unknown: 1, Failed: 1, Remaining: 1}, ExitStopped},
		{Counts{Total: 1, Remaining: 1}, ExitStopped},
		{Counts{Total: 1, Unknown: 1}, ExitUnknown},
	}
	for _, tc := range cases {
		if got := tc.counts.ExitCode(); got != tc.want {
			t.Errorf("%+v: exit code %d, want %d", tc.counts, got, tc.want)
		}
	}
}

func TestTheSumHasEveryDisposition(t *testing.T) {
	var c Counts
	v := reflect.ValueOf(&c).Elem()
	want := 0
	for i := range v.NumField() {
		if v.Type().Field(i).Name == "Total" {
			v.Field(i).SetInt(1 << 20) // must not be in it
			continue
		}
		v.Field(i).SetInt(1 << i)
		want += 1 << i
	}
	if got := c.Sum(); got != want {
		t.Errorf("%+v: Sum %b, want %b", c, got, want)
	}
}

func TestSummaryJSONIsStable(t *testing.T) {
	// Scripts depend on the names, on null for what is not there, and on
	// retry being a list.
	data, err := json.Marshal(Summary{Rounds: []Round{{}}, Files: Files{Retry: []string{}}})
	must(t, err)
	const want = `{"workflow_id":"","data_file":"","data_sha256":"","entity_type":"","apid_uri":"",` +
		`"started_at":"0001-01-01T00:00:00Z","finished_at":"0001-01-01T00:00:00Z",` +
		`"records":{"total":0,"created":0,"recovered":0,"updated":0,"failed":0,"unknown":0,"remaining":0},` +
		`"rounds":[{"round":0,"batches":0,"calls":0,"created":0,"duplicate":0,"failed":0,"unknown":0,"retry_file":null}],` +
		`"files":{"success":"","fail":"","fail_records":"","retry":[],"unresolved":null,"remaining":null,"update_success":null,"update_fail":null,"report":""},` +
		`"entities_after":null}`
	if string(data) != want {
		t.Errorf("got  %s\nwant %s", data, want)
	}
}

// folders are names that must not confuse: a person chooses where the state is.
var folders = []string{"state", "with blank", "[brackets] *?", "ümläut"}

func TestAFolderReturnsWhatWasSaved(t *testing.T) {
	for _, name := range folders {
		f := In(filepath.Join(t.TempDir(), name), "key")
		if _, err := f.Spec(); !errors.Is(err, ErrAbsent) {
			t.Errorf("%s: Spec of an empty folder: %v, want %v", name, err, ErrAbsent)
		}
		if _, err := f.Start(); !errors.Is(err, ErrAbsent) {
			t.Errorf("%s: Start of an empty folder: %v, want %v", name, err, ErrAbsent)
		}
		if _, err := f.Summary(); !errors.Is(err, ErrAbsent) {
			t.Errorf("%s: Summary of an empty folder: %v, want %v", name, err, ErrAbsent)
		}
		if _, err := f.RetryFile(1); !errors.Is(err, ErrAbsent) {
			t.Errorf("%s: RetryFile of an empty folder: %v, want %v", name, err, ErrAbsent)
		}

		spec := Spec{
			ID: "id", DataFile: "/data/users.csv", OutputDir: "/out", Folder: f, SHA256: "abc",
			Target:    Target{URI: "https://a.example", EntityType: "user", Auth: "basic"},
			BatchSize: 100, StartAt: 1, Limits: Limits{RateLimit: 0.5, Workers: 10}, Timeout: 10 * time.Second, RetryRounds: 3, RetryBackoff: time.Minute,
			UnknownAPI: [][2]int{}, UnknownHTTP: [][2]int{{502, 502}}, RecoveredBy: Lookup, PrimaryKey: "email", SearchAttributes: true,
		}
		for _, workers := range []int{10, 20} { // the options of the last run hold
			spec.Workers = workers
			must(t, f.SaveSpec(spec))
			if got, err := f.Spec(); err != nil || !reflect.DeepEqual(got, spec) {
				t.Errorf("%s: Spec: %+v, %v\nwant %+v", name, got, err, spec)
			}
		}

		first := Start{ID: "id", StartedAt: time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC), Stamp: "Nov_22_2026_13_05_00"}
		for _, start := range []Start{first, {ID: "later", Stamp: "later"}} { // the first one holds
			if got, err := f.CreateStart(start); err != nil || got != first {
				t.Errorf("%s: CreateStart: %+v, %v; want %+v", name, got, err, first)
			}
		}
		if got, err := f.Start(); err != nil || got != first {
			t.Errorf("%s: Start: %+v, %v; want %+v", name, got, err, first)
		}

		retry := RetryFile{Round: 1, Name: "retry_1.csv", Batches: 2, Records: 3}
		for _, r := range []RetryFile{retry, {Round: 1, Name: "later"}} {
			if got, err := f.CreateRetryFile(r); err != nil || got != retry {
				t.Errorf("%s: CreateRetryFile: %+v, %v; want %+v", name, got, err, retry)
			}
		}
		if got, err := f.RetryFile(1); err != nil || got != retry {
			t.Errorf("%s: RetryFile: %+v, %v; want %+v", name, got, err, retry)
		}
		if _, err := f.RetryFile(2); !errors.Is(err, ErrAbsent) {
			t.Errorf("%s: RetryFile of another round: %v, want %v", name, err, ErrAbsent)
		}

		unresolved := "retry_2.csv"
		summary := Summary{DataFile: "users.csv", Records: Counts{Total: 1, Unknown: 1}, Files: Files{Retry: []string{unresolved}, Unresolved: &unresolved}}
		must(t, f.SaveSummary(summary))
		if got, err := f.Summary(); err != nil || !reflect.DeepEqual(got, summary) {
			t.Errorf("%s: Summary: %+v, %v; want %+v", name, got, err, summary)
		}

		if finished, err := f.Finished(); finished || err != nil {
			t.Errorf("%s: Finished before Finish", name)
		}
		must(t, f.Finish(false))
		if finished, err := f.Finished(); !finished || err != nil {
			t.Errorf("%s: not Finished after Finish", name)
		}
		expectPrivate(t, f.Path())
	}
}

func TestUnresolvedNamesAreKeptByRun(t *testing.T) {
	for _, name := range folders {
		f := In(filepath.Join(t.TempDir(), name), "key")
		if got, err := f.Unresolved(); err != nil || len(got) != 0 {
			t.Errorf("%s: Unresolved of an empty folder: %v, %v; want none", name, got, err)
		}
		for _, n := range []struct{ run, name, want string }{
			{"run-1", "retry_1.csv", "retry_1.csv"},
			{"run-2", "retry_2.csv", "retry_2.csv"},
			{"run-1", "retry_3.csv", "retry_1.csv"}, // the first one holds
		} {
			if got, err := f.CreateUnresolved(n.run, n.name); err != nil || got != n.want {
				t.Errorf("%s: CreateUnresolved(%s, %s): %q, %v; want %q", name, n.run, n.name, got, err, n.want)
			}
		}
		want := map[string]string{"run-1": "retry_1.csv", "run-2": "retry_2.csv"}
		if got, err := f.Unresolved(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: Unresolved: %v, %v; want %v", name, got, err, want)
		}
	}
}

func TestASealIsForOneRun(t *testing.T) {
	f := In(t.TempDir(), "key")
	if sealed, err := f.Sealed("run-1"); sealed || err != nil {
		t.Errorf("before: %v, %v; want no seal", sealed, err)
	}
	for range 2 {
		must(t, f.Seal("run-1"))
	}
	if sealed, err := f.Sealed("run-1"); !sealed || err != nil {
		t.Errorf("after: %v, %v; want the seal", sealed, err)
	}
	if sealed, err := f.Sealed("run-2"); sealed || err != nil {
		t.Errorf("another run: %v, %v; want no seal", sealed, err)
	}
	// What cannot be found out is an error, and not "not sealed".
	broken := RunFolder(filepath.Join(f.Path(), "sealed-run-1")).Migration()
	if sealed, err := broken.Sealed("run"); err == nil {
		t.Errorf("below a file: %v, want an error", sealed)
	}
}

func TestADamagedFileIsRefused(t *testing.T) {
	f := In(t.TempDir(), "key")
	must(t, f.SaveSpec(Spec{}))
	path := filepath.Join(f.Path(), "spec.json")
	must(t, os.WriteFile(path, []byte(`{"id":`), 0o600))
	if _, err := f.Spec(); err == nil || errors.Is(err, ErrAbsent) || !strings.Contains(err.Error(), path) {
		t.Errorf("Spec: %v, want an error that names %s", err, path)
	}
}

func TestDropIndexRemovesIndexAndCopy(t *testing.T) {
	f := In(t.TempDir(), "key")
	must(t, f.Make())
	for range 2 { // gone already is no error
		if err := f.DropIndex(); err != nil {
			t.Errorf("DropIndex: %v", err)
		}
	}
	for _, path := range []string{f.Index(), f.Staged()} {
		must(t, os.WriteFile(path, nil, 0o600))
	}
	must(t, f.DropIndex())
	if left, _ := os.ReadDir(f.Path()); len(left) != 0 {
		t.Errorf("%v is left, want nothing", left)
	}
}

func TestTheHostOfATarget(t *testing.T) {
	if got := (Target{URI: "not a uri"}).Host(); got != "not a uri" {
		t.Errorf("Host: %q", got)
	}
	if got := (Target{URI: "https://a.example:8443/path"}).Host(); got != "a.example:8443" {
		t.Errorf("Host: %q, want a.example:8443", got)
	}
}

func expectPrivate(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	must(t, err)
	for _, f := range files {
		if f.IsDir() {
			expectPrivate(t, filepath.Join(dir, f.Name()))
			continue
		}
		info, err := f.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v (%v), want 0600", f.Name(), info.Mode().Perm(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%s: mode %v (%v), want 0700", dir, info.Mode().Perm(), err)
	}
}

func TestAFolderKeepsMappingsByTheirDigest(t *testing.T) {
	f := In(t.TempDir(), "key")
	text := []byte("others: text\n")
	digest := MappingDigest(text)
	if _, err := f.Mapping(digest); !errors.Is(err, ErrAbsent) {
		t.Errorf("before it is saved: %v, want ErrAbsent", err)
	}
	must(t, f.SaveMapping(text))
	if got, err := f.Mapping(digest); err != nil || string(got) != string(text) {
		t.Errorf("%q, %v; want %q", got, err, text)
	}
	must(t, os.WriteFile(f.mapping(digest), []byte("others: fail\n"), 0o600))
	if _, err := f.Mapping(digest); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged copy: %v, want it to be said", err)
	}
}

func TestAnotherMappingIsRefusedOnceTheLedgerHasAnEntry(t *testing.T) {
	f := In(t.TempDir(), "key")
	begun := Spec{Mapping: strings.Repeat("a", 64), MappingFile: "/x/begun.yaml"}
	asked := Spec{Mapping: strings.Repeat("b", 64), MappingFile: "/x/asked.yaml"}
	expect := func(when string, s Spec, words ...string) {
		t.Helper()
		err := f.CheckBegun(s)
		if (err != nil) != (len(words) > 0) {
			t.Errorf("%s: error %v", when, err)
		}
		for _, word := range words {
			if err != nil && !strings.Contains(err.Error(), word) {
				t.Errorf("%s: error %v, want %s in it", when, err, word)
			}
		}
	}
	expect("an empty folder", asked)
	must(t, f.SaveSpec(begun))
	expect("nothing was sent", asked)
	must(t, os.MkdirAll(f.Ledger()+"/0", 0o700))
	expect("something was sent", asked, "begun.yaml", "asked.yaml", f.mapping(begun.Mapping))
	expect("the same", begun)
	expect("none", Spec{}, "begun.yaml", "the built-in mapping")
	must(t, f.SaveSpec(Spec{}))
	expect("begun with none", asked, "the built-in mapping", "asked.yaml", "leave out --mapping")
}

func TestOtherRunsAreSealed(t *testing.T) {
	f := In(t.TempDir(), "key")
	if err := f.SealOthers("c"); err != nil {
		t.Errorf("without a folder: %v", err)
	}
	for _, run := range []string{"a", "b", "c"} {
		must(t, f.Enter(run))
	}
	must(t, f.SealOthers("c"))
	for run, want := range map[string]bool{"a": true, "b": true, "c": false} {
		if got, err := f.Sealed(run); err != nil || got != want {
			t.Errorf("run %s sealed: %v, %v; want %v", run, got, err, want)
		}
	}
}

func TestEachFolderHasItsOwnOwner(t *testing.T) {
	one, two := In(t.TempDir(), "0123456789ab"), In(t.TempDir(), "0123456789ab") // of two state folders
	first, err := one.Owner()
	must(t, err)
	again, err := one.Owner()
	if err != nil || again != first {
		t.Errorf("asked again: %q, %v; want %q", again, err, first)
	}
	if other, err := two.Owner(); err != nil || other == first {
		t.Errorf("another folder: %q, %v; want another owner than %q", other, err, first)
	}
}

func TestATruncatedLineLosesOnlyItsOwnEvent(t *testing.T) {
	f := RunFolder(t.TempDir()).Migration()
	at := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	begun, ended := Event{At: at, Kind: EventBegun}, Event{At: at.Add(time.Hour), Kind: EventEnded}
	changed := Event{At: at.Add(time.Minute), Kind: EventChanged, Who: "anna@desk", Reason: strings.Repeat("because ", 20_000)}
	must(t, f.AppendEvent(begun))
	must(t, f.AppendEvent(ended))
	data, err := os.ReadFile(f.events() + ".jsonl")
	must(t, err)
	must(t, os.WriteFile(f.events()+".jsonl", data[:len(data)-20], 0o600))
	for _, e := range []Event{changed, ended, ended} { // the last is of an activity that was run again
		must(t, f.AppendEvent(e))
	}
	got, err := f.Events()
	must(t, err)
	want := []Event{begun, changed, ended}
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d: only the line that was cut is lost, however long the others are", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("event %d is %.200v, want %.200v", i, got[i], want[i])
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestACancelEndsAMigrationForGood(t *testing.T) {
	f := In(t.TempDir(), "00000000000a")
	if _, err := f.Cancel(Event{}); !errors.Is(err, ErrAbsent) {
		t.Errorf("without a result: %v, want ErrAbsent", err)
	}
	if finished, err := f.Finished(); finished || err != nil {
		t.Errorf("it is finished: %t, %v", finished, err)
	}
	order := Event{At: time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC), Kind: EventChanged, Name: "cancel"}
	if err := errors.Join(f.SaveSummary(Summary{Records: Counts{Total: 2, Unknown: 2}}), f.Enter("begins-now")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		summary, err := f.Cancel(order)
		kept, keptErr := f.Summary()
		if err != nil || keptErr != nil || !summary.Cancelled || !kept.Cancelled || summary.Records.Unknown != 2 {
			t.Errorf("%+v, %v; kept %+v, %v; want it cancelled", summary, err, kept, keptErr)
		}
	}
	sealed, err := f.Sealed("begins-now")
	events, eventsErr := f.Events()
	if err != nil || eventsErr != nil || !sealed || !f.Cancelled() || len(events) != 1 || events[0] != order {
		t.Errorf("sealed %t, cancelled %t, events %+v, %v, %v", sealed, f.Cancelled(), events, err, eventsErr)
	}
}
