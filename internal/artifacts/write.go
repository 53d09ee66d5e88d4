// Package artifacts writes the result files of a migration, for people and
// scripts. They are a function of the input and the ledger: writing them twice
// gives the same bytes. Records are in input order.
package artifacts

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
)

// Record is one record of the input with its outcome.
type Record struct {
	Batch int
	Line  int64
	Email string // or the primary key's value where the file has no email column
	Key   string // the primary key's value; wanted for updated records only
	Raw   []byte
	Aside bool // unknown, and not to be sent again: see ledger.Record.MayBeSent
	ledger.Record
}

// Set are the files of one migration being written. Commit counts their records, and then
// gives all of them their names.
type Set struct {
	files   migration.Files
	success *table
	fail    *table
	updates *table // nil unless it is a delta migration
	unfit   *table // failed updates; likewise
	failed  *rawFile
	unknown *rawFile
	remain  *rawFile
	counts  migration.Counts
	parts   migration.Breakdown // of counts
	reasons *Reasons            // of the failed records
}

// Options are the names and columns of a Set.
type Options struct {
	Dir   string
	Stamp string
	// Header is that of the input: files of raw records begin with it, and have its
	// delimiter.
	Header *source.Header
	// Retry are the names of the retry files of all rounds.
	Retry []string
	// Unresolved is the name of the retry file for the records that are still
	// unknown.
	Unresolved string
	// Updates is the name of the primary key, by which a delta migration finds its
	// records; "" without a delta, which has no files of updates.
	Updates string
}

// NewSet starts to write.
func NewSet(o Options) (_ *Set, err error) {
	s := &Set{files: migration.Files{
		Success:     Name("success", o.Stamp, "csv"),
		Fail:        FailName(o.Stamp),
		FailRecords: Name("fail_records", o.Stamp, "csv"),
		Retry:       o.Retry,
		Report:      Name("report", o.Stamp, "html"),
	}}
	if s.files.Retry == nil {
		s.files.Retry = []string{}
	}
	defer func() {
		if err != nil {
			s.Discard()
		}
	}()
	if s.success, err = newTable(store.Join(o.Dir, s.files.Success), "batch", "line", "uuid", "email", "round", "how"); err != nil {
		return nil, err
	}
	if s.fail, err = newTable(store.Join(o.Dir, s.files.Fail), failColumns...); err != nil {
		return nil, err
	}
	if s.failed, err = newRawFile(store.Join(o.Dir, s.files.FailRecords), o.Header); err != nil {
		return nil, err
	}
	if o.Updates != "" {
		success, fail := Name("update_success", o.Stamp, "csv"), Name("update_fail", o.Stamp, "csv")
		s.files.UpdateSuccess, s.files.UpdateFail = &success, &fail
		if s.updates, err = newTable(store.Join(o.Dir, success), "batch", "line", o.Updates, "how"); err != nil {
			return nil, err
		}
		if s.unfit, err = newTable(store.Join(o.Dir, fail), failColumns...); err != nil {
			return nil, err
		}
	}
	if s.unknown, err = newRawFile(store.Join(o.Dir, o.Unresolved), o.Header); err != nil {
		return nil, err
	}
	if s.remain, err = newRawFile(store.Join(o.Dir, Name("remaining", o.Stamp, "csv")), o.Header); err != nil {
		return nil, err
	}
	s.reasons = newReasons(o.Header)
	return s, nil
}

// Add writes a record into the one file that its disposition names.
func (s *Set) Add(r Record) error {
	s.counts.Total++
	batch, line := strconv.Itoa(r.Batch), strconv.FormatInt(r.Line, 10)
	switch r.Outcome {
	case ledger.Created, ledger.Recovered:
		how := "created"
		if r.Outcome == ledger.Created {
			s.counts.Created++
		} else {
			s.counts.Recovered++
			how = "recovered"
		}
		return s.success.write(batch, line, r.UUID, r.Email, strconv.Itoa(r.Round), how)
	case ledger.Updated, ledger.Unchanged:
		if s.updates == nil {
			break
		}
		s.counts.Updated++
		how := "updated"
		if r.Outcome == ledger.Unchanged {
			s.parts.Unchanged++
			how = "unchanged"
		}
		return s.updates.write(batch, line, r.Key, how)
	case ledger.Failed, ledger.Duplicate:
		s.counts.Failed++
		if r.WasThere() {
			s.parts.Duplicate++
		}
		s.reasons.add(r)
		fail := s.fail
		if r.ByUpdate && s.unfit != nil {
			fail = s.unfit
			s.files.UpdateFailRecords++
		}
		if err := fail.write(failRow(r)...); err != nil {
			return err
		}
		return s.failed.write(r.Raw)
	case ledger.Unknown:
		s.counts.Unknown++
		return s.unknown.write(r.Raw)
	case ledger.None:
		s.counts.Remaining++
		return s.remain.write(r.Raw)
	}
	return fmt.Errorf("line %d has the outcome %q, which has no file", r.Line, r.Outcome)
}

// Reasons are those of the failed records that were added.
func (s *Set) Reasons() *Reasons { return s.reasons }

// Breakdown divides the counts of the records that were added.
func (s *Set) Breakdown() migration.Breakdown {
	parts := s.parts
	parts.Reasons = s.reasons.top(mostReasons)
	return parts
}

// Commit proves that each of total records is in exactly one file, and then gives the files
// their names. When the proof fails, no file gets a name.
func (s *Set) Commit(ctx context.Context, total int) (migration.Counts, migration.Files, error) {
	defer s.Discard()
	if err := s.prove(ctx, total); err != nil {
		return s.counts, s.files, err
	}
	for _, t := range s.tables() {
		if err := t.Commit(ctx); err != nil {
			return s.counts, s.files, err
		}
	}
	if err := s.failed.Commit(ctx); err != nil {
		return s.counts, s.files, err
	}
	// A run that was stopped earlier may have left files of records whose outcome is
	// known by now.
	if unresolved := s.unknown.Name(); s.counts.Unknown == 0 {
		if err := store.Remove(unresolved); err != nil {
			return s.counts, s.files, err
		}
	} else {
		name := store.Base(unresolved)
		s.files.Retry, s.files.Unresolved = append(s.files.Retry, name), &name
		if err := s.unknown.Commit(ctx); err != nil {
			return s.counts, s.files, err
		}
	}
	remaining := s.remain.Name()
	if s.counts.Remaining > 0 {
		name := store.Base(remaining)
		s.files.Remaining = &name
		return s.counts, s.files, s.remain.Commit(ctx)
	}
	return s.counts, s.files, store.Remove(remaining)
}

// tables are the tables of this set.
func (s *Set) tables() (all []*table) {
	for _, t := range []*table{s.success, s.fail, s.updates, s.unfit} {
		if t != nil {
			all = append(all, t)
		}
	}
	return all
}

// Discard drops the files that have no name yet.
func (s *Set) Discard() {
	for _, t := range s.tables() {
		t.Discard()
	}
	for _, f := range []*rawFile{s.failed, s.unknown, s.remain} {
		if f != nil {
			f.Discard()
		}
	}
}

// ErrDoesNotAddUp says that the proof failed: a fault of this program, which is reported
// instead of success.
var ErrDoesNotAddUp = errors.New("the artifacts do not hold every record exactly once")

// prove reads back what was written.
func (s *Set) prove(ctx context.Context, total int) error {
	if s.counts.Total != total || s.counts.Sum() != total {
		return fmt.Errorf("%w: the input has %d records, %d were written", ErrDoesNotAddUp, total, s.counts.Sum())
	}
	lines, err := readBackLines(s.tables()...)
	if err != nil {
		return err
	}
	if want := s.counts.Created + s.counts.Recovered + s.counts.Updated + s.counts.Failed; lines != want {
		return fmt.Errorf("%w: %d lines in the files of successes and failures (%s and so on), expected %d", ErrDoesNotAddUp, lines, s.files.Success, want)
	}
	raw := []struct {
		file *rawFile
		want int
	}{{s.failed, s.counts.Failed}, {s.unknown, s.counts.Unknown}, {s.remain, s.counts.Remaining}}
	for _, r := range raw {
		if r.file == nil {
			continue
		}
		if err := r.file.readBack(ctx, r.want); err != nil {
			return err
		}
	}
	return nil
}

// readBackLines counts the rows of some tables and checks that no line is in them twice. All
// are in the order of lines, so they are merged.
func readBackLines(tables ...*table) (int, error) {
	var rows int
	last := int64(0)
	readers := make([]*rowReader, len(tables))
	for i, t := range tables {
		r, err := t.reader()
		if err != nil {
			return 0, err
		}
		readers[i] = r
	}
	for {
		var next *rowReader
		for _, r := range readers {
			if !r.done && (next == nil || r.line < next.line) {
				next = r
			}
		}
		if next == nil {
			return rows, nil
		}
		if next.line <= last {
			return 0, fmt.Errorf("%w: line %d is there twice", ErrDoesNotAddUp, next.line)
		}
		last = next.line
		rows++
		if err := next.advance(); err != nil {
			return 0, err
		}
	}
}

// table is a CSV file of our own. Values are written unchanged, even if a spreadsheet would
// take them for a formula: scripts match them with the input.
type table struct {
	*store.Writer
	csv *csv.Writer
}

func newTable(path string, header ...string) (*table, error) {
	w, err := store.NewWriter(path)
	if err != nil {
		return nil, err
	}
	t := &table{Writer: w, csv: csv.NewWriter(w)}
	if err := t.write(header...); err != nil {
		w.Discard()
		return nil, err
	}
	return t, nil
}

func (t *table) write(fields ...string) error { return t.csv.Write(fields) }

// flush flushes the CSV writer and the file.
func (t *table) flush() error {
	t.csv.Flush()
	return errors.Join(t.csv.Error(), t.Flush())
}

func (t *table) reader() (*rowReader, error) {
	if err := t.flush(); err != nil {
		return nil, err
	}
	written, err := t.Written()
	if err != nil {
		return nil, err
	}
	r := &rowReader{csv: csv.NewReader(bufio.NewReaderSize(written, 1<<18))}
	r.csv.ReuseRecord = true
	_, err = r.csv.Read() // the header
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrDoesNotAddUp, err)
	} else {
		err = r.advance()
	}
	return r, err
}

type rowReader struct {
	csv  *csv.Reader
	line int64
	done bool
}

func (r *rowReader) advance() error {
	row, err := r.csv.Read()
	if errors.Is(err, io.EOF) {
		r.done = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDoesNotAddUp, err)
	}
	if r.line, err = strconv.ParseInt(row[1], 10, 64); err != nil {
		return fmt.Errorf("%w: %w", ErrDoesNotAddUp, err)
	}
	return nil
}

// rawFile has the header of the input and raw records.
type rawFile struct {
	*store.Writer
	delimiter source.Delimiter
}

func newRawFile(path string, header *source.Header) (*rawFile, error) {
	w, err := store.NewWriter(path)
	if err != nil {
		return nil, err
	}
	f := &rawFile{Writer: w, delimiter: header.Delimiter}
	if _, err := w.Write(header.Raw); err != nil {
		w.Discard()
		return nil, err
	}
	return f, nil
}

func (f *rawFile) write(raw []byte) error {
	_, err := f.Write(raw)
	return err
}

func (f *rawFile) readBack(ctx context.Context, want int) error {
	written, err := f.Written()
	if err != nil {
		return err
	}
	found, err := source.InspectReader(ctx, written, source.InspectOptions{BatchSize: 1000, Delimiter: f.delimiter, Name: store.Base(f.Name()), Own: true})
	var refusal *source.Refusal
	if errors.As(err, &refusal) {
		return fmt.Errorf("%w: %w", ErrDoesNotAddUp, err)
	}
	if err != nil {
		return err
	}
	if int(found.Records) != want {
		return fmt.Errorf("%w: %d records in %s, expected %d", ErrDoesNotAddUp, found.Records, store.Base(f.Name()), want)
	}
	return nil
}

// RetryWriter writes a retry file: the header of the input, and raw records.
type RetryWriter struct{ raw *rawFile }

// NewRetryWriter starts a retry file.
func NewRetryWriter(dir, name string, header *source.Header) (*RetryWriter, error) {
	raw, err := newRawFile(store.Join(dir, name), header)
	return &RetryWriter{raw}, err
}

// Add writes a raw record.
func (w *RetryWriter) Add(raw []byte) error { return w.raw.write(raw) }

// Commit counts the records and gives the file its name.
func (w *RetryWriter) Commit(ctx context.Context, records int) error {
	defer w.Discard()
	if err := w.raw.readBack(ctx, records); err != nil {
		return err
	}
	return w.raw.Writer.Commit(ctx)
}

// Discard drops the file, unless it has its name.
func (w *RetryWriter) Discard() { w.raw.Discard() }

// Failures are the fail file and its raw records while a migration waits for a decision.
// They have the names of the files of the Set, which replaces them at the end.
type Failures struct {
	fail *table
	raw  *rawFile
	rows int
}

// NewFailures starts to write.
func NewFailures(dir, stamp string, header *source.Header) (*Failures, error) {
	fail, err := newTable(store.Join(dir, FailName(stamp)), failColumns...)
	if err != nil {
		return nil, err
	}
	raw, err := newRawFile(store.Join(dir, Name("fail_records", stamp, "csv")), header)
	if err != nil {
		fail.Discard()
		return nil, err
	}
	return &Failures{fail: fail, raw: raw}, nil
}

// FailName is the name of the fail file that belongs to a stamp.
func FailName(stamp string) string { return Name("fail", stamp, "csv") }

var failColumns = []string{"batch", "line", "email", "error"}

func failRow(r Record) []string {
	return []string{strconv.Itoa(r.Batch), strconv.FormatInt(r.Line, 10), r.Email, r.Error}
}

// Add writes a record that has failed.
func (f *Failures) Add(r Record) error {
	f.rows++
	if err := f.fail.write(failRow(r)...); err != nil {
		return err
	}
	return f.raw.write(r.Raw)
}

// Commit counts the records and gives the files their names.
func (f *Failures) Commit(ctx context.Context) error {
	defer f.Discard()
	if err := f.fail.flush(); err != nil {
		return err
	}
	if err := f.raw.readBack(ctx, f.rows); err != nil {
		return err
	}
	if err := f.fail.Commit(ctx); err != nil {
		return err
	}
	return f.raw.Commit(ctx)
}

// Discard drops the files that have no name yet.
func (f *Failures) Discard() {
	f.fail.Discard()
	f.raw.Discard()
}
