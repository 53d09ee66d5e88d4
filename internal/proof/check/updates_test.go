package check

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"
)

// newDeltaLab is a delta migration made by hand: ann is new, bob is updated, cat
// was the same, dan's update failed, and bob stands a second time.
func newDeltaLab(t *testing.T) *lab {
	t.Helper()
	l := emptyLab(t)
	l.migration.Before, l.migration.Ledger, l.migration.Undo = 1, "", l.path("undo")
	const header = "email,givenName,clients\n"
	records := []string{"ann@a.test,Ann,\n", "bob@a.test,Bob,\"[{\"\"clientId\"\":\"\"7\"\"}]\"\n", "cat@a.test,Cat,\n", "dan@a.test,Dan,\n", "BOB@a.test,Second,\n"}
	input := header + strings.Join(records, "")
	l.write("users.csv", input)
	l.write("success.csv", "batch,line,uuid,email,round,how\n1,2,u-1,ann@a.test,0,created\n")
	l.write("fail.csv", "batch,line,email,error\n3,6,BOB@a.test,\"duplicate key in the file, first in line 3; only the first is loaded\"\n")
	l.write("update_success.csv", "batch,line,email,how\n1,3,bob@a.test,updated\n2,4,cat@a.test,unchanged\n")
	l.write("update_fail.csv", "batch,line,email,error\n2,5,dan@a.test,refused\n")
	l.write("fail_records.csv", header+records[3]+records[4])
	l.write("report.html", "<p>")
	l.write("summary.json", fmt.Sprintf(`{"data_sha256": "%x",
 "records": {"total": 5, "created": 1, "recovered": 0, "updated": 2, "failed": 2, "unknown": 0, "remaining": 0},
 "rounds": [{"round": 0, "batches": 3, "calls": 2, "created": 1, "duplicate": 3, "failed": 1, "unknown": 0, "retry_file": null}],
 "files": {"success": "success.csv", "fail": "fail.csv", "fail_records": "fail_records.csv", "retry": [],
  "unresolved": null, "remaining": null, "update_success": "update_success.csv", "update_fail": "update_fail.csv", "report": "report.html"}}`, sha256.Sum256([]byte(input))))
	at := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	call := func(seq int, endpoint, keys, written, entities string) string {
		moment := at.Add(time.Duration(seq) * time.Second).Format(time.RFC3339Nano)
		return fmt.Sprintf(`{"seq":%d,"received":%q,"committed":%q,"endpoint":%q,"keys":[%s],"written":[%s],"entities":[%s]}`+"\n", seq, moment, moment, endpoint, keys, written, entities)
	}
	l.write("truth.jsonl",
		call(1, "entity.bulkCreate", `"bob@a.test","cat@a.test","dan@a.test"`,
			`{"index":0,"uuid":"o-1","email":"bob@a.test"},{"index":1,"uuid":"o-2","email":"cat@a.test"},{"index":2,"uuid":"o-3","email":"dan@a.test"}`,
			`{"email":"bob@a.test","givenName":"Old","clients":[{"id":1,"clientId":"6"}]},{"email":"cat@a.test","givenName":"Cat"},{"email":"dan@a.test"}`)+
			call(2, "entity.bulkCreate", `"ann@a.test","bob@a.test"`, `{"index":0,"uuid":"u-1","email":"ann@a.test"}`, `{"email":"ann@a.test","givenName":"Ann"}`)+
			call(3, "entity.bulkCreate", `"cat@a.test","dan@a.test"`, ``, ``)+
			call(4, "entity.update", ``, `{"index":0,"uuid":"o-1","email":"bob@a.test"}`, `{"email":"bob@a.test","givenName":"Bob","clients":[{"id":1,"clientId":"6"}]}`)+
			call(5, "entity.replace", ``, `{"index":0,"uuid":"o-1","email":"bob@a.test"}`, `{"email":"bob@a.test","givenName":"Bob","clients":[{"id":2,"clientId":"7"}]}`)+
			call(6, "entity.update", ``, ``, ``))
	l.write("undo/00000/00000001.json", `{"format":1,"changes":[{"line":3,"uuid":"o-1","paths":["givenName"]}],"values":[{"before":{"givenName":"Old"},"after":{"givenName":"Bob"}}]}`)
	return l
}

func TestNothingIsBrokenInAGoodDeltaMigration(t *testing.T) { newDeltaLab(t).holds() }

func TestWhatIsBrokenInADeltaMigrationIsNamed(t *testing.T) {
	replace := func(name, old, new string) func(*lab) { return func(l *lab) { l.replace(name, old, new) } }
	cases := []struct {
		name   string
		damage func(*lab)
		want   string
	}{
		{"an update that did not happen", func(l *lab) {
			l.replace("truth.jsonl", `"endpoint":"entity.update","keys":[],"written":[{`, `"endpoint":"entity.find","keys":[],"written":[{`)
			l.replace("truth.jsonl", `"endpoint":"entity.replace"`, `"endpoint":"entity.find"`)
		}, TrueOutcome},
		{"an update that set another value", replace("truth.jsonl", `"givenName":"Bob","clients":[{"id":2`, `"givenName":"Rob","clients":[{"id":2`), TrueOutcome},
		{"a plural that was added to", replace("truth.jsonl", `[{"id":2,"clientId":"7"}]`, `[{"id":1,"clientId":"6"},{"id":2,"clientId":"7"}]`), TrueOutcome},
		{"unchanged, and another value", replace("truth.jsonl", `"givenName":"Cat"`, `"givenName":"Kat"`), TrueOutcome},
		{"unchanged, and changed", replace("update_success.csv", "bob@a.test,updated", "bob@a.test,unchanged"), TrueOutcome},
		{"updated, and not there before", func(l *lab) {
			l.replace("success.csv", "1,2,u-1,ann@a.test,0,created\n", "")
			l.replace("update_success.csv", "1,3,", "1,2,ann@a.test,updated\n1,3,")
		}, TrueOutcome},
		{"a record was changed that is no record of the input", replace("truth.jsonl", `"keys":[],"written":[],"entities":[]`,
			`"keys":[],"written":[{"index":0,"uuid":"o-9","email":"x@a.test"}],"entities":[{}]`), TrueOutcome},
		{"a second record with the key was loaded", replace("fail.csv", "duplicate key in the file, first in line 3; only the first is loaded", "Attempted to update a duplicate value"), TrueOutcome},
		{"a duplicate was not updated", func(l *lab) {
			l.replace("update_fail.csv", "2,5,dan@a.test,refused\n", "")
			l.replace("fail.csv", "3,6,", "2,5,dan@a.test,Attempted to update a duplicate value\n3,6,")
		}, TrueOutcome},
		{"nothing is kept", replace("undo/00000/00000001.json", "o-1", "o-2"), Undoable},
		{"something else is kept", replace("undo/00000/00000001.json", `"Old"`, `"Bob"`), Undoable},
		{"an update is nowhere", replace("update_success.csv", "2,4,cat@a.test,unchanged\n", ""), OneDisposition},
		{"an update is in two places", replace("update_fail.csv", "2,5,", "1,3,bob@a.test,refused\n2,5,"), OneDisposition},
		{"another key", replace("update_success.csv", "bob@a.test", "rob@a.test"), OneDisposition},
		{"another how", replace("update_success.csv", "unchanged", "changed"), OneDisposition},
		{"a column that is not of the input", replace("update_success.csv", "line,email", "line,mail"), OneDisposition},
		{"no reason", replace("update_fail.csv", "refused", ""), OneDisposition},
		{"a wrong count", replace("summary.json", `"updated": 2, "failed": 2`, `"updated": 3, "failed": 1`), AddsUp},
		{"one file only", replace("summary.json", `"update_fail": "update_fail.csv"`, `"update_fail": null`), AddsUp},
		{"a failed update is missing in the failed records", replace("fail_records.csv", "dan@a.test,Dan,\n", ""), BytesKept},
	}
	for _, c := range cases {
		l := newDeltaLab(t)
		c.damage(l)
		l.breaks(c.name, c.want)
	}
}
