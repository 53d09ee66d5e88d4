// Package check verifies from outside that a migration kept its guarantees. It
// shares only file formats with the program: it reads the input, the artifacts
// that a summary names, the claims of the ledger, and the log of what the sandbox
// really wrote, and reports each invariant of DESIGN.md that is broken.
package check

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Migration says where everything is.
type Migration struct {
	Input   string // the CSV file as it was when the migration began
	Comma   rune   // separates its fields, and those of the files of raw records; 0 means a comma
	Summary string // summary_*.json; the other artifacts are beside it
	Truth   string // the sandbox's truth.jsonl
	// Before is the last call in the truth log that is not the migration's: the
	// records that those calls wrote existed before.
	Before int64
	// Ledger is the folder of the ledger, a second witness of what was sent
	// when. Empty: it is not asked.
	Ledger string
	// Undo is the folder of what updated records were. Empty: it is not looked
	// at, as it cannot be where it is encrypted.
	Undo      string
	BatchSize int
	StartAt   int // record number of the first record that was to be loaded; 0 means 1
	// Emails is the rule of the sandbox for emails: folded, the default, exact or
	// shared.
	Emails string
	// Mark is the mark of the record with a number in the target, which nothing else has; nil if the target has no marks.
	Mark func(number int) string
	// Duplicate is in what the target says of a record that it has already; "" means what the sandbox says.
	Duplicate string
	// LowerCase says that the target keeps emails in lower case.
	LowerCase bool
	// Later says that the log may hold calls that came after the summary: of a
	// worker that slept.
	Later bool
	// Late says that calls may arrive long after they were made, of a worker
	// that slept or through a slow network: then a call may belong to any
	// earlier claim of its batch, and not only to the last one.
	Late bool
}

// The invariants, by their numbers in DESIGN.md, section 3.
const (
	OneDisposition = "1, every record has one disposition"
	TrueOutcome    = "1, a disposition is what really happened"
	AddsUp         = "1, the summary adds up"
	NoBlindRepeat  = "2, no write is repeated blindly"
	DecidedOnce    = "3, an outcome is decided once"
	SameBytes      = "4, artifacts are a function of input and ledger"
	Private        = "5, user data is for the owner only"
	NothingPrivate = "5, no user data and no secret in Temporal and logs"
	InputFixed     = "6, what is written is what the input says"
	InputChanged   = "6, the input does not change under a run"
	RateHolds      = "7, the rate limit holds"
	Proven         = "10, ours means proven"
	BytesKept      = "12, bytes are kept"
	Undone         = "a rollback deletes what the migration made"
	VerifyFinds    = "what a target put in a wrong order, verify finds"
	// Undoable is not in DESIGN.md: nothing is changed whose previous value is
	// not kept.
	Undoable = "of updates, what a record was is kept"
)

// Broken is an invariant that does not hold, and where that is seen.
type Broken struct {
	Invariant string
	What      string
}

func (b Broken) String() string { return "invariant " + b.Invariant + ": " + b.What }

// Check returns the broken invariants; none if the migration kept its guarantees. The
// error means that something cannot be read.
func Check(m Migration) ([]Broken, error) {
	c := &checker{m: m, dir: filepath.Dir(m.Summary), told: map[string]int{}}
	if err := c.read(); err != nil {
		return nil, err
	}
	c.numbers()
	if err := c.places(); err != nil {
		return nil, err
	}
	c.retryFiles()
	c.rounds()
	if err := c.accounts(); err != nil {
		return nil, err
	}
	c.outcomes()
	c.others()
	c.content()
	c.repeats()
	if err := c.updates(); err != nil {
		return nil, err
	}
	if err := c.claims(); err != nil {
		return nil, err
	}
	return c.broken, nil
}

type checker struct {
	m       Migration
	dir     string
	input   *table
	records []*record // those that were to be loaded
	byLine  map[int]*record
	summary summary
	success *table
	fail    *table
	truth   []call
	target  map[string]*account // by uuid
	broken  []Broken
	told    map[string]int
}

// record is one of the input, and where it was found.
type record struct {
	row
	batch  int
	key    string // its email as the target compares it
	email  string
	how    string // created, recovered, updated, unchanged, failed, unknown, remaining; "" if it is nowhere
	uuid   string
	error  string
	round  int
	loaded int // rounds in which it was to be loaded
	// byUpdate says that it is its update that failed.
	byUpdate bool
	// misplaced says that it has the uuid of another record, since the target
	// answered in a wrong order. Nobody can see that in the answer.
	misplaced bool
}

// logged is the record's email as the log of the target has it among the keys of a
// call, whatever the rule for emails is.
func (r *record) logged() string { return strings.ToLower(r.email) }

// enough violations of one kind are listed, the rest are counted.
const enough = 10

func (c *checker) tell(invariant, format string, args ...any) {
	c.told[invariant]++
	if c.told[invariant] <= enough {
		c.broken = append(c.broken, Broken{invariant, fmt.Sprintf(format, args...)})
	}
}

func (c *checker) read() (err error) {
	if c.input, err = readTable(c.m.Input, c.m.Comma); err != nil {
		return err
	}
	if c.summary, err = readSummary(c.m.Summary); err != nil {
		return err
	}
	if c.success, err = readTable(filepath.Join(c.dir, c.summary.Files.Success), ','); err != nil {
		return err
	}
	if c.fail, err = readTable(filepath.Join(c.dir, c.summary.Files.Fail), ','); err != nil {
		return err
	}
	if c.truth, err = readTruth(c.m.Truth); err != nil {
		return err
	}
	email := slices.Index(c.input.header, "email")
	c.byLine = map[int]*record{}
	for i, r := range c.input.rows[max(c.m.StartAt, 1)-1:] {
		found := &record{row: r, loaded: 1}
		if c.m.BatchSize > 0 {
			found.batch = i/c.m.BatchSize + 1
		}
		if email >= 0 && email < len(r.fields) {
			found.email = r.fields[email]
			found.key = c.keyOf(found.email)
		}
		c.records = append(c.records, found)
		c.byLine[r.line] = found
	}
	return nil
}

// numbers checks that the summary is about this input and that its own figures
// fit together.
func (c *checker) numbers() {
	s := c.summary
	if sum := sha256.Sum256(c.input.data); s.SHA256 != hex.EncodeToString(sum[:]) {
		c.tell(InputFixed, "data_sha256 is %s, the input has %x", s.SHA256, sum)
	}
	n := s.Records
	if sum := n.Created + n.Recovered + n.Updated + n.Failed + n.Unknown + n.Remaining; sum != n.Total || n.Total != len(c.records) {
		c.tell(AddsUp, "the dispositions add up to %d, total is %d, the input has %d records", sum, n.Total, len(c.records))
	}
	for _, name := range s.Files.all() {
		info, err := os.Stat(filepath.Join(c.dir, name))
		if err != nil {
			c.tell(AddsUp, "the summary names %s: %v", name, err)
		} else if info.Mode().Perm() != 0o600 {
			c.tell(Private, "%s has mode %v, expected 0600", name, info.Mode().Perm())
		}
	}
}

// places finds every record in the files, and checks that each occurs once, with the
// right numbers and the right bytes.
func (c *checker) places() error {
	c.takeRows(c.success, c.summary.Files.Success, []string{"batch", "line", "uuid", "email", "round", "how"}, func(r *record, fields []string) {
		r.uuid, r.how = fields[2], fields[5]
		c.same(r, "email", fields[3])
		var err error
		if r.round, err = strconv.Atoi(fields[4]); err != nil || r.how != "created" && r.how != "recovered" {
			c.tell(OneDisposition, "line %d is a success with round %q and how %q", r.line, fields[4], fields[5])
		}
	})
	c.takeRows(c.fail, c.summary.Files.Fail, []string{"batch", "line", "email", "error"}, func(r *record, fields []string) {
		r.how, r.error = "failed", fields[3]
		if len(r.fields) == len(c.input.header) || fields[2] != "" {
			// With a field too few or too many no value has a certain column.
			c.same(r, "email", fields[2])
		}
		if r.error == "" {
			c.tell(OneDisposition, "line %d failed without a reason", r.line)
		}
	})
	if err := c.takeUpdates(); err != nil {
		return err
	}
	c.rawFile(c.summary.Files.FailRecords, func(r *record) bool { return r.how == "failed" })
	left := func(r *record) bool { return r.how == "" }
	for _, f := range []struct {
		name *string
		how  string
		want int
	}{{c.summary.Files.Remaining, "remaining", c.summary.Records.Remaining}, {c.summary.Files.Unresolved, "unknown", c.summary.Records.Unknown}} {
		if f.name == nil {
			if f.want > 0 {
				c.tell(OneDisposition, "%d records are %s and no file holds them", f.want, f.how)
			}
			continue
		}
		for _, r := range c.within(*f.name, left) {
			r.how = f.how
		}
		how := f.how
		c.rawFile(*f.name, func(r *record) bool { return r.how == how })
	}
	counts := map[string]int{}
	for _, r := range c.records {
		counts[r.how]++
		if r.how == "" {
			c.tell(OneDisposition, "line %d (record %d, batch %d) is nowhere", r.line, r.number, r.batch)
		}
	}
	counts["updated"] += counts["unchanged"]
	n := c.summary.Records
	for _, f := range []struct {
		how  string
		want int
	}{{"created", n.Created}, {"recovered", n.Recovered}, {"updated", n.Updated}, {"failed", n.Failed}, {"unknown", n.Unknown}, {"remaining", n.Remaining}} {
		if counts[f.how] != f.want {
			c.tell(AddsUp, "the summary says %d %s, the files hold %d", f.want, f.how, counts[f.how])
		}
	}
	return nil
}

// takeRows reads one of our tables. Its rows must be in input order.
func (c *checker) takeRows(t *table, name string, header []string, take func(*record, []string)) {
	if !slices.Equal(t.header, header) {
		c.tell(OneDisposition, "%s has the columns %q, expected %q", name, t.header, header)
		return
	}
	last := 0
	for _, row := range t.rows {
		if len(row.fields) != len(header) {
			c.tell(OneDisposition, "%s, line %d: %d fields, expected %d", name, row.line, len(row.fields), len(header))
			continue
		}
		line, _ := strconv.Atoi(row.fields[1])
		r := c.byLine[line]
		switch {
		case r == nil:
			c.tell(OneDisposition, "%s, line %d: no record of the input begins on line %q", name, row.line, row.fields[1])
			continue
		case r.how != "":
			c.tell(OneDisposition, "line %d is in %s, and it is %s already", line, name, r.how)
			continue
		case line <= last:
			c.tell(OneDisposition, "%s is not in the order of the input: line %d after %d", name, line, last)
		}
		last = line
		if c.m.BatchSize > 0 {
			c.same(r, "batch", row.fields[0])
		}
		take(r, row.fields)
	}
}

func (c *checker) same(r *record, column, got string) {
	want := r.email
	if column == "batch" {
		want = strconv.Itoa(r.batch)
	}
	if got != want {
		c.tell(OneDisposition, "line %d has the %s %q, expected %q", r.line, column, got, want)
	}
}

// within finds the records of a raw file among those of the input that are
// candidates: the same bytes, in the same order.
func (c *checker) within(name string, candidate func(*record) bool) []*record {
	t, err := readTable(filepath.Join(c.dir, name), c.m.Comma)
	if err != nil {
		c.tell(BytesKept, "%v", err)
		return nil
	}
	var found []*record
	next := 0
	for _, row := range t.rows {
		for next < len(c.records) && !(candidate(c.records[next]) && bytes.Equal(c.records[next].raw, row.raw)) {
			next++
		}
		if next == len(c.records) {
			c.tell(BytesKept, "%s, line %d: no record of the input that could be there has these bytes in this order", name, row.line)
			return found
		}
		found = append(found, c.records[next])
		next++
	}
	return found
}

// rawFile checks that a file is the header and the records that belong in it,
// byte for byte.
func (c *checker) rawFile(name string, belongs func(*record) bool) {
	got, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil {
		c.tell(BytesKept, "%v", err)
		return
	}
	want := slices.Clone(c.input.headerRaw)
	for _, r := range c.records {
		if belongs(r) {
			want = append(want, r.raw...)
		}
	}
	if at := firstDifference(got, want); at >= 0 {
		c.tell(BytesKept, "%s has %d bytes, expected %d; it differs from the input's bytes at byte %d", name, len(got), len(want), at)
	}
}

func firstDifference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// retryFiles finds out in which rounds each record was, and checks that what a
// round decided is not loaded again.
func (c *checker) retryFiles() {
	rounds := c.summary.Rounds
	inRound := map[*record]int{} // the last round that the record was in
	for _, r := range c.records {
		inRound[r] = 0
	}
	var listed []string
	for i, round := range rounds {
		if round.Round != i {
			c.tell(AddsUp, "round %d is called %d", i, round.Round)
		}
		if round.RetryFile == nil {
			if i < len(rounds)-1 {
				c.tell(AddsUp, "round %d has no retry file and round %d was loaded", i, i+1)
			}
			continue
		}
		listed = append(listed, *round.RetryFile)
		if i == len(rounds)-1 {
			continue // it was not loaded
		}
		for _, r := range c.within(*round.RetryFile, func(r *record) bool { return inRound[r] == i }) {
			inRound[r] = i + 1
			r.loaded++
		}
		in := i + 1
		c.rawFile(*round.RetryFile, func(r *record) bool { return inRound[r] >= in })
	}
	if u := c.summary.Files.Unresolved; u != nil && !slices.Contains(listed, *u) {
		listed = append(listed, *u) // some records of the last file, which was not loaded, are known meanwhile
	}
	if !slices.Equal(listed, c.summary.Files.Retry) {
		c.tell(AddsUp, "files.retry is %q, the rounds name %q", c.summary.Files.Retry, listed)
	}
	for _, r := range c.records {
		if (r.how == "created" || r.how == "recovered") && r.round != inRound[r] {
			c.tell(OneDisposition, "line %d is %s in round %d, its last retry file is that of round %d", r.line, r.how, r.round, inRound[r])
		}
	}
}

// rounds checks the figures of each round against the files.
func (c *checker) rounds() {
	for i, round := range c.summary.Rounds {
		created, in := 0, 0
		for _, r := range c.records {
			if r.how == "created" && r.round == i {
				created++
			}
			if r.loaded > i && r.how != "remaining" {
				in++
			}
		}
		if round.Created != created {
			c.tell(AddsUp, "round %d created %d, %s has %d", i, round.Created, c.summary.Files.Success, created)
		}
		sum := round.Created + round.Duplicate + round.Failed + round.Unknown
		last := i == len(c.summary.Rounds)-1
		if sum != in && !(last && i > 0 && sum < in) { // a stop cuts the last round short
			c.tell(AddsUp, "round %d: its figures add up to %d, %d records were in it", i, sum, in)
		}
		if round.Calls < 0 || round.Batches < 0 || c.m.BatchSize > 0 && in > round.Batches*c.m.BatchSize && !last {
			c.tell(AddsUp, "round %d: %d records in %d batches", i, in, round.Batches)
		}
	}
	if len(c.summary.Rounds) == 0 {
		c.tell(AddsUp, "there are no rounds")
	}
}
