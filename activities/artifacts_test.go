package activities

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/worker"

	"durable-dataload/internal/gate"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

// names are those of the files of the output folder, sorted.
func (r *rig) names() []string { return slices.Sorted(maps.Keys(r.outputs())) }

const done = "Nov_22_2026_13_05_00"

func TestTheArtifactsOfAMigrationThatIsDone(t *testing.T) {
	r := inspected(t, strings.Join(awkward, ""), batchSize(2))
	lostOnce(r, 1)
	r.resolve(1, true)
	entities := int64(5)
	input := ArtifactsInput{Run: r.run, FinishedAt: now.Add(time.Hour), EntitiesAfter: &entities}
	summary := must[migration.Summary](r, r.acts.WriteArtifacts, input)
	uuids := r.uuids()

	retry := "retry_Nov_22_2026_13_06_00.csv"
	expect(t, "the summary", summary, migration.Summary{
		WorkflowID: r.spec.ID, DataFile: "users.csv", DataSHA256: r.spec.SHA256, EntityType: "user", URI: r.spec.Target.URI,
		StartedAt: now, FinishedAt: now.Add(time.Hour),
		Records: migration.Counts{Total: 6, Created: 3, Recovered: 2, Failed: 1},
		Rounds: []migration.Round{
			{Round: 0, Batches: 3, Calls: 3, Created: 3, Failed: 1, Unknown: 2, RetryFile: &retry},
			{Round: 1, Batches: 1, Calls: 1, Duplicate: 2},
		},
		Files: migration.Files{
			Success: "success_" + done + ".csv", Fail: "fail_" + done + ".csv", FailRecords: "fail_records_" + done + ".csv",
			Retry: []string{retry}, Report: "report_" + done + ".html",
		},
		EntitiesAfter: &entities,
	})
	want := map[string]string{
		"success": "batch,line,uuid,email,round,how\n" +
			"1,2," + uuids["a1@example.com"] + ",a1@example.com,1,recovered\n" +
			"1,5," + uuids["a2@example.com"] + ",a2@example.com,1,recovered\n" +
			"2,6," + uuids["a3@example.com"] + ",a3@example.com,0,created\n" +
			"3,8," + uuids["a5@example.com"] + ",a5@example.com,0,created\n" +
			"3,9," + uuids["a6@example.com"] + ",a6@example.com,0,created\n",
		"fail_records": awkward[1] + awkward[6],
	}
	for kind, text := range want {
		if got := r.output(kind + "_" + done + ".csv"); got != text {
			t.Errorf("%s:\n%q\nwant\n%q", kind, got, text)
		}
	}
	if got := r.output("fail_" + done + ".csv"); !strings.HasPrefix(got, "batch,line,email,error\n2,7,") || strings.Count(got, "\n") != 2 {
		t.Errorf("fail:\n%q\nwant one line, 7", got)
	}
	if !slices.Equal(r.names(), []string{
		"fail_" + done + ".csv", "fail_records_" + done + ".csv", "report_" + done + ".html", retry, "success_" + done + ".csv", "summary_" + done + ".json",
	}) {
		t.Errorf("files %q", r.names())
	}
	var onDisk migration.Summary
	noError(t, json.Unmarshal([]byte(r.output("summary_"+done+".json")), &onDisk))
	expect(t, "the summary on the disk", onDisk, summary)

	// Again, in another process that finds no mark that they are written: the same bytes.
	before := r.outputs()
	r.restart()
	noError(t, store.Remove(store.Join(r.run.Folder.Path(), "written-"+r.run.ID)))
	must[migration.Summary](r, r.acts.WriteArtifacts, input)
	expect(t, "written again", r.outputs(), before)
	if !r.isFinished() {
		t.Error("the migration is not finished")
	}
	if sealed, err := r.run.Folder.Sealed(r.run.ID); !sealed || err != nil {
		t.Errorf("sealed: %v, %v", sealed, err)
	}
	for name := range before {
		if info, err := os.Stat(store.Join(r.spec.OutputDir, name)); !inBucket() && (err != nil || info.Mode().Perm() != 0o600) {
			t.Errorf("%s: mode %v (%v), want 0600", name, info.Mode().Perm(), err)
		}
	}
}

// A worker that was suspended claims a batch, and runs its attempt at the artifacts, when
// the run has ended by another attempt.
func TestALateAttemptLeavesTheArtifactsAsTheyAre(t *testing.T) {
	r := inspected(t, people(3), batchSize(1))
	r.load(0, 1)
	summary := r.artifacts(true)
	expect(t, "the records", summary.Records, migration.Counts{Total: 3, Created: 1, Remaining: 2})
	before := r.outputs()
	r.claim(ledger.Key{Batch: 2})
	expect(t, "the summary of a late attempt", r.artifacts(true), summary)
	expect(t, "the files after a late attempt", r.outputs(), before)
	_, err := run[Reasons](r, worker.Options{}, nil, r.acts.WriteFailures, r.run)
	expectType(t, err, Over, false)
	expect(t, "the files after a late attempt at those of a decision", r.outputs(), before)

	// A run that was reset ends once more, at another time.
	again := must[migration.Summary](r, r.acts.WriteArtifacts, ArtifactsInput{Run: r.run, FinishedAt: now.Add(2 * time.Hour), Stopped: true})
	expect(t, "the records of a later end", again.Records, migration.Counts{Total: 3, Created: 1, Unknown: 1, Remaining: 1})
}

// The files that are loaded again have the input's delimiter, the others are ours.
func TestADelimiterIsKept(t *testing.T) {
	input := "email;givenName\r\na@example.com;\"A;\nA\"\nb@example.com;B,B\nc@example.com;C;too many\r\nd@example.com;D\n"
	records := strings.SplitAfter(strings.Replace(input, "A;\n", "A;¶", 1), "\n")
	for i := range records {
		records[i] = strings.Replace(records[i], "¶", "\n", 1)
	}
	r := inspected(t, input, batchSize(2), withSpec(func(s *migration.Spec) { s.Delimiter, s.DataName = ";", "feed.csv" }))
	r.lose = func(send int) bool { return send == 1 }
	r.loadAll(0)
	file := r.retryFile(1)
	if got, want := r.output(file.Name), records[0]+records[1]+records[2]; got != want {
		t.Errorf("the retry file is %q, want %q", got, want)
	}
	r.loadAll(1)
	r.resolve(1, true)
	summary := r.artifacts(false)
	if want := (migration.Counts{Total: 4, Created: 1, Recovered: 2, Failed: 1}); summary.Records != want || summary.DataFile != "feed.csv" {
		t.Errorf("%+v of %s, want %+v of feed.csv", summary.Records, summary.DataFile, want)
	}
	if got, want := r.output("fail_records_"+done+".csv"), records[0]+records[3]; got != want {
		t.Errorf("the failed records are %q, want %q", got, want)
	}
	if got := r.output("success_" + done + ".csv"); !strings.HasPrefix(got, "batch,line,uuid,email,round,how\n1,2,") || !strings.Contains(got, ",a@example.com,1,recovered\n") {
		t.Errorf("the success file is %q, want commas", got)
	}
	for _, call := range r.truth() {
		for _, w := range call.Written {
			if w.Email == "" {
				t.Errorf("call %d wrote a record without an e-mail address", call.Seq)
			}
		}
	}
}

func TestAStopInRoundZeroAndTheRunThatResumes(t *testing.T) {
	r := inspected(t, people(8), batchSize(2))
	r.lose = func(send int) bool { return send == 2 }
	r.load(0, 1)
	r.load(0, 2)
	r.claim(ledger.Key{Batch: 3}) // its worker sleeps, and may have sent
	stopped := r.artifacts(true)
	unresolved := "retry_Nov_22_2026_14_05_00.csv"
	if want := (migration.Counts{Total: 8, Created: 2, Unknown: 4, Remaining: 2}); stopped.Records != want || stopped.Records.ExitCode() != migration.ExitStopped {
		t.Errorf("%+v, want %+v", stopped.Records, want)
	}
	if stopped.Files.Unresolved == nil || *stopped.Files.Unresolved != unresolved || !slices.Equal(stopped.Files.Retry, []string{unresolved}) {
		t.Errorf("files %+v, want %s as the unresolved one", stopped.Files, unresolved)
	}
	header := "email,givenName\n"
	lines := strings.SplitAfter(people(8), "\n")
	if got, want := r.output(unresolved), header+strings.Join(lines[3:7], ""); got != want {
		t.Errorf("%s: %q, want %q", unresolved, got, want)
	}
	if stopped.Files.Remaining == nil {
		t.Fatal("there is no file of what remains")
	}
	if got, want := r.output(*stopped.Files.Remaining), header+strings.Join(lines[7:9], ""); got != want {
		t.Errorf("remaining: %q, want %q", got, want)
	}
	expect(t, "rounds", stopped.Rounds, []migration.Round{{Round: 0, Batches: 3, Calls: 3, Created: 2, Unknown: 4, RetryFile: &unresolved}})
	if r.isFinished() {
		t.Error("a migration that was stopped is finished")
	}
	before := r.outputs()
	r.restart()
	again := r.artifacts(true)
	expect(t, "written again", again, stopped)
	expect(t, "written again", r.outputs(), before)

	// The suspended worker resumes: its run is over. The limiter says so,
	sends := r.sent()
	if _, err := run[BatchesResult](r, worker.Options{}, nil, r.acts.LoadBatches, r.batch(0, 4)); !strings.Contains(fmt.Sprint(err), "the run is over") || r.isClaimed(ledger.Key{Batch: 4}) {
		t.Errorf("a batch of a run that is over: %v, claimed %t; want it untouched", err, r.isClaimed(ledger.Key{Batch: 4}))
	}
	// and if it has forgotten that, the seal does.
	r.limiter = new(gate.Local)
	r.restart()
	if got := r.load(0, 4); got.Unknown != 2 || r.sent() != sends {
		t.Errorf("a batch of a run that is over: %+v, %d calls; want it unknown without one", got, r.sent()-sends)
	}

	// The command is rerun and resumes.
	r.resume()
	if got := r.loadAll(0); got.Records() != 0 {
		t.Errorf("loaded again: %+v, want nothing: all is settled", got)
	}
	r.retryRound(1)
	resumed := r.artifacts(false)
	if want := (migration.Counts{Total: 8, Created: 6, Recovered: 2}); resumed.Records != want {
		t.Errorf("resumed: %+v, want %+v", resumed.Records, want)
	}
	if names := r.names(); slices.Contains(names, unresolved) || slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "remaining") }) {
		t.Errorf("files %q, want the stale ones gone", names)
	}
	if !r.isFinished() {
		t.Error("the migration is not finished")
	}
}

func TestAStopInTheMiddleOfARetryRound(t *testing.T) {
	r := inspected(t, people(8), batchSize(2))
	r.lose = func(send int) bool { return send > 1 }
	r.loadAll(0)
	first := r.retryFile(1)
	r.lose = func(send int) bool { return send == 5 } // the first of round 1
	r.load(1, 1)
	r.load(1, 2)
	// Batch 3 of round 1 was not sent, and its duplicates are not resolved.
	stopped := r.artifacts(true)
	if want := (migration.Counts{Total: 8, Created: 2, Unknown: 6}); stopped.Records != want {
		t.Errorf("%+v, want %+v", stopped.Records, want)
	}
	unresolved := "retry_Nov_22_2026_14_05_00.csv"
	if !slices.Equal(stopped.Files.Retry, []string{first.Name, unresolved}) || *stopped.Files.Unresolved != unresolved {
		t.Errorf("files %+v, want %s beside %s", stopped.Files, unresolved, first.Name)
	}
	if got, want := r.output(unresolved), r.output(first.Name); got != want {
		t.Errorf("%s: %q, want %q", unresolved, got, want)
	}
	expect(t, "rounds", stopped.Rounds, []migration.Round{
		{Round: 0, Batches: 4, Calls: 4, Created: 2, Unknown: 6, RetryFile: &first.Name},
		{Round: 1, Batches: 2, Calls: 2, Duplicate: 2, Unknown: 2, RetryFile: &unresolved},
	})

	r.resume()
	if again := r.retryFile(1); again != first {
		t.Errorf("round 1 is %+v, want %+v", again, first)
	}
	if got := r.loadAll(1); got.Duplicate != 2 {
		t.Errorf("the rest of round 1: %+v, want 2 duplicates", got)
	}
	r.resolve(1, true)
	r.retryRound(2)
	resumed := r.artifacts(false)
	if want := (migration.Counts{Total: 8, Created: 2, Recovered: 6}); resumed.Records != want {
		t.Errorf("resumed: %+v, want %+v", resumed.Records, want)
	}
	if names := r.names(); slices.Contains(names, unresolved) || !slices.Contains(names, first.Name) {
		t.Errorf("files %q, want %s gone and %s there", names, unresolved, first.Name)
	}
}

func TestARetryFileThatWasNotLoadedIsTheUnresolvedOne(t *testing.T) {
	r := inspected(t, people(4), batchSize(2))
	r.lose = func(int) bool { return true }
	r.loadAll(0)
	file := r.retryFile(1) // --retry-rounds 0
	summary := r.artifacts(false)
	if want := (migration.Counts{Total: 4, Unknown: 4}); summary.Records != want || summary.Records.ExitCode() != migration.ExitUnknown {
		t.Errorf("%+v, want %+v", summary.Records, want)
	}
	if !slices.Equal(summary.Files.Retry, []string{file.Name}) || summary.Files.Unresolved == nil || *summary.Files.Unresolved != file.Name {
		t.Errorf("files %+v, want %s as the unresolved one", summary.Files, file.Name)
	}
	expect(t, "rounds", summary.Rounds, []migration.Round{{Round: 0, Batches: 2, Calls: 2, Unknown: 4, RetryFile: &file.Name}})
	if got := r.output(file.Name); got != people(4) {
		t.Errorf("%s: %q, want the whole input", file.Name, got)
	}
	if n := len(r.names()); n != 6 {
		t.Errorf("files %q, want no second retry file", r.names())
	}
}

// It remains if the API said that the whole call wrote nothing. A front end cannot know: then it may exist already.
func TestHalfABatchIsLeftWhenItsOtherHalfIsLoaded(t *testing.T) {
	for _, tc := range []struct {
		byAPI bool
		known string
		want  migration.Counts
	}{
		{true, "cc--", migration.Counts{Total: 4, Created: 2, Remaining: 2}},
		{false, "ccuu", migration.Counts{Total: 4, Created: 2, Unknown: 2}},
	} {
		r := inspected(t, people(4))
		r.tooLarge, r.sizeByAPI = 2, tc.byAPI
		r.before = func(send int) {
			if send == 2 { // after the refusal: the first half is under way
				r.acts.Drain()
			}
		}
		_, err := run[BatchesResult](r, worker.Options{}, nil, r.acts.LoadBatches, r.batch(0, 1))
		expectType(t, err, Unbegun, false)
		summary := r.artifacts(true)
		if summary.Records != tc.want || r.known(0) != tc.known {
			t.Errorf("by the API %t: %+v, known %q; want %+v, %s", tc.byAPI, summary.Records, r.known(0), tc.want, tc.known)
		}
		if len(summary.Rounds) != 1 || summary.Rounds[0].Created != 2 || summary.Rounds[0].Unknown != tc.want.Unknown {
			t.Errorf("by the API %t: rounds %+v", tc.byAPI, summary.Rounds)
		}
	}
}

func TestAMigrationOfWhichRecordsRemainIsNotFinished(t *testing.T) {
	r := inspected(t, people(4), batchSize(2))
	r.load(0, 1)
	if summary := r.artifacts(false); summary.Records.Remaining != 2 || r.isFinished() {
		t.Errorf("%+v, finished: %t; want 2 remaining, to resume whatever the workflow says", summary.Records, r.isFinished())
	}
}

func TestTheKeyStandsForTheEmailWhereThereIsNone(t *testing.T) {
	r := inspected(t, "nickname,name\nfirst,A\nsecond\n", withSpec(func(s *migration.Spec) { s.PrimaryKey = "nickname" }))
	r.loadAll(0)
	r.artifacts(false)
	if got := r.output("success_" + done + ".csv"); !strings.Contains(got, ",first,0,created\n") {
		t.Errorf("success: %q, want the nickname in it", got)
	}
	if got := r.output("fail_" + done + ".csv"); !strings.Contains(got, "\n1,3,,") {
		t.Errorf("fail: %q, want line 3 without a key that cannot be read", got)
	}
}

func TestAnInputWithoutRecordsIsDoneAtOnce(t *testing.T) {
	r := inspected(t, "email,name\n")
	if got := r.plan(0, 0, 10); got.Total != 0 || len(got.Batches) != 0 {
		t.Errorf("%+v, want no batches", got)
	}
	if summary := r.artifacts(false); summary.Records != (migration.Counts{}) || len(summary.Rounds) != 1 {
		t.Errorf("%+v, want zeros and round 0", summary)
	}
}

func TestArtifactsThatCannotBeWrittenSaySo(t *testing.T) {
	onDisk(t)
	r := inspected(t, people(2))
	r.loadAll(0)
	noError(t, os.RemoveAll(r.spec.OutputDir))
	noError(t, store.Write(r.spec.OutputDir, nil))
	_, err := run[migration.Summary](r, worker.Options{}, nil, r.acts.WriteArtifacts, ArtifactsInput{Run: r.run, FinishedAt: now})
	expectType(t, err, Storage, true, r.spec.OutputDir)
	if r.isFinished() {
		t.Error("the migration is finished without its artifacts")
	}
	noError(t, os.Remove(r.spec.OutputDir))
	noError(t, os.Mkdir(r.spec.OutputDir, 0o700))
	if summary := r.artifacts(false); summary.Records.Created != 2 {
		t.Errorf("fixed: %+v, want 2 created", summary.Records)
	}
}

func TestADamagedCopyStopsTheArtifacts(t *testing.T) {
	onDisk(t)
	r := inspected(t, people(4))
	r.loadAll(0)
	staged, err := store.Read(r.spec.Folder.Staged())
	noError(t, err)
	staged[30] ^= 1
	if err := os.WriteFile(r.spec.Folder.Staged(), staged, 0o600); err != nil { // in place: it is open
		t.Fatal(err)
	}
	_, err = run[migration.Summary](r, worker.Options{}, nil, r.acts.WriteArtifacts, ArtifactsInput{Run: r.run, FinishedAt: now})
	if err == nil || !strings.Contains(err.Error(), "damaged") || len(r.outputs()) != 0 {
		t.Errorf("%v, files %q; want an error and none", err, r.names())
	}
}

func (r *rig) report() string {
	r.t.Helper()
	return r.output("report_" + done + ".html")
}

func (r *rig) expectInReport(words ...string) {
	r.t.Helper()
	page := r.report()
	for _, want := range words {
		if !strings.Contains(page, want) {
			r.t.Errorf("the report lacks %q:\n%s", want, page)
		}
	}
}

func TestAnEntryTellsWhenTheAnswerWasThere(t *testing.T) {
	r := inspected(t, people(4), batchSize(2))
	r.lose = func(send int) bool { return send == 2 }
	for batch := 1; batch <= 2; batch++ {
		before := time.Now().Truncate(time.Millisecond)
		r.load(0, batch)
		entry, err := r.ledger().Decided(t.Context(), ledger.ByCall, ledger.Key{Batch: batch})
		noError(t, err)
		if entry.At.Before(before) || entry.At.After(time.Now()) || entry.Took <= 0 || entry.Took > time.Since(before) {
			t.Errorf("batch %d was answered at %v after %v, want between %v and now", batch, entry.At, entry.Took, before)
		}
	}
}

func TestTheReportOfAMigration(t *testing.T) {
	r := inspected(t, people(8), batchSize(2), withSpec(func(s *migration.Spec) { s.RateLimit, s.Isolate = 1000, true }))
	r.lose = func(send int) bool { return send == 2 }
	// The target quotes the record, in more than one way.
	r.answered = func(a *target.Answer) {
		for i := range a.Results {
			if n := r.sent()*2 - 1 + i; n >= 5 && n <= 6 {
				a.Results[i] = target.Result{Err: refusal(340, fmt.Sprintf("Name %d <A%d@Example.com>, 'Name', is not valid: \"Name %d\"", n, n, n))}
			}
		}
	}
	r.loadAll(0)
	for _, e := range []migration.Event{
		{At: now.Add(time.Minute), Kind: migration.EventChanged, Who: "operator", Name: "rate", Old: "1000", New: "8", Reason: "noon"},
		{At: now.Add(time.Hour - time.Millisecond), Kind: migration.EventDecision, Text: "the last moment"},
		{At: now.Add(time.Hour), Kind: migration.EventEnded, Text: "too late"},
	} {
		noError(t, r.run.Folder.AppendEvent(e))
	}
	r.artifacts(true)
	r.expectInReport("Half of the calls took", "reset</th><td>unknown</td>", `, is not valid: …</th><td class="n" data-label="records">2</td><td data-label="lines">6, 7</td>`,
		`<td>operator</td><td>rate</td><td data-label="from">1000</td><td data-label="to">8</td>`, "the last moment", "<dt>--batch-size</dt><dd>2</dd>", "go1.", `<a href="summary_`+done+`.json">`)
	page := strings.ToLower(r.report())
	for n := range 9 {
		for _, value := range []string{fmt.Sprintf("a%d@", n), fmt.Sprintf("name %d", n), "example.com", "too late"} {
			if strings.Contains(page, value) {
				t.Errorf("the report holds %q:\n%s", value, page)
			}
		}
	}
	before := r.report()
	r.restart()
	if r.artifacts(true); r.report() != before {
		t.Errorf("written again:\n%s\nbefore:\n%s", r.report(), before)
	}
}

// The first time the artifacts decide that the claim of a suspended worker is unknown,
// the second time that is decided.
func TestTheReportOfACallWhoseWorkerDied(t *testing.T) {
	r := inspected(t, people(4), batchSize(2))
	r.claim(ledger.Key{Batch: 1})
	r.load(0, 2)
	r.artifacts(true)
	r.expectInReport("the worker died, or was cut off</th><td>unknown</td>", "Shown at their start and without a latency", "worker died: 1 call.", "Of 2 calls 1 was answered, 0 were refused as a whole, and 1 was of unknown outcome.")
	before := r.report()
	r.restart()
	if r.artifacts(true); r.report() != before {
		t.Errorf("written again:\n%s\nbefore:\n%s", r.report(), before)
	}
}

func TestTheReportDrawsUpdates(t *testing.T) {
	r := loadedDelta(t, people(2), []string{`{"email":"a1@example.com","givenName":"Other"}`})
	if got := r.update(1); got.Updated != 1 {
		t.Fatalf("%+v, want one update", got)
	}
	r.artifacts(false)
	r.expectInReport(">updates: updates, ")
}
