package check

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// lab is a migration made by hand: six records in batches of two. The second
// batch was lost in round 0, half of it written; one record has the email of
// another, one existed before, and one has a field too few.
type lab struct {
	t         *testing.T
	dir       string
	migration Migration

	witness *Witness
}

// emptyLab has nothing but the places of its files.
func emptyLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir()}
	l.migration = Migration{Input: l.path("users.csv"), Summary: l.path("summary.json"), Truth: l.path("truth.jsonl"), Ledger: l.path("ledger"), BatchSize: 2}
	return l
}

const (
	header   = "email,givenName\r\n"
	ann      = "ann@a.test,Ann\r\n"            // line 2: created
	bob      = "bob@a.test,\"B\nob\"\r\n"      // line 3: created
	cat      = "cat@a.test,Cat\r\n"            // line 5: lost, and written: recovered in round 1
	dan      = "dan@a.test,Dan\r\n"            // line 6: lost, and not written: created in round 1
	repeated = "ANN@A.TEST,Ann the second\r\n" // line 7: duplicate
	old      = "old@a.test,Old"                // line 8: there before
)

func newLab(t *testing.T) *lab {
	t.Helper()
	l := emptyLab(t)
	l.migration.Before = 1
	input := header + ann + bob + cat + dan + repeated + old
	l.write("users.csv", input)
	l.write("success.csv", "batch,line,uuid,email,round,how\n1,2,u-1,ann@a.test,0,created\n1,3,u-2,bob@a.test,0,created\n"+
		"2,5,u-3,cat@a.test,1,recovered\n2,6,u-4,dan@a.test,1,created\n")
	l.write("fail.csv", "batch,line,email,error\n3,7,ANN@A.TEST,Attempted to update a duplicate value\n3,8,old@a.test,Attempted to update a duplicate value\n")
	l.write("fail_records.csv", header+repeated+old)
	l.write("retry.csv", header+cat+dan)
	l.write("report.html", "<p>")
	l.write("summary.json", fmt.Sprintf(`{"data_sha256": "%x",
 "records": {"total": 6, "created": 3, "recovered": 1, "updated": 0, "failed": 2, "unknown": 0, "remaining": 0},
 "rounds": [{"round": 0, "batches": 3, "calls": 3, "created": 2, "duplicate": 2, "failed": 0, "unknown": 2, "retry_file": "retry.csv"},
  {"round": 1, "batches": 1, "calls": 1, "created": 1, "duplicate": 1, "failed": 0, "unknown": 0, "retry_file": null}],
 "files": {"success": "success.csv", "fail": "fail.csv", "fail_records": "fail_records.csv", "retry": ["retry.csv"],
  "unresolved": null, "remaining": null, "report": "report.html"}}`, sha256.Sum256([]byte(input))))
	at := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	call := func(seq int, keys, written, entities string) string {
		return fmt.Sprintf(`{"seq":%d,"received":%q,"committed":%q,"endpoint":"entity.bulkCreate","keys":[%s],"written":[%s],"entities":[%s]}`+"\n",
			seq, at.Add(time.Duration(seq)*time.Second).Format(time.RFC3339Nano), at.Add(time.Duration(seq)*time.Second+time.Millisecond).Format(time.RFC3339Nano), keys, written, entities)
	}
	l.write("truth.jsonl",
		call(1, `"old@a.test"`, `{"index":0,"uuid":"u-0","email":"old@a.test"}`, `{}`)+
			call(2, `"ann@a.test","bob@a.test"`, `{"index":0,"uuid":"u-1","email":"ann@a.test"},{"index":1,"uuid":"u-2","email":"bob@a.test"}`,
				`{"email":"ann@a.test","givenName":"Ann"},{"email":"bob@a.test","givenName":"B\nob"}`)+
			call(3, `"cat@a.test","dan@a.test"`, `{"index":0,"uuid":"u-3","email":"cat@a.test"}`, `{"email":"cat@a.test","givenName":"Cat"}`)+
			call(4, `"ann@a.test","old@a.test"`, ``, ``)+
			call(5, `"cat@a.test","dan@a.test"`, `{"index":1,"uuid":"u-4","email":"dan@a.test"}`, `{"email":"dan@a.test","givenName":"Dan"}`))
	for name, second := range map[string]float64{"0/00000/00000001": 1.9, "0/00000/00000002": 2.9, "0/00000/00000003": 3.9, "1/00000/00000002": 4.9} {
		l.write("ledger/"+name+".claim", fmt.Sprintf(`{"at": %q}`, at.Add(time.Duration(second*float64(time.Second))).Format(time.RFC3339Nano)))
	}
	return l
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, filepath.FromSlash(name)) }

func (l *lab) write(name, content string) {
	l.t.Helper()
	must(l.t, os.MkdirAll(filepath.Dir(l.path(name)), 0o700))
	must(l.t, os.WriteFile(l.path(name), []byte(content), 0o600))
}

// replace damages a file.
func (l *lab) replace(name, old, new string) {
	l.t.Helper()
	content, err := os.ReadFile(l.path(name))
	must(l.t, err)
	if strings.Count(string(content), old) == 0 {
		l.t.Fatalf("%s does not hold %q", name, old)
	}
	l.write(name, strings.Replace(string(content), old, new, 1))
}

func (l *lab) check() []Broken {
	l.t.Helper()
	broken, err := Check(l.migration)
	must(l.t, err)
	return broken
}

// holds expects that nothing is broken.
func (l *lab) holds() {
	l.t.Helper()
	for _, b := range l.check() {
		l.t.Error(b)
	}
}

// breaks expects an invariant among what is broken.
func (l *lab) breaks(name, want string) {
	l.t.Helper()
	if broken := l.check(); !slices.ContainsFunc(broken, func(b Broken) bool { return b.Invariant == want }) {
		l.t.Errorf("%s: found %v, want invariant %s among it", name, broken, want)
	}
}

func TestNothingIsBrokenInAGoodMigration(t *testing.T) { newLab(t).holds() }

func TestWhatIsBrokenIsNamed(t *testing.T) {
	replace := func(name, old, new string) func(*lab) { return func(l *lab) { l.replace(name, old, new) } }
	cases := []struct {
		name   string
		damage func(*lab)
		want   string
	}{
		{"a record is nowhere", replace("success.csv", "1,3,u-2,bob@a.test,0,created\n", ""), OneDisposition},
		{"a record is in two places", replace("fail.csv", "3,7,", "1,2,ann@a.test,twice\n3,7,"), OneDisposition},
		{"a line that no record begins on", replace("success.csv", "1,3,", "1,4,"), OneDisposition},
		{"another batch", replace("success.csv", "2,5,", "3,5,"), OneDisposition},
		{"another email", replace("success.csv", "dan@a.test", "don@a.test"), OneDisposition},
		{"another round", replace("success.csv", "dan@a.test,1", "dan@a.test,0"), OneDisposition},
		{"another order", replace("success.csv", "1,2,u-1,ann@a.test,0,created\n1,3,u-2,bob@a.test,0,created\n", "1,3,u-2,bob@a.test,0,created\n1,2,u-1,ann@a.test,0,created\n"), OneDisposition},
		{"no reason", replace("fail.csv", "3,8,old@a.test,Attempted to update a duplicate value", "3,8,old@a.test,"), OneDisposition},
		{"a uuid that was never given", replace("success.csv", "u-4", "u-9"), TrueOutcome},
		{"the uuid of another", replace("success.csv", "u-1", "u-2"), TrueOutcome},
		{"a stranger's record is recovered", func(l *lab) {
			l.replace("fail.csv", "3,8,old@a.test,Attempted to update a duplicate value\n", "")
			l.replace("success.csv", "2,6,u-4,dan@a.test,1,created\n", "2,6,u-4,dan@a.test,1,created\n3,8,u-0,old@a.test,1,recovered\n")
		}, Proven},
		{"written, and failed", func(l *lab) {
			l.replace("success.csv", "2,5,u-3,cat@a.test,1,recovered\n", "")
			l.replace("fail.csv", "3,7,", "2,5,cat@a.test,some reason\n3,7,")
		}, TrueOutcome},
		{"a duplicate of nothing", func(l *lab) {
			l.replace("success.csv", "2,6,u-4,dan@a.test,1,created\n", "")
			l.replace("fail.csv", "3,7,", "2,6,dan@a.test,Attempted to update a duplicate value\n3,7,")
			l.replace("truth.jsonl", `{"index":1,"uuid":"u-4","email":"dan@a.test"}`, "")
		}, TrueOutcome},
		{"a wrong total", replace("summary.json", `"total": 6`, `"total": 7`), AddsUp},
		{"a wrong count", replace("summary.json", `"created": 3, "recovered": 1`, `"created": 2, "recovered": 2`), AddsUp},
		{"a wrong round", replace("summary.json", `"created": 1, "duplicate": 1`, `"created": 2, "duplicate": 0`), AddsUp},
		{"a file that is not there", replace("summary.json", "report.html", "reports.html"), AddsUp},
		{"more calls than told", replace("summary.json", `"batches": 1, "calls": 1`, `"batches": 1, "calls": 0`), NoBlindRepeat},
		{"sent once more than there were rounds", replace("truth.jsonl", `"keys":["ann@a.test","old@a.test"]`, `"keys":["bob@a.test","old@a.test"]`), NoBlindRepeat},
		{"two calls under one claim", func(l *lab) {
			// In round 1 it was claimed after the call: then both are of round 0.
			l.replace("ledger/1/00000/00000002.claim", "13:05:04.9", "13:05:08")
		}, NoBlindRepeat},
		{"sent before it was claimed", func(l *lab) { l.replace("ledger/0/00000/00000001.claim", "13:05:01.9", "13:05:03") }, NoBlindRepeat},
		{"line ends were changed", replace("fail_records.csv", "second\r\n", "second\n"), BytesKept},
		{"the header was changed", replace("retry.csv", "email,givenName\r\n", "email,givenName\n"), BytesKept},
		{"a record is missing in the failed ones", replace("fail_records.csv", repeated, ""), BytesKept},
		{"a retry file holds what is not of the input", replace("retry.csv", "Dan", "Don"), BytesKept},
		{"another input", replace("summary.json", `"data_sha256": "`, `"data_sha256": "0`), InputFixed},
		{"another value was written", replace("truth.jsonl", `"givenName":"Dan"`, `"givenName":"Don"`), InputFixed},
		{"others can read it", func(l *lab) { must(l.t, os.Chmod(l.path("success.csv"), 0o644)) }, Private},
	}
	for _, c := range cases {
		l := newLab(t)
		c.damage(l)
		l.breaks(c.name, c.want)
	}
}

// A target that says so, in an answer that arrives, has written nothing: then records may be sent again in smaller calls.
func TestWhatTheTargetDidNotTakeMayBeSentAgain(t *testing.T) {
	for kept, holds := range map[string]bool{"": false, `"took_none":true,`: true} {
		l := newLab(t)
		l.replace("truth.jsonl", `{"seq":4,`, `{"seq":4,`+kept)
		l.replace("truth.jsonl", `"keys":["ann@a.test","old@a.test"]`, `"keys":["bob@a.test","old@a.test"]`)
		l.migration.Ledger = ""
		if broken := l.check(); (len(broken) == 0) != holds {
			t.Errorf("with %q in the log: found %v", kept, broken)
		}
	}
}

func TestAStoppedMigrationHasRecordsThatRemain(t *testing.T) {
	l := newLab(t)
	l.replace("fail.csv", "3,7,ANN@A.TEST,Attempted to update a duplicate value\n3,8,old@a.test,Attempted to update a duplicate value\n", "")
	l.write("fail_records.csv", header)
	l.write("remaining.csv", header+repeated+old)
	l.replace("truth.jsonl", `"keys":["ann@a.test","old@a.test"]`, `"keys":[]`)
	l.replace("summary.json", `"failed": 2, "unknown": 0, "remaining": 0`, `"failed": 0, "unknown": 0, "remaining": 2`)
	l.replace("summary.json", `"created": 2, "duplicate": 2`, `"created": 2, "duplicate": 0`)
	l.replace("summary.json", `"remaining": null`, `"remaining": "remaining.csv"`)
	l.holds()
	l.write("remaining.csv", header+repeated)
	l.breaks("a remaining record is nowhere", OneDisposition)
}

func TestMoments(t *testing.T) {
	start := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	var m Moments
	for i := range 9 {
		m = append(m, start.Add(time.Duration(i)*250*time.Millisecond))
	}
	if most, from := m.Most(time.Second); most != 4 || !from.Equal(start) {
		t.Errorf("Most gave %d from %v, want 4 from %v: the window is open at its end", most, from, start)
	}
	if average := m.Average(); average != 4 {
		t.Errorf("Average gave %g, want 4", average)
	}
	m[4] = m[3]
	if most, _ := m.Most(time.Second); most != 5 {
		t.Errorf("Most gave %d, want 5", most)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
