package workflows

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"durable-dataload/activities"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
)

// trouble is a permanent error of reading or writing.
func trouble(message string) error {
	return temporal.NewApplicationError(message, activities.Storage)
}

func TestAMigrationFromStartToEnd(t *testing.T) {
	f := newFake(t, 2)
	e := newEnvironment(t, f)
	result := e.migrated(func(s *migration.Spec) { s.Workers, s.RateLimit = 1, 0.5 })
	if got, want := f.story(), "InspectSource, CheckTarget, PlanBatches 0, LoadBatch 0/1, LoadBatch 0/2, CountEntities, WriteArtifacts"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	// Nothing is unknown: no retry child.
	if len(e.child) != 1 || !strings.HasPrefix(e.child[0], "LoadWorkflow ") || !strings.Contains(e.child[0], "/load-") {
		t.Errorf("children %q, want the one of round 0", e.child)
	}
	if result.Halted != "" || result.Summary.Records.Created != 20 || f.artifact.Stopped || f.artifact.EntitiesAfter == nil || *f.artifact.EntitiesAfter != 77 {
		t.Errorf("%+v, artifacts got %+v; want them not stopped, with the entities", result, f.artifact)
	}
	progress := e.progress()
	if progress.Phase != PhaseDone || progress.Records != 20 || len(progress.Rounds) != 1 || progress.Rounds[0].Created != 20 || progress.Counts.Created != 20 {
		t.Errorf("progress %+v", progress)
	}
}

func TestRoundsRepeatUntilNothingIsUnknown(t *testing.T) {
	f := newFake(t, 4)
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		switch {
		case in.Round == 0 && in.Position > 2, in.Round == 1 && in.Position == 2, in.Round == 2:
			return allUnknown, nil
		case in.Round == 3:
			return allDuplicate, nil
		}
		return allCreated, nil
	}
	f.resolve = resolved(activities.Resolved{Recovered: 10})
	e := newEnvironment(t, f)
	e.migrated(func(s *migration.Spec) { s.Workers, s.RateLimit = 1, 0.5; s.RetryRounds = 10 })
	want := "InspectSource, CheckTarget, PlanBatches 0, LoadBatch 0/1, LoadBatch 0/2, LoadBatch 0/3, LoadBatch 0/4, " +
		"WriteRetryFile 1, PlanBatches 1, PlanBatches 1, LoadBatch 1/1, LoadBatch 1/2, " +
		"WriteRetryFile 2, PlanBatches 2, PlanBatches 2, LoadBatch 2/1, " +
		"WriteRetryFile 3, PlanBatches 3, PlanBatches 3, LoadBatch 3/1, ResolveDuplicates 3, " +
		"WriteRetryFile 4, CountEntities, WriteArtifacts"
	if got := f.story(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if len(e.child) != 5 || !strings.HasPrefix(e.child[1], "RetryWorkflow ") || !strings.HasSuffix(e.child[4], "/round-3") {
		t.Errorf("children %q", e.child)
	}
	// The pause doubles before each round.
	expect(t, "pauses", e.timers, []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute})
	expect(t, "names of the pauses", e.slept, []string{"wait before round 1", "wait before round 2", "wait before round 3"})
	if f.artifact.Stopped {
		t.Error("the migration was stopped")
	}
}

// Rounds end when nothing is left that may be sent: without a pause or an empty round.
func TestKeylessRecordsAreInNoRound(t *testing.T) {
	for _, c := range []struct {
		name    string
		keyless int
		story   string
		pauses  []time.Duration
		aside   int
	}{
		{"all of a batch", recordsABatch, "WriteRetryFile 1", nil, 2 * recordsABatch},
		{"some of a batch", 1, "WriteRetryFile 1, PlanBatches 1, PlanBatches 1, LoadBatch 1/1, LoadBatch 1/2, WriteRetryFile 2", []time.Duration{30 * time.Second}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, 2)
			f.keyless = c.keyless
			f.checked = activities.Checked{KeylessNote: "some are keyless"}
			f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
				if in.Round == 0 {
					return allUnknown, nil
				}
				return activities.BatchResult{Counts: ledger.Counts{Created: recordsABatch - c.keyless, Calls: 1}}, nil
			}
			e := newEnvironment(t, f)
			e.migrated(func(s *migration.Spec) { s.Workers, s.RateLimit = 1, 0.5 })
			want := "InspectSource, CheckTarget, PlanBatches 0, LoadBatch 0/1, LoadBatch 0/2, " + c.story + ", CountEntities, WriteArtifacts"
			if got := f.story(); got != want {
				t.Errorf("%s\nwant\n%s", got, want)
			}
			expect(t, "pauses", e.timers, c.pauses)
			if p := e.progress(); p.KeylessNote != "some are keyless" || p.Aside != c.aside {
				t.Errorf("%+v, want the note and %d records set aside", p, c.aside)
			}
		})
	}
}

func TestABackoffThatBeginsAboveItsBoundStays(t *testing.T) {
	f := newFake(t, 1)
	f.load = byRound(allUnknown)
	e := newEnvironment(t, f)
	e.migrated(func(s *migration.Spec) { s.RetryBackoff = 6 * time.Hour })
	expect(t, "pauses", e.timers, []time.Duration{6 * time.Hour, 6 * time.Hour, 6 * time.Hour})
}

func TestTheBackoffIsBounded(t *testing.T) {
	f := newFake(t, 1)
	f.load = byRound(allUnknown)
	e := newEnvironment(t, f)
	e.migrated(func(s *migration.Spec) { s.RetryRounds = 9; s.RetryBackoff = 10 * time.Minute })
	m := time.Minute
	expect(t, "pauses", e.timers, []time.Duration{10 * m, 20 * m, 40 * m, longestBackoff, longestBackoff, longestBackoff, longestBackoff, longestBackoff, longestBackoff})
	if n := f.count("LoadBatch"); n != 10 {
		t.Errorf("%d loads, want the input and 9 rounds", n)
	}
	if f.count("WriteRetryFile 10") != 1 || f.count("WriteRetryFile 11") != 0 {
		t.Errorf("%s\nwant the retry file of round 10 to be written and not loaded", f.story())
	}
}

func TestWithoutRoundsTheRetryFileIsWritten(t *testing.T) {
	f := newFake(t, 1)
	f.load = byRound(allUnknown)
	e := newEnvironment(t, f)
	e.migrated(func(s *migration.Spec) { s.RetryRounds = 0 })
	if f.count("WriteRetryFile 1") != 1 || f.count("LoadBatch 1/") != 0 || len(e.timers) != 0 || f.count("WriteArtifacts") != 1 {
		t.Errorf("%s, pauses %v\nwant the retry file of round 1, and no round", f.story(), e.timers)
	}
	if f.artifact.Stopped {
		t.Error("the migration counts as stopped, want it done")
	}
}

func TestInvisibleDuplicatesAreLookedUpAgain(t *testing.T) {
	f := newFake(t, 1)
	f.load = byRound(allUnknown, allDuplicate)
	looks := 0
	f.resolve = func(activities.ResolveInput) (activities.Resolved, error) {
		if looks++; looks < 3 {
			return activities.Resolved{Invisible: 10}, nil
		}
		return activities.Resolved{Recovered: 10}, nil
	}
	e := newEnvironment(t, f)
	e.migrated(nil)
	expect(t, "pauses", e.timers, []time.Duration{30 * time.Second, time.Second, 2 * time.Second})
	if f.count("ResolveDuplicates 1 last") != 0 || f.count("ResolveDuplicates 1") != 3 {
		t.Errorf("%s\nwant 3 look-ups, none of them the last", f.story())
	}

	// What stays invisible is left to the next round after some time.
	f = newFake(t, 1)
	f.load = byRound(allUnknown, allDuplicate)
	f.resolve = resolved(activities.Resolved{Invisible: 10})
	e = newEnvironment(t, f)
	e.migrated(func(s *migration.Spec) { s.RetryRounds = 1 })
	if f.count("ResolveDuplicates 1 last") != 1 {
		t.Errorf("%s\nwant one last look-up", f.story())
	}
	var waited time.Duration
	for _, pause := range e.timers[1:] {
		waited += pause
	}
	if waited < invisibleFor || waited > invisibleFor+longestLookupPause {
		t.Errorf("look-ups for %v, want about %v", waited, invisibleFor)
	}
}

func TestARoundThatWasLoadedBeforeHasNoBackoff(t *testing.T) {
	// A run that was cut off after it had loaded round 1.
	f := newFake(t, 2)
	f.settled[0] = map[int]counts{1: {Unknown: 10, Calls: 1}, 2: {Created: 10, Calls: 1}}
	f.settled[1] = map[int]counts{1: {Unknown: 10, Calls: 1}}
	e := newEnvironment(t, f)
	e.migrated(func(s *migration.Spec) { s.RetryRounds = 1 })
	expect(t, "pauses", e.timers, []time.Duration{30 * time.Second})
	if f.count("LoadBatch 0/") != 0 || f.count("LoadBatch 1/") != 0 || f.count("LoadBatch 2/1") != 1 {
		t.Errorf("%s\nwant only round 2 loaded", f.story())
	}
}

func TestACancelDuringTheLoadStillWritesTheArtifacts(t *testing.T) {
	f := newFake(t, 500)
	e := newEnvironment(t, f)
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		if in.Position == 7 {
			e.CancelWorkflow()
		}
		if in.Position > 6 {
			<-e.endsNow()
		}
		return allUnknown, nil
	}
	result, err := e.migrate(func(s *migration.Spec) { s.Workers = 3 })
	if err != nil {
		t.Fatalf("%v; want a result with what was done", err)
	}
	if !f.artifact.Stopped || f.count("WriteArtifacts") != 1 || result.Halted != "" {
		t.Errorf("artifacts got %+v, halted %q; want them stopped without a fault", f.artifact, result.Halted)
	}
	if n := f.count("LoadBatch"); n < 4 || n == 500 {
		t.Errorf("%d batches were loaded, want some, and not all 500", n)
	}
	if len(e.child) != 1 || f.count("WriteRetryFile") != 0 {
		t.Errorf("children %q, want no retry after a stop", e.child)
	}
}

func TestACancelDuringTheBackoffStillWritesTheArtifacts(t *testing.T) {
	f := newFake(t, 1)
	f.load = byRound(allUnknown)
	e := newEnvironment(t, f)
	e.RegisterDelayedCallback(e.CancelWorkflow, time.Hour)
	began := e.Now()
	result := e.migrated(func(s *migration.Spec) { s.RetryBackoff = 24 * time.Hour })
	if f.count("LoadBatch 1/") != 0 || !f.artifact.Stopped || result.Halted != "" {
		t.Errorf("%s, artifacts got %+v, halted %q; want round 1 not loaded, and a stop", f.story(), f.artifact, result.Halted)
	}
	if waited := f.artifact.FinishedAt.Sub(began); waited < time.Hour || waited > 2*time.Hour {
		t.Errorf("the migration ended after %v, want it at the cancel, after 1h", waited)
	}
}

func TestACancelDuringLookUpsStillWritesTheArtifacts(t *testing.T) {
	f := newFake(t, 1)
	f.load = byRound(allUnknown, allDuplicate)
	f.resolve = resolved(activities.Resolved{Invisible: 10})
	e := newEnvironment(t, f)
	e.RegisterDelayedCallback(e.CancelWorkflow, time.Minute)
	result := e.migrated(nil)
	if !f.artifact.Stopped || result.Halted != "" || f.count("WriteRetryFile 2") != 0 {
		t.Errorf("%s, artifacts got %+v, halted %q; want a stop, and no further retry file", f.story(), f.artifact, result.Halted)
	}
}

func TestACancelBeforeAnythingWasSentEndsTheMigration(t *testing.T) {
	f := newFake(t, 1)
	e := newEnvironment(t, f)
	f.check = func(int) error { return temporal.NewApplicationError("busy", activities.Unreachable) }
	e.RegisterDelayedCallback(e.CancelWorkflow, time.Second/2)
	if _, err := e.migrate(nil); !temporal.IsCanceledError(err) {
		t.Errorf("%v, want it cancelled", err)
	}
	if f.count("LoadBatch") != 0 || f.count("WriteArtifacts") != 0 {
		t.Errorf("%s\nwant neither loads nor artifacts", f.story())
	}
	if len(f.failures) != 1 || !f.failures[0].Stopped || f.failures[0].Began.IsZero() {
		t.Errorf("%+v was kept, want the stop", f.failures)
	}
}

func TestWhatIsRefusedEndsTheMigrationBeforeAnythingIsSent(t *testing.T) {
	refused := temporal.NewNonRetryableApplicationError("users.csv, line 3: not UTF-8", activities.Refused, nil)
	for name, change := range map[string]func(*fake){
		"the input":  func(f *fake) { f.inspect = func() error { return refused } },
		"the target": func(f *fake) { f.check = func(int) error { return refused } },
	} {
		f := newFake(t, 1)
		change(f)
		_, err := newEnvironment(t, f).migrate(nil)
		var application *temporal.ApplicationError
		if !errors.As(err, &application) || application.Type() != activities.Refused || Cause(err) != "users.csv, line 3: not UTF-8" {
			t.Errorf("%s: %v, want the refusal", name, err)
		}
		if f.count("LoadBatch") != 0 || f.count("InspectSource") != 1 || f.count("CheckTarget") > 1 {
			t.Errorf("%s: %s\nwant no retry", name, f.story())
		}
		if len(f.failures) != 1 || f.failures[0].Reason != Cause(err) || f.failures[0].Stopped || f.failures[0].At.IsZero() || f.failures[0].Began.IsZero() || f.failures[0].Spec.ID == "" {
			t.Errorf("%s: %+v was kept, want the refusal once", name, f.failures)
		}
	}
}

func TestATargetThatDoesNotAnswerIsRetried(t *testing.T) {
	f := newFake(t, 1)
	f.check = func(attempt int) error {
		if attempt < checkAttempts {
			return errNoAnswer
		}
		return nil
	}
	if _, err := newEnvironment(t, f).migrate(nil); err != nil || f.count("CheckTarget") != checkAttempts {
		t.Errorf("%v after %d attempts, want it to begin at attempt %d", err, f.count("CheckTarget"), checkAttempts)
	}
	f = newFake(t, 1)
	f.check = func(int) error { return errNoAnswer }
	if _, err := newEnvironment(t, f).migrate(nil); err == nil || Cause(err) != "no answer" || f.count("CheckTarget") != checkAttempts || f.count("LoadBatch") != 0 {
		t.Errorf("%v after %d attempts, want the refusal after %d", err, f.count("CheckTarget"), checkAttempts)
	}
}

func TestAFailedCountOfEntitiesDoesNotFailTheMigration(t *testing.T) {
	f := newFake(t, 1)
	f.entities = func() (*int64, error) {
		return nil, errNoAnswer
	}
	if _, err := newEnvironment(t, f).migrate(nil); err != nil || f.artifact.EntitiesAfter != nil || f.count("CountEntities") != countAttempts {
		t.Errorf("%v, entities %v after %d attempts; want null after %d", err, f.artifact.EntitiesAfter, f.count("CountEntities"), countAttempts)
	}
}

func TestAnUnavailableBucketIsRetriedLongerThanADisk(t *testing.T) {
	for folder, isHalted := range map[string]bool{"/state/migrations/key": true, "s3://bucket/x/migrations/key": false} {
		f := newFake(t, 1)
		f.load = func(_ batchInput, attempt int) (activities.BatchResult, error) {
			if attempt <= 40 { // some minutes
				return activities.BatchResult{}, trouble("no answer")
			}
			return allCreated, nil
		}
		f.settle = unsent
		result, err := newEnvironment(t, f).migrate(func(s *migration.Spec) { s.Folder = migration.RunFolder(folder).Migration() })
		if err != nil || (result.Halted != "") != isHalted {
			t.Errorf("%s: %v, halted %q; want halted: %t", folder, err, result.Halted, isHalted)
		}
	}
}

func TestStorageTroubleHaltsAndIsReported(t *testing.T) {
	const full = "the disk is full: free some space, nothing is lost"
	unknownFirst := func(f *fake) {
		f.load = byRound(allUnknown, allDuplicate)
	}
	cases := map[string]struct {
		prepare func(*fake)
		stopped bool
	}{
		"planning": {func(f *fake) { f.plan = func() error { return trouble(full) } }, true},
		"a batch": {func(f *fake) {
			f.load = func(batchInput, int) (activities.BatchResult, error) {
				return activities.BatchResult{}, trouble(full)
			}
			f.settle = unsent
		}, true},
		"a retry file": {func(f *fake) {
			unknownFirst(f)
			f.write = func(activities.RetryFileInput) error { return trouble(full) }
		}, false},
		"a look-up": {func(f *fake) {
			unknownFirst(f)
			f.resolve = func(activities.ResolveInput) (activities.Resolved, error) {
				return activities.Resolved{}, trouble(full)
			}
		}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, 30)
			tc.prepare(f)
			result, err := newEnvironment(t, f).migrate(func(s *migration.Spec) { s.Workers = 2 })
			if err != nil {
				t.Fatalf("%v; want a result that says why", err)
			}
			if result.Halted != full || f.count("WriteArtifacts") != 1 {
				t.Errorf("halted %q, %d times artifacts; want %q and once", result.Halted, f.count("WriteArtifacts"), full)
			}
			if tc.stopped != f.artifact.Stopped {
				t.Errorf("the artifacts got stopped %v, want %v", f.artifact.Stopped, tc.stopped)
			}
			if strings.Contains(name, "look-up") && f.count("WriteRetryFile 2") != 0 {
				t.Errorf("%s\nwant no file of the next round before the duplicates of this one are resolved", f.story())
			}
		})
	}

	f := newFake(t, 1)
	f.finish = func(activities.ArtifactsInput) error { return trouble(full) }
	if _, err := newEnvironment(t, f).migrate(nil); err == nil || Cause(err) != full || f.count("WriteArtifacts") != diskAttempts {
		t.Errorf("artifacts that cannot be written: %v after %d attempts, want %q after %d", err, f.count("WriteArtifacts"), full, diskAttempts)
	}
}

func TestTransientStorageErrorsAreRetried(t *testing.T) {
	f := newFake(t, 3)
	f.load = func(_ batchInput, attempt int) (activities.BatchResult, error) {
		if attempt < diskAttempts {
			return activities.BatchResult{}, trouble("the disk is full")
		}
		return allCreated, nil
	}
	result, err := newEnvironment(t, f).migrate(nil)
	if err != nil || result.Halted != "" || f.artifact.Stopped || f.count("SettleBatch") != 0 {
		t.Errorf("%+v, %v, stopped %v; want it done", result, err, f.artifact.Stopped)
	}
}

func TestAChangedInputHaltsAtOnce(t *testing.T) {
	f := newFake(t, 30)
	f.load = func(in batchInput, _ int) (activities.BatchResult, error) {
		if in.Position == 3 {
			return activities.BatchResult{}, temporal.NewNonRetryableApplicationError("users.csv has changed", activities.InputChanged, nil)
		}
		return allCreated, nil
	}
	f.settle = unsent
	result, err := newEnvironment(t, f).migrate(func(s *migration.Spec) { s.Workers, s.RateLimit = 1, 0.5 }) // one batch at once
	if err != nil || result.Halted != "users.csv has changed" || !f.artifact.Stopped {
		t.Errorf("%+v, %v, stopped %v; want it halted", result, err, f.artifact.Stopped)
	}
	if f.count("LoadBatch") != 3 || f.count("LoadBatch 0/3") != 1 {
		t.Errorf("%s\nwant no batch after the third", f.story())
	}
}

func TestHistoryEntriesAreSmallAndHaveSummaries(t *testing.T) {
	f := newFake(t, 200)
	f.load = func(in batchInput, attempt int) (activities.BatchResult, error) {
		switch {
		case in.Round == 0 && in.Position == 12 && attempt <= diskAttempts:
			return activities.BatchResult{}, temporal.NewHeartbeatTimeoutError()
		case in.Round == 0 && in.Position%20 == 0:
			return allUnknown, nil
		case in.Round == 1:
			return allDuplicate, nil
		}
		return allCreated, nil
	}
	f.settle = func(batchInput) (activities.BatchResult, error) { return allUnknown, nil }
	f.resolve = resolved(activities.Resolved{Recovered: 100, Failed: 10})
	e := newEnvironment(t, f)
	e.migrated(func(s *migration.Spec) { s.Workers = 50 })
	seen := map[string]bool{}
	for _, a := range e.asked {
		seen[a.activity] = true
		if n := size(t, a.input); n > 1024 {
			t.Errorf("the input of %s has %d bytes, want at most 1024: %+v", a.activity, n, a.input)
		}
		if len(a.summary) == 0 || len(a.summary) > 200 {
			t.Errorf("%s has the summary %q, want one, of a line", a.activity, a.summary)
		}
	}
	if len(seen) != 10 {
		t.Errorf("activities %v, want all 10", seen)
	}
	loads := e.summaries("LoadBatches")
	if loads[11] != "batch 12 of 200, lines 112 to 121" {
		t.Errorf("the summary of batch 12 is %q", loads[11])
	}
	expect(t, "settle", e.summaries("SettleBatches"), []string{"settle batch 12 of 200, lines 112 to 121"})
	expect(t, "inspect", e.summaries("InspectSource"), []string{"check and index users-complete-2026-11-22.csv"})
	expect(t, "check", e.summaries("CheckTarget"), []string{"can some-company-production.eu.janraincapture.com be used?"})
	expect(t, "retry file", e.summaries("WriteRetryFile"), []string{"write the retry file of round 1", "write the retry file of round 2"})
	expect(t, "resolve", e.summaries("ResolveDuplicates"), []string{"whose are the 110 duplicates of round 1?"})
	plan, err := f.PlanBatches(t.Context(), activities.PlanInput{Limit: batchesAPlan})
	if err != nil || size(t, plan) > 3*1024 {
		t.Errorf("a plan has %d bytes (%v), want few", size(t, plan), err)
	}
	if n := size(t, allUnknown); n > 256 {
		t.Errorf("the result of a batch has %d bytes", n)
	}
}
