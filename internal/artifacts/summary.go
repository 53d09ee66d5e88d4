package artifacts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/store"
)

// SummaryName is the name of the summary that belongs to a stamp.
func SummaryName(stamp string) string { return Name("summary", stamp, "json") }

// WriteSummary writes the report and then the summary: where there is a summary, all files
// that it names exist.
func WriteSummary(dir, stamp string, s migration.Summary, d Details) error {
	page, err := report(stamp, s, d)
	if err != nil {
		return err
	}
	if err := store.Write(store.Join(dir, s.Files.Report), page); err != nil {
		return err
	}
	return writeSummary(dir, stamp, s)
}

func writeSummary(dir, stamp string, s migration.Summary) error {
	data, err := MarshalSummary(s)
	if err != nil {
		return err
	}
	return store.Write(store.Join(dir, SummaryName(stamp)), data)
}

// MarkCancelled has the summary and the report of a run say that the migration was cancelled
// after it. A file that somebody has moved away stays away.
func MarkCancelled(dir, stamp string, s migration.Summary) error {
	before := s
	before.Cancelled = false
	page := store.Join(dir, s.Files.Report)
	switch data, err := store.Read(page); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		// Nothing else of the report depends on it.
		if err := store.Write(page, bytes.ReplaceAll(data, inReport(Advice(before)), inReport(Advice(s)))); err != nil {
			return err
		}
	}
	if there, err := store.Exists(store.Join(dir, SummaryName(stamp))); !there || err != nil {
		return err
	}
	return writeSummary(dir, stamp, s)
}

// MarshalSummary returns the bytes of summary_*.json.
func MarshalSummary(s migration.Summary) ([]byte, error) { return marshal(s) }

func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(value)
	return safetext.JSON(b.Bytes()), err
}

// RollbackSet are the two files of a rollback being written. Commit counts their records, and
// then gives both their names. The columns are those of dataload's rollback.py.
type RollbackSet struct {
	success, fail *table
	records       int
}

// NewRollbackSet starts to write.
func NewRollbackSet(dir, stamp string) (*RollbackSet, error) {
	success, err := newTable(store.Join(dir, Name("rollback_success", stamp, "csv")), "batch", "line", "uuid", "email")
	if err != nil {
		return nil, err
	}
	fail, err := newTable(store.Join(dir, Name("rollback_fail", stamp, "csv")), "batch", "line", "error")
	if err != nil {
		success.Discard()
		return nil, err
	}
	return &RollbackSet{success: success, fail: fail}, nil
}

// Names are the names that the files get.
func (s *RollbackSet) Names() (success, fail string) {
	return store.Base(s.success.Name()), store.Base(s.fail.Name())
}

// Success adds a record that is as it was before the migration.
func (s *RollbackSet) Success(batch int, line int64, uuid, email string) error {
	s.records++
	return s.success.write(strconv.Itoa(batch), strconv.FormatInt(line, 10), uuid, email)
}

// Fail adds a record that is not.
func (s *RollbackSet) Fail(batch int, line int64, reason string) error {
	s.records++
	return s.fail.write(strconv.Itoa(batch), strconv.FormatInt(line, 10), reason)
}

// Commit proves from the written files that each of total records is in one of them, and
// then gives them their names.
func (s *RollbackSet) Commit(ctx context.Context, total int) error {
	defer s.Discard()
	lines, err := readBackLines(s.success, s.fail)
	if err != nil {
		return err
	}
	if lines != total || s.records != total {
		success, _ := s.Names()
		return fmt.Errorf("%w: %d lines in %s and its fail file, expected %d", ErrDoesNotAddUp, lines, success, total)
	}
	return errors.Join(s.success.Commit(ctx), s.fail.Commit(ctx))
}

// Discard drops the files that have no name yet.
func (s *RollbackSet) Discard() {
	s.success.Discard()
	s.fail.Discard()
}

// Differences is verify_*.csv being written: the attributes in which records of the target
// are not as expected. It holds no value of a record.
type Differences struct{ table *table }

// NewDifferences starts to write.
func NewDifferences(dir, stamp string) (*Differences, error) {
	t, err := newTable(store.Join(dir, Name("verify", stamp, "csv")), "batch", "line", "attribute", "difference")
	return &Differences{t}, err
}

// Name is the name that the file gets.
func (d *Differences) Name() string { return store.Base(d.table.Name()) }

// Add adds a difference in a record of a batch.
func (d *Differences) Add(batch int, difference migration.Difference) error {
	return d.table.write(strconv.Itoa(batch), strconv.FormatInt(difference.Line, 10), difference.Attribute, difference.What)
}

// Commit gives the file its name.
func (d *Differences) Commit(ctx context.Context) error {
	if err := d.table.flush(); err != nil {
		return err
	}
	return d.table.Commit(ctx)
}

// Discard drops the file, unless it has its name.
func (d *Differences) Discard() { d.table.Discard() }

// WriteVerify writes the summary of a verification.
func WriteVerify(dir, stamp string, s migration.VerifySummary) error {
	data, err := marshal(s)
	if err != nil {
		return err
	}
	return store.Write(store.Join(dir, Name("verify", stamp, "json")), data)
}
