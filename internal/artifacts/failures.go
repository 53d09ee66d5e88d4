package artifacts

import (
	"context"
	"strconv"

	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
)

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
