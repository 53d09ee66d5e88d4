package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"durable-dataload/internal/evidence"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/sandbox"
	"durable-dataload/internal/target"
)

// server changes the sandbox.
func server(change func(*sandbox.Options)) option {
	return func(_ *rig, o *sandbox.Options) { change(o) }
}

// calls counts the calls that read, up to now.
func (r *rig) reads() (n int) {
	r.t.Helper()
	for endpoint, calls := range r.endpoints() {
		if strings.HasPrefix(endpoint, "entity.find") || endpoint == "entity" || endpoint == "entity.count" || endpoint == "entityType" {
			n += calls
		}
	}
	return n
}

func TestARequestThatAGatewaySendsTwiceIsRecovered(t *testing.T) {
	r := inspected(t, people(6), batchSize(3), faults("replay=100"))
	if got := r.loadAll(0); got.Duplicate != 6 {
		t.Fatalf("%+v, want the answer to the second request: 6 duplicates", got)
	}
	if known := r.known(0); known != "rrr rrr" {
		t.Errorf("known %q, want all recovered in round 0", known)
	}
}

func TestATargetThatWritesAndRefusesAsTooLargeIsFoundOut(t *testing.T) {
	r := inspected(t, people(4), batchSize(4), faults("http413-after=100"), server(func(o *sandbox.Options) { o.HealAfter = 1 }))
	if got := r.loadAll(0); got.Duplicate != 4 {
		t.Fatalf("%+v, want halves that are duplicates", got)
	}
	if known := r.known(0); known != "rrrr" {
		t.Errorf("known %q, want all recovered", known)
	}
}

func TestALedgerThatWasRestoredFindsItsRecordsAgain(t *testing.T) {
	onDisk(t)
	r := inspected(t, people(9), batchSize(3))
	r.load(0, 1)
	backup := t.TempDir()
	noError(t, os.CopyFS(backup, os.DirFS(r.run.Folder.Path())))
	r.loadAll(0)
	noError(t, os.RemoveAll(r.run.Folder.Path()))
	noError(t, os.CopyFS(r.run.Folder.Path(), os.DirFS(backup)))
	r.restart()
	if got := r.loadAll(0); got.Duplicate != 6 || r.known(0) != "ccc rrr rrr" {
		t.Errorf("%+v, known %q; want what the lost entries had as recovered", got, r.known(0))
	}
}

func TestAStrangerWhoRegisteredAfterALostCallIsNotOurs(t *testing.T) {
	for name, c := range map[string]struct {
		stranger string
		want     string
	}{
		"with another name":    {`{"email":"A1@example.com","givenName":"Somebody"}`, "f"},
		"with a city":          {`{"email":"a1@example.com","givenName":"Name 1","primaryAddress":{"city":"Rome"}}`, "f"},
		"without what we have": {`{"email":"a1@example.com"}`, "f"},
	} {
		t.Run(name, func(t *testing.T) {
			// Batch 1 is lost unwritten; the others show what records of ours are like.
			lost := inspected(t, people(8), batchSize(2), faults("reset-before=100"), server(func(o *sandbox.Options) { o.HealAfter = 1 }))
			lost.loadAll(0)
			lost.registers(c.stranger)
			lost.retryFile(1)
			lost.loadAll(1)
			lost.resolve(1, true)
			if known := lost.known(1); !strings.HasPrefix(known, c.want+"c cc") {
				t.Errorf("known %q, want the stranger's record to be %s", known, c.want)
			}
		})
	}
}

func TestAUserWhoSignedInSinceIsLeftAlone(t *testing.T) {
	for _, delta := range []bool{false, true} {
		r := inspected(t, people(8), batchSize(2), withSpec(func(s *migration.Spec) { s.Delta = delta }))
		r.lose = func(send int) bool { return send == 1 }
		r.loadAll(0)
		r.lose = nil
		r.edit("a1@example.com", `{"displayName":"me"}`)
		r.retryFile(1)
		r.loadAll(1)
		if got, want := r.resolve(1, false), (Resolved{Recovered: 1, Unknown: 1}); got != want {
			t.Errorf("delta %v: %+v, want %+v", delta, got, want)
		}
		if record := r.records(1)[0][0]; record.Outcome != ledger.Unknown || record.Reason != evidence.ChangedSince {
			t.Errorf("delta %v: %+v, want it unknown, changed since", delta, record)
		}
		if plan := r.updatePlan(); len(plan.Batches) != 0 {
			t.Errorf("delta %v: %+v is to be updated, want nothing", delta, plan)
		}
	}
}

func TestAHiddenAttributeDoesNotMakeARecordForeign(t *testing.T) {
	for name, c := range map[string]struct {
		hide   []string
		want   string
		reason string
	}{
		"created":     {[]string{"created"}, "uu", evidence.NoTime},
		"lastUpdated": {[]string{"lastUpdated"}, "rr", ""},
		"both":        {[]string{"created", "lastUpdated"}, "uu", evidence.NoTime},
		"all":         {[]string{"all"}, "uu", evidence.NothingButKey},
	} {
		t.Run(name, func(t *testing.T) {
			r := inspected(t, people(8), batchSize(2), server(func(o *sandbox.Options) { o.Hide = c.hide }))
			lostOnce(r, 1)
			r.resolve(1, true)
			known, record := r.known(1), r.records(1)[0][0]
			if !strings.HasPrefix(known, c.want+" cc") {
				t.Errorf("known %q (%s), want %s", known, record.Reason, c.want)
			}
			if c.want == "uu" && record.Reason != c.reason && record.Reason != evidence.NoTime {
				t.Errorf("the reason is %q, want %q", record.Reason, c.reason)
			}
		})
	}
}

func TestACreatedThatTheTargetIgnoresDoesNotLoseARecord(t *testing.T) {
	r := inspected(t, "email,created\na1@example.com,2011-11-22 13:05:00\na2@example.com,2011-11-22 13:05:00\n", batchSize(1),
		server(func(o *sandbox.Options) { o.IgnoreCreated = true }))
	lostOnce(r, 1)
	r.resolve(1, true)
	if known := r.known(1); known != "r c" {
		t.Errorf("known %q, want r c", known)
	}
}

// The clock that stamps records is neither ours nor that of the Date header.
func TestClocksThatDifferDoNotLoseARecord(t *testing.T) {
	for _, skews := range [][2]time.Duration{
		{200 * time.Millisecond, 0}, {time.Hour, 0}, {-time.Hour, 0}, {0, time.Hour}, {0, -time.Hour}, {time.Hour, -time.Hour}, {0, 200 * time.Millisecond},
	} {
		for _, whole := range []bool{false, true} {
			r := inspected(t, people(8), batchSize(2), server(func(o *sandbox.Options) { o.DateSkew, o.StampSkew = skews[0], skews[1] }))
			if whole {
				must[struct{}](r, r.acts.CheckTarget, r.run)
			}
			r.stranger(`{"email":"a4@example.com"}`)
			lostOnce(r, 1, 2)
			r.resolve(1, true)
			if known := r.known(1); known != "rr rf cc cc" {
				t.Errorf("Date ahead by %s, stamps by %s: known %q, want rr rf cc cc", skews[0], skews[1], known)
			}
		}
	}
}

func TestNoSampleIsNeededWhereTheClocksAgree(t *testing.T) {
	r := inspected(t, people(2))
	must[struct{}](r, r.acts.CheckTarget, r.run)
	lostOnce(r, 1)
	if got, want := r.resolve(1, false), (Resolved{Recovered: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestTwoRecordsWithOneKeyStayUnknown(t *testing.T) {
	for _, order := range []bool{false, true} {
		r := inspected(t, people(8), batchSize(2))
		r.findOutcome = func(found []target.Entity, err error) ([]target.Entity, error) {
			for _, e := range found {
				if e.Text("email") == "a1@example.com" {
					other := e
					other.ID = "another"
					other.Attributes = map[string]json.RawMessage{"uuid": json.RawMessage(`"another"`), "email": json.RawMessage(`"A1@example.com"`)}
					if order {
						return append([]target.Entity{other}, found...), err
					}
					return append(found, other), err
				}
			}
			return found, err
		}
		lostOnce(r, 1)
		if got, want := r.resolve(1, true), (Resolved{Recovered: 1, Unknown: 1}); got != want {
			t.Errorf("the other first %v: %+v, want %+v", order, got, want)
		}
		if reason := r.records(1)[0][0].Reason; reason != evidence.MoreThanOne {
			t.Errorf("the reason is %q, want %q", reason, evidence.MoreThanOne)
		}
	}
}

// beside is another migration of the same state folder into the same target.
func (r *rig) beside(key, input string) *rig {
	r.t.Helper()
	other := &rig{t: r.t, spec: r.spec, sandbox: r.sandbox, state: r.state, limiter: r.limiter}
	other.spec.ID = "migration-others.csv-" + key
	other.spec.DataFile = strings.Replace(r.spec.DataFile, "users.csv", key+".csv", 1)
	other.writeInput(input)
	other.spec.SHA256 = digestOf(r.t, other.spec.DataFile)
	other.spec.Folder = migration.In(r.run.Folder.Work(), key)
	other.run = Run{Folder: other.spec.Folder.RunFolder, ID: "run-1"}
	other.restart()
	other.inspect()
	return other
}

func TestWhatAnotherMigrationCreatedIsItsOwn(t *testing.T) {
	a := inspected(t, people(6), batchSize(2))
	b := a.beside("0123456789ab", people(2))
	// A's call is lost unwritten, then B creates the two, equal in all.
	a.lose = func(send int) bool { return send == 1 }
	a.before = func(send int) {
		if send == 1 {
			b.loadAll(0)
		}
	}
	a.loadAll(0)
	a.lose = nil
	a.retryFile(1)
	a.loadAll(1)
	if got, want := a.resolve(1, true), (Resolved{Failed: 2}); got != want || b.known(0) != "cc" {
		t.Errorf("%+v, the other has %q; want %+v and cc", got, b.known(0), want)
	}
}

// Where the input gives created, only lastUpdated says when a record was written, and that
// of an earlier migration may have been touched since.
func TestWhatAnEarlierMigrationCreatedStaysItsOwnWhenItIsTouched(t *testing.T) {
	input := "email,givenName,created\n"
	for i := range 6 {
		input += fmt.Sprintf("a%d@example.com,Name %d,2011-11-22 13:05:00\n", i+1, i+1)
	}
	a := inspected(t, input, batchSize(2))
	b := a.beside("0123456789ab", strings.Join(strings.SplitAfter(input, "\n")[:3], ""))
	b.loadAll(0)
	noError(t, b.spec.Folder.SaveSummary(migration.Summary{FinishedAt: now.Add(-24 * time.Hour)}))
	noError(t, b.spec.Folder.Finish(false))
	a.lose = func(send int) bool { return send == 1 } // it has written nothing
	a.loadAll(0)
	a.lose = nil
	a.edit("a1@example.com", `{"givenName":"Name 1"}`)
	a.edit("a2@example.com", `{"givenName":"Name 2"}`)
	a.retryFile(1)
	a.loadAll(1)
	if got, want := a.resolve(1, true), (Resolved{Failed: 2}); got != want {
		t.Errorf("%+v, want %+v: the other migration has their ids", got, want)
	}
}

func TestACallOfAnotherMigrationThatIsOpenIsWaitedFor(t *testing.T) {
	a := inspected(t, people(6), batchSize(2))
	b := a.beside("0123456789ab", people(2))
	b.claim(ledger.Key{Batch: 1}) // it may write a1 and a2 just now
	lostOnce(a, 1)
	if got, want := a.resolve(1, false), (Resolved{Invisible: 2}); got != want {
		t.Errorf("while the call is open: %+v, want %+v", got, want)
	}
	if got, want := a.resolve(1, true), (Resolved{Unknown: 2}); got != want || a.records(1)[0][0].Reason != evidence.OpenElsewhere {
		t.Errorf("at last: %+v, want %+v: another migration may have written it", got, want)
	}
}

func TestTwoMigrationsThatRecoverAtOnceDoNotBothGetARecord(t *testing.T) {
	r := inspected(t, people(6), batchSize(2), faults("replay=100"))
	a, b := r.beside("0123456789ab", people(6)), r.beside("ba9876543210", people(6))
	// All are in the target, and duplicates to both.
	a.loadUnresolved()
	b.loadUnresolved()
	var wait sync.WaitGroup
	for _, r := range []*rig{a, b} {
		wait.Go(func() { r.resolve(0, true) })
	}
	wait.Wait()
	owner := map[string]string{}
	for name, r := range map[string]*rig{"a": a, "b": b} {
		for _, batch := range r.records(0) {
			for _, record := range batch {
				if record.UUID == "" {
					continue
				}
				if owner[record.UUID] != "" {
					t.Errorf("%s has two owners", record.UUID)
				}
				owner[record.UUID] = name
			}
		}
	}
	if len(owner) != 6 {
		t.Errorf("%d records have an owner, want all six", len(owner))
	}
}

// loadUnresolved loads round 0 and resolves nothing.
func (r *rig) loadUnresolved() {
	r.t.Helper()
	for _, b := range r.plan(0, 0, 1000).Batches {
		r.load(0, b.Position())
	}
}

// exist creates so many of people in the sandbox, as another program did before.
func (r *rig) exist(from, to int) {
	r.t.Helper()
	var records []string
	for i := from; i <= to; i++ {
		records = append(records, fmt.Sprintf(`{"email":"a%d@example.com","givenName":"Name %d"}`, i, i))
	}
	if a := r.creates(records...); a.Err != nil {
		r.t.Fatalf("%+v", a)
	}
}

// Looking duplicates up costs at most a tenth more calls at 100 records a call, however
// many records exist already.
func TestLookingUpCostsATenthMoreCallsAtMost(t *testing.T) {
	const records, each = 10_000, 100
	for name, c := range map[string]struct {
		there int // of each hundred
		lose  int // one answer in so many is lost
	}{
		"none exist":                {0, 0},
		"half exist":                {50, 0},
		"all exist":                 {100, 0},
		"none, every tenth is lost": {0, 10},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, people(records), batchSize(each))
			for from := 1; from <= records && c.there > 0; from += each {
				r.exist(from, from+c.there-1)
			}
			time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // the view begins with a second
			r.inspect()
			must[struct{}](r, r.acts.CheckTarget, r.run)
			before := r.reads()
			r.lose = func(send int) bool { return c.lose > 0 && send%c.lose == 0 }
			r.loadUnresolved()
			got := r.resolve(0, false)
			r.lose = nil
			if r.retryFile(1).Records > 0 {
				r.loadAll(1)
				got = r.resolve(1, false)
			}
			looks := r.reads() - before
			t.Logf("%d calls to load, %d to look up: %+v", r.sent(), looks, got)
			if looks*10 > r.sent() {
				t.Errorf("%d calls to look up beside %d that load, want a tenth at most", looks, r.sent())
			}
			want := Resolved{Failed: records * c.there / 100}
			if c.lose > 0 {
				want = Resolved{Recovered: records / c.lose}
			}
			if got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

// No look-up by key shows a record that is refused for the value of another unique attribute.
func TestARecordThatIsRefusedForAnotherAttributeFails(t *testing.T) {
	unique := []string{"unique"}
	schema := target.Schema{Name: "user", Attributes: []target.Attribute{
		{Name: "email", Type: "string", Constraints: unique}, {Name: "givenName", Type: "string", Constraints: unique}}}
	holder := `{"email":"a2@example.com","givenName":"Somebody else"}`
	for name, c := range map[string]struct {
		input  string
		before func(r *rig)
		lose   int // the answer to this call
		want   Resolved
	}{
		"it was there":    {input: people(4), before: func(r *rig) { r.stranger(holder) }, want: Resolved{Failed: 1}},
		"a lost answer":   {input: people(4), before: func(r *rig) { r.stranger(holder) }, lose: 1, want: Resolved{Recovered: 1, Failed: 1}},
		"it may be later": {input: people(4), before: func(r *rig) { r.registers(holder) }, want: Resolved{Invisible: 1}},
		"it may be this record": {input: "email,givenName,created\na1@example.com,A,\na2@example.com,B,2015-12-15 07:36:25 +0000\n",
			before: func(r *rig) {
				r.registers(`{"email":"a2@example.com","givenName":"B, changed","created":"2015-12-15 07:36:25 +0000"}`)
			}, want: Resolved{Invisible: 1}},
		"it is of this input": {input: "email,givenName\na@example.com,A\na@example.com,B\nc@example.com,C\n", want: Resolved{Failed: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.input, batchSize(2), withSpec(func(s *migration.Spec) { s.PrimaryKey = "givenName" }))
			r.schema = func(context.Context) (target.Schema, error) { return schema, nil }
			r.inspect()
			must[struct{}](r, r.acts.CheckTarget, r.run)
			if c.before != nil {
				c.before(r)
			}
			r.lose = func(send int) bool { return send == c.lose }
			r.loadUnresolved()
			round := 0
			if c.lose > 0 {
				r.retryFile(1)
				r.loadAll(1)
				round = 1
			}
			if got := r.resolve(round, false); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

// While the view of what was written is behind it is read again; in the end the keys are
// looked up.
func TestAViewThatIsBehindDecidesNothing(t *testing.T) {
	r := inspected(t, people(300), batchSize(100), faults("replay=34"), server(func(o *sandbox.Options) { o.FindLag = 2 * time.Second }))
	must[struct{}](r, r.acts.CheckTarget, r.run)
	r.loadUnresolved()
	_, counts, _, err := r.ledger().Round(t.Context(), 0, 1, 100)
	noError(t, err)
	if first := r.resolve(0, false); first.Failed != 0 || first.Recovered != 0 && counts.Duplicate > 0 {
		t.Errorf("while nothing shows: %+v, want nothing decided", first)
	}
	eventually(t, "all show", func() bool { return r.resolve(0, false).Invisible == 0 })
	if known := r.known(0); strings.Contains(known, "f") || strings.Contains(known, "u") {
		t.Errorf("known %q, want all created or recovered", known)
	}
}

// A view that shows all records of answered calls may not show yet what a lost call wrote
// after these.
func TestAViewThatIsBehindALostCallDecidesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		found bool // by key
		want  Resolved
	}{
		"a look-up shows it":    {true, Resolved{Recovered: 100}},
		"nothing shows it, yet": {false, Resolved{Invisible: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			r := inspected(t, people(300), batchSize(100))
			must[struct{}](r, r.acts.CheckTarget, r.run)
			r.lose = func(send int) bool { return send == 3 }
			r.loadUnresolved()
			r.lose = nil
			r.retryFile(1)
			r.loadAll(1)
			isLost := func(e target.Entity) bool {
				n, err := strconv.Atoi(strings.Trim(e.Text("email"), "a@exmpl.co"))
				return err == nil && n > 200
			}
			behind, lists := true, 0
			r.listed = func(all []target.Entity) []target.Entity {
				if lists++; behind {
					return slices.DeleteFunc(all, isLost)
				}
				return all
			}
			r.findOutcome = func(found []target.Entity, err error) ([]target.Entity, error) {
				if behind && !c.found {
					found = slices.DeleteFunc(found, isLost)
				}
				return found, err
			}
			if got := r.resolve(1, false); got != c.want || lists == 0 {
				t.Errorf("%+v after %d pages, want %+v after some", got, lists, c.want)
			}
			behind = false
			if got, want := r.resolve(1, false), (Resolved{Recovered: 100}); got != want {
				t.Errorf("when all show: %+v, want %+v", got, want)
			}
		})
	}
}

func TestARollbackLeavesAStrangerAlone(t *testing.T) {
	r := inspected(t, people(6), batchSize(2))
	r.loadAll(0)
	// The uuid of a1 is in the ledger. The record is another client's by then.
	stranger := r.entity("a1@example.com")["uuid"].(string)
	r.edit("a1@example.com", `{"email":"stranger@example.com"}`)
	r.rollBack(func(s *migration.Rollback) { s.Until, s.From = time.Now().Add(time.Hour), now })
	r.begin()
	got := r.undoBatch(0)
	if got.Deleted != 5 || got.Failed != 1 || !r.isThere("stranger@example.com") {
		t.Errorf("%+v; want the other five deleted, and %s left alone", got, stranger)
	}
	if s := r.writeRollback(0); s.Reasons[anotherKey] != 1 {
		t.Errorf("the reasons are %v, want %q", s.Reasons, anotherKey)
	}
}
