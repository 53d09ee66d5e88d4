package check

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

const (
	eve = "eve@a.test,Eve\r\n" // line 2: a gateway sent its call twice: recovered in round 0
	rob = "rob@a.test,Rob\r\n" // line 3: the same
	kay = ",Kay\r\n"           // line 4: has no key; lost, and written: unknown
	chu = "chu@a.test,Chu\r\n" // line 5: lost, written, and changed by its user: unknown
	str = "str@a.test,Str\r\n" // line 6: lost, and a stranger registered: fails
	nam = "nam@a.test,Nam\r\n" // line 7: lost, and somebody registered with all that it says: nobody can tell
)

// newCrowd is a migration among other people, in batches of two.
func newCrowd(t *testing.T) *lab {
	t.Helper()
	l := emptyLab(t)
	input := header + eve + rob + kay + chu + str + nam
	l.write("users.csv", input)
	l.write("success.csv", "batch,line,uuid,email,round,how\n1,2,u-1,eve@a.test,0,recovered\n1,3,u-2,rob@a.test,0,recovered\n3,7,s-2,nam@a.test,1,recovered\n")
	l.write("fail.csv", "batch,line,email,error\n3,6,str@a.test,Attempted to update a duplicate value\n")
	l.write("fail_records.csv", header+str)
	l.write("retry.csv", header+chu+str+nam)
	l.write("unresolved.csv", header+kay+chu)
	l.write("report.html", "<p>")
	l.write("summary.json", fmt.Sprintf(`{"data_sha256": "%x",
 "records": {"total": 6, "created": 0, "recovered": 3, "updated": 0, "failed": 1, "unknown": 2, "remaining": 0},
 "rounds": [{"round": 0, "batches": 3, "calls": 3, "created": 0, "duplicate": 2, "failed": 0, "unknown": 4, "retry_file": "retry.csv"},
  {"round": 1, "batches": 2, "calls": 2, "created": 0, "duplicate": 3, "failed": 0, "unknown": 0, "retry_file": null}],
 "files": {"success": "success.csv", "fail": "fail.csv", "fail_records": "fail_records.csv", "retry": ["retry.csv", "unresolved.csv"],
  "unresolved": "unresolved.csv", "remaining": null, "report": "report.html"}}`, sha256.Sum256([]byte(input))))
	seq := 0
	var truth strings.Builder
	for _, line := range []string{
		`"endpoint":"entity.bulkCreate","fault":"replayed","keys":["eve@a.test","rob@a.test"],"written":[{"index":0,"uuid":"u-1","email":"eve@a.test"},{"index":1,"uuid":"u-2","email":"rob@a.test"}],"entities":[{"email":"eve@a.test","givenName":"Eve"},{"email":"rob@a.test","givenName":"Rob"}]`,
		`"endpoint":"entity.bulkCreate","fault":"replay","keys":["eve@a.test","rob@a.test"]`,
		`"endpoint":"entity.bulkCreate","fault":"sign-in","keys":["","chu@a.test"],"written":[{"index":0,"uuid":"u-3","email":""},{"index":1,"uuid":"u-4","email":"chu@a.test"}],"entities":[{"givenName":"Kay"},{"email":"chu@a.test","givenName":"Chu"}]`,
		`"endpoint":"user.change","written":[{"index":0,"uuid":"u-4","email":"chu@a.test"}],"entities":[{"email":"chu@a.test","givenName":"Chu","displayName":"changed"}]`,
		`"endpoint":"entity.bulkCreate","fault":"stranger","keys":["str@a.test","nam@a.test"]`,
		`"endpoint":"user.register","keys":["str@a.test"],"written":[{"index":0,"uuid":"s-1","email":"str@a.test"}],"entities":[{"email":"str@a.test","givenName":"Somebody"}]`,
		`"endpoint":"user.register","keys":["nam@a.test"],"written":[{"index":0,"uuid":"s-2","email":"nam@a.test"}],"entities":[{"email":"nam@a.test","givenName":"Nam"}]`,
		`"endpoint":"entity.bulkCreate","keys":["chu@a.test"]`,
		`"endpoint":"entity.bulkCreate","keys":["str@a.test","nam@a.test"]`,
	} {
		seq++
		fmt.Fprintf(&truth, `{"seq":%d,"received":%q,%s}`+"\n", seq, crowded(seq, 0), line)
	}
	l.write("truth.jsonl", truth.String())
	for name, before := range map[string]int{"0/00000/00000001": 1, "0/00000/00000002": 3, "0/00000/00000003": 5, "1/00000/00000002": 8, "1/00000/00000003": 9} {
		l.write("ledger/"+name+".claim", fmt.Sprintf(`{"at": %q}`, crowded(before, -100*time.Millisecond)))
	}
	return l
}

// crowded is when a call of newCrowd was received.
func crowded(seq int, off time.Duration) string {
	return time.Date(2026, 11, 22, 13, 5, seq, 0, time.UTC).Add(off).Format(time.RFC3339Nano)
}

func (l *lab) more(line string) {
	l.t.Helper()
	content, err := os.ReadFile(l.path("truth.jsonl"))
	must(l.t, err)
	seq := strings.Count(string(content), "\n") + 1
	l.write("truth.jsonl", string(content)+fmt.Sprintf(`{"seq":%d,"received":%q,%s}`+"\n", seq, crowded(seq, 0), line))
}

func TestNothingIsBrokenAmongOtherPeople(t *testing.T) {
	l := newCrowd(t)
	l.holds()
	tally, err := Count(l.migration)
	want := Tally{Met: map[string]int{"replay": 2, "sign-in": 2, "stranger": 2}, Strangers: 2, Namesakes: 1, Taken: 1, Changed: 1, Keyless: 1, Failed: 1}
	if got := fmt.Sprintf("%+v", tally); err != nil || got != fmt.Sprintf("%+v", want) {
		t.Errorf("got %s, %v, want %+v", got, err, want)
	}
}

func TestWhatIsBrokenAmongOtherPeopleIsNamed(t *testing.T) {
	more := func(line string) func(*lab) { return func(l *lab) { l.more(line) } }
	for _, c := range []struct {
		name   string
		emails string
		damage func(*lab)
		want   string
	}{
		{"a stranger is recovered", "", func(l *lab) {
			l.replace("fail.csv", "3,6,str@a.test,Attempted to update a duplicate value\n", "")
			l.replace("success.csv", "3,7,", "3,6,s-1,str@a.test,1,recovered\n3,7,")
		}, Proven},
		{"a namesake who has changed something is recovered", "", more(`"endpoint":"user.change","written":[{"index":0,"uuid":"s-2","email":"nam@a.test"}],"entities":[{}]`), Proven},
		{"a stranger is deleted", "", more(`"endpoint":"entity.delete","deleted":[{"uuid":"s-1","email":"str@a.test"}]`), Proven},
		{"a stranger is changed", "", more(`"endpoint":"entity.update","written":[{"index":0,"uuid":"s-1","email":"str@a.test"}],"entities":[{}]`), Proven},
		{"a plural of a stranger is replaced", "", more(`"endpoint":"entity.replace","written":[{"index":0,"uuid":"s-2","email":"nam@a.test"}],"entities":[{}]`), Proven},
		{"what a gateway repeated failed", "", func(l *lab) {
			l.replace("success.csv", "1,3,u-2,rob@a.test,0,recovered\n", "")
			l.replace("fail.csv", "3,6,", "1,3,rob@a.test,Attempted to update a duplicate value\n3,6,")
		}, TrueOutcome},
		{"a lost record without a key failed", "", func(l *lab) {
			l.write("unresolved.csv", header+chu)
			l.replace("fail.csv", "3,6,", "2,4,,refused\n3,6,")
		}, TrueOutcome},
		{"a record without a key was sent again", "", more(`"endpoint":"entity.bulkCreate","keys":[""],"written":[{"index":0,"uuid":"u-9","email":""}],"entities":[{"givenName":"Kay"}]`), NoBlindRepeat},
		{"a record whose email is not unique was sent again", "shared", more(`"endpoint":"entity.bulkCreate","keys":["chu@a.test"],"written":[{"index":0,"uuid":"u-9","email":"chu@a.test"}],"entities":[{"email":"chu@a.test","givenName":"Chu"}]`), NoBlindRepeat},
		{"a record without a key has the uuid of another", "", func(l *lab) {
			l.write("unresolved.csv", header+chu)
			l.replace("success.csv", "3,7,", "2,4,u-3,,0,created\n3,7,")
			l.replace("truth.jsonl", `{"givenName":"Kay"}`, `{"givenName":"Kai"}`)
		}, TrueOutcome},
		{"a wrong order that the target did not make", "", func(l *lab) {
			l.replace("success.csv", "u-1,eve", "u-2,eve")
			l.replace("success.csv", "u-2,rob", "u-1,rob")
		}, TrueOutcome},
	} {
		l := newCrowd(t)
		c.damage(l)
		l.migration.Emails = c.emails
		l.breaks(c.name, c.want)
	}
}

// The log has the keys of a call in lower case, also where the target tells cases apart.
func TestEmailsThatAreUniqueToTheLetter(t *testing.T) {
	l := newCrowd(t)
	for _, name := range []string{"users.csv", "success.csv", "retry.csv", "fail.csv", "fail_records.csv", "unresolved.csv"} {
		content, err := os.ReadFile(l.path(name))
		must(t, err)
		l.write(name, strings.ReplaceAll(strings.ReplaceAll(string(content), "eve@", "Eve@"), "chu@", "Chu@"))
	}
	content, err := os.ReadFile(l.path("truth.jsonl"))
	must(t, err)
	l.write("truth.jsonl", strings.NewReplacer(`"email":"eve@`, `"email":"Eve@`, `"email":"chu@`, `"email":"Chu@`).Replace(string(content)))
	input, err := os.ReadFile(l.path("users.csv"))
	must(t, err)
	l.replace("summary.json", fmt.Sprintf("%x", sha256.Sum256([]byte(header+eve+rob+kay+chu+str+nam))), fmt.Sprintf("%x", sha256.Sum256(input)))
	l.migration.Emails = "exact"
	l.holds()
}

// What a gateway makes twice where the target cannot refuse is no fault of the migration.
func TestAGatewayCanMakeRecordsWithoutAKeyTwice(t *testing.T) {
	l := newCrowd(t)
	l.replace("truth.jsonl", `"fault":"sign-in"`, `"fault":"replayed"`)
	l.more(`"endpoint":"entity.bulkCreate","fault":"replay","keys":["","chu@a.test"],"written":[{"index":0,"uuid":"u-5","email":""}],"entities":[{"givenName":"Kay"}]`)
	l.write("unresolved.csv", header+chu)
	l.replace("summary.json", `"created": 0, "recovered": 3, "updated": 0, "failed": 1, "unknown": 2`, `"created": 1, "recovered": 3, "updated": 0, "failed": 1, "unknown": 1`)
	l.replace("summary.json", `"created": 0, "duplicate": 2, "failed": 0, "unknown": 4`, `"created": 1, "duplicate": 2, "failed": 0, "unknown": 3`)
	l.replace("success.csv", "3,7,", "2,4,u-5,,0,created\n3,7,")
	l.migration.Ledger = ""
	l.holds()
}

func TestAWrongOrderIsVerifysToFind(t *testing.T) {
	for _, keyless := range []bool{false, true} {
		l := newCrowd(t)
		l.replace("truth.jsonl", `"fault":"replayed"`, `"fault":"wrong-order"`)
		l.replace("truth.jsonl", `"endpoint":"entity.bulkCreate","fault":"replay"`, `"endpoint":"entity.find","fault":""`)
		l.replace("success.csv", "u-1,eve@a.test,0,recovered", "u-2,eve@a.test,0,created")
		l.replace("success.csv", "u-2,rob@a.test,0,recovered", "u-1,rob@a.test,0,created")
		l.replace("summary.json", `"created": 0, "recovered": 3`, `"created": 2, "recovered": 1`)
		l.replace("summary.json", `"created": 0, "duplicate": 2`, `"created": 2, "duplicate": 0`)
		if keyless {
			before, err := os.ReadFile(l.path("users.csv"))
			must(t, err)
			for _, name := range []string{"users.csv", "success.csv", "truth.jsonl"} {
				content, err := os.ReadFile(l.path(name))
				must(t, err)
				l.write(name, strings.NewReplacer("eve@a.test", "", "rob@a.test", "").Replace(string(content)))
			}
			after, err := os.ReadFile(l.path("users.csv"))
			must(t, err)
			l.replace("summary.json", fmt.Sprintf("%x", sha256.Sum256(before)), fmt.Sprintf("%x", sha256.Sum256(after)))
		}
		l.holds()
		if tally, err := Count(l.migration); err != nil || tally.Misplaced != 2 {
			t.Errorf("keyless %t: %+v, %v; want two that are misplaced", keyless, tally, err)
		}
		for found, want := range map[string]int{"1,2,email,different\n1,3,email,different\n": 0, "1,3,,missing\n": 1, "": 2} {
			l.write("verify.csv", "batch,line,attribute,difference\n"+found)
			broken, err := Verified(l.migration, l.path("verify.csv"))
			if err != nil || len(broken) != want {
				t.Errorf("keyless %t: verify says %q: found %v, %v, want %d", keyless, found, broken, err, want)
			}
		}
	}
}

// Where the target has marks, a namesake is a stranger like any other, and the mark has to be that of the record.
func TestAMarkTellsNamesakesApart(t *testing.T) {
	l := newCrowd(t)
	l.migration.Mark = func(number int) string { return fmt.Sprintf("mark %d", number) }
	l.migration.Duplicate = "a conflict"
	l.replace("truth.jsonl", `"givenName":"Eve"`, `"givenName":"Eve","mark":"mark 1"`)
	l.replace("truth.jsonl", `"givenName":"Rob"`, `"givenName":"Rob","mark":"mark 2"`)
	l.replace("fail.csv", "Attempted to update a duplicate value", "a conflict")
	if broken := l.check(); len(broken) != 1 || broken[0].Invariant != Proven || !strings.HasPrefix(broken[0].What, "line 7 ") {
		t.Errorf("a namesake is recovered: found %v, want that line 7 is a stranger's", broken)
	}
	l.replace("success.csv", "3,7,s-2,nam@a.test,1,recovered\n", "")
	l.replace("fail.csv", "3,6,str@a.test,a conflict\n", "3,6,str@a.test,a conflict\n3,7,nam@a.test,a conflict\n")
	l.replace("fail_records.csv", str, str+nam)
	l.replace("summary.json", `"recovered": 3, "updated": 0, "failed": 1`, `"recovered": 2, "updated": 0, "failed": 2`)
	l.holds()
	l.replace("truth.jsonl", "mark 2", "mark 1")
	l.breaks("the mark is that of another record", Proven)
}

func TestATargetMayKeepEmailsInLowerCase(t *testing.T) {
	l := newLab(t)
	sum := func() string {
		content, err := os.ReadFile(l.path("users.csv"))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", sha256.Sum256(content))
	}
	before := sum()
	for _, name := range []string{"users.csv", "retry.csv", "success.csv"} {
		l.replace(name, "dan@a.test", "Dan@a.test")
	}
	l.replace("summary.json", before, sum())
	if broken := l.check(); len(broken) != 1 || broken[0].Invariant != InputFixed {
		t.Errorf("found %v, want that an email is not what the input says", broken)
	}
	l.migration.LowerCase = true
	l.holds()
}
