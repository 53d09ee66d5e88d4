package artifacts

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"html"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
)

func ptr[T any](v T) *T { return &v }

func reportOf(t *testing.T, s migration.Summary, d Details) string {
	t.Helper()
	page, err := report(stamp, s, d)
	must(t, err)
	return string(page)
}

// sampleReport is what a report is made of.
type sampleReport struct {
	migration.Summary
	Details
}

// samples have every optional part present and absent.
func samples() map[string]sampleReport {
	retry := []string{"retry_Nov_22_2026_13_06_00.csv", "retry_Nov_22_2026_14_00_00.csv"}
	full := summaryOf(sampleCounts, migration.Files{Success: Name("success", stamp, "csv"), Fail: Name("fail", stamp, "csv"), FailRecords: Name("fail_records", stamp, "csv"), Retry: retry,
		Unresolved: ptr(retry[1]), Remaining: ptr(Name("remaining", stamp, "csv")), UpdateSuccess: ptr(Name("update_success", stamp, "csv")), UpdateFail: ptr(Name("update_fail", stamp, "csv")), Report: Name("report", stamp, "html")})
	return map[string]sampleReport{
		"everything": {full, night(full.StartedAt, full.FinishedAt)},
		"nothing":    {},
		"one round":  {Summary: migration.Summary{Rounds: []migration.Round{{}}, FinishedAt: time.Unix(1, 0), StartedAt: time.Unix(0, 0)}},
		"no call":    {full, Details{Timeline: NewTimeline(full.StartedAt, full.FinishedAt), Reasons: newReasons(inputHeader)}},
		"one call":   {full, Details{Timeline: oneCall(full.StartedAt)}},
	}
}

func oneCall(at time.Time) *Timeline {
	c := NewTimeline(at, at)
	c.Call(0, ledger.Outcomes{Sent: true, Letters: "c", UUIDs: []string{"1"}, At: at, Took: 40 * time.Millisecond})
	return c
}

// night is a migration to which everything happens that can.
func night(start, end time.Time) Details {
	d := Details{Timeline: NewTimeline(start, end), Reasons: newReasons(inputHeader), Program: "durable-dataload v1.2.3, go1.26.8", Spec: migration.Spec{
		ID: "migration-users.csv-0123456789ab", BatchSize: 100, StartAt: 11, Limits: migration.Limits{RateLimit: 4, Workers: 10, Breaker: 5}, Timeout: 10 * time.Second, RetryRounds: 3, RetryBackoff: 30 * time.Second,
		UnknownAPI: [][2]int{{403, 403}, {510, 599}}, RecoveredBy: migration.Lookup, PrimaryKey: "email", Delta: true, Isolate: true, Delimiter: ";", MaxFailed: "2%", Canary: 100, CanaryTimeout: time.Hour,
		UndoRecipient: "age1sample", MappingFile: "/etc/mapping.yaml", Mapping: strings.Repeat("ab", 32),
	}}
	at := func(minute float64) time.Time { return start.Add(time.Duration(minute * float64(time.Minute))) }
	random := rand.New(rand.NewPCG(1, 2))
	for minute := 0.5; minute < 40; minute += 1.0 / 180 {
		if minute > 12 && minute < 17 || minute > 24 && minute < 28 && random.IntN(60) > 0 {
			continue
		}
		if minute > 30 && random.IntN(3) > 0 {
			continue
		}
		took := time.Duration(60+20*random.ExpFloat64()+random.Float64()*minute*4) * time.Millisecond
		o := ledger.Outcomes{Sent: true, Letters: "cccccccccf", UUIDs: make([]string, 9), Errors: []string{"bad"}, At: at(minute), Took: took}
		switch n := random.IntN(100); {
		case minute > 22 && minute < 28 && n < 80:
			o = ledger.Outcomes{Sent: true, Letters: "uuuuuuuuuu", Reason: "http 503", At: at(minute), Took: took * 4}
		case n < 2:
			o = ledger.Outcomes{Sent: true, Letters: "uuuuuuuuuu", Reason: "timeout", At: at(minute), Took: 10 * time.Second}
		case n < 6:
			o = ledger.Outcomes{Sent: true, Split: true, Reason: "api 200", At: at(minute), Took: took / 2}
		}
		d.Timeline.Call(0, o)
	}
	for minute := 42.0; minute < 48; minute += .02 {
		d.Timeline.Call(1, ledger.Outcomes{Sent: true, Letters: "dddddddddd", Errors: make([]string, 10), At: at(minute), Took: 90 * time.Millisecond})
	}
	for minute := 50.0; minute < 60; minute += .01 {
		d.Timeline.Updated(at(minute))
	}
	d.Timeline.Call(0, ledger.Outcomes{Sent: true, Letters: "u", Reason: "the worker died, or was cut off", At: at(20)})
	d.Timeline.Call(0, ledger.Outcomes{Sent: true, Letters: "c", UUIDs: []string{""}})
	for i, words := range []string{
		"Attempted to update a duplicate value", "API Error 200: attributes was not valid for the following reason: \"x\"", "birthday (type date): the value is not a date; expected YYYY-MM-DD",
		"givenName is longer than 100 characters: it has 2500", "expected 2 fields, found 4",
	} {
		for line := range 20 * (i + 1) * (i + 1) {
			d.Reasons.add(Record{Line: int64(line*7 + i), Raw: []byte("a@example.com,Anna\n"), Record: ledger.Record{Outcome: ledger.Failed, Error: words, ByUpdate: i == 2}})
		}
	}
	change := func(minute float64, name, old, new, reason string) migration.Event {
		return migration.Event{At: at(minute), Kind: migration.EventChanged, Who: "anna", Name: name, Old: old, New: new, Reason: reason}
	}
	d.Events = []migration.Event{
		{At: at(0), Kind: migration.EventBegun},
		change(6, "rate", "4", "3", "the shop is slow"),
		change(12, "paused", "false", "true", "lunch, as agreed with the shop's team"), change(17, "paused", "true", "false", ""),
		change(30, "rate", "3", "1.5", "again"),
		{At: at(22.5), Kind: migration.EventSlowed, New: "1", Text: "http 503"}, {At: at(29), Kind: migration.EventRestored},
		{At: at(24), Kind: migration.EventOpened, Text: "http 503, 5 calls in a row"}, {At: at(28), Kind: migration.EventClosed},
		{At: at(3), Kind: migration.EventDecision, Text: "100 records were read back and are as the file has them"},
		{At: at(35), Kind: migration.EventDecision, Text: "120 records have failed: resume or stop"},
		{At: at(40), Kind: migration.EventEnded, Text: "stopped"}, {At: at(42), Kind: migration.EventBegun},
	}
	return d
}

// TestASampleReport is for eyes: REPORT_SAMPLE is the folder it is written to.
func TestASampleReport(t *testing.T) {
	folder := os.Getenv("REPORT_SAMPLE")
	if folder == "" {
		t.Skip("REPORT_SAMPLE is not set")
	}
	for name, s := range samples() {
		must(t, os.WriteFile(filepath.Join(folder, name+".html"), []byte(reportOf(t, s.Summary, s.Details)), 0o600))
	}
}

// tokens are the tags and texts of a page, which must be well-formed.
func tokens(t *testing.T, page string) (all []xml.Token) {
	t.Helper()
	void := regexp.MustCompile(`<(meta|link|br|hr|img)\b([^>]*)>`)
	d := xml.NewDecoder(strings.NewReader(void.ReplaceAllString(page, "<$1$2/>")))
	d.Entity = xml.HTMLEntity
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, page)
		}
		all = append(all, xml.CopyToken(token))
	}
}

func TestTheReportIsWellFormed(t *testing.T) {
	for name, s := range samples() {
		page := reportOf(t, s.Summary, s.Details)
		tokens(t, page)
		for _, bad := range []string{"NaN", "Inf", "ZgotmplZ", "<nil>", "%!"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s: the report has %q", name, bad)
			}
		}
	}
}

// withoutScript is a page without its own script, which its policy allows, and no other.
func withoutScript(t *testing.T, page string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(reportScript))
	policy := `content="` + html.EscapeString("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") + `"`
	rest := strings.Replace(strings.Replace(page, "<script>"+reportScript+"</script>", "", 1), policy, "", 1)
	if len(page)-len(rest) != len(policy)+len("<script></script>")+len(reportScript) {
		t.Errorf("the page lacks its script, or the policy that allows this script only: %s", policy)
	}
	return rest
}

func TestTheReportNeedsNoNetworkAndRunsNothingElse(t *testing.T) {
	for name, s := range samples() {
		page := strings.ReplaceAll(withoutScript(t, reportOf(t, s.Summary, s.Details)), s.URI+" ("+s.EntityType+")", "") // the target's name as text
		for _, bad := range []string{"http:", "https:", "//", "<script", "javascript:", "<link", "<img", "<iframe", "@import", "url(", "src=", " on" + "load=", "onclick="} {
			if strings.Contains(strings.ToLower(page), bad) {
				t.Errorf("%s: the report has %q:\n%s", name, bad, page)
			}
		}
		for _, token := range tokens(t, page) {
			start, ok := token.(xml.StartElement)
			for _, a := range start.Attr {
				if ok && a.Name.Local == "href" && !IsArtifact(a.Value) {
					t.Errorf("%s: the report has a link to %q; want links to the files beside it only", name, a.Value)
				}
			}
		}
	}
}

func TestTheReportEscapes(t *testing.T) {
	const bad = `<script>alert("x")</script>&'.csv`
	full := samples()["everything"]
	s, d := full.Summary, full.Details
	s.DataFile, s.WorkflowID, s.EntityType, s.URI, s.DataSHA256 = bad, bad, bad, bad, bad
	s.Files = migration.Files{Success: bad, Fail: "javascript:alert(1)", FailRecords: "../" + Name("success", stamp, "csv"), Retry: []string{bad}, Unresolved: ptr(bad), Remaining: ptr(bad), Report: bad}
	s.Rounds[0].RetryFile = ptr(bad)
	d.Program, d.Spec.PrimaryKey, d.Spec.MappingFile = bad, bad, bad
	d.Events = []migration.Event{{At: s.StartedAt, Kind: migration.EventChanged, Who: bad, Name: bad, Old: bad, New: bad, Reason: bad}, {At: s.StartedAt, Kind: migration.EventOpened, Text: bad}}
	d.Reasons.add(Record{Record: ledger.Record{Error: bad}})
	d.Timeline.Call(0, ledger.Outcomes{Sent: true, Letters: "u", Reason: bad})
	for _, counts := range []migration.Counts{{}, {Failed: 1}, {Unknown: 1}, {Remaining: 1}} {
		s.Records = counts
		page := withoutScript(t, reportOf(t, s, d))
		if strings.Contains(page, "<script") || strings.Contains(page, "</script") {
			t.Errorf("%+v: the report holds a script:\n%s", counts, page)
		}
		if n := strings.Count(page, "&lt;script&gt;alert"); n < 20 {
			t.Errorf("%+v: the report holds the name %d times, want all:\n%s", counts, n, page)
		}
		if got := strings.Count(page, "href="); got != 1 { // that to the summary
			t.Errorf("%+v: %d links, want none to a name that is none of ours:\n%s", counts, got, page)
		}
	}
}

func TestTheReportHoldsTheFigures(t *testing.T) {
	s := samples()["everything"]
	s.EntitiesAfter = ptr(int64(12345))
	page := reportOf(t, s.Summary, s.Details)
	for _, want := range []string{
		`created</th><td class="n">2</td><td class="n">20.0 %`, `recovered</th><td class="n">2<`, `updated</th><td class="n">0</td><td class="n">0 %`, `failed</th><td class="n">3<`,
		`unknown</th><td class="n">1<`, `remaining</th><td class="n">2<`, `total</th><td class="n">10<`,
		`0</th><td class="n wide-only">3</td><td class="n">3</td><td class="n">2</td><td class="n">1</td><td class="n">1</td><td class="n">4</td><td class="t wide-only">retry_Nov_22_2026_13_06_00.csv<`,
		`1</th><td class="n wide-only">2</td><td class="n">2</td><td class="n">0</td><td class="n">1</td><td class="n">1</td><td class="n">2</td><td class="t wide-only">–<`,
		"2026-11-22 13:05:00 UTC", "2026-11-22 14:06:01 UTC", "<dd>1h1m1s</dd>", "<dd>12345</dd>", s.DataSHA256, s.WorkflowID, s.URI,
		// the timeline
		"Grey: paused", "Dotted: a change", `class="mark" d="M96.8 0V100M`, "time is not known: 1 call.", "their worker died: 1 call.", `<td class="t">2026-11-22 13:46:59 UTC</td><td class="t" data-label="to">2026-11-22 13:52:58 UTC<`,
		">rounds:", ">updates:", ">paused: paused, 22 Nov 13:17:00 to 22 Nov 13:22:00;", ">slowed:", ">breaker:", ">no run: no run, 22 Nov 13:45:00 to 22 Nov 13:47:00;", ">changes:", ">decisions:",
		`"l dash" d="M0 `, // what was allowed
		// errors
		`attributes was not valid for the following reason: …</th><td class="n" data-label="records">80</td><td data-label="lines">1, 8, 15, 22, 29, …<`, "update: birthday (type date)", "http 503</th><td>unknown</td>", "api 200</th><td>refused, sent again in halves</td>",
		// events
		`2</th><td class="t">2026-11-22 13:17:00 UTC</td><td>anna</td><td>paused</td><td data-label="from">false</td><td data-label="to">true</td><td class="words">lunch, as agreed`, "http 503, 5 calls in a row", "http 503; allowed at first: 1 call a second",
		// settings
		"<dt>--rate-limit</dt><dd>4 calls a second</dd>", "<dt>--start-at</dt><dd>11</dd>", "<dt>--mapping</dt><dd>mapping.yaml, SHA-256 abababababab…</dd>", "<dt>--unknown-http-codes</dt><dd>none</dd>",
		"<dt>--unknown-api-codes</dt><dd>403,510-599</dd>", "<dt>program</dt><dd>durable-dataload v1.2.3, go1.26.8</dd>",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the report lacks %q:\n%s", want, page)
		}
	}
	for _, name := range append([]string{s.Files.Success, s.Files.Fail, s.Files.FailRecords, *s.Files.Remaining, *s.Files.UpdateSuccess, *s.Files.UpdateFail, SummaryName(stamp)}, s.Files.Retry...) {
		if !strings.Contains(page, `<a href="`+name+`">`+name+"</a>") {
			t.Errorf("the report does not link to %s:\n%s", name, page)
		}
	}
	// Empty parts are left out.
	page = reportOf(t, samples()["nothing"].Summary, Details{})
	for _, not := range []string{"still unknown", "retry:", "remaining:", "entities after", `<svg`, `id="timeline"`, `id="errors"`, `id="events"`, "Options"} {
		if strings.Contains(page, not) {
			t.Errorf("the report of nothing has %q:\n%s", not, page)
		}
	}
}

// The requirements of screen readers and of bad eyesight.
func TestTheReportIsAccessible(t *testing.T) {
	for name, s := range samples() {
		page := reportOf(t, s.Summary, s.Details)
		for _, want := range []string{`<html lang="en">`, `<meta name="viewport" content="width=device-width, initial-scale=1">`, "<main>", "<title>Migration of"} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: the report lacks %s", name, want)
			}
		}
		ids, refers := map[string]bool{}, []string{}
		heading := 0
		var open []string
		titled, captioned := map[int]bool{}, map[int]bool{}
		for _, token := range tokens(t, page) {
			switch e := token.(type) {
			case xml.StartElement:
				attr := map[string]string{}
				for _, a := range e.Attr {
					attr[a.Name.Local] = a.Value
				}
				if id := attr["id"]; id != "" {
					if ids[id] {
						t.Errorf("%s: the id %s is there twice", name, id)
					}
					ids[id] = true
				}
				refers = append(refers, strings.Fields(attr["aria-labelledby"])...)
				tag := e.Name.Local
				if len(tag) == 2 && tag[0] == 'h' && tag[1] >= '1' && tag[1] <= '6' {
					level := int(tag[1] - '0')
					if level > heading+1 || heading > 0 && level == 1 {
						t.Errorf("%s: a heading of level %d comes after one of level %d", name, level, heading)
					}
					heading = level
				}
				switch {
				case tag == "th" && attr["scope"] != "col" && attr["scope"] != "row":
					t.Errorf("%s: a th without scope: %v", name, attr)
				case tag == "svg" && attr["aria-hidden"] != "true" && (attr["role"] != "img" || attr["aria-labelledby"] == ""):
					t.Errorf("%s: a drawing without role and label: %v", name, attr)
				case tag == "title" && open[len(open)-1] == "svg":
					titled[len(open)-1] = true
				case tag == "caption":
					captioned[len(open)-1] = true
				}
				open = append(open, tag)
			case xml.EndElement:
				open = open[:len(open)-1]
				switch {
				case e.Name.Local == "svg" && !titled[len(open)]:
					t.Errorf("%s: a drawing without a title", name)
				case e.Name.Local == "table" && !captioned[len(open)]:
					t.Errorf("%s: a table without a caption", name)
				}
				if e.Name.Local == "svg" {
					delete(titled, len(open))
				} else if e.Name.Local == "table" {
					delete(captioned, len(open))
				}
			}
		}
		for _, id := range refers {
			if !ids[id] {
				t.Errorf("%s: something is labelled by %s, which is not there", name, id)
			}
		}
	}
}

// The colours of texts and lines have a contrast of 4.5 to the page at least, as
// WCAG 2.2 wants it of texts (1.4.3), in both schemes.
func TestTheReportCanBeRead(t *testing.T) {
	schemes := strings.SplitN(reportPage, "prefers-color-scheme: dark", 2)
	for i, scheme := range schemes {
		colours := map[string]float64{}
		for _, m := range regexp.MustCompile(`--(\w+): #(\w\w)(\w\w)(\w\w);`).FindAllStringSubmatch(scheme, -1) {
			colours[m[1]] = 0.2126*linear(t, m[2]) + 0.7152*linear(t, m[3]) + 0.0722*linear(t, m[4])
		}
		for _, name := range []string{"text", "muted", "link", "a", "b", "c"} {
			l, there := colours[name]
			page := colours["page"]
			if contrast := (max(l, page) + .05) / (min(l, page) + .05); !there || contrast < 4.5 {
				t.Errorf("scheme %d: %s has a contrast of %.2f, want 4.5", i, name, contrast)
			}
		}
	}
	if len(schemes) != 2 {
		t.Error("the page has no dark scheme")
	}
}

// With each of the common deficiencies of colour vision the colours of the charts differ from one another. The matrices are
// those of Machado, Oliveira and Fernandes (2009) for the full deficiency, the distance is that of Oklab.
func TestTheColoursOfTheChartsCanBeToldApart(t *testing.T) {
	sight := map[string][3][3]float64{
		"normal": {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
		"protan": {{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216}, {-0.003882, -0.048116, 1.051998}},
		"deutan": {{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413}, {-0.011820, 0.042940, 0.968881}},
		"tritan": {{1.255528, -0.076749, -0.178779}, {-0.078411, 0.930809, 0.147602}, {0.004733, 0.691367, 0.303900}},
	}
	apply := func(m [3][3]float64, v [3]float64) (out [3]float64) {
		for i := range out {
			out[i] = m[i][0]*v[0] + m[i][1]*v[1] + m[i][2]*v[2]
		}
		return out
	}
	for i, scheme := range strings.SplitN(reportPage, "prefers-color-scheme: dark", 2) {
		for name, matrix := range sight {
			seen := map[string][3]float64{}
			for _, m := range regexp.MustCompile(`--([abc]): #(\w\w)(\w\w)(\w\w);`).FindAllStringSubmatch(scheme, -1) {
				c := apply(matrix, [3]float64{linear(t, m[2]), linear(t, m[3]), linear(t, m[4])})
				cones := apply([3][3]float64{{0.4122214708, 0.5363325363, 0.0514459929}, {0.2119034982, 0.6806995451, 0.1073969566}, {0.0883024619, 0.2817188376, 0.6299787005}},
					[3]float64{min(max(c[0], 0), 1), min(max(c[1], 0), 1), min(max(c[2], 0), 1)})
				seen[m[1]] = apply([3][3]float64{{0.2104542553, 0.7936177850, -0.0040720468}, {1.9779984951, -2.4285922050, 0.4505937099}, {0.0259040371, 0.7827717662, -0.8086757660}},
					[3]float64{math.Cbrt(cones[0]), math.Cbrt(cones[1]), math.Cbrt(cones[2])})
			}
			if len(seen) != 3 {
				t.Fatalf("scheme %d has %d colours for charts, want 3", i, len(seen))
			}
			for _, pair := range []string{"ab", "ac", "bc"} {
				x, y := seen[pair[:1]], seen[pair[1:]]
				if d := math.Sqrt(math.Pow(x[0]-y[0], 2) + math.Pow(x[1]-y[1], 2) + math.Pow(x[2]-y[2], 2)); d < .2 {
					t.Errorf("scheme %d, %s: the colours %s have a distance of %.3f, want 0.2", i, name, pair, d)
				}
			}
		}
	}
}

// linear is a component of a colour in linear light.
func linear(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(hex, 16, 8)
	must(t, err)
	v := float64(n) / 255
	if v <= 0.04045 {
		return v / 12.92
	}
	return math.Pow((v+0.055)/1.055, 2.4)
}

func TestRepeatedEventsAreOneLine(t *testing.T) {
	at := time.Date(2026, 11, 22, 23, 50, 0, 0, time.UTC)
	event := func(minute int, kind migration.EventKind, rate, text string) migration.Event {
		return migration.Event{At: at.Add(time.Duration(minute) * time.Minute), Kind: kind, New: rate, Text: text}
	}
	rows, more := eventRows([]migration.Event{
		event(0, migration.EventBegun, "", ""),
		event(1, migration.EventSlowed, "2", "http 503"), event(2, migration.EventRestored, "", ""), event(3, migration.EventSlowed, "1", "http 503"),
		event(4, migration.EventChanged, "8", ""), // has a table of its own
		event(5, migration.EventRestored, "", ""),
		event(6, migration.EventOpened, "", "timeout"), event(20, migration.EventClosed, "", ""),
		event(21, migration.EventSlowed, "1", "api 510"), event(22, migration.EventEnded, "", "stopped"), event(23, migration.EventBegun, "", ""),
	})
	var got []string
	for _, r := range rows {
		got = append(got, r.From.Format("15:04")+"|"+r.Until+"|"+r.What+"|"+r.Details)
	}
	want := []string{
		"23:50||begun|", "23:51|23:55:00|slowed 2 times, restored 2 times|http 503; allowed at the least: 1 call a second",
		"23:56|2026-11-23 00:10:00 UTC|breaker opened, breaker closed|timeout", "00:11||slowed|api 510; allowed at first: 1 call a second", "00:12||ended|stopped", "00:13||begun|",
	}
	if !slices.Equal(got, want) || more != 0 {
		t.Errorf("%q and %d more, want %q", got, more, want)
	}
}

func TestTheSummaryForATicketIsPlainText(t *testing.T) {
	s := samples()["everything"]
	page := reportOf(t, s.Summary, s.Details)
	_, text, _ := strings.Cut(page, "<pre>")
	text, _, _ = strings.Cut(text, "</pre>")
	want := `Migration of users.csv into https://name.janraincapture.com (user): Stopped
10 records: 2 created, 2 recovered, 3 failed, 1 unknown, 2 remaining
`
	if !strings.HasPrefix(text, want) || strings.Count(text, "(lines ") != mostReasons || !strings.HasSuffix(text, "2026-11-22 13:05:00 UTC to 2026-11-22 14:06:01 UTC, in 2 rounds\n"+s.WorkflowID) {
		t.Errorf("%s\nwant it to begin with\n%s", text, want)
	}
}

func TestAShareIsNeverRoundedToAllOrNothing(t *testing.T) {
	for _, tc := range []struct {
		part, whole int
		want        string
	}{{0, 0, "0 %"}, {0, 5, "0 %"}, {5, 5, "100 %"}, {1, 3, "33.3 %"}, {1, 1000, "0.1 %"}, {1, 1001, "< 0.1 %"}, {1, 10_000_000, "< 0.1 %"}, {999, 1000, "99.9 %"}, {9_999_999, 10_000_000, "> 99.9 %"}} {
		if got := share(tc.part, tc.whole); got != tc.want {
			t.Errorf("%d of %d: %s, want %s", tc.part, tc.whole, got, tc.want)
		}
	}
}

func TestAdviceSaysWhatToDoNext(t *testing.T) {
	files := migration.Files{Fail: "fail.csv", FailRecords: "fail_records.csv", Unresolved: ptr("retry_2.csv"), Remaining: ptr("remaining.csv")}
	for failed, want := range map[int]string{0: "are in fail.csv;", 1: "are in fail.csv and update_fail.csv;", 3: "are in update_fail.csv;"} {
		files := migration.Files{Fail: "fail.csv", FailRecords: "fail_records.csv", UpdateFail: ptr("update_fail.csv"), UpdateFailRecords: failed}
		if got := Advice(migration.Summary{Records: migration.Counts{Total: 9, Failed: 3}, Files: files}); !strings.Contains(got, want) {
			t.Errorf("%d of 3 failed in an update: %q, want %q: no empty file is named", failed, got, want)
		}
	}
	cases := []struct {
		counts    migration.Counts
		cancelled bool
		want      []string
	}{
		{migration.Counts{Total: 1, Created: 1}, false, []string{"Every record is in the target"}},
		{migration.Counts{Total: 1, Created: 1}, true, []string{"Every record is in the target"}},
		{migration.Counts{}, false, []string{"The file has no records"}},
		{migration.Counts{Failed: 1}, false, []string{"fail.csv", "fail_records.csv"}},
		{migration.Counts{Failed: 1, Unknown: 1}, false, []string{"retry_2.csv", "rerun the command"}},
		{migration.Counts{Failed: 1, Unknown: 1, Remaining: 1}, false, []string{"stopped", "Rerun the command"}},
		{migration.Counts{Failed: 1, Unknown: 1, Remaining: 1}, true, []string{"cancelled", "1 record in an unknown state is in retry_2.csv", "1 record that was never sent in remaining.csv", "does not resume", "--again"}},
		{migration.Counts{Unknown: 2}, true, []string{"cancelled: 2 records in an unknown state are in retry_2.csv. Rerunning"}},
	}
	for _, tc := range cases {
		got := Advice(migration.Summary{Records: tc.counts, Files: files, Cancelled: tc.cancelled})
		if slices.ContainsFunc(tc.want, func(w string) bool { return !strings.Contains(got, w) }) {
			t.Errorf("%+v: %q, want it to hold %q", tc.counts, got, tc.want)
		}
	}
}

func TestFilesOfARunThatWasCancelledAfterItAreThoseOfACancelledRun(t *testing.T) {
	dir := t.TempDir()
	all := samples()["everything"]
	s, d := all.Summary, all.Details
	s.Files.Report, s.Files.Remaining = "report.html", ptr("the rest + 'more' & <others>.csv")
	s.Cancelled = true
	must(t, WriteSummary(dir, stamp, s, d))
	want := contents(t, dir)
	s.Cancelled = false
	must(t, WriteSummary(dir, stamp, s, d))
	before := contents(t, dir)
	s.Cancelled = true
	for range 2 {
		must(t, MarkCancelled(dir, stamp, s))
		got := contents(t, dir)
		for name, text := range want {
			if got[name] != text || before[name] == text {
				t.Errorf("%s is not that of a cancelled run, or was before", name)
			}
		}
	}
	for name := range want {
		must(t, os.Remove(filepath.Join(dir, name)))
	}
	must(t, MarkCancelled(dir, stamp, s))
	if got := contents(t, dir); len(got) > 0 {
		t.Errorf("files that were moved away are there again: %q", names(got))
	}
}

func TestKeylessRecordsHaveALineAndAdvice(t *testing.T) {
	s := migration.Summary{
		Records: migration.Counts{Total: 30, Recovered: 18, Unknown: 12}, Files: migration.Files{Unresolved: ptr("retry_2.csv"), Retry: []string{"retry_1.csv", "retry_2.csv"}},
		Keyless: &migration.Keyless{PrimaryKey: "email", Records: 10, Unknown: 10, Note: "10 of 30 records are keyless"},
	}
	want := "The answer for 10 records without a unique email was lost, so they are never sent again by this program: check which of them exist in the target, and load the others of retry_2.csv by hand." +
		" When the target has recovered, rerun the command to load the other 2 unknown records of that file again."
	if got := Advice(s); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	page, err := report(stamp, s, Details{})
	must(t, err)
	for _, want := range []string{`<th scope="row">of these keyless</th><td class="n">10</td><td class="n">33.3 %</td>`, "10 of 30 records are keyless"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the report has no %s", want)
		}
	}
	s.Records.Unknown, s.Keyless.Records, s.Keyless.Unknown = 1, 1, 1
	if got := Advice(s); !strings.Contains(got, "for 1 record without") || !strings.Contains(got, "it is never sent again") || strings.Contains(got, "rerun the command") {
		t.Errorf("%s", got)
	}
	s.Keyless.Unknown = 0
	if got := Advice(s); !strings.Contains(got, "rerun the command") || strings.Contains(got, "by hand") {
		t.Errorf("%s", got)
	}
	if page, err = report(stamp, s, Details{}); err != nil || strings.Contains(string(page), "of these keyless") {
		t.Errorf("a line for no records: %v", err)
	}
}
