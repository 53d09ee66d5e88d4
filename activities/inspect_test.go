package activities

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/worker"

	"durable-dataload/internal/config"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

func TestInspectSourcePreparesTheFolderOnce(t *testing.T) {
	r := newRig(t, "\uFEFFemail,name\r\na@example.com,\"two\r\nlines\"\r\n\r\nb@example.com,B\r\nc@example.com,C", batchSize(2))
	first := r.inspect()
	want := Inspected{Records: 3, Batches: 2, Start: migration.Start{ID: r.spec.ID, StartedAt: now, Stamp: "Nov_22_2026_13_05_00"}}
	want.Start.Began = first.Start.Began
	if first != want || first.Start.Began.Clock == "" || time.Since(first.Start.Began.At) > patience {
		t.Errorf("%+v, want %+v, begun just now", first, want)
	}
	index, err := store.Read(r.run.Folder.Index())
	noError(t, err)
	staged, err := store.Read(r.spec.Folder.Staged())
	if input, _ := store.Read(r.spec.DataFile); err != nil || string(staged) != string(input) {
		t.Errorf("the copy is %q (%v), want %q", staged, err, input)
	}
	r.load(0, 1)

	// Again: by a retry, and by a later run, at a later time, with other options.
	r.restart()
	r.run.ID, r.spec.Workers, r.spec.ID = "run-2", 1, "another id"
	again := must[Inspected](r, r.acts.InspectSource, InspectInput{Spec: r.spec, Run: r.run, Now: now.Add(time.Hour)})
	if again != first {
		t.Errorf("again: %+v, want %+v", again, first)
	}
	if now, _ := store.Read(r.run.Folder.Index()); string(now) != string(index) {
		t.Error("the index has changed")
	}
	if spec, err := r.spec.Folder.Spec(); err != nil || spec.Workers != 1 {
		t.Errorf("the folder keeps %+v, %v; want the options of the later run", spec, err)
	}
	if known := r.known(0); known != "cc -" {
		t.Errorf("the ledger knows %q, want what it knew: cc -", known)
	}
}

func TestADamagedOrMissingIndexIsMadeAgain(t *testing.T) {
	for name, damage := range map[string]func(f migration.Folder) error{
		"index damaged": func(f migration.Folder) error { return cutOff(f.Index(), 50) },
		"index missing": func(f migration.Folder) error { return store.Remove(f.Index()) },
		"copy missing":  func(f migration.Folder) error { return store.Remove(f.Staged()) },
		"copy cut off":  func(f migration.Folder) error { return cutOff(f.Staged(), 10) },
	} {
		r := inspected(t, people(6))
		before, err := store.Read(r.run.Folder.Index())
		noError(t, err)
		noError(t, damage(r.spec.Folder))
		r.inspect()
		after, err := store.Read(r.run.Folder.Index())
		if err != nil || string(after) != string(before) {
			t.Errorf("%s: the index is another one (%v)", name, err)
		}
		if staged, err := store.Read(r.spec.Folder.Staged()); err != nil || string(staged) != people(6) {
			t.Errorf("%s: the copy is %q (%v)", name, staged, err)
		}
		// Not with other batches: the entries of the ledger are about these.
		noError(t, damage(r.spec.Folder))
		r.spec.BatchSize = 2
		_, err = run[Inspected](r, worker.Options{}, nil, r.acts.InspectSource, InspectInput{Spec: r.spec, Run: r.run, Now: now})
		expectType(t, err, Refused, false, "--batch-size 4")
	}
}

// cutOff leaves the first bytes of a file.
func cutOff(name string, n int) error {
	data, err := store.Read(name)
	if err != nil {
		return err
	}
	return store.Write(name, data[:n])
}

func TestInspectSourceRefusesWhatCannotBeMigrated(t *testing.T) {
	cases := map[string]struct {
		input   string
		prepare func(r *rig)
		words   []string
	}{
		"an empty file":              {"", nil, []string{"users.csv", "empty"}},
		"not UTF-8":                  {"email\na\xff@example.com\n", nil, []string{"users.csv, line 2", "UTF-8"}},
		"a quote that is not closed": {"email,name\na@example.com,\"A\n", nil, []string{"users.csv, line 2", "quote"}},
		"a name twice":               {"email,email\n", nil, []string{"users.csv, line 1", "the same name"}},
		"an error page":              {"<!DOCTYPE html>\n<html><title>Sign in</title></html>\n", nil, []string{"users.csv, line 1", "HTML"}},
		"the key in another case":    {"Email,givenName\na,A\n", nil, []string{"users.csv: ", "did you mean email?"}},
		"nothing for the target":     {"Jane,Doe\nJohn,Doe\n", nil, []string{"users.csv: ", "no column is an attribute of the target's"}},
		"a title above the header":   {"Users\nemail,givenName\na@example.com,A\n", nil, []string{"users.csv, line 1", "a title"}},
		"no header":                  {"a@example.com,A\n", nil, []string{"users.csv, line 1", "header"}},
		"a missing file": {"email\n", func(r *rig) {
			noError(r.t, store.Remove(r.spec.DataFile))
		}, []string{"users.csv"}},
		"a file that was changed since it was digested": {people(2), func(r *rig) { r.writeInput(people(3)) }, []string{"was changed while it was read", "start again"}},
		"an output folder that is a file": {"email\n", func(r *rig) {
			onDisk(r.t)
			noError(r.t, store.Write(r.spec.OutputDir, nil))
		}, []string{"--output-dir"}},
		"a target that is no address": {"email\n", func(r *rig) { r.spec.Target.URI = "ftp://somewhere" }, []string{"ftp://"}},
		"a migration that is done": {"email\n", func(r *rig) {
			noError(r.t, r.spec.Folder.Finish(false))
		}, []string{"migrated already", "--again"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, tc.input)
			if tc.prepare != nil {
				tc.prepare(r)
			}
			_, err := run[Inspected](r, worker.Options{}, nil, r.acts.InspectSource, InspectInput{Spec: r.spec, Run: r.run, Now: now})
			expectType(t, err, Refused, false, tc.words...)
			if strings.Contains(err.Error(), "Doe") { // where there is no header, a name is a value
				t.Errorf("the error has a value of the input in it: %v", err)
			}
			if _, err := store.Stat(r.run.Folder.Index()); err == nil {
				t.Error("there is an index, want none")
			}
			if _, err := r.run.Folder.Start(); err == nil {
				t.Error("the migration has begun")
			}
			if n := len(r.truth()); n != 0 {
				t.Errorf("the target saw %d calls", n)
			}
		})
	}
}

func TestAMigrationCannotBecomeAnotherOne(t *testing.T) {
	cases := map[string]struct {
		change func(s *migration.Spec)
		words  []string
	}{
		"another batch size": {func(s *migration.Spec) { s.BatchSize = 3 }, []string{"--batch-size 4", "with 3"}},
		"another start":      {func(s *migration.Spec) { s.StartAt = 2 }, []string{"another migration", "--state-dir"}},
		"another delimiter":  {func(s *migration.Spec) { s.Delimiter = ";" }, []string{"--delimiter ','", "with ';'"}},
		"another file":       {func(s *migration.Spec) { s.SHA256 = strings.Repeat("0", 64) }, []string{"another migration", "--state-dir"}},
	}
	for name, tc := range cases {
		r := inspected(t, people(6))
		spec := r.spec
		tc.change(&spec)
		_, err := run[Inspected](r, worker.Options{}, nil, r.acts.InspectSource, InspectInput{Spec: spec, Run: r.run, Now: now})
		expectType(t, err, Refused, false, tc.words...)
		if kept, err := r.spec.Folder.Spec(); err != nil || kept.BatchSize != 4 || kept.StartAt != 1 || kept.SHA256 != r.spec.SHA256 {
			t.Errorf("%s: the folder keeps %+v, %v; want what it had", name, kept, err)
		}
		r.inspect() // the migration itself resumes
	}
}

func TestStartAtLeavesTheFirstRecordsOut(t *testing.T) {
	r := newRig(t, people(6), withSpec(func(s *migration.Spec) { s.StartAt = 4 }))
	if got := r.inspect(); got.Records != 3 || got.Skipped != 3 || got.Batches != 1 {
		t.Errorf("%+v, want 3 records, 3 skipped, 1 batch", got)
	}
	if got := r.load(0, 1); got.Created != 3 {
		t.Errorf("%+v, want 3 created", got)
	}
	if _, ok := r.uuids()["a3@example.com"]; ok {
		t.Error("record 3 was sent")
	}
}

func TestPlansCountWhatIsSettledAndLeaveItOut(t *testing.T) {
	r := inspected(t, "email,name\na@example.com,\"two\nlines\"\nb@example.com,B\n\nc@example.com,C\nd@example.com,D\ne@example.com,E\nf@example.com,F\n", batchSize(1))
	expect(t, "all", r.plan(0, 0, 100), Plan{Batches: []PlannedBatch{{1, 2, 3}, {2, 4, 4}, {3, 6, 6}, {4, 7, 7}, {5, 8, 8}, {6, 9, 9}}, After: 6, Total: 6})
	expect(t, "the first two", r.plan(0, 0, 2), Plan{Batches: []PlannedBatch{{1, 2, 3}, {2, 4, 4}}, After: 2, Total: 6})

	r.load(0, 1)
	r.lose = func(int) bool { return true }
	r.load(0, 3)
	r.claim(ledger.Key{Batch: 4}) // not settled yet: SettleBatches will decide it
	expect(t, "after two batches", r.plan(0, 0, 2), Plan{
		Batches: []PlannedBatch{{2, 4, 4}, {4, 7, 7}}, Settled: ledger.Counts{Created: 1, Unknown: 1, Calls: 2}, Errors: map[string]int{"reset": 1}, After: 4, Total: 6,
	})
	expect(t, "the rest", r.plan(0, 4, 2), Plan{Batches: []PlannedBatch{{5, 8, 8}, {6, 9, 9}}, After: 6, Total: 6})
	expect(t, "behind the end", r.plan(0, 6, 2), Plan{After: 6, Total: 6})
	if first, last := r.plan(0, 0, 1).Batches[0].Lines(); first != 4 || last != 4 {
		t.Errorf("lines %d to %d, want 4 to 4", first, last)
	}
}

func TestAPlanOfARetryRoundHasItsBatchesOnly(t *testing.T) {
	r := inspected(t, people(6), batchSize(1))
	r.lose = func(send int) bool { return send%2 == 0 }
	r.loadAll(0)
	if file := r.retryFile(1); file.Batches != 3 || file.Records != 3 {
		t.Fatalf("%+v, want 3 batches, 3 records", file)
	}
	r.lose = nil
	expect(t, "round 1", r.plan(1, 0, 100), Plan{Batches: []PlannedBatch{{1, 3, 3}, {2, 5, 5}, {3, 7, 7}}, After: 3, Total: 3})
	if got := r.load(1, 2).Counts; got != (ledger.Counts{Duplicate: 1, Calls: 1}) {
		t.Errorf("position 2 of round 1: %+v, want one duplicate", got)
	}
	if known := r.truth()[6].Keys; !slices.Equal(known, []string{"a4@example.com"}) {
		t.Errorf("position 2 of round 1 sent %q, want a4@example.com", known)
	}
	expect(t, "round 1, after a batch", r.plan(1, 0, 100), Plan{
		Batches: []PlannedBatch{{1, 3, 3}, {3, 7, 7}}, Settled: ledger.Counts{Duplicate: 1, Calls: 1}, After: 3, Total: 3,
	})
}

func TestAWorkerThatStopsLeavesReadingToAnother(t *testing.T) {
	stop := make(chan struct{})
	close(stop)
	// Big enough to be noticed: the stop is seen between chunks.
	big := newRig(t, people(200_000))
	_, err := run[Inspected](big, worker.Options{}, stop, big.acts.InspectSource, InspectInput{Spec: big.spec, Run: big.run, Now: now})
	expectType(t, err, Unbegun, false)
	if _, err := store.Stat(big.run.Folder.Index()); err == nil {
		t.Error("an index of half a file is there")
	}
	if files, _ := filepath.Glob(store.Join(big.run.Folder.Path(), ".*")); !inBucket() && len(files) > 0 {
		t.Errorf("%q is left behind", files)
	}
	big.inspect()
}

// A later run with another mapping seals the earlier ones: also one that still reads its
// input, and may resume when this one is at work.
func TestARunThatStillInspectsIsSealedByALaterOne(t *testing.T) {
	r := newRig(t, "") // it comes no further than to its input
	input := InspectInput{Spec: r.spec, Run: r.run, Now: now}
	_, err := run[Inspected](r, worker.Options{}, nil, r.acts.InspectSource, input)
	expectType(t, err, Refused, false, "empty")
	noError(t, r.run.Folder.SealOthers("run-2"))
	if sealed, err := r.run.Folder.Sealed(r.run.ID); !sealed || err != nil {
		t.Errorf("sealed: %v, %v; want it sealed", sealed, err)
	}
	r.writeInput(people(2))
	input.Spec.SHA256 = digestOf(t, r.spec.DataFile)
	_, err = run[Inspected](r, worker.Options{}, nil, r.acts.InspectSource, input)
	expectType(t, err, Refused, false, errRunOver.Error())
	if _, err := r.spec.Folder.Spec(); !errors.Is(err, migration.ErrAbsent) {
		t.Errorf("it has saved its options: %v", err)
	}
}

func (r *rig) check() error {
	_, err := run[any](r, worker.Options{}, nil, r.acts.CheckTarget, r.run)
	return err
}

func TestCheckTargetSeparatesRefusalsFromOutages(t *testing.T) {
	good := inspected(t, people(1))
	if err := good.check(); err != nil {
		t.Errorf("a good target: %v", err)
	}

	unknownType := inspected(t, people(1), withSpec(func(s *migration.Spec) { s.Target.EntityType = "nobody" }))
	expectType(t, unknownType.check(), Refused, false, "nobody")

	gone := inspected(t, people(1))
	noError(t, gone.sandbox.Close())
	expectType(t, gone.check(), Unreachable, true, "nothing was sent")

	for _, r := range []*rig{good, unknownType, gone} {
		if n := len(r.truth()); n != 0 {
			t.Errorf("%d calls were made that write", n)
		}
	}
}

func TestWrongCredentialsAreRefused(t *testing.T) {
	r := inspected(t, people(1))
	r.acts = New(nil, (&config.Credentials{ClientID: "id", Secret: "S3cr3t-never-shown"}).Connect, r.acts.limiters, r.acts.log)
	err := r.check()
	expectType(t, err, Refused, false, "client id")
	if err != nil && strings.Contains(err.Error(), "S3cr3t") {
		t.Errorf("the error shows the secret: %v", err)
	}
}

func TestEntitiesAreCounted(t *testing.T) {
	r := inspected(t, people(6))
	r.loadAll(0)
	count := must[*int64](r, r.acts.CountEntities, r.run)
	if count == nil || *count != 6 {
		t.Errorf("%v, want 6", count)
	}
	noError(t, r.sandbox.Close())
	_, err := run[*int64](r, worker.Options{}, nil, r.acts.CountEntities, r.run)
	expectType(t, err, Unreachable, true)
}

func TestWithoutAFolderNothingIsDone(t *testing.T) {
	r := inspected(t, people(1))
	noError(t, store.RemoveAll(r.run.Folder.Path()))
	expectType(t, r.check(), Storage, true, "not there yet")
}

// An index that was made for this run, by the command that starts it or by an earlier attempt, is used: the input is not read
// again. One that was made with other options is not.
func TestAnIndexThatWasMadeForThisRunIsUsed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*rig)
		used   bool
	}{
		"the same options":    {func(*rig) {}, true},
		"another batch size":  {func(r *rig) { r.spec.BatchSize = 3 }, false},
		"another start":       {func(r *rig) { r.spec.StartAt = 2 }, false},
		"another primary key": {func(r *rig) { r.spec.PrimaryKey = "name" }, false},
		"another canary": {func(r *rig) {
			noError(r.t, store.Remove(store.Join(r.spec.Folder.Path(), "cut.json")))
			r.spec.Canary = 1
		}, false},
		"room for less":        {func(r *rig) { r.spec.Timeout *= 1000 }, false},
		"another input":        {func(r *rig) { r.writeInput(people(5)); r.spec.SHA256 = digestOf(r.t, r.spec.DataFile) }, false},
		"the copy is not here": {func(r *rig) { noError(r.t, store.Remove(r.spec.Folder.Staged())) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := inspected(t, people(6))
			noError(t, store.Remove(store.Join(r.spec.Folder.Path(), "spec.json"))) // as before anything has begun
			c.change(r)
			info, err := store.Stat(r.spec.Folder.Index())
			noError(t, err)
			r.inspect()
			after, err := store.Stat(r.spec.Folder.Index())
			noError(t, err)
			if used := after.ModTime.Equal(info.ModTime); used != c.used {
				t.Errorf("the index was used: %t, want %t", used, c.used)
			}
			staged, err := store.Read(r.spec.Folder.Staged())
			noError(t, err)
			if input, err := store.Read(r.spec.DataFile); err != nil || string(staged) != string(input) {
				t.Errorf("the copy is %q, want %q (%v)", staged, input, err)
			}
		})
	}
}
