package ledger

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A run of 30 steps, rapid's default, seldom comes to a second retry round. The
// command line can still say otherwise.
func init() {
	_ = flag.Set("rapid.steps", "120")
	_ = flag.Set("rapid.checks", "150")
}

// TestConcurrentWorkersLoseNoRecordAndRepeatNoCall lets several
// workers load, settle and resolve batches in any interleaving, one step of one
// worker at a time. A worker can die after every step, or wake up in a later round
// and continue. The ledger is compared with a model that knows each first success,
// and with the records that the target really has.
func TestConcurrentWorkersLoseNoRecordAndRepeatNoCall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		t.Repeat(map[string]func(*rapid.T){
			"load":    m.startLoad,
			"settle":  m.startSettle,
			"resolve": m.startResolve,
			"update":  m.startUpdate,
			"step":    m.stepOne,
			"step on": m.stepOne, // work is more frequent than death
			"crash":   m.crash,
			"advance": m.advance,
			"":        m.check,
		})
		m.end(t)
	})
}

const lastRound = 3

// recordID names a record.
type recordID struct{ batch, position int }

type machine struct {
	store   *memory
	ledger  *Ledger
	sizes   []int // of the batches, from batch 1
	round   int   // that the workflow is in
	workers []*worker

	// The model: what was written first.
	claimed  map[Key]bool
	decided  map[Key]Outcomes
	resolved map[Key]Outcomes
	updated  map[Key]Outcomes

	// The target.
	calls     map[Key]int
	ours      map[recordID]int // round in which a call of ours wrote it
	strangers map[recordID]bool
	noKey     map[recordID]bool // the target refuses none of these as a duplicate
}

func (m *machine) keyless(batch int) func(int) bool {
	return func(i int) bool { return m.noKey[recordID{batch, i}] }
}

// worker is a process somewhere in its work. Its memory is lost when it dies.
type worker struct {
	what  string // load, settle, resolve, update; "" does nothing
	parts []part // still to be visited
	now   part
	next  string // the step that comes next for now: call, decide, resolve, update
	holds Outcomes
}

type part struct {
	key       Key
	positions []int
}

func newMachine(t *rapid.T) *machine {
	m := &machine{
		store: newMemory(), claimed: map[Key]bool{}, decided: map[Key]Outcomes{}, resolved: map[Key]Outcomes{}, updated: map[Key]Outcomes{},
		calls: map[Key]int{}, ours: map[recordID]int{}, strangers: map[recordID]bool{}, noKey: map[recordID]bool{},
	}
	m.ledger = New(m.store)
	m.sizes = rapid.SliceOfN(rapid.IntRange(1, 5), 1, 3).Draw(t, "batch sizes")
	for range rapid.IntRange(1, 4).Draw(t, "workers") {
		m.workers = append(m.workers, &worker{})
	}
	for b, size := range m.sizes {
		for i := range size {
			switch rapid.IntRange(0, 6).Draw(t, "stranger, or keyless") {
			case 0:
				m.strangers[recordID{b + 1, i}] = true
			case 1, 2:
				m.noKey[recordID{b + 1, i}] = true
			}
		}
	}
	return m
}

func (m *machine) worker(t *rapid.T, wanted func(*worker) bool) *worker {
	var fit []*worker
	for _, w := range m.workers {
		if wanted(w) {
			fit = append(fit, w)
		}
	}
	if len(fit) == 0 {
		t.Skip("no worker for it")
	}
	return rapid.SampledFrom(fit).Draw(t, "worker")
}

func idle(w *worker) bool { return w.what == "" }
func busy(w *worker) bool { return w.what != "" }

func (m *machine) start(t *rapid.T, what string) {
	w := m.worker(t, idle)
	batch := rapid.IntRange(1, len(m.sizes)).Draw(t, "batch")
	in, err := m.ledger.InRound(ctx, m.round, batch, m.sizes[batch-1], m.keyless(batch))
	must(t, err)
	p := part{key: Key{Round: m.round, Batch: batch}}
	for i := range in {
		if in[i] {
			p.positions = append(p.positions, i)
		}
	}
	if len(p.positions) == 0 {
		t.Skip("the batch is not in the round")
	}
	*w = worker{what: what, parts: []part{p}}
}

func (m *machine) startLoad(t *rapid.T)   { m.start(t, "load") }
func (m *machine) startSettle(t *rapid.T) { m.start(t, "settle") }

func (m *machine) startResolve(t *rapid.T) {
	w := m.worker(t, idle)
	batch := rapid.IntRange(1, len(m.sizes)).Draw(t, "batch")
	records, counts, status, err := m.ledger.Round(ctx, m.round, batch, m.sizes[batch-1])
	must(t, err)
	if counts.Duplicate == 0 || status != Settled {
		t.Skip("nothing to resolve")
	}
	b := NewOutcomes(len(records))
	for i, r := range records {
		if r.Outcome != Duplicate {
			continue
		}
		id := recordID{batch, i}
		_, ours := m.ours[id]
		switch {
		case rapid.IntRange(0, 3).Draw(t, "invisible") == 0:
			b.Unknown(i, "timeout")
		case ours:
			b.Recovered(i, uuid(id))
		case rapid.Bool().Draw(t, "delta migration"):
			b.Duplicate(i, "duplicate")
		default:
			b.Failed(i, "duplicate")
		}
	}
	*w = worker{what: "resolve", next: "resolve", now: part{key: Key{Round: m.round, Batch: batch}}, holds: b.Outcomes(false, "")}
}

// startUpdate decides what became of the duplicates of a batch that are not
// updated yet, as far as one worker knows.
func (m *machine) startUpdate(t *rapid.T) {
	w := m.worker(t, idle)
	batch := rapid.IntRange(1, len(m.sizes)).Draw(t, "batch")
	records, err := m.ledger.After(ctx, m.round, batch, m.sizes[batch-1])
	must(t, err)
	b := NewOutcomes(len(records))
	for i, r := range records {
		if r.Outcome != Duplicate {
			continue
		}
		switch rapid.IntRange(0, 2).Draw(t, "update") {
		case 0:
			b.Updated(i)
		case 1:
			b.Unchanged(i)
		default:
			b.Failed(i, "refused")
		}
	}
	if o := b.Outcomes(false, ""); o.Updates().Records() > 0 {
		*w = worker{what: "update", next: "update", now: part{key: Key{Round: m.round, Batch: batch}}, holds: o}
		return
	}
	t.Skip("nothing to update")
}

func uuid(id recordID) string { return fmt.Sprintf("uuid %d/%d", id.batch, id.position) }

// crash ends a worker wherever it is: what it had not written is lost.
func (m *machine) crash(t *rapid.T) { *m.worker(t, busy) = worker{} }

func (m *machine) stepOne(t *rapid.T) { m.step(t, m.worker(t, busy)) }

// step is one access to the store, or the call.
func (m *machine) step(t *rapid.T, w *worker) {
	switch w.next {
	case "call":
		m.call(t, w)
	case "decide":
		m.decide(t, w)
	case "resolve":
		held, won, err := m.ledger.Decide(ctx, ByLookup, w.now.key, w.holds)
		m.judge(t, m.resolved, w, held, won, err)
		*w = worker{}
	case "update":
		held, won, err := m.ledger.DecideAnswer(ctx, ByUpdate, w.now.key, w.holds)
		m.judge(t, m.updated, w, held, won, err)
		*w = worker{}
	default:
		m.visit(t, w)
	}
}

// visit reads the next part, and claims it if it is unclaimed.
func (m *machine) visit(t *rapid.T, w *worker) {
	if len(w.parts) == 0 {
		*w = worker{}
		return
	}
	w.now, w.parts = w.parts[0], w.parts[1:]
	held, err := m.ledger.Decided(ctx, ByCall, w.now.key)
	known, wasDecided := m.decided[w.now.key]
	switch {
	case err == nil && (!wasDecided || !reflect.DeepEqual(held, known)):
		t.Fatalf("%+v: Decided gives %+v, first decided was %+v", w.now.key, held, known)
	case err == nil:
		w.descend(held)
		return
	case !errors.Is(err, ErrNotFound) || wasDecided:
		t.Fatalf("%+v: Decided: %v, and %+v was decided", w.now.key, err, known)
	}
	if w.what == "settle" {
		_, err := m.ledger.ClaimOf(ctx, w.now.key)
		if claimed := err == nil; claimed != m.claimed[w.now.key] {
			t.Fatalf("%+v: ClaimOf: %v, claimed: %v", w.now.key, err, m.claimed[w.now.key])
		}
		if err == nil {
			w.holdUnknown(m.sizes)
		}
		return
	}
	err = m.ledger.Claim(ctx, w.now.key, Claim{Clock: "a clock"})
	switch {
	case err == nil && m.claimed[w.now.key]:
		t.Fatalf("%+v was claimed twice", w.now.key)
	case err == nil:
		m.claimed[w.now.key] = true
		w.next = "call"
	case !errors.Is(err, ErrClaimed) || !m.claimed[w.now.key]:
		t.Fatalf("%+v: Claim: %v, claimed: %v", w.now.key, err, m.claimed[w.now.key])
	default: // the holder of the claim may have called
		w.holdUnknown(m.sizes)
	}
}

func (w *worker) holdUnknown(sizes []int) {
	b := NewOutcomes(sizes[w.now.key.Batch-1])
	for _, i := range w.now.positions {
		b.Unknown(i, "timeout")
	}
	w.next, w.holds = "decide", b.Outcomes(true, "claimed, and no outcome")
}

// descend continues with the halves of a part that was refused as too large.
func (w *worker) descend(held Outcomes) {
	if held.Split {
		one, two := w.now.key.Halves()
		first, second := held.Halves(w.now.positions)
		w.parts = append([]part{{one, first}, {two, second}}, w.parts...)
	}
}

// call is the target.
func (m *machine) call(t *rapid.T, w *worker) {
	key := w.now.key
	if m.calls[key]++; m.calls[key] > 1 {
		t.Fatalf("%+v was called for %d times", key, m.calls[key])
	}
	b := NewOutcomes(m.sizes[key.Batch-1])
	answer := rapid.SampledFrom([]string{"answered", "lost", "too large", "too large, says a gateway", "not sent"}).Draw(t, "answer")
	switch {
	case answer == "not sent":
		m.calls[key]--
		for _, i := range w.now.positions {
			b.Unknown(i, "not sent")
		}
		w.next, w.holds = "decide", b.Outcomes(false, "not sent")
		w.holds.Unwritten = true
		return
	case answer == "too large" && len(w.now.positions) > 1:
		w.next, w.holds = "decide", Outcomes{Split: true, Sent: true}
		return
	case answer == "too large, says a gateway" && len(w.now.positions) > 1:
		for _, i := range w.now.positions {
			if id := (recordID{key.Batch, i}); m.noKey[id] {
				m.write(t, id, key.Round)
				b.Unknown(i, "too large")
			}
		}
		w.next, w.holds = "decide", b.Outcomes(true, "too large")
		w.holds.Split = true
		return
	}
	for _, i := range w.now.positions {
		id := recordID{key.Batch, i}
		_, there := m.ours[id]
		there = there && !m.noKey[id] || m.strangers[id]
		write := rapid.Bool().Draw(t, "write")
		if write && !there {
			m.write(t, id, key.Round)
		}
		switch {
		case answer == "lost":
			b.Unknown(i, "timeout")
		case there:
			b.Duplicate(i, "duplicate")
		case write:
			b.Created(i, uuid(id))
		default:
			b.Failed(i, "refused")
		}
	}
	w.next, w.holds = "decide", b.Outcomes(true, "")
}

// write holds that no record is written twice.
func (m *machine) write(t *rapid.T, id recordID, round int) {
	if before, written := m.ours[id]; written {
		t.Fatalf("record %+v is written in round %d, and was in round %d", id, round, before)
	}
	m.ours[id] = round
}

func (m *machine) decide(t *rapid.T, w *worker) {
	held, won, err := m.ledger.Decide(ctx, ByCall, w.now.key, w.holds)
	m.judge(t, m.decided, w, held, won, err)
	w.next = ""
	w.descend(held)
}

// judge checks that the first writer wins, and that the others get what it wrote.
func (m *machine) judge(t *rapid.T, first map[Key]Outcomes, w *worker, held Outcomes, won bool, err error) {
	before, late := first[w.now.key]
	if err != nil || won == late {
		t.Fatalf("%s %+v: won %v, %v; decided before: %v", w.next, w.now.key, won, err, late)
	}
	if late && !reflect.DeepEqual(held, before) {
		t.Fatalf("%s %+v: held is %+v, first decided was %+v", w.next, w.now.key, held, before)
	}
	if !late {
		if !reflect.DeepEqual(held, w.holds) {
			t.Fatalf("%s %+v: held is %+v, want what was written: %+v", w.next, w.now.key, held, w.holds)
		}
		first[w.now.key] = w.holds
	}
}

// advance begins the next round, when the present one is over. Workers of the
// old one may still be on their way.
func (m *machine) advance(t *rapid.T) {
	if m.round == lastRound {
		t.Skip("that was the last round")
	}
	for b, size := range m.sizes {
		in, err := m.ledger.InRound(ctx, m.round, b+1, size, m.keyless(b+1))
		must(t, err)
		_, counts, status, err := m.ledger.Round(ctx, m.round, b+1, size)
		must(t, err)
		_, isResolved := m.resolved[Key{Round: m.round, Batch: b + 1}]
		if strings.Contains(marks(in), "x") && status != Settled || counts.Duplicate > 0 && !isResolved {
			t.Skip("the round has not ended")
		}
	}
	m.round++
}

// bare is what the calls of a round said of a record, by the model.
func (m *machine) bare(t *rapid.T, round int, id recordID) Outcome {
	bare, said := None, Key{}
	for key, o := range m.decided {
		if key.Round != round || key.Batch != id.batch || o.Letters == "" || Outcome(o.Letters[id.position]) == None {
			continue
		}
		if bare != None {
			t.Fatalf("record %+v has two outcomes in round %d: in %+v and %+v", id, round, said, key)
		}
		bare, said = Outcome(o.Letters[id.position]), key
	}
	return bare
}

// after is what is known of a record after a round, by the model.
func (m *machine) after(t *rapid.T, round int, id recordID) Outcome {
	known := None
	for r := range round + 1 {
		outcome := m.bare(t, r, id)
		if outcome == Duplicate {
			outcome = Unknown
			if o, ok := m.resolved[Key{Round: r, Batch: id.batch}]; ok {
				outcome = Outcome(o.Letters[id.position])
			}
		}
		if outcome != None {
			known = outcome
		}
	}
	for r := 0; r <= round && known == Duplicate; r++ {
		if o, ok := m.updated[Key{Round: r, Batch: id.batch}]; ok && Outcome(o.Letters[id.position]) != None {
			known = Outcome(o.Letters[id.position])
		}
	}
	return known
}

// check compares ledger, model and target.
func (m *machine) check(t *rapid.T) {
	for b, size := range m.sizes {
		for round := range m.round + 1 {
			records, err := m.ledger.After(ctx, round, b+1, size)
			must(t, err)
			in, err := m.ledger.InRound(ctx, round+1, b+1, size, m.keyless(b+1))
			must(t, err)
			bare, counts, status, err := m.ledger.Round(ctx, round, b+1, size)
			must(t, err)
			var want Counts
			var letters, modelled []byte
			for i := range size {
				id := recordID{b + 1, i}
				letters, modelled = append(letters, byte(records[i].Outcome)), append(modelled, byte(m.after(t, round, id)))
				if in[i] != (records[i].Outcome == Unknown && (!m.noKey[id] || m.unwritten(round, id))) {
					t.Fatalf("record %+v is %q after round %d; in the next: %v", id, records[i].Outcome, round, in[i])
				}
				outcome := m.bare(t, round, id)
				if bare[i].Outcome != outcome {
					t.Fatalf("record %+v is %q in round %d, want %q", id, bare[i].Outcome, round, outcome)
				}
				switch outcome {
				case Created:
					want.Created++
				case Duplicate:
					want.Duplicate++
				case Failed:
					want.Failed++
				case Unknown:
					want.Unknown++
				}
				m.checkTruth(t, id, records[i])
			}
			if !bytes.Equal(letters, modelled) {
				t.Fatalf("batch %d after round %d: %q, want %q", b+1, round, letters, modelled)
			}
			want.Calls = counts.Calls
			if counts != want {
				t.Fatalf("batch %d, round %d: counts %+v, want %+v", b+1, round, counts, want)
			}
			if made := m.callsOf(round, b+1); status == Settled && counts.Calls < made {
				t.Fatalf("batch %d, round %d: %d calls are counted, %d were made", b+1, round, counts.Calls, made)
			}
		}
	}
}

// unwritten says whether the last round that a record was in sent nothing of it.
func (m *machine) unwritten(round int, id recordID) (unwritten bool) {
	for r := range round + 1 {
		for key, o := range m.decided {
			if key.Round == r && key.Batch == id.batch && o.Letters != "" && Outcome(o.Letters[id.position]) != None {
				unwritten = o.Unwritten
			}
		}
	}
	return unwritten
}

func (m *machine) callsOf(round, batch int) (calls int) {
	for key, n := range m.calls {
		if key.Round == round && key.Batch == batch {
			calls += n
		}
	}
	return calls
}

// checkTruth holds that the ledger never says what is not so.
func (m *machine) checkTruth(t *rapid.T, id recordID, r Record) {
	round, ours := m.ours[id]
	switch r.Outcome {
	case Created:
		if !ours || round != r.Round || r.UUID != uuid(id) {
			t.Fatalf("record %+v: the ledger says %+v; ours %v, written in round %d", id, r, ours, round)
		}
	case Recovered:
		if !ours || round >= r.Round || r.UUID != uuid(id) {
			t.Fatalf("record %+v: the ledger says %+v; ours %v, written in round %d", id, r, ours, round)
		}
	case Duplicate, Failed, Updated, Unchanged:
		if ours {
			t.Fatalf("record %+v: the ledger says %+v, and round %d wrote it", id, r, round)
		}
	}
}

// end is a stop: all workers have ended, and the open claims are settled. Then
// every record is somewhere.
func (m *machine) end(t *rapid.T) {
	for b, size := range m.sizes {
		in, err := m.ledger.InRound(ctx, m.round, b+1, size, m.keyless(b+1))
		must(t, err)
		p := part{key: Key{Round: m.round, Batch: b + 1}}
		for i := range in {
			if in[i] {
				p.positions = append(p.positions, i)
			}
		}
		w := &worker{what: "settle", parts: []part{p}}
		for w.what != "" {
			m.step(t, w)
		}
		records, err := m.ledger.After(ctx, m.round, b+1, size)
		must(t, err)
		for i, r := range records {
			id := recordID{b + 1, i}
			if _, ours := m.ours[id]; ours && r.Outcome == None {
				t.Fatalf("record %+v is in the target, and the ledger says that it was never attempted", id)
			}
		}
	}
	m.check(t)
}
