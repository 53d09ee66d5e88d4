package main

import (
	"bytes"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"durable-dataload/activities"
	"durable-dataload/internal/catalogue"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/session"
	"durable-dataload/internal/terminal"
	"durable-dataload/workflows"
)

func TestEveryRecordHasADispositionWhileAMigrationRuns(t *testing.T) {
	round := func(n int, c ledger.Counts, r activities.Resolved) workflows.RoundProgress {
		return workflows.RoundProgress{Round: n, Counts: c, Resolved: r}
	}
	cases := []struct {
		name string
		p    workflows.Progress
		want migration.Counts
	}{
		{"nothing yet", workflows.Progress{Records: 10}, migration.Counts{Total: 10, Remaining: 10}},
		{
			"round 0", workflows.Progress{Records: 100, Loading: ledger.Counts{Created: 20, Duplicate: 3, Failed: 2, Unknown: 5}},
			migration.Counts{Total: 100, Created: 20, Failed: 5, Unknown: 5, Remaining: 70},
		},
		{
			"a retry round", workflows.Progress{
				Records: 100, Round: 1, Rounds: []workflows.RoundProgress{round(0, ledger.Counts{Created: 80, Failed: 5, Unknown: 15}, activities.Resolved{})},
				Loading: ledger.Counts{Created: 4, Duplicate: 3, Failed: 1},
			},
			migration.Counts{Total: 100, Created: 84, Failed: 6, Unknown: 10},
		},
		{
			"after a retry round", workflows.Progress{Records: 100, Rounds: []workflows.RoundProgress{
				round(0, ledger.Counts{Created: 80, Failed: 5, Unknown: 15}, activities.Resolved{}),
				round(1, ledger.Counts{Created: 4, Duplicate: 10, Unknown: 1}, activities.Resolved{Recovered: 7, Failed: 2, Invisible: 1}),
			}},
			migration.Counts{Total: 100, Created: 84, Recovered: 7, Failed: 7, Unknown: 2},
		},
		{
			"duplicates of the input, resolved", workflows.Progress{Records: 100, Rounds: []workflows.RoundProgress{
				round(0, ledger.Counts{Created: 80, Duplicate: 20}, activities.Resolved{Recovered: 7, Failed: 12, Unknown: 1}),
			}},
			migration.Counts{Total: 100, Created: 80, Recovered: 7, Failed: 12, Unknown: 1},
		},
		{
			"duplicates to update", workflows.Progress{
				Records: 100, Delta: true, ToUpdate: 20, Updates: ledger.Updates{Updated: 5, Unchanged: 2, Failed: 1},
				Rounds: []workflows.RoundProgress{
					round(0, ledger.Counts{Created: 70, Duplicate: 18, Unknown: 12}, activities.Resolved{}),
					round(1, ledger.Counts{Created: 8, Duplicate: 4}, activities.Resolved{Recovered: 2, Duplicate: 2}),
				},
			},
			migration.Counts{Total: 100, Created: 78, Recovered: 2, Updated: 7, Failed: 1, Remaining: 12},
		},
		{"the end", workflows.Progress{Records: 10, Counts: &migration.Counts{Total: 10, Created: 10}}, migration.Counts{Total: 10, Created: 10}},
	}
	for _, tc := range cases {
		if got := dispositions(tc.p); got != tc.want || got.Sum() != got.Total {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheStatusShowsWhatAMigrationWaitsFor(t *testing.T) {
	at := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	one := 1
	s := status{
		ID: "migration-users.csv-00000000000a", File: "users.csv", URI: "https://example.com", EntityType: "user", State: catalogue.Running,
		Phase: workflows.PhaseLoading, StartedAt: at, Records: migration.Counts{Total: 300, Created: 100, Failed: 20, Unknown: 30, Remaining: 150},
		Rounds: []roundStatus{
			{Round: 0, Counts: ledger.Counts{Calls: 15, Created: 100, Failed: 20, Unknown: 30}, Recovered: &one},
			{Round: 1, Running: true, Batches: 30, BatchesDone: 15},
		},
		Paused: "by olga@desk at 2026-11-22T13:06:00Z: lunch", Decision: "20 of 300 records have failed", DecidedBy: "resume", SecondsLeft: 90,
		Errors:  map[string]int{"api 363": 2, "http 502": 30, "api 200": 2},
		Pace:    &paceStatus{CallsASecond: 1.25, Allowed: 2, Limit: 4, Workers: 10, BatchesBegun: 9, Closed: "the breaker is open: http 503", BreakerOpen: true},
		Trouble: "the disk is full",
		Events: []migration.Event{
			{At: at, Kind: migration.EventBegun},
			{At: at, Kind: migration.EventChanged, Who: "olga@desk", Name: "rate", Old: "4", New: "8", Reason: "quiet"},
			{At: at, Kind: migration.EventChanged, Who: "olga@desk", Name: "max-failed", New: "2%"},
			{At: at, Kind: migration.EventSlowed, New: "2", Text: "http 429"},
		},
	}
	page := printed(t, s, true)
	for _, want := range []string{
		"users.csv → https://example.com (user); started (all times are UTC) 2026-11-22 13:05:00\n",
		"running: loading, round 1, batch 15 of 30, about 1m30s left\nTrouble: the disk is full\n",
		"It waits for a decision: 20 of 300 records have failed.\n  starter resume migration-users.csv-00000000000a   to continue\n  starter stop migration-users.csv-00000000000a   to stop\n",
		"Paused by olga@desk at 2026-11-22T13:06:00Z: lunch; resume with: starter resume migration-users.csv-00000000000a\n",
		"1.2 calls a second now; 2 allowed by the target's answers, of 4; 10 in flight at most, 9 batches started\n",
		"round  calls  created  duplicate  failed  unknown  recovered",
		"      0     15      100          0      20       30          1\n      1      0        0          0       0        0          …\n",
		"100 created + 0 recovered + 0 updated + 20 failed + 30 unknown + 150 remaining = 300\n",
		"  30: http 502\n  2: api 200\n  2: api 363\n",
		"  2026-11-22 13:05:00  rate: 4 → 8, by olga@desk (quiet)\n",
		"  max-failed: none → 2%, by olga@desk\n",
		"  slowed 2: http 429\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("this is not in it: %q", want)
		}
	}
	if t.Failed() {
		t.Log("\n" + page)
	}

	s.Events = make([]migration.Event, 30)
	hasAll(t, printed(t, s, true), "10 earlier ones")
	s.Paused = ""
	if page := printed(t, s, true); !strings.Contains(page, "No calls are made now: the breaker is open: http 503\n") || strings.Contains(page, "resume migration-users.csv-00000000000a; ") {
		t.Errorf("with the breaker open it says\n%s", page)
	}
	ended := status{ID: "m", State: catalogue.Stopped, FinishedAt: at, advice: "Rerun the command to resume."}
	if page := printed(t, ended, true); !strings.Contains(page, "stopped, at 2026-11-22 13:05:00; rerun the command to resume\n") || strings.Contains(page, "calls a second") {
		t.Errorf("one that has ended is shown as\n%s", page)
	}
}

func TestTheStatusAfterARollbackTellsOfIt(t *testing.T) {
	ended := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	undone := ended.Add(time.Hour)
	work := t.TempDir()
	folder, rollback := migration.In(work, "00000000000a"), migration.RollbackIn(work, "00000000000a")
	must(t, folder.SaveSummary(migration.Summary{FinishedAt: ended, Records: migration.Counts{Total: 12, Created: 10, Unknown: 2}, Files: migration.Files{Unresolved: new(string)}}))
	must(t, rollback.SaveOptions(migration.Rollback{OutputDir: "/out"}))
	const id = "rollback-migration-users.csv-00000000000a"
	for _, tc := range []struct {
		name   string
		mark   migration.RolledBack
		counts *migration.RollbackCounts
		want   []string
	}{
		{"not ended", migration.RolledBack{Rollback: id}, nil, []string{"rolled back in part: the rollback has not ended; rerun starter rollback to resume\nRollback " + id + "\n"}},
		{"stopped", migration.RolledBack{Rollback: id}, &migration.RollbackCounts{Deleted: 4, Left: 6}, []string{
			"rolled back in part, at 2026-11-22 14:05:00: the rollback has not ended; rerun starter rollback to resume\nRollback " + id + ": 4 deleted, 0 restored, 6 left\n",
		}},
		{"some failed", migration.RolledBack{Rollback: id, Done: true, Failed: 1}, &migration.RollbackCounts{Deleted: 8, Gone: 1, Failed: 1}, []string{
			"rolled back in part, at 2026-11-22 14:05:00: 1 record could not be undone", ": 9 deleted, 0 restored, 1 failed\n", "is in /out/rollback_fail.csv.",
		}},
		{"done", migration.RolledBack{Rollback: id, Done: true}, &migration.RollbackCounts{Deleted: 8, Restored: 2}, []string{
			"rolled back, at 2026-11-22 14:05:00\nRollback " + id + ": 8 deleted, 2 restored\n", "Before the rollback, at 2026-11-22 13:05:00:\n", "with --again.",
		}},
	} {
		must(t, folder.MarkRolledBack(tc.mark))
		if tc.counts != nil {
			must(t, rollback.SaveSummary(migration.RollbackSummary{FinishedAt: undone, Records: *tc.counts, Success: "rollback_success.csv", Fail: "rollback_fail.csv"}))
		}
		k := catalogue.Migration{ID: "migration-users.csv-00000000000a", Folder: folder}
		s := statusOf(k)
		(&lookup{}).addCounts(t.Context(), k, &s)
		page := printed(t, s, true)
		hasAll(t, page, tc.want...)
		if strings.Contains(page, "rerun the command to load") || !s.FinishedAt.Equal(ended) {
			t.Errorf("%s: it shows the advice of the migration, or %v as its end:\n%s", tc.name, s.FinishedAt, page)
		}
	}
}

func printed(t *testing.T, s status, all bool) string {
	t.Helper()
	var b strings.Builder
	must(t, s.print(&b, all))
	return b.String()
}

// Scripts have read these names.
func TestTheJSONOfAStatusKeepsItsNames(t *testing.T) {
	at := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	code := 5
	s := status{
		ID: "m", Kind: kindExport, Phase: "p", StartedAt: at, FinishedAt: at, ExitCode: &code, Reason: "r", Paused: "p", Decision: "d", DecidedBy: "b", Ending: "e", MaxFailed: "1",
		Rounds: []roundStatus{{Running: true, Batches: 1, BatchesDone: 1}}, Errors: map[string]int{"x": 1}, SecondsLeft: 1, Trouble: "t", Unpolled: "q", WebUI: "w",
		Pace:   &paceStatus{RatePlan: "r", Breaker: 1, Closed: "c", Since: at, BreakerOpen: true, Probe: at, LastCall: at},
		Events: []migration.Event{}, Export: &exportStatus{Pages: 1, Records: 2, Expected: 3, Until: &at},
	}
	data, err := json.Marshal(s)
	must(t, err)
	want := `{"id":"m","kind":"export","file":"","apid_uri":"","entity_type":"","state":"","phase":"p","started_at":"2026-11-22T13:05:00Z","finished_at":"2026-11-22T13:05:00Z","exit_code":5,"reason":"r",` +
		`"records":{"total":0,"created":0,"recovered":0,"updated":0,"failed":0,"unknown":0,"remaining":0},` +
		`"rounds":[{"round":0,"created":0,"duplicate":0,"failed":0,"unknown":0,"calls":0,"recovered":null,"running":true,"batches":1,"batches_done":1}],"export":{"pages":1,"records":2,"expected":3,"waits_until":"2026-11-22T13:05:00Z"},` +
		`"paused":"p","decision":"d","decided_by":"b","ending":"e","max_failed":"1",` +
		`"pace":{"calls_per_second":0,"allowed":0,"limit":0,"rate_plan":"r","workers":0,"batches_begun":0,"breaker":1,` +
		`"closed":"c","closed_since":"2026-11-22T13:05:00Z","breaker_open":true,"next_probe":"2026-11-22T13:05:00Z","last_call":"2026-11-22T13:05:00Z"},` +
		`"errors":{"x":1},"seconds_left":1,"trouble":"t","unpolled_task_queue":"q","web_ui":"w","events":[]}`
	if string(data) != want {
		t.Errorf("it is\n%s\nwant\n%s", data, want)
	}
}

func TestChangesOfTheConditionAreReported(t *testing.T) {
	now := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	calm := condition{}
	paused := condition{paused: "by olga@desk"}
	open := condition{closed: "the breaker is open: http 503", breaker: true, probe: now.Add(12 * time.Second)}
	later := condition{closed: "the breaker is open: http 503", breaker: true, probe: now.Add(40 * time.Second)}
	refused := condition{closed: "the breaker is open: the API does not accept the client id and secret", breaker: true}
	openAndPaused := condition{breaker: true, paused: "by olga@desk"}
	rest := condition{closed: "the timetable allows no calls"}
	asked := condition{decision: "The canary is loaded", decidedBy: "approve"}
	cases := []struct {
		name        string
		before, now condition
		want        string
	}{
		{"nothing", calm, calm, ""},
		{"a pause", calm, paused, "Paused by olga@desk; resume with: starter resume m"},
		{"still paused", paused, paused, ""},
		{"the end of it", paused, calm, "It is no longer paused."},
		{"the breaker", calm, open, "No calls are made now: the breaker is open: http 503; next probe in 12s"},
		{"a pause meanwhile", open, openAndPaused, "Paused by olga@desk; resume with: starter resume m"},
		{"the end of that", openAndPaused, open, "It is no longer paused.|No calls are made now: the breaker is open: http 503; next probe in 12s"},
		{"another probe", open, later, ""},
		{"another reason", open, refused, "No calls are made now: the breaker is open: the API does not accept the client id and secret"},
		{"closed again", open, condition{}, "The breaker is closed again."},
		{"a rest", calm, rest, "No calls are made now: the timetable allows no calls"},
		{"a decision", calm, asked, "It waits for a decision: The canary is loaded.\n  starter approve m   to continue\n  starter stop m   to stop"},
		{"decided", asked, calm, ""},
	}
	for _, tc := range cases {
		if got := strings.Join(tc.now.news(tc.before, "m", now), "|"); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestAPauseIsReportedOnce(t *testing.T) {
	p := &workflows.Steering{Paused: true, PausedText: "by olga"}
	if got, want := conditionOf(p, &limiter.RunView{Gate: limiter.Gate{Closed: "paused by olga"}}), (condition{paused: "by olga"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestTheBreakerOfARunThatNobodyAsksForStaysOpen(t *testing.T) {
	open := &limiter.RunView{Run: "m/run", Gate: limiter.Gate{Closed: "the breaker is open", Breaker: true}}
	slow := &limiter.RunView{Run: "m/run", Gate: limiter.Gate{Limit: 4, Allowed: 2}}
	for name, tc := range map[string]struct {
		all    limiter.View
		before *limiter.RunView
		want   *limiter.RunView
	}{
		"the limiter knows the run":           {limiter.View{Runs: []limiter.RunView{*slow}}, open, slow},
		"it has forgotten it, and is open":    {limiter.View{Breaker: true}, open, open},
		"it has forgotten it, and has closed": {limiter.View{}, open, nil},
		"no limiter runs":                     {limiter.View{}, slow, nil},
		"the breaker opens for another run":   {limiter.View{Breaker: true}, slow, nil},
	} {
		got := gateIn(tc.all, "m", tc.before)
		if (got == nil) != (tc.want == nil) || got != nil && *got != *tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestProgressHasNoEstimateWhileNoCallsAreMade(t *testing.T) {
	p := workflows.Progress{Phase: workflows.PhaseLoading, Records: 100, Loading: ledger.Counts{Created: 50}}
	began := time.Now().Add(-10 * time.Second)
	slow := &limiter.RunView{Gate: limiter.Gate{Limit: 4, Allowed: 0.05, Slots: 1}}
	for _, tc := range []struct {
		name      string
		condition condition
		gate      *limiter.RunView
		lastCall  time.Duration // ago
		has, not  string
	}{
		{"loading", condition{}, nil, 0, "left", "no call"},
		{"the breaker is open", condition{closed: "the breaker is open"}, nil, 0, "no calls now", "left"},
		{"paused", condition{paused: "by olga"}, nil, 0, "no calls now", "left"},
		{"a decision", condition{decision: "The canary is loaded"}, nil, 0, "waiting for a decision", "left"},
		{"a call has just ended", condition{}, nil, 5 * time.Second, "left", "no call"},
		{"no call for a while", condition{}, nil, 40 * time.Second, "no call has ended for 40s", "left"},
		{"as slow as it may be", condition{}, slow, 40 * time.Second, "left", "no call"},
		{"slower than it may be", condition{}, slow, 80 * time.Second, "no call has ended for 1m20s", "left"},
	} {
		v := &view{condition: tc.condition, gate: tc.gate}
		v.records.Add(began, 0)
		p.LastCall = time.Time{}
		if tc.lastCall > 0 {
			p.LastCall = time.Now().Add(-tc.lastCall)
		}
		if got := v.line(p).String(); !strings.Contains(got, tc.has) || strings.Contains(got, tc.not) {
			t.Errorf("%s: %q, want %q in it, and not %q", tc.name, got, tc.has, tc.not)
		}
	}
}

func TestTheTimeLeftFollowsFromTheCallsThatTheLimiterCounts(t *testing.T) {
	loading := workflows.Progress{Phase: workflows.PhaseLoading, Batches: 100, BatchesDone: 40}
	updating := workflows.Progress{Phase: workflows.PhaseUpdating, Batches: 100, BatchesDone: 100, ToUpdate: 500, Updates: ledger.Updates{Updated: 100}}
	reading := workflows.ExportProgress{Phase: workflows.PhaseReading, Pages: 4, Records: 400, Total: 2001}
	for _, tc := range []struct {
		name       string
		calls      int
		used, left float64
	}{
		{"loading", callsLeft(loading), 4, 15},
		{"updating: a call a record", callsLeft(updating), 4, 100},
		{"no call yet", callsLeft(loading), 0, 0},
		{"an export", pagesLeft(reading), 2, 9},
		{"an export that reads changes", pagesLeft(workflows.ExportProgress{Phase: workflows.PhaseChanges, Pages: 4, Records: 400, Total: 2001}), 2, 0},
		{"an export that begins", pagesLeft(workflows.ExportProgress{Phase: workflows.PhaseReading, Total: 2001}), 2, 0},
	} {
		s := status{Pace: &paceStatus{}}
		s.addRate(tc.calls, tc.used)
		if s.Pace.CallsASecond != tc.used || s.SecondsLeft != tc.left {
			t.Errorf("%s: %v calls a second, %v seconds left; want %v and %v", tc.name, s.Pace.CallsASecond, s.SecondsLeft, tc.used, tc.left)
		}
	}
}

// The state folder of this machine is not that of the workers of a service.
func TestNoFolderIsTakenForTheDiskOfAService(t *testing.T) {
	var said bytes.Buffer
	v := newView(new(session.Service), "migration", "", filepath.Join(t.TempDir(), "none"), terminal.New(io.Discard, &said, terminal.Options{}))
	if v.probe() || said.Len() > 0 {
		t.Errorf("it says %q, want nothing", said.String())
	}
}
