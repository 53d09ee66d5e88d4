package artifacts

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"durable-dataload/internal/store"
)

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
