package evidence

import (
	"encoding/json"
	"testing"
	"time"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/target"
)

var claimed = time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)

// at returns a time of the clock that stamps records, some milliseconds after the claim.
func at(milliseconds int) string {
	return claimed.Add(time.Duration(milliseconds) * time.Millisecond).Format("2006-01-02 15:04:05.000000 -0700")
}

const years = -10 * 365 * 24 * 3600 * 1000

func entity(t *testing.T, attributes string) target.Entity {
	t.Helper()
	var e target.Entity
	if err := json.Unmarshal([]byte(attributes), &e.Attributes); err != nil {
		t.Fatalf("%s: %v", attributes, err)
	}
	e.ID = e.Text("uuid")
	e.Created, _ = target.ParseMoment(e.Text("created"))
	e.Updated, _ = target.ParseMoment(e.Text("lastUpdated"))
	return e
}

// record returns a record of the target with these system attributes.
func record(t *testing.T, created, updated, rest string) target.Entity {
	t.Helper()
	quoted := func(s string) string {
		if s == "" {
			return "null"
		}
		return `"` + s + `"`
	}
	return entity(t, `{"uuid":"u1","id":7,"created":`+quoted(created)+`,"lastUpdated":`+quoted(updated)+`,`+rest+`}`)
}

var traits = target.Traits{
	System: []string{"id", "uuid", "created", "lastUpdated"}, Givable: []string{"created"}, ShowsCreated: true, ShowsUpdated: true, Fold: target.FoldCase,
}

var schema = target.Schema{Name: "user", Attributes: []target.Attribute{
	{Name: "email", Type: "string"}, {Name: "givenName", Type: "string"}, {Name: "age", Type: "integer"}, {Name: "lastLogin", Type: "dateTime"},
	{Name: "password", Type: "password-bcrypt"}, {Name: "old", Type: "password-md5"}, {Name: "optIn", Type: "boolean"},
}}

// taught returns a baseline of so many records of ours. The target drops memo, reformats
// phone, sets optIn to false, and adds a number.
func taught(t *testing.T, n int) *Baseline {
	t.Helper()
	b := NewBaseline(schema, traits, "email")
	for i := range n {
		number, _ := json.Marshal(1000 + i)
		b.Learn([]byte(`{"email":"a@x","givenName":"A","age":"42","memo":"m","phone":"030 1","password":"p"}`),
			record(t, at(5), at(5), `"email":"a@x","givenName":"A","age":42,"phone":"+49301","optIn":false,"number":`+string(number)))
	}
	return b
}

const (
	sentWhole = `{"email":"Ann@x","givenName":"Ann","age":"42","memo":"m","phone":"030 2","password":"p","old":"h"}`
	isWhole   = `"email":"ann@x","givenName":"Ann","age":42,"phone":"+49302","optIn":false,"number":7,"password":{"value":"hash"}`
)

func TestVerdicts(t *testing.T) {
	ours := Answer{Verdict: Ours, UUID: "u1"}
	others := Answer{Verdict: Others}
	unknown := func(reason string) Answer { return Answer{Reason: reason} }
	again := func(reason string) Answer { return Answer{Reason: reason, Again: true} }
	whole := func(created, updated int) []target.Entity {
		return []target.Entity{record(t, at(created), at(updated), isWhole)}
	}
	with := func(created, updated, rest string) []target.Entity {
		return []target.Entity{record(t, created, updated, rest)}
	}
	given := `{"email":"ann@x","givenName":"Ann","created":"2011-11-22 13:05:00"}`
	const isGiven = `"email":"ann@x","givenName":"Ann"`
	for name, c := range map[string]struct {
		sent     string // "" is sentWhole
		found    []target.Entity
		absent   bool
		owner    Owner
		rival    string
		untaught bool
		want     Answer
	}{
		// Equal and created since the claim: ours, however the target shows it.
		"equal and made since":                      {found: whole(5, 5), want: ours},
		"equal, made since, changed without a mark": {found: whole(5, 90_000), want: ours},
		"equal, and when it was changed is hidden":  {found: with(at(5), "", isWhole), want: ours},
		"created is the input's, written since":     {sent: given, untaught: true, found: with("2011-11-22 13:05:00 +0000", at(5), isGiven), want: ours},
		"created of the input was ignored":          {sent: given, untaught: true, found: with(at(5), at(5), isGiven), want: ours},
		"the target drops what it drops of ours":    {found: whole(5, 5), want: ours},
		"only a key was sent, and only it is shown": {sent: `{"email":"ann@x"}`, untaught: true, found: with(at(5), at(5), `"email":"ANN@x"`), want: ours},

		// Not ours.
		"made long before":                            {found: whole(years, years), want: others},
		"made long before, changed since":             {found: whole(years, 5), want: others},
		"equal, made before":                          {found: whole(-3000, -3000), want: others},
		"last changed before, created hidden":         {found: with("", at(years), isWhole), want: others},
		"a stranger with another name":                {found: with(at(5), at(5), `"email":"ann@x","givenName":"Bo","age":42,"phone":"1","optIn":false,"number":7`), want: others},
		"a stranger without what we sent":             {found: with(at(5), at(5), `"email":"ann@x","optIn":false,"number":7`), want: others},
		"a stranger with what we never sent":          {found: with(at(5), at(5), isWhole+`,"city":"Rome"`), want: others},
		"a stranger with another value than ours":     {found: with(at(5), at(5), `"email":"ann@x","givenName":"Ann","age":42,"phone":"1","optIn":true,"number":7`), want: others},
		"a stranger without what all of ours have":    {found: with(at(5), at(5), `"email":"ann@x","givenName":"Ann","age":42,"phone":"1","number":7`), want: others},
		"another name, though nothing is known":       {untaught: true, sent: `{"email":"ann@x","givenName":"Ann"}`, found: with(at(5), at(5), `"email":"ann@x","givenName":"Bo"`), want: others},
		"created as given, but not written since":     {sent: given, found: with("2011-11-22 13:05:00 +0000", at(years), isGiven), want: others},
		"created neither as given nor since":          {sent: given, found: with(at(years), at(years), isGiven), want: others},
		"not among what was written since":            {absent: true, want: others},
		"its id belongs to another record":            {found: whole(5, 5), owner: InInput, want: others},
		"its id belongs to another migration":         {found: whole(5, 5), owner: Elsewhere, want: others},
		"its id is another's, though nothing is told": {found: with("", "", isWhole), owner: InInput, want: others},

		// Undecidable.
		"changed since, by its user":                {found: with(at(5), at(60_000), `"email":"ann@x","givenName":"Anna","age":42,"phone":"1","optIn":false,"number":7`), want: unknown(ChangedSince)},
		"signed in since":                           {found: with(at(5), at(60_000), isWhole+`,"lastLogin":"2026-11-22 13:06:00 +0000"`), want: unknown(ChangedSince)},
		"created as given, and changed":             {sent: given, untaught: true, found: with("2011-11-22 13:05:00 +0000", at(5), `"email":"ann@x","givenName":"Anna"`), want: unknown(ChangedSince)},
		"created as given, today, and changed":      {sent: `{"email":"ann@x","givenName":"Ann","created":"2026-11-22"}`, untaught: true, found: with("2026-11-22", at(5), `"email":"ann@x","givenName":"Anna"`), want: unknown(ChangedSince)},
		"it differs, and when it changed is hidden": {found: with(at(5), "", `"email":"ann@x","givenName":"Bo","optIn":false,"number":7`), want: unknown(NoChangeTime)},
		"a little too early":                        {found: whole(-500, -500), want: again(TooEarly)},
		"created is hidden":                         {found: with("", at(5), isWhole), want: unknown(NoTime)},
		"both times are hidden":                     {found: with("", "", isWhole), want: unknown(NoTime)},
		"created as given, lastUpdated hidden":      {sent: given, untaught: true, found: with("2011-11-22 13:05:00 +0000", "", isGiven), want: unknown(NoTime)},
		"nothing but the key is shown":              {sent: `{"email":"ann@x","memo":"m"}`, found: with(at(5), at(5), `"email":"ann@x","optIn":false,"number":7`), want: unknown(NothingButKey)},
		"what was sent is missing, none is known":   {untaught: true, found: with(at(5), at(5), `"email":"ann@x"`), want: unknown(NoBaseline)},
		"what was not sent is there, none known":    {untaught: true, sent: `{"email":"ann@x"}`, found: with(at(5), at(5), `"email":"ann@x","optIn":false`), want: unknown(NoBaseline)},
		"two records":                               {found: append(whole(5, 5), record(t, at(years), at(years), isWhole)), want: again(MoreThanOne)},
		"two records, the other way round":          {found: append(with(at(years), at(years), isWhole), whole(5, 5)...), want: again(MoreThanOne)},
		"nothing yet":                               {want: again(NotShown)},
		"another migration has a call open":         {found: whole(5, 5), rival: OpenElsewhere, want: again(OpenElsewhere)},
		"an earlier record may have written it":     {found: whole(5, 5), rival: EarlierRecord, want: unknown(EarlierRecord)},
	} {
		b := taught(t, 4)
		if c.untaught {
			b = NewBaseline(schema, traits, "email")
		}
		sent := c.sent
		if sent == "" {
			sent = sentWhole
		}
		var clocks Clocks
		clocks.Learn(Sample{Clock: "ours", Sent: claimed, Received: claimed.Add(2 * time.Millisecond), Stamp: stampOf(t, at(1))})
		got := b.Decide(Question{
			Sent: []byte(sent), Found: c.found, NotWritten: c.absent, Owner: c.owner, Rival: c.rival,
			Since: clocks.Since(ledger.Claim{At: claimed, Clock: "ours"}, true),
		})
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func stampOf(t *testing.T, text string) target.Moment {
	t.Helper()
	m, ok := target.ParseMoment(text)
	if !ok {
		t.Fatalf("%q is no time", text)
	}
	return m
}

func TestAFewRecordsOfOursProveLittle(t *testing.T) {
	sent := []byte(`{"email":"b@x","givenName":"B"}`)
	found := record(t, at(5), at(5), `"email":"b@x","givenName":"B","optIn":true`)
	since := Bound{From: claimed, Clearly: claimed.Add(-time.Second)}
	for n, want := range map[int]Answer{
		0: {Reason: NoBaseline}, 1: {Reason: NoBaseline}, 2: {Reason: NoBaseline}, 3: {Verdict: Others}, 9: {Verdict: Others},
	} {
		b := NewBaseline(schema, traits, "email")
		for range n {
			b.Learn([]byte(`{"email":"a@x","givenName":"A"}`), record(t, at(5), at(5), `"email":"a@x","givenName":"A","optIn":false`))
		}
		if got := b.Decide(Question{Sent: sent, Found: []target.Entity{found}, Since: since}); got != want {
			t.Errorf("with %d records that are ours: %+v, want %+v", n, got, want)
		}
	}
}

// A target that changes some values of an attribute may not have changed this one.
func TestWhatTheTargetDoesToSomeOfOursProvesNothing(t *testing.T) {
	since := Bound{From: claimed, Clearly: claimed.Add(-time.Second)}
	for name, c := range map[string]struct{ sent, found string }{
		"a value that it reformats": {`{"email":"b@x","givenName":"B","phone":"0049 1"}`, `"email":"b@x","givenName":"B","phone":"+492"`},
		"a value that it drops":     {`{"email":"b@x","givenName":"B","memo":" "}`, `"email":"b@x","givenName":"B"`},
	} {
		for _, some := range []bool{false, true} {
			b := NewBaseline(schema, traits, "email")
			for range fewSamples {
				b.Learn([]byte(`{"email":"a@x","phone":"0049 3","memo":" "}`), record(t, at(5), at(5), `"email":"a@x","phone":"+493"`))
			}
			want := Answer{Verdict: Ours, UUID: "u1"}
			if some {
				b.Learn([]byte(`{"email":"a@x","phone":"+494","memo":"m"}`), record(t, at(5), at(5), `"email":"a@x","phone":"+494","memo":"m"`))
				want = Answer{Reason: NoBaseline}
			}
			if got := b.Decide(Question{Sent: []byte(c.sent), Found: []target.Entity{record(t, at(5), at(5), c.found)}, Since: since}); got != want {
				t.Errorf("%s, of some only: %t: %+v, want %+v", name, some, got, want)
			}
		}
	}
}

// Our clock shows claimed when a call is claimed. The target stamps with a clock that is
// ahead of ours by skew.
func TestTheClockThatStampsRecordsCounts(t *testing.T) {
	const none = time.Duration(-1 << 62)
	date := func(low, high time.Duration) *ledger.Skew { return &ledger.Skew{Low: low, High: high} }
	agrees := date(-500*time.Millisecond, 600*time.Millisecond)
	for name, c := range map[string]struct {
		skew  time.Duration // of a known record of ours; none: there is none
		date  *ledger.Skew
		lost  bool
		stamp time.Duration // of the record that was found, after the claim by our clock
		want  Answer
	}{
		"calibrated": {0, agrees, true, 10 * time.Millisecond, Answer{Verdict: Ours, UUID: "u1"}},
		"calibrated, the clocks differ by an hour":        {time.Hour, agrees, true, time.Hour + 10*time.Millisecond, Answer{Verdict: Ours, UUID: "u1"}},
		"calibrated, an hour behind":                      {-time.Hour, agrees, true, -time.Hour + 10*time.Millisecond, Answer{Verdict: Ours, UUID: "u1"}},
		"Date is 0.2 s ahead":                             {0, date(190*time.Millisecond, 210*time.Millisecond), true, 10 * time.Millisecond, Answer{Verdict: Ours, UUID: "u1"}},
		"Date is an hour ahead":                           {0, date(time.Hour, time.Hour), true, 10 * time.Millisecond, Answer{Verdict: Ours, UUID: "u1"}},
		"calibrated, an hour ahead, made before":          {time.Hour, nil, true, 30 * time.Minute, Answer{Verdict: Others}},
		"calibrated, a little early":                      {0, agrees, true, -500 * time.Millisecond, Answer{Reason: TooEarly, Again: true}},
		"calibrated, a little early, nothing lost":        {0, agrees, false, -500 * time.Millisecond, Answer{Verdict: Others}},
		"nothing in hand":                                 {none, agrees, true, 10 * time.Millisecond, Answer{Verdict: Ours, UUID: "u1"}},
		"nothing in hand, no Date either":                 {none, nil, true, 10 * time.Millisecond, Answer{Verdict: Ours, UUID: "u1"}},
		"nothing in hand, early":                          {none, agrees, true, -time.Minute, Answer{Reason: TooEarly, Again: true}},
		"nothing in hand, early, nothing lost":            {none, agrees, false, -time.Minute, Answer{Verdict: Others}},
		"nothing in hand, early, nothing lost, no Date":   {none, nil, false, -time.Minute, Answer{Reason: TooEarly, Again: true}},
		"nothing in hand, made clearly before":            {none, agrees, true, -time.Hour, Answer{Verdict: Others}},
		"nothing in hand, Date ahead, too early for Date": {none, date(time.Hour, time.Hour), true, 10 * time.Millisecond, Answer{Reason: TooEarly, Again: true}},
		"nothing in hand, Date ahead, as Date has it":     {none, date(time.Hour, time.Hour), true, time.Hour + time.Second, Answer{Verdict: Ours, UUID: "u1"}},
		"nothing in hand, Date behind, as Date has it":    {none, date(-time.Hour, -time.Hour), true, -time.Hour + time.Second, Answer{Reason: TooEarly, Again: true}},
		"nothing in hand, Date behind, as ours has it":    {none, date(-time.Hour, -time.Hour), true, time.Second, Answer{Verdict: Ours, UUID: "u1"}},
	} {
		var clocks Clocks
		if c.skew != none {
			clocks.Learn(sampleAt(claimed.Add(-time.Minute), c.skew, 40*time.Millisecond))
			clocks.Learn(sampleAt(claimed.Add(time.Minute), c.skew, 40*time.Millisecond))
		}
		stamp := claimed.Add(c.stamp).Format("2006-01-02 15:04:05.000000 -0700")
		got := NewBaseline(schema, traits, "email").Decide(Question{
			Sent: []byte(`{"email":"a@x"}`), Found: []target.Entity{record(t, stamp, stamp, `"email":"a@x"`)},
			Since: clocks.Since(ledger.Claim{At: claimed, Clock: "ours", Date: c.date}, c.lost),
		})
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// sampleAt is a record that was created in the middle of a call of ours.
func sampleAt(sent time.Time, skew, took time.Duration) Sample {
	stamp := sent.Add(took / 2).Add(skew)
	return Sample{Clock: "ours", Sent: sent, Received: sent.Add(took), Stamp: target.Moment{Earliest: stamp, Latest: stamp.Add(time.Microsecond - 1)}}
}

func TestOtherClocksDoNotCalibrateThisOne(t *testing.T) {
	var clocks Clocks
	clocks.Learn(sampleAt(claimed, -time.Hour, time.Millisecond))
	since := clocks.Since(ledger.Claim{At: claimed, Clock: "another"}, true)
	if !since.From.Equal(claimed) || !since.Clearly.Before(claimed.Add(-time.Minute)) {
		t.Errorf("%+v, want the other clock's own time, and a margin of minutes", since)
	}
}

func TestAStampThatMayBeLaterDoesNotMoveTheClock(t *testing.T) {
	// Two records of ours with created from the input; the user of one has changed it.
	var clocks Clocks
	changed := sampleAt(claimed, time.Hour, time.Millisecond)
	asMade := sampleAt(claimed, 0, time.Millisecond)
	changed.MaybeLater, asMade.MaybeLater = true, true
	clocks.Learn(changed)
	clocks.Learn(asMade)
	claim := ledger.Claim{At: claimed, Clock: "ours"}
	if since := clocks.Since(claim, true); since.From.After(claimed) || since.From.Before(claimed.Add(-time.Second)) {
		t.Errorf("%+v, want what the unchanged record tells", since)
	}
	// A certain sample takes precedence.
	clocks.Learn(sampleAt(claimed, -time.Millisecond, time.Millisecond))
	if since := clocks.Since(claim, true); since.From.After(claimed) {
		t.Errorf("%+v, want it no later than the certain record tells", since)
	}
}

func TestAfterAClockWasSetTheLowestSkewCounts(t *testing.T) {
	var clocks Clocks
	clocks.Learn(sampleAt(claimed.Add(-time.Hour), 0, time.Millisecond))
	clocks.Learn(sampleAt(claimed.Add(time.Hour), 30*time.Second, time.Millisecond))
	since := clocks.Since(ledger.Claim{At: claimed, Clock: "ours"}, true)
	if since.From.After(claimed) {
		t.Errorf("%+v, want it no later than the claim by the slower of the two", since)
	}
}

func TestThisClockIsTheSameThroughoutAProcess(t *testing.T) {
	first := ThisClock()
	if again := ThisClock(); first == "" || again != first {
		t.Errorf("%q and %q", first, again)
	}
}

var now = time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)

func TestTheTargetsClockIsKnownFromItsAnswers(t *testing.T) {
	at := func(seconds float64) time.Time { return now.Add(time.Duration(seconds * float64(time.Second))) }
	type answer struct{ date, sent, received float64 }
	cases := []struct {
		name    string
		answers []answer
		want    float64 // how far it is ahead of ours at least
	}{
		// The date says 10, so its clock is in [10, 11) at some moment of [9.8, 10.4].
		{"one answer", []answer{{10, 9.8, 10.4}}, -0.4},
		{"a slow answer tells less", []answer{{10, 9.8, 10.4}, {20, 15, 25}}, -0.4},
		{"a quick one tells more", []answer{{10, 9.8, 10.4}, {20, 20, 20.1}}, -0.1},
		{"ahead by 100", []answer{{110, 9.8, 10.4}}, 99.6},
		{"behind by 100", []answer{{-90, 9.8, 10.4}}, -100.4},
		{"many seconds narrow it", []answer{{10, 10.0, 10.05}, {11, 11.7, 11.75}, {12, 12.95, 12.99}}, -0.05},
		{"a clock that was set: the last answer counts", []answer{{10, 10, 10.1}, {120, 20, 20.1}}, 99.9},
		{"set back", []answer{{120, 20, 20.1}, {10, 30, 30.1}}, -20.1},
	}
	for _, tc := range cases {
		var c DateClock
		for _, a := range tc.answers {
			c.Saw(at(a.date), at(a.sent), at(a.received))
		}
		want := at(tc.want).Sub(now)
		if got := c.Skew(); (got.Low - want).Abs() > time.Millisecond {
			t.Errorf("%s: %v: ahead by %v at least, want %v", tc.name, tc.answers, got.Low, want)
		}
	}
}

func TestAnAnswerWithoutADateDoesNotCount(t *testing.T) {
	var c DateClock
	c.Saw(time.Time{}, now, now)
	c.Saw(now, time.Time{}, now)
	c.Saw(now, now, time.Time{})
	if got := c.Skew(); got != nil {
		t.Errorf("%+v, want nothing", got)
	}
	if got := c.Latest(now); !got.Equal(now.Add(wellSet)) {
		t.Errorf("the latest is %v, want %v", got, now.Add(wellSet))
	}
}

// TestTheBoundsOfTheDateHeaderHoldTheTruth tries various clock differences and answer
// times.
func TestTheBoundsOfTheDateHeaderHoldTheTruth(t *testing.T) {
	for ahead := -3 * time.Second; ahead <= 3*time.Second; ahead += 170 * time.Millisecond {
		var c DateClock
		ours := now
		for i := range 200 {
			sent := ours
			served := sent.Add(time.Duration(i%7) * 90 * time.Millisecond)
			received := served.Add(time.Duration(i%5) * 110 * time.Millisecond)
			c.Saw(served.Add(ahead).Truncate(time.Second), sent, received)
			ours = received.Add(time.Duration(i%11) * 37 * time.Millisecond)
			if got := c.Skew(); got.Low > ahead || got.High < ahead {
				t.Fatalf("ahead by %v, after %d answers: %+v", ahead, i+1, got)
			}
		}
		if got := c.Skew(); ahead-got.Low > 500*time.Millisecond {
			t.Errorf("ahead by %v: after 200 answers %+v, want it closer", ahead, got)
		}
	}
}

func TestAMarkDecidesAlone(t *testing.T) {
	marking := traits
	marking.Marks = true
	const tag, another = "tag", "another"
	answers := func(verdict Verdict) Answer {
		if verdict == Ours {
			return Answer{Verdict: Ours, UUID: "u1"}
		}
		return Answer{Verdict: verdict}
	}
	for name, c := range map[string]struct {
		mark  string // of the record found
		sent  string // besides the key
		isTag bool
		owner Owner
		rival string
		want  Answer
	}{
		"our tag":                                  {tag, "", true, NoOwner, "", answers(Ours)},
		"our tag, whoever else may have it":        {tag, "", true, NoOwner, OpenElsewhere, answers(Ours)},
		"our tag, changed since":                   {tag, `,"givenName":"Ann"`, true, NoOwner, "", answers(Ours)},
		"our id":                                   {tag, "", false, NoOwner, "", answers(Ours)},
		"our id, with other data":                  {tag, `,"givenName":"Ann"`, false, NoOwner, "", cannotTell(SameID, false)},
		"our id, which another migration may send": {tag, "", false, NoOwner, OpenElsewhere, cannotTell(OpenElsewhere, true)},
		"our id, of an earlier record":             {tag, "", false, NoOwner, EarlierRecord, cannotTell(EarlierRecord, false)},
		"our id, of another migration":             {tag, "", false, Elsewhere, "", answers(Others)},
		"another mark":                             {another, "", true, NoOwner, "", answers(Others)},
		"no mark":                                  {"", "", true, NoOwner, "", answers(Others)},
	} {
		found := record(t, at(years), at(5), `"email":"b@x","givenName":"another"`)
		found.Mark = c.mark
		got := NewBaseline(schema, marking, "email").Decide(Question{
			Sent: []byte(`{"email":"b@x"` + c.sent + `}`), Mark: tag, IsTag: c.isTag, Found: []target.Entity{found}, Owner: c.owner, Rival: c.rival,
		})
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	if got := NewBaseline(schema, marking, "email").Decide(Question{Found: []target.Entity{{ID: "u1"}}}); got.Verdict != Others {
		t.Errorf("a record without a mark, ours without one: %+v, want %+v", got, answers(Others))
	}
}
