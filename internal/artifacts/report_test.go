package artifacts

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/migration"
)

func ptr[T any](v T) *T { return &v }

func reportOf(t *testing.T, s migration.Summary) string {
	t.Helper()
	page, err := report(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// summaries have every optional part present and absent.
func summaries() map[string]migration.Summary {
	retry := []string{"retry_1.csv", "retry_2.csv"}
	full := summaryOf(sampleCounts, migration.Files{Success: "success.csv", Fail: "fail.csv", FailRecords: "fail_records.csv", Retry: retry,
		Unresolved: ptr("retry_2.csv"), Remaining: ptr("remaining.csv"), UpdateSuccess: ptr("update_success.csv"), UpdateFail: ptr("update_fail.csv"), Report: "report.html"})
	return map[string]migration.Summary{
		"everything": full,
		"nothing":    {},
		"one round":  {Rounds: []migration.Round{{}}, FinishedAt: time.Unix(1, 0), StartedAt: time.Unix(0, 0)},
	}
}

func TestTheReportIsWellFormed(t *testing.T) {
	void := regexp.MustCompile(`<(meta|link|br|hr|img)\b([^>]*)>`)
	for name, s := range summaries() {
		page := reportOf(t, s)
		d := xml.NewDecoder(strings.NewReader(void.ReplaceAllString(page, "<$1$2/>")))
		d.Entity = xml.HTMLEntity
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v in\n%s", name, err, page)
			}
		}
	}
}

func TestTheReportNeedsNoNetworkAndRunsNothing(t *testing.T) {
	for name, s := range summaries() {
		page := strings.ReplaceAll(reportOf(t, s), s.URI+" ("+s.EntityType+")", "") // the target's name as text
		for _, bad := range []string{"http://", "https://", "//", "<script", "javascript:", "<link", "<img", "<iframe", "@import", "url(", "src=", "href="} {
			if strings.Contains(strings.ToLower(page), bad) {
				t.Errorf("%s: the report has %q:\n%s", name, bad, page)
			}
		}
	}
}

func TestTheReportEscapes(t *testing.T) {
	const bad = `<script>alert("x")</script>&'.csv`
	s := summaries()["everything"]
	s.DataFile, s.WorkflowID, s.EntityType, s.URI, s.DataSHA256 = bad, bad, bad, bad, bad
	s.Files = migration.Files{Success: bad, Fail: bad, FailRecords: bad, Retry: []string{bad}, Unresolved: ptr(bad), Remaining: ptr(bad), Report: bad}
	s.Rounds[0].RetryFile = ptr(bad)
	for _, counts := range []migration.Counts{{}, {Failed: 1}, {Unknown: 1}, {Remaining: 1}} {
		s.Records = counts
		page := reportOf(t, s)
		if strings.Contains(page, "<script") || strings.Contains(page, "</script") {
			t.Errorf("%+v: the report holds a script:\n%s", counts, page)
		}
		if !strings.Contains(page, "&lt;script&gt;alert") {
			t.Errorf("%+v: the report does not hold the file's name:\n%s", counts, page)
		}
	}
}

func TestTheReportHoldsTheFigures(t *testing.T) {
	s := summaries()["everything"]
	page := reportOf(t, s)
	for _, want := range []string{
		"<td>created</td><td>2</td>", "<td>recovered</td><td>2</td>", "<td>updated</td><td>0</td>", "<td>failed</td><td>3</td>",
		"<td>unknown</td><td>1</td>", "<td>remaining</td><td>2</td>", "<td>total</td><td>10</td>",
		"<td>0</td><td>3</td><td>3</td><td>2</td><td>1</td><td>1</td><td>4</td><td>retry_1.csv</td>",
		"<td>1</td><td>2</td><td>2</td><td>0</td><td>1</td><td>1</td><td>2</td><td>–</td>",
		"success.csv", "fail.csv", "fail_records.csv", "<dd>retry_1.csv</dd>", "<dd>retry_2.csv</dd>", "remaining.csv",
		"2026-11-22 13:05:00 UTC", "2026-11-22 14:06:01 UTC (after 1h1m1s)", "12345", s.DataSHA256, s.WorkflowID, s.URI,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the report lacks %q:\n%s", want, page)
		}
	}
	// What is not there is not spoken of.
	page = reportOf(t, summaries()["nothing"])
	for _, not := range []string{"still unknown", "<dt>retry</dt>", "<dt>remaining</dt>", "entities after"} {
		if strings.Contains(page, not) {
			t.Errorf("the report of nothing has %q:\n%s", not, page)
		}
	}
}

func TestAdviceSaysHowToGoOn(t *testing.T) {
	files := migration.Files{Fail: "fail.csv", FailRecords: "fail_records.csv", Unresolved: ptr("retry_2.csv")}
	cases := []struct {
		counts    migration.Counts
		cancelled bool
		want      []string
	}{
		{migration.Counts{Created: 1}, false, []string{"Every record is in the target"}},
		{migration.Counts{Created: 1}, true, []string{"Every record is in the target"}},
		{migration.Counts{Failed: 1}, false, []string{"fail.csv", "fail_records.csv"}},
		{migration.Counts{Failed: 1, Unknown: 1}, false, []string{"retry_2.csv", "same command"}},
		{migration.Counts{Failed: 1, Unknown: 1, Remaining: 1}, false, []string{"stopped", "same command"}},
		{migration.Counts{Failed: 1, Unknown: 1, Remaining: 1}, true, []string{"cancelled", "2 records", "does not go on"}},
	}
	for _, tc := range cases {
		got := Advice(migration.Summary{Records: tc.counts, Files: files, Cancelled: tc.cancelled})
		if slices.ContainsFunc(tc.want, func(w string) bool { return !strings.Contains(got, w) }) {
			t.Errorf("%+v: %q, want it to hold %q", tc.counts, got, tc.want)
		}
	}
}
