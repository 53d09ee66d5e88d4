package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var ctx = context.Background()

func TestAClaimIsWonOnce(t *testing.T) {
	l := New(newMemory())
	key := Key{Round: 2, Batch: 7, Part: "01"}
	if _, err := l.ClaimOf(ctx, key); !errors.Is(err, ErrNotFound) {
		t.Errorf("ClaimOf before the claim: %v, want %v", err, ErrNotFound)
	}
	claim := Claim{At: time.Date(2026, 11, 22, 13, 5, 0, 123, time.UTC), Clock: "one", Date: &Skew{Low: -time.Second, High: 2}}
	must(t, l.Claim(ctx, key, claim))
	if err := l.Claim(ctx, key, Claim{Clock: "another"}); !errors.Is(err, ErrClaimed) {
		t.Errorf("the second claim: %v, want %v", err, ErrClaimed)
	}
	if got, err := l.ClaimOf(ctx, key); err != nil || !reflect.DeepEqual(got, claim) {
		t.Errorf("ClaimOf: %+v, %v; want %+v", got, err, claim)
	}
	for _, other := range []Key{{2, 7, ""}, {2, 7, "0"}, {2, 7, "010"}, {1, 7, "01"}, {2, 8, "01"}} {
		if err := l.Claim(ctx, other, claim); err != nil {
			t.Errorf("the claim of %+v beside %+v: %v, want it", other, key, err)
		}
	}
}

func TestAnOutcomeIsDecidedOnce(t *testing.T) {
	for _, kind := range []Kind{ByCall, ByLookup, ByUpdate, ByReview} {
		l, key := New(newMemory()), Key{Round: 1, Batch: 3}
		if _, err := l.Decided(ctx, kind, key); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: before: %v, want %v", kind, err, ErrNotFound)
		}
		first, second := outcomes("cf", "uuid-1", "bad"), outcomes("uu")
		if held, won, err := l.Decide(ctx, kind, key, first); err != nil || !won || !reflect.DeepEqual(held, first) {
			t.Errorf("%s: the first gets %+v, %v, %v; want its own", kind, held, won, err)
		}
		if held, won, err := l.DecideAnswer(ctx, kind, key, second); err != nil || won || !reflect.DeepEqual(held, first) {
			t.Errorf("%s: the second gets %+v, %v, %v; want %+v, false", kind, held, won, err, first)
		}
		if got, err := l.Decided(ctx, kind, key); err != nil || !reflect.DeepEqual(got, first) {
			t.Errorf("%s: later: %+v, %v; want %+v", kind, got, err, first)
		}
	}
}

func decide(t *testing.T, l *Ledger, key Key, o Outcomes) {
	t.Helper()
	_, _, err := l.Decide(ctx, ByCall, key, o)
	must(t, err)
}

// outcomes makes an entry of letters, whose uuids and errors are given in the
// order of the letters.
func outcomes(letters string, words ...string) Outcomes {
	o := Outcomes{Sent: true, Letters: letters}
	for _, letter := range letters {
		switch Outcome(letter) {
		case Created, Recovered:
			o.UUIDs, words = append(o.UUIDs, words[0]), words[1:]
		case Duplicate, Failed:
			o.Errors, words = append(o.Errors, words[0]), words[1:]
		case Unknown:
			o.Unknown = append(o.Unknown, Why{Reason: "timeout", Records: 1})
		}
	}
	return o
}

func TestABuilderAcceptsRecordsInAnyOrder(t *testing.T) {
	b := NewOutcomes(11)
	b.Unknown(9, "http 502")
	b.Unknown(8, "changed since")
	b.Unknown(10, "http 502")
	b.Failed(6, "too long")
	b.Created(4, "uuid-4")
	b.Duplicate(2, "duplicate value")
	b.Recovered(5, "")
	b.Unknown(3, "http 502")
	b.Created(0, "first thought")
	b.Created(0, "uuid-0") // the last word counts
	b.Failed(7, "first thought")
	b.Unknown(7, "changed since")
	got := b.Outcomes(true, "http 502")
	want := Outcomes{
		Sent: true, Reason: "http 502", Letters: "c-ducrfuuuu",
		UUIDs: []string{"uuid-0", "uuid-4", ""}, Errors: []string{"duplicate value", "too long"},
		Unknown: []Why{{"http 502", 1}, {"changed since", 2}, {"http 502", 2}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := got.check(); err != nil {
		t.Errorf("check: %v", err)
	}
	if got, want := got.Counts(), (Counts{Created: 2, Duplicate: 1, Failed: 1, Unknown: 5, Calls: 1}); got != want {
		t.Errorf("Counts: %+v, want %+v (recovered records are not a call's outcome)", got, want)
	}
}

// A text of the target can quote a record: it must never count as one of this program.
func TestTheLedgerSaysWhoseAReasonIs(t *testing.T) {
	b := NewOutcomes(5)
	b.FailedHere(0, "too many fields")
	b.Failed(1, "the target's words")
	b.FailedHere(2, "first thought")
	b.Failed(2, "the target's words")
	b.FailedHere(3, "first thought")
	b.Duplicate(3, "duplicate value")
	b.Created(4, "uuid-4")
	l := New(newMemory())
	if _, won, err := l.Decide(ctx, ByCall, Key{Batch: 3}, b.Outcomes(true, "")); err != nil || !won {
		t.Fatal(won, err)
	}
	records, _, _, err := l.Round(ctx, 0, 3, 5)
	must(t, err)
	for i, want := range []bool{true, false, false, false, false} {
		if r := records[i]; r.Ours != want {
			t.Errorf("record %d with the reason %q: %v that it is of this program, want %v", i, r.Error, r.Ours, want)
		}
	}
}

func TestAnUpdateReplacesADuplicate(t *testing.T) {
	l := New(newMemory())
	decide := func(kind Kind, round int, letters string, words ...string) {
		t.Helper()
		if _, won, err := l.Decide(ctx, kind, Key{Round: round, Batch: 3}, outcomes(letters, words...)); err != nil || !won {
			t.Fatalf("round %d, %s: %v, %v", round, letters, won, err)
		}
	}
	after := func(round int) (letters string, byUpdate int) {
		t.Helper()
		records, err := l.After(ctx, round, 3, 6)
		must(t, err)
		for _, r := range records {
			letters += string(rune(r.Outcome))
			if r.ByUpdate {
				byUpdate++
			}
		}
		return letters, byUpdate
	}
	decide(ByCall, 0, "cdddfu", "uuid-0", "twice", "twice", "twice", "bad")
	if letters, _ := after(0); letters != "cuuufu" {
		t.Errorf("duplicates of round 0 before they are resolved: %q, want cuuufu", letters)
	}
	decide(ByLookup, 0, "-ddd--", "twice", "twice", "twice")
	decide(ByUpdate, 0, "ppnf--", "refused") // the first record is no duplicate: it was not updated
	if letters, n := after(0); letters != "cpnffu" || n != 3 {
		t.Errorf("after round 0: %q, %d by an update; want cpnffu, 3", letters, n)
	}
	decide(ByCall, 1, "-----d", "twice")
	if letters, _ := after(1); letters != "cpnffu" {
		t.Errorf("a duplicate of round 1 before it is resolved: %q, want cpnffu", letters)
	}
	decide(ByLookup, 1, "-----d", "twice")
	if letters, n := after(1); letters != "cpnffd" || n != 3 {
		t.Errorf("after round 1: %q, %d by an update; want cpnffd, 3", letters, n)
	}
	decide(ByUpdate, 1, "-----p")
	if letters, n := after(1); letters != "cpnffp" || n != 4 {
		t.Errorf("after the update of round 1: %q, %d; want cpnffp, 4", letters, n)
	}
	if in, err := l.InRound(ctx, 2, 3, 6, keyed); err != nil || slices.Contains(in, true) {
		t.Errorf("in round 2: %v, %v; want none: what is updated is not loaded again", in, err)
	}
}

func TestCountsAddUp(t *testing.T) {
	sum := Counts{1, 2, 3, 4, 5}
	sum.Add(Counts{10, 20, 30, 40, 50})
	if want := (Counts{11, 22, 33, 44, 55}); sum != want {
		t.Errorf("Add: %+v, want %+v", sum, want)
	}
	if got := sum.Records(); got != 110 {
		t.Errorf("Records: %d, want 110: calls are not records", got)
	}
	if got := (Outcomes{Split: true, Sent: true}).Counts(); got != (Counts{Calls: 1}) {
		t.Errorf("a call that was refused as too large counts as %+v, want one call", got)
	}
}

func TestAnInconsistentEntryIsNotWritten(t *testing.T) {
	entries := map[string]Outcomes{
		"an unknown letter":      {Letters: "cx", UUIDs: []string{"1"}},
		"a uuid is missing":      {Letters: "cr", UUIDs: []string{"1"}},
		"a uuid too many":        {Letters: "u", UUIDs: []string{"1"}},
		"an error is missing":    {Letters: "df", Errors: []string{"x"}},
		"an error too many":      {Letters: "-", Errors: []string{"x"}},
		"a reason is missing":    {Letters: "uu", Unknown: []Why{{"timeout", 1}}},
		"a reason too many":      {Letters: "c", UUIDs: []string{"1"}, Unknown: []Why{{"timeout", 1}}},
		"uuid and error swapped": {Letters: "c", Errors: []string{"x"}},
	}
	for name, o := range entries {
		store := newMemory()
		l := New(store)
		if _, won, err := l.Decide(ctx, ByCall, Key{Batch: 1}, o); err == nil || won {
			t.Errorf("%s: Decide: won %v, %v; want an error", name, won, err)
		}
		if _, won, err := l.Decide(ctx, ByLookup, Key{Batch: 1}, o); err == nil || won {
			t.Errorf("%s: by lookup: won %v, %v; want an error", name, won, err)
		}
		if len(store.values) != 0 {
			t.Errorf("%s: the store holds %v, want nothing", name, store.values)
		}
	}
}

func TestADamagedEntryIsRefused(t *testing.T) {
	const name = "0/00000/00000001.outcomes"
	entries := map[string]string{
		"empty":            ``,
		"cut short":        `{"sent":true,"outc`,
		"not an entry":     `[]`,
		"null":             `null`,
		"too few letters":  `{"outcomes":"u"}`,
		"too many letters": `{"outcomes":"uuu"}`,
		"unknown letter":   `{"outcomes":"u?"}`,
		"too few uuids":    `{"outcomes":"cc","uuids":["1"]}`,
		"too many errors":  `{"outcomes":"uu","errors":["1"]}`,
	}
	for what, entry := range entries {
		store := newMemory()
		store.values[name] = []byte(entry)
		l := New(store)
		if got, err := l.After(ctx, 0, 1, 2); err == nil {
			t.Errorf("%s: %q: After gives %+v, want an error", what, entry, got)
		}
		if got, _, _, err := l.Round(ctx, 0, 1, 2); err == nil {
			t.Errorf("%s: %q: Round gives %+v, want an error", what, entry, got)
		}
		if got, err := l.InRound(ctx, 1, 1, 2, keyed); err == nil {
			t.Errorf("%s: %q: InRound gives %+v, want an error", what, entry, got)
		}
	}
	for _, kind := range []Kind{claims, ByCall, ByLookup} {
		store := newMemory()
		l := New(store)
		entry := Key{Round: 1, Batch: 1}.name(kind)
		store.values[entry] = []byte(`{"`)
		_, errClaim := l.ClaimOf(ctx, Key{Round: 1, Batch: 1})
		_, errDecided := l.Decided(ctx, ByCall, Key{Round: 1, Batch: 1})
		_, errResolved := l.Decided(ctx, ByLookup, Key{Round: 1, Batch: 1})
		err := map[Kind]error{claims: errClaim, ByCall: errDecided, ByLookup: errResolved}[kind]
		if err == nil || !strings.Contains(err.Error(), entry+" is damaged") {
			t.Errorf("a damaged %s: %v, want an error that names %s", kind, err, entry)
		}
	}
}

// setUp writes the entries for a batch of three records, one word an entry:
//
//	0:cdu    outcomes of round 0; uuids and errors are made up from the place
//	1:claim  a claim of round 1
//	1.01:split  the first half's second half was refused as too large
//	1:?r-f   the resolution of round 1
func setUp(t *testing.T, l *Ledger, entries string) {
	t.Helper()
	for entry := range strings.FieldsSeq(entries) {
		where, what, _ := strings.Cut(entry, ":")
		key := Key{Batch: 1}
		round, part, _ := strings.Cut(where, ".")
		key.Round, key.Part = int(round[0]-'0'), part
		var err error
		switch letters, resolved := strings.CutPrefix(what, "?"); {
		case what == "claim":
			err = l.Claim(ctx, key, Claim{})
		case what == "split":
			_, _, err = l.Decide(ctx, ByCall, key, Outcomes{Split: true, Sent: true})
		case resolved:
			_, _, err = l.Decide(ctx, ByLookup, key, madeUp(letters, where))
		default:
			_, _, err = l.Decide(ctx, ByCall, key, madeUp(letters, where))
		}
		if err != nil {
			t.Fatalf("%s: %v", entry, err)
		}
	}
}

func madeUp(letters, where string) Outcomes {
	var words []string
	for i, letter := range letters {
		if strings.ContainsRune("crdf", letter) {
			words = append(words, fmt.Sprintf("%s@%d", where, i))
		}
	}
	return outcomes(letters, words...)
}

// shown is the inverse of setUp: letter, round, and the word of each record.
func shown(records []Record) string {
	var words []string
	for _, r := range records {
		word := string(rune(r.Outcome))
		if r.Outcome != None {
			word += fmt.Sprint(r.Round)
		}
		if r.UUID+r.Error != "" {
			word += "=" + r.UUID + r.Error
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func TestRecordsAfterRounds(t *testing.T) {
	cases := []struct {
		entries string
		round   int
		after   string
		in      string // the records that travel in the next round
	}{
		{"", 0, "- - -", "..."},
		{"0:claim", 0, "- - -", "..."},
		{"0:cdf 0:?-d-", 0, "c0=0@0 d0=0@1 f0=0@2", "..."},
		{"0:cdf 0:?-d-", 3, "c0=0@0 d0=0@1 f0=0@2", "..."},
		{"0:uuu", 0, "u0 u0 u0", "xxx"},
		{"0:cuu", 0, "c0=0@0 u0 u0", ".xx"},
		// A retry round speaks of its own records only.
		{"0:cuu 1:claim", 1, "c0=0@0 u0 u0", ".xx"},
		{"0:cuu 1:-cf", 1, "c0=0@0 c1=1@1 f1=1@2", "..."},
		{"0:cuu 1:-cf", 0, "c0=0@0 u0 u0", ".xx"},
		{"0:cuu 1:-cu 2:--c", 2, "c0=0@0 c1=1@1 c2=2@2", "..."},
		// A duplicate of any round is unknown until it is resolved.
		{"0:cdf", 0, "c0=0@0 u0 f0=0@2", ".x."},
		{"0:cdf 0:?-r-", 0, "c0=0@0 r0=0@1 f0=0@2", "..."},
		{"0:cdf 0:?-u-", 0, "c0=0@0 u0 f0=0@2", ".x."},
		{"0:duu 0:?d-- 1:-dd", 1, "d0=0@0 u1 u1", ".xx"},
		{"0:duu 0:?d-- 1:-dd 1:?-rf", 1, "d0=0@0 r1=1@1 f1=1@2", "..."},
		{"0:duu 0:?d-- 1:-dd 1:?-ru", 1, "d0=0@0 r1=1@1 u1", "..x"},
		{"0:duu 0:?d-- 1:-dd 1:?-ru 2:--d 2:?--r", 2, "d0=0@0 r1=1@1 r2=2@2", "..."},
		{"0:uuu 1:cdu 1:?-r-", 1, "c1=1@0 r1=1@1 u1", "..x"},
		// What is resolved in a round that was not asked for is not known yet.
		{"0:uuu 1:ddd 1:?rrr", 0, "u0 u0 u0", "xxx"},
		// Halves.
		{"0:split", 0, "- - -", "..."},
		{"0:split 0.0:c--", 0, "c0=0.0@0 - -", "..."},
		{"0:split 0.0:c-- 0.1:split 0.10:-u- 0.11:--f", 0, "c0=0.0@0 u0 f0=0.11@2", ".x."},
		{"0:uuu 1:split 1.0:d-- 1.1:-cu 1:?r--", 1, "r1=1@0 c1=1.1@1 u1", "..x"},
		// A round without an entry, as of a run that was cut off, changes nothing.
		{"0:uuu 2:ccc", 1, "u0 u0 u0", "xxx"},
	}
	for _, tc := range cases {
		l := New(newMemory())
		setUp(t, l, tc.entries)
		records, err := l.After(ctx, tc.round, 1, 3)
		if got := shown(records); err != nil || got != tc.after {
			t.Errorf("%q: After(%d): %q, %v; want %q", tc.entries, tc.round, got, err, tc.after)
		}
		in, err := l.InRound(ctx, tc.round+1, 1, 3, keyed)
		if got := marks(in); err != nil || got != tc.in {
			t.Errorf("%q: InRound(%d): %q, %v; want %q", tc.entries, tc.round+1, got, err, tc.in)
		}
	}
	if in, err := New(newMemory()).InRound(ctx, 0, 1, 3, keyed); err != nil || marks(in) != "xxx" {
		t.Errorf("InRound(0): %q, %v; want all records", marks(in), err)
	}
}

func marks(in []bool) string {
	var b strings.Builder
	for _, in := range in {
		b.WriteByte(".x"[map[bool]int{true: 1}[in]])
	}
	return b.String()
}

func TestTheStatusOfABatchInARound(t *testing.T) {
	cases := []struct {
		entries string
		want    Status
		bare    string
		counts  Counts
	}{
		{"", Unclaimed, "- - -", Counts{}},
		{"0:claim", Claimed, "- - -", Counts{}},
		{"0:claim 0:cdf", Settled, "c0=0@0 d0=0@1 f0=0@2", Counts{Created: 1, Duplicate: 1, Failed: 1, Calls: 1}},
		{"0:cdu", Settled, "c0=0@0 d0=0@1 u0", Counts{Created: 1, Duplicate: 1, Unknown: 1, Calls: 1}},
		{"0:claim 0:split", Unclaimed, "- - -", Counts{Calls: 1}},
		{"0:split 0.0:claim", Unclaimed, "- - -", Counts{Calls: 1}},
		{"0:split 0.0:claim 0.1:claim", Claimed, "- - -", Counts{Calls: 1}},
		{"0:split 0.0:c-- 0.1:claim", Claimed, "c0=0.0@0 - -", Counts{Created: 1, Calls: 2}},
		{"0:split 0.1:-uu", Unclaimed, "- u0 u0", Counts{Unknown: 2, Calls: 2}},
		{"0:split 0.0:c-- 0.1:split 0.11:--f", Unclaimed, "c0=0.0@0 - f0=0.11@2", Counts{Created: 1, Failed: 1, Calls: 4}},
		{"0:split 0.0:c-- 0.1:split 0.10:-c- 0.11:--f", Settled, "c0=0.0@0 c0=0.10@1 f0=0.11@2", Counts{Created: 2, Failed: 1, Calls: 5}},
		{"1:ddd 1:?rrr", Unclaimed, "- - -", Counts{}}, // of another round
	}
	for _, tc := range cases {
		l := New(newMemory())
		setUp(t, l, tc.entries)
		records, counts, status, err := l.Round(ctx, 0, 1, 3)
		if got := shown(records); err != nil || got != tc.bare || counts != tc.counts || status != tc.want {
			t.Errorf("%q: Round: %q %+v status %d, %v\nwant %q %+v status %d", tc.entries, got, counts, status, err, tc.bare, tc.counts, tc.want)
		}
	}
	l := New(newMemory())
	setUp(t, l, "0:uuu 1:ddd 1:?rrf")
	records, counts, status, err := l.Round(ctx, 1, 1, 3)
	if got, want := shown(records), "d1=1@0 d1=1@1 d1=1@2"; err != nil || got != want || counts != (Counts{Duplicate: 3, Calls: 1}) || status != Settled {
		t.Errorf("after a resolution Round gives %q %+v %d, %v; want the target's words %q", got, counts, status, err, want)
	}
}

func TestHalvesHaveUniqueNames(t *testing.T) {
	names := map[string]Key{}
	var collect func(k Key, depth int)
	collect = func(k Key, depth int) {
		for _, kind := range []Kind{claims, ByCall, ByLookup} {
			name := k.name(kind)
			if other, ok := names[name]; ok {
				t.Errorf("%+v and %+v are both named %s", k, other, name)
			}
			names[name] = k
		}
		if depth > 0 {
			first, second := k.Halves()
			collect(first, depth-1)
			collect(second, depth-1)
		}
	}
	for _, round := range []int{0, 1, 10} {
		for _, batch := range []int{1, 10, 999, 1000, 1001, 123_456_789} {
			collect(Key{Round: round, Batch: batch}, 3)
		}
	}
}

func TestEntriesHaveAStableForm(t *testing.T) {
	// Ledgers outlive the program that wrote them.
	o := Outcomes{Sent: true, Reason: "timeout", Letters: "cru", UUIDs: []string{"1", ""}, Unknown: []Why{{"timeout", 1}}}
	got, err := json.Marshal(o)
	if want := `{"sent":true,"reason":"timeout","outcomes":"cru","uuids":["1",""],"unknown":[{"why":"timeout","n":1}]}`; err != nil || string(got) != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
	if got, want := (Key{Round: 1, Batch: 1002, Part: "01"}).name(ByCall), "1/00001/00001002-01.outcomes"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// keyed has the target refuse every record as a duplicate.
func keyed(int) bool { return false }

// A keyless record is sent again only if its call wrote nothing.
func TestMayBeSent(t *testing.T) {
	for _, tc := range []struct {
		name      string
		outcome   Outcome
		unwritten bool
		keyed     bool
		keyless   bool
	}{
		{"lost", Unknown, false, true, false},
		{"not written", Unknown, true, true, true},
		{"created", Created, false, false, false},
		{"failed", Failed, true, false, false},
		{"never attempted", None, false, false, false},
	} {
		l := New(newMemory())
		b := NewOutcomes(2)
		for i := range 2 {
			switch tc.outcome {
			case Unknown:
				b.Unknown(i, "timeout")
			case Created:
				b.Created(i, "uuid")
			case Failed:
				b.Failed(i, "words")
			}
		}
		o := b.Outcomes(true, "")
		o.Unwritten = tc.unwritten
		decide(t, l, Key{Batch: 1}, o)
		in, err := l.InRound(ctx, 1, 1, 2, func(i int) bool { return i == 1 })
		if err != nil || in[0] != tc.keyed || in[1] != tc.keyless {
			t.Errorf("%s: with a key %v, keyless %v, %v; want %v, %v", tc.name, in[0], in[1], err, tc.keyed, tc.keyless)
		}
	}
}

// What of a call must not be sent again is decided with the call; its halves are
// made of the others.
func TestASplitEntryDecidesRecordsThatItsHalvesMustNotSend(t *testing.T) {
	l := New(newMemory())
	b := NewOutcomes(6)
	b.Unknown(1, "too large")
	b.Unknown(4, "too large")
	whole := b.Outcomes(true, "too large")
	whole.Split = true
	key := Key{Batch: 1}
	decide(t, l, key, whole)
	held, err := l.Decided(ctx, ByCall, key)
	must(t, err)
	first, second := held.Halves([]int{0, 1, 2, 4, 5})
	if !slices.Equal(first, []int{0}) || !slices.Equal(second, []int{2, 5}) {
		t.Fatalf("the halves are %v and %v", first, second)
	}
	one, two := key.Halves()
	for key, positions := range map[Key][]int{one: first, two: second} {
		b := NewOutcomes(6)
		for _, i := range positions {
			b.Created(i, "uuid")
		}
		decide(t, l, key, b.Outcomes(true, ""))
	}
	records, counts, status, err := l.Round(ctx, 0, 1, 6)
	if err != nil || status != Settled || counts != (Counts{Created: 3, Unknown: 2, Calls: 3}) {
		t.Errorf("%+v, status %v, %v", counts, status, err)
	}
	letters := ""
	for _, r := range records {
		letters += string(r.Outcome)
	}
	if letters != "cuc-uc" || records[1].Reason != "too large" {
		t.Errorf("%s, %q", letters, records[1].Reason)
	}
}

// What a call may have written is never among what remains, though its half was not sent yet.
func TestRecordsOfASplitCallAreUnknownUntilTheirHalfIsDecided(t *testing.T) {
	l := New(newMemory())
	whole := NewOutcomes(4)
	for i := range 4 {
		whole.Halved(i)
	}
	split := whole.Outcomes(true, "too large")
	split.Split = true
	if got, want := split.Counts(), (Counts{Calls: 1}); got != want || split.Reasons(true) != nil {
		t.Errorf("it counts %+v and %v, want only a call: its halves count the records", got, split.Reasons(true))
	}
	first, second := split.Halves([]int{0, 1, 2, 3})
	if !slices.Equal(first, []int{0, 1}) || !slices.Equal(second, []int{2, 3}) {
		t.Errorf("its halves are %v and %v", first, second)
	}
	key := Key{Batch: 1}
	one, two := key.Halves()
	for i, step := range []struct {
		key  Key
		o    Outcomes
		want string
	}{{key, split, "uuuu"}, {one, outcomes("cd--", "uuid-1", "duplicate value"), "cuuu"}, {two, outcomes("--cc", "uuid-3", "uuid-4"), "cucc"}} {
		decide(t, l, step.key, step.o)
		records, err := l.After(ctx, 0, 1, 4)
		_, counts, _, _ := l.Round(ctx, 0, 1, 4)
		if sum := counts.Created + counts.Duplicate + counts.Unknown; sum != 4 {
			t.Errorf("after %+v the round counts %+v, want 4 records", step.key, counts)
		}
		var got strings.Builder
		for _, r := range records {
			got.WriteByte(byte(r.Outcome))
		}
		if err != nil || got.String() != step.want || i == 0 && records[3].Reason != "too large" {
			t.Errorf("after %+v the records are %s, %v (%q), want %s", step.key, got.String(), err, records[3].Reason, step.want)
		}
	}
}

func TestAnswerAndNextClaimAreWrittenTogether(t *testing.T) {
	key, next, later := Key{Batch: 999}, Key{Batch: 1000}, Key{Batch: 1001} // in two folders, and in one
	claim := Claim{At: time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC), Clock: "one"}
	l := New(NewFolder(t.TempDir()))
	must(t, l.Claim(ctx, key, claim))
	if held, won, _, err := l.DecideAnswerAndClaim(ctx, ByCall, key, outcomes("c", "uuid"), next, claim); err != nil || !won || held.Letters != "c" {
		t.Errorf("%+v, %v, %v; want the answer decided", held, won, err)
	}
	if _, err := l.ClaimOf(ctx, next); !errors.Is(err, ErrNotFound) { // its folder is made by Claim
		t.Errorf("the claim in a new folder: %v, want %v", err, ErrNotFound)
	}
	must(t, l.Claim(ctx, next, claim))
	if _, won, claimed, err := l.DecideAnswerAndClaim(ctx, ByCall, next, outcomes("u"), later, claim); err != nil || !won || !claimed {
		t.Errorf("won %v, claimed %v, %v; want both", won, claimed, err)
	}
	if got, err := l.ClaimOf(ctx, later); err != nil || !reflect.DeepEqual(got, claim) {
		t.Errorf("the claim: %+v, %v; want %+v", got, err, claim)
	}

	// Decided by another, or claimed by another.
	after := Key{Batch: 1002}
	decide(t, l, later, outcomes("u"))
	if held, won, claimed, err := l.DecideAnswerAndClaim(ctx, ByCall, later, outcomes("c", "uuid"), after, claim); err != nil || won || claimed || held.Letters != "u" {
		t.Errorf("a late answer: %+v, won %v, claimed %v, %v; want what was decided, and no claim", held, won, claimed, err)
	}
	must(t, l.Claim(ctx, after, claim)) // it is free
	last := Key{Batch: 1003}
	must(t, l.Claim(ctx, last, claim))
	if _, won, claimed, err := l.DecideAnswerAndClaim(ctx, ByCall, after, outcomes("u"), last, claim); err != nil || !won || claimed {
		t.Errorf("a claim of another: won %v, claimed %v, %v; want the answer only", won, claimed, err)
	}

	memory := New(newMemory()) // a store that creates one value at a time
	if _, won, claimed, err := memory.DecideAnswerAndClaim(ctx, ByCall, key, outcomes("u"), next, claim); err != nil || !won || claimed {
		t.Errorf("in memory: won %v, claimed %v, %v; want the answer only", won, claimed, err)
	}
}
