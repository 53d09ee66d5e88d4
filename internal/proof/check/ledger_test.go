package check

import (
	"slices"
	"strings"
	"testing"
)

// withOutcomes adds to the lab's ledger what its artifacts were made of.
func withOutcomes(t *testing.T) *lab {
	l := newLab(t)
	const duplicate = `"Attempted to update a duplicate value"`
	for name, content := range map[string]string{
		"0/00000/00000001":   `{"sent":true,"outcomes":"cc","uuids":["u-1","u-2"]}`,
		"0/00000/00000002":   `{"sent":true,"outcomes":"uu"}`,
		"0/00000/00000003":   `{"sent":true,"split":true}`,
		"0/00000/00000003-0": `{"sent":true,"outcomes":"d-","errors":[` + duplicate + `]}`,
		"0/00000/00000003-1": `{"sent":true,"outcomes":"-d","errors":[` + duplicate + `]}`,
		"1/00000/00000002":   `{"sent":true,"outcomes":"dc","uuids":["u-4"],"errors":[` + duplicate + `]}`,
	} {
		l.write("ledger/"+name+".outcomes", content)
	}
	l.write("ledger/0/00000/00000003.resolved", `{"outcomes":"dd","errors":[`+duplicate+`,`+duplicate+`]}`)
	l.write("ledger/1/00000/00000002.resolved", `{"outcomes":"r-","uuids":["u-3"]}`)
	return l
}

func TestTheArtifactsAreWhatTheLedgerSays(t *testing.T) {
	const resolved, third, second = "ledger/1/00000/00000002.resolved", "ledger/0/00000/00000003.resolved", "ledger/0/00000/00000003-1.outcomes"
	cases := []struct {
		name      string
		file      string
		old, new  string
		want      string // "" for nothing
		wantError string
	}{
		{name: "as it is"},
		{name: "another outcome", file: third, old: "dd", new: "du", want: `line 8 is "failed" in the artifacts, and "unknown" by the ledger`},
		{name: "no outcome", file: "ledger/0/00000/00000001.outcomes", old: "cc", new: "c-", want: `line 3 is "created" in the artifacts, and "remaining" by the ledger`},
		{name: "another uuid", file: resolved, old: "u-3", new: "u-9", want: `line 5 has the uuid "u-3"`},
		{name: "other words", file: third, old: "a duplicate value", new: "", want: "line 7 has the uuid"},
		{name: "not resolved", file: resolved, old: "r-", new: "--", want: `line 5 is "recovered" in the artifacts, and "unknown" by the ledger`},
		{name: "not resolved in round 0", file: third, old: "dd", new: "d-", want: `line 8 is "failed" in the artifacts, and "unknown" by the ledger`},
		{name: "another round", file: "success.csv", old: "dan@a.test,1", new: "dan@a.test,0", want: "line 6 is created in round 0, and by the ledger in round 1"},
		{name: "another batch's entry", file: second, old: "-d", new: "-d-", wantError: "speaks of 3 records, expected 2"},
	}
	for _, c := range cases {
		l := withOutcomes(t)
		if c.file != "" {
			l.replace(c.file, c.old, c.new)
		}
		broken, err := FromLedger(l.migration)
		if c.wantError != "" {
			if err == nil || !strings.Contains(err.Error(), c.wantError) {
				t.Errorf("%s: %v, want the error %q", c.name, err, c.wantError)
			}
			continue
		}
		found := slices.ContainsFunc(broken, func(b Broken) bool { return b.Invariant == SameBytes && strings.Contains(b.What, c.want) })
		if err != nil || found != (c.want != "") || c.want == "" && len(broken) > 0 {
			t.Errorf("%s: found %v, %v; want %q", c.name, broken, err, c.want)
		}
	}
}
