package check

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// outcomes compares the artifacts with what the target holds, uuid by uuid.
func (c *checker) outcomes() {
	h := c.holdings()
	for _, r := range c.records {
		if isSuccess(r) {
			c.succeeded(h, r)
		}
	}
	c.unaccounted(h)
	c.refusals(h)
	c.twice()
}

// holdings is what the target has, by key, and which success of the input has which of it.
type holdings struct {
	uuids     map[string][]string // of all records, by key
	before    map[string]bool     // keys that the target had before the migration
	strangers map[string]bool     // keys with which somebody else has registered since
	holder    map[string]*record  // by uuid
}

func (c *checker) holdings() *holdings {
	h := &holdings{uuids: map[string][]string{}, before: map[string]bool{}, strangers: map[string]bool{}, holder: map[string]*record{}}
	for _, uuid := range c.uuids() {
		a := c.target[uuid]
		if a.key == "" {
			continue
		}
		h.uuids[a.key] = append(h.uuids[a.key], uuid)
		switch {
		case a.isStranger:
			h.strangers[a.key] = true
		case !a.isOurs && c.m.Emails != "shared":
			h.before[a.key] = true
		}
	}
	return h
}

func isSuccess(r *record) bool { return r.how == "created" || r.how == "recovered" }

// succeeded checks that the record of a success is the one that has its uuid.
func (c *checker) succeeded(h *holdings, r *record) {
	if r.uuid == "" && r.how == "recovered" && !h.before[r.key] {
		// By the target's refusal alone: it must be there all the same.
		if uuids := h.uuids[r.key]; len(uuids) == 0 {
			c.tell(TrueOutcome, "line %d is recovered, and nothing with its email was ever written", r.line)
		} else {
			c.hold(h, r, uuids[0])
		}
		return
	}
	a := c.target[r.uuid]
	isAnothers := a != nil && (a.key != r.key || r.key == "" && c.identity(a.key, a.values) != c.identityOf(r))
	switch {
	case h.before[r.key]:
		c.tell(Proven, "line %d is %s, and a record with its email existed before", r.line, r.how)
	case a == nil:
		c.tell(TrueOutcome, "line %d is %s with the uuid %q, which no call of the migration wrote", r.line, r.how, r.uuid)
	case !a.isOurs && (c.m.Mark != nil || !c.isNamesake(a, r)):
		c.tell(Proven, "line %d is %s with the uuid %s, which is a stranger's", r.line, r.how, r.uuid)
	case isAnothers && a.fault == "wrong-order":
		r.misplaced = true
		c.hold(h, r, r.uuid)
	case isAnothers:
		c.tell(TrueOutcome, "line %d is %s with the uuid %s, which is that of another record", r.line, r.how, r.uuid)
	case c.m.Mark != nil && a.values["mark"] != c.m.Mark(r.number):
		c.tell(Proven, "line %d is %s with the uuid %s, which does not have its mark", r.line, r.how, r.uuid)
	default:
		a.isTaken = !a.isOurs
		c.hold(h, r, r.uuid)
	}
}

func (c *checker) hold(h *holdings, r *record, uuid string) {
	if other := h.holder[uuid]; other != nil {
		c.tell(TrueOutcome, "lines %d and %d are both successes with the uuid %s", other.line, r.line, uuid)
	}
	h.holder[uuid] = r
}

// unaccounted checks that each record that the migration wrote is a success or unknown.
func (c *checker) unaccounted(h *holdings) {
	unknown := map[string]int{}
	for _, r := range c.records {
		if r.how == "unknown" {
			unknown[c.accounted(r.key, c.identityOf(r))]++
		}
	}
	for _, uuid := range c.uuids() {
		a := c.target[uuid]
		if !a.isOurs || h.holder[uuid] != nil || a.byGateway || c.m.Later {
			continue
		}
		as := c.accounted(a.key, c.identity(a.key, a.values))
		if unknown[as]--; unknown[as] < 0 {
			c.tell(TrueOutcome, "the target has %s (record %d of call %d), and it is neither a success nor unknown", uuid, a.index, a.seq)
		}
	}
}

// refusals checks that what failed as a duplicate is one, and that what existed before failed for that.
func (c *checker) refusals(h *holdings) {
	ours := map[string]bool{} // keys of successes and of unknown records
	for _, r := range c.records {
		ours[r.key] = ours[r.key] || isSuccess(r) || r.how == "unknown"
	}
	for _, r := range c.records {
		if r.how != "failed" {
			continue
		}
		isDuplicate := c.isDuplicate(r)
		switch {
		case isDuplicate && (r.key == "" || len(h.uuids[r.key]) == 0):
			c.tell(TrueOutcome, "line %d failed as a duplicate, and the target never had its email", r.line)
		case isDuplicate && !h.before[r.key] && !h.strangers[r.key] && !ours[r.key]:
			c.tell(TrueOutcome, "line %d failed as a duplicate; its email did not exist before, nobody else registered with it, and no other record of the input is a success with it", r.line)
		case !isDuplicate && h.before[r.key] && c.inEveryWay(r) && !r.byUpdate && !(c.isDelta() && isTwice(r.error)):
			c.tell(TrueOutcome, "line %d existed before, and failed with %q", r.line, r.error)
		}
	}
}

// inEveryWay reports whether the record has a value for each column, so that nothing
// but the target can have refused it for its form.
func (c *checker) inEveryWay(r *record) bool { return len(r.fields) == len(c.input.header) }

func (c *checker) isDuplicate(r *record) bool {
	return strings.Contains(r.error, cmp.Or(c.m.Duplicate, "Attempted to update a duplicate value"))
}

// content checks that the records in the target say what the input says, by
// the columns that no transform touches.
func (c *checker) content() {
	plain := map[string]int{}
	for i, name := range c.input.header {
		if slices.Contains([]string{"email", "givenName", "familyName", "displayName"}, name) {
			plain[name] = i
		}
	}
	sameKey := map[string]int{}
	byUUID := map[string]*record{}
	for _, r := range c.records {
		sameKey[r.key]++
		if r.uuid != "" {
			byUUID[r.uuid] = r
		}
	}
	for _, call := range c.truth {
		if !c.isOurs(call) {
			continue
		}
		for i, w := range call.Written {
			r := byUUID[w.UUID]
			// Of records with the same key the earliest gets a lost one, and
			// it may be the other that was written.
			if r == nil || sameKey[r.key] > 1 || r.misplaced {
				continue
			}
			if i >= len(call.Entities) {
				c.tell(InputFixed, "call %d wrote %d records, and the log holds %d", call.Seq, len(call.Written), len(call.Entities))
				break
			}
			var stored map[string]any
			if err := json.Unmarshal(call.Entities[i], &stored); err != nil {
				c.tell(InputFixed, "call %d: %v", call.Seq, err)
				continue
			}
			for name, column := range plain {
				if column >= len(r.fields) {
					continue
				}
				got, _ := stored[name].(string)
				want := r.fields[column]
				if name == "email" && c.m.LowerCase {
					want = strings.ToLower(want)
				}
				if got != want {
					c.tell(InputFixed, "line %d, column %s: the target has %q, the input %q", r.line, name, got, want)
				}
			}
		}
	}
}

// repeats checks from the truth log alone that no record was sent more often
// than it was in a round.
func (c *checker) repeats() {
	allowed, sent := map[string]int{}, map[string]int{}
	for _, r := range c.records {
		if r.how != "remaining" {
			allowed[r.logged()] += r.loaded
		}
	}
	calls := 0
	for _, call := range c.truth {
		if !c.isOurs(call) || call.isRepeated() {
			continue
		}
		calls++
		if (call.TookNone || call.Code != 0 && call.Code < 400 && call.Fault == "") && len(call.Written) == 0 {
			continue // the target said that it took none of them: sending them in halves is not a blind repetition
		}
		if call.Status == http.StatusRequestEntityTooLarge {
			continue // halves may be sent: the target refuses again what was written; see twice for what it cannot refuse
		}
		for _, key := range call.Keys {
			sent[key]++
		}
	}
	for key, n := range sent {
		if key != "" && n > allowed[key] && !c.m.Later {
			c.tell(NoBlindRepeat, "a record was in %d calls, and in %d rounds (line %s)", n, allowed[key], c.lines(func(r *record) bool { return r.logged() == key }))
		}
	}
	told := 0
	for _, round := range c.summary.Rounds {
		told += round.Calls
	}
	if calls > told && !c.m.Later {
		c.tell(NoBlindRepeat, "%d calls reached the target, the rounds had %d", calls, told)
	}
}

// lines are those of the records for which something holds, for a message.
func (c *checker) lines(holds func(*record) bool) string {
	var lines []string
	for _, r := range c.records {
		if holds(r) {
			lines = append(lines, strconv.Itoa(r.line))
		}
	}
	return strings.Join(lines, ", ")
}

// claims checks, with the times of the claims, that each was followed by at
// most one call for its batch.
func (c *checker) claims() error {
	if c.m.Ledger == "" {
		return nil
	}
	claims, err := readClaims(c.m.Ledger)
	if err != nil {
		return err
	}
	batchOf := map[string]int{}
	for _, r := range c.records {
		if _, repeated := batchOf[r.logged()]; repeated {
			batchOf[r.logged()] = 0
			continue
		}
		batchOf[r.logged()] = r.batch
	}
	calls := map[claim][]int64{}
	arrived := map[int]int{} // calls of a batch
	byArrival := slices.SortedStableFunc(slices.Values(c.truth), func(a, b call) int { return a.Received.Compare(b.Received) })
	for _, call := range byArrival {
		if !c.isOurs(call) || call.isRepeated() {
			continue
		}
		batch := 0
		for _, key := range call.Keys {
			if b := batchOf[key]; b > 0 {
				if batch > 0 && b != batch {
					c.tell(NoBlindRepeat, "call %d holds records of the batches %d and %d", call.Seq, batch, b)
				}
				batch = b
			}
		}
		if batch == 0 {
			continue // the body was not read, or its records cannot be distinguished
		}
		arrived[batch]++
		var last claim
		earlier := 0
		for _, claim := range claims[batch] {
			if claim.halves {
				last = claim
				break
			}
			if claim.at.After(call.Received) {
				continue
			}
			earlier++
			if claim.at.After(last.at) {
				last = claim
			}
		}
		switch {
		case last.halves:
		case c.m.Late:
			// Calls can be given to claims, one each, exactly if there are
			// never fewer claims than calls.
			if earlier < arrived[batch] {
				c.tell(NoBlindRepeat, "call %d is the %d. of batch %d, which was claimed %d times until then", call.Seq, arrived[batch], batch, earlier)
			}
		case last.at.IsZero():
			c.tell(NoBlindRepeat, "call %d, of batch %d, was not claimed before it was received", call.Seq, batch)
		default:
			calls[last] = append(calls[last], call.Seq)
		}
	}
	for claim, seqs := range calls {
		if len(seqs) > 1 {
			c.tell(NoBlindRepeat, "batch %d, round %d: the calls %v came under one claim", claim.batch, claim.round, seqs)
		}
	}
	return nil
}

type claim struct {
	round, batch int
	at           time.Time
	halves       bool // the batch was cut: not followed here
}

var claimName = regexp.MustCompile(`^(\d+)(-[01]+)?\.claim$`)

func readClaims(dir string) (map[int][]claim, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*", "*", "*.claim"))
	if err != nil {
		return nil, err
	}
	claims := map[int][]claim{}
	for _, path := range paths {
		name := claimName.FindStringSubmatch(filepath.Base(path))
		if name == nil {
			continue
		}
		round, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		if err != nil {
			return nil, fmt.Errorf("%s: expected the number of a round: %w", path, err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var content struct {
			At time.Time `json:"at"`
		}
		if err := json.Unmarshal(data, &content); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		batch, _ := strconv.Atoi(name[1])
		claims[batch] = append(claims[batch], claim{round, batch, content.At, name[2] != ""})
	}
	return claims, nil
}

// Moments are the times at which calls arrived.
type Moments []time.Time

// Arrivals returns the times at which the calls to an endpoint arrived at the
// sandbox, in order; of all calls if endpoint is "".
func Arrivals(truth, endpoint string, after int64) (Moments, error) {
	calls, err := readTruth(truth)
	if err != nil {
		return nil, err
	}
	var m Moments
	for _, call := range calls {
		if call.Seq > after && (endpoint == "" || call.Endpoint == endpoint) {
			m = append(m, call.Received)
		}
	}
	slices.SortFunc(m, time.Time.Compare)
	return m, nil
}

// Most is the largest number of arrivals within any window of this length.
func (m Moments) Most(window time.Duration) (most int, from time.Time) {
	first := 0
	for i := range m {
		for m[i].Sub(m[first]) >= window {
			first++
		}
		if i-first+1 > most {
			most, from = i-first+1, m[first]
		}
	}
	return most, from
}

// Average is how many arrivals a second there were, from the first to the last.
func (m Moments) Average() float64 {
	if len(m) < 2 {
		return 0
	}
	return float64(len(m)-1) / m[len(m)-1].Sub(m[0]).Seconds()
}

// InFlight is the largest number of bulkCreate calls that the sandbox worked on
// at one moment.
func InFlight(truth string) (int, error) {
	calls, err := readTruth(truth)
	if err != nil {
		return 0, err
	}
	type edge struct {
		at    time.Time
		delta int
	}
	var edges []edge
	for _, call := range calls {
		if call.Endpoint == "entity.bulkCreate" {
			edges = append(edges, edge{call.Received, 1}, edge{call.Committed, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if d := a.at.Compare(b.at); d != 0 {
			return d
		}
		return a.delta - b.delta
	})
	now, most := 0, 0
	for _, e := range edges {
		now += e.delta
		most = max(most, now)
	}
	return most, nil
}

// Calls is the number of calls to an endpoint in the log, and the sequence
// number of its last line. A log that is not there yet has none.
func Calls(truth, endpoint string) (n int, last int64, err error) {
	calls, err := readTruth(truth)
	if errors.Is(err, os.ErrNotExist) {
		return 0, 0, nil
	}
	for _, call := range calls {
		if call.Endpoint == endpoint {
			n++
		}
		last = call.Seq
	}
	return n, last, err
}
