package activities

import (
	"fmt"
	"strings"
	"testing"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/sandbox"
)

// wholeCalls refuses a call for one record that the schema does not want.
func wholeCalls(_ *rig, o *sandbox.Options) { o.RefuseCalls = true }

var isolating = withSpec(func(s *migration.Spec) { s.Isolate = true })

// someBad are n people of whom those named have no usable email address.
func someBad(n int, bad ...int) string {
	input := people(n)
	for _, i := range bad {
		input = strings.Replace(input, fmt.Sprintf("a%d@example.com,", i), fmt.Sprintf("a%d.example.com,", i), 1)
	}
	return input
}

func TestTheRecordACallIsRefusedForIsFound(t *testing.T) {
	for _, tc := range []struct {
		name  string
		bad   []int
		known string
		calls int
	}{
		{"none", nil, "cccccccc", 1},
		{"one", []int{3}, "ccfccccc", 7}, // 8, 4, 2, 1, 1, 2... and the other half
		{"two in one half", []int{1, 2}, "ffcccccc", 7},
		{"the last", []int{8}, "cccccccf", 7},
		{"all", []int{1, 2, 3, 4, 5, 6, 7, 8}, "ffffffff", 15},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := inspected(t, someBad(8, tc.bad...), batchSize(8), wholeCalls, isolating)
			got := r.load(0, 1)
			if known := r.known(0); known != tc.known {
				t.Errorf("the ledger knows %q, want %q", known, tc.known)
			}
			if got.Calls != tc.calls || got.Created != 8-len(tc.bad) || got.Failed != len(tc.bad) {
				t.Errorf("%+v, want %d calls", got, tc.calls)
			}
			for _, i := range tc.bad {
				if words := r.records(0)[0][i-1].Error; !strings.Contains(words, "email is not an email address") {
					t.Errorf("record %d failed for %q, want the target's words", i, words)
				}
			}
			sends := r.sent()
			r.restart()
			if again := r.load(0, 1); again.Counts != got.Counts || r.sent() != sends {
				t.Errorf("loaded again: %+v with %d calls, want %+v without any", again, r.sent()-sends, got)
			}
		})
	}
}

func TestIsolationIsBounded(t *testing.T) {
	bad := make([]int, 100)
	for i := range bad {
		bad[i] = i + 1
	}
	r := inspected(t, someBad(100, bad...), batchSize(100), wholeCalls, isolating)
	got := r.load(0, 1)
	if want := (ledger.Counts{Failed: 100, Calls: 2*mostIsolated + 1}); got.Counts != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestARefusalOfTheCallItselfIsNotHalved(t *testing.T) {
	for name, tc := range map[string]struct {
		options []option
		want    ledger.Counts
	}{
		// No record is to blame: they are sent again in the next round.
		"entity type":      {[]option{isolating, batchSize(8), func(_ *rig, o *sandbox.Options) { o.EntityTypes = []string{"another"} }}, ledger.Counts{Unknown: 8, Calls: 1}},
		"isolation is off": {[]option{batchSize(8), wholeCalls}, ledger.Counts{Failed: 8, Calls: 1}},
	} {
		r := inspected(t, someBad(8, 3), tc.options...)
		if got := r.load(0, 1); got.Counts != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestALostAnswerOfAPartLeavesOnlyThatPartUnknown(t *testing.T) {
	r := inspected(t, someBad(8, 3), batchSize(8), wholeCalls, isolating)
	r.lose = func(send int) bool { return send == 4 } // 8, 4 and 2 before it
	got := r.load(0, 1)
	if want := (ledger.Counts{Created: 6, Unknown: 2, Calls: 5}); got.Counts != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if known := r.known(0); known != "ccuucccc" {
		t.Errorf("the ledger knows %q, want ccuucccc", known)
	}
}

func TestARecordThatWasSentAloneIsNotSentAgain(t *testing.T) {
	const input = "email,birthday\na1@example.com,never\na2.example.com,\na3@example.com,never\na4@example.com,never\n"
	refused := inspected(t, input, batchSize(4), wholeCalls, isolating)
	tooLarge := inspected(t, input, batchSize(4))
	tooLarge.tooManyBytes, tooLarge.sizeByAPI = 1, true
	for what, r := range map[string]*rig{"refused": refused, "too large": tooLarge} {
		got := r.load(0, 1)
		if want := (ledger.Counts{Failed: 4, Calls: 1}); got.Counts != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
}
